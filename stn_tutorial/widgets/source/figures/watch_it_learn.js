// Watch it learn: the moments of a training, with the grids of the images it watched.

import { Clock } from "../clock.js";
import { button, slider, thetaText } from "../controls.js";
import { touchable } from "../figure.js";
import { number } from "../kept.js";
import { chart, count, INK } from "../learning/chart.js";
import { Training } from "../learning/training.js";
import { element, fixed, note, prefersStill, title } from "../page.js";
import { clip, transform } from "../sampling.js";
import { COLOURS } from "../stage.js";

/** @import { Figure } from "../figure.js" */
/** @import { Axis } from "../learning/chart.js" */
/** @import { Pose } from "../learning/moments.js" */
/** @import { Traits } from "../learning/training.js" */

const PACE = 700; // milliseconds a moment, while it plays

// Images

/**
 * An image with its grid, and what the classifier sees of it.
 * @param {Training} training
 * @param {() => number} which image
 * @param {number} view half the side of what the upper card shows
 * @param {number} lines of the grid
 */
function pairPanel(training, which, view, lines) {
  const above = training.figure.stage(
    [-view, -view, view, view],
    "Input and grid",
    () => paintInput(),
  );
  const below = training.figure.stage(
    [-1.05, -1.05, 1.05, 1.05],
    "What the classifier sees",
    () => paintOutput(),
  );
  const paintInput = () => {
    if (!above.width) return;
    const theta = training.theta(training.moment, which());
    above.clear();
    above.image(training.inputs[which()]);
    above.grid((point) => transform(theta, point), COLOURS.grid, lines);
  };
  const paintOutput = () => {
    if (!below.width) return;
    below.clear();
    below.image(training.output(which()));
    below.frame(COLOURS.output, 3);
  };
  const update = () => {
    paintInput();
    paintOutput();
  };
  return { roots: [above.root, below.root], update };
}

/**
 * A button for each image, with a small pair.
 * @param {Training} training
 */
function tilesPanel(training) {
  const { figure, inputs, number } = training;
  const tiles = inputs.map((_, i) => {
    const pair = pairPanel(training, () => i, 1.3, 1);
    const attributes = {
      type: "button",
      class: "stn-tile",
      "aria-label": `Image ${i + 1} of ${number}`,
      click: () => figure.send({ chosen: i }),
    };
    return { button: element("button", attributes, ...pair.roots), pair };
  });
  const root = element(
    "div",
    { class: "stn-tiles", role: "group", "aria-label": "Watched images" },
    ...tiles.map((tile) => tile.button),
  );
  const update = () => {
    for (const [i, tile] of tiles.entries()) {
      tile.pair.update();
      tile.button.setAttribute("aria-pressed", String(i === training.chosen));
    }
  };
  return { root, update };
}

/** @param {Training} training */
function largePanel(training) {
  const heading = title();
  const pair = pairPanel(training, () => training.chosen, 1.4, 8);
  const numbers = thetaText("stn-value");
  const cards = element("div", { class: "stn-pair" }, ...pair.roots);
  const update = () => {
    const { chosen, moment, number } = training;
    heading.textContent = `Image ${chosen + 1} of ${number}: grid, output, θ`;
    pair.update();
    numbers.set(training.theta(moment, chosen));
  };
  return { root: element("div", {}, heading, cards, numbers.root), update };
}

// Time

/** @param {Training} training */
function timePanel(training) {
  const { figure, images, last } = training;
  const clock = new Clock(figure.ending, () => {
    play.textContent = clock.running ? "Pause" : "Play";
  });
  const go = (/** @type {number} */ moment) => {
    clock.stop();
    figure.send({ moment: clip(moment, 0, last) });
  };
  const start = () => {
    if (training.moment === last) figure.send({ moment: 0 });
    clock.start(() => {
      if (training.moment < last - 1) figure.send({ moment: training.moment + 1 });
      else go(last);
      return clock.running;
    }, PACE);
  };
  const play = button("Play", () => (clock.running ? clock.stop() : start()));
  play.hidden = prefersStill(); // the slider goes through the same moments
  const format = (/** @type {number} */ k) => `${count(images[k])} images`;
  const time = slider("Moment", { min: 0, max: last, step: 1, format }, go);
  const root = element(
    "div",
    { class: "stn-controls" },
    play,
    button("◀", () => go(training.moment - 1), { "aria-label": "One moment back" }),
    button("▶", () => go(training.moment + 1), { "aria-label": "One moment on" }),
    time.root,
  );
  const update = () => time.set(training.moment);
  return { root, update, go, isPlaying: () => clock.running };
}

// Curves

