// Sample lens: what the sampler reads at a point between pixels, and how it changes.

import { choice, numberInput } from "../controls.js";
import { touchable } from "../figure.js";
import { numbers, oneOf } from "../kept.js";
import { ratesPanel, valuesPanel } from "../lens/curves.js";
import { Lens } from "../lens/lens.js";
import { picturePanel, pixelsPanel } from "../lens/patch.js";
import { remarkPanel, slopesPanel, spoken, sumPanel } from "../lens/words.js";
import { element, title } from "../page.js";
import { replaced } from "../sampling.js";

/** @import { Figure } from "../figure.js" */
/** @import { Mode } from "../lens/kernels.js" */
/** @import { Traits } from "../lens/lens.js" */

/** @type {Mode[]} */
const MODES = ["nearest", "bilinear", "bicubic"];

/** @param {Lens} lens */
function kernelPanel(lens) {
  const kernel = choice("Kernel", MODES, (mode) => lens.figure.send({ mode }));
  return { root: kernel.root, update: () => kernel.set(lens.mode) };
}

/** @param {Lens} lens */
function placePanel(lens) {
  const inputs = ["x", "y"].map((_, i) => {
    const enter = (/** @type {string} */ text) => {
      if (text !== "") lens.move(replaced(lens.point, i, Number(text)));
      inputs[i].value = String(lens.point[i]);
    };
    return numberInput({ type: "number", step: 0.1 }, "change", enter);
  });
  const root = element(
    "div",
    { class: "stn-controls stn-place" },
    element("label", {}, "x", inputs[0]),
    element("label", {}, "y", inputs[1]),
  );
  const update = () => {
    for (const [i, input] of inputs.entries()) input.value = String(lens.point[i]);
  };
  return { root, update };
}

// The figure, small or whole

/**
 * The pixels and the sum: all that the figure shows without slopes.
 * @param {Lens} lens
 */
function small(lens) {
  const place = placePanel(lens);
  const pixels = pixelsPanel(lens);
  const sum = sumPanel(lens);
  const heading = title("Pixels, and their weights as areas");
  const column = element("div", {}, heading, pixels.root, ...sum.roots);
  const root = element(
    "div",
    { class: "stn-figure stn-lens stn-narrow" },
    "",
    place.root,
    element("div", { class: "stn-panels" }, column),
    lens.figure.voice,
  );
  return { root, panels: [place, pixels, sum] };
}

/** @param {Lens} lens */
function whole(lens) {
  const kernel = kernelPanel(lens);
  const place = placePanel(lens);
  const pixels = pixelsPanel(lens);
  const values = valuesPanel(lens);
  const sum = sumPanel(lens);
  const picture = picturePanel(lens);
  const rates = ratesPanel(lens);
  const slopes = slopesPanel(lens);
  const remark = remarkPanel(lens);
  const left = element(
    "div",
    {},
    title("Pixels, and their weights as areas"),
    pixels.root,
    ...values.roots,
    ...sum.roots,
  );
  const right = element(
    "div",
    {},
    title("The picture between them: point at it"),
    picture.root,
    title("Slope ∂V/∂x along this row"),
    rates.root,
    ...slopes.roots,
  );
  const root = element(
    "div",
    { class: "stn-figure stn-lens" },
    kernel.root,
    place.root,
    element("div", { class: "stn-panels" }, left, right),
    remark.root,
    lens.figure.voice,
  );
  const panels = [kernel, place, pixels, values, sum, picture, rates, slopes, remark];
  return { root, panels };
}

/** @param {Figure<Traits>} figure */
function build(figure) {
  const lens = new Lens(figure);
  const { root, panels } = lens.slopes ? whole(lens) : small(lens);
  lens.show = () => {
    for (const panel of panels) panel.update();
  };
  const update = () => {
    lens.show();
    figure.say(spoken(lens.reading, lens.slopes));
  };
  figure.listen(["point", "mode", "pixels"], update);
  update();
  return root;
}

export default touchable(build, (model) => {
  const rows = model.get("pixels");
  const sides = [rows[0].length, rows.length];
  return {
    point: numbers(sides.map((side) => [-0.5, side - 0.5])),
    mode: oneOf(MODES),
  };
});
