// The six heads side by side: what each has made of the digit, and what remained.

import { element, fixed } from "../page.js";
import { IDENTITY } from "../sampling.js";
import { toCanvas } from "../stage.js";
import { HEADS, numbersOf } from "./heads.js";

/** @import { Panel } from "../figure.js" */
/** @import { Task } from "./task.js" */

/**
 * A button that takes a head in hand, and the head's record.
 * @param {Task} task
 * @param {string} head
 * @param {(head: string) => void} choose
 */
function tile(task, head, choose) {
  const count = numbersOf(head, IDENTITY).length;
  const picture = element("div", { class: "stn-six-picture" });
  const bar = element("span", { class: "stn-bar" });
  const remains = element("span", { class: "stn-value" });
  const button = element(
    "button",
    { type: "button", class: "stn-tile", click: () => choose(head) },
    element("strong", {}, head),
    element("span", {}, count === 1 ? "1 number" : `${count} numbers`),
    picture,
  );
  const track = element("div", { class: "stn-six-track" }, bar);
  const root = element("div", { class: "stn-six-tile" }, button, track, remains);
  let drawn = "";
  const update = () => {
    const theta = task.best(head);
    button.setAttribute("aria-pressed", String(head === task.head));
    const shown = `${task.distortion} ${theta}`;
    if (shown === drawn) return;
    drawn = shown;
    const off = task.off(theta);
    picture.replaceChildren(toCanvas(task.output(theta)));
    bar.style.width = `${(100 * off) / task.off(IDENTITY)}%`;
    const undone = task.undoes(theta);
    remains.textContent = `${fixed(off, 1)} px${undone ? " ✓" : ""}`;
    root.classList.toggle("stn-six-undone", undone);
  };
  return { root, update };
}

/**
 * @param {Task} task
 * @param {(head: string) => void} choose
 * @returns {Panel}
 */
export function tilesPanel(task, choose) {
  const tiles = Object.keys(HEADS).map((head) => tile(task, head, choose));
  const attributes = { class: "stn-six-heads", role: "group", "aria-label": "Head" };
  const root = element("div", attributes, ...tiles.map((each) => each.root));
  const update = () => {
    for (const each of tiles) each.update();
  };
  return { root, update };
}
