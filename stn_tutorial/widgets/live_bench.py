"""Live: a trained transformer reads digits on paper, before the reader's camera."""

import matplotlib.pyplot as plt
import torch
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from stn_tutorial.affine import affine_grid, rotation
from stn_tutorial.data.digits import load_digits
from stn_tutorial.data.paper import SIDE, paper_photos, read_paper
from stn_tutorial.figures import (
    GREY,
    INPUT,
    OUTPUT,
    draw_frame,
    draw_grid,
    show_image,
)
from stn_tutorial.files import RECORDED
from stn_tutorial.interpolation import grid_sample
from stn_tutorial.widgets._figure import BUILT, TouchableFigure, javascript
from stn_tutorial.widgets.draw_and_straighten import WEIGHTS, trained_network

GRAPH = RECORDED / "drawing-net.onnx"  # its weights stand in WEIGHTS alone
PHOTOGRAPHED = (17, 11)  # of the bundled test digits: a 3 and a 2


class LiveBench(TouchableFigure):
    """Hold a digit before the camera, see the grid find it, and time the network.

    The camera is the browser's: its pictures never come to Python.

    Args:
        label: the figure's name in the book.
        photo: which of the photographs is shown, from 0 on.
        angle: by which its paper is turned counter-clockwise, -90 to 90 degrees.

    Raises:
        TraitError: there is no such photograph, or the angle is outside its range.

    Used in chapter 11.
    """

    _esm = javascript("live_bench")
    _css = BUILT / "live_bench.css"
    photo = traitlets.Int(0).tag(sync=True)
    angle = traitlets.Float(0).tag(sync=True)
    photos = traitlets.Bytes().tag(sync=True)
    labels = traitlets.List(traitlets.Int()).tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)
    graph = traitlets.Bytes().tag(sync=True)

    def __init__(self, label: str = "", **traits: object) -> None:
        super().__init__(label, **traits)
        digits = load_digits()
        chosen = torch.tensor(PHOTOGRAPHED)
        draw = torch.Generator().manual_seed(29)  # both lie askew
        photos = paper_photos(digits.test_images[chosen], draw)
        self.labels = digits.test_labels[chosen].tolist()
        self.photos = (255 * photos).round().byte().numpy().tobytes()
        self.weights = WEIGHTS.read_bytes()
        self.graph = GRAPH.read_bytes()

    @traitlets.validate("photo")
    def _is_there(self, proposal: dict) -> int:
        if not 0 <= proposal["value"] < len(PHOTOGRAPHED):
            raise traitlets.TraitError(
                f"expected photo to be from 0 to {len(PHOTOGRAPHED) - 1}, "
                f"but got {proposal['value']}"
            )
        return proposal["value"]

    @traitlets.validate("angle")
    def _in_range(self, proposal: dict) -> float:
        if not -90 <= proposal["value"] <= 90:
            raise traitlets.TraitError(
                f"expected angle to be from -90 to 90, but got {proposal['value']}"
            )
        return proposal["value"]

    def picture(self) -> Tensor:
        """The photograph that is shown: grey values (1, 126, 126) from 0 to 1."""
        pixels = torch.tensor(list(self.photos)).view(-1, 1, SIDE, SIDE) / 255
        grid = affine_grid(
            rotation(self.angle), (1, 1, SIDE, SIDE), align_corners=False
        )
        turned = grid_sample(
            pixels[self.photo][None],
            grid,
            padding_mode="border",
            align_corners=False,
        )
        return turned[0]

    def still(self) -> Figure:
        """The photograph, its ink with the grid, the straightened digit, the scores."""
        picture = self.picture()
        image = read_paper(picture[None])[0]
        network = trained_network()
        with torch.inference_mode():
            straight, theta = network.straighten(image[None])
            shares = network.classifier(straight)[0].softmax(0)
        figure, axes = plt.subplots(1, 4, figsize=(8.4, 2.5))
        show_image(axes[0], picture, "paper", edge=INPUT)
        show_image(axes[1], image, "ink, and the grid")
        draw_frame(axes[1], (42, 42))
        grid = affine_grid(theta, (1, 1, 56, 56), align_corners=False)
        draw_grid(axes[1], grid[0], (42, 42))
        axes[1].set(xlim=(-5, 46), ylim=(46, -5))
        show_image(axes[2], straight[0], "straightened", edge=OUTPUT)
        best = int(shares.argmax())
        colours = [OUTPUT if digit == best else GREY for digit in range(10)]
        axes[3].barh(range(10), (100 * shares).tolist(), color=colours)
        axes[3].set(title=f"answer: {best}", xlabel="score (%)", xlim=(0, 100))
        axes[3].set(yticks=range(10), ylim=(9.6, -0.6))
        return figure
