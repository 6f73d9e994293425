// The pixels, the point between them, and what is read there.

import { clip } from "../sampling.js";
import { NEXT_TO, sample } from "./kernels.js";

/** @import { Figure } from "../figure.js" */
/** @import { Point } from "../sampling.js" */
/** @import { Mode } from "./kernels.js" */

/**
 * @typedef {object} Traits
 * @property {number[][]} pixels rows of grey values
 * @property {Point} point in pixels
 * @property {Mode} mode
 * @property {boolean} slopes whether the figure shows kernels and slopes, too
 */

export const NEIGHBOURS = ["#56B4E9", "#E69F00", "#CC79A7", "#BBBBBB"]; // row by row
export const [PLUS, MINUS] = NEIGHBOURS;

export class Lens {
  /** @param {Figure<Traits>} figure */
  constructor(figure) {
    this.figure = figure;
    this.slopes = figure.get("slopes");
    /** @type {Point | null} */
    this.hovered = null; // where the mouse is over the picture
    /** Called when the mouse has gone to another place of the picture, or left it. */
    this.show = () => {};
  }

  get pixels() {
    return this.figure.get("pixels");
  }

  get mode() {
    return this.figure.get("mode");
  }

  /** Where the reader has put the point. */
  get kept() {
    return this.figure.get("point");
  }

  /** Where the lens reads: at the mouse, as long as it is over the picture. */
  get point() {
    return this.hovered ?? this.kept;
  }

  get width() {
    return this.pixels[0].length;
  }

  get height() {
    return this.pixels.length;
  }

  /**
   * The value at a place, its slopes, and its terms.
   * @param {Point} place
   */
  at([x, y]) {
    return sample(this.pixels, x, y, this.mode);
  }

  get reading() {
    const [x, y] = this.point;
    if (this.slopes) return this.at([x, y]);
    // Without slopes, the last centres belong to the pixels before them, as the first do.
    return this.at([
      Math.min(x, this.width - 1 - NEXT_TO),
      Math.min(y, this.height - 1 - NEXT_TO),
    ]);
  }

  /**
   * Read somewhere else for a while, or again at the point.
   * @param {Point | null} place
   */
  hover(place) {
    this.hovered = place && this.#near(place);
    this.show();
  }

  /**
   * Move the point.
   * @param {Point} to
   */
  move(to) {
    this.figure.send({ point: this.#near(to) });
  }

  /**
   * The place on the picture that is nearest, to a hundredth of a pixel.
   * @param {Point} place
   * @returns {Point}
   */
  #near([x, y]) {
    const edge = this.slopes ? 0.5 : 0; // without slopes, it stays among the centres
    const near = (/** @type {number} */ value, /** @type {number} */ size) =>
      Math.round(100 * clip(value, -edge, size - 1 + edge)) / 100;
    return [near(x, this.width), near(y, this.height)];
  }
}
