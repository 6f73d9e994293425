// Two photographs of one scene, and the homography that four points say.

import { fixed } from "../page.js";
import { clip, gridSample, namedImages } from "../sampling.js";
import { lossAndGradient, resized } from "./alike.js";
import { cornerError, fromPoints, project, projectiveGrid } from "./homography.js";
import { flat, paired, put } from "./placing.js";

/** @import { Figure } from "../figure.js" */
/** @import { Image, Point } from "../sampling.js" */
/** @import { Homography } from "./homography.js" */

/**
 * @typedef {object} Traits
 * @property {[string, number, number, number][]} shapes of source and target
 * @property {DataView} pixels
 * @property {number[]} marks four points of the target: eight numbers
 * @property {number[]} wanted the right homography: eight numbers
 * @property {number[]} points where the source is read for the marks: eight numbers
 * @property {number[]} placed 1 for each point that the hand has placed, or else 0
 * @property {string} begin at which images descent begins
 */

export const BEGINS = ["coarse", "fine"];
export const SOLVED = 1; // pixel
const EDGE = 1.1; // of what the cards show

/**
 * Mean and spread of an image.
 * @param {Image} image
 */
function moments({ data: values }) {
  const data = Array.from(values);
  const mean = data.reduce((sum, value) => sum + value, 0) / data.length;
  const square = data.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, spread: Math.sqrt(square / data.length) || 1 };
}

export class TwoPhotographs {
  /** @param {Figure<Traits>} figure */
  constructor(figure) {
    this.figure = figure;
    const { source, target } = namedImages(figure.get("shapes"), figure.get("pixels"));
    this.source = source;
    this.target = target;
    this.side = Math.min(target.height, target.width);
    this.marks = paired(figure.get("marks"));
    /** @type {Map<number, { source: Image, target: Image }>} */
    this.sizes = new Map([[this.side, { source, target }]]);
    /** @type {Homography} */
    this.theta = []; // that the points say
    this.error = 0; // in pixels
    this.active = -1; // the point under the hand
    /** @type {{ error: number, byHand: boolean }[]} */
    this.history = [];
    this.following = false; // the points come from descent
    this.seen = ""; // the points that the rest belongs to
  }

  get points() {
    return paired(this.figure.get("points"));
  }

  get placed() {
    return this.figure.get("placed").map(Boolean);
  }

  /**
   * Both photographs, their shorter side of a length.
   * @param {number} side
   */
  ofSide(side) {
    const { source, target } = this;
    const both = this.sizes.get(side) ?? {
      source: resized(source, side),
      target: resized(target, side),
    };
    this.sizes.set(side, both);
    return both;
  }

  /** Compute what the points say now, and remember how far off that is. */
  update() {
    const points = this.figure.get("points");
    if (String(points) === this.seen) return;
    this.seen = String(points);
    this.theta = fromPoints(this.marks, paired(points));
    this.error = cornerError(this.theta, this.figure.get("wanted"), this.source);
    this.history.push({ error: this.error, byHand: !this.following });
  }

  /**
   * Put one point elsewhere by hand.
   * @param {number} which
   * @param {Point} to
   */
  put(which, [x, y]) {
    const to = /** @type {Point} */ ([clip(x, -EDGE, EDGE), clip(y, -EDGE, EDGE)]);
    const aspect = this.source.width / this.source.height;
    const moved = put(this.points, this.placed, which, to, aspect);
    const placed = this.placed.map((was, k) => Number(was || k === which));
    this.send(moved, { placed });
  }

  /**
   * Take the points from a homography that descent has found.
   * @param {Homography} theta
   */
  follow(theta) {
    this.following = true;
    this.send(this.marks.map((mark) => project(theta, mark)));
    this.following = false;
  }

  /** All as it was at first. */
  restart() {
    this.history = [];
    this.seen = "";
    this.send(this.marks, { placed: [0, 0, 0, 0] });
  }

  /**
   * @param {Point[]} points
   * @param {Partial<Traits>} traits
   */
  send(points, traits = {}) {
    const rounded = flat(points).map((value) => Number(value.toFixed(5)));
    this.figure.send({ ...traits, points: rounded });
  }

  /**
   * The moving photograph in red, as bright as the fixed one, which is green and blue:
   * grey where they agree. Where only the fixed one shows something, it is pale.
   * @param {number} side
   * @returns {Image}
   */
  overlay(side) {
    const { source, target } = this.ofSide(side);
    const { height, width } = target;
    const n = height * width;
    const [from, to] = [moments(this.source), moments(this.target)];
    const size = source.data.length;
    const both = new Float64Array(2 * size).fill(1);
    both.set(source.data);
    const grid = projectiveGrid(this.theta, height, width);
    const read = gridSample(
      { ...source, channels: 2, data: both },
      grid,
      height,
      width,
    );
    const data = new Float64Array(3 * n);
    for (let i = 0; i < n; i++) {
      const inside = read.data[n + i];
      const value = target.data[i];
      if (inside < 0.5) {
        data.fill(0.4 + 0.6 * value, i, i + 1);
        data[n + i] = data[2 * n + i] = data[i];
        continue;
      }
      const level = (read.data[i] / inside - from.mean) / from.spread;
      data[i] = clip(to.mean + to.spread * level, 0, 1);
      data[n + i] = data[2 * n + i] = value;
    }
    return { data, channels: 3, height, width };
  }

  /** The correlation of the two, where both show something. */
  get alike() {
    return 1 - lossAndGradient(this.source, this.target, this.theta).loss;
  }

  /** How far off it is, as text. */
  get shown() {
    if (!(this.error < 1000)) return "over 1000 pixels";
    return `${fixed(this.error, this.error < 9.95 ? 2 : 0)} pixels`;
  }
}
