import {
  COLOURS, FRAME, Stage, affineGrid, button, choice, compose, drawingPad, element, fixed,
  gridSample, imageFromBytes, invert, namedImages, sender, speaker, transform,
} from "./draw.js";

const IDENTITY = [1, 0, 0, 0, 1, 0];
const NAMES = ["a", "b", "tx", "c", "d", "ty"]; // row by row, as in chapter 1
const CORNERS = ["top left", "top right", "bottom right", "bottom left"]; // as in FRAME
const VIEW = [-1.6, -1.6, 1.6, 1.6];

/** What a button does to a map, in the map's own frame; aspect is width / height. */
export function steps(aspect) {
  const [cos, sin] = [Math.cos(Math.PI / 12), Math.sin(Math.PI / 12)];
  return {
    rotate: [cos, -sin / aspect, 0, sin * aspect, cos, 0],
    scale: [0.8, 0, 0, 0, 0.8, 0],
    shear: [1, 0.2, 0, 0, 1, 0],
    flip: [-1, 0, 0, 0, 1, 0],
  };
}

/** The map that sends a corner of the frame to `point`: the old one turned and scaled. */
export function withCorner(map, corner, point, aspect) {
  const [a, b, c, d, e, f] = map;
  const [x, y] = transform(map, corner);
  const [ox, oy, nx, ny] = [(x - c) * aspect, y - f, (point[0] - c) * aspect, point[1] - f];
  const square = ox * ox + oy * oy;
  if (square < 1e-9) return map;
  const real = (nx * ox + ny * oy) / square;
  const imaginary = (ny * ox - nx * oy) / square;
  const turn = [real, -imaginary / aspect, 0, imaginary * aspect, real, 0];
  const [p, q, , r, s] = compose(turn, [a, b, 0, d, e, 0]);
  return [p, q, c, r, s, f];
}

