// One picture: its facts, and what can be done with it.

import { button, fill, h, problem } from "./dom.js";
import { pictureAddress } from "./pictures.js";
import { call, readPayload } from "./rpc.js";
import { explainMatch } from "./why.js";

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
