"""The ways to read an image by theta, right or mistaken, and which of them it was."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_tutorial.affine import affine_grid, identity, invert
from stn_tutorial.interpolation import PADDINGS

Exchange = Callable[[Tensor], Tensor]
Way = tuple[Exchange, Exchange]


def same(values: Tensor) -> Tensor:
    """Leave theta, or a grid, as it is."""
    return values


#: What a module may do to theta, and to the grid, and how to mend it.
MISTAKES: dict[str, tuple[Way, str]] = {
    "": ((same, same), ""),
    "x and y are swapped in the grid, so the image is mirrored at its diagonal": (
        (lambda theta: theta[:, [1, 0]], same),
        'the last axis of a grid is (x, y), column first: meshgrid(..., indexing="xy")',
    ),
    "x and y are swapped before theta, so the image is mirrored at its diagonal": (
        (lambda theta: theta[:, :, [1, 0, 2]], same),
        "theta is to be multiplied with (x, y, 1), column first",
    ),
    "theta is read as (y, x): the shift goes down and not right": (
        (lambda theta: theta[:, [1, 0]][:, :, [1, 0, 2]], same),
        "the first row of theta gives x, the column; the second gives y, the row",
    ),
    "the six numbers fill theta column by column": (
        (lambda theta: theta.reshape(-1, 3, 2).transpose(1, 2), same),
        "write .view(-1, 2, 3)",
    ),
    "the content goes the wrong way: the inverse of theta is used": (
        (lambda theta: invert(theta), same),
        "theta leads from the output to the input; leave the inverse away",
    ),
    "the grid is clamped to [-1, 1], so what lies outside is drawn out in stripes": (
        (same, lambda grid: grid.clamp(-1, 1)),
        'leave the clamp away; padding_mode="border" does what was meant',
    ),
    "places are multiplied by (size - 2), so the identity is a slight zoom": (
        (same, lambda grid: short(grid)),
        "with align_corners=True the pixels lie at (x + 1) * (size - 1) / 2",
    ),
}
#: No mistake: the six numbers are what theta differs from the identity by.
ADDED = "the six numbers are added to the identity"
MISTAKES[ADDED] = ((lambda theta: theta + identity().to(theta), same), "")


def short(grid: Tensor) -> Tensor:
    """What a sampler reads that takes size - 2 for size - 1."""
    last = grid.new_tensor([grid.shape[2] - 1, grid.shape[1] - 1])
    return (grid + 1) * (1 - 1 / last) - 1


class Reading(NamedTuple):
    """One way to read an image by theta, right or mistaken."""

    mistake: str = ""
    made: bool = False  # align_corners of the grid
    read: bool = False  # and of the sampler
    padding_mode: str = "zeros"
    mode: str = "bilinear"

    def warp(self, images: Tensor, theta: Tensor, size: Sequence[int]) -> Tensor:
        """What comes out for images (N, C, H, W) and theta (N, 2, 3)."""
        (of_theta, of_grid), _ = MISTAKES[self.mistake]
        shape = (len(images), 1, *size)
        grid = of_grid(affine_grid(of_theta(theta), shape, self.made))
        padding = self.padding_mode if self.padding_mode in PADDINGS else "zeros"
        return F.grid_sample(images, grid, self.mode, padding, self.read)


def readings() -> Iterator[Reading]:
    """All the ways to read, first the right ones."""
    ways = [(False, False), (True, True), (False, True), (True, False)]
    for mistake in MISTAKES:
        modes = ("bilinear",) if mistake else ("bilinear", "bicubic", "nearest")
        for mode, (made, read), padding in product(modes, ways, PADDINGS):
            yield Reading(mistake, made, read, padding, mode)


def understand(
    images: Tensor, theta: Tensor, output: Tensor
) -> tuple[Reading, float, float]:
    """Find the reading that gives this output.

    Returns:
        the best reading; its mean error, 0 if it fits; the same in pixels.
    """
    if output.dim() != 4 or output.shape[:2] != images.shape[:2]:
        return Reading(), float("inf"), float("nan")
    size = output.shape[2:]
    best = Reading(), float("inf")
    for reading in readings():
        apart = (reading.warp(images, theta, size) - output).abs()
        if (apart < 5e-4).float().mean() > 0.99:  # ties and edges aside
            return reading, 0.0, 0.0
        if apart.mean() < best[1]:
            best = reading, apart.mean().item()
    for reading in readings():  # inside the image, in another scale of values
        if reading.padding_mode != "zeros" or reading.mode != "bilinear":
            continue
        inside = reading.warp(torch.ones_like(images), theta, size) > 0.999
        x, y = reading.warp(images, theta, size)[inside], output[inside]
        if len(x) < 20:
            continue
        gain = ((x - x.mean()) * (y - y.mean())).mean() / x.var(correction=0)
        apart = (y - y.mean() - gain * (x - x.mean())).abs()
        if gain.abs() > 1e-3 and (apart < 5e-4 * gain.abs()).float().mean() > 0.99:
            return reading._replace(padding_mode="its own"), 0.0, 0.0
    reading, miss = best
    moved = theta.clone()
    moved[:, :, 2] += 0.1 / max(images.shape[2:])  # a twentieth of a pixel
    apart = reading.warp(images, theta, size) - reading.warp(images, moved, size)
    a_pixel = apart.abs().mean().item() * 20 / 2**0.5  # moved along both axes
    return reading, miss, miss / max(a_pixel, 1e-9)
