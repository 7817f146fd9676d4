// Speak to the gateway this page came from, and to nobody else. Keys live in this tab's session only, never in a URL.

const CLIENT = "consilium-key";
const ADMIN = "consilium-admin-key";

/** An answer that is no success: what the gateway said, readable. */
export class Refused extends Error {
  constructor(status, error, requestId = null) {
    super(error.message ?? `The gateway answered ${status}.`);
    Object.assign(this, { status, code: error.code ?? null, param: error.param ?? null, expert: error.expert ?? null, requestId });
  }

  /** Whether a key is missing or wrong. */
  get locked() {
    return this.status === 401 || this.status === 403;
  }
}

export const keys = {
  client: () => sessionStorage.getItem(CLIENT) ?? "",
  admin: () => sessionStorage.getItem(ADMIN) ?? "",
  keep(client, admin) {
    for (const [name, key] of [[CLIENT, client], [ADMIN, admin]]) {
      if (key) sessionStorage.setItem(name, key);
      else sessionStorage.removeItem(name);
    }
    document.dispatchEvent(new Event("keys"));
  },
};

const offered = (key) => (key ? { authorization: `Bearer ${key}` } : {});

async function asked(path, { method = "GET", body, key = "", headers = {}, signal } = {}) {
  const all = { ...headers, ...offered(key), ...(body === undefined ? {} : { "content-type": "application/json" }) };
  const sent = { method, headers: all, signal, cache: "no-store", credentials: "omit" };
  if (body !== undefined) sent.body = JSON.stringify(body);
  let response;
  try {
    response = await fetch(path, sent);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { message: "The gateway cannot be reached. Is it still running?", code: "unreachable" });
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  let error = {};
  try {
    error = (await response.json()).error ?? {};
  } catch {
    // Not our shape: a proxy between us, say. The status has to do.
  }
  return new Refused(response.status, error, response.headers.get("x-request-id"));
}

/** Ask with the client's key and return the JSON. */
export const client = async (path, options = {}) => (await asked(path, { key: keys.client(), ...options })).json();

/** Ask with the administrator's key and return the JSON. */
export const admin = async (path, options = {}) => (await asked(path, { key: keys.admin(), ...options })).json();

/** Ask with the administrator's key and return a file. */
export const adminFile = async (path) => (await asked(path, { key: keys.admin() })).blob();

/** Return the health of the gateway, ready or not. */
export async function health() {
  const response = await fetch("/health", { cache: "no-store" });
  return response.json();
}

/**
 * Ask for a streamed chat completion; each chunk goes to `heard`. Resolves to what stands beside the answer.
 *
 * @throws {Refused} before the first chunk or in the middle; a stream that just ends is one too.
 */
export async function chat(body, { signal, heard, began, session }) {
  const headers = session ? { "x-consilium-session": session } : {};
  const response = await asked("/v1/chat/completions", { method: "POST", body: { ...body, stream: true }, key: keys.client(), headers, signal });
  const requestId = response.headers.get("x-request-id");
  began({ requestId, cost: response.headers.get("x-consilium-cost-usd"), ignored: response.headers.get("x-consilium-ignored") });
  let ended = false;
  for await (const data of events(response.body)) {
    if (data === "[DONE]") ended = true;
    else {
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Refused(200, chunk.error, requestId);
      heard(chunk);
    }
  }
  if (!ended) throw new Refused(200, { message: "The answer broke off: the connection closed before its end.", code: "broken_off" }, requestId);
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    rest += value ?? "";
    const whole = rest.split("\n\n");
    rest = done ? "" : whole.pop();
    for (const event of whole) if (event.startsWith("data: ")) yield event.slice(6);
    if (done) return;
  }
}
