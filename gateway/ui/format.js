// Numbers, times and colours as people read them.

/** Return a count with thin separators. */
export const count = (value) => (value ?? 0).toLocaleString("en-GB");

/** Return a share of one as a percentage. */
export function percent(value, digits = 0) {
  if (value === null || value === undefined) return "–";
  return value > 0 && value < 0.005 && !digits ? "<1 %" : `${(100 * value).toFixed(digits)} %`;
}

/** Return dollars with as many digits as small amounts need. */
export function usd(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "$0";
  if (value >= 100) return `$${value.toFixed(0)}`;
  if (value >= 0.1) return `$${value.toFixed(2)}`;
  return `$${value.toPrecision(2).includes("e") ? value.toFixed(8).replace(/0+$/, "") : value.toPrecision(2)}`;
}

/** Return milliseconds in the unit that suits them. */
export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 60000 ? `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s` : `${Math.floor(ms / 60000)} min ${Math.round((ms % 60000) / 1000)} s`;
}

/** Return how long ago seconds since 1970 are. */
export function ago(seconds) {
  const passed = Math.max(0, Date.now() / 1000 - seconds);
  if (passed < 5) return "just now";
  if (passed < 60) return `${Math.round(passed)} s ago`;
  if (passed < 3600) return `${Math.round(passed / 60)} min ago`;
  return passed < 86400 ? `${Math.round(passed / 3600)} h ago` : `${Math.round(passed / 86400)} d ago`;
}

/** Return a time of day, with the date when that is not today. */
export function clock(seconds) {
  const when = new Date(1000 * seconds);
  const day = when.toDateString() === new Date().toDateString() ? "" : `${when.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} `;
  return day + when.toLocaleTimeString("en-GB");
}

const HUES = 8;
const known = new Map();

/** Fix the colours of experts in this order, so that one keeps its colour in every view. */
export function learnExperts(names) {
  for (const name of names) hue(name);
}

/** Return the number of an expert's colour; stylesheets have eight. */
export function hue(name) {
  if (!known.has(name)) known.set(name, known.size % HUES);
  return known.get(name);
}

/** Return the colour of an expert, as CSS. */
export const colour = (name) => `var(--hue-${hue(name)})`;
