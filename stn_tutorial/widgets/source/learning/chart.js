// Curves over the moments of a training.

import { along } from "./moments.js";

/** @import { Stage } from "../stage.js" */
/** @import { Training } from "./training.js" */

/** @typedef {{ values: number[], colour: string, width: number }} Curve */

/** @typedef {{ from: number, to: number, ticks: number[], log?: boolean }} Axis */

export const INK = "#444";

export const count = (/** @type {number} */ n) => n.toLocaleString("en-GB");

/**
 * Curves over the moments of a training. A click or a drag chooses a moment.
 * @param {Training} training
 * @param {string} label
 * @param {Axis} axis
 * @param {(moment: number) => void} choose
 */
export function chart(training, label, axis, choose) {
  const at = training.images.map((n) => along(training.images, n));
  /** @type {Curve[]} */
  let curves = [];
  const stage = training.figure.stage([0, 0, 1.6, 1], label, () => paint());
  const paint = () => {
    if (!stage.width) return;
    const [width, height] = [stage.width - 66, stage.height - 40]; // less the margins
    stage.view = [-38 / width, 1 + 12 / height, 1 + 28 / width, -28 / height];
    stage.clear();
    drawLevels(stage, axis, width);
    drawImagesSeen(stage, training.images, width, height);
    drawCurves(stage, curves, at, training.moment, (value) => levelOn(axis, value));
  };
  letScrub(stage, at, choose);
  const draw = (/** @type {Curve[]} */ lines) => {
    curves = lines;
    paint();
  };
  return { root: stage.root, draw };
}

/**
 * How high a value stands on an axis, from 0 to 1.
 * @param {Axis} axis
 * @param {number} value
 */
function levelOn({ from, to, log }, value) {
  const scale = (/** @type {number} */ v) => (log ? Math.log10(v) : v);
  return (scale(Math.max(value, from)) - scale(from)) / (scale(to) - scale(from));
}

/**
 * A line and a number at each tick of the axis.
 * @param {Stage} stage
 * @param {Axis} axis
 * @param {number} width of the curves, in CSS pixels
 */
function drawLevels(stage, axis, width) {
  for (const tick of axis.ticks) {
    const level = levelOn(axis, tick);
    stage.segment([0, level], [1, level], "#ddd", 1);
    stage.text(`${tick}`.replace("-", "−"), [-6 / width, level], { align: "right" });
  }
}

/**
 * The numbers of images seen, under the axis, as far as there is room.
 * @param {Stage} stage
 * @param {number[]} images
 * @param {number} width of the curves, in CSS pixels
 * @param {number} height
 */
function drawImagesSeen(stage, images, width, height) {
  const decades = [1_000, 10_000, 100_000, 1_000_000].filter(
    (n) => n >= images[1] && along(images, n) < 1.02,
  );
  let free = -Infinity; // the right end of the last number under the axis
  for (const n of [0, ...decades]) {
    const place = along(images, n);
    const half = (4 * count(n).length + 3) / width;
    stage.segment([place, 0], [place, -4 / height], INK, 1);
    if (place - half < free) continue; // no room
    stage.text(count(n), [place, -15 / height]);
    free = place + half;
  }
}

/**
 * Curves, and the moment: a dot on the last of them.
 * @param {Stage} stage
 * @param {Curve[]} curves
 * @param {number[]} at where the moments stand on the axis
 * @param {number} moment
 * @param {(value: number) => number} level
 */
function drawCurves(stage, curves, at, moment, level) {
  stage.segment([at[moment], 0], [at[moment], 1], INK, 1, [4, 3]);
  for (const { values, colour, width } of curves) {
    const points = values.map(
      (value, i) => /** @type {[number, number]} */ ([at[i], level(value)]),
    );
    // Dashed from the start, which has no place on a logarithmic axis.
    stage.line(points.slice(0, 2), colour, { width, dash: [3, 3] });
    stage.line(points.slice(1), colour, { width });
  }
  const { values, colour } = curves[curves.length - 1];
  stage.dot([at[moment], level(values[moment])], colour, 6);
}

/**
 * Choose the moment nearest to where the reader clicks or drags.
 * @param {Stage} stage
 * @param {number[]} at where the moments stand on the axis
 * @param {(moment: number) => void} choose
 */
function letScrub(stage, at, choose) {
  const { canvas, root } = stage;
  const scrub = (/** @type {PointerEvent} */ event) => {
    const [x] = stage.locate(event);
    const distances = at.map((place) => Math.abs(place - x));
    choose(distances.indexOf(Math.min(...distances)));
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    scrub(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (canvas.hasPointerCapture(event.pointerId)) scrub(event);
  });
  root.classList.add("stn-scrub");
}
