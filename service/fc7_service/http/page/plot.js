// A plot of very many points: the geometry goes to the GPU once. Moving changes a few numbers, draws once per frame, and
// makes no object: `view` and the places it is written to exist from the beginning.

const POINTS = `#version 300 es
in vec2 place; in vec4 paint; uniform vec4 view; uniform mediump float size; out vec4 colour;
void main() { gl_Position = vec4((place - view.xy) * view.zw, 0.0, 1.0); gl_PointSize = size; colour = paint; }`;
const ROUND = `#version 300 es
precision mediump float; in vec4 colour; out vec4 pixel; uniform mediump float size;
void main() {
  float edge = clamp((0.5 - length(gl_PointCoord - 0.5)) * size, 0.0, 1.0);
  if (edge == 0.0) discard;
  pixel = vec4(colour.rgb, colour.a * edge);
}`;
const CELLS = 128; // along each side of the index for hovering
const X = 0, Y = 1, SCALE_X = 2, SCALE_Y = 3; // of `view`
const FARTHEST = 0.5, CLOSEST = 200; // zoom

export class Plot {
  view = new Float32Array(4); // the middle in the data's coordinates, and halves of the canvas per unit of the data
  zoom = 1;
  radius = 1e-6; // of the square that holds all points
  starts = new Uint32Array(CELLS * CELLS + 1); // where the points of each cell begin in `order`
  order = new Uint32Array();
  width = 1; // CSS pixels
  height = 1;
  #size = new Float32Array(1); // of a point, in pixels of the screen
  #isWaiting = false;
  #ratio = 1;

  /** @param {HTMLCanvasElement} canvas @param {Float32Array} places x, y of each point @param {() => void} onDraw called after each drawing */
  constructor(canvas, places, onDraw) {
    const gl = canvas.getContext("webgl2", { antialias: false });
    if (!gl) throw new Error("This browser cannot draw the map, because it has no WebGL 2.");
    this.canvas = canvas;
    this.places = places;
    this.gl = gl;
    this.onDraw = onDraw;
    const program = link(gl);
    this.viewPlace = gl.getUniformLocation(program, "view");
    this.sizePlace = gl.getUniformLocation(program, "size");
    for (const value of places) this.radius = Math.max(this.radius, Math.abs(value));
    attribute(gl, program, "place", 2, gl.FLOAT, false);
    gl.bufferData(gl.ARRAY_BUFFER, /** @type {Float32Array<ArrayBuffer>} */ (places), gl.STATIC_DRAW);
    attribute(gl, program, "paint", 4, gl.UNSIGNED_BYTE, true); // this buffer stays bound
    gl.enable(gl.BLEND);
    gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.#index();
    this.#measure();
  }

  /** Take the size of the canvas again, and draw. */
  fit() {
    this.#measure();
    this.#draw();
  }

  #measure() {
    const { canvas } = this;
    this.#ratio = devicePixelRatio || 1;
    this.width = canvas.clientWidth || 1;
    this.height = canvas.clientHeight || 1;
    Object.assign(canvas, { width: Math.round(this.width * this.#ratio), height: Math.round(this.height * this.#ratio) });
    this.gl.viewport(0, 0, canvas.width, canvas.height);
    this.#scale();
  }

  /** Colour the points. @param {Uint8Array} paints red, green, blue, alpha of each point */
  paint(paints) {
    this.gl.bufferData(this.gl.ARRAY_BUFFER, /** @type {Uint8Array<ArrayBuffer>} */ (paints), this.gl.STATIC_DRAW);
    this.#draw();
  }

  /** Draw all points, in one call. */
  #draw = () => {
    const { gl } = this;
    this.#isWaiting = false;
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform4fv(this.viewPlace, this.view);
    gl.uniform1fv(this.sizePlace, this.#size);
    gl.drawArrays(gl.POINTS, 0, this.places.length >> 1);
    this.onDraw();
  };

  /** Draw with the next frame, however often this is called before it. */
  #drawSoon() {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    requestAnimationFrame(this.#draw);
  }

  #scale() {
    const one = (0.92 * this.zoom * Math.min(this.width, this.height)) / this.radius;
    this.view[SCALE_X] = one / this.width;
    this.view[SCALE_Y] = one / this.height;
    const closeness = Math.max(2.5, Math.min(11, 520 / Math.sqrt(this.places.length + 2)));
    this.#size[0] = this.#ratio * closeness * Math.sqrt(this.zoom);
  }

