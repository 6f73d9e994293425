"""Affine transforms of the plane, and the sampling grids they make.

A transform ``theta`` has shape (N, 2, 3). It maps *target* (output) coordinates
to *source* (input) coordinates, both in normalised (x, y) with y pointing down.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

Number = float | Tensor


def affine(
    a: Number, b: Number, tx: Number, c: Number, d: Number, ty: Number
) -> Tensor:
    """Put six numbers into ``theta = [[a, b, tx], [c, d, ty]]``.

    Each number is a float or a tensor of shape (N,), one entry per sample.
    Gradients flow back to the tensors.

    Returns:
        theta, shape (N, 2, 3); N = 1 when all six are floats.

    Raises:
        ValueError: an entry has more than one dimension, or lengths differ.

    Paper: equation (1). Built in chapter 1, without tensors as entries.
    """
    given = (a, b, tx, c, d, ty)
    like = next((e for e in given if isinstance(e, Tensor)), torch.empty(0))
    dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
    entries = [torch.as_tensor(e, dtype=dtype, device=like.device) for e in given]
    lengths = {entry.numel() for entry in entries} - {1}
    if len(lengths) > 1 or any(entry.dim() > 1 for entry in entries):
        shapes = [tuple(entry.shape) for entry in entries]
        raise ValueError(
            f"expected floats or tensors of one shape (N,), got shapes {shapes}"
        )
    return torch.stack(torch.broadcast_tensors(*entries), dim=-1).reshape(-1, 2, 3)


def identity(n: int = 1) -> Tensor:
    """The transform that changes nothing, shape (n, 2, 3). Built in chapter 1."""
    return affine(1.0, 0.0, 0.0, 0.0, 1.0, 0.0).repeat(n, 1, 1)


def translation(tx: Number, ty: Number) -> Tensor:
    """Move the sampling grid by (tx, ty), in normalised units.

    One unit is half the image. The grid moves by (tx, ty), so the content of the
    output moves the other way.

    Returns:
        theta, shape (N, 2, 3).

    Built in chapter 1.
    """
    return affine(1.0, 0.0, tx, 0.0, 1.0, ty)


def scaling(sx: Number, sy: Number | None = None) -> Tensor:
    """Stretch the sampling grid by sx and sy (sy = sx if not given).

    A factor above 1 makes the grid larger, so the content of the output smaller.

    Returns:
        theta, shape (N, 2, 3).

    Built in chapter 1.
    """
    sy = sx if sy is None else sy
    return affine(sx, 0.0, 0.0, 0.0, sy, 0.0)


def rotation(angle_deg: Number) -> Tensor:
    """Turn the sampling grid clockwise on the screen by ``angle_deg`` degrees.

    The content of the output turns counter-clockwise. In normalised coordinates
    this is a true rotation for square images only; for others use
    :func:`pixel_to_normalised`.

    Returns:
        theta, shape (N, 2, 3).

    Built in chapter 1.
    """
    angle = torch.deg2rad(torch.as_tensor(angle_deg))
    cos, sin = torch.cos(angle), torch.sin(angle)
    return affine(cos, -sin, 0.0, sin, cos, 0.0)


def shear(kx: Number, ky: Number = 0.0) -> Tensor:
    """Slant the sampling grid: x grows by kx * y, and y by ky * x.

    Returns:
        theta, shape (N, 2, 3).

    Built in chapter 1.
    """
    return affine(1.0, kx, 0.0, ky, 1.0, 0.0)


def homogeneous(theta: Tensor) -> Tensor:
    """Add the row (0, 0, 1), which makes transforms square matrices.

    Args:
        theta: shape (N, 2, 3).

    Returns:
        shape (N, 3, 3).

    Raises:
        ValueError: theta has another shape or is not floating point.

    Built in chapter 1.
    """
    _check_theta(theta)
    last = theta.new_tensor([0.0, 0.0, 1.0]).expand(len(theta), 1, 3)
    return torch.cat([theta, last], dim=1)


def compose(*thetas: Tensor) -> Tensor:
    """Chain transforms; the last one is applied to a point first.

    ``compose(A, B)`` maps a point p to A(B(p)), like the matrix product A B.

    Args:
        thetas: at least one tensor of shape (N, 2, 3); N may be 1 to broadcast.

    Returns:
        theta, shape (N, 2, 3).

    Raises:
        ValueError: no transform, one of another shape, or batches of different N.

    Built in chapter 1.
    """
    if not thetas:
        raise ValueError("compose expected at least one theta of shape (N, 2, 3)")
    product = homogeneous(thetas[0])
    lengths = {len(theta) for theta in thetas} - {1}
    if len(lengths) > 1:
        raise ValueError(f"compose expected batches of one N, got {sorted(lengths)}")
    for theta in thetas[1:]:
        product = product @ homogeneous(theta)
    return product[:, :2]


def invert(theta: Tensor) -> Tensor:
    """The transform that undoes ``theta``.

    Args:
        theta: shape (N, 2, 3).

    Returns:
        shape (N, 2, 3).

    Raises:
        ValueError: wrong shape, or a transform that squashes the plane onto a
            line or a point (zero determinant) and so cannot be undone.

    Built in chapter 1.
    """
    _check_theta(theta)
    linear, shift = theta[:, :, :2], theta[:, :, 2:]
    determinant = torch.linalg.det(linear)
    if (determinant == 0).any():
        which = (determinant == 0).nonzero().flatten().tolist()
        raise ValueError(f"theta has no inverse: determinant 0 in sample(s) {which}")
    inverse = torch.linalg.inv(linear)
    return torch.cat([inverse, -inverse @ shift], dim=2)


def normalised_to_pixel_matrix(size: Sequence[int], align_corners: bool) -> Tensor:
    """The matrix that takes normalised (x, y) to pixel (x, y) in one image.

    Args:
        size: (H, W) in pixels. Pixel (0, 0) has its *centre* at x = 0, y = 0.
        align_corners: if True, -1 and 1 are the centres of the first and last
            pixel; if False, their outer edges.

    Returns:
        shape (1, 2, 3).

    Raises:
        ValueError: size is not two positive integers, or a side is one pixel
            long under ``align_corners=True`` (its -1 and 1 would be one point).

    Built in chapter 1.
    """
    if len(size) != 2 or min(size) < 1:
        raise ValueError(
            f"expected size (H, W) of positive integers, got {tuple(size)}"
        )
    if align_corners and min(size) == 1:
        raise ValueError(
            f"align_corners=True cannot describe a side of one pixel, got size "
            f"{tuple(size)}; use align_corners=False"
        )
    height, width = size
    less = 1 if align_corners else 0
    span_x, span_y = (width - less) / 2, (height - less) / 2
    return affine(span_x, 0.0, (width - 1) / 2, 0.0, span_y, (height - 1) / 2)


def pixel_to_normalised(
    matrix: Tensor,
    in_size: Sequence[int],
    out_size: Sequence[int],
    align_corners: bool = False,
) -> Tensor:
    """Rewrite a matrix given in pixels as ``theta`` in normalised coordinates.

    Args:
        matrix: shape (N, 2, 3); maps output pixel (x, y) to input pixel (x, y).
        in_size: (H, W) of the input image.
        out_size: (H, W) of the output image.
        align_corners: as in :func:`normalised_to_pixel_matrix`.

    Returns:
        theta, shape (N, 2, 3).

    Raises:
        ValueError: a shape or a size is wrong.

    Built in chapter 1, without other dtypes and devices.
    """
    to_pixel = normalised_to_pixel_matrix(out_size, align_corners).to(matrix)
    from_pixel = invert(normalised_to_pixel_matrix(in_size, align_corners).to(matrix))
    return compose(from_pixel, matrix, to_pixel)


def normalised_to_pixel(
    theta: Tensor,
    in_size: Sequence[int],
    out_size: Sequence[int],
    align_corners: bool = False,
) -> Tensor:
    """Undo :func:`pixel_to_normalised`: rewrite ``theta`` as a matrix in pixels.

    Args:
        theta: shape (N, 2, 3), in normalised coordinates.
        in_size: (H, W) of the input image.
        out_size: (H, W) of the output image.
        align_corners: as in :func:`normalised_to_pixel_matrix`.

    Returns:
        shape (N, 2, 3); maps output pixel (x, y) to input pixel (x, y).

    Raises:
        ValueError: a shape or a size is wrong.

    Named in chapter 1.
    """
    to_pixel = normalised_to_pixel_matrix(in_size, align_corners).to(theta)
    from_pixel = invert(normalised_to_pixel_matrix(out_size, align_corners).to(theta))
    return compose(to_pixel, theta, from_pixel)


def pixel_centres(
    n: int, align_corners: bool, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Normalised coordinates of the n pixel centres along one side, shape (n,).

    With ``align_corners=False`` the outer ones stand half a pixel inside -1 and 1;
    with True they stand on them. One lone pixel has its centre at 0.

    Built in chapter 1.
    """
    span = n - 1 if align_corners else n
    return (2 * torch.arange(n, dtype=dtype) - (n - 1)) / max(span, 1)


