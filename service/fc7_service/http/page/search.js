// Search: what to look for on the left, its neighbours as a grid, the facts of one picture on the right.

import { button, count, fill, h, problem, say } from "./dom.js";
import { dropField, pictureGrid, remember } from "./pictures.js";
import { countValues, facetList, filterJson, filterText, pickedPicture, readChosen, readPicks, weightsOf, wireQuery, writeChosen, writePicks } from "./query.js";
import { address, go } from "./route.js";
import { call, CallError, readPayload } from "./rpc.js";
import { curl, py, sh, snippets } from "./snippets.js";

const STEP = 48; // pictures that are shown at first, and added by each press of More
const MOST = 4800;

/** @typedef {import("./query.js").Pick} Pick */
/** @typedef {import("./pictures.js").Tile} Tile */
/** @typedef {{picks: Pick[], chosen: import("./query.js").Chosen, n: number, item: string}} State */
/** @typedef {{name: string, state: State, signal: AbortSignal, open: (changes: Partial<State>) => void}} Context */

/** The elements of the view, kept while the address changes within one collection. */
let frame = makeFrame("");

/** @param {string} name */
function makeFrame(name) {
  const picks = h("section", { "aria-label": "What to look for" });
  const facets = h("section", { "aria-label": "Filters", class: "facets" });
  const results = h("section", { "aria-label": "Pictures", class: "results" });
  const detail = h("aside", { class: "detail", "aria-label": "About the picture", hidden: true });
  const root = h("div", { class: "work" }, h("div", { class: "side" }, picks, facets), results, detail);
  return { root, name, picks, facets, results, detail, query: "" };
}

/** @param {HTMLElement} main @param {import("./route.js").Route} route @param {AbortSignal} signal */
export async function draw(main, route, signal) {
  const { name, params } = route;
  const n = Math.min(MOST, Number(params.get("n")) || STEP);
  /** @type {State} */
  const state = { picks: readPicks(params), chosen: readChosen(params), n, item: params.get("item") ?? "" };
  if (frame.name !== name || !main.contains(frame.root)) {
    frame = makeFrame(name);
    fill(main, h("h1", { class: "unseen" }, `Search ${name}`), frame.root);
  }
  const open = (/** @type {Partial<State>} */ changes) => go(addressOf(name, { ...state, ...changes }));
  /** @type {Context} */
  const context = { name, state, signal, open };
  const query = addressOf(name, { ...state, item: "" });
  const isNew = frame.query !== query;
  frame.query = query;
  await Promise.all([drawPicks(context), isNew && drawResults(context), drawDetail(context)]);
}

/** @param {string} name @param {State} state */
function addressOf(name, state) {
  return address("search", name, { ...writePicks(state.picks), ...writeChosen(state.chosen), n: state.n === STEP ? "" : state.n, item: state.item });
}

/** @param {Context} context */
async function drawPicks({ name, state, signal, open }) {
  const field = dropField(state.picks.length ? "Drop or paste another picture, or" : "Drop or paste a picture, click one, or", signal, async (files) => {
    /** @type {Pick[]} */
    const picks = await Promise.all(files.slice(0, 8).map(async (file) => ({ kind: /** @type {const} */ ("picture"), value: await remember(file), sign: /** @type {const} */ (1) })));
    open({ picks, n: STEP, item: "" });
  });
  const rows = await Promise.all(state.picks.map((pick) => pickRow(name, pick, state, open)));
  if (signal.aborted) return;
  const isOff = state.picks.length > 0;
  fill(
    frame.picks,
    isOff && h("h2", {}, "Looking for"),
    isOff && h("ul", { class: "picks", role: "list" }, rows),
    field,
    isOff && button("Show the whole collection", () => open({ picks: [], n: STEP, item: "" }), { class: "quiet" }),
  );
}

