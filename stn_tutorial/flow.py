"""Dense flow: for each pixel of the target, how far away in the source to look.

A flow has shape (N, 2, H, W), in pixels, first to the right and then down. It leads
from target to source, as theta does: the pixel (x, y) of the target shows what the
source holds at (x, y) + flow. Optical flow from image 1 to image 2 in this form warps
image 2 onto image 1.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_tutorial.affine import (
    _check_whole,
    at_least_float32,
    pixel_centres,
    without_autocast,
)
from stn_tutorial.interpolation import grid_sample
from stn_tutorial.warps import _check, _check_grid

Penalty = Callable[[Tensor], Tensor]


def flow_grid(flow: Tensor) -> Tensor:
    """The sampling grid of a flow.

    Args:
        flow: in pixels, shape (N, 2, H, W), first to the right, then down.

    Returns:
        grid, shape (N, H, W, 2), normalised (x, y), float32 at least.

    Raises:
        TypeError: the flow is no tensor.
        ValueError: its shape or dtype is wrong.

    Built in chapter 9, without other dtypes.
    """
    _check(flow, "flow", ("N", 2, "H", "W"))
    height, width = flow.shape[2:]
    wide = flow.to(at_least_float32(flow.dtype))
    x, y = _still(height, width, wide)
    along_x = x + wide[:, 0] * (2 / width)
    along_y = y + wide[:, 1] * (2 / height)
    return torch.stack([along_x, along_y], dim=-1)


def grid_flow(grid: Tensor) -> Tensor:
    """The flow of a sampling grid, with source and target of one size.

    Args:
        grid: normalised (x, y), shape (N, H, W, 2).

    Returns:
        flow in pixels, shape (N, 2, H, W), float32 at least.

    Raises:
        TypeError: the grid is no tensor.
        ValueError: its shape or dtype is wrong.

    Built in chapter 9, exercise 9.1, without other dtypes.
    """
    _check(grid, "grid", ("N", "H", "W", 2))
    height, width = grid.shape[1:3]
    wide = grid.to(at_least_float32(grid.dtype))
    x, y = _still(height, width, wide)
    right = (wide[..., 0] - x) * (width / 2)
    down = (wide[..., 1] - y) * (height / 2)
    return torch.stack([right, down], dim=1)


def warp_by_flow(
    input: Tensor,
    flow: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    sampler: Callable[..., Tensor] = grid_sample,
) -> Tensor:
    """Resample images through a flow.

    Args:
        input: images, shape (N, C, H, W); a mask of whole numbers with
            ``mode="nearest"`` and the book's own sampler.
        flow: shape (N, 2, H, W), in pixels.
        mode: as in :func:`stn_tutorial.interpolation.grid_sample`.
        padding_mode: as there.
        sampler: called like ``torch.nn.functional.grid_sample``, which is faster
            than the book's.

    Returns:
        shape (N, C, H, W), dtype of the input.

    Raises:
        TypeError: input or flow is no tensor.
        ValueError: a shape, dtype or option is wrong.

    Built in chapter 9, without the options.
    """
    grid = flow_grid(flow)
    if input.is_floating_point():
        grid = grid.to(torch.promote_types(grid.dtype, input.dtype))
    return sampler(input, grid, mode, padding_mode, align_corners=False)


def move_points(flow: Tensor, points: Tensor) -> Tensor:
    """Where points of the target lie in the source.

    The other way needs the flow's inverse:
    ``grid_flow(undo_grid(flow_grid(flow)))`` with
    :func:`stn_tutorial.warps.undo_grid`.

    Args:
        flow: shape (N, 2, H, W), in pixels.
        points: (x, y) in pixels of the target, shape (N, K, 2); pixel (0, 0) has its
            centre at x = 0, y = 0. Beyond the image the flow at its border counts.

    Returns:
        (x, y) in pixels of the source, shape (N, K, 2).

    Raises:
        TypeError: flow or points is no tensor.
        ValueError: a shape or dtype is wrong.

    Used in chapter 9.
    """
    _check(flow, "flow", ("N", 2, "H", "W"))
    _check(points, "points", (flow.shape[0], "K", 2))
    half = points.new_tensor([flow.shape[3], flow.shape[2]]) / 2
    places = ((points + 0.5) / half - 1)[:, None]  # (N, 1, K, 2), normalised
    dtype = torch.promote_types(flow.dtype, points.dtype)
    read = F.grid_sample(
        flow.to(dtype), places.to(dtype), padding_mode="border", align_corners=False
    )
    return points + read[:, :, 0].mT  # (N, K, 2)


def jacobian(flow: Tensor) -> Tensor:
    """How much of the source a pixel of the target covers: the Jacobian determinant.

    Args:
        flow: shape (N, 2, H, W), in pixels, at least two rows and columns.

    Returns:
        shape (N, H - 1, W - 1), by differences to the right and downwards. 1 where
        nothing is stretched, 2 where two pixels are drawn into one; 0 or less where the
        flow folds, so that the target shows a place twice and one of them mirrored.

    Raises:
        TypeError: the flow is no tensor.
        ValueError: its shape or dtype is wrong.

    Built in chapter 9.
    """
    _check(flow, "flow", ("N", 2, "H", "W"))
    _check_grid(flow.permute(0, 2, 3, 1))
    right = flow[:, :, :-1, 1:] - flow[:, :, :-1, :-1]  # (N, 2, H - 1, W - 1)
    down = flow[:, :, 1:, :-1] - flow[:, :, :-1, :-1]
    return (1 + right[:, 0]) * (1 + down[:, 1]) - right[:, 1] * down[:, 0]


def charbonnier(value: Tensor, bend: float = 0.1) -> Tensor:
    """A penalty that is square near 0 and straight far from it.

    Args:
        value: any shape.
        bend: where the one turns into the other.

    Built in chapter 9.
    """
    return (value.square() + bend**2).sqrt() - bend


def roughness(flow: Tensor, penalty: Penalty = torch.square) -> Tensor:
    """The mean penalty on how much neighbouring vectors of a flow differ.

    Args:
        flow: shape (N, 2, H, W), in pixels.
        penalty: of each difference. :func:`charbonnier` forgives the jumps at the
            edges of things.

    Returns:
        shape (N,).

    Built in chapter 9.
    """
    right = flow[:, :, :, 1:] - flow[:, :, :, :-1]
    down = flow[:, :, 1:] - flow[:, :, :-1]
    return penalty(right).mean((1, 2, 3)) + penalty(down).mean((1, 2, 3))


def flow_loss(
    source: Tensor,
    target: Tensor,
    flow: Tensor,
    weight: float,
    penalty: Penalty = torch.square,
    padding_mode: str = "zeros",
    sampler: Callable[..., Tensor] = grid_sample,
) -> Tensor:
    """What is left of the difference, and the price of a rough flow.

    Args:
        source: shape (N, C, H, W).
        target: the same shape.
        flow: shape (N, 2, H, W), target to source, in pixels.
        weight: of the roughness.
        penalty: of differences in brightness and in the flow.
        padding_mode: what stands beyond the source.
        sampler: as for :func:`warp_by_flow`.

    Returns:
        shape (N,).

    Built in chapter 9, without the options.
    """
    warped = warp_by_flow(source, flow, "bilinear", padding_mode, sampler)
    left = penalty(warped - target).mean((1, 2, 3))
    return left + weight * roughness(flow, penalty)


@torch.inference_mode(False)  # descent needs gradients, wherever it is called
@without_autocast
def align_flow(
    source: Tensor,
    target: Tensor,
    weight: float,
    penalty: Penalty = torch.square,
    padding_mode: str = "zeros",
    side: int = 8,
    steps: int = 100,
    sampler: Callable[..., Tensor] = grid_sample,
) -> Tensor:
    """Find the flow that warps each source onto its target, by descent.

    It begins on small images and goes on at twice the size again and again.

    Args:
        source: shape (N, C, H, W).
        target: the same shape.
        weight: of the roughness against the difference in brightness.
        penalty: of differences in brightness and in the flow.
        padding_mode: what stands beyond the source.
        side: the shorter side where descent begins, in pixels.
        steps: at each size.
        sampler: as for :func:`warp_by_flow`.

    Returns:
        flow, shape (N, 2, H, W), in pixels, float32 at least.

    Raises:
        TypeError: source or target is no tensor.
        ValueError: a shape, a dtype or an option is wrong.

    Built in chapter 9, without the options.
    """
    _check(source, "source", ("N", "C", "H", "W"))
    _check(target, "target", tuple(source.shape))
    _check_whole("side", side)
    _check_whole("steps", steps)
    dtype = at_least_float32(torch.promote_types(source.dtype, target.dtype))
    # Clones: a tensor made in inference mode cannot be kept for a gradient.
    source = source.detach().to(dtype).clone()
    target = target.detach().to(dtype).clone()
    flow = source.new_zeros(len(source), 2, 1, 1)
    for size in _sizes(side, *source.shape[2:]):
        small, goal = _resize(source, size), _resize(target, size)
        flow = resize_flow(flow, size).requires_grad_()
        optimiser = torch.optim.Adam([flow], lr=0.2)  # pixels
        for _ in range(steps):
            losses = flow_loss(
                small, goal, flow, weight, penalty, padding_mode, sampler
            )
            optimiser.zero_grad()
            losses.sum().backward()
            optimiser.step()
        flow = flow.detach()
    return flow


def resize_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """The same flow for images of another size: its vectors are scaled with them.

    Args:
        flow: shape (N, 2, h, w), in pixels.
        size: (H, W), in pixels.

    Returns:
        shape (N, 2, H, W).

    Raises:
        TypeError: the flow is no tensor.
        ValueError: its shape or dtype is wrong.

    Used in chapter 9.
    """
    _check(flow, "flow", ("N", 2, "h", "w"))
    (height, width), (old_height, old_width) = size, flow.shape[2:]
    larger = F.interpolate(flow, (height, width), mode="bilinear")
    factors = larger.new_tensor([width / old_width, height / old_height])
    return larger * factors.view(1, 2, 1, 1)


class FlowNet(nn.Module):
    """Two images in, a flow out: a small U-Net, as in VoxelMorph.

    Args:
        channels: of each image.
        width: how many filters the first layer has.

    Built in chapter 9.
    """

    def __init__(self, channels: int = 1, width: int = 16) -> None:
        super().__init__()

        def layer(before: int, after: int, stride: int = 1) -> nn.Sequential:
            convolution = nn.Conv2d(before, after, 3, stride, padding=1)
            return nn.Sequential(convolution, nn.LeakyReLU(0.2))

        twice = 2 * width
        self.fine = layer(2 * channels, width)
        self.halved = layer(width, twice, stride=2)
        down, deep = layer(twice, twice, stride=2), layer(twice, twice)
        self.quartered = nn.Sequential(down, deep)
        self.up_to_half = layer(2 * twice, twice)
        self.up_to_fine = layer(twice + width, width)
        self.enlarge = nn.Upsample(scale_factor=2)
        self.last = nn.Conv2d(width, 2, 3, padding=1, bias=False)
        nn.init.normal_(self.last.weight, std=0.001)  # flows begin near 0

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Say how to warp each source onto its target.

        Args:
            source: shape (N, C, H, W), sides that four divides.
            target: the same shape.

        Returns:
            flow, shape (N, 2, H, W), in pixels, target to source.

        Raises:
            ValueError: the shapes differ, or four does not divide a side.
        """
        if source.shape != target.shape or any(n % 4 for n in source.shape[2:]):
            raise ValueError(
                "expected source and target of one shape (N, C, H, W), with sides that "
                f"four divides, but got {tuple(source.shape)} and "
                f"{tuple(target.shape)}; F.pad adds a border"
            )
        fine = self.fine(torch.cat([source, target], dim=1))  # (N, 16, H, W)
        half = self.halved(fine)  # (N, 32, H / 2, W / 2)
        up = self.enlarge(self.quartered(half))
        up = self.enlarge(self.up_to_half(torch.cat([up, half], dim=1)))
        return self.last(self.up_to_fine(torch.cat([up, fine], dim=1)))


def _still(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Where the pixels are, normalised: x of shape (W,), y of shape (H, 1)."""
    x = pixel_centres(width, False, like.dtype).to(like.device)
    y = pixel_centres(height, False, like.dtype).to(like.device)
    return x, y[:, None]


def _sizes(side: int, height: int, width: int) -> list[tuple[int, int]]:
    """Sizes whose shorter side doubles, up to the whole image's."""
    shorter, sizes = min(height, width), []
    while side < shorter:
        sizes.append((round(height * side / shorter), round(width * side / shorter)))
        side *= 2
    return [*sizes, (height, width)]


def _resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(image, size, mode="bilinear", antialias=True)
