// A pad to draw on, by mouse, finger or keys.

import { clip } from "./sampling.js";
import { ARROWS, COLOURS } from "./stage.js";

/** @import { Figure } from "./figure.js" */
/** @import { Image, Point } from "./sampling.js" */

/**
 * A pad of side x side pixels.
 * @template {object} Traits
 * @param {Figure<Traits>} figure
 * @param {number} side
 * @param {string} label
 * @param {(image: Image) => void} draw called with the image after every stroke
 */
export function drawingPad(figure, side, label, draw) {
  const data = new Float64Array(side * side);
  /** @type {Image} */
  const image = { data, channels: 1, height: side, width: side };
  const pen = { x: (side - 1) / 2, y: (side - 1) / 2, down: false };
  const [low, high] = [-0.5, side - 0.5];
  const stage = figure.stage([low, low, high, high], label, () => paint());

  function paint() {
    if (!stage.width) return;
    stage.clear();
    stage.image(image, [low, low], [high, high]);
    if (document.activeElement === stage.canvas) {
      stage.dot([pen.x, pen.y], pen.down ? COLOURS.grid : COLOURS.other, 5);
    }
  }

  /**
   * Leave ink at a place.
   * @param {number} x
   * @param {number} y
   */
  function ink(x, y) {
    for (let i = 0; i < data.length; i++) {
      const distance = Math.hypot((i % side) - x, Math.floor(i / side) - y);
      data[i] = Math.max(data[i], Math.min(1, 1.9 - distance));
    }
  }

  /**
   * Draw from the pen to a point.
   * @param {Point} point
   */
  function stroke([x, y]) {
    const length = Math.hypot(x - pen.x, y - pen.y);
    for (let at = 0; at < length; at += 0.5) {
      ink(pen.x + ((x - pen.x) * at) / length, pen.y + ((y - pen.y) * at) / length);
    }
    ink(x, y);
    Object.assign(pen, { x, y });
    paint();
    draw(image);
  }

  const { canvas } = stage;
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-roledescription", "drawing pad");
  let drawing = false;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    drawing = true;
    [pen.x, pen.y] = stage.locate(event);
    stroke([pen.x, pen.y]);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (drawing) stroke(stage.locate(event));
  });
  const lift = () => {
    drawing = false;
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("keydown", (event) => {
    const way = ARROWS[event.key];
    if (!way && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    if (!way) pen.down = !pen.down;
    const [right, down] = way ?? [0, 0];
    const x = clip(pen.x + right, 0, side - 1);
    const y = clip(pen.y + down, 0, side - 1);
    if (pen.down) stroke([x, y]);
    else {
      Object.assign(pen, { x, y });
      paint();
    }
  });
  canvas.addEventListener("focus", paint);
  canvas.addEventListener("blur", paint);

  return {
    root: stage.root,
    image,
    /** Put another image on the pad, without a call. */
    set(/** @type {ArrayLike<number>} */ other) {
      data.set(other);
      paint();
    },
    clear() {
      data.fill(0);
      paint();
      draw(image);
    },
  };
}
