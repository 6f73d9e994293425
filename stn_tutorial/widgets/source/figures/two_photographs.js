// Two photographs: four points by hand, or descent, lay one on the other.

import { button, choice } from "../controls.js";
import { touchable } from "../figure.js";
import { numbers, oneOf } from "../kept.js";
import { element, fixed, note, title } from "../page.js";
import { Descent } from "../photographs/descent.js";
import {
  errorPanel,
  overlayPanel,
  sourcePanel,
  targetPanel,
} from "../photographs/panels.js";
import { paired, REACH, sane } from "../photographs/placing.js";
import { BEGINS, TwoPhotographs } from "../photographs/two.js";

/** @import { Figure } from "../figure.js" */
/** @import { Kind } from "../kept.js" */
/** @import { Point } from "../sampling.js" */
/** @import { Traits } from "../photographs/two.js" */

/** @param {Figure<Traits>} figure */
function build(figure) {
  const two = new TwoPhotographs(figure);
  const descent = new Descent(two, () => {
    update();
    speak();
  });
  const speak = () => figure.say(`Corner error ${two.shown}. ${descent.verdict}`);
  const drop = (/** @type {number} */ which, /** @type {Point} */ to) => {
    descent.reset();
    two.put(which, to);
    speak();
  };
  const target = targetPanel(two);
  const overlay = overlayPanel(two, descent);
  const source = sourcePanel(two, drop, (which) => {
    two.active = which;
    target.update();
    overlay.update();
  });
  const error = errorPanel(two);
  const verdict = note();
  verdict.classList.add("stn-map-verdict", "stn-two-verdict");
  const records = note();
  const play = button("", () => (descent.running ? descent.pause() : descent.play()));
  const again = button("Start again", () => {
    descent.reset();
    two.restart();
    speak();
  });
  const sizes = [two.side / 8, two.side].map((side) => {
    const { height, width } = two.ofSide(side).target;
    return `${height} × ${width}`;
  });
  const begin = choice(
    "Descent takes images of",
    { coarse: `${sizes[0]} first`, fine: `${sizes[1]} at once` },
    (value) => {
      descent.reset();
      figure.send({ begin: value });
    },
  );
  const update = () => {
    two.update();
    if (descent.silent) return;
    for (const panel of [target, source, overlay, error]) panel.update();
    const alike = `Correlation ${fixed(two.alike)}.`;
    verdict.textContent = `${descent.verdict} ${alike}`;
    records.textContent = descent.records;
    play.textContent = descent.running ? "Pause" : "Let descent do it";
    begin.set(figure.get("begin"));
  };
  figure.listen(["points", "placed", "begin"], update);
  update();
  return element(
    "div",
    { class: "stn-figure stn-two" },
    title("Lay the moving photograph on the fixed one, to less than a pixel."),
    element(
      "div",
      { class: "stn-two-board" },
      target.root,
      source.root,
      overlay.root,
      error.root,
    ),
    verdict,
    element("div", { class: "stn-controls" }, play, again),
    element("div", { class: "stn-named" }, "Descent takes images of", begin.root),
    records,
    note(
      "Red: the moving photograph is brighter. Blue-green: the fixed one is. Grey: they " +
        "agree. Pale: the moving one has nothing to show. An arrow leads from a place " +
        "to where the grid reads it.",
    ),
    figure.voice,
  );
}

/** @type {Kind<number[]>} */
const points = {
  ...numbers(Array(8).fill([-REACH, REACH])),
  read: (text) => {
    const values = numbers(Array(8).fill([-REACH, REACH])).read(text);
    return values && sane(paired(values)) ? values : undefined;
  },
};

export default touchable(build, () => ({
  points,
  placed: numbers(Array(4).fill([0, 1]), { whole: true }),
  begin: oneOf(BEGINS),
}));
