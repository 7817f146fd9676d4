// One expert in the list: its state, load and health, what one can do to it, and how far its profiling is.

import { admin } from "./api.js";
import { button, confirmed, field, h, notice, put } from "./dom.js";
import { chip } from "./explanation.js";
import { count, duration, percent } from "./format.js";

const KINDS = { ready: "good", asleep: "idle", drained: "idle", draining: "warn", starting: "warn", restarting: "warn", waking: "warn" };
const TOLD = {
  drain: "is asked nothing new; what it is answering goes on.",
  resume: "is asked again.",
  wake: "is waking.",
  sleep: "goes to sleep once it is idle.",
};

/** One row; `update` draws what is known now, `changed` is called after something was done. */
export class Row {
  constructor(name, changed) {
    Object.assign(this, { name, changed });
    this.what = h("div", { class: "what" });
    this.state = h("div", { class: "state" });
    this.meter = h("div", { class: "meter" });
    this.acts = h("div", { class: "acts-row" });
    this.job = h("div", { class: "job", hidden: true });
    this.inner = h("div", { class: "more-inner" });
    this.more = h("details", { class: "more" }, h("summary", { text: "Details" }), this.inner);
    this.element = h("article", { class: "expert", "aria-label": name }, this.what, this.state, this.meter, this.acts, this.job, this.more);
    this.more.addEventListener("toggle", () => this.more.open && this.#details());
  }

  /** Draw an expert and the job about it, where there is one. */
  update(expert, job) {
    this.expert = expert;
    this.#once("what", [expert.description, expert.domains, expert.tags, expert.source, expert.routed], () => put(this.what, this.#what()));
    this.#once("state", [expert.state, expert.reason, expert.health], () => put(this.state, this.#state()));
    this.#once("meter", expert.load, () => put(this.meter, this.#meter()));
    this.#once("acts", [expert.state, expert.drained, expert.sleeps, expert.source, Boolean(job && !job.finished_at)], () => put(this.acts, this.#acts(job)));
    this.#once("job", job ?? null, () => this.#tellJob(job));
    if (this.more.open) this.#once("details", expert, () => this.#details());
  }

  #once(part, facts, draw) {
    const now = JSON.stringify(facts);
    this.drawn ??= {};
    if (this.drawn[part] === now) return;
    this.drawn[part] = now;
    draw();
  }

