// The digit, and what is read of it with and without the transformer.

import { classify, forward, halve, look, mean, readWeights } from "../digit/network.js";
import { place, poseIn } from "../digit/pose.js";
import { imageFromBytes, warp } from "../sampling.js";

/** @import { Figure } from "../figure.js" */
/** @import { Pose } from "../digit/pose.js" */
/** @import { Seen, Weights } from "../digit/network.js" */
/** @import { Image, Theta } from "../sampling.js" */

/**
 * @typedef {object} Others
 * @property {DataView} weights of the network
 * @property {DataView} drawing
 * @property {DataView} ready the digits to start from
 * @property {number[]} labels of these
 * @property {boolean} transformer whether it stands before the classifier
 * @property {boolean} tumbling
 */

/** @typedef {Pose & Others} Traits */

const SIZE = 28 * 28; // bytes of a drawing

/**
 * The 28x28 pixels in the middle of the canvas of 42x42: the transformer's theta before
 * its training.
 * @type {Theta}
 */
export const MIDDLE = [2 / 3, 0, 0, 0, 2 / 3, 0];

/**
 * What the classifier gets, and what it answers, where no transformer stands before it.
 * @param {Weights} weights
 * @param {Image} image
 */
export function withoutTransformer(weights, image) {
  const straight = halve(warp(image, MIDDLE, 56, 56), mean);
  return { theta: MIDDLE, straight, scores: classify(weights, straight) };
}

/**
 * The bytes of a drawing.
 * @param {DataView} view
 */
const bytesOf = ({ buffer, byteOffset }, number = 0) =>
  new Uint8Array(buffer, byteOffset + SIZE * number, SIZE);

/** What the figure knows of its digit. */
export class Reading {
  /** @param {Figure<Traits>} figure */
  constructor(figure) {
    this.figure = figure;
    this.weights = readWeights(figure.get("weights"));
    this.ready = figure.get("labels").map((_, i) => bytesOf(figure.get("ready"), i));
    /** @type {Seen} */
    this.seen = this.look();
  }

  get pose() {
    return poseIn(this.figure);
  }

  /** The right answer, if the drawing is one of the digits to start from. */
  get truth() {
    const drawing = bytesOf(this.figure.get("drawing"));
    const index = this.ready.findIndex((each) =>
      each.every((v, i) => v === drawing[i]),
    );
    return index < 0 ? undefined : this.figure.get("labels")[index];
  }

  get isBlank() {
    return bytesOf(this.figure.get("drawing")).every((value) => value === 0);
  }

  look() {
    const drawing = imageFromBytes(bytesOf(this.figure.get("drawing")), [1, 28, 28]);
    const image = place(drawing, this.pose);
    const read = this.figure.get("transformer") ? forward : withoutTransformer;
    return look(read, this.weights, image);
  }
}
