// Descent on a homography that goes on from where the hand left it, coarse to fine.

import { Clock } from "../clock.js";
import { fixed, prefersStill } from "../page.js";
import { Adam, lossAndGradient } from "./alike.js";
import { project } from "./homography.js";
import { sane } from "./placing.js";
import { SOLVED } from "./two.js";

/** @import { Homography } from "./homography.js" */
/** @import { TwoPhotographs } from "./two.js" */

const STEPS = 60; // at each size
const SIZES = 4; // each twice as large as the one before
const RATE = 0.3; // of a pixel's half: the first steps
const NEAR = 3; // pixels: further away it is another valley
/** @type {Record<string, string>} */
const WAYS = { coarse: "beginning small", fine: "beginning at full size" };
export const ALL = STEPS * SIZES;

export class Descent {
  /**
   * @param {TwoPhotographs} two
   * @param {() => void} change called when it starts, stops or ends
   */
  constructor(two, change) {
    this.two = two;
    this.change = change;
    this.clock = new Clock(two.figure.ending, change);
    this.silent = false; // all steps at once, with nothing to see between them
    this.steps = 0; // taken
    /** @type {"" | "done" | "lost" | "flat"} */
    this.end = "";
    /** @type {Homography} */
    this.theta = [];
    this.from = 0; // pixels: how far off it began
    /** @type {Record<string, number>} */
    this.furthest = { coarse: 0, fine: 0 }; // of those from where it has arrived
    this.adam = new Adam(0);
  }

  get running() {
    return this.clock.running;
  }

  /** The shorter side of the images that it is at, in pixels. */
  get side() {
    const { side, figure } = this.two;
    if (figure.get("begin") === "fine" || !this.steps || this.end) return side;
    return side / 2 ** (SIZES - 1 - this.size);
  }

  /** How many sizes it has finished. */
  get size() {
    return Math.min(Math.floor(this.steps / STEPS), SIZES - 1);
  }

  /** Forget how far it has come. */
  reset() {
    this.pause();
    this.steps = 0;
    this.end = "";
  }

  pause() {
    this.clock.stop();
  }

  play() {
    if (this.end) this.reset();
    if (prefersStill()) {
      this.silent = true;
      while (this.step());
      this.silent = false;
      this.change();
      return;
    }
    this.clock.start(() => this.step());
  }

  /** Take one step; gives whether there is another one to take. */
  step() {
    const { two } = this;
    const fine = two.figure.get("begin") === "fine";
    const side = fine ? two.side : two.side / 2 ** (SIZES - 1 - this.size);
    if (this.steps === 0) {
      this.theta = two.theta;
      this.from = two.error;
    }
    const anew = fine ? this.steps === 0 : this.steps % STEPS === 0;
    if (anew) this.adam = new Adam(RATE / side);
    const { source, target } = two.ofSide(side);
    const { gradient } = lossAndGradient(source, target, this.theta);
    if (gradient.every((slope) => slope === 0)) this.end = "flat";
    else this.#go(this.adam.step(this.theta, gradient));
    if (this.steps === ALL) this.#arrive();
    return !this.end;
  }

  #go(/** @type {Homography} */ theta) {
    this.theta = theta;
    if (!sane(this.two.marks.map((mark) => project(theta, mark)))) {
      this.end = "lost";
      return;
    }
    this.steps++;
    this.two.follow(theta);
  }

  #arrive() {
    this.end = "done";
    const begin = this.two.figure.get("begin");
    if (this.two.error >= SOLVED) return;
    this.furthest[begin] = Math.max(this.furthest[begin], this.from);
  }

  /** How it goes, in a sentence. */
  get verdict() {
    const { two, steps } = this;
    const { height, width } = two.ofSide(this.side).target;
    if (this.end === "flat") return "No slope: the photographs do not overlap.";
    if (this.end === "lost") return "Lost: descent has bent the grid out of shape.";
    if (this.end && two.error < SOLVED) return "Solved: descent has found the place.";
    if (this.end && two.error > NEAR) {
      return "A wrong valley: no small step makes the two more alike.";
    }
    if (this.end) return "Descent has come near, and no further.";
    if (steps) {
      const state = this.running ? "Descent" : "Paused";
      return `${state}: step ${steps} of ${ALL}, on ${height} × ${width} pixels.`;
    }
    const placed = two.placed.filter(Boolean).length;
    if (placed && two.error < SOLVED) return "Solved, by hand alone.";
    if (placed) return `By hand: ${placed} of 4 points placed.`;
    return "Drag point 1 to what it marks in the fixed photograph.";
  }

  /** From how far off each way of beginning has arrived, in a sentence. */
  get records() {
    const ways = Object.entries(this.furthest).filter(([, error]) => error > 0);
    if (!ways.length) return "";
    const words = ways.map(([way, error]) => `${fixed(error, 0)} pixels, ${WAYS[way]}`);
    return `Furthest that descent has come from: ${words.join("; ")}.`;
  }
}
