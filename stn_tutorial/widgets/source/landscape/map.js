// The map of the loss over the two parameters that descent may change.

import { contextOf, element, note, title } from "../page.js";
import { clip } from "../sampling.js";
import { COLOURS, toCanvas } from "../stage.js";
import { contour, roundStep } from "./contours.js";
import { lossRow } from "./four_numbers.js";

/** @import { Point } from "../sampling.js" */
/** @import { Stage } from "../stage.js" */
/** @import { Descent } from "./descent.js" */

const NODES = 41; // losses along each side of the map
const CELL = 20; // pixels of the map's picture for each of them
const VIEW = [-1.34, -1.08, 1.14, 1.24];
const SLICE = 8; // milliseconds of measuring at a time: the page stays awake

/**
 * Losses as a picture: dark where small, with a line at each multiple of `step`.
 * @param {Float64Array} losses
 * @param {number} highest
 * @param {number} step
 */
function mapPicture(losses, highest, step) {
  const data = losses.map((loss) => 0.3 + (0.7 * loss) / highest);
  const small = toCanvas({ data, channels: 1, height: NODES, width: NODES });
  const canvas = element("canvas", { width: CELL * NODES, height: CELL * NODES });
  const context = contextOf(canvas);
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  context.strokeStyle = "#0008";
  context.lineWidth = 1.5;
  for (let level = step; level < highest; level += step) {
    for (const piece of contour(losses, NODES, level)) {
      context.beginPath();
      for (const [x, y] of piece) context.lineTo((x + 0.5) * CELL, (y + 0.5) * CELL);
      context.stroke();
    }
  }
  return canvas;
}

/**
 * Measures the whole map, anew if its picture, target or pair has changed.
 * @param {Descent} descent
 * @param {() => void} show called when the map is measured
 */
function survey(descent, show) {
  const { figure } = descent;
  const legend = note();
  /** @type {{ relief: HTMLCanvasElement | null }} */
  const measured = { relief: null };
  let surveyed = "";
  let timer = 0;
  figure.ending.addEventListener("abort", () => clearTimeout(timer));

  const finish = (/** @type {Float64Array} */ losses) => {
    const highest = Math.max(...losses) || 1;
    const step = roundStep(highest / 20);
    measured.relief = mapPicture(losses, highest, step);
    const bar = element("span", { class: "stn-map-bar" });
    const words = ` ${highest.toPrecision(2)}, a line every ${step.toPrecision(1)}`;
    legend.replaceChildren("loss 0 ", bar, words);
    show();
  };

  const begin = () => {
    const { image, known, ranges, target, pair } = descent;
    const losses = new Float64Array(NODES * NODES);
    let row = 0;
    const goOn = () => {
      const end = performance.now() + SLICE;
      while (row < NODES && performance.now() < end) {
        const some = lossRow(image, target, known, pair, ranges, NODES, row);
        losses.set(some, NODES * row);
        row++;
      }
      if (row < NODES) timer = setTimeout(goOn);
      else finish(losses);
    };
    goOn();
  };

  const measure = () => {
    const key = JSON.stringify([
      figure.get("picture"),
      figure.get("parameters"),
      figure.get("pair"),
    ]);
    if (key === surveyed) return;
    surveyed = key;
    clearTimeout(timer);
    measured.relief = null;
    legend.textContent = "Measuring the loss …";
    begin();
  };
  return { legend, measured, measure };
}

/**
 * Draw relief, path and target within the map's frame.
 * @param {Stage} stage
 * @param {Descent} descent
 * @param {HTMLCanvasElement | null} relief
 */
function drawLand(stage, descent, relief) {
  const { context } = stage;
  const [left, top] = stage.place([-1, -1]);
  const [right, bottom] = stage.place([1, 1]);
  context.save();
  context.beginPath();
  context.rect(left, top, right - left, bottom - top);
  context.clip();
  if (relief) {
    const half = 1 / (NODES - 1); // of a cell: the outer nodes lie on the frame
    const [x, y] = stage.place([-1 - half, -1 - half]);
    const [width, height] = [right - left, bottom - top];
    context.drawImage(relief, x, y, 2 * (left - x) + width, 2 * (top - y) + height);
  }
  drawPath(
    stage,
    descent.path.map((parameters) => descent.toMap(parameters)),
  );
  drawTarget(stage, descent.toMap(descent.known));
  context.restore();
}

/**
 * @param {Stage} stage
 * @param {Point[]} points
 */
function drawPath(stage, points) {
  stage.line(points, "#fff", { width: 5 });
  stage.line(points, COLOURS.grid);
  for (const point of points) stage.dot(point, COLOURS.grid, 2.5);
  const current = points[points.length - 1];
  stage.dot(current, "#fff", 8);
  stage.dot(current, COLOURS.grid, 6);
}

/**
 * @param {Stage} stage
 * @param {Point} point
 */
function drawTarget(stage, [x, y]) {
  for (const { colour, width } of [
    { colour: "#fff", width: 7 },
    { colour: COLOURS.output, width: 4 },
  ]) {
    for (const way of [-0.05, 0.05]) {
      stage.segment([x - 0.05, y - way], [x + 0.05, y + way], colour, width);
    }
  }
}

/**
 * Write names and values of the two parameters along the map's sides.
 * @param {Stage} stage
 * @param {Descent} descent
 */
function drawScales(stage, descent) {
  const { names } = descent;
  const [across, down] = descent.pair;
  const toTheRight = { align: /** @type {const} */ ("right") };
  for (const at of [-1, 0, 1]) {
    const value = descent.fromMap([at, at]);
    const below = descent.written(across, value[across], 1);
    const beside = descent.written(down, value[down], 1);
    stage.text(below, [at, 1.12]);
    stage.text(beside, [-1.04, at], toTheRight);
  }
  stage.text(names[across], [0.5, 1.12]);
  stage.text(names[down], [-1.04, 0.5], toTheRight);
}

/**
 * The map, on which the start is dragged or clicked.
 * @param {Descent} descent
 */
export function lossMap(descent) {
  const { figure } = descent;
  const stage = figure.stage(VIEW, "Map of the loss", () => paint());
  const { legend, measured, measure } = survey(descent, () => paint());
  const drop = (/** @type {Point} */ [x, y]) => {
    figure.send({ start: descent.fromMap([clip(x, -1, 1), clip(y, -1, 1)]) });
    descent.tell();
  };
  const handle = stage.handle("start", COLOURS.grid, {
    get: () => descent.toMap(descent.first),
    set: drop,
    step: () => 1 / 30,
  });
  stage.canvas.addEventListener("click", (event) => {
    drop(stage.locate(event));
    handle.focus();
  });
  const paint = () => {
    if (!stage.width) return;
    stage.clear();
    drawLand(stage, descent, measured.relief);
    stage.frame(COLOURS.grey, 1);
    drawScales(stage, descent);
  };
  const update = () => {
    measure();
    stage.update();
    handle.setAttribute("aria-label", `start: ${descent.place(descent.first)}`);
    paint();
  };
  return {
    roots: [title("The loss: where do you start?"), stage.root, legend],
    update,
  };
}
