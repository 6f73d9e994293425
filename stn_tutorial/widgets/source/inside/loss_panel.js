// The loss: a number, what it means, and a trace of how it rose and fell.

import { element, fixed, title } from "../page.js";
import { COLOURS } from "../stage.js";

/** @import { Panel } from "../figure.js" */
/** @import { Point } from "../sampling.js" */
/** @import { Descent } from "./descent.js" */
/** @import { Transformer } from "./transformer.js" */

const WIDTH = 160; // moves that fill the card; more are drawn closer together
const MOST = 2000; // moves that are kept
const VIEW = [-0.02, -0.12, 1.04, 1.12];

/**
 * What the loss says.
 * @param {Transformer} transformer
 * @param {Descent} descent
 */
export function verdict(transformer, descent) {
  if (transformer.solved) return "Solved: this θ turns the input into the target.";
  if (descent.end === "flat")
    return "No slope: the grid has lost the picture, so no pixel says where to go.";
  if (descent.end === "stuck")
    return "Stuck: the loss no longer falls, yet output and target differ.";
  if (descent.running) return `Descent, step ${descent.steps}.`;
  if (descent.steps) return `Descent paused at step ${descent.steps}.`;
  return "At 0, the output equals the target.";
}

/** The losses of a picture at one size; another picture or size begins anew. */
class Trace {
  /** @param {Transformer} transformer */
  constructor(transformer) {
    this.transformer = transformer;
    /** @type {number[]} */
    this.losses = [];
    this.setting = "";
    this.theta = "";
  }

  update() {
    const { setting, loss } = this.transformer;
    const theta = String(this.transformer.theta);
    if (setting !== this.setting) this.losses = [];
    if (setting !== this.setting || theta !== this.theta) this.losses.push(loss);
    this.losses = this.losses.slice(-MOST);
    this.setting = setting;
    this.theta = theta;
  }

  clear() {
    this.losses = [];
    this.theta = "";
  }
}

/**
 * @param {Transformer} transformer
 * @param {Descent} descent
 * @returns {Panel & { clear: () => void }}
 */
export function lossPanel(transformer, descent) {
  const trace = new Trace(transformer);
  const number = title();
  const words = element("p", { class: "stn-inside-verdict" });
  const stage = transformer.figure.stage(VIEW, "The loss as the grid moved", () =>
    paint(),
  );
  stage.root.style.aspectRatio = "auto"; // as high as there is room
  const paint = () => {
    if (!stage.width) return;
    const { losses } = trace;
    const highest = Math.max(...losses) || 1;
    const last = Math.max(losses.length, WIDTH) - 1;
    const points = losses.map(
      (loss, i) => /** @type {Point} */ ([i / last, 1 - loss / highest]),
    );
    stage.clear();
    stage.segment([0, 1], [1, 1], COLOURS.output, 2, [5, 4]);
    stage.line(points, "#222");
    stage.dot(points[points.length - 1], COLOURS.grid, 5);
    const style = { align: /** @type {const} */ ("right"), halo: "#fff" };
    stage.text(fixed(highest, 3), [1.02, 0.06], style);
    stage.text("0", [1.02, 0.88], style);
  };
  const update = () => {
    trace.update();
    number.textContent = `Loss ${fixed(transformer.loss, 4)}`;
    words.textContent = verdict(transformer, descent);
    words.classList.toggle("stn-solved", transformer.solved);
    paint();
  };
  const root = element(
    "div",
    { class: "stn-board-loss" },
    element("div", {}, number, words),
    stage.root,
  );
  return { root, update, clear: () => trace.clear() };
}
