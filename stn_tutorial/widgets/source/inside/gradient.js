// Four parameters of theta, the loss that they have, and descent on it.
//
// The parameters are angle (degrees), scale, tx, ty.

import { centre, toPixel } from "../sampling.js";

/** @import { Image, Point } from "../sampling.js" */

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
 * Read one channel at (x, y): the value, and its slopes along x and y.
 * @param {Image} image
 * @param {number} x
 * @param {number} y
 * @returns {[number, number, number]}
 */
export function sampleWithSlopes({ data, height, width }, x, y) {
  const pixel = (/** @type {number} */ i, /** @type {number} */ j) =>
    i >= 0 && i < height && j >= 0 && j < width ? data[i * width + j] : 0;
  const column = toPixel(x, width);
  const row = toPixel(y, height);
  const left = Math.floor(column);
  const top = Math.floor(row);
  const across = column - left;
  const down = row - top;
  const value = pixel(top, left);
  const upper = pixel(top, left + 1) - value; // slopes, per pixel
  const lower = pixel(top + 1, left + 1) - pixel(top + 1, left);
  const side = pixel(top + 1, left) - value;
  const slopeX = upper + down * (lower - upper);
  const slopeY = side + across * (lower - upper);
  return [
    value + across * upper + down * slopeY,
    (slopeX * width) / 2,
    (slopeY * height) / 2,
  ];
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
 *
 * The chain rule of chapter 4: each output pixel votes with its share of the loss, times
 * the sampler's slope, times (x, y, 1) of its place in the output.
 * @param {Image} image
 * @param {Image} target
 * @param {Parameters} parameters
 */
export function lossAndGradient(image, target, parameters) {
  const [a, b, c, d, e, f] = thetaOf(parameters);
  const { height, width } = target;
  const pixels = height * width;
  const byTheta = [0, 0, 0, 0, 0, 0];
  let loss = 0;
  for (let i = 0; i < pixels; i++) {
    const x = centre(i % width, width);
    const y = centre(Math.floor(i / width), height);
    const read = sampleWithSlopes(image, a * x + b * y + c, d * x + e * y + f);
    const [value, slopeX, slopeY] = read;
    const difference = value - target.data[i];
    loss += difference ** 2 / pixels;
    const byValue = (2 * difference) / pixels;
    byTheta[0] += byValue * slopeX * x;
    byTheta[1] += byValue * slopeX * y;
    byTheta[2] += byValue * slopeX;
    byTheta[3] += byValue * slopeY * x;
    byTheta[4] += byValue * slopeY * y;
    byTheta[5] += byValue * slopeY;
  }
  const gradient = thetaSlopes(parameters).map((slopes) =>
    slopes.reduce((sum, slope, k) => sum + slope * byTheta[k], 0),
  );
  return { loss, gradient };
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

/**
 * Where n x n values cross a level: pieces of line, in steps between the values.
 * @param {ArrayLike<number>} values
 * @param {number} n
 * @param {number} level
 */
export function contour(values, n, level) {
  /** @type {Point[][]} */
  const pieces = [];
  for (let i = 0; i < n - 1; i++) {
    for (let j = 0; j < n - 1; j++) {
      // The corners of a cell, as column and row. It is cut into two triangles, in
      // each of which the level is a straight line.
      /** @type {Point[]} */
      const [a, b, c, d] = [
        [j, i],
        [j + 1, i],
        [j + 1, i + 1],
        [j, i + 1],
      ];
      const below = [a, b, c, d].filter(([x, y]) => values[y * n + x] < level);
      if (below.length % 4 === 0) continue; // all on one side
      for (const triangle of [
        [a, b, c],
        [a, c, d],
      ]) {
        const piece = crossings(values, n, level, triangle);
        if (piece.length) pieces.push(piece);
      }
    }
  }
  return pieces;
}

/**
 * Where the sides of a triangle cross a level: two points, or none.
 * @param {ArrayLike<number>} values
 * @param {number} n
 * @param {number} level
 * @param {Point[]} triangle
 */
function crossings(values, n, level, triangle) {
  /** @type {Point[]} */
  const points = [];
  for (const [k, [x, y]] of triangle.entries()) {
    const [toX, toY] = triangle[(k + 1) % 3];
    const from = values[y * n + x] - level;
    const to = values[toY * n + toX] - level;
    if (from < 0 === to < 0) continue;
    const share = from / (from - to);
    points.push([x + share * (toX - x), y + share * (toY - y)]);
  }
  return points;
}

/**
 * 1, 2 or 5 times a power of ten, near to and not below a value.
 * @param {number} value
 */
export function roundStep(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  for (const k of [1, 2, 5]) {
    if (k * power >= value) return k * power;
  }
  return 10 * power;
}
