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
def _number(pointer):
    return tl.load(pointer).to(tl.float64)


@triton.jit
def _point(h, w, BLOCK: tl.constexpr):
    """Which image, in 64 bits as a batch may need, and which of its points."""
    blocks, program = tl.cdiv(h * w, BLOCK), tl.program_id(0)
    point = program % blocks * BLOCK + tl.arange(0, BLOCK)
    return (program // blocks).to(tl.int64), point


@triton.jit
def _place(theta, i, j, height, width, h, w):
    """Where column i of row j reads, in pixels, in float64."""
    along, down = 2 * i.to(tl.float64) + 1 - w, 2 * j.to(tl.float64) + 1 - h
    a, b, tx = _number(theta), _number(theta + 1), _number(theta + 2)
    c, d, ty = _number(theta + 3), _number(theta + 4), _number(theta + 5)
    x = (a * width / w * along + b * width / h * down + tx * width + width - 1) / 2
    y = (c * height / w * along + d * height / h * down + ty * height + height - 1) / 2
    return x, y


@triton.jit
def _add(pointer, number):
    tl.atomic_add(pointer, number.to(pointer.dtype.element_ty))


@triton.jit
def _forward(
    images, theta, out, channels, height, width, h, w, stride, BLOCK: tl.constexpr
):
    n, point = _point(h, w, BLOCK)
    used = point < h * w
    x, y = _place(theta + 6 * n, point % w, point // w, height, width, h, w)
    fx, fy = x - tl.floor(x), y - tl.floor(y)
    plane, line = images + n * stride, out + n * channels * h * w
    for _ in range(channels):
        value = x + y - (x + y)  # 0, or NaN where a place is not finite
        for corner in tl.static_range(4):
            column, row = tl.floor(x) + corner % 2, tl.floor(y) + corner // 2
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            place = tl.where(inside, row * width + column, 0).to(tl.int64)
            weight = (fx if corner % 2 else 1 - fx) * (fy if corner // 2 else 1 - fy)
            pixel = tl.load(plane + place, mask=used & inside, other=0.0)
            value += tl.where(inside, weight * pixel, 0.0)
        tl.store(line + point, value, mask=used)
        plane += height * width
        line += h * w


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
    n, point = _point(h, w, BLOCK)
    used = point < h * w
    i, j = point % w, point // w
    x, y = _place(theta + 6 * n, i, j, height, width, h, w)
    fx, fy = x - tl.floor(x), y - tl.floor(y)
    dx = x + y - (x + y)
    dy = dx
    plane, line = images + n * stride, grad + n * channels * h * w
    target = to_images + n * channels * height * width
    for _ in range(channels):
        g = tl.load(line + point, mask=used, other=0.0)
        for corner in tl.static_range(4):
            column, row = tl.floor(x) + corner % 2, tl.floor(y) + corner // 2
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            inside = inside & used
            place = tl.where(inside, row * width + column, 0).to(tl.int64)
            wx, wy = fx if corner % 2 else 1 - fx, fy if corner // 2 else 1 - fy
            pixel = tl.load(plane + place, mask=inside, other=0.0)
            dx += tl.where(inside, g * wy * pixel, 0.0) * (corner % 2 * 2 - 1)
            dy += tl.where(inside, g * wx * pixel, 0.0) * (corner // 2 * 2 - 1)
            if SPREAD:
                share = (g * wx * wy).to(to_images.dtype.element_ty)
                tl.atomic_add(target + place, share, mask=inside)
        plane += height * width
        line += h * w
        target += height * width
    dx, dy = tl.where(used, dx, 0.0) * width / 2, tl.where(used, dy, 0.0) * height / 2
    u, v = (2 * i.to(tl.float64) + 1 - w) / w, (2 * j.to(tl.float64) + 1 - h) / h
    _add(to_theta + 6 * n, tl.sum(dx * u))
    _add(to_theta + 6 * n + 1, tl.sum(dx * v))
    _add(to_theta + 6 * n + 2, tl.sum(dx))
    _add(to_theta + 6 * n + 3, tl.sum(dy * u))
    _add(to_theta + 6 * n + 4, tl.sum(dy * v))
    _add(to_theta + 6 * n + 5, tl.sum(dy))


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
            programs = (triton.cdiv(h * w, BLOCK) * n,)  # an axis more ends at 65,535
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
            programs = (triton.cdiv(h * w, BLOCK) * n,)  # an axis more ends at 65,535
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
