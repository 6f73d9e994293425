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
   * @typedef {Record<string, import("../../stn_tutorial/widgets/source/kept.js").Kind<unknown>>} Kept
   */

  // onnxruntime-web's files on this site: a module, and what it computes with, packed.
  const RUNTIME = {
    wasm: ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm.gz"],
    webgpu: ["ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm.gz"],
  };

  /**
   * Load onnxruntime-web from this site. It is larger than all else on a page, so a
   * figure asks for it only when its reader does.
   * @param {"wasm" | "webgpu"} kind
   */
  async function loadRuntime(kind) {
    if (location.protocol === "file:") {
      throw new Error(
        "A page from disk may load no program: open it on the book's site.",
      );
    }
    const root = document.documentElement.dataset.content_root ?? "./";
    const folder = new URL(`${root}_static/onnxruntime/`, document.baseURI);
    const [module, packed] = RUNTIME[kind].map((name) => new URL(name, folder).href);
    const start = performance.now();
    const answer = await fetch(packed);
    if (!answer.ok) throw new Error("This site was built without onnxruntime-web.");
    const file = await answer.arrayBuffer();
    const ort = await import(module);
    ort.env.wasm.numThreads = 1; // more would need headers that a plain server lacks
    ort.env.wasm.wasmBinary = await unpacked(file);
    const seconds = (performance.now() - start) / 1000;
    const [code] = performance.getEntriesByName(module);
    const size = code instanceof PerformanceResourceTiming ? code.encodedBodySize : 0;
    return { ort, bytes: file.byteLength + size, seconds };
  }

  /**
   * A file without its packing (gzip), which some servers have taken off already.
   * @param {ArrayBuffer} file
   */
  function unpacked(file) {
    if (new DataView(file).getUint16(0) !== 0x1f8b) return file;
    const stream = new Blob([file]).stream();
    return new Response(
      stream.pipeThrough(new DecompressionStream("gzip")),
    ).arrayBuffer();
  }

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
    /** @param {"wasm" | "webgpu"} kind */
    runtime(kind) {
      return loadRuntime(kind);
    }
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
   * Set the traits that the address brings along, if it is this figure's.
   * @param {Model} model
   * @param {Kept} kept
   */
  function follow(model, kept) {
    if (location.hash !== `#${model.get("label")}`) return;
    const brought = new URLSearchParams(location.search);
    for (const [name, { read }] of Object.entries(kept)) {
      const value = read(brought.get(name) ?? "");
      if (value !== undefined) model.set(name, value);
    }
  }

  /**
   * A model's traits as an address brings them.
   * @param {Model} model
   * @param {Kept} kept
   */
  const written = (model, kept) =>
    Object.entries(kept).map(([name, { write }]) =>
      String(new URLSearchParams({ [name]: write(model.get(name)) })),
    );

  /**
   * A button that copies a link to the figure as it stands. Where the browser lets no
   * page copy, it shows the link, selected.
   * @param {() => string} link
   */
  function linkButton(link) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "stn-button";
    button.textContent = navigator.clipboard
      ? "Copy link to this setting"
      : "Show link to this setting";
    const said = document.createElement("span");
    said.role = "status";
    const field = document.createElement("input");
    field.readOnly = true;
    field.ariaLabel = "Link to this setting";
    field.addEventListener("keydown", (event) => event.stopPropagation());
    const root = document.createElement("div");
    root.className = "stn-link";
    root.append(button, said);
    button.addEventListener("click", async () => {
      field.value = link();
      try {
        await navigator.clipboard.writeText(field.value);
        said.textContent = "Copied.";
        setTimeout(() => said.replaceChildren(), 4000);
      } catch {
        root.append(field);
        field.select();
      }
    });
    return root;
  }

  /**
   * Put a figure in the place of its picture, where the page shows it. If the figure
   * fails, the picture is there again.
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
    const still = picture.closest("a.image-reference") ?? picture;
    still.replaceWith(style, el);
    try {
      await show(figure, new Model(traits), el);
    } catch (error) {
      style.remove();
      el.replaceWith(still);
      throw error;
    }
  }

  /**
   * Fill an element with a figure, set as the address says, and a button for such links.
   * @param {{ render: (place: { model: Model, el: HTMLElement }) => unknown, kept?: (model: Model) => Kept }} figure
   * @param {Model} model
   * @param {HTMLElement} el
   */
  async function show(figure, model, el) {
    const kept = figure.kept?.(model) ?? {}; // older notebooks' figures have none
    const usual = new Set(written(model, kept));
    follow(model, kept);
    // What it returns takes the figure away again. A page keeps its figures: left and
    // come back to, it may stand as it was.
    await figure.render({ model, el });
    const link = () => {
      const address = new URL(location.href);
      const changed = written(model, kept).filter((pair) => !usual.has(pair));
      address.search = changed.join("&");
      address.hash = model.get("label");
      return address.href;
    };
    el.firstElementChild?.append(linkButton(link));
  }

  addEventListener("DOMContentLoaded", () => {
    const saved = "script[type='application/vnd.jupyter.widget-state+json']";
    const coming = [];
    for (const script of document.querySelectorAll(saved)) {
      const { state: widgets } = JSON.parse(script.textContent);
      for (const { state, buffers } of Object.values(widgets)) {
        // One that fails is reported, and keeps none of the others back.
        if (state._esm) coming.push(bring(state, buffers).catch(reportError));
      }
    }
    Promise.all(coming).then(() => dispatchEvent(new Event("stn-figures")));
  });
})();
