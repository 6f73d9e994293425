/**
 * Bring an animation to life: buttons, a slider, and frames that play when asked to.
 * They play in the place of the first frame, beside the last one.
 *
 * All frames lie side by side in one picture, the sprite. It takes the place of the first
 * frame's own picture, cut down to one frame: so the frame that is shown is also printed.
 *
 * @param {HTMLElement} root the animation's element, as stn_tutorial.animation writes it
 */
function playFrames(root) {
  const count = Number(root.dataset.count);
  const last = count - 1;
  const picture = /** @type {HTMLImageElement} */ (root.querySelector("img"));
  const [play, back, on] = root.querySelectorAll("button");
  const slider = /** @type {HTMLInputElement} */ (root.querySelector("input"));
  const output = /** @type {HTMLOutputElement} */ (root.querySelector("output"));
  picture.style.aspectRatio = `${picture.getAttribute("width")} / ${picture.getAttribute("height")}`;
  picture.src = root.dataset.sprite ?? picture.src;

  let timer = 0;
  /** @param {number} frame */
  const show = (frame) => {
    slider.value = String(frame);
    picture.style.objectPosition = `${(100 * frame) / last}%`;
    output.textContent = `${frame + 1} / ${count}`;
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  };
  /** @param {number} frames */
  const step = (frames) => show((Number(slider.value) + frames + count) % count);

  play.onclick = () => {
    if (timer) return stop();
    if (Number(slider.value) === last) show(0);
    play.textContent = "Pause";
    timer = window.setInterval(() => {
      step(1);
      if (Number(slider.value) === last) stop();
    }, 200);
  };
  back.onclick = () => {
    stop();
    step(-1);
  };
  on.onclick = () => {
    stop();
    step(1);
  };
  slider.oninput = () => {
    stop();
    show(Number(slider.value));
  };
}
