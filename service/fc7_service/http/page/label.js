// Label: keys 1 to 9 give the classes shown beside them to the picture in focus, or to all that are selected.

import { button, count, fill, h, isTyping, rove, say } from "./dom.js";
import { Labels } from "./labels.js";
import { thumbnail } from "./pictures.js";
import { countField, filterJson } from "./query.js";
import { address, go } from "./route.js";
import { call, readPayload } from "./rpc.js";
import { curl, py, sh, snippets } from "./snippets.js";

const STEP = 120;
const MOST = 9600;
const SHOW = { all: "all pictures", without: "without a label", with: "with a label" };
const KEYS = [
  ["1 to 9", "give the class with that number"],
  ["arrows, Home, End", "move"],
  ["space", "select, or take out of the selection"],
  ["a", "select all that are shown, or none"],
  ["0", "take the label away"],
  ["l", "lock the label, or unlock it"],
  ["u", "undo the last step"],
  ["n", "new class"],
  ["?", "show these keys"],
];

/** @param {HTMLElement} main @param {import("./route.js").Route} route @param {AbortSignal} signal */
export async function draw(main, { name, params }, signal) {
  const field = params.get("field") || "label";
  const show = /** @type {keyof typeof SHOW} */ (params.get("show") && (params.get("show") ?? "") in SHOW ? params.get("show") : "all");
  const n = Math.min(MOST, Number(params.get("n")) || STEP);
  const request = { collection: name, pageSize: n, filterJson: filterOf(show, field) };
  const [{ items, nextPageToken }, { values }] = await Promise.all([call("CollectionService/ListItems", request, { signal }), countField(name, field, signal)]);
  if (signal.aborted) return;
  const desk = new Desk(name, field, values, items, signal);
  const open = (/** @type {Record<string, string | number>} */ changes) => go(address("label", name, { field: field === "label" ? "" : field, show: show === "all" ? "" : show, n: n === STEP ? "" : n, ...changes }));
  const choice = h("select", { id: "show" }, Object.entries(SHOW).map(([value, title]) => h("option", { value, selected: value === show }, title)));
  choice.addEventListener("change", () => open({ show: choice.value }));
  const naming = h("input", { id: "field", value: field, size: 10, spellcheck: "false" });
  naming.addEventListener("change", () => open({ field: naming.value.trim() }));
  fill(
    main,
    h("h1", { class: "unseen" }, `Label ${name}`),
    h(
      "div",
      { class: "work label" },
      h("div", { class: "side" }, desk.classPanel, h("section", { "aria-label": "What is shown", class: "settings" }, h("label", { for: "show" }, "Show"), choice, h("label", { for: "field" }, "Field of the payload"), naming, button("Keys (?)", () => desk.showKeys(), { class: "quiet" }))),
      h("section", { class: "results", "aria-label": "Pictures" }, h("div", { class: "summary" }, desk.summary), items.length ? desk.grid : h("p", { class: "empty" }, "No picture here."), nextPageToken && button("More", () => open({ n: n + STEP }), { class: "more" }), snippetsOf(name, field, desk)),
    ),
  );
  desk.focusFirst();
}

/** @param {keyof typeof SHOW} show @param {string} field */
function filterOf(show, field) {
  const exists = { field, op: "exists" };
  return show === "all" ? filterJson(new Map()) : JSON.stringify(show === "with" ? exists : { not: exists });
}

/** The pictures, the classes with their keys, and what the keys do. */
class Desk {
  summary = h("span");
  classPanel = h("section", { "aria-label": "Classes" });
  /** @type {Set<string>} */
  #selected = new Set();
  #said = h("span", { class: "said" });

