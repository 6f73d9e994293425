// What one sees of two photographs: both, one laid over the other, and the error.

import { element, title } from "../page.js";
import { centre, clip } from "../sampling.js";
import { COLOURS } from "../stage.js";
import { project } from "./homography.js";

/** @import { Point } from "../sampling.js" */
/** @import { Stage } from "../stage.js" */
/** @import { Descent } from "./descent.js" */
/** @import { TwoPhotographs } from "./two.js" */

const VIEW = [-1.1, -1.1, 1.1, 1.1];
const ARROWS = [4, 6]; // rows and columns of the flow
const HALO = "#fff";
const [LOW, HIGH] = [-1.5, 2.5]; // powers of ten of a pixel, in the chart
const MARGINS = { left: 40, top: 6, right: 10, bottom: 8 }; // in CSS pixels

/**
 * A point's number beside it.
 * @param {Stage} stage
 * @param {number} k
 * @param {Point} point
 * @param {string} colour
 */
function number(stage, k, [across, down], colour) {
  // A point that has left the card has its handle at the edge.
  const point = /** @type {Point} */ ([
    clip(across, -0.99, 0.99),
    clip(down, -0.99, 0.99),
  ]);
  const [x, y] = stage.place(point);
  const { left, top } = { left: x > stage.width / 2, top: y < 24 };
  const [unit, high] = [2.2 / stage.width, 2.2 / stage.height];
  const beside = /** @type {Point} */ ([
    point[0] + (left ? -15 : 15) * unit,
    point[1] + (top ? 10 : -10) * high,
  ]);
  stage.text(String(k + 1), beside, { colour, halo: HALO, size: 15 });
}

/**
 * A card of an image's shape, with its title.
 * @param {TwoPhotographs} two
 * @param {string} words
 * @param {string} label
 * @param {() => void} paint
 */
function card(two, words, label, paint) {
  const stage = two.figure.stage(VIEW, label, paint);
  stage.aspect = two.target.width / two.target.height;
  return { stage, root: element("div", {}, title(words), stage.root) };
}

/** @param {TwoPhotographs} two */
export function targetPanel(two) {
  const label = "The fixed photograph, with the marks 1 to 4";
  const { stage, root } = card(two, "Fixed (target)", label, () => update());
  const update = () => {
    if (!stage.width) return;
    stage.clear();
    stage.image(two.target);
    stage.frame(COLOURS.grey);
    for (const [k, mark] of two.marks.entries()) {
      const active = k === two.active;
      stage.dot(mark, HALO, active ? 10 : 6);
      stage.dot(mark, COLOURS.grid, active ? 8 : 4);
      number(stage, k, mark, COLOURS.grid);
    }
  };
  return { root, update };
}

/**
 * An arrow from a point of the grid to where it is read.
 * @param {Stage} stage
 * @param {Point} from
 * @param {Point} to
 */
function arrow(stage, from, to) {
  const [x, y] = stage.place(from);
  const [u, v] = stage.place(to);
  const length = Math.hypot(u - x, v - y);
  if (!(length > 0.5) || length > 1e4) return;
  const [across, down] = [(u - x) / length, (v - y) / length];
  const barb = Math.min(5, length / 2);
  const { context } = stage;
  for (const [colour, width] of /** @type {[string, number][]} */ ([
    ["#fffb", 3],
    [COLOURS.grid, 1.2],
  ])) {
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(u, v);
    for (const way of [-1, 1]) {
      context.moveTo(u, v);
      context.lineTo(
        u - barb * (across + 0.6 * way * down),
        v - barb * (down - 0.6 * way * across),
      );
    }
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.setLineDash([]);
    context.stroke();
  }
}

/**
 * The moving photograph, on which the points are dragged.
 * @param {TwoPhotographs} two
 * @param {(which: number, to: Point) => void} drop
 * @param {(which: number) => void} choose called when a hand comes to a point
 */
