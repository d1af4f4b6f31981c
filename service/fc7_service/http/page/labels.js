// Labels of the items on the screen: shown at once, stored in order, undone, and told to the other tabs.

import { call, readPayload } from "./rpc.js";

/** @typedef {{label: string | null, isLocked: boolean, isPending: boolean}} Mark */
/** @typedef {{id: string, from: string | null, to: string | null}} Change */

export class Labels {
  /** @type {Map<string, Mark>} */
  marks = new Map();
  /** @type {Change[][]} */
  #done = [];
  #writing = Promise.resolve();
  #others = new BroadcastChannel("fc7-labels");

  /**
   * @param {string} collection
   * @param {string} field of the payload that holds the label
   * @param {(id: string) => void} onChange
   * @param {(text: string) => void} onProblem
   * @param {AbortSignal} signal
   */
  constructor(collection, field, onChange, onProblem, signal) {
    this.collection = collection;
    this.field = field;
    this.onChange = onChange;
    this.onProblem = onProblem;
    this.#others.onmessage = ({ data }) => {
      if (data.collection !== collection || data.field !== field || !this.marks.has(data.id)) return;
      this.#set(data.id, data.mark);
    };
    signal.addEventListener("abort", () => this.#others.close());
  }

  /** Read the mark of an item from its payload. @param {string} id @param {any} payload */
  read(id, payload) {
    const label = payload[this.field];
    const mark = { label: label === undefined || label === null ? null : String(label), isLocked: payload[this.#lockField] === true, isPending: false };
    this.marks.set(id, mark);
    return mark;
  }

  get #lockField() {
    return `${this.field}_locked`;
  }

  /** How many labels are not stored yet. */
  get nPending() {
    return [...this.marks.values()].filter((mark) => mark.isPending).length;
  }

  /** Give a label, or take it away with null; locked items keep theirs. @param {string[]} ids @param {string | null} label */
  give(ids, label) {
    const locked = ids.filter((id) => this.marks.get(id)?.isLocked);
    if (locked.length) this.onProblem(`${locked.length === 1 ? locked[0] : `${locked.length} pictures`} locked: press l to unlock.`);
    const changes = ids.filter((id) => !locked.includes(id)).map((id) => ({ id, from: this.marks.get(id)?.label ?? null, to: label }));
    const real = changes.filter(({ from, to }) => from !== to);
    if (!real.length) return Promise.resolve();
    this.#done.push(real);
    return this.#write(real);
  }

  /** Lock the labels of items, or unlock them if all are locked. @param {string[]} ids */
  lock(ids) {
    const isLocked = !ids.every((id) => this.marks.get(id)?.isLocked);
    const before = new Map(ids.map((id) => [id, this.marks.get(id)?.isLocked ?? false]));
    for (const id of ids) this.#change(id, { isLocked, isPending: true });
    const change = isLocked ? { setJson: JSON.stringify({ [this.#lockField]: true }) } : { remove: [this.#lockField] };
    return this.#send(ids.map((id) => ({ id, change })), (id) => this.#change(id, { isLocked: before.get(id) ?? false }));
  }

  /** Take back the last step. A label that was changed elsewhere since stays. @returns {Promise<string>} what was done */
  async undo() {
    const last = this.#done.pop();
    if (!last) return "Nothing to undo.";
    await this.#writing;
    const { results } = await call("CollectionService/GetItems", { collection: this.collection, ids: last.map(({ id }) => id) });
    const stored = new Map(results.filter((/** @type {any} */ one) => one.item).map((/** @type {any} */ one) => [one.item.id, readPayload(one.item.payloadJson)]));
    const mine = last.filter(({ id, to }) => (stored.get(id)?.[this.field] ?? null) === to);
    for (const { id } of last) if (stored.has(id) && !mine.some((one) => one.id === id)) { this.read(id, stored.get(id)); this.onChange(id); }
    await this.#write(mine.map(({ id, from, to }) => ({ id, from: to, to: from })));
    const left = last.length - mine.length;
    return [`Undone: ${mine.length}.`, left && `Changed elsewhere since, so left alone: ${left}.`].filter(Boolean).join(" ");
  }

  /** @param {Change[]} changes */
  #write(changes) {
    for (const { id, to } of changes) this.#change(id, { label: to, isPending: true });
    const updates = changes.map(({ id, to }) => ({ id, change: to === null ? { remove: [this.field] } : { setJson: JSON.stringify({ [this.field]: to }) } }));
    const before = new Map(changes.map(({ id, from }) => [id, from]));
    return this.#send(updates, (id) => this.#change(id, { label: before.get(id) ?? null }));
  }

  /**
   * Store changes after those that are under way. The same change twice is the same as once, so a call may be repeated.
   * @param {{id: string, change: object}[]} updates
   * @param {(id: string) => void} takeBack
   */
  #send(updates, takeBack) {
    const run = async () => {
      try {
        const { results } = await call("CollectionService/UpdatePayloads", { collection: this.collection, updates });
        for (const { id, error } of results) {
          if (error) takeBack(id);
          if (error) this.onProblem(error.message);
        }
      } catch (error) {
        for (const { id } of updates) takeBack(id);
        this.onProblem(`Not stored: ${error instanceof Error ? error.message : error}`);
      }
      for (const { id } of updates) {
        this.#change(id, { isPending: false });
        this.#others.postMessage({ collection: this.collection, field: this.field, id, mark: this.marks.get(id) });
      }
    };
    this.#writing = this.#writing.then(run);
    return this.#writing;
  }

  /** @param {string} id @param {Partial<Mark>} part */
  #change(id, part) {
    this.#set(id, { label: null, isLocked: false, isPending: false, ...this.marks.get(id), ...part });
  }

  /** @param {string} id @param {Mark} mark */
  #set(id, mark) {
    this.marks.set(id, mark);
    this.onChange(id);
  }
}
