// Train: a head over the labelled pictures of a collection, in place; and what there is to know about a head: how good
// it is and beside what, what it confuses, its versions, and a place to try it.

import { accuracyScale, confusionMatrix, learningCurve, wilson } from "./chart.js";
import { button, count, fill, h, percent, problem, say, table, textOf } from "./dom.js";
import { base64, canvasOf, dropField, thumbnail } from "./pictures.js";
import { countField } from "./query.js";
import { address, go } from "./route.js";
import { call, CallError, stream } from "./rpc.js";
import { curl, py, sh, snippets } from "./snippets.js";

/** @param {HTMLElement} main @param {import("./route.js").Route} route @param {AbortSignal} signal */
export async function draw(main, { view, name, params }, signal) {
  if (view === "head") return drawAlone(main, name, params, signal);
  const field = params.get("field") || "label";
  const head = params.get("head") || name;
  const [{ values }, { heads }] = await Promise.all([countField(name, field, signal, { limit: 1000, withRecords: true }), call("HeadService/ListHeads", {}, { signal })]);
  if (signal.aborted) return;
  const report = h("div", { class: "head" });
  const said = h("p", { role: "status", class: "hint" }, sentence(values, field));
  const naming = h("input", { id: "head", value: head, spellcheck: "false", required: true, pattern: "[\\w.\\-]{1,64}", title: "1 to 64 letters, digits, '.', '_' or '-'" });
  const fields = h("input", { id: "field", value: field, spellcheck: "false", required: true });
  const submit = h("button", { class: "main" }, "Train");
  const form = h("form", { class: "train-form" }, h("label", {}, "Head", naming), h("label", {}, "Field, if no record", fields), submit, said);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    fill(said, h("span", { class: "pulse" }), " Training …");
    try {
      const trained = await train(naming.value, name, fields.value);
      say(`Trained version ${trained.version} of ${trained.name}.`);
      go(address("train", name, { head: naming.value, field: fields.value === "label" ? "" : fields.value, version: trained.version }));
    } catch (error) {
      fill(said, problem(error));
      submit.disabled = false;
    }
  });
  const request = { plan: planOf(head, name, field) };
  fill(main, h("h1", { class: "unseen" }, `Train on ${name}`), form, report, trainSnippets(head, name, field, request));
  if (heads.some((/** @type {any} */ one) => one.name === head)) await drawHead(report, head, Number(params.get("version")) || 0, name, signal);
  else fill(report, h("p", { class: "empty" }, `There is no head ${head} yet. Training takes about a second.`), button("Label pictures first", () => go(address("label", name, { field: field === "label" ? "" : field })), { class: "quiet" }));
}

/** @param {HTMLElement} main @param {string} name @param {URLSearchParams} params @param {AbortSignal} signal */
async function drawAlone(main, name, params, signal) {
  const place = h("div", { class: "head" });
  const request = { head: name, images: [{ encoded: "..." }] };
  fill(main, h("h1", {}, name), place, snippets({
    python: `import fc7\n\nwith fc7.connect() as client:\n    for answer in client.classify("new.jpg", head=${py(name)}):\n        print(answer)`,
    command: `fc7 head show ${sh(name)}\nfc7 head publish ${sh(name)}\nfc7 classify new.jpg --head ${sh(name)}`,
    curl: `curl '${location.origin}/fc7.v1.HeadService/Classify?head=${encodeURIComponent(request.head)}' \\\n    -F image=@new.jpg`,
  }));
  await drawHead(place, name, Number(params.get("version")) || 0, params.get("collection") ?? "", signal);
}

/** @param {string} name @param {string} collection @param {string} labelField for pictures without a label record */
const planOf = (name, collection, labelField) => ({ name, collection, labelField, fromRecords: true });

/** @param {string} name @param {string} collection @param {string} field @returns {Promise<any>} the head */
async function train(name, collection, field) {
  /** @type {any} */
  let head;
  await stream("HeadService/TrainHead", [{ plan: planOf(name, collection, field) }], (message) => (head = message.head ?? head));
  if (!head) throw new Error("The training ended without a head. Try again.");
  return head;
}

/** @param {{value: any, count: number}[]} values @param {string} field */
function sentence(values, field) {
  const labelled = values.reduce((sum, one) => sum + one.count, 0);
  if (values.length < 2) return `A head needs at least two classes; the label records and “${field}” have ${values.length}.`;
  return `${labelled.toLocaleString("en")} pictures have one of ${values.length} labels: a label record, or else the field “${field}” of the payload.`;
}

