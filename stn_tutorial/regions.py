"""Reading boxes out of a feature map: RoIAlign, and the RoIPool that it replaced."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_tutorial.affine import at_least_float32, pair, without_autocast
from stn_tutorial.interpolation import grid_sample
from stn_tutorial.warps import _check


@without_autocast
def roi_align(
    input: Tensor,
    boxes: Tensor,
    output_size: int | Sequence[int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
    sampler: Callable[..., Tensor] = grid_sample,
) -> Tensor:
    """Read boxes out of a feature map, each into an output of the same size.

    Each box is cut into ``output_size`` cells, and a cell is the mean of
    ``sampling_ratio`` x ``sampling_ratio`` points that lie evenly in it. Nothing is
    rounded on the way, so gradients flow to the boxes, too.

    Args:
        input: features, shape (N, C, H, W).
        boxes: shape (K, 5): which sample, then (x1, y1, x2, y2) in the image.
        output_size: (h, w) of each output, or one number for a square.
        spatial_scale: what a length in the image is in the feature map, such as 1 / 16.
        sampling_ratio: points along each side of a cell; 0 or less for as many as the
            cell has pixels, rounded up.
        aligned: True is right: x1 and x2 are edges, as in the slice ``x1:x2``. False,
            torchvision's default, reads half a pixel too far to the right and too
            low, and makes boxes at least one pixel large.
        sampler: called like ``torch.nn.functional.grid_sample``, which is faster
            than the book's.

    Returns:
        shape (K, C, h, w). Points more than a pixel outside the map count as 0, others
        outside as its border.

    Raises:
        TypeError: input or boxes is no tensor.
        ValueError: a shape or dtype is wrong, a box has no sample or negative sides.

    Signature and results of ``torchvision.ops.roi_align``. He et al. (2017), section 3.
    Built in chapter 9, without ``aligned=False`` and a sampling ratio of 0.
    """
    batch, edges = _check_boxes(input, boxes)
    height, width = input.shape[2:]
    high, wide = pair(output_size)
    features = input.to(at_least_float32(input.dtype))
    edges = edges.to(features) * spatial_scale + (0.0 if aligned else 0.5)
    corner, sides = edges[:, :2], edges[:, 2:] - edges[:, :2]  # (K, 2)
    if not aligned:
        sides = sides.clamp(min=1)
    cells = sides / sides.new_tensor([wide, high])
    counts = torch.full_like(cells, sampling_ratio, dtype=torch.long)
    if sampling_ratio <= 0:
        counts = cells.detach().ceil().long()
    output = features.new_zeros(len(boxes), input.shape[1], high, wide)
    for sample, m, n in torch.cat([batch[:, None], counts], 1).unique(dim=0).tolist():
        if m == 0 or n == 0:  # a box without area
            continue
        chosen = (batch == sample) & (counts == counts.new_tensor([m, n])).all(1)
        x = _points(corner[chosen, 0], sides[chosen, 0], m * wide)  # (k, m * wide)
        y = _points(corner[chosen, 1], sides[chosen, 1], n * high)
        outside_x = (x < -0.5) | (x > width + 0.5)
        outside_y = (y < -0.5) | (y > height + 0.5)
        x, y = x * (2 / width) - 1, y * (2 / height) - 1
        shape = (len(x), n * high, m * wide)
        grid = torch.stack(
            [x[:, None].expand(shape), y[:, :, None].expand(shape)], dim=-1
        )
        read = sampler(
            features[sample : sample + 1],
            grid.flatten(0, 1)[None],  # all boxes of an image, one below the other
            padding_mode="border",
            align_corners=False,
        )
        read = read[0].unflatten(1, shape[:2]).transpose(0, 1)  # (k, C, n * h, m * w)
        gone = outside_x[:, None, None] | outside_y[:, None, :, None]
        cells_read = F.avg_pool2d(read.masked_fill(gone, 0), (n, m))
        output = output.index_put((chosen,), cells_read)
    return output.to(input.dtype)


def _points(start: Tensor, length: Tensor, n: int) -> Tensor:
    """The middles of n even pieces of each line, shape (k, n)."""
    shares = (torch.arange(n, dtype=start.dtype, device=start.device) + 0.5) / n
    return start[:, None] + length[:, None] * shares


def roi_pool(
    input: Tensor,
    boxes: Tensor,
    output_size: int | Sequence[int],
    spatial_scale: float = 1.0,
) -> Tensor:
    """Read boxes out of a feature map, as before RoIAlign: round, then take maxima.

    Box and cells are rounded to whole pixels of the feature map, so the box gets no
    gradient.

    Args:
        input: features, shape (N, C, H, W).
        boxes: shape (K, 5): which sample, then (x1, y1, x2, y2) in the image.
        output_size: (h, w) of each output, or one number for a square.
        spatial_scale: what a length in the image is in the feature map, such as 1 / 16.

    Returns:
        shape (K, C, h, w); 0 where a cell lies outside the map.

    Raises:
        TypeError: input or boxes is no tensor.
        ValueError: a shape or dtype is wrong, a box has no sample or negative sides.

    Signature and results of ``torchvision.ops.roi_pool``. Girshick (2015), section 2.1.
    Used in chapter 9.
    """
    batch, edges = _check_boxes(input, boxes)
    high, wide = pair(output_size)
    scaled = (edges.detach().double() * spatial_scale).tolist()
    output = input.new_zeros(len(boxes), input.shape[1], high, wide)
    for k, (sample, box) in enumerate(zip(batch.tolist(), scaled, strict=True)):
        x1, y1, x2, y2 = (_round(v) for v in box)
        columns = _bins(x1, max(x2 - x1 + 1, 1), wide, input.shape[3])
        rows = _bins(y1, max(y2 - y1 + 1, 1), high, input.shape[2])
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                cell = input[sample, :, row, column]
                if cell.numel():
                    output[k, :, i, j] = cell.amax((1, 2))
    return output


def _round(value: float) -> int:
    """Round as C++ does: halves away from 0, where Python's round takes the even."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def _bins(start: int, length: int, n: int, side: int) -> list[slice]:
    """n pieces of a line, rounded outwards to whole pixels and cut at the map."""
    return [
        slice(
            min(max(start + i * length // n, 0), side),
            min(max(start - (-(i + 1) * length // n), 0), side),
        )
        for i in range(n)
    ]


def _check_boxes(input: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Which sample each box lies in, shape (K,), and its edges, shape (K, 4)."""
    _check(input, "input", ("N", "C", "H", "W"))
    _check(boxes, "boxes", ("K", 5))
    if not boxes.isfinite().all():
        raise ValueError("expected boxes of finite numbers, but some are not")
    batch, edges = boxes[:, 0].long(), boxes[:, 1:]
    if len(boxes) and not (batch.min() >= 0 and batch.max() < input.shape[0]):
        raise ValueError(
            f"expected boxes whose first number is a sample from 0 to "
            f"{input.shape[0] - 1}, but got {batch.min()} to {batch.max()}"
        )
    wrong = (edges[:, 2:] < edges[:, :2]).any(1).nonzero()[:, 0].tolist()
    if wrong:
        raise ValueError(
            f"expected boxes (sample, x1, y1, x2, y2) with x1 <= x2 and y1 <= y2, but "
            f"box(es) {wrong[:8]} are not; is it x, y, width, height?"
        )
    return batch, edges
