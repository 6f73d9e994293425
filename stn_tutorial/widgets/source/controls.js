// Controls: buttons, a choice among them, sliders; and theta as text.

import { element, fixed } from "./page.js";

/** @import { Listener } from "./page.js" */

/** @type {Listener} */
const keepToItself = (event) => event.stopPropagation();

/**
 * A button.
 * @param {string | Node} label
 * @param {() => void} click
 * @param {Record<string, string>} attributes
 */
export function button(label, click, attributes = {}) {
  const always = { type: "button", class: "stn-button", click };
  return element("button", { ...always, ...attributes }, label);
}

/**
 * A group of buttons of which one is pressed; `set` presses one without a call.
 * @template {string} Value
 * @param {string} label
 * @param {readonly Value[] | Record<Value, string>} options values, with their texts
 *   where these differ
 * @param {(value: Value) => void} choose
 */
export function choice(label, options, choose) {
  /** @type {[string, string][]} */
  const pairs = Array.isArray(options)
    ? options.map((value) => [value, value])
    : Object.entries(options);
  const buttons = pairs.map(([value, text]) => {
    const click = () => {
      set(value);
      choose(/** @type {Value} */ (value));
    };
    return button(text, click, { "data-value": value });
  });
  const set = (/** @type {string} */ value) => {
    for (const each of buttons) {
      each.setAttribute("aria-pressed", String(each.dataset.value === value));
    }
  };
  const attributes = { class: "stn-choice", role: "group", "aria-label": label };
  return { root: element("div", attributes, ...buttons), set };
}

/**
 * A slider with its label and its value as text; `set` moves it without a call.
 * @param {string} label
 * @param {object} range
 * @param {number} range.min
 * @param {number} range.max
 * @param {number} range.step
 * @param {(value: number) => string} range.format
 * @param {(value: number) => void} slide
 */
export function slider(label, { min, max, step, format }, slide) {
  const text = element("output", { class: "stn-value" });
  const show = (/** @type {number} */ value) => {
    text.value = format(value);
    input.setAttribute("aria-valuetext", format(value));
  };
  const input = element("input", {
    ...{ type: "range", min, max, step },
    input: () => {
      show(Number(input.value));
      slide(Number(input.value));
    },
    keydown: keepToItself,
  });
  const name = element("span", {}, label);
  const root = element("label", { class: "stn-slider" }, name, input, text);
  const set = (/** @type {number} */ value) => {
    input.value = String(value);
    show(value);
  };
  return { root, set };
}

/**
 * An input of a number, by its own keys or as a slider.
 * @param {Record<string, string | number>} attributes
 * @param {"change" | "input"} event
 * @param {(text: string) => void} enter
 */
export function numberInput(attributes, event, enter) {
  const input = element("input", {
    ...attributes,
    [event]: () => enter(input.value),
    keydown: keepToItself,
  });
  return input;
}

/** The six numbers of theta as text. */
export function thetaText(kind = "") {
  const cells = Array.from({ length: 6 }, () =>
    element("span", { class: kind || undefined }),
  );
  const attributes = { class: "stn-matrix", role: "group", "aria-label": "theta" };
  const set = (/** @type {number[]} */ theta) => {
    for (const [i, cell] of cells.entries()) cell.textContent = fixed(theta[i]);
  };
  return { root: element("div", attributes, ...cells), set };
}
