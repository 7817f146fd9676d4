// Why these experts: a routing decision as a person reads it. Used for answers and for the decision log.

import { h } from "./dom.js";
import { colour, duration, percent, usd } from "./format.js";

const SHOWN_DOMAINS = 5;

/** Return an expert's name with its colour. */
export function chip(name, more = null) {
  return h("span", { class: "chip", style: { "--dot": colour(name) } }, h("i", { class: "dot", "aria-hidden": "true" }), name,
    more && h("small", { text: more }));
}

/** Return the elements that explain a decision (`routing` of an answer, or of /admin/decisions). */
export function explanation(routing, fusion = null) {
  return h("div", { class: "why" },
    summary(routing),
    domains(routing.domains, routing.confidence),
    candidates(routing),
    excluded(routing.excluded),
    fused(routing, fusion),
    rest(routing));
}

function summary(routing) {
  return h("div", { class: "why-head" },
    h("div", { class: "chips" }, routing.experts.map((each) => chip(each.expert, routing.experts.length > 1 ? percent(each.weight) : null))),
    routing.reason && h("p", { class: "reason", text: routing.reason }),
    h("dl", { class: "facts" },
      fact("Policy", routing.policy), fact("Confidence", percent(routing.confidence)),
      routing.thinking !== "auto" && fact("Thinking", routing.thinking),
      routing.cost_usd !== null && fact("Expected cost", usd(routing.cost_usd))));
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const fact = (name, value) => h("div", {}, h("dt", { text: name }), h("dd", { text: value }));

function domains(scores, confidence) {
  const rows = Object.entries(scores);
  if (!rows.length) return null;
  const shown = rows.slice(0, SHOWN_DOMAINS);
  const others = rows.slice(SHOWN_DOMAINS);
  const share = percent(others.reduce((sum, [, p]) => sum + p, 0));
  return h("section", { class: "domains" }, h("h3", { text: "What it is about" }),
    h("ul", { class: "bars" }, shown.map(([name, p]) => bar(name, p, p === confidence))),
    others.length > 0 && h("p", { class: "muted small", text: others.length === 1 ? `One other domain has ${share}.` : `${others.length} other domains share ${share}.` }));
}

function bar(name, value, first) {
  return h("li", { class: first ? "first" : null }, h("span", { text: name }),
    h("span", { class: "track", "aria-hidden": "true" }, h("i", { style: { width: `${Math.max(0.5, 100 * value)}%` } })),
    h("span", { class: "num", text: percent(value) }));
}

function candidates(routing) {
  const rows = routing.candidates;
  if (!rows.length) return null;
  return h("section", { class: "candidates" }, h("h3", { text: "Who was considered" }),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Who was considered" }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col", text: "Expert" }), ["Quality", "Cost", "Time"].map((text) => h("th", { scope: "col", class: "num", text })))),
      h("tbody", {}, rows.flatMap(candidate)))));
}

function candidate(each) {
  const figures = h("tr", { class: each.chosen ? "chosen" : null },
    h("th", { scope: "row" }, chip(each.expert), each.chosen && h("span", { class: "tick", text: "chosen" })),
    h("td", { class: "num", text: percent(each.quality) }),
    h("td", { class: "num", text: usd(each.cost_usd) }),
    h("td", { class: "num", text: duration(each.latency_ms) }));
  return each.reason ? [figures, h("tr", { class: "because" }, h("td", { colspan: "4", text: each.reason }))] : [figures];
}

function excluded(rows) {
  if (!rows.length) return null;
  return h("section", { class: "excluded" }, h("h3", { text: "Who was excluded" }),
    h("ul", {}, rows.map((each) => h("li", {}, chip(each.expert), h("small", { text: each.reason })))));
}

function fused(routing, fusion) {
  const strategy = fusion?.strategy ?? routing.fusion;
  if (!strategy || strategy === "none" || strategy === "single") return null;
  return h("section", { class: "fused" }, h("h3", { text: "How answers become one" }),
    h("p", { text: sentence(routing.fusion_reason || `${strategy}.`) }),
    h("dl", { class: "facts" }, fact("Strategy", routing.fusion || strategy), fusion?.fuser && fact("Written by", fusion.fuser),
      fusion?.answered_by && fact("Answer of", fusion.answered_by), fusion?.unasked > 0 && fact("Spared", fusion.unasked)),
    fusion?.note && h("p", { class: "muted", text: sentence(fusion.note) }));
}

function rest(routing) {
  const timings = Object.entries(routing.timings_ms ?? {});
  const total = timings.reduce((sum, [, ms]) => sum + ms, 0);
  return h("section", { class: "rest" },
    routing.skills?.length > 0 && h("p", { class: "small muted", text: `Takes: ${routing.skills.join(", ")}` }),
    routing.fallbacks?.length > 0 && h("p", { class: "small muted", text: `Stand-ins, in order: ${routing.fallbacks.join(", ")}` }),
    routing.ignored?.length > 0 && h("p", { class: "small warn", text: `Left out, as the expert does not take it: ${routing.ignored.join(", ")}` }),
    timings.length > 0 && h("p", { class: "small muted", text: `Decided in ${duration(total)}: ${timings.map(([stage, ms]) => `${stage} ${ms.toFixed(1)}`).join(", ")}` }));
}
