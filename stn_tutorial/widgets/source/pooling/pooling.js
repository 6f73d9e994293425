// Pooling, as in stn_tutorial.pooling, and how its maps are compared.

import { compose, warp } from "../sampling.js";

/** @import { Image } from "../sampling.js" */

/** @typedef {[number, number, number]} Pose pixels right and down, degrees */

/** @typedef {(a: number, b: number, c: number, d: number) => number} Keep */

export const TOLERANCE = 1e-6; // what counts as unchanged, beside rounding

/**
 * A map of (height, width) whose values value(row, column) gives.
 * @param {number} height
 * @param {number} width
 * @param {(row: number, column: number) => number} value
 * @returns {Image}
 */
export function build(height, width, value) {
  const data = new Float64Array(height * width);
  for (let i = 0; i < height; i++) {
    for (let j = 0; j < width; j++) data[i * width + j] = value(i, j);
  }
  return { data, channels: 1, height, width };
}

/**
 * What `keep` makes of the four values of each 2x2 window.
 * @param {Image} image
 * @param {number} stride
 * @param {Keep} keep
 */
function pool({ data, height, width }, stride, keep) {
  const count = (/** @type {number} */ n) => Math.floor((n - 2) / stride) + 1;
  return build(count(height), count(width), (i, j) => {
    const at = stride * (i * width + j);
    return keep(data[at], data[at + 1], data[at + width], data[at + width + 1]);
  });
}

/** @param {Image} image */
export const maxPool = (image) => pool(image, 2, Math.max);

/** @param {Image} image */
export const averagePool = (image) =>
  pool(image, 2, (a, b, c, d) => (a + b + c + d) / 4);

/**
 * The maximum of every window; then a blur, read at every second pixel.
 * @param {Image} image
 */
export function antiAliasedMaxPool(image) {
  const { data, height, width } = pool(image, 1, Math.max);
  const weights = [1 / 8, 3 / 8, 3 / 8, 1 / 8];
  const half = (/** @type {number} */ n) => Math.floor((n + 1) / 2);
  return build(half(height), half(width), (i, j) => {
    let sum = 0;
    for (let u = 0; u < 4; u++) {
      for (let v = 0; v < 4; v++) {
        const [row, column] = [2 * i + u - 1, 2 * j + v - 1];
        if (row < 0 || row >= height || column < 0 || column >= width) continue;
        sum += weights[u] * weights[v] * data[row * width + column];
      }
    }
    return sum;
  });
}

export const LAYERS = {
  max: maxPool,
  average: averagePool,
  "anti-aliased max": antiAliasedMaxPool,
};

/** @typedef {keyof typeof LAYERS} Pooling */

/**
 * Turn an image, then move it: pixels right and down, degrees counter-clockwise.
 * @param {Image} image
 * @param {Pose} pose
 */
export function place(image, [right, down, angle]) {
  const { height, width } = image;
  const radians = (angle * Math.PI) / 180;
  const [cos, sin] = [Math.cos(radians), Math.sin(radians)];
  const back = [1, 0, (-2 * right) / width, 0, 1, (-2 * down) / height];
  return warp(image, compose([cos, -sin, 0, sin, cos, 0], back), height, width);
}

/**
 * An image in its pose, and its maps after one, two and three layers.
 * @param {Image} image
 * @param {Pose} pose
 * @param {Pooling} pooling
 */
export function poolThrice(image, pose, pooling) {
  const layer = LAYERS[pooling];
  const input = place(image, pose);
  const first = layer(input);
  const second = layer(first);
  return [input, first, second, layer(second)];
}

/**
 * How far apart two maps are: 0 if equal, 1 if disjoint.
 * @param {Image} a
 * @param {Image} b
 */
export function relativeDifference(a, b) {
  let apart = 0;
  let size = 0;
  for (let i = 0; i < a.data.length; i++) {
    apart += (a.data[i] - b.data[i]) ** 2;
    size += a.data[i] ** 2 + b.data[i] ** 2;
  }
  return size ? Math.sqrt(apart / size) : 0;
}

/**
 * Shares of values that stay: of all, and of those that are not 0 before and after.
 * @param {Image} before
 * @param {Image} after
 */
export function unchanged(before, after) {
  let inked = 0;
  let same = 0;
  let inkedAndSame = 0;
  const size = before.data.length;
  for (let i = 0; i < size; i++) {
    const ink = Math.max(before.data[i], after.data[i]) > TOLERANCE;
    const stays = Math.abs(after.data[i] - before.data[i]) < TOLERANCE;
    if (ink) inked++;
    if (stays) same++;
    if (ink && stays) inkedAndSame++;
  }
  return { all: same / size, ink: inkedAndSame / inked };
}
