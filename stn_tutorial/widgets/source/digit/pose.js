// Where a digit lies on its canvas: turned, scaled and moved.

import { clip, compose, warp } from "../sampling.js";

/** @import { Figure } from "../figure.js" */
/** @import { Image, Point } from "../sampling.js" */

/** @typedef {{ angle: number, scale: number, x: number, y: number }} Pose */

/** @typedef {keyof Pose} Part */

/**
 * What a slider says and can do, and on what the network was trained.
 * @typedef {object} Extent
 * @property {string} label
 * @property {string} unit
 * @property {[number, number]} range
 * @property {[number, number]} trained
 * @property {number} step
 * @property {number} digits shown behind the point
 */

/** @type {Record<Part, Extent>} */
export const EXTENTS = {
  angle: {
    label: "angle",
    unit: "°",
    range: [-90, 90],
    trained: [-45, 45],
    step: 1,
    digits: 0,
  },
  scale: {
    label: "scale",
    unit: "",
    range: [0.5, 1.5],
    trained: [0.7, 1.2],
    step: 0.01,
    digits: 2,
  },
  x: {
    label: "to the right",
    unit: " px",
    range: [-10, 10],
    trained: [-7, 7],
    step: 0.5,
    digits: 1,
  },
  y: {
    label: "down",
    unit: " px",
    range: [-10, 10],
    trained: [-7, 7],
    step: 0.5,
    digits: 1,
  },
};

/**
 * The pose that a figure holds.
 * @template {Pose} T
 * @param {Figure<T>} figure
 * @returns {Pose}
 */
export function poseIn(figure) {
  const [angle, scale] = [figure.get("angle"), figure.get("scale")];
  return { angle, scale, x: figure.get("x"), y: figure.get("y") };
}

export const PARTS = /** @type {Part[]} */ (Object.keys(EXTENTS));

/** @type {Pose} */
export const UPRIGHT = { angle: 0, scale: 1, x: 0, y: 0 };

export const DEGREE = Math.PI / 180;

/**
 * The 28x28 drawing on a 42x42 canvas, as moved_grid of stn_tutorial.distortions
 * places it.
 * @param {Image} drawing
 * @param {Pose} pose
 */
export function place(drawing, pose) {
  return warp(drawing, toDrawing(pose), 42, 42);
}

/**
 * The map from the canvas to the drawing; x and y are in pixels of the canvas.
 * @param {Pose} pose
 */
function toDrawing({ angle, scale, x, y }) {
  const cos = (Math.cos(angle * DEGREE) * 42) / 28 / scale;
  const sin = (Math.sin(angle * DEGREE) * 42) / 28 / scale;
  return compose([cos, -sin, 0, sin, cos, 0], [1, 0, -x / 21, 0, 1, -y / 21]);
}

/**
 * Where a point of the digit's box is on the canvas; the box is 20 pixels wide.
 * @param {Pose} pose
 * @param {Point} point
 * @returns {Point}
 */
export function onCanvas({ angle, scale, x, y }, [u, v]) {
  const [cos, sin] = [Math.cos(angle * DEGREE), Math.sin(angle * DEGREE)];
  return [
    (x + 10 * scale * (cos * u + sin * v)) / 21,
    (y + 10 * scale * (cos * v - sin * u)) / 21,
  ];
}

/**
 * The turn and the scale that put the middle of the box's upper edge at a point of the
 * canvas.
 * @param {Pose} pose
 * @param {Point} point
 */
export function withTop({ x, y }, point) {
  const [right, up] = [21 * point[0] - x, y - 21 * point[1]];
  return { angle: Math.atan2(-right, up) / DEGREE, scale: Math.hypot(right, up) / 10 };
}

/**
 * The nearest pose that the sliders have.
 * @param {Partial<Pose>} pose
 */
export function allowed(pose) {
  /** @type {Partial<Pose>} */
  const nearest = {};
  for (const part of /** @type {Part[]} */ (Object.keys(pose))) {
    const { range, step } = EXTENTS[part];
    const steps = Math.round(1 / step); // a whole number, or rounding leaves a tail
    const value = /** @type {number} */ (pose[part]);
    nearest[part] = clip(Math.round(value * steps) / steps, ...range);
  }
  return nearest;
}

/** A pose like those of the training. */
export function randomPose() {
  /** @type {Partial<Pose>} */
  const pose = {};
  for (const part of PARTS) {
    const [low, high] = EXTENTS[part].trained;
    pose[part] = low + (high - low) * Math.random();
  }
  return allowed(pose);
}
