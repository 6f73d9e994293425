// Draw and straighten: a trained network turns the reader's digit upright and reads it.

import { button, slider, thetaText } from "../controls.js";
import { forward, look, readWeights } from "../digit/network.js";
import {
  allowed,
  DEGREE,
  EXTENTS,
  onCanvas,
  PARTS,
  place,
  poseIn,
  randomPose,
  UPRIGHT,
  withTop,
} from "../digit/pose.js";
import { scoreRows } from "../digit/scores.js";
import { DrawingPad } from "../drawing_pad.js";
import { touchable } from "../figure.js";
import { drawing, number } from "../kept.js";
import { element, fixed, note, title } from "../page.js";
import { FRAME, imageFromBytes, imageToBytes, transform } from "../sampling.js";
import { COLOURS, toCanvas } from "../stage.js";

/** @import { Pose } from "../digit/pose.js" */
/** @import { Figure } from "../figure.js" */

/**
 * @typedef {object} Drawing
 * @property {DataView} weights of the network
 * @property {DataView} drawing
 * @property {DataView} ready the digits to start from
 * @property {number[]} labels of these
 */

/** @typedef {Pose & Drawing} Traits */

/** The digit, its pose, and the network that looks at them. */
class Reader {
  /** @param {Figure<Traits>} figure */
  constructor(figure) {
    this.figure = figure;
    this.weights = readWeights(figure.get("weights"));
    this.image = imageFromBytes(figure.get("drawing"), [1, 28, 28]);
    this.seen = this.look();
  }

  get pose() {
    return poseIn(this.figure);
  }

  look() {
    return look(forward, this.weights, place(this.image, this.pose));
  }

  /** The angle of the rotation nearest to theta, as text. */
  get turn() {
    const [a, b, , c, d] = this.seen.theta;
    return `${fixed(Math.atan2(c - b, a + d) / DEGREE, 0)}°`;
  }
}

/**
 * The pad, and the digits to start from.
 * @param {Reader} reader
 */
function drawingPanel(reader) {
  const { figure } = reader;
  const label = "Draw a digit: arrow keys move the pen, space puts it down or lifts it";
  /** @type {DataView | null} */
  let shown = null; // the drawing on the pad
  const send = (/** @type {DataView} */ drawing) => {
    shown = drawing;
    figure.send({ drawing });
  };
  const pad = new DrawingPad(figure, 28, label, (image) => send(imageToBytes(image)));
  reader.image = pad.image;
  const ready = figure.get("labels").map((digit, i) => {
    const { buffer, byteOffset } = figure.get("ready");
    const bytes = new Uint8Array(buffer, byteOffset + 784 * i, 784);
    const image = imageFromBytes(bytes, [1, 28, 28]);
    const click = () => {
      pad.set(image.data);
      send(new DataView(bytes.slice().buffer));
    };
    return button(toCanvas(image), click, { "aria-label": `start from this ${digit}` });
  });
  const start = element(
    "div",
    { class: "stn-controls", role: "group", "aria-label": "Digits to start from" },
    "Start from:",
    ...ready,
    button("clear", () => pad.clear()),
  );
  const card = element("div", { class: "stn-pad" }, pad.root);
  /** Put on the pad what Python has drawn. */
  const update = () => {
    const drawing = figure.get("drawing");
    if (drawing !== shown) pad.set(imageFromBytes(drawing, [1, 28, 28]).data);
    shown = drawing;
  };
  return { start, root: element("div", {}, title("1. Draw"), card), update };
}

/**
 * What the network sees, with theta's grid; the digit is dragged and turned.
 * @param {Reader} reader
 */
function inputPanel(reader) {
  const label = "The network's input, with the sampling grid of theta over it";
  const view = [-1.35, -1.35, 1.35, 1.35];
  const stage = reader.figure.stage(view, label, () => update());
  stage.handle("middle of the digit", COLOURS.input, {
    get: () => onCanvas(reader.pose, [0, 0]),
    set: ([x, y]) => reader.figure.send(allowed({ x: 21 * x, y: 21 * y })),
  });
  stage.handle("top of the digit", COLOURS.input, {
    get: () => onCanvas(reader.pose, [0, -1]),
    set: (point) => reader.figure.send(allowed(withTop(reader.pose, point))),
  });
  const update = () => {
    stage.update();
    if (!stage.width) return;
    const { image, theta } = reader.seen;
    const box = FRAME.map((corner) => onCanvas(reader.pose, corner));
    stage.clear();
    stage.image(image);
    stage.frame(COLOURS.input);
    stage.line(box, COLOURS.input, { closed: true, dash: [6, 4] });
    stage.grid((point) => transform(theta, point), COLOURS.grid, 4);
  };
  return { root: element("div", {}, title("2. Turn and move"), stage.root), update };
}

