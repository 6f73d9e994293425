// Affine playground: move a grid or the content by hand, and see theta and the output.

import {
  steps,
  withCentre,
  withCorner,
  withEndOfX,
  withEndOfY,
} from "../affine_moves.js";
import { button, choice, numberInput } from "../controls.js";
import { DrawingPad } from "../drawing_pad.js";
import { touchable } from "../figure.js";
import { drawing, numbers, oneOf } from "../kept.js";
import {
  drawNeighbours,
  drawPixelFrame,
  nearestCentre,
  pointAtPixels,
} from "../neighbours.js";
import { element, fixed, note, title } from "../page.js";
import {
  compose,
  FRAME,
  IDENTITY,
  imageFromBytes,
  imageToBytes,
  invert,
  namedImages,
  replaced,
  toPixel,
  transform,
  warp,
} from "../sampling.js";
import { COLOURS } from "../stage.js";

/** @import { Figure } from "../figure.js" */
/** @import { Image, Point, Theta } from "../sampling.js" */
/** @import { Stage } from "../stage.js" */

/**
 * @typedef {object} Traits
 * @property {Theta} theta
 * @property {string} picture
 * @property {"grid" | "content"} moves what the reader has in hand
 * @property {[string, number, number, number][]} shapes of the pictures
 * @property {DataView} pixels
 * @property {DataView} drawing
 */

const NAMES = ["a", "b", "tx", "c", "d", "ty"]; // row by row, as in chapter 1
const CORNERS = ["top left", "top right", "bottom right", "bottom left"]; // as in FRAME
const VIEW = [-1.6, -1.6, 1.6, 1.6];
const TOO_FAR = 100; // no number of theta is moved beyond

/** The pictures, and the map that the reader has in hand. */
class Playground {
  /** @param {Figure<Traits>} figure */
  constructor(figure) {
    this.figure = figure;
    this.pictures = namedImages(figure.get("shapes"), figure.get("pixels"));
    /** @type {Point | null} */
    this.pointed = null; // where on the output the reader has pointed last
  }

  /** The centre of the output pixel that the reader points at. */
  get pixel() {
    const { height, width } = this.image;
    return this.pointed && nearestCentre(this.pointed, height, width);
  }

  /** @returns {Image} */
  get image() {
    return this.pictures[this.figure.get("picture")];
  }

  get aspect() {
    return this.image.width / this.image.height;
  }

  get theta() {
    return this.figure.get("theta");
  }

  set theta(/** @type {Theta} */ next) {
    const rounded = next.map((v) => Math.round(1e6 * v) / 1e6);
    this.figure.send({ theta: rounded });
    this.figure.say(`theta ${rounded.map((v) => fixed(v)).join(", ")}`);
  }

  get movesContent() {
    return this.figure.get("moves") === "content";
  }

  /** theta, or the content's own map, which is its inverse. */
  get inHand() {
    const map = this.movesContent ? invert(this.theta) : this.theta;
    return map ?? IDENTITY;
  }

  set inHand(/** @type {Theta} */ map) {
    const next = this.movesContent ? invert(map) : map;
    if (next?.every((v) => Math.abs(v) < TOO_FAR)) this.theta = next;
  }
}

/** @param {Playground} playground */
function choicesPanel({ figure, pictures }) {
  const modes = { grid: "Move the grid", content: "Move the content" };
  const mode = choice("What do you move?", modes, (moves) => figure.send({ moves }));
  const picture = choice("Picture", Object.keys(pictures), (name) =>
    figure.send({ picture: name }),
  );
  const update = () => {
    mode.set(figure.get("moves"));
    picture.set(figure.get("picture"));
  };
  return { roots: [mode.root, picture.root], update };
}

/**
 * The pad whose image is one of the pictures.
 * @param {Playground} playground
 * @param {() => void} repaint
 */
function drawingPanel({ figure, pictures }, repaint) {
  const label = "Draw: arrow keys move the pen, space puts it down or lifts it";
  const pad = new DrawingPad(figure, 28, label, (image) => {
    figure.send({ drawing: imageToBytes(image) });
    repaint();
  });
  pictures.drawing = pad.image;
  const drawn = figure.get("drawing");
  if (drawn?.byteLength === 784) pad.set(imageFromBytes(drawn, [1, 28, 28]).data);
  const clear = button("clear", () => pad.clear());
  const root = element(
    "div",
    { class: "stn-pad" },
    title("Draw here"),
    pad.root,
    clear,
  );
  const update = () => {
    root.hidden = figure.get("picture") !== "drawing";
  };
  return { root, update };
}