/** @param {string} name @param {Pick} pick @param {State} state @param {Context["open"]} open */
async function pickRow(name, pick, state, open) {
  const rest = state.picks.filter((one) => one !== pick);
  const turned = state.picks.map((one) => (one === pick ? { ...one, sign: /** @type {1 | -1} */ (-one.sign) } : one));
  try {
    const { name: title, element } = await pickedPicture(name, pick);
    const isMore = pick.sign === 1;
    const turn = button(isMore ? "more" : "less", () => open({ picks: turned }), { class: "sign", "aria-label": `${isMore ? "More" : "Less"} like ${title}; press to turn round` });
    return h("li", { class: isMore ? "" : "less" }, element, h("span", { class: "pick-text" }, h("span", { class: "name", title }, title), turn, button("×", () => open({ picks: rest }), { class: "quiet", "aria-label": `Leave out ${title}` })));
  } catch (error) {
    return h("li", {}, problem(error), button("×", () => open({ picks: rest }), { class: "quiet", "aria-label": "Leave it out" }));
  }
}

/** @param {Context} context */
async function drawResults(context) {
  const { name, state, signal, open } = context;
  const focused = idInFocus();
  frame.results.setAttribute("aria-busy", "true");
  try {
    const isSearch = state.picks.length > 0;
    const found = await (isSearch ? search(context) : browse(context));
    if (signal.aborted) return;
    const { tiles, what, hasMore } = found;
    fill(
      frame.results,
      h("p", { class: "summary" }, what, found.nPairs ? ` · beside each score: how many of ${found.nPairs.toLocaleString("en")} random pairs of this collection are as near` : ""),
      tiles.length ? pictureGrid(name, tiles, actionsOf(context), tiles[0]?.score) : h("p", { class: "empty" }, "Nothing here. Take a filter away, or add pictures with: fc7 add"),
      hasMore && button("More", () => open({ n: state.n + STEP }), { class: "more" }),
      snippetsOf(name, state, found.method, found.request),
    );
    const best = tiles[0]?.score;
    say(best === undefined ? what : `${what}. The best has a score of ${best.toFixed(3)}.`);
    if (focused !== null) focusTile(focused);
    void drawFacets(context, tiles);
  } catch (error) {
    if (signal.aborted) throw error;
    frame.query = "";
    fill(frame.results, problem(error));
  } finally {
    frame.results.removeAttribute("aria-busy");
  }
}

/** Return the id of the tile that has the focus; null if the focus is elsewhere. */
function idInFocus() {
  const focus = document.activeElement;
  return focus && frame.results.contains(focus) ? focus.closest("li")?.dataset["id"] ?? "" : null;
}

/** Focus the tile of an item, or the first one. @param {string} id */
function focusTile(id) {
  const tile = frame.results.querySelector(`[data-id="${CSS.escape(id)}"] .open`) ?? frame.results.querySelector(".open");
  if (tile instanceof HTMLElement) tile.focus();
}

/** @typedef {{tiles: Tile[], nPairs?: number, what: string, hasMore: boolean, method: string, request: object}} Found */

/** @param {Context} context @returns {Promise<Found>} */
async function search({ name, state, signal }) {
  if (state.picks.every((pick) => pick.sign === -1)) throw new Error("Pick at least one picture to look for more like it. Pictures to avoid come on top of it.");
  const query = await wireQuery(state.picks);
  const request = { collection: name, queries: [query], k: state.n, ...filterOf(state) };
  const method = "CollectionService/QueryItems";
  const isOne = state.picks.length === 1; // the sum of several scores cannot be compared with the score of a pair
  const { results, report } = await call(method, { ...request, withRarity: isOne }, { signal }).catch((error) => {
    if (error instanceof CallError && error.code === "failed_precondition") return call(method, request, { signal }); // a single item has no pairs
    throw error;
  });
  const [result] = results;
  if (result.error) throw new Error(result.error.message);
  /** @type {Tile[]} */
  const tiles = result.hits.map((/** @type {any} */ hit) => ({ id: hit.id, payload: readPayload(hit.payloadJson), score: hit.score, rarity: hit.rarity }));
  const nPairs = Number(report.rarityPairs);
  return { tiles, nPairs, what: `${count(tiles.length, "neighbour")}, nearest first`, hasMore: tiles.length === state.n && state.n < MOST, method, request };
}

/** @param {Context} context @returns {Promise<Found>} */
async function browse({ name, state, signal }) {
  const method = "CollectionService/ListItems";
  const request = { collection: name, pageSize: state.n, ...filterOf(state) };
  const [{ items, nextPageToken }, total] = await Promise.all([
    call(method, request, { signal }),
    call("CollectionService/CountItems", { collection: name, ...filterOf(state) }, { signal }),
  ]);
  const tiles = items.map((/** @type {any} */ item) => ({ id: item.id, payload: readPayload(item.payloadJson) }));
  return { tiles, what: `${count(Number(total.count), "picture")}${filterJson(state.chosen) ? " match" : ""}`, hasMore: Boolean(nextPageToken), method, request };
}

