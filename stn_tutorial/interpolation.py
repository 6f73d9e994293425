"""Reading an image between its pixels: the differentiable sampler.

:func:`grid_sample` is the paper's sampler (equation 3) for the kernels people use.
Each output value is a short sum over neighbouring pixels, and a kernel weighs them.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_tutorial.affine import (
    _check_align_corners,
    _check_theta,
    _check_whole,
    affine_grid,
    at_least_float32,
    pair,
    samples_where,
    without_autocast,
)

#: The choices of ``padding_mode``, which say what is read outside the image.
PADDINGS = ("zeros", "border", "reflection")


def integer_kernel(distance: Tensor) -> Tensor:
    """1 for the pixel at floor(x + 0.5), else 0. Paper: equation (4).

    Args:
        distance: x - m, in pixels, any shape; m is the pixel's position.

    Used in chapter 2.
    """
    chosen = (torch.floor(distance + 0.5) == 0).to(distance.dtype)
    return torch.where(distance.isnan(), distance, chosen)


def bilinear_kernel(distance: Tensor) -> Tensor:
    """The tent ``max(0, 1 - |x - m|)``. Paper: equation (5).

    At its three kinks (-1, 0 and 1) the gradient is the slope on the right, which
    is PyTorch's choice. (``abs`` would give 0 at the tip.)

    Args:
        distance: x - m, in pixels, any shape.

    Built in chapter 2, as ``tent``.
    """
    slope = torch.where(distance < 0, 1.0, -1.0).to(distance.dtype)
    outside = (distance < -1) | (distance >= 1)
    return torch.where(outside, 0, 1 + slope * distance)


def bicubic_kernel(distance: Tensor) -> Tensor:
    """The cubic convolution kernel of Keys (1981) with a = -0.75, as in PyTorch.

    It is 1 at distance 0, 0 at every other whole number, negative between 1 and
    2, and 0 from 2 on.

    Args:
        distance: x - m, in pixels, any shape.

    Built in chapter 2, exercise 2.1, as ``cubic_kernel``, without a fixed ``a``.
    """
    a, d = -0.75, distance.abs()
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d >= 2, 0, torch.where(d > 1, far, near))


def sample_with_loops(
    image: Tensor, x: Tensor, y: Tensor, kernel: Callable[[Tensor], Tensor]
) -> Tensor:
    """One output value, by the paper's double sum over *all* pixels.

    Slow and plain, to be read and to check :func:`grid_sample` against.

    Args:
        image: shape (H, W); outside it counts as 0.
        x: column to read at, in pixels, a tensor with no dimensions; 0 is the centre
            of the first column.
        y: row to read at, in the same way.
        kernel: a function of the distance in pixels, such as
            :func:`bilinear_kernel`.

    Returns:
        a tensor with no dimensions.

    Raises:
        ValueError: the image is not (H, W).

    Paper: equation (3). Built in chapter 2.
    """
    _check_plane(image)
    height, width = image.shape
    value = torch.zeros_like(image[0, 0])
    for n in range(height):
        for m in range(width):
            value = value + image[n, m] * kernel(x - m) * kernel(y - n)
    return value


def unnormalise(coordinate: Tensor, size: int, align_corners: bool) -> Tensor:
    """From [-1, 1] to pixels along one side; pixel 0 has its centre at 0.

    Args:
        coordinate: normalised x or y, any shape.
        size: W for x, H for y.
        align_corners: whether -1 and 1 are the centres of the outer pixels
            (True) or their outer edges (False).

    Raises:
        TypeError: align_corners is not True or False.
        ValueError: size is not a whole number from 1 on.

    Built in chapter 2, without ``align_corners=True`` and without rounding once only.
    """
    _check_whole("size", size)
    _check_align_corners(align_corners)
    if align_corners:
        return (coordinate + 1) * ((size - 1) / 2)
    # One fused multiply-add, rounded once, as in PyTorch's own sampler: at a whole
    # position a wrong last bit would choose another neighbour.
    return torch.add(coordinate.new_tensor(-0.5), coordinate + 1, alpha=size / 2)


def reflect(position: Tensor, size: int, align_corners: bool) -> Tensor:
    """Fold positions outside the image back in, like a mirror at its border.

    The mirror stands at the centre of the outer pixels (``align_corners=True``) or
    at their outer edge (False).

    Args:
        position: in pixels, any shape.
        size: number of pixels along this side.
        align_corners: where the mirror stands.

    Raises:
        TypeError: align_corners is not True or False.
        ValueError: size is not a whole number from 1 on.

    Built in chapter 2, without ``align_corners=True``.
    """
    _check_whole("size", size)
    _check_align_corners(align_corners)
    low, span = (0.0, size - 1) if align_corners else (-0.5, size)
    if span == 0:
        return 0 * position
    folded = (position - low).abs() % (2 * span)
    return torch.where(folded > span, 2 * span - folded, folded) + low


def clip(position: Tensor, size: int) -> Tensor:
    """Move positions outside the image to its nearest pixel centre.

    At and beyond the first and last centre the gradient is 0, as in PyTorch.

    Args:
        position: in pixels, any shape.
        size: number of pixels along this side.

    Raises:
        ValueError: size is not a whole number from 1 on.

    Used in chapter 2.
    """
    _check_whole("size", size)
    inside = (position > 0) & (position < size - 1)
    return torch.where(inside, position, position.detach().clamp(0, size - 1))


def pad(position: Tensor, size: int, padding_mode: str, align_corners: bool) -> Tensor:
    """Bring positions outside the image back in, unless zeros are asked for.

    Args:
        position: in pixels, any shape.
        size: number of pixels along this side.
        padding_mode: one of ``PADDINGS``.
        align_corners: where ``"reflection"`` has its mirror.

    Raises:
        TypeError: align_corners is not True or False.
        ValueError: an unknown padding_mode, or a size that is not a whole number from
            1 on.

    Used in chapter 2.
    """
    _check_padding(padding_mode)
    _check_whole("size", size)
    _check_align_corners(align_corners)
    if padding_mode == "zeros":
        return position
    if padding_mode == "reflection":
        position = reflect(position, size, align_corners)
    return clip(position, size)


def box_kernel(distance: Tensor) -> Tensor:
    """1 everywhere, for modes that read a single pixel.

    ``0 * distance`` keeps the coordinates in the graph: their gradient is 0, as in
    PyTorch, and not missing.

    Args:
        distance: x - m, in pixels, any shape.

    Used in chapter 2.
    """
    return 1 + 0 * distance


#: The choices of ``mode``, and the kernel of each.
KERNELS = {
    "nearest": box_kernel,
    "integer": box_kernel,
    "bilinear": bilinear_kernel,
    "bicubic": bicubic_kernel,
}


def neighbours(position: Tensor, mode: str) -> Iterator[Tensor]:
    """The pixels along one side that have a say at each position.

    The upper neighbour is floor + 1, never ceil: at a whole position ceil would
    make both neighbours one, and the gradient 0.

    Args:
        position: in pixels, any shape.
        mode: one of ``KERNELS``. ``"nearest"`` rounds halves to the even pixel,
            ``"integer"`` rounds them up (paper: equation (4)).

    Yields:
        whole numbers (float), shaped like position: one for the single-pixel
        modes, two for ``"bilinear"``, four for ``"bicubic"``.

    Raises:
        ValueError: an unknown mode, told when the first of them is asked for.

    Used in chapter 2.
    """
    _check_mode(mode)
    position = position.detach()
    if mode == "nearest":
        yield position.round()
    elif mode == "integer":
        yield torch.floor(position + 0.5)
    else:
        for offset in (0, 1) if mode == "bilinear" else (-1, 0, 1, 2):
            yield torch.floor(position) + offset


def look_up(input: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Read the pixels at whole-numbered (x, y); outside the image stands 0.

    Args:
        input: shape (N, C, H, W).
        x: columns, shape (N, h, w), whole numbers, float; NaN counts as outside.
        y: rows, the same shape.

    Returns:
        shape (N, C, h, w).

    Built in chapter 2.
    """
    n, c, height, width = input.shape
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    index = torch.where(inside, y, 0).long() * width
    index += torch.where(inside, x, 0).int()
    index = index.flatten(1)[:, None].expand(-1, c, -1)
    values = input.flatten(2).gather(2, index).reshape(n, c, *x.shape[1:])
    return values.masked_fill_(~inside[:, None], 0)