def affine_grid(
    theta: Tensor, size: Sequence[int], align_corners: bool = False
) -> Tensor:
    """Where each output pixel looks in the input: the sampling grid.

    Args:
        theta: target to source, normalised (x, y). Shape (N, 2, 3), or (1, 2, 3) for
            one transform that serves the whole batch.
        size: (N, C, H, W) of the output image.
        align_corners: if True, -1 and 1 are the centres of the corner pixels; if
            False (the book's choice), the outer edges of the image.

    Returns:
        grid, shape (N, H, W, 2), the last axis (x, y). Gradients flow to theta. One
        theta for a whole batch gives one grid in memory, which all images share:
        clone it before you change a part of it in place.

    Raises:
        ValueError: theta is not a floating (N, 2, 3), size is not (N, C, H, W) of
            positive integers, or theta holds neither one transform nor N.

    Paper: equation (1). Built in chapter 1. Same results as
    ``torch.nn.functional.affine_grid`` in two dimensions, which wants N transforms.
    """
    _check_theta(theta)
    if len(size) != 4 or min(size[1:]) < 1:
        raise ValueError(
            f"expected size (N, C, H, W) with positive C, H, W, got {tuple(size)}"
        )
    n, _, height, width = size
    if len(theta) not in (1, n):
        raise ValueError(f"theta holds {len(theta)} transforms, but size asks for {n}")
    x = pixel_centres(width, align_corners, theta.dtype).to(theta.device)
    y = pixel_centres(height, align_corners, theta.dtype).to(theta.device)
    first, second, shift = theta[..., None, None].unbind(2)
    sources = (first * x + shift) + second * y[:, None]  # (N or 1, 2, H, W)
    return sources.permute(0, 2, 3, 1).expand(n, height, width, 2)


def _check_theta(theta: Tensor) -> None:
    if not theta.is_floating_point():
        raise ValueError(
            f"Expected theta to have floating point type, but got {theta.dtype}"
        )
    if theta.dim() != 3 or theta.shape[1:] != (2, 3):
        raise ValueError(
            "Expected a batch of 2D affine matrices of shape Nx2x3, "
            f"but got {tuple(theta.shape)}"
        )
