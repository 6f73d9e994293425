// From a photograph of ink on paper to what the network was trained on, as read_paper of
// stn_tutorial.data.paper does it.

import { affineGrid, clip, gridSample } from "../sampling.js";

import { DEGREE } from "./pose.js";

/** @import { Image } from "../sampling.js" */

/** Pixels a side of a photograph; three of them make one of the network's 42. */
export const SIDE = 126;

const [SMOOTH, AROUND] = [5, 43];
const [PEAK, LEAST] = [0.99, 0.15];
const [LOW, HIGH] = [0.4, 0.8];

/**
 * The grey values of a canvas's pixels, from 0 to 1.
 * @param {Uint8ClampedArray} rgba
 */
export function greyOf(rgba) {
  const grey = new Float64Array(rgba.length / 4);
  for (let i = 0; i < grey.length; i++) {
    const [r, g, b] = rgba.subarray(4 * i, 4 * i + 3);
    grey[i] = (0.299 * r + 0.587 * g + 0.114 * b) / 255;
  }
  return grey;
}

/**
 * The mean of the pixels around each pixel, as far as there are any: along the rows,
 * then, since the result lies on its side, along the columns.
 * @param {Float64Array} values
 * @param {number} around pixels a side of the box
 */
function meanAround(values, around) {
  const reach = (around - 1) / 2;
  let from = values;
  for (let pass = 0; pass < 2; pass++) {
    const to = new Float64Array(SIDE * SIDE);
    for (let row = 0; row < SIDE; row++) {
      const sums = new Float64Array(SIDE + 1);
      for (let i = 0; i < SIDE; i++) sums[i + 1] = sums[i] + from[row * SIDE + i];
      for (let i = 0; i < SIDE; i++) {
        const [first, end] = [Math.max(0, i - reach), Math.min(SIDE, i + reach + 1)];
        to[i * SIDE + row] = (sums[end] - sums[first]) / (end - first);
      }
    }
    from = to;
  }
  return from;
}

/**
 * Ink 1, paper 0, in 42x42; and whether any ink is in sight.
 * @param {Float64Array} grey of a photograph
 * @returns {{ image: Image, ink: boolean }}
 */
export function readPaper(grey) {
  const paper = meanAround(grey, AROUND);
  const share = grey.map((value, i) => (paper[i] - value) / Math.max(paper[i], 0.02));
  const dark = meanAround(share, SMOOTH);
  const peak = dark.slice().sort()[Math.floor(PEAK * dark.length)];
  const data = new Float64Array(42 * 42);
  for (const [i, value] of dark.entries()) {
    const ink = (value / Math.max(peak, LEAST) - LOW) / (HIGH - LOW);
    const [row, column] = [Math.floor(i / SIDE / 3), Math.floor((i % SIDE) / 3)];
    data[42 * row + column] += clip(ink, 0, 1) / 9;
  }
  return { image: { data, channels: 1, height: 42, width: 42 }, ink: peak > LEAST };
}

/**
 * A photograph of the same paper, turned; beyond its edge the edge goes on.
 * @param {Image} photo
 * @param {number} angle counter-clockwise, in degrees
 */
export function turned(photo, angle) {
  const [cos, sin] = [Math.cos(angle * DEGREE), Math.sin(angle * DEGREE)];
  const grid = affineGrid([cos, -sin, 0, sin, cos, 0], SIDE, SIDE);
  const edge = 1 - 1 / SIDE; // the centre of the last pixel
  return gridSample(
    photo,
    grid.map((value) => clip(value, -edge, edge)),
    SIDE,
    SIDE,
  );
}
