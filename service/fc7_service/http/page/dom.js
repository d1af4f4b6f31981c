// Elements, and what a screen reader is told. Text is always set as text, never as HTML.

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * Make an element. `on…` attributes are listeners, `true` and `false` set and leave out, the rest is text.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null) element.setAttribute(name, String(value));
  }
  put(element, ...children);
  return element;
}

/**
 * Append children; `null`, `undefined` and `false` are left out.
 * @param {Node} parent
 * @param {...(Child | Child[])} children
 */
export function put(parent, ...children) {
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    parent.appendChild(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/**
 * Replace the children of an element.
 * @param {Element} parent
 * @param {...(Child | Child[])} children
 */
export function fill(parent, ...children) {
  parent.replaceChildren();
  put(parent, ...children);
}

/**
 * Return the element with an id.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element #${id}`);
  return element;
}

/**
 * Tell a screen reader what changed.
 * @param {string} text
 */
export function say(text) {
  byId("live").textContent = text;
}

/**
 * Return a button.
 * @param {string} text
 * @param {(event: MouseEvent) => void} onclick
 * @param {Record<string, any>} [attributes]
 */
export function button(text, onclick, attributes = {}) {
  return h("button", { type: "button", onclick, ...attributes }, text);
}

/**
 * Return what stands in place of a result that failed.
 * @param {unknown} error
 */
export function problem(error) {
  return h("p", { class: "problem", role: "alert" }, textOf(error));
}

/** @param {unknown} error */
export const textOf = (error) => (error instanceof Error ? error.message : String(error));

/**
 * Return a number with its unit in words: 1 item, 2 items.
 * @param {number} n
 * @param {string} noun
 */
export function count(n, noun) {
  return `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
}

/**
 * Return a table that scrolls sideways; numbers are written to the right.
 * @param {string} title
 * @param {string[]} columns
 * @param {Child[][]} rows
 */
export function table(title, columns, rows) {
  const cell = (/** @type {Child} */ value) => (typeof value === "number" ? h("td", { class: "number" }, value.toLocaleString("en")) : h("td", {}, value));
  const head = h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)));
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title }, h("table", {}, h("thead", {}, head), h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell))))));
}

/** @param {number} share 0 to 1 */
export function percent(share, digits = 1) {
  return `${(100 * share).toFixed(digits)} %`;
}

/** Whether a key press belongs to a field that the user types into. @param {Event} event */
export function isTyping(event) {
  const target = event.target;
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

/**
 * Move the focus with the arrow keys inside a list of tiles; one tile takes part in the order of Tab.
 * @param {HTMLElement} list
 * @param {string} selector of what takes the focus in each child
 */
export function rove(list, selector) {
  /** @returns {HTMLElement[]} */
  const stops = () => [...list.querySelectorAll(selector)].filter((one) => one instanceof HTMLElement);
  /** @param {HTMLElement} chosen */
  const choose = (chosen) => {
    for (const stop of stops()) stop.tabIndex = stop === chosen ? 0 : -1;
    for (const tile of list.children) tile.classList.toggle("current", tile.contains(chosen));
  };
  list.addEventListener("focusin", (event) => {
    const stop = event.target instanceof Element && event.target.closest(selector);
    if (stop instanceof HTMLElement) choose(stop);
  });
  list.addEventListener("keydown", (event) => {
    if (isTyping(event) || event.altKey || event.ctrlKey || event.metaKey) return;
    const all = stops();
    const at = all.findIndex((stop) => stop === document.activeElement);
    if (at < 0) return;
    const columns = columnsOf(all);
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -at, End: all.length - 1 - at };
    const step = steps[/** @type {keyof typeof steps} */ (event.key)];
    const next = step === undefined ? undefined : all[at + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
  const first = stops()[0];
  if (first) choose(first);
}

/** Return how many tiles stand in the first row. @param {HTMLElement[]} tiles */
function columnsOf(tiles) {
  const top = tiles[0]?.getBoundingClientRect().top ?? 0;
  const next = tiles.findIndex((tile) => tile.getBoundingClientRect().top > top + 4);
  return next < 0 ? tiles.length : next;
}
