// The right digit's score against the angle, and what the network reads there.

import { element, title } from "../page.js";
import { COLOURS } from "../stage.js";

/** @import { Point } from "../sampling.js" */
/** @import { Stage } from "../stage.js" */
/** @import { Turning } from "./turning.js" */

const MARGINS = { left: 44, top: 8, right: 20, bottom: 26 }; // in CSS pixels
const [LOW, HIGH] = [1.08, 1.28]; // the strip of answers, above the curve

/**
 * The answers as a strip, a number in each part that has room for it.
 * @param {Stage} stage
 * @param {Turning} turning
 * @param {number} unit CSS pixels a degree
 */
function drawStrip(stage, { answers }, unit) {
  const { context } = stage;
  for (const { from, to, best } of answers.runs) {
    const right = best === answers.digit;
    const [left, top] = stage.place([Math.max(from - 0.5, -180), HIGH]);
    const [end, bottom] = stage.place([Math.min(to + 0.5, 180), LOW]);
    context.fillStyle = right ? COLOURS.output : "#444";
    context.fillRect(left, top, end - left, bottom - top);
    if ((to - from) * unit < 12) continue;
    stage.text(String(best), [(from + to) / 2, (LOW + HIGH) / 2], { colour: "#fff" });
  }
  // A white line between two answers.
  for (const { from } of answers.runs.slice(1)) {
    stage.segment([from - 0.5, LOW], [from - 0.5, HIGH], "#fff", 1);
  }
}

/**
 * The right digit's share at the angles that are known, a line for each stretch.
 * @param {Stage} stage
 * @param {Turning} turning
 */
function drawShares(stage, { answers }) {
  /** @type {Point[]} */
  let stretch = [];
  for (let angle = -180; angle <= 181; angle++) {
    const known = angle <= 180 && answers.best(angle) !== undefined;
    if (known) stretch.push([angle, answers.at(angle)[answers.digit]]);
    else {
      stage.line(stretch, COLOURS.input, { width: 2.5 });
      stretch = [];
    }
  }
}

/** @param {Turning} turning */
export function curvePanel(turning) {
  const heading = title();
  const stage = turning.figure.stage([-180, 1, 180, 0], "", () => paint());
  stage.root.classList.add("stn-turn-curve");
  const paint = () => {
    if (!stage.width) return;
    const { left, top, right, bottom } = MARGINS;
    const unit = (stage.width - left - right) / 360;
    const high = HIGH / (stage.height - top - bottom); // a CSS pixel
    stage.view = [
      -180 - left / unit,
      HIGH + top * high,
      180 + right / unit,
      -bottom * high,
    ];
    stage.clear();
    for (const tick of [0, 0.5, 1]) {
      stage.segment([-180, tick], [180, tick], "#ddd", 1);
      const place = /** @type {Point} */ ([-180 - 6 / unit, tick]);
      stage.text(`${100 * tick}%`, place, { align: "right" });
    }
    for (const tick of [-180, -90, 0, 90, 180]) {
      stage.segment([tick, 0], [tick, 1], "#ddd", 1);
      stage.text(`${tick}°`.replace("-", "−"), [tick, -15 * high]);
    }
    drawStrip(stage, turning, unit);
    drawShares(stage, turning);
    const { angle, digit, shares } = turning;
    stage.segment([angle, 0], [angle, HIGH], "#444", 1, [4, 3]);
    stage.dot([angle, shares[digit]], "#fff", 8);
    stage.dot([angle, shares[digit]], COLOURS.input, 6);
  };
  const update = () => {
    heading.textContent = `Score of the ${turning.digit}, and what is read, at each angle`;
    const label = `Curve of the ${turning.digit}'s score against the angle`;
    stage.canvas.setAttribute("aria-label", label);
    paint();
  };
  return { root: element("div", {}, heading, stage.root), update };
}
