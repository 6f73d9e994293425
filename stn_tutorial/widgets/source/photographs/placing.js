// What a hand on one of four points does to the others: the first shifts all, the second
// turns and scales, the third slants, and the fourth tilts.

import { convex } from "./homography.js";

/** @import { Point } from "../sampling.js" */

export const REACH = 4; // half-images: no point goes further from the middle

/**
 * Four points as eight numbers, each x before its y.
 * @param {Point[]} points
 */
export const flat = (points) => points.flat();

/**
 * Eight numbers as four points.
 * @param {number[]} numbers
 */
export const paired = (numbers) =>
  [0, 2, 4, 6].map((k) => /** @type {Point} */ ([numbers[k], numbers[k + 1]]));

/**
 * Whether a homography through these points can be shown.
 * @param {Point[]} points
 */
export const sane = (points) =>
  points.flat().every((value) => Math.abs(value) <= REACH) && convex(points);

/**
 * The transform of the source that takes one point elsewhere and leaves those that are
 * placed, up to two of them; null where there is none.
 * @param {Point[]} placed
 * @param {Point} from
 * @param {Point} to
 * @param {number} aspect width / height of the source
 * @returns {((point: Point) => Point) | null}
 */
function mover(placed, from, to, aspect) {
  const [first, second] = placed;
  const [alongX, alongY] = [to[0] - from[0], to[1] - from[1]];
  if (!first) return ([x, y]) => [x + alongX, y + alongY];
  if (!second) {
    // A quotient of complex numbers, in units that are as long across as down.
    const from1 = [(from[0] - first[0]) * aspect, from[1] - first[1]];
    const to1 = [(to[0] - first[0]) * aspect, to[1] - first[1]];
    const size = from1[0] ** 2 + from1[1] ** 2;
    if (size < 1e-4) return null;
    const real = (to1[0] * from1[0] + to1[1] * from1[1]) / size;
    const other = (to1[1] * from1[0] - to1[0] * from1[1]) / size;
    return ([x, y]) => {
      const [across, down] = [(x - first[0]) * aspect, y - first[1]];
      return [
        first[0] + (real * across - other * down) / aspect,
        first[1] + other * across + real * down,
      ];
    };
  }
  const [wayX, wayY] = [second[0] - first[0], second[1] - first[1]];
  const off = (/** @type {Point} */ [x, y]) =>
    wayX * (y - first[1]) - wayY * (x - first[0]);
  if (Math.abs(off(from)) < 1e-2) return null;
  return (point) => {
    const share = off(point) / off(from);
    return [point[0] + share * alongX, point[1] + share * alongY];
  };
}

/**
 * The four points after one of them was put elsewhere. Those not yet placed go along. If
 * they could not stay round a convex quadrilateral, nothing moves.
 * @param {Point[]} points
 * @param {boolean[]} placed
 * @param {number} which is put elsewhere
 * @param {Point} to
 * @param {number} aspect width / height of the source
 */
export function put(points, placed, which, to, aspect) {
  const others = points.filter((_, k) => placed[k] && k !== which);
  const move = others.length < 3 && mover(others, points[which], to, aspect);
  if (move === null) return points;
  const moved = points.map((point, k) => {
    if (k === which) return to;
    return placed[k] || !move ? point : move(point);
  });
  return sane(moved) ? moved : points;
}
