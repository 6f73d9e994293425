import {
  COLOURS, Stage, affineGrid, button, choice, compose, element, fixed, gridSample,
  sender, slider, speaker,
} from "./draw.js";

const SIDE = 32;
const PICTURES = ["7", "5", "drawn 7"]; // in the order of their pixels
const HALF = SIDE / 2; // every map is shown as large as the input, from -16 to 16 pixels
const TOLERANCE = 1e-6; // what counts as unchanged, beside rounding
const REACH = 8; // how far the digit moves, in pixels
const WAYS = { "←": ["left", -1, 0], "↑": ["up", 0, -1], "↓": ["down", 0, 1], "→": ["right", 1, 0] };

// Pooling, as in stn_tutorial.pooling

/** Maps of (height, width) whose values value(row, column) gives. */
function build(height, width, value) {
  const data = new Float64Array(height * width);
  for (let i = 0; i < height; i++) {
    for (let j = 0; j < width; j++) data[i * width + j] = value(i, j);
  }
  return { data, channels: 1, height, width };
}

/** What `keep` makes of the four values of each 2x2 window. */
function pool({ data, height, width }, stride, keep) {
  const count = (n) => Math.floor((n - 2) / stride) + 1;
  return build(count(height), count(width), (i, j) => {
    const at = stride * (i * width + j);
    return keep(data[at], data[at + 1], data[at + width], data[at + width + 1]);
  });
}

export const maxPool = (image) => pool(image, 2, Math.max);

export const averagePool = (image) => pool(image, 2, (a, b, c, d) => (a + b + c + d) / 4);

/** The maximum of every window; then a blur, read at every second pixel. */
export function antiAliasedMaxPool(image) {
  const { data, height, width } = pool(image, 1, Math.max);
  const weights = [1 / 8, 3 / 8, 3 / 8, 1 / 8];
  const half = (n) => Math.floor((n + 1) / 2);
  return build(half(height), half(width), (i, j) => {
    let sum = 0;
    for (let u = 0; u < 4; u++) {
      for (let v = 0; v < 4; v++) {
        const [row, column] = [2 * i + u - 1, 2 * j + v - 1];
        if (row < 0 || row >= height || column < 0 || column >= width) continue;
        sum += weights[u] * weights[v] * data[row * width + column];
      }
    }
    return sum;
  });
}

const LAYERS = { max: maxPool, average: averagePool, "anti-aliased max": antiAliasedMaxPool };

/** Turn an image, then move it: pixels right and down, degrees counter-clockwise. */
export function place(image, [right, down, angle]) {
  const { height, width } = image;
  const [cos, sin] = [Math.cos((angle * Math.PI) / 180), Math.sin((angle * Math.PI) / 180)];
  const back = [1, 0, (-2 * right) / width, 0, 1, (-2 * down) / height];
  const theta = compose([cos, -sin, 0, sin, cos, 0], back);
  return gridSample(image, affineGrid(theta, height, width), height, width);
}

/** An image in its pose, and its maps after one, two and three layers. */
export function poolThrice(image, pose, pooling) {
  const maps = [place(image, pose)];
  while (maps.length < 4) maps.push(LAYERS[pooling](maps.at(-1)));
  return maps;
}

/** How far apart two maps are: 0 if equal, 1 if disjoint. */
export function relativeDifference(a, b) {
  let [apart, size] = [0, 0];
  for (let i = 0; i < a.data.length; i++) {
    apart += (a.data[i] - b.data[i]) ** 2;
    size += a.data[i] ** 2 + b.data[i] ** 2;
  }
  return size ? Math.sqrt(apart / size) : 0;
}

/** Shares of values that stay: of all, and of those that are not 0 before and after. */
export function unchanged(before, after) {
  let [inked, same, inkedAndSame] = [0, 0, 0];
  const size = before.data.length;
  for (let i = 0; i < size; i++) {
    const ink = Math.max(before.data[i], after.data[i]) > TOLERANCE;
    const stays = Math.abs(after.data[i] - before.data[i]) < TOLERANCE;
    inked += ink;
    same += stays;
    inkedAndSame += ink && stays;
  }
  return { all: same / size, ink: inkedAndSame / inked };
}

