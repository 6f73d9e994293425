// The distorted digit with window and goal, what the window shows, and the upright digit.

import { withCentre, withCorner, withEndOfX, withEndOfY } from "../affine_moves.js";
import { drawInput, drawOutput, LARGE, SMALL, titled } from "../cards.js";
import { FRAME, transform } from "../sampling.js";
import { COLOURS } from "../stage.js";
import { HEADS } from "./heads.js";

/** @import { Panel } from "../figure.js" */
/** @import { Point, Theta } from "../sampling.js" */
/** @import { Stage } from "../stage.js" */
/** @import { Task } from "./task.js" */

/** @type {Point} */
const CORNER = [1, 1]; // of the window: its handle turns and zooms

/**
 * The goal, and what remains between its corners and the window's.
 * @param {Stage} stage
 * @param {Task} task
 */
function drawGoal(stage, task) {
  const { goal, theta } = task;
  const undone = task.undoes();
  const corners = FRAME.map((corner) => transform(goal, corner));
  if (!undone) {
    for (const [i, corner] of corners.entries()) {
      stage.segment(transform(theta, FRAME[i]), corner, COLOURS.other, 2);
    }
  }
  const dash = undone ? [] : [7, 5];
  stage.line(corners, COLOURS.output, { width: 3, closed: true, dash });
  stage.dot(corners[0], COLOURS.output, 5);
}

/**
 * The distorted digit under the window, whose handles are as free as the head.
 * @param {Task} task
 * @param {(theta: Theta) => void} move
 * @returns {Panel}
 */
export function windowPanel(task, move) {
  const map = (/** @type {Point} */ point) => transform(task.theta, point);
  const stage = task.figure.stage(LARGE, "Distorted digit, window and goal", () =>
    paint(),
  );
  const centre = {
    get: () => map([0, 0]),
    set: (/** @type {Point} */ point) => move(withCentre(task.theta, point)),
  };
  const area = stage.area({ corners: () => FRAME.map(map), ...centre });
  const middle = stage.handle("centre of the window", COLOURS.grid, centre);
  area.addEventListener("pointerdown", () => middle.focus());
  const corner = stage.handle("corner of the window", COLOURS.grid, {
    get: () => map(CORNER),
    set: (point) => move(withCorner(task.theta, CORNER, point, 1)),
  });
  const ends = [
    stage.handle("right edge of the window", COLOURS.grid, {
      get: () => map([1, 0]),
      set: (point) => move(withEndOfX(task.theta, point)),
    }),
    stage.handle("lower edge of the window", COLOURS.grid, {
      get: () => map([0, 1]),
      set: (point) => move(withEndOfY(task.theta, point)),
    }),
  ];
  const paint = () => {
    if (!stage.width) return;
    drawInput(stage, task.image);
    stage.grid(map, COLOURS.grid, 4);
    drawGoal(stage, task);
  };
  const update = () => {
    const { moves, shears } = HEADS[task.head];
    for (const part of [area, middle]) part.hidden = !moves;
    for (const part of ends) part.hidden = !shears;
    corner.hidden = false;
    stage.update();
    paint();
  };
  return { root: titled("Drag the window", stage), update };
}

/**
 * What the window shows, and the upright digit.
 * @param {Task} task
 */
export function digitPanels(task) {
  const output = task.figure.stage(SMALL, "What the window shows", () => paint());
  const upright = task.figure.stage(SMALL, "The upright digit", () => paint());
  const paint = () => {
    if (!output.width || !upright.width) return;
    drawOutput(output, task.output(), COLOURS.output);
    drawOutput(upright, task.upright, COLOURS.grey);
  };
  return {
    roots: [titled("It shows", output), titled("Upright", upright)],
    update: paint,
  };
}
