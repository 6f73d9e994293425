// Points, maps and images: what the figures compute, as in the package's modules
// `affine` and `interpolation`.
//
// Coordinates are normalised (x, y) as there: -1 and 1 are the outer edges of the image
// (align_corners=False).

/** @typedef {[number, number]} Point x and y */

/** @typedef {number[]} Theta six numbers, row by row */

/**
 * @typedef {object} Image
 * @property {Float64Array | Float32Array} data from 0 to 1, channel by channel, row by
 *   row
 * @property {number} channels
 * @property {number} height
 * @property {number} width
 */

/** @type {Theta} */
export const IDENTITY = [1, 0, 0, 0, 1, 0];

/**
 * The frame of every image, from its top left corner clockwise.
 * @type {Point[]}
 */
export const FRAME = [
  [-1, -1],
  [1, -1],
  [1, 1],
  [-1, 1],
];

/**
 * Where the centre of pixel i of n is.
 * @param {number} i
 * @param {number} n
 */
export const centre = (i, n) => (2 * i + 1) / n - 1;

/**
 * Where a normalised coordinate falls among n pixels; 0 is the first one's centre.
 * @param {number} x
 * @param {number} n
 */
export const toPixel = (x, n) => ((x + 1) * n - 1) / 2;

/**
 * The nearest number from `low` to `high`.
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
export const clip = (value, low, high) => Math.min(Math.max(value, low), high);

/**
 * A copy of some numbers, with another one at one place.
 * @template {number[]} Numbers
 * @param {Numbers} numbers
 * @param {number} place
 * @param {number} value
 */
export function replaced(numbers, place, value) {
  const copy = /** @type {Numbers} */ ([...numbers]);
  copy[place] = value;
  return copy;
}

/**
 * theta applied to a point.
 * @param {Theta} theta
 * @param {Point} point
 * @returns {Point}
 */
export function transform([a, b, c, d, e, f], [x, y]) {
  return [a * x + b * y + c, d * x + e * y + f];
}

/**
 * One theta that first does what `second` does, then what `first` does.
 * @param {Theta} first
 * @param {Theta} second
 * @returns {Theta}
 */
export function compose(first, second) {
  const [a, b, c, d, e, f] = first;
  const [g, h, i, j, k, l] = second;
  // biome-ignore format: a row of the matrix is a line
  return [
    a * g + b * j, a * h + b * k, a * i + b * l + c,
    d * g + e * j, d * h + e * k, d * i + e * l + f,
  ];
}

/**
 * The theta that undoes theta; null where none does.
 * @param {Theta} theta
 * @returns {Theta | null}
 */
export function invert([a, b, c, d, e, f]) {
  const det = a * e - b * d;
  if (Math.abs(det) < 1e-9) return null;
  // biome-ignore format: a row of the matrix is a line
  return [
    e / det, -b / det, (b * f - c * e) / det,
    -d / det, a / det, (c * d - a * f) / det,
  ];
}

/**
 * The sampling grid of theta: x and y of each output pixel, row by row.
 * @param {Theta} theta
 * @param {number} height
 * @param {number} width
 */
export function affineGrid(theta, height, width) {
  const grid = new Float64Array(2 * height * width);
  let at = 0;
  for (let i = 0; i < height; i++) {
    for (let j = 0; j < width; j++) {
      const [x, y] = transform(theta, [centre(j, width), centre(i, height)]);
      grid[at++] = x;
      grid[at++] = y;
    }
  }
  return grid;
}

/**
 * Read an image at the points of a grid, bilinearly; beyond it, all is 0.
 * @param {Image} image
 * @param {Float64Array} grid
 * @param {number} height
 * @param {number} width
 * @returns {Image}
 */
export function gridSample(image, grid, height, width) {
  const { data, channels, height: rows, width: columns } = image;
  const size = height * width;
  const output = new Float64Array(channels * size);
  for (let point = 0; point < size; point++) {
    const x = toPixel(grid[2 * point], columns);
    const y = toPixel(grid[2 * point + 1], rows);
    const left = Math.floor(x);
    const top = Math.floor(y);
    const right = Math.min(left + 2, columns);
    const bottom = Math.min(top + 2, rows);
    for (let row = Math.max(top, 0); row < bottom; row++) {
      for (let column = Math.max(left, 0); column < right; column++) {
        const weight = (1 - Math.abs(x - column)) * (1 - Math.abs(y - row));
        for (let c = 0; c < channels; c++) {
          output[c * size + point] +=
            weight * data[(c * rows + row) * columns + column];
        }
      }
    }
  }
  return { data: output, channels, height, width };
}

/**
 * The image that theta reads, in the size given.
 * @param {Image} image
 * @param {Theta} theta
 * @param {number} height
 * @param {number} width
 */
export function warp(image, theta, height, width) {
  return gridSample(image, affineGrid(theta, height, width), height, width);
}

/**
 * An image from bytes (0 to 255), as Python sends them.
 * @param {ArrayBufferView} bytes
 * @param {number[]} shape channels, height and width
 * @returns {Image}
 */
export function imageFromBytes(bytes, [channels, height, width]) {
  const view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { data: Float64Array.from(view, (v) => v / 255), channels, height, width };
}

/**
 * The bytes of an image, as Python gets them.
 * @param {Image} image
 */
export function imageToBytes({ data }) {
  return new DataView(Uint8Array.from(data, (v) => Math.round(255 * v)).buffer);
}

/**
 * The named pictures of a figure: a name and a shape each, and the bytes of all.
 * @param {[string, number, number, number][]} shapes
 * @param {DataView} pixels
 * @returns {Record<string, Image>}
 */
export function namedImages(shapes, pixels) {
  /** @type {Record<string, Image>} */
  const images = {};
  let start = pixels.byteOffset;
  for (const [name, ...shape] of shapes) {
    const size = shape[0] * shape[1] * shape[2];
    images[name] = imageFromBytes(new Uint8Array(pixels.buffer, start, size), shape);
    start += size;
  }
  return images;
}
