// A bar a day, stacked by expert, in plain SVG.

import { h, s } from "./dom.js";
import { chip } from "./explanation.js";
import { colour } from "./format.js";

const [BOTTOM, TOP] = [26, 12];
const NARROW = { width: 350, height: 210, left: 46, dates: 4 };
const WIDE = { width: 1160, height: 260, left: 64, dates: 8 };
const DAY_MS = 86_400_000;

/** Return the chart of rows by day and expert; `measure` is {of, told, label}. */
export function dayChart(found, measure) {
  const { width, height, left, dates } = matchMedia("(max-width: 760px)").matches ? NARROW : WIDE;
  const days = daysOf(found.since, found.until);
  const sums = new Map();
  for (const row of found.data) sums.set(row.expert, (sums.get(row.expert) ?? 0) + measure.of(row));
  const experts = [...sums.keys()].sort((a, b) => sums.get(b) - sums.get(a));
  const value = new Map(found.data.map((row) => [`${row.day} ${row.expert}`, measure.of(row)]));
  const totals = days.map((day) => experts.reduce((sum, expert) => sum + (value.get(`${day} ${expert}`) ?? 0), 0));
  const top = rounded(Math.max(...totals, 0));
  const y = (amount) => TOP + (height - TOP - BOTTOM) * (1 - amount / top);
  const step = (width - left) / days.length;
  const told = `${measure.label} by day, at most ${measure.told(Math.max(...totals))} on a day`;
  return h("figure", { class: "chart-box" },
    s("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": told },
      [0, 0.5, 1].map((share) => gridLine(share * top, y(share * top), measure, left, width)),
      days.map((day, at) => stack(day, left + at * step, { experts, value, step, y, measure, height, total: totals[at] })),
      days.map((day, at) => at % Math.ceil(days.length / dates) === 0 && s("text", { x: left + (at + 0.5) * step, y: height - 7, "text-anchor": "middle" }, short(day)))),
    h("figcaption", { class: "chips small" }, experts.map((name) => chip(name))));
}

function gridLine(amount, height, measure, left, width) {
  return [s("path", { class: "grid", d: `M${left} ${height.toFixed(1)}H${width}` }),
    s("text", { x: left - 8, y: height + 4, "text-anchor": "end" }, measure.told(amount))];
}

function stack(day, x, { experts, value, step, y, measure, height, total }) {
  const width = Math.min(38, step * 0.68);
  let below = 0;
  const parts = experts.map((expert) => {
    const amount = value.get(`${day} ${expert}`) ?? 0;
    if (!amount) return null;
    const [from, to] = [y(below), y(below + amount)];
    below += amount;
    return s("rect", { x: (x + (step - width) / 2).toFixed(1), y: to.toFixed(1), width: width.toFixed(1), height: Math.max(0.8, from - to - 0.8).toFixed(1), rx: 1.5, style: { fill: colour(expert) } });
  });
  const lines = experts.filter((expert) => value.get(`${day} ${expert}`)).map((expert) => `${expert} ${measure.told(value.get(`${day} ${expert}`))}`);
  return [parts, s("rect", { class: "hit", x: x.toFixed(1), y: TOP, width: step.toFixed(1), height: height - TOP - BOTTOM }, s("title", {}, `${short(day)}: ${measure.told(total)}${lines.length ? `\n${lines.join("\n")}` : ""}`))];
}

function daysOf(since, until) {
  const found = [];
  for (let day = Date.parse(since); day <= Date.parse(until); day += DAY_MS) found.push(new Date(day).toISOString().slice(0, 10));
  return found;
}

/** Return the next number up that reads well. */
function rounded(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].find((step) => step * power >= value * 0.9999);
}

const short = (day) => new Date(`${day}T00:00:00Z`).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
