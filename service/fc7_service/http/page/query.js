// What is looked for: pictures, each "more like this" or "less like this", and filters on the payload.

import { h } from "./dom.js";
import { base64, canvasOf, recall, thumbnail } from "./pictures.js";
import { call } from "./rpc.js";

/** @typedef {{kind: "id" | "picture", value: string, sign: 1 | -1}} Pick */

const KEYS = { like: 1, unlike: -1 };

/**
 * Read the picks of an address: like=ID, unlike=ID; a picture that the user gave is picture:DIGEST.
 * @param {URLSearchParams} params
 * @returns {Pick[]}
 */
export function readPicks(params) {
  /** @type {Pick[]} */
  const picks = [];
  for (const [key, text] of params) {
    if (key !== "like" && key !== "unlike") continue;
    const [, digest] = /^picture:([0-9a-f]{32})$/.exec(text) ?? [];
    picks.push({ kind: digest ? "picture" : "id", value: digest ?? text, sign: KEYS[key] === 1 ? 1 : -1 });
  }
  return picks;
}

/** Return the part of an address. @param {Pick[]} picks @returns {Record<string, string[]>} */
export function writePicks(picks) {
  const write = (/** @type {Pick} */ pick) => (pick.kind === "picture" ? `picture:${pick.value}` : pick.value);
  return { like: picks.filter((pick) => pick.sign === 1).map(write), unlike: picks.filter((pick) => pick.sign === -1).map(write) };
}

/**
 * Return the query as the wire has it. One picture alone is its plain source; several are examples with weights.
 * @param {Pick[]} picks
 */
export async function wireQuery(picks) {
  const sources = await Promise.all(picks.map(source));
  if (sources.length === 1) return sources[0];
  const weights = weightsOf(picks);
  return { examples: sources.map((one, at) => ({ ...one, weight: weights[at] })) };
}

/** Return the weight of each pick: those to find more of share 1, those to avoid share -0.5. @param {Pick[]} picks */
export function weightsOf(picks) {
  const nMore = picks.filter((pick) => pick.sign === 1).length;
  return picks.map(({ sign }) => (sign === 1 ? 1 / nMore : -0.5 / (picks.length - nMore)));
}

/** @param {Pick} pick */
async function source(pick) {
  if (pick.kind === "id") return { id: pick.value };
  return { image: { encoded: await base64((await pictureOf(pick)).blob) } };
}

/** Return a picture that the user gave. @param {Pick} pick */
export async function pictureOf(pick) {
  const found = await recall(pick.value);
  if (!found) throw new Error("This address names a picture that was dropped in another browser, or long ago. Drop the picture again.");
  return found;
}

/** Return what shows a pick, and its name. @param {string} collection @param {Pick} pick */
export async function pickedPicture(collection, pick) {
  if (pick.kind === "id") return { name: pick.value, element: thumbnail(collection, pick.value, "") };
  const { blob, title } = await pictureOf(pick);
  return { name: title, element: await canvasOf(blob, title) };
}

/** @typedef {Map<string, any[]>} Chosen field -> values of which an item must have one; in the address where.FIELD=VALUE */

const PREFIX = "where.";

/** @param {URLSearchParams} params @returns {Chosen} */
export function readChosen(params) {
  /** @type {Chosen} */
  const chosen = new Map();
  for (const [key, text] of params) {
    if (!key.startsWith(PREFIX)) continue;
    const field = key.slice(PREFIX.length);
    chosen.set(field, [...(chosen.get(field) ?? []), readValue(text)]);
  }
  return chosen;
}

/** Return the part of an address. @param {Chosen} chosen @returns {Record<string, string[]>} */
export function writeChosen(chosen) {
  return Object.fromEntries([...chosen].map(([field, values]) => [PREFIX + field, values.map(writeValue)]));
}

