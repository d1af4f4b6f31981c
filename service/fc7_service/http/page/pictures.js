// Pictures: those of a collection by address, in a grid with their scores; and those that the user drops, pastes or chooses, kept in this browser.

import { button, h, rove, say } from "./dom.js";

const KEPT = 60; // pictures that this browser remembers, so that the address of a search opens it again

/**
 * Return the picture of an item, or a plate with its name where there is no picture.
 * @param {string} collection
 * @param {string} id
 * @param {string} [alt] empty where the name stands beside it
 */
export function thumbnail(collection, id, alt = id) {
  const image = h("img", { src: pictureAddress(collection, id, "256"), alt, loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(h("span", { class: "plate" }, id.split("/").pop() ?? id)));
  return image;
}

/**
 * @param {string} collection
 * @param {string} id
 * @param {"64" | "256" | "1024" | "full"} size
 */
export function pictureAddress(collection, id, size) {
  return `/pictures/${encodeURIComponent(collection)}?${new URLSearchParams({ id, size })}`;
}

/**
 * Return the bytes of an item's picture as the network sees them.
 * @param {string} collection
 * @param {string} id
 * @returns {Promise<Blob>}
 */
export async function original(collection, id) {
  const response = await fetch(pictureAddress(collection, id, "full"));
  if (response.ok) return response.blob();
  const { message } = await response.json().catch(() => ({ message: "" }));
  throw new Error(message || `The picture of ${id} is not on the server any more.`);
}

/**
 * Return a canvas with a picture, fitted into a square.
 * @param {Blob} blob
 * @param {string} name
 * @param {number} [side] in pixels
 */
export async function canvasOf(blob, name, side = 256) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    return h("span", { class: "plate" }, name);
  }
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const canvas = h("canvas", { role: "img", "aria-label": name, width: Math.max(1, Math.round(bitmap.width * scale)), height: Math.max(1, Math.round(bitmap.height * scale)) });
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** Return bytes as base64. @param {Blob} blob @returns {Promise<string>} */
export async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

/**
 * Keep a picture in this browser; return the name under which `recall` finds it.
 * @param {Blob} blob
 * @returns {Promise<string>}
 */
export async function remember(blob) {
  const bytes = await blob.arrayBuffer();
  // Without TLS, browsers offer digests on loopback alone.
  const digest = crypto.subtle ? new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)) : crypto.getRandomValues(new Uint8Array(16));
  const name = [...digest.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const store = await openStore("readwrite");
  const title = blob instanceof File ? blob.name : "";
  store.put({ bytes, type: blob.type, title, time: Date.now() }, name);
  await forgetOld(store);
  return name;
}

/**
 * Return a picture that the user gave earlier; null if this browser does not have it.
 * @param {string} name
 * @returns {Promise<{blob: Blob, title: string} | null>}
 */
export async function recall(name) {
  const found = await done((await openStore("readonly")).get(name));
  return found ? { blob: new Blob([found.bytes], { type: found.type }), title: found.title || "your picture" } : null;
}

/** @param {IDBTransactionMode} mode @returns {Promise<IDBObjectStore>} */
async function openStore(mode) {
  const opening = indexedDB.open("fc7", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("pictures").createIndex("time", "time");
  return (await done(opening)).transaction("pictures", mode).objectStore("pictures");
}

/** @param {IDBObjectStore} store */
async function forgetOld(store) {
  const names = await done(store.index("time").getAllKeys());
  for (const name of names.slice(0, -KEPT)) store.delete(name);
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/**
 * Return the field that pictures are dropped on. While the signal lasts, they may be dropped and pasted anywhere.
 * @param {string} text
 * @param {AbortSignal} signal
 * @param {(files: File[]) => void} onPictures at least one
 */
export function dropField(text, signal, onPictures) {
  const take = (/** @type {FileList | undefined} */ files) => {
    const pictures = [...(files ?? [])].filter(isPicture);
    document.body.classList.remove("dragging");
    if (pictures.length) onPictures(pictures);
    else say("That is no picture that fc7 reads.");
  };
  const on = (/** @type {string} */ name, /** @type {(event: any) => void} */ listener) => document.addEventListener(name, listener, { signal });
  on("paste", (event) => event.clipboardData.files.length && take(event.clipboardData.files));
  on("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  on("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dragging"));
  on("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files);
  });
  const file = h("input", { type: "file", accept: "image/*", multiple: true, class: "unseen", tabindex: -1, "aria-label": "Picture file" });
  file.addEventListener("change", () => take(file.files ?? undefined));
  const camera = h("div", { class: "camera" });
  const open = async () => camera.querySelector("video") || (await import("./camera.js")).openCamera(camera, signal, (picture) => onPictures([picture]));
  return h("div", { class: "drop" }, h("p", {}, text), h("p", { class: "row" }, button("Choose a picture", () => file.click()), button("Camera", () => void open())), file, camera);
}

/** @param {File} file */
function isPicture(file) {
  return file.type.startsWith("image/") || /\.(jpe?g|png|webp|gif|bmp|tiff?|avif)$/i.test(file.name);
}

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
