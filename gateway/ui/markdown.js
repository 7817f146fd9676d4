// The little of Markdown that models write, as elements: headings, lists, tables, code, emphasis. No HTML, no images;
// links are shown as text, for what a model links to is not to be trusted with a click.

import { h } from "./dom.js";

const INLINE = /(`[^`\n]+`)|(\*\*[^*\n]+\*\*)|(\*[^*\s][^*\n]*\*)/g;

/** Return the elements of a text. */
export function markdown(text) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const found = [];
  for (let at = 0; at < lines.length; ) {
    const [element, next] = block(lines, at);
    if (element) found.push(element);
    at = next;
  }
  return found;
}

function block(lines, at) {
  const line = lines[at];
  if (!line.trim()) return [null, at + 1];
  if (/^\s*```/.test(line)) return fence(lines, at);
  const heading = line.match(/^(#{1,6})\s+(.*)$/);
  if (heading) return [h("p", { class: `md-h md-h${Math.min(3, heading[1].length)}` }, inline(heading[2])), at + 1];
  if (/^\s*([-*+]|\d+[.)])\s+/.test(line)) return list(lines, at);
  if (line.includes("|") && /^\s*\|?[\s:|-]+\|[\s:|-]*$/.test(lines[at + 1] ?? "")) return table(lines, at);
  return paragraph(lines, at);
}

function fence(lines, at) {
  const end = lines.findIndex((line, number) => number > at && /^\s*```\s*$/.test(line));
  const code = lines.slice(at + 1, end < 0 ? undefined : end).join("\n");
  return [h("pre", { tabindex: "0" }, h("code", { text: code })), end < 0 ? lines.length : end + 1];
}

function list(lines, at) {
  const numbered = /^\s*\d/.test(lines[at]);
  const items = [];
  for (; at < lines.length; at += 1) {
    const item = lines[at].match(/^\s*(?:[-*+]|\d+[.)])\s+(.*)$/);
    if (item) items.push(item[1]);
    else if (/^\s+\S/.test(lines[at])) items[items.length - 1] += ` ${lines[at].trim()}`;
    else break;
  }
  return [h(numbered ? "ol" : "ul", {}, items.map((item) => h("li", {}, inline(item)))), at];
}

function table(lines, at) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
  const head = cells(lines[at]);
  const rows = [];
  for (at += 2; at < lines.length && lines[at].includes("|"); at += 1) rows.push(cells(lines[at]));
  return [h("div", { class: "scroll", tabindex: "0" }, h("table", {},
    h("thead", {}, h("tr", {}, head.map((cell) => h("th", { scope: "col" }, inline(cell))))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, inline(cell)))))))), at];
}

function paragraph(lines, at) {
  const parts = [];
  const begins = /^\s*(```|#{1,6}\s|[-*+]\s|\d+[.)]\s)/;
  do {
    if (parts.length) parts.push(h("br"));
    parts.push(...inline(lines[at]));
    at += 1;
  } while (at < lines.length && lines[at].trim() && !begins.test(lines[at]));
  return [h("p", {}, parts), at];
}

function inline(text) {
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(INLINE)) {
    parts.push(text.slice(from, found.index));
    if (found[1]) parts.push(h("code", { text: found[1].slice(1, -1) }));
    else if (found[2]) parts.push(h("strong", { text: found[2].slice(2, -2) }));
    else parts.push(h("em", { text: found[3].slice(1, -1) }));
    from = found.index + found[0].length;
  }
  parts.push(text.slice(from));
  return parts.filter((part) => part !== "");
}
