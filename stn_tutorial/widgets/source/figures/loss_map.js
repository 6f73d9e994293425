// The loss over two of theta's four parameters, as a map, and descent on it.

import {
  board,
  drawGrid,
  drawInput,
  drawOutput,
  LARGE,
  SMALL,
  titled,
} from "../cards.js";
import { Clock } from "../clock.js";
import { button, choice, slider } from "../controls.js";
import { touchable } from "../figure.js";
import { number, numbers, oneOf } from "../kept.js";
import { Descent, MOST_STEPS, PAIRS } from "../landscape/descent.js";
import { thetaOf } from "../landscape/four_numbers.js";
import { lossMap } from "../landscape/map.js";
import { element, note, prefersStill } from "../page.js";
import { transform } from "../sampling.js";
import { COLOURS } from "../stage.js";

/** @import { Figure } from "../figure.js" */
/** @import { Traits } from "../landscape/descent.js" */

const PACE = 40; // milliseconds a step

/**
 * Buttons that take steps: one, all, or back to the start.
 * @param {Descent} descent
 */
function stepsPanel(descent) {
  const { figure } = descent;
  const clock = new Clock(figure.ending, () => {
    run.textContent = clock.running ? "Stop" : "Run";
  });
  const stop = () => clock.stop();
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
    clock.start(() => {
      advance();
      return !descent.ended;
    }, PACE);
  };
  const step = button("Step", () => {
    stop();
    advance();
  });
  const run = button("Run", () => (clock.running ? stop() : play()));
  const restart = button("Back to the start", () => {
    stop();
    figure.send({ steps: 0 });
  });
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
  const { figure } = descent;
  const here = figure.stage(LARGE, "Input, with the grid of the current point", () =>
    update(),
  );
  const made = figure.stage(SMALL, "Output of the current point", () => update());
  const wanted = figure.stage(SMALL, "Target", () => update());
  const update = () => {
    if (!here.width || !made.width || !wanted.width) return;
    const { target, current } = descent;
    drawInput(here, descent.image);
    drawGrid(here, (point) => transform(thetaOf(current), point), target.width);
    drawOutput(made, descent.output(current), COLOURS.output);
    drawOutput(wanted, target, COLOURS.grey);
  };
  const root = board(
    titled("Input and grid", here),
    titled("Output", made),
    titled("Target", wanted),
  );
  return { root, update };
}

/** @param {Descent} descent */
function statusPanel(descent) {
  const status = note();
  const verdict = note();
  verdict.classList.add("stn-map-verdict");
  const update = () => {
    status.textContent = descent.status;
    verdict.textContent = descent.verdict;
  };
  return { roots: [status, verdict], update };
}

/** @param {Figure<Traits>} figure */
function build(figure) {
  const descent = new Descent(figure);
  const steps = stepsPanel(descent);
  const picture = choice("Picture", Object.keys(descent.pictures), (name) => {
    steps.stop();
    figure.send({ steps: 0, picture: name });
  });
  const pairs = choice("Descent may change", PAIRS, (name) => {
    steps.stop();
    figure.send({ steps: 0, pair: name });
  });
  const map = lossMap(descent);
  const rate = ratePanel(descent);
  const status = statusPanel(descent);
  const views = viewsPanel(descent);
  const update = () => {
    descent.walk();
    picture.set(figure.get("picture"));
    pairs.set(figure.get("pair"));
    for (const panel of [map, rate, status, views]) panel.update();
  };
  figure.listen(["picture", "parameters", "pair", "start", "rate", "steps"], update);
  update();
  return element(
    "div",
    { class: "stn-figure stn-map" },
    element("div", { class: "stn-named" }, "Picture", picture.root),
    element("div", { class: "stn-named" }, "Descent may change", pairs.root),
    element(
      "div",
      { class: "stn-panels stn-map-panels" },
      element("div", {}, ...map.roots, steps.root, rate.root, ...status.roots),
      views.root,
    ),
    note(
      "Ring: the start; drag it, or click where it shall be. Dot: where descent stands. " +
        "Cross: the target.",
    ),
    figure.voice,
  );
}

export default touchable(build, (model) => {
  const ranges = Object.values(model.get("ranges"));
  return {
    picture: oneOf(model.get("shapes").map(([name]) => name)),
    pair: oneOf(PAIRS),
    start: numbers(ranges),
    rate: number([0.01, 3]),
    steps: number([0, MOST_STEPS], { whole: true }),
  };
});
