// Experts: what each is doing, what it was measured to know, and everything one does to it while the gateway runs.

import { admin } from "./api.js";
import { Watch } from "./admin.js";
import { button, empty, h, put } from "./dom.js";
import { learnExperts } from "./format.js";
import { heatMap } from "./heatmap.js";
import { openRegister } from "./register.js";
import { Row } from "./expert_row.js";

const IDLE_MS = 4000;
const BUSY_MS = 1000;
let watch = null;
let busy = false;
let drawn = "";
let awaited = null; // the expert that was registered just now: its row is brought into view once it is there
const page = {};
const rows = new Map();

/** Build the view. */
export function open(root) {
  watch = new Watch(root, () => look(root), { every: () => (busy ? BUSY_MS : IDLE_MS) });
}

export const enter = () => watch.enter();
export const leave = () => watch.leave();

async function look(root) {
  const [listed, jobs] = await Promise.all([admin("/admin/experts"), admin("/admin/jobs")]);
  if (!watch.built) build(root);
  learnExperts(listed.data.map((expert) => expert.name));
  drawRows(listed.data, newestJobs(jobs.data));
  const measured = JSON.stringify(listed.data.map((expert) => [expert.name, expert.profile]));
  if (measured !== drawn) {
    drawn = measured;
    put(page.heat, heatMap(listed.data));
  }
}

function build(root) {
  watch.built = true;
  rows.clear();
  drawn = "";
  page.rows = h("div", { class: "expert-rows" });
  page.heat = h("div");
  put(root, h("div", { class: "page" },
    h("div", { class: "head" }, h("h1", { text: "Experts" }), button("Register an expert", () => openRegister(registered), { class: "primary" })),
    h("section", { class: "card", "aria-label": "Every expert" }, page.rows),
    h("section", { class: "card", "aria-label": "Skills" },
      h("div", { class: "head" }, h("h2", { text: "Measured skill by domain" })), page.heat)));
}

function registered(name) {
  awaited = name;
  watch.again();
}

/** Return the job that says most about each expert now: one under way, else the last that ended in these minutes. */
function newestJobs(jobs) {
  const found = new Map();
  for (const job of jobs) {
    const recent = !job.finished_at || Date.now() / 1000 - job.finished_at < 120;
    if (recent && job.kind !== "batch" && !found.has(job.subject)) found.set(job.subject, job);
  }
  busy = [...found.values()].some((job) => !job.finished_at);
  return found;
}

function drawRows(experts, jobs) {
  const names = new Set(experts.map((expert) => expert.name));
  for (const [name, row] of rows) {
    if (names.has(name)) continue;
    row.element.remove();
    rows.delete(name);
  }
  if (!experts.length) put(page.rows, empty("No expert yet", "Register one by the URL of its server."));
  experts.forEach((expert, at) => {
    if (!rows.has(expert.name)) rows.set(expert.name, new Row(expert.name, () => watch.again()));
    const row = rows.get(expert.name);
    row.update(expert, jobs.get(expert.name));
    if (page.rows.children[at] !== row.element) page.rows.insertBefore(row.element, page.rows.children[at] ?? null);
  });
  if (!rows.has(awaited)) return;
  rows.get(awaited).element.scrollIntoView({ block: "center" });
  awaited = null;
}
