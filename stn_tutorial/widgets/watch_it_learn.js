import {
  COLOURS, FRAME, Stage, affineGrid, button, element, fixed, gridSample, imageFromBytes,
  prefersStill, sender, slider, speaker, transform,
} from "./draw.js";

const PACE = 700; // milliseconds a moment, while it plays
const INK = "#444";

/** What theta does on a canvas of side x side pixels, in pixels, shares and degrees. */
export function pose([a, b, x, c, d, y], side) {
  return {
    shift: (Math.hypot(x, y) * side) / 2,
    size: Math.sqrt(Math.abs(a * d - b * c)),
    angle: (Math.atan2(c - b, a + d) * 180) / Math.PI,
  };
}

/** What the classifier sees: the transformer's output, averaged pool x pool. */
export function straighten(image, theta, side, pool) {
  const large = side * pool;
  const warped = gridSample(image, affineGrid(theta, large, large), large, large);
  const data = new Float64Array(side * side);
  warped.data.forEach((value, i) => {
    const row = Math.floor(i / large / pool);
    const column = Math.floor((i % large) / pool);
    data[row * side + column] += value / pool ** 2;
  });
  return { data, channels: 1, height: side, width: side };
}

/**
 * Where n images stand on the axis of a training, from 0 to 1: at their logarithm.
 *
 * `images` are the training's moments. 0 has no logarithm; it stands a little to the
 * left of the first of them that is not 0.
 */
export function along(images, n) {
  const [first, last] = [images[1], images.at(-1)].map(Math.log10);
  const gap = (last - first) / 8 || 1;
  return n ? (Math.log10(n) - first + gap) / (last - first + gap) : 0;
}

const count = (n) => n.toLocaleString("en-GB");

/** Curves over the moments of a training. A click or a drag chooses a moment. */
function chart(label, images, { from, to, ticks, log = false }, choose) {
  const scale = log ? Math.log10 : (value) => value;
  const level = (value) =>
    (scale(Math.max(value, from)) - scale(from)) / (scale(to) - scale(from));
  const at = images.map((n) => along(images, n));
  const decades = [3, 4, 5, 6].map((power) => 10 ** power)
    .filter((n) => n >= images[1] && along(images, n) < 1.02);
  let [curves, moment] = [[], 0];
  const stage = new Stage([0, 0, 1.6, 1], label, () => paint());
  const paint = () => {
    if (!stage.width) return;
    const [width, height] = [stage.width - 66, stage.height - 40]; // less the margins
    stage.view = [-38 / width, 1 + 12 / height, 1 + 28 / width, -28 / height];
    stage.clear();
    for (const tick of ticks) {
      stage.line([[0, level(tick)], [1, level(tick)]], "#ddd", { width: 1 });
      stage.text(`${tick}`.replace("-", "−"), [-6 / width, level(tick)], { align: "right" });
    }
    let free = -Infinity; // the right end of the last number under the axis
    for (const n of [0, ...decades]) {
      const [place, half] = [along(images, n), (4 * count(n).length + 3) / width];
      stage.line([[place, 0], [place, -4 / height]], INK, { width: 1 });
      if (place - half < free) continue; // no room
      stage.text(count(n), [place, -15 / height]);
      free = place + half;
    }
    stage.line([[at[moment], 0], [at[moment], 1]], INK, { width: 1, dash: [4, 3] });
    for (const { values, colour, width: thick } of curves) {
      const points = values.map((value, i) => [at[i], level(value)]);
      stage.line(points.slice(0, 2), colour, { width: thick, dash: [3, 3] });
      stage.line(points.slice(1), colour, { width: thick });
    }
    const { values, colour } = curves.at(-1);
    stage.dot([at[moment], level(values[moment])], colour, 6);
  };
  const { canvas } = stage;
  const scrub = (event) => {
    const [x] = stage.locate(event);
    const distances = at.map((place) => Math.abs(place - x));
    choose(distances.indexOf(Math.min(...distances)));
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    scrub(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (canvas.hasPointerCapture(event.pointerId)) scrub(event);
  });
  stage.root.classList.add("stn-scrub");
  const draw = (lines, now) => { [curves, moment] = [lines, now]; paint(); };
  return { root: stage.root, draw };
}