function render({ model, el }) {
  const send = sender(model);
  const voice = speaker();
  const pictures = namedImages(model);
  const pad = drawingPad(28, "Draw: arrow keys move the pen, space puts it down or lifts it",
    (image) => {
      send({ drawing: new DataView(Uint8Array.from(image.data, (v) => Math.round(255 * v)).buffer) });
      paint();
    });
  pictures.drawing = pad.image;

  const image = () => pictures[model.get("picture")];
  const aspect = () => image().width / image().height;
  const theta = () => model.get("theta");
  const movesContent = () => model.get("moves") === "content";
  /** The map that the reader has in hand: theta, or the content's own. */
  const inHand = () => (movesContent() ? invert(theta()) : theta());
  const setInHand = (map) => {
    const next = movesContent() ? invert(map) : map;
    if (next && next.every((v) => Math.abs(v) < 100)) set(next);
  };
  const set = (next) => {
    send({ theta: next.map((v) => Math.round(1e6 * v) / 1e6) });
    show();
    voice.say(`theta ${theta().map((v) => fixed(v)).join(", ")}`);
  };

  const input = new Stage(VIEW, "Input image with the sampling grid over it", () => paint());
  const output = new Stage(VIEW, "Output image", () => paint());
  const handles = [
    ["centre", ([, , c, , , f]) => [c, f], ([a, b, , d, e], [x, y]) => [a, b, x, d, e, y]],
    ["end of the x axis", (map) => transform(map, [1, 0]),
      ([, b, c, , e, f], [x, y]) => [x - c, b, c, y - f, e, f]],
    ["end of the y axis", (map) => transform(map, [0, 1]),
      ([a, , c, d, , f], [x, y]) => [a, x - c, c, d, y - f, f]],
    ...FRAME.map((corner, i) => [`${CORNERS[i]} corner`, (map) => transform(map, corner),
      (map, point) => withCorner(map, corner, point, aspect())]),
  ];
  for (const [stage, what, colour] of [
    [input, "grid", COLOURS.grid], [output, "content", COLOURS.input],
  ]) {
    for (const [name, where, moved] of handles) {
      stage.handle(`${name} of the ${what}`, colour, {
        get: () => where(inHand() ?? IDENTITY),
        set: (point) => setInHand(moved(inHand() ?? IDENTITY, point)),
      }).dataset.moves = what;
    }
  }

  const mode = choice("What do you move?", { grid: "Move the grid", content: "Move the content" },
    (moves) => { send({ moves }); show(); });
  const picture = choice("Picture",
    Object.fromEntries(Object.keys(pictures).map((name) => [name, name])),
    (name) => { send({ picture: name }); show(); });
  const buttons = element("div", { class: "stn-controls", role: "group", "aria-label": "Change by a step" },
    button("identity", () => set(IDENTITY)),
    ...Object.keys(steps(1)).map((name) =>
      button(name, () => setInHand(compose(inHand() ?? IDENTITY, steps(aspect())[name])))));

  const entries = NAMES.map((name, i) => {
    const change = (event) => {
      const value = Number(event.target.value);
      if (event.target.value === "" || !Number.isFinite(value)) return;
      set(theta().map((old, k) => (k === i ? value : old)));
    };
    const keydown = (event) => event.stopPropagation();
    const number = element("input",
      { type: "number", step: 0.05, change, keydown });
    const range = element("input",
      { type: "range", min: -2, max: 2, step: 0.01, "aria-label": `${name}, slider`, input: change, keydown });
    return { root: element("div", {}, element("label", {}, name, number), range), number, range };
  });
  const matrix = element("div", { class: "stn-matrix", role: "group", "aria-label": "theta" },
    ...entries.map((entry) => entry.root));
  const inverse = element("p", { class: "stn-note" });
  const clear = button("clear", () => pad.clear());
  const padPanel = element("div", { class: "stn-pad" }, element("p", { class: "stn-title" }, "Draw here"), pad.root, clear);

  const title = (text) => element("p", { class: "stn-title" }, text);
  el.replaceChildren(element("div", { class: "stn-figure" },
    mode.root, picture.root, padPanel,
    element("div", { class: "stn-panels" },
      element("div", {}, title("Input and grid"), input.root),
      element("div", {}, title("Output"), output.root)),
    buttons, title("θ, from output to input"), matrix, inverse, voice.root));

  function paint() {
    if (!input.width || !output.width) return;
    const { height, width } = image();
    input.clear();
    input.image(image());
    input.line(FRAME, COLOURS.input, { closed: true });
    input.grid((point) => transform(theta(), point));
    output.clear();
    output.image(gridSample(image(), affineGrid(theta(), height, width), height, width));
    output.line(FRAME, COLOURS.output, { closed: true, width: 3 });
    const content = invert(theta());
    if (movesContent() && content) {
      const frame = FRAME.map((p) => transform(content, p));
      output.line(frame, COLOURS.input, { closed: true, dash: [6, 4] });
    }
    input.update();
    output.update();
  }

  function show() {
    mode.set(model.get("moves"));
    picture.set(model.get("picture"));
    padPanel.hidden = model.get("picture") !== "drawing";
    for (const stage of [input, output]) stage.aspect = aspect();
    for (const handle of el.querySelectorAll(".stn-handle")) {
      handle.hidden = handle.dataset.moves !== model.get("moves");
    }
    entries.forEach(({ number, range }, i) => {
      if (document.activeElement !== number) number.value = Number(theta()[i].toFixed(3));
      range.value = theta()[i];
    });
    const content = invert(theta());
    inverse.textContent = content
      ? `θ⁻¹, which moves the content: ${content.map((v) => fixed(v)).join("  ")}`
      : "θ has no inverse: the grid is flat.";
    paint();
  }

  const drawn = model.get("drawing");
  if (drawn?.byteLength === 784) pad.set(imageFromBytes(drawn, [1, 28, 28]).data);
  for (const trait of ["theta", "picture", "moves"]) model.on(`change:${trait}`, show);
  show();
}

export default { render };
