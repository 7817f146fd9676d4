// Decisions: the last ones as they come, filtered, one of them explained, and all of them on a map.

import { admin } from "./api.js";
import { Watch } from "./admin.js";
import { button, empty, field, h, put, select } from "./dom.js";
import { chip, explanation } from "./explanation.js";
import { clock, duration, learnExperts, percent, usd } from "./format.js";
import { QueryMap } from "./map.js";

const EVERY_MS = 2500;
const MAP_EVERY_MS = 20_000;
const LIMIT = 200;
let watch = null;
let entries = [];
let picked = null;
let drawn = "";
let mapped = 0;
const page = {};

/** Build the view. */
export function open(root) {
  watch = new Watch(root, () => look(root), { every: () => EVERY_MS });
}

export const enter = () => {
  mapped = 0;
  return watch.enter();
};
export const leave = () => watch.leave();

async function look(root) {
  if (watch.built && !page.live.checked) return;
  const listed = await admin(`/admin/decisions?limit=${LIMIT}`);
  if (!watch.built) build(root);
  entries = listed.data;
  learnExperts(entries.flatMap((entry) => entry.experts));
  offerFilters();
  drawTable();
  if (Date.now() - mapped > MAP_EVERY_MS) await drawMap();
}

function build(root) {
  watch.built = true;
  drawn = "";
  mapped = 0;
  page.text = h("input", { type: "search", placeholder: "question, expert, reason, request id" });
  page.expert = select([["", "all"]]);
  page.domain = select([["", "all"]]);
  page.policy = select([["", "all"]]);
  page.live = h("input", { type: "checkbox", id: "live", checked: true });
  page.told = h("span", { class: "muted small num" });
  page.table = h("div");
  page.detail = h("aside", { class: "card padded detail", "aria-label": "One decision" });
  page.map = new QueryMap(pick);
  for (const each of [page.text, page.expert, page.domain, page.policy]) each.addEventListener("input", () => drawTable());
  page.live.addEventListener("change", () => page.live.checked && watch.again());
  put(root, h("div", { class: "page broad" },
    h("div", { class: "head" }, h("h1", { text: "Decisions" }), page.told),
    h("section", { class: "card", "aria-label": "Map" }, h("div", { class: "head" }, h("h2", { text: "Where questions lie" }),
      button("Draw anew", drawMap, { class: "small" })), page.map.element),
    h("div", { class: "split" },
      h("section", { class: "card", "aria-label": "Last decisions" },
        h("div", { class: "head" }, h("h2", { text: "Last decisions" })),
        h("div", { class: "filters" }, field("Find", page.text), field("Expert", page.expert), field("Domain", page.domain), field("Policy", page.policy),
          h("div", { class: "check" }, page.live, h("label", { for: "live", text: "Live" }))), page.table),
      page.detail)));
  tellDetail();
}

async function drawMap() {
  mapped = Date.now();
  page.map.draw(await admin("/admin/decisions/map"));
}

const topic = (entry) => Object.entries(entry.routing?.domains ?? {})[0] ?? null;

function offerFilters() {
  const offer = (control, values) => {
    const all = [...new Set(values)].sort();
    if (JSON.stringify(all) === control.dataset.offered) return;
    const chosen = control.value;
    control.dataset.offered = JSON.stringify(all);
    put(control, ...select([["", "all"], ...all]).children);
    control.value = all.includes(chosen) ? chosen : "";
  };
  offer(page.expert, entries.flatMap((entry) => entry.experts));
  offer(page.domain, entries.map((entry) => topic(entry)?.[0]).filter(Boolean));
  offer(page.policy, entries.map((entry) => entry.routing?.policy).filter(Boolean));
}

function wanted(entry) {
  const text = page.text.value.trim().toLowerCase();
  const said = [entry.request_id, entry.prompt, entry.key, entry.routing?.reason, ...entry.experts].join(" ").toLowerCase();
  return said.includes(text) && (!page.expert.value || entry.experts.includes(page.expert.value))
    && (!page.domain.value || topic(entry)?.[0] === page.domain.value) && (!page.policy.value || entry.routing?.policy === page.policy.value);
}

function drawTable() {
  const shown = entries.filter(wanted);
  const now = JSON.stringify([shown.map((entry) => [entry.request_id, entry.outcome, entry.feedback]), picked]);
  page.told.textContent = `${shown.length} of ${entries.length} shown`;
  if (now === drawn) return;
  drawn = now;
  const focused = page.table.contains(document.activeElement) ? document.activeElement.dataset.request : null;
  put(page.table, shown.length ? table(shown) : nothing());
  if (focused) page.table.querySelector(`[data-request="${CSS.escape(focused)}"]`)?.focus();
}

function nothing() {
  return entries.length ? empty("Nothing fits the filter", "Take a filter away.") : empty("No decision yet", "Ask something in the playground, or send a request: each one stands here as it is routed.");
}

function table(shown) {
  const heads = [["Time"], ["Question"], ["Domain"], ["Experts"], ["Took", "num"], ["Cost", "num"], ["Rated", "num"]];
  return h("div", { class: "table-box", tabindex: "0", role: "region", "aria-label": "Table of decisions" }, h("table", { class: "decisions" },
    h("thead", {}, h("tr", {}, heads.map(([text, kind]) => h("th", { scope: "col", class: kind, text })))),
    h("tbody", {}, shown.map(row))));
}

function row(entry) {
  const about = topic(entry);
  const open = () => pick(entry.request_id);
  const line = h("tr", { "aria-selected": entry.request_id === picked ? "true" : null },
    h("td", { class: "num muted", text: clock(entry.at) }),
    h("td", {}, h("button", { type: "button", class: "row-open", data: { request: entry.request_id } }, h("span", { class: "prompt", title: entry.prompt ?? entry.request_id, text: entry.prompt ?? entry.request_id.slice(0, 12) }))),
    h("td", { text: about ? `${about[0]} ${percent(about[1])}` : "–" }),
    h("td", {}, h("div", { class: "chips", title: entry.experts.join(", ") }, entry.experts.slice(0, 1).map((name) => chip(name)), entry.experts.length > 1 && h("span", { class: "muted small num", text: `+${entry.experts.length - 1}` }))),
    h("td", { class: "num", text: entry.outcome ? duration(1000 * entry.outcome.seconds) : "–" }),
    h("td", { class: "num", text: usd(entry.outcome?.cost_usd) }),
    h("td", { class: "num", text: entry.feedback ? percent(entry.feedback.score) : "–" }));
  line.addEventListener("click", open);
  return line;
}

function pick(requestId) {
  picked = requestId;
  drawTable();
  tellDetail();
  page.map.pick(requestId);
  if (matchMedia("(max-width: 1080px)").matches) page.detail.scrollIntoView({ block: "start" });
}

function tellDetail() {
  const entry = entries.find((each) => each.request_id === picked);
  if (!entry) {
    put(page.detail, empty("No decision chosen", "Choose one in the table or on the map: here stands why it was made."));
    return;
  }
  put(page.detail, h("h2", { text: entry.prompt ?? `Request ${entry.request_id.slice(0, 12)}` }),
    h("p", { class: "small muted num", text: [clock(entry.at), `request ${entry.request_id}`, `key ${entry.key}`, entry.arm && `arm ${entry.arm}`,
      entry.outcome && `answered by ${entry.outcome.answered_by}`, entry.shadow && `shadow ${entry.shadow}`].filter(Boolean).join(" · ") }),
    entry.routing ? explanation(entry.routing) : h("p", { class: "muted", text: "Its explanation is forgotten: only the latest are kept whole." }));
}
