"""The book's look: style, colours, pictures, and figure functions."""

import base64
import hashlib
import io
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from skimage import data
from torch import Tensor

# The same meaning through the whole book; safe for the colour-blind (Okabe-Ito).
INPUT = "#0072B2"
GRID = "#D55E00"
OUTPUT = "#009E73"
OTHER = "#CC79A7"
GREY = "#767676"


def use_style() -> None:
    """Set matplotlib to the book's style."""
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 110,
            "savefig.bbox": "tight",
            "savefig.pad_inches": 0.08,
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "axes.titlesize": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": plt.cycler(color=[INPUT, GRID, OUTPUT, OTHER, GREY]),
            "axes.grid": True,
            "grid.color": "#e6e6e6",
            "axes.axisbelow": True,
            "lines.linewidth": 2,
            "image.cmap": "gray",
            "image.interpolation": "nearest",
            "legend.frameon": False,
        }
    )


def cat_photo() -> Tensor:
    """A real photograph, not square: shape (1, 3, 300, 451), in [0, 1].

    Source: "Chelsea" by Stefan van der Walt (CC0), in scikit-image.
    """
    return torch.tensor(data.chelsea()).permute(2, 0, 1)[None] / 255


def show_image(
    ax: Axes, image: Tensor, title: str = "", edge: str | None = None
) -> None:
    """Draw one image on an axis, grey values from 0 (black) to 1 (white).

    Args:
        ax: where to draw; its data coordinates become pixels.
        image: shape (H, W), (1, H, W) or (3, H, W).
        title: text above.
        edge: colour of a frame, such as ``INPUT`` or ``OUTPUT``.

    Raises:
        ValueError: the image has another shape.
    """
    image = image.detach().cpu()
    if image.dim() == 2:
        image = image[None]
    if image.dim() != 3 or image.shape[0] not in (1, 3):
        raise ValueError(
            "expected an image of shape (H, W), (1, H, W) or (3, H, W), "
            f"but got {tuple(image.shape)}"
        )
    pixels = image.permute(1, 2, 0).clamp(0, 1).numpy()
    ax.imshow(pixels.squeeze(-1) if len(image) == 1 else pixels, vmin=0, vmax=1)
    ax.set_title(title)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(edge is not None)
        spine.set_color(edge)
        spine.set_linewidth(2)


