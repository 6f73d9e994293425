// The cards of a spatial transformer: the input with a grid over it, and its output.

import { element, title } from "./page.js";
import { affineGrid, FRAME, IDENTITY } from "./sampling.js";
import { COLOURS } from "./stage.js";

/** @import { Image } from "./sampling.js" */
/** @import { PointMap, Stage } from "./stage.js" */

/** What the cards show: an image with its frame, or with room for a grid around it. */
export const SMALL = [-1.08, -1.08, 1.08, 1.08];
export const LARGE = [-1.45, -1.45, 1.45, 1.45];
const DOTS = 16; // points along a side; a finer grid is drawn as lines

/**
 * Draw the input and its frame.
 * @param {Stage} stage
 * @param {Image} image
 */
export function drawInput(stage, image) {
  stage.clear();
  stage.image(image);
  stage.frame(COLOURS.input);
}

/**
 * Draw an output and its frame.
 * @param {Stage} stage
 * @param {Image} image
 * @param {string} colour
 */
export function drawOutput(stage, image, colour) {
  stage.clear();
  stage.image(image);
  stage.frame(colour, 3);
}

/**
 * Draw a grid's points where a map sends them; many of them as lines.
 * @param {Stage} stage
 * @param {PointMap} map
 * @param {number} n points along each side
 */
export function drawGrid(stage, map, n) {
  if (n > DOTS) {
    stage.grid(map);
    return;
  }
  stage.line(FRAME.map(map), COLOURS.grid, { closed: true, width: 2.5 });
  const points = affineGrid(IDENTITY, n, n);
  for (let k = 0; k < points.length; k += 2) {
    stage.dot(map([points[k], points[k + 1]]), COLOURS.grid, 2.2);
  }
}

/**
 * A card with its title, in its place on a board.
 * @param {string} name
 * @param {Stage} stage
 */
export const titled = (name, { root, view }) => {
  const kind = view === LARGE ? "input" : "small";
  return element("div", { class: `stn-board-${kind}` }, title(name), root);
};

/**
 * Cards side by side, all at one scale.
 * @param {HTMLElement[]} cards
 */
export const board = (...cards) =>
  element(
    "div",
    { class: "stn-board-space" },
    element("div", { class: "stn-board" }, ...cards),
  );