export function sourcePanel(two, drop, choose) {
  const label = "The moving photograph, with arrows to where it is read";
  const { stage, root } = card(two, "Moving (source)", label, () => update());
  const handles = two.marks.map((_, k) => {
    const handle = stage.handle(`point ${k + 1}`, COLOURS.grid, {
      get: () => two.points[k],
      set: (to) => drop(k, to),
      step: () => 0.04,
    });
    handle.addEventListener("focus", () => choose(k));
    handle.addEventListener("pointerenter", () => choose(k));
    return handle;
  });
  const update = () => {
    const { placed, points } = two;
    for (const [k, handle] of handles.entries()) {
      handle.style.setProperty("--stn-colour", placed[k] ? COLOURS.grid : "#555");
    }
    stage.update();
    if (!stage.width) return;
    stage.clear();
    stage.image(two.source);
    stage.frame(COLOURS.input);
    const [rows, columns] = ARROWS;
    for (let at = 0; at < rows * columns; at++) {
      const x = centre(at % columns, columns);
      const y = centre(Math.floor(at / columns), rows);
      arrow(stage, [x, y], project(two.theta, [x, y]));
    }
    for (const [k, point] of points.entries()) {
      number(stage, k, point, placed[k] ? COLOURS.grid : "#222");
    }
  };
  return { root, update };
}

/**
 * One photograph laid over the other.
 * @param {TwoPhotographs} two
 * @param {Descent} descent
 */
export function overlayPanel(two, descent) {
  const label = "The moving photograph laid over the fixed one";
  const { stage, root } = card(two, "One over the other", label, () => update());
  const update = () => {
    if (!stage.width) return;
    stage.clear();
    stage.image(two.overlay(descent.side));
    stage.frame(COLOURS.output, 3);
    const mark = two.marks[two.active];
    if (!mark) return;
    stage.dot(mark, HALO, 6);
    stage.dot(mark, COLOURS.grid, 4);
    number(stage, two.active, mark, COLOURS.grid);
  };
  return { root, update };
}

/**
 * How far off it has been so far, on a scale of tens, and is now.
 * @param {TwoPhotographs} two
 */
export function errorPanel(two) {
  const heading = title();
  const stage = two.figure.stage([0, HIGH, 1, LOW], "", () => paint());
  stage.root.classList.add("stn-two-chart");
  const paint = () => {
    if (!stage.width) return;
    const { history } = two;
    const steps = Math.max(history.length - 1, 60);
    const { left, top, right, bottom } = MARGINS;
    const unit = steps / (stage.width - left - right);
    const high = (HIGH - LOW) / (stage.height - top - bottom);
    stage.view = [
      -left * unit,
      HIGH + top * high,
      steps + right * unit,
      LOW - bottom * high,
    ];
    stage.clear();
    for (const power of [-1, 0, 1, 2]) {
      const goal = power === 0;
      const colour = goal ? COLOURS.output : "#ddd";
      stage.segment([0, power], [steps, power], colour, goal ? 2 : 1);
      stage.text(String(10 ** power), [-6 * unit, power], { align: "right" });
    }
    const points = history.map(({ error, byHand }, k) => ({
      place: /** @type {Point} */ ([k, clip(Math.log10(error), LOW, HIGH)]),
      colour: byHand ? "#444" : COLOURS.grid,
    }));
    for (const [k, { place, colour }] of points.entries()) {
      if (k) stage.segment(points[k - 1].place, place, colour, 2.5);
    }
    const last = points[points.length - 1];
    stage.dot(last.place, HALO, 7);
    stage.dot(last.place, last.colour, 5);
  };
  const update = () => {
    heading.textContent = `${two.shown} off`;
    stage.canvas.setAttribute("aria-label", `Curve of the corner error: ${two.shown}`);
    paint();
  };
  return {
    root: element("div", { class: "stn-two-error" }, heading, stage.root),
    update,
  };
}
