"""The exercises of chapter 2: bilinear interpolation."""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from scipy.interpolate import CubicHermiteSpline
from torch import Tensor

from stn_tutorial.affine import (
    affine_grid,
    compose,
    identity,
    pixel_to_normalised,
    rotation,
    scaling,
    translation,
)
from stn_tutorial.data.photos import cat_photo
from stn_tutorial.exercises import Exercise, WrongForm, difference, kind, tensor_of
from stn_tutorial.interpolation import bilinear_kernel, look_up, unnormalise, warp

Kernel = Callable[[Tensor], Tensor]
Size = tuple[int, int]
Triple = tuple[Tensor, Tensor, Tensor]

NEIGHBOURS = (
    "other neighbours take part. Along each side they are the four from "
    "floor(x) − 1 to floor(x) + 2."
)
SAME_SHAPE = "a changes nothing. Hand it on to the kernel, and use it there."
TOO_SHARP = (
    "the image is averaged too rarely, or not at all. Measure the distance of the grid "
    "points in pixels of the input: one unit of x is half its width."
)
XY_SWAPPED = (
    "x and y changed places. The first number of a grid point is x, and x runs along "
    "the width."
)
CORNERS = (
    "-1 and 1 are taken for the centres of the outer pixels. With "
    "`align_corners=False` they are the image's edges."
)
SIZE_SWAPPED = (
    "height and width changed places. x counts along the width, which is "
    "`input.shape[3]`."
)
WITH_CEIL = (
    "the upper neighbour is `ceil`. On a whole pixel it is the same one as `floor`, "
    "and their difference, the slope, is 0. Take `floor() + 1`."
)
TWICE = (
    "the upper neighbour is `ceil`. On a whole pixel it is the same one as `floor`, "
    "which so counts twice. Take `floor() + 1`."
)
WITH_ABS = (
    "the tent is made with `abs`, whose slope at its corner autograd takes as 0. So "
    "on a whole pixel this very pixel does not count. Write both sides out, as `tent` "
    "does."
)
BORDER = "outside the image it reads the border. Here zeros stand outside."
NO_GRADIENT = (
    "no gradient reaches the grid, so no network can learn where to look. Is the grid, "
    "or a position made of it, cut off by `detach`, `.data`, `.item()` or "
    "`torch.no_grad`?"
)
THETA_KEPT = (
    "theta was changed with the image. Its coordinates are normalised: they do not "
    "count pixels."
)


def with_sides(grid: Tensor, input: Tensor) -> Tensor:
    """The grid whose points, in pixels, are those for a height taken for a width."""
    width, height = input.shape[3], input.shape[2]
    share = torch.tensor([height / width, width / height])
    return (grid + 1) * share - 1


# 2.1: the cubic kernel with a free number


def cubic_kernel(distance: Tensor, a: float) -> Tensor:
    # A cubic piece is known by its values and slopes at both ends.
    values, slopes = [0, 0, 1, 0, 0], [0, -a, 0, a, 0]
    spline = CubicHermiteSpline(range(-2, 3), values, slopes, extrapolate=False)
    return torch.tensor(spline(distance), dtype=distance.dtype).nan_to_num()


def cubic_slope(distance: Tensor, a: float) -> Tensor:
    values, slopes = [0, 0, 1, 0, 0], [0, -a, 0, a, 0]
    spline = CubicHermiteSpline(range(-2, 3), values, slopes, extrapolate=False)
    slope = spline.derivative()(distance)
    return torch.tensor(slope, dtype=distance.dtype).nan_to_num()


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
    along_y: Kernel | None = None,
) -> Tensor:
    across = shares(x, input.shape[3], kernel, offsets)
    down = shares(y, input.shape[2], along_y or kernel, offsets)
    return torch.einsum("ncyx,nijy,nijx->ncij", input, down, across)


def positions(
    input: Tensor, grid: Tensor, align_corners: bool = False
) -> tuple[Tensor, Tensor]:
    height, width = input.shape[2:]
    grid = grid.detach()
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


