// Gradient descent that goes on from where the reader left the grid.

import { Clock } from "../clock.js";
import { lossAndGradient } from "../gradient.js";
import { prefersStill } from "../page.js";
import { clip } from "../sampling.js";
import { LIMIT } from "./transformer.js";

/** @import { Image, Theta } from "../sampling.js" */
/** @import { Transformer } from "./transformer.js" */

const RATE = 0.3;
const JUMP = 20; // steps at a time, for who wants no motion
const DONE = 0.002; // of the target's variance
const PATIENCE = 100; // steps without a better loss
const BETTER = 0.999; // of the best loss so far

/**
 * One step down the slope; null where there is none.
 * @param {Image} image
 * @param {Image} target
 * @param {Theta} theta
 * @returns {Theta | null}
 */
export function descend(image, target, theta) {
  const { gradient } = lossAndGradient(image, target, theta);
  if (gradient.every((slope) => slope === 0)) return null;
  return theta.map((v, i) => clip(v - RATE * gradient[i], -LIMIT, LIMIT));
}

export class Descent {
  /**
   * @param {Transformer} transformer
   * @param {() => void} change called when it starts, stops or ends
   */
  constructor(transformer, change) {
    this.transformer = transformer;
    this.change = change;
    this.clock = new Clock(transformer.figure.ending, change);
    this.steps = 0;
    this.best = Number.POSITIVE_INFINITY;
    this.since = 0; // steps since the best loss
    /** @type {"" | "stuck" | "flat"} */
    this.end = "";
  }

  get running() {
    return this.clock.running;
  }

  /** Forget how far it has come: the reader moves the grid. */
  reset() {
    this.pause();
    this.steps = 0;
    this.best = Number.POSITIVE_INFINITY;
    this.since = 0;
    this.end = "";
  }

  pause() {
    this.clock.stop();
  }

  play() {
    if (this.end) this.reset();
    if (prefersStill()) {
      for (let k = 0; k < JUMP && this.step(); k++);
      this.change();
      return;
    }
    this.clock.start(() => this.step());
  }

  /** Take one step; gives whether there is another one to take. */
  step() {
    const { transformer } = this;
    const { image, target } = transformer;
    const next = descend(image, target, transformer.theta);
    if (!next) {
      this.end = "flat";
      return false;
    }
    this.steps++;
    this.since++;
    transformer.move(next);
    if (transformer.share < DONE) return false;
    if (transformer.loss < BETTER * this.best) {
      this.best = transformer.loss;
      this.since = 0;
    }
    if (this.since === PATIENCE) this.end = transformer.blank ? "flat" : "stuck";
    return !this.end;
  }
}
