// The labels of the items on the screen: label records first, then a field of the payload. Shown at once, stored in order, undone, and told to the other tabs.

import { textOf } from "./dom.js";
import { call, readPayload } from "./rpc.js";

/** @typedef {{id: string, label: string, verdict: string, by: string, headVersion?: number, time: string, outdated?: boolean}} Entry a label record */
/** @typedef {{label: string | null, inField: string | null, entries: Entry[], isLocked: boolean, isPending: boolean}} Mark entries: those that hold */
/** @typedef {{id: string, to: string | null, sent: Entry[]}} Change */

const YES = "VERDICT_POSITIVE", NO = "VERDICT_NEGATIVE";
const AT_ONCE = 500; // items whose records one call returns
const WRITTEN_AT_ONCE = 4096; // records

/** @template T @param {T[]} list @param {number} size @returns {T[][]} */
const inParts = (list, size) => Array.from({ length: Math.ceil(list.length / size) }, (_, at) => list.slice(at * size, (at + 1) * size));

/** Return the records that hold: the newest of each label, where a person outranks heads. @param {Entry[]} entries oldest first */
function holding(entries) {
  /** @type {Map<string, Entry>} */
  const found = new Map();
  for (const one of entries) {
    const before = found.get(one.label);
    if (one.outdated || (one.headVersion && before && !before.headVersion)) continue;
    found.delete(one.label);
    found.set(one.label, one);
  }
  return [...found.values()];
}

/** Return the class: the last positive label, or the one in the payload, unless a record denies it. @param {Entry[]} held @param {string | null} inField */
function classOf(held, inField) {
  const yes = held.filter((one) => one.verdict === YES).at(-1);
  return yes ? yes.label : held.some((one) => one.label === inField) ? null : inField;
}

export class Labels {
  /** @type {Map<string, Mark>} */
  marks = new Map();
  /** @type {Change[][]} */
  #done = [];
  #writing = Promise.resolve();
  #others = new BroadcastChannel("fc7-labels");

  /**
   * @param {string} collection
   * @param {string} field of the payload, for items without a record
   * @param {(id: string) => void} onChange
   * @param {(text: string) => void} onProblem
   * @param {AbortSignal} signal
   */
  constructor(collection, field, onChange, onProblem, signal) {
    this.collection = collection;
    this.field = field;
    this.onChange = onChange;
    this.onProblem = onProblem;
    this.#others.onmessage = ({ data }) => data.collection === collection && data.field === field && this.marks.has(data.id) && this.#set(data.id, data.mark);
    signal.addEventListener("abort", () => this.#others.close());
  }

  /** Read the marks of items. @param {any[]} items */
  async read(items) {
    for (const { id, payloadJson } of items) {
      const payload = readPayload(payloadJson);
      const value = payload[this.field];
      const inField = (typeof value === "string" || Number.isInteger(value)) && !(`${this.field}_head` in payload) ? String(value) : null;
      this.marks.set(id, { label: inField, inField, entries: [], isLocked: payload[this.#lockField] === true, isPending: false });
    }
    await this.#readRecords(items.map(({ id }) => id));
  }

  /** Read the records of items; return all of them, oldest first. @param {string[]} ids */
  async #readRecords(ids) {
    const parts = inParts(ids, AT_ONCE).map((part) => this.#listed(part));
    /** @type {Map<string, Entry[]>} */
    const entriesOf = new Map(ids.map((id) => [id, []]));
    for (const one of (await Promise.all(parts)).flat()) entriesOf.get(one.id)?.push(one);
    for (const [id, all] of entriesOf) {
      const entries = holding(all);
      this.#change(id, { entries, label: classOf(entries, this.marks.get(id)?.inField ?? null) });
    }
    return entriesOf;
  }

  /** @param {string[]} ids @returns {Promise<Entry[]>} */
  async #listed(ids) {
    const found = [];
    for (let pageToken = "", isLast = false; !isLast; isLast = !pageToken) {
      const page = await call("CollectionService/ListLabels", { collection: this.collection, ids, pageSize: 10000, pageToken });
      found.push(...page.labels);
      pageToken = page.nextPageToken;
    }
    return found;
  }

  get #lockField() {
    return `${this.field}_locked`;
  }

  /** How many labels are not stored yet. */
  get nPending() {
    return [...this.marks.values()].filter((mark) => mark.isPending).length;
  }

  /**
   * Give a class, or take it away with null; locked items keep theirs. The labels that an item had are denied.
   * @param {string[]} ids
   * @param {string | null} label
   * @param {string} by
   */
  give(ids, label, by) {
    const locked = ids.filter((id) => this.marks.get(id)?.isLocked);
    if (locked.length) this.onProblem(`${locked.length === 1 ? locked[0] : `${locked.length} pictures`} locked: press l to unlock.`);
    const time = new Date().toISOString(); // by which undo knows these records again
    /** @type {Map<string, Mark>} */
    const before = new Map();
    const changes = [];
    for (const id of ids) {
      const mark = this.marks.get(id);
      if (!mark || mark.isLocked || mark.label === label) continue;
      const denied = new Set([...mark.entries.filter((one) => one.verdict === YES).map((one) => one.label), mark.label]);
      denied.delete(label);
      const entry = (/** @type {string} */ text, /** @type {string} */ verdict) => ({ id, label: text, verdict, by, time });
      const sent = [...denied].flatMap((text) => (text === null ? [] : [entry(text, NO)]));
      if (label !== null) sent.push(entry(label, YES));
      before.set(id, mark);
      changes.push({ id, to: label, sent });
      this.#set(id, { ...mark, label, entries: holding([...mark.entries, ...sent]), isPending: true });
    }
    if (!changes.length) return;
    this.#done.push(changes);
    const sent = changes.flatMap((one) => one.sent);
    void this.#store(changes.map(({ id }) => id), before, async () => {
      const answers = [];
      for (const labels of inParts(sent, WRITTEN_AT_ONCE)) answers.push(...(await call("CollectionService/AddLabels", { collection: this.collection, labels })).results);
      return answers.map(({ error }, at) => ({ id: sent[at]?.id ?? "", error }));
    });
  }