def judge_cubic_gradient(got: object, input: Tensor, grid: Tensor, a: float) -> str:
    """Compare the gradients of a sampler whose values are right with the true ones."""
    wish, of_grid, of_pixels = gradients(got, input, grid)
    if not of_grid.any():
        return f"the values are right, but {NO_GRADIENT}"
    x, y = positions(input, grid)
    kernel, slope = (partial(f, a=a) for f in (cubic_kernel, cubic_slope))
    along_x = double_sum(input, x, y, slope, along_y=kernel)
    along_y = double_sum(input, x, y, kernel, along_y=slope)
    slopes = torch.stack([along_x, along_y], dim=4)  # (N, C, h, w, 2), for each pixel
    slopes = slopes * half_size(input)
    right = (wish[..., None] * slopes).sum(dim=1)
    if fault := difference(right, of_grid, 1e-3 * max(input.shape[2:])):
        return f"the values are right, but the gradient of the grid is not: {fault}"
    (right,) = torch.autograd.grad(double_sum(input, x, y, kernel), input, wish)
    if fault := difference(right, of_pixels, 1e-3):
        return f"the values are right, but the gradient of the pixels is not: {fault}"
    return ""


def some_grid(height: int, width: int) -> dict[str, Tensor]:
    """Two random images. One is read at its own pixels, one at random places."""
    generator = torch.Generator().manual_seed(0)
    shape = (2, 3, height, width)
    input = torch.rand(shape, generator=generator)
    grid = affine_grid(identity(2), shape, align_corners=False).clone()
    grid[1] = 3 * torch.rand(grid[1].shape, generator=generator) - 1.5
    return {"input": input.requires_grad_(), "grid": grid.requires_grad_()}


def grids() -> list[dict[str, Tensor]]:
    # With 32 and 16 pixels every pixel's place is a whole number; with 28 and 42
    # rounding lifts some of them off.
    return [some_grid(*size) for size in ((32, 16), (28, 42), (42, 28))]


def half_size(input: Tensor) -> Tensor:
    """How many pixels one unit of a grid's x, and of its y, is."""
    return torch.tensor([input.shape[3], input.shape[2]]) / 2


# The sampler of the text: values, and slopes, on whole pixels too


def call_with_copies(
    answer: Callable, input: Tensor, grid: Tensor, **more: object
) -> object:
    return answer(input.clone(), grid.clone(), *more.values())  # no leaves


def gradients(got: object, input: Tensor, grid: Tensor) -> Triple:
    """Which way a loss wants the output, and what that means for grid and pixels.

    Raises:
        WrongForm: autograd fails, or cannot follow what came.
    """
    if not isinstance(got, Tensor):
        raise WrongForm(f"expected a tensor with a gradient, but got {kind(got)}.")
    tied = got + 0 * (input.sum() + grid.sum())  # a gradient that is missing is 0
    wish = torch.linspace(-1, 1, got.numel(), dtype=tied.dtype).view(got.shape)
    try:
        of_grid, of_pixels = torch.autograd.grad(tied, [grid, input], wish)
    except RuntimeError as error:
        message = f"the gradient cannot be computed: {error}"
        raise WrongForm(message) from error
    return wish, of_grid, of_pixels


def values_and_gradients(got: object, input: Tensor, grid: Tensor) -> Triple:
    """Read a sampler's output: its values, the gradients of grid and of pixels."""
    values = tensor_of((*input.shape[:2], *grid.shape[1:3]), got)
    _, of_grid, of_pixels = gradients(got, input, grid)
    return values, of_grid, of_pixels


def run(sampler: Callable, input: Tensor, grid: Tensor) -> Triple:
    input, grid = input.detach().requires_grad_(), grid.detach().requires_grad_()
    return values_and_gradients(sampler(input, grid), input, grid)


def torch_sampler(
    mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool = False
) -> Callable:
    return partial(
        F.grid_sample,
        mode=mode,
        padding_mode=padding_mode,
        align_corners=align_corners,
    )


