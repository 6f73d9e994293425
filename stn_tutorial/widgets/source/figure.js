// What a figure is to its host, JupyterLab or the page: traits, a voice, and an end.

import { element } from "./page.js";
import { Stage } from "./stage.js";

/** @import { Kind } from "./kept.js" */

/** @typedef {"wasm" | "webgpu"} Kernels what onnxruntime-web computes with */

/**
 * A part of onnxruntime-web, all that the book uses of it.
 * @typedef {{ data: Float32Array }} OnnxTensor
 * @typedef {Record<string, OnnxTensor>} OnnxTensors
 * @typedef {{ run: (inputs: OnnxTensors) => Promise<OnnxTensors>, release: () => Promise<void> }} Session
 * @typedef {object} Onnx
 * @property {{ create: (file: Uint8Array, options: object) => Promise<Session> }} InferenceSession
 * @property {new (type: string, data: Float32Array, shape: number[]) => OnnxTensor} Tensor
 * @property {{ wasm: { numThreads?: number, wasmBinary?: ArrayBuffer } }} env
 */

/** @typedef {{ ort: Onnx, bytes: number, seconds: number }} Loaded with what it cost */

/**
 * What anywidget gives a figure, and `figures.js` on the page: traits, and word of
 * their changes.
 * @template {object} Traits
 * @typedef {object} Model
 * @property {<Name extends keyof Traits>(name: Name) => Traits[Name]} get
 * @property {<Name extends keyof Traits>(name: Name, value: Traits[Name]) => void} set
 * @property {(change: string, listener: () => void) => void} on
 * @property {(change: string, listener: () => void) => void} off
 * @property {() => void} save_changes
 * @property {(kind: Kernels) => Promise<Loaded>} [runtime] onnxruntime-web; the book's
 *   site has it, a notebook has not
 */

/**
 * What a link to a figure keeps: traits by their names, and how each is written.
 * @template {object} Traits
 * @typedef {{ [Name in keyof Traits]?: Kind<Traits[Name]> }} Kept
 */

/**
 * A part of a figure: `update` shows in `root` what the traits say now.
 * @typedef {{ root: HTMLElement, update: () => void }} Panel
 */

/**
 * A figure as its panels see it.
 * @template {object} Traits
 */
export class Figure {
  /**
   * @param {Model<Traits>} model
   * @param {AbortSignal} ending when the figure is taken away
   */
  constructor(model, ending) {
    this.model = model;
    this.ending = ending;
    /** A line of text that screen readers speak when it changes. */
    this.voice = element("div", { class: "stn-speaker", "aria-live": "polite" });
    this.saving = 0; // timers, and 0 where none runs
    this.speaking = 0;
    this.sending = false;
    /** @type {Set<() => void>} */
    this.waiting = new Set();
    ending.addEventListener("abort", () => this.#end());
  }

  /**
   * The value of a trait.
   * @template {keyof Traits} Name
   * @param {Name} name
   */
  get(name) {
    return this.model.get(name);
  }

  /**
   * Set traits. Who listens hears of them once, when all are set; Python, when there is
   * one, after the hand has rested for 50 ms.
   * @param {Partial<Traits>} traits
   */
  send(traits) {
    this.sending = true;
    for (const name of /** @type {(keyof Traits)[]} */ (Object.keys(traits))) {
      this.model.set(name, /** @type {Traits[typeof name]} */ (traits[name]));
    }
    this.sending = false;
    const waiting = [...this.waiting];
    this.waiting.clear();
    for (const listener of waiting) listener();
    clearTimeout(this.saving);
    this.saving = setTimeout(() => this.#save(), 50);
  }

  #save() {
    this.saving = 0;
    this.model.save_changes();
  }

  /**
   * Call a listener after every change of these traits, the reader's or Python's.
   * @param {(string & keyof Traits)[]} names
   * @param {() => void} listener
   */
  listen(names, listener) {
    const hear = () => {
      if (this.sending) this.waiting.add(listener);
      else listener();
    };
    for (const name of names) {
      this.model.on(`change:${name}`, hear);
      this.ending.addEventListener("abort", () =>
        this.model.off(`change:${name}`, hear),
      );
    }
  }

  /**
   * Speak, not more than twice a second.
   * @param {string} text
   */
  say(text) {
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => {
      this.voice.textContent = text;
    }, 500);
  }

  /**
   * A card to draw on, for as long as the figure is there.
   * @param {number[]} view left, top, right, bottom: what the card shows
   * @param {string} label for screen readers
   * @param {() => void} paint called whenever the card changes its size
   */
  stage(view, label, paint) {
    return new Stage(view, label, paint, this.ending);
  }

  #end() {
    clearTimeout(this.speaking);
    if (!this.saving) return;
    clearTimeout(this.saving);
    this.#save();
  }
}

/**
 * What a figure's module exports: `render` fills an element and returns its clean-up;
 * `kept` says what a link to the figure keeps.
 * @template {object} Traits
 * @param {(figure: Figure<Traits>) => HTMLElement} build
 * @param {(model: Pick<Model<Traits>, "get">) => Kept<Traits>} kept
 */
export function touchable(build, kept) {
  /** @param {{ model: Model<Traits>, el: HTMLElement }} place */
  const render = ({ model, el }) => {
    const life = new AbortController();
    el.replaceChildren(build(new Figure(model, life.signal)));
    return () => life.abort();
  };
  return { render, kept };
}
