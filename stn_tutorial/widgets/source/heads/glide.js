// The window goes by itself to where its head comes nearest.

import { Clock } from "../clock.js";
import { prefersStill } from "../page.js";

/** @import { Task } from "./task.js" */

const STEPS = 30;

export class Glide {
  /** @param {Task} task */
  constructor(task) {
    this.task = task;
    this.clock = new Clock(task.figure.ending);
  }

  stop() {
    this.clock.stop();
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
    this.clock.start(() => {
      step++;
      const share = step / STEPS;
      task.move(task.onTheWay(start, share * share * (3 - 2 * share)));
      return step < STEPS;
    });
  }
}
