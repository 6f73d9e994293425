// Live: a trained transformer before the reader's camera, and on the bench.

import { button, slider } from "../controls.js";
import { forward, look, readWeights } from "../digit/network.js";
import { readPaper, SIDE, turned } from "../digit/paper.js";
import { scoreRows } from "../digit/scores.js";
import { touchable } from "../figure.js";
import { number } from "../kept.js";
import { apart, inOneRow, timed } from "../live/bench.js";
import { Camera } from "../live/camera.js";
import { element, fixed, note, title } from "../page.js";
import { imageFromBytes, transform } from "../sampling.js";
import { COLOURS, toCanvas } from "../stage.js";

/** @import { Figure, Kernels } from "../figure.js" */
/** @import { Image, Point } from "../sampling.js" */

/**
 * @typedef {object} Traits
 * @property {number} photo which of the photographs is shown
 * @property {number} angle by which its paper is turned counter-clockwise, in degrees
 * @property {DataView} photos
 * @property {number[]} labels of these
 * @property {DataView} weights of the network
 * @property {DataView} graph the network as an ONNX file that finds its weights elsewhere
 */

const PIXELS = SIDE * SIDE;
const ANGLES = [-90, 90];
// Where a digit of the training's mean size fits: 20 of 42 pixels.
/** @type {Point[]} */
const GUIDE = [
  [-0.48, -0.48],
  [0.48, -0.48],
  [0.48, 0.48],
  [-0.48, 0.48],
];

/** What is before the eye, and what the network makes of it. */
class Eye {
  /** @param {Figure<Traits>} figure */
  constructor(figure) {
    this.figure = figure;
    this.weights = readWeights(figure.get("weights"));
    const { picture, ink, seen } = this.take(this.still);
    this.picture = picture;
    this.ink = ink;
    this.seen = seen;
  }

  /** The photograph that is chosen, its paper turned. */
  get still() {
    return turned(this.photo(this.figure.get("photo")), this.figure.get("angle"));
  }

  /** @param {number} index */
  photo(index) {
    const { buffer, byteOffset } = this.figure.get("photos");
    const bytes = new Uint8Array(buffer, byteOffset + PIXELS * index, PIXELS);
    return imageFromBytes(bytes, [1, SIDE, SIDE]);
  }

  /**
   * What the network makes of a picture.
   * @param {Image} picture
   */
  take(picture) {
    const { image, ink } = readPaper(Float64Array.from(picture.data));
    return { picture, ink, seen: look(forward, this.weights, image) };
  }

  /** @param {Image} picture */
  see(picture) {
    Object.assign(this, this.take(picture));
  }
}

/**
 * The picture as the network's eye gets it; the digit belongs into the dashed square.
 * @param {Eye} eye
 */
function picturePanel(eye) {
  const label = "The picture: ink on paper, with a square for the digit";
  const stage = eye.figure.stage([-1, -1, 1, 1], label, () => update());
  const update = () => {
    if (!stage.width) return;
    stage.clear();
    stage.image(eye.picture);
    stage.line(GUIDE, COLOURS.input, { closed: true, dash: [6, 4] });
  };
  return { root: element("div", {}, title("1. Paper"), stage.root), update };
}

/** @param {Eye} eye */
function inkPanel(eye) {
  const label = "The ink alone, with the sampling grid of theta over it";
  const stage = eye.figure.stage([-1.35, -1.35, 1.35, 1.35], label, () => update());
  const update = () => {
    if (!stage.width) return;
    const { image, theta } = eye.seen;
    stage.clear();
    stage.image(image);
    stage.frame(COLOURS.input);
    if (eye.ink) stage.grid((point) => transform(theta, point), COLOURS.grid, 4);
  };
  return {
    root: element("div", {}, title("2. Ink, and the grid"), stage.root),
    update,
  };
}

