"""Pool it: move and turn a digit, and see what three poolings make of it. Chapter 3."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
import traitlets
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from stn_tutorial.affine import compose, rotation, translation
from stn_tutorial.data.digits import load_digits
from stn_tutorial.figures import GREY, GRID, INPUT, show_image
from stn_tutorial.interpolation import warp
from stn_tutorial.pooling import (
    anti_aliased_max_pool2d,
    avg_pool2d,
    max_pool2d,
    relative_difference,
)
from stn_tutorial.widgets._figure import TouchableFigure, javascript

LAYERS = {
    "max": max_pool2d,
    "average": avg_pool2d,
    "anti-aliased max": anti_aliased_max_pool2d,
}
SIDE = 32  # pixels, to be halved three times
REACH = 8  # how far the digit moves, in pixels
TOLERANCE = 1e-6  # what counts as unchanged, beside rounding


def drawn_seven() -> Tensor:
    """Chapter 3's drawn seven, four times as large, shape (1, 32, 32).

    Each stroke is one pixel wide, and starts and ends at a multiple of 8 pixels.
    """
    seven = torch.zeros(1, SIDE, SIDE)
    for row, column in [(0, 8), (0, 16), (8, 16), (16, 8)]:
        seven[0, row, column : column + 9] = 1
    for row, column in [(0, 24), (8, 16), (16, 8)]:
        seven[0, row : row + 9, column] = 1
    return seven


def unchanged(before: Tensor, after: Tensor) -> tuple[float, float]:
    """Share of the values that stay: of all, and of those that hold ink.

    Args:
        before: a map, any shape.
        after: a map of the same shape.

    Returns:
        two shares from 0 to 1. A value holds ink if it is not 0 before or after.

    Used in chapter 3.
    """
    same = (before - after).abs() < TOLERANCE
    ink = torch.maximum(before, after) > TOLERANCE
    return same.double().mean().item(), same[ink].double().mean().item()


def show_change(ax: Axes, before: Tensor, after: Tensor) -> None:
    """Draw what changed: blue and + where it got brighter, vermilion and - darker.

    Args:
        ax: where to draw.
        before: a map, shape (H, W).
        after: a map of the same shape.

    Used in chapter 3.
    """
    change = after - before
    blue, vermilion = (torch.tensor(to_rgb(c)).view(3, 1, 1) for c in (INPUT, GRID))
    full = torch.where(change > 0, blue, vermilion)
    show_image(ax, 1 - change.abs() * (1 - full), edge=GREY)
    for sign, marker in ((1, "+"), (-1, "_")):
        rows, columns = (sign * change > TOLERANCE).nonzero(as_tuple=True)
        size = 40 / len(change)
        ax.plot(columns, rows, marker, color="black", markersize=size, mew=size / 6)


class PoolIt(TouchableFigure):
    """Move and turn a digit, and see which values of its pooled maps change.

    Args:
        label: the figure's name in the book.
        picture: "7" or "5", both handwritten, or "drawn 7".
        pooling: of each of the three layers: "max", "average" or "anti-aliased max".
        pose: how the digit is moved and turned, in whole numbers: pixels to the right
            and down (from -8 to 8), degrees counter-clockwise (from -90 to 90).
        start: the pose that it is compared with.

    Raises:
        TraitError: an unknown picture or pooling, or a pose that is not such numbers.

    Used in chapter 3.
    """

    _esm = javascript("pool_it")
    picture = traitlets.Enum(["7", "5", "drawn 7"], "7").tag(sync=True)
    pooling = traitlets.Enum(list(LAYERS), "max").tag(sync=True)
    pose = traitlets.List(traitlets.Int(), [0, 0, 0]).tag(sync=True)
    start = traitlets.List(traitlets.Int(), [0, 0, 0]).tag(sync=True)
    pixels = traitlets.Bytes().tag(sync=True)

    def __init__(self, label: str = "", **traits: object) -> None:
        super().__init__(label, **traits)
        seven, five = F.pad(load_digits().test_images[[18, 3]], (2, 2, 2, 2))
        self._images = {"7": seven, "5": five, "drawn 7": drawn_seven()}
        pixels = torch.stack(list(self._images.values()))
        self.pixels = pixels.numpy().astype("<f4").tobytes()

    @traitlets.validate("pose", "start")
    def _within_reach(self, proposal: dict) -> list[int]:
        name, pose = proposal["trait"].name, proposal["value"]
        if len(pose) != 3 or max(map(abs, pose[:2])) > REACH or abs(pose[2]) > 90:
            raise traitlets.TraitError(
                f"expected {name} to be pixels right and down, from -{REACH} to "
                f"{REACH}, and degrees from -90 to 90, but got {pose}"
            )
        return pose

    def maps(self, pose: Sequence[float]) -> list[Tensor]:
        """The digit in a pose, then its maps after one, two and three layers.

        Args:
            pose: as the trait.

        Returns:
            four tensors of shape (1, 1, S, S), S = 32, 16, 8 and 4.
        """
        right, down, angle = torch.tensor(pose, dtype=torch.double)
        back = translation(-2 * right / SIDE, -2 * down / SIDE)
        theta = compose(rotation(angle), back)
        maps = [warp(self._images[self.picture][None].double(), theta)]
        for _ in range(3):
            maps.append(LAYERS[self.pooling](maps[-1]))
        return maps

    def still(self) -> Figure:
        """The maps at the start, the maps now, and what changed between them."""
        figure, axes = plt.subplots(3, 4, figsize=(6.2, 5.6))
        pairs = zip(self.maps(self.start), self.maps(self.pose), strict=True)
        for depth, (before, after) in enumerate(pairs):
            start, now, change = axes[:, depth]
            name = f"layer {depth}" if depth else "input"
            show_image(start, before[0], f"{name}, {SIDE >> depth}×{SIDE >> depth}")
            show_image(now, after[0])
            show_change(change, before[0, 0], after[0, 0])
            of_all, of_ink = unchanged(before, after)
            change.set_xlabel(
                f"unchanged {of_all:.1%}\n(with ink: {of_ink:.1%})\n"
                f"distance {relative_difference(before, after):.2f}"
            )
        for ax in axes[:2, 0]:
            for line in torch.arange(7.5, SIDE - 1, 8):  # windows of three layers
                ax.axhline(line, color=GREY, linewidth=0.8)
                ax.axvline(line, color=GREY, linewidth=0.8)
        for ax, name in zip(axes[:, 0], ["start", "now", "change"], strict=True):
            ax.set_ylabel(name)
        return figure
