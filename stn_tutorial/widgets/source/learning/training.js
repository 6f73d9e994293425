// What a training noted, and where the reader looks.

import { imageFromBytes } from "../sampling.js";
import { pose, straighten } from "./moments.js";

/** @import { Figure } from "../figure.js" */
/** @import { Image } from "../sampling.js" */
/** @import { Pose } from "./moments.js" */

/**
 * @typedef {object} Traits
 * @property {number[]} images seen by each moment
 * @property {number[]} error at each moment, in per cent
 * @property {DataView} theta of each moment and image, as 32-bit numbers
 * @property {[number, number]} shape number of watched images, and their side
 * @property {DataView} pixels
 * @property {number} side of what the classifier sees
 * @property {number} pool of the output before it
 * @property {number} moment
 * @property {number} chosen the image that is shown large
 */

export class Training {
  /** @param {Figure<Traits>} figure */
  constructor(figure) {
    this.figure = figure;
    this.images = figure.get("images");
    this.error = figure.get("error");
    this.last = this.images.length - 1;
    this.number = figure.get("shape")[0];
    this.side = figure.get("shape")[1];
    this.numbers = figure.get("theta");
    this.inputs = this.#readInputs(figure.get("pixels"));
    this.poses = this.inputs.map((_, i) =>
      this.images.map((_, moment) => pose(this.theta(moment, i), this.side)),
    );
    /** @type {Image[][]} */
    this.outputs = this.images.map(() => []); // each is made when first shown
  }

  /** @param {DataView} pixels */
  #readInputs({ buffer, byteOffset }) {
    const { number, side } = this;
    return Array.from({ length: number }, (_, i) => {
      const bytes = new Uint8Array(buffer, byteOffset + i * side ** 2, side ** 2);
      return imageFromBytes(bytes, [1, side, side]);
    });
  }

  get moment() {
    return this.figure.get("moment");
  }

  /** The number of the image that is shown large. */
  get chosen() {
    return this.figure.get("chosen");
  }

  /**
   * theta at a moment, for an image.
   * @param {number} moment
   * @param {number} i
   */
  theta(moment, i) {
    const first = (moment * this.number + i) * 6;
    return Array.from({ length: 6 }, (_, k) =>
      this.numbers.getFloat32(4 * (first + k), true),
    );
  }

  /**
   * What the classifier sees of an image now.
   * @param {number} i
   */
  output(i) {
    const { moment } = this;
    const [side, pool] = [this.figure.get("side"), this.figure.get("pool")];
    this.outputs[moment][i] ??= straighten(
      this.inputs[i],
      this.theta(moment, i),
      side,
      pool,
    );
    return this.outputs[moment][i];
  }

  /**
   * The largest value of what theta does, over all moments and images.
   * @param {keyof Pose} name
   */
  most(name) {
    return Math.max(...this.poses.flat().map((each) => Math.abs(each[name])));
  }
}