@without_autocast
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Tensor:
    """Read ``input`` at the places that ``grid`` names.

    Args:
        input: images, shape (N, C, H, W). Whole numbers and booleans (the labels of a
            mask) in the modes "nearest" and "integer" only.
        grid: shape (N, h, w, 2), normalised (x, y) in the input; values beyond
            -1 and 1 lie outside the image, as does infinity. It needs at least as many
            digits as the input; places and sums are computed in float32 at least.
        mode: ``"nearest"`` (halves to even, as PyTorch), ``"integer"`` (the paper's
            floor(x + 0.5)), ``"bilinear"`` or ``"bicubic"``.
        padding_mode: what stands outside: ``"zeros"``, ``"border"`` (the nearest
            pixel) or ``"reflection"`` (a mirror).
        align_corners: whether -1 and 1 are the centres of the corner pixels (True)
            or the outer edges of the image (False, the book's choice).

    Returns:
        shape (N, C, h, w), dtype of the input. Differentiable in input and grid;
        at whole pixels the gradient is the one from the right (and from below). NaN
        where the grid is NaN, and where it reads a pixel that is NaN.

    Raises:
        TypeError: the input is not a tensor, or align_corners not True or False.
        ValueError: a shape, dtype, device or option is wrong, or a grid for an input
            of whole numbers, which know no NaN, is NaN.

    For the gradient it keeps the pixels and weights of each neighbour: on an image of
    three channels, a step of training holds at its peak five times as much as with
    PyTorch's sampler, in bicubic mode seventeen times. ``benchmarks/sampler.py``
    measures it, and lowers it by strips. Places beyond 2^24 pixels need a grid of
    float64.

    Paper: section 3.3, equation (3). Built in chapter 2, as ``sample``, without the
    options. Same results as ``torch.nn.functional.grid_sample`` in two dimensions.
    """
    _check(input, grid, mode, padding_mode)
    height, width = input.shape[2:]
    grid = grid.to(at_least_float32(grid.dtype))
    far = 2 / torch.finfo(grid.dtype).eps - 4  # beyond, x and x + 1 are one number
    x = unnormalise(grid[..., 0], width, align_corners).clamp(-far, far)
    y = unnormalise(grid[..., 1], height, align_corners).clamp(-far, far)
    # A bicubic sum pads each of its neighbours, the other modes pad the position.
    first, then = padding_mode, "zeros"
    if mode == "bicubic":
        first, then = then, first
    x = pad(x, width, first, align_corners)
    y = pad(y, height, first, align_corners)
    if not input.is_floating_point():  # a mask: its one neighbour, copied as it is
        (column,), (row,) = neighbours(x, mode), neighbours(y, mode)
        return look_up(input, column, row)
    kernel, output = KERNELS[mode], grid.new_zeros(())
    along_y = [kernel(y - n)[:, None] for n in neighbours(y, mode)]
    for m in neighbours(x, mode):
        along_x = kernel(x - m)[:, None]
        column = pad(m, width, then, align_corners)
        for n, share in zip(neighbours(y, mode), along_y, strict=True):
            row = pad(n, height, then, align_corners)
            output = torch.addcmul(output, look_up(input, column, row), along_x * share)
    return output.to(input.dtype)


