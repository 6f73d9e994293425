// Pool it: move a digit by pixels, and see what stays in three layers of pooling.

import { button, choice, slider } from "../controls.js";
import { touchable } from "../figure.js";
import { numbers, oneOf } from "../kept.js";
import { element, fixed } from "../page.js";
import { Digits, NAMES, REACH, words } from "../pooling/digits.js";
import { mapsPanel } from "../pooling/maps.js";
import { LAYERS, relativeDifference } from "../pooling/pooling.js";
import { replaced } from "../sampling.js";

/** @import { Figure } from "../figure.js" */
/** @import { Digit, Traits } from "../pooling/digits.js" */
/** @import { Pooling } from "../pooling/pooling.js" */

/** @type {Digit[]} */
const PICTURES = ["5", "7", "drawn 7"];
const POOLINGS = /** @type {Pooling[]} */ (Object.keys(LAYERS));

const MEASURES = [
  "values left",
  "unchanged, of all",
  "unchanged, of ink",
  "d, start to now",
  "", // d to the other digit, which it names
];

const percent = (/** @type {number} */ share) => `${fixed(100 * share, 1)}%`;

/** @param {Figure<Traits>} figure */
function choicesPanel(figure) {
  const picture = choice("Digit", PICTURES, (name) => figure.send({ picture: name }));
  const pooling = choice("Pooling", POOLINGS, (name) => figure.send({ pooling: name }));
  const root = element(
    "div",
    { class: "stn-pool-choices" },
    element("div", {}, "Digit", picture.root),
    element("div", {}, "Pooling", pooling.root),
  );
  const update = () => {
    picture.set(figure.get("picture"));
    pooling.set(figure.get("pooling"));
  };
  return { root, update };
}

/** @param {Digits} digits */
function moveButtons(digits) {
  /**
   * @param {string} arrow
   * @param {string} way
   * @param {number} right
   * @param {number} down
   */
  const arrowButton = (arrow, way, right, down) => {
    const click = () => {
      const [x, y, angle] = digits.pose;
      digits.move([x + right, y + down, angle]);
    };
    return button(arrow, click, { "aria-label": `${way} by one pixel` });
  };
  return element(
    "div",
    { class: "stn-controls" },
    arrowButton("←", "left", -1, 0),
    arrowButton("↑", "up", 0, -1),
    arrowButton("↓", "down", 0, 1),
    arrowButton("→", "right", 1, 0),
    button("start from here", () => digits.figure.send({ start: digits.pose })),
    button("back to the start", () => digits.move(digits.start)),
  );
}

/** @param {Digits} digits */
function slidersPanel(digits) {
  /**
   * @param {string} label
   * @param {number} limit
   * @param {string} unit
   * @param {number} i
   */
  const poseSlider = (label, limit, unit, i) => {
    const format = (/** @type {number} */ value) => fixed(value, 0) + unit;
    return slider(label, { min: -limit, max: limit, step: 1, format }, (value) =>
      digits.move(replaced(digits.pose, i, value)),
    );
  };
  const sliders = [
    poseSlider("right", REACH, " px", 0),
    poseSlider("down", REACH, " px", 1),
    poseSlider("turn", 90, "°", 2),
  ];
  const roots = sliders.map(({ root }) => root);
  const update = () => {
    for (const [i, each] of sliders.entries()) each.set(digits.pose[i]);
  };
  return { root: element("div", { class: "stn-pool-sliders" }, ...roots), update };
}

/**
 * The numbers. Where it is narrow, a measure stands above its row; the roles keep that
 * a table.
 * @param {Digits} digits
 */
function tablePanel(digits) {
  const rows = MEASURES.map((label) => {
    const head = element("th", { scope: "row", role: "rowheader" }, label);
    const cells = NAMES.map(() => element("td", { role: "cell" }));
    return { root: element("tr", { role: "row" }, head, ...cells), head, cells };
  });
  const heads = NAMES.map((name) =>
    element("th", { scope: "col", role: "columnheader" }, name),
  );
  const table = element(
    "table",
    { class: "stn-pool-table", role: "table" },
    element(
      "thead",
      { role: "rowgroup" },
      element("tr", { role: "row" }, element("td", { role: "cell" }), ...heads),
    ),
    element("tbody", { role: "rowgroup" }, ...rows.map((row) => row.root)),
  );
  const root = element("div", { class: "stn-pool-measures" }, table);
  const update = () => {
    const { before, after, another, other, shares } = digits.seen;
    rows[4].head.textContent = `d, start to a ${other}`;
    for (let depth = 0; depth < NAMES.length; depth++) {
      const texts = [
        `${Number((100 / 4 ** depth).toPrecision(3))}%`,
        percent(shares[depth].all),
        percent(shares[depth].ink),
        fixed(relativeDifference(before[depth], after[depth])),
        fixed(relativeDifference(before[depth], another[depth])),
      ];
      for (const [k, text] of texts.entries()) rows[k].cells[depth].textContent = text;
    }
  };
  return { root, update };
}

/** @param {Figure<Traits>} figure */
function build(figure) {
  const digits = new Digits(figure);
  const choices = choicesPanel(figure);
  const maps = mapsPanel(digits);
  const sliders = slidersPanel(digits);
  const table = tablePanel(digits);
  const update = () => {
    digits.seen = digits.look();
    for (const panel of [choices, sliders, maps, table]) panel.update();
  };
  figure.listen(["picture", "pooling", "pose", "start"], () => {
    update();
    const stay = digits.seen.shares.map(({ all }, k) => `${NAMES[k]} ${percent(all)}`);
    figure.say(`${words(digits.pose).join(" ")}; unchanged: ${stay.join(", ")}`);
  });
  update();
  return element(
    "div",
    { class: "stn-figure" },
    choices.root,
    maps.root,
    moveButtons(digits),
    sliders.root,
    table.root,
    figure.voice,
  );
}

const POSES = [
  [-REACH, REACH],
  [-REACH, REACH],
  [-90, 90],
];

export default touchable(build, () => ({
  picture: oneOf(PICTURES),
  pooling: oneOf(POOLINGS),
  pose: numbers(POSES, { whole: true }),
  start: numbers(POSES, { whole: true }),
}));
