"""The loss of a spatial transformer as a map, and descent on it. Chapter 4."""

import matplotlib.pyplot as plt
import torch
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from stn_tutorial import figures
from stn_tutorial.interpolation import warp
from stn_tutorial.widgets._figure import javascript
from stn_tutorial.widgets.inside_transformer import (
    KNOWN,
    PicturedFigure,
    draw_board,
    four_numbers,
)

RANGES = {  # in the order of the alphabet, since a saved notebook sorts its keys
    "angle": [-180.0, 180.0],
    "scale": [0.4, 2.0],
    "tx": [-1.5, 1.5],
    "ty": [-1.5, 1.5],
}
SIDE = 28  # of the target, in pixels


class LossMap(PicturedFigure):
    """The loss over two of four parameters of theta, and gradient descent on it.

    The four parameters make the target, at 28 x 28 pixels. Descent changes two of them
    and holds the other two at their true values. It is plain gradient descent on the
    mean squared difference, with angles in radians.

    Args:
        label: the figure's name in the book.
        picture: "digit", "cat" or "stripes".
        parameters: of the target: angle (degrees), scale, tx, ty.
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

    _esm = javascript("loss_map")
    parameters = traitlets.List(traitlets.Float(), KNOWN).tag(sync=True)
    pair = traitlets.Enum(
        ["tx and ty", "angle and scale", "tx and angle"], "tx and ty"
    ).tag(sync=True)
    start = traitlets.List(traitlets.Float(), [-75.0, 1.1, 0.5, -0.45]).tag(sync=True)
    rate = traitlets.Float(0.3).tag(sync=True)
    steps = traitlets.Int(0, min=0, max=100).tag(sync=True)
    ranges = traitlets.Dict(RANGES).tag(sync=True)

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

    @traitlets.validate("rate")
    def _learning_rate(self, proposal: dict) -> float:
        rate = proposal["value"]
        if not 0.01 <= rate <= 3:
            raise traitlets.TraitError(
                f"expected rate to be from 0.01 to 3, but got {rate}"
            )
        return rate

    def target(self) -> Tensor:
        """What descent looks for, at 28 x 28 pixels, shape (1, 1, 28, 28)."""
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
        """The map with descent on it; grid, output and target where it stands."""
        figure = plt.figure(figsize=(10.4, 3.2), layout="none")
        ax = figure.add_axes((0.06, 0.16, 0.26, 0.74))
        self._draw_map(ax)
        here = self.path()[-1:].float()
        draw_board(
            figure,
            self.image(),
            four_numbers(here),
            self._outputs(here),
            self.target(),
            self.loss(here).item(),
            left=3.5,
            side=1.75,
        )
        return figure

    def _draw_map(self, ax: plt.Axes) -> None:
        pair, names, n = self._pair(), list(RANGES), 61
        x, y = (
            torch.linspace(low, high, n)
            for low, high in (RANGES[names[i]] for i in pair)
        )
        parameters = torch.tensor([self.parameters]).repeat(n * n, 1)
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        parameters[:, pair] = torch.stack([columns, rows], -1).view(-1, 2)
        losses = self.loss(parameters).view(n, n)
        ax.contourf(x, y, losses, 12, cmap="gray", vmin=-0.4 * losses.max())
        ax.contour(x, y, losses, 12, colors="black", linewidths=0.4)
        path = self.path()
        line = path[:, pair].T
        ax.plot(*line, ".-", color=figures.GRID, markersize=4, linewidth=1)
        ax.plot(*line[:, 0], "o", color=figures.GRID, label="start")
        goal = [self.parameters[i] for i in pair]
        ax.plot(*goal, "X", color=figures.OUTPUT, markersize=9, label="target")
        ax.legend(loc="lower left", frameon=True, fontsize=8)
        ax.set(xlabel=names[pair[0]], ylabel=names[pair[1]])
        ax.set_title("loss: dark is small")
        ax.invert_yaxis()
        ax.grid(False)
