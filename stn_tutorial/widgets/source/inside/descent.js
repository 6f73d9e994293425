// Descent, from the output back to theta.

import { button, choice, slider } from "../controls.js";
import { element, fixed, note, prefersStill, title } from "../page.js";
import { transform } from "../sampling.js";
import { COLOURS } from "../stage.js";
import { descend, lossAndGradient, thetaOf, UNITS } from "./gradient.js";
import { lossMap } from "./loss_map.js";
import { drawInput, drawOutput, LARGE, SMALL } from "./transformer.js";

/** @import { Panel } from "../figure.js" */
/** @import { Point } from "../sampling.js" */
/** @import { Parameters, Pair } from "./gradient.js" */
/** @import { Transformer } from "./transformer.js" */

const SIDE = 28; // of the target, in pixels
export const MOST_STEPS = 100;
const RECENT = 20; // steps
const NEAR = 0.05; // of the target, in units
const PACE = 40; // milliseconds a step
export const PAIRS = ["tx and ty", "angle and scale", "tx and angle"];

/** Where descent starts, and where it has come. */
export class Descent {
  /** @param {Transformer} transformer */
  constructor(transformer) {
    this.transformer = transformer;
    this.figure = transformer.figure;
    /** Every point on the way; the last one is where it stands. */
    this.path = [this.first];
    this.loss = 0; // there
    this.slope = 0; // there: the length of the gradient
  }

  /** Go all the steps from the start. */
  walk() {
    const { image } = this.transformer;
    const { target, pair, first } = this;
    const [rate, steps] = [this.figure.get("rate"), this.figure.get("steps")];
    this.path = descend(image, target, first, pair, rate, steps);
    const { loss, gradient } = lossAndGradient(image, target, this.current);
    this.loss = loss;
    this.slope = Math.hypot(...pair.map((i) => gradient[i]));
  }

  /** @returns {Pair} */
  get pair() {
    const [one, other] = this.figure.get("pair").split(" and ");
    const { names } = this.transformer;
    return [names.indexOf(one), names.indexOf(other)];
  }

  get target() {
    return this.transformer.output(this.transformer.known, SIDE);
  }

  /**
   * The four parameters that descent starts from; those it may not change are true.
   * @returns {Parameters}
   */
  get first() {
    const first = [...this.transformer.known];
    for (const i of this.pair) first[i] = this.figure.get("start")[i];
    return first;
  }

  get current() {
    return this.path[this.path.length - 1];
  }

  /**
   * From parameters to the map, whose sides are at -1 and 1.
   * @param {Parameters} parameters
   * @returns {Point}
   */
  toMap(parameters) {
    const onSide = (/** @type {number} */ i) => {
      const [low, high] = this.transformer.ranges[i];
      return (2 * (parameters[i] - low)) / (high - low) - 1;
    };
    const [across, down] = this.pair;
    return [onSide(across), onSide(down)];
  }

  /**
   * From the map to parameters; those that it does not show are the start's.
   * @param {Point} point
   */
  fromMap(point) {
    const parameters = [...this.figure.get("start")];
    for (const [side, i] of this.pair.entries()) {
      const [low, high] = this.transformer.ranges[i];
      const value = low + ((point[side] + 1) / 2) * (high - low);
      parameters[i] = Number(value.toFixed(4));
    }
    return parameters;
  }

  get outside() {
    return this.toMap(this.current).some((v) => Math.abs(v) > 1);
  }

  get ended() {
    const all = this.figure.get("steps") === MOST_STEPS;
    return all || this.outside || this.slope === 0;
  }

  /**
   * Whether a point is at another one, by the parameter that differs most.
   * @param {Parameters} point
   * @param {Parameters} other
   */
  near(point, other) {
    return this.pair.every((i) => Math.abs(point[i] - other[i]) / UNITS[i] < NEAR);
  }

  /** The two parameters at a point, as text. */
  place(/** @type {Parameters} */ parameters) {
    const { names } = this.transformer;
    const texts = this.pair.map(
      (i) => `${names[i]} ${this.transformer.written(i, parameters[i])}`,
    );
    return texts.join(", ");
  }

  get status() {
    const [loss, slope] = [fixed(this.loss, 4), fixed(this.slope, 3)];
    const step = this.path.length - 1;
    return `Step ${step}: loss ${loss}, slope ${slope}, at ${this.place(this.current)}.`;
  }

  get verdict() {
    const steps = this.path.length - 1;
    if (!steps) return "Where will descent end? Predict, then press Run.";
    if (this.near(this.current, this.transformer.known))
      return "It stands at the target.";
    if (this.outside) return "It has left the map.";
    if (this.slope === 0) return "There is no slope here. It cannot move.";
    const last = this.path.slice(-RECENT);
    if (steps >= RECENT && last.every((point) => this.near(this.current, point))) {
      return "It hardly moves any more, and is not at the target.";
    }
    return steps === MOST_STEPS ? "It still moves, but is not at the target." : "";
  }

