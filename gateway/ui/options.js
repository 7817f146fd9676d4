// What one may override of a request: the form beside the conversation, and the `routing` it becomes.

import { field, h, put, select } from "./dom.js";
import { colour } from "./format.js";

const MAY = [["", "may answer"], ["allow", "only these"], ["deny", "never"]];

/** The form; `read` returns the body's fields beside `messages`. */
export class Options {
  constructor() {
    this.model = select(["auto", "council"], { "aria-label": "Model" });
    this.policy = select([["", "usual"]]);
    this.fusion = select([["", "usual"]]);
    this.thinking = select(["auto", "on", "off"]);
    this.most = h("input", { type: "number", min: "1", max: "16", step: "1", placeholder: "usual", inputmode: "numeric" });
    this.own = h("input", { type: "checkbox", id: "own-cost" });
    this.cost = h("input", { type: "range", min: "0", max: "1", step: "0.05", value: "1", disabled: true });
    this.costTold = h("output", { text: "usual" });
    this.system = h("textarea", { rows: "2", placeholder: "none" });
    this.temperature = h("input", { type: "number", min: "0", max: "2", step: "0.1", placeholder: "usual", inputmode: "decimal" });
    this.tokens = h("input", { type: "number", min: "1", step: "1", placeholder: "usual", inputmode: "numeric" });
    this.session = h("input", { type: "checkbox", id: "keep-expert" });
    this.experts = h("div", { class: "may" });
    this.element = this.#laid();
    for (const each of [this.own, this.cost]) each.addEventListener("input", () => this.#tellCost());
  }

  /** Fill in what this gateway offers. */
  offer(choices, models) {
    const usual = choices.usual;
    const keep = (control, options) => {
      const chosen = control.value;
      put(control, ...select(options).children);
      if ([...control.options].some((option) => option.value === chosen)) control.value = chosen;
    };
    keep(this.model, models.map((model) => model.id));
    keep(this.policy, [["", `usual (${usual.policy})`], ...[...new Set(["auto", ...choices.policies])].map((name) => [name, name])]);
    keep(this.fusion, [["", "usual"], ...choices.fusion.map((name) => [name, name])]);
    this.usual = usual;
    const names = models.map((model) => model.id).filter((id) => id !== "auto" && id !== "council");
    const before = Object.fromEntries([...this.experts.querySelectorAll("select")].map((one) => [one.dataset.expert, one.value]));
    put(this.experts, names.map((name) => this.#expert(name, before[name] ?? "")));
    this.#tellCost();
  }

  /** Return the fields of the body; only what was changed. */
  read() {
    const routing = { explain: true };
    const named = { allow: [], deny: [] };
    for (const one of this.experts.querySelectorAll("select")) if (one.value) named[one.value].push(one.dataset.expert);
    const experts = Object.fromEntries(Object.entries(named).filter(([, names]) => names.length));
    if (Object.keys(experts).length) routing.experts = experts;
    if (this.policy.value) routing.policy = this.policy.value;
    if (this.fusion.value) routing.fusion = this.fusion.value;
    if (this.thinking.value !== "auto") routing.thinking = this.thinking.value;
    if (this.most.value) routing.max_experts = Number(this.most.value);
    if (this.own.checked) routing.cost_quality = Number(this.cost.value);
    const body = { model: this.model.value, routing };
    if (this.temperature.value) body.temperature = Number(this.temperature.value);
    if (this.tokens.value) body.max_tokens = Number(this.tokens.value);
    return body;
  }

  /** Return the system message, or nothing. */
  systemMessages() {
    const content = this.system.value.trim();
    return content ? [{ role: "system", content }] : [];
  }

  #expert(name, value) {
    const control = select(MAY, { data: { expert: name }, id: `may-${name}`, value });
    control.value = value;
    return h("div", { class: "may-row" },
      h("label", { for: control.id }, h("i", { class: "dot", "aria-hidden": "true", style: { "--dot": colour(name) } }), name), control);
  }

  #tellCost() {
    this.cost.disabled = !this.own.checked;
    const value = this.own.checked ? Number(this.cost.value) : this.usual?.cost_quality;
    this.costTold.textContent = value === undefined ? "usual" : `${value.toFixed(2)}${this.own.checked ? "" : " (usual)"}`;
  }

  #laid() {
    this.cost.setAttribute("aria-label", "Cost against quality");
    const cost = h("fieldset", { class: "cost" }, h("legend", {}, "Cost against quality ", this.costTold),
      h("div", { class: "ends" }, h("span", { text: "cheapest" }), this.cost, h("span", { text: "best" })),
      h("div", { class: "check" }, this.own, h("label", { for: "own-cost", text: "Choose it for this request" })));
    return h("div", { class: "options" },
      h("div", { class: "pair" }, field("Policy", this.policy), field("Fusion", this.fusion)),
      h("div", { class: "pair" }, field("Thinking", this.thinking), field("Experts at most", this.most)),
      cost,
      h("fieldset", {}, h("legend", { text: "Experts" }), this.experts),
      h("details", {}, h("summary", { text: "Message and sampling" }),
        field("System message", this.system),
        h("div", { class: "pair" }, field("Temperature", this.temperature), field("Longest answer, tokens", this.tokens)),
        h("div", { class: "check" }, this.session, h("label", { for: "keep-expert", text: "Stay with the expert while the topic stays" }))));
  }
}