def show_images(
    images: Sequence[Tensor] | Tensor,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    height: float = 1.6,
    edge: str | None = None,
) -> Figure:
    """Draw images side by side.

    Args:
        images: a batch (N, C, H, W), or a list of images as in :func:`show_image`.
        titles: one text an image.
        columns: images in a row; all of them if not given.
        height: of one image, in inches.
        edge: colour of the frames.

    Returns:
        the figure.
    """
    columns = columns or len(images)
    rows = -(-len(images) // columns)
    aspect = images[0].shape[-1] / images[0].shape[-2]
    size = (columns * height * aspect, rows * (height + (0.3 if titles else 0)))
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for i, (ax, image) in enumerate(zip(axes.flat, images, strict=False)):
        ax.set_axis_on()
        show_image(ax, image, titles[i] if titles else "", edge)
    return figure


def draw_grid(
    ax: Axes,
    grid: Tensor,
    size: Sequence[int],
    align_corners: bool = False,
    lines: int = 9,
    color: str = GRID,
) -> None:
    """Draw a sampling grid over an image that :func:`show_image` drew.

    Args:
        ax: the axis of the input image.
        grid: one sample's grid, shape (H, W, 2), normalised (x, y).
        size: (H, W) of the input image.
        align_corners: as the grid was made.
        lines: about how many rows and columns of the grid to draw.
        color: of the lines.
    """
    span = torch.tensor([size[1], size[0]]) - (1 if align_corners else 0)
    last = torch.tensor([size[1] - 1, size[0] - 1])
    points = (grid.detach().cpu() * span + last) / 2
    rows = np.linspace(0, len(points) - 1, min(lines, len(points))).round().astype(int)
    width = points.shape[1]
    columns = np.linspace(0, width - 1, min(lines, width)).round().astype(int)
    for i in rows:
        ax.plot(*points[i].T, color=color, linewidth=1)
    for j in columns:
        ax.plot(*points[:, j].T, color=color, linewidth=1)
    ax.plot(*points[0, 0], "o", color=color, markersize=5)


def frame(figure: Figure) -> Image.Image:
    """Turn a figure into a picture for :class:`Animation`, and close it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, bbox_inches=None)
    plt.close(figure)
    return Image.open(buffer).convert("RGB")


class Animation:
    """Frames that play on the static page and in Jupyter, with no kernel.

    All frames travel in one small PNG with 64 colours. The reader starts, stops and
    steps them; nothing moves by itself. PDF and GitHub show the first and last frame.

    Args:
        frames: pictures of one size, at least two, from :func:`frame`.
        label: what the animation shows, for readers who cannot see it.
        seconds: how long a frame stays.

    Raises:
        ValueError: fewer than two frames, or frames of several sizes.
    """

    def __init__(
        self, frames: Sequence[Image.Image], label: str, seconds: float = 0.2
    ) -> None:
        sizes = sorted({picture.size for picture in frames})
        if len(frames) < 2 or len(sizes) > 1:
            raise ValueError(
                "expected at least two frames of one size, "
                f"but got {len(frames)} of size(s) {sizes}"
            )
        self.frames, self.label, self.seconds = list(frames), label, seconds

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
        width, height = self.frames[0].size
        return PLAYER.format(
            id="animation-" + hashlib.sha256(sprite).hexdigest()[:12],
            sprite=base64.b64encode(sprite).decode(),
            label=self.label,
            width=width,
            height=height,
            count=len(self.frames),
            last=len(self.frames) - 1,
            milliseconds=round(1000 * self.seconds),
        )


def _png(frames: Sequence[Image.Image]) -> bytes:
    width, height = frames[0].size
    strip = Image.new("RGB", (width * len(frames), height))
    for i, picture in enumerate(frames):
        strip.paste(picture, (i * width, 0))
    buffer = io.BytesIO()
    strip.quantize(64).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


PLAYER = """\
<div class="stn-animation" id="{id}" style="max-width:{width}px">
<div role="img" aria-label="{label}" style="width:100%;aspect-ratio:{width}/{height};\
background:url(data:image/png;base64,{sprite}) 0 0/{count}00% 100%"></div>
<div style="display:flex;gap:.5em;align-items:center;padding:.4em 0">
<button type="button">Play</button>
<button type="button" aria-label="One frame back">&#9664;</button>
<button type="button" aria-label="One frame on">&#9654;</button>
<input type="range" min="0" max="{last}" value="0" aria-label="Frame" style="flex:1">
<output style="min-width:4em">1 / {count}</output>
</div></div>
<script>
(() => {{
  const root = document.getElementById("{id}");
  const picture = root.querySelector("[role=img]");
  const [play, back, on] = root.querySelectorAll("button");
  const slider = root.querySelector("input");
  let timer = 0;
  const show = (i) => {{
    slider.value = i;
    picture.style.backgroundPositionX = (100 * i) / {last} + "%";
    root.querySelector("output").textContent = `${{i + 1}} / {count}`;
  }};
  const stop = () => {{
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  }};
  const step = (d) => show((+slider.value + d + {count}) % {count});
  play.onclick = () => {{
    if (timer) return stop();
    if (+slider.value === {last}) show(0);
    play.textContent = "Pause";
    timer = setInterval(() => {{
      step(1);
      if (+slider.value === {last}) stop();
    }}, {milliseconds});
  }};
  back.onclick = () => {{ stop(); step(-1); }};
  on.onclick = () => {{ stop(); step(1); }};
  slider.oninput = () => {{ stop(); show(+slider.value); }};
}})();
</script>
"""