/** @param {State} state */
function filterOf(state) {
  const filter = filterJson(state.chosen);
  return filter ? { filterJson: filter } : {};
}

/** @param {Context} context @returns {import("./pictures.js").Actions} */
function actionsOf({ state, open }) {
  return {
    open: ({ id }) => open({ picks: [{ kind: "id", value: id, sign: 1 }], n: STEP, item: "" }),
    pick: ({ id }, sign) => open({ picks: [...state.picks.filter((pick) => pick.value !== id), { kind: "id", value: id, sign }], n: STEP }),
    inspect: ({ id }) => open({ item: id }),
  };
}

/** @param {Context} context @param {Tile[]} tiles */
async function drawFacets({ name, state, signal, open }, tiles) {
  /** @type {import("./query.js").Facet[]} */
  let facets;
  try {
    facets = await countValues(name, tiles.map((tile) => tile.payload), state.chosen, signal);
  } catch (error) {
    if (!signal.aborted) fill(frame.facets, problem(error));
    return;
  }
  if (signal.aborted) return;
  fill(frame.facets, facets.length > 0 && h("h2", {}, "Filters"), facetList(facets, state.chosen, (chosen) => open({ chosen, n: STEP })));
}

/** @param {Context} context */
async function drawDetail(context) {
  const { name, state, signal, open } = context;
  frame.detail.hidden = !state.item;
  if (!state.item) return frame.detail.replaceChildren();
  const close = () => {
    open({ item: "" });
    focusTile(state.item);
  };
  const { drawItem } = await import("./why.js");
  await drawItem(frame.detail, { collection: name, id: state.item, query: state.picks.find((pick) => pick.sign === 1), signal, close, actions: actionsOf(context) });
}

/** @param {string} name @param {State} state @param {string} method @param {object} request */
function snippetsOf(name, state, method, request) {
  const where = filterText(state.chosen);
  const inPython = where && `, where=${py(where)}`;
  const inShell = where && ` --where ${sh(where)}`;
  const [first] = state.picks;
  const head = `import fc7\n\nwith fc7.connect() as client:\n    photos = client.collection(${py(name)})\n`;
  if (!first) {
    const python = `${head}    for item in photos.items(${where && `where=${py(where)}`}):\n        print(item.id, item.payload)`;
    return snippets({ python, command: `fc7 collection items ${sh(name)} --limit ${state.n}${inShell}`, curl: curl(method, request) });
  }
  const isFile = first.kind === "picture";
  const asked = state.picks.length > 1 ? exampleSnippets(state.picks) : { python: isFile ? '"query.jpg"' : `id=${py(first.value)}`, command: isFile ? "query.jpg" : `--id ${sh(first.value)}` };
  const python = `${head}    for hit in photos.search(${asked.python}, k=${state.n}${inPython}):\n        print(hit.id, hit.score)`;
  const command = `fc7 search ${sh(name)} ${asked.command} -k ${state.n}${inShell}`;
  const fields = new URLSearchParams({ collection: name, k: String(state.n), ...(where && { filter_json: filterJson(state.chosen) }) });
  const file = `curl '${location.origin}/fc7.v1.${method}?${fields}' \\\n    -F image=@query.jpg`;
  const isPlainFile = isFile && state.picks.length === 1;
  return snippets({ python, command, curl: isPlainFile ? file : curl(method, request) });
}

/** Return several picks with their weights. @param {Pick[]} picks */
function exampleSnippets(picks) {
  const weights = weightsOf(picks).map((weight) => Number(weight.toFixed(4)));
  const one = (/** @type {Pick} */ pick, /** @type {number} */ at) => `fc7.Example(${pick.kind === "id" ? `id=${py(pick.value)}` : '"query.jpg"'}, weight=${weights[at]})`;
  return {
    python: `examples=[\n        ${picks.map(one).join(",\n        ")},\n    ]`,
    command: picks.map((pick, at) => (pick.kind === "id" ? `--example-id ${weights[at]} ${sh(pick.value)}` : `--example ${weights[at]} query.jpg`)).join(" "),
  };
}
