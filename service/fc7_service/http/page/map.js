// Map: the whole collection in two dimensions. Hovering shows a picture, a lasso or a group selects, and the grid follows.

import { button, count, fill, h, percent, say } from "./dom.js";
import { pictureGrid, thumbnail } from "./pictures.js";
import { inside, Plot } from "./plot.js";
import { address, go, note } from "./route.js";
import { call, readPayload } from "./rpc.js";
import { curl, py, sh, snippets } from "./snippets.js";
import { callWire, doubles, readFields, tensorBytes } from "./wire.js";

const SHOWN = 60; // pictures of a selection
const MOST_CORNERS = 60; // of a lasso
const NONE = 255;
const DASH = [5, 4];
const METHODS = [["pca", "main directions (PCA)"], ["tsne", "neighbourhoods (t-SNE)"]];
const TSNE = 2; // of the enum MapMethod
const OPAQUE = 225, UNSELECTED = 28; // of 255
const HUES = [172, 28, 262, 48, 330, 205, 95, 0, 230, 150, 300, 70];

/** @param {HTMLElement} main @param {import("./route.js").Route} route @param {AbortSignal} signal */
export async function draw(main, { name, params }, signal) {
  const field = params.get("field") ?? "label";
  const method = params.get("method") === "tsne" ? "tsne" : "pca";
  const isTsne = method === "tsne";
  fill(main, h("p", { class: "hint" }, isTsne ? "Placing the pictures by t-SNE. The first time this takes seconds to minutes. You may leave this page: the server goes on." : "Placing the pictures …"));
  const request = { collection: name, field, ...(isTsne && { method: "MAP_METHOD_TSNE" }) };
  const found = readMap(await callWire("CollectionService/MapItems", { 1: name, 2: field, 3: isTsne ? TSNE : 0 }, { signal }));
  if (signal.aborted) return;
  const canvas = h("canvas", { class: "map", tabindex: 0, role: "img", "aria-label": `Map of ${count(found.ids.length, "picture")}. Arrows move it, + and - zoom, 0 shows all. The groups beside it select pictures.` });
  const lasso = h("canvas", { class: "lasso", "aria-hidden": "true" });
  const seen = h("div", { class: "seen" });
  const results = h("section", { class: "results", "aria-label": "Selected pictures" });
  const legend = h("section", { "aria-label": "Groups" });
  const naming = h("input", { id: "field", value: field, size: 10, spellcheck: "false" });
  naming.addEventListener("change", () => go(address("map", name, { field: naming.value.trim(), method })));
  const placing = h("select", { id: "method" }, METHODS.map(([value, title]) => h("option", { value, selected: value === method }, title)));
  placing.addEventListener("change", () => go(address("map", name, { field, method: placing.value })));
  fill(
    main,
    h("h1", { class: "unseen" }, `Map of ${name}`),
    h("div", { class: "map-work" }, h("div", { class: "stage" }, canvas, lasso, seen), h("div", { class: "side" }, legend, h("label", { for: "field" }, "Coloured by the field"), naming, h("label", { for: "method" }, "Placed by"), placing, h("p", { class: "hint" }, isTsne ? "Near on the map is near. The distance between groups and their size mean nothing." : `Two directions hold ${percent(found.share)} of the variance: near on the map may be far apart.`))),
    results,
    snippets({
      python: `import fc7\n\nwith fc7.connect() as client:\n    found = client.collection(${py(name)}).map(${py(field)}${isTsne ? ', method="tsne"' : ""})\n    print(found.ids, found.positions)`,
      command: `fc7 collection map ${sh(name)}${field && ` --field ${sh(field)}`}${isTsne ? " --method tsne" : ""} --json`,
      curl: curl("CollectionService/MapItems", request),
    }),
  );
  const view = new View(name, { field, method }, found, { canvas, lasso, seen, results, legend }, signal);
  view.open(params);
}

/** @typedef {{ids: string[], places: Float32Array, groups: Uint8Array, values: any[], share: number}} Found */

/** Return what a `MapItemsResponse` holds. @param {Uint8Array} message @returns {Found} */
function readMap(message) {
  const decoder = new TextDecoder();
  /** @type {Found} */
  const found = { ids: [], places: new Float32Array(), groups: new Uint8Array(), values: [], share: 0 };
  readFields(message, (field, value) => {
    if (field === 1) found.ids.push(decoder.decode(value));
    else if (field === 2) found.places = new Float32Array(tensorBytes(value).buffer);
    else if (field === 3) found.share = doubles(value).reduce((sum, one) => sum + one, 0);
    else if (field === 4) found.groups = tensorBytes(value);
    else if (field === 5) found.values.push(JSON.parse(decoder.decode(value)));
  });
  return found;
}

