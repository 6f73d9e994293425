// The loss that a theta has, and its slope for each of the six numbers.

import { centre, toPixel } from "./sampling.js";

/** @import { Image, Theta } from "./sampling.js" */

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
 * The mean squared difference to the target, and its gradient by theta.
 *
 * The chain rule of chapter 4: each output pixel votes with its share of the loss, times
 * the sampler's slope, times (x, y, 1) of its place in the output.
 * @param {Image} image
 * @param {Image} target
 * @param {Theta} theta
 */
export function lossAndGradient(image, target, [a, b, c, d, e, f]) {
  const { height, width } = target;
  const pixels = height * width;
  const gradient = [0, 0, 0, 0, 0, 0];
  let loss = 0;
  for (let i = 0; i < pixels; i++) {
    const x = centre(i % width, width);
    const y = centre(Math.floor(i / width), height);
    const read = sampleWithSlopes(image, a * x + b * y + c, d * x + e * y + f);
    const [value, slopeX, slopeY] = read;
    const difference = value - target.data[i];
    loss += difference ** 2 / pixels;
    const byValue = (2 * difference) / pixels;
    gradient[0] += byValue * slopeX * x;
    gradient[1] += byValue * slopeX * y;
    gradient[2] += byValue * slopeX;
    gradient[3] += byValue * slopeY * x;
    gradient[4] += byValue * slopeY * y;
    gradient[5] += byValue * slopeY;
  }
  return { loss, gradient };
}
