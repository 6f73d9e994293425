"""Turn it: turn a digit, and see a network that knows upright ones fail. Chapter 0."""

from collections.abc import Iterable
from copy import deepcopy

import matplotlib.pyplot as plt
import torch
import traitlets
from matplotlib.figure import Figure
from safetensors.torch import save
from torch import Tensor, nn

from stn_tutorial.affine import rotation
from stn_tutorial.figures import GREY, INPUT, OUTPUT, show_image
from stn_tutorial.interpolation import warp
from stn_tutorial.widgets._figure import TouchableFigure, javascript

LAYERS = "Conv2d ReLU MaxPool2d Conv2d ReLU MaxPool2d Flatten Linear"
STILL = (0, 30, 60, 90)  # degrees, in the still picture


class TurnIt(TouchableFigure):
    """Turn a digit until a network that has met only upright ones reads it wrongly.

    Args:
        label: the figure's name in the book.
        net: chapter 0's convolutional network, trained. Its weights are rounded to
            half precision.
        images: ten digits, shape (10, 1, 28, 28), from 0 to 1; image k shows a k.
        digit: the one that is turned, 0 to 9.
        angle: by which it is turned counter-clockwise, -180 to 180 degrees.

    Raises:
        ValueError: a network of other layers, or other than ten such images.
        TraitError: there is no such digit, or the angle is out of range.

    Used in chapter 0.
    """

    _esm = javascript("turn_it")
    digit = traitlets.Int(7, min=0, max=9).tag(sync=True)
    angle = traitlets.Int(0, min=-180, max=180).tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)
    images = traitlets.Bytes().tag(sync=True)

    def __init__(
        self, label: str, net: nn.Sequential, images: Tensor, **traits: int
    ) -> None:
        _check(net, images)
        halves = {name: w.half() for name, w in net.state_dict().items()}
        bytes_ = (255 * images).round().byte()
        self._net = deepcopy(net)
        self._net.load_state_dict(halves)
        self._images = bytes_ / 255
        super().__init__(
            label, weights=save(halves), images=bytes_.numpy().tobytes(), **traits
        )

    def turned(self, angles: Iterable[float]) -> Tensor:
        """The digit at each of the angles, shape (len(angles), 1, 28, 28)."""
        theta = rotation(torch.tensor([*angles], dtype=torch.float))
        return warp(self._images[self.digit].expand(len(theta), -1, -1, -1), theta)

    def shares(self, angles: Iterable[float]) -> Tensor:
        """The scores of the ten digits at each angle, as shares of 1 (softmax)."""
        with torch.inference_mode():
            return self._net(self.turned(angles)).softmax(dim=1)

    def still(self) -> Figure:
        """The digit at four angles, with the scores that it gets there."""
        figure, axes = plt.subplots(2, 4, figsize=(7.2, 4.2), height_ratios=[1, 1.3])
        angles = [self.angle + angle for angle in STILL]
        pairs = zip(self.turned(angles), self.shares(angles), strict=True)
        for column, (image, shares) in enumerate(pairs):
            above, below = axes[:, column]
            show_image(above, image, f"turned by {angles[column]}°", edge=INPUT)
            best = int(shares.argmax())
            colours = [OUTPUT if k == best else GREY for k in range(10)]
            bars = below.barh(range(10), (100 * shares).tolist(), color=colours)
            bars[self.digit].set(edgecolor=INPUT, linewidth=1.5)
            verdict = "right" if best == self.digit else "wrong"
            below.set(title=f"reads {best}: {verdict}", xlabel="score (%)")
            below.set(xlim=(0, 105), ylim=(9.6, -0.6), yticks=range(10))
            below.get_yticklabels()[self.digit].set(color=INPUT, weight="bold")
        return figure


def _check(net: nn.Sequential, images: Tensor) -> None:
    layers = " ".join(type(layer).__name__ for layer in net.children())
    if layers != LAYERS:
        raise ValueError(f"expected a network of {LAYERS}, but got {layers}")
    if images.shape != (10, 1, 28, 28):
        raise ValueError(
            f"expected images of shape (10, 1, 28, 28), but got {tuple(images.shape)}"
        )
