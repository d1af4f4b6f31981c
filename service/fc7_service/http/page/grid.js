// A grid of pictures: neighbours with their scores, or the items of a collection.

import { button, h, rove } from "./dom.js";
import { thumbnail } from "./pictures.js";

/** @typedef {{id: string, payload: any, score?: number, rarity?: number}} Tile */
/**
 * @typedef {object} Actions
 * @property {(tile: Tile) => void} open search with the picture
 * @property {(tile: Tile, sign: 1 | -1) => void} pick add it to the search
 * @property {(tile: Tile) => void} inspect show its facts
 */

/**
 * Return the tiles as a list with one stop for Tab; arrows move, Enter searches, + and - pick, i shows the facts.
 * @param {string} collection
 * @param {Tile[]} tiles
 * @param {Actions} actions
 * @param {number} [best] the score that fills the bar
 */
export function pictureGrid(collection, tiles, actions, best = 1) {
  const list = h("ul", { class: "grid", role: "list" }, tiles.map((tile) => tileOf(collection, tile, actions, best)));
  const byElement = new Map(tiles.map((tile, at) => [list.children[at], tile]));
  rove(list, ".open");
  list.addEventListener("keydown", (event) => {
    const tile = event.target instanceof Element && byElement.get(event.target.closest("li") ?? undefined);
    if (!tile || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "+") actions.pick(tile, 1);
    else if (event.key === "-") actions.pick(tile, -1);
    else if (event.key === "i") actions.inspect(tile);
    else return;
    event.preventDefault();
  });
  return list;
}

/** @param {string} collection @param {Tile} tile @param {Actions} actions @param {number} best */
function tileOf(collection, tile, actions, best) {
  const { id, payload, score, rarity } = tile;
  const label = typeof payload.label === "string" ? payload.label : "";
  const named = [id, score === undefined ? "" : `score ${score.toFixed(3)}`, label && `label ${label}`].filter(Boolean).join(", ");
  const open = button("", () => actions.open(tile), { class: "open", "aria-label": `Find pictures like ${named}`, title: id });
  open.append(thumbnail(collection, id, ""));
  const tools = h(
    "span",
    { class: "tools" },
    button("+", () => actions.pick(tile, 1), { "aria-label": `More like ${id}`, title: "More like this (+)" }),
    button("−", () => actions.pick(tile, -1), { "aria-label": `Less like ${id}`, title: "Less like this (-)" }),
    button("i", () => actions.inspect(tile), { "aria-label": `About ${id}`, title: score === undefined ? "About this picture (i)" : "Why this picture (i)" }),
  );
  return h("li", { "data-id": id }, open, score !== undefined && scoreBar(score, best), h("span", { class: "caption" }, h("span", { class: "name", title: id }, label || id), score !== undefined && scoreText(score, rarity), tools));
}

/** @param {number} score @param {number} best */
function scoreBar(score, best) {
  const bar = h("span", { class: "bar", "aria-hidden": "true" }, h("span"));
  /** @type {HTMLElement} */ (bar.firstChild).style.width = `${Math.max(0, Math.min(1, score / best)) * 100}%`;
  return bar;
}

/** @param {number} score @param {number | undefined} rarity share of random pairs that are at least as near */
function scoreText(score, rarity) {
  if (rarity === undefined) return h("span", { class: "score" }, score.toFixed(3));
  const one = 1 / rarity;
  const words = `1 in ${one < 10 ? one.toFixed(1) : Math.round(one).toLocaleString("en")}`;
  return h("span", { class: "score", title: `Of random pairs of this collection, ${words} is at least as near.` }, score.toFixed(3), h("small", {}, words));
}
