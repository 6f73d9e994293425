"""Affine transforms of the plane, and the sampling grids they make.

A transform ``theta`` has shape (N, 2, 3). It maps *target* (output) coordinates
to *source* (input) coordinates, both in normalised (x, y) with y pointing down.
"""

from collections.abc import Callable, Sequence
from functools import reduce, wraps
from numbers import Integral, Real
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

Number = float | Tensor
P = ParamSpec("P")
R = TypeVar("R")


def without_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """Keep a function that computes places out of ``torch.autocast``.

    Autocast multiplies matrices in half precision, whose numbers are too coarse to
    point at a pixel: next to 1, bfloat16 knows steps of 1/128, two pixels in 512.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        given = (*args, *kwargs.values())
        device = next((e.device.type for e in given if isinstance(e, Tensor)), "cpu")
        known = torch.amp.is_autocast_available(device)
        if not (known and torch.is_autocast_enabled(device)):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return run


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which places are computed: float32 for half precision."""
    return torch.promote_types(dtype, torch.float32)


def samples_where(condition: Tensor) -> list[int]:
    """The samples of a batch for which a condition holds, for an error message.

    Args:
        condition: boolean, shape (N,).

    Returns:
        their numbers. None inside ``torch.compile`` and ``torch.func.vmap``, which do
        not let a program look at values.
    """
    if torch.compiler.is_compiling():
        return []
    try:
        return condition.nonzero().flatten().tolist()
    except RuntimeError:  # what vmap says to it
        return []


