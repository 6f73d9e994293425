/**
 * Bring an animation to life: buttons, a slider, and frames that play when asked to.
 *
 * All frames lie side by side in one picture, the sprite. It stands behind the first
 * frame's own picture, which turns transparent here and goes on keeping the place.
 *
 * @param {HTMLElement} root the animation's element, as stn_tutorial.animation writes it
 */
function playFrames(root) {
  const count = Number(root.dataset.count);
  const last = count - 1;
  const first = /** @type {HTMLImageElement} */ (root.querySelector("img"));
  const picture = /** @type {HTMLElement} */ (first.parentElement);
  const [play, back, on] = root.querySelectorAll("button");
  const slider = /** @type {HTMLInputElement} */ (root.querySelector("input"));
  const output = /** @type {HTMLOutputElement} */ (root.querySelector("output"));
  picture.style.background = `url(${root.dataset.sprite}) 0 0/${100 * count}% 100%`;
  first.style.opacity = "0";

  let timer = 0;
  /** @param {number} frame */
  const show = (frame) => {
    slider.value = String(frame);
    picture.style.backgroundPositionX = `${(100 * frame) / last}%`;
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
