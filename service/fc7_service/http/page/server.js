// Server: what runs now, its limits, its models with their cards and layers, its collections with index and recall.

import { button, count, fill, h, percent, problem, table } from "./dom.js";
import { address } from "./route.js";
import { call } from "./rpc.js";
import { snippets } from "./snippets.js";

const REST_MS = 2000; // between two looks at what runs

/** @param {HTMLElement} main @param {import("./route.js").Route} _route @param {AbortSignal} signal */
export async function draw(main, _route, signal) {
  const ask = (/** @type {string} */ method) => call(method, {}, { signal }).catch((error) => ({ error }));
  const [info, { models = [], error }, { collections = [] }] = await Promise.all([ask("AdminService/GetServerInfo"), ask("ModelService/ListModels"), ask("CollectionService/ListCollections")]);
  if (signal.aborted) return;
  const running = h("dl", { class: "facts wide" });
  const recalls = new Map(collections.map((/** @type {any} */ { name }) => [name, h("span", { class: "hint" }, "…")]));
  fill(
    main,
    h("h1", {}, "Running now"),
    info.error ? problem(info.error) : running,
    !info.error && [h("h1", {}, "Server"), facts(info)],
    h("h1", {}, "Models"),
    error ? problem(error) : models.map((/** @type {any} */ model, /** @type {number} */ at) => modelCard(model, at === 0, signal)),
    h("h1", {}, "Collections"),
    collections.length ? collectionTable(collections, recalls) : h("p", { class: "hint" }, "None yet."),
    snippets({
      python: "import fc7\n\nwith fc7.connect() as client:\n    print(client.server_info().running_calls)\n    for model in client.models():\n        print(model)",
      command: "fc7 doctor\nfc7 model list\nfc7 collection list",
      curl: `curl ${location.origin}/fc7.v1.AdminService/GetServerInfo \\\n    -H 'Content-Type: application/json' -d '{}'`,
    }),
  );
  if (!info.error) void watch(running, info, signal);
  for (const [name, place] of recalls) fill(place, await recallOf(name, signal));
}

/** @param {[string, import("./dom.js").Child][]} rows */
const list = (rows) => rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));

/** Show what runs, again and again. @param {HTMLElement} place @param {any} info @param {AbortSignal} signal */
async function watch(place, info, signal) {
  while (!signal.aborted) {
    const calls = Object.entries(info.runningCalls).map(([name, n]) => (n > 1 ? `${n} × ${name}` : name));
    const [now, ...later] = info.training;
    fill(place, list([
      ["Calls", `${calls.join(", ")} (of ${info.maxCalls.toLocaleString("en")} at once)`],
      ["Trainings", now ? `${now}${later.length ? `, then ${later.join(", ")}` : ""}` : "none"],
      ["Indexes built", info.building.join(", ") || "none"],
      ["Up", duration(info.uptimeS)],
    ]));
    await new Promise((done) => setTimeout(done, REST_MS));
    if (!signal.aborted && !document.hidden) info = await call("AdminService/GetServerInfo", {}, { signal }).catch(() => info);
  }
}

/** @param {any} info */
function facts(info) {
  return h("dl", { class: "facts wide" }, list([
    ["Version", `fc7 ${info.version}, process ${info.pid}`],
    ["Device", `${info.device}${info.provider ? `, ${info.provider}` : ""}, ${count(info.threads, "thread")}`],
    ["Data folder", info.data],
    ["Limits", `${info.maxCalls.toLocaleString("en")} calls at once, ${(Number(info.maxMessageBytes) / 2 ** 20).toFixed(0)} MiB per message`],
    ["Telemetry", info.telemetry],
    ["Libraries", Object.entries(info.libraries).map((pair) => pair.join(" ")).join(", ")],
  ]));
}

/** @param {any} model @param {boolean} isDefault @param {AbortSignal} signal */
function modelCard(model, isDefault, signal) {
  const layers = model.layers.map((/** @type {any} */ { name, dim, shape, transform }) => [name === model.defaultLayer ? `${name} (default)` : name, Number(dim), shape.join(" × "), transform]);
  const card = h("div");
  const show = button("Show the card", async () => {
    show.hidden = true;
    try {
      const answer = await call("ModelService/GetModel", { name: model.name }, { signal });
      fill(card, h("pre", { class: "model-card", tabindex: 0 }, answer.model.card || "This model has no card."));
    } catch (error) {
      fill(card, problem(error));
      show.hidden = false;
    }
  }, { "aria-label": `Show the card of ${model.name}` });
  return h("article", { class: "card model" },
    h("h2", {}, isDefault ? `${model.name} (default)` : model.name),
    h("p", { class: "hint" }, `${model.network} · ${model.provider || "not used yet"}`),
    table(`Layers of ${model.name}`, ["layer", "numbers", "shape", "transform"], layers),
    h("p", {}, show),
    card);
}

/** @param {any[]} collections @param {Map<string, HTMLElement>} recalls */
function collectionTable(collections, recalls) {
  const rows = collections.map(({ name, count: n, provenance, dim, metric, index, fault }) => [
    h("a", { href: address("search", name) }, name), Number(n), `${provenance?.model ?? ""} ${provenance?.layer ?? ""}`, Number(dim), metric.replace("METRIC_", "").toLowerCase(), index,
    recalls.get(name), fault ? h("span", { class: "problem" }, fault) : h("span", { class: "good" }, "works")]);
  return table("Collections", ["name", "pictures", "made by", "numbers", "metric", "index", "recall", "state"], rows);
}

/** Return how many of the true neighbours searches find, in words. @param {string} name @param {AbortSignal} signal */
async function recallOf(name, signal) {
  const { recall, recallTarget } = (await call("CollectionService/GetCollection", { name }, { signal }).catch(() => ({ collection: {} }))).collection;
  const target = recallTarget ? `, ${percent(recallTarget)} asked for` : "";
  if (!recall) return `not measured yet${target}`;
  if (!recall.queries) return "all neighbours";
  return `${percent(recall.value)} (${percent(recall.low)} to ${percent(recall.high)}, measured on ${recall.queries})${target}`;
}

/** @param {number} seconds */
function duration(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
