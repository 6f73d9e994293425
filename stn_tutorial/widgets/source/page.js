// Pieces of a page: elements, and numbers as text.

/** @typedef {(event: Event) => void} Listener */

/**
 * An HTML element with attributes (a function is a listener) and children.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number | boolean | undefined | Listener>} attributes
 *   what is false or undefined is left out
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== undefined && value !== false) {
      made.setAttribute(key, String(value));
    }
  }
  made.append(...children);
  return made;
}

export const title = (words = "") => element("p", { class: "stn-title" }, words);

export const note = (words = "") => element("p", { class: "stn-note" }, words);

/**
 * The context of a canvas, to draw with.
 * @param {HTMLCanvasElement} canvas
 */
export function contextOf(canvas) {
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser has no more room for a canvas");
  return context;
}

/**
 * A number with two digits and a true minus sign, and never minus nothing.
 * @param {number} value
 */
export function fixed(value, digits = 2) {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

/** Whether the reader has asked for as little motion as can be. */
export const prefersStill = () =>
  matchMedia("(prefers-reduced-motion: reduce)").matches;
