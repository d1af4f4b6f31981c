// A plot of very many points: the geometry goes to the GPU once, and moving changes three numbers and draws once.

const POINTS = `#version 300 es
in vec2 place; in vec4 paint; uniform vec2 middle; uniform vec2 scale; uniform float size; out vec4 colour;
void main() { gl_Position = vec4((place - middle) * scale, 0.0, 1.0); gl_PointSize = size; colour = paint; }`;
const ROUND = `#version 300 es
precision mediump float; in vec4 colour; out vec4 pixel;
void main() { float r = length(gl_PointCoord - 0.5); if (r > 0.5) discard; pixel = vec4(colour.rgb, colour.a); }`;
const CELLS = 128; // along each side of the index for hovering

export class Plot {
  middle = [0, 0];
  zoom = 1;
  radius = 1e-6; // of the square that holds all points
  starts = new Uint32Array(CELLS * CELLS + 1); // where the points of each cell begin in `order`
  order = new Uint32Array();

  /** @param {HTMLCanvasElement} canvas @param {Float32Array} places x, y of each point */
  constructor(canvas, places) {
    const gl = canvas.getContext("webgl2", { antialias: true });
    if (!gl) throw new Error("This browser cannot draw the map, because it has no WebGL 2.");
    this.canvas = canvas;
    this.places = places;
    this.gl = gl;
    this.program = link(gl);
    this.#measure();
    buffer(gl, this.program, "place", places, 2, gl.FLOAT, false);
    this.#index();
  }

  /** Colour the points. @param {Uint8Array} paints red, green, blue, alpha of each point */
  paint(paints) {
    buffer(this.gl, this.program, "paint", paints, 4, this.gl.UNSIGNED_BYTE, true);
    this.draw();
  }

