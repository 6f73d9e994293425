import {
  COLOURS, FRAME, Stage, affineGrid, button, compose, drawingPad, element, fixed, gridSample,
  imageFromBytes, sender, slider, speaker, toCanvas, transform,
} from "./draw.js";

// The network: the parts of stn_tutorial.networks, with the weights' own names

/** The number that 16 bits stand for (IEEE half precision; no infinities in weights). */
export function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  return sign * (exponent ? (1 + fraction) * 2 ** (exponent - 15) : fraction * 2 ** -14);
}

/** The weights in a safetensors file of half-precision numbers: name to {shape, data}. */
export function readWeights({ buffer, byteOffset, byteLength }) {
  const view = new DataView(buffer, byteOffset, byteLength);
  const length = Number(view.getBigUint64(0, true));
  const head = new TextDecoder().decode(new Uint8Array(buffer, byteOffset + 8, length));
  const weights = {};
  for (const [name, { shape, data_offsets: [from, to] }] of Object.entries(JSON.parse(head))) {
    const data = new Float32Array((to - from) / 2);
    for (let i = 0; i < data.length; i++) {
      data[i] = half(view.getUint16(8 + length + from + 2 * i, true));
    }
    weights[name] = { shape, data };
  }
  return weights;
}

/** A convolution that keeps the image's size; around the image all is 0. */
function convolve({ data, channels, height, width }, { data: kernel, shape: [filters, , side] }) {
  const size = height * width;
  const output = new Float32Array(filters * size);
  const pad = (side - 1) / 2;
  let k = 0;
  for (let f = 0; f < filters; f++) {
    for (let c = 0; c < channels; c++) {
      for (let down = -pad; down <= pad; down++) {
        for (let right = -pad; right <= pad; right++) {
          const weight = kernel[k++];
          const away = (c - f) * size + down * width + right; // from output to input
          const first = Math.max(0, -right);
          const last = Math.min(width, width - right);
          for (let i = Math.max(0, -down); i < Math.min(height, height - down); i++) {
            const end = f * size + i * width + last;
            for (let at = f * size + i * width + first; at < end; at++) {
              output[at] += weight * data[at + away];
            }
          }
        }
      }
    }
  }
  return { data: output, channels: filters, height, width };
}

/** Scale and shift each channel, then cut what is below 0 (ReLU); in place. */
function activate(image, scaleAndShift) {
  const size = image.height * image.width;
  for (let c = 0; c < image.channels; c++) {
    const [scale, shift] = scaleAndShift(c);
    for (let i = c * size; i < (c + 1) * size; i++) {
      image.data[i] = Math.max(0, scale * image.data[i] + shift);
    }
  }
  return image;
}

/** An image of half the size: each 2x2 pixels become one. */
function halve({ data, channels, height, width }, join) {
  const [rows, columns] = [height >> 1, width >> 1];
  const output = new Float32Array(channels * rows * columns);
  let at = 0;
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        const corner = (c * height + 2 * i) * width + 2 * j;
        output[at++] = join(data[corner], data[corner + 1], data[corner + width], data[corner + width + 1]);
      }
    }
  }
  return { data: output, channels, height: rows, width: columns };
}

const mean = (a, b, c, d) => (a + b + c + d) / 4;

/** A fully connected layer. */
function linear(weights, name, input) {
  const { data: matrix } = weights[`${name}.weight`];
  return Array.from(weights[`${name}.bias`].data, (bias, row) =>
    input.reduce((sum, value, i) => sum + value * matrix[row * input.length + i], bias));
}

/** theta, six numbers: the localisation net's answer to a 21x21 image. */
function localise(weights, image) {
  const net = "transformer.localisation.1";
  for (const layer of [`${net}.body.0`, `${net}.body.3`]) {
    const bias = weights[`${layer}.bias`].data;
    const made = convolve(image, weights[`${layer}.weight`]);
    image = halve(activate(made, (c) => [1, bias[c]]), Math.max);
  }
  const hidden = linear(weights, `${net}.body.7`, image.data).map((v) => Math.max(0, v));
  return linear(weights, `${net}.last`, hidden);
}

/** The scores of the ten digits: the compact CNN's answer to a 28x28 image. */
function classify(weights, image) {
  for (const [layer, pool] of [[0, true], [4, false], [7, true], [11, false], [14, false]]) {
    const norm = (what, c) => weights[`classifier.${layer + 1}.${what}`].data[c];
    const made = convolve(image, weights[`classifier.${layer}.weight`]);
    image = activate(made, (c) => {
      const scale = norm("weight", c) / Math.sqrt(norm("running_var", c) + 1e-5);
      return [scale, norm("bias", c) - scale * norm("running_mean", c)];
    });
    if (pool) image = halve(image, Math.max);
  }
  const size = image.height * image.width;
  const largest = Array.from({ length: image.channels }, (_, c) =>
    Math.max(...image.data.subarray(c * size, (c + 1) * size)));
  return linear(weights, "classifier.19", largest);
}

