"""Inside a spatial transformer: move its grid until the output is right. Chapter 4."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from stn_tutorial import figures
from stn_tutorial.affine import (
    affine_grid,
    compose,
    invert,
    rotation,
    scaling,
    translation,
)
from stn_tutorial.data.digits import load_digits
from stn_tutorial.data.photos import cat_photo
from stn_tutorial.interpolation import warp
from stn_tutorial.widgets._figure import TouchableFigure, javascript

KNOWN = [-40.0, 0.8, 0.2, -0.1]  # angle, scale, tx and ty: they undo the pictures' turn
LIMIT = 2.0  # of each number of theta
GOAL = "Move the grid until the output equals the target."


def four_numbers(parameters: Tensor) -> Tensor:
    """theta of a turn, a scaling and a shift.

    Args:
        parameters: angle in degrees, scale, tx and ty; shape (N, 4).

    Returns:
        theta, shape (N, 2, 3), differentiable.

    Used in chapter 4.
    """
    angle, scale, tx, ty = parameters.T
    return compose(translation(tx, ty), rotation(angle), scaling(scale))


def load_pictures() -> dict[str, Tensor]:
    """Three pictures to transform, shape (1, 1, H, W), rounded to what a byte holds.

    The digit and the cat are turned, shrunk and moved, so that `KNOWN` sets them
    upright. The stripes stand upright.

    Used in chapter 4.
    """
    undo = invert(four_numbers(torch.tensor([KNOWN])))
    cat = cat_photo()[..., 75:375].mean(1, keepdim=True)
    pictures = {
        "digit": warp(load_digits().test_images[:1], undo),
        "cat": warp(F.interpolate(cat, (56, 56), mode="area"), undo),
        "stripes": (torch.arange(28) // 2 % 2).float().expand(1, 1, 28, 28),
    }
    return {name: (255 * image).round() / 255 for name, image in pictures.items()}


def to_traits(pictures: dict[str, Tensor]) -> tuple[list, bytes]:
    """What the browser gets of pictures: name, C, H and W of each, and all bytes."""
    shapes = [[name, *image.shape[1:]] for name, image in pictures.items()]
    levels = torch.cat([(255 * image).flatten() for image in pictures.values()])
    return shapes, levels.round().byte().numpy().tobytes()


class PicturedFigure(TouchableFigure):
    """What both figures of chapter 4 share: a choice of pictures to transform."""

    picture = traitlets.Enum(["digit", "cat", "stripes"], "digit").tag(sync=True)
    shapes: traitlets.List = traitlets.List().tag(sync=True)  # name, C, H, W
    pixels = traitlets.Bytes().tag(sync=True)

    def __init__(self, label: str = "", **traits: object) -> None:
        super().__init__(label, **traits)
        self._pictures = load_pictures()
        self.shapes, self.pixels = to_traits(self._pictures)

    def image(self) -> Tensor:
        """The picture that is shown, shape (1, 1, H, W), from 0 to 1."""
        return self._pictures[self.picture]


class InsideTransformer(PicturedFigure):
    """Move a transformer's grid until output and target agree, by hand or by descent.

    The loss is the mean squared difference between output and target. Descent changes
    all six numbers of theta, with plain steps of 0.3 times the gradient.

    Args:
        label: the figure's name in the book.
        picture: "digit", "cat" or "stripes".
        theta: its six numbers row by row, each from -2 to 2. It starts at the identity.
        known: the six numbers that make the target.
        size: pixels of output and target along each side, from 4 to 64.
        follow: (x, y) in the output; the pixel nearest to it is followed to the input.

    Raises:
        TraitError: a number is missing, not finite or out of its range, or a name is
            unknown.

    Used in chapter 4.
    """

    _esm = javascript("inside_transformer")
    theta = traitlets.List(traitlets.Float(), [1.0, 0, 0, 0, 1.0, 0]).tag(sync=True)
    known = traitlets.List(
        traitlets.Float(), four_numbers(torch.tensor([KNOWN])).flatten().tolist()
    ).tag(sync=True)
    size = traitlets.Int(28, min=4, max=64).tag(sync=True)
    follow = traitlets.List(traitlets.Float(), [-0.1, -0.55]).tag(sync=True)

    @traitlets.validate("theta", "known")
    def _six_in_range(self, proposal: dict) -> list[float]:
        name, values = proposal["trait"].name, proposal["value"]
        if len(values) != 6 or not all(-LIMIT <= v <= LIMIT for v in values):
            raise traitlets.TraitError(
                f"expected {name} to be six numbers from {-LIMIT} to {LIMIT}, "
                f"but got {values}"
            )
        return values

    @traitlets.validate("follow")
    def _point(self, proposal: dict) -> list[float]:
        point = proposal["value"]
        if len(point) != 2 or not all(-1 <= v <= 1 for v in point):
            raise traitlets.TraitError(
                f"expected follow to be x and y from -1 to 1, but got {point}"
            )
        return point

    def output(self) -> Tensor:
        """What theta makes of the input, shape (1, 1, size, size)."""
        return self._read(self.theta)

    def target(self) -> Tensor:
        """What the output shall become, shape (1, 1, size, size)."""
        return self._read(self.known)

    def loss(self) -> Tensor:
        """The mean squared difference between output and target, one number."""
        return (self.output() - self.target()).square().mean()

    def _read(self, theta: Sequence[float]) -> Tensor:
        matrix = torch.tensor(theta).view(1, 2, 3)
        return warp(self.image(), matrix, (self.size, self.size))

    def still(self) -> Figure:
        """Input with the grid, output and target at one scale, with goal and loss."""
        figure = plt.figure(figsize=(7.8, 3.7), layout="none")
        figure.suptitle(GOAL, y=0.98)
        matrix = torch.tensor(self.theta).view(1, 2, 3)
        draw_board(
            figure,
            self.image(),
            matrix,
            self.output(),
            self.target(),
            self.loss().item(),
        )
        return figure


def draw_board(
    figure: Figure,
    image: Tensor,
    theta: Tensor,
    output: Tensor,
    target: Tensor,
    loss: float,
    left: float = 0.1,
    side: float = 2.0,
) -> None:
    """Draw an input with the grid of one theta, its output and the target.

    Args:
        figure: where to draw, with room for 3.7 sides across.
        image: shape (1, C, H, W).
        theta: shape (1, 2, 3).
        output: shape (1, C, H', W').
        target: shape (1, C, H', W').
        loss: of this output.
        left: where to begin, in inches.
        side: of each of the three, in inches: they share one scale.
    """
    across, down = figure.get_size_inches()
    middle = (down - 0.3) / 2  # there is a title above all

    def panel(left: float, side: float) -> plt.Axes:
        box = left / across, (middle - side / 2) / down, side / across, side / down
        return figure.add_axes(box)

    height, width = image.shape[2:]
    room = 1.45 * side
    ax = panel(left, room)
    figures.show_image(ax, image[0], "input and grid")
    figures.draw_grid(ax, affine_grid(theta, (1, 1, 28, 28))[0], (height, width))
    figures.draw_frame(ax, (height, width))
    ax.set_xlim(-0.225 * width - 0.5, 1.225 * width - 0.5)
    ax.set_ylim(1.225 * height - 0.5, -0.225 * height - 0.5)
    left += room + 0.1 * side
    title = f"output, loss {loss:.3f}"
    figures.show_image(panel(left, side), output[0], title, figures.OUTPUT)
    left += 1.15 * side
    figures.show_image(panel(left, side), target[0], "target")