/** White where nothing changes, towards blue where it gets brighter, vermilion darker. */
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

/** Fill a label: a word, then parts that are not broken. */
function describe(label, word, ...parts) {
  label.replaceChildren(element("strong", {}, word),
    ...parts.flatMap((part) => [" ", element("span", {}, part)]));
}

const percent = (share) => `${fixed(100 * share, 1)}%`;

const words = ([right, down, angle]) =>
  [`right ${fixed(right, 0)},`, `down ${fixed(down, 0)},`, `turn ${fixed(angle, 0)}°`];

function render({ model, el }) {
  const send = sender(model);
  const voice = speaker();
  const { buffer, byteOffset, byteLength } = model.get("pixels");
  const pixels = new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
  const pictures = Object.fromEntries(PICTURES.map((name, k) =>
    [name, build(SIDE, SIDE, (i, j) => pixels[(k * SIDE + i) * SIDE + j])]));

  const pose = () => model.get("pose");
  const move = ([right, down, angle]) => {
    const whole = (v, limit) => Math.min(Math.max(Math.round(v), -limit), limit);
    send({ pose: [whole(right, REACH), whole(down, REACH), whole(angle, 90)] });
  };

  const picture = choice("Digit", Object.fromEntries(PICTURES.map((name) => [name, name])),
    (name) => send({ picture: name }));
  const pooling = choice("Pooling", Object.fromEntries(Object.keys(LAYERS).map((name) => [name, name])),
    (name) => send({ pooling: name }));

  // Three rows of pictures: the input and three maps, at the start, now, and their change.
  const names = ["Input", "Layer 1", "Layer 2", "Layer 3"];
  const rows = ["start", "now", "change"].map((kind) => {
    const label = element("div", { class: "stn-pool-label" });
    const stages = names.map((name, depth) =>
      new Stage([-HALF, -HALF, HALF, HALF], `${name}, ${kind}`, () => draw(kind, depth)));
    return { kind, label, stages };
  });
  const stages = Object.fromEntries(rows.map((row) => [row.kind, row.stages]));
  const [start, now, changed] = rows.map((row) => row.label);
  describe(changed, "Change", "+ brighter,", "− darker,", "white: unchanged");
  const grip = stages.now[0].handle("digit", COLOURS.input, {
    get: () => pose().slice(0, 2),
    set: ([x, y]) => move([x, y, pose()[2]]),
    step: 1,
  });
  grip.classList.add("stn-pool-grip");

  const sliders = [["right", REACH, " px"], ["down", REACH, " px"], ["turn", 90, "°"]].map(
    ([label, limit, unit], i) => slider(label,
      { min: -limit, max: limit, step: 1, format: (v) => fixed(v, 0) + unit },
      (value) => move(pose().map((old, k) => (k === i ? value : old)))));
  const buttons = element("div", { class: "stn-controls" },
    ...Object.entries(WAYS).map(([arrow, [way, right, down]]) =>
      button(arrow, () => move([pose()[0] + right, pose()[1] + down, pose()[2]]),
        { "aria-label": `${way} by one pixel` })),
    button("start from here", () => send({ start: pose() })),
    button("back to the start", () => move(model.get("start"))));

  const measures = ["values left", "unchanged, of all", "unchanged, of ink",
    "d, start to now", ""].map((label) => {
    const head = element("th", { scope: "row" }, label);
    const cells = names.map(() => element("td"));
    return { root: element("tr", {}, head, ...cells), head, cells };
  });
  const table = element("table", { class: "stn-pool-table" },
    element("thead", {}, element("tr", {}, element("td"),
      ...names.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, ...measures.map((row) => row.root)));

  el.replaceChildren(element("div", { class: "stn-figure" },
    element("div", { class: "stn-pool-choices" },
      element("div", {}, "Digit", picture.root), element("div", {}, "Pooling", pooling.root)),
    element("div", { class: "stn-pool-maps" },
      element("div", { class: "stn-pool-label" }),
      ...names.map((name, depth) => element("div", { class: "stn-pool-head" },
        element("strong", {}, name), ` ${SIDE >> depth}×${SIDE >> depth}`)),
      ...rows.flatMap((row) => [row.label, ...row.stages.map((stage) => stage.root)])),
    buttons, element("div", { class: "stn-pool-sliders" }, ...sliders.map((s) => s.root)),
    table, voice.root));

  let [before, after] = [[], []];

  function draw(kind, depth) {
    const stage = stages[kind][depth];
    if (!stage.width) return;
    const [a, b] = [before[depth], after[depth]];
    stage.clear();
    const image = kind === "start" ? a : kind === "now" ? b : difference(a, b);
    stage.image(image, [-HALF, -HALF], [HALF, HALF]);
    if (kind === "change") mark(stage, a, b);
    else if (depth === 0) windows(stage);
  }

  /** A plus or a minus on each value that changes: colour is not the only sign. */
  function mark(stage, a, b) {
    const cell = SIDE / a.width;
    const middle = (i) => (i + 0.5) * cell - HALF;
    const width = Math.max(0.7, (0.1 * stage.width) / a.width);
    a.data.forEach((old, i) => {
      const by = b.data[i] - old;
      if (Math.abs(by) < TOLERANCE) return;
      const [x, y] = [middle(i % a.width), middle(Math.floor(i / a.width))];
      const arm = 0.25 * cell;
      const colour = Math.abs(by) > 0.5 ? "#fff" : "#000";
      stage.line([[x - arm, y], [x + arm, y]], colour, { width });
      if (by > 0) stage.line([[x, y - arm], [x, y + arm]], colour, { width });
    });
  }

  /** The windows of the three layers, the largest with the thickest lines. */
  function windows(stage) {
    for (let at = 2 - HALF; at < HALF; at += 2) {
      const width = at % 8 === 0 ? 1.5 : at % 4 === 0 ? 0.8 : 0.5;
      const colour = at % 8 === 0 ? COLOURS.grey : `${COLOURS.grey}99`;
      stage.line([[at, -HALF], [at, HALF]], colour, { width });
      stage.line([[-HALF, at], [HALF, at]], colour, { width });
    }
  }

  function show() {
    const [name, how] = [model.get("picture"), model.get("pooling")];
    const other = name === "5" ? "7" : "5";
    const from = model.get("start");
    before = poolThrice(pictures[name], from, how);
    after = poolThrice(pictures[name], pose(), how);
    const another = poolThrice(pictures[other], from, how);

    picture.set(name);
    pooling.set(how);
    sliders.forEach((s, i) => s.set(pose()[i]));
    describe(start, "Start", ...words(from));
    describe(now, "Now: drag it", ...words(pose()));
    stages.now[0].update();
    grip.style.transform = `rotate(${-pose()[2]}deg)`;

    const shares = before.map((map, depth) => unchanged(map, after[depth]));
    measures[4].head.textContent = `d, start to a ${other}`;
    for (let depth = 0; depth < 4; depth++) {
      [
        `${Number((100 / 4 ** depth).toPrecision(3))}%`,
        percent(shares[depth].all),
        percent(shares[depth].ink),
        fixed(relativeDifference(before[depth], after[depth])),
        fixed(relativeDifference(before[depth], another[depth])),
      ].forEach((text, row) => { measures[row].cells[depth].textContent = text; });
      for (const kind of Object.keys(stages)) draw(kind, depth);
    }
    return shares;
  }

  function change() {
    const shares = show().map(({ all }, depth) => `${names[depth]} ${percent(all)}`);
    voice.say(`${words(pose()).join(" ")}; unchanged: ${shares.join(", ")}`);
  }

  for (const trait of ["picture", "pooling", "pose", "start"]) model.on(`change:${trait}`, change);
  show();
}

export default { render };
