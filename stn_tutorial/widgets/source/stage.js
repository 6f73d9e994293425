// A card to draw on: images, lines, dots and words, and handles that readers drag.

import { contextOf, element, fixed } from "./page.js";
import { clip, FRAME } from "./sampling.js";

/** @import { Image, Point } from "./sampling.js" */

/** @typedef {(point: Point) => Point} PointMap */

export const COLOURS = {
  input: "#0072B2",
  grid: "#D55E00",
  output: "#009E73",
  other: "#CC79A7",
  grey: "#767676",
};

/**
 * Where the arrow keys go.
 * @type {Record<string, Point>}
 */
export const ARROWS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/**
 * A canvas of the image's own pixels.
 * @param {Image} image
 */
export function toCanvas({ data, channels, height, width }) {
  const canvas = element("canvas", { width, height });
  const context = contextOf(canvas);
  const pixels = context.createImageData(width, height);
  const size = height * width;
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) {
      const grey = data[(channels === 3 ? c * size : 0) + i];
      pixels.data[4 * i + c] = Math.round(255 * grey);
    }
    pixels.data[4 * i + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** A white card to draw on, in coordinates of one's own. */
export class Stage {
  /**
   * @param {number[]} view left, top, right, bottom: what the card shows
   * @param {string} label for screen readers
   * @param {() => void} paint called whenever the card changes its size
   * @param {AbortSignal} ending when the card is no longer needed
   */
  constructor(view, label, paint, ending) {
    this.view = view;
    this.canvas = element("canvas", { role: "img", "aria-label": label });
    this.context = contextOf(this.canvas);
    this.root = element("div", { class: "stn-stage" }, this.canvas);
    this.aspect = 1;
    /** @type {(() => void)[]} */
    this.placements = [];
    // In CSS pixels. There is nothing to draw on until the card stands on the page.
    this.width = 0;
    this.height = 0;
    this.ratio = 1;
    const observer = new ResizeObserver(() => {
      this.measure();
      if (this.width) paint();
    });
    observer.observe(this.root);
    ending.addEventListener("abort", () => observer.disconnect());
  }

  /** Give the canvas as many pixels as it covers on the screen. */
  measure() {
    const { width, height } = this.root.getBoundingClientRect();
    this.width = width;
    this.height = height;
    this.ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * this.ratio);
    this.canvas.height = Math.round(height * this.ratio);
  }

  /** How much wider than high a square of own coordinates appears. */
  set aspect(/** @type {number} */ aspect) {
    const [left, top, right, bottom] = this.view;
    this.root.style.aspectRatio = String((aspect * (right - left)) / (bottom - top));
  }

  /**
   * From own coordinates to shares of the card's width and height.
   * @param {Point} point
   * @returns {Point}
   */
  share([x, y]) {
    const [left, top, right, bottom] = this.view;
    return [(x - left) / (right - left), (y - top) / (bottom - top)];
  }

  /**
   * From own coordinates to CSS pixels of the card.
   * @param {Point} point
   * @returns {Point}
   */
  place(point) {
    const [x, y] = this.share(point);
    return [x * this.width, y * this.height];
  }

  /**
   * From a mouse or touch event to own coordinates.
   * @param {MouseEvent} event
   * @returns {Point}
   */
  locate(event) {
    const [left, top, right, bottom] = this.view;
    const box = this.root.getBoundingClientRect();
    return [
      left + ((event.clientX - box.left) / box.width) * (right - left),
      top + ((event.clientY - box.top) / box.height) * (bottom - top),
    ];
  }

  // Drawing

  clear() {
    this.context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.context.clearRect(0, 0, this.width, this.height);
  }

  /**
   * Draw an image, each pixel a square, between two opposite corners.
   * @param {Image} image
   * @param {Point} from
   * @param {Point} to
   */
  image(image, from = [-1, -1], to = [1, 1]) {
    const [left, top] = this.place(from);
    const [right, bottom] = this.place(to);
    this.context.imageSmoothingEnabled = false;
    this.context.drawImage(toCanvas(image), left, top, right - left, bottom - top);
  }

  /**
   * Draw a line through points, closed or not.
   * @param {Point[]} points
   * @param {string} colour
   * @param {{ width?: number, closed?: boolean, dash?: number[] }} style
   */
  line(points, colour, { width = 2, closed = false, dash = [] } = {}) {
    const { context } = this;
    context.beginPath();
    for (const point of points) context.lineTo(...this.place(point));
    if (closed) context.closePath();
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.lineJoin = "round";
    context.setLineDash(dash);
    context.stroke();
  }

  /**
   * Draw a straight line between two points.
   * @param {Point} from
   * @param {Point} to
   * @param {string} colour
   * @param {number} width
   * @param {number[]} dash
   */
  segment(from, to, colour, width, dash = []) {
    this.line([from, to], colour, { width, dash });
  }

  /**
   * Draw the frame of an image.
   * @param {string} colour
   */
  frame(colour, width = 2) {
    this.line(FRAME, colour, { width, closed: true });
  }

  /**
   * Draw a dot, its radius in CSS pixels.
   * @param {Point} point
   * @param {string} colour
   */
  dot(point, colour, radius = 3) {
    this.context.beginPath();
    this.context.arc(...this.place(point), radius, 0, 2 * Math.PI);
    this.context.fillStyle = colour;
    this.context.fill();
  }

  /**
   * Write a few words, in the middle of their height at a point; halo: round them.
   * @param {string} words
   * @param {Point} point
   * @param {{ colour?: string, align?: CanvasTextAlign, halo?: string, size?: number }}
   *   style size: of the letters, in CSS pixels
   */
  text(words, point, { colour = "#444", align = "center", halo, size = 13 } = {}) {
    this.context.font = `${size}px sans-serif`;
    this.context.textAlign = align;
    this.context.textBaseline = "middle";
    if (halo) {
      this.context.setLineDash([]);
      this.context.lineWidth = 4;
      this.context.strokeStyle = halo;
      this.context.strokeText(words, ...this.place(point));
    }
    this.context.fillStyle = colour;
    this.context.fillText(words, ...this.place(point));
  }

  /**
   * Draw how a map bends the lines of a frame; the frame's first corner has a dot.
   * @param {PointMap} map
   */
  grid(map, colour = COLOURS.grid, lines = 8) {
    const along = Array.from({ length: 17 }, (_, i) => i / 8 - 1);
    for (let k = 0; k <= lines; k++) {
      const at = (2 * k) / lines - 1;
      const width = k === 0 || k === lines ? 2.5 : 1;
      const across = along.map((t) => map([t, at]));
      const down = along.map((t) => map([at, t]));
      this.line(across, colour, { width });
      this.line(down, colour, { width });
    }
    this.dot(map([-1, -1]), colour, 5);
  }

  // Handles

  /**
   * Add a point that can be dragged, or moved by the arrow keys.
   *
   * Call `update` after every change. A point that has left the card keeps its handle
   * at the edge: taken there, it comes back.
   * @param {string} label
   * @param {string} colour
   * @param {object} point
   * @param {() => Point} point.get where it is
   * @param {(point: Point) => void} point.set where it shall be
   * @param {() => number} [point.step] of an arrow key; with Shift, a tenth
   * @param {(way: Point, fine: boolean) => void} [point.press] what an arrow key does
   *   where it does not move the point that way; fine: with Shift
   * @param {() => string} [point.words] where it is, for screen readers
   */
  handle(label, colour, { get, set, step = () => 0.05, press, words }) {
    const button = element("button", { type: "button", class: "stn-handle" });
    button.style.setProperty("--stn-colour", colour);
    const shown = () => this.#inReach(get());
    this.#letDrag(button, shown, set);
    button.addEventListener("keydown", (event) => {
      const way = ARROWS[event.key];
      if (!way) return;
      event.preventDefault();
      event.stopPropagation();
      const [x, y] = get();
      const length = event.shiftKey ? step() / 10 : step();
      if (press) press(way, event.shiftKey);
      else set([x + way[0] * length, y + way[1] * length]);
    });
    this.placements.push(() => {
      const [x, y] = get();
      const [across, down] = this.share(shown());
      button.style.left = `${100 * across}%`;
      button.style.top = `${100 * down}%`;
      const place = words?.() ?? `x ${fixed(x)}, y ${fixed(y)}`;
      button.setAttribute("aria-label", `${label}: ${place}`);
    });
    this.root.append(button);
    return button;
  }

  /**
   * Where a point's handle stands: there, or within the card if the point is not.
   * @param {Point} point
   * @returns {Point}
   */
  #inReach(point) {
    const shares = this.share(point);
    if (shares.every((share) => share >= 0 && share <= 1)) return point;
    const [left, top, right, bottom] = this.view;
    const [across, down] = shares.map((share) => clip(share, 0.05, 0.95));
    return [left + across * (right - left), top + down * (bottom - top)];
  }

  /**
   * @param {HTMLElement} part
   * @param {() => Point} get
   * @param {(point: Point) => void} set
   */
  #letDrag(part, get, set) {
    /** @type {Point | null} */
    let grip = null; // from the pointer to the point
    part.addEventListener("pointerdown", (event) => {
      const [x, y] = this.locate(event);
      const [px, py] = get();
      grip = [px - x, py - y];
      part.setPointerCapture(event.pointerId);
      part.focus();
      event.preventDefault();
    });
    part.addEventListener("pointermove", (event) => {
      if (!grip) return;
      const [x, y] = this.locate(event);
      set([x + grip[0], y + grip[1]]);
    });
    const letGo = () => {
      grip = null;
    };
    part.addEventListener("pointerup", letGo);
    part.addEventListener("pointercancel", letGo);
  }

  /**
   * Add an area that the hand can drag; keys have a handle. Call `update` after changes.
   * @param {object} area
   * @param {() => Point[]} area.corners
   * @param {() => Point} area.get the point that is dragged
   * @param {(point: Point) => void} area.set where it shall be
   */
  area({ corners, get, set }) {
    const area = element("div", { class: "stn-area" });
    this.#letDrag(area, get, set);
    this.placements.push(() => {
      const shares = corners().map((corner) => this.share(corner));
      const places = shares.map(([x, y]) => `${100 * x}% ${100 * y}%`);
      area.style.clipPath = `polygon(${places.join(", ")})`;
    });
    this.root.append(area);
    return area;
  }

  /** Put the handles where their points are. */
  update() {
    for (const place of this.placements) place();
  }
}
