// Inside a spatial transformer: one pass forward, and descent on its parameters.

import { choice } from "../controls.js";
import { touchable } from "../figure.js";
import { descentPart, MOST_STEPS, PAIRS } from "../inside/descent.js";
import { onePass } from "../inside/one_pass.js";
import { Transformer } from "../inside/transformer.js";
import { number, numbers, oneOf } from "../kept.js";
import { element } from "../page.js";

/** @import { Figure } from "../figure.js" */
/** @import { Traits } from "../inside/transformer.js" */

const PARTS = /** @type {const} */ ({ "one pass": "One pass", descent: "Descent" });

/** @param {Figure<Traits>} figure */
function build(figure) {
  const transformer = new Transformer(figure);
  const pass = onePass(transformer);
  const descent = descentPart(transformer);
  const part = choice("Part", PARTS, (name) => {
    descent.stop();
    figure.send({ part: name });
  });
  const picture = choice("Picture", Object.keys(transformer.pictures), (name) =>
    figure.send({ picture: name }),
  );
  const update = () => {
    const isPass = figure.get("part") === "one pass";
    part.set(figure.get("part"));
    picture.set(figure.get("picture"));
    pass.root.hidden = !isPass;
    descent.root.hidden = isPass;
    if (isPass) pass.update();
    else descent.update();
  };
  figure.listen(["part", "stage", "picture", "parameters", "size", "follow"], update);
  figure.listen(["pair", "start", "rate", "steps"], update);
  update();
  return element(
    "div",
    { class: "stn-figure stn-inside" },
    part.root,
    element("div", { class: "stn-inside-choice" }, "Picture", picture.root),
    pass.root,
    descent.root,
    figure.voice,
  );
}

export default touchable(build, (model) => {
  const ranges = Object.values(model.get("ranges"));
  return {
    part: oneOf(["one pass", "descent"]),
    stage: number([1, 4], { whole: true }),
    picture: oneOf(model.get("shapes").map(([name]) => name)),
    parameters: numbers(ranges),
    size: number([4, 64], { whole: true }),
    follow: numbers([
      [-1, 1],
      [-1, 1],
    ]),
    pair: oneOf(PAIRS),
    start: numbers(ranges),
    rate: number([0.01, 3]),
    steps: number([0, MOST_STEPS], { whole: true }),
  };
});
