// A map of questions: what is near in the router's encoder is near here. Circles are questions, diamonds are examples.

import { button, empty, h, put, s } from "./dom.js";
import { chip } from "./explanation.js";
import { clock, colour, percent } from "./format.js";

const MARGIN = 26;
const NARROW = { width: 380, height: 340 };
const WIDE = { width: 760, height: 400 };
let size = WIDE; // of the drawing; a phone gets a smaller one, whose marks are then larger on its screen
const across = (x) => (MARGIN + ((x + 1) / 2) * (size.width - 2 * MARGIN)).toFixed(1);
const down = (y) => (MARGIN + ((1 - y) / 2) * (size.height - 2 * MARGIN)).toFixed(1);

/** The map; `chosen` is called with the request id of a question that is clicked. */
export class QueryMap {
  constructor(chosen) {
    this.chosen = chosen;
    this.only = null;
    this.picked = null;
    this.element = h("div");
    put(this.element, empty("The map is being drawn"));
  }

  /** Draw what GET /admin/decisions/map answered. */
  draw(found) {
    this.found = found;
    if (!found.examples.length && !found.queries.length) {
      put(this.element, empty("Nothing to draw yet", "Questions come here as they are routed, beside the examples of the experts."));
      return;
    }
    size = matchMedia("(max-width: 760px)").matches ? NARROW : WIDE;
    this.pointed = h("div", { class: "pointed" });
    this.drawing = this.#drawing();
    put(this.element, h("div", { class: "map-box" }, this.drawing, h("div", { class: "map-side" }, this.#legend(), this.pointed, this.#explained())));
    this.#point(null);
    this.pick(this.picked);
  }

  /** Mark one question. */
  pick(requestId) {
    this.picked = requestId;
    for (const each of this.element.querySelectorAll(".query")) each.classList.toggle("picked", each.dataset.request === requestId);
  }

  #drawing() {
    const { queries, examples } = this.found;
    const told = `Map of ${queries.length} questions and ${examples.length} examples. The table below says the same of each question.`;
    return s("svg", { class: "map", viewBox: `0 0 ${size.width} ${size.height}`, role: "img", "aria-label": told },
      s("path", { class: "axis", d: `M${across(0)} 0V${size.height}M0 ${down(0)}H${size.width}` }),
      examples.map((each) => this.#example(each)), queries.toReversed().map((each) => this.#query(each)), this.#labels());
  }

  #example(each) {
    const [x, y] = [Number(across(each.x)), Number(down(each.y))];
    const mark = s("path", { class: "example", d: `M${x} ${y - 4.5}l4.5 4.5l-4.5 4.5l-4.5 -4.5z`, style: { stroke: colour(each.expert) }, data: { expert: each.expert } });
    mark.addEventListener("pointerenter", () => this.#point([chip(each.expert, each.own ? "example" : "example of its domain"), h("span", { text: each.text })]));
    return mark;
  }

  #query(each) {
    const mark = s("circle", { class: "query", cx: across(each.x), cy: down(each.y), r: 5.5, style: { fill: each.expert ? colour(each.expert) : "var(--edge)" }, data: { expert: each.expert ?? "", request: each.request_id } });
    mark.addEventListener("pointerenter", () => this.#point([chip(each.expert ?? "nobody", each.confidence === null ? null : `${each.domain ?? ""} ${percent(each.confidence)}`),
      h("span", { text: each.prompt ?? `Request ${each.request_id.slice(0, 12)}` }), h("span", { class: "muted small", text: clock(each.at) })]));
    mark.addEventListener("click", () => this.chosen(each.request_id));
    return mark;
  }

  #labels() {
    const groups = Map.groupBy ? Map.groupBy(this.found.examples, (each) => each.expert) : grouped(this.found.examples);
    const middle = (rows, axis) => rows.reduce((sum, each) => sum + each[axis], 0) / rows.length;
    return [...groups].map(([expert, rows]) => s("text", { class: "label", x: across(middle(rows, "x")), y: down(middle(rows, "y")), "text-anchor": "middle", data: { expert }, "aria-hidden": "true" }, expert));
  }

  #legend() {
    const experts = [...new Set([...this.found.examples, ...this.found.queries].map((each) => each.expert).filter(Boolean))];
    const count = (name) => this.found.queries.filter((each) => each.expert === name).length;
    const key = (shape, text) => h("span", { class: "symbol" }, s("svg", { viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" }, shape), text);
    return [h("div", { class: "chips" }, key(s("circle", { class: "full", cx: 6, cy: 6, r: 5 }), "question"), key(s("path", { d: "M6 1l5 5l-5 5l-5 -5z" }), "example")),
      h("ul", {}, experts.map((name) => h("li", {}, button(chip(name), (event) => this.#show(name, event.currentTarget), { "aria-pressed": "false" }),
        h("span", { class: "num muted", text: count(name) }))))];
  }

  #show(name, pressed) {
    this.only = this.only === name ? null : name;
    for (const each of this.element.querySelectorAll(".map-side button")) each.setAttribute("aria-pressed", String(each === pressed && this.only !== null));
    for (const each of this.drawing.querySelectorAll("[data-expert]")) each.classList.toggle("faded", this.only !== null && each.dataset.expert !== this.only);
  }

  #point(shown) {
    put(this.pointed, shown ?? h("span", { class: "muted", text: "Point at a mark to read it. Click a question to see why it went where it went." }));
  }

  #explained() {
    const share = this.found.explained[0] + this.found.explained[1];
    return h("p", { class: "small muted", text: `Two axes show ${percent(share)} of how these texts differ (${this.found.encoder ?? "no encoder"}); near on the map is a hint, no proof.` });
  }
}

function grouped(rows) {
  const found = new Map();
  for (const row of rows) found.set(row.expert, [...(found.get(row.expert) ?? []), row]);
  return found;
}
