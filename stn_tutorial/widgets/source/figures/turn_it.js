// Turn it: turn a digit until a network that knows only upright ones reads it wrongly.

import { button } from "../controls.js";
import { scoreRows } from "../digit/scores.js";
import { touchable } from "../figure.js";
import { number } from "../kept.js";
import { element, fixed, note, title } from "../page.js";
import { toCanvas } from "../stage.js";
import { curvePanel } from "../turning/curve.js";
import { dialPanel } from "../turning/dial.js";
import { inWords, Turning } from "../turning/turning.js";

/** @import { Figure } from "../figure.js" */
/** @import { Traits } from "../turning/turning.js" */

const STEP = 15; // degrees, of a button

const percent = (/** @type {number} */ share) => `${fixed(100 * share, 0)}%`;

/** @param {Turning} turning */
function digitsPanel({ figure, images }) {
  const buttons = images.map((image, digit) => {
    const attributes = {
      type: "button",
      class: "stn-tile",
      "aria-label": `a ${digit}`,
    };
    const click = () => figure.send({ digit });
    return element("button", { ...attributes, click }, toCanvas(image));
  });
  const attributes = { class: "stn-turn-digits", role: "group", "aria-label": "Digit" };
  const root = element("div", attributes, ...buttons);
  const update = () => {
    for (const [digit, each] of buttons.entries()) {
      each.setAttribute("aria-pressed", String(digit === figure.get("digit")));
    }
  };
  return { root, update };
}

/** @param {Turning} turning */
function turnButtons(turning) {
  const by = (/** @type {string} */ arrow, /** @type {number} */ step) =>
    button(`${arrow} ${STEP}°`, () => turning.turn(turning.angle + step), {
      "aria-label": `turn ${inWords(step)}`,
    });
  return element(
    "div",
    { class: "stn-controls" },
    by("↺", STEP),
    button("0°", () => turning.turn(0), { "aria-label": "0°, upright" }),
    by("↻", -STEP),
  );
}

/** @param {Turning} turning */
function answerPanel(turning) {
  const heading = title();
  const scores = scoreRows({ places: 0 });
  const update = () => {
    const { best, digit, shares } = turning;
    const verdict = best === digit ? "right" : "wrong";
    heading.textContent = `It reads ${best}: ${verdict}`;
    scores.set(shares, digit);
  };
  return { root: element("div", {}, heading, scores.root), update };
}

/**
 * How far a turn has come in each direction.
 * @param {Turning} turning
 */
function reachPanel(turning) {
  const lines = [note(), note()];
  for (const line of lines) line.classList.add("stn-turn-reach");
  const say = (/** @type {1 | -1} */ way) => {
    const { degrees, best } = turning.answers.reach(way);
    const name = way === 1 ? "Counter-clockwise" : "Clockwise";
    if (best !== undefined) return `${name}: lost at ${degrees}°, read as ${best}.`;
    if (turning.waiting.length) return `${name}: …`;
    if (degrees === 180) return `${name}: never lost.`;
    if (degrees === 0) return `${name}: not tried yet.`;
    return `${name}: still right at ${degrees}°.`;
  };
  const update = () => {
    lines[0].textContent = say(1);
    lines[1].textContent = say(-1);
  };
  return { root: element("div", {}, ...lines), update };
}

/**
 * What a screen reader says.
 * @param {Turning} turning
 */
function spoken({ angle, best, digit, shares }) {
  const read = `${inWords(angle)}: reads ${best}, ${percent(shares[best])}`;
  if (best === digit) return `${read}, right`;
  return `${read}, wrong; the ${digit} has ${percent(shares[digit])}`;
}

/** @param {Figure<Traits>} figure */
function build(figure) {
  const turning = new Turning(figure, () => showKnown());
  const digits = digitsPanel(turning);
  const dial = dialPanel(turning);
  const answer = answerPanel(turning);
  const reach = reachPanel(turning);
  const curve = curvePanel(turning);
  /** Show the angles that have been caught up with. */
  const showKnown = () => {
    for (const panel of [dial, reach, curve]) panel.update();
  };
  const update = () => {
    turning.look();
    for (const panel of [digits, answer]) panel.update();
    showKnown();
  };
  figure.listen(["digit", "angle"], () => {
    update();
    figure.say(spoken(turning));
  });
  update();
  return element(
    "div",
    { class: "stn-figure stn-turn" },
    title("Turn the digit. How far until the network reads it wrongly?"),
    digits.root,
    element(
      "div",
      { class: "stn-draw" },
      element("div", {}, dial.root, turnButtons(turning)),
      element("div", {}, answer.root, reach.root),
    ),
    curve.root,
    figure.voice,
  );
}

export default touchable(build, () => ({
  digit: number([0, 9], { whole: true }),
  angle: number([-180, 180], { whole: true }),
}));