  /** @param {string} collection @param {string} field @param {{value: any, count: number}[]} values @param {any[]} items @param {AbortSignal} signal */
  constructor(collection, field, values, items, signal) {
    this.classes = values.map(({ value }) => String(value)).sort();
    this.counts = new Map(values.map(({ value, count: n }) => [String(value), n]));
    const note = (/** @type {string} */ text) => this.#note(text);
    this.labels = new Labels(collection, field, (id) => this.#drawMark(id), note, signal);
    this.grid = h("ul", { class: "grid labelling", role: "list" }, items.map((item) => this.#tile(collection, item)));
    this.tiles = new Map([...this.grid.children].map((tile) => [/** @type {HTMLElement} */ (tile).dataset["id"] ?? "", /** @type {HTMLElement} */ (tile)]));
    for (const id of this.tiles.keys()) this.#drawMark(id);
    rove(this.grid, ".open");
    document.addEventListener("keydown", (event) => this.#onKey(event), { signal });
    addEventListener("beforeunload", (event) => this.labels.nPending && event.preventDefault(), { signal });
    this.#drawClasses();
  }

  /** @param {string} collection @param {any} item */
  #tile(collection, { id, payloadJson }) {
    const mark = this.labels.read(id, readPayload(payloadJson));
    const open = button("", () => this.#select(id), { class: "open", title: id, "aria-pressed": "false" });
    open.append(thumbnail(collection, id, ""));
    return h("li", { "data-id": id, "data-was": mark.label ?? "" }, open, h("span", { class: "caption" }, h("span", { class: "name" })));
  }

  /** @param {string} id */
  #drawMark(id) {
    const tile = this.tiles?.get(id);
    const mark = this.labels.marks.get(id);
    if (!tile || !mark) return;
    this.#recount(tile, mark.label ?? "");
    tile.classList.toggle("pending", mark.isPending);
    tile.classList.toggle("labelled", mark.label !== null);
    tile.classList.toggle("selected", this.#selected.has(id));
    const name = tile.querySelector(".name");
    if (name) name.textContent = `${mark.isLocked ? "🔒 " : ""}${mark.label ?? "no label"}`;
    const open = tile.querySelector(".open");
    open?.setAttribute("aria-pressed", String(this.#selected.has(id)));
    open?.setAttribute("aria-label", `${id}, ${mark.label === null ? "no label" : `label ${mark.label}`}${mark.isLocked ? ", locked" : ""}`);
    this.#drawSummary();
  }

  /** Keep the counts of the classes right. @param {HTMLElement} tile @param {string} label */
  #recount(tile, label) {
    const was = tile.dataset["was"] ?? "";
    if (was === label) return;
    if (was) this.counts.set(was, (this.counts.get(was) ?? 1) - 1);
    if (label) this.counts.set(label, (this.counts.get(label) ?? 0) + 1);
    if (label && !this.classes.includes(label)) this.classes.push(label);
    tile.dataset["was"] = label;
    this.#drawClasses();
  }

  #drawSummary() {
    const { nPending } = this.labels;
    const selected = this.#selected.size ? ` · ${this.#selected.size} selected` : "";
    fill(this.summary, `${count(this.tiles?.size ?? 0, "picture")}${selected}`, nPending > 0 && h("span", { class: "hint" }, ` · storing ${nPending} …`), this.#said);
  }

  #drawClasses() {
    const rows = this.classes.map((label, at) => h("li", {}, button("", () => this.#give(label), { class: "class", "aria-keyshortcuts": at < 9 ? at + 1 : undefined })));
    rows.forEach((row, at) => row.firstElementChild && fill(row.firstElementChild, at < 9 && h("kbd", {}, at + 1), h("span", { class: "facet-value" }, this.classes[at]), h("span", { class: "facet-count" }, this.counts.get(this.classes[at] ?? "") ?? 0)));
    const field = h("input", { id: "new-class", placeholder: "new class", "aria-label": "New class", autocomplete: "off" });
    const form = h("form", { class: "row" }, field, h("button", {}, "Add"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const label = field.value.trim();
      if (label && !this.classes.includes(label)) this.classes.push(label);
      this.#drawClasses();
      this.focusCurrent();
      say(`Class ${label}, key ${this.classes.indexOf(label) + 1}`);
    });
    const undo = button("Undo (u)", () => void this.#undo());
    fill(this.classPanel, h("h2", {}, "Classes"), h("ul", { class: "classes", role: "list" }, rows), form, h("p", { class: "row" }, undo, button("No label (0)", () => this.#give(null)), button("Lock (l)", () => void this.labels.lock(this.#targets()))));
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const label = this.classes[Number(event.key) - 1];
    if (/^[1-9]$/.test(event.key) && label !== undefined) this.#give(label);
    else if (event.key === "0") this.#give(null);
    else if (event.key === "u") void this.#undo();
    else if (event.key === "l") void this.labels.lock(this.#targets());
    else if (event.key === "a") this.#selectAll();
    else if (event.key === "n") document.getElementById("new-class")?.focus();
    else if (event.key === "?") this.showKeys();
    else return;
    event.preventDefault();
  }

  /** @param {string | null} label */
  #give(label) {
    const ids = this.#targets();
    if (!ids.length) return;
    const isOne = this.#selected.size === 0;
    this.#note("");
    void this.labels.give(ids, label);
    say(`${label ?? "no label"}: ${isOne ? ids[0] : count(ids.length, "picture")}`);
    this.#selected.clear();
    for (const id of ids) this.#drawMark(id);
    if (isOne) this.focusCurrent(1);
  }

  async #undo() {
    try {
      this.#note(await this.labels.undo());
    } catch (error) {
      this.#note(error instanceof Error ? error.message : String(error));
    }
  }

  /** Return the selected pictures, or the one in focus. */
  #targets() {
    return this.#selected.size ? [...this.#selected] : [this.#current()?.dataset["id"] ?? ""].filter(Boolean);
  }

  /** @param {string} id */
  #select(id) {
    if (!this.#selected.delete(id)) this.#selected.add(id);
    this.#drawMark(id);
    this.#drawSummary();
  }

  #selectAll() {
    const all = [...this.tiles.keys()];
    const isAll = this.#selected.size === all.length;
    this.#selected = new Set(isAll ? [] : all);
    for (const id of all) this.#drawMark(id);
    say(isAll ? "Nothing selected" : `${count(all.length, "picture")} selected`);
  }

  /** @returns {HTMLElement | null} */
  #current() {
    return this.grid.querySelector("li.current");
  }

  /** Focus the tile that had the focus last, or one further on. */
  focusCurrent(step = 0) {
    const tiles = [...this.tiles.values()];
    const at = tiles.indexOf(/** @type {HTMLElement} */ (this.#current()));
    const open = (tiles[at + step] ?? tiles[at])?.querySelector(".open");
    if (open instanceof HTMLElement) open.focus();
  }

  focusFirst() {
    const open = this.grid.querySelector(".open");
    if (open instanceof HTMLElement) open.focus({ preventScroll: true });
  }

  /** @param {string} text */
  #note(text) {
    this.#said.textContent = text && ` · ${text}`;
    if (text) say(text);
  }

  showKeys() {
    const rows = KEYS.map(([key, what]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)));
    const dialog = h("dialog", { "aria-label": "Keys" }, h("form", { method: "dialog" }, h("h2", {}, "Keys"), h("dl", { class: "facts" }, rows), h("button", { class: "main" }, "Close")));
    dialog.addEventListener("close", () => {
      dialog.remove();
      this.focusCurrent();
    });
    document.body.append(dialog);
    dialog.showModal();
  }
}

/** @param {string} name @param {string} field @param {Desk} desk */
function snippetsOf(name, field, desk) {
  const label = desk.classes[0] ?? "rose";
  const id = [...desk.tiles.keys()][0] ?? "a.jpg";
  return snippets({
    python: `import fc7\n\nwith fc7.connect() as client:\n    photos = client.collection(${py(name)})\n    photos.update({${py(id)}: {${py(field)}: ${py(label)}}})`,
    command: `fc7 collection items ${sh(name)} --where '${field} exists' --json`,
    curl: curl("CollectionService/UpdatePayloads", { collection: name, updates: [{ id, change: { setJson: JSON.stringify({ [field]: label }) } }] }),
  });
}