/** @typedef {{canvas: HTMLCanvasElement, lasso: HTMLCanvasElement, seen: HTMLElement, results: HTMLElement, legend: HTMLElement}} Places */

class View {
  /** @type {number[]} */
  #polygon = []; // x, y of each corner
  #isMoving = false;
  #accent = "";

  /** @param {string} name @param {{field: string, method: string}} shown @param {Found} found @param {Places} places @param {AbortSignal} signal */
  constructor(name, shown, found, places, signal) {
    this.name = name;
    this.shown = shown;
    this.ids = found.ids;
    this.groups = found.groups;
    this.values = found.values;
    this.places = places;
    this.signal = signal;
    this.plot = new Plot(places.canvas, found.places, this.#drawLasso);
    this.#listen();
  }

  /** Show what an address says. @param {URLSearchParams} params */
  open(params) {
    const corners = (params.get("lasso") ?? "").split(",").map(Number);
    if (corners.length % 2 === 0 && corners.every(Number.isFinite)) this.#polygon = corners;
    const group = this.values.findIndex((/** @type {any} */ value) => String(value) === params.get("group"));
    if (this.#polygon.length >= 6) this.#select(inside(this.plot.places, this.#polygon));
    else if (group >= 0) this.#selectGroup(group);
    else this.#select(null);
  }

  /** Mark points, or all with null, and show their pictures. @param {number[] | null} points */
  #select(points) {
    this.selected = points;
    this.#accent = getComputedStyle(document.documentElement).getPropertyValue("--accent");
    this.#paint();
    this.places.canvas.dataset.drawn = String(this.ids.length);
    this.#drawLegend();
    void this.#drawResults();
  }

  /** @param {number} group */
  #selectGroup(group) {
    this.#polygon = [];
    note(address("map", this.name, { ...this.shown, group: String(this.values[group]) }));
    this.#select([...this.groups.keys()].filter((at) => this.groups[at] === group));
  }

