"""Six heads: what each can undo, by hand. Chapter 8."""

import matplotlib.pyplot as plt
import torch
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from stn_tutorial import figures
from stn_tutorial.affine import (
    affine_grid,
    compose,
    identity,
    invert,
    rotation,
    scaling,
    shear,
    translation,
)
from stn_tutorial.data.digits import load_digits
from stn_tutorial.heads import HEADS
from stn_tutorial.interpolation import warp
from stn_tutorial.widgets._figure import BUILT, TouchableFigure, javascript
from stn_tutorial.widgets.inside_transformer import to_traits

LIMIT = 2.0  # of each number of theta
SIDE = 28  # pixels of the digit
DISTORTIONS = {
    "turned": rotation(50.0),
    "moved": translation(0.35, -0.3),
    "shrunk": scaling(1 / 0.55),
    "sheared": shear(0.4),
    "all of it": invert(
        compose(translation(0.2, -0.15), rotation(-40.0), shear(0.5), scaling(0.65))
    ),
}
GOAL = "Lay the orange window on the green one. Which heads let you?"
SMALLEST = 1e-3  # size of a similarity
ALMOST = 0.9999  # tanh reaches 1 nowhere


class SixHeads(TouchableFigure):
    """Lay a head's window on the goal, as far as the head allows, and see what remains.

    What remains is a distance: of each of the window's 28x28 points from where it would
    have to read to undo the distortion, as the root of the mean square, in pixels. The
    figure in the page keeps the nearest that each of the six heads has come.

    Args:
        label: the figure's name in the book.
        distortion: "turned" (by 50 degrees), "moved", "shrunk", "sheared", or
            "all of it".
        head: one of ``stn_tutorial.heads.HEADS``.
        theta: six numbers row by row, each from -2 to 2; the head comes as near
            to it as it can. It starts at the identity.

    Raises:
        TraitError: theta is not six such numbers, or a name is unknown.

    Used in chapter 8.
    """

    _esm = javascript("six_heads")
    _css = BUILT / "six_heads.css"
    distortion = traitlets.Enum(list(DISTORTIONS), "turned").tag(sync=True)
    head = traitlets.Enum(list(HEADS), "rotation").tag(sync=True)
    theta = traitlets.List(traitlets.Float(), [1.0, 0, 0, 0, 1.0, 0]).tag(sync=True)
    goals: traitlets.Dict = traitlets.Dict().tag(sync=True)
    shapes: traitlets.List = traitlets.List().tag(sync=True)  # name, C, H, W
    pixels = traitlets.Bytes().tag(sync=True)

    def __init__(self, label: str = "", **traits: object) -> None:
        super().__init__(label, **traits)
        seven = load_digits().test_images[:1]
        images = {name: warp(seven, theta) for name, theta in DISTORTIONS.items()}
        self._images = {
            name: (255 * image).round() / 255
            for name, image in {**images, "upright": seven}.items()
        }
        self.shapes, self.pixels = to_traits(self._images)
        self.goals = {
            name: invert(theta).flatten().tolist()
            for name, theta in DISTORTIONS.items()
        }

    @traitlets.validate("theta")
    def _six_in_range(self, proposal: dict) -> list[float]:
        theta = proposal["value"]
        if len(theta) != 6 or not all(-LIMIT <= v <= LIMIT for v in theta):
            raise traitlets.TraitError(
                f"expected theta to be six numbers from {-LIMIT} to {LIMIT}, "
                f"but got {theta}"
            )
        return theta

    def image(self) -> Tensor:
        """The distorted digit, shape (1, 1, 28, 28), from 0 to 1."""
        return self._images[self.distortion]

    def goal(self) -> Tensor:
        """The theta that undoes the distortion, shape (1, 2, 3)."""
        return invert(DISTORTIONS[self.distortion])

    def numbers(self) -> Tensor:
        """What the head takes to come as near to theta as it can, shape (1, K)."""
        return nearest_numbers(self.head, torch.tensor(self.theta).view(1, 2, 3))

    def window(self) -> Tensor:
        """What the head makes of these numbers, shape (1, 2, 3)."""
        head, _ = HEADS[self.head]
        return head(self.numbers())

    def output(self) -> Tensor:
        """What the window shows, shape (1, 1, 28, 28)."""
        return warp(self.image(), self.window())

    def off(self) -> float:
        """How far the window is from the goal, in pixels."""
        shape = (1, 1, SIDE, SIDE)
        apart = affine_grid(self.window(), shape) - affine_grid(self.goal(), shape)
        return SIDE / 2 * apart.square().sum(-1).mean().sqrt().item()

    def still(self) -> Figure:
        """Window and goal over the digit, what the window shows, the upright digit."""
        # One scale: the widths are as the numbers of pixels that each shows.
        figure, axes = plt.subplots(1, 3, figsize=(7.2, 3.3), width_ratios=(41, 28, 28))
        figure.suptitle(GOAL)
        left, middle, right = axes
        size = (SIDE, SIDE)
        figures.show_image(left, self.image()[0], f"the seven is {self.distortion}")
        figures.draw_frame(left, size)
        grid = affine_grid(self.window(), (1, 1, *size))[0]
        figures.draw_grid(left, grid, size, lines=5)
        here, there = _corners(self.window()), _corners(self.goal())
        for corner, wanted in zip(here, there, strict=True):
            left.plot(*torch.stack([corner, wanted]).T, color=figures.OTHER)
        frame = torch.cat([there, there[:1]])
        left.plot(*frame.T, "--", color=figures.OUTPUT, linewidth=2.5)
        left.plot(*there[0], "o", color=figures.OUTPUT, markersize=6)
        left.set(xlim=(-6.8, 33.8), ylim=(33.8, -6.8))
        title = f"it shows, {self.off():.1f} px off"
        figures.show_image(middle, self.output()[0], title, figures.OUTPUT)
        figures.show_image(right, self._images["upright"][0], "upright")
        return figure


def _corners(theta: Tensor) -> Tensor:
    """The corners of a theta's window in pixels (x, y), shape (4, 2)."""
    frame = torch.tensor([(-1.0, -1, 1), (1, -1, 1), (1, 1, 1), (-1, 1, 1)])
    return (SIDE * frame @ theta[0].T + SIDE - 1) / 2


def nearest_numbers(head: str, theta: Tensor) -> Tensor:
    """The numbers with which a head comes nearest to a theta, over the whole grid.

    The grid's points lie evenly around its centre, so this is the nearest in the six
    numbers of theta, and each head's can be written down.

    Args:
        head: one of ``stn_tutorial.heads.HEADS``.
        theta: shape (1, 2, 3).

    Returns:
        Numbers of shape (1, K), with K as the head takes.

    Used in chapter 8.
    """
    a, b, tx, d, e, ty = theta.flatten()
    zoom = (a + e) / 2
    angle = torch.atan2((d - b) / 2, zoom)
    size = torch.hypot(zoom, (d - b) / 2).clamp(min=SMALLEST)
    away = (theta - identity().to(theta)).flatten()
    numbers = {
        "rotation": [angle],
        "attention": [zoom - 1, tx, ty],
        "bounded attention": [
            _untanh(v) for v in (zoom.clamp(1 / torch.e, torch.e).log(), tx, ty)
        ],
        "similarity": [angle, size.log(), tx, ty],
        "affine": list(away),
        "bounded affine": list(_untanh(2 * away)),
    }
    return torch.stack(numbers[head])[None]


def _untanh(values: Tensor) -> Tensor:
    return values.clamp(-ALMOST, ALMOST).atanh()
