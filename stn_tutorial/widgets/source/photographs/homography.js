// Projective transforms, as in the package's module `warps`: eight numbers that take
// points of the target to points of the source.

import { centre, FRAME } from "../sampling.js";

/** @import { Point } from "../sampling.js" */

/** @typedef {number[]} Homography the numbers a to h, row by row; the ninth is 1 */

const FAR = 10_000; // half-images away: beyond the horizon

/**
 * Twice the triangle of three points, negative if they go the other way round.
 * @param {Point} a
 * @param {Point} b
 * @param {Point} c
 */
const area = ([ax, ay], [bx, by], [cx, cy]) =>
  (bx - ax) * (cy - ay) - (by - ay) * (cx - ax);

/**
 * Twice the triangles that four points leave when one of them is left out: the first,
 * the second, and so on. Of a convex quadrilateral all have one sign.
 * @param {Point[]} points
 */
const triangles = ([a, b, c, d]) => [
  area(b, c, d),
  area(a, c, d),
  area(a, b, d),
  area(a, b, c),
];

/**
 * Whether four points go clockwise round a convex quadrilateral that is no line.
 * @param {Point[]} points
 */
export const convex = (points) => triangles(points).every((twice) => twice > 0.01);

/**
 * The nine numbers that take the frame's corners to four points.
 * @param {Point[]} points
 */
function fromFrame(points) {
  const without = triangles(points);
  const matrix = Array(9).fill(0);
  for (const [k, [x, y]] of points.entries()) {
    // w at a corner is the triangle of the others. The corners' x, y and 1 are
    // orthogonal, so each row is a sum over the corners.
    const column = [without[k] * x, without[k] * y, without[k]];
    for (const [row, value] of column.entries()) {
      matrix[3 * row] += value * FRAME[k][0];
      matrix[3 * row + 1] += value * FRAME[k][1];
      matrix[3 * row + 2] += value;
    }
  }
  return matrix;
}

/**
 * The inverse of nine numbers, but for a factor.
 * @param {number[]} matrix
 */
// biome-ignore format: a row of the matrix is a line
const adjugate = ([a, b, c, d, e, f, g, h, i]) => [
  e * i - f * h, c * h - b * i, b * f - c * e,
  f * g - d * i, a * i - c * g, c * d - a * f,
  d * h - e * g, b * g - a * h, a * e - b * d,
];

/**
 * The transform that takes four points to their partners.
 * @param {Point[]} points of the target, no three on one line
 * @param {Point[]} partners in the source, in the same order
 * @returns {Homography}
 */
export function fromPoints(points, partners) {
  const first = adjugate(fromFrame(points));
  const second = fromFrame(partners);
  const product = Array.from({ length: 9 }, (_, at) => {
    const [row, column] = [at - (at % 3), at % 3];
    return [0, 1, 2].reduce(
      (sum, k) => sum + second[row + k] * first[3 * k + column],
      0,
    );
  });
  return product.slice(0, 8).map((value) => value / product[8]);
}

/**
 * Where a point of the target lies in the source.
 * @param {Homography} theta
 * @param {Point} point
 * @returns {Point}
 */
export function project([a, b, c, d, e, f, g, h], [x, y]) {
  const u = a * x + b * y + c;
  const v = d * x + e * y + f;
  const w = g * x + h * y + 1;
  const reach = Math.max(Math.abs(u), Math.abs(v));
  if (w > reach / FAR) return [u / w, v / w];
  return reach > 0 ? [(FAR * u) / reach, (FAR * v) / reach] : [FAR, FAR];
}

/**
 * The sampling grid: x and y of each pixel of the target, row by row.
 * @param {Homography} theta
 * @param {number} height
 * @param {number} width
 */
export function projectiveGrid(theta, height, width) {
  const grid = new Float64Array(2 * height * width);
  for (let at = 0; at < height * width; at++) {
    const x = centre(at % width, width);
    const y = centre(Math.floor(at / width), height);
    grid.set(project(theta, [x, y]), 2 * at);
  }
  return grid;
}

/**
 * How far apart two transforms send the target's corners: the mean, in pixels.
 * @param {Homography} found
 * @param {Homography} wanted
 * @param {{ height: number, width: number }} source
 */
export function cornerError(found, wanted, { height, width }) {
  const distances = FRAME.map((corner) => {
    const [x, y] = project(found, corner);
    const [u, v] = project(wanted, corner);
    return Math.hypot(((x - u) * width) / 2, ((y - v) * height) / 2);
  });
  return distances.reduce((sum, distance) => sum + distance) / 4;
}
