"""The book's look: style, colours, pictures, and figure functions."""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from stn_tutorial.affine import affine_grid
from stn_tutorial.interpolation import grid_sample

# In pictures and grids always the same meaning; safe for the colour-blind (Okabe-Ito).
#: Blue stands for the input.
INPUT = "#0072B2"
#: Vermilion stands for the sampling grid.
GRID = "#D55E00"
#: Green stands for the output.
OUTPUT = "#009E73"
#: Purple is for a further curve.
OTHER = "#CC79A7"
#: Grey is for what a curve is compared with.
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
        ValueError: the image has another shape, or is not floating point.
    """
    image = image.detach().cpu()
    if not image.is_floating_point():
        raise ValueError(f"expected floats from 0 to 1, but got {image.dtype}")
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

    Raises:
        ValueError: no image, or another number of titles than of images.
    """
    if len(images) == 0 or (titles and len(titles) != len(images)):
        raise ValueError(
            "expected at least one image and one title an image, "
            f"but got {len(images)} image(s) and {len(titles or [])} title(s)"
        )
    columns = columns or len(images)
    rows = math.ceil(len(images) / columns)
    aspect = images[0].shape[-1] / images[0].shape[-2]
    across = columns * height * aspect
    down = rows * (height + (0.3 if titles else 0))
    figure, axes = plt.subplots(rows, columns, figsize=(across, down), squeeze=False)
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
) -> None:
    """Draw a sampling grid over an image that :func:`show_image` drew.

    Args:
        ax: the axis of the input image.
        grid: one sample's grid, shape (H, W, 2), normalised (x, y).
        size: (H, W) of the input image.
        align_corners: as the grid was made.
        lines: about how many rows and columns of the grid to draw.
    """
    height, width = size
    last = torch.tensor([width - 1, height - 1])
    span = last if align_corners else torch.tensor([width, height])
    points = (grid.detach().cpu() * span + last) / 2  # in pixels (x, y)
    for row in _evenly(len(points), lines):
        ax.plot(*points[row].T, color=GRID, linewidth=1)
    for column in _evenly(points.shape[1], lines):
        ax.plot(*points[:, column].T, color=GRID, linewidth=1)
    ax.plot(*points[0, 0], "o", color=GRID, markersize=5)


def _evenly(count: int, most: int) -> np.ndarray:
    """At most so many of the numbers from 0 to count - 1, evenly, with both ends."""
    return np.linspace(0, count - 1, min(most, count)).round().astype(int)


def draw_frame(ax: Axes, size: Sequence[int]) -> None:
    """Draw the edge of an image of (H, W) pixels that :func:`show_image` drew."""
    edge = Rectangle(
        (-0.5, -0.5), size[1], size[0], fill=False, color=INPUT, linewidth=2
    )
    ax.add_patch(edge)


def write_theta(ax: Axes, theta: Tensor, title: str = "theta") -> None:
    """Write the six numbers of one theta, shape (2, 3), into an empty axis."""
    rows = theta.detach().mul(100).round().div(100) + 0.0  # no minus before a 0
    lines = [" ".join(f"{value:5.2f}" for value in row) for row in rows]
    numbers = "\n".join(lines)
    ax.text(0.5, 0.45, numbers, ha="center", va="center", family="monospace", size=12)
    ax.set_title(title)
    ax.set_axis_off()


def show_warp(source: Tensor, theta: Tensor, target: Tensor | None = None) -> Figure:
    """Draw one image with its sampling grid, theta, and the warped output.

    Args:
        source: shape (C, H, W).
        theta: shape (2, 3).
        target: what the output should become, drawn last if given.

    Returns:
        the figure.
    """
    height, width = source.shape[1:]
    tall = height / width
    panels = 1 if target is None else 2
    # In image widths: the input has a margin of 0.3, so all pixels have one size
    across, down = 1.6 + 1.1 * panels, 0.15 + 1.6 * tall
    figure = plt.figure(figsize=(1.6 * across, 1.6 * down), layout="none")

    def panel(left: float, bottom: float, wide: float, high: float) -> Axes:
        box = (left / across, bottom / down, wide / across, high / down)
        return figure.add_axes(box)

    ax = panel(0, 0, 1.6, 1.6 * tall)
    show_image(ax, source, "input and grid")
    draw_frame(ax, (height, width))
    grid = affine_grid(theta[None], (1, *source.shape), align_corners=False)
    draw_grid(ax, grid[0], (height, width))
    ax.set(xlim=(-0.3 * width, 1.3 * width), ylim=(1.3 * height, -0.3 * height))
    output = grid_sample(source[None], grid, align_corners=False)
    outputs = {"output": output[0]}
    if target is not None:
        outputs["target"] = target
    for k, (title, image) in enumerate(outputs.items()):
        edge = OUTPUT if title == "output" else None
        show_image(panel(1.65 + 1.1 * k, 0.54 * tall, 1, tall), image, title, edge)
    write_theta(panel(1.65, 0, 1.1 * panels - 0.1, 0.4 * tall), theta)
    return figure


def show_maps(maps: dict[str, Tensor]) -> Figure:
    """Draw signed maps side by side: blue above 0, red below, white at 0.

    Args:
        maps: title and values, shape (H, W); each is scaled to its own largest value.

    Returns:
        the figure.
    """
    figure, axes = plt.subplots(1, len(maps), figsize=(2.4 * len(maps), 2.5))
    for ax, (title, values) in zip(np.atleast_1d(axes), maps.items(), strict=True):
        pixels = values.detach().cpu().numpy()
        limit = np.abs(pixels).max() or 1.0
        ax.imshow(pixels, cmap="RdBu", vmin=-limit, vmax=limit)
        ax.set(title=title, xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.grid(False)
    return figure


def plot_panels(
    panels: dict[str, dict[str, tuple[Sequence[float], Sequence[float]]]], ylabel: str
) -> Figure:
    """Draw line charts side by side, with one y axis and one legend.

    Args:
        panels: for each x label the curves: name and (x, y).
        ylabel: text at the y axis.

    Returns:
        the figure.
    """
    figure, axes = plt.subplots(
        1, len(panels), figsize=(3.5 * len(panels), 2.8), sharey=True, squeeze=False
    )
    for ax, (xlabel, curves) in zip(axes[0], panels.items(), strict=True):
        for i, (name, (x, y)) in enumerate(curves.items()):
            marker = "o" if len(x) < 20 else None
            ax.plot(x, y, ["-", "--", ":", "-."][i % 4], label=name, marker=marker)
        ax.set_xlabel(xlabel)
    axes[0, 0].set_ylabel(ylabel)
    if len(axes[0, 0].lines) > 1:
        axes[0, 0].legend()
    return figure
