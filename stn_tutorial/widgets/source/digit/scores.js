// The scores of the ten digits as bars.

import { element, fixed } from "../page.js";

/**
 * @param {number} digit
 * @param {number} places of the score behind the point
 */
function scoreRow(digit, places) {
  const bar = element("span", { class: "stn-bar" });
  const number = element("span", { class: "stn-value" });
  const name = element("span", {}, String(digit));
  const root = element("li", {}, name, element("span", {}, bar), number);
  /**
   * @param {number} share
   * @param {boolean} best
   * @param {boolean} right
   */
  const set = (share, best, right) => {
    bar.style.width = `${100 * share}%`;
    number.textContent = `${fixed(100 * share, places)}%${best ? " ◀" : ""}`;
    root.setAttribute("aria-current", String(best));
    root.classList.toggle("stn-right", right);
  };
  return { root, set };
}

/** The ten bars, of which the longest is marked, and the right one where it is known. */
export function scoreRows({ places = 1 } = {}) {
  const rows = Array.from({ length: 10 }, (_, digit) => scoreRow(digit, places));
  const attributes = { class: "stn-scores", "aria-label": "Scores" };
  const root = element("ol", attributes, ...rows.map((row) => row.root));
  /**
   * @param {number[]} shares
   * @param {number} [right] the right answer
   */
  const set = (shares, right) => {
    const best = shares.indexOf(Math.max(...shares));
    for (const [digit, row] of rows.entries()) {
      row.set(shares[digit], digit === best, digit === right);
    }
  };
  return { root, set };
}
