// Lines of equal height on a map.

/** @import { Point } from "../sampling.js" */

/**
 * Where n x n values cross a level: pieces of line, in steps between the values.
 * @param {ArrayLike<number>} values
 * @param {number} n
 * @param {number} level
 */
export function contour(values, n, level) {
  /** @type {Point[][]} */
  const pieces = [];
  for (let i = 0; i < n - 1; i++) {
    for (let j = 0; j < n - 1; j++) {
      // The corners of a cell, as column and row. It is cut into two triangles, in
      // each of which the level is a straight line.
      /** @type {Point[]} */
      const [a, b, c, d] = [
        [j, i],
        [j + 1, i],
        [j + 1, i + 1],
        [j, i + 1],
      ];
      const below = [a, b, c, d].filter(([x, y]) => values[y * n + x] < level);
      if (below.length % 4 === 0) continue; // all on one side
      for (const triangle of [
        [a, b, c],
        [a, c, d],
      ]) {
        const piece = crossings(values, n, level, triangle);
        if (piece.length) pieces.push(piece);
      }
    }
  }
  return pieces;
}

/**
 * Where the sides of a triangle cross a level: two points, or none.
 * @param {ArrayLike<number>} values
 * @param {number} n
 * @param {number} level
 * @param {Point[]} triangle
 */
function crossings(values, n, level, triangle) {
  /** @type {Point[]} */
  const points = [];
  for (const [k, [x, y]] of triangle.entries()) {
    const [toX, toY] = triangle[(k + 1) % 3];
    const from = values[y * n + x] - level;
    const to = values[toY * n + toX] - level;
    if (from < 0 === to < 0) continue;
    const share = from / (from - to);
    points.push([x + share * (toX - x), y + share * (toY - y)]);
  }
  return points;
}

/**
 * 1, 2 or 5 times a power of ten, near to and not below a value.
 * @param {number} value
 */
export function roundStep(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  for (const k of [1, 2, 5]) {
    if (k * power >= value) return k * power;
  }
  return 10 * power;
}
