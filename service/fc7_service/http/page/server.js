// Server: its models with their cards and layers, its collections, its limits, and whether it runs now.

import { button, fill, h, problem } from "./dom.js";
import { address } from "./route.js";
import { call } from "./rpc.js";
import { snippets } from "./snippets.js";

/** @param {HTMLElement} main @param {import("./route.js").Route} _route @param {AbortSignal} signal */
export async function draw(main, _route, signal) {
  const ask = (/** @type {string} */ method) => call(method, {}, { signal }).catch((error) => ({ error }));
  const [info, { models = [], error }, { collections = [] }] = await Promise.all([ask("AdminService/GetServerInfo"), ask("ModelService/ListModels"), ask("CollectionService/ListCollections")]);
  if (signal.aborted) return;
  fill(
    main,
    h("h1", {}, "Server"),
    info.error ? problem(info.error) : facts(info),
    h("h1", {}, "Models"),
    error ? problem(error) : models.map((/** @type {any} */ model, /** @type {number} */ at) => modelCard(model, at === 0, signal)),
    h("h1", {}, "Collections"),
    collectionTable(collections),
    snippets({
      python: "import fc7\n\nwith fc7.connect() as client:\n    print(client.server_info())\n    for model in client.models():\n        print(model)",
      command: "fc7 doctor\nfc7 model list\nfc7 collection list",
      curl: `curl ${location.origin}/fc7.v1.AdminService/GetServerInfo \\\n    -H 'Content-Type: application/json' -d '{}'`,
    }),
  );
}

/** @param {any} info */
function facts(info) {
  const rows = [
    ["State", `runs for ${duration(info.uptimeS)}, process ${info.pid}`],
    ["Version", `fc7 ${info.version}`],
    ["Device", `${info.device}${info.provider ? `, ${info.provider}` : ""}, ${info.threads} threads`],
    ["Data folder", info.data],
    ["Largest message", `${(Number(info.maxMessageBytes) / 2 ** 20).toFixed(0)} MiB`],
    ["Telemetry", info.telemetry],
    ["Libraries", Object.entries(info.libraries).map(([name, version]) => `${name} ${version}`).join(", ")],
  ];
  return h("dl", { class: "facts wide" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** @param {any} model @param {boolean} isDefault @param {AbortSignal} signal */
function modelCard(model, isDefault, signal) {
  const layers = model.layers.map((/** @type {any} */ layer) => h("tr", {}, h("td", {}, layer.name, layer.name === model.defaultLayer && h("span", { class: "hint" }, " default")), h("td", { class: "number" }, Number(layer.dim).toLocaleString("en")), h("td", {}, layer.shape.join(" × ")), h("td", {}, layer.transform)));
  const card = h("div");
  const show = button("Show the card", async () => {
    show.disabled = true;
    try {
      const answer = await call("ModelService/GetModel", { name: model.name }, { signal });
      fill(card, h("pre", { class: "model-card", tabindex: 0 }, answer.model.card || "This model has no card."));
      show.hidden = true;
    } catch (error) {
      fill(card, problem(error));
      show.disabled = false;
    }
  }, { "aria-label": `Show the card of ${model.name}` });
  return h(
    "article",
    { class: "card model" },
    h("h2", {}, model.name, isDefault && h("span", { class: "hint" }, " default")),
    h("p", { class: "hint" }, `${model.network} · ${model.provider || "not used yet"}`),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Layers of ${model.name}` }, h("table", {}, h("thead", {}, h("tr", {}, ["layer", "numbers", "shape", "transform"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, layers))),
    h("p", {}, show),
    card,
  );
}

/** @param {any[]} collections */
function collectionTable(collections) {
  if (!collections.length) return h("p", { class: "hint" }, "None yet.");
  const rows = collections.map((one) => h("tr", {}, h("td", {}, h("a", { href: address("search", one.name) }, one.name)), h("td", { class: "number" }, Number(one.count).toLocaleString("en")), h("td", {}, `${one.provenance?.model ?? ""} ${one.provenance?.layer ?? ""}`), h("td", { class: "number" }, Number(one.dim).toLocaleString("en")), h("td", {}, one.metric.replace("METRIC_", "").toLowerCase()), h("td", {}, one.index), h("td", {}, one.fault ? h("span", { class: "problem" }, one.fault) : h("span", { class: "good" }, "works"))));
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Collections" }, h("table", {}, h("thead", {}, h("tr", {}, ["name", "pictures", "made by", "numbers", "metric", "index", "state"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, rows)));
}

/** @param {number} seconds */
function duration(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