  /** Lock the labels of items, or unlock them if all are locked. @param {string[]} ids */
  lock(ids) {
    const isLocked = !ids.every((id) => this.marks.get(id)?.isLocked);
    const before = new Map(this.marks);
    for (const id of ids) this.#change(id, { isLocked, isPending: true });
    const change = isLocked ? { setJson: JSON.stringify({ [this.#lockField]: true }) } : { remove: [this.#lockField] };
    return this.#store(ids, before, async () => {
      const answers = [];
      for (const part of inParts(ids, WRITTEN_AT_ONCE)) answers.push(...(await call("CollectionService/UpdatePayloads", { collection: this.collection, updates: part.map((id) => ({ id, change })) })).results);
      return answers;
    });
  }

  /** Take back the records of the last step. A label that was changed elsewhere since stays. @returns {Promise<string>} what was done */
  async undo() {
    const last = this.#done.pop();
    if (!last) return "Nothing to undo.";
    await this.#writing;
    const ids = last.map(({ id }) => id);
    const stored = await this.#readRecords(ids);
    const mine = last.filter(({ id, to }) => this.marks.get(id)?.label === to);
    const isStored = (/** @type {Entry} */ one) => (stored.get(one.id) ?? []).some(({ label, time }) => label === one.label && Date.parse(time) === Date.parse(one.time));
    const labels = mine.flatMap(({ sent }) => sent.filter(isStored).reverse()).map(({ id, label, by }) => ({ id, label, by }));
    for (const part of inParts(labels, WRITTEN_AT_ONCE)) await call("CollectionService/UndoLabels", { collection: this.collection, labels: part }, { once: true }); // twice would take back more
    await this.#readRecords(ids);
    this.#tell(ids);
    const left = last.length - mine.length;
    return [`Undone: ${mine.length}.`, left && `Changed elsewhere since, so left alone: ${left}.`].filter(Boolean).join(" ");
  }

  /**
   * Store changes after those that are under way. The same change twice is the same as once, so a call may be repeated.
   * @param {string[]} ids
   * @param {Map<string, Mark>} before what to show again of an item that fails
   * @param {() => Promise<{id: string, error?: any}[]>} send
   */
  #store(ids, before, send) {
    const takeBack = (/** @type {string} */ id) => this.#change(id, before.get(id) ?? {});
    const run = async () => {
      try {
        for (const { id, error } of await send()) {
          if (error) takeBack(id);
          if (error) this.onProblem(error.message);
        }
      } catch (error) {
        ids.forEach(takeBack);
        this.onProblem(`Not stored: ${textOf(error)}`);
      }
      for (const id of ids) this.#change(id, { isPending: false });
      this.#tell(ids);
    };
    this.#writing = this.#writing.then(run);
    return this.#writing;
  }

  /** Tell the other tabs. @param {string[]} ids */
  #tell(ids) {
    for (const id of ids) this.#others.postMessage({ collection: this.collection, field: this.field, id, mark: this.marks.get(id) });
  }

  /** @param {string} id @param {Partial<Mark>} part */
  #change(id, part) {
    const mark = this.marks.get(id);
    if (mark) this.#set(id, { ...mark, ...part });
  }

  /** @param {string} id @param {Mark} mark */
  #set(id, mark) {
    this.marks.set(id, mark);
    this.onChange(id);
  }
}
