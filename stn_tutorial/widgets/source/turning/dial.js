// The digit in a ring, by which it is turned.

import { element, fixed, title } from "../page.js";
import { COLOURS } from "../stage.js";
import { inWords } from "./turning.js";

/** @import { Point } from "../sampling.js" */
/** @import { Stage } from "../stage.js" */
/** @import { Run } from "./answers.js" */
/** @import { Turning } from "./turning.js" */

const VIEW = [-1.95, -1.95, 1.95, 1.95];
const RADIUS = 1.62; // of the ring; the image's corners are at 1.41
const DEGREE = Math.PI / 180;

/**
 * Where an angle stands around the digit: 0 above it, then counter-clockwise.
 * @param {number} angle
 * @returns {Point}
 */
const around = (angle, radius = RADIUS) => [
  -radius * Math.sin(angle * DEGREE),
  -radius * Math.cos(angle * DEGREE),
];

/**
 * @param {Stage} stage
 * @param {Run} run
 * @param {string} colour
 * @param {number} width
 */
function drawArc(stage, { from, to }, colour, width) {
  const angles = Array.from({ length: to - from + 2 }, (_, i) => from - 0.5 + i);
  stage.line(
    angles.map((angle) => around(angle)),
    colour,
    { width },
  );
}

/**
 * The ring: green where the answer is right, dark and thin where it is wrong.
 * @param {Stage} stage
 * @param {Turning} turning
 */
function drawRing(stage, { answers }) {
  drawArc(stage, { from: -180, to: 180, best: 0 }, "#ccc", 2);
  for (let angle = 0; angle < 360; angle += 30) {
    stage.segment(
      around(angle, RADIUS - 0.06),
      around(angle, RADIUS + 0.06),
      "#999",
      1,
    );
  }
  for (const run of answers.runs) {
    if (run.best === answers.digit) drawArc(stage, run, COLOURS.output, 8);
    else drawArc(stage, run, "#444", 4);
  }
}

/**
 * Two arrowheads beside the handle, as long as nothing has been turned.
 * @param {Stage} stage
 */
function drawInvitation(stage) {
  for (const way of [-1, 1]) {
    for (const angle of [10, 14]) {
      const tip = around(way * (angle + 3));
      const barbs = [-0.09, 0.09].map((off) => around(way * angle, RADIUS + off));
      stage.line([barbs[0], tip, barbs[1]], COLOURS.input, { width: 2.5 });
    }
  }
}

/** @param {Turning} turning */
export function dialPanel(turning) {
  const heading = title();
  const stage = turning.figure.stage(VIEW, "", () => update());
  const turnTo = (/** @type {Point} */ [x, y]) =>
    turning.turn(Math.atan2(-x, -y) / DEGREE);
  stage.handle("turn the digit", COLOURS.input, {
    get: () => around(turning.angle),
    set: turnTo,
    press: ([right, down], fine) =>
      turning.turn(turning.angle - (right + down) * (fine ? 1 : 5)),
    words: () => inWords(turning.angle),
  });
  const update = () => {
    const { digit, angle } = turning;
    heading.textContent = `A ${digit} at ${fixed(angle, 0)}°`;
    stage.canvas.setAttribute("aria-label", `The ${digit}, ${inWords(angle)}`);
    stage.update();
    if (!stage.width) return;
    stage.clear();
    stage.image(turning.image);
    stage.frame(COLOURS.input);
    drawRing(stage, turning);
    if (turning.answers.known.size === 1) drawInvitation(stage);
  };
  return { root: element("div", {}, heading, stage.root), update };
}
