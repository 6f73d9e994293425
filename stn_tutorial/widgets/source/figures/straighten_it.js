// Straighten it: a digit tumbles until it is touched; a transformer straightens it for
// the classifier, or is taken away.

import { button, choice } from "../controls.js";
import { allowed, EXTENTS, onCanvas, PARTS, UPRIGHT, withTop } from "../digit/pose.js";
import { scoreRows } from "../digit/scores.js";
import { DrawingPad } from "../drawing_pad.js";
import { touchable } from "../figure.js";
import { drawing, number } from "../kept.js";
import { element, fixed, title } from "../page.js";
import { FRAME, imageFromBytes, imageToBytes, transform } from "../sampling.js";
import { COLOURS, toCanvas } from "../stage.js";
import { Reading } from "../straighten/reading.js";
import { Tumble } from "../straighten/tumble.js";

/** @import { Figure } from "../figure.js" */
/** @import { Kind } from "../kept.js" */
/** @import { Traits } from "../straighten/reading.js" */

// What the two cards show of the images' frames, which reach from -1 to 1. A pixel is as
// large in both: their widths are as 1.3 * 42 to 1.05 * 28, and so the styles say.
const [INPUT, OUTPUT] = [1.3, 1.05];

/**
 * Whether something is so, as a link keeps it.
 * @type {Kind<boolean>}
 */
const yesOrNo = {
  write: (value) => (value ? "yes" : "no"),
  read: (text) => ({ yes: true, no: false })[text],
};

/**
 * The digit and the grid; the digit is dragged, turned and scaled.
 * @param {Reading} reading
 */
function inputCard(reading) {
  const { figure } = reading;
  const label = "The tilted digit, with the grid of places that are read";
  const stage = figure.stage([-INPUT, -INPUT, INPUT, INPUT], label, () => update());
  const box = () => FRAME.map((corner) => onCanvas(reading.pose, corner));
  const middle = () => onCanvas(reading.pose, [0, 0]);
  stage.area({
    corners: box,
    get: middle,
    set: ([x, y]) => figure.send(allowed({ x: 21 * x, y: 21 * y })),
  });
  stage.handle("turn and scale the digit", COLOURS.input, {
    get: () => onCanvas(reading.pose, [0, -1]),
    set: (point) => figure.send(allowed(withTop(reading.pose, point))),
    press: ([right, down], fine) => {
      const { angle, scale } = reading.pose;
      figure.send(
        allowed({
          angle: angle - right * (fine ? 1 : 5),
          scale: scale - down * (fine ? 0.01 : 0.05),
        }),
      );
    },
    words: () => {
      const { angle, scale } = reading.pose;
      return `angle ${fixed(angle, 0)}°, scale ${fixed(scale)}`;
    },
  });
  // For keys; the hand drags the digit itself, which this handle would hide.
  stage.handle("move the digit", COLOURS.input, {
    get: middle,
    set: ([x, y]) => figure.send(allowed({ x: 21 * x, y: 21 * y })),
    press: ([right, down], fine) => {
      const { x, y } = reading.pose;
      const step = fine ? 0.5 : 1;
      figure.send(allowed({ x: x + step * right, y: y + step * down }));
    },
    words: () => {
      const { x, y } = reading.pose;
      return `${fixed(x, 1)} pixels right, ${fixed(y, 1)} pixels down`;
    },
  });
  const update = () => {
    stage.update();
    if (!stage.width) return;
    const { image, theta } = reading.seen;
    stage.clear();
    stage.image(image);
    stage.frame(COLOURS.input);
    stage.line(box(), COLOURS.input, { closed: true, dash: [6, 4] });
    stage.grid((point) => transform(theta, point), COLOURS.grid, 7);
  };
  return { root: stage.root, update };
}

/**
 * The pad that takes the input's place while the reader draws.
 * @param {Reading} reading
 */
function padCard(reading) {
  const { figure } = reading;
  const label = "Draw a digit: arrow keys move the pen, space puts it down or lifts it";
  /** @type {DataView | null} */
  let shown = null; // the drawing on the pad
  const pad = new DrawingPad(figure, 28, label, (image) => {
    shown = imageToBytes(image);
    figure.send({ drawing: shown });
  });
  const update = () => {
    const now = figure.get("drawing");
    if (now !== shown) pad.set(imageFromBytes(now, [1, 28, 28]).data);
    shown = now;
  };
  const root = element("div", { class: "stn-pad" }, pad.root);
  return { root, update, clear: () => pad.clear(), canvas: pad.stage.canvas };
}

/**
 * The input, or the pad; and the buttons that choose what is read.
 * @param {Reading} reading
 */
