"""Sample lens: one sample with its weights and its slopes. Chapter 2."""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from stn_tutorial import figures
from stn_tutorial.affine import identity
from stn_tutorial.data.photos import cat_photo
from stn_tutorial.interpolation import (
    bicubic_kernel,
    bilinear_kernel,
    integer_kernel,
    warp,
)
from stn_tutorial.widgets._figure import TouchableFigure, javascript

KERNELS = {
    "nearest": integer_kernel,
    "bilinear": bilinear_kernel,
    "bicubic": bicubic_kernel,
}
NEIGHBOURS = ["#56B4E9", "#E69F00", "#CC79A7", "#BBBBBB"]  # row by row
PLUS, MINUS = NEIGHBOURS[:2]


class SampleLens(TouchableFigure):
    """Drag a sample point over a few pixels; see what it reads, and how it changes.

    Args:
        label: the figure's name in the book.
        pixels: rows of grey values from 0 to 1; the glint in the cat's eye if not
            given.
        point: (x, y) in pixels; (0, 0) is the centre of the upper left pixel.
        mode: "nearest", "bilinear" or "bicubic".
        slopes: whether the figure shows the slopes and the other kernels, too.

    Raises:
        TraitError: pixels that are no rows of equal length, or not from 0 to 1; a
            point that is not two finite numbers; an unknown mode.

    Used in chapter 2.
    """

    _esm = javascript("sample_lens")
    pixels = traitlets.List(traitlets.List(traitlets.Float())).tag(sync=True)
    point = traitlets.List(traitlets.Float(), [2.6, 2.4]).tag(sync=True)
    mode = traitlets.Enum([*KERNELS], "bilinear").tag(sync=True)
    slopes = traitlets.Bool(True).tag(sync=True)

    @traitlets.default("pixels")
    def _glint(self) -> list[list[float]]:
        rows = cat_photo().mean(1)[0, 100:105, 166:171].tolist()
        return [[round(value, 2) for value in row] for row in rows]

    @traitlets.validate("pixels")
    def _grey_values(self, proposal: dict) -> list[list[float]]:
        rows = proposal["value"]
        widths = {len(row) for row in rows}
        if len(rows) < 2 or len(widths) != 1 or min(widths) < 2:
            raise traitlets.TraitError(
                "expected pixels to be at least two rows of equal length, at least 2, "
                f"but got rows of length {[len(row) for row in rows]}"
            )
        if not all(0 <= value <= 1 for row in rows for value in row):
            raise traitlets.TraitError(
                f"expected grey values from 0 to 1, but got {rows}"
            )
        return rows

    @traitlets.validate("point")
    def _two_numbers(self, proposal: dict) -> list[float]:
        point = proposal["value"]
        if len(point) != 2 or not all(map(math.isfinite, point)):
            raise traitlets.TraitError(
                f"expected point to be two finite numbers (x, y), but got {point}"
            )
        return point

    def weights(self, position: Tensor, size: int) -> Tensor:
        """The weight of each pixel along one side, as the mode's kernel has it.

        Args:
            position: in pixels, any shape.
            size: number of pixels along this side.

        Returns:
            one dimension more than position, the last, of that size.
        """
        if self.mode == "nearest":
            position = position.round()  # halves to even, as PyTorch
        distance = position[..., None] - torch.arange(size, dtype=position.dtype)
        return KERNELS[self.mode](distance)

    def read(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The value at (x, y), and its slopes along x and y, per pixel.

        Args:
            x: columns to read at, in pixels; outside the picture stands 0.
            y: rows to read at, the same shape.

        Returns:
            three tensors of that shape, float64.
        """
        x, y = (v.double().clone().requires_grad_() for v in (x, y))
        pixels = torch.tensor(self.pixels, dtype=x.dtype)
        across = self.weights(x, pixels.shape[1])
        down = self.weights(y, pixels.shape[0])
        value = ((down @ pixels) * across).sum(-1) + 0 * (x + y)  # nearest: slope 0
        slope_x, slope_y = torch.autograd.grad(value.sum(), [x, y])
        return value.detach(), slope_x, slope_y

    def _place(self) -> Tensor:
        return torch.tensor(self.point, dtype=torch.double)

    def still(self) -> Figure:
        """The weights; with slopes also the picture, and two curves along the row."""
        if not self.slopes:
            figure, ax = plt.subplots(figsize=(3.4, 3.4))
            self._draw_weights(ax)
            return figure
        figure, axes = plt.subplots(2, 2, figsize=(7, 5.4), height_ratios=[2, 1])
        (weights, picture), (values, rates) = axes
        self._draw_weights(weights)
        self._draw_slopes(picture)
        self._draw_curves(values, rates)
        return figure

    def _draw_weights(self, ax: Axes) -> None:
        pixels = torch.tensor(self.pixels)
        figures.show_image(ax, pixels, "pixels, and their weights as areas")
        x, y = self.point
        left, top = math.floor(x), math.floor(y)
        across, down = (
            self.weights(v, size).tolist()
            for v, size in zip(self._place(), pixels.T.shape, strict=True)
        )
        for n, row in enumerate(self.pixels):
            for m, value in enumerate(row):
                weight, height = across[m] * down[n], float(n)
                ink = "k" if value > 0.5 else "w"
                if self.mode == "bilinear" and {m - left, n - top} <= {0, 1}:
                    color, ink = NEIGHBOURS[2 * (n - top) + m - left], "k"
                    far = (2 * left + 1 - m, 2 * top + 1 - n)  # the opposite corner
                    _box(ax, self.point, far, color)
                    ax.plot(m, n, "o", ms=22, color=color, mec="w")
                    if min(abs(far[0] - x), abs(far[1] - y)) > 0.08 * len(row):
                        middle = (x + far[0]) / 2, (y + far[1]) / 2
                        _write(ax, *middle, weight)
                elif weight:
                    half = abs(weight) ** 0.5 / 2
                    color = PLUS if weight > 0 else MINUS
                    _box(ax, (m - half, n - half), (m + half, n + half), color)
                    if weight > 0.2:  # there is room in its square
                        ink = "k"
                    else:
                        height = n - 0.38
                _write(ax, m, height, value, ink)
        ax.plot(x, y, "D", color=figures.GRID, mec="w", ms=8)

    def _draw_slopes(self, ax: Axes) -> None:
        pixels = torch.tensor(self.pixels)
        height, width = pixels.shape
        size = (32 * height, 32 * width)
        picture = warp(pixels[None, None], identity(), size, self.mode)
        figures.show_image(ax, picture[0], "read between them; arrows: slopes")
        extent = (-0.5, width - 0.5, height - 0.5, -0.5)
        ax.images[0].set_extent(extent)
        _, dx, dy = (v.item() for v in self.read(*self._place()))
        ax.axhline(self.point[1], color=figures.OUTPUT, linestyle="--", lw=1.5)
        for way in ((3 * dx, 0), (0, 3 * dy)):
            if any(way):
                ax.arrow(
                    *self.point,
                    *way,
                    length_includes_head=True,
                    color=figures.GRID,
                    width=0.05,
                    head_width=0.2,
                    ec="w",
                )
        ax.plot(*self.point, "D", color=figures.GRID, mec="w", ms=8)
        ax.set(xlim=extent[:2], ylim=extent[2:])

    def _draw_curves(self, values: Axes, rates: Axes) -> None:
        x, y = self._place()
        for piece in range(2 * len(self.pixels[0])):  # what jumps, jumps between them
            along = (piece - 1) / 2 + torch.linspace(1e-6, 0.5 - 1e-6, 20).double()
            value, dx, _ = self.read(along, y.expand_as(along))
            values.plot(along, value, color=figures.OUTPUT)
            rates.plot(along, dx, color=figures.GRID)
        value, dx, _ = self.read(x, y)
        values.plot(x, value, "D", color=figures.GRID)
        rates.plot(x, dx, "D", color=figures.GRID)
        ticks = range(len(self.pixels[0]))
        for ax, name in ((values, "V along the row"), (rates, "slope ∂V/∂x")):
            ax.set(xlabel="x, in pixels", xticks=ticks, title=name)
            ax.set_xlim(-0.5, len(ticks) - 0.5)


def _box(ax: Axes, corner: Sequence[float], far: Sequence[float], color: str) -> None:
    """Fill a rectangle from one corner to the opposite one."""
    x, y = corner
    width, height = far[0] - x, far[1] - y
    ax.add_patch(Rectangle((x, y), width, height, fc=color, ec="w", lw=2))


def _write(ax: Axes, x: float, y: float, value: float, ink: str = "k") -> None:
    """Write a number with two digits after the point, its middle at (x, y)."""
    ax.text(x, y, f"{value:.2f}", size=8, color=ink, ha="center", va="center")
