// How long a network takes to read an image, here and now.

/** @import { Weights } from "../digit/network.js" */

const [FIRST, TURNS, EACH] = [10, 11, 10];

/**
 * The median time of a call, in milliseconds. Clocks in browsers are coarse, so ten
 * calls are timed at once; between the turns the page may breathe.
 * @param {() => unknown} call
 * @param {AbortSignal} ending after which it never comes back
 */
export async function timed(call, ending) {
  for (let i = 0; i < FIRST; i++) await call();
  /** @type {number[]} */
  const times = [];
  for (let turn = 0; turn < TURNS; turn++) {
    await breath(ending);
    const start = performance.now();
    for (let i = 0; i < EACH; i++) await call();
    times.push((performance.now() - start) / EACH);
  }
  return times.sort((a, b) => a - b)[(TURNS - 1) / 2];
}

/** @param {AbortSignal} ending */
function breath(ending) {
  return new Promise((done) => {
    if (ending.aborted) return;
    const end = () => clearTimeout(timer);
    const timer = setTimeout(() => {
      ending.removeEventListener("abort", end);
      done(undefined);
    });
    ending.addEventListener("abort", end);
  });
}

/**
 * All weights in one row, as the ONNX file expects them: by their names' order, in
 * single precision, as bytes.
 * @param {Weights} weights
 */
export function inOneRow(weights) {
  const names = Object.keys(weights).sort();
  const row = Float32Array.from(names.flatMap((name) => [...weights[name].data]));
  return new Uint8Array(row.buffer);
}

/**
 * The largest difference between two lists of numbers; NaN where there is one.
 * @param {ArrayLike<number>} ours
 * @param {ArrayLike<number>} theirs
 */
export const apart = (ours, theirs) =>
  ours.length === theirs.length
    ? Math.max(...Array.from(ours, (value, i) => Math.abs(value - theirs[i])))
    : NaN;
