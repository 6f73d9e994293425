// What a hand or a button does to a map.

import { compose, transform } from "./sampling.js";

/** @import { Point, Theta } from "./sampling.js" */

/**
 * What each button does to a map, in the map's own frame.
 * @param {number} aspect width / height of the image
 * @returns {Record<"rotate" | "scale" | "shear" | "flip", Theta>}
 */
export function steps(aspect) {
  const [cos, sin] = [Math.cos(Math.PI / 12), Math.sin(Math.PI / 12)];
  return {
    rotate: [cos, -sin / aspect, 0, sin * aspect, cos, 0],
    scale: [0.8, 0, 0, 0, 0.8, 0],
    shear: [1, 0.2, 0, 0, 1, 0],
    flip: [-1, 0, 0, 0, 1, 0],
  };
}

/**
 * The map with its centre at a point.
 * @param {Theta} map
 * @param {Point} point
 * @returns {Theta}
 */
export const withCentre = ([a, b, , d, e], [x, y]) => [a, b, x, d, e, y];

/**
 * The map that sends (1, 0) to a point.
 * @param {Theta} map
 * @param {Point} point
 * @returns {Theta}
 */
export const withEndOfX = ([, b, c, , e, f], [x, y]) => [x - c, b, c, y - f, e, f];

/**
 * The map that sends (0, 1) to a point.
 * @param {Theta} map
 * @param {Point} point
 * @returns {Theta}
 */
export const withEndOfY = ([a, , c, d, , f], [x, y]) => [a, x - c, c, d, y - f, f];

/**
 * The map that sends a corner of the frame to a point: the old one turned and scaled.
 * @param {Theta} map
 * @param {Point} corner
 * @param {Point} point
 * @param {number} aspect width / height of the image
 * @returns {Theta}
 */
export function withCorner(map, corner, point, aspect) {
  const [a, b, c, d, e, f] = map;
  const [x, y] = transform(map, corner);
  // From the centre to the corner, old and new, in units of the height. As complex
  // numbers, their quotient is the turn and the scale.
  const [ox, oy] = [(x - c) * aspect, y - f];
  const [nx, ny] = [(point[0] - c) * aspect, point[1] - f];
  const square = ox * ox + oy * oy;
  if (square < 1e-9) return map;
  const real = (nx * ox + ny * oy) / square;
  const imaginary = (ny * ox - nx * oy) / square;
  const turn = [real, -imaginary / aspect, 0, imaginary * aspect, real, 0];
  const [p, q, , r, s] = compose(turn, [a, b, 0, d, e, 0]);
  return [p, q, c, r, s, f];
}