/** @param {Reader} reader */
function outputPanel(reader) {
  const view = [-1.05, -1.05, 1.05, 1.05];
  const stage = reader.figure.stage(view, "The straightened digit", () => update());
  const update = () => {
    if (!stage.width) return;
    stage.clear();
    stage.image(reader.seen.straight);
    stage.frame(COLOURS.output, 3);
  };
  return { root: element("div", {}, title("3. Straightened"), stage.root), update };
}

/** @param {Reader} reader */
function answerPanel(reader) {
  const answer = title();
  const scores = scoreRows();
  const update = () => {
    answer.textContent = `4. Answer: ${reader.seen.best}`;
    scores.set(reader.seen.shares);
  };
  return { root: element("div", {}, answer, scores.root), update };
}

/** @param {Reader} reader */
function posePanel(reader) {
  const sliders = PARTS.map((part) => {
    const { label, unit, range, step, digits } = EXTENTS[part];
    const [min, max] = range;
    const format = (/** @type {number} */ value) => fixed(value, digits) + unit;
    const { root, set } = slider(label, { min, max, step, format }, (value) =>
      reader.figure.send({ [part]: value }),
    );
    return { root, update: () => set(reader.pose[part]) };
  });
  const buttons = element(
    "div",
    { class: "stn-controls" },
    button("upright", () => reader.figure.send(UPRIGHT)),
    button("random", () => reader.figure.send(randomPose())),
  );
  const beyond = note();
  const update = () => {
    for (const each of sliders) each.update();
    beyond.textContent = rangeOfTraining(reader.pose);
  };
  return { roots: [...sliders.map(({ root }) => root), buttons, beyond], update };
}

/**
 * Whether the network was trained on such a pose, in words.
 * @param {Pose} pose
 */
function rangeOfTraining(pose) {
  const outside = PARTS.filter((part) => {
    const [low, high] = EXTENTS[part].trained;
    return pose[part] < low || pose[part] > high;
  });
  if (!outside.length) return "Within the range of its training.";
  return `Beyond its training: ${outside.map((part) => EXTENTS[part].label).join(", ")}.`;
}

/** @param {Reader} reader */
function thetaPanel(reader) {
  const numbers = thetaText();
  const angle = note();
  const update = () => {
    numbers.set(reader.seen.theta);
    angle.textContent = `Angle in θ: ${reader.turn}`;
  };
  return { roots: [title("θ, from output to input"), numbers.root, angle], update };
}

/** @param {Figure<Traits>} figure */
function build(figure) {
  const reader = new Reader(figure);
  const pad = drawingPanel(reader);
  const input = inputPanel(reader);
  const output = outputPanel(reader);
  const answer = answerPanel(reader);
  const pose = posePanel(reader);
  const theta = thetaPanel(reader);
  const update = () => {
    pad.update();
    reader.seen = reader.look();
    for (const panel of [input, output, answer, pose, theta]) panel.update();
    const { best, shares } = reader.seen;
    const share = fixed(100 * shares[best], 0);
    figure.say(`answer ${best}, ${share}%, angle in theta ${reader.turn}`);
  };
  figure.listen(["drawing", ...PARTS], update);
  update();
  return element(
    "div",
    { class: "stn-figure" },
    pad.start,
    element(
      "div",
      { class: "stn-draw" },
      pad.root,
      input.root,
      output.root,
      answer.root,
      element("div", { class: "stn-wide" }, ...pose.roots, ...theta.roots),
    ),
    note(
      "MNIST's digits fill the dashed square. Vermilion: where the transformer looks. " +
        "The network was trained on MNIST digits, turned by at most 45°, scaled by 0.7 " +
        "to 1.2 and moved by at most 7 pixels.",
    ),
    figure.voice,
  );
}

export default touchable(build, () => ({
  angle: number(EXTENTS.angle.range),
  scale: number(EXTENTS.scale.range),
  x: number(EXTENTS.x.range),
  y: number(EXTENTS.y.range),
  drawing: drawing(784),
}));
