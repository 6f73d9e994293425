"""Warps that bend more than an affine one: projective and thin-plate spline.

Like :func:`stn_tutorial.affine.affine_grid`, each function here turns a few numbers
per image into a sampling grid, from target to source, in normalised (x, y): -1 and 1
are the outer edges of the image (``align_corners=False``).
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stn_tutorial.affine import pixel_centres

CORNERS = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))


def target_points(size: Sequence[int], like: Tensor) -> Tensor:
    """The centre of every output pixel, normalised (x, y), shape (H * W, 2).

    Args:
        size: (N, C, H, W) of the output image.
        like: a tensor whose dtype and device the points get.

    Used in chapter 6.
    """
    x, y = (pixel_centres(n, False, like.dtype) for n in (size[3], size[2]))
    return torch.cartesian_prod(y, x).flip(1).to(like.device)


def projective_grid(theta: Tensor, size: Sequence[int]) -> Tensor:
    """The sampling grid of a projective transform, as a tilted page is seen.

    The matrix ``[[a, b, c], [d, e, f], [g, h, 1]]`` sends (x, y, 1) to (u, v, w),
    which stands for the point (u / w, v / w). Where w would fall below 0.1 (at and
    behind the horizon) it is kept at 0.1.

    Args:
        theta: the numbers a to h, shape (N, 8), or (1, 8) for one transform that
            serves the whole batch. The identity is ``1, 0, 0, 0, 1, 0, 0, 0``.
        size: (N, C, H, W) of the output image.

    Returns:
        grid, shape (N, H, W, 2). Gradients flow to theta. One theta for a
        whole batch gives one grid in memory, which all images share.

    Raises:
        ValueError: theta is not a floating (N, 8), or size does not fit it.

    Paper: section 3.2 names this transform. Used in chapter 6.
    """
    _check(theta, (8,), size)
    matrix = torch.cat([theta, torch.ones_like(theta[:, :1])], 1).view(-1, 3)
    points = target_points(size, theta)
    points = torch.cat([points, torch.ones_like(points[:, :1])], 1)
    planes = matrix @ points.T
    u_and_v, w = planes.view(-1, 3, size[2], size[3]).split([2, 1], dim=1)
    grid = (u_and_v / w.clamp(min=0.1)).permute(0, 2, 3, 1)
    return grid.expand(size[0], -1, -1, -1)


def projective_from_corners(corners: Tensor) -> Tensor:
    """The projective transform that sends the image's corners to given points.

    Four points give eight linear equations for the eight numbers:
    ``a x + b y + c - (g x + h y) u = u``, and the like for v.

    Args:
        corners: where the corners (-1, -1), (1, -1), (1, 1), (-1, 1) of the target go
            in the source, normalised (x, y), shape (N, 4, 2).

    Returns:
        theta, shape (N, 8), as :func:`projective_grid` takes it.

    Raises:
        ValueError: corners is not a floating (N, 4, 2).

    Used in chapter 6.
    """
    if not corners.is_floating_point() or corners.shape[1:] != (4, 2):
        raise ValueError(
            "expected floating point corners of shape (N, 4, 2), but got "
            f"{corners.dtype} of shape {tuple(corners.shape)}"
        )
    u, v = corners.unbind(2)
    target = corners.new_tensor(CORNERS).expand_as(corners)
    point = torch.cat([target, torch.ones_like(target[:, :, :1])], 2)
    zero = torch.zeros_like(point)
    rows_u = torch.cat([point, zero, -u[:, :, None] * target], 2)
    rows_v = torch.cat([zero, point, -v[:, :, None] * target], 2)
    return torch.linalg.solve(torch.cat([rows_u, rows_v], 1), torch.cat([u, v], 1))


def undo_projective(grid: Tensor) -> Tensor:
    """The sampling grid that undoes another one: it takes every point back.

    A transform that is known can be undone exactly, as the best of all spatial
    transformers would do it. What its image has lost stays lost. Four points of the
    grid tell the transform. They lie half-way to the corners, since at a corner
    :func:`projective_grid` may have met the horizon.

    Args:
        grid: of a projective or an affine transform, shape (N, H, W, 2), with at least
            two rows and columns.

    Returns:
        grid, shape (N, H, W, 2). Gradients flow to the input.

    Raises:
        ValueError: grid is not floating, or not of such a shape.

    Used in chapter 6.
    """
    if (
        not grid.is_floating_point()
        or grid.dim() != 4
        or grid.shape[3] != 2
        or min(grid.shape[1:3]) < 2
    ):
        raise ValueError(
            "expected a floating point grid of shape (N, H, W, 2) with at least two "
            f"rows and columns, but got {grid.dtype} of shape {tuple(grid.shape)}"
        )
    n, height, width, _ = grid.shape
    left, top = width // 4, height // 4
    right, low = width - 1 - left, height - 1 - top
    points = grid[:, [top, top, low, low], [left, right, right, left]].double()
    matrix = F.pad(projective_from_corners(points), (0, 1), value=1).view(n, 3, 3)
    # It sends (-1, -1) and so on to those points; they lie that far from the middle:
    scale = grid.new_tensor([(right - left) / width, (low - top) / height, 1]).double()
    back = (scale[:, None] * torch.linalg.inv(matrix)).flatten(1)
    theta = (back / back[:, 8:])[:, :8]
    return projective_grid(theta, (n, 1, height, width)).to(grid)


def control_points(side: int = 4) -> Tensor:
    """A regular lattice of side x side points from -1 to 1, shape (side * side, 2).

    Used in chapter 6.
    """
    line = torch.linspace(-1, 1, side)
    return torch.cartesian_prod(line, line).flip(1)


def thin_plate_spline_grid(points: Tensor, size: Sequence[int]) -> Tensor:
    """The sampling grid of a thin-plate spline, the smoothest bend through points.

    In the target the control points are the regular lattice
    :func:`control_points`; ``points`` says where each looks in the source. Every
    other pixel looks where a thin steel sheet would, bent through those points.
    The grid is linear in ``points``, so one matrix, the same for all images, makes it.

    Args:
        points: places in the source, normalised (x, y), shape (N, K, 2), or (1, K, 2)
            for one bend that serves the whole batch; K is the square of a whole
            number, 16 in the paper.
        size: (N, C, H, W) of the output image.

    Returns:
        grid, shape (N, H, W, 2). Gradients flow to points. One bend for a
        whole batch gives one grid in memory, which all images share.

    Raises:
        ValueError: points is not a floating (N, K, 2) of such a K, or size does not
            fit it.

    Paper: section 3.2 names this transform, after Bookstein (1989). Used in
    chapter 6.
    """
    side = round(points.shape[1] ** 0.5) if points.dim() == 3 else 0
    if side < 2 or side**2 != points.shape[1]:
        raise ValueError(
            "expected points of shape (N, K, 2) with K a square number from 4 on, "
            f"but got {tuple(points.shape)}"
        )
    _check(points, (side**2, 2), size)
    matrix = torch.from_numpy(_spline_matrix(side, size[2], size[3])).to(points)
    n, k, _ = points.shape
    planes = points.mT.reshape(2 * n, k) @ matrix.T
    grid = planes.view(n, 2, size[2], size[3]).permute(0, 2, 3, 1)
    return grid.expand(size[0], -1, -1, -1)


@lru_cache
def _spline_matrix(side: int, height: int, width: int) -> np.ndarray:
    """From the places of K control points to those of all pixels: shape (H * W, K).

    A spline is a sum of one bump ``r^2 log r^2`` per control point and an affine
    part. Its K + 3 weights solve a linear system: it passes through the control
    points, and its bumps have no affine part of their own.

    In NumPy: a tensor would remember for good in which of PyTorch's modes it was made.
    """
    line = np.linspace(-1, 1, side)
    control = _lattice(line, line)
    x, y = ((2 * np.arange(n) + 1) / n - 1 for n in (width, height))
    k = len(control)
    system = np.zeros((k + 3, k + 3))
    system[:k] = _spline_terms(control, control)
    system[k:, :k] = system[:k, k:].T
    weights = np.linalg.solve(system, np.eye(k + 3, k))
    return _spline_terms(_lattice(x, y), control) @ weights


def _lattice(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """All points (x, y), row by row."""
    return np.stack(np.meshgrid(x, y), axis=2).reshape(-1, 2)


def _spline_terms(points: np.ndarray, control: np.ndarray) -> np.ndarray:
    """One bump per control point, then 1, x, y: shape (P, K + 3)."""
    square = ((points[:, None] - control) ** 2).sum(axis=2)
    bumps = square * np.log(np.where(square > 0, square, 1))
    return np.hstack([bumps, np.ones((len(points), 1)), points])


def _check(theta: Tensor, shape: tuple[int, ...], size: Sequence[int]) -> None:
    if not theta.is_floating_point() or theta.shape[1:] != shape:
        expected = ", ".join(map(str, ("N", *shape)))
        raise ValueError(
            f"expected floating point numbers of shape ({expected}), but got "
            f"{theta.dtype} of shape {tuple(theta.shape)}"
        )
    if len(size) != 4 or min(size[1:]) < 1 or len(theta) not in (1, size[0]):
        raise ValueError(
            "expected size (N, C, H, W) with positive C, H, W and "
            f"N = {len(theta)}, but got {tuple(size)}"
        )