def judge_slopes(of_grid: Tensor, input: Tensor, grid: Tensor) -> str:
    """Compare the gradient of the grid with that of PyTorch's bilinear sampler.

    On a whole pixel there are two slopes, and rounding decides which of them one gets:
    both will do. So PyTorch is asked a little to each side, in double precision.
    """
    half, sides = half_size(input), []
    for aside in itertools.product((-1e-4, 1e-4), repeat=2):  # in pixels
        moved = grid.detach().double() + torch.tensor(aside) / half
        sides.append(run(torch_sampler(), input.double(), moved)[1] / half)
    slope = of_grid / half  # for each pixel
    near = torch.stack([(slope - side).abs() < 2e-3 for side in sides])
    wrong = ~near.any(dim=0)  # NaN, too, is near to nothing
    if not wrong.any():
        return ""
    place = tuple(wrong.nonzero()[0].tolist())
    x, y = ((grid[place[:3]] + 1) * half - 0.5).tolist()
    left, right = sides[0][place].item(), sides[-1][place].item()
    both = f"{right:.2f}"
    if abs(left - right) > 0.01:
        both += f" (or {left:.2f}, on the pixel's other side)"
    return (
        f"of the grid's {wrong.numel()} gradients {wrong.sum()} are wrong. The first "
        f"is at ({x:.2f}, {y:.2f}) in pixels, along {'xy'[place[3]]}: expected {both}, "
        f"but got {slope[place]:.2f} for each pixel."
    )


def judge_sampler(found: Triple, input: Tensor, grid: Tensor) -> str:
    values, of_grid, of_pixels = found
    right_values, _, right_of_pixels = run(torch_sampler(), input, grid)
    if fault := difference(right_values, values, 1e-4):
        return f"the values are not PyTorch's: {fault}"
    if not of_grid.any():
        return f"the values are right, but {NO_GRADIENT}"
    if fault := judge_slopes(of_grid, input, grid):
        return f"the values are right, but {fault}"
    if fault := difference(right_of_pixels, of_pixels, 1e-3):
        return f"the values are right, but the gradient of the pixels is not: {fault}"
    return ""


def abs_tent(distance: Tensor) -> Tensor:
    return (1 - distance.abs()).clamp(min=0)


def floor_and(offset: int) -> Callable[[Tensor], Tensor]:
    return lambda position: position.floor() + offset


def sample_with(
    input: Tensor,
    grid: Tensor,
    kernel: Kernel,
    neighbours: Sequence[Callable[[Tensor], Tensor]],
) -> Tensor:
    """A sampler whose pixels are found and weighed in a way of one's own."""
    height, width = input.shape[2:]
    x = unnormalise(grid[..., 0], width, align_corners=False)
    y = unnormalise(grid[..., 1], height, align_corners=False)
    output = input.new_zeros(())
    for across, down in itertools.product(neighbours, repeat=2):
        m, n = across(x.detach()), down(y.detach())
        weight = kernel(x - m) * kernel(y - n)
        output = output + weight[:, None] * look_up(input, m, n)
    return output


def sample_between(input: Tensor, grid: Tensor) -> Tensor:
    """A sampler that goes from `floor` towards `ceil`."""
    height, width = input.shape[2:]
    x = unnormalise(grid[..., 0], width, align_corners=False)
    y = unnormalise(grid[..., 1], height, align_corners=False)
    left, top, right, bottom = x.floor(), y.floor(), x.ceil(), y.ceil()
    a, b = (x - left)[:, None], (y - top)[:, None]
    above = look_up(input, left, top).lerp(look_up(input, right, top), a)
    below = look_up(input, left, bottom).lerp(look_up(input, right, bottom), a)
    return above.lerp(below, b)


by_abs = [  # with the two neighbours, or with all pixels as in the paper's sum
    partial(sample_with, kernel=abs_tent, neighbours=[floor_and(k) for k in offsets])
    for offsets in ((0, 1), (-1, 0, 1))
]
twice = [
    partial(sample_with, kernel=kernel, neighbours=[torch.floor, torch.ceil])
    for kernel in (abs_tent, bilinear_kernel)
]

PARTS = {
    "sampler": Exercise(
        asks="sample(input, grid)",
        cases=grids,
        apply=call_with_copies,
        read=values_and_gradients,
        judge=judge_sampler,
        mistakes=[
            (WITH_CEIL, partial(run, sample_between)),
            *((WITH_ABS, partial(run, sampler)) for sampler in by_abs),
            *((TWICE, partial(run, sampler)) for sampler in twice),
            (CORNERS, partial(run, torch_sampler(align_corners=True))),
            (BORDER, partial(run, torch_sampler(padding_mode="border"))),
            (
                XY_SWAPPED,
                partial(run, lambda x, grid: torch_sampler()(x, grid.flip(3))),
            ),
            (
                SIZE_SWAPPED,
                partial(run, lambda x, g: torch_sampler()(x, with_sides(g, x))),
            ),
            (
                "this is nearest, which gives the grid no gradient.",
                partial(run, torch_sampler("nearest")),
            ),
        ],
    )
}


