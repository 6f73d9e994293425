// The networks that read a digit, with the weights' own names: the one that straightens
// it first, of the parts of stn_tutorial.networks, and chapter 0's.

import { affineGrid, gridSample } from "../sampling.js";

/** @import { Image, Theta } from "../sampling.js" */

/** @typedef {{ shape: number[], data: Float32Array }} Tensor */

/** @typedef {Record<string, Tensor>} Weights */

/**
 * The number that 16 bits stand for (IEEE half precision; no infinities in weights).
 * @param {number} bits
 */
export function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  return (
    sign * (exponent ? (1 + fraction) * 2 ** (exponent - 15) : fraction * 2 ** -14)
  );
}

/**
 * The weights in a safetensors file of half-precision numbers, by their names.
 * @param {ArrayBufferView} file
 */
export function readWeights({ buffer, byteOffset, byteLength }) {
  const view = new DataView(buffer, byteOffset, byteLength);
  const length = Number(view.getBigUint64(0, true));
  const text = new TextDecoder().decode(new Uint8Array(buffer, byteOffset + 8, length));
  /** @type {Record<string, { shape: number[], data_offsets: [number, number] }>} */
  const head = JSON.parse(text);
  /** @type {Weights} */
  const weights = {};
  for (const [name, { shape, data_offsets }] of Object.entries(head)) {
    const [from, to] = data_offsets;
    const data = new Float32Array((to - from) / 2);
    for (let i = 0; i < data.length; i++) {
      data[i] = half(view.getUint16(8 + length + from + 2 * i, true));
    }
    weights[name] = { shape, data };
  }
  return weights;
}

/**
 * A convolution that keeps the image's size; around the image all is 0.
 * @param {Image} image
 * @param {Tensor} kernel
 * @returns {Image}
 */
function convolve({ data, channels, height, width }, { data: kernel, shape }) {
  const [filters, , side] = shape;
  const size = height * width;
  const output = new Float32Array(filters * size);
  const pad = (side - 1) / 2;
  let k = 0;
  for (let f = 0; f < filters; f++) {
    for (let c = 0; c < channels; c++) {
      for (let down = -pad; down <= pad; down++) {
        for (let right = -pad; right <= pad; right++) {
          const weight = kernel[k++];
          const away = (c - f) * size + down * width + right; // from output to input
          const first = Math.max(0, -right);
          const last = Math.min(width, width - right);
          const bottom = Math.min(height, height - down);
          for (let i = Math.max(0, -down); i < bottom; i++) {
            const end = f * size + i * width + last;
            for (let at = f * size + i * width + first; at < end; at++) {
              output[at] += weight * data[at + away];
            }
          }
        }
      }
    }
  }
  return { data: output, channels: filters, height, width };
}

/**
 * Scale and shift each channel, then cut what is below 0 (ReLU); in place.
 * @param {Image} image
 * @param {(channel: number) => [number, number]} scaleAndShift
 */
function activate(image, scaleAndShift) {
  const size = image.height * image.width;
  for (let c = 0; c < image.channels; c++) {
    const [scale, shift] = scaleAndShift(c);
    for (let i = c * size; i < (c + 1) * size; i++) {
      image.data[i] = Math.max(0, scale * image.data[i] + shift);
    }
  }
  return image;
}

/**
 * An image of half the size: each 2x2 pixels become one.
 * @param {Image} image
 * @param {(a: number, b: number, c: number, d: number) => number} join
 * @returns {Image}
 */
export function halve({ data, channels, height, width }, join) {
  const [rows, columns] = [height >> 1, width >> 1];
  const output = new Float32Array(channels * rows * columns);
  let at = 0;
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        const above = (c * height + 2 * i) * width + 2 * j;
        const below = above + width;
        output[at++] = join(data[above], data[above + 1], data[below], data[below + 1]);
      }
    }
  }
  return { data: output, channels, height: rows, width: columns };
}

/**
 * @param {number} a
 * @param {number} b
 * @param {number} c
 * @param {number} d
 */
export const mean = (a, b, c, d) => (a + b + c + d) / 4;

/**
 * A fully connected layer.
 * @param {Weights} weights
 * @param {string} name
 * @param {ArrayLike<number>} input
 */