/** Return the filter as the wire has it; "" if nothing is chosen. @param {Chosen} chosen */
export function filterJson(chosen) {
  const parts = [...chosen].filter(([, values]) => values.length).map(([field, values]) => ({ field, op: "in", value: values }));
  return parts.length === 0 ? "" : JSON.stringify(parts.length === 1 ? parts[0] : { and: parts });
}

/** Return the filter as the command line has it. @param {Chosen} chosen */
export function filterText(chosen) {
  const name = (/** @type {string} */ field) => (/^[\w.]+$/.test(field) ? field : `\`${field}\``);
  return [...chosen].filter(([, values]) => values.length).map(([field, values]) => `${name(field)} in (${values.map((value) => JSON.stringify(value)).join(", ")})`).join(" and ");
}

/** @param {string} text */
function readValue(text) {
  if (!/^(".*"|-?[\d.]+(e[-+]?\d+)?|true|false)$/s.test(text)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** @param {any} value */
function writeValue(value) {
  return typeof value === "string" && readValue(value) === value ? value : JSON.stringify(value);
}

/** @typedef {{field: string, values: {value: any, count: number}[], nOther: number}} Facet nOther: values beside those */

/**
 * Return the fields with their values and counts as checkboxes.
 * @param {Facet[]} facets
 * @param {Chosen} chosen
 * @param {(chosen: Chosen) => void} onChange
 */
export function facetList(facets, chosen, onChange) {
  return facets.map(({ field, values, nOther }) => {
    const picked = chosen.get(field) ?? [];
    const gone = picked.filter((value) => !values.some((one) => one.value === value)).map((value) => ({ value, count: 0 }));
    const boxes = [...values, ...gone].map(({ value, count }) => {
      const box = h("input", { type: "checkbox", checked: picked.includes(value) });
      box.addEventListener("change", () => {
        const next = new Map(chosen);
        const rest = picked.filter((one) => one !== value);
        next.set(field, box.checked ? [...rest, value] : rest);
        onChange(next);
      });
      return h("label", { class: "facet" }, box, h("span", { class: "facet-value" }, String(value)), h("span", { class: "facet-count" }, count.toLocaleString("en")));
    });
    return h("fieldset", {}, h("legend", {}, field), boxes, nOther > 0 && h("p", { class: "hint" }, `and ${nOther.toLocaleString("en")} more`));
  });
}

const MOST_FIELDS = 8;
const MOST_VALUES = 12;

/**
 * Count the values of the fields that some payloads have. The counts of a field leave out the field's own filter.
 * @param {string} collection
 * @param {Record<string, unknown>[]} payloads
 * @param {Chosen} chosen
 * @param {AbortSignal} signal
 * @returns {Promise<Facet[]>}
 */
export async function countValues(collection, payloads, chosen, signal) {
  const isShort = (/** @type {unknown} */ value) => typeof value === "boolean" || typeof value === "number" || (typeof value === "string" && value.length <= 40);
  const seen = new Set(chosen.keys());
  for (const payload of payloads) for (const [key, value] of Object.entries(payload)) if (key !== "path" && isShort(value)) seen.add(key);
  return Promise.all([...seen].slice(0, MOST_FIELDS).map(async (field) => {
    const others = new Map([...chosen].filter(([other]) => other !== field));
    const facet = await countField(collection, field, signal, { filterJson: filterJson(others), limit: MOST_VALUES });
    return { field, ...facet };
  }));
}

/**
 * Count the values of one field, the most frequent first.
 * @param {string} collection
 * @param {string} field
 * @param {AbortSignal} signal
 * @param {object} [options] of the call
 * @returns {Promise<{values: {value: any, count: number}[], nOther: number}>}
 */
export async function countField(collection, field, signal, options) {
  const { facets } = await call("CollectionService/CountValues", { collection, fields: [field], ...options }, { signal });
  const values = facets[0].values.map((/** @type {any} */ one) => ({ value: JSON.parse(one.valueJson), count: Number(one.count) }));
  return { values, nOther: Number(facets[0].leftOut) };
}
