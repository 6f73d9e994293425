import {
  COLOURS, FRAME, Stage, affineGrid, button, centre, choice, element, fixed, gridSample,
  namedImages, prefersStill, sender, slider, speaker, toCanvas, toPixel, transform,
} from "./draw.js";

const SIDE = 28; // of the target, in pixels
const NODES = 41; // losses along each side of the map
const MOST_STEPS = 100;
const RECENT = 20; // steps
const NEAR = 0.05; // of the target, in units

// The forward pass. Four parameters: angle (degrees), scale, tx, ty.

// Descent counts the angle in radians, or its slope would be far below the others.
const UNITS = [180 / Math.PI, 1, 1, 1];

/** theta of a turn, a scaling and a shift. */
export function thetaOf([angle, scale, tx, ty]) {
  const [cos, sin] = [Math.cos(angle / UNITS[0]), Math.sin(angle / UNITS[0])];
  return [scale * cos, -scale * sin, tx, scale * sin, scale * cos, ty];
}

/** Read one channel at (x, y): the value, and its slopes along x and y. */
export function sampleWithSlopes({ data, height, width }, x, y) {
  const pixel = (i, j) => (i >= 0 && i < height && j >= 0 && j < width ? data[i * width + j] : 0);
  const column = toPixel(x, width);
  const row = toPixel(y, height);
  const left = Math.floor(column);
  const top = Math.floor(row);
  const across = column - left;
  const down = row - top;
  const value = pixel(top, left);
  const upper = pixel(top, left + 1) - value; // slopes, per pixel
  const lower = pixel(top + 1, left + 1) - pixel(top + 1, left);
  const side = pixel(top + 1, left) - value;
  const slopeX = upper + down * (lower - upper);
  const slopeY = side + across * (lower - upper);
  return [value + across * upper + down * slopeY, (slopeX * width) / 2, (slopeY * height) / 2];
}

// The way back

/** How the six numbers of theta change with each parameter, per unit. */
export function thetaSlopes([angle, scale]) {
  const [cos, sin] = [Math.cos(angle / UNITS[0]), Math.sin(angle / UNITS[0])];
  return [
    [-scale * sin, -scale * cos, 0, scale * cos, -scale * sin, 0],
    [cos, -sin, 0, sin, cos, 0],
    [0, 0, 1, 0, 0, 0],
    [0, 0, 0, 0, 0, 1],
  ];
}

/**
 * The mean squared difference to the target, and its gradient per unit.
 *
 * The chain rule of chapter 4: each output pixel votes with its share of the loss, times
 * the sampler's slope, times (x, y, 1) of its place in the output.
 */
export function lossAndGradient(image, target, parameters) {
  const [a, b, c, d, e, f] = thetaOf(parameters);
  const { height, width } = target;
  const pixels = height * width;
  const byTheta = [0, 0, 0, 0, 0, 0];
  let loss = 0;
  for (let i = 0; i < pixels; i++) {
    const x = centre(i % width, width);
    const y = centre(Math.floor(i / width), height);
    const [value, slopeX, slopeY] = sampleWithSlopes(
      image, a * x + b * y + c, d * x + e * y + f);
    const difference = value - target.data[i];
    loss += difference ** 2 / pixels;
    const byValue = (2 * difference) / pixels;
    byTheta[0] += byValue * slopeX * x;
    byTheta[1] += byValue * slopeX * y;
    byTheta[2] += byValue * slopeX;
    byTheta[3] += byValue * slopeY * x;
    byTheta[4] += byValue * slopeY * y;
    byTheta[5] += byValue * slopeY;
  }
  const gradient = thetaSlopes(parameters).map((slopes) =>
    slopes.reduce((sum, slope, k) => sum + slope * byTheta[k], 0));
  return { loss, gradient };
}

