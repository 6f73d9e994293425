"""The exercises of chapter 2: bilinear interpolation."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from scipy.interpolate import CubicHermiteSpline
from torch import Tensor

from stn_tutorial.affine import (
    compose,
    identity,
    pixel_to_normalised,
    rotation,
    scaling,
    translation,
)
from stn_tutorial.data.photos import cat_photo
from stn_tutorial.exercises import Exercise, difference
from stn_tutorial.interpolation import unnormalise, warp

Kernel = Callable[[Tensor], Tensor]
Size = tuple[int, int]

NEIGHBOURS = (
    "other neighbours take part. Along each side they are the four from "
    "floor(x) − 1 to floor(x) + 2."
)
SAME_SHAPE = "a changes nothing. Hand it on to the kernel, and use it there."
TOO_SHARP = (
    "the image is averaged too rarely, or not at all. Measure the distance of the grid "
    "points in pixels of the input: one unit of x is half its width."
)
THETA_KEPT = (
    "theta was changed with the image. Its coordinates are normalised: they do not "
    "count pixels."
)


# 2.1: the cubic kernel with a free number


def cubic_kernel(distance: Tensor, a: float) -> Tensor:
    # A cubic piece is known by its values and slopes at both ends.
    values, slopes = [0, 0, 1, 0, 0], [0, -a, 0, a, 0]
    spline = CubicHermiteSpline(range(-2, 3), values, slopes, extrapolate=False)
    return torch.tensor(spline(distance), dtype=distance.dtype).nan_to_num()


def kernel_of_signed_distance(d: Tensor, a: float) -> Tensor:
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    return torch.where(d <= 1, near, a * (d**3 - 5 * d**2 + 8 * d - 4))


def shares(
    position: Tensor, size: int, kernel: Kernel, offsets: Sequence[int]
) -> Tensor:
    pixels = torch.arange(size)
    offset = pixels - position.floor()[..., None]
    used = torch.isin(offset, torch.tensor(offsets, dtype=offset.dtype))
    return kernel(position[..., None] - pixels) * used


def double_sum(
    input: Tensor,
    x: Tensor,
    y: Tensor,
    kernel: Kernel,
    offsets: Sequence[int] = (-1, 0, 1, 2),
) -> Tensor:
    across = shares(x, input.shape[3], kernel, offsets)
    down = shares(y, input.shape[2], kernel, offsets)
    return torch.einsum("ncyx,nijy,nijx->ncij", input, down, across)


def positions(
    input: Tensor, grid: Tensor, align_corners: bool = False
) -> tuple[Tensor, Tensor]:
    height, width = input.shape[2:]
    x = unnormalise(grid[..., 0], width, align_corners)
    return x, unnormalise(grid[..., 1], height, align_corners)


def sample_cubic(
    input: Tensor,
    grid: Tensor,
    a: float,
    offsets: Sequence[int] = (-1, 0, 1, 2),
    align_corners: bool = False,
) -> Tensor:
    x, y = positions(input, grid, align_corners)
    return double_sum(input, x, y, partial(cubic_kernel, a=a), offsets)


def sample_signed(input: Tensor, grid: Tensor, a: float) -> Tensor:
    kernel = partial(kernel_of_signed_distance, a=a)
    return double_sum(input, *positions(input, grid), kernel)


def sample_with_border(input: Tensor, grid: Tensor, a: float) -> Tensor:
    x, y = positions(input, grid)
    wide = F.pad(input, [9] * 4, mode="replicate")
    return double_sum(wide, x + 9, y + 9, partial(cubic_kernel, a=a))


def random_grid() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    input = torch.rand(2, 3, 7, 9, generator=generator)
    grid = 3 * torch.rand(2, 5, 8, 2, generator=generator) - 1.5
    return {"input": input, "grid": grid}


# 2.2: values of nearest, gradient of bilinear


def values_and_gradient(answer: Callable, input: Tensor, grid: Tensor) -> Any:
    grid = grid.detach().requires_grad_()
    output = answer(input, grid)
    if not isinstance(output, Tensor):
        return output
    wish = torch.linspace(-1, 1, output.numel()).view_as(output)
    (gradient,) = torch.autograd.grad(output + 0 * grid.sum(), grid, wish)
    return output.detach(), gradient


def torch_sampler(mode: str) -> Callable:
    return partial(F.grid_sample, mode=mode, align_corners=False)


def judge_straight_through(got: Any, input: Tensor, grid: Tensor) -> str:
    values, gradient = got
    nearest, _ = values_and_gradient(torch_sampler("nearest"), input, grid)
    _, bilinear = values_and_gradient(torch_sampler("bilinear"), input, grid)
    if fault := difference(nearest, values, 1e-4):
        return f"the values are not those of nearest: {fault}"
    if fault := difference(bilinear, gradient, 1e-4):
        return f"the gradient of the grid is not that of bilinear: {fault}"
    return ""


def with_gradient_of(values: str, gradient: str, sign: int = 1) -> Callable:
    def mistaken(input: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
        result, _ = values_and_gradient(torch_sampler(values), input, grid)
        _, slopes = values_and_gradient(torch_sampler(gradient), input, grid)
        return result, sign * slopes

    return mistaken


# 2.3: average as often as the grid shrinks


def warp_clean(image: Tensor, theta: Tensor, size: Size, more: int = 0) -> Tensor:
    times = max(0, halvings(image, theta, size) + more)
    return warp(F.avg_pool2d(image, 2**times), theta, size)


def halvings(image: Tensor, theta: Tensor, size: Size) -> int:
    # The area of the input for each output pixel; its root is the distance.
    share = image.shape[2] * image.shape[3] / (size[0] * size[1])
    area = share * torch.linalg.det(theta[0, :, :2]).abs().item()
    return max(0, math.floor(math.log2(area) / 2))


def warp_with_shrunk_theta(image: Tensor, theta: Tensor, size: Size) -> Tensor:
    times = halvings(image, theta, size)
    return warp(F.avg_pool2d(image, 2**times), theta / 2**times, size)


def warp_with_shrunk_scale(image: Tensor, theta: Tensor, size: Size) -> Tensor:
    times = halvings(image, theta, size)
    return warp(
        F.avg_pool2d(image, 2**times), compose(theta, scaling(0.5**times)), size
    )


def shrinking_warps() -> list[dict[str, object]]:
    image = cat_photo()[:, :, 60:156, 130:274]  # the eyes
    matrix = compose(
        translation(75, 45), rotation(50), scaling(6), translation(-11.5, -7.5)
    )
    turned = pixel_to_normalised(matrix, image.shape[2:], (16, 24))
    return [
        {"image": image, "theta": theta, "size": size}
        for theta, size in (
            (turned, (16, 24)),
            (scaling(0.85), (32, 48)),
            (scaling(0.9), (64, 96)),
            (identity(), (120, 180)),
        )
    ]


EXERCISES = {
    "2.1": Exercise(
        asks="sample_cubic(input, grid, a)",
        cases=lambda: [{**random_grid(), "a": a} for a in (-0.5, -0.75)],
        expected=sample_cubic,
        mistakes=[
            (SAME_SHAPE, lambda input, grid, a: sample_cubic(input, grid, -0.75)),
            (SAME_SHAPE, lambda input, grid, a: sample_cubic(input, grid, -0.5)),
            (NEIGHBOURS, partial(sample_cubic, offsets=(0, 1))),
            (NEIGHBOURS, partial(sample_cubic, offsets=(0, 1, 2, 3))),
            (NEIGHBOURS, partial(sample_cubic, offsets=(-2, -1, 0, 1))),
            (
                "x and y changed places. The first number of a grid point is x, and "
                "x runs along the width.",
                lambda input, grid, a: sample_cubic(input, grid.flip(-1), a),
            ),
            (
                "-1 and 1 are taken for the centres of the outer pixels. With "
                "`align_corners=False` they are the image's edges.",
                partial(sample_cubic, align_corners=True),
            ),
            (
                "outside the image it reads the border. Here zeros stand outside.",
                sample_with_border,
            ),
            (
                "the kernel was given x − m with its sign. The formula is for the "
                "distance, which is never negative.",
                sample_signed,
            ),
        ],
    ),
    "2.2": Exercise(
        asks="straight_through(input, grid)",
        cases=lambda: [random_grid()],
        apply=values_and_gradient,
        judge=judge_straight_through,
        mistakes=[
            (
                "this is bilinear alone. Only its gradient is wanted here.",
                with_gradient_of("bilinear", "bilinear"),
            ),
            (
                "the gradient is 0 everywhere. Nearest has no other, and what comes "
                "from `detach` has none either.",
                with_gradient_of("nearest", "nearest"),
            ),
            (
                "the roles changed places: values of bilinear, gradient of nearest. "
                "`detach` keeps a value and drops its gradient.",
                with_gradient_of("bilinear", "nearest"),
            ),
            (
                "the gradient has the wrong sign: it comes from the part that is "
                "taken away.",
                with_gradient_of("nearest", "bilinear", sign=-1),
            ),
        ],
    ),
    "2.3": Exercise(
        asks="warp_clean(image, theta, size)",
        cases=shrinking_warps,
        expected=warp_clean,
        mistakes=[
            (TOO_SHARP, lambda image, theta, size: warp(image, theta, size)),
            (TOO_SHARP, partial(warp_clean, more=-1)),
            (
                "the image is averaged once too often. Stop before the distance of "
                "the grid points falls below one pixel.",
                partial(warp_clean, more=1),
            ),
            (THETA_KEPT, warp_with_shrunk_theta),
            (THETA_KEPT, warp_with_shrunk_scale),
        ],
    ),
}