/** From a 42x42 image to theta, the straightened 28x28 image and ten scores. */
export function forward(weights, image) {
  const theta = localise(weights, halve(image, mean));
  const straight = halve(gridSample(image, affineGrid(theta, 56, 56), 56, 56), mean);
  return { theta, straight, scores: classify(weights, straight) };
}

/** Scores as probabilities. */
export function softmax(scores) {
  const largest = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - largest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

// The digit on its canvas

const DEGREE = Math.PI / 180;

/** The 28x28 drawing on a 42x42 canvas, as stn_tutorial.digits.moved_grid places it. */
export function place(drawing, pose) {
  return gridSample(drawing, affineGrid(toDrawing(pose), 42, 42), 42, 42);
}

/** The map from the canvas to the drawing; x and y are in pixels of the canvas. */
function toDrawing({ angle, scale, x, y }) {
  const cos = (Math.cos(angle * DEGREE) * 42) / 28 / scale;
  const sin = (Math.sin(angle * DEGREE) * 42) / 28 / scale;
  return compose([cos, -sin, 0, sin, cos, 0], [1, 0, -x / 21, 0, 1, -y / 21]);
}

/** Where a point of the digit's box is on the canvas; the box is 20 pixels wide. */
export function onCanvas({ angle, scale, x, y }, [u, v]) {
  const [cos, sin] = [Math.cos(angle * DEGREE), Math.sin(angle * DEGREE)];
  return [
    (x + 10 * scale * (cos * u + sin * v)) / 21,
    (y + 10 * scale * (cos * v - sin * u)) / 21,
  ];
}

/** The pose that puts the middle of the box's upper edge at a point of the canvas. */
export function withTop({ x, y }, point) {
  const [right, up] = [21 * point[0] - x, y - 21 * point[1]];
  return { angle: Math.atan2(-right, up) / DEGREE, scale: Math.hypot(right, up) / 10 };
}

// What a slider says and can do: name, unit, lowest and highest, trained range, step.
const POSE = {
  angle: ["angle", "°", [-90, 90], [-45, 45], 1],
  scale: ["scale", "", [0.5, 1.5], [0.7, 1.2], 0.01],
  x: ["to the right", " px", [-10, 10], [-7, 7], 0.5],
  y: ["down", " px", [-10, 10], [-7, 7], 0.5],
};
const UPRIGHT = { angle: 0, scale: 1, x: 0, y: 0 };

/** The nearest pose that the sliders have. */
export function allowed(pose) {
  return Object.fromEntries(Object.entries(pose).map(([name, value]) => {
    const [, , [low, high], , step] = POSE[name];
    const steps = Math.round(1 / step); // a whole number, or rounding leaves a tail
    return [name, Math.min(Math.max(Math.round(value * steps) / steps, low), high)];
  }));
}

function render({ model, el }) {
  const send = sender(model);
  const voice = speaker();
  const weights = readWeights(model.get("weights"));
  const pose = () => Object.fromEntries(Object.keys(POSE).map((name) => [name, model.get(name)]));
  let own = false; // whether the change at hand is the reader's, not Python's
  const change = (traits) => {
    own = true;
    send(traits);
    own = false;
    show();
  };

  const pad = drawingPad(28, "Draw a digit: arrow keys move the pen, space puts it down or lifts it",
    ({ data }) => change({
      drawing: new DataView(Uint8Array.from(data, (v) => Math.round(255 * v)).buffer),
    }));
  const { buffer, byteOffset } = model.get("ready");
  const ready = model.get("labels").map((label, i) => {
    const bytes = new Uint8Array(buffer, byteOffset + 784 * i, 784);
    const image = imageFromBytes(bytes, [1, 28, 28]);
    const click = () => {
      pad.set(image.data);
      change({ drawing: new DataView(bytes.slice().buffer) });
    };
    return button(toCanvas(image), click, { "aria-label": `start from this ${label}` });
  });

  const input = new Stage([-1.35, -1.35, 1.35, 1.35],
    "The network's input, with the sampling grid of theta over it", () => paint());
  const output = new Stage([-1.05, -1.05, 1.05, 1.05], "The straightened digit", () => paint());
  input.handle("middle of the digit", COLOURS.input, {
    get: () => onCanvas(pose(), [0, 0]),
    set: ([x, y]) => change(allowed({ x: 21 * x, y: 21 * y })),
  });
  input.handle("top of the digit", COLOURS.input, {
    get: () => onCanvas(pose(), [0, -1]),
    set: (point) => change(allowed(withTop(pose(), point))),
  });

  const sliders = Object.entries(POSE).map(([name, [label, unit, [min, max], , step]]) =>
    [name, slider(label, { min, max, step, format: (v) => fixed(v, name === "scale" ? 2 : step % 1 ? 1 : 0) + unit },
      (value) => change({ [name]: value }))]);
  const random = () => allowed(Object.fromEntries(Object.entries(POSE).map(
    ([name, [, , , [low, high]]]) => [name, low + (high - low) * Math.random()])));
  const buttons = element("div", { class: "stn-controls" },
    button("upright", () => change(UPRIGHT)), button("random", () => change(random())));
  const numbers = Array.from({ length: 6 }, () => element("span"));
  const angle = element("p", { class: "stn-note" });
  const beyond = element("p", { class: "stn-note" });
  const bars = Array.from({ length: 10 }, (_, digit) => {
    const bar = element("span", { class: "stn-bar" });
    const number = element("span", { class: "stn-value" });
    const row = element("li", {}, element("span", {}, String(digit)), element("span", {}, bar), number);
    return { row, bar, number };
  });
  const answer = element("p", { class: "stn-title" });

  const title = (text) => element("p", { class: "stn-title" }, text);
  el.replaceChildren(element("div", { class: "stn-figure" },
    element("div", { class: "stn-controls", role: "group", "aria-label": "Digits to start from" },
      "Start from:", ...ready, button("clear", () => pad.clear())),
    element("div", { class: "stn-draw" },
      element("div", {}, title("1. Draw"), element("div", { class: "stn-pad" }, pad.root)),
      element("div", {}, title("2. Turn and move"), input.root),
      element("div", {}, title("3. Straightened"), output.root),
      element("div", {}, answer,
        element("ol", { class: "stn-scores", "aria-label": "Scores" }, ...bars.map(({ row }) => row))),
      element("div", { class: "stn-wide" }, ...sliders.map(([, { root }]) => root), buttons, beyond,
        title("θ, from output to input"),
        element("div", { class: "stn-matrix", role: "group", "aria-label": "theta" }, ...numbers), angle)),
    element("p", { class: "stn-note" },
      "MNIST's digits fill the dashed square. Vermilion: where the transformer looks. "
      + "The network was trained on MNIST digits, turned by at most 45°, scaled by 0.7 to 1.2 "
      + "and moved by at most 7 pixels."),
    voice.root));

  let seen;

  function paint() {
    if (!input.width || !output.width) return;
    input.clear();
    input.image(seen.image);
    input.line(FRAME, COLOURS.input, { closed: true });
    input.line(FRAME.map((corner) => onCanvas(pose(), corner)), COLOURS.input, { closed: true, dash: [6, 4] });
    input.grid((point) => transform(seen.theta, point), COLOURS.grid, 4);
    output.clear();
    output.image(seen.straight);
    output.line(FRAME, COLOURS.output, { closed: true, width: 3 });
    input.update();
  }

  function show() {
    const image = place(pad.image, pose());
    seen = { image, ...forward(weights, image) };
    const { theta } = seen;
    const shares = softmax(seen.scores);
    const best = shares.indexOf(Math.max(...shares));
    bars.forEach(({ row, bar, number }, digit) => {
      bar.style.width = `${100 * shares[digit]}%`;
      number.textContent = `${fixed(100 * shares[digit], 1)}%${digit === best ? " ◀" : ""}`;
      row.setAttribute("aria-current", digit === best);
    });
    answer.textContent = `4. Answer: ${best}`;
    theta.forEach((value, i) => { numbers[i].textContent = fixed(value); });
    const [a, b, , c, d] = theta;
    const turn = fixed(Math.atan2(c - b, a + d) / DEGREE, 0); // of the nearest rotation
    angle.textContent = `Angle in θ: ${turn}°`;
    const outside = Object.entries(POSE).filter(([name, [, , , [low, high]]]) =>
      model.get(name) < low || model.get(name) > high);
    beyond.textContent = outside.length
      ? `Beyond its training: ${outside.map(([, [label]]) => label).join(", ")}.`
      : "Within the range of its training.";
    for (const [name, control] of sliders) control.set(model.get(name));
    voice.say(`answer ${best}, ${fixed(100 * shares[best], 0)}%, angle in theta ${turn}°`);
    paint();
  }

  const read = () => pad.set(imageFromBytes(model.get("drawing"), [1, 28, 28]).data);
  for (const trait of ["drawing", ...Object.keys(POSE)]) {
    model.on(`change:${trait}`, () => {
      if (own) return;
      read();
      show();
    });
  }
  read();
  show();
}

export default { render };