function render({ model, el }) {
  const send = sender(model);
  const voice = speaker();
  const [images, error, side, pool] = ["images", "error", "side", "pool"].map((k) => model.get(k));
  const [number, canvasSide] = model.get("shape");
  const pixels = model.get("pixels");
  const inputs = Array.from({ length: number }, (_, i) => {
    const start = pixels.byteOffset + i * canvasSide ** 2;
    return imageFromBytes(
      new Uint8Array(pixels.buffer, start, canvasSide ** 2), [1, canvasSide, canvasSide]);
  });
  const numbers = model.get("theta");
  const theta = (moment, i) => Array.from({ length: 6 }, (_, k) =>
    numbers.getFloat32(4 * ((moment * number + i) * 6 + k), true));
  const poses = inputs.map((_, i) =>
    images.map((_, moment) => pose(theta(moment, i), canvasSide)));
  const outputs = images.map(() => []); // each is made when first shown
  const output = (moment, i) =>
    outputs[moment][i] ??= straighten(inputs[i], theta(moment, i), side, pool);
  const moment = () => model.get("moment");
  const chosen = () => model.get("chosen");
  const last = images.length - 1;

  // Small pairs of input and output, and a large one

  const paintInput = (stage, i, lines) => {
    if (!stage.width) return;
    stage.clear();
    stage.image(inputs[i]);
    stage.grid((point) => transform(theta(moment(), i), point), COLOURS.grid, lines);
  };
  const paintOutput = (stage, i) => {
    if (!stage.width) return;
    stage.clear();
    stage.image(output(moment(), i));
    stage.line(FRAME, COLOURS.output, { closed: true, width: 3 });
  };
  const pair = (i, view, lines) => {
    const above = new Stage([-view, -view, view, view], "Input and grid",
      () => paintInput(above, i(), lines));
    const below = new Stage([-1.05, -1.05, 1.05, 1.05], "What the classifier sees",
      () => paintOutput(below, i()));
    const paint = () => { paintInput(above, i(), lines); paintOutput(below, i()); };
    return { roots: [above.root, below.root], paint };
  };
  const pairs = inputs.map((_, i) => pair(() => i, 1.3, 1));
  const tiles = pairs.map(({ roots }, i) => element("button", {
    type: "button", class: "stn-tile", "aria-label": `Image ${i + 1} of ${number}`,
    click: () => send({ chosen: i }),
  }, ...roots));
  const large = pair(chosen, 1.4, 8);

  // Time: a button, a slider

  let timer = 0;
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  };
  const go = (to) => { stop(); send({ moment: Math.min(Math.max(to, 0), last) }); };
  const start = () => {
    if (moment() === last) send({ moment: 0 });
    play.textContent = "Pause";
    timer = setInterval(() => {
      if (moment() < last - 1) send({ moment: moment() + 1 });
      else go(last);
    }, PACE);
  };
  const play = button("Play", () => (timer ? stop() : start()));
  play.hidden = prefersStill(); // the slider goes through the same moments
  const time = slider("Moment",
    { min: 0, max: last, step: 1, format: (k) => `${count(images[k])} images` }, go);
  const status = element("p", { class: "stn-title" });

  // Curves: the error, and what theta does

  const least = Math.max(0.05, 0.8 * Math.min(1, ...error)); // per cent
  const learning = chart("Validation error in per cent against images seen", images, {
    from: least, to: 100, ticks: [0.1, 1, 10, 100].filter((tick) => tick >= least), log: true,
  }, go);
  const most = (name) => Math.max(...poses.flat().map((p) => Math.abs(p[name])));
  const far = Math.max(5, 5 * Math.ceil(most("shift") / 5)); // pixels
  const turned = Math.max(45, most("angle")); // degrees
  const follow = {
    shift: {
      say: (v) => `Shift: ${fixed(v, 1)} pixels`,
      axis: { from: 0, to: far, ticks: [0, far / 2, far] },
    },
    size: {
      say: (v) => `Size: ${fixed(v)} of the canvas`,
      axis: { from: 0, to: Math.max(1.1, most("size")), ticks: [0, 0.5, 1] },
    },
    angle: {
      say: (v) => `Angle: ${fixed(v, 1)}°`,
      axis: { from: -turned, to: turned, ticks: [-45, 0, 45] },
    },
  };
  for (const [name, entry] of Object.entries(follow)) {
    entry.title = element("p", { class: "stn-title" });
    entry.chart = chart(`${name} of the grid against images seen`, images, entry.axis, go);
  }

  const title = (text) => element("p", { class: "stn-title" }, text);
  const which = title("");
  const legend = element("p", { class: "stn-note" });
  const cells = Array.from({ length: 6 }, () => element("span", { class: "stn-value" }));
  el.replaceChildren(element("div", { class: "stn-figure stn-watch" },
    element("div", { class: "stn-tiles", role: "group", "aria-label": "Watched images" }, ...tiles),
    element("div", { class: "stn-controls" },
      play,
      button("◀", () => go(moment() - 1), { "aria-label": "One moment back" }),
      button("▶", () => go(moment() + 1), { "aria-label": "One moment on" }),
      time.root),
    element("div", { class: "stn-panels" },
      element("div", {}, status, learning.root,
        element("p", { class: "stn-note" }, "Validation errors (%) against training images seen. Click or drag on any curve.")),
      element("div", {}, which, element("div", { class: "stn-pair" }, ...large.roots),
        element("div", { class: "stn-matrix", role: "group", "aria-label": "theta" }, ...cells))),
    element("div", { class: "stn-panels stn-three" },
      ...Object.values(follow).map((entry) => element("div", {}, entry.title, entry.chart.root))),
    legend, voice.root));

  function show() {
    const [now, i] = [moment(), chosen()];
    time.set(now);
    const when = now ? `After ${count(images[now])} images` : "Before training";
    status.textContent = `${when}: ${fixed(error[now], 1)}% errors`;
    for (const [k, { paint }] of pairs.entries()) {
      paint();
      tiles[k].setAttribute("aria-pressed", k === i);
    }
    large.paint();
    learning.draw([{ values: error, colour: INK, width: 2 }], now);
    for (const [name, entry] of Object.entries(follow)) {
      const curve = (p, colour, width) => ({ values: p.map((v) => v[name]), colour, width });
      const others = poses.filter((_, k) => k !== i).map((p) => curve(p, "#bbb", 1));
      entry.chart.draw([...others, curve(poses[i], COLOURS.grid, 3)], now);
      entry.title.textContent = entry.say(poses[i][now][name]);
    }
    which.textContent = `Image ${i + 1} of ${number}: grid, output, θ`;
    legend.textContent = `Thick: image ${i + 1}. Thin: the other ${number - 1}.`;
    theta(now, i).forEach((value, k) => { cells[k].textContent = fixed(value); });
    const texts = Object.values(follow).map((entry) => entry.title.textContent);
    if (!timer) voice.say(`${status.textContent}. Image ${i + 1}. ${texts.join(". ")}`);
  }

  for (const trait of ["moment", "chosen"]) model.on(`change:${trait}`, show);
  show();
  return stop;
}

export default { render };
