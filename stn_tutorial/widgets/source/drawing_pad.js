// A pad to draw on, by mouse, finger or keys.

import { clip } from "./sampling.js";
import { ARROWS, COLOURS } from "./stage.js";

/** @import { Figure } from "./figure.js" */
/** @import { Image, Point } from "./sampling.js" */

/** A pad of side x side pixels, with a pen on it. */
export class DrawingPad {
  /**
   * @param {Pick<Figure<object>, "stage">} figure
   * @param {number} side
   * @param {string} label
   * @param {(image: Image) => void} draw called with the image after every stroke
   */
  constructor(figure, side, label, draw) {
    this.side = side;
    this.draw = draw;
    this.data = new Float64Array(side * side);
    /** @type {Image} */
    this.image = { data: this.data, channels: 1, height: side, width: side };
    this.pen = { x: (side - 1) / 2, y: (side - 1) / 2, down: false };
    const [low, high] = [-0.5, side - 0.5]; // the centres lie at whole numbers
    this.stage = figure.stage([low, low, high, high], label, () => this.paint());
    this.root = this.stage.root;
    const { canvas } = this.stage;
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-roledescription", "drawing pad");
    this.#followPointer(canvas);
    canvas.addEventListener("keydown", (event) => this.#press(event));
    canvas.addEventListener("focus", () => this.paint());
    canvas.addEventListener("blur", () => this.paint());
  }

  /**
   * Put another image on the pad, without a call.
   * @param {ArrayLike<number>} data
   */
  set(data) {
    this.data.set(data);
    this.paint();
  }

  clear() {
    this.data.fill(0);
    this.paint();
    this.draw(this.image);
  }

  paint() {
    const { stage, pen } = this;
    if (!stage.width) return;
    const [low, high] = [-0.5, this.side - 0.5];
    stage.clear();
    stage.image(this.image, [low, low], [high, high]);
    if (document.activeElement === stage.canvas) {
      stage.dot([pen.x, pen.y], pen.down ? COLOURS.grid : COLOURS.other, 5);
    }
  }

  /** @param {HTMLCanvasElement} canvas */
  #followPointer(canvas) {
    let drawing = false;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      drawing = true;
      const point = this.stage.locate(event);
      this.#carry(point);
      this.#stroke(point);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (drawing) this.#stroke(this.stage.locate(event));
    });
    const lift = () => {
      drawing = false;
    };
    canvas.addEventListener("pointerup", lift);
    canvas.addEventListener("pointercancel", lift);
  }

  /**
   * Arrows move the pen; space puts it down or lifts it.
   * @param {KeyboardEvent} event
   */
  #press(event) {
    const way = ARROWS[event.key];
    if (!way && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    if (!way) this.pen.down = !this.pen.down;
    const [right, down] = way ?? [0, 0];
    const x = clip(this.pen.x + right, 0, this.side - 1);
    const y = clip(this.pen.y + down, 0, this.side - 1);
    if (this.pen.down) this.#stroke([x, y]);
    else {
      this.#carry([x, y]);
      this.paint();
    }
  }

  /**
   * Move the pen without a trace.
   * @param {Point} point
   */
  #carry([x, y]) {
    this.pen.x = x;
    this.pen.y = y;
  }

  /**
   * Draw from the pen to a point.
   * @param {Point} point
   */
  #stroke([x, y]) {
    const { pen } = this;
    const length = Math.hypot(x - pen.x, y - pen.y);
    for (let at = 0; at < length; at += 0.5) {
      this.#ink(
        pen.x + ((x - pen.x) * at) / length,
        pen.y + ((y - pen.y) * at) / length,
      );
    }
    this.#ink(x, y);
    this.#carry([x, y]);
    this.paint();
    this.draw(this.image);
  }

  /**
   * Leave ink at a place.
   * @param {number} x
   * @param {number} y
   */
  #ink(x, y) {
    const { data, side } = this;
    for (let i = 0; i < data.length; i++) {
      const distance = Math.hypot((i % side) - x, Math.floor(i / side) - y);
      data[i] = Math.max(data[i], Math.min(1, 1.9 - distance));
    }
  }
}
