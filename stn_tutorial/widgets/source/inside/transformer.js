// The transformer that both parts of the figure show: its pictures and parameters.

import { fixed } from "../page.js";
import { namedImages, warp } from "../sampling.js";
import { COLOURS } from "../stage.js";
import { thetaOf } from "./gradient.js";

/** @import { Figure } from "../figure.js" */
/** @import { Image, Point } from "../sampling.js" */
/** @import { Stage } from "../stage.js" */
/** @import { Parameters, Range } from "./gradient.js" */

/**
 * @typedef {object} Traits
 * @property {"one pass" | "descent"} part
 * @property {[string, number, number, number][]} shapes of the pictures
 * @property {DataView} pixels
 * @property {string} picture
 * @property {Record<string, Range>} ranges of the four parameters, by their names
 * @property {Parameters} parameters
 * @property {number} stage of one pass, from 1
 * @property {number} size of the output, in pixels
 * @property {Point} follow near the pixel that is followed
 * @property {string} pair what descent may change
 * @property {Parameters} start of descent
 * @property {number} rate
 * @property {number} steps
 */

/** What the cards show: an image with its frame, or with room for a grid around it. */
export const SMALL = [-1.08, -1.08, 1.08, 1.08];
export const LARGE = [-1.45, -1.45, 1.45, 1.45];

export class Transformer {
  /** @param {Figure<Traits>} figure */
  constructor(figure) {
    this.figure = figure;
    this.pictures = namedImages(figure.get("shapes"), figure.get("pixels"));
    this.names = Object.keys(figure.get("ranges"));
    this.ranges = Object.values(figure.get("ranges"));
  }

  /** @returns {Image} */
  get image() {
    return this.pictures[this.figure.get("picture")];
  }

  /** The parameters that one pass shows; descent has to find them. */
  get known() {
    return this.figure.get("parameters");
  }

  /**
   * The output of n x n pixels.
   * @param {Parameters} parameters
   * @param {number} n
   */
  output(parameters, n) {
    return warp(this.image, thetaOf(parameters), n, n);
  }

  /**
   * A parameter as text.
   * @param {number} i its position
   * @param {number} value
   */
  written(i, value, digits = 2) {
    return this.names[i] === "angle" ? `${fixed(value, 0)}°` : fixed(value, digits);
  }
}

/**
 * Draw the input and its frame.
 * @param {Stage} stage
 * @param {Image} image
 */
export function drawInput(stage, image) {
  stage.clear();
  stage.image(image);
  stage.frame(COLOURS.input);
}

/**
 * Draw an output and its frame.
 * @param {Stage} stage
 * @param {Image} image
 * @param {string} colour
 */
export function drawOutput(stage, image, colour) {
  stage.clear();
  stage.image(image);
  stage.frame(colour, 3);
}