/**
 * The handles of the map in hand, on the card where its own space is shown.
 * @param {Stage} stage
 * @param {"grid" | "content"} what
 * @param {string} colour
 * @param {Playground} playground
 */
function addHandles(stage, what, colour, playground) {
  /**
   * @param {string} name
   * @param {(map: Theta) => Point} where
   * @param {(map: Theta, point: Point) => Theta} moved
   */
  const add = (name, where, moved) =>
    stage.handle(`${name} of the ${what}`, colour, {
      get: () => where(playground.inHand),
      set: (point) => {
        playground.inHand = moved(playground.inHand, point);
      },
    });
  const handles = [
    add("centre", ([, , x, , , y]) => [x, y], withCentre),
    add("end of the x axis", (map) => transform(map, [1, 0]), withEndOfX),
    add("end of the y axis", (map) => transform(map, [0, 1]), withEndOfY),
  ];
  for (const [i, corner] of FRAME.entries()) {
    const where = (/** @type {Theta} */ map) => transform(map, corner);
    const moved = (/** @type {Theta} */ map, /** @type {Point} */ point) =>
      withCorner(map, corner, point, playground.aspect);
    handles.push(add(`${CORNERS[i]} corner`, where, moved));
  }
  for (const handle of handles) handle.dataset.moves = what;
  /** Show the handles if it is they that move. */
  return () => {
    const hidden = playground.movesContent !== (what === "content");
    for (const handle of handles) handle.hidden = hidden;
    stage.update();
  };
}

/** @param {Playground} playground */
function inputPanel(playground) {
  const label = "Input image with the sampling grid over it";
  const stage = playground.figure.stage(VIEW, label, () => paint());
  const showHandles = addHandles(stage, "grid", COLOURS.grid, playground);
  const paint = () => {
    if (!stage.width) return;
    stage.clear();
    stage.image(playground.image);
    stage.frame(COLOURS.input);
    const { image, pixel, theta } = playground;
    stage.grid((point) => transform(theta, point));
    if (pixel) drawNeighbours(stage, image, transform(theta, pixel));
  };
  const update = () => {
    stage.aspect = playground.aspect;
    showHandles();
    paint();
  };
  return { root: element("div", {}, title("Input and grid"), stage.root), update };
}

/**
 * @param {Playground} playground
 * @param {() => void} show called when the reader points at another pixel
 */
function outputPanel(playground, show) {
  const label = "Output image; arrow keys go from pixel to pixel";
  const stage = playground.figure.stage(VIEW, label, () => paint());
  pointAtPixels(stage, {
    size: () => [playground.image.height, playground.image.width],
    get: () => playground.pixel ?? [-9, -9],
    set: (pixel) => {
      playground.pointed = pixel;
      show();
      playground.figure.say(whereItLooks(playground));
    },
  });
  const showHandles = addHandles(stage, "content", COLOURS.input, playground);
  const paint = () => {
    if (!stage.width) return;
    const { image, pixel, theta } = playground;
    stage.clear();
    stage.image(warp(image, theta, image.height, image.width));
    stage.frame(COLOURS.output, 3);
    if (pixel) drawPixelFrame(stage, pixel, image.height, image.width);
    const content = invert(theta);
    if (!playground.movesContent || !content) return;
    const frame = FRAME.map((corner) => transform(content, corner));
    stage.line(frame, COLOURS.input, { closed: true, dash: [6, 4] });
  };
  const update = () => {
    stage.aspect = playground.aspect;
    showHandles();
    paint();
  };
  return { root: element("div", {}, title("Output"), stage.root), update };
}

/**
 * Where the output pixel that is pointed at looks, in words.
 * @param {Playground} playground
 */
