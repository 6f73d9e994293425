// A distorted digit, the head in hand, and how far its window is from the goal.

import { centre, clip, IDENTITY, namedImages, transform, warp } from "../sampling.js";
import { HEADS, numbersOf, thetaOf, within } from "./heads.js";

/** @import { Figure } from "../figure.js" */
/** @import { Theta } from "../sampling.js" */

/**
 * @typedef {object} Traits
 * @property {string} distortion
 * @property {string} head
 * @property {Theta} theta the head's
 * @property {Record<string, Theta>} goals what undoes each distortion
 * @property {[string, number, number, number][]} shapes of the pictures: the digit as
 *   each distortion leaves it, and upright
 * @property {DataView} pixels
 */

export const LIMIT = 2; // of each number of theta
const CLOSE = 0.25; // pixels that nobody sees
const NEAREST = 0.05; // pixels: near its best, a head gains little by a lot of moving

/**
 * How far apart two thetas read, in pixels: the root of the mean squared distance over
 * the grid of n x n points.
 * @param {Theta} theta
 * @param {Theta} goal
 * @param {number} n
 */
export function pixelsApart(theta, goal, n) {
  const difference = theta.map((v, i) => v - goal[i]);
  let sum = 0;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      const [x, y] = transform(difference, [centre(j, n), centre(i, n)]);
      sum += x * x + y * y;
    }
  }
  return (Math.sqrt(sum / n ** 2) * n) / 2;
}

/**
 * The distortions by name, in their order.
 * @param {Pick<Figure<Traits>, "get">} figure
 */
export const distortions = (figure) =>
  figure
    .get("shapes")
    .map(([name]) => name)
    .filter((name) => name in figure.get("goals"));

export class Task {
  /** @param {Figure<Traits>} figure */
  constructor(figure) {
    this.figure = figure;
    this.pictures = namedImages(figure.get("shapes"), figure.get("pixels"));
    /**
     * The nearest theta so far of each head for each distortion.
     * @type {Map<string, Theta>}
     */
    this.nearest = new Map();
    this.note();
  }

  get distortion() {
    return this.figure.get("distortion");
  }

  get head() {
    return this.figure.get("head");
  }

  get image() {
    return this.pictures[this.distortion];
  }

  get upright() {
    return this.pictures.upright;
  }

  get goal() {
    return this.figure.get("goals")[this.distortion];
  }

  /** theta, whoever set it, as the head can say it. */
  get theta() {
    return within(this.head, this.figure.get("theta"));
  }

  get numbers() {
    return numbersOf(this.head, this.figure.get("theta"));
  }

  /** What a theta reads of the distorted digit. */
  output(theta = this.theta) {
    return warp(this.image, theta, this.image.height, this.image.width);
  }

  /** How far a theta is from the goal, in pixels. */
  off(theta = this.theta) {
    return pixelsApart(theta, this.goal, this.image.width);
  }

  /** How far a head remains from the goal when it is as near as it can be. */
  least(head = this.head) {
    return this.off(within(head, this.goal));
  }

  /** Whether a theta undoes the distortion. */
  undoes(theta = this.theta) {
    return this.off(theta) < CLOSE;
  }

  /** Whether the head can come no nearer. */
  get exhausted() {
    return this.undoes() || this.off() < this.least() + NEAREST;
  }

  /**
   * Bring the window as near to a theta as the head lets it.
   * @param {Theta} theta
   */
  move(theta) {
    const wanted = within(
      this.head,
      theta.map((v) => clip(v, -LIMIT, LIMIT)),
    );
    const short = wanted.map((v) => clip(Number(v.toFixed(4)), -LIMIT, LIMIT));
    this.figure.send({ theta: short });
  }

  /**
   * The window between here and the nearest that the head can come.
   * @param {Theta} start
   * @param {number} share 0: here, 1: there
   */
  onTheWay(start, share) {
    const from = numbersOf(this.head, start);
    const to = numbersOf(this.head, this.goal);
    return thetaOf(
      this.head,
      from.map((v, i) => v + share * (to[i] - v)),
    );
  }

  /**
   * The nearest theta so far.
   * @param {string} head
   * @returns {Theta}
   */
  best(head) {
    return this.nearest.get(`${this.distortion}, ${head}`) ?? IDENTITY;
  }

  /**
   * Take note of a theta, if it is the nearest so far.
   * @param {string} head
   * @param {Theta} theta
   */
  note(head = this.head, theta = this.theta) {
    if (this.off(theta) < this.off(this.best(head))) {
      this.nearest.set(`${this.distortion}, ${head}`, theta);
    }
  }

  /** Let each head come as near as it can. */
  noteAll() {
    for (const head of Object.keys(HEADS)) this.note(head, within(head, this.goal));
  }

  /** Forget what the heads have reached here. */
  forget() {
    for (const head of Object.keys(HEADS)) {
      this.nearest.delete(`${this.distortion}, ${head}`);
    }
  }
}
