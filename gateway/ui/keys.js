// Ask for keys: a dialog from anywhere, and what a view shows where the administrator's key is missing.

import { keys } from "./api.js";
import { field, h } from "./dom.js";

const secret = (value) => h("input", { type: "password", value, autocomplete: "off", spellcheck: "false" });

/** Open the dialog with both keys. */
export function askKeys() {
  const [client, admin] = [secret(keys.client()), secret(keys.admin())];
  const dialog = h("dialog", { "aria-label": "Keys" },
    h("form", { method: "dialog" },
      h("h2", { text: "Keys" }),
      h("p", { class: "muted", text: "Kept in this tab until you close it, sent to this gateway only." }),
      field("Client key", client, "For the playground, where the gateway asks for keys."),
      field("Admin key", admin, "For experts, decisions and usage. consilium serve says at its start where the key lies."),
      h("div", { class: "actions" }, h("button", { value: "", formnovalidate: true, text: "Cancel" }),
        h("button", { value: "keep", class: "primary", text: "Use these keys" }))));
  dialog.addEventListener("close", () => {
    if (dialog.returnValue === "keep") keys.keep(client.value.trim(), admin.value.trim());
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
}

/** Return a small form for one key, as a view shows it when the gateway refused. */
export function locked(error, kind) {
  const key = secret("");
  const admin = kind === "admin";
  const form = h("form", { class: "locked card" },
    h("h2", { text: admin ? "This part needs the admin key" : "This gateway asks for a key" }),
    h("p", { class: "muted", text: told(error, admin) }),
    field(admin ? "Admin key" : "Client key", key),
    h("div", { class: "actions" }, h("button", { class: "primary", text: "Unlock" })));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (admin) keys.keep(keys.client(), key.value.trim());
    else keys.keep(key.value.trim(), keys.admin());
  });
  return form;
}

function told(error, admin) {
  const sent = admin ? keys.admin() : keys.client();
  if (sent) return `That key was not taken. ${error.message}`;
  return admin ? "It is CONSILIUM_ADMIN_KEY, or in the file that consilium serve names when it starts." : error.message;
}
