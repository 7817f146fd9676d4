// Build elements. Text is always set as text: nothing that a server or a model says is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Return an element. Properties: class, text, on: {event: listener}, style: {property: value}, data; else attributes. */
export function h(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** Return an SVG element. */
export function s(tag, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.setAttribute("class", value);
    else if (name === "text") element.textContent = value;
    else if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "style") for (const [key, each] of Object.entries(value)) element.style.setProperty(key, each);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Replace what an element holds. */
export function put(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Return a button. */
export function button(label, press, properties = {}) {
  return h("button", { type: "button", ...properties, on: { click: press } }, label);
}

/** Return a labelled form field; the label is bound to the control. */
export function field(label, control, hint = null) {
  control.id ||= `f-${(field.count = (field.count ?? 0) + 1)}`;
  const told = hint && h("small", { class: "hint", id: `${control.id}-hint`, text: hint });
  if (told) control.setAttribute("aria-describedby", told.id);
  return h("div", { class: "field" }, h("label", { for: control.id, text: label }), control, told);
}

/** Return a select of [value, label] pairs or plain values. */
export function select(options, properties = {}) {
  const pairs = options.map((option) => (Array.isArray(option) ? option : [option, option]));
  return h("select", properties, pairs.map(([value, label]) => h("option", { value, text: label })));
}

/** Return what is shown where there is nothing to show yet. */
export function empty(title, told, ...more) {
  return h("div", { class: "empty" }, h("p", { class: "title", text: title }), told && h("p", { text: told }), more);
}

/** Show a short notice in the corner; errors stay until closed. */
export function notice(text, kind = "info") {
  const shown = h("div", { class: `notice ${kind}` }, h("p", { text }),
    button("✕", () => shown.remove(), { class: "icon small", "aria-label": "Close" }));
  document.getElementById("notices").append(shown);
  if (kind !== "error") setTimeout(() => shown.remove(), 6000);
}

/** Ask in a dialog before something that cannot be taken back; resolves to true or false. */
export function confirmed(title, told, action) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { class: "confirm", "aria-label": title },
      h("form", { method: "dialog" }, h("h2", { text: title }), h("p", { text: told }),
        h("div", { class: "actions" }, h("button", { value: "", text: "Cancel" }),
          h("button", { value: "yes", class: "danger", text: action }))));
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