def affine(
    a: Number,
    b: Number,
    tx: Number,
    c: Number,
    d: Number,
    ty: Number,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Put six numbers into ``theta = [[a, b, tx], [c, d, ty]]``.

    Each number is a float or a tensor of shape (N,), one entry per sample.
    Gradients flow back to the tensors.

    Args:
        a: how far x moves with x.
        b: how far x moves with y.
        tx: how far all of x is shifted.
        c: how far y moves with x.
        d: how far y moves with y.
        ty: how far all of y is shifted.
        dtype: of theta; if not given, the widest of the tensors', or PyTorch's default.
        device: of theta; if not given, the first tensor's.

    Returns:
        theta, shape (N, 2, 3); N = 1 when all six are floats.

    Raises:
        TypeError: an entry is neither a real number nor a tensor.
        ValueError: an entry is complex or has more than one dimension, or lengths
            differ.

    Paper: equation (1). Built in chapter 1, without tensors as entries.
    """
    given = (a, b, tx, c, d, ty)
    _check_numbers(given)
    tensors = [entry for entry in given if isinstance(entry, Tensor)]
    if dtype is None:
        kinds = [e.dtype for e in tensors if e.is_floating_point()]
        dtype = reduce(torch.promote_types, kinds or [torch.get_default_dtype()])
    if device is None and tensors:
        device = tensors[0].device
    if not dtype.is_floating_point:
        raise ValueError(f"expected real floating point numbers, got {dtype}")
    entries = [
        e.to(device, dtype)
        if isinstance(e, Tensor)
        else torch.tensor(e, dtype=dtype, device=device)
        for e in given
    ]
    lengths = [entry.numel() for entry in entries if entry.numel() != 1]
    if any(n != lengths[0] for n in lengths) or any(e.dim() > 1 for e in entries):
        shapes = [tuple(entry.shape) for entry in entries]
        raise ValueError(
            f"expected floats or tensors of one shape (N,), got shapes {shapes}"
        )
    return torch.stack(torch.broadcast_tensors(*entries), dim=-1).reshape(-1, 2, 3)


def identity(
    n: int = 1,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """The transform that changes nothing.

    Args:
        n: how many of it.
        dtype: as in :func:`affine`.
        device: as in :func:`affine`.

    Returns:
        theta, shape (n, 2, 3).

    Raises:
        ValueError: n is not a whole number from 0 on.

    Built in chapter 1, without ``dtype`` and ``device``.
    """
    _check_whole("n", n, least=0)
    one = affine(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, dtype=dtype, device=device)
    return one.repeat(n, 1, 1)


def translation(
    tx: Number,
    ty: Number,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Move the sampling grid by (tx, ty), in normalised units.

    One unit is half the image. The grid moves by (tx, ty), so the content of the
    output moves the other way.

    Args:
        tx: to the right, a float or shape (N,).
        ty: down, a float or shape (N,).
        dtype: as in :func:`affine`.
        device: as in :func:`affine`.

    Returns:
        theta, shape (N, 2, 3).

    Built in chapter 1, without ``dtype`` and ``device``.
    """
    return affine(1.0, 0.0, tx, 0.0, 1.0, ty, dtype=dtype, device=device)


def scaling(
    sx: Number,
    sy: Number | None = None,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Stretch the sampling grid by sx and sy (sy = sx if not given).

    A factor above 1 makes the grid larger, so the content of the output smaller.

    Args:
        sx: along x, a float or shape (N,).
        sy: along y, a float or shape (N,).
        dtype: as in :func:`affine`.
        device: as in :func:`affine`.

    Returns:
        theta, shape (N, 2, 3).

    Built in chapter 1, without ``dtype`` and ``device``.
    """
    sy = sx if sy is None else sy
    return affine(sx, 0.0, 0.0, 0.0, sy, 0.0, dtype=dtype, device=device)


def rotation(
    angle_deg: Number,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Turn the sampling grid clockwise on the screen by ``angle_deg`` degrees.

    The content of the output turns counter-clockwise. In normalised coordinates
    this is a true rotation for square images only; for others use
    :func:`stn_tutorial.pixels.turn_about`.

    Args:
        angle_deg: in degrees, a float or shape (N,).
        dtype: as in :func:`affine`.
        device: as in :func:`affine`.

    Returns:
        theta, shape (N, 2, 3).

    Raises:
        TypeError, ValueError: as in :func:`affine`.

    Built in chapter 1, without ``dtype`` and ``device``.
    """
    _check_numbers([angle_deg])
    if not isinstance(angle_deg, Tensor):  # a float has digits for any dtype
        wide = at_least_float32(dtype or torch.get_default_dtype())
        angle_deg = torch.as_tensor(angle_deg, dtype=wide, device=device)
    angle = torch.deg2rad(angle_deg)
    cos, sin = torch.cos(angle), torch.sin(angle)
    return affine(cos, -sin, 0.0, sin, cos, 0.0, dtype=dtype, device=device)


def shear(
    kx: Number,
    ky: Number = 0.0,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Slant the sampling grid: x grows by kx * y, and y by ky * x.

    Args:
        kx: how far x moves with y, a float or shape (N,).
        ky: how far y moves with x, a float or shape (N,).
        dtype: as in :func:`affine`.
        device: as in :func:`affine`.

    Returns:
        theta, shape (N, 2, 3).

    Built in chapter 1, without ``dtype`` and ``device``.
    """
    return affine(1.0, kx, 0.0, ky, 1.0, 0.0, dtype=dtype, device=device)


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
    last = theta.new_tensor([0.0, 0.0, 1.0]).expand(theta.shape[0], 1, 3)
    return torch.cat([theta, last], dim=1)


@without_autocast
def compose(*thetas: Tensor) -> Tensor:
    """Chain transforms; the last one is applied to a point first.

    ``compose(A, B)`` maps a point p to A(B(p)), like the matrix product A B.

    Args:
        thetas: at least one tensor of shape (N, 2, 3); N may be 1 to broadcast.

    Returns:
        theta, shape (N, 2, 3).

    Raises:
        ValueError: no transform, one of another shape, batches of different N, or
            dtypes or devices that differ.

    Built in chapter 1.
    """
    _check_chain(thetas)
    product = homogeneous(thetas[0])
    for theta in thetas[1:]:
        product = product @ homogeneous(theta)
    return product[:, :2]


@without_autocast
def invert(theta: Tensor) -> Tensor:
    """The transform that undoes ``theta``.

    A transform that squashes the plane onto a line or a point cannot be undone. Its
    determinant ``a d - b c`` is 0, but for rounding. So ``theta`` is refused if a
    change of its entries in their last digit could make the determinant 0; how small
    or how large the entries are does not matter.

    Args:
        theta: shape (N, 2, 3).

    Returns:
        shape (N, 2, 3), dtype of theta. NaN where theta is NaN.

    Raises:
        ValueError: wrong shape, or a transform that cannot be undone. Inside
            ``torch.compile`` and ``torch.func.vmap``, which do not look at values,
            ``torch.linalg.inv`` raises for a determinant of exactly 0.

    Built in chapter 1, without half precision.
    """
    _check_theta(theta)
    _check_invertible(theta)
    wide = theta.to(at_least_float32(theta.dtype))
    linear, shift = wide[:, :, :2], wide[:, :, 2:]
    inverse = torch.linalg.inv(linear)
    return torch.cat([inverse, -inverse @ shift], dim=2).to(theta.dtype)


def normalised_to_pixel_matrix(
    size: int | Sequence[int], align_corners: bool
) -> Tensor:
    """The matrix that takes normalised (x, y) to pixel (x, y) in one image.

    Args:
        size: (H, W) in pixels, or one number for a square. Pixel (0, 0) has its
            *centre* at x = 0, y = 0.
        align_corners: if True, -1 and 1 are the centres of the first and last
            pixel; if False, their outer edges.

    Returns:
        shape (1, 2, 3).

    Raises:
        TypeError: align_corners is not True or False.
        ValueError: size is not two positive integers, or a side is one pixel
            long under ``align_corners=True`` (its -1 and 1 would be one point).

    Built in chapter 1, without one number for a square.
    """
    _check_align_corners(align_corners)
    height, width = pair(size)
    if align_corners and (height == 1 or width == 1):
        raise ValueError(
            f"align_corners=True cannot describe a side of one pixel, got size "
            f"{(height, width)}; use align_corners=False"
        )
    less = 1 if align_corners else 0
    span_x, span_y = (width - less) / 2, (height - less) / 2
    return affine(span_x, 0.0, (width - 1) / 2, 0.0, span_y, (height - 1) / 2)


def pixel_to_normalised(
    matrix: Tensor,
    in_size: int | Sequence[int],
    out_size: int | Sequence[int],
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
    _check_theta(matrix)
    wide = matrix.to(at_least_float32(matrix.dtype))
    to_pixel = normalised_to_pixel_matrix(out_size, align_corners).to(wide)
    from_pixel = invert(normalised_to_pixel_matrix(in_size, align_corners).to(wide))
    return compose(from_pixel, wide, to_pixel).to(matrix.dtype)


def normalised_to_pixel(
    theta: Tensor,
    in_size: int | Sequence[int],
    out_size: int | Sequence[int],
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
    _check_theta(theta)
    wide = theta.to(at_least_float32(theta.dtype))
    to_pixel = normalised_to_pixel_matrix(in_size, align_corners).to(wide)
    from_pixel = invert(normalised_to_pixel_matrix(out_size, align_corners).to(wide))
    return compose(to_pixel, wide, from_pixel).to(theta.dtype)


def angle_in(theta: Tensor) -> Tensor:
    """The angle of a transform: that of the rotation nearest to it.

    A :func:`rotation` by 30 degrees holds 30, whatever scale and shift come with it. A
    mirror, and a theta of zeros, are as far from all rotations: they give 0.

    Args:
        theta: shape (N, 2, 3).

    Returns:
        angles in degrees, from -180 to 180, shape (N,).

    Raises:
        ValueError: theta is not a floating (N, 2, 3).

    Built in chapter 4.
    """
    _check_theta(theta)
    sine = theta[:, 1, 0] - theta[:, 0, 1]
    cosine = theta[:, 0, 0] + theta[:, 1, 1]
    return torch.atan2(sine, cosine).rad2deg()


def pair(size: int | Sequence[int]) -> tuple[int, int]:
    """The height and width of an image: one number stands for both.

    Args:
        size: H and W, or one number for a square.

    Returns:
        (H, W).

    Raises:
        ValueError: neither one nor two positive whole numbers.
    """
    sides: tuple = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(sides) != 2 or not all(_is_whole(n) and n >= 1 for n in sides):
        raise ValueError(
            f"expected a size (H, W) of positive whole numbers, or one such number for "
            f"a square, but got {size!r}"
        )
    return sides


def pixel_centres(
    n: int, align_corners: bool, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Normalised coordinates of the n pixel centres along one side, shape (n,).

    With ``align_corners=False`` the outer ones stand half a pixel inside -1 and 1;
    with True they stand on them. One lone pixel has its centre at 0.

    Raises:
        TypeError: align_corners is not True or False.
        ValueError: n is not a whole number from 0 on.

    Built in chapter 1.
    """
    _check_whole("n", n, least=0)
    _check_align_corners(align_corners)
    span = n - 1 if align_corners else n
    return (2 * torch.arange(n, dtype=dtype) - (n - 1)) / max(span, 1)


def affine_grid(
    theta: Tensor, size: Sequence[int], align_corners: bool = False
) -> Tensor:
    """Where each output pixel looks in the input: the sampling grid.

    Args:
        theta: target to source, normalised (x, y). Shape (N, 2, 3), or (1, 2, 3) for
            one transform that serves the whole batch. Half precision (float16,
            bfloat16) is too coarse for places: the grid is computed in float32.
        size: (N, C, H, W) of the output image.
        align_corners: if True, -1 and 1 are the centres of the corner pixels; if
            False (the book's choice), the outer edges of the image.

    Returns:
        grid, shape (N, H, W, 2), the last axis (x, y); dtype of theta, but float32 for
        half precision. Gradients flow to theta. One theta for a whole batch gives one
        grid in memory, which all images share: clone it before you change a part of
        it in place.

    Raises:
        TypeError: theta is not a tensor, or align_corners not True or False.
        ValueError: theta is not a floating (N, 2, 3), size is not (N, C, H, W) of
            positive integers, or theta holds neither one transform nor N.

    Paper: equation (1). Built in chapter 1, without half precision. Same results as
    ``torch.nn.functional.affine_grid`` in two dimensions, which wants N transforms.
    """
    _check_theta(theta)
    check_output_size(theta, size)
    n, _, height, width = size
    theta = theta.to(at_least_float32(theta.dtype))
    x = pixel_centres(width, align_corners, theta.dtype).to(theta.device)
    y = pixel_centres(height, align_corners, theta.dtype).to(theta.device)
    first, second, shift = theta[..., None, None].unbind(2)
    sources = (first * x + shift) + second * y[:, None]  # (N or 1, 2, H, W)
    return sources.permute(0, 2, 3, 1).expand(n, height, width, 2)


def _is_whole(n: object) -> bool:
    """Whether it is a whole number: Python's, NumPy's, or one that is traced."""
    if isinstance(n, Tensor):
        return n.dim() == 0 and not (n.is_floating_point() or n.is_complex())
    return isinstance(n, (Integral, torch.SymInt))


def _check_whole(name: str, n: int, least: int = 1) -> None:
    if not _is_whole(n) or n < least:
        raise ValueError(
            f"expected {name} to be a whole number from {least} on, but got {n!r}"
        )


def _check_align_corners(align_corners: bool | None) -> None:
    """Refuse a text, which would count as True; None is False, as in PyTorch."""
    if align_corners not in (True, False, None):
        raise TypeError(
            f"expected align_corners to be True or False, but got {align_corners!r}"
        )


def _check_numbers(given: Sequence[Number]) -> None:
    for entry in given:
        if not isinstance(entry, (Tensor, Real, torch.SymInt, torch.SymFloat)):
            raise TypeError(
                "expected real numbers or tensors of them, but got a "
                f"{type(entry).__name__}; torch.as_tensor makes a tensor of an array "
                "or a list"
            )
        if isinstance(entry, Tensor) and entry.is_complex():
            raise ValueError(f"expected real floating point numbers, got {entry.dtype}")


def _check_theta(theta: Tensor) -> None:
    if not isinstance(theta, Tensor):
        raise TypeError(
            f"expected theta to be a tensor of shape (N, 2, 3), but got a "
            f"{type(theta).__name__}; torch.as_tensor makes one of an array or a list"
        )
    if not theta.is_floating_point():
        raise ValueError(
            f"Expected theta to have floating point type, but got {theta.dtype}"
        )
    if theta.dim() != 3 or theta.shape[1:] != (2, 3):
        hint = "; theta[None] makes a batch of it" if theta.shape == (2, 3) else ""
        raise ValueError(
            "Expected a batch of 2D affine matrices of shape Nx2x3, "
            f"but got {tuple(theta.shape)}{hint}"
        )


def check_output_size(theta: Tensor, size: Sequence[int]) -> None:
    """Raise a ValueError unless a grid of this size (N, C, H, W) can come of theta."""
    if (
        not isinstance(size, Sequence)
        or len(size) != 4
        or not all(map(_is_whole, size))
        or size[0] < 0
        or any(n < 1 for n in size[1:])
    ):
        raise ValueError(
            "expected size (N, C, H, W) of the output, with positive whole numbers "
            f"C, H, W, but got {size!r}"
        )
    if theta.shape[0] != 1 and theta.shape[0] != size[0]:
        raise ValueError(
            f"theta holds {theta.shape[0]} transforms, but size asks for {size[0]}"
        )


def _check_chain(thetas: Sequence[Tensor]) -> None:
    if not thetas:
        raise ValueError("compose expected at least one theta of shape (N, 2, 3)")
    for theta in thetas:
        _check_theta(theta)
    lengths = [theta.shape[0] for theta in thetas if theta.shape[0] != 1]
    if any(n != lengths[0] for n in lengths):
        raise ValueError(f"compose expected batches of one N, got {lengths}")
    kinds = [f"{theta.dtype} on {theta.device}" for theta in thetas]
    if len(set(kinds)) > 1:
        raise ValueError(
            f"compose expected thetas of one dtype on one device, got {kinds}; "
            "theta.to(other) makes them alike"
        )


def _check_invertible(theta: Tensor) -> None:
    linear = theta[:, :, :2].to(at_least_float32(theta.dtype))
    tiny = torch.finfo(linear.dtype).tiny
    rows = linear / linear.abs().amax(2, keepdim=True).clamp(min=tiny)
    main, cross = rows[:, 0, 0] * rows[:, 1, 1], rows[:, 0, 1] * rows[:, 1, 0]
    rounding = 2 * torch.finfo(theta.dtype).eps * (main.abs() + cross.abs())
    which = samples_where((main - cross).abs() <= rounding)
    if which:
        raise ValueError(
            "theta has no inverse: it squashes the plane onto a line or a point in "
            f"sample(s) {which}"
        )