/** Plain gradient descent on the parameters in `pair`: every point on the way. */
export function descend(image, target, start, pair, rate, steps) {
  const path = [start];
  for (let k = 0; k < steps; k++) {
    const { gradient } = lossAndGradient(image, target, path[k]);
    path.push(path[k].map((v, i) => (pair.includes(i) ? v - rate * gradient[i] * UNITS[i] : v)));
  }
  return path;
}

/** One row of the map: the losses of n x n values of the two parameters in `pair`. */
export function lossRow(image, target, known, pair, ranges, n, row) {
  const at = ([low, high], i) => low + ((high - low) * i) / (n - 1);
  return Float64Array.from({ length: n }, (_, column) => {
    const parameters = [...known];
    parameters[pair[0]] = at(ranges[pair[0]], column);
    parameters[pair[1]] = at(ranges[pair[1]], row);
    return lossAndGradient(image, target, parameters).loss;
  });
}

/** Where n x n values cross a level: pieces of line, in steps between the values. */
export function contour(values, n, level) {
  const pieces = [];
  for (let i = 0; i < n - 1; i++) {
    for (let j = 0; j < n - 1; j++) {
      const [a, b, c, d] = [[i, j], [i, j + 1], [i + 1, j + 1], [i + 1, j]];
      const below = [a, b, c, d].filter(([row, column]) => values[row * n + column] < level);
      if (below.length % 4 === 0) continue; // all on one side
      for (const triangle of [[a, b, c], [a, c, d]]) {
        const piece = triangle.flatMap((from, k) => {
          const to = triangle[(k + 1) % 3];
          const [v, w] = [from, to].map(([row, column]) => values[row * n + column] - level);
          if (v < 0 === w < 0) return [];
          const share = v / (v - w);
          return [[from[1] + share * (to[1] - from[1]), from[0] + share * (to[0] - from[0])]];
        });
        if (piece.length) pieces.push(piece);
      }
    }
  }
  return pieces;
}

/** 1, 2 or 5 times a power of ten, near to and not below a value. */
export function roundStep(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((k) => k * power >= value);
}

/** Losses as a picture: dark where small, with a line at each multiple of `step`. */
function mapPicture(losses, highest, step) {
  const cell = 20;
  const grey = losses.map((loss) => 0.3 + (0.7 * loss) / highest);
  const canvas = element("canvas", { width: cell * NODES, height: cell * NODES });
  const context = canvas.getContext("2d");
  const small = toCanvas({ data: grey, channels: 1, height: NODES, width: NODES });
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  context.strokeStyle = "#0008";
  context.lineWidth = 1.5;
  for (let level = step; level < highest; level += step) {
    for (const piece of contour(losses, NODES, level)) {
      context.beginPath();
      for (const [x, y] of piece) context.lineTo((x + 0.5) * cell, (y + 0.5) * cell);
      context.stroke();
    }
  }
  return canvas;
}

const STAGES = [
  "The localisation net looks at the input and answers with θ. Here you are the net: move the sliders.",
  "The grid generator starts from a regular grid: one point for each pixel of the output. Drag the ring to follow one of them.",
  "θ sends every point to a place in the input.",
  "The sampler reads the input at every point. Each value becomes a pixel of the output.",
];
const DOTS = 16; // points along a side; a finer grid is drawn as lines