  /** Return the data's coordinate of a place on the canvas. @param {number} x in CSS pixels */
  dataX(x) {
    return ((2 * x) / this.width - 1) / this.#at(SCALE_X) + this.#at(X);
  }

  /** @param {number} y in CSS pixels */
  dataY(y) {
    return (1 - (2 * y) / this.height) / this.#at(SCALE_Y) + this.#at(Y);
  }

  /** Return where a coordinate of the data is on the canvas. @param {number} x */
  canvasX(x) {
    return (((x - this.#at(X)) * this.#at(SCALE_X) + 1) / 2) * this.width;
  }

  /** @param {number} y */
  canvasY(y) {
    return ((1 - (y - this.#at(Y)) * this.#at(SCALE_Y)) / 2) * this.height;
  }

  /** @param {number} part */
  #at(part) {
    return this.view[part] ?? 0;
  }

  /** Move by CSS pixels. @param {number} dx @param {number} dy */
  move(dx, dy) {
    this.view[X] = this.#at(X) - (2 * dx) / this.width / this.#at(SCALE_X);
    this.view[Y] = this.#at(Y) + (2 * dy) / this.height / this.#at(SCALE_Y);
    this.#drawSoon();
  }

  /** Zoom, and keep the data below a place of the canvas where it is. @param {number} factor @param {number} [x] @param {number} [y] */
  zoomBy(factor, x = this.width / 2, y = this.height / 2) {
    const dataX = this.dataX(x), dataY = this.dataY(y);
    this.zoom = Math.max(FARTHEST, Math.min(CLOSEST, this.zoom * factor));
    this.#scale();
    this.view[X] = this.#at(X) + dataX - this.dataX(x);
    this.view[Y] = this.#at(Y) + dataY - this.dataY(y);
    this.#drawSoon();
  }

  /** Show all points. */
  reset() {
    this.view.fill(0);
    this.zoom = 1;
    this.#scale();
    this.#drawSoon();
  }

  /** Return the point nearest to a place of the canvas, at most some pixels away; -1 if there is none. @param {number} x @param {number} y */
  nearest(x, y, most = 14) {
    const dataX = this.dataX(x), dataY = this.dataY(y);
    const reach = Math.abs(this.dataX(x + most) - dataX);
    const left = this.#cell(dataX - reach), right = this.#cell(dataX + reach), bottom = this.#cell(dataY - reach), top = this.#cell(dataY + reach);
    let best = -1, least = reach * reach;
    for (let row = bottom; row <= top; row += 1) {
      const end = this.starts[row * CELLS + right + 1] ?? 0;
      for (let at = this.starts[row * CELLS + left] ?? 0; at < end; at += 1) {
        const point = this.order[at] ?? 0;
        const distance = ((this.places[2 * point] ?? 0) - dataX) ** 2 + ((this.places[2 * point + 1] ?? 0) - dataY) ** 2;
        if (distance < least) {
          best = point;
          least = distance;
        }
      }
    }
    return best;
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

/** Return which points lie in a polygon. @param {Float32Array} places @param {number[]} polygon x, y of each corner @returns {number[]} */
export function inside(places, polygon) {
  const found = [];
  for (let at = 0; at < places.length / 2; at += 1) {
    const x = places[2 * at] ?? 0, y = places[2 * at + 1] ?? 0;
    let isIn = false;
    for (let i = 0, j = polygon.length - 2; i < polygon.length; j = i, i += 2) {
      const yi = polygon[i + 1] ?? 0, yj = polygon[j + 1] ?? 0;
      if (yi > y === yj > y) continue;
      const xi = polygon[i] ?? 0, xj = polygon[j] ?? 0;
      if (x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) isIn = !isIn;
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
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error("This browser cannot draw the map, because its WebGL 2 refuses the points.");
  gl.useProgram(program);
  return program;
}

/** Bind a new buffer to an attribute of the points. @param {WebGL2RenderingContext} gl @param {WebGLProgram} program @param {string} name @param {number} size @param {number} type @param {boolean} isScaled */
function attribute(gl, program, name, size, type, isScaled) {
  const place = gl.getAttribLocation(program, name);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.enableVertexAttribArray(place);
  gl.vertexAttribPointer(place, size, type, isScaled, 0, 0);
}
