// What goes on by itself, step by step.

export class Clock {
  /**
   * @param {AbortSignal} ending of the figure, and of the clock
   * @param {() => void} change called when it starts or stops
   */
  constructor(ending, change = () => {}) {
    this.change = change;
    this.timer = 0;
    ending.addEventListener("abort", () => clearInterval(this.timer));
  }

  get running() {
    return this.timer !== 0;
  }

  stop() {
    if (!this.running) return;
    clearInterval(this.timer);
    this.timer = 0;
    this.change();
  }

  /**
   * @param {() => boolean} step gives whether there is another one to take
   * @param {number} pace milliseconds from one to the next
   */
  start(step, pace = 25) {
    this.stop();
    this.timer = setInterval(() => {
      if (!step()) this.stop();
    }, pace);
    this.change();
  }
}
