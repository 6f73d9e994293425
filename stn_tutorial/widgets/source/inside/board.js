// Input, output and target at one scale, and the grid that is dragged over the input.

import { withCentre, withCorner } from "../affine_moves.js";
import { drawGrid, drawInput, drawOutput, LARGE, SMALL, titled } from "../cards.js";
import { drawNeighbours, drawPixelFrame, pointAtPixels } from "../neighbours.js";
import { FRAME, transform } from "../sampling.js";
import { COLOURS } from "../stage.js";

/** @import { Panel } from "../figure.js" */
/** @import { Point, Theta } from "../sampling.js" */
/** @import { Transformer } from "./transformer.js" */

/** @type {Point} */
const CORNER = [1, 1]; // of the grid: its handle turns and scales

/**
 * The input, with the grid over it.
 * @param {Transformer} transformer
 * @param {(theta: Theta) => void} move
 * @returns {Panel}
 */
export function inputPanel(transformer, move) {
  const map = (/** @type {Point} */ point) => transform(transformer.theta, point);
  const stage = transformer.figure.stage(LARGE, "Input, with the grid over it", () =>
    paint(),
  );
  const centre = {
    get: () => map([0, 0]),
    set: (/** @type {Point} */ point) => move(withCentre(transformer.theta, point)),
  };
  const area = stage.area({ corners: () => FRAME.map(map), ...centre });
  const handle = stage.handle("centre of the grid, shifts it", COLOURS.grid, centre);
  area.addEventListener("pointerdown", () => handle.focus());
  stage.handle("corner of the grid, turns and scales it", COLOURS.grid, {
    get: () => map(CORNER),
    set: (point) => move(withCorner(transformer.theta, CORNER, point, 1)),
  });
  const paint = () => {
    if (!stage.width) return;
    drawInput(stage, transformer.image);
    drawGrid(stage, map, transformer.figure.get("size"));
    drawNeighbours(stage, transformer.image, transformer.reading);
  };
  const update = () => {
    stage.update();
    paint();
  };
  return { root: titled("Input and grid", stage), update };
}

/**
 * The output, whose pixels can be pointed at, and the target.
 * @param {Transformer} transformer
 * @param {(pixel: Point) => void} follow
 */
export function outputPanels(transformer, follow) {
  const { figure } = transformer;
  const output = figure.stage(SMALL, "Output: arrow keys follow another pixel", () =>
    paint(),
  );
  const target = figure.stage(SMALL, "Target", () => paint());
  pointAtPixels(output, {
    size: () => [figure.get("size"), figure.get("size")],
    get: () => transformer.followed,
    set: follow,
  });
  const paint = () => {
    if (!output.width || !target.width) return;
    const size = figure.get("size");
    drawOutput(output, transformer.output, COLOURS.output);
    drawOutput(target, transformer.target, COLOURS.grey);
    for (const stage of [output, target]) {
      drawPixelFrame(stage, transformer.followed, size, size);
    }
  };
  return {
    roots: [titled("Output", output), titled("Target", target)],
    update: paint,
  };
}
