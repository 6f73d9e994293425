"""Sampling with an offset for each place: deformable convolution and attention."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from stn_tutorial.affine import _is_whole, without_autocast
from stn_tutorial.interpolation import grid_sample
from stn_tutorial.warps import _check


@without_autocast
def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = (1, 1),
    padding: int | Sequence[int] = (0, 0),
    dilation: int | Sequence[int] = (1, 1),
    mask: Tensor | None = None,
    sampler: Callable[..., Tensor] = grid_sample,
) -> Tensor:
    """A convolution whose every reading place is moved by an offset of its own.

    Args:
        input: shape (N, C, H, W).
        offset: in pixels of the input, shape (N, 2 * K, h, w), where K is the kernel's
            number of weights, row by row. Each has first *down*, then to the right, as
            in torchvision: the other order than a grid's.
        weight: shape (D, C, kernel height, kernel width).
        bias: shape (D,).
        stride: one number, or down and across; as for ``torch.conv2d``.
        padding: as there. Outside the input stands 0.
        dilation: as there.
        mask: how much each reading counts, shape (N, K, h, w); all 1 if not given.
        sampler: called like ``torch.nn.functional.grid_sample``, which is faster
            than the book's.

    Returns:
        shape (N, D, h, w). Gradients flow to all tensors.

    Raises:
        TypeError: one of them is no tensor.
        ValueError: a shape, a dtype or an option is wrong.

    Signature and results of ``torchvision.ops.deform_conv2d``, but for groups. Dai et
    al. (2017), equation (2); with the mask Zhu et al. (2019). Built in chapter 9,
    without stride, dilation, bias and mask.
    """
    _check(input, "input", ("N", "C", "H", "W"))
    _check(weight, "weight", ("D", input.shape[1], "kernel height", "kernel width"))
    n, c, height, width = input.shape
    d, _, rows, columns = weight.shape
    k = rows * columns
    (down, across), (top, left), (dy, dx) = (
        _two(name, value, least)
        for name, value, least in (
            ("stride", stride, 1),
            ("padding", padding, 0),
            ("dilation", dilation, 1),
        )
    )
    h = (height + 2 * top - dy * (rows - 1) - 1) // down + 1
    w = (width + 2 * left - dx * (columns - 1) - 1) // across + 1
    _check(offset, "offset", (n, 2 * k, h, w))
    if mask is not None:
        _check(mask, "mask", (n, k, h, w))

    def along(count: int, step: int) -> Tensor:
        return step * torch.arange(count, dtype=offset.dtype, device=offset.device)

    offset = offset.view(n, rows, columns, 2, h, w)
    y = along(rows, dy).view(-1, 1, 1, 1) + along(h, down).view(-1, 1) - top
    x = along(columns, dx).view(-1, 1, 1) + along(w, across) - left
    y, x = y + offset[:, :, :, 0], x + offset[:, :, :, 1]  # (N, rows, columns, h, w)
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    read = sampler(input, grid.view(n, k * h, w, 2), align_corners=False)
    read = read.view(n, c, k, h, w)
    if mask is not None:
        read = read * mask[:, None]
    output = torch.einsum("nckhw,dck->ndhw", read, weight.flatten(2))
    return output if bias is None else output + bias.view(1, d, 1, 1)


@without_autocast
def deformable_attention(
    value: Tensor,
    places: Tensor,
    weights: Tensor,
    sampler: Callable[..., Tensor] = grid_sample,
) -> Tensor:
    """Each query reads a few places of a feature map and takes their weighted mean.

    Args:
        value: shape (N, C, H, W); of its channels each of M heads reads C / M.
        places: normalised (x, y) from -1 to 1, shape (N, M, Q, P, 2): for each head
            and query P places. (Deformable DETR counts them from 0 to 1.)
        weights: shape (N, M, Q, P); a softmax over P makes them.
        sampler: called like ``torch.nn.functional.grid_sample``, which is faster
            than the book's.

    Returns:
        shape (N, C, Q). Gradients flow to all three.

    Raises:
        TypeError: one of them is no tensor.
        ValueError: the shapes do not fit, or M does not divide C.

    Zhu et al. (2021), equation (2), on one scale, without its two linear layers.
    Built in chapter 9, without other samplers.
    """
    _check(value, "value", ("N", "C", "H", "W"))
    n, c, height, width = value.shape
    _check(places, "places", (n, "M", "Q", "P", 2))
    _, m, q, p, _ = places.shape
    _check(weights, "weights", (n, m, q, p))
    if m == 0 or c % m:
        raise ValueError(f"expected heads that divide {c} channels, but got {m}")
    heads = value.reshape(n * m, c // m, height, width)
    read = sampler(heads, places.reshape(n * m, q, p, 2), align_corners=False)
    read = read.view(n, m, c // m, q, p)
    return (read * weights[:, :, None]).sum(-1).reshape(n, c, q)


class DeformableAttention(nn.Module):
    """Attention that chooses where to look: offsets and weights from each query.

    At the start the places stand in a ring around the query's own, and count alike,
    and the two layers that mix channels change nothing. (In the paper those begin at
    random.)

    Args:
        query_channels: of each query.
        value_channels: of the feature map that is read.
        heads: which divide value_channels.
        points: that each head reads.
        radius: of the ring, in pixels.
        sampler: as for :func:`deformable_attention`.

    Zhu et al. (2021), on one scale. Built in chapter 9, without several heads.
    """

    def __init__(
        self,
        query_channels: int,
        value_channels: int,
        heads: int = 1,
        points: int = 4,
        radius: float = 2.0,
        sampler: Callable[..., Tensor] = grid_sample,
    ) -> None:
        super().__init__()
        self.heads, self.points, self.sampler = heads, points, sampler
        count = heads * points
        self.offsets = nn.Linear(query_channels, 2 * count)
        self.weights = nn.Linear(query_channels, count)
        self.value = nn.Conv2d(value_channels, value_channels, 1, bias=False)
        self.output = nn.Conv1d(value_channels, value_channels, 1, bias=False)
        for linear in (self.offsets, self.weights):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        for convolution in (self.value, self.output):  # at first they change nothing
            nn.init.dirac_(convolution.weight)
        angle = torch.arange(count) * (2 * math.pi / count)
        with torch.no_grad():
            ring = radius * torch.stack([angle.cos(), angle.sin()], dim=1)
            self.offsets.bias.copy_(ring.flatten())

    def look(self, query: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Say where each query looks.

        Args:
            query: shape (N, Q, query_channels).
            size: (H, W) of the feature map.

        Returns:
            offsets, normalised (x, y), shape (N, M, Q, P, 2), and weights, shape
            (N, M, Q, P).
        """
        n, q, _ = query.shape
        offsets = self.offsets(query).view(n, q, self.heads, self.points, 2)
        weights = self.weights(query).view(n, q, self.heads, self.points).softmax(-1)
        pixel = offsets.new_tensor([2 / size[1], 2 / size[0]])
        return (offsets * pixel).transpose(1, 2), weights.transpose(1, 2)

    def forward(self, query: Tensor, reference: Tensor, value: Tensor) -> Tensor:
        """Read a feature map around each query's place.

        Args:
            query: shape (N, Q, query_channels).
            reference: the queries' own places, normalised (x, y), shape (N, Q, 2) or
                (1, Q, 2).
            value: shape (N, value_channels, H, W).

        Returns:
            shape (N, value_channels, Q).
        """
        offsets, weights = self.look(query, value.shape[2:])
        places = reference[:, None, :, None] + offsets
        read = deformable_attention(self.value(value), places, weights, self.sampler)
        return self.output(read)


def _two(name: str, value: int | Sequence[int], least: int) -> tuple[int, int]:
    """Down and across: one number stands for both."""
    numbers = (value, value) if isinstance(value, int) else tuple(value)
    if len(numbers) != 2 or not all(_is_whole(n) and n >= least for n in numbers):
        raise ValueError(
            f"expected {name} as one whole number from {least} on, or two, but got "
            f"{value!r}"
        )
    return numbers
