// The book's behaviour: small corrections to sphinx-book-theme.

(() => {
  /**
   * The element in which an event happened, if it is of a kind.
   * @param {Event} event
   * @param {string} selector
   * @returns {HTMLElement | null}
   */
  const hit = ({ target }, selector) =>
    target instanceof Element ? target.closest(selector) : null;

  // The theme takes the focus from these buttons when they are pressed. Who pressed
  // one with a key goes on from there, and comes back to it from a menu.
  const blurred =
    ".theme-switch-button, .search-button, .primary-toggle, .secondary-toggle";
  /** @param {MouseEvent} event */
  const keep = (event) => {
    const button = hit(event, blurred);
    if (button && event.detail === 0) button.blur = () => {};
  };
  addEventListener("click", keep, { capture: true });

  // A tap on a link in a phone's menu shows what it leads to: the menu closes first, and
  // gives the focus back.
  addEventListener("click", (event) => {
    const link = hit(event, "dialog[open][id$='-sidebar-modal'] a[href]:not([target])");
    const elsewhere = event.ctrlKey || event.metaKey || event.shiftKey;
    if (!(link instanceof HTMLAnchorElement) || elsewhere) return;
    event.preventDefault();
    const menu = /** @type {HTMLDialogElement} */ (link.closest("dialog"));
    const follow = () => {
      if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
      location.assign(link.href);
    };
    menu.addEventListener("close", follow, { once: true });
    menu.close();
  });

  // To copy, the theme's script takes the focus away for a moment, and loses it.
  addEventListener("click", (event) => {
    hit(event, "button.copybtn")?.focus({ preventScroll: true });
  });

  // The page's content security policy forbids the theme's scripts in attributes.
  addEventListener("click", (event) => {
    if (hit(event, ".btn-download-pdf-button")) print();
    // @ts-expect-error: the theme defines it
    if (hit(event, ".btn-fullscreen-button")) toggleFullScreen();
    if (hit(event, ".highlight-link a")) {
      event.preventDefault();
      // @ts-expect-error: Sphinx defines it
      SphinxHighlight.hideSearchWords();
    }
  });

  // An iPhone shows no page in full screen.
  // @ts-expect-error: Safari's own name
  if (!(document.fullscreenEnabled || document.webkitFullscreenEnabled)) {
    document.querySelector(".btn-fullscreen-button")?.remove();
  }

  // What comes late, such as formulas and figures, moves the part of the page that a
  // link leads to. So the page goes there again, unless the reader has gone on.
  const [visit] = performance.getEntriesByType("navigation");
  if (
    location.hash &&
    /** @type {PerformanceNavigationTiming} */ (visit).type === "navigate"
  ) {
    const reading = new AbortController();
    for (const kind of ["wheel", "touchstart", "pointerdown", "keydown"]) {
      addEventListener(kind, () => reading.abort(), { capture: true, passive: true });
    }
    const goThere = () => {
      const part = document.getElementById(decodeURIComponent(location.hash.slice(1)));
      if (!reading.signal.aborted) part?.scrollIntoView({ behavior: "instant" });
    };
    addEventListener("stn-figures", goThere);
    addEventListener("load", () => {
      goThere();
      // @ts-expect-error: MathJax defines it
      const formulas = Promise.resolve(window.MathJax?.startup?.promise);
      formulas.then(() => document.fonts.ready).then(goThere);
    });
  }

  // Paper is white: a page is printed in light colours.
  const { dataset } = document.documentElement;
  let onScreen = dataset.theme;
  addEventListener("beforeprint", () => {
    onScreen = dataset.theme;
    dataset.theme = "light";
  });
  addEventListener("afterprint", () => {
    dataset.theme = onScreen;
  });

  // From disk a browser reads no other page, so a search shows titles alone.
  if (location.protocol === "file:") {
    // @ts-expect-error: the theme defines it
    DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
  }
})();
