// What all touchable figures share: sampling, a stage to draw on, handles, controls.
//
// An image is {data, channels, height, width}; data holds numbers from 0 to 1, channel
// by channel, row by row. Coordinates are normalised (x, y) as in the package: -1 and 1
// are the outer edges of the image (align_corners=False).

export const COLOURS = {
  input: "#0072B2",
  grid: "#D55E00",
  output: "#009E73",
  other: "#CC79A7",
  grey: "#767676",
};

/** The frame of every image, from its top left corner clockwise. */
export const FRAME = [[-1, -1], [1, -1], [1, 1], [-1, 1]];

// Sampling, as in stn_tutorial.affine and stn_tutorial.interpolation

/** Where the centre of pixel i of n is. */
export const centre = (i, n) => (2 * i + 1) / n - 1;

/** Where a normalised coordinate falls among n pixels; 0 is the first one's centre. */
export const toPixel = (x, n) => ((x + 1) * n - 1) / 2;

/** theta (six numbers, row by row) applied to a point. */
export function transform([a, b, c, d, e, f], [x, y]) {
  return [a * x + b * y + c, d * x + e * y + f];
}

/** One theta that first does what `second` does, then what `first` does. */
export function compose(first, second) {
  const [a, b, c, d, e, f] = first;
  const [g, h, i, j, k, l] = second;
  return [
    a * g + b * j, a * h + b * k, a * i + b * l + c,
    d * g + e * j, d * h + e * k, d * i + e * l + f,
  ];
}

/** The theta that undoes theta; null where none does. */
export function invert([a, b, c, d, e, f]) {
  const det = a * e - b * d;
  if (Math.abs(det) < 1e-9) return null;
  return [
    e / det, -b / det, (b * f - c * e) / det,
    -d / det, a / det, (c * d - a * f) / det,
  ];
}

/** The sampling grid of theta: x and y of each output pixel, row by row. */
export function affineGrid(theta, height, width) {
  const grid = new Float64Array(2 * height * width);
  for (let i = 0, at = 0; i < height; i++) {
    for (let j = 0; j < width; j++) {
      [grid[at++], grid[at++]] = transform(theta, [centre(j, width), centre(i, height)]);
    }
  }
  return grid;
}

/** Read an image at the points of a grid, bilinearly; beyond it, all is 0. */
export function gridSample(image, grid, height, width) {
  const { data, channels, height: rows, width: columns } = image;
  const size = height * width;
  const output = new Float64Array(channels * size);
  for (let point = 0; point < size; point++) {
    const x = toPixel(grid[2 * point], columns);
    const y = toPixel(grid[2 * point + 1], rows);
    const left = Math.floor(x);
    const top = Math.floor(y);
    for (let row = Math.max(top, 0); row < Math.min(top + 2, rows); row++) {
      for (let column = Math.max(left, 0); column < Math.min(left + 2, columns); column++) {
        const weight = (1 - Math.abs(x - column)) * (1 - Math.abs(y - row));
        for (let c = 0; c < channels; c++) {
          output[c * size + point] += weight * data[(c * rows + row) * columns + column];
        }
      }
    }
  }
  return { data: output, channels, height, width };
}

/** An image from bytes (0 to 255), as Python sends them. */
export function imageFromBytes(bytes, [channels, height, width]) {
  const view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { data: Float64Array.from(view, (v) => v / 255), channels, height, width };
}

/** The named pictures of a figure whose traits are `shapes` and `pixels`. */
export function namedImages(model) {
  const { buffer, byteOffset } = model.get("pixels");
  let start = byteOffset;
  return Object.fromEntries(model.get("shapes").map(([name, ...shape]) => {
    const size = shape[0] * shape[1] * shape[2];
    const image = imageFromBytes(new Uint8Array(buffer, start, size), shape);
    start += size;
    return [name, image];
  }));
}

// The page

