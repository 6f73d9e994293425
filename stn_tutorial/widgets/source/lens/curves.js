// Curves along the row: the value, and its slope.

import { fixed, title } from "../page.js";
import { COLOURS } from "../stage.js";
import { pieces, steepest } from "./kernels.js";

/** @import { Point } from "../sampling.js" */
/** @import { Stage } from "../stage.js" */
/** @import { Lens } from "./lens.js" */

/** @typedef {"value" | "dx"} Quantity */

/**
 * The card of a curve; `draw` draws it and returns its height at the point.
 * @param {Lens} lens
 * @param {string} label
 * @param {() => [number, number]} span top and bottom
 * @param {(stage: Stage) => number} draw
 */
function curvePanel(lens, label, span, draw) {
  const stage = lens.figure.stage([0, 0, 1, 1], label, () => paint());
  const paint = () => {
    if (!stage.width) return;
    stage.clear();
    /** @type {Point} */
    const here = [lens.point[0], draw(stage)];
    stage.dot(here, "#fff", 8);
    stage.dot(here, COLOURS.grid, 6);
  };
  const update = () => {
    const [top, bottom] = span();
    stage.view = [-0.6, top, lens.width - 0.4, bottom];
    stage.root.style.aspectRatio = "2.2";
    paint();
  };
  return { root: stage.root, update };
}

/** @param {Lens} lens */
export function valuesPanel(lens) {
  const heading = title();
  const curve = curvePanel(
    lens,
    "Curve of the value along the row",
    () => [1.15, -0.35],
    (stage) => {
      const [x] = lens.point;
      const { value, dx } = lens.reading;
      drawCurve(lens, stage, "value", COLOURS.output, [0, 0.5, 1]);
      const tangent = [-0.3, 0.3].map(
        (d) => /** @type {Point} */ ([x + d, value + d * dx]),
      );
      stage.line(tangent, COLOURS.grid, { width: 3 });
      return value;
    },
  );
  const update = () => {
    heading.textContent = `Value V along the row y = ${fixed(lens.point[1])}`;
    curve.update();
  };
  return { roots: [heading, curve.root], update };
}

/** @param {Lens} lens */
export function ratesPanel(lens) {
  return curvePanel(
    lens,
    "Curve of the slope along the row",
    () => [1.3 * steepest(lens.pixels), -1.7 * steepest(lens.pixels)],
    (stage) => {
      const most = steepest(lens.pixels);
      drawCurve(lens, stage, "dx", COLOURS.grid, [-most, 0, most]);
      return lens.reading.dx;
    },
  );
}

/**
 * A curve of one quantity over the lines of the lattice.
 * @param {Lens} lens
 * @param {Stage} stage
 * @param {Quantity} quantity
 * @param {string} colour
 * @param {number[]} ticks
 */
function drawCurve(lens, stage, quantity, colour, ticks) {
  const [from, top, to, bottom] = stage.view;
  const [x, y] = lens.point;
  for (const tick of ticks) {
    stage.segment([from, tick], [to, tick], tick === 0 ? "#888" : "#ddd", 1);
  }
  for (let m = 0; m < lens.width; m++) {
    stage.segment([m, top], [m, bottom], COLOURS.input, 1, [2, 3]);
  }
  stage.segment([x, top], [x, bottom], COLOURS.grid, 1.5);
  const curve = pieces(lens.pixels, y, lens.mode);
  for (const piece of curve) {
    const points = piece.map((p) => /** @type {Point} */ ([p.x, p[quantity]]));
    stage.line(points, colour, { width: 2.5 });
  }
  drawJumps(lens, stage, curve, quantity, colour);
  const height = top - bottom;
  for (const tick of ticks) {
    const style = { align: /** @type {const} */ ("left"), halo: "#fff" };
    stage.text(fixed(tick, 1), [-0.56, tick - 0.06 * height], style);
  }
  for (let m = 0; m < lens.width; m++) {
    stage.text(String(m), [m + 0.1, bottom + 0.08 * height], { halo: "#fff" });
  }
}

/**
 * Where a curve jumps: a ring at each of its ends, a dot at the value that counts.
 * @param {Lens} lens
 * @param {Stage} stage
 * @param {ReturnType<typeof pieces>} curve
 * @param {Quantity} quantity
 * @param {string} colour
 */
function drawJumps(lens, stage, curve, quantity, colour) {
  for (let i = 1; i < curve.length; i++) {
    const before = curve[i - 1][curve[i - 1].length - 1];
    const after = curve[i][0];
    if (Math.abs(after[quantity] - before[quantity]) < 1e-3) continue;
    const jump = (i - 1) / 2;
    for (const end of [before, after]) {
      stage.dot([jump, end[quantity]], colour, 4.5);
      stage.dot([jump, end[quantity]], "#fff", 2.5);
    }
    const there = lens.at([jump, lens.point[1]]);
    stage.dot([jump, there[quantity]], colour, 4.5);
  }
}
