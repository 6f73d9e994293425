// Beside a term its definition, beside a citation its work: while the pointer or the
// focus is there, until Esc. The text is the link's title, which shows without a script.

(() => {
  const HINTED = "a.term[title], .bibtex-citation a[title]";
  const PATIENCE = 200; // ms: long enough to get from the link to the hint
  const GAP = 6; // px: the ring around the focus stays in view

  const hint = document.createElement("div");
  hint.id = "stn-hint";
  hint.role = "tooltip";
  hint.hidden = true;
  /** @type {HTMLElement | null} */
  let shown = null;
  let timer = 0;

  const hide = () => {
    clearTimeout(timer);
    shown?.removeAttribute("aria-describedby");
    shown = null;
    hint.hidden = true;
  };

  /**
   * Show a link's hint below it, or above it where there is more room.
   * @param {HTMLElement} link
   * @param {string} text
   */
  const show = (link, text) => {
    hide();
    shown = link;
    hint.textContent = text;
    hint.hidden = false;
    link.setAttribute("aria-describedby", hint.id);
    const box = link.getBoundingClientRect();
    const { width, height } = hint.getBoundingClientRect();
    const screen = document.documentElement;
    const [above, below] = [box.top - GAP - height, box.bottom + GAP];
    const top = below + height > screen.clientHeight && above >= 0 ? above : below;
    const left = Math.min(box.left, screen.clientWidth - width - 12);
    hint.style.left = `${Math.max(left, 12) + scrollX}px`;
    hint.style.top = `${top + scrollY}px`;
  };

  /**
   * Do something soon, unless something else comes first.
   * @param {() => void} action
   */
  const soon = (action) => {
    clearTimeout(timer);
    timer = setTimeout(action, PATIENCE);
  };

  /** @type {NodeListOf<HTMLElement>} */
  const links = document.querySelectorAll(HINTED);
  for (const link of links) {
    const text = link.title;
    link.removeAttribute("title");
    link.addEventListener("pointerenter", ({ pointerType }) => {
      if (pointerType === "mouse") soon(() => show(link, text));
    });
    link.addEventListener("pointerleave", () => soon(hide));
    link.addEventListener("focus", () => show(link, text));
    link.addEventListener("blur", hide);
  }
  hint.addEventListener("pointerenter", () => clearTimeout(timer));
  hint.addEventListener("pointerleave", () => soon(hide));
  addEventListener("keydown", ({ key }) => {
    if (key === "Escape") hide();
  });
  if (links.length) document.body.append(hint);
})();
