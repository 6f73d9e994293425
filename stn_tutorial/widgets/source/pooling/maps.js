// Three rows of pictures: the input and three maps, at the start, now, and their change.

import { element } from "../page.js";
import { COLOURS } from "../stage.js";
import { NAMES, SIDE, words } from "./digits.js";
import { TOLERANCE } from "./pooling.js";

/** @import { Image } from "../sampling.js" */
/** @import { Stage } from "../stage.js" */
/** @import { Digits } from "./digits.js" */

/** @typedef {"start" | "now" | "change"} Kind a row of pictures */

const HALF = SIDE / 2; // every map is shown as large as the input, from -16 to 16 pixels
const VIEW = [-HALF, -HALF, HALF, HALF];

/** @type {Kind[]} */
const KINDS = ["start", "now", "change"];

/**
 * White where nothing changes, towards blue where it gets brighter, vermilion darker.
 * @param {Image} before
 * @param {Image} after
 * @returns {Image}
 */
function difference(before, after) {
  const size = before.data.length;
  const data = new Float64Array(3 * size);
  for (let i = 0; i < size; i++) {
    const change = after.data[i] - before.data[i];
    const colour = change > 0 ? COLOURS.input : COLOURS.grid;
    for (let c = 0; c < 3; c++) {
      const full = parseInt(colour.slice(1 + 2 * c, 3 + 2 * c), 16) / 255;
      data[c * size + i] = 1 - Math.abs(change) * (1 - full);
    }
  }
  return { ...before, data, channels: 3 };
}

/**
 * A plus or a minus on each value that changes: colour is not the only sign.
 * @param {Stage} stage
 * @param {Image} before
 * @param {Image} after
 */
function markChanges(stage, before, after) {
  const cell = SIDE / before.width;
  const arm = 0.25 * cell;
  const width = Math.max(0.7, (0.1 * stage.width) / before.width);
  for (const [i, old] of before.data.entries()) {
    const by = after.data[i] - old;
    if (Math.abs(by) < TOLERANCE) continue;
    const x = ((i % before.width) + 0.5) * cell - HALF;
    const y = (Math.floor(i / before.width) + 0.5) * cell - HALF;
    const colour = Math.abs(by) > 0.5 ? "#fff" : "#000";
    stage.segment([x - arm, y], [x + arm, y], colour, width);
    if (by > 0) stage.segment([x, y - arm], [x, y + arm], colour, width);
  }
}

/**
 * The windows of the three layers, the largest with the thickest lines.
 * @param {Stage} stage
 */
function drawWindows(stage) {
  for (let at = 2 - HALF; at < HALF; at += 2) {
    const width = at % 8 === 0 ? 1.5 : at % 4 === 0 ? 0.8 : 0.5;
    const colour = at % 8 === 0 ? COLOURS.grey : `${COLOURS.grey}99`;
    stage.segment([at, -HALF], [at, HALF], colour, width);
    stage.segment([-HALF, at], [HALF, at], colour, width);
  }
}

/**
 * One picture: the input or a map, at the start or now, or how it changes.
 * @param {Digits} digits
 * @param {Kind} kind
 * @param {number} depth
 */
function picturePanel(digits, kind, depth) {
  const stage = digits.figure.stage(VIEW, `${NAMES[depth]}, ${kind}`, () => update());
  const update = () => {
    if (!stage.width) return;
    const before = digits.seen.before[depth];
    const after = digits.seen.after[depth];
    const shown = kind === "start" ? before : after;
    const image = kind === "change" ? difference(before, after) : shown;
    stage.clear();
    stage.image(image, [-HALF, -HALF], [HALF, HALF]);
    if (kind === "change") markChanges(stage, before, after);
    else if (depth === 0) drawWindows(stage);
  };
  return { stage, root: stage.root, update };
}

/**
 * Fill a label: a word, then parts that are not broken.
 * @param {HTMLElement} label
 * @param {string} word
 * @param {string[]} parts
 */
function describe(label, word, ...parts) {
  const spans = parts.flatMap((part) => [" ", element("span", {}, part)]);
  label.replaceChildren(element("strong", {}, word), ...spans);
}

/**
 * A label and four pictures.
 * @param {Digits} digits
 * @param {Kind} kind
 */
function rowPanel(digits, kind) {
  const label = element("div", { class: "stn-pool-label" });
  const pictures = NAMES.map((_, depth) => picturePanel(digits, kind, depth));
  const update = () => {
    if (kind === "start") describe(label, "Start", ...words(digits.start));
    else if (kind === "now") describe(label, "Now: drag it", ...words(digits.pose));
    else describe(label, "Change", "+ brighter,", "− darker,", "white: unchanged");
    for (const picture of pictures) picture.update();
  };
  return { pictures, roots: [label, ...pictures.map(({ root }) => root)], update };
}

/**
 * The handle that is the whole picture of the digit now.
 * @param {Digits} digits
 * @param {Stage} stage
 */
function addGrip(digits, stage) {
  const grip = stage.handle("digit", COLOURS.input, {
    get: () => [digits.pose[0], digits.pose[1]],
    set: ([x, y]) => digits.move([x, y, digits.pose[2]]),
    step: () => 1,
  });
  grip.classList.add("stn-pool-grip");
  return () => {
    stage.update();
    grip.style.transform = `rotate(${-digits.pose[2]}deg)`;
  };
}

/** @param {Digits} digits */
export function mapsPanel(digits) {
  const rows = KINDS.map((kind) => rowPanel(digits, kind));
  const updateGrip = addGrip(digits, rows[1].pictures[0].stage);
  const heads = NAMES.map((name, depth) => {
    const size = ` ${SIDE >> depth}×${SIDE >> depth}`;
    return element(
      "div",
      { class: "stn-pool-head" },
      element("strong", {}, name),
      size,
    );
  });
  const root = element(
    "div",
    { class: "stn-pool-maps" },
    element("div", { class: "stn-pool-label" }),
    ...heads,
    ...rows.flatMap((row) => row.roots),
  );
  const update = () => {
    for (const row of rows) row.update();
    updateGrip();
  };
  return { root, update };
}
