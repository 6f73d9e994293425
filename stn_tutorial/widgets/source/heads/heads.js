// The heads: a few numbers to theta, as in the package's `heads`, and back: the numbers
// that bring a head nearest to a theta.
//
// Near is measured over the whole grid. Its points lie evenly around the centre, so the
// distance of two thetas is that of their six numbers, those of the shift apart; and the
// nearest theta of each head can be written down.

import { clip } from "../sampling.js";

/** @import { Theta } from "../sampling.js" */

/**
 * @typedef {object} Head
 * @property {string} can what it can do to the window, in words
 * @property {boolean} moves whether it can move the window's centre
 * @property {boolean} shears whether each axis goes its own way
 * @property {(numbers: number[]) => Theta} theta from its numbers
 * @property {(theta: Theta) => number[]} nearest its numbers nearest to a theta
 */

const { atan2, cos, exp, hypot, log, sin, tanh } = Math;
const SMALLEST = 1e-3; // size of a similarity
const ALMOST = 0.9999; // tanh reaches 1 nowhere

/**
 * The number that tanh sends to a value, or as near to it as can be.
 * @param {number} value
 */
const untanh = (value) => Math.atanh(clip(value, -ALMOST, ALMOST));

/** The middle of two numbers. */
const middle = (/** @type {number} */ a, /** @type {number} */ b) => (a + b) / 2;

/**
 * Turn and size of the similarity nearest to a theta.
 * @param {Theta} theta
 */
function turnAndSize([a, b, , d, e]) {
  const [along, across] = [middle(a, e), middle(d, -b)];
  return [atan2(across, along), Math.max(hypot(along, across), SMALLEST)];
}

/**
 * A turn by an angle in radians, a size and a shift.
 * @param {number} angle
 * @param {number} size
 * @param {number} tx
 * @param {number} ty
 * @returns {Theta}
 */
function placed(angle, size, tx, ty) {
  const [across, up] = [size * cos(angle), size * sin(angle)];
  return [across, -up, tx, up, across, ty];
}

/**
 * The six numbers' differences to the identity.
 * @param {Theta} theta
 */
const beyondIdentity = ([a, b, c, d, e, f]) => [a - 1, b, c, d, e - 1, f];

/**
 * The identity, with six numbers added.
 * @param {number[]} numbers
 * @returns {Theta}
 */
const addedToIdentity = ([a, b, c, d, e, f]) => [1 + a, b, c, d, 1 + e, f];

/** @type {Record<string, Head>} */
export const HEADS = {
  rotation: {
    can: "turns, and nothing else",
    moves: false,
    shears: false,
    theta: ([angle]) => placed(angle, 1, 0, 0),
    nearest: (theta) => [turnAndSize(theta)[0]],
  },
  attention: {
    can: "zooms and moves",
    moves: true,
    shears: false,
    theta: ([size, tx, ty]) => placed(0, 1 + size, tx, ty),
    nearest: ([a, , c, , e, f]) => [middle(a, e) - 1, c, f],
  },
  "bounded attention": {
    can: "zooms and moves, with its centre in the image",
    moves: true,
    shears: false,
    theta: ([size, tx, ty]) => placed(0, exp(tanh(size)), tanh(tx), tanh(ty)),
    nearest: ([a, , c, , e, f]) => {
      const size = clip(middle(a, e), exp(-1), exp(1));
      return [log(size), c, f].map(untanh);
    },
  },
  similarity: {
    can: "turns, zooms and moves",
    moves: true,
    shears: false,
    theta: ([angle, size, tx, ty]) => placed(angle, exp(size), tx, ty),
    nearest: (theta) => {
      const [angle, size] = turnAndSize(theta);
      return [angle, log(size), theta[2], theta[5]];
    },
  },
  affine: {
    can: "turns, zooms, moves, shears and stretches",
    moves: true,
    shears: true,
    theta: addedToIdentity,
    nearest: beyondIdentity,
  },
  "bounded affine": {
    can: "turns, zooms, moves and shears, by at most ½ in each number of θ",
    moves: true,
    shears: true,
    theta: (numbers) => addedToIdentity(numbers.map((v) => tanh(v) / 2)),
    nearest: (theta) => beyondIdentity(theta).map((v) => untanh(2 * v)),
  },
};

/**
 * A head's theta from its numbers.
 * @param {string} head
 * @param {number[]} numbers
 */
export const thetaOf = (head, numbers) => HEADS[head].theta(numbers);

/**
 * A head's numbers that bring it nearest to a theta.
 * @param {string} head
 * @param {Theta} theta
 */
export const numbersOf = (head, theta) => HEADS[head].nearest(theta);

/**
 * The theta of a head that is nearest to another theta.
 * @param {string} head
 * @param {Theta} theta
 */
export const within = (head, theta) => thetaOf(head, numbersOf(head, theta));
