"""Pooling, and measures of what it gives and what it destroys."""

from collections.abc import Callable, Iterable
from numbers import Integral

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_tutorial.affine import _check_whole, at_least_float32, translation
from stn_tutorial.interpolation import _check_images, warp


def windows(input: Tensor, kernel_size: int, stride: int) -> Tensor:
    """All square windows of an image, as views without copying.

    Args:
        input: shape (N, C, H, W).
        kernel_size: side of a window, in pixels.
        stride: step from one window to the next, in pixels.

    Returns:
        shape (N, C, h, w, kernel_size, kernel_size) with
        h = (H - kernel_size) // stride + 1, and w likewise. A rest at the right
        and lower edge that fills no window is left out.

    Raises:
        TypeError: the input is not a tensor.
        ValueError: the input is not (N, C, H, W), a number is below 1, or the
            window is larger than the image.

    Built in chapter 3.
    """
    _check_images(input)
    if kernel_size < 1 or stride < 1:
        raise ValueError(
            "expected kernel_size and stride of at least 1, "
            f"but got {kernel_size} and {stride}"
        )
    if kernel_size > min(input.shape[2:]):
        raise ValueError(
            f"expected an image of at least {kernel_size} x {kernel_size} pixels "
            f"for this window, but got {tuple(input.shape)}"
        )
    rows = input.unfold(2, kernel_size, stride)
    return rows.unfold(3, kernel_size, stride)


def max_pool2d(
    input: Tensor, kernel_size: int = 2, stride: int | None = None
) -> Tensor:
    """Keep the largest value of each window.

    Args:
        input: shape (N, C, H, W).
        kernel_size: side of a window, in pixels.
        stride: step between windows; the kernel size if not given.

    Returns:
        shape (N, C, h, w), see :func:`windows`.

    Raises:
        ValueError: as :func:`windows`.

    Built in chapter 3.
    """
    stride = kernel_size if stride is None else stride
    return windows(input, kernel_size, stride).amax(dim=(-2, -1))


def avg_pool2d(
    input: Tensor, kernel_size: int = 2, stride: int | None = None
) -> Tensor:
    """Keep the mean of each window.

    Args:
        input: shape (N, C, H, W), floating point.
        kernel_size: side of a window, in pixels.
        stride: step between windows; the kernel size if not given.

    Returns:
        shape (N, C, h, w), see :func:`windows`.

    Raises:
        TypeError: as :func:`windows`.
        ValueError: as :func:`windows`, or whole numbers, which have no means.

    Built in chapter 3.
    """
    _check_averaged(input)
    stride = kernel_size if stride is None else stride
    return windows(input, kernel_size, stride).mean(dim=(-2, -1))


def anti_aliased_max_pool2d(input: Tensor) -> Tensor:
    """2x2 max-pooling that blurs before it drops pixels (Zhang 2019).

    A maximum over every 2x2 window (stride 1), then a low-pass filter with weights
    1 3 3 1 in each direction, evaluated at every second pixel.

    Args:
        input: shape (N, C, H, W) with H and W of at least 2, floating point.

    Returns:
        shape (N, C, H // 2, W // 2).

    Raises:
        TypeError: as :func:`windows`.
        ValueError: as :func:`avg_pool2d`.

    Built in chapter 3.
    """
    _check_averaged(input)
    dense = F.pad(max_pool2d(input, 2, stride=1), (1, 2, 1, 2))
    weights = dense.new_tensor([1.0, 3.0, 3.0, 1.0]) / 8
    cells = windows(dense, 4, 2)
    return torch.einsum("nchwij,i,j->nchw", cells, weights, weights)


