// Calls of the service, as JSON over the HTTP door; what happens when the server goes away or asks for a token.

import { byId, fill, h, say } from "./dom.js";

/** An answer of the service that is an error. */
export class CallError extends Error {
  /**
   * @param {string} code as Connect has it, such as "not_found"
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const REST_MS = 500; // between two looks whether the server is back

/**
 * Make a call. While the server is away the page says so, waits, and calls again; calls that must not run twice say so.
 * @param {string} method such as "CollectionService/QueryItems"
 * @param {object} request
 * @param {{once?: boolean, signal?: AbortSignal}} [options] once: never send it again by itself
 * @returns {Promise<any>}
 */
export async function call(method, request, options = {}) {
  const response = await send(`/fc7.v1.${method}`, "application/json", JSON.stringify(request), options);
  return response.json();
}

/**
 * Make a call whose answer comes in parts, one per line of JSON. A call that fails half-way ends with its error.
 * @param {string} method
 * @param {object | object[]} sent one message, or several for a call that takes them one by one
 * @param {(message: any) => void} onMessage
 */
export async function stream(method, sent, onMessage) {
  const isMany = Array.isArray(sent);
  const body = isMany ? sent.map((one) => JSON.stringify(one) + "\n").join("") : JSON.stringify(sent);
  const response = await send(`/fc7.v1.${method}`, isMany ? "application/x-ndjson" : "application/json", body, { once: true });
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    text += decoder.decode(value, { stream: !done });
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    for (const line of done ? [...lines, text] : lines) {
      if (!line.trim()) continue;
      const message = JSON.parse(line);
      if (typeof message.code === "string") throw new CallError(message.code, message.message);
      onMessage(message);
    }
    if (done) return;
  }
}

/**
 * Send a request until the server is there and has the token that it asks for; throw its error if it answers with one.
 * @param {string} path
 * @param {string} type
 * @param {string | Uint8Array<ArrayBuffer>} body
 * @param {{once?: boolean, signal?: AbortSignal}} options
 * @returns {Promise<Response>}
 */
export async function send(path, type, body, options) {
  for (;;) {
    /** @type {Response} */
    let response;
    try {
      response = await fetch(path, { method: "POST", headers: { "Content-Type": type }, body, signal: options.signal ?? null });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      await untilBack();
      if (options.once) throw new CallError("unavailable", "The server went away during this call. It may or may not have been done. Look, then try again.");
      continue;
    }
    if (response.ok) return response;
    const error = await readError(response);
    if (response.status === 401) await askForToken(error.message);
    else if (error.code === "unavailable" && !options.once) await untilBack();
    else throw error;
  }
}

/** Return the error in an answer. @param {Response} response */
export async function readError(response) {
  const { code = "unknown", message = `The server answered ${response.status}.` } = await response.json().catch(() => ({}));
  return new CallError(code, message);
}

/** @type {Promise<void> | null} */
let waiting = null;

/** Say that the server is away, and wait until it answers again. */
function untilBack() {
  waiting ??= (async () => {
    const banner = byId("banner");
    fill(banner, h("span", { class: "pulse" }), "The server is away. This page waits for it and goes on by itself.");
    banner.hidden = false;
    while (!(await isUp())) await new Promise((done) => setTimeout(done, REST_MS));
    banner.hidden = true;
    say("The server is back.");
    waiting = null;
  })();
  return waiting;
}

async function isUp() {
  try {
    return (await fetch("/page/icon.svg", { cache: "no-store" })).ok;
  } catch {
    return false;
  }
}

/** @type {Promise<void> | null} */
let asking = null;

/** Ask for a token, and start a session with it. @param {string} reason */
function askForToken(reason) {
  asking ??= new Promise((done) => {
    const field = h("input", { type: "password", id: "token", autocomplete: "off", required: true });
    const said = h("p", { role: "alert" }, reason);
    const form = h("form", { method: "dialog" }, h("h2", {}, "Sign in"), said, h("label", { for: "token" }, "Token"), field, h("button", { class: "main" }, "Sign in"));
    const dialog = h("dialog", { "aria-label": "Sign in" }, form);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const answer = await fetch("/session", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token: field.value }) });
      if (!answer.ok) {
        said.textContent = (await readError(answer)).message;
        return;
      }
      dialog.close();
      dialog.remove();
      asking = null;
      done();
    });
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}

/** Return what stands in the payload as text. @param {string} json */
export function readPayload(json) {
  try {
    return JSON.parse(json || "{}");
  } catch {
    return {};
  }
}

/**
 * Return the numbers of a tensor.
 * @param {{dtype: string, data: string}} tensor
 * @returns {Float32Array | Uint8Array}
 */
export function readTensor({ dtype, data }) {
  const text = atob(data);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
  if (dtype === "uint8") return bytes;
  if (dtype === "float32") return new Float32Array(bytes.buffer);
  throw new Error(`The page cannot read numbers of the type ${dtype}.`);
}
