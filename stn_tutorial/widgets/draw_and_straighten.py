"""Draw and straighten: a trained network reads what the reader draws. Chapter 6."""

import matplotlib.pyplot as plt
import torch
import traitlets
from matplotlib.figure import Figure
from safetensors.torch import load_file
from torch import Tensor

from stn_tutorial.affine import affine_grid, compose, rotation, translation
from stn_tutorial.data.digits import load_digits
from stn_tutorial.figures import (
    GREY,
    OUTPUT,
    draw_frame,
    draw_grid,
    show_image,
    write_theta,
)
from stn_tutorial.files import RECORDED
from stn_tutorial.interpolation import warp
from stn_tutorial.networks import Network, drawing_network
from stn_tutorial.widgets._figure import TouchableFigure, javascript, to_bytes

WEIGHTS = RECORDED / "drawing-net.safetensors"  # in float16
RANGES = {"angle": (-90, 90), "scale": (0.5, 1.5), "x": (-10, 10), "y": (-10, 10)}
READY = (17, 9, 11, 15)  # of the bundled test digits: a 3, a 7, a 2, a 6


def trained_network() -> Network:
    """The figure's network with the weights that it comes with, ready to evaluate."""
    network = drawing_network()
    network.load_state_dict(load_file(WEIGHTS))
    return network.eval()


class DrawAndStraighten(TouchableFigure):
    """Draw a digit, turn it, and see a trained spatial transformer straighten it.

    Args:
        label: the figure's name in the book.
        drawing: 28x28 grey values, row by row, a byte each; a bundled digit if not
            given.
        angle: by which the digit is turned counter-clockwise, -90 to 90 degrees.
        scale: of the digit, 0.5 to 1.5.
        x, y: how far the digit's middle stands right of and below the middle of the
            42x42 canvas, -10 to 10 pixels.

    Raises:
        TraitError: the drawing has another size, or a number is outside its range.

    Used in chapter 6.
    """

    _esm = javascript("draw_and_straighten")
    drawing = traitlets.Bytes().tag(sync=True, from_json=to_bytes)
    angle = traitlets.Float(30).tag(sync=True)
    scale = traitlets.Float(1).tag(sync=True)
    x = traitlets.Float(3).tag(sync=True)
    y = traitlets.Float(-2).tag(sync=True)
    labels = traitlets.List(traitlets.Int()).tag(sync=True)
    ready = traitlets.Bytes().tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)

    def __init__(self, label: str = "", **traits: object) -> None:
        digits = load_digits()
        chosen = torch.tensor(READY)
        images = (255 * digits.test_images[chosen]).round().byte()
        first = images[0].numpy().tobytes()
        super().__init__(label, **{"drawing": first} | traits)
        self.labels = digits.test_labels[chosen].tolist()
        self.ready = images.numpy().tobytes()
        self.weights = WEIGHTS.read_bytes()

    @traitlets.validate("drawing")
    def _every_pixel(self, proposal: dict) -> bytes:
        drawing = proposal["value"]
        if len(drawing) != 28 * 28:
            raise traitlets.TraitError(
                "expected drawing to have 784 bytes, 28x28 grey values row by row, "
                f"but got {len(drawing)}"
            )
        return drawing

    @traitlets.validate(*RANGES)
    def _in_range(self, proposal: dict) -> float:
        name, value = proposal["trait"].name, proposal["value"]
        low, high = RANGES[name]
        if not low <= value <= high:
            raise traitlets.TraitError(
                f"expected {name} to be from {low} to {high}, but got {value}"
            )
        return value

    def image(self) -> Tensor:
        """The network's input: the turned drawing, shape (1, 42, 42), from 0 to 1."""
        drawing = torch.tensor(list(self.drawing)).view(1, 1, 28, 28) / 255
        turn = 42 / 28 / self.scale * rotation(self.angle)
        theta = compose(turn, translation(-self.x / 21, -self.y / 21))
        return warp(drawing, theta, size=(42, 42))[0]

    def still(self) -> Figure:
        """The input with its grid, theta, the straightened digit, and the scores."""
        image = self.image()
        network = trained_network()
        with torch.inference_mode():
            straight, theta = network.straighten(image[None])
            shares = network.classifier(straight)[0].softmax(0)
        figure, axes = plt.subplots(
            1, 4, figsize=(8.4, 2.5), width_ratios=(1, 0.8, 1, 1)
        )
        show_image(axes[0], image, "input and grid")
        draw_frame(axes[0], (42, 42))
        grid = affine_grid(theta, (1, 1, 56, 56), align_corners=False)
        draw_grid(axes[0], grid[0], (42, 42))
        axes[0].set(xlim=(-8, 49), ylim=(49, -8))
        write_theta(axes[1], theta[0])
        axes[1].annotate("", (1, 0.4), (0, 0.4), arrowprops={"arrowstyle": "->"})
        show_image(axes[2], straight[0], "straightened", edge=OUTPUT)
        best = int(shares.argmax())
        colours = [OUTPUT if digit == best else GREY for digit in range(10)]
        axes[3].barh(range(10), (100 * shares).tolist(), color=colours)
        axes[3].set(title=f"answer: {best}", xlabel="score (%)", xlim=(0, 100))
        axes[3].set(yticks=range(10), ylim=(9.6, -0.6))
        return figure
