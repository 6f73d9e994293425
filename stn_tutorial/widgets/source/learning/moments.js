// The moments of a training: what theta does, and what the classifier sees.

import { warp } from "../sampling.js";

/** @import { Image, Theta } from "../sampling.js" */

/** @typedef {{ shift: number, size: number, angle: number }} Pose */

/**
 * What theta does on a canvas of side x side pixels, in pixels, shares and degrees.
 * @param {Theta} theta
 * @param {number} side
 * @returns {Pose}
 */
export function pose([a, b, x, c, d, y], side) {
  return {
    shift: (Math.hypot(x, y) * side) / 2,
    size: Math.sqrt(Math.abs(a * d - b * c)),
    angle: (Math.atan2(c - b, a + d) * 180) / Math.PI,
  };
}

/**
 * What the classifier sees: the transformer's output, averaged pool x pool.
 * @param {Image} image
 * @param {Theta} theta
 * @param {number} side
 * @param {number} pool
 * @returns {Image}
 */
export function straighten(image, theta, side, pool) {
  const large = side * pool;
  const warped = warp(image, theta, large, large);
  const data = new Float64Array(side * side);
  for (let i = 0; i < warped.data.length; i++) {
    const row = Math.floor(i / large / pool);
    const column = Math.floor((i % large) / pool);
    data[row * side + column] += warped.data[i] / pool ** 2;
  }
  return { data, channels: 1, height: side, width: side };
}

/**
 * Where n images stand on the axis of a training, from 0 to 1: at their logarithm.
 *
 * 0 has no logarithm; it stands a little to the left of the first moment after it.
 * @param {number[]} images the training's moments; the first is 0
 * @param {number} n
 */
export function along(images, n) {
  const first = Math.log10(images[1]);
  const last = Math.log10(images[images.length - 1]);
  const gap = (last - first) / 8 || 1;
  return n ? (Math.log10(n) - first + gap) / (last - first + gap) : 0;
}
