import { COLOURS, Stage, choice, element, fixed, sender, speaker } from "./draw.js";

const NEIGHBOURS = ["#56B4E9", "#E69F00", "#CC79A7", "#BBBBBB"]; // row by row
const [PLUS, MINUS] = NEIGHBOURS;
const FINE = 32; // places read along a pixel, for the picture
const ARROW = 3; // an arrow's length in pixels, for a slope of 1
const NEXT_TO = 1e-9; // so near a jump are its two sides read

/** The nearest whole number; halves go to the even one, as in PyTorch. */
export function round(x) {
  return Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x);
}

/** The cubic kernel with a = -0.75 at a distance from -2 to 2, and its slope there. */
export function cubic(distance) {
  const a = -0.75;
  const d = Math.abs(distance);
  const sign = Math.sign(distance);
  if (d <= 1) {
    return [((a + 2) * d - (a + 3)) * d * d + 1, sign * (3 * (a + 2) * d - 2 * (a + 3)) * d];
  }
  return [((a * d - 5 * a) * d + 8 * a) * d - 4 * a, sign * ((3 * a * d - 10 * a) * d + 8 * a)];
}

/** The pixels along one side that have a say at x: [pixel, weight, slope of the weight]. */
export function shares(x, mode) {
  const left = Math.floor(x);
  if (mode === "nearest") return [[round(x), 1, 0]];
  // On a whole x, `left` is x itself: the slope is the one on the right.
  if (mode === "bilinear") return [[left, 1 - (x - left), -1], [left + 1, x - left, 1]];
  return [-1, 0, 1, 2].map((i) => [left + i, ...cubic(x - (left + i))]);
}

/**
 * Read rows of grey values at (x, y), in pixels.
 *
 * Gives the value, its slopes per pixel along x and y, and what it is the sum of.
 */
export function sample(pixels, x, y, mode) {
  const read = { value: 0, dx: 0, dy: 0, terms: [] };
  for (const [row, down, slopeDown] of shares(y, mode)) {
    for (const [column, across, slopeAcross] of shares(x, mode)) {
      const pixel = pixels[row]?.[column] ?? 0; // outside stands 0
      read.value += across * down * pixel;
      read.dx += slopeAcross * down * pixel;
      read.dy += across * slopeDown * pixel;
      read.terms.push({ column, row, weight: across * down, pixel });
    }
  }
  return read;
}

/** The sum of what has a share, each by its weight. */
const blend = (parts, look) =>
  parts.reduce((sum, [at, weight]) => sum + weight * (look(at) ?? 0), 0);

/** The picture that a kernel makes of the pixels, each read at FINE x FINE places. */
export function surface(pixels, mode) {
  const [height, width] = [FINE * pixels.length, FINE * pixels[0].length];
  const places = (size) =>
    Array.from({ length: size }, (_, i) => shares((i + 0.5) / FINE - 0.5, mode));
  const across = places(width);
  const lines = pixels.map((row) => across.map((parts) => blend(parts, (m) => row[m])));
  const data = places(height).flatMap((parts) =>
    across.map((_, j) => blend(parts, (n) => lines[n]?.[j])));
  return { data, channels: 1, height, width };
}

/** Values and slopes along a row, half a pixel a piece: jumps lie only between pieces. */
export function pieces(pixels, y, mode) {
  return Array.from({ length: 2 * pixels[0].length }, (_, piece) => {
    const start = (piece - 1) / 2;
    return Array.from({ length: 9 }, (_, i) => {
      const inside = Math.min(Math.max(i / 16, NEXT_TO), 0.5 - NEXT_TO);
      const { value, dx } = sample(pixels, start + inside, y, mode);
      return { x: start + inside, value, dx };
    });
  });
}

