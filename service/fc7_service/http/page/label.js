// Label: keys 1 to 9 give the classes shown beside them to the picture in focus, or to all that are selected.

import { button, count, fill, h, isTyping, percent, put, rove, say, textOf } from "./dom.js";
import { Labels } from "./labels.js";
import { thumbnail } from "./pictures.js";
import { countField } from "./query.js";
import { address, go } from "./route.js";
import { call } from "./rpc.js";
import { curl, py, sh, snippets } from "./snippets.js";

const STEP = 120;
const MOST = 9600;
const PART = 500; // items that are looked at together
const SHOW = { all: "all pictures", next: "what to label next", without: "without a label", with: "with a label" };
const WHY = { margin: "the head hesitates between two classes", typical: "typical of many without a label", diverse: "unlike all that have a label" };
const KEYS = [
  ["1 to 9", "give the class with that number"],
  ["arrows, Home, End", "move"],
  ["space", "select, or take out of the selection"],
  ["a", "select all that are shown, or none"],
  ["0", "take the label away"],
  ["y", "give the class that the head proposes"],
  ["s", "show what to label next"],
  ["l", "lock the label, or unlock it"],
  ["u", "undo the last step"],
  ["n", "new class"],
  ["?", "show these keys"],
];

/** @typedef {{name: string, field: string, head: string, show: string, n: number}} Asked */
/** @typedef {{items: any[], guesses: Map<string, any>, what: string, hasMore: boolean}} Found guesses: what the head says, by id */

/** @param {HTMLElement} main @param {import("./route.js").Route} route @param {AbortSignal} signal */
export async function draw(main, { name, params }, signal) {
  const of = (/** @type {string} */ key, /** @type {string} */ usual) => params.get(key) || usual;
  /** @type {Asked} */
  const asked = { name, field: of("field", "label"), head: of("head", name), show: of("show", "all"), n: Math.min(MOST, Number(params.get("n")) || STEP) };
  const { field, head, show, n } = asked;
  const desk = new Desk(asked, signal);
  const [found, { values }] = await Promise.all([load(asked, desk.labels, signal), countField(name, field, signal, { limit: 1000, withRecords: true })]);
  if (signal.aborted) return;
  desk.fill(found, values);
  const open = (/** @type {Record<string, string | number>} */ changes) => go(address("label", name, { field: field === "label" ? "" : field, head: head === name ? "" : head, show: show === "all" ? "" : show, n: n === STEP ? "" : n, ...changes }));
  desk.suggest = () => open({ show: "next" });
  const choice = h("select", { id: "show" }, Object.entries(SHOW).map(([value, title]) => h("option", { value, selected: value === show }, title)));
  choice.addEventListener("change", () => open({ show: choice.value }));
  const setting = (/** @type {string} */ id, /** @type {string} */ title, /** @type {string} */ value, /** @type {(value: string) => void} */ set) => {
    const input = h("input", { id, value, size: 10, spellcheck: "false", maxlength: 256 });
    input.addEventListener("change", () => set(input.value.trim()));
    return [h("label", { for: id }, title), input];
  };
  fill(
    main,
    h("h1", { class: "unseen" }, `Label ${name}`),
    h(
      "div",
      { class: "work label" },
      h(
        "div",
        { class: "side" },
        desk.classPanel,
        h("section", { "aria-label": "What is shown", class: "settings" },
          h("label", { for: "show" }, "Show"), choice,
          show === "next" && setting("head", "Head that proposes", head, (value) => open({ head: value })),
          setting("by", "Your name", localStorage.getItem("by") ?? "", (value) => localStorage.setItem("by", value)),
          setting("field", "Field, if no record", field, (value) => open({ field: value })),
          button("Keys (?)", () => desk.showKeys(), { class: "quiet" }),
          h("p", { class: "hint" }, `Your labels are label records. A picture without one has the label in the field “${field}” of its payload, if there is one.`))),
      h("section", { class: "results", "aria-label": "Pictures" }, h("div", { class: "summary" }, desk.summary), found.items.length ? desk.grid : h("p", { class: "empty" }, "No picture here."), found.hasMore && button(show === "next" ? "Next (s)" : "More", () => open(show === "next" ? {} : { n: n + STEP }), { class: "more" }), snippetsOf(asked, desk)),
    ),
  );
  desk.focusFirst();
}