function render({ model, el }) {
  const send = sender(model); // each change of a trait calls `show`
  const voice = speaker();
  const names = Object.keys(model.get("ranges"));
  const ranges = Object.values(model.get("ranges"));
  const written = (v, i, digits = 2) =>
    (names[i] === "angle" ? `${fixed(v, 0)}°` : fixed(v, digits));
  const pictures = namedImages(model);
  const image = () => pictures[model.get("picture")];
  const known = () => model.get("parameters");
  const output = (parameters, n) =>
    gridSample(image(), affineGrid(thetaOf(parameters), n, n), n, n);
  const title = (words = "") => element("p", { class: "stn-title" }, words);
  const panel = (heading, ...content) => element("div", {}, heading, ...content);
  const named = (name, { root }) => element("div", { class: "stn-inside-choice" }, name, root);

  const part = choice("Part", { "one pass": "One pass", descent: "Descent" },
    (name) => { stop(); send({ part: name }); });
  const picture = choice("Picture",
    Object.fromEntries(Object.keys(pictures).map((name) => [name, name])),
    (name) => send({ picture: name }));

  // One pass, from theta to the output

  const small = [-1.08, -1.08, 1.08, 1.08];
  const large = [-1.45, -1.45, 1.45, 1.45];
  const regular = new Stage(small, "Regular grid of the output's pixels", () => paint());
  const input = new Stage(large, "Input, with the grid over it", () => paint());
  const result = new Stage(small, "Output", () => paint());
  const ring = regular.handle("followed pixel", COLOURS.other, {
    get: () => followed(),
    set: (point) => {
      send({ follow: point.map((v) => Math.min(Math.max(v, -1), 1)) });
      voice.say(journey.textContent);
    },
    step: () => 2 / model.get("size"),
  });
  /** The centre of the output pixel nearest to the point that is followed. */
  function followed() {
    const n = model.get("size");
    return model.get("follow").map((v) =>
      centre(Math.min(Math.max(Math.round(toPixel(v, n)), 0), n - 1), n));
  }

  const numbers = names.map((name, i) => {
    const [min, max] = ranges[i];
    return slider(name, { min, max, step: name === "angle" ? 1 : 0.01, format: (v) => written(v, i) },
      (v) => send({ parameters: known().map((old, k) => (k === i ? v : old)) }));
  });
  const theta = element("output", { class: "stn-matrix", "aria-label": "theta" });
  const side = (n) => `${n} × ${n}`;
  const size = slider("output size", { min: 4, max: 64, step: 1, format: side },
    (n) => send({ size: n }));
  const go = (way) => {
    const stage = Math.min(Math.max(model.get("stage") + way, 1), STAGES.length);
    send({ stage });
    voice.say(explained.textContent);
  };
  const back = button("Back", () => go(-1));
  const next = button("Next", () => go(1));
  const explained = element("p", { class: "stn-note" });
  const inputTitle = title();
  const journey = element("p", { class: "stn-note" });
  const passPart = element("div", {},
    element("div", { class: "stn-controls" }, back, next, explained),
    element("div", { class: "stn-panels" },
      panel("", ...numbers.map((number) => number.root), size.root),
      panel(title("1. θ, from output to input"), theta)),
    element("div", { class: "stn-panels stn-inside-row" },
      panel(title("2. Regular grid"), regular.root),
      panel(inputTitle, input.root),
      panel(title("4. Output"), result.root)),
    journey);

  /** Draw a grid's points where a map sends them; many of them as lines. */
  function drawGrid(stage, map, n) {
    if (n > DOTS) return stage.grid(map);
    stage.line(FRAME.map(map), COLOURS.grid, { closed: true, width: 1 });
    const points = affineGrid([1, 0, 0, 0, 1, 0], n, n);
    for (let k = 0; k < points.length; k += 2) {
      stage.dot(map([points[k], points[k + 1]]), COLOURS.grid, 2.2);
    }
    return undefined;
  }

  /** Ring a point, in the colour of the pixel that is followed. */
  function drawRing(stage, point) {
    const [x, y] = stage.place(point);
    for (const [colour, width] of [["#fff", 5], [COLOURS.other, 3]]) {
      stage.context.beginPath();
      stage.context.arc(x, y, 8, 0, 2 * Math.PI);
      stage.context.setLineDash([]);
      stage.context.strokeStyle = colour;
      stage.context.lineWidth = width;
      stage.context.stroke();
    }
  }

  function drawInput(stage) {
    stage.clear();
    stage.image(image());
    stage.line(FRAME, COLOURS.input, { closed: true });
  }

  function drawOutput(stage, pixels, colour) {
    stage.clear();
    stage.image(pixels);
    stage.line(FRAME, colour, { closed: true, width: 3 });
  }

  function paintPass() {
    const [stage, n] = [model.get("stage"), model.get("size")];
    const map = (point) => transform(thetaOf(known()), point);
    regular.clear();
    result.clear();
    if (stage < 2) regular.text("step 2", [0, 0]);
    if (stage < 4) result.text("step 4", [0, 0]);
    if (stage >= 2) {
      drawGrid(regular, (point) => point, n);
      regular.line(FRAME, COLOURS.output, { closed: true, width: 3 });
    }
    drawInput(input);
    if (stage >= 3) {
      drawGrid(input, map, n);
      drawRing(input, map(followed()));
    }
    if (stage >= 4) {
      drawOutput(result, output(known(), n), COLOURS.output);
      drawRing(result, followed());
    }
    regular.update();
  }

  /** What happens to the followed pixel, as far as it is shown. */
  function story() {
    const [stage, n] = [model.get("stage"), model.get("size")];
    const point = ([x, y]) => `(${fixed(x)}, ${fixed(y)})`;
    const from = followed();
    const to = transform(thetaOf(known()), from);
    const [column, row] = from.map((v) => Math.round(toPixel(v, n)));
    const apart = (known()[1] * image().height) / n;
    return [
      "",
      `The ringed pixel, row ${row + 1} and column ${column + 1}, stands at ${point(from)}.`,
      `θ sends it to ${point(to)} in the input.`,
      `There the sampler reads ${fixed(sampleWithSlopes(image(), ...to)[0])}. ` +
        `Neighbouring points stand ${fixed(apart, 1)} pixels of the input apart.`,
    ].slice(0, stage).join(" ");
  }

  function showPass() {
    const stage = model.get("stage");
    numbers.forEach((number, i) => number.set(known()[i]));
    size.set(model.get("size"));
    theta.replaceChildren(...thetaOf(known()).map((v) => element("span", {}, fixed(v))));
    explained.textContent = `Step ${stage} of ${STAGES.length}. ${STAGES[stage - 1]}`;
    back.setAttribute("aria-disabled", stage === 1);
    next.setAttribute("aria-disabled", stage === STAGES.length);
    inputTitle.textContent = stage < 3 ? "Input" : "3. Grid in the input";
    ring.hidden = stage < 2;
    journey.textContent = story();
  }

  // Descent, from the output back to theta

  const pair = () => model.get("pair").split(" and ").map((name) => names.indexOf(name));
  const target = () => output(known(), SIDE);
  /** The four parameters that descent starts from; those it may not change are true. */
  const first = () =>
    known().map((v, i) => (pair().includes(i) ? model.get("start")[i] : v));
  /** From parameters to the map, whose sides are at -1 and 1; and back. */
  const toMap = (parameters) => pair().map((i) => {
    const [low, high] = ranges[i];
    return (2 * (parameters[i] - low)) / (high - low) - 1;
  });
  const fromMap = (point) => model.get("start").map((v, i) => {
    const [low, high] = ranges[i];
    const at = point[pair().indexOf(i)];
    return at === undefined ? v : Number((low + ((at + 1) / 2) * (high - low)).toFixed(4));
  });
  const tell = () => voice.say(`${status.textContent} ${verdict.textContent}`);
  const drop = (point) => {
    send({ start: fromMap(point.map((v) => Math.min(Math.max(v, -1), 1))) });
    tell();
  };

  const pairs = choice("Descent may change",
    Object.fromEntries(["tx and ty", "angle and scale", "tx and angle"].map((name) => [name, name])),
    (name) => { stop(); send({ steps: 0, pair: name }); });
  const map = new Stage([-1.34, -1.08, 1.14, 1.24], "Map of the loss", () => paint());
  const handle = map.handle("start", COLOURS.grid,
    { get: () => toMap(first()), set: drop, step: 1 / 30 });
  map.canvas.addEventListener("click", (event) => {
    drop(map.locate(event));
    handle.focus();
  });
  const here = new Stage(large, "Input, with the grid of the current point", () => paint());
  const made = new Stage(small, "Output of the current point", () => paint());
  const wanted = new Stage(small, "Target", () => paint());
  const rounded = (exponent) => Number((10 ** exponent).toPrecision(2));
  const rate = slider("learning rate",
    { min: -2, max: 0.45, step: 0.05, format: (v) => String(rounded(v)) },
    (v) => send({ rate: rounded(v) }));
  const run = button("Run", () => (timer ? stop() : play()));
  const restart = button("Back to the start", () => { stop(); send({ steps: 0 }); });
  const step = button("Step", () => { stop(); advance(); });
  const legend = element("p", { class: "stn-note" });
  const status = element("p", { class: "stn-note" });
  const verdict = element("p", { class: "stn-note stn-inside-verdict" });
  const descentPart = element("div", {},
    named("Descent may change", pairs),
    element("div", { class: "stn-panels stn-inside-descent" },
      panel(title("The loss: where do you start?"), map.root, legend,
        element("div", { class: "stn-controls" }, step, run, restart),
        rate.root, status, verdict),
      element("div", { class: "stn-inside-views" },
        panel(title("Input"), here.root),
        panel(title("Output"), made.root),
        panel(title("Target"), wanted.root))),
    element("p", { class: "stn-note" },
      "Ring: the start; drag it, or click where it shall be. Dot: where descent stands. " +
      "Cross: the target, which the θ of One pass has made."));

  let timer = 0;
  function advance() {
    send({ steps: Math.min(model.get("steps") + 1, MOST_STEPS) });
    tell();
  }
  function stop() {
    clearInterval(timer);
    timer = 0;
    run.textContent = "Run";
  }
  function play() {
    if (model.get("steps") === MOST_STEPS) send({ steps: 0 });
    if (prefersStill()) {
      send({ steps: MOST_STEPS });
      tell();
      return;
    }
    run.textContent = "Stop";
    timer = setInterval(() => {
      advance();
      if (ended()) stop();
    }, 40);
  }

  let path = []; // every point of the descent, the last one being where it stands
  let slope = 0; // there: the length of the gradient
  const current = () => path[path.length - 1];
  /** How far two points lie apart, by the parameter that differs most, in units. */
  const distance = (p, q) =>
    Math.max(...pair().map((i) => Math.abs(p[i] - q[i]) / UNITS[i]));
  const outside = () => toMap(current()).some((v) => Math.abs(v) > 1);
  const ended = () => model.get("steps") === MOST_STEPS || outside() || slope === 0;

  function judge() {
    const steps = path.length - 1;
    if (!steps) return "Where will descent end? Predict, then press Run.";
    if (distance(current(), known()) < NEAR) return "It stands at the target.";
    if (outside()) return "It has left the map.";
    if (slope === 0) return "There is no slope here. It cannot move.";
    const last = path.slice(-RECENT);
    if (steps >= RECENT && last.every((point) => distance(current(), point) < NEAR)) {
      return "It hardly moves any more, and is not at the target.";
    }
    return steps === MOST_STEPS ? "It still moves, but is not at the target." : "";
  }

  let surveyed = "";
  let survey = 0; // the timer of its next rows
  let relief = null; // the picture of the map
  /** Measure the whole map anew if its picture, target or pair has changed. */
  function measure() {
    const key = JSON.stringify(["picture", "parameters", "pair"].map((name) => model.get(name)));
    if (key === surveyed) return;
    surveyed = key;
    clearTimeout(survey);
    relief = null;
    legend.textContent = "Measuring the loss …";
    const losses = new Float64Array(NODES * NODES);
    const task = [image(), target(), known(), pair(), ranges, NODES];
    let row = 0;
    const some = () => { // in slices: the page stays awake
      const end = performance.now() + 8;
      while (row < NODES && performance.now() < end) {
        losses.set(lossRow(...task, row), NODES * row);
        row++;
      }
      if (row < NODES) {
        survey = setTimeout(some);
        return;
      }
      const highest = Math.max(...losses) || 1;
      const lines = roundStep(highest / 20);
      relief = mapPicture(losses, highest, lines);
      legend.replaceChildren("loss 0 ", element("span", { class: "stn-inside-bar" }),
        ` ${highest.toPrecision(2)}, a line every ${lines.toPrecision(1)}`);
      paint();
    };
    some();
  }

  function drawMap() {
    const { context } = map;
    const half = 1 / (NODES - 1); // of a cell: the outer nodes lie on the frame
    map.clear();
    context.save();
    const [left, top] = map.place([-1, -1]);
    const [right, bottom] = map.place([1, 1]);
    context.beginPath();
    context.rect(left, top, right - left, bottom - top);
    context.clip();
    if (relief) {
      const [x, y] = map.place([-1 - half, -1 - half]);
      context.drawImage(relief, x, y, 2 * (left - x) + right - left, 2 * (top - y) + bottom - top);
    }
    const points = path.map(toMap);
    map.line(points, "#fff", { width: 5 });
    map.line(points, COLOURS.grid);
    for (const point of points) map.dot(point, COLOURS.grid, 2.5);
    map.dot(toMap(current()), "#fff", 8);
    map.dot(toMap(current()), COLOURS.grid, 6);
    const [x, y] = toMap(known());
    for (const [colour, width] of [["#fff", 7], [COLOURS.output, 4]]) {
      for (const way of [-0.05, 0.05]) {
        map.line([[x - 0.05, y - way], [x + 0.05, y + way]], colour, { width });
      }
    }
    context.restore();
    map.line(FRAME, COLOURS.grey, { closed: true, width: 1 });
    const [across, down] = pair();
    for (const at of [-1, 0, 1]) {
      const value = fromMap([at, at]);
      map.text(written(value[across], across, 1), [at, 1.12]);
      map.text(written(value[down], down, 1), [-1.04, at], { align: "right" });
    }
    map.text(names[across], [0.5, 1.12]);
    map.text(names[down], [-1.04, 0.5], { align: "right" });
  }

  function paintDescent() {
    drawMap();
    drawInput(here);
    here.grid((point) => transform(thetaOf(current()), point));
    drawOutput(made, output(current(), SIDE), COLOURS.output);
    drawOutput(wanted, target(), COLOURS.grey);
    map.update();
    const place = pair().map((i) => `${names[i]} ${written(first()[i], i)}`).join(", ");
    handle.setAttribute("aria-label", `start: ${place}`);
  }

  function showDescent() {
    path = descend(image(), target(), first(), pair(), model.get("rate"), model.get("steps"));
    pairs.set(model.get("pair"));
    rate.set(Math.log10(model.get("rate")));
    const { loss, gradient } = lossAndGradient(image(), target(), current());
    slope = Math.hypot(...pair().map((i) => gradient[i]));
    const place = pair().map((i) => `${names[i]} ${written(current()[i], i)}`).join(", ");
    status.textContent =
      `Step ${path.length - 1}: loss ${fixed(loss, 4)}, slope ${fixed(slope, 3)}, at ${place}.`;
    verdict.textContent = judge();
    measure();
  }

  // Both parts

  const isPass = () => model.get("part") === "one pass";

  function paint() {
    const stages = isPass() ? [regular, input, result] : [map, here, made, wanted];
    if (!stages.every((stage) => stage.width)) return;
    if (isPass()) paintPass();
    else paintDescent();
  }

  function show() {
    part.set(model.get("part"));
    picture.set(model.get("picture"));
    passPart.hidden = !isPass();
    descentPart.hidden = isPass();
    if (isPass()) showPass();
    else showDescent();
    paint();
  }

  el.replaceChildren(element("div", { class: "stn-figure stn-inside" },
    part.root, named("Picture", picture), passPart, descentPart, voice.root));
  for (const trait of ["part", "stage", "picture", "parameters", "size", "follow", "pair",
    "start", "rate", "steps"]) {
    model.on(`change:${trait}`, show);
  }
  show();
  return () => { stop(); clearTimeout(survey); };
}

export default { render };
