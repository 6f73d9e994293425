// How the digit tumbles until somebody touches it: slowly, within what the transformer
// was trained on, and only while it is seen.

import { prefersStill } from "../page.js";

/** @import { Figure } from "../figure.js" */
/** @import { Pose } from "../digit/pose.js" */
/** @import { Traits } from "./reading.js" */

const LONGEST = 0.1; // seconds that a frame may count: a page may have slept
const RETURN = 1.5; // seconds in which a moved digit comes back to its way

/**
 * The pose after so many seconds. At first it is as the figure's traits say, on the move.
 * @param {number} seconds
 * @returns {Pose}
 */
export function poseAt(seconds) {
  const swing = (/** @type {number} */ period) =>
    Math.cos(2 * Math.PI * (seconds / period + 1 / 12));
  return {
    angle: 40 * swing(11),
    scale: 0.95 - 0.15 * swing(17),
    x: 5 * swing(13),
    y: -4 * swing(19),
  };
}

/**
 * Between two poses: the first one at share 0, the second at 1.
 * @param {Pose} from
 * @param {Pose} to
 * @param {number} share
 */
function between(from, to, share) {
  const mixed = { ...to };
  for (const part of /** @type {(keyof Pose)[]} */ (Object.keys(to))) {
    mixed[part] = from[part] + share * (to[part] - from[part]);
  }
  return mixed;
}

/** The digit's way, as time goes by. */
export class Tumble {
  /**
   * @param {Figure<Traits>} figure
   * @param {HTMLElement} root what has to be seen
   * @param {() => Pose} pose where the digit is
   */
  constructor(figure, root, pose) {
    this.figure = figure;
    this.pose = pose;
    this.left = pose(); // where the digit was when it began to move
    this.seconds = 0; // of its way
    this.moved = RETURN; // seconds since then; at first it is on its way
    this.last = 0; // when the last frame was drawn
    this.frame = 0;
    this.seen = false;
    const observer = new IntersectionObserver((entries) => {
      this.seen = entries[entries.length - 1].isIntersecting;
      this.#goOn();
    });
    observer.observe(root);
    figure.ending.addEventListener("abort", () => {
      observer.disconnect();
      cancelAnimationFrame(this.frame);
    });
    if (this.going && prefersStill()) this.stop();
  }

  get going() {
    return this.figure.get("tumbling");
  }

  stop() {
    if (this.going) this.figure.send({ tumbling: false });
    cancelAnimationFrame(this.frame);
    this.frame = 0;
  }

  start() {
    this.left = this.pose();
    this.moved = 0;
    this.figure.send({ tumbling: true });
    this.#goOn();
  }

  #goOn() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    if (!this.going || !this.seen) return;
    this.last = performance.now();
    this.frame = requestAnimationFrame(() => this.#step());
  }

  #step() {
    if (!this.going) return;
    const now = performance.now();
    const passed = Math.min((now - this.last) / 1000, LONGEST);
    this.last = now;
    this.seconds += passed;
    this.moved += passed;
    const share = Math.min(1, this.moved / RETURN);
    const smooth = share * share * (3 - 2 * share);
    this.figure.send(between(this.left, poseAt(this.seconds), smooth));
    this.frame = requestAnimationFrame(() => this.#step());
  }
}
