// The playground: a conversation that streams, what may be overridden, and why each answer came from whom.

import { chat, client } from "./api.js";
import { Answer } from "./answer.js";
import { button, empty, h, put } from "./dom.js";
import { chip, explanation } from "./explanation.js";
import { learnExperts } from "./format.js";
import { locked } from "./keys.js";
import { Options } from "./options.js";

const KEPT = "consilium-conversation";
const KEPT_CHARACTERS = 1_500_000;
const NARROW = matchMedia("(max-width: 1080px)");
const VIRTUAL = new Set(["auto", "council"]);
const PROMPTS = {
  math: "What is 417 plus 268?",
  code: "Write a Python function that reverses a string.",
  law: "May my landlord keep the deposit for a scratched floor?",
  health: "Which foods are rich in iron?",
  science: "What is the chemical symbol of gold?",
  physics: "Why is the sky blue?",
  geography: "What is the capital of Kenya?",
  language: "What is the plural of child?",
  history: "When did the Roman Republic end?",
  business: "What is the difference between margin and markup?",
  finance: "How does compound interest work?",
};

const options = new Options();
const turns = [];
let answering = null;
let session = name();
let models = [];
let wanted = null; // the expert that another view sends us to
const page = {};

document.addEventListener("ask", ({ detail }) => {
  wanted = detail;
});

function name() {
  return crypto.randomUUID?.() ?? String(Math.random()).slice(2);
}

/** Build the view. */
export function open(root) {
  page.log = h("div", { class: "log" });
  page.said = h("p", { class: "unseen", "aria-live": "polite" });
  page.text = h("textarea", { rows: "1", id: "prompt", placeholder: "Ask something", "aria-label": "Message", maxlength: "400000" });
  page.send = h("button", { class: "primary send", text: "Send" });
  page.model = h("label", { class: "model" }, h("span", { text: "Model" }), options.model);
  const composer = h("form", { class: "composer", "aria-label": "Ask" },
    page.text,
    h("div", { class: "row" }, page.model,
      button("Options", () => show("options", true), { class: "quiet only-narrow" }),
      button([h("span", { class: "not-phone", text: "New conversation" }), h("span", { class: "only-phone", text: "New" })], clear, { class: "quiet" }), page.send));
  page.why = h("section", { "aria-label": "Why this answer" });
  page.panel = panel();
  page.talk = h("div", { class: "talk" }, page.log, page.said, composer);
  NARROW.addEventListener("change", closeSheet);
  put(root, h("h1", { class: "unseen", text: "Playground" }), h("div", { class: "play" }, page.talk, page.panel));
  composer.addEventListener("submit", submitted);
  page.text.addEventListener("keydown", entered);
  page.text.addEventListener("input", grown);
  document.addEventListener("keys", offered);
  restore();
  offered();
  tellWhy(null);
}

/** Come to the view: experts may have changed meanwhile. */
export function enter() {
  offered();
  if (matchMedia("(min-width: 700px)").matches) page.text.focus({ preventScroll: true });
}

function panel() {
  page.tabs = ["why", "options"].map((each) => button(each === "why" ? "Why this answer" : "Options", () => show(each), {
    role: "tab", id: `tab-${each}`, "aria-controls": `panel-${each}`, data: { panel: each },
  }));
  page.panels = [["why", page.why], ["options", options.element]].map(([each, inner]) =>
    h("div", { role: "tabpanel", id: `panel-${each}`, "aria-labelledby": `tab-${each}`, tabindex: "0" }, inner));
  const bar = h("div", { class: "tabs" }, h("div", { role: "tablist", "aria-label": "Beside the conversation" }, page.tabs),
    button("✕", closeSheet, { class: "icon only-narrow", "aria-label": "Close" }));
  bar.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const other = page.tabs.find((tab) => tab.getAttribute("aria-selected") === "false");
    show(other.dataset.panel);
    other.focus();
  });
  const aside = h("aside", { class: "panel", "aria-label": "Routing" }, bar, page.panels);
  aside.addEventListener("keydown", (event) => event.key === "Escape" && closeSheet());
  queueMicrotask(() => show("why"));
  return aside;
}

