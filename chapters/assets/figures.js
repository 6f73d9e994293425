// Bring a page's touchable figures to life, without a kernel.
//
// The notebook's saved state lies in the page. Each widget in it carries its own code
// and the label of its figure. It takes the place of the still picture there.

(() => {
  /**
   * What a notebook saves of a figure: `_esm` is its code, `_css` its look.
   * @typedef {{ _esm: string, _css: string, label: string }} Fixed
   * @typedef {Fixed & Record<string, unknown>} Traits
   * @typedef {{ path: [string], data: string }} SavedBytes
   * @typedef {import("../../stn_tutorial/widgets/source/figure.js").Model<Traits>} Host
   */

  /**
   * What anywidget gives a figure: its traits, and word of their changes.
   * @implements {Host}
   */
  class Model {
    /** @param {Traits} traits */
    constructor(traits) {
      this.traits = traits;
      this.listeners = new EventTarget();
    }
    /**
     * @template {keyof Traits} Name
     * @param {Name} key
     */
    get(key) {
      return this.traits[key];
    }
    /**
     * @template {keyof Traits} Name
     * @param {Name} key
     * @param {Traits[Name]} value
     */
    set(key, value) {
      if (this.traits[key] === value) return;
      this.traits[key] = value;
      this.listeners.dispatchEvent(new CustomEvent(`change:${key}`, { detail: value }));
    }
    /**
     * @param {string} name
     * @param {() => void} listener
     */
    on(name, listener) {
      this.listeners.addEventListener(name, listener);
    }
    /**
     * @param {string} name
     * @param {() => void} listener
     */
    off(name, listener) {
      this.listeners.removeEventListener(name, listener);
    }
    save_changes() {} // nobody listens
    send() {}
  }

  /**
   * A binary trait is saved beside the others, as text.
   * @param {string} text
   */
  function decode(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new DataView(bytes.buffer);
  }

  /**
   * Put a figure in the place of its picture, where the page shows it.
   * @param {Traits} traits
   * @param {SavedBytes[]} buffers
   */
  async function bring(traits, buffers = []) {
    const picture = document.getElementById(traits.label)?.querySelector("img");
    if (!picture) return;
    for (const { path, data } of buffers) traits[path[0]] = decode(data);
    const code = new Blob([traits._esm], { type: "text/javascript" });
    const url = URL.createObjectURL(code);
    const { default: figure } = await import(url);
    const style = document.createElement("style");
    style.textContent = traits._css;
    const el = document.createElement("div");
    (picture.closest("a.image-reference") ?? picture).replaceWith(style, el);
    // What it returns takes the figure away again. A page keeps its figures: left and
    // come back to, it may stand as it was.
    figure.render({ model: new Model(traits), el });
  }

  addEventListener("DOMContentLoaded", () => {
    const saved = "script[type='application/vnd.jupyter.widget-state+json']";
    for (const script of document.querySelectorAll(saved)) {
      const { state: widgets } = JSON.parse(script.textContent);
      for (const { state, buffers } of Object.values(widgets)) {
        if (state._esm) bring(state, buffers);
      }
    }
  });
})();
