// Usage and cost: requests, tokens and dollars by day, expert and key.

import { admin, adminFile } from "./api.js";
import { Watch } from "./admin.js";
import { dayChart } from "./charts.js";
import { button, empty, h, notice, put } from "./dom.js";
import { chip } from "./explanation.js";
import { colour, count, learnExperts, usd } from "./format.js";

const EVERY_MS = 15_000;
const PERIODS = [7, 30, 90];
const MEASURES = {
  requests: { label: "Requests", of: (row) => row.requests, told: count },
  tokens: { label: "Tokens", of: (row) => row.prompt_tokens + row.completion_tokens, told: count },
  cost: { label: "Cost", of: (row) => row.cost_usd, told: usd },
};
let watch = null;
let days = 30;
let measure = "requests";
let found = null;
const page = {};

/** Build the view. */
export function open(root) {
  watch = new Watch(root, () => look(root), { every: () => EVERY_MS });
}

export const enter = () => watch.enter();
export const leave = () => watch.leave();

async function look(root) {
  const read = (by) => admin(`/admin/usage?${new URLSearchParams({ since: since(), by })}`);
  const [byDay, byDayExpert, byExpert, byKey, listed] = await Promise.all([read("day"), read("day,expert"), read("expert"), read("key"), admin("/admin/experts")]);
  const priced = listed.data.filter((expert) => expert.price).length;
  found = { byDay, byDayExpert, byExpert, byKey, unpriced: listed.data.length - priced };
  learnExperts([...listed.data.map((expert) => expert.name), ...byExpert.data.map((row) => row.expert)]);
  if (!watch.built) build(root);
  draw();
}

const since = () => new Date(Date.now() - 86_400_000 * (days - 1)).toISOString().slice(0, 10);

function build(root) {
  watch.built = true;
  page.sums = h("dl", { class: "sums" });
  page.chart = h("div");
  page.experts = h("div");
  page.keys = h("div");
  put(root, h("div", { class: "page" },
    h("div", { class: "head" }, h("h1", { text: "Usage" }), segmented("Period", PERIODS.map((each) => [each, `${each} days`]), () => days, (each) => {
      days = each;
      watch.again();
    }), button("Download CSV", download)),
    page.sums,
    h("section", { class: "card", "aria-label": "By day" }, h("div", { class: "head" }, h("h2", { text: "By day" }),
      segmented("Measure", Object.entries(MEASURES).map(([name, each]) => [name, each.label]), () => measure, (each) => {
        measure = each;
        draw();
      })), page.chart),
    h("div", { class: "halves" },
      h("section", { class: "card", "aria-label": "By expert" }, h("div", { class: "head" }, h("h2", { text: "By expert" })), page.experts),
      h("section", { class: "card", "aria-label": "By key" }, h("div", { class: "head" }, h("h2", { text: "By key" })), page.keys))));
}

function segmented(label, choices, current, choose) {
  const bar = h("div", { class: "segmented", role: "group", "aria-label": label });
  const draw = () => put(bar, choices.map(([value, text]) => button(text, () => {
    choose(value);
    draw();
    bar.querySelector("[aria-pressed=true]").focus();
  }, { "aria-pressed": String(value === current()) })));
  draw();
  return bar;
}

function draw() {
  const sum = (of) => found.byDay.data.reduce((total, row) => total + of(row), 0);
  const requests = sum((row) => row.requests);
  const cost = sum((row) => row.cost_usd);
  put(page.sums, figure("Requests", count(requests)), figure("Tokens read", count(sum((row) => row.prompt_tokens))),
    figure("Tokens written", count(sum((row) => row.completion_tokens))),
    figure("Cost", usd(cost), found.unpriced ? `${found.unpriced} experts without a price` : requests ? `${usd(cost / requests)} a request` : null));
  put(page.chart, requests ? dayChart(found.byDayExpert, MEASURES[measure]) : empty("Nothing was used in these days", "Requests are counted from the first on, by day in UTC."));
  const most = Math.max(...found.byExpert.data.map(MEASURES[measure].of), 0);
  put(page.experts, found.byExpert.data.length ? table("Expert", found.byExpert.data, (row) => [chip(row.expert), share(MEASURES[measure].of(row), most, colour(row.expert))])
    : empty("No expert was asked"));
  put(page.keys, found.byKey.data.length ? table("Key", found.byKey.data, (row) => row.key_name ?? row.key) : empty("No key was used"));
}

function figure(name, value, more = null) {
  return h("div", { class: "card sum" }, h("dt", { text: name }), h("dd", {}, value, more && h("small", { text: more })));
}

function share(value, most, tint) {
  return h("span", { class: "share", "aria-hidden": "true", style: { width: `${most ? (100 * value) / most : 0}%`, "--dot": tint } });
}

function table(head, rows, name) {
  const figures = [["Requests", (row) => count(row.requests)], ["Tokens", (row) => count(row.prompt_tokens + row.completion_tokens)], ["Cost", (row) => usd(row.cost_usd)]];
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${head} table` }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col", text: head }), figures.map(([text]) => h("th", { scope: "col", class: "num", text })))),
    h("tbody", {}, [...rows].sort((a, b) => b.requests - a.requests).map((row) => h("tr", {}, h("th", { scope: "row" }, name(row)), figures.map(([, told]) => h("td", { class: "num", text: told(row) })))))));
}

async function download() {
  try {
    const file = await adminFile(`/admin/usage?${new URLSearchParams({ since: since(), format: "csv" })}`);
    const link = h("a", { href: URL.createObjectURL(file), download: `consilium-usage-${since()}.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  } catch (error) {
    notice(error.message, "error");
  }
}