/** Whether the reader has asked for as little motion as can be. */
export const prefersStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** An HTML element with attributes (a function is a listener) and children. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** A canvas of the image's own pixels. */
export function toCanvas({ data, channels, height, width }) {
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  const size = height * width;
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) {
      pixels.data[4 * i + c] = Math.round(255 * data[(channels === 3 ? c * size : 0) + i]);
    }
    pixels.data[4 * i + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/**
 * A white card to draw on, in coordinates of one's own.
 *
 * view: [left, top, right, bottom], what the card shows; label: for screen readers.
 * `paint` is called whenever the card changes its size.
 */
export class Stage {
  constructor(view, label, paint) {
    this.view = view;
    this.canvas = element("canvas", { role: "img", "aria-label": label });
    this.root = element("div", { class: "stn-stage" }, this.canvas);
    this.aspect = 1;
    this.context = this.canvas.getContext("2d");
    this.handles = [];
    new ResizeObserver(() => {
      const { width, height } = this.root.getBoundingClientRect();
      this.width = width;
      this.height = height;
      this.ratio = window.devicePixelRatio || 1;
      this.canvas.width = Math.round(width * this.ratio);
      this.canvas.height = Math.round(height * this.ratio);
      if (width) paint();
    }).observe(this.root);
  }

  /** How much wider than high a square of own coordinates appears. */
  set aspect(aspect) {
    const [left, top, right, bottom] = this.view;
    this.root.style.aspectRatio = (aspect * (right - left)) / (bottom - top);
  }

  /** From own coordinates to CSS pixels of the card. */
  place([x, y]) {
    const [left, top, right, bottom] = this.view;
    return [
      ((x - left) / (right - left)) * this.width,
      ((y - top) / (bottom - top)) * this.height,
    ];
  }

  /** From a mouse or touch event to own coordinates. */
  locate(event) {
    const [left, top, right, bottom] = this.view;
    const box = this.root.getBoundingClientRect();
    return [
      left + ((event.clientX - box.left) / box.width) * (right - left),
      top + ((event.clientY - box.top) / box.height) * (bottom - top),
    ];
  }

  clear() {
    this.context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.context.clearRect(0, 0, this.width, this.height);
  }

  /** Draw an image, each pixel a square, between two opposite corners. */
  image(image, from = [-1, -1], to = [1, 1]) {
    const [left, top] = this.place(from);
    const [right, bottom] = this.place(to);
    this.context.imageSmoothingEnabled = false;
    this.context.drawImage(toCanvas(image), left, top, right - left, bottom - top);
  }

  /** Draw a line through points, closed or not. */
  line(points, colour, { width = 2, closed = false, dash = [] } = {}) {
    const { context } = this;
    context.beginPath();
    for (const point of points) context.lineTo(...this.place(point));
    if (closed) context.closePath();
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.lineJoin = "round";
    context.setLineDash(dash);
    context.stroke();
  }

  /** Draw a dot, its radius in CSS pixels. */
  dot(point, colour, radius = 3) {
    this.context.beginPath();
    this.context.arc(...this.place(point), radius, 0, 2 * Math.PI);
    this.context.fillStyle = colour;
    this.context.fill();
  }

  /** Write a few words, in the middle of their height at a point; halo: round them. */
  text(words, point, { colour = "#444", align = "center", halo } = {}) {
    this.context.font = "13px sans-serif";
    this.context.textAlign = align;
    this.context.textBaseline = "middle";
    if (halo) {
      this.context.setLineDash([]);
      this.context.lineWidth = 4;
      this.context.strokeStyle = halo;
      this.context.strokeText(words, ...this.place(point));
    }
    this.context.fillStyle = colour;
    this.context.fillText(words, ...this.place(point));
  }

  /** Draw how a map bends the lines of a frame; the frame's first corner has a dot. */
  grid(map, colour = COLOURS.grid, lines = 8) {
    const along = Array.from({ length: 17 }, (_, i) => i / 8 - 1);
    for (let k = 0; k <= lines; k++) {
      const at = (2 * k) / lines - 1;
      const width = k === 0 || k === lines ? 2.5 : 1;
      this.line(along.map((t) => map([t, at])), colour, { width });
      this.line(along.map((t) => map([at, t])), colour, { width });
    }
    this.dot(map([-1, -1]), colour, 5);
  }

  /**
   * Add a point that can be dragged, or moved by the arrow keys.
   *
   * get: where it is; set: where it shall be; step: of an arrow key, a number or a
   * function (with Shift, a tenth). Call `update` after every change.
   */
  handle(label, colour, { get, set, step = 0.05 }) {
    const button = element("button", { type: "button", class: "stn-handle" });
    button.style.setProperty("--stn-colour", colour);
    let grip = null; // from the pointer to the point
    button.addEventListener("pointerdown", (event) => {
      const [x, y] = this.locate(event);
      const [px, py] = get();
      grip = [px - x, py - y];
      button.setPointerCapture(event.pointerId);
      button.focus();
      event.preventDefault();
    });
    button.addEventListener("pointermove", (event) => {
      if (!grip) return;
      const [x, y] = this.locate(event);
      set([x + grip[0], y + grip[1]]);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      button.addEventListener(end, () => { grip = null; });
    }
    button.addEventListener("keydown", (event) => {
      const way = ARROWS[event.key];
      if (!way) return;
      event.preventDefault();
      event.stopPropagation();
      const [x, y] = get();
      const full = typeof step === "function" ? step() : step;
      const length = event.shiftKey ? full / 10 : full;
      set([x + way[0] * length, y + way[1] * length]);
    });
    this.handles.push(() => {
      const [x, y] = get();
      const [left, top, right, bottom] = this.view;
      button.style.left = `${(100 * (x - left)) / (right - left)}%`;
      button.style.top = `${(100 * (y - top)) / (bottom - top)}%`;
      button.setAttribute("aria-label", `${label}: x ${fixed(x)}, y ${fixed(y)}`);
    });
    this.root.append(button);
    return button;
  }

  /** Put the handles where their points are. */
  update() {
    for (const place of this.handles) place();
  }
}

const ARROWS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** A number with two digits and a true minus sign, and never minus nothing. */
export function fixed(value, digits = 2) {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

/** A button. */
export function button(label, click, attributes = {}) {
  return element("button", { type: "button", class: "stn-button", click, ...attributes }, label);
}

/** A group of buttons of which one is pressed; `set` presses one without a call. */
export function choice(label, options, choose) {
  const buttons = Object.entries(options).map(([value, text]) =>
    button(text, () => { set(value); choose(value); }, { "data-value": value }));
  const root = element("div", { class: "stn-choice", role: "group", "aria-label": label }, ...buttons);
  const set = (value) => {
    for (const b of buttons) b.setAttribute("aria-pressed", b.dataset.value === value);
  };
  return { root, set };
}

/** A slider with its label and its value as text; `set` moves it without a call. */
export function slider(label, { min, max, step, format = fixed }, slide) {
  const text = element("output", { class: "stn-value" });
  const input = element("input", {
    type: "range", min, max, step,
    input: () => { show(+input.value); slide(+input.value); },
    keydown: (event) => event.stopPropagation(),
  });
  const root = element("label", { class: "stn-slider" }, element("span", {}, label), input, text);
  const show = (value) => {
    text.value = format(value);
    input.setAttribute("aria-valuetext", format(value));
  };
  const set = (value) => { input.value = value; show(value); };
  return { root, input, set };
}

/**
 * A pad of side x side pixels to draw on, by mouse, finger or keys.
 *
 * `draw` is called with the image after every stroke.
 */
export function drawingPad(side, label, draw) {
  const image = { data: new Float64Array(side * side), channels: 1, height: side, width: side };
  const pen = { x: (side - 1) / 2, y: (side - 1) / 2, down: false };
  const stage = new Stage([-0.5, -0.5, side - 0.5, side - 0.5], label, () => paint());
  const ink = (x, y) => {
    for (let i = 0; i < image.data.length; i++) {
      const distance = Math.hypot((i % side) - x, Math.floor(i / side) - y);
      image.data[i] = Math.max(image.data[i], Math.min(1, 1.9 - distance));
    }
  };
  const stroke = ([x, y]) => {
    const length = Math.hypot(x - pen.x, y - pen.y);
    for (let at = 0; at < length; at += 0.5) {
      ink(pen.x + ((x - pen.x) * at) / length, pen.y + ((y - pen.y) * at) / length);
    }
    ink(x, y);
    Object.assign(pen, { x, y });
    paint();
    draw(image);
  };
  const paint = () => {
    if (!stage.width) return;
    stage.clear();
    stage.image(image, [-0.5, -0.5], [side - 0.5, side - 0.5]);
    if (document.activeElement === stage.canvas) {
      stage.dot([pen.x, pen.y], pen.down ? COLOURS.grid : COLOURS.other, 5);
    }
  };
  let drawing = false;
  const { canvas } = stage;
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-roledescription", "drawing pad");
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    drawing = true;
    [pen.x, pen.y] = stage.locate(event);
    stroke([pen.x, pen.y]);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (drawing) stroke(stage.locate(event));
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => { drawing = false; });
  }
  canvas.addEventListener("keydown", (event) => {
    const way = ARROWS[event.key];
    if (!way && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    if (!way) pen.down = !pen.down;
    const [dx, dy] = way ?? [0, 0];
    const clip = (v) => Math.min(Math.max(v, 0), side - 1);
    const to = [clip(pen.x + dx), clip(pen.y + dy)];
    if (pen.down) return stroke(to);
    [pen.x, pen.y] = to;
    return paint();
  });
  for (const change of ["focus", "blur"]) canvas.addEventListener(change, paint);
  const set = (data) => { image.data.set(data); paint(); };
  const clear = () => { image.data.fill(0); paint(); draw(image); };
  return { root: stage.root, image, set, clear };
}

/** A line of text that screen readers speak when it changes, not more than twice a second. */
export function speaker() {
  const root = element("div", { class: "stn-speaker", "aria-live": "polite" });
  let timer = 0;
  const say = (text) => {
    clearTimeout(timer);
    timer = setTimeout(() => { root.textContent = text; }, 500);
  };
  return { root, say };
}

/** Send traits to Python, when there is one, after the hand has rested for 50 ms. */
export function sender(model) {
  let timer = 0;
  return (traits) => {
    for (const [key, value] of Object.entries(traits)) model.set(key, value);
    clearTimeout(timer);
    timer = setTimeout(() => model.save_changes(), 50);
  };
}
