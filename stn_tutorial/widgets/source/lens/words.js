// What is read, in numbers and words.

import { element, fixed, note } from "../page.js";
import { NEXT_TO } from "./kernels.js";
import { MINUS, NEIGHBOURS, PLUS } from "./lens.js";

/** @import { Reading } from "./kernels.js" */
/** @import { Lens } from "./lens.js" */

/** @param {Lens} lens */
export function sumPanel(lens) {
  const total = note();
  const sum = element("div", { class: "stn-sum" });
  const update = () => {
    const { value, terms } = lens.reading;
    total.textContent = `V = ${fixed(value, 3)}, the sum of weight·pixel:`;
    sum.style.setProperty("--stn-columns", String(Math.sqrt(terms.length)));
    const spans = terms.map(({ weight, pixel }, i) => {
      // \u200b: a line may break there.
      const span = element("span", {}, `${fixed(weight)}·\u200b${fixed(pixel)}`);
      const sign = weight < 0 ? MINUS : PLUS;
      const colour = lens.mode === "bilinear" ? NEIGHBOURS[i] : sign;
      span.style.setProperty("--stn-colour", colour);
      return span;
    });
    sum.replaceChildren(...spans);
  };
  return { roots: [total, sum], update };
}

/**
 * How the slopes come about: differences of pixels, mixed.
 * @param {Lens} lens
 * @returns {[string, string]} along x and along y; empty where the kernel has more terms
 */
function slopeSums({ mode, point: [x, y], reading: { terms } }) {
  if (mode !== "bilinear") return ["", ""];
  const [a, b, c, d] = terms.map((term) => fixed(term.pixel));
  const [right, below] = [x - terms[0].column, y - terms[0].row];
  const minus = "\u00a0−\u00a0"; // no line breaks there
  /**
   * @param {number} part
   * @param {string} first
   * @param {string} second
   */
  const mix = (part, first, second) =>
    `${fixed(1 - part)}·(${first}) + ${fixed(part)}·(${second}) = `;
  return [
    mix(below, b + minus + a, d + minus + c),
    mix(right, c + minus + a, d + minus + b),
  ];
}

/** @param {Lens} lens */
export function slopesPanel(lens) {
  const [across, down] = [note(), note()];
  const update = () => {
    const { dx, dy } = lens.reading;
    const [sumX, sumY] = slopeSums(lens);
    across.textContent = `∂V/∂x = ${sumX}${fixed(dx, 3)} per\u00a0pixel`;
    down.textContent = `∂V/∂y = ${sumY}${fixed(dy, 3)} per\u00a0pixel`;
  };
  return { roots: [across, down], update };
}

/** @param {Lens} lens */
export function remarkPanel(lens) {
  const root = note();
  root.classList.add("stn-remark"); // keeps its room where it is empty
  const update = () => {
    root.textContent = remarks(lens).join(" ");
  };
  return { root, update };
}

/**
 * What is special about this place.
 * @param {Lens} lens
 */
function remarks(lens) {
  const [x, y] = lens.point;
  const { dx, dy, terms } = lens.reading;
  const said = [];
  if (lens.mode === "bilinear" && x % 1 === 0) {
    const before = fixed(lens.at([x - NEXT_TO, y]).dx, 3);
    said.push(
      `At x = ${fixed(x, 0)} the slope along x jumps from ${before} to ${fixed(dx, 3)}.`,
      "The sampler takes the one on the right.",
    );
  }
  if (lens.mode === "bilinear" && y % 1 === 0) {
    const before = fixed(lens.at([x, y - NEXT_TO]).dy, 3);
    said.push(
      `At y = ${fixed(y, 0)} the slope along y jumps from ${before} to ${fixed(dy, 3)}.`,
      "The sampler takes the one below.",
    );
  }
  const halfway = Math.abs(x % 1) === 0.5 || Math.abs(y % 1) === 0.5;
  if (lens.mode === "nearest" && halfway) {
    said.push("Halfway between two pixels: here V jumps.");
  }
  if (terms.some(({ column, row }) => lens.pixels[row]?.[column] === undefined)) {
    said.push("Outside the picture, a pixel counts as 0.");
  }
  return said;
}

/**
 * What a screen reader says.
 * @param {Reading} reading
 * @param {boolean} slopes
 */
export function spoken({ value, dx, dy }, slopes) {
  const read = `value ${fixed(value, 3)}`;
  if (!slopes) return read;
  return `${read}, slope ${fixed(dx, 3)} along x, ${fixed(dy, 3)} along y`;
}