/** @param {Asked} asked @param {Labels} labels @param {AbortSignal} signal @returns {Promise<Found>} */
async function load({ name: collection, field, head, show, n }, labels, signal) {
  /** @type {any[]} */
  const items = [];
  if (show === "next") {
    const answer = await call("HeadService/SuggestItems", { collection, head, n: Math.min(n, STEP), labelField: field }, { signal });
    const guesses = new Map(answer.items.map((/** @type {any} */ one) => [one.id, one.top]));
    const { results } = await call("CollectionService/GetItems", { collection, ids: [...guesses.keys()] }, { signal });
    items.push(...results.flatMap((/** @type {any} */ one) => one.item ?? []));
    await labels.read(items);
    return { items, guesses, what: WHY[/** @type {keyof typeof WHY} */ (answer.strategy)], hasMore: items.length > 0 };
  }
  const isWanted = (/** @type {any} */ { id }) => show === "all" || (labels.marks.get(id)?.label === null) === (show === "without");
  let pageToken = "", nSeen = 0;
  do {
    const page = await call("CollectionService/ListItems", { collection, pageSize: show === "all" ? n : PART, pageToken }, { signal });
    await labels.read(page.items);
    items.push(...page.items.filter(isWanted));
    pageToken = page.nextPageToken;
    nSeen += page.items.length;
  } while (pageToken && items.length < n && nSeen < MOST);
  return { items: items.slice(0, n), guesses: new Map(), what: nSeen >= MOST ? `among the first ${count(nSeen, "picture")}` : "", hasMore: items.length > n || (pageToken !== "" && nSeen < MOST) };
}

/** The pictures, the classes with their keys, and what the keys do. */
class Desk {
  summary = h("span");
  classPanel = h("section", { "aria-label": "Classes" });
  /** @type {Set<string>} */
  #selected = new Set();
  #said = h("span", { class: "said" });

  grid = h("ul", { class: "grid labelling", role: "list" });
  /** @type {Map<string, HTMLElement>} */
  tiles = new Map();
  /** @type {string[]} */
  classes = [];
  /** @type {Map<string, number>} */
  counts = new Map();
  /** @type {Map<string, any>} */
  #guesses = new Map();
  #what = "";
  suggest = () => {};

