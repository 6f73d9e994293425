// A spatial transformer whose theta the reader sets: input, output, target and loss.

import { nearestCentre } from "../neighbours.js";
import { clip, namedImages, transform, warp } from "../sampling.js";

/** @import { Figure } from "../figure.js" */
/** @import { Image, Point, Theta } from "../sampling.js" */

/**
 * @typedef {object} Traits
 * @property {[string, number, number, number][]} shapes of the pictures
 * @property {DataView} pixels
 * @property {string} picture
 * @property {Theta} theta
 * @property {Theta} known makes the target
 * @property {number} size of output and target, in pixels
 * @property {Point} follow near the output pixel that is followed
 */

export const LIMIT = 2; // of each number of theta
const SOLVED = 0.05; // of the target's variance
const BLANK = 1e-3; // variance of an output that shows nothing

export class Transformer {
  /** @param {Figure<Traits>} figure */
  constructor(figure) {
    this.figure = figure;
    this.pictures = namedImages(figure.get("shapes"), figure.get("pixels"));
    this.output = this.read("theta");
    this.target = this.read("known");
    this.setting = ""; // that the target belongs to
    this.loss = 0;
  }

  /** Compute what the traits say now. */
  update() {
    const { figure } = this;
    const setting = [figure.get("picture"), figure.get("size"), figure.get("known")];
    if (this.setting !== String(setting)) this.target = this.read("known");
    this.setting = String(setting);
    this.output = this.read("theta");
    this.loss = meanSquare(this.output.data, this.target.data);
  }

  /**
   * What the transformer reads from the input.
   * @param {"theta" | "known"} name
   */
  read(name) {
    const size = this.figure.get("size");
    return warp(this.image, this.figure.get(name), size, size);
  }

  /** @returns {Image} */
  get image() {
    return this.pictures[this.figure.get("picture")];
  }

  get theta() {
    return this.figure.get("theta");
  }

  /** @param {Theta} theta */
  move(theta) {
    this.figure.send({ theta: theta.map((v) => clip(v, -LIMIT, LIMIT)) });
  }

  /** The loss as a share of the target's variance. */
  get share() {
    return this.loss / variance(this.target.data);
  }

  /** Whether output and target look the same. */
  get solved() {
    return this.share < SOLVED;
  }

  /** Whether the grid has lost the picture. */
  get blank() {
    return variance(this.output.data) < BLANK;
  }

  /** The centre of the output pixel that is followed. */
  get followed() {
    const size = this.figure.get("size");
    return nearestCentre(this.figure.get("follow"), size, size);
  }

  /** Where the followed pixel is read in the input. */
  get reading() {
    return transform(this.theta, this.followed);
  }
}

/**
 * The mean squared difference.
 * @param {ArrayLike<number>} some
 * @param {ArrayLike<number>} others
 */
export function meanSquare(some, others) {
  let sum = 0;
  for (let i = 0; i < some.length; i++) sum += (some[i] - others[i]) ** 2;
  return sum / some.length;
}

/**
 * The mean squared difference to the mean.
 * @param {Image["data"]} values
 */
export function variance(values) {
  let [sum, squares] = [0, 0];
  for (const value of values) {
    sum += value;
    squares += value ** 2;
  }
  return squares / values.length - (sum / values.length) ** 2;
}
