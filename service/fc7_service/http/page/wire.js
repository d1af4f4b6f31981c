// Messages in the binary form of protobuf, for answers that hold very many numbers.
// https://protobuf.dev/programming-guides/encoding/

import { send } from "./rpc.js";

const VARINT = 0, EIGHT_BYTES = 1, BYTES = 2, FOUR_BYTES = 5;

/**
 * Make a call in the binary form.
 * @param {string} method such as "CollectionService/MapItems"
 * @param {Record<number, string | number>} fields number of a field to a text, or to a number below 128
 * @param {{signal?: AbortSignal}} [options]
 */
export async function callWire(method, fields, options = {}) {
  const response = await send(`/fc7.v1.${method}`, "application/proto", write(fields), options);
  return new Uint8Array(await response.arrayBuffer());
}

/** @param {Record<number, string | number>} fields */
function write(fields) {
  /** @type {number[]} */
  const bytes = [];
  for (const [field, given] of Object.entries(fields)) {
    if (typeof given === "number") {
      bytes.push((Number(field) << 3) | VARINT, given);
      continue;
    }
    const value = new TextEncoder().encode(given);
    bytes.push((Number(field) << 3) | BYTES);
    let length = value.length;
    for (; length > 127; length >>>= 7) bytes.push((length & 127) | 128);
    bytes.push(length, ...value);
  }
  return new Uint8Array(bytes);
}

/**
 * Call back with each field of a message, in order: a number, or bytes that are not copied.
 * @param {Uint8Array} message
 * @param {(field: number, value: any) => void} onField
 */
export function readFields(message, onField) {
  let at = 0;
  const varint = () => {
    let value = 0, unit = 1, byte = 0;
    do {
      byte = message[at] ?? 0;
      value += (byte & 127) * unit;
      unit *= 128;
      at += 1;
    } while (byte > 127);
    return value;
  };
  while (at < message.length) {
    const key = varint();
    const kind = key & 7;
    if (kind === VARINT) {
      onField(key >>> 3, varint());
      continue;
    }
    const length = kind === BYTES ? varint() : kind === EIGHT_BYTES ? 8 : kind === FOUR_BYTES ? 4 : -1;
    if (length < 0 || at + length > message.length) throw new Error("The answer of the server is malformed.");
    onField(key >>> 3, message.subarray(at, at + length));
    at += length;
  }
}

/** Return the bytes of a tensor. @param {Uint8Array} tensor */
export function tensorBytes(tensor) {
  let data = new Uint8Array();
  readFields(tensor, (field, value) => {
    if (field === 3) data = value.slice(); // in a buffer of its own, whose beginning is aligned
  });
  return data;
}

/** Return the numbers of a packed field of doubles. @param {Uint8Array} packed */
export function doubles(packed) {
  return [...new Float64Array(packed.slice().buffer)];
}
