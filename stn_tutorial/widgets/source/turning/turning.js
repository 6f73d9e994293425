// The digit that the reader turns, and what is known of the answers to it.

import { readWeights } from "../digit/network.js";
import { imageFromBytes } from "../sampling.js";
import { Answers, between, onCircle, sharesAt, turned } from "./answers.js";

/** @import { Figure } from "../figure.js" */

/**
 * @typedef {object} Traits
 * @property {number} digit the one that is turned; image k shows a k
 * @property {number} angle whole degrees counter-clockwise, from -180 to 180
 * @property {DataView} weights of the network
 * @property {DataView} images of the ten digits
 */

const SIDE = 28; // of an image, in pixels
const PATIENCE = 8; // milliseconds of each frame for angles that were passed by

/**
 * An angle in words.
 * @param {number} angle
 */
export function inWords(angle) {
  if (angle === 0) return "upright";
  if (Math.abs(angle) === 180) return "upside down";
  return `${Math.abs(angle)}° ${angle > 0 ? "counter-clockwise" : "clockwise"}`;
}

export class Turning {
  /**
   * @param {Figure<Traits>} figure
   * @param {() => void} changed called when more angles are known
   */
  constructor(figure, changed) {
    this.figure = figure;
    this.changed = changed;
    const weights = readWeights(figure.get("weights"));
    const { buffer, byteOffset } = figure.get("images");
    this.images = Array.from({ length: 10 }, (_, digit) => {
      const bytes = new Uint8Array(buffer, byteOffset + SIDE ** 2 * digit, SIDE ** 2);
      return imageFromBytes(bytes, [1, SIDE, SIDE]);
    });
    this.all = this.images.map(
      (image, digit) => new Answers(digit, (angle) => sharesAt(weights, image, angle)),
    );
    this.last = this.images.map(() => 0); // the angle where each digit was last seen
    /** @type {(() => void)[]} */
    this.waiting = [];
    this.frame = 0;
    figure.ending.addEventListener("abort", () => cancelAnimationFrame(this.frame));
  }

  get digit() {
    return this.figure.get("digit");
  }

  get angle() {
    return this.figure.get("angle");
  }

  get answers() {
    return this.all[this.digit];
  }

  get image() {
    return turned(this.images[this.digit], this.angle);
  }

  get shares() {
    return this.answers.at(this.angle);
  }

  get best() {
    return this.shares.indexOf(Math.max(...this.shares));
  }

  /**
   * Turn to the nearest whole degree.
   * @param {number} angle
   */
  turn(angle) {
    this.figure.send({ angle: onCircle(Math.round(angle)) });
  }

  /** Look at the digit as it stands, and later at the angles on the way there. */
  look() {
    const { answers, angle, digit } = this;
    answers.at(0);
    answers.at(angle);
    for (const passed of between(this.last[digit], angle)) {
      if (answers.best(passed) === undefined) {
        this.waiting.push(() => answers.at(passed));
      }
    }
    this.last[digit] = angle;
    this.#catchUp();
  }

  #catchUp() {
    const end = performance.now() + PATIENCE;
    while (this.waiting.length && performance.now() < end) this.waiting.shift()?.();
    cancelAnimationFrame(this.frame);
    if (!this.waiting.length) return;
    this.frame = requestAnimationFrame(() => {
      this.#catchUp();
      this.changed();
    });
  }
}
