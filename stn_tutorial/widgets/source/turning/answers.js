// What a network that has met only upright digits makes of one, by the angle.

import { scoresOfPlain, softmax } from "../digit/network.js";
import { DEGREE } from "../digit/pose.js";
import { warp } from "../sampling.js";

/** @import { Weights } from "../digit/network.js" */
/** @import { Image } from "../sampling.js" */

/** @typedef {{ from: number, to: number, best: number }} Run of angles, one answer */

const HALF = 180; // degrees; the same turn in each direction

/**
 * The image turned counter-clockwise, as chapter 0's `turn` does.
 * @param {Image} image
 * @param {number} angle in degrees
 */
export function turned(image, angle) {
  const [cos, sin] = [Math.cos(angle * DEGREE), Math.sin(angle * DEGREE)];
  return warp(image, [cos, -sin, 0, sin, cos, 0], image.height, image.width);
}

/**
 * The ten scores of the turned image, as shares of 1.
 * @param {Weights} weights
 * @param {Image} image
 * @param {number} angle
 */
export const sharesAt = (weights, image, angle) =>
  softmax(scoresOfPlain(weights, turned(image, angle)));

/**
 * The whole degrees on the short way round from one angle to another, without its ends.
 * @param {number} from
 * @param {number} to
 */
export function between(from, to) {
  const way = to - from - 360 * Math.round((to - from) / 360);
  return Array.from({ length: Math.max(0, Math.abs(way) - 1) }, (_, i) =>
    onCircle(from + Math.sign(way) * (i + 1)),
  );
}

/**
 * The same direction as an angle from -179 to 180.
 * @param {number} angle
 */
export const onCircle = (angle) => angle - 360 * Math.ceil((angle - HALF) / 360);

/** The answers to one digit, at the angles that the reader has tried. */
export class Answers {
  /**
   * @param {number} digit the right answer
   * @param {(angle: number) => number[]} look gives the ten shares
   */
  constructor(digit, look) {
    this.digit = digit;
    this.look = look;
    /** @type {Map<number, number[]>} */
    this.known = new Map(); // from -179 to 180
  }

  /**
   * The ten shares at an angle.
   * @param {number} angle
   */
  at(angle) {
    const place = onCircle(angle);
    const shares = this.known.get(place) ?? this.look(place);
    this.known.set(place, shares);
    return shares;
  }

  /**
   * The answer at an angle; undefined where the reader has not been.
   * @param {number} angle
   */
  best(angle) {
    const shares = this.known.get(onCircle(angle));
    return shares?.indexOf(Math.max(...shares));
  }

  /**
   * How far a turn in one direction has come: to the first wrong answer, if it is known.
   * @param {1 | -1} way counter-clockwise, or clockwise
   */
  reach(way) {
    let degrees = 0;
    while (degrees <= HALF) {
      const best = this.best(way * degrees);
      if (best === undefined) break;
      if (best !== this.digit) return { degrees, best };
      degrees++;
    }
    return { degrees: Math.max(0, degrees - 1) };
  }

  /**
   * The angles tried, from -180 to 180, cut where the answer changes or one is missing.
   */
  get runs() {
    /** @type {Run[]} */
    const runs = [];
    for (let angle = -HALF; angle <= HALF; angle++) {
      const best = this.best(angle);
      const last = runs[runs.length - 1];
      if (best === undefined) continue;
      if (last?.to === angle - 1 && last.best === best) last.to = angle;
      else runs.push({ from: angle, to: angle, best });
    }
    return runs;
  }
}