function show(which, opened = false) {
  for (const tab of page.tabs) {
    tab.setAttribute("aria-selected", String(tab.dataset.panel === which));
    tab.tabIndex = tab.dataset.panel === which ? 0 : -1;
  }
  for (const each of page.panels) each.hidden = each.id !== `panel-${which}`;
  if (opened && NARROW.matches) sheet(which);
}

/** On a narrow screen the panel lies over the conversation: it takes the focus, and gives it back. */
function sheet(which) {
  page.before = document.activeElement;
  page.panel.classList.add("open");
  page.talk.inert = true;
  page.tabs.find((tab) => tab.dataset.panel === which).focus();
}

function closeSheet() {
  if (!page.panel.classList.contains("open")) return;
  page.panel.classList.remove("open");
  page.talk.inert = false;
  page.before?.focus();
}

/** Read what this gateway offers, with the key there is. */
async function offered() {
  try {
    const [choices, listed] = await Promise.all([client("/v1/route"), client("/v1/models")]);
    models = listed.data;
    learnExperts(models.map((model) => model.id).filter((id) => !VIRTUAL.has(id)));
    options.offer(choices, models);
    if (wanted) options.model.value = wanted;
    wanted = null;
    if (!turns.length) put(page.log, welcome());
  } catch (error) {
    if (error.locked && !turns.length) put(page.log, locked(error, "client"));
    else if (!turns.length) put(page.log, empty("The gateway cannot be asked", error.message, button("Try again", offered)));
  }
}

function welcome() {
  const experts = models.filter((model) => !VIRTUAL.has(model.id));
  const prompts = [...new Set(experts.flatMap((expert) => expert.domains).map((domain) => PROMPTS[domain]).filter(Boolean))].slice(0, 4);
  return h("div", { class: "welcome" }, h("h2", { class: "large", text: "Ask the experts" }),
    h("p", { class: "muted", text: "Each question goes to the expert that is best at it. Choose council to hear several." }),
    prompts.length > 0 && h("div", { class: "prompts" }, prompts.map((prompt) => button(prompt, () => ask(prompt)))),
    h("ul", { class: "experts" }, experts.map((expert) => h("li", {}, chip(expert.id),
      h("span", { class: "muted", text: expert.description || expert.domains.join(", ") || "a generalist" })))));
}

function entered(event) {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    event.target.form.requestSubmit();
  }
}

function grown() {
  page.text.style.height = "auto";
  page.text.style.height = `${Math.min(page.text.scrollHeight + 2, 240)}px`;
}

function submitted(event) {
  event.preventDefault();
  if (answering) {
    answering.abort();
    return;
  }
  const text = page.text.value.trim();
  if (!text) return;
  page.text.value = "";
  grown();
  ask(text);
}

/** Ask the next question of the conversation. */
function ask(text) {
  if (answering) return;
  turns.push({ role: "user", text });
  if (turns.length === 1) put(page.log);
  page.log.append(userTurn(text));
  return answered();
}

function userTurn(text) {
  return h("article", { class: "turn user", "aria-label": "Question" }, h("p", { text }));
}

