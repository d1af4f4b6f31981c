// The drawings of a head: its accuracy on a scale, its learning curve, its confusion matrix.

import { button, h, percent } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} tag @param {Record<string, string | number>} attributes @param {...(Node | string)} children */
function s(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** @typedef {{value: number, low: number, high: number}} Estimate */

/**
 * Return an accuracy with its interval on a scale from 0 to 1, beside other figures.
 * @param {Estimate} accuracy
 * @param {{name: string, value: number}[]} beside
 */
export function accuracyScale(accuracy, beside) {
  const x = (/** @type {number} */ share) => 10 + 580 * share;
  const said = `Accuracy ${percent(accuracy.value)}, 95 % interval ${percent(accuracy.low)} to ${percent(accuracy.high)}. ${beside.map(({ name, value }) => `${name} ${percent(value)}`).join(", ")}.`;
  const marks = beside.map(({ value }) => s("line", { x1: x(value), x2: x(value), y1: 12, y2: 36, class: "beside" }));
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => s("line", { x1: x(share), x2: x(share), y1: 22, y2: 26, class: "tick" }));
  return h("div", { class: "scale", role: "img", "aria-label": said }, s("svg", { viewBox: "0 0 600 48", "aria-hidden": "true" }, s("line", { x1: 10, x2: 590, y1: 24, y2: 24, class: "axis" }), ...ticks, s("rect", { x: x(accuracy.low), width: Math.max(2, x(accuracy.high) - x(accuracy.low)), y: 17, height: 14, rx: 7, class: "interval" }), ...marks, s("circle", { cx: x(accuracy.value), cy: 24, r: 6, class: "value" })));
}

/**
 * Return the accuracy by number of labels, as a line.
 * @param {{count: number, accuracy: number}[]} points
 */
export function learningCurve(points) {
  const most = Math.max(...points.map((point) => point.count));
  const low = Math.max(0, Math.min(...points.map((point) => point.accuracy)) - 0.1);
  const at = ({ count, accuracy } = { count: 0, accuracy: 0 }) => [44 + (250 * count) / most, 106 - (96 * (accuracy - low)) / (1 - low)];
  const line = points.map((point) => at(point).map((n) => n.toFixed(1)).join(",")).join(" ");
  const dots = points.map((point) => {
    const [cx = 0, cy = 0] = at(point);
    return s("circle", { cx, cy, r: 3, class: "value" }, s("title", {}, `${point.count} labels: ${percent(point.accuracy)}`));
  });
  const said = points.map((point) => `${point.count} labels ${percent(point.accuracy)}`).join(", ");
  const text = (/** @type {number} */ x, /** @type {number} */ y, /** @type {string} */ words, anchor = "end") => s("text", { x, y, "text-anchor": anchor }, words);
  return h("div", { class: "curve", role: "img", "aria-label": `Accuracy by number of labels: ${said}` }, s("svg", { viewBox: "0 0 300 128", "aria-hidden": "true" }, s("line", { x1: 44, x2: 296, y1: 106, y2: 106, class: "axis" }), text(38, 14, percent(1, 0)), text(38, 110, percent(low, 0)), text(296, 122, `${most} labels`), s("polyline", { points: line, class: "line" }), ...dots));
}

/**
 * Return the confusion matrix as a table; each cell that is not empty opens its pictures.
 * @param {string[]} classes
 * @param {number[][]} counts true class, answer
 * @param {(label: number, predicted: number) => void} onOpen
 */
export function confusionMatrix(classes, counts, onOpen) {
  const head = h("tr", {}, h("th", { scope: "col", class: "corner" }, "label ↓ answer →"), classes.map((name) => h("th", { scope: "col" }, h("span", {}, name))));
  const rows = counts.map((row, label) => {
    const total = row.reduce((sum, n) => sum + n, 0);
    const cells = row.map((n, predicted) => {
      if (!n) return h("td", {}, "·");
      const cell = button(String(n), () => onOpen(label, predicted), { class: label === predicted ? "right" : "wrong", "aria-label": `${n} of ${total} ${classes[label]} answered ${classes[predicted]}` });
      cell.style.setProperty("--share", `${Math.round((100 * n) / total)}%`);
      if (n / total > 0.5) cell.classList.add("strong");
      return h("td", {}, cell);
    });
    return h("tr", {}, h("th", { scope: "row" }, classes[label]), cells);
  });
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Confusion matrix" }, h("table", { class: "confusion" }, h("thead", {}, head), h("tbody", {}, rows)));
}

/**
 * Return the ends of the 95 % interval of a share (Wilson 1927).
 * @param {number} share
 * @param {number} n
 * @returns {Estimate}
 */
export function wilson(share, n) {
  if (!n) return { value: share, low: 0, high: 1 };
  const z = 1.96;
  const middle = (share + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z / (1 + (z * z) / n)) * Math.sqrt((share * (1 - share)) / n + (z * z) / (4 * n * n));
  return { value: share, low: middle - half, high: middle + half };
}