function whereItLooks({ image, pixel, theta }) {
  if (!pixel) return "Point at a pixel of the output to see where it looks.";
  const { height, width } = image;
  const written = (/** @type {Point} */ [x, y]) => `(${fixed(x)}, ${fixed(y)})`;
  const whole = [toPixel(pixel[1], height), toPixel(pixel[0], width)];
  const index = whole.map((v) => fixed(v, 0)).join(", ");
  const [x, y] = transform(theta, pixel);
  const row = fixed(toPixel(y, height), 1);
  const column = fixed(toPixel(x, width), 1);
  const outside = Math.max(Math.abs(x), Math.abs(y)) > 1 ? ", outside it" : "";
  return (
    `Output pixel [${index}], at ${written(pixel)}, looks at ${written([x, y])} ` +
    `in the input: row ${row}, column ${column}${outside}.`
  );
}

/** @param {Playground} playground */
function pointedPanel(playground) {
  const root = note();
  root.classList.add("stn-remark");
  const update = () => {
    root.textContent = whereItLooks(playground);
  };
  return { root, update };
}

/** @param {Playground} playground */
function stepButtons(playground) {
  const step = (/** @type {keyof ReturnType<typeof steps>} */ name) =>
    button(name, () => {
      playground.inHand = compose(playground.inHand, steps(playground.aspect)[name]);
    });
  const identity = button("identity", () => {
    playground.theta = IDENTITY;
  });
  return element(
    "div",
    { class: "stn-controls", role: "group", "aria-label": "Change by a step" },
    identity,
    step("rotate"),
    step("scale"),
    step("shear"),
    step("flip"),
  );
}

/**
 * One number of theta, to type or to slide.
 * @param {Playground} playground
 * @param {string} name
 * @param {number} i
 */
function matrixEntry(playground, name, i) {
  const enter = (/** @type {string} */ text) => {
    const value = Number(text);
    if (text === "" || !Number.isFinite(value)) return;
    playground.theta = replaced(playground.theta, i, value);
  };
  const number = numberInput({ type: "number", step: 0.05 }, "change", enter);
  const range = numberInput(
    { type: "range", min: -2, max: 2, step: 0.01, "aria-label": `${name}, slider` },
    "input",
    enter,
  );
  const update = () => {
    const value = playground.theta[i];
    // What the reader is typing stays as it is.
    if (document.activeElement !== number) {
      number.value = String(Number(value.toFixed(3)));
    }
    range.value = String(value);
  };
  const label = element(
    "label",
    {},
    element("span", { class: "stn-name" }, name),
    number,
  );
  const root = element("div", {}, label, range);
  return { root, update };
}

/** @param {Playground} playground */
function matrixPanel(playground) {
  const entries = NAMES.map((name, i) => matrixEntry(playground, name, i));
  const attributes = { class: "stn-matrix", role: "group", "aria-label": "theta" };
  const matrix = element("div", attributes, ...entries.map((entry) => entry.root));
  const inverse = note();
  const update = () => {
    for (const entry of entries) entry.update();
    const content = invert(playground.theta);
    const numbers = content?.map((v) => fixed(v)).join("  ");
    inverse.textContent = content
      ? `θ⁻¹, which moves the content: ${numbers}`
      : "θ has no inverse: the grid is flat.";
  };
  return { roots: [title("θ, from output to input"), matrix, inverse], update };
}

/** @param {Figure<Traits>} figure */
function build(figure) {
  const playground = new Playground(figure);
  const pad = drawingPanel(playground, () => {
    input.update();
    output.update();
  });
  const choices = choicesPanel(playground);
  const input = inputPanel(playground);
  const output = outputPanel(playground, () => {
    for (const panel of [input, output, pointed]) panel.update();
  });
  const pointed = pointedPanel(playground);
  const matrix = matrixPanel(playground);
  const update = () => {
    for (const panel of [choices, pad, input, output, pointed, matrix]) panel.update();
  };
  figure.listen(["theta", "picture", "moves"], update);
  update();
  return element(
    "div",
    { class: "stn-figure" },
    ...choices.roots,
    pad.root,
    element("div", { class: "stn-panels" }, input.root, output.root),
    pointed.root,
    stepButtons(playground),
    ...matrix.roots,
    figure.voice,
  );
}

export default touchable(build, (model) => ({
  theta: numbers(Array(6).fill([-TOO_FAR, TOO_FAR])),
  picture: oneOf([...model.get("shapes").map(([name]) => name), "drawing"]),
  moves: oneOf(["grid", "content"]),
  drawing: drawing(784),
}));
