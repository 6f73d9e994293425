"""The affine sampler as a Triton kernel: the twin of ``fast.cpp`` for graphics cards.

Triton comes with PyTorch's builds for them. With ``TRITON_INTERPRET=1`` the kernel runs
on a processor too, slowly, to be checked.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 256


@triton.jit
def _place(theta, i, j, height, width, h, w):
    """Where column i of row j reads, in pixels."""
    along, down = 2.0 * i + 1 - w, 2.0 * j + 1 - h
    a, b, tx = tl.load(theta), tl.load(theta + 1), tl.load(theta + 2)
    c, d, ty = tl.load(theta + 3), tl.load(theta + 4), tl.load(theta + 5)
    x = (a * width / w * along + b * width / h * down + tx * width + width - 1) / 2
    y = (c * height / w * along + d * height / h * down + ty * height + height - 1) / 2
    return x, y


@triton.jit
def _forward(
    images, theta, out, channels, height, width, h, w, stride, BLOCK: tl.constexpr
):
    n, point = tl.program_id(1), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    used = point < h * w
    x, y = _place(theta + 6 * n, point % w, point // w, height, width, h, w)
    fx, fy = x - tl.floor(x), y - tl.floor(y)
    for c in range(channels):
        value = x + y - (x + y)  # 0, or NaN where a place is not finite
        plane = images + n * stride + c * height * width
        for corner in tl.static_range(4):
            column, row = tl.floor(x) + corner % 2, tl.floor(y) + corner // 2
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            place = tl.where(inside, row * width + column, 0).to(tl.int32)
            weight = (fx if corner % 2 else 1 - fx) * (fy if corner // 2 else 1 - fy)
            pixel = tl.load(plane + place, mask=used & inside, other=0.0)
            value += tl.where(inside, weight * pixel, 0.0)
        tl.store(out + (n * channels + c) * h * w + point, value, mask=used)


@triton.jit
def _backward(
    grad,
    images,
    theta,
    to_images,
    to_theta,
    channels,
    height,
    width,
    h,
    w,
    stride,
    SPREAD: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n, point = tl.program_id(1), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    used = point < h * w
    i, j = point % w, point // w
    x, y = _place(theta + 6 * n, i, j, height, width, h, w)
    fx, fy = x - tl.floor(x), y - tl.floor(y)
    dx = x + y - (x + y)
    dy = dx
    for c in range(channels):
        g = tl.load(grad + (n * channels + c) * h * w + point, mask=used, other=0.0)
        for corner in tl.static_range(4):
            column, row = tl.floor(x) + corner % 2, tl.floor(y) + corner // 2
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            inside = inside & used
            place = tl.where(inside, row * width + column, 0).to(tl.int32)
            place += c * height * width
            wx, wy = fx if corner % 2 else 1 - fx, fy if corner // 2 else 1 - fy
            pixel = tl.load(images + n * stride + place, mask=inside, other=0.0)
            dx += tl.where(inside, g * wy * pixel, 0.0) * (corner % 2 * 2 - 1)
            dy += tl.where(inside, g * wx * pixel, 0.0) * (corner // 2 * 2 - 1)
            if SPREAD:
                target = to_images + n * channels * height * width + place
                tl.atomic_add(target, g * wx * wy, mask=inside)
    dx, dy = tl.where(used, dx, 0.0) * width / 2, tl.where(used, dy, 0.0) * height / 2
    u, v = (2.0 * i + 1 - w) / w, (2.0 * j + 1 - h) / h
    tl.atomic_add(to_theta + 6 * n, tl.sum(dx * u))
    tl.atomic_add(to_theta + 6 * n + 1, tl.sum(dx * v))
    tl.atomic_add(to_theta + 6 * n + 2, tl.sum(dx))
    tl.atomic_add(to_theta + 6 * n + 3, tl.sum(dy * u))
    tl.atomic_add(to_theta + 6 * n + 4, tl.sum(dy * v))
    tl.atomic_add(to_theta + 6 * n + 5, tl.sum(dy))


class _Sample(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, theta: Tensor, h: int, w: int) -> Tensor:
        if not images[:1].is_contiguous():  # one image for all stays one
            images = images.contiguous()
        theta = theta.contiguous()
        ctx.save_for_backward(images, theta)
        n, c, height, width = images.shape
        out = images.new_empty(n, c, h, w)
        if out.numel():
            sizes = (c, height, width, h, w, images.stride(0))
            programs = (triton.cdiv(h * w, BLOCK), n)
            _forward[programs](images, theta, out, *sizes, BLOCK=BLOCK)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        images, theta = ctx.saved_tensors
        n, c, height, width = images.shape
        h, w = grad.shape[2:]
        spread, wanted = ctx.needs_input_grad[:2]
        to_theta = torch.zeros_like(theta)
        shape = images.shape if spread else (0,)
        to_images = torch.zeros(shape, dtype=images.dtype, device=images.device)
        if grad.numel():
            given = (grad.contiguous(), images, theta, to_images, to_theta)
            sizes = (c, height, width, h, w, images.stride(0))
            programs = (triton.cdiv(h * w, BLOCK), n)
            _backward[programs](*given, *sizes, SPREAD=spread, BLOCK=BLOCK)
        return to_images if spread else None, to_theta if wanted else None, None, None


def affine_sample(images: Tensor, theta: Tensor, h: int, w: int) -> Tensor:
    """Warp images as :func:`stn_tutorial.fast.affine_sample` does.

    Args:
        images: shape (N, C, H, W), float32 or float64.
        theta: shape (N, 2, 3), of the same dtype.
        h: rows of the output.
        w: columns of the output.

    Returns:
        shape (N, C, h, w). The gradient is summed up by atomic additions, so its last
        bits may change from one call to the next.
    """
    return _Sample.apply(images, theta, h, w)
