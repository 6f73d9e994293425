"""Affine playground: drag a sampling grid over a picture. Chapter 1."""

import math

import torch
import torch.nn.functional as F
import traitlets
from matplotlib.figure import Figure

from stn_tutorial.data.digits import load_digits
from stn_tutorial.data.photos import cat_photo
from stn_tutorial.figures import show_warp
from stn_tutorial.widgets._figure import TouchableFigure, javascript, to_bytes


class AffinePlayground(TouchableFigure):
    """Drag a sampling grid over a picture, or the picture under the grid.

    Args:
        label: the figure's name in the book.
        theta: the affine transform, six numbers row by row, from output to input.
        picture: "digit", "cat" (square), "wide cat", or "drawing" (the reader's own).
        moves: what the handles move, "grid" or "content".

    Raises:
        TraitError: theta is not six finite numbers, or an unknown picture.

    Used in chapter 1.
    """

    _esm = javascript("affine_playground")
    theta = traitlets.List(traitlets.Float(), [1.0, 0, 0, 0, 1, 0]).tag(sync=True)
    picture = traitlets.Enum(["digit", "cat", "wide cat", "drawing"], "digit").tag(
        sync=True
    )
    moves = traitlets.Enum(["grid", "content"], "grid").tag(sync=True)
    drawing = traitlets.Bytes(bytes(784)).tag(sync=True, from_json=to_bytes)
    shapes: traitlets.List = traitlets.List().tag(sync=True)  # name, C, H, W
    pixels = traitlets.Bytes().tag(sync=True)

    def __init__(self, label: str = "", **traits: object) -> None:
        super().__init__(label, **traits)
        cat = cat_photo()
        self._images = {
            "digit": load_digits().test_images[3],
            "cat": F.interpolate(cat[..., 75:375], (56, 56), mode="area")[0],
            "wide cat": F.interpolate(cat, (48, 72), mode="area")[0],
        }
        flat = torch.cat([image.flatten() for image in self._images.values()])
        self.shapes = [[name, *image.shape] for name, image in self._images.items()]
        self.pixels = (255 * flat).round().byte().numpy().tobytes()

    @traitlets.validate("theta")
    def _six_numbers(self, proposal: dict) -> list[float]:
        theta = proposal["value"]
        if len(theta) != 6 or not all(map(math.isfinite, theta)):
            raise traitlets.TraitError(
                f"expected theta to be six finite numbers, row by row, but got {theta}"
            )
        return theta

    def image(self) -> torch.Tensor:
        """The picture that is shown, shape (C, H, W), from 0 to 1."""
        if self.picture == "drawing":
            return torch.tensor(list(self.drawing)).view(1, 28, 28) / 255
        return self._images[self.picture]

    def still(self) -> Figure:
        """The picture with the grid over it, theta, and the output."""
        return show_warp(self.image(), torch.tensor(self.theta).view(2, 3))
