// The frame: which view is shown, the appearance, the keys, whether the gateway is ready.

import { health } from "./api.js";
import { put, h } from "./dom.js";
import { learnExperts } from "./format.js";
import { askKeys } from "./keys.js";
import * as playground from "./playground.js";

const HEALTH_EVERY_MS = 10_000;
const VIEWS = {
  playground: async () => playground,
  experts: () => import("./experts.js"),
  decisions: () => import("./decisions.js"),
  usage: () => import("./usage.js"),
};
const opened = new Map();
let current = null;

/** Show the view that the address names. */
async function show() {
  const name = location.hash.slice(1).split("/")[0];
  const wanted = name in VIEWS ? name : "playground";
  if (wanted === current) return;
  const before = current;
  current = wanted;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === wanted) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (before) opened.get(before)?.leave?.();
  for (const section of document.querySelectorAll(".view")) section.hidden = section.id !== `view-${wanted}`;
  document.title = `${document.querySelector(`nav a[data-view=${wanted}]`).textContent} · Consilium`;
  const [view] = await Promise.all([opened.get(wanted) ?? VIEWS[wanted](), coloured]);
  if (!opened.has(wanted)) {
    opened.set(wanted, view);
    view.open(document.getElementById(`view-${wanted}`));
  }
  if (current === wanted) view.enter?.();
}

/** Say in the corner how many experts can answer. */
async function tellHealth() {
  if (document.hidden) return;
  const pill = document.getElementById("status");
  try {
    const { experts } = await health();
    learnExperts(Object.keys(experts));
    const states = Object.values(experts);
    const able = states.filter((state) => ["ready", "asleep", "waking"].includes(state)).length;
    const kind = able === states.length ? "good" : able ? "warn" : "bad";
    tell(pill, kind, `${able} of ${states.length} ready`);
  } catch {
    tell(pill, "bad", "not reachable");
  }
}

function tell(pill, kind, text) {
  if (pill.textContent === text) return;
  pill.className = `status ${kind}`;
  put(pill, h("i", { "aria-hidden": "true" }), h("span", { text }));
}

const darkBySystem = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (darkBySystem.matches ? "dark" : "light")) === "dark";

function toggleTheme() {
  const wanted = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = wanted;
  try {
    localStorage.setItem("consilium-theme", wanted);
  } catch {
    // Storage is closed to us; it holds until the page is left.
  }
  tellTheme();
}

function tellTheme() {
  document.getElementById("theme").setAttribute("aria-pressed", String(isDark()));
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the view, and is to go on naming it
  document.getElementById("main").focus();
});
document.getElementById("theme").addEventListener("click", toggleTheme);
document.getElementById("keys").addEventListener("click", () => askKeys());
darkBySystem.addEventListener("change", tellTheme);
addEventListener("hashchange", show);
tellTheme();
const coloured = tellHealth(); // experts get their colours in the order they are registered in, whatever view comes first
show();
setInterval(tellHealth, HEALTH_EVERY_MS);
document.addEventListener("visibilitychange", tellHealth);