function render({ model, el }) {
  const send = sender(model);
  const voice = speaker();
  const slopes = model.get("slopes");
  const pixels = () => model.get("pixels");
  const mode = () => model.get("mode");
  const point = () => model.get("point");
  const size = () => [pixels()[0].length, pixels().length];
  /** Without slopes, the last centres belong to the pixels before them, as the first do. */
  const near = (v, i) => (slopes ? v : Math.min(v, size()[i] - 1 - NEXT_TO));
  const read = () => sample(pixels(), ...point().map(near), mode());

  /** Move the point to a hundredth of a pixel; it stays on the picture. */
  const move = (to) => {
    const edge = slopes ? 0.5 : 0; // without slopes, it stays among the centres
    const clip = (v, i) => Math.min(Math.max(v, -edge), size()[i] - 1 + edge);
    send({ point: to.map((v, i) => Math.round(100 * clip(v, i)) / 100) });
  };

  const left = new Stage([0, 0, 1, 1], "Pixels, and their weights as areas", () => paint());
  const right = new Stage([0, 0, 1, 1], "The picture between the pixels, with arrows for the slopes", () => paint());
  const values = new Stage([0, 0, 1, 1], "Curve of the value along the row", () => paint());
  const rates = new Stage([0, 0, 1, 1], "Curve of the slope along the row", () => paint());
  const handle = { get: point, set: move, step: 0.1 };
  left.handle("sample point", COLOURS.grid, handle);
  if (slopes) right.handle("sample point, with arrows", COLOURS.grid, handle);
  for (const stage of [left, right]) {
    stage.canvas.addEventListener("click", (event) => move(stage.locate(event)));
  }

  const kernel = choice("Kernel",
    { nearest: "nearest", bilinear: "bilinear", bicubic: "bicubic" },
    (name) => send({ mode: name }));
  const entries = ["x", "y"].map((name, i) => {
    const change = ({ target }) => {
      if (target.value !== "") move(point().map((old, k) => (k === i ? +target.value : old)));
      target.value = point()[i];
    };
    const keydown = (event) => event.stopPropagation();
    const input = element("input", { type: "number", step: 0.1, change, keydown });
    return { input, root: element("label", {}, name, input) };
  });
  const place = element("div", { class: "stn-controls stn-place" },
    ...entries.map((entry) => entry.root));

  const title = (text) => element("p", { class: "stn-title" }, text);
  const note = () => element("p", { class: "stn-note" });
  const [total, across, down, remark] = [note(), note(), note(), note()];
  remark.classList.add("stn-remark"); // keeps its room where it is empty
  const sum = element("div", { class: "stn-sum" });
  const rowTitle = title("");
  el.replaceChildren(element("div", { class: `stn-figure stn-lens ${slopes ? "" : "stn-narrow"}` },
    slopes ? kernel.root : "", place,
    element("div", { class: "stn-panels" },
      element("div", {},
        title("Pixels, and their weights as areas"), left.root,
        ...(slopes ? [rowTitle, values.root] : []), total, sum),
      slopes ? element("div", {},
        title("Between the pixels, with slopes"), right.root,
        title("Slope ∂V/∂x along this row"), rates.root, across, down) : ""),
    slopes ? remark : "", voice.root));

  /** A filled rectangle between two corners, with a frame. */
  function box(stage, from, to, colour, dash = []) {
    const [x, y] = stage.place(from);
    const [right, bottom] = stage.place(to);
    stage.context.fillStyle = colour;
    stage.context.fillRect(x, y, right - x, bottom - y);
    stage.line([from, [to[0], from[1]], to, [from[0], to[1]]], dash.length ? "#000" : "#fff",
      { width: 1.5, closed: true, dash });
  }

  /** An arrow that starts beside the handle. */
  function arrow(stage, [x, y], [dx, dy]) {
    const length = Math.hypot(dx, dy);
    if (length < 0.01) return;
    const [wayX, wayY] = [dx / length, dy / length];
    const start = [x + 0.2 * wayX, y + 0.2 * wayY];
    const tip = [start[0] + dx, start[1] + dy];
    const head = Math.min(0.18, length);
    const barb = (side) =>
      [tip[0] - head * (wayX - side * wayY), tip[1] - head * (wayY + side * wayX)];
    for (const [colour, width] of [["#fff", 8], [COLOURS.grid, 4]]) {
      stage.line([start, tip], colour, { width });
      stage.line([barb(1), tip, barb(-1)], colour, { width });
    }
  }

  /** Bilinear: the rectangle of a pixel, which lies opposite; from the point outwards. */
  const opposite = ({ column, row }, [first]) =>
    [2 * first.column + 1 - column, 2 * first.row + 1 - row];

  function paintWeights({ terms }) {
    if (mode() === "bilinear") {
      terms.forEach((term, i) => box(left, point(), opposite(term, terms), NEIGHBOURS[i]));
      terms.forEach(({ column, row }, i) => {
        left.dot([column, row], "#fff", 18);
        left.dot([column, row], NEIGHBOURS[i], 16);
      });
      return;
    }
    for (const { column, row, weight } of terms) {
      const half = Math.sqrt(Math.abs(weight)) / 2;
      box(left, [column - half, row - half], [column + half, row + half],
        weight < 0 ? MINUS : PLUS, weight < 0 ? [3, 3] : []);
    }
  }

  function paintNumbers({ terms }) {
    const on = (grey) => (grey < 0.5 ? "#fff" : "#000");
    pixels().forEach((line, row) => line.forEach((value, column) => {
      const term = terms.find((each) => each.column === column && each.row === row);
      if (!term) left.text(fixed(value), [column, row], { colour: on(value) });
      else if (mode() === "bilinear") left.text(fixed(value), [column, row], { colour: "#000" });
      else {
        const covered = term.weight > 0.25; // by its square
        const style = covered ? { colour: "#000", halo: PLUS } : { colour: on(value) };
        left.text(fixed(value), [column, row - 0.35], style);
        left.text(`× ${fixed(term.weight)}`, [column, row + 0.35], style);
      }
    }));
    if (mode() !== "bilinear") return;
    const [x, y] = point();
    const unit = left.width / (left.view[2] - left.view[0]);
    for (const term of terms) {
      const [farX, farY] = opposite(term, terms);
      const [width, height] = [unit * Math.abs(farX - x), unit * Math.abs(farY - y)];
      if (width < 32 || height < 16 || Math.hypot(width, height) < 50) continue; // no room
      left.text(fixed(term.weight), [(x + farX) / 2, (y + farY) / 2], { colour: "#000" });
    }
  }

  /** The lines through the pixels' centres, where the slopes may jump. */
  function paintLattice(stage) {
    const [width, height] = size();
    const style = { width: 1, dash: [2, 3] };
    for (let m = 0; m < width; m++) {
      stage.line([[m, -0.5], [m, height - 0.5]], COLOURS.input, style);
    }
    for (let n = 0; n < height; n++) {
      stage.line([[-0.5, n], [width - 0.5, n]], COLOURS.input, style);
    }
  }

  function paintRow(stage) {
    const [, y] = point();
    stage.line([[-0.5, y], [size()[0] - 0.5, y]], COLOURS.output, { dash: [7, 4] });
  }

  /** A curve of one quantity: lines within the pieces, rings and dots at its jumps. */
  function paintCurve(stage, quantity, colour, ticks) {
    const [x, y] = point();
    const [from, top, to, bottom] = stage.view;
    stage.clear();
    for (const tick of ticks) {
      stage.line([[from, tick], [to, tick]], tick === 0 ? "#888" : "#ddd", { width: 1 });
    }
    for (let m = 0; m < size()[0]; m++) {
      stage.line([[m, top], [m, bottom]], COLOURS.input, { width: 1, dash: [2, 3] });
    }
    stage.line([[x, top], [x, bottom]], COLOURS.grid, { width: 1.5 });
    const curve = pieces(pixels(), y, mode());
    for (const piece of curve) {
      stage.line(piece.map((p) => [p.x, p[quantity]]), colour, { width: 2.5 });
    }
    for (let i = 1; i < curve.length; i++) {
      const before = curve[i - 1].at(-1);
      const after = curve[i][0];
      if (Math.abs(after[quantity] - before[quantity]) < 1e-3) continue;
      const jump = (i - 1) / 2;
      for (const end of [before, after]) {
        stage.dot([jump, end[quantity]], colour, 4.5);
        stage.dot([jump, end[quantity]], "#fff", 2.5);
      }
      stage.dot([jump, sample(pixels(), jump, y, mode())[quantity]], colour, 4.5);
    }
    const height = top - bottom;
    for (const tick of ticks) {
      stage.text(fixed(tick, 1), [-0.56, tick - 0.06 * height], { align: "left", halo: "#fff" });
    }
    for (let m = 0; m < size()[0]; m++) {
      stage.text(m, [m + 0.1, bottom + 0.08 * height], { halo: "#fff" });
    }
  }

  function mark(stage, height) {
    const at = [point()[0], height];
    stage.dot(at, "#fff", 8);
    stage.dot(at, COLOURS.grid, 6);
  }

  /** A little more than the largest step from a pixel to the next. */
  function steepest() {
    const steps = pixels().flatMap((row) => [...row, 0].map((v, i) => Math.abs(v - (row[i - 1] ?? 0))));
    return Math.ceil(10.5 * Math.max(0.1, ...steps)) / 10;
  }

  let drawn = {}; // the picture, and of what
  function picture() {
    if (drawn.mode !== mode() || drawn.pixels !== pixels()) {
      drawn = { mode: mode(), pixels: pixels(), image: surface(pixels(), mode()) };
    }
    return drawn.image;
  }

  function paint() {
    const stages = slopes ? [left, right, values, rates] : [left];
    if (!stages.every((stage) => stage.width)) return;
    const [width, height] = size();
    const now = read();
    const corners = [[-0.5, -0.5], [width - 0.5, height - 0.5]];
    left.clear();
    left.image({ data: pixels().flat(), channels: 1, height, width }, ...corners);
    if (slopes) paintRow(left);
    paintWeights(now);
    paintNumbers(now);
    left.update();
    if (!slopes) return;
    const [x, y] = point();
    right.clear();
    right.image(picture(), ...corners);
    paintLattice(right);
    paintRow(right);
    arrow(right, [x, y], [ARROW * now.dx, 0]);
    arrow(right, [x, y], [0, ARROW * now.dy]);
    right.update();
    paintCurve(values, "value", COLOURS.output, [0, 0.5, 1]);
    values.line([-0.3, 0.3].map((d) => [x + d, now.value + d * now.dx]), COLOURS.grid, { width: 3 });
    mark(values, now.value);
    paintCurve(rates, "dx", COLOURS.grid, [-steepest(), 0, steepest()]);
    mark(rates, now.dx);
  }

  function showSum({ value, terms }) {
    total.textContent = `V = ${fixed(value, 3)}, the sum of weight·pixel:`;
    sum.style.setProperty("--stn-columns", Math.sqrt(terms.length));
    sum.replaceChildren(...terms.map(({ weight, pixel }, i) => {
      // \u200b: a line may break there.
      const term = element("span", {}, `${fixed(weight)}·\u200b${fixed(pixel)}`);
      const colour = mode() === "bilinear" ? NEIGHBOURS[i] : weight < 0 ? MINUS : PLUS;
      term.style.setProperty("--stn-colour", colour);
      return term;
    }));
  }

  function showSlopes({ dx, dy, terms }) {
    const [x, y] = point();
    let [sumX, sumY] = ["", ""];
    if (mode() === "bilinear") {
      const [a, b, c, d] = terms.map((term) => fixed(term.pixel));
      const [right, below] = [x - terms[0].column, y - terms[0].row];
      const mix = (part, first, second) =>
        `${fixed(1 - part)}·(${first}) + ${fixed(part)}·(${second}) = `;
      const minus = "\u00a0−\u00a0"; // no line breaks there
      sumX = mix(below, b + minus + a, d + minus + c);
      sumY = mix(right, c + minus + a, d + minus + b);
    }
    across.textContent = `∂V/∂x = ${sumX}${fixed(dx, 3)} per\u00a0pixel`;
    down.textContent = `∂V/∂y = ${sumY}${fixed(dy, 3)} per\u00a0pixel`;
    remark.textContent = remarks({ dx, dy, terms }).join(" ");
  }

  /** What is special about this place. */
  function remarks({ dx, dy, terms }) {
    const [x, y] = point();
    const said = [];
    const half = (v) => mode() === "nearest" && Math.abs(v % 1) === 0.5;
    if (mode() === "bilinear" && x % 1 === 0) {
      const before = sample(pixels(), x - NEXT_TO, y, mode()).dx;
      said.push(`At x = ${fixed(x, 0)} the slope along x jumps from ${fixed(before, 3)} to ${fixed(dx, 3)}. The sampler takes the one on the right.`);
    }
    if (mode() === "bilinear" && y % 1 === 0) {
      const before = sample(pixels(), x, y - NEXT_TO, mode()).dy;
      said.push(`At y = ${fixed(y, 0)} the slope along y jumps from ${fixed(before, 3)} to ${fixed(dy, 3)}. The sampler takes the one below.`);
    }
    if (half(x) || half(y)) said.push("Halfway between two pixels: here V jumps.");
    if (terms.some(({ column, row }) => pixels()[row]?.[column] === undefined)) {
      said.push("Outside the picture, a pixel counts as 0.");
    }
    return said;
  }

  function show() {
    const [width, height] = size();
    for (const stage of [left, right]) {
      stage.view = [-0.6, -0.6, width - 0.4, height - 0.4];
      stage.aspect = 1;
    }
    values.view = [-0.6, 1.15, width - 0.4, -0.35];
    rates.view = [-0.6, 1.3 * steepest(), width - 0.4, -1.7 * steepest()];
    for (const stage of [values, rates]) stage.root.style.aspectRatio = 2.2;
    kernel.set(mode());
    entries.forEach(({ input }, i) => { input.value = point()[i]; });
    const now = read();
    rowTitle.textContent = `Value V along the row y = ${fixed(point()[1])}`;
    showSum(now);
    showSlopes(now);
    paint();
    const { value, dx, dy } = now;
    voice.say(`value ${fixed(value, 3)}${slopes ? `, slope ${fixed(dx, 3)} along x, ${fixed(dy, 3)} along y` : ""}`);
  }

  for (const trait of ["point", "mode", "pixels"]) model.on(`change:${trait}`, show);
  show();
}

export default { render };