# 2.2: values of nearest, gradient of bilinear


def values_and_slopes(
    got: object, input: Tensor, grid: Tensor
) -> tuple[Tensor, Tensor]:
    return values_and_gradients(got, input, grid)[:2]


def judge_straight_through(
    found: tuple[Tensor, Tensor], input: Tensor, grid: Tensor
) -> str:
    values, of_grid = found
    nearest, *_ = run(torch_sampler("nearest"), input, grid)
    if fault := difference(nearest, values, 1e-4):
        return f"the values are not those of nearest: {fault}"
    if not of_grid.any():
        return (
            "the gradient is 0 everywhere. Nearest has no other, and what comes from "
            "`detach` has none either."
        )
    if fault := judge_slopes(of_grid, input, grid):
        return f"the gradient of the grid is not that of bilinear: {fault}"
    return ""


def with_gradient_of(values: Callable, gradient: Callable, sign: int = 1) -> Callable:
    def mistaken(input: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
        result, *_ = run(values, input, grid)
        return result, sign * run(gradient, input, grid)[1]

    return mistaken


# 2.3: average as often as the grid shrinks


def warp_clean(
    image: Tensor,
    theta: Tensor,
    size: Size,
    more: int = 0,
    align_corners: bool = False,
) -> Tensor:
    times = max(0, halvings(image, theta, size) + more)
    averaged = F.avg_pool2d(image, 2**times)
    return warp(averaged, theta, size, align_corners=align_corners)


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
        cases=lambda: [
            {**some_grid(7, 9), "a": -0.5},
            {**some_grid(28, 16), "a": -0.75},
        ],
        apply=call_with_copies,
        expected=sample_cubic,
        besides=judge_cubic_gradient,
        mistakes=[
            (SAME_SHAPE, lambda input, grid, a: sample_cubic(input, grid, -0.75)),
            (SAME_SHAPE, lambda input, grid, a: sample_cubic(input, grid, -0.5)),
            (NEIGHBOURS, partial(sample_cubic, offsets=(0, 1))),
            (NEIGHBOURS, partial(sample_cubic, offsets=(0, 1, 2, 3))),
            (NEIGHBOURS, partial(sample_cubic, offsets=(-2, -1, 0, 1))),
            (
                XY_SWAPPED,
                lambda input, grid, a: sample_cubic(input, grid.flip(-1), a),
            ),
            (CORNERS, partial(sample_cubic, align_corners=True)),
            (
                SIZE_SWAPPED,
                lambda input, grid, a: sample_cubic(input, with_sides(grid, input), a),
            ),
            (BORDER, sample_with_border),
            (
                "the kernel was given x − m with its sign. The formula is for the "
                "distance, which is never negative.",
                sample_signed,
            ),
        ],
    ),
    "2.2": Exercise(
        asks="straight_through(input, grid)",
        cases=grids,
        apply=call_with_copies,
        read=values_and_slopes,
        judge=judge_straight_through,
        mistakes=[
            (
                "this is bilinear alone. Only its gradient is wanted here.",
                with_gradient_of(torch_sampler(), torch_sampler()),
            ),
            (
                "the roles changed places: values of bilinear, gradient of nearest. "
                "`detach` keeps a value and drops its gradient.",
                with_gradient_of(torch_sampler(), torch_sampler("nearest")),
            ),
            (
                "the gradient has the wrong sign: it comes from the part that is "
                "taken away.",
                with_gradient_of(torch_sampler("nearest"), torch_sampler(), sign=-1),
            ),
            (
                CORNERS,
                with_gradient_of(
                    torch_sampler("nearest", align_corners=True),
                    torch_sampler(align_corners=True),
                ),
            ),
            *(
                (why, with_gradient_of(torch_sampler("nearest"), sampler))
                for why, sampler in (
                    (WITH_CEIL, sample_between),
                    (WITH_CEIL, twice[1]),
                    (WITH_ABS, by_abs[0]),
                )
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
            (CORNERS, partial(warp_clean, align_corners=True)),
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
