// Descent on two of the four parameters, from a start to where it stands.

import { fixed } from "../page.js";
import { namedImages, warp } from "../sampling.js";
import { descend, lossAndGradient, thetaOf, UNITS } from "./four_numbers.js";

/** @import { Figure } from "../figure.js" */
/** @import { Image, Point } from "../sampling.js" */
/** @import { Pair, Parameters, Range } from "./four_numbers.js" */

/**
 * @typedef {object} Traits
 * @property {[string, number, number, number][]} shapes of the pictures
 * @property {DataView} pixels
 * @property {string} picture
 * @property {Record<string, Range>} ranges of the four parameters, by their names
 * @property {Parameters} parameters of the target
 * @property {string} pair what descent may change
 * @property {Parameters} start of descent
 * @property {number} rate
 * @property {number} steps
 */

const SIDE = 28; // of the target, in pixels
export const MOST_STEPS = 100;
const RECENT = 20; // steps
const NEAR = 0.05; // of the target, in units
export const PAIRS = ["tx and ty", "angle and scale", "tx and angle"];

/** Where descent starts, and where it has come. */
export class Descent {
  /** @param {Figure<Traits>} figure */
  constructor(figure) {
    this.figure = figure;
    this.pictures = namedImages(figure.get("shapes"), figure.get("pixels"));
    this.names = Object.keys(figure.get("ranges"));
    this.ranges = Object.values(figure.get("ranges"));
    /** Every point on the way; the last one is where it stands. */
    this.path = [this.first];
    this.loss = 0; // there
    this.slope = 0; // there: the length of the gradient
  }

  /** Go all the steps from the start. */
  walk() {
    const { image, target, pair, first } = this;
    const [rate, steps] = [this.figure.get("rate"), this.figure.get("steps")];
    this.path = descend(image, target, first, pair, rate, steps);
    const { loss, gradient } = lossAndGradient(image, target, this.current);
    this.loss = loss;
    this.slope = Math.hypot(...pair.map((i) => gradient[i]));
  }

  /** @returns {Pair} */
  get pair() {
    const [one, other] = this.figure.get("pair").split(" and ");
    return [this.names.indexOf(one), this.names.indexOf(other)];
  }

  /** @returns {Image} */
  get image() {
    return this.pictures[this.figure.get("picture")];
  }

  /** The parameters that make the target. */
  get known() {
    return this.figure.get("parameters");
  }

  get target() {
    return this.output(this.known);
  }

  /** @param {Parameters} parameters */
  output(parameters) {
    return warp(this.image, thetaOf(parameters), SIDE, SIDE);
  }

  /**
   * A parameter as text.
   * @param {number} i its position
   * @param {number} value
   */
  written(i, value, digits = 2) {
    return this.names[i] === "angle" ? `${fixed(value, 0)}°` : fixed(value, digits);
  }

  /**
   * The four parameters that descent starts from; those it may not change are true.
   * @returns {Parameters}
   */
  get first() {
    const first = [...this.known];
    for (const i of this.pair) first[i] = this.figure.get("start")[i];
    return first;
  }

  get current() {
    return this.path[this.path.length - 1];
  }

  /**
   * From parameters to the map, whose sides are at -1 and 1.
   * @param {Parameters} parameters
   * @returns {Point}
   */
  toMap(parameters) {
    const onSide = (/** @type {number} */ i) => {
      const [low, high] = this.ranges[i];
      return (2 * (parameters[i] - low)) / (high - low) - 1;
    };
    const [across, down] = this.pair;
    return [onSide(across), onSide(down)];
  }

  /**
   * From the map to parameters; those that it does not show are the start's.
   * @param {Point} point
   */
  fromMap(point) {
    const parameters = [...this.figure.get("start")];
    for (const [side, i] of this.pair.entries()) {
      const [low, high] = this.ranges[i];
      const value = low + ((point[side] + 1) / 2) * (high - low);
      parameters[i] = Number(value.toFixed(4));
    }
    return parameters;
  }

  get outside() {
    return this.toMap(this.current).some((v) => Math.abs(v) > 1);
  }

  get ended() {
    const all = this.figure.get("steps") === MOST_STEPS;
    return all || this.outside || this.slope === 0;
  }

  /**
   * Whether a point is at another one, by the parameter that differs most.
   * @param {Parameters} point
   * @param {Parameters} other
   */
  near(point, other) {
    return this.pair.every((i) => Math.abs(point[i] - other[i]) / UNITS[i] < NEAR);
  }

  /** The two parameters at a point, as text. */
  place(/** @type {Parameters} */ parameters) {
    const texts = this.pair.map(
      (i) => `${this.names[i]} ${this.written(i, parameters[i])}`,
    );
    return texts.join(", ");
  }

  get status() {
    const [loss, slope] = [fixed(this.loss, 4), fixed(this.slope, 3)];
    const step = this.path.length - 1;
    return `Step ${step}: loss ${loss}, slope ${slope}, at ${this.place(this.current)}.`;
  }

  get verdict() {
    const steps = this.path.length - 1;
    if (!steps) return "Where will descent end? Predict, then press Run.";
    if (this.near(this.current, this.known)) return "It stands at the target.";
    if (this.outside) return "It has left the map.";
    if (this.slope === 0) return "There is no slope here. It cannot move.";
    const last = this.path.slice(-RECENT);
    if (steps >= RECENT && last.every((point) => this.near(this.current, point))) {
      return "It hardly moves any more, and is not at the target.";
    }
    return steps === MOST_STEPS ? "It still moves, but is not at the target." : "";
  }

  /** Speak of where it stands. */
  tell() {
    this.figure.say(`${this.status} ${this.verdict}`);
  }
}
