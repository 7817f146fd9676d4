// One answer in the conversation: its words while they come, who wrote it, what stands behind it, thumbs.

import { client } from "./api.js";
import { button, h, notice, put } from "./dom.js";
import { chip } from "./explanation.js";
import { count, duration, percent } from "./format.js";
import { markdown } from "./markdown.js";

/** An answer's element, and the turn it shows: {text, routing, fusion, experts, requestId, error, ...}. */
export class Answer {
  constructor(turn, { explain, again }) {
    this.turn = turn;
    this.explain = explain;
    this.again = again;
    this.who = h("div", { class: "chips" });
    this.words = h("div", { class: "text" });
    this.behind = h("div");
    this.foot = h("footer");
    this.element = h("article", { class: "turn answer", "aria-label": "Answer" }, this.who, this.words, this.behind, this.foot);
    this.drawn = 0;
    this.draw();
  }

  /** Draw with the next frame; many chunks between two frames cost one drawing. */
  soon() {
    this.drawn ||= requestAnimationFrame(() => {
      this.drawn = 0;
      this.draw();
    });
  }

  /** Draw what is known now. */
  draw() {
    const { turn } = this;
    this.element.classList.toggle("writing", Boolean(turn.writing));
    put(this.who, this.#names());
    put(this.words, turn.text ? markdown(turn.text) : turn.writing && h("p", { class: "waiting" }, h("span", { class: "pulse" }), turn.waiting ?? "Waiting for the first token"));
    if (turn.error) this.words.append(failure(turn, this.again));
    if (turn.stopped) this.words.append(h("p", { class: "muted small", text: "Stopped." }));
    if (!turn.writing) {
      put(this.behind, turn.fusion && behind(turn.fusion));
      put(this.foot, this.#meta(), turn.text && this.#actions());
    }
  }

  #names() {
    const { turn } = this;
    const names = turn.model ? [turn.model] : (turn.experts ?? []);
    const topic = turn.routing && Object.entries(turn.routing.domains)[0];
    const strategy = turn.fusion?.strategy;
    return [names.map((name) => chip(name)),
      strategy && h("span", { class: "tag", text: [strategy, turn.fusion.candidates.length && `of ${turn.fusion.candidates.length}`].filter(Boolean).join(" ") }),
      topic && h("span", { class: "tag", text: `${topic[0]} ${percent(topic[1])}` })];
  }

  #meta() {
    const { turn } = this;
    const tokens = turn.usage?.completion_tokens;
    const told = [
      turn.firstMs !== undefined && `first token ${duration(turn.firstMs)}`,
      turn.totalMs !== undefined && `whole ${duration(turn.totalMs)}`,
      tokens > 0 && `${count(tokens)} tokens`,
    ].filter(Boolean);
    return told.length > 0 && h("span", { class: "meta num", text: told.join(" · ") });
  }

  #actions() {
    const { turn } = this;
    const thumb = (score, label, shape) => button(icon(shape), () => this.#rate(score), {
      class: "icon small", "aria-label": label, title: label, "aria-pressed": String(turn.score === score), disabled: !turn.requestId,
    });
    return h("div", { class: "acts" },
      turn.routing && button("Why", () => this.explain(this, true), { class: "small why-button" }),
      thumb(1, "Good answer", UP), thumb(0, "Bad answer", DOWN),
      button("Copy", () => copied(turn.text), { class: "small quiet" }));
  }

  async #rate(score) {
    try {
      const heard = await client("/v1/feedback", { method: "POST", body: { request_id: this.turn.requestId, score } });
      this.turn.score = score;
      this.draw();
      notice(THANKS[heard.outcome] ?? "Thank you.");
    } catch (error) {
      notice(error.message, "error");
    }
  }
}

const THANKS = {
  learned: "Thank you. Routing has learnt from it.",
  limited: "Thank you. This key has taught enough for today, so nothing was learnt from it.",
  counted: "Thank you. It is counted; there was nothing to learn from it.",
};
const UP = "M6 9v8M6 9l3.4-6.2c1.5 0 2.2 1 2 2.4L10.9 8h4.3c1 0 1.7.9 1.5 1.9l-1.2 5.7c-.2.8-.8 1.4-1.6 1.4H6M6 9H3.4v8H6";
const DOWN = "M6 11V3M6 11l3.4 6.2c1.5 0 2.2-1 2-2.4L10.9 12h4.3c1 0 1.7-.9 1.5-1.9l-1.2-5.7C15.3 3.6 14.7 3 13.9 3H6M6 11H3.4V3H6";

function icon(path) {
  const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  drawing.setAttribute("viewBox", "0 0 20 20");
  drawing.setAttribute("width", "16");
  drawing.setAttribute("height", "16");
  drawing.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  drawing.append(line);
  return drawing;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    notice("Copied.");
  } catch {
    notice("The browser does not let the page copy.", "error");
  }
}

function failure(turn, again) {
  const { error } = turn;
  return h("div", { class: "failure", role: "alert" },
    h("p", { class: "title", text: error.message }),
    h("p", { class: "small muted", text: [error.status > 200 && `HTTP ${error.status}`, error.code, error.expert && `expert ${error.expert}`, error.requestId && `request ${error.requestId}`].filter(Boolean).join(" · ") }),
    button("Try again", again, { class: "small" }));
}

/** The candidates behind a fused answer, side by side, and the steps before them. */
function behind(fusion) {
  const steps = fusion.steps ?? [];
  if (!fusion.candidates.length && !steps.length) return fusion.note && h("p", { class: "muted small", text: fusion.note });
  const told = fusion.candidates.length ? `${fusion.candidates.length} candidates behind this answer` : `${steps.length} steps before this answer`;
  return h("details", { class: "behind", open: true },
    h("summary", { text: told }),
    fusion.candidates.length > 0 && h("div", { class: "side" }, fusion.candidates.map((each) => candidate(each, fusion))),
    steps.length > 0 && h("ol", { class: "steps" }, steps.map(step)));
}

function candidate(each, fusion) {
  const won = each.expert === fusion.answered_by && !each.error;
  return h("section", { class: `candidate${won ? " won" : ""}`, "aria-label": `Answer of ${each.expert}` },
    h("header", {}, chip(each.expert), won && h("span", { class: "tick", text: fusion.fuser === each.expert ? "wrote it" : "answer" })),
    each.error ? h("p", { class: "error", text: each.error }) : h("div", { class: "text" }, markdown(each.text)),
    h("footer", { class: "num small muted" }, [`weight ${percent(each.weight)}`, each.quality != null && `quality ${percent(each.quality)}`,
      each.final != null && `says ${each.final}`, each.usage && `${count(each.usage.completion_tokens)} tokens`].filter(Boolean).join(" · ")));
}

function step(each) {
  return h("li", { class: "candidate" }, h("header", {}, chip(each.expert ?? "nobody")),
    h("details", {}, h("summary", { text: "What it was asked" }), h("p", { class: "asked", text: each.question })),
    each.error ? h("p", { class: "error", text: each.error }) : h("div", { class: "text" }, markdown(each.text || each.answer || "")));
}