async function answered() {
  const turn = { role: "assistant", text: "", writing: true, waiting: "Routing" };
  const body = { ...options.read(), messages: conversation(), stream_options: { include_usage: true } };
  turns.push(turn);
  const answer = shown(turn);
  answer.element.scrollIntoView({ block: "nearest" });
  answering = new AbortController();
  writing(true);
  const begun = performance.now();
  try {
    await chat(body, {
      signal: answering.signal,
      session: options.session.checked ? session : null,
      began: (facts) => Object.assign(turn, facts, { waiting: "Waiting for the first token" }),
      heard: (chunk) => heard(turn, chunk, begun, answer),
    });
  } catch (error) {
    if (error.name === "AbortError") turn.stopped = true;
    else turn.error = { message: error.message, status: error.status, code: error.code, expert: error.expert, requestId: error.requestId };
    if (error.locked) document.getElementById("keys").classList.add("wanted");
  }
  Object.assign(turn, { writing: false, totalMs: performance.now() - begun });
  answering = null;
  writing(false);
  answer.draw();
  tellWhy(answer);
  followed(answer.element);
  page.said.textContent = turn.error ? turn.error.message : `${turn.model ?? "Somebody"} answered: ${turn.text}`;
  kept();
}

function heard(turn, chunk, begun, answer) {
  const bottom = page.log.scrollHeight - page.log.scrollTop - page.log.clientHeight < 80;
  turn.model = chunk.model ?? turn.model;
  const words = chunk.choices?.[0]?.delta?.content;
  if (words) {
    turn.firstMs ??= performance.now() - begun;
    turn.text += words;
  }
  if (chunk.usage) turn.usage = chunk.usage;
  if (chunk.routing) turn.routing = chunk.routing;
  if (chunk.fusion) turn.fusion = chunk.fusion;
  answer.soon();
  if (bottom) requestAnimationFrame(() => { page.log.scrollTop = page.log.scrollHeight; });
}

function followed(element) {
  if (element.getBoundingClientRect().bottom > page.log.getBoundingClientRect().bottom) page.log.scrollTop = page.log.scrollHeight;
}

/** Return the messages to send: questions that were answered with their answers, then the last question. */
function conversation() {
  const last = turns.at(-1).role === "user" ? turns.length - 1 : turns.length - 2;
  const said = turns.flatMap((turn, at) => {
    const answer = turns[at + 1];
    if (turn.role !== "user" || at >= last || !answer?.text || answer.error) return [];
    return [{ role: "user", content: turn.text }, { role: "assistant", content: answer.text }];
  });
  return [...options.systemMessages(), ...said, { role: "user", content: turns[last].text }];
}

function again(turn, answer) {
  if (answering || turns.at(-1) !== turn) return;
  turns.pop();
  answer.element.remove();
  answered();
}

function shown(turn) {
  const answer = new Answer(turn, { explain: (each, opened) => tellWhy(each, opened), again: () => again(turn, answer) });
  page.log.append(answer.element);
  return answer;
}

function tellWhy(answer, opened = false) {
  for (const each of page.log.querySelectorAll(".explained")) each.classList.remove("explained");
  const routing = answer?.turn.routing;
  put(page.why, routing ? [h("h2", { class: "unseen", text: "Why this answer" }), explanation(routing, answer.turn.fusion)]
    : empty("Nothing to explain yet", "Ask something: here stands what the question was taken for, who was considered, and why the others were not asked."));
  if (routing && turns.length > 2) answer.element.classList.add("explained");
  if (routing) show("why", opened);
}

function writing(now) {
  page.send.textContent = now ? "Stop" : "Send";
  page.send.classList.toggle("stop", now);
  page.log.setAttribute("aria-busy", String(now));
}

function clear() {
  answering?.abort();
  turns.length = 0;
  session = name();
  sessionStorage.removeItem(KEPT);
  put(page.log, welcome());
  tellWhy(null);
  page.text.focus();
}

function kept() {
  const text = JSON.stringify(turns);
  try {
    if (text.length < KEPT_CHARACTERS) sessionStorage.setItem(KEPT, text);
  } catch {
    // No room, or no storage: the conversation lives as long as the page does.
  }
}

function restore() {
  let before = [];
  try {
    before = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
  } catch {
    // Storage is closed to us, or holds what is no conversation.
  }
  let last = null;
  for (const turn of before) {
    turns.push(turn);
    if (turn.role === "user") page.log.append(userTurn(turn.text));
    else last = shown(turn);
  }
  queueMicrotask(() => last && tellWhy(last));
}
