// Six heads: lay the window on the goal, as far as each head lets you.

import { board } from "../cards.js";
import { button, choice } from "../controls.js";
import { touchable } from "../figure.js";
import { digitPanels, windowPanel } from "../heads/board.js";
import { Glide } from "../heads/glide.js";
import { HEADS } from "../heads/heads.js";
import { distortions, LIMIT, Task } from "../heads/task.js";
import { tilesPanel } from "../heads/tiles.js";
import { numbers, oneOf } from "../kept.js";
import { element, fixed, note, title } from "../page.js";
import { IDENTITY } from "../sampling.js";

/** @import { Figure } from "../figure.js" */
/** @import { Traits } from "../heads/task.js" */
/** @import { Theta } from "../sampling.js" */

/**
 * What the distance says.
 * @param {Task} task
 */
function verdict(task) {
  if (task.undoes()) return "Undone: the window lies on the goal.";
  if (task.exhausted) return "This head comes no nearer, whatever you do.";
  return "At 0, the window lies on the goal.";
}

/**
 * How far the window is from the goal, and what the head says there.
 * @param {Task} task
 */
function remainsPanel(task) {
  const number = title();
  const words = element("p", { class: "stn-inside-verdict" });
  const code = element("code");
  const can = element("span");
  const update = () => {
    const { head } = task;
    number.textContent = `Off by ${fixed(task.off(), 1)} pixels`;
    words.textContent = verdict(task);
    words.classList.toggle("stn-solved", task.exhausted);
    const texts = task.numbers.map((v) => fixed(v)).join(", ");
    code.textContent = `${head.replace(" ", "_")}_head(${texts})`;
    can.textContent = ` ${HEADS[head].can}.`;
  };
  const said = note();
  said.classList.add("stn-six-said");
  said.append(code, can);
  const root = element("div", { class: "stn-board-loss" });
  root.append(element("div", {}, number, words));
  return { root, said, update };
}

/** @param {Figure<Traits>} figure */
function build(figure) {
  const task = new Task(figure);
  const glide = new Glide(task);
  const speak = () =>
    figure.say(`${task.head}: off by ${fixed(task.off(), 1)} pixels. ${verdict(task)}`);
  /** @param {Partial<Traits>} traits */
  const take = (traits) => {
    glide.stop();
    figure.send(traits);
    figure.send({ theta: [...task.best(task.head)] });
    speak();
  };
  const move = (/** @type {Theta} */ theta) => {
    glide.stop();
    task.move(theta);
    speak();
  };
  const distortion = choice("The seven is", distortions(figure), (name) =>
    take({ distortion: name }),
  );
  const view = windowPanel(task, move);
  const digits = digitPanels(task);
  const remains = remainsPanel(task);
  const tiles = tilesPanel(task, (head) => take({ head }));
  const one = button("Let this head do its best", () => {
    glide.start();
    speak();
  });
  const all = button("Let all six", () => {
    task.noteAll();
    glide.start();
    update();
    speak();
  });
  const again = button("Start again", () => {
    task.forget();
    move(IDENTITY);
    update();
  });
  const update = () => {
    task.note();
    for (const panel of [view, digits, remains, tiles]) panel.update();
    distortion.set(task.distortion);
  };
  figure.listen(["distortion", "head", "theta"], update);
  update();
  return element(
    "div",
    { class: "stn-figure stn-six" },
    title("Lay the orange window on the green one. Which heads let you?"),
    element("div", { class: "stn-named" }, "The seven is", distortion.root),
    board(view.root, ...digits.roots, remains.root, remains.said),
    element("div", { class: "stn-controls" }, one, all, again),
    title("The nearest that each head has come. Take another one in hand:"),
    tiles.root,
    figure.voice,
  );
}

export default touchable(build, (model) => ({
  distortion: oneOf(distortions(model)),
  head: oneOf(Object.keys(HEADS)),
  theta: numbers(Array(6).fill([-LIMIT, LIMIT])),
}));
