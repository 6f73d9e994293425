"""Frames that play on the static page and in Jupyter, with no kernel."""

import base64
import hashlib
import html
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

HERE = Path(__file__).parent
STYLE = (HERE / "animation.css").read_text("utf-8")
SCRIPT = (HERE / "animation.js").read_text("utf-8")


def frame(figure: Figure) -> Image.Image:
    """Turn a figure into a picture for :class:`Animation`, and close it."""
    buffer = io.BytesIO()
    with plt.rc_context({"savefig.bbox": None}):  # "tight" would vary the size
        figure.savefig(buffer)
    plt.close(figure)
    return Image.open(buffer).convert("RGB")


class Animation:
    """Frames that play on the static page and in Jupyter, with no kernel.

    All frames travel in one small PNG with 64 colours. At rest the first frame stands
    beside the last, in print and where no script runs too. The reader starts, stops and
    steps the first; nothing moves by itself.

    Args:
        frames: pictures of one size, at least two, from :func:`frame`.
        label: what the animation shows, for readers who cannot see it.

    Raises:
        ValueError: fewer than two frames, or frames of several sizes.
    """

    def __init__(self, frames: Sequence[Image.Image], label: str) -> None:
        sizes = sorted({picture.size for picture in frames})
        if len(frames) < 2 or len(sizes) > 1:
            raise ValueError(
                "expected at least two frames of one size, "
                f"but got {len(frames)} of size(s) {sizes}"
            )
        self.frames, self.label = list(frames), label

    def __repr__(self) -> str:
        return f"Animation of {len(self.frames)} frames: {self.label}"

    def _repr_mimebundle_(self, **kwargs: object) -> dict[str, str]:
        still = _png([self.frames[0], self.frames[-1]])
        return {
            "text/plain": repr(self),
            "text/html": self._html(),
            "image/png": base64.b64encode(still).decode(),
        }

    def _html(self) -> str:
        sprite = _png(self.frames)
        first, last = _png(self.frames[:1]), _png(self.frames[-1:])
        name = "animation-" + hashlib.sha256(sprite).hexdigest()[:12]
        count, (width, height) = len(self.frames), self.frames[0].size
        size = f'width="{width}" height="{height}"'
        return f"""\
<style>
{STYLE}</style>
<div class="stn-animation" id="{name}" style="--width:{width}px"
 data-count="{count}" data-sprite="{_data_url(sprite)}">
<div class="stn-animation-frames">
<div><img src="{_data_url(first)}" alt="{html.escape(self.label)}" {size}>
<output>1 / {count}</output></div>
<div><img src="{_data_url(last)}" alt="The last frame" {size}>
<span>{count} / {count}</span></div>
</div>
<div class="stn-animation-controls">
<button type="button">Play</button>
<button type="button" aria-label="One frame back">&#9664;</button>
<button type="button" aria-label="One frame on">&#9654;</button>
<input type="range" min="0" max="{count - 1}" value="0" aria-label="Frame">
</div></div>
<script>
(() => {{
{SCRIPT}
playFrames(document.getElementById("{name}"));
}})();
</script>
"""


def _png(frames: Sequence[Image.Image]) -> bytes:
    """Put all frames side by side into one picture of 64 colours."""
    width, height = frames[0].size
    strip = Image.new("RGB", (width * len(frames), height))
    for i, picture in enumerate(frames):
        strip.paste(picture, (i * width, 0))
    buffer = io.BytesIO()
    strip.quantize(64).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
