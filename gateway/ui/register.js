// Register an expert: the form, its dry run with example prompts, then the real thing.

import { admin } from "./api.js";
import { button, field, h, notice, put } from "./dom.js";
import { chip } from "./explanation.js";
import { percent } from "./format.js";

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
const words = (text) => text.split(",").map((word) => word.trim()).filter(Boolean);

/** Open the form; `done` is called with the name of an expert once it is registered. */
export function openRegister(done) {
  const input = (more = {}) => h("input", { autocomplete: "off", spellcheck: "false", ...more });
  const form = {
    name: input({ required: true, maxlength: "64", placeholder: "math-7b" }),
    url: input({ required: true, type: "url", placeholder: "http://other-box:8000/v1" }),
    model: input({ placeholder: "as its server calls it" }),
    key: input({ type: "password", placeholder: "none" }),
    description: input({ placeholder: "what it is good at, in a sentence", spellcheck: "true" }),
    domains: input({ placeholder: "math, physics" }),
    examples: h("textarea", { rows: "4", placeholder: "What is 12 times 12?\nSolve 3x + 5 = 20 for x." }),
    priceIn: input({ type: "number", min: "0", step: "any", placeholder: "unknown" }),
    priceOut: input({ type: "number", min: "0", step: "any", placeholder: "unknown" }),
  };
  const told = h("div", { role: "status" });
  const dialog = h("dialog", { class: "wide", "aria-label": "Register an expert" });
  const laid = h("form", {},
    h("h2", { text: "Register an expert" }),
    h("p", { class: "muted", text: "Any server that speaks OpenAI's API. The dry run asks it, and shows where its examples would go." }),
    h("div", { class: "pair stack" }, field("Name", form.name), field("Server", form.url, "Its URL up to /v1.")),
    h("div", { class: "pair stack" }, field("Model", form.model, "Where it differs from the name."), field("Key of the server", form.key)),
    field("Description", form.description),
    field("Domains", form.domains, "With commas. A name of your own needs examples."),
    field("Example prompts", form.examples, "One a line: questions that should come here."),
    h("div", { class: "pair" }, field("USD per million tokens read", form.priceIn), field("USD per million written", form.priceOut)),
    told,
    h("div", { class: "actions" }, button("Cancel", () => dialog.close()),
      button("Dry run", () => attempt(form, told, laid, rehearse)), h("button", { class: "primary", text: "Register" })));
  laid.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(form, told, laid, async (record) => {
      await admin("/admin/experts", { method: "POST", body: record });
      dialog.close();
      notice(`${record.name} is registered.`);
      done(record.name);
      return [];
    });
  });
  dialog.append(laid);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

async function attempt(form, told, laid, work) {
  if (!laid.reportValidity()) return;
  for (const control of Object.values(form)) control.removeAttribute("aria-invalid");
  put(told, h("p", { class: "muted", text: "Asking the gateway…" }));
  try {
    put(told, await work(recordOf(form)));
  } catch (error) {
    put(told, h("div", { class: "failure" }, h("p", { class: "title", text: error.message }), h("p", { class: "small muted", text: [error.code, error.param].filter(Boolean).join(" · ") })));
    const control = fieldOf(form, error.param ?? "");
    control?.setAttribute("aria-invalid", "true");
    control?.focus({ preventScroll: true });
  }
  told.scrollIntoView({ block: "center" });
}

/** Return the record that the form says; what was left empty is left out. */
function recordOf(form) {
  const text = (control) => control.value.trim();
  const record = { name: text(form.name), replicas: [{ base_url: text(form.url), ...(form.key.value ? { api_key: form.key.value } : {}) }] };
  if (text(form.model)) record.model = text(form.model);
  if (text(form.description)) record.description = text(form.description);
  if (text(form.domains)) record.domains = words(form.domains.value);
  if (text(form.examples)) record.examples = lines(form.examples.value);
  if (form.priceIn.value || form.priceOut.value) record.price = { input_per_million: Number(form.priceIn.value), output_per_million: Number(form.priceOut.value) };
  return record;
}

function fieldOf(form, param) {
  if (param.startsWith("replicas")) return param.includes("api_key") ? form.key : form.url;
  if (param.startsWith("price")) return form.priceIn;
  return form[param.split(".")[0]];
}

async function rehearse(record) {
  const found = await admin("/admin/experts?dry_run=true", { method: "POST", body: record });
  return h("div", { class: "rehearsal" },
    h("p", { class: "title", text: `Dry run: nothing is changed` }),
    h("ul", {}, found.replicas.map((each) => h("li", {}, h("span", { class: "mono", text: each.base_url }),
      h("span", { class: each.reachable ? "tag good" : "tag bad", text: each.reachable ? "answers" : "does not answer" }), each.error && h("small", { class: "error", text: each.error })))),
    found.routing.length === 0 ? h("p", { class: "muted", text: "Without example prompts there is nothing to route." })
      : h("div", {}, h("p", { class: "title", text: `${found.routed_here} of ${found.routing.length} examples come here` }),
        h("ul", {}, found.routing.map((each) => h("li", {}, h("span", { text: each.example }),
          h("span", {}, each.expert ? chip(each.expert, percent(each.confidence)) : h("span", { class: "error", text: each.reason })))))));
}