function linear(weights, name, input) {
  const { data: matrix } = weights[`${name}.weight`];
  const { data: biases } = weights[`${name}.bias`];
  return Array.from(biases, (bias, row) => {
    let sum = bias;
    for (let i = 0; i < input.length; i++) {
      sum += input[i] * matrix[row * input.length + i];
    }
    return sum;
  });
}

/**
 * A convolution with its biases, ReLU, and the largest of each 2x2 values.
 * @param {Weights} weights
 * @param {string} name of the convolution
 * @param {Image} image
 */
function convolveAndPool(weights, name, image) {
  const { data: biases } = weights[`${name}.bias`];
  const made = convolve(image, weights[`${name}.weight`]);
  return halve(
    activate(made, (c) => [1, biases[c]]),
    Math.max,
  );
}

/**
 * theta: the localisation net's answer to a 21x21 image.
 * @param {Weights} weights
 * @param {Image} image
 * @returns {Theta}
 */
function localise(weights, image) {
  const net = "transformer.localisation.1";
  let features = image;
  for (const layer of [`${net}.body.0`, `${net}.body.3`]) {
    features = convolveAndPool(weights, layer, features);
  }
  const hidden = linear(weights, `${net}.body.7`, features.data);
  const active = hidden.map((v) => Math.max(0, v));
  return linear(weights, `${net}.last`, active);
}

/**
 * The scores of the ten digits: the answer of chapter 0's convolutional net.
 * @param {Weights} weights
 * @param {Image} image
 */
export function scoresOfPlain(weights, image) {
  let features = image;
  for (const layer of ["0", "3"]) features = convolveAndPool(weights, layer, features);
  return linear(weights, "7", features.data);
}

// The classifier's convolutions: the number of the layer, and whether it is pooled.
/** @type {[number, boolean][]} */
const CONVOLUTIONS = [
  [0, true],
  [4, false],
  [7, true],
  [11, false],
  [14, false],
];

/**
 * The scores of the ten digits: the compact CNN's answer to a 28x28 image.
 * @param {Weights} weights
 * @param {Image} image
 */
export function classify(weights, image) {
  let features = image;
  for (const [layer, pool] of CONVOLUTIONS) {
    const norm = (/** @type {string} */ what, /** @type {number} */ c) =>
      weights[`classifier.${layer + 1}.${what}`].data[c];
    const made = convolve(features, weights[`classifier.${layer}.weight`]);
    activate(made, (c) => {
      const scale = norm("weight", c) / Math.sqrt(norm("running_var", c) + 1e-5);
      return [scale, norm("bias", c) - scale * norm("running_mean", c)];
    });
    features = pool ? halve(made, Math.max) : made;
  }
  const size = features.height * features.width;
  const largest = Array.from({ length: features.channels }, (_, c) =>
    Math.max(...features.data.subarray(c * size, (c + 1) * size)),
  );
  return linear(weights, "classifier.19", largest);
}

/**
 * From a 42x42 image to theta, the straightened 28x28 image and ten scores.
 * @param {Weights} weights
 * @param {Image} image
 */
export function forward(weights, image) {
  const theta = localise(weights, halve(image, mean));
  const large = gridSample(image, affineGrid(theta, 56, 56), 56, 56);
  const straight = halve(large, mean);
  return { theta, straight, scores: classify(weights, straight) };
}

/**
 * Scores as probabilities.
 * @param {number[]} scores
 */
export function softmax(scores) {
  const largest = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - largest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/**
 * What comes in, where it is read, what the classifier gets, and its answer.
 * @typedef {object} Seen
 * @property {Image} image
 * @property {Theta} theta
 * @property {Image} straight
 * @property {number[]} shares of the ten digits
 * @property {number} best the digit with the largest share
 */

/**
 * What a network sees of an image, and its answer.
 * @param {typeof forward} read
 * @param {Weights} weights
 * @param {Image} image
 * @returns {Seen}
 */
export function look(read, weights, image) {
  const { theta, straight, scores } = read(weights, image);
  const shares = softmax(scores);
  const best = shares.indexOf(Math.max(...shares));
  return { image, theta, straight, shares, best };
}
