// The camera, at the reader's wish only. Its pictures stay in this page's memory, one at
// a time; none is stored or sent.

import { greyOf, SIDE } from "../digit/paper.js";
import { element } from "../page.js";

/** @typedef {"off" | "waiting" | "on"} State */

const PAUSE = 66; // milliseconds from one picture to the next
const WISH = {
  audio: false,
  video: { facingMode: "environment", width: { ideal: 640 } },
};
// What went wrong, by the names that browsers give it.
/** @type {Record<string, string>} */
const REFUSALS = {
  NotAllowedError: "The camera was not allowed.",
  NotFoundError: "No camera was found.",
  NotReadableError: "Another program holds the camera.",
};

/** The camera's middle square, picture by picture, in grey. */
export class Camera {
  /**
   * @param {AbortSignal} ending of the figure, and of the camera
   * @param {(grey: Float64Array) => void} show called with each picture
   * @param {(state: State, words: string) => void} tell called when the state changes
   */
  constructor(ending, show, tell) {
    this.show = show;
    this.tell = tell;
    /** @type {State} */
    this.state = "off";
    this.video = element("video", { class: "stn-speaker", playsinline: true });
    this.video.muted = true;
    this.video.ariaHidden = "true";
    const canvas = element("canvas", { width: SIDE, height: SIDE });
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.tries = 0; // what a start brings that was stopped meanwhile is let go
    this.timer = 0;
    /** @type {MediaStream | null} */
    this.stream = null;
    const away = { signal: ending };
    const hide = () => document.hidden && this.stop("Stopped: the page was hidden.");
    document.addEventListener("visibilitychange", hide, away);
    addEventListener("pagehide", () => this.stop("Stopped: the page was left."), away);
    ending.addEventListener("abort", () => this.#letGo()); // nobody is to be told
  }

  /** @param {State} state */
  #change(state, words = "") {
    this.state = state;
    this.tell(state, words);
  }

  async start() {
    const mine = ++this.tries;
    if (!navigator.mediaDevices?.getUserMedia) {
      this.#change("off", "Browsers give a camera to pages that come by https only.");
      return;
    }
    this.#change("waiting", "Waiting for your browser to ask you.");
    try {
      const stream = await navigator.mediaDevices.getUserMedia(WISH);
      if (mine !== this.tries) {
        release(stream);
        return;
      }
      this.stream = stream;
      const gone = () => this.stop("Stopped: the camera was taken away.");
      stream.getVideoTracks()[0].addEventListener("ended", gone);
      this.video.srcObject = stream;
      await this.video.play();
      if (mine !== this.tries) return;
      this.#change("on");
      this.#look();
    } catch (error) {
      if (mine !== this.tries) return;
      const { name, message } = /** @type {Error} */ (error);
      this.stop(REFUSALS[name] ?? `The camera failed: ${message}.`);
    }
  }

  /**
   * Let go of the camera, or of the wish for it.
   * @param {string} words why
   */
  stop(words) {
    if (this.state === "off") return;
    this.#letGo();
    this.#change("off", words);
  }

  #letGo() {
    this.tries++;
    clearTimeout(this.timer);
    if (this.stream) release(this.stream);
    this.stream = null;
    this.video.srcObject = null;
  }

  #look() {
    if (!this.video.isConnected) {
      this.stop("");
      return;
    }
    const { videoWidth: width, videoHeight: height } = this.video;
    const side = Math.min(width, height);
    const { context } = this;
    if (side && context) {
      const [left, top] = [(width - side) / 2, (height - side) / 2];
      context.imageSmoothingQuality = "high";
      context.drawImage(this.video, left, top, side, side, 0, 0, SIDE, SIDE);
      this.show(greyOf(context.getImageData(0, 0, SIDE, SIDE).data));
    }
    this.timer = setTimeout(() => this.#look(), PAUSE);
  }
}

/** @param {MediaStream} stream */
function release(stream) {
  for (const track of stream.getTracks()) track.stop();
}
