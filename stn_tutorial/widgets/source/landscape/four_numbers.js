// Four parameters of theta, and the loss over them.
//
// The parameters are angle (degrees), scale, tx, ty.

import { lossAndGradient as byTheta } from "../gradient.js";

/** @import { Image } from "../sampling.js" */

/** @typedef {number[]} Parameters angle, scale, tx, ty */

/** @typedef {[number, number]} Pair positions of the two that descent may change */

/** @typedef {[number, number]} Range */

// Descent counts the angle in radians, or its slope would be far below the others.
export const UNITS = [180 / Math.PI, 1, 1, 1];

/**
 * theta of a turn, a scaling and a shift.
 * @param {Parameters} parameters
 */
export function thetaOf([angle, scale, tx, ty]) {
  const [cos, sin] = [Math.cos(angle / UNITS[0]), Math.sin(angle / UNITS[0])];
  return [scale * cos, -scale * sin, tx, scale * sin, scale * cos, ty];
}

/**
 * How the six numbers of theta change with each parameter, per unit.
 * @param {Parameters} parameters
 */
export function thetaSlopes([angle, scale]) {
  const [cos, sin] = [Math.cos(angle / UNITS[0]), Math.sin(angle / UNITS[0])];
  return [
    [-scale * sin, -scale * cos, 0, scale * cos, -scale * sin, 0],
    [cos, -sin, 0, sin, cos, 0],
    [0, 0, 1, 0, 0, 0],
    [0, 0, 0, 0, 0, 1],
  ];
}

/**
 * The mean squared difference to the target, and its gradient per unit.
 * @param {Image} image
 * @param {Image} target
 * @param {Parameters} parameters
 */
export function lossAndGradient(image, target, parameters) {
  const { loss, gradient } = byTheta(image, target, thetaOf(parameters));
  const slopes = thetaSlopes(parameters).map((by) =>
    by.reduce((sum, slope, k) => sum + slope * gradient[k], 0),
  );
  return { loss, gradient: slopes };
}

/**
 * Plain gradient descent on the parameters in `pair`: every point on the way.
 * @param {Image} image
 * @param {Image} target
 * @param {Parameters} start
 * @param {Pair} pair
 * @param {number} rate
 * @param {number} steps
 */
export function descend(image, target, start, pair, rate, steps) {
  const path = [start];
  for (let k = 0; k < steps; k++) {
    const { gradient } = lossAndGradient(image, target, path[k]);
    const next = [...path[k]];
    for (const i of pair) next[i] -= rate * gradient[i] * UNITS[i];
    path.push(next);
  }
  return path;
}

/**
 * One row of the map: the losses of n x n values of the two parameters in `pair`.
 * @param {Image} image
 * @param {Image} target
 * @param {Parameters} known
 * @param {Pair} pair
 * @param {Range[]} ranges of all four
 * @param {number} n
 * @param {number} row
 */
export function lossRow(image, target, known, pair, ranges, n, row) {
  const at = (/** @type {Range} */ [low, high], /** @type {number} */ i) =>
    low + ((high - low) * i) / (n - 1);
  return Float64Array.from({ length: n }, (_, column) => {
    const parameters = [...known];
    parameters[pair[0]] = at(ranges[pair[0]], column);
    parameters[pair[1]] = at(ranges[pair[1]], row);
    return lossAndGradient(image, target, parameters).loss;
  });
}
