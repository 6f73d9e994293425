// The patch, drawn twice: its pixels with their weights, and the picture between them.

import { fixed } from "../page.js";
import { COLOURS } from "../stage.js";
import { surface } from "./kernels.js";
import { MINUS, NEIGHBOURS, PLUS } from "./lens.js";

/** @import { Image, Point } from "../sampling.js" */
/** @import { Stage } from "../stage.js" */
/** @import { Mode, Term } from "./kernels.js" */
/** @import { Lens } from "./lens.js" */

const ARROW = 3; // an arrow's length in pixels, for a slope of 1

/**
 * A card that shows the patch, with the point on it to be dragged or clicked.
 * @param {Lens} lens
 * @param {string} label
 * @param {string} handle
 * @param {(stage: Stage) => void} draw
 */
function patchPanel(lens, label, handle, draw) {
  const stage = lens.figure.stage([0, 0, 1, 1], label, () => paint());
  const point = stage.handle(handle, COLOURS.grid, {
    get: () => lens.kept,
    set: (to) => lens.move(to),
    step: () => 0.1,
  });
  stage.canvas.addEventListener("click", (event) => lens.move(stage.locate(event)));
  const paint = () => {
    if (!stage.width) return;
    stage.clear();
    draw(stage);
    if (lens.hovered) {
      stage.dot(lens.hovered, "#fff", 6);
      stage.dot(lens.hovered, COLOURS.grid, 4.5);
    }
    point.style.opacity = lens.hovered ? "0.3" : "1";
    stage.update();
  };
  const update = () => {
    stage.view = [-0.6, -0.6, lens.width - 0.4, lens.height - 0.4];
    stage.aspect = 1;
    paint();
  };
  return { root: stage.root, update, stage };
}

/**
 * Draw an image over the whole patch.
 * @param {Lens} lens
 * @param {Stage} stage
 * @param {Image} image
 */
function drawPatch({ width, height }, stage, image) {
  stage.image(image, [-0.5, -0.5], [width - 0.5, height - 0.5]);
}

/**
 * Draw the row through the point.
 * @param {Lens} lens
 * @param {Stage} stage
 */
function drawRow({ point: [, y], width }, stage) {
  stage.segment([-0.5, y], [width - 0.5, y], COLOURS.output, 2, [7, 4]);
}

// The pixels, and their weights as areas

/** @param {Lens} lens */
export function pixelsPanel(lens) {
  const draw = (/** @type {Stage} */ stage) => {
    const data = Float64Array.from(lens.pixels.flat());
    const { height, width } = lens;
    drawPatch(lens, stage, { data, channels: 1, height, width });
    if (lens.slopes) drawRow(lens, stage);
    const { terms } = lens.reading;
    if (lens.mode === "bilinear") drawAreas(lens, stage, terms);
    else drawSquares(stage, terms);
    drawNumbers(lens, stage, terms);
    if (lens.mode === "bilinear") drawAreaNumbers(lens, stage, terms);
  };
  return patchPanel(lens, "Pixels, and their weights as areas", "sample point", draw);
}

/**
 * A filled rectangle between two corners, with a frame.
 * @param {Stage} stage
 * @param {Point} from
 * @param {Point} to
 * @param {string} colour
 * @param {number[]} dash
 */
function drawBox(stage, from, to, colour, dash = []) {
  const [x, y] = stage.place(from);
  const [right, bottom] = stage.place(to);
  stage.context.fillStyle = colour;
  stage.context.fillRect(x, y, right - x, bottom - y);
  const style = { width: 1.5, closed: true, dash };
  const frame = dash.length ? "#000" : "#fff";
  stage.line([from, [to[0], from[1]], to, [from[0], to[1]]], frame, style);
}

/**
 * The far corner of a pixel's rectangle, from the point outwards: a weight's area lies
 * opposite to its pixel.
 * @param {Term} term
 * @param {Term[]} terms
 * @returns {Point}
 */
const opposite = ({ column, row }, [first]) => [
  2 * first.column + 1 - column,
  2 * first.row + 1 - row,
];

/**
 * The four areas of the bilinear kernel.
 * @param {Lens} lens
 * @param {Stage} stage
 * @param {Term[]} terms
 */
function drawAreas({ point }, stage, terms) {
  for (const [i, term] of terms.entries()) {
    drawBox(stage, point, opposite(term, terms), NEIGHBOURS[i]);
  }
  for (const [i, { column, row }] of terms.entries()) {
    stage.dot([column, row], "#fff", 18);
    stage.dot([column, row], NEIGHBOURS[i], 16);
  }
}

/**
 * A square for each weight of another kernel, on its pixel.
 * @param {Stage} stage
 * @param {Term[]} terms
 */
function drawSquares(stage, terms) {
  for (const { column, row, weight } of terms) {
    const half = Math.sqrt(Math.abs(weight)) / 2;
    /** @type {Point} */
    const from = [column - half, row - half];
    /** @type {Point} */
    const to = [column + half, row + half];
    if (weight < 0) drawBox(stage, from, to, MINUS, [3, 3]);
    else drawBox(stage, from, to, PLUS);
  }
}

