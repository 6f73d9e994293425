"""Aligning two photographs of one scene: descent on a projective transform."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_tutorial.affine import (
    _check_whole,
    at_least_float32,
    pair,
    without_autocast,
)
from stn_tutorial.interpolation import grid_sample
from stn_tutorial.warps import CORNERS, _check, projective_grid

#: The share of the target in which some patch may look alike by chance.
LEAST = 0.1
#: The numbers of the identity.
STILL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


def correlation(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """How much alike two images are, whatever the brightness and contrast of each.

    Args:
        a: shape (N, C, H, W).
        b: the same shape.
        weight: how much each pixel counts, 0 to 1, shape (N, 1, H, W).

    Returns:
        shape (N,), from -1 to 1, where 1 says that one image is the other but for
        brightness and contrast; 0 where an image is of one grey. NaN where one of
        them is NaN, also where the weight is 0.

    Raises:
        ValueError: the shapes do not fit.

    Built in chapter 9.
    """
    if a.dim() != 4 or a.shape != b.shape or weight.shape != (len(a), 1, *a.shape[2:]):
        raise ValueError(
            "expected two images of one shape (N, C, H, W) and a weight of shape "
            f"(N, 1, H, W), but got {tuple(a.shape)}, {tuple(b.shape)} and "
            f"{tuple(weight.shape)}"
        )
    weight = weight / weight.mean((1, 2, 3), keepdim=True).clamp(min=1e-6)
    a = a - (weight * a).mean((1, 2, 3), keepdim=True)
    b = b - (weight * b).mean((1, 2, 3), keepdim=True)
    both = (weight * a * b).mean((1, 2, 3))
    spread = (weight * a * a).mean((1, 2, 3)) * (weight * b * b).mean((1, 2, 3))
    return both / (spread + 1e-8).sqrt()


def difference_of_views(
    source: Tensor,
    target: Tensor,
    theta: Tensor,
    sampler: Callable[..., Tensor] = grid_sample,
) -> Tensor:
    """1 minus the correlation, where the warped source has something to show.

    Args:
        source: shape (N, C, H, W).
        target: shape (N, C, h, w).
        theta: shape (N, 8), target to source, as for
            :func:`stn_tutorial.warps.projective_grid`.
        sampler: called like ``torch.nn.functional.grid_sample``, which is faster
            than the book's.

    Returns:
        shape (N,), from 0 (alike) to 2. It is 1, and gives no slope, where the two
        overlap in less than a tenth of the target, since in so little some patch fits
        by chance.

    Built in chapter 9, without other samplers.
    """
    white = torch.ones_like(source[:, :1])
    grid = projective_grid(theta, target.shape)
    warped = sampler(torch.cat([source, white], 1), grid, align_corners=False)
    shown, inside = warped[:, :-1], warped[:, -1:]
    alike = correlation(shown / inside.clamp(min=1e-3), target, inside)
    return 1 - alike.masked_fill(inside.mean((1, 2, 3)) < LEAST, 0)


@torch.inference_mode(False)  # descent needs gradients, wherever it is called
@without_autocast
def align_projective(
    source: Tensor,
    target: Tensor,
    start: Tensor | None = None,
    side: int = 12,
    steps: int = 60,
    sampler: Callable[..., Tensor] = grid_sample,
) -> tuple[Tensor, Tensor]:
    """Find the projective transform that warps each source onto its target.

    Two photographs of a plane, or of anything from one place, differ by such a
    transform. Descent raises their correlation, first on images whose shorter side is
    12 pixels, then at twice the size again and again, in smaller steps.

    Args:
        source: photographs, shape (N, C, H, W).
        target: what they shall look like, shape (N, C, h, w).
        start: theta to start from, shape (N, 8), such as what matched points say; the
            identity if not given.
        side: the shorter side where descent begins, in pixels. From a good start begin
            large, or the way to it is lost.
        steps: of gradient descent, at each size.
        sampler: as for :func:`difference_of_views`.

    Returns:
        theta, shape (N, 8), target to source, float32 at least; and the correlation
        that it reaches, shape (N,). If that is low, the way was not found.

    Raises:
        TypeError: source, target or start is no tensor.
        ValueError: a shape, a dtype or an option is wrong.

    Built in chapter 9, without a start.
    """
    _check(source, "source", ("N", "C", "H", "W"))
    _check(target, "target", (source.shape[0], source.shape[1], "h", "w"))
    _check_whole("side", side)
    _check_whole("steps", steps)
    dtype = at_least_float32(torch.promote_types(source.dtype, target.dtype))
    # Clones: a tensor made in inference mode cannot be kept for a gradient.
    source = source.detach().to(dtype).clone()
    target = target.detach().to(dtype).clone()
    if start is None:
        start = source.new_tensor(STILL).expand(len(source), -1)
    _check(start, "start", (source.shape[0], 8))
    theta = start.detach().to(source).clone()
    for length in _lengths(side, max(min(source.shape[2:]), min(target.shape[2:]))):
        small, goal = _resize(source, length), _resize(target, length)
        theta = theta.clone().requires_grad_()
        optimiser = torch.optim.Adam([theta], lr=0.3 / length)
        for _ in range(steps):
            loss = difference_of_views(small, goal, theta, sampler).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        theta = theta.detach()
    return theta, 1 - difference_of_views(source, target, theta, sampler)


def corner_error(found: Tensor, true: Tensor, size: int | tuple[int, int]) -> Tensor:
    """How far apart two transforms send the corners of the target.

    Args:
        found: shape (N, 8).
        true: the same shape.
        size: (H, W) of the source.

    Returns:
        the mean distance over the four corners, in pixels of the source, shape (N,).

    Raises:
        TypeError: one of them is no tensor.
        ValueError: a shape or the size is wrong.

    Used in chapter 9.
    """
    _check(found, "found", ("N", 8))
    _check(true, "true", (found.shape[0], 8))
    height, width = pair(size)
    corners = F.pad(true.new_tensor(CORNERS), (0, 1), value=1)  # (4, 3)
    ends = []
    for theta in (found, true):
        u_v_w = corners @ F.pad(theta.to(true), (0, 1), value=1).view(-1, 3, 3).mT
        ends.append(u_v_w[..., :2] / u_v_w[..., 2:])  # (N, 4, 2)
    half = true.new_tensor([width / 2, height / 2])  # pixels in a normalised unit
    return ((ends[0] - ends[1]) * half).norm(dim=-1).mean(1)


def _lengths(side: int, last: int) -> Iterator[int]:
    """A side, twice that, and so on; then the whole length."""
    while side < last:
        yield side
        side *= 2
    yield last


def _resize(image: Tensor, side: int) -> Tensor:
    """Bring the shorter side to a length, without false patterns; never enlarge."""
    factor = side / min(image.shape[2:])
    if factor >= 1:
        return image
    size = [round(n * factor) for n in image.shape[2:]]
    return F.interpolate(image, size, mode="bilinear", antialias=True)
