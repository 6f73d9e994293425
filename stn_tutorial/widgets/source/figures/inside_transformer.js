// Inside a spatial transformer: move the grid until the output equals the target.

import { board } from "../cards.js";
import { button, choice, slider } from "../controls.js";
import { touchable } from "../figure.js";
import { inputPanel, outputPanels } from "../inside/board.js";
import { Descent } from "../inside/descent.js";
import { lossPanel, verdict } from "../inside/loss_panel.js";
import { readingPanel, story } from "../inside/reading.js";
import { LIMIT, Transformer } from "../inside/transformer.js";
import { number, numbers, oneOf } from "../kept.js";
import { element, fixed, title } from "../page.js";
import { IDENTITY, replaced } from "../sampling.js";

/** @import { Figure, Panel } from "../figure.js" */
/** @import { Theta } from "../sampling.js" */
/** @import { Traits } from "../inside/transformer.js" */

const NAMES = ["θ₁₁", "θ₁₂", "θ₁₃", "θ₂₁", "θ₂₂", "θ₂₃"];
const SIZES = [8, 12, 16, 28, 64];

/**
 * A slider for each number of theta.
 * @param {Transformer} transformer
 * @param {(theta: Theta) => void} move
 * @returns {Panel}
 */
function thetaPanel(transformer, move) {
  const range = {
    min: -LIMIT,
    max: LIMIT,
    step: 0.01,
    format: (/** @type {number} */ v) => fixed(v),
  };
  const sliders = NAMES.map((name, i) =>
    slider(name, range, (value) => move(replaced(transformer.theta, i, value))),
  );
  const roots = sliders.map(({ root }) => root);
  const root = element(
    "div",
    { class: "stn-matrix", role: "group", "aria-label": "theta" },
    ...roots,
  );
  const update = () => {
    for (const [i, each] of sliders.entries()) each.set(transformer.theta[i]);
  };
  return { root, update };
}

/** @param {Figure<Traits>} figure */
function build(figure) {
  const transformer = new Transformer(figure);
  const descent = new Descent(transformer, () => {
    update();
    speak();
  });
  const speak = () =>
    figure.say(`Loss ${fixed(transformer.loss, 4)}. ${verdict(transformer, descent)}`);
  const move = (/** @type {Theta} */ theta) => {
    descent.reset();
    transformer.move(theta.map((v) => Number(v.toFixed(4))));
    speak();
  };
  const input = inputPanel(transformer, move);
  const outputs = outputPanels(transformer, (follow) => {
    figure.send({ follow });
    figure.say(story(transformer).join(" "));
  });
  const loss = lossPanel(transformer, descent);
  const theta = thetaPanel(transformer, move);
  const reading = readingPanel(transformer);
  const play = button("", () => (descent.running ? descent.pause() : descent.play()));
  const again = button("Start again", () => {
    descent.reset();
    transformer.move([...IDENTITY]);
    loss.clear();
    update();
    speak();
  });
  const picture = choice("Picture", Object.keys(transformer.pictures), (name) => {
    descent.reset();
    figure.send({ picture: name, theta: [...IDENTITY] });
    speak();
  });
  const size = choice(
    "Output",
    Object.fromEntries(SIZES.map((n) => [n, `${n} × ${n}`])),
    (n) => {
      descent.reset();
      figure.send({ size: Number(n) });
      speak();
    },
  );
  const update = () => {
    transformer.update();
    for (const panel of [input, outputs, loss, theta, reading]) panel.update();
    play.textContent = descent.running ? "Pause" : "Let descent do it";
    picture.set(figure.get("picture"));
    size.set(String(figure.get("size")));
  };
  figure.listen(["picture", "theta", "known", "size", "follow"], update);
  update();
  return element(
    "div",
    { class: "stn-figure stn-inside" },
    title("Move the grid until the output equals the target."),
    board(input.root, ...outputs.roots, loss.root),
    element("div", { class: "stn-controls" }, play, again),
    element("div", { class: "stn-panels" }, theta.root, reading.root),
    element("div", { class: "stn-named" }, "Picture", picture.root),
    element("div", { class: "stn-named" }, "Output", size.root),
    figure.voice,
  );
}

export default touchable(build, (model) => ({
  picture: oneOf(model.get("shapes").map(([name]) => name)),
  theta: numbers(Array(6).fill([-LIMIT, LIMIT])),
  size: number([4, 64], { whole: true }),
  follow: numbers([
    [-1, 1],
    [-1, 1],
  ]),
}));
