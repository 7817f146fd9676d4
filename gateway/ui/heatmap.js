// Experts by domains: how often each was right, over how many questions. A table, so that it can be read aloud.

import { empty, h } from "./dom.js";
import { chip } from "./explanation.js";
import { count, percent } from "./format.js";

const FEW = 30;
const DEEPEST = 56; // percent of the accent colour: text on it stays legible in both appearances

/** Return the heat map, or what to do to get one. */
export function heatMap(experts) {
  const rows = experts.filter((expert) => expert.profile);
  const domains = columns(rows);
  if (!rows.some((expert) => Object.keys(expert.profile.measured).length)) {
    return empty("Nothing is measured yet", "Profile an expert: it answers questions whose answers are known, and its skill by domain stands here.");
  }
  return h("div", {},
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Skills by domain" }, h("table", { class: "heat", style: { "--columns": String(domains.length) } },
      h("caption", { class: "unseen", text: "Share of right answers of each expert by domain, with the number of questions" }),
      h("thead", {}, h("tr", {}, h("td", { class: "corner" }), domains.map((domain) => h("th", { scope: "col", text: domain })))),
      h("tbody", {}, rows.map((expert) => h("tr", {}, h("th", { scope: "row" }, chip(expert.name)), domains.map((domain) => cell(expert, domain))))))),
    h("div", { class: "legend card-foot" }, h("span", {}, "0 %"), h("span", { class: "ramp", "aria-hidden": "true" }), h("span", {}, "100 % right"),
      h("span", { text: `Dashed: fewer than ${FEW} questions` })));
}

/** Return the domains there is something to say about, those of most experts first. */
function columns(experts) {
  const seen = new Map();
  for (const { profile } of experts) for (const domain of new Set([...Object.keys(profile.measured), ...profile.domains])) seen.set(domain, (seen.get(domain) ?? 0) + 1);
  return [...seen.keys()].sort((a, b) => seen.get(b) - seen.get(a) || a.localeCompare(b));
}

function cell(expert, domain) {
  const skill = expert.profile.measured[domain];
  if (!skill) return h("td", { class: "none", text: expert.profile.domains.includes(domain) ? "declared" : "–" });
  const few = skill.count < FEW;
  const questions = `${count(skill.count)}`;
  return h("td", { class: few ? "few" : null, style: { "--mix": `${(DEEPEST * skill.accuracy ** 2).toFixed(1)}%` }, title: `${expert.name}, ${domain}: ${percent(skill.accuracy, 1)} of ${questions} questions` },
    percent(skill.accuracy), h("small", { text: questions }));
}