/**
 * Write each pixel's value, and what it is weighed with: in its square where there is
 * room for both, or else above and below.
 * @param {Lens} lens
 * @param {Stage} stage
 * @param {Term[]} terms
 */
function drawNumbers({ pixels, mode }, stage, terms) {
  const on = (/** @type {number} */ grey) => (grey < 0.5 ? "#fff" : "#000");
  for (const [row, line] of pixels.entries()) {
    for (const [column, value] of line.entries()) {
      const term = terms.find((each) => each.column === column && each.row === row);
      if (!term) stage.text(fixed(value), [column, row], { colour: on(value) });
      else if (mode === "bilinear") {
        stage.text(fixed(value), [column, row], { colour: "#000" });
      } else {
        const roomy = term.weight > 0.2;
        const away = roomy ? 0.1 : 0.34;
        const level = Math.round(255 * value);
        const halo = `rgb(${level}, ${level}, ${level})`; // the row's line goes behind
        const style = roomy
          ? { colour: "#000", size: 11 }
          : { colour: on(value), halo, size: 11 };
        stage.text(fixed(value), [column, row - away], style);
        stage.text(`×${fixed(term.weight)}`, [column, row + away], style);
      }
    }
  }
}

/**
 * Write each weight into its area, where there is room.
 * @param {Lens} lens
 * @param {Stage} stage
 * @param {Term[]} terms
 */
function drawAreaNumbers({ point: [x, y] }, stage, terms) {
  const unit = stage.width / (stage.view[2] - stage.view[0]);
  for (const term of terms) {
    const [farX, farY] = opposite(term, terms);
    const [width, height] = [unit * Math.abs(farX - x), unit * Math.abs(farY - y)];
    if (width < 32 || height < 16 || Math.hypot(width, height) < 50) continue;
    const middle = /** @type {Point} */ ([(x + farX) / 2, (y + farY) / 2]);
    stage.text(fixed(term.weight), middle, { colour: "#000" });
  }
}

// The picture between the pixels, with arrows for the slopes

/** @param {Lens} lens */
export function picturePanel(lens) {
  const label = "The picture between the pixels, with arrows for the slopes";
  const picture = remembered(surface);
  const draw = (/** @type {Stage} */ stage) => {
    const { dx, dy } = lens.reading;
    drawPatch(lens, stage, picture(lens.pixels, lens.mode));
    drawLattice(lens, stage);
    drawRow(lens, stage);
    drawArrow(stage, lens.point, [ARROW * dx, 0]);
    drawArrow(stage, lens.point, [0, ARROW * dy]);
  };
  const panel = patchPanel(lens, label, "sample point, with arrows", draw);
  letHover(lens, panel.stage);
  return panel;
}

/**
 * Read where the mouse is, as long as it is over the picture. A finger taps instead.
 * @param {Lens} lens
 * @param {Stage} stage
 */
function letHover(lens, stage) {
  const { canvas } = stage;
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse") lens.hover(stage.locate(event));
  });
  canvas.addEventListener("pointerleave", () => lens.hover(null));
}

/**
 * The same function, which makes its image anew only for other pixels or another mode.
 * @param {(pixels: number[][], mode: Mode) => Image} make
 */
function remembered(make) {
  /** @type {{ pixels?: number[][], mode?: Mode, image?: Image }} */
  let last = {};
  return (/** @type {number[][]} */ pixels, /** @type {Mode} */ mode) => {
    if (last.image && last.pixels === pixels && last.mode === mode) return last.image;
    const image = make(pixels, mode);
    last = { pixels, mode, image };
    return image;
  };
}

/**
 * The lines through the pixels' centres, where the slopes may jump.
 * @param {Lens} lens
 * @param {Stage} stage
 */
function drawLattice({ width, height }, stage) {
  for (let m = 0; m < width; m++) {
    stage.segment([m, -0.5], [m, height - 0.5], COLOURS.input, 1, [2, 3]);
  }
  for (let n = 0; n < height; n++) {
    stage.segment([-0.5, n], [width - 0.5, n], COLOURS.input, 1, [2, 3]);
  }
}

/**
 * An arrow that starts beside the handle.
 * @param {Stage} stage
 * @param {Point} from
 * @param {Point} by
 */
function drawArrow(stage, [x, y], [dx, dy]) {
  const length = Math.hypot(dx, dy);
  if (length < 0.01) return;
  const [wayX, wayY] = [dx / length, dy / length];
  /** @type {Point} */
  const start = [x + 0.2 * wayX, y + 0.2 * wayY];
  /** @type {Point} */
  const tip = [start[0] + dx, start[1] + dy];
  const head = Math.min(0.18, length);
  /** @returns {Point} */
  const barb = (/** @type {1 | -1} */ side) => [
    tip[0] - head * (wayX - side * wayY),
    tip[1] - head * (wayY + side * wayX),
  ];
  for (const { colour, width } of [
    { colour: "#fff", width: 8 },
    { colour: COLOURS.grid, width: 4 },
  ]) {
    stage.line([start, tip], colour, { width });
    stage.line([barb(1), tip, barb(-1)], colour, { width });
  }
}