  /** Draw all points, in one call. */
  draw() {
    const { gl, canvas, program } = this;
    const ratio = devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.BLEND);
    gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    const [sx, sy] = this.scale();
    gl.uniform2f(gl.getUniformLocation(program, "middle"), this.middle[0] ?? 0, this.middle[1] ?? 0);
    gl.uniform2f(gl.getUniformLocation(program, "scale"), sx, sy);
    const n = this.places.length / 2;
    gl.uniform1f(gl.getUniformLocation(program, "size"), ratio * Math.max(2.5, Math.min(11, 260 / Math.sqrt(n + 1))) * Math.sqrt(this.zoom));
    gl.drawArrays(gl.POINTS, 0, n);
    canvas.dataset["drawn"] = String(n);
  }

  /** Return how many halves of the canvas one unit of the data takes. @returns {[number, number]} */
  scale() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const side = Math.min(width, height);
    const one = (0.92 * this.zoom) / this.radius;
    return [(one * side) / width, (one * side) / height];
  }

  /** Return the data's coordinates of a place on the canvas. @param {number} x @param {number} y in CSS pixels @returns {[number, number]} */
  toData(x, y) {
    const [sx, sy] = this.scale();
    return [((2 * x) / this.canvas.clientWidth - 1) / sx + (this.middle[0] ?? 0), (1 - (2 * y) / this.canvas.clientHeight) / sy + (this.middle[1] ?? 0)];
  }

  /** Return where a point of the data is on the canvas. @param {number} x @param {number} y @returns {[number, number]} */
  toCanvas(x, y) {
    const [sx, sy] = this.scale();
    return [(((x - (this.middle[0] ?? 0)) * sx + 1) / 2) * this.canvas.clientWidth, ((1 - (y - (this.middle[1] ?? 0)) * sy) / 2) * this.canvas.clientHeight];
  }

  /** Move by CSS pixels. @param {number} dx @param {number} dy */
  move(dx, dy) {
    const [x0, y0] = this.toData(0, 0), [x1, y1] = this.toData(dx, dy);
    this.middle = [(this.middle[0] ?? 0) - (x1 - x0), (this.middle[1] ?? 0) - (y1 - y0)];
    this.draw();
  }

  /** Zoom, and keep the data below a place of the canvas where it is. @param {number} factor @param {number} [x] @param {number} [y] */
  zoomBy(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const before = this.toData(x, y);
    this.zoom = Math.max(0.5, Math.min(200, this.zoom * factor));
    const after = this.toData(x, y);
    this.middle = [(this.middle[0] ?? 0) + before[0] - after[0], (this.middle[1] ?? 0) + before[1] - after[1]];
    this.draw();
  }

  /** Return the point nearest to a place of the canvas, at most some pixels away; -1 if there is none. @param {number} x @param {number} y */
  nearest(x, y, most = 14) {
    const [dx, dy] = this.toData(x, y);
    const reach = Math.abs(this.toData(x + most, y)[0] - dx);
    let best = -1, least = reach * reach;
    const [c0, c1] = [this.#cell(dx - reach), this.#cell(dx + reach)], [r0, r1] = [this.#cell(dy - reach), this.#cell(dy + reach)];
    for (let row = r0; row <= r1; row += 1) {
      for (let at = this.starts[row * CELLS + c0] ?? 0; at < (this.starts[row * CELLS + c1 + 1] ?? 0); at += 1) {
        const point = this.order[at] ?? 0;
        const distance = ((this.places[2 * point] ?? 0) - dx) ** 2 + ((this.places[2 * point + 1] ?? 0) - dy) ** 2;
        if (distance < least) [best, least] = [point, distance];
      }
    }
    return best;
  }

  #measure() {
    for (const value of this.places) this.radius = Math.max(this.radius, Math.abs(value));
  }

  /** @param {number} value */
  #cell(value) {
    return Math.max(0, Math.min(CELLS - 1, Math.floor(((value / this.radius + 1) / 2) * CELLS)));
  }

  /** Sort the points into cells, row by row. */
  #index() {
    const n = this.places.length / 2;
    const cells = new Uint32Array(n);
    for (let at = 0; at < n; at += 1) {
      const cell = this.#cell(this.places[2 * at + 1] ?? 0) * CELLS + this.#cell(this.places[2 * at] ?? 0);
      cells[at] = cell;
      this.starts[cell + 1] = (this.starts[cell + 1] ?? 0) + 1;
    }
    for (let cell = 0; cell < CELLS * CELLS; cell += 1) this.starts[cell + 1] = (this.starts[cell + 1] ?? 0) + (this.starts[cell] ?? 0);
    const next = this.starts.slice();
    this.order = new Uint32Array(n);
    for (let at = 0; at < n; at += 1) {
      const cell = cells[at] ?? 0;
      this.order[next[cell] ?? 0] = at;
      next[cell] = (next[cell] ?? 0) + 1;
    }
  }
}

/** Return which points lie in a polygon. @param {Float32Array} places @param {[number, number][]} polygon @returns {number[]} */
export function inside(places, polygon) {
  const found = [];
  for (let at = 0; at < places.length / 2; at += 1) {
    const x = places[2 * at] ?? 0, y = places[2 * at + 1] ?? 0;
    let isIn = false;
    for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i, i += 1) {
      const [xi, yi] = polygon[i] ?? [0, 0], [xj, yj] = polygon[j] ?? [0, 0];
      if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) isIn = !isIn;
    }
    if (isIn) found.push(at);
  }
  return found;
}

/** @param {WebGL2RenderingContext} gl */
function link(gl) {
  const program = gl.createProgram();
  for (const [kind, source] of /** @type {const} */ ([[gl.VERTEX_SHADER, POINTS], [gl.FRAGMENT_SHADER, ROUND]])) {
    const shader = /** @type {WebGLShader} */ (gl.createShader(kind));
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  return program;
}

/** @param {WebGL2RenderingContext} gl @param {WebGLProgram} program @param {string} name @param {Float32Array | Uint8Array} values @param {number} size @param {number} type @param {boolean} isScaled */
function buffer(gl, program, name, values, size, type, isScaled) {
  const place = gl.getAttribLocation(program, name);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, /** @type {Float32Array<ArrayBuffer>} */ (values), gl.STATIC_DRAW);
  gl.enableVertexAttribArray(place);
  gl.vertexAttribPointer(place, size, type, isScaled, 0, 0);
}
