// What a link keeps of a figure: its traits as short texts, and back.
//
// Who writes the text is unknown, so each kind reads only what the figure can show.

/**
 * How a trait is written; `read` gives undefined where a text says no value.
 * @template Value
 * @typedef {{ write: (value: Value) => string, read: (text: string) => Value | undefined }} Kind
 */

/**
 * One of these words.
 * @template {string} Word
 * @param {readonly Word[]} words
 * @returns {Kind<Word>}
 */
export const oneOf = (words) => ({
  write: String,
  read: (text) => words.find((word) => word === text),
});

/**
 * A number within a range.
 * @param {number[]} range
 * @param {{ whole?: boolean }} [options]
 * @returns {Kind<number>}
 */
export const number = ([low, high], { whole = false } = {}) => ({
  write: String,
  read: (text) => {
    const value = text.trim() ? Number(text) : NaN;
    const meant = value >= low && value <= high && (!whole || Number.isInteger(value));
    return meant ? value : undefined;
  },
});

/**
 * A list of numbers, each within its own range.
 * @template {number[]} Values
 * @param {number[][]} ranges
 * @param {{ whole?: boolean }} [options]
 * @returns {Kind<Values>}
 */
export const numbers = (ranges, options) => ({
  write: (values) => values.join("_"),
  read: (text) => {
    const texts = text.split("_");
    const values = texts.map((each, i) => number(ranges[i] ?? [], options).read(each));
    const meant = values.length === ranges.length && !values.includes(undefined);
    return meant ? /** @type {Values} */ (values) : undefined;
  },
});

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/**
 * The grey values of a drawing: a letter for each, of 64 levels; `.9.` for nine blanks.
 * @param {number} size how many
 * @returns {Kind<DataView>}
 */
export const drawing = (size) => ({
  write: ({ buffer, byteOffset }) =>
    Array.from(new Uint8Array(buffer, byteOffset, size), (v) => LETTERS[v >> 2])
      .join("")
      .replace(/A{4,}/g, (blanks) => `.${blanks.length}.`),
  read: (text) => {
    const letters = text.replace(/\.(\d{1,4})\./g, (_, blanks) => "A".repeat(blanks));
    const levels = Array.from(letters, (letter) => LETTERS.indexOf(letter));
    if (levels.length !== size || levels.includes(-1)) return undefined;
    const bytes = Uint8Array.from(levels, (level) => Math.round((level * 255) / 63));
    return new DataView(bytes.buffer);
  },
});
