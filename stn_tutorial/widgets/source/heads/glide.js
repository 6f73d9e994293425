// The window goes by itself to where its head comes nearest.

import { prefersStill } from "../page.js";

/** @import { Task } from "./task.js" */

const STEPS = 30;
const PACE = 25; // milliseconds a step

export class Glide {
  /** @param {Task} task */
  constructor(task) {
    this.task = task;
    this.timer = 0;
    task.figure.ending.addEventListener("abort", () => this.stop());
  }

  stop() {
    clearInterval(this.timer);
    this.timer = 0;
  }

  start() {
    this.stop();
    const { task } = this;
    if (prefersStill()) {
      task.move(task.onTheWay(task.theta, 1));
      return;
    }
    const start = task.theta;
    let step = 0;
    this.timer = setInterval(() => {
      step++;
      const share = step / STEPS;
      task.move(task.onTheWay(start, share * share * (3 - 2 * share)));
      if (step === STEPS) this.stop();
    }, PACE);
  }
}