  /** @param {Asked} asked @param {AbortSignal} signal */
  constructor({ name, field }, signal) {
    this.collection = name;
    this.labels = new Labels(name, field, (id) => this.#drawMark(id), (text) => this.#note(text), signal);
    document.addEventListener("keydown", (event) => this.#onKey(event), { signal });
    addEventListener("beforeunload", (event) => this.labels.nPending && event.preventDefault(), { signal });
  }

  /** Show what was found, and the classes. @param {Found} found @param {{value: any, count: number}[]} values */
  fill({ items, guesses, what }, values) {
    this.counts = new Map(values.map(({ value, count: n }) => [String(value), n]));
    const guessed = [...guesses.values()].flatMap((top) => top?.label ?? []);
    this.classes = [...new Set([...this.counts.keys(), ...guessed])].sort();
    this.#guesses = guesses;
    this.#what = what && ` · ${what}`;
    for (const { id } of items) this.tiles.set(id, this.#tile(id));
    put(this.grid, [...this.tiles.values()]);
    for (const id of this.tiles.keys()) this.#drawMark(id);
    rove(this.grid, ".open");
    this.#drawSummary();
    this.#drawClasses();
  }

  /** @param {string} id */
  #tile(id) {
    const open = button("", () => this.#select(id), { class: "open", title: id, "aria-pressed": "false" });
    open.append(thumbnail(this.collection, id, ""));
    return h("li", { "data-id": id, "data-was": this.labels.marks.get(id)?.label ?? "" }, open, h("span", { class: "caption" }, h("span", { class: "name" })));
  }

  /** @param {string} id */
  #drawMark(id) {
    const tile = this.tiles.get(id);
    const mark = this.labels.marks.get(id);
    if (!tile || !mark) return;
    this.#recount(tile, mark.label ?? "");
    tile.classList.toggle("pending", mark.isPending);
    tile.classList.toggle("labelled", mark.label !== null);
    tile.classList.toggle("selected", this.#selected.has(id));
    const guess = this.#guesses.get(id);
    const words = mark.label ?? (guess ? `${guess.label}? ${percent(guess.probability, 0)}` : "no label");
    const name = tile.querySelector(".name");
    if (name) name.textContent = `${mark.isLocked ? "🔒 " : ""}${words}`;
    const open = tile.querySelector(".open");
    open?.setAttribute("aria-pressed", String(this.#selected.has(id)));
    open?.setAttribute("aria-label", `${id}, ${mark.label === null ? "" : "label "}${words}${mark.isLocked ? ", locked" : ""}`);
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
    fill(this.summary, `${count(this.tiles.size, "picture")}${selected}${this.#what}`, nPending > 0 && h("span", { class: "hint" }, ` · storing ${nPending} …`), this.#said);
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
    else if (event.key === "y") this.#agree();
    else if (event.key === "s") this.suggest();
    else if (event.key === "u") void this.#undo();
    else if (event.key === "l") void this.labels.lock(this.#targets());
    else if (event.key === "a") this.#selectAll();
    else if (event.key === "n") document.getElementById("new-class")?.focus();
    else if (event.key === "?") this.showKeys();
    else return;
    event.preventDefault();
  }

  /** Give the pictures the classes that the head proposes. */
  #agree() {
    const ids = this.#targets();
    for (const label of new Set(ids.map((id) => this.#guesses.get(id)?.label))) {
      if (label !== undefined) this.#give(label, ids.filter((id) => this.#guesses.get(id)?.label === label));
    }
  }

  /** @param {string | null} label */
  #give(label, ids = this.#targets()) {
    if (!ids.length) return;
    const isOne = this.#selected.size === 0;
    this.#note("");
    this.labels.give(ids, label, localStorage.getItem("by") ?? "");
    say(`${label ?? "no label"}: ${isOne ? ids[0] : count(ids.length, "picture")}`);
    this.#selected.clear();
    for (const id of ids) this.#drawMark(id);
    if (isOne) this.focusCurrent(1);
  }

  async #undo() {
    try {
      this.#note(await this.labels.undo());
    } catch (error) {
      this.#note(textOf(error));
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

/** @param {Asked} asked @param {Desk} desk */
function snippetsOf({ name, head, show }, desk) {
  const label = desk.classes[0] ?? "rose";
  const id = [...desk.tiles.keys()][0] ?? "a.jpg";
  const start = "import fc7\n\nwith fc7.connect() as client:\n";
  if (show === "next") {
    return snippets({
      python: `${start}    for item in client.suggest_items(${py(name)}, head=${py(head)}, n=20):\n        print(item.id, item.reason, item.label)`,
      command: `fc7 head suggest ${sh(head)} --collection ${sh(name)} -n 20`,
      curl: curl("HeadService/SuggestItems", { collection: name, head, n: 20 }),
    });
  }
  return snippets({
    python: `${start}    photos = client.collection(${py(name)})\n    photos.add_labels([fc7.Label(${py(id)}, ${py(label)})])\n    for record in photos.labels():\n        print(record.id, record.label, record.verdict, record.by)`,
    command: `fc7 label ${sh(name)} ${sh(id)} ${sh(label)}\nfc7 label ${sh(name)}`,
    curl: curl("CollectionService/AddLabels", { collection: name, labels: [{ id, label }] }),
  });
}