/**
 * The state of the training at the moment, in words.
 * @param {Training} training
 */
function standing({ images, error, moment }) {
  const when = moment ? `After ${count(images[moment])} images` : "Before training";
  return `${when}: ${fixed(error[moment], 1)}% errors`;
}

/**
 * The curve of the validation error.
 * @param {Training} training
 * @param {(moment: number) => void} go
 */
function learningPanel(training, go) {
  const { error } = training;
  const status = title();
  const from = Math.max(0.05, 0.8 * Math.min(1, ...error)); // per cent
  const ticks = [0.1, 1, 10, 100].filter((tick) => tick >= from);
  const label = "Validation error in per cent against images seen";
  const curve = chart(training, label, { from, to: 100, ticks, log: true }, go);
  const explained = note(
    "Validation errors (%) against training images seen. Click or drag on any curve.",
  );
  const update = () => {
    status.textContent = standing(training);
    curve.draw([{ values: error, colour: INK, width: 2 }]);
  };
  return { root: element("div", {}, status, curve.root, explained), update };
}

/**
 * The curve of something that theta does: the chosen image's before the others'.
 * @param {Training} training
 * @param {keyof Pose} name
 * @param {Axis} axis
 * @param {(value: number) => string} say
 * @param {(moment: number) => void} go
 */
function posePanel(training, name, axis, say, go) {
  const heading = title();
  const curve = chart(training, `${name} of the grid against images seen`, axis, go);
  /**
   * @param {Pose[]} poses
   * @param {string} colour
   * @param {number} width
   */
  const lineOf = (poses, colour, width) => {
    return { values: poses.map((each) => each[name]), colour, width };
  };
  const text = () => {
    const { poses, chosen, moment } = training;
    return say(poses[chosen][moment][name]);
  };
  const update = () => {
    const { poses, chosen } = training;
    const others = poses.filter((_, i) => i !== chosen);
    const thin = others.map((each) => lineOf(each, "#bbb", 1));
    curve.draw([...thin, lineOf(poses[chosen], COLOURS.grid, 3)]);
    heading.textContent = text();
  };
  return { root: element("div", {}, heading, curve.root), update, text };
}

/**
 * The curves of shift, size and angle.
 * @param {Training} training
 * @param {(moment: number) => void} go
 */
function posePanels(training, go) {
  const far = Math.max(5, 5 * Math.ceil(training.most("shift") / 5)); // pixels
  const large = Math.max(1.1, training.most("size")); // shares of the canvas
  const turned = Math.max(45, training.most("angle")); // degrees
  return [
    posePanel(
      training,
      "shift",
      { from: 0, to: far, ticks: [0, far / 2, far] },
      (v) => `Shift: ${fixed(v, 1)} pixels`,
      go,
    ),
    posePanel(
      training,
      "size",
      { from: 0, to: large, ticks: [0, 0.5, 1] },
      (v) => `Size: ${fixed(v)} of the canvas`,
      go,
    ),
    posePanel(
      training,
      "angle",
      { from: -turned, to: turned, ticks: [-45, 0, 45] },
      (v) => `Angle: ${fixed(v, 1)}°`,
      go,
    ),
  ];
}

/** @param {Training} training */
function legendPanel(training) {
  const root = note();
  const update = () => {
    const others = training.number - 1;
    root.textContent = `Thick: image ${training.chosen + 1}. Thin: the other ${others}.`;
  };
  return { root, update };
}

/** @param {Figure<Traits>} figure */
function build(figure) {
  const training = new Training(figure);
  const tiles = tilesPanel(training);
  const time = timePanel(training);
  const learning = learningPanel(training, time.go);
  const large = largePanel(training);
  const poses = posePanels(training, time.go);
  const legend = legendPanel(training);
  const update = () => {
    for (const panel of [tiles, time, learning, large, ...poses, legend])
      panel.update();
    if (time.isPlaying()) return; // too fast to be spoken
    const texts = poses.map((each) => each.text()).join(". ");
    figure.say(`${standing(training)}. Image ${training.chosen + 1}. ${texts}`);
  };
  figure.listen(["moment", "chosen"], update);
  update();
  return element(
    "div",
    { class: "stn-figure stn-watch" },
    tiles.root,
    time.root,
    element("div", { class: "stn-panels" }, learning.root, large.root),
    element("div", { class: "stn-panels stn-three" }, ...poses.map(({ root }) => root)),
    legend.root,
    figure.voice,
  );
}

export default touchable(build, (model) => ({
  moment: number([0, model.get("images").length - 1], { whole: true }),
  chosen: number([0, model.get("shape")[0] - 1], { whole: true }),
}));