/** @param {Eye} eye */
function outputPanel(eye) {
  const view = [-1.05, -1.05, 1.05, 1.05];
  const stage = eye.figure.stage(view, "The straightened digit", () => update());
  const update = () => {
    if (!stage.width) return;
    stage.clear();
    stage.image(eye.seen.straight);
    stage.frame(COLOURS.output, 3);
  };
  return { root: element("div", {}, title("3. Straightened"), stage.root), update };
}

/** @param {Eye} eye */
function answerPanel(eye) {
  const answer = title();
  const scores = scoreRows();
  const update = () => {
    answer.textContent = eye.ink ? `4. Answer: ${eye.seen.best}` : "4. No ink in sight";
    scores.set(eye.seen.shares);
  };
  return { root: element("div", {}, answer, scores.root), update };
}

/**
 * Where pictures come from: photographs that are here, and the reader's camera.
 * @param {Eye} eye
 * @param {() => void} update
 */
function sourcePanel(eye, update) {
  const { figure } = eye;
  const status = element("p", { class: "stn-note", role: "status" });
  let [since, count, spent] = [0, 0, 0]; // of the pictures of this second
  const show = (/** @type {Float64Array} */ data) => {
    const start = performance.now();
    eye.see({ data, channels: 1, height: SIDE, width: SIDE });
    spent += performance.now() - start;
    count += 1;
    if (start - since > 1000) {
      const rate = fixed((1000 * count) / (start - since), 0);
      const words = `${rate} pictures a second, each read in ${fixed(spent / count, 0)} ms`;
      status.textContent = since ? `${words}. None is kept or sent.` : "";
      [since, count, spent] = [start, 0, 0];
    }
    update();
  };
  const camera = new Camera(figure.ending, show, (state, words) => {
    since = 0;
    const held = document.activeElement;
    start.hidden = state !== "off";
    stop.hidden = state === "off";
    if (held === start || held === stop) (state === "off" ? start : stop).focus();
    if (words) status.textContent = words;
    if (state === "off") still();
    mark();
  });
  const start = button("Let the camera see", () => camera.start());
  const stop = button("Stop the camera", () => camera.stop("Stopped."));
  stop.hidden = true;
  const still = () => {
    turn.set(figure.get("angle"));
    eye.see(eye.still);
    update();
    mark();
  };
  const ready = figure.get("labels").map((digit, photo) => {
    const click = () => {
      camera.stop("Stopped.");
      figure.send({ photo });
    };
    const attributes = { "aria-label": `photograph of a ${digit}` };
    return button(toCanvas(eye.photo(photo)), click, attributes);
  });
  const mark = () => {
    const chosen = camera.state === "on" ? undefined : figure.get("photo");
    for (const [photo, each] of ready.entries())
      each.setAttribute("aria-pressed", String(photo === chosen));
  };
  const [min, max] = ANGLES;
  const format = (/** @type {number} */ value) => `${fixed(value, 0)}°`;
  const turn = slider("turn it", { min, max, step: 1, format }, (angle) => {
    camera.stop("Stopped.");
    figure.send({ angle });
  });
  const group = { class: "stn-controls", role: "group", "aria-label": "Pictures" };
  const choices = element("div", group, ...ready, start, stop);
  const root = element("div", {}, choices, turn.root, status);
  root.append(camera.video);
  figure.listen(["photo", "angle"], () => camera.state === "on" || still());
  return { root, still };
}

const megabytes = (/** @type {number} */ bytes) => `${fixed(bytes / 1e6, 1)} MB`;

/**
 * One way to run the network, with its time.
 * @param {string} label of the button
 * @param {string} name
 * @param {string} before what is said until it has run
 * @param {(tell: (words: string) => void) => Promise<string>} run gives what to say
 */
function benchRow(label, name, before, run) {
  const said = element("span", { role: "status" }, before);
  const tell = (/** @type {string} */ words) => said.replaceChildren(words);
  const act = button(
    label,
    async () => {
      act.disabled = true;
      tell("running …");
      try {
        tell(await run(tell));
      } catch (error) {
        tell(/** @type {Error} */ (error).message);
      }
      act.disabled = false;
    },
    { "aria-label": `${label}: ${name}` },
  );
  return element("div", { class: "stn-bench" }, act, element("strong", {}, name), said);
}

