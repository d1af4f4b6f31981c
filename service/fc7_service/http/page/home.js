// The first view: all collections, each with a few of its pictures, and all heads.

import { count, fill, h, percent } from "./dom.js";
import { thumbnail } from "./pictures.js";
import { address } from "./route.js";
import { call } from "./rpc.js";
import { snippets } from "./snippets.js";

const SHOWN = 5; // pictures of a collection

/** @param {HTMLElement} main @param {import("./route.js").Route} _route @param {AbortSignal} signal */
export async function draw(main, _route, signal) {
  const [{ collections }, { heads }] = await Promise.all([
    call("CollectionService/ListCollections", {}, { signal }),
    call("HeadService/ListHeads", {}, { signal }),
  ]);
  fill(
    main,
    h("h1", {}, "Collections"),
    collections.length ? h("ul", { class: "cards", role: "list" }, collections.map(collectionCard)) : emptyText(),
    h("h1", {}, "Heads"),
    heads.length ? h("ul", { class: "cards heads", role: "list" }, heads.map(headCard)) : h("p", { class: "hint" }, "No head yet. Label some pictures of a collection, then train one under Train."),
    snippets({
      python: "import fc7\n\nwith fc7.connect() as client:\n    for photos in client.collections():\n        print(photos.name, photos.count)\n    for head in client.heads():\n        print(head.name, head.accuracy)",
      command: "fc7 collection list\nfc7 head list",
      curl: `curl ${location.origin}/fc7.v1.CollectionService/ListCollections \\\n    -H 'Content-Type: application/json' -d '{}'`,
    }),
  );
  await Promise.all(collections.filter((/** @type {any} */ one) => !one.fault).map((/** @type {any} */ one) => addPictures(main, one.name, signal)));
}

/** @param {any} collection */
function collectionCard(collection) {
  const { name, provenance, fault } = collection;
  const facts = fault ? h("span", { class: "problem" }, fault) : h("span", { class: "hint" }, `${count(Number(collection.count), "picture")} · ${provenance?.model} ${provenance?.layer}`);
  return h("li", { class: "card" }, h("a", { href: address("search", name) }, h("span", { class: "strip", "data-strip": name }), h("strong", {}, name)), facts);
}

/** @param {any} head */
function headCard(head) {
  const state = head.publishedVersion ? `version ${head.publishedVersion} is published` : "not published";
  const facts = `${head.classes.length} classes · right on ${percent(head.accuracy)} of ${head.heldOut} held out · ${state}`;
  return h("li", { class: "card" }, h("a", { href: address("head", head.name) }, h("strong", {}, head.name)), h("span", { class: "hint" }, facts));
}

/** @param {HTMLElement} main @param {string} name @param {AbortSignal} signal */
async function addPictures(main, name, signal) {
  const { items } = await call("CollectionService/ListItems", { collection: name, pageSize: SHOWN }, { signal });
  const strip = main.querySelector(`[data-strip="${CSS.escape(name)}"]`);
  if (strip) fill(strip, items.map((/** @type {any} */ item) => thumbnail(name, item.id, "")));
}

function emptyText() {
  return h("div", { class: "empty" }, h("p", {}, "There is no collection yet. Add a folder of pictures:"), h("pre", {}, "fc7 add photos holiday/"));
}
