// One pass, from theta to the output, in four steps.

import { button, slider } from "../controls.js";
import { element, fixed, note, title } from "../page.js";
import {
  affineGrid,
  centre,
  clip,
  FRAME,
  IDENTITY,
  replaced,
  toPixel,
  transform,
} from "../sampling.js";
import { COLOURS } from "../stage.js";
import { sampleWithSlopes, thetaOf } from "./gradient.js";
import { drawInput, drawOutput, LARGE, SMALL } from "./transformer.js";

/** @import { Panel } from "../figure.js" */
/** @import { Point } from "../sampling.js" */
/** @import { PointMap, Stage } from "../stage.js" */
/** @import { Transformer } from "./transformer.js" */

const STEPS = [
  "The localisation net looks at the input and answers with θ. Here you are the net: move the sliders.",
  "The grid generator starts from a regular grid: one point for each pixel of the output. Drag the ring to follow one of them.",
  "θ sends every point to a place in the input.",
  "The sampler reads the input at every point. Each value becomes a pixel of the output.",
];
const DOTS = 16; // points along a side; a finer grid is drawn as lines

/** @param {Transformer} transformer */
const mapOf =
  ({ known }) =>
  (/** @type {Point} */ point) =>
    transform(thetaOf(known), point);

/**
 * The centre of the output pixel nearest to the point that is followed.
 * @param {Transformer} transformer
 * @returns {Point}
 */
function followed({ figure }) {
  const n = figure.get("size");
  const near = (/** @type {number} */ v) =>
    centre(clip(Math.round(toPixel(v, n)), 0, n - 1), n);
  const [x, y] = figure.get("follow");
  return [near(x), near(y)];
}

/** @param {number} step */
const explanation = (step) => `Step ${step} of ${STEPS.length}. ${STEPS[step - 1]}`;

/**
 * What happens to the followed pixel, as far as it is shown.
 * @param {Transformer} transformer
 */
function story(transformer) {
  const { figure, image, known } = transformer;
  const n = figure.get("size");
  const written = (/** @type {Point} */ [x, y]) => `(${fixed(x)}, ${fixed(y)})`;
  const from = followed(transformer);
  const to = transform(thetaOf(known), from);
  const [column, row] = from.map((v) => Math.round(toPixel(v, n)) + 1);
  const [value] = sampleWithSlopes(image, ...to);
  const apart = (known[1] * image.height) / n;
  return [
    "",
    `The ringed pixel, row ${row} and column ${column}, stands at ${written(from)}.`,
    `θ sends it to ${written(to)} in the input.`,
    `There the sampler reads ${fixed(value)}. ` +
      `Neighbouring points stand ${fixed(apart, 1)} pixels of the input apart.`,
  ]
    .slice(0, figure.get("stage"))
    .join(" ");
}

/** @param {Transformer} transformer */
function stepsPanel({ figure }) {
  const go = (/** @type {number} */ way) => {
    const step = clip(figure.get("stage") + way, 1, STEPS.length);
    figure.send({ stage: step });
    figure.say(explanation(step));
  };
  const back = button("Back", () => go(-1));
  const next = button("Next", () => go(1));
  const explained = note();
  const update = () => {
    const step = figure.get("stage");
    explained.textContent = explanation(step);
    back.setAttribute("aria-disabled", String(step === 1));
    next.setAttribute("aria-disabled", String(step === STEPS.length));
  };
  const root = element("div", { class: "stn-controls" }, back, next, explained);
  return { root, update };
}

/** @param {Transformer} transformer */
function parametersPanel(transformer) {
  const { figure, names, ranges } = transformer;
  const sliders = names.map((name, i) => {
    const [min, max] = ranges[i];
    const format = (/** @type {number} */ value) => transformer.written(i, value);
    const range = { min, max, step: name === "angle" ? 1 : 0.01, format };
    return slider(name, range, (value) =>
      figure.send({ parameters: replaced(transformer.known, i, value) }),
    );
  });
  const side = (/** @type {number} */ n) => `${n} × ${n}`;
  const sizes = { min: 4, max: 64, step: 1, format: side };
  const size = slider("output size", sizes, (n) => figure.send({ size: n }));
  const update = () => {
    for (const [i, each] of sliders.entries()) each.set(transformer.known[i]);
    size.set(figure.get("size"));
  };
  const roots = sliders.map(({ root }) => root);
  return { root: element("div", {}, "", ...roots, size.root), update };
}

