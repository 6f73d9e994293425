// The book's behaviour: small corrections to sphinx-book-theme.

(() => {
  // The theme takes the focus from these buttons when they are pressed. Who pressed
  // one with a key goes on from there, and comes back to it from a menu.
  const blurred = ".theme-switch-button, .search-button, .primary-toggle, .secondary-toggle";
  const keep = (event) => {
    const button = event.target.closest(blurred);
    if (button && event.detail === 0) button.blur = () => {};
  };
  addEventListener("click", keep, { capture: true });

  // To copy, the theme's script takes the focus away for a moment, and loses it.
  addEventListener("click", (event) => {
    event.target.closest("button.copybtn")?.focus({ preventScroll: true });
  });

  // The page's content security policy forbids the theme's scripts in attributes.
  addEventListener("click", (event) => {
    if (event.target.closest(".btn-download-pdf-button")) print();
    if (event.target.closest(".btn-fullscreen-button")) toggleFullScreen();
  });

  // From disk a browser reads no other page, so a search shows titles alone.
  if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
})();
