"""Transforms said in pixels: turns, crops, points, boxes, other libraries' matrices.

A point is (x, y) in pixels, and pixel (0, 0) has its *centre* at x = 0, y = 0, as in
OpenCV and scikit-image. A box is (x1, y1, x2, y2) as in the slice
``image[:, :, y1:y2, x1:x2]``. A size is (H, W), or one number for a square.

Points, boxes and matrices may be tensors, NumPy arrays or lists of numbers. What comes
back are tensors of the dtype of those that came in, but float32 for half precision,
which is too coarse for places; PyTorch's default if none came in.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from stn_tutorial.affine import (
    affine,
    compose,
    invert,
    normalised_to_pixel,
    pair,
    pixel_to_normalised,
    rotation,
    samples_where,
    translation,
    without_autocast,
)

Numbers = Any  # a tensor, a NumPy array, or numbers in lists
Size = int | Sequence[int]


def turn_about(point: Numbers, angle_deg: Numbers, size: Size) -> Tensor:
    """Turn an image about one of its points, without distortion.

    The grid turns clockwise on the screen, so the content counter-clockwise, as with
    :func:`stn_tutorial.affine.rotation`. But this is a true turn when the image is not
    square, too.

    Args:
        point: (x, y) in pixels, which stays where it is, shape (2,) or (N, 2). An
            image's middle is at ((W - 1) / 2, (H - 1) / 2).
        angle_deg: in degrees, a number or shape (N,).
        size: (H, W) of the image, before and after.

    Returns:
        theta, shape (N, 2, 3).

    Raises:
        ValueError: a shape or the size is wrong.

    Built in chapter 1, exercise 1.3, without several points or angles.
    """
    point, angle_deg = _floats(point, angle_deg)
    _check_shape("point", point, (2,), ("N", 2))
    x, y = point.unbind(-1)
    there, back = translation(x, y), translation(-x, -y)
    matrix = compose(there, rotation(angle_deg), back)
    return pixel_to_normalised(matrix, size, size)


def crop_theta(box: Numbers, size: Size) -> Tensor:
    """Cut windows out of an image, and bring them to one size.

    ``warp(image, crop_theta(box, size), (y2 - y1, x2 - x1))`` is the slice
    ``image[:, :, y1:y2, x1:x2]``. Another output size stretches the window. Of one
    image, ``warp`` makes a batch of N windows.

    Args:
        box: (x1, y1, x2, y2) in pixels, need not be whole, shape (4,) or (N, 4).
        size: (H, W) of the image.

    Returns:
        theta, shape (N, 2, 3).

    Raises:
        ValueError: a shape or the size is wrong, or a box is empty (x2 <= x1 or
            y2 <= y1).

    Built in chapter 1, exercise 1.2, without several boxes.
    """
    (box,) = _floats(box)
    _check_shape("box", box, (4,), ("N", 4))
    height, width = pair(size)
    x1, y1, x2, y2 = box.unbind(-1)
    _check_boxes(x1, y1, x2, y2)
    tx = (x1 + x2) / width - 1
    ty = (y1 + y2) / height - 1
    return affine((x2 - x1) / width, 0.0, tx, 0.0, (y2 - y1) / height, ty)


def theta_from_matrix(
    matrix: Numbers, in_size: Size, out_size: Size, forward: bool = False
) -> Tensor:
    """Take over a matrix from OpenCV or scikit-image.

    Args:
        matrix: in pixels, shape (2, 3) or (3, 3), or a batch of N such; or one of
            scikit-image's transforms.
        in_size: (H, W) of the input image. (OpenCV's ``dsize`` is (W, H).)
        out_size: (H, W) of the output image.
        forward: if False, the matrix takes output pixels to input pixels, as in
            ``skimage.transform.warp(image, matrix)`` and in ``cv2.warpAffine`` with
            ``WARP_INVERSE_MAP``. If True, it takes input pixels to output pixels, as
            ``cv2.getRotationMatrix2D`` makes it and ``cv2.warpAffine`` expects it.

    Returns:
        theta, shape (N, 2, 3), so that ``warp(image, theta, out_size)`` gives the same
        image.

    Raises:
        ValueError: there is no matrix, a shape or a size is wrong, a (3, 3) has a last
            row other than (0, 0, s), which no affine transform has, or ``forward`` is
            asked of a matrix that has no inverse.
    """
    if matrix is None or type(matrix).__name__ == "FailedEstimation":
        raise ValueError(f"expected a matrix, but its maker found none: {matrix}")
    (matrix,) = _floats(getattr(matrix, "params", matrix))
    rows = _affine_rows(matrix, max(*pair(in_size), *pair(out_size)))
    return pixel_to_normalised(invert(rows) if forward else rows, in_size, out_size)


def matrix_from_theta(
    theta: Tensor, in_size: Size, out_size: Size, forward: bool = False
) -> Tensor:
    """Undo :func:`theta_from_matrix`: the matrix for OpenCV or scikit-image.

    Args:
        theta: shape (N, 2, 3), target to source, normalised.
        in_size: (H, W) of the input image.
        out_size: (H, W) of the output image.
        forward: as in :func:`theta_from_matrix`: True for ``cv2.warpAffine`` without
            ``WARP_INVERSE_MAP``.

    Returns:
        shape (N, 2, 3). One of them for OpenCV is ``matrix[0].numpy()``;
        scikit-image wants ``homogeneous(matrix)[0].numpy()``.

    Raises:
        ValueError: a shape or a size is wrong, or ``forward`` is asked of a theta that
            has no inverse.
    """
    (theta,) = _floats(theta)
    matrix = normalised_to_pixel(theta, in_size, out_size)
    return invert(matrix) if forward else matrix


@without_autocast
def fit_theta(target: Numbers, source: Numbers) -> Tensor:
    """The transform that takes points to their partners best, in least squares.

    Args:
        target: K points of the output, normalised (x, y), shape (K, 2) or (N, K, 2).
        source: their partners in the input, shape (K, 2) or (N, K, 2). One set of
            targets, such as the places where the eyes shall be, serves N of sources.

    Returns:
        theta, shape (N, 2, 3). Gradients flow to the points. From points in pixels
        comes a matrix in pixels, which :func:`theta_from_matrix` takes over.

    Raises:
        ValueError: a shape is wrong, there are fewer than three pairs, a point is not
            finite, or targets lie on one line, so that nothing says what happens
            beside it.

    Built in chapter 1, exercise 1.4, without batches.
    """
    target, source = _floats(target, source)
    for name, points in (("target", target), ("source", source)):
        _check_shape(name, points, ("K", 2), ("N", "K", 2))
    target, source = (p.reshape(-1, *p.shape[-2:]) for p in (target, source))
    _check_pairs(target, source)
    # About their means, or far points would look alike to float32.
    here, there = target.mean(1, keepdim=True), source.mean(1, keepdim=True)
    linear = torch.linalg.lstsq(target - here, source - there).solution  # (N, 2, 2)
    return torch.cat([linear, there - here @ linear], dim=1).mT


def map_points(theta: Tensor, points: Numbers, in_size: Size, out_size: Size) -> Tensor:
    """Where points of the output lie in the input.

    The other way, from the input into the output, the inverse takes them, and the
    sizes change places: ``map_points(invert(theta), points, out_size, in_size)``. A
    mask or a label map goes back by
    ``warp(mask, invert(theta), in_size, mode="nearest")``.

    This is for affine transforms. Of any other grid, a whole output pixel (x, y) lies
    at ``grid[:, y, x]``, normalised.

    Args:
        theta: shape (N, 2, 3), target to source, normalised.
        points: (x, y) in pixels of the output, shape (K, 2), (1, K, 2) or (N, K, 2).
        in_size: (H, W) of the input image.
        out_size: (H, W) of the output image.

    Returns:
        (x, y) in pixels of the input, shape (N, K, 2). Gradients flow to both.

    Raises:
        ValueError: a shape or a size is wrong.
    """
    theta, points = _floats(theta, points)
    _check_shape("points", points, ("K", 2), ("N", "K", 2))
    matrix = normalised_to_pixel(theta, in_size, out_size)
    _check_batches(matrix, points)
    first, second, shift = matrix[:, None].unbind(-1)  # (N, 1, 2) each
    return first * points[..., :1] + second * points[..., 1:] + shift


def map_boxes(theta: Tensor, boxes: Numbers, in_size: Size, out_size: Size) -> Tensor:
    """The upright boxes in the input that hold boxes of the output.

    A box that is turned needs a larger upright one around it, so to map a box there
    and back gives more than the box. The other way goes as in :func:`map_points`.

    Args:
        theta: shape (N, 2, 3), target to source, normalised.
        boxes: (x1, y1, x2, y2) in pixels of the output, shape (K, 4), (1, K, 4) or
            (N, K, 4).
        in_size: (H, W) of the input image.
        out_size: (H, W) of the output image.

    Returns:
        (x1, y1, x2, y2) in pixels of the input, shape (N, K, 4); it may reach out of
        the image. Gradients flow to both.

    Raises:
        ValueError: a shape or a size is wrong.
    """
    theta, boxes = _floats(theta, boxes)
    _check_shape("boxes", boxes, ("K", 4), ("N", "K", 4))
    x1, y1, x2, y2 = boxes.unbind(-1)
    corners = torch.stack([x1, y1, x2, y1, x2, y2, x1, y2], dim=-1)
    corners = corners.unflatten(-1, (4, 2)).flatten(-3, -2)  # (N, K * 4, 2)
    # A slice counts the pixels' edges, and the edge before pixel 0 is at x = -0.5.
    moved = map_points(theta, corners - 0.5, in_size, out_size) + 0.5
    moved = moved.unflatten(1, (boxes.shape[-2], 4))  # (N, K, 4, 2)
    return torch.cat([moved.amin(2), moved.amax(2)], dim=-1)


def _floats(*values: Numbers) -> list[Tensor]:
    """Make tensors of one dtype, fit for places, on the device of the first tensor."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    kinds = [tensor.dtype for tensor in tensors if tensor.is_floating_point()]
    kinds = kinds or [torch.get_default_dtype()]
    dtype = reduce(torch.promote_types, kinds, torch.float32)
    device = tensors[0].device if tensors else None
    return [
        value.to(device, dtype)
        if isinstance(value, Tensor)
        else torch.tensor(value, dtype=dtype, device=device)
        for value in values
    ]


def _affine_rows(matrix: Tensor, longest: int) -> Tensor:
    """Two rows of each matrix, shape (N, 2, 3), without a last row (0, 0, s)."""
    if matrix.shape[-2:] not in ((2, 3), (3, 3)) or matrix.dim() not in (2, 3):
        raise ValueError(
            "expected a matrix of shape (2, 3) or (3, 3), or a batch (N, 2, 3) or "
            f"(N, 3, 3), but got {tuple(matrix.shape)}"
        )
    matrix = matrix.reshape(-1, *matrix.shape[-2:])
    if matrix.shape[1] == 2:
        return matrix
    scale = matrix[:, 2:, 2:]
    tilt = longest * matrix[:, 2, :2].abs().sum(1)
    which = samples_where(tilt >= 1e-6 * matrix[:, 2, 2].abs())
    if which:
        raise ValueError(
            f"expected a last row (0, 0, s), but got {matrix[which[0], 2].tolist()} in "
            f"sample(s) {which}: a projective transform, which "
            "stn_tutorial.warps.projective_from_matrix takes"
        )
    return matrix[:, :2] / scale


def _check_shape(name: str, given: Tensor, *shapes: tuple[int | str, ...]) -> None:
    if (given.dim(), given.shape[-1:]) not in [(len(s), s[-1:]) for s in shapes]:
        expected = " or ".join(map(str, shapes)).replace("'", "")
        raise ValueError(
            f"expected {name} of shape {expected}, but got {tuple(given.shape)}"
        )


def _check_boxes(x1: Tensor, y1: Tensor, x2: Tensor, y2: Tensor) -> None:
    empty = (x2 <= x1) | (y2 <= y1)
    which = samples_where(empty.reshape(-1))
    if which:
        raise ValueError(
            "expected boxes (x1, y1, x2, y2) with x1 < x2 and y1 < y2, but empty is "
            f"number {which}"
        )


def _check_pairs(target: Tensor, source: Tensor) -> None:
    (n, k, _), (m, pairs, _) = target.shape, source.shape
    if k != pairs or (n != m and 1 not in (n, m)):
        raise ValueError(
            "expected as many targets as sources, but got shapes "
            f"{tuple(target.shape)} and {tuple(source.shape)}"
        )
    if k < 3:
        raise ValueError(
            "expected at least three pairs of points: each gives two equations, and "
            f"theta holds six numbers; but got {k}"
        )
    for name, points in (("target", target), ("source", source)):
        which = samples_where(~points.isfinite().flatten(1).all(1))
        if which:
            raise ValueError(f"expected finite points, but {name} {which} holds others")
    spread = torch.linalg.svdvals(target - target.mean(1, keepdim=True))[:, 1]
    rounding = 8 * torch.finfo(target.dtype).eps * target.flatten(1).norm(dim=1)
    which = samples_where(spread <= rounding)
    if which:
        raise ValueError(
            "expected targets that do not all lie on one line, since nothing says then "
            f"what happens beside it, but those of sample(s) {which} do"
        )


def _check_batches(theta: Tensor, points: Tensor) -> None:
    n = theta.shape[0]
    if points.dim() == 3 and 1 not in (n, points.shape[0]) and n != points.shape[0]:
        raise ValueError(
            f"theta holds {n} transforms, but points or boxes come for "
            f"{points.shape[0]} images"
        )