@without_autocast
def warp(
    input: Tensor,
    theta: Tensor,
    size: int | Sequence[int] | None = None,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Tensor:
    """Resample images through affine transforms: a grid, then the sampler.

    Args:
        input: images, shape (N, C, H, W), or (1, C, H, W) for one image that N
            transforms read; masks too, as in :func:`grid_sample`.
        theta: shape (N, 2, 3), or (1, 2, 3) for one transform that serves all images;
            target to source, normalised. All its digits count, also for an image of
            half precision.
        size: (h, w) of the output, or one number for a square; the input's own if not
            given.
        mode: as in :func:`grid_sample`.
        padding_mode: as in :func:`grid_sample`.
        align_corners: as in :func:`grid_sample`.

    Returns:
        shape (N, C, h, w), dtype of the input.

    Raises:
        TypeError: input or theta is not a tensor, or align_corners not True or False.
        ValueError: a shape, dtype or option is wrong.

    Built in chapter 2, without the sampler's options.
    """
    _check_images(input)
    _check_theta(theta)
    height, width = input.shape[2:] if size is None else pair(size)
    n = theta.shape[0] if input.shape[0] == 1 else input.shape[0]
    if theta.shape[0] != 1 and theta.shape[0] != n:
        raise ValueError(
            f"expected one theta, or one for each image, but got {theta.shape[0]} "
            f"thetas for {n} images"
        )
    input = input.expand(n, -1, -1, -1)
    digits = input.dtype if input.is_floating_point() else theta.dtype
    theta = theta.to(input.device, torch.promote_types(theta.dtype, digits))
    grid = affine_grid(theta, (n, 1, height, width), align_corners)
    return grid_sample(input, grid, mode, padding_mode, align_corners)


@without_autocast
def blur(input: Tensor, sigma: float | Sequence[float]) -> Tensor:
    """Gaussian low-pass filter: spread each pixel over its surroundings.

    Blur before you shrink, or a fine pattern comes back as a false coarse one; blur
    before you align, and the gradient sees further. Outside stands the border.

    Args:
        input: images, shape (N, C, H, W).
        sigma: width of the bell curve, in pixels, which is cut off at 4 sigma; or one
            down and one across, in the order of (H, W). 0 leaves an axis as it is.

    Returns:
        shape (N, C, H, W), dtype of the input.

    Raises:
        ValueError: a shape or dtype is wrong, or sigma is negative or not finite.

    Built in chapter 2, without other dtypes and devices, and for one whole ``sigma``.
    """
    _check_images(input)
    _check_floating(input)
    sigmas = (sigma, sigma) if isinstance(sigma, (int, float)) else tuple(sigma)
    if len(sigmas) != 2 or not all(0 <= s < math.inf for s in sigmas):
        raise ValueError(
            "expected sigma in pixels, 0 or more, or one down and one across, "
            f"but got {sigma!r}"
        )
    wide = input.to(at_least_float32(input.dtype))
    down, across = (_bell(s, wide) for s in sigmas)
    right, below = across.shape[0] // 2, down.shape[0] // 2
    planes = wide.flatten(0, 1)[:, None]  # (N * C, 1, H, W)
    padded = F.pad(planes, [right, right, below, below], mode="replicate")
    blurred = F.conv2d(padded, across.view(1, 1, 1, -1))
    blurred = F.conv2d(blurred, down.view(1, 1, -1, 1))
    return blurred.view_as(input).to(input.dtype)


def _bell(sigma: float, like: Tensor) -> Tensor:
    """The weights of a Gaussian, from 4 sigma left of its middle to 4 sigma right."""
    reach = int(4 * sigma + 0.5)
    x = torch.arange(-reach, reach + 1, dtype=like.dtype, device=like.device)
    return ((x / (sigma or 1)) ** 2 / -2).softmax(dim=0)


def _check_plane(image: Tensor) -> None:
    if image.dim() != 2:
        raise ValueError(
            f"expected one image of shape (H, W), but got {tuple(image.shape)}"
        )


def _check_mode(mode: str) -> None:
    if mode not in KERNELS:
        raise ValueError(
            f"expected mode to be one of {list(KERNELS)}, but got: '{mode}'"
        )


def _check_padding(padding_mode: str) -> None:
    if padding_mode not in PADDINGS:
        raise ValueError(
            f"expected padding_mode to be one of {list(PADDINGS)}, "
            f"but got: '{padding_mode}'"
        )


def _check(input: Tensor, grid: Tensor, mode: str, padding_mode: str) -> None:
    _check_mode(mode)
    _check_padding(padding_mode)
    _check_images(input)
    if not isinstance(grid, Tensor) or grid.dim() != 4 or grid.shape[-1] != 2:
        raise ValueError(
            "expected grid to have size 2 in last dimension, shape (N, h, w, 2), "
            f"but got {_kind(grid)}"
        )
    if input.shape[0] != grid.shape[0]:
        raise ValueError(
            "expected grid and input to have same batch size, "
            f"but got input {tuple(input.shape)} and grid {tuple(grid.shape)}"
        )
    if input.device != grid.device:
        raise ValueError(
            "expected input and grid on the same device, "
            f"but got {input.device} and {grid.device}"
        )
    if not grid.is_floating_point():
        raise ValueError(f"expected a grid of floating point type, got {grid.dtype}")
    if mode in ("nearest", "integer") and not input.is_floating_point():
        _check_copied(input, grid)
        return
    _check_floating(input)
    if torch.finfo(grid.dtype).bits < torch.finfo(input.dtype).bits:
        raise ValueError(
            "expected input and grid of the same type, or a grid with more digits, "
            f"but got {input.dtype} and {grid.dtype}"
        )


def _check_images(input: Tensor) -> None:
    if not isinstance(input, Tensor):
        raise TypeError(
            "expected input to be a tensor of shape (N, C, H, W), but got "
            f"{_kind(input)}; torch.as_tensor makes one of an array"
        )
    if input.dim() != 4:
        raise ValueError(
            "expected input of shape (N, C, H, W), with a batch axis and a channel "
            f"axis, but got {_kind(input)}"
        )
    if 0 in input.shape[2:]:
        raise ValueError(
            "expected input to have non-empty spatial dimensions, "
            f"shape (N, C, H, W), but got {tuple(input.shape)}"
        )


def _check_floating(input: Tensor) -> None:
    if not input.is_floating_point():
        raise ValueError(
            "expected input of floating point type, in [0, 1] for an image "
            '(of bytes: image / 255), or mode="nearest" for a mask of labels, '
            f"but got {input.dtype}"
        )


def _check_copied(input: Tensor, grid: Tensor) -> None:
    """Whole numbers are copied; complex ones are not, and none of them knows NaN."""
    if input.is_complex():
        raise ValueError(f"expected input of a real type, but got {input.dtype}")
    if input.dtype in (torch.uint16, torch.uint32, torch.uint64):
        raise ValueError(
            f"PyTorch cannot look up pixels of {input.dtype}: input.to(torch.int32) or "
            "input.to(torch.int64) holds the same numbers"
        )
    which = samples_where(grid.isnan().flatten(1).any(1))
    if which:
        raise ValueError(
            f"expected a grid of numbers, but in sample(s) {which} it is NaN, which an "
            f"output of {input.dtype} cannot say"
        )


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"shape {tuple(value.shape)}"
    name = f"{type(value).__module__}.{type(value).__name__}"
    return f"a {name.removeprefix('builtins.')}"
