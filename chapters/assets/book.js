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

  // To copy, the theme's script takes the focus away for a moment, and loses it.
  addEventListener("click", (event) => {
    hit(event, "button.copybtn")?.focus({ preventScroll: true });
  });

  // The page's content security policy forbids the theme's scripts in attributes.
  addEventListener("click", (event) => {
    if (hit(event, ".btn-download-pdf-button")) print();
    // @ts-expect-error: the theme defines it
    if (hit(event, ".btn-fullscreen-button")) toggleFullScreen();
  });

  // From disk a browser reads no other page, so a search shows titles alone.
  if (location.protocol === "file:") {
    // @ts-expect-error: the theme defines it
    DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
  }
})();
