"""Two photographs: lay one on the other by four points or by descent. Chapter 9."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from stn_tutorial import figures
from stn_tutorial.homography import corner_error
from stn_tutorial.interpolation import grid_sample
from stn_tutorial.warps import projective_from_corners, projective_grid
from stn_tutorial.widgets._figure import BUILT, TouchableFigure, javascript
from stn_tutorial.widgets.inside_transformer import to_traits

MARKS = ((-0.6, -0.6), (0.6, -0.6), (0.6, 0.6), (-0.6, 0.6))
SQUARE = [value for mark in MARKS for value in mark]
REACH = 4.0  # half-images: no point goes further from the middle
LEAST = 0.01  # twice a triangle of three of the points, in half-images squared
GOAL = "Lay the moving photograph on the fixed one, to less than a pixel."


class TwoPhotographs(TouchableFigure):
    """Lay one photograph on another by four points, by descent, or by both.

    The points say a homography. Descent goes on from there as in
    ``stn_tutorial.homography.align_projective``, on grey images.

    Args:
        label: the figure's name in the book.
        source: the photograph that moves, shape (1, C, H, W), from 0 to 1, H and W
            multiples of 8.
        target: the one that stays, of the same shape.
        wanted: the right homography, target to source, shape (1, 8).
        marks: four points of the target, (x, y) each, clockwise round a convex
            quadrilateral.
        points: where the source is read for the marks: x and y of each, eight numbers
            from -4 to 4, clockwise too. At first they are the marks themselves.
        placed: 1 for each point that the hand has placed, or else 0. Points not placed
            go along with the others.
        begin: "coarse" for images of an eighth of the size, then twice that and so on;
            "fine" for the photographs as they are.

    Raises:
        ValueError: a tensor is of another shape, or the marks are not four such points.
        TraitError: points, placed or begin is not as said.

    Used in chapter 9.
    """

    _esm = javascript("two_photographs")
    _css = BUILT / "two_photographs.css"
    shapes: traitlets.List = traitlets.List().tag(sync=True)  # name, C, H, W
    pixels = traitlets.Bytes().tag(sync=True)
    marks = traitlets.List(traitlets.Float(), SQUARE).tag(sync=True)
    wanted = traitlets.List(traitlets.Float()).tag(sync=True)
    points = traitlets.List(traitlets.Float(), SQUARE).tag(sync=True)
    placed = traitlets.List(traitlets.Int(), [0, 0, 0, 0]).tag(sync=True)
    begin = traitlets.Enum(["coarse", "fine"], "coarse").tag(sync=True)

    def __init__(
        self,
        label: str,
        source: Tensor,
        target: Tensor,
        wanted: Tensor,
        marks: Sequence[Sequence[float]] = MARKS,
        **traits: object,
    ) -> None:
        _check(source, target, wanted)
        numbers = [float(value) for mark in marks for value in mark]
        if not _sane(numbers):
            raise ValueError(
                "expected marks to be four points (x, y), clockwise round a convex "
                f"quadrilateral, but got {marks}"
            )
        self._images = {
            name: (255 * image.float().mean(1, keepdim=True)).round() / 255
            for name, image in {"source": source, "target": target}.items()
        }
        shapes, pixels = to_traits(self._images)
        super().__init__(
            label,
            shapes=shapes,
            pixels=pixels,
            wanted=wanted[0].tolist(),
            marks=numbers,
            **{"points": numbers, **traits},
        )

    @traitlets.validate("points")
    def _four_points(self, proposal: dict) -> list[float]:
        values = proposal["value"]
        if not _sane(values):
            raise traitlets.TraitError(
                "expected points to be eight numbers from -4 to 4, x and y of four "
                f"points clockwise round a convex quadrilateral, but got {values}"
            )
        return values

    @traitlets.validate("placed")
    def _four_flags(self, proposal: dict) -> list[int]:
        values = proposal["value"]
        if len(values) != 4 or not set(values) <= {0, 1}:
            raise traitlets.TraitError(
                f"expected placed to be four times 0 or 1, but got {values}"
            )
        return values

    def theta(self) -> Tensor:
        """The homography that takes the marks to the points, shape (1, 8), float64."""
        first, second = (
            F.pad(projective_from_corners(_pairs(numbers)), (0, 1), value=1)
            for numbers in (self.marks, self.points)
        )
        matrix = second.view(3, 3) @ torch.linalg.inv(first.view(3, 3))
        return (matrix / matrix[2, 2]).flatten()[None, :8]

    def error(self) -> float:
        """The mean distance of the target's corners from their right places, pixels."""
        wanted = torch.tensor([self.wanted], dtype=torch.double)
        height, width = self._images["source"].shape[2:]
        return corner_error(self.theta(), wanted, (height, width)).item()

    def overlay(self) -> Tensor:
        """The source as it is read, in red, over the target: shape (1, 3, H, W).

        The source's mean and spread are made the target's. Where the source has nothing
        to show, the target stands alone and pale.
        """
        source, target = (image.double() for image in self._images.values())
        grid = projective_grid(self.theta(), target.shape)
        both = torch.cat([source, torch.ones_like(source)], 1)
        shown, inside = grid_sample(both, grid, align_corners=False).split(1, 1)
        level = (shown / inside.clamp(min=1e-6) - source.mean()) / source.std(
            correction=0
        )
        red = (target.mean() + target.std(correction=0) * level).clamp(0, 1)
        pale = 0.4 + 0.6 * target
        return torch.where(
            inside < 0.5,
            pale.expand(-1, 3, -1, -1),
            torch.cat([red, target, target], 1),
        )

    def still(self) -> Figure:
        """Both photographs, the points and the flow, and one over the other."""
        figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.0))
        figure.suptitle(GOAL)
        height, width = self._images["target"].shape[2:]
        titles = (
            "fixed (target)",
            "moving (source)",
            f"one over the other: {self.error():.0f} pixels off",
        )
        images = (
            self._images["target"][0],
            self._images["source"][0],
            self.overlay()[0].float(),
        )
        edges = figures.GREY, figures.INPUT, figures.OUTPUT
        for ax, image, title, edge in zip(axes, images, titles, edges, strict=True):
            figures.show_image(ax, image, title, edge)
        half = torch.tensor([width, height]) / 2
        for ax, numbers in zip(axes, (self.marks, self.points), strict=False):
            places = ((_pairs(numbers)[0] + 1) * half - 0.5).tolist()
            for k, (x, y) in enumerate(places, 1):
                ax.plot(x, y, "o", color=figures.GRID, markeredgecolor="white")
                beside = (5, 3) if y > 12 else (5, -12)
                style = {"color": "white", "weight": "bold"}
                ax.annotate(str(k), (x, y), beside, textcoords="offset points", **style)
        start, stop = (
            (projective_grid(theta, (1, 1, 4, 6)) + 1).view(-1, 2) * half - 0.5
            for theta in (torch.eye(3).flatten()[None, :8].double(), self.theta())
        )
        if (stop - start).norm(dim=1).amax() > 0.5:
            limits = axes[1].axis()
            axes[1].quiver(
                *start.T,
                *(stop - start).T,
                angles="xy",
                scale_units="xy",
                scale=1,
                color=figures.GRID,
                width=0.006,
            )
            axes[1].axis(limits)
        return figure


def _pairs(numbers: Sequence[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.double).view(1, 4, 2)


def _sane(numbers: Sequence[float]) -> bool:
    """Whether these are four points, clockwise round a convex quadrilateral."""
    if len(numbers) != 8 or not all(-REACH <= value <= REACH for value in numbers):
        return False
    points = _pairs(numbers)[0]
    for k in range(4):
        a, b, c = (points[j] for j in range(4) if j != k)
        one, two = b - a, c - a
        if not one[0] * two[1] - one[1] * two[0] > LEAST:
            return False
    return True


def _check(source: Tensor, target: Tensor, wanted: Tensor) -> None:
    shape = tuple(source.shape)
    if len(shape) != 4 or shape[0] != 1 or shape[2] % 8 or shape[3] % 8:
        raise ValueError(
            "expected source of shape (1, C, H, W), H and W multiples of 8, but got "
            f"{shape}"
        )
    if target.shape != source.shape:
        raise ValueError(
            f"expected target of the source's shape {shape}, but got "
            f"{tuple(target.shape)}"
        )
    if tuple(wanted.shape) != (1, 8):
        raise ValueError(
            f"expected wanted of shape (1, 8), but got {tuple(wanted.shape)}"
        )
