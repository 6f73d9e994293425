// Which input pixels an output pixel is read from, and how a reader points at one.

import { centre, clip, toPixel } from "./sampling.js";
import { ARROWS, COLOURS } from "./stage.js";

/** @import { Image, Point } from "./sampling.js" */
/** @import { Stage } from "./stage.js" */

/** @typedef {{ row: number, column: number, weight: number, value: number }} Neighbour */

/**
 * The four pixels around a point, with their bilinear weights, row by row. Beyond the
 * image, pixels are 0. The value is that of the first channel.
 * @param {Image} image
 * @param {Point} point
 * @returns {Neighbour[]}
 */
export function neighbours({ data, height, width }, [x, y]) {
  const [column, row] = [toPixel(x, width), toPixel(y, height)];
  const [left, top] = [Math.floor(column), Math.floor(row)];
  const corners = [
    [top, left],
    [top, left + 1],
    [top + 1, left],
    [top + 1, left + 1],
  ];
  return corners.map(([i, j]) => {
    const weight = (1 - Math.abs(row - i)) * (1 - Math.abs(column - j));
    const inside = i >= 0 && i < height && j >= 0 && j < width;
    return { row: i, column: j, weight, value: inside ? data[i * width + j] : 0 };
  });
}

/**
 * Light up the pixels around a point, each by its weight, and the point.
 * @param {Stage} stage that shows the image from -1 to 1
 * @param {Image} image
 * @param {Point} point
 */
export function drawNeighbours(stage, image, point) {
  const { context } = stage;
  const { height, width } = image;
  for (const { row, column, weight } of neighbours(image, point)) {
    const [left, top] = stage.place([(2 * column) / width - 1, (2 * row) / height - 1]);
    const [right, bottom] = stage.place([
      (2 * column + 2) / width - 1,
      (2 * row + 2) / height - 1,
    ]);
    context.setLineDash([]);
    context.fillStyle = COLOURS.other;
    context.globalAlpha = 0.7 * weight;
    context.fillRect(left, top, right - left, bottom - top);
    context.globalAlpha = 1;
    context.strokeStyle = COLOURS.other;
    context.lineWidth = 1.5;
    context.strokeRect(left, top, right - left, bottom - top);
  }
  stage.dot(point, "#fff", 4.5);
  stage.dot(point, COLOURS.other, 3);
}

/**
 * Frame one pixel of a picture.
 * @param {Stage} stage that shows the picture from -1 to 1
 * @param {Point} point the pixel's centre
 * @param {number} height of the picture, in pixels
 * @param {number} width
 */
export function drawPixelFrame(stage, [x, y], height, width) {
  const [left, top] = stage.place([x - 1 / width, y - 1 / height]);
  const [right, bottom] = stage.place([x + 1 / width, y + 1 / height]);
  const { context } = stage;
  context.setLineDash([]);
  for (const { colour, line, gap } of [
    { colour: "#fff", line: 2, gap: 3 },
    { colour: COLOURS.other, line: 2.5, gap: 1 },
  ]) {
    context.strokeStyle = colour;
    context.lineWidth = line;
    const [across, down] = [right - left + 2 * gap, bottom - top + 2 * gap];
    context.strokeRect(left - gap, top - gap, across, down);
  }
}

/**
 * The centre of the pixel that is nearest to a point.
 * @param {Point} point
 * @param {number} height of the picture, in pixels
 * @param {number} width
 * @returns {Point}
 */
export function nearestCentre([x, y], height, width) {
  const near = (/** @type {number} */ v, /** @type {number} */ n) =>
    centre(clip(Math.round(toPixel(v, n)), 0, n - 1), n);
  return [near(x, width), near(y, height)];
}

/**
 * Let a reader point at the pixels of a picture, by mouse, finger or arrow keys.
 * @param {Stage} stage that shows the picture from -1 to 1
 * @param {object} pixel
 * @param {() => [number, number]} pixel.size height and width of the picture
 * @param {() => Point} pixel.get centre of the one that is pointed at
 * @param {(centre: Point) => void} pixel.set
 */
export function pointAtPixels(stage, { size, get, set }) {
  const { canvas } = stage;
  stage.root.classList.add("stn-pixels");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-roledescription", "picture, pixel by pixel");
  const point = (/** @type {Point} */ to) => {
    const [x, y] = nearestCentre(to, ...size());
    const [oldX, oldY] = get();
    if (x !== oldX || y !== oldY) set([x, y]);
  };
  const follow = (/** @type {PointerEvent} */ event) => point(stage.locate(event));
  canvas.addEventListener("pointerdown", follow);
  canvas.addEventListener("pointermove", follow);
  canvas.addEventListener("keydown", (event) => {
    const way = ARROWS[event.key];
    if (!way) return;
    event.preventDefault();
    event.stopPropagation();
    const [height, width] = size();
    const [x, y] = get();
    point([x + (2 * way[0]) / width, y + (2 * way[1]) / height]);
  });
}