  #what() {
    const { expert } = this;
    const tags = [...expert.domains, !expert.routed && "not routed", expert.source !== "file" && expert.source].filter(Boolean);
    return [h("h2", {}, chip(this.name)), expert.description && h("p", { text: expert.description }),
      tags.length > 0 && h("div", { class: "tags" }, tags.map((tag) => h("span", { class: "tag", text: tag })))];
  }

  #state() {
    const { expert } = this;
    const kind = KINDS[expert.state] ?? "bad";
    const down = expert.state === "asleep" || expert.state === "waking"; // what was heard of its replicas before tells nothing now
    const able = expert.health.filter((replica) => replica.ready).length;
    const wrong = expert.reason ?? (down ? null : expert.health.find((replica) => !replica.ready && replica.last_error)?.last_error);
    return [h("span", { class: `state-word ${kind}` }, h("i", { class: "dot", "aria-hidden": "true" }), expert.state),
      expert.state === "asleep" && h("span", { class: "small muted", text: "its next request wakes it" }),
      !down && expert.health.length > 0 && h("span", { class: "small muted num", text: `${able} of ${expert.health.length} ${expert.health.length === 1 ? "replica" : "replicas"} healthy` }),
      wrong && h("span", { class: "small error", text: wrong })];
  }

  #meter() {
    const load = this.expert.load;
    if (!load) return [];
    return [h("span", { text: `${load.in_flight} of ${load.places} places${load.waiting ? `, ${load.waiting} waiting` : ""}` }),
      h("progress", { max: load.places, value: load.in_flight, "aria-label": `Places of ${this.name} in use` }),
      load.first_token_ms !== null && h("span", { text: `${duration(load.first_token_ms)} to the first token` }), load.first_token_ms !== null && h("span", { text: `${duration(load.total_ms)} for an answer` })];
  }

  #acts(job) {
    const { expert } = this;
    return [
      button("Ask", () => this.#ask(), { class: "small" }),
      button("Probe", () => this.#probe(), { class: "small" }),
      button("Profile", () => this.#profile(), { class: "small", disabled: Boolean(job && !job.finished_at) }),
      expert.drained ? button("Resume", () => this.#do("resume"), { class: "small" }) : button("Drain", () => this.#do("drain"), { class: "small" }),
      expert.sleeps && (expert.state === "asleep" ? button("Wake", () => this.#do("wake"), { class: "small" })
        : expert.state === "ready" && button("Sleep", () => this.#do("sleep"), { class: "small" })),
      expert.source === "registered" && button("Remove", () => this.#remove(), { class: "small danger" }),
    ];
  }

  #ask() {
    document.dispatchEvent(new CustomEvent("ask", { detail: this.name }));
    location.hash = "#playground";
  }

  async #try(work) {
    try {
      return await work();
    } catch (error) {
      notice(error.message, "error");
      return null;
    } finally {
      this.changed();
    }
  }

  #do(action) {
    return this.#try(async () => {
      await admin(`/admin/experts/${encodeURIComponent(this.name)}/${action}`, { method: "POST" });
      notice(`${this.name} ${TOLD[action]}`);
    });
  }

  #probe() {
    return this.#try(async () => {
      const found = await admin(`/admin/experts/${encodeURIComponent(this.name)}/probe`, { method: "POST" });
      if (found.ok) notice(`${this.name} wrote “${found.text.trim()}” in ${duration(found.total_ms)}.`);
      else notice(found.error.message, "error");
    });
  }

  async #remove() {
    const told = "It is taken out of routing, its calls may end, then it is forgotten. What was measured of it goes too.";
    if (!(await confirmed(`Remove ${this.name}?`, told, "Remove"))) return;
    await this.#try(async () => {
      await admin(`/admin/experts/${encodeURIComponent(this.name)}`, { method: "DELETE" });
      notice(`${this.name} is removed.`);
    });
  }

  #profile() {
    const questions = h("input", { value: "builtin:pocket", required: true, spellcheck: "false" });
    const limit = h("input", { type: "number", min: "1", placeholder: "all" });
    const dialog = h("dialog", { "aria-label": `Profile ${this.name}` }, h("form", { method: "dialog" },
      h("h2", { text: `Profile ${this.name}` }),
      h("p", { class: "muted", text: "It answers questions whose answers are known. The skills found are used for routing at once." }),
      field("Questions", questions, "builtin:pocket, a file on the gateway's machine, or the id of an uploaded file."),
      field("Questions at most", limit),
      h("div", { class: "actions" }, h("button", { value: "", formnovalidate: true, text: "Cancel" }), h("button", { value: "yes", class: "primary", text: "Start" }))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (dialog.returnValue !== "yes") return;
      const body = { questions: questions.value, ...(limit.value ? { limit: Number(limit.value) } : {}) };
      this.#try(() => admin(`/admin/experts/${encodeURIComponent(this.name)}/profile`, { method: "POST", body }));
    });
    document.body.append(dialog);
    dialog.showModal();
  }

  #tellJob(job) {
    this.job.hidden = !job;
    if (!job) return;
    const told = job.error ?? (job.total ? `${count(job.done)} of ${count(job.total)} questions` : "");
    put(this.job,
      h("div", { class: "line" }, h("span", {}, h("strong", { text: `${job.kind} ` }), `${job.state}${told ? `: ${told}` : ""}`),
        !job.finished_at && button("Stop", () => this.#try(() => admin(`/admin/jobs/${job.id}/cancel`, { method: "POST" })), { class: "small" })),
      !job.finished_at && h("progress", { ...(job.total ? { max: job.total, value: job.done } : {}), "aria-label": `Progress of ${this.name}` }));
  }

  #details() {
    const { expert } = this;
    const { version, source, drained, state, reason, sleeps, health, load, profile, measured, fusing, ...record } = expert;
    put(this.inner, replicas(health), skills(measured), written(record));
  }
}

function replicas(health) {
  if (!health.length) return null;
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Replicas" }, h("table", {},
    h("thead", {}, h("tr", {}, ["Replica", "State", "In flight", "Faults in a row", "Last error"].map((text, at) => h("th", { scope: "col", class: at === 2 || at === 3 ? "num" : null, text })))),
    h("tbody", {}, health.map((each) => h("tr", {}, h("th", { scope: "row", class: "mono", text: each.base_url }),
      h("td", { text: each.ready ? "healthy" : each.rests_seconds > 0 ? `rests ${each.rests_seconds.toFixed(0)} s` : "not proven" }),
      h("td", { class: "num", text: each.in_flight }), h("td", { class: "num", text: each.faults_in_a_row }), h("td", { text: each.last_error ?? "–" }))))));
}

function skills(measured) {
  if (!measured?.skills) return null;
  const known = Object.entries(measured.skills).map(([domain, skill]) => `${domain} ${percent(skill.accuracy)} of ${count(skill.count)}`);
  return h("p", { class: "small muted", text: `Measured: ${known.join(", ")}` });
}

function written(record) {
  const usual = Object.fromEntries(Object.entries(record).filter(([, value]) => value !== null && value !== "" && !(Array.isArray(value) && !value.length)));
  return h("pre", { tabindex: "0", "aria-label": "Record" }, h("code", { text: JSON.stringify(usual, null, 2) }));
}
