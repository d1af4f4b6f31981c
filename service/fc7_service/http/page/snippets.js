// The same from Python, from the command line and with curl, ready to copy.

import { button, h, say } from "./dom.js";

/** @typedef {{python: string, command: string, curl: string}} Snippets */

const TITLES = { python: "Python", command: "Command line", curl: "curl" };

/** Return the fold that holds the three. @param {Snippets} texts */
export function snippets(texts) {
  const code = h("code");
  const kinds = /** @type {(keyof Snippets)[]} */ (Object.keys(TITLES));
  const tabs = kinds.map((kind) => button(TITLES[kind], () => choose(kind), { role: "tab", id: `tab-${kind}`, "aria-controls": "snippet" }));
  /** @param {keyof Snippets} chosen */
  const choose = (chosen) => {
    code.textContent = texts[chosen];
    kinds.forEach((kind, at) => {
      tabs[at]?.setAttribute("aria-selected", String(kind === chosen));
      if (tabs[at]) tabs[at].tabIndex = kind === chosen ? 0 : -1;
    });
    pane.setAttribute("aria-labelledby", `tab-${chosen}`);
    localStorage.setItem("snippet", chosen);
  };
  const pane = h("pre", { role: "tabpanel", id: "snippet", tabindex: 0 }, code);
  const list = h("div", { role: "tablist", "aria-label": "Language" }, tabs);
  list.addEventListener("keydown", (event) => {
    const at = tabs.findIndex((tab) => tab === document.activeElement);
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const next = step && tabs[(at + step + tabs.length) % tabs.length];
    if (!next) return;
    next.focus();
    next.click();
  });
  const kept = localStorage.getItem("snippet");
  choose(kept && kept in TITLES ? /** @type {keyof Snippets} */ (kept) : "python");
  const copy = button("Copy", () => copyText(code.textContent ?? "", copy), { class: "copy" });
  return h("details", { class: "snippets" }, h("summary", {}, "The same in Python, on the command line, with curl"), h("div", { class: "snippet-bar" }, list, copy), pane);
}

/** @param {string} text @param {HTMLElement} where */
async function copyText(text, where) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const pane = where.closest("details")?.querySelector("pre");
    if (pane) getSelection()?.selectAllChildren(pane); // without TLS there is no clipboard: the text is selected instead
    say("Selected. Press Ctrl and C to copy.");
    return;
  }
  where.textContent = "Copied";
  say("Copied.");
  setTimeout(() => (where.textContent = "Copy"), 1500);
}

/** Return text in quotes for Python. @param {string} text */
export const py = (text) => JSON.stringify(text);

/** Return text in quotes for a shell. @param {string} text */
export const sh = (text) => (/^[\w./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/**
 * Return a call with curl; the bytes of pictures are those of a file.
 * @param {string} method
 * @param {object} request
 */
export function curl(method, request) {
  const json = JSON.stringify(request, (key, value) => (key === "encoded" ? "$BYTES" : value));
  const body = sh(json).replaceAll("$BYTES", `'"$(base64 -w0 query.jpg)"'`);
  return `curl ${location.origin}/fc7.v1.${method} \\\n    -H 'Content-Type: application/json' \\\n    -d ${body}`;
}