/** @param {Transformer} transformer */
function thetaPanel(transformer) {
  const theta = element("output", { class: "stn-matrix", "aria-label": "theta" });
  const update = () => {
    const numbers = thetaOf(transformer.known);
    theta.replaceChildren(...numbers.map((v) => element("span", {}, fixed(v))));
  };
  return {
    root: element("div", {}, title("1. θ, from output to input"), theta),
    update,
  };
}

/**
 * Draw a grid's points where a map sends them; many of them as lines.
 * @param {Stage} stage
 * @param {PointMap} map
 * @param {number} n
 */
function drawGrid(stage, map, n) {
  if (n > DOTS) {
    stage.grid(map);
    return;
  }
  stage.line(FRAME.map(map), COLOURS.grid, { closed: true, width: 1 });
  const points = affineGrid(IDENTITY, n, n);
  for (let k = 0; k < points.length; k += 2) {
    stage.dot(map([points[k], points[k + 1]]), COLOURS.grid, 2.2);
  }
}

/**
 * Ring a point, in the colour of the pixel that is followed.
 * @param {Stage} stage
 * @param {Point} point
 */
function drawRing(stage, point) {
  const [x, y] = stage.place(point);
  for (const { colour, width } of [
    { colour: "#fff", width: 5 },
    { colour: COLOURS.other, width: 3 },
  ]) {
    stage.context.beginPath();
    stage.context.arc(x, y, 8, 0, 2 * Math.PI);
    stage.context.setLineDash([]);
    stage.context.strokeStyle = colour;
    stage.context.lineWidth = width;
    stage.context.stroke();
  }
}

/**
 * The regular grid, with the ring on it to be dragged.
 * @param {Transformer} transformer
 */
function regularPanel(transformer) {
  const { figure } = transformer;
  const label = "Regular grid of the output's pixels";
  const stage = figure.stage(SMALL, label, () => paint());
  const ring = stage.handle("followed pixel", COLOURS.other, {
    get: () => followed(transformer),
    set: ([x, y]) => {
      figure.send({ follow: [clip(x, -1, 1), clip(y, -1, 1)] });
      figure.say(story(transformer));
    },
    step: () => 2 / figure.get("size"),
  });
  const paint = () => {
    if (!stage.width) return;
    stage.clear();
    if (figure.get("stage") < 2) stage.text("step 2", [0, 0]);
    else {
      drawGrid(stage, (point) => point, figure.get("size"));
      stage.frame(COLOURS.output, 3);
    }
  };
  const update = () => {
    ring.hidden = figure.get("stage") < 2;
    stage.update();
    paint();
  };
  return { root: element("div", {}, title("2. Regular grid"), stage.root), update };
}

/** @param {Transformer} transformer */
function inputPanel(transformer) {
  const { figure } = transformer;
  const heading = title();
  const stage = figure.stage(LARGE, "Input, with the grid over it", () => paint());
  const paint = () => {
    if (!stage.width) return;
    drawInput(stage, transformer.image);
    if (figure.get("stage") < 3) return;
    const map = mapOf(transformer);
    drawGrid(stage, map, figure.get("size"));
    drawRing(stage, map(followed(transformer)));
  };
  const update = () => {
    heading.textContent = figure.get("stage") < 3 ? "Input" : "3. Grid in the input";
    paint();
  };
  return { root: element("div", {}, heading, stage.root), update };
}

/** @param {Transformer} transformer */
function resultPanel(transformer) {
  const { figure } = transformer;
  const stage = figure.stage(SMALL, "Output", () => update());
  const update = () => {
    if (!stage.width) return;
    stage.clear();
    if (figure.get("stage") < 4) {
      stage.text("step 4", [0, 0]);
      return;
    }
    const output = transformer.output(transformer.known, figure.get("size"));
    drawOutput(stage, output, COLOURS.output);
    drawRing(stage, followed(transformer));
  };
  return { root: element("div", {}, title("4. Output"), stage.root), update };
}

/**
 * The part of the figure that shows one pass.
 * @param {Transformer} transformer
 * @returns {Panel}
 */
export function onePass(transformer) {
  const steps = stepsPanel(transformer);
  const parameters = parametersPanel(transformer);
  const theta = thetaPanel(transformer);
  const regular = regularPanel(transformer);
  const input = inputPanel(transformer);
  const result = resultPanel(transformer);
  const journey = note();
  const root = element(
    "div",
    {},
    steps.root,
    element("div", { class: "stn-panels" }, parameters.root, theta.root),
    element(
      "div",
      { class: "stn-panels stn-inside-row" },
      regular.root,
      input.root,
      result.root,
    ),
    journey,
  );
  const update = () => {
    for (const panel of [steps, parameters, theta, regular, input, result]) {
      panel.update();
    }
    journey.textContent = story(transformer);
  };
  return { root, update };
}
