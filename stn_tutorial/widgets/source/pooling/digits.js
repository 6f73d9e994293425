// The digit, where it is, and what pooling makes of it.

import { fixed } from "../page.js";
import { clip } from "../sampling.js";
import { build, poolThrice, unchanged } from "./pooling.js";

/** @import { Figure } from "../figure.js" */
/** @import { Image } from "../sampling.js" */
/** @import { Pooling, Pose } from "./pooling.js" */

/**
 * @typedef {object} Traits
 * @property {DataView} pixels of the pictures, as 32-bit numbers
 * @property {Digit} picture
 * @property {Pooling} pooling
 * @property {Pose} pose
 * @property {Pose} start
 */

/** @typedef {"7" | "5" | "drawn 7"} Digit */

/**
 * What there is to see: the input and three maps, at the start and now, and what the
 * other digit gives at the start.
 * @typedef {object} Seen
 * @property {Image[]} before
 * @property {Image[]} after
 * @property {Image[]} another
 * @property {Digit} other
 * @property {{ all: number, ink: number }[]} shares of the values that stay
 */

export const SIDE = 32;
export const REACH = 8; // how far the digit moves, in pixels
export const NAMES = ["Input", "Layer 1", "Layer 2", "Layer 3"];

/** @type {Digit[]} */
const IN_PIXELS = ["7", "5", "drawn 7"]; // in the order in which Python sends them

/** @param {Pose} pose */
export const words = ([right, down, angle]) => [
  `right ${fixed(right, 0)},`,
  `down ${fixed(down, 0)},`,
  `turn ${fixed(angle, 0)}°`,
];

/** @param {DataView} pixels */
function readPictures({ buffer, byteOffset, byteLength }) {
  const numbers = new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
  /** @param {Digit} name */
  const picture = (name) => {
    const first = IN_PIXELS.indexOf(name) * SIDE * SIDE;
    return build(SIDE, SIDE, (i, j) => numbers[first + i * SIDE + j]);
  };
  return { 7: picture("7"), 5: picture("5"), "drawn 7": picture("drawn 7") };
}

export class Digits {
  /** @param {Figure<Traits>} figure */
  constructor(figure) {
    this.figure = figure;
    this.pictures = readPictures(figure.get("pixels"));
    this.seen = this.look();
  }

  get pose() {
    return this.figure.get("pose");
  }

  get start() {
    return this.figure.get("start");
  }

  /**
   * Move the digit to whole pixels and degrees, not too far.
   * @param {Pose} pose
   */
  move([right, down, angle]) {
    const whole = (/** @type {number} */ value, /** @type {number} */ limit) =>
      clip(Math.round(value), -limit, limit);
    const pose = [whole(right, REACH), whole(down, REACH), whole(angle, 90)];
    this.figure.send({ pose: /** @type {Pose} */ (pose) });
  }

  /** @returns {Seen} */
  look() {
    const [name, pooling] = [this.figure.get("picture"), this.figure.get("pooling")];
    const other = name === "5" ? "7" : "5";
    const before = poolThrice(this.pictures[name], this.start, pooling);
    const after = poolThrice(this.pictures[name], this.pose, pooling);
    const another = poolThrice(this.pictures[other], this.start, pooling);
    const shares = before.map((map, depth) => unchanged(map, after[depth]));
    return { before, after, another, other, shares };
  }
}
