"""Inside a spatial transformer: one pass, and the way back by descent. Chapter 4."""

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
    identity,
    invert,
    rotation,
    scaling,
    translation,
)
from stn_tutorial.data.digits import load_digits
from stn_tutorial.data.photos import cat_photo
from stn_tutorial.interpolation import grid_sample, warp
from stn_tutorial.widgets._figure import TouchableFigure, javascript

RANGES = {  # in the order of the alphabet, since a saved notebook sorts its keys
    "angle": [-180.0, 180.0],
    "scale": [0.4, 2.0],
    "tx": [-1.5, 1.5],
    "ty": [-1.5, 1.5],
}
KNOWN = [-40.0, 0.8, 0.2, -0.1]
SIDE = 28  # of the target, in pixels


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


class InsideTransformer(TouchableFigure):
    """Follow one pass from theta to the output, then find theta again by descent.

    The four numbers of the pass make the target of the descent, at 28 x 28 pixels. The
    descent changes two of them and holds the other two at their true values. It
    is plain gradient descent on the mean squared difference, with angles in radians.

    Args:
        label: the figure's name in the book.
        part: what is shown, "one pass" or "descent".
        stage: how much of the pass is shown, from 1 (theta) to 4 (the output).
        picture: "digit", "cat" or "stripes".
        parameters: of the pass and of the target: angle (degrees), scale, tx, ty.
        size: pixels of the output along each side, from 4 to 64.
        follow: (x, y) in the output; the pixel nearest to it is followed.
        pair: what descent may change: "tx and ty", "angle and scale", "tx and angle".
        start: where descent starts, four numbers as in ``parameters``; only those of
            the pair count.
        rate: the learning rate, from 0.01 to 3.
        steps: how many steps of descent are shown, from 0 to 100.

    Raises:
        TraitError: a number is missing, not finite or out of its range, or a name is
            unknown.

    Used in chapter 4.
    """

    _esm = javascript("inside_transformer")
    part = traitlets.Enum(["one pass", "descent"], "one pass").tag(sync=True)
    stage = traitlets.Int(1, min=1, max=4).tag(sync=True)
    picture = traitlets.Enum(["digit", "cat", "stripes"], "digit").tag(sync=True)
    parameters = traitlets.List(traitlets.Float(), KNOWN).tag(sync=True)
    size = traitlets.Int(12, min=4, max=64).tag(sync=True)
    follow = traitlets.List(traitlets.Float(), [-0.1, -0.55]).tag(sync=True)
    pair = traitlets.Enum(
        ["tx and ty", "angle and scale", "tx and angle"], "tx and ty"
    ).tag(sync=True)
    start = traitlets.List(traitlets.Float(), [-75.0, 1.1, 0.5, -0.45]).tag(sync=True)
    rate = traitlets.Float(0.3).tag(sync=True)
    steps = traitlets.Int(0, min=0, max=100).tag(sync=True)
    ranges = traitlets.Dict(RANGES).tag(sync=True)
    shapes: traitlets.List = traitlets.List().tag(sync=True)  # name, C, H, W
    pixels = traitlets.Bytes().tag(sync=True)

    def __init__(self, label: str = "", **traits: object) -> None:
        super().__init__(label, **traits)
        cat = cat_photo()[..., 75:375].mean(1, keepdim=True)
        cat = F.interpolate(cat, (56, 56), mode="area")
        digit = load_digits().test_images[:1]
        undo = invert(four_numbers(torch.tensor([KNOWN])))
        stripes = (torch.arange(28) // 2 % 2).float().expand(1, 1, 28, 28)
        images = {"digit": warp(digit, undo), "cat": cat, "stripes": stripes}
        self.shapes = [[name, *image.shape[1:]] for name, image in images.items()]
        # The browser gets bytes, so Python rounds to them too.
        levels = {name: (255 * image).round() for name, image in images.items()}
        flat = torch.cat([level.flatten() for level in levels.values()])
        self.pixels = flat.byte().numpy().tobytes()
        self._images = {name: level / 255 for name, level in levels.items()}

    @traitlets.validate("parameters", "start")
    def _four_in_range(self, proposal: dict) -> list[float]:
        name, values = proposal["trait"].name, proposal["value"]
        limits = RANGES.values()
        if len(values) != 4 or not all(
            low <= v <= high for v, (low, high) in zip(values, limits, strict=True)
        ):
            raise traitlets.TraitError(
                f"expected {name} to be angle, scale, tx and ty within {RANGES}, "
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

    @traitlets.validate("rate")
    def _learning_rate(self, proposal: dict) -> float:
        rate = proposal["value"]
        if not 0.01 <= rate <= 3:
            raise traitlets.TraitError(
                f"expected rate to be from 0.01 to 3, but got {rate}"
            )
        return rate

    def image(self) -> Tensor:
        """The picture that is shown, shape (1, 1, H, W), from 0 to 1."""
        return self._images[self.picture]

    def target(self) -> Tensor:
        """What descent looks for: one pass at 28 x 28 pixels, shape (1, 1, 28, 28)."""
        return self._outputs(torch.tensor([self.parameters]))

    def loss(self, parameters: Tensor) -> Tensor:
        """The mean squared difference to the target, shape (N,).

        Args:
            parameters: angle in degrees, scale, tx and ty; shape (N, 4).
        """
        target = self._outputs(parameters.new_tensor([self.parameters]))
        return (self._outputs(parameters) - target).square().mean((1, 2, 3))

    def path(self) -> Tensor:
        """Every point of the descent so far, by autograd: shape (steps + 1, 4)."""
        pair = self._pair()
        point = torch.tensor([self.parameters], dtype=torch.double)
        point[0, pair] = torch.tensor(self.start, dtype=torch.double)[pair]
        unit = torch.tensor([torch.pi / 180, 1, 1, 1], dtype=torch.double)
        free = torch.zeros(4, dtype=torch.double).index_fill(0, torch.tensor(pair), 1)
        path = [point[0]]
        for _ in range(self.steps):
            moving = (point * unit).requires_grad_()  # the angle in radians
            loss = self.loss(moving / unit).sum()
            (gradient,) = torch.autograd.grad(loss, moving)
            point = (moving.detach() - self.rate * free * gradient) / unit
            path.append(point[0])
        return torch.stack(path)

    def _pair(self) -> list[int]:
        return [list(RANGES).index(name) for name in self.pair.split(" and ")]

    def _outputs(self, parameters: Tensor) -> Tensor:
        image = self.image().to(parameters).expand(len(parameters), -1, -1, -1)
        return warp(image, four_numbers(parameters), (SIDE, SIDE))

    def still(self) -> Figure:
        """One pass from theta to the output; or the map, with grid, output, target."""
        return self._still_pass() if self.part == "one pass" else self._still_map()

    def _still_pass(self) -> Figure:
        theta, n = four_numbers(torch.tensor([self.parameters])), self.size
        figure, axes = plt.subplots(
            1, 4, figsize=(9.2, 2.5), width_ratios=[0.7, 1, 1, 1]
        )
        figures.write_theta(axes[0], theta[0], "1  theta")
        targets = affine_grid(identity(), (1, 1, n, n))[0]
        axes[1].plot(*targets.flatten(0, 1).T, ".", color=figures.GRID, markersize=4)
        axes[1].set(xlim=(-1, 1), ylim=(1, -1), xticks=[], yticks=[], aspect="equal")
        axes[1].set_title("2  regular grid")
        axes[1].grid(False)
        for spine in axes[1].spines.values():
            spine.set(visible=True, color=figures.OUTPUT, linewidth=2)
        grid = affine_grid(theta, (1, 1, n, n))
        self._show_grid(axes[2], grid, n, "3  grid in the input")
        output = grid_sample(self.image(), grid)
        figures.show_image(axes[3], output[0], "4  output", figures.OUTPUT)
        return figure

    def _show_grid(self, ax: plt.Axes, grid: Tensor, lines: int, title: str) -> None:
        image = self.image()[0]
        height, width = image.shape[1:]
        figures.show_image(ax, image, title, figures.INPUT)
        figures.draw_grid(ax, grid[0], (height, width), lines=lines)
        ax.set_xlim(-0.3 * width, 1.3 * width)
        ax.set_ylim(1.3 * height, -0.3 * height)
        for spine in ax.spines.values():
            spine.set_visible(False)
        figures.draw_frame(ax, (height, width))

    def _still_map(self) -> Figure:
        figure, axes = plt.subplots(
            1, 4, figsize=(10.4, 2.9), width_ratios=[1.35, 1, 1, 1]
        )
        pair, names, n = self._pair(), list(RANGES), 61
        x, y = (
            torch.linspace(low, high, n)
            for low, high in (RANGES[names[i]] for i in pair)
        )
        parameters = torch.tensor([self.parameters]).repeat(n * n, 1)
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        parameters[:, pair] = torch.stack([columns, rows], -1).view(-1, 2)
        losses = self.loss(parameters).view(n, n)
        axes[0].contourf(x, y, losses, 12, cmap="gray", vmin=-0.4 * losses.max())
        axes[0].contour(x, y, losses, 12, colors="black", linewidths=0.4)
        path = self.path()
        line = path[:, pair].T
        axes[0].plot(*line, ".-", color=figures.GRID, markersize=4, linewidth=1)
        axes[0].plot(*line[:, 0], "o", color=figures.GRID, label="start")
        goal = [self.parameters[i] for i in pair]
        axes[0].plot(*goal, "X", color=figures.OUTPUT, markersize=9, label="target")
        axes[0].legend(loc="lower left", frameon=True, fontsize=8)
        axes[0].set(xlabel=names[pair[0]], ylabel=names[pair[1]])
        axes[0].set_title("loss: dark is small")
        axes[0].invert_yaxis()
        axes[0].grid(False)
        here = path[-1:].float()
        grid = affine_grid(four_numbers(here), (1, 1, SIDE, SIDE))
        self._show_grid(axes[1], grid, 9, "grid in the input")
        output = grid_sample(self.image(), grid)
        title = f"output, loss {self.loss(here).item():.4f}"
        figures.show_image(axes[2], output[0], title, figures.OUTPUT)
        figures.show_image(axes[3], self.target()[0], "target")
        return figure
