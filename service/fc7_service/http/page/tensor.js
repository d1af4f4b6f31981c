// Arrays of the service, and the pictures that are drawn from them.

import { h } from "./dom.js";

const DIM = 0.78; // how dark a place without light gets, 0 to 1

/**
 * Return the numbers of a tensor.
 * @param {{dtype: string, data: string}} tensor
 * @returns {Float32Array | Uint8Array}
 */
export function readTensor({ dtype, data }) {
  const text = atob(data);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
  if (dtype === "uint8") return bytes;
  if (dtype === "float32") return new Float32Array(bytes.buffer);
  throw new Error(`The page cannot read numbers of the type ${dtype}.`);
}

/**
 * Return the square that the network sees, lit where the positions contribute.
 * @param {any} view
 * @param {any} [positions]
 */
export function lit(view, positions) {
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
export function seen(view, place) {
  return cut(picture(view.pixels, ""), place, "The part of the picture that the unit sees");
}

/** Return the projection of a unit, at full contrast; zero is grey. @param {any} drawn */
export function projection(drawn) {
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
