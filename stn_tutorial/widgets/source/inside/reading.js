// What one output pixel reads: its point among four input pixels, enlarged, and a line.

import { drawNeighbours, neighbours } from "../neighbours.js";
import { element, fixed, note } from "../page.js";
import { toPixel } from "../sampling.js";
import { COLOURS } from "../stage.js";

/** @import { Panel } from "../figure.js" */
/** @import { Transformer } from "./transformer.js" */

const AROUND = 1.4; // pixels from the middle of the four to the edge of the card

/**
 * What happens to the followed pixel, in three lines.
 * @param {Transformer} transformer
 */
export function story({ figure, image, output, target, followed, reading }) {
  const size = figure.get("size");
  const [column, row] = followed.map((v) => Math.round(toPixel(v, size)));
  const [x, y] = reading.map((v) => fixed(v));
  const terms = neighbours(image, reading).map(
    ({ weight, value }) => `${fixed(weight)}\u00a0×\u00a0${fixed(value)}`,
  );
  const [made, wanted] = [output, target].map(({ data }) => data[row * size + column]);
  return [
    `Output pixel (row ${row + 1}, column ${column + 1}) reads at (x,\u00a0y) = (${x},\u00a0${y}).`,
    `Four neighbours, weight × value: ${terms.join(" + ")} = ${fixed(made)}.`,
    `The target has ${fixed(wanted)} here.`,
  ];
}

/**
 * @param {Transformer} transformer
 * @returns {Panel}
 */
export function readingPanel(transformer) {
  const lines = [note(), note(), note()];
  const stage = transformer.figure.stage(
    [-1, -1, 1, 1],
    "The four input pixels around the point, with their weights",
    () => paint(),
  );
  const paint = () => {
    if (!stage.width) return;
    const { image, reading } = transformer;
    const { height, width } = image;
    const terms = neighbours(image, reading);
    const [column, row] = [terms[0].column + 1, terms[0].row + 1]; // where they meet
    stage.view = [
      (2 * (column - AROUND)) / width - 1,
      (2 * (row - AROUND)) / height - 1,
      (2 * (column + AROUND)) / width - 1,
      (2 * (row + AROUND)) / height - 1,
    ];
    stage.clear();
    stage.image(image);
    stage.frame(COLOURS.input);
    drawNeighbours(stage, image, reading);
    for (const { row, column, weight } of terms) {
      const [x, y] = [(2 * column + 1) / width - 1, (2 * row + 1) / height - 1];
      stage.text(fixed(weight), [x, y], { colour: "#222", halo: "#fff" });
    }
  };
  const update = () => {
    const texts = story(transformer);
    for (const [i, line] of lines.entries()) line.textContent = texts[i];
    paint();
  };
  return {
    root: element(
      "div",
      { class: "stn-inside-reading" },
      stage.root,
      element("div", {}, ...lines),
    ),
    update,
  };
}
