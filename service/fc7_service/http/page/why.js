// One picture: its facts, and why it is near or has a class, as light on the pictures and as the units that contribute most.

import { button, fill, h, percent, problem, say } from "./dom.js";
import { base64, original, pictureAddress, thumbnail } from "./pictures.js";
import { pictureOf } from "./query.js";
import { address } from "./route.js";
import { call, readPayload, readTensor, stream } from "./rpc.js";

const UNITS = 5;
const FIRST = 400; // pictures of a collection among which a unit's strongest are looked for
const PART = 16; // pictures per message
const DIM = 0.78; // how dark a place without light gets, 0 to 1

/** @typedef {{collection: string, model: string, layer: string}} Where */

/**
 * @typedef {object} Shown
 * @property {string} collection
 * @property {string} id
 * @property {import("./query.js").Pick | undefined} query what was searched with
 * @property {AbortSignal} signal
 * @property {() => void} close
 * @property {import("./pictures.js").Actions} actions
 */

/** @param {HTMLElement} panel @param {Shown} shown */
export async function drawItem(panel, shown) {
  const { collection, id, signal, close, actions } = shown;
  const what = JSON.stringify([id, shown.query]);
  if (panel.dataset["shown"] === what && panel.childElementCount) return;
  panel.dataset["shown"] = what;
  const shut = button("×", close, { class: "quiet shut", "aria-label": "Close" });
  panel.onkeydown = (event) => void (event.key === "Escape" && close());
  try {
    const { results } = await call("CollectionService/GetItems", { collection, ids: [id] }, { signal });
    const { item, error } = results[0];
    if (error) throw new Error(error.message);
    const tile = { id, payload: readPayload(item.payloadJson) };
    const image = h("img", { src: pictureAddress(collection, id, "1024"), alt: id, class: "large" });
    image.addEventListener("error", () => image.replaceWith(h("span", { class: "plate large" }, "The picture is not on this server, or outside the folders that it may show.")));
    const why = h("section", { class: "why", "aria-label": "Why it is near" });
    fill(
      panel,
      h("div", { class: "panel-head" }, h("h2", { title: id }, id), shut),
      image,
      h("p", { class: "row" }, button("Find similar", () => actions.open(tile), { class: "main" }), button("+ more", () => actions.pick(tile, 1)), button("− less", () => actions.pick(tile, -1))),
      shown.query && shown.query.value !== id && h("h2", {}, "Why it is near"),
      why,
      payloadTable(tile.payload),
    );
    if (shown.query && shown.query.value !== id) void explainMatch(why, collection, shown.query, id, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    fill(panel, h("div", { class: "panel-head" }, h("h2", {}, id), shut), problem(error));
  }
  shut.focus();
}

/** @param {Record<string, unknown>} payload */
function payloadTable(payload) {
  const rows = Object.entries(payload).map(([key, value]) => h("div", {}, h("dt", {}, key), h("dd", {}, typeof value === "string" ? value : JSON.stringify(value))));
  return rows.length ? h("dl", { class: "facts" }, rows) : h("p", { class: "hint" }, "Nothing is stored with this picture.");
}

/**
 * Explain why two pictures are near.
 * @param {HTMLElement} place
 * @param {string} collection
 * @param {import("./query.js").Pick} query
 * @param {string} id
 * @param {AbortSignal} signal
 */
export async function explainMatch(place, collection, query, id, signal) {
  fill(place, h("p", { class: "hint" }, "Explaining …"));
  try {
    const first = query.kind === "id" ? original(collection, query.value) : pictureOf(query).then((found) => found.blob);
    const [one, other] = await Promise.all([first, original(collection, id)]);
    const [queryBytes, bytes] = await Promise.all([base64(one), base64(other)]);
    const answer = await call("ExplainService/ExplainMatch", { collection, query: { encoded: queryBytes }, neighbour: { encoded: bytes }, strongest: UNITS }, { signal });
    const sides = [answer.query, answer.neighbour];
    const where = { collection, model: answer.provenance.model, layer: answer.unitLayer };
    fill(
      place,
      h("div", { class: "pair" }, sides.map((side, at) => h("figure", {}, lit(side.view, side.positions), h("figcaption", {}, at ? "this picture" : "your picture")))),
      sides[0].positions ? h("p", { class: "hint" }, "Light falls on the places that raise the score.") : h("p", { class: "hint" }, `Places cannot be split for this layer, so the whole of both pictures is shown.`),
      unitTable(answer, sides, where, "score", signal),
      trust(answer, answer.score, "score"),
    );
    say("Explained.");
  } catch (error) {
    if (signal.aborted) throw error;
    fill(place, problem(error));
  }
}

/**
 * Explain why a picture has a class.
 * @param {HTMLElement} place
 * @param {{head: string, label: string, image: Blob, collection: string}} asked
 * @param {AbortSignal} signal
 */
export async function explainClass(place, { head, label, image, collection }, signal) {
  fill(place, h("p", { class: "hint" }, "Explaining …"));
  try {
    const answer = await call("ExplainService/ExplainClass", { head, label, image: { encoded: await base64(image) }, strongest: UNITS }, { signal });
    const where = { collection, model: answer.provenance.model, layer: answer.unitLayer };
    fill(
      place,
      h("div", { class: "pair" }, h("figure", {}, lit(answer.view, answer.positions), h("figcaption", {}, `${answer.label}, ${percent(answer.probability)}`))),
      h("p", { class: "hint" }, answer.positions ? `Light falls on the places that speak for ${answer.label}.` : "Places cannot be split for this layer."),
      unitTable(answer, [answer], where, "logit", signal),
      trust(answer, answer.logit, "logit"),
    );
    say("Explained.");
  } catch (error) {
    if (signal.aborted) throw error;
    fill(place, problem(error));
  }
}

/** @param {any} answer @param {any[]} sides @param {Where} where @param {string} what @param {AbortSignal} signal */
function unitTable(answer, sides, where, what, signal) {
  const contributions = readTensor(answer.contributions);
  const rows = (sides[0].projections ?? []).map((/** @type {any} */ one, /** @type {number} */ at) => {
    const unit = Number(one.place.unit);
    const nine = h("div", { class: "nine" });
    const open = button(`unit ${unit}`, () => void strongest(nine, where, unit, signal), { "aria-label": `Unit ${unit} of ${where.layer}: show its strongest pictures`, "aria-expanded": "false" });
    open.addEventListener("click", () => open.setAttribute("aria-expanded", "true"));
    const drawings = sides.map((side) => [seen(side.view, side.projections[at].place), projection(side.projections[at])]).flat();
    return h("li", {}, h("span", { class: "unit-head" }, h("strong", { class: "number" }, signed(contributions[unit] ?? 0)), where.collection ? open : `unit ${unit}`), h("span", { class: "drawings" }, drawings), nine);
  });
  if (!rows.length) return h("p", { class: "hint" }, "This network has no deconvnet, so its units cannot be drawn.");
  return h("div", {}, h("h3", {}, `Units of ${where.layer} that add most to the ${what}`), h("ul", { class: "units", role: "list" }, rows));
}

/** @param {number} n */
const signed = (n) => `${n < 0 ? "−" : "+"}${Math.abs(n).toFixed(3)}`;

/** Say how far an explanation can be trusted. @param {any} answer @param {number} total @param {string} what */
function trust(answer, total, what) {
  let sum = answer.rest;
  for (const one of readTensor(answer.contributions)) sum += one;
  const isExact = Math.abs(sum - total) <= 1e-3 * Math.max(1, Math.abs(total));
  const exact = isExact ? `The contributions are exact: all of them, and ${signed(answer.rest)} that belongs to no unit, add up to the ${what} of ${total.toFixed(3)}.` : `The contributions add up to ${sum.toFixed(3)}, but the ${what} is ${total.toFixed(3)}: do not rely on them.`;
  return h("p", { class: "trust" }, h("strong", {}, "How far to trust it. "), exact, " The drawings of units show what a unit responds to. They are weak evidence of which pixels mattered.");
}

/**
 * Show the nine pictures that excite a unit most, among the first of the collection.
 * @param {HTMLElement} place
 * @param {Where} where
 * @param {number} unit
 * @param {AbortSignal} signal
 */
async function strongest(place, { collection, model, layer }, unit, signal) {
  fill(place, h("p", { class: "hint" }, "Looking through the collection …"));
  try {
    const { items } = await call("CollectionService/ListItems", { collection, pageSize: FIRST }, { signal });
    const plan = { plan: { model, layer, units: [unit], digests: packDigests(items.map((/** @type {any} */ item) => item.contentSha256)) } };
    const result = (await ask([plan], place)) ?? (await ask([plan, ...(await imageParts(collection, items))], place));
    const hits = result?.units[0]?.images ?? [];
    const tiles = hits.map((/** @type {any} */ hit) => {
      const { id } = items[Number(hit.index)];
      return h("a", { href: address("search", collection, { like: id }), title: id }, thumbnail(collection, id, `${id}, activation ${hit.place.value.toFixed(2)}`));
    });
    fill(place, tiles.length ? h("div", { class: "nine-grid" }, tiles) : h("p", { class: "hint" }, "No picture excites this unit."), h("p", { class: "hint" }, `Strongest among ${items.length === FIRST ? `the first ${FIRST}` : items.length} pictures of the collection.`));
    say(`The strongest pictures of unit ${unit} are shown.`);
  } catch (error) {
    if (!signal.aborted) fill(place, problem(error));
  }
}

/** @param {object[]} messages @param {HTMLElement} place @returns {Promise<any>} null if the server needs the pictures */
async function ask(messages, place) {
  /** @type {any} */
  let result = null;
  await stream("ExplainService/TopUnits", messages, (message) => {
    if (message.nDone !== undefined) fill(place, h("p", { class: "hint" }, `Looked at ${message.nDone} pictures …`));
    result = message.result ?? result;
  });
  return result;
}

/** @param {string} collection @param {any[]} items */
async function imageParts(collection, items) {
  const parts = [];
  for (let at = 0; at < items.length; at += PART) {
    const images = await Promise.all(items.slice(at, at + PART).map(async ({ id }) => ({ encoded: await base64(await original(collection, id)) })));
    parts.push({ images: { images } });
  }
  return parts;
}

/** Return digests in hexadecimal as the bytes that the plan holds, in base64. @param {string[]} digests */
function packDigests(digests) {
  const bytes = digests.join("").match(/../g) ?? [];
  return btoa(bytes.map((byte) => String.fromCharCode(parseInt(byte, 16))).join(""));
}

/**
 * Return the square that the network sees, lit where the positions contribute.
 * @param {any} view
 * @param {any} [positions]
 */
function lit(view, positions) {
  const canvas = picture(view.pixels, "What the network sees");
  if (!positions) return canvas;
  const values = readTensor(positions);
  const most = Math.max(1e-9, ...values);
  const [rows = 1, columns = 1] = positions.shape.map(Number);
  const shade = new ImageData(columns, rows);
  values.forEach((value, at) => (shade.data[4 * at + 3] = Math.round(255 * DIM * (1 - Math.max(0, value) / most))));
  const small = h("canvas", { width: columns, height: rows });
  small.getContext("2d")?.putImageData(shade, 0, 0);
  const pen = canvas.getContext("2d");
  if (pen) pen.imageSmoothingQuality = "high";
  pen?.drawImage(small, 0, 0, canvas.width, canvas.height);
  canvas.setAttribute("aria-label", "What the network sees, light where it matters");
  return canvas;
}

/** Return the part of the view that a unit sees. @param {any} view @param {any} place */
function seen(view, place) {
  return cut(picture(view.pixels, ""), place, "The part of the picture that the unit sees");
}

/** Return the projection of a unit, at full contrast; zero is grey. @param {any} drawn */
function projection(drawn) {
  const values = readTensor(drawn.pixels);
  const strengths = Float32Array.from(values, Math.abs).filter((value) => value > 0).sort();
  const full = strengths[Math.floor(0.995 * (strengths.length - 1))] || 1; // single pixels above it would darken the rest
  const pixels = Uint8ClampedArray.from(values, (value) => 127.5 + (127.5 * value) / full);
  return cut(paint(pixels, Number(drawn.pixels.shape[0]), ""), drawn.place, "What the unit responds to there");
}

/** @param {any} tensor uint8 of shape (P, P, 3) @param {string} name */
function picture(tensor, name) {
  return paint(readTensor(tensor), Number(tensor.shape[0]), name);
}

/** @param {ArrayLike<number>} rgb @param {number} side @param {string} name */
function paint(rgb, side, name) {
  const image = new ImageData(side, side);
  for (let at = 0; at < side * side; at += 1) {
    for (let channel = 0; channel < 3; channel += 1) image.data[4 * at + channel] = rgb[3 * at + channel] ?? 0;
    image.data[4 * at + 3] = 255;
  }
  const canvas = h("canvas", { width: side, height: side, role: "img", "aria-label": name });
  canvas.getContext("2d")?.putImageData(image, 0, 0);
  return canvas;
}

/** @param {HTMLCanvasElement} whole @param {any} place @param {string} name */
function cut(whole, { left, top, right, bottom }, name) {
  const x = Math.max(0, left), y = Math.max(0, top);
  const width = Math.max(1, Math.min(whole.width, right) - x), height = Math.max(1, Math.min(whole.height, bottom) - y);
  const canvas = h("canvas", { width, height, role: "img", "aria-label": name });
  canvas.getContext("2d")?.drawImage(whole, x, y, width, height, 0, 0, width, height);
  return canvas;
}
