"""Watch it learn: scrub through the training of a transformer. Chapter 5."""

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from stn_tutorial.affine import affine_grid
from stn_tutorial.figures import GRID, OUTPUT, draw_grid, show_image
from stn_tutorial.interpolation import grid_sample
from stn_tutorial.training import History
from stn_tutorial.widgets._figure import TouchableFigure, javascript


class WatchItLearn(TouchableFigure):
    """Scrub through a training, and watch the grids on a few images.

    Args:
        label: the figure's name in the book.
        watched: the images, shape (N, 1, S, S), from 0 to 1.
        history: the notes of a training that watched them.
        start: error in per cent, and theta of shape (N, 2, 3), before the first step.
        pool: how many pixels wide the squares are whose means the classifier sees.
        moment: which one is shown; 0 is before the first step.
        chosen: which of the images is shown large.

    Raises:
        ValueError: the images are not N square ones, or another number of them was
            watched, or nothing was noted.
        TraitError: no such moment or image.

    Used in chapter 5.
    """

    _esm = javascript("watch_it_learn")
    moment = traitlets.Int(0).tag(sync=True)
    chosen = traitlets.Int(0).tag(sync=True)
    images = traitlets.List(traitlets.Int()).tag(sync=True)  # seen at each moment
    error = traitlets.List(traitlets.Float()).tag(sync=True)
    shape = traitlets.List(traitlets.Int()).tag(sync=True)  # N, S
    pixels = traitlets.Bytes().tag(sync=True)
    theta = traitlets.Bytes().tag(sync=True)  # moment, image, row, column
    side = traitlets.Int().tag(sync=True)  # of what the classifier sees
    pool = traitlets.Int().tag(sync=True)

    def __init__(
        self,
        label: str,
        watched: Tensor,
        history: History,
        start: tuple[float, Tensor],
        pool: int = 2,
        **traits: int,
    ) -> None:
        _check(watched, history, start[1])
        self._watched = watched
        self._theta = torch.stack([start[1].detach(), *history.theta])
        super().__init__(
            label,
            images=[0, *history.images],
            error=[start[0], *history.error],
            shape=[len(watched), watched.shape[-1]],
            pixels=(255 * watched).round().byte().numpy().tobytes(),
            theta=self._theta.numpy().astype("<f4").tobytes(),
            side=history.warped[0].shape[-1],
            pool=pool,
            **traits,
        )

    @traitlets.validate("moment", "chosen")
    def _one_of_them(self, proposal: dict) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        count = len(self._theta) if name == "moment" else len(self._watched)
        if not 0 <= value < count:
            raise traitlets.TraitError(
                f"expected {name} to be from 0 to {count - 1}, but got {value}"
            )
        return value

    def straightened(self, moment: int) -> Tensor:
        """What the classifier saw of the images, shape (N, 1, side, side)."""
        large = self.pool * self.side
        size = (len(self._watched), 1, large, large)
        grid = affine_grid(self._theta[moment], size, align_corners=False)
        warped = grid_sample(self._watched, grid, align_corners=False)
        return F.avg_pool2d(warped, self.pool)

    def still(self) -> Figure:
        """The images at this moment and at the last one, and the learning curve."""
        figure = plt.figure(figsize=(7, 4))
        parts = figure.subfigures(2, 1, squeeze=False, height_ratios=[2.3, 1.7])
        above, below = parts[:, 0]
        moments = (self.moment, len(self._theta) - 1)
        halves = above.subfigures(1, 2, squeeze=False)[0]
        for half, moment in zip(halves, moments, strict=True):
            self._tiles(half, moment)
        ax = below.subplots()
        ax.loglog(self.images[1:], self.error[1:], "-o", color="#444", markersize=4)
        now = self.images[self.moment]
        if now:
            ax.plot(now, self.error[self.moment], "o", color=GRID, markersize=9)
        ax.set(xlabel="training images seen", ylabel="validation\nerror (%)")
        return figure

    def _tiles(self, figure: Figure, moment: int) -> None:
        n, _, _, side = self._watched.shape
        columns = -(-n // 2)
        axes = figure.subplots(4, columns, squeeze=False)
        size = (n, 1, self.side, self.side)
        grids = affine_grid(self._theta[moment], size, align_corners=False)
        outputs = self.straightened(moment)
        for ax in axes.flat:
            ax.set_axis_off()
        for i in range(n):
            row, column = 2 * (i // columns), i % columns
            axes[row, column].set_axis_on()
            show_image(axes[row, column], self._watched[i])
            axes[row, column].autoscale(False)
            draw_grid(axes[row, column], grids[i], (side, side), lines=2)
            axes[row + 1, column].set_axis_on()
            show_image(axes[row + 1, column], outputs[i], edge=OUTPUT)
        seen = self.images[moment]
        when = f"after {seen:,} images" if seen else "before training"
        figure.suptitle(f"{when}: {self.error[moment]:.1f}% errors", fontsize=10)


def _check(watched: Tensor, history: History, start: Tensor) -> None:
    n = len(watched)
    if (
        watched.dim() != 4
        or watched.shape[1] != 1
        or watched.shape[2] != watched.shape[3]
    ):
        raise ValueError(
            f"expected images of shape (N, 1, S, S), but got {tuple(watched.shape)}"
        )
    if not history.theta:
        raise ValueError(
            "expected the history of a training with watched images, but got one "
            "without any theta"
        )
    for theta in (start, *history.theta):
        if theta.shape != (n, 2, 3):
            raise ValueError(
                f"expected theta of shape {(n, 2, 3)} for {n} images, "
                f"but got {tuple(theta.shape)}"
            )