  #paint() {
    const isDark = getComputedStyle(document.documentElement).colorScheme === "dark";
    const paints = new Uint8Array(4 * this.ids.length);
    const colours = Array.from({ length: NONE + 1 }, (_, group) => colourOf(group, isDark));
    for (let at = 0; at < this.ids.length; at += 1) {
      paints.set(colours[this.groups[at] ?? NONE] ?? [], 4 * at);
      paints[4 * at + 3] = this.selected ? UNSELECTED : OPAQUE;
    }
    for (const at of this.selected ?? []) paints[4 * at + 3] = OPAQUE;
    this.plot.paint(paints);
  }

  #drawLegend() {
    const isDark = getComputedStyle(document.documentElement).colorScheme === "dark";
    const counts = new Array(this.values.length).fill(0);
    for (const at of this.selected ?? this.ids.keys()) if ((this.groups[at] ?? NONE) !== NONE) counts[this.groups[at] ?? 0] += 1;
    const rows = this.values.map((/** @type {any} */ value, /** @type {number} */ group) => {
      const dot = h("span", { class: "dot" });
      dot.style.background = `rgb(${colourOf(group, isDark).join(" ")})`;
      const row = button("", () => this.#selectGroup(group), { class: "class" });
      fill(row, dot, h("span", { class: "facet-value" }, String(value)), h("span", { class: "facet-count" }, counts[group]));
      return h("li", {}, row);
    });
    const all = button("Show all", () => {
      this.#polygon = [];
      note(address("map", this.name, this.shown));
      this.#select(null);
    }, { disabled: this.selected === null });
    const mode = button(this.#isMoving ? "Drag moves" : "Drag selects", () => {
      this.#isMoving = !this.#isMoving;
      this.#drawLegend();
      this.places.legend.querySelector("button")?.focus();
    }, { "aria-pressed": String(this.#isMoving), title: "What dragging does. With Shift it does the other." });
    fill(this.places.legend, h("p", { class: "row" }, mode, all), h("ul", { class: "classes", role: "list" }, rows));
  }

  async #drawResults() {
    const { results } = this.places;
    if (!this.selected) return fill(results, h("p", { class: "hint" }, "Draw a line round pictures on the map, or choose a group."));
    const shown = this.selected.slice(0, SHOWN).map((at) => this.ids[at] ?? "");
    const words = `${count(this.selected.length, "picture")} selected${this.selected.length > SHOWN ? `, ${SHOWN} shown` : ""}`;
    say(words);
    if (!shown.length) return fill(results, h("p", { class: "summary" }, words));
    const answer = await call("CollectionService/GetItems", { collection: this.name, ids: shown }, { signal: this.signal });
    const tiles = answer.results.filter((/** @type {any} */ one) => one.item).map((/** @type {any} */ { item }) => ({ id: item.id, payload: readPayload(item.payloadJson) }));
    const to = (/** @type {Record<string, string>} */ values) => go(address("search", this.name, values));
    const grid = pictureGrid(this.name, tiles, { open: ({ id }) => to({ like: id }), pick: ({ id }, sign) => to({ [sign === 1 ? "like" : "unlike"]: id }), inspect: ({ id }) => to({ item: id }) });
    fill(results, h("p", { class: "summary" }, words), grid);
  }

  #drawLasso = () => {
    const { lasso } = this.places, { plot } = this;
    const pen = lasso.getContext("2d");
    if (!pen) return;
    if (lasso.width !== plot.width) lasso.width = plot.width;
    if (lasso.height !== plot.height) lasso.height = plot.height;
    pen.clearRect(0, 0, lasso.width, lasso.height);
    if (this.#polygon.length < 4) return;
    pen.strokeStyle = this.#accent;
    pen.lineWidth = 2;
    pen.setLineDash(DASH);
    pen.beginPath();
    for (let at = 0; at < this.#polygon.length; at += 2) pen.lineTo(plot.canvasX(this.#polygon[at] ?? 0), plot.canvasY(this.#polygon[at + 1] ?? 0));
    pen.closePath();
    pen.stroke();
  };

  #listen() {
    const { canvas } = this.places;
    const { signal } = this;
    /** @type {"" | "lasso" | "move"} */
    let drag = "";
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      drag = event.shiftKey === this.#isMoving ? "lasso" : "move";
      this.places.seen.replaceChildren();
      if (drag === "lasso") this.#polygon = [this.plot.dataX(event.offsetX), this.plot.dataY(event.offsetY)];
    });
    canvas.addEventListener("pointermove", (event) => {
      if (drag === "move") this.plot.move(event.movementX, event.movementY);
      else if (drag === "lasso") {
        this.#polygon.push(this.plot.dataX(event.offsetX), this.plot.dataY(event.offsetY));
        this.#drawLasso();
      } else this.#hover(event.offsetX, event.offsetY);
    });
    canvas.addEventListener("pointerup", () => {
      if (drag === "lasso") this.#endLasso();
      drag = "";
    });
    canvas.addEventListener("pointerleave", () => this.places.seen.replaceChildren());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.plot.zoomBy(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
    });
    canvas.addEventListener("keydown", (event) => this.#onKey(event));
    const sizes = new ResizeObserver(() => this.plot.fit());
    sizes.observe(canvas);
    signal.addEventListener("abort", () => sizes.disconnect());
    addEventListener("theme", () => this.#select(this.selected ?? null), { signal });
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const steps = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
    const step = steps[/** @type {keyof typeof steps} */ (event.key)];
    if (step) this.plot.move(step[0] ?? 0, step[1] ?? 0);
    else if (event.key === "+") this.plot.zoomBy(1.25);
    else if (event.key === "-") this.plot.zoomBy(0.8);
    else if (event.key === "0") this.plot.reset();
    else return;
    event.preventDefault();
  }

  #endLasso() {
    const step = Math.ceil(this.#polygon.length / 2 / MOST_CORNERS);
    this.#polygon = this.#polygon.filter((_, at) => (at >> 1) % step === 0);
    if (this.#polygon.length < 6) {
      this.#polygon = [];
      return this.#drawLasso();
    }
    const digits = Math.max(0, 4 - Math.floor(Math.log10(this.plot.radius)));
    note(address("map", this.name, { ...this.shown, lasso: this.#polygon.map((value) => Number(value.toFixed(digits))).join(",") }));
    this.#select(inside(this.plot.places, this.#polygon));
  }

  /** @param {number} x @param {number} y */
  #hover(x, y) {
    const { seen, canvas } = this.places;
    const at = this.plot.nearest(x, y);
    const id = this.ids[at];
    if (id === undefined) return seen.replaceChildren();
    if (seen.dataset["id"] !== id || !seen.childElementCount) {
      seen.dataset["id"] = id;
      const group = this.groups[at] ?? NONE;
      fill(seen, thumbnail(this.name, id, ""), h("span", { class: "name" }, group === NONE ? id : `${this.values[group]} · ${id}`));
    }
    seen.style.left = `${Math.min(x + 14, canvas.clientWidth - 150)}px`;
    seen.style.top = `${Math.min(y + 14, canvas.clientHeight - 170)}px`;
  }
}

/** Return the colour of a group. @param {number} group @param {boolean} isDark @returns {[number, number, number]} */
function colourOf(group, isDark) {
  if (group === NONE) return isDark ? [150, 146, 138] : [120, 116, 108];
  const hue = group < HUES.length ? (HUES[group] ?? 0) : (group * 137.5) % 360;
  const light = isDark ? 0.64 : 0.42;
  const f = (/** @type {number} */ n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (light - 0.6 * Math.min(light, 1 - light) * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [f(0), f(8), f(4)];
}
