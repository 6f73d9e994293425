// Bring a page's touchable figures to life, without a kernel.
//
// The notebook's saved state lies in the page. Each widget in it carries its own code
// and the label of its figure. It takes the place of the still picture there.

(() => {
  /** What anywidget gives a figure: its traits, and word of their changes. */
  class Model {
    constructor(traits) {
      this.traits = traits;
      this.listeners = new EventTarget();
    }
    get(key) {
      return this.traits[key];
    }
    set(key, value) {
      if (this.traits[key] === value) return;
      this.traits[key] = value;
      this.listeners.dispatchEvent(new CustomEvent(`change:${key}`, { detail: value }));
    }
    on(name, listener) {
      this.listeners.addEventListener(name, listener);
    }
    off(name, listener) {
      this.listeners.removeEventListener(name, listener);
    }
    save_changes() {} // nobody listens
    send() {}
  }

  /** A binary trait is saved beside the others, as text. */
  function decode(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new DataView(bytes.buffer);
  }

  async function bring(traits, buffers = []) {
    const picture = document.getElementById(traits.label)?.querySelector("img");
    if (!picture) return;
    for (const { path, data } of buffers) traits[path[0]] = decode(data);
    const url = URL.createObjectURL(new Blob([traits._esm], { type: "text/javascript" }));
    const { default: figure } = await import(url);
    const style = document.createElement("style");
    style.textContent = traits._css;
    const el = document.createElement("div");
    (picture.closest("a.image-reference") ?? picture).replaceWith(style, el);
    figure.render({ model: new Model(traits), el });
  }

  addEventListener("DOMContentLoaded", () => {
    const saved = "script[type='application/vnd.jupyter.widget-state+json']";
    for (const script of document.querySelectorAll(saved)) {
      for (const { state, buffers } of Object.values(JSON.parse(script.textContent).state)) {
        if (state._esm) bring(state, buffers);
      }
    }
  });
})();