/** @param {string} head @param {string} collection @param {string} field @param {object} request */
function trainSnippets(head, collection, field, request) {
  return snippets({
    python: `import fc7\n\nwith fc7.connect() as client:\n    head = client.train_head(${py(head)}, collection=${py(collection)}, label=${py(field)}, records=True)\n    print(head.accuracy, head.held_out)\n    client.publish_head(${py(head)}, head.version)`,
    command: `fc7 head train ${sh(head)} --collection ${sh(collection)} --label ${sh(field)} --records\nfc7 head publish ${sh(head)}`,
    curl: curl("HeadService/TrainHead", request).replace("application/json", "application/x-ndjson"),
  });
}

/** @typedef {{id: string, label: number, predicted: number, probability: number}} Row */

/**
 * Draw everything about a head.
 * @param {HTMLElement} place
 * @param {string} name
 * @param {number} version 0 for the newest
 * @param {string} collection that its pictures are in; "" if that is not known
 * @param {AbortSignal} signal
 */
async function drawHead(place, name, version, collection, signal) {
  const all = (await call("HeadService/ListHeads", { allVersions: true }, { signal })).heads;
  /** @type {any[]} */
  const versions = all.filter((/** @type {any} */ head) => head.name === name);
  const head = versions.find((one) => one.version === version) ?? versions.at(-1);
  if (!head) throw new CallError("not_found", `There is no head ${name}.`);
  const published = versions.find((one) => one.version === head.publishedVersion);
  const report = h("section", { "aria-label": "Report", class: "report" }, h("p", { class: "hint" }, "Reading the report …"));
  const again = () => drawHead(place, name, version, collection, signal);
  fill(place, accuracySection(head, published), report, h("div", { class: "halves" }, versionsSection(versions, head, again), trySection(head, collection, signal)));
  try {
    await drawReport(report, head, collection);
  } catch (error) {
    if (signal.aborted) throw error;
    fill(report, h("p", { class: "hint" }, textOf(error)));
  }
}

/** @param {any} head @param {any} published */
function accuracySection(head, published) {
  const judged = head.measures;
  const n = Number(judged?.count ?? head.heldOut);
  const accuracy = judged?.accuracy ?? wilson(head.accuracy, n);
  const majority = judged?.majorityAccuracy ?? head.majorityAccuracy;
  const isOther = published && published.version !== head.version;
  const beside = [
    { name: "By chance", value: 1 / head.classes.length },
    ...(majority === undefined ? [] : [{ name: "Always the largest class", value: majority }]),
    ...(isOther ? [{ name: `Published version ${published.version}`, value: (published.measures?.accuracy ?? { value: published.accuracy }).value }] : []),
  ];
  return h(
    "section",
    { "aria-label": "Accuracy", class: "accuracy" },
    h("p", { class: "figure" }, h("strong", {}, percent(accuracy.value)), h("span", {}, `right on ${count(n, "picture")} that it had not seen`, h("br"), h("span", { class: "hint" }, `95 % interval ${percent(accuracy.low)} to ${percent(accuracy.high)}`))),
    accuracyScale(accuracy, beside),
    h("dl", { class: "beside-list" }, beside.map(({ name, value }) => h("div", {}, h("dt", {}, name), h("dd", {}, percent(value))))),
    h("p", { class: "hint" }, `${head.name}, version ${head.version}: ${head.classes.length} classes, trained on ${count(Number(head.count), "picture")} in ${head.seconds.toFixed(1)} s by ${head.method} regression`),
    (head.warnings ?? []).map((/** @type {string} */ text) => h("p", { class: "warning" }, text)),
  );
}

/** @param {HTMLElement} place @param {any} head @param {string} collection */
async function drawReport(place, head, collection) {
  /** @type {any} */
  let report = {};
  /** @type {Row[]} */
  const rows = [];
  await stream("HeadService/GetHeadReport", { name: head.name, version: head.version }, (message) => {
    if (message.report) report = message.report;
    else rows.push(...message.rows.rows);
  });
  const counts = head.classes.map(() => head.classes.map(() => 0));
  for (const { label, predicted } of rows) counts[label][predicted] += 1;
  const cell = h("div", { class: "cell", "aria-live": "polite" });
  const open = (/** @type {number} */ label, /** @type {number} */ predicted) => drawCell(cell, head, rows.filter((row) => row.label === label && row.predicted === predicted), collection);
  const curve = (report.curve ?? []).map((/** @type {any} */ point) => ({ count: Number(point.count), accuracy: point.accuracy }));
  const suspects = (report.suspected ?? []).slice(0, 24).map((/** @type {string} */ at) => rows[Number(at)]).filter(Boolean);
  fill(
    place,
    h("div", { class: "halves" }, h("div", {}, h("h2", {}, "What it confuses"), confusionMatrix(head.classes, counts, open)), curve.length > 1 && h("div", {}, h("h2", {}, "With more labels"), learningCurve(curve), report.labelsForOnePoint && h("p", { class: "hint" }, `About ${report.labelsForOnePoint} more labels would raise the accuracy by one point.`))),
    cell,
    suspects.length > 0 && h("div", {}, h("h2", {}, "Labels that may be wrong"), pictures(suspects, head, collection)),
  );
}