  /** Speak of where it stands. */
  tell() {
    this.figure.say(`${this.status} ${this.verdict}`);
  }
}

/**
 * Buttons that take steps: one, all, or back to the start.
 * @param {Descent} descent
 */
function stepsPanel(descent) {
  const { figure } = descent;
  let timer = 0;
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    run.textContent = "Run";
  };
  const advance = () => {
    figure.send({ steps: Math.min(figure.get("steps") + 1, MOST_STEPS) });
    descent.tell();
  };
  const play = () => {
    if (figure.get("steps") === MOST_STEPS) figure.send({ steps: 0 });
    if (prefersStill()) {
      figure.send({ steps: MOST_STEPS });
      descent.tell();
      return;
    }
    run.textContent = "Stop";
    timer = setInterval(() => {
      advance();
      if (descent.ended) stop();
    }, PACE);
  };
  const step = button("Step", () => {
    stop();
    advance();
  });
  const run = button("Run", () => (timer ? stop() : play()));
  const restart = button("Back to the start", () => {
    stop();
    figure.send({ steps: 0 });
  });
  figure.ending.addEventListener("abort", stop);
  return { root: element("div", { class: "stn-controls" }, step, run, restart), stop };
}

/** @param {Descent} descent */
function ratePanel({ figure }) {
  const rounded = (/** @type {number} */ exponent) =>
    Number((10 ** exponent).toPrecision(2));
  const format = (/** @type {number} */ exponent) => String(rounded(exponent));
  const range = { min: -2, max: 0.45, step: 0.05, format };
  const rate = slider("learning rate", range, (exponent) =>
    figure.send({ rate: rounded(exponent) }),
  );
  return { root: rate.root, update: () => rate.set(Math.log10(figure.get("rate"))) };
}

/**
 * What the transformer does where descent stands, and the target.
 * @param {Descent} descent
 */
function viewsPanel(descent) {
  const { figure, transformer } = descent;
  const here = figure.stage(LARGE, "Input, with the grid of the current point", () =>
    paintHere(),
  );
  const made = figure.stage(SMALL, "Output of the current point", () => paintMade());
  const wanted = figure.stage(SMALL, "Target", () => paintWanted());
  const paintHere = () => {
    if (!here.width) return;
    drawInput(here, transformer.image);
    here.grid((point) => transform(thetaOf(descent.current), point));
  };
  const paintMade = () => {
    if (!made.width) return;
    drawOutput(made, transformer.output(descent.current, SIDE), COLOURS.output);
  };
  const paintWanted = () => {
    if (wanted.width) drawOutput(wanted, descent.target, COLOURS.grey);
  };
  const root = element(
    "div",
    { class: "stn-inside-views" },
    element("div", {}, title("Input"), here.root),
    element("div", {}, title("Output"), made.root),
    element("div", {}, title("Target"), wanted.root),
  );
  const update = () => {
    paintHere();
    paintMade();
    paintWanted();
  };
  return { root, update };
}

/** @param {Descent} descent */
function statusPanel(descent) {
  const status = note();
  const verdict = note();
  verdict.classList.add("stn-inside-verdict");
  const update = () => {
    status.textContent = descent.status;
    verdict.textContent = descent.verdict;
  };
  return { roots: [status, verdict], update };
}

/**
 * The part of the figure that shows descent; `stop` ends a run.
 * @param {Transformer} transformer
 * @returns {Panel & { stop: () => void }}
 */
export function descentPart(transformer) {
  const { figure } = transformer;
  const descent = new Descent(transformer);
  const steps = stepsPanel(descent);
  const pairs = choice("Descent may change", PAIRS, (name) => {
    steps.stop();
    figure.send({ steps: 0, pair: name });
  });
  const map = lossMap(descent);
  const rate = ratePanel(descent);
  const status = statusPanel(descent);
  const views = viewsPanel(descent);
  const panels = [map, rate, status, views];
  const root = element(
    "div",
    {},
    element("div", { class: "stn-inside-choice" }, "Descent may change", pairs.root),
    element(
      "div",
      { class: "stn-panels stn-inside-descent" },
      element("div", {}, ...map.roots, steps.root, rate.root, ...status.roots),
      views.root,
    ),
    note(
      "Ring: the start; drag it, or click where it shall be. Dot: where descent stands. " +
        "Cross: the target, which the θ of One pass has made.",
    ),
  );
  const update = () => {
    descent.walk();
    pairs.set(figure.get("pair"));
    for (const panel of panels) panel.update();
  };
  return { root, update, stop: steps.stop };
}
