// How little two photographs are alike under a homography, and its slope for each of
// the eight numbers: chapter 9's `difference_of_views`, with its gradient written out.

import { sampleWithSlopes } from "../gradient.js";
import { centre } from "../sampling.js";

/** @import { Image } from "../sampling.js" */
/** @import { Homography } from "./homography.js" */

const LEAST = 0.1; // of the target, or some patch fits by chance
const SHOWN = 1e-3; // of a pixel, at least, to divide by
const TINY = 1e-8; // variance squared of an image of one grey
const FAR = 10_000;

/**
 * For each place along a length: where its neighbours begin, and their weights. As
 * PyTorch's `interpolate` with `antialias=True`.
 * @param {number} from
 * @param {number} to at most `from`
 */
function triangle(from, to) {
  const scale = from / to;
  return Array.from({ length: to }, (_, i) => {
    const middle = (i + 0.5) * scale;
    const first = Math.max(Math.floor(middle - scale + 0.5), 0);
    const last = Math.min(Math.floor(middle + scale + 0.5), from);
    const weights = Array.from({ length: last - first }, (_, k) =>
      Math.max(0, 1 - Math.abs((first + k + 0.5 - middle) / scale)),
    );
    const sum = weights.reduce((total, weight) => total + weight);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

/**
 * One channel, made smaller without false patterns until its shorter side has a length.
 * @param {Image} image
 * @param {number} side
 * @returns {Image}
 */
export function resized(image, side) {
  const factor = side / Math.min(image.height, image.width);
  if (factor >= 1) return image;
  const height = Math.round(image.height * factor);
  const width = Math.round(image.width * factor);
  const rows = triangle(image.height, height);
  const columns = triangle(image.width, width);
  const data = new Float64Array(height * width);
  for (const [i, row] of rows.entries()) {
    for (const [j, column] of columns.entries()) {
      let sum = 0;
      for (const [k, down] of row.weights.entries()) {
        const start = (row.first + k) * image.width + column.first;
        for (const [l, across] of column.weights.entries()) {
          sum += down * across * image.data[start + l];
        }
      }
      data[i * width + j] = sum;
    }
  }
  return { data, channels: 1, height, width };
}

/** @type {WeakMap<Image, Image>} */
const whites = new WeakMap();

/**
 * A white image of the same size: warped along, it is 0 where the source has ended.
 * @param {Image} image
 */
function whiteOf(image) {
  const white = whites.get(image) ?? {
    ...image,
    data: new Float64Array(image.data.length).fill(1),
  };
  whites.set(image, white);
  return white;
}

/**
 * 1 minus the correlation where the warped source shows something, and its gradient.
 * @param {Image} source of one channel
 * @param {Image} target of one channel
 * @param {Homography} theta
 */
export function lossAndGradient(source, target, theta) {
  const [a, b, c, d, e, f, g, h] = theta;
  const { height, width, data: wanted } = target;
  const n = height * width;
  const white = whiteOf(source);
  // Of each pixel: what is shown, how much of it is inside, and both slopes by x and y.
  const shown = new Float64Array(n);
  const inside = new Float64Array(n);
  const slopes = new Float64Array(4 * n);
  const places = new Float64Array(3 * n); // u, v and w, where there is something
  let [weight, meanA, meanB] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const x = centre(i % width, width);
    const y = centre(Math.floor(i / width), height);
    const w = g * x + h * y + 1;
    const [across, down] = [a * x + b * y + c, d * x + e * y + f];
    if (w <= Math.max(Math.abs(across), Math.abs(down)) / FAR) continue; // horizon
    const [u, v] = [across / w, down / w];
    const [part, partX, partY] = sampleWithSlopes(white, u, v);
    if (part === 0 && partX === 0 && partY === 0) continue;
    const [value, valueX, valueY] = sampleWithSlopes(source, u, v);
    inside[i] = part;
    shown[i] = value / Math.max(part, SHOWN);
    slopes.set([valueX, valueY, partX, partY], 4 * i);
    places.set([u, v, w], 3 * i);
    weight += part / n;
    meanA += (part * shown[i]) / n;
    meanB += (part * wanted[i]) / n;
  }
  const gradient = Array(8).fill(0);
  if (!(weight >= LEAST)) return { loss: weight < LEAST ? 1 : NaN, gradient };
  meanA /= weight;
  meanB /= weight;
  let [both, spreadA, spreadB] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const share = inside[i] / weight / n;
    both += share * (shown[i] - meanA) * (wanted[i] - meanB);
    spreadA += share * (shown[i] - meanA) ** 2;
    spreadB += share * (wanted[i] - meanB) ** 2;
  }
  const root = Math.sqrt(spreadA * spreadB + TINY);
  const half = both / (2 * root ** 3); // what the loss gains by the spreads' product
  for (let i = 0; i < n; i++) {
    const w = places[3 * i + 2];
    if (w === 0) continue;
    const [p, q] = [shown[i] - meanA, wanted[i] - meanB];
    const part = inside[i];
    // The pixel votes by what it shows, and by how much of it counts.
    const byShown = ((part / weight) * (2 * half * spreadB * p - q / root)) / n;
    const bySpread = spreadB * (p * p - spreadA) + spreadA * (q * q - spreadB);
    const byWeight = (half * bySpread - (p * q - both) / root) / weight / n;
    const byValue = byShown / Math.max(part, SHOWN);
    const byPart = byWeight - (part >= SHOWN ? byValue * shown[i] : 0);
    const [valueX, valueY, partX, partY] = slopes.subarray(4 * i, 4 * i + 4);
    const [u, v] = [places[3 * i], places[3 * i + 1]];
    const byU = (byValue * valueX + byPart * partX) / w;
    const byV = (byValue * valueY + byPart * partY) / w;
    const x = centre(i % width, width);
    const y = centre(Math.floor(i / width), height);
    const byW = -(byU * u + byV * v);
    gradient[0] += byU * x;
    gradient[1] += byU * y;
    gradient[2] += byU;
    gradient[3] += byV * x;
    gradient[4] += byV * y;
    gradient[5] += byV;
    gradient[6] += byW * x;
    gradient[7] += byW * y;
  }
  return { loss: 1 - both / root, gradient };
}

/** Adam, with PyTorch's usual settings. */
export class Adam {
  /** @param {number} rate */
  constructor(rate) {
    this.rate = rate;
    this.steps = 0;
    this.first = Array(8).fill(0);
    this.second = Array(8).fill(0);
  }

  /**
   * Eight numbers after one step more.
   * @param {Homography} theta
   * @param {number[]} gradient
   */
  step(theta, gradient) {
    this.steps++;
    const [begun, warmed] = [1 - 0.9 ** this.steps, 1 - 0.999 ** this.steps];
    return theta.map((value, k) => {
      this.first[k] += 0.1 * (gradient[k] - this.first[k]);
      this.second[k] += 0.001 * (gradient[k] ** 2 - this.second[k]);
      const size = Math.sqrt(this.second[k] / warmed) + 1e-8;
      return value - (this.rate * this.first[k]) / begun / size;
    });
  }
}

/**
 * Several steps on images whose shorter side has a length, as one level of the chapter.
 * @param {Image} source
 * @param {Image} target
 * @param {Homography} theta
 * @param {number} side
 * @param {number} steps
 */
export function descend(source, target, theta, side, steps) {
  const [small, goal] = [resized(source, side), resized(target, side)];
  const adam = new Adam(0.3 / side);
  let here = theta;
  for (let k = 0; k < steps; k++) {
    here = adam.step(here, lossAndGradient(small, goal, here).gradient);
  }
  return here;
}