function digitPanel(reading) {
  const { figure } = reading;
  const heading = title();
  const input = inputCard(reading);
  const pad = padCard(reading);
  let draws = false;
  const update = () => {
    if (draws) pad.update();
    else input.update();
  };
  const show = (/** @type {boolean} */ pads) => {
    draws = pads;
    input.root.hidden = pads;
    pad.root.hidden = !pads;
    heading.textContent = pads ? "Draw a digit" : "Turn it, move it";
    pen.textContent = pads ? "Turn what you drew" : "Draw your own";
    update(); // what comes back may be of an earlier pose
  };
  const pen = button("", () => {
    show(!draws);
    if (!draws) return;
    figure.send(UPRIGHT);
    pad.clear();
    pad.canvas.focus();
  });
  const ready = reading.ready.map((bytes, i) => {
    const image = imageFromBytes(bytes, [1, 28, 28]);
    const take = () => {
      show(false);
      figure.send({ drawing: new DataView(bytes.slice().buffer) });
    };
    const digit = figure.get("labels")[i];
    return button(toCanvas(image), take, { "aria-label": `take this ${digit}` });
  });
  const controls = element(
    "div",
    { class: "stn-controls", role: "group", "aria-label": "Digit" },
    ...ready,
    pen,
  );
  show(false);
  const root = element("div", {}, heading, input.root, pad.root);
  return { root, controls, update, putPenAway: () => show(false) };
}

/**
 * What the classifier gets.
 * @param {Reading} reading
 */
function outputPanel(reading) {
  const heading = title();
  const view = [-OUTPUT, -OUTPUT, OUTPUT, OUTPUT];
  const label = "The image that the classifier gets";
  const stage = reading.figure.stage(view, label, () => update());
  const update = () => {
    const straightened = reading.figure.get("transformer");
    heading.textContent = straightened ? "Straightened" : "Its middle";
    if (!stage.width) return;
    stage.clear();
    stage.image(reading.seen.straight);
    stage.frame(COLOURS.output, 3);
  };
  return { root: element("div", {}, heading, stage.root), update };
}

/**
 * The answer, and whether it is right.
 * @param {Reading} reading
 */
function answerPanel(reading) {
  const digit = element("strong");
  const verdict = element("span");
  const root = element("p", { class: "stn-front-answer" }, "Read as ", digit, verdict);
  const words = () => {
    const { truth, seen } = reading;
    if (truth === undefined) return "";
    return seen.best === truth ? "✓ right" : `✗ it is a ${truth}`;
  };
  const update = () => {
    digit.textContent = reading.isBlank ? "?" : String(reading.seen.best);
    verdict.textContent = words();
    root.classList.toggle("stn-wrong", words().startsWith("✗"));
  };
  return { root, update, words };
}

/** @param {Reading} reading */
function scoresPanel(reading) {
  const scores = scoreRows({ places: 0 });
  const update = () => scores.set(reading.seen.shares, reading.truth);
  return { root: element("div", {}, title("Scores"), scores.root), update };
}

/**
 * With the transformer, or without.
 * @param {Reading} reading
 */
function switchPanel(reading) {
  const ways = { yes: "With transformer", no: "Without" };
  const { root, set } = choice("Transformer", ways, (way) =>
    reading.figure.send({ transformer: way === "yes" }),
  );
  const update = () => set(yesOrNo.write(reading.figure.get("transformer")));
  return { root, update };
}

/**
 * The button that stops the digit, or lets it go.
 * @param {Figure<Traits>} figure
 * @param {HTMLElement} root of the figure: whatever else is touched there stops it, too
 * @param {Tumble} tumble
 * @param {() => void} before it starts
 */
function letTumble(figure, root, tumble, before) {
  const play = button("", () => {
    if (tumble.going) tumble.stop();
    else {
      before();
      tumble.start();
    }
  });
  const hold = (/** @type {Event} */ event) => {
    if (!play.contains(/** @type {Node} */ (event.target))) tumble.stop();
  };
  for (const kind of ["pointerdown", "focusin"]) root.addEventListener(kind, hold);
  const update = () => {
    play.textContent = figure.get("tumbling") ? "Pause" : "Play";
  };
  return { root: play, update };
}

/** @param {Figure<Traits>} figure */
function build(figure) {
  const reading = new Reading(figure);
  const digit = digitPanel(reading);
  const output = outputPanel(reading);
  const answer = answerPanel(reading);
  const scores = scoresPanel(reading);
  const way = switchPanel(reading);
  const cards = element(
    "div",
    { class: "stn-front" },
    digit.root,
    element("div", { class: "stn-front-output" }, output.root, answer.root),
    scores.root,
  );
  const root = element("div", { class: "stn-figure stn-front-space" }, cards);
  const tumble = new Tumble(figure, root, () => reading.pose);
  const play = letTumble(figure, root, tumble, digit.putPenAway);
  root.append(
    element(
      "div",
      { class: "stn-front-controls" },
      element("div", { class: "stn-controls" }, way.root, play.root),
      digit.controls,
    ),
    figure.voice,
  );
  const update = () => {
    reading.seen = reading.look();
    for (const panel of [digit, output, answer, scores, way, play]) panel.update();
    if (tumble.going) return; // too fast to be spoken
    const { best, shares } = reading.seen;
    const share = fixed(100 * shares[best], 0);
    figure.say(`read as ${best}, score ${share}%. ${answer.words()}`);
  };
  figure.listen(["drawing", "transformer", "tumbling", ...PARTS], update);
  update();
  return root;
}

export default touchable(build, () => ({
  angle: number(EXTENTS.angle.range),
  scale: number(EXTENTS.scale.range),
  x: number(EXTENTS.x.range),
  y: number(EXTENTS.y.range),
  drawing: drawing(784),
  transformer: yesOrNo,
  tumbling: yesOrNo,
}));
