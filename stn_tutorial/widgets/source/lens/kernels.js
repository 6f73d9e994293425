// Reading between pixels with a kernel, and the slopes: as stn_tutorial.interpolation.

/** @import { Image } from "../sampling.js" */

/** @typedef {"nearest" | "bilinear" | "bicubic"} Mode */

/** @typedef {{ column: number, row: number, weight: number, pixel: number }} Term */

/** @typedef {{ value: number, dx: number, dy: number, terms: Term[] }} Reading */

/** @typedef {[number, number, number]} Share pixel, weight, slope of the weight */

export const NEXT_TO = 1e-9; // so near a jump are its two sides read

const FINE = 32; // places read along a pixel, for the picture

/**
 * The nearest whole number; halves go to the even one, as in PyTorch.
 * @param {number} x
 */
export function round(x) {
  return Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x);
}

/**
 * The cubic kernel with a = -0.75 at a distance from -2 to 2, and its slope there.
 * @param {number} distance
 * @returns {[number, number]}
 */
export function cubic(distance) {
  const a = -0.75;
  const d = Math.abs(distance);
  const sign = Math.sign(distance);
  if (d <= 1) {
    const value = ((a + 2) * d - (a + 3)) * d * d + 1;
    return [value, sign * (3 * (a + 2) * d - 2 * (a + 3)) * d];
  }
  const value = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  return [value, sign * ((3 * a * d - 10 * a) * d + 8 * a)];
}

/**
 * The pixels along one side that have a say at x.
 * @param {number} x
 * @param {Mode} mode
 * @returns {Share[]}
 */
export function shares(x, mode) {
  if (mode === "nearest") return [[round(x), 1, 0]];
  const left = Math.floor(x);
  if (mode === "bilinear") {
    // On a whole x, `left` is x itself: the slope is the one on the right.
    return [
      [left, 1 - (x - left), -1],
      [left + 1, x - left, 1],
    ];
  }
  return [-1, 0, 1, 2].map((i) => [left + i, ...cubic(x - (left + i))]);
}

/**
 * Read rows of grey values at (x, y), in pixels.
 *
 * Gives the value, its slopes per pixel along x and y, and what it is the sum of.
 * @param {number[][]} pixels
 * @param {number} x
 * @param {number} y
 * @param {Mode} mode
 */
export function sample(pixels, x, y, mode) {
  /** @type {Reading} */
  const read = { value: 0, dx: 0, dy: 0, terms: [] };
  for (const [row, down, slopeDown] of shares(y, mode)) {
    for (const [column, across, slopeAcross] of shares(x, mode)) {
      const pixel = pixels[row]?.[column] ?? 0; // outside stands 0
      read.value += across * down * pixel;
      read.dx += slopeAcross * down * pixel;
      read.dy += across * slopeDown * pixel;
      read.terms.push({ column, row, weight: across * down, pixel });
    }
  }
  return read;
}

/**
 * The sum of what has a share, each by its weight.
 * @param {Share[]} parts
 * @param {(at: number) => number | undefined} look
 */
function blend(parts, look) {
  let sum = 0;
  for (const [at, weight] of parts) sum += weight * (look(at) ?? 0);
  return sum;
}

/**
 * The picture that a kernel makes of the pixels, each read at FINE x FINE places.
 * @param {number[][]} pixels
 * @param {Mode} mode
 * @returns {Image}
 */
export function surface(pixels, mode) {
  const [height, width] = [FINE * pixels.length, FINE * pixels[0].length];
  const places = (/** @type {number} */ size) =>
    Array.from({ length: size }, (_, i) => shares((i + 0.5) / FINE - 0.5, mode));
  const across = places(width);
  const lines = pixels.map((row) => across.map((parts) => blend(parts, (m) => row[m])));
  const data = new Float64Array(height * width);
  for (const [i, parts] of places(height).entries()) {
    for (let j = 0; j < width; j++) {
      data[i * width + j] = blend(parts, (n) => lines[n]?.[j]);
    }
  }
  return { data, channels: 1, height, width };
}

/**
 * Values and slopes along a row, half a pixel a piece: jumps lie only between pieces.
 * @param {number[][]} pixels
 * @param {number} y
 * @param {Mode} mode
 */
export function pieces(pixels, y, mode) {
  return Array.from({ length: 2 * pixels[0].length }, (_, piece) => {
    const start = (piece - 1) / 2;
    return Array.from({ length: 9 }, (_, i) => {
      const inside = Math.min(Math.max(i / 16, NEXT_TO), 0.5 - NEXT_TO);
      const { value, dx } = sample(pixels, start + inside, y, mode);
      return { x: start + inside, value, dx };
    });
  });
}

/**
 * A little more than the largest step from a pixel to the next, along the rows.
 * @param {number[][]} pixels
 */
export function steepest(pixels) {
  let largest = 0.1;
  for (const row of pixels) {
    let before = 0; // outside stands 0
    for (const value of [...row, 0]) {
      largest = Math.max(largest, Math.abs(value - before));
      before = value;
    }
  }
  return Math.ceil(10.5 * largest) / 10;
}