def receptive_field(layers: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """How much of the input each layer's units see.

    Args:
        layers: (kernel_size, stride) of each convolution or pooling layer, from
            the input on.

    Returns:
        One pair (size, step) a layer, both in input pixels. The size is the side
        of the input square that one unit sees, the step the distance between the
        squares of two neighbouring units.

    Raises:
        ValueError: a kernel size or a stride is not a whole number from 1 on.

    Built in chapter 3.
    """
    size, step, sizes = 1, 1, []
    for kernel_size, stride in layers:
        if not all(isinstance(n, Integral) and n >= 1 for n in (kernel_size, stride)):
            raise ValueError(
                "expected layers (kernel_size, stride), whole numbers of at least 1, "
                f"but got {(kernel_size, stride)}"
            )
        size += (kernel_size - 1) * step
        step *= stride
        sizes.append((size, step))
    return sizes


def shift(images: Tensor, dx: float, dy: float = 0, mode: str = "bilinear") -> Tensor:
    """Move the content right by dx and down by dy pixels; zeros move in.

    Args:
        images: shape (N, C, H, W).
        dx: pixels to the right.
        dy: pixels down; none if not given.
        mode: how to interpolate at fractions of a pixel, as in
            :func:`stn_tutorial.interpolation.grid_sample`.

    Returns:
        shape (N, C, H, W), dtype of the images. All NaN where a shift is NaN.

    Raises:
        TypeError: the images are not a tensor.
        ValueError: the images are not (N, C, H, W), or as in
            :func:`stn_tutorial.interpolation.grid_sample`.

    Built in chapter 3, without other dtypes.
    """
    _check_images(images)
    height, width = images.shape[2:]
    dtype = at_least_float32(images.dtype)
    theta = translation(-2 * dx / width, -2 * dy / height, dtype=dtype)
    return warp(images, theta, mode=mode)


def relative_difference(a: Tensor, b: Tensor) -> float:
    """How far apart two batches of features are: 0 if equal, 1 if disjoint.

    The mean over samples of ||a - b|| / sqrt(||a||^2 + ||b||^2). Features that do
    not overlap at all are at distance 1; negative features can reach sqrt(2). NaN where
    a feature is NaN. All is computed in float64, so that squares neither vanish nor
    grow beyond all numbers.

    Args:
        a: features, shape (N, ...).
        b: features of the same shape.

    Raises:
        ValueError: the shapes differ, there is no sample, or features are complex.

    Built in chapter 3, without float64 and the guard against 0/0.
    """
    if a.shape != b.shape:
        raise ValueError(
            f"expected features of one shape, but got {tuple(a.shape)} "
            f"and {tuple(b.shape)}"
        )
    if a.dim() == 0 or len(a) == 0 or a.is_complex() or b.is_complex():
        raise ValueError(
            "expected real features of at least one sample, shape (N, ...), but got "
            f"{a.dtype} and {b.dtype} of shape {tuple(a.shape)}"
        )
    a, b = (each[:, None].flatten(1).double() for each in (a, b))  # (N, D) each
    scale = (a.square().sum(1) + b.square().sum(1)).sqrt()
    ratio = (a - b).norm(dim=1) / scale.clamp(min=torch.finfo(a.dtype).tiny)
    return ratio.mean().item()


def invariance_error(
    features: Callable[[Tensor], Tensor], images: Tensor, dx: float, dy: float = 0
) -> float:
    """How much the features change when the images move: 0 is full invariance.

    Args:
        features: from images (N, C, H, W) to features (N, ...).
        images: shape (N, C, H, W).
        dx: shift to the right, in pixels.
        dy: shift down, in pixels; none if not given.

    Returns:
        :func:`relative_difference` of the features before and after.

    Built in chapter 3.
    """
    after = features(shift(images, dx, dy))
    return relative_difference(features(images), after)


def equivariance_error(
    features: Callable[[Tensor], Tensor],
    images: Tensor,
    dx: float,
    dy: float,
    step: int,
) -> float:
    """How far the features are from moving along with the images: 0 is fully.

    Both moves are bicubic: a bilinear move by half a pixel blurs what it moves.

    Args:
        features: from images (N, C, H, W) to maps (N, K, h, w).
        images: shape (N, C, H, W).
        dx: shift to the right, in input pixels.
        dy: shift down, in input pixels.
        step: distance between two neighbouring units of the map, in input pixels
            (the product of the strides, see :func:`receptive_field`). The maps
            are moved by dx / step and dy / step.

    Returns:
        :func:`relative_difference` between the features of the moved images and
        the moved features.

    Raises:
        ValueError: step is not a whole number from 1 on.

    Built in chapter 3.
    """
    _check_whole("step", step)
    moved = shift(features(images), dx / step, dy / step, "bicubic")
    after = features(shift(images, dx, dy, "bicubic"))
    return relative_difference(moved, after)


def _check_averaged(input: Tensor) -> None:
    _check_images(input)
    if not input.is_floating_point():
        raise ValueError(
            f"expected input of floating point type, to be averaged, but got "
            f"{input.dtype}; input.float() holds the same numbers"
        )