/** @param {HTMLElement} place @param {any} head @param {Row[]} rows @param {string} collection */
function drawCell(place, head, rows, collection) {
  const [first] = rows;
  if (!first) return;
  const title = first.label === first.predicted ? `${head.classes[first.label]}, answered right` : `${head.classes[first.label]}, answered ${head.classes[first.predicted]}`;
  fill(place, h("h2", {}, `${title}: ${count(rows.length, "picture")}`), pictures([...rows].sort((a, b) => b.probability - a.probability).slice(0, 60), head, collection));
  say(title);
  place.scrollIntoView({ block: "nearest" });
}

/** @param {Row[]} rows @param {any} head @param {string} collection */
function pictures(rows, head, collection) {
  return h("ul", { class: "grid small", role: "list" }, rows.map((row) => {
    const text = `${percent(row.probability, 0)} ${head.classes[row.predicted]}`;
    if (!collection) return h("li", {}, h("span", { class: "plate" }, row.id), h("span", { class: "caption" }, text));
    const link = h("a", { href: address("search", collection, { like: row.id, item: row.id }), class: "open", "aria-label": `${row.id}, label ${head.classes[row.label]}, answered ${text}` }, thumbnail(collection, row.id, ""));
    return h("li", {}, link, h("span", { class: "caption" }, h("span", { class: "name" }, text)));
  }));
}

/** @param {any[]} versions @param {any} shown @param {() => Promise<void>} again */
function versionsSection(versions, shown, again) {
  const said = h("p", { role: "status" });
  const rows = [...versions].reverse().map((head) => {
    const isPublished = head.publishedVersion === head.version;
    const word = head.publishedVersion > head.version ? "Roll back to it" : "Publish";
    const publish = button(word, async () => {
      publish.disabled = true;
      try {
        await call("HeadService/PublishHead", { name: head.name, version: head.version });
        say(`Version ${head.version} of ${head.name} is published.`);
        await again();
      } catch (error) {
        fill(said, problem(error));
        publish.disabled = false;
      }
    }, { "aria-label": `${word}: version ${head.version}` });
    const accuracy = head.measures?.accuracy?.value ?? head.accuracy;
    return [head === shown ? h("strong", {}, head.version, " (shown)") : head.version, percent(accuracy), Number(head.count), head.created.slice(0, 16).replace("T", " "), isPublished ? h("strong", { class: "good" }, "published") : publish];
  });
  return h("section", { "aria-label": "Versions" }, h("h2", {}, "Versions"), table("Versions", ["version", "accuracy", "pictures", "trained (UTC)", "state"], rows), said);
}

/** @param {any} head @param {string} collection @param {AbortSignal} signal */
function trySection(head, collection, signal) {
  const answers = h("div", { "aria-live": "polite", class: "answers" });
  const field = dropField("Drop or paste a picture, or", signal, async (files) => {
    fill(answers, h("p", { class: "hint" }, "Classifying …"));
    try {
      const images = await Promise.all(files.map(async (file) => ({ encoded: await base64(file) })));
      const { results } = await call("HeadService/Classify", { head: head.name, headVersion: head.version, images, top: 5 }, { signal });
      fill(answers, await Promise.all(files.map(async (file, at) => h("div", { class: "answer" }, await canvasOf(file, file.name, 160), results[at].error ? problem(results[at].error.message) : answerOf(head, file, results[at].top, collection, signal)))));
    } catch (error) {
      if (!signal.aborted) fill(answers, problem(error));
    }
  });
  return h("section", { "aria-label": "Try it" }, h("h2", {}, "Try it"), field, answers);
}

/** @param {any} head @param {Blob} image @param {any[]} top @param {string} collection @param {AbortSignal} signal */
function answerOf(head, image, top, collection, signal) {
  const place = h("div", { class: "why" });
  const isPublished = head.publishedVersion === head.version;
  const ask = button("Why?", async () => (await import("./why.js")).explainClass(place, { head: head.name, label: top[0].label, image, collection }, signal), { disabled: !isPublished });
  return h("div", {}, bars(top), h("p", { class: "row" }, ask, !isPublished && h("span", { class: "hint" }, "Publish this version to ask why.")), place);
}

/** Return classes with their probabilities as bars. @param {{label: string, probability: number}[]} top */
function bars(top) {
  return h("ol", { class: "bars" }, top.map(({ label, probability }) => {
    const bar = h("span", { class: "bar" }, h("span"));
    /** @type {HTMLElement} */ (bar.firstChild).style.width = percent(probability, 2).replace(" ", "");
    return h("li", {}, h("span", { class: "facet-value" }, label), h("span", { class: "facet-count" }, percent(probability)), bar);
  }));
}