/** @param {Eye} eye */
function benchPanel(eye) {
  const { figure } = eye;
  const weights = figure.get("weights").byteLength;
  const own = benchRow(
    "Run",
    "JavaScript",
    "the page's own, here already",
    async () => {
      const { image } = eye.seen;
      const time = await timed(() => forward(eye.weights, image), figure.ending);
      return `${fixed(time, 2)} ms an image; ${fixed(weights / 1000, 0)} kB of weights`;
    },
  );
  return element(
    "div",
    { class: "stn-benches" },
    title("On the bench"),
    own,
    ...others(eye),
  );
}

/** @param {Eye} eye */
function others(eye) {
  const { figure } = eye;
  /** @param {Kernels} kind */
  const run = (kind) => async (/** @type {(words: string) => void} */ tell) => {
    const { runtime } = figure.model;
    if (!runtime)
      throw new Error("Only the book's site has it at hand, not a notebook.");
    if (kind === "webgpu" && !(await adapter())) {
      throw new Error("This browser, or this machine, has no WebGPU.");
    }
    tell("loading …");
    const { ort, bytes, seconds } = await runtime.call(figure.model, kind);
    tell("running …");
    const { buffer, byteOffset, byteLength } = figure.get("graph");
    const session = await ort.InferenceSession.create(
      new Uint8Array(buffer, byteOffset, byteLength),
      {
        executionProviders: [kind],
        logSeverityLevel: 3, // errors alone
        externalData: [{ path: "weights.bin", data: inOneRow(eye.weights) }],
      },
    );
    const { image } = eye.seen;
    const data = Float32Array.from(image.data);
    const images = new ort.Tensor("float32", data, [1, 1, 42, 42]);
    const time = await timed(() => session.run({ images }), figure.ending);
    const { theta, scores } = await session.run({ images });
    const ours = forward(eye.weights, image);
    const far = Math.max(
      apart(theta.data, ours.theta) * 21, // theta's unit is half the image
      apart(scores.data, ours.scores),
    );
    await session.release();
    return (
      `${fixed(time, 2)} ms an image; ${megabytes(bytes)} in ${fixed(seconds, 1)} s; ` +
      `differs by ${far.toExponential(0).replace("-", "−")}`
    );
  };
  const load = "Let it load";
  return [
    benchRow(load, "onnxruntime-web, wasm", "3.7 MB", run("wasm")),
    benchRow(load, "onnxruntime-web, WebGPU", "6.6 MB", run("webgpu")),
  ];
}

/** Whether a graphics card is there for a page. */
async function adapter() {
  const { gpu } = /** @type {{ gpu?: { requestAdapter: () => Promise<unknown> } }} */ (
    navigator
  );
  return gpu ? await gpu.requestAdapter() : null;
}

/** @param {Figure<Traits>} figure */
function build(figure) {
  const eye = new Eye(figure);
  const panels = [picturePanel, inkPanel, outputPanel, answerPanel].map((panel) =>
    panel(eye),
  );
  const update = () => {
    for (const panel of panels) panel.update();
    const { best, shares } = eye.seen;
    const words = `answer ${best}, ${fixed(100 * shares[best], 0)}%`;
    figure.say(eye.ink ? words : "no ink in sight");
  };
  const source = sourcePanel(eye, update);
  source.still();
  return element(
    "div",
    { class: "stn-figure stn-live" },
    source.root,
    element("div", { class: "stn-draw" }, ...panels.map(({ root }) => root)),
    note(
      "Write one digit with a thick pen on white paper, and hold it so that it fills " +
        "the dashed square. The paper must fill the picture.",
    ),
    benchPanel(eye),
    figure.voice,
  );
}

export default touchable(build, (model) => ({
  angle: number(ANGLES),
  photo: number([0, model.get("labels").length - 1], { whole: true }),
}));
