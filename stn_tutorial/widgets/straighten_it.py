"""Straighten it: a digit tumbles, a transformer straightens it. The front page."""

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from stn_tutorial.affine import affine_grid, identity
from stn_tutorial.figures import (
    GREY,
    OUTPUT,
    draw_frame,
    draw_grid,
    show_image,
)
from stn_tutorial.interpolation import warp
from stn_tutorial.widgets._figure import BUILT, javascript
from stn_tutorial.widgets.draw_and_straighten import DrawAndStraighten, trained_network

MIDDLE = identity() * 28 / 42  # the transformer's theta before its training


class StraightenIt(DrawAndStraighten):
    """Turn a digit, and see what a classifier reads with and without a transformer.

    Args:
        label: the figure's name in the book.
        drawing, angle, scale, x, y: as in ``DrawAndStraighten``, with the same network.
        transformer: whether the transformer stands before the classifier. Without it,
            the classifier gets the 28x28 pixels in the middle of the canvas.
        tumbling: whether the digit moves until it is touched.

    Raises:
        TraitError: the drawing has another size, or a number is outside its range.

    Used on the book's first page.
    """

    _esm = javascript("straighten_it")
    _css = BUILT / "straighten_it.css"
    angle = traitlets.Float(34.6).tag(sync=True)
    scale = traitlets.Float(0.82).tag(sync=True)
    x = traitlets.Float(4.3).tag(sync=True)
    y = traitlets.Float(-3.5).tag(sync=True)
    transformer = traitlets.Bool(True).tag(sync=True)
    tumbling = traitlets.Bool(True).tag(sync=True)

    def read(self) -> tuple[Tensor, Tensor, Tensor]:
        """Theta, the image that the classifier gets, and the shares of the ten digits.

        Their shapes are (1, 2, 3), (1, 1, 28, 28) and (10,).
        """
        image, network = self.image()[None], trained_network()
        with torch.inference_mode():
            if self.transformer:
                seen, theta = network.straighten(image)
            else:
                theta = MIDDLE
                seen = F.avg_pool2d(warp(image, theta, size=(56, 56)), 2)
            return theta, seen, network.classifier(seen)[0].softmax(0)

    def still(self) -> Figure:
        """The input with its grid, what the classifier gets of it, and the scores."""
        theta, seen, shares = self.read()
        # One scale: the widths are as the numbers of pixels that each shows.
        figure, axes = plt.subplots(
            1, 3, figsize=(5.4, 3.1), width_ratios=(54.6, 28, 28)
        )
        show_image(axes[0], self.image(), "digit and grid")
        draw_frame(axes[0], (42, 42))
        grid = affine_grid(theta, (1, 1, 56, 56), align_corners=False)
        draw_grid(axes[0], grid[0], (42, 42))
        axes[0].set(xlim=(-6.8, 47.8), ylim=(47.8, -6.8))
        title = "straightened" if self.transformer else "its middle"
        show_image(axes[1], seen[0], title, edge=OUTPUT)
        best = int(shares.argmax())
        colours = [OUTPUT if digit == best else GREY for digit in range(10)]
        axes[2].barh(range(10), (100 * shares).tolist(), color=colours)
        axes[2].set(title=f"read as {best}", xlabel="score (%)", xlim=(0, 100))
        axes[2].set(yticks=range(10), ylim=(9.6, -0.6))
        return figure
