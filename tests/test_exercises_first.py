"""The exercises of chapters 0 to 3: right answers pass, usual mistakes are named."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_exercises import EXERCISES, assert_named, untested_hints
from torch import Tensor, nn

from stn_tutorial.affine import (
    affine,
    affine_grid,
    compose,
    invert,
    pixel_to_normalised,
    rotation,
    scaling,
    translation,
)
from stn_tutorial.exercises import chapter_2, check
from stn_tutorial.interpolation import (
    bilinear_kernel,
    grid_sample,
    look_up,
    unnormalise,
    warp,
)
from stn_tutorial.pooling import windows

MINE = [name for name in EXERCISES if name.split(".")[0] in ("0", "1", "2", "3")]


# 0.1: the nearest neighbour


def gaps(known: Tensor, images: Tensor) -> Tensor:
    return torch.cdist(images.flatten(1), known.flatten(1))


def nearest_by_hand(known: Tensor, labels: Tensor, images: Tensor) -> list[int]:
    found = []
    for image in images:
        distance = (known - image).square().mean(dim=(1, 2, 3)).sqrt()
        found.append(labels[distance.argmin()].item())
    return found


def nearest_by_sum(known: Tensor, labels: Tensor, images: Tensor) -> Tensor:
    apart = (images[:, None] - known).abs().sum(dim=(2, 3, 4))
    return labels[apart.argmin(dim=1)]


def most_alike(known: Tensor, labels: Tensor, images: Tensor) -> Tensor:
    return labels[torch.einsum("nchw,kchw->nk", images, known).argmax(dim=1)]


# 0.2: three changes, with the functions of the chapter


def turn(images: Tensor, angle_deg: float) -> Tensor:
    return warp(images, rotation(angle_deg))


def resize(images: Tensor, factor: float) -> Tensor:
    return warp(images, scaling(1 / factor))


def shift(images: Tensor, pixels: float) -> Tensor:
    return warp(images, translation(-2 * pixels / images.shape[-1], 0))


def in_one_warp(images: Tensor, angle: float, factor: float, pixels: float) -> Tensor:
    across = translation(-2 * pixels / images.shape[-1], 0)
    return warp(images, compose(rotation(angle), scaling(1 / factor), across))


def composed_backwards(
    images: Tensor, angle: float, factor: float, pixels: float
) -> Tensor:
    across = translation(-2 * pixels / images.shape[-1], 0)
    return warp(images, compose(across, scaling(1 / factor), rotation(angle)))


def forgetful(images: Tensor, angle: float, factor: float, pixels: float) -> Tensor:
    changed = turn(images, angle)
    changed = resize(images, factor)
    changed = shift(images, pixels)
    return changed


def shift_down(images: Tensor, pixels: float) -> Tensor:
    return warp(images, translation(0, -2 * pixels / images.shape[-2]))


def shift_by_share(images: Tensor, pixels: float) -> Tensor:
    return warp(images, translation(-pixels / images.shape[-1], 0))


def shift_by_pixels(images: Tensor, pixels: float) -> Tensor:
    return warp(images, translation(-pixels, 0))


# 0.3: the surest answer


def surest_so_far(net: nn.Module, images: Tensor, angles: list) -> Tensor:
    best, label = torch.zeros(len(images)), torch.zeros(len(images), dtype=torch.long)
    for angle in angles:
        share, said = net(turn(images, angle)).softmax(dim=1).max(dim=1)
        best, label = (
            torch.where(share > best, share, best),
            torch.where(share > best, said, label),
        )
    return label


def ask(net: nn.Module, images: Tensor, angles: list) -> list[Tensor]:
    return [net(turn(images, angle)) for angle in angles]


def last_angle(net: nn.Module, images: Tensor, angles: list) -> Tensor:
    for angle in angles:
        answer = net(turn(images, angle)).softmax(dim=1).argmax(dim=1)
    return answer


def winning_angle(net: nn.Module, images: Tensor, angles: list) -> Tensor:
    shares = [x.softmax(dim=1).max(dim=1).values for x in ask(net, images, angles)]
    return torch.stack(shares).argmax(dim=0)


# 1.1: three shears


def shears(
    angle_deg: float, sign: int = 1, in_radians: Callable = math.radians
) -> tuple[float, float]:
    angle = sign * in_radians(angle_deg)
    return (math.cos(angle) - 1) / math.sin(angle), math.sin(angle)


# 1.2: a crop, from the edges of its window


def crop(box: tuple, size: tuple, less: int = 0) -> Tensor:
    (x1, y1, x2, y2), (h, w) = box, size
    if less:  # -1 and 1 as the centres of the outer pixels
        x2, y2, h, w = x2 - less, y2 - less, h - less, w - less
    left, right = 2 * x1 / w - 1, 2 * x2 / w - 1
    top, bottom = 2 * y1 / h - 1, 2 * y2 / h - 1
    return affine(
        (right - left) / 2,
        0.0,
        (left + right) / 2,
        0.0,
        (bottom - top) / 2,
        (top + bottom) / 2,
    )


def crop_from_corner(box: tuple, size: tuple) -> Tensor:
    (x1, y1, x2, y2), (h, w) = box, size
    tx, ty = 2 * x1 / w - 1, 2 * y1 / h - 1
    return affine((x2 - x1) / w, 0.0, tx, 0.0, (y2 - y1) / h, ty)


def crop_of_two(box: tuple, size: tuple) -> Tensor:
    (x1, y1, x2, y2), (h, w) = box, size
    tx, ty = (x1 + x2) / w - 1, (y1 + y2) / h - 1
    return affine(2 * (x2 - x1) / w, 0.0, tx, 0.0, 2 * (y2 - y1) / h, ty)


def crop_from_zero(box: tuple, size: tuple) -> Tensor:
    (x1, y1, x2, y2), (h, w) = box, size
    tx, ty = (x1 + x2) / 2 / w, (y1 + y2) / 2 / h
    return affine((x2 - x1) / w, 0.0, tx, 0.0, (y2 - y1) / h, ty)


# 1.3: a turn about a point


def turn_by_formula(point: tuple, angle_deg: float, size: tuple) -> Tensor:
    (px, py), (h, w), angle = point, size, math.radians(angle_deg)
    x, y = (2 * px + 1) / w - 1, (2 * py + 1) / h - 1
    b, c, cos = -h / w * math.sin(angle), w / h * math.sin(angle), math.cos(angle)
    return affine(cos, b, x - cos * x - b * y, c, cos, y - c * x - cos * y)


def turn_pixels(
    point: tuple,
    angle_deg: float,
    size: tuple,
    in_order: Callable = compose,
    align_corners: bool = False,
) -> Tensor:
    (x, y), middle = point, rotation(angle_deg)
    matrix = in_order(translation(x, y), middle, translation(-x, -y))
    return pixel_to_normalised(matrix, size, size, align_corners)


def turn_about_edge(point: tuple, angle_deg: float, size: tuple) -> Tensor:
    (px, py), (h, w) = point, size
    x, y = 2 * px / w - 1, 2 * py / h - 1
    there, back = translation(x, y), translation(-x, -y)
    return compose(there, turn_centre(point, angle_deg, size), back)


def turn_normalised(
    point: tuple, angle_deg: float, size: tuple, half: float = 0.5
) -> Tensor:
    (px, py), (h, w) = point, size
    x, y = (px + half) / w * 2 - 1, (py + half) / h * 2 - 1
    return compose(translation(x, y), rotation(angle_deg), translation(-x, -y))


def turn_unconverted(point: tuple, angle_deg: float, size: tuple) -> Tensor:
    x, y = point
    return compose(translation(x, y), rotation(angle_deg), translation(-x, -y))


def turn_centre(point: tuple, angle_deg: float, size: tuple) -> Tensor:
    (h, w), angle = size, math.radians(angle_deg)
    cos, sin = math.cos(angle), math.sin(angle)
    return affine(cos, -h / w * sin, 0.0, w / h * sin, cos, 0.0)


# 1.4: theta from points


def with_ones(points: Tensor) -> Tensor:
    return torch.cat([points, torch.ones(len(points), 1)], dim=1)


def normal_equations(target: Tensor, source: Tensor) -> Tensor:
    points = with_ones(target)
    return torch.linalg.solve(points.T @ points, points.T @ source).T[None]


def least_squares(target: Tensor, source: Tensor) -> Tensor:
    return torch.linalg.lstsq(with_ones(target), source).solution.T


def of_three(target: Tensor, source: Tensor) -> Tensor:
    return torch.linalg.solve(with_ones(target)[:3], source[:3]).T


def shiftless(target: Tensor, source: Tensor) -> Tensor:
    return F.pad(torch.linalg.lstsq(target, source).solution.T, (0, 1))


def reshaped(target: Tensor, source: Tensor) -> Tensor:
    return torch.linalg.lstsq(with_ones(target), source).solution.reshape(2, 3)


# 2.1: a cubic sampler, as the chapter builds one


def cubic_kernel(distance: Tensor, a: float) -> Tensor:
    d = distance.abs()
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = a * (((d - 5) * d + 8) * d - 4)
    return torch.where(d <= 1, near, torch.where(d < 2, far, 0))


def signed_kernel(d: Tensor, a: float) -> Tensor:
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = a * (((d - 5) * d + 8) * d - 4)
    return torch.where(d <= 1, near, torch.where(d < 2, far, 0))


def detached(sampler: Callable) -> Callable:
    return lambda input, grid, *a: sampler(input, grid.detach(), *a)


def wide_as_high(input: Tensor, grid: Tensor, a: float) -> Tensor:
    x = unnormalise(grid[..., 0], input.shape[2], align_corners=False)
    y = unnormalise(grid[..., 1], input.shape[3], align_corners=False)
    output = 0
    for m in (x.floor() + offset for offset in (-1, 0, 1, 2)):
        for n in (y.floor() + offset for offset in (-1, 0, 1, 2)):
            weight = cubic_kernel(x - m, a) * cubic_kernel(y - n, a)
            output = output + weight[:, None] * look_up(input, m, n)
    return output


def sample_cubic(
    input: Tensor,
    grid: Tensor,
    a: float,
    offsets: tuple = (-1, 0, 1, 2),
    kernel: Callable = cubic_kernel,
    border: bool = False,
    align_corners: bool = False,
) -> Tensor:
    height, width = input.shape[2:]
    x = unnormalise(grid[..., 0], width, align_corners)
    y = unnormalise(grid[..., 1], height, align_corners)
    output = 0
    for m in (x.floor() + offset for offset in offsets):
        for n in (y.floor() + offset for offset in offsets):
            weight = kernel(x - m, a) * kernel(y - n, a)
            column = m.clamp(0, width - 1) if border else m
            row = n.clamp(0, height - 1) if border else n
            output = output + weight[:, None] * look_up(input, column, row)
    return output


# The sampler: the chapter's, and others as a reader may write them


def abs_kernel(distance: Tensor) -> Tensor:
    return (1 - distance.abs()).clamp(min=0)


def sampler(
    kernel: Callable = abs_kernel,
    upper: Callable = lambda x: x.floor() + 1,
    lower: Callable = torch.floor,
    in_pixels: Callable = lambda coordinate, size: (coordinate + 1) * (size / 2) - 0.5,
) -> Callable[[Tensor, Tensor], Tensor]:
    def sample(input: Tensor, grid: Tensor) -> Tensor:
        x = in_pixels(grid[..., 0], input.shape[3])
        y = in_pixels(grid[..., 1], input.shape[2])
        output = 0
        for m in (lower(x), upper(x)):
            for n in (lower(y), upper(y)):
                weight = kernel(x - m) * kernel(y - n)
                output = output + weight[:, None] * look_up(input, m, n)
        return output

    return sample


def four_corners(upper: Callable) -> Callable[[Tensor, Tensor], Tensor]:
    """A sampler by the formula with four pixels and (1 - a), a."""

    def sample(input: Tensor, grid: Tensor) -> Tensor:
        x = ((grid[..., 0] + 1) * input.shape[3] - 1) / 2
        y = ((grid[..., 1] + 1) * input.shape[2] - 1) / 2
        x0, y0, x1, y1 = x.floor(), y.floor(), upper(x), upper(y)
        a, b = (x - x0)[:, None], (y - y0)[:, None]
        above = (1 - a) * look_up(input, x0, y0) + a * look_up(input, x1, y0)
        below = (1 - a) * look_up(input, x0, y1) + a * look_up(input, x1, y1)
        return (1 - b) * above + b * below

    return sample


with_ceil = four_corners(torch.ceil)
with_one_more = four_corners(lambda x: x.floor() + 1)


def left_tent(distance: Tensor) -> Tensor:
    """Every corner counted to its left side: the other slope that there is."""
    slope = torch.where(distance <= 0, 1.0, -1.0)
    return torch.where((distance > -1) & (distance <= 1), 1 + slope * distance, 0)


from_left = sampler(left_tent, torch.ceil, lambda x: x.ceil() - 1)


def from_both_sides(input: Tensor, grid: Tensor) -> Tensor:
    """The mean of both slopes: a difference over two pixels."""
    return (from_left(input, grid) + sampler(bilinear_kernel)(input, grid)) / 2


# 2.2: straight through


def smooth_and_nearest(input: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    return grid_sample(input, grid), grid_sample(input, grid, "nearest")


def straight_through(input: Tensor, grid: Tensor) -> Tensor:
    smooth, nearest = smooth_and_nearest(input, grid)
    return nearest.detach() + smooth - smooth.detach()


def roles_swapped(input: Tensor, grid: Tensor) -> Tensor:
    smooth, nearest = smooth_and_nearest(input, grid)
    return nearest + (smooth - nearest).detach()


def wrong_sign(input: Tensor, grid: Tensor) -> Tensor:
    smooth, nearest = smooth_and_nearest(input, grid)
    return smooth.detach() + (nearest - smooth)


def nothing_detached(input: Tensor, grid: Tensor) -> Tensor:
    smooth, nearest = smooth_and_nearest(input, grid)
    return smooth + (nearest - smooth)


def straight_by(
    sample: Callable, align_corners: bool = False
) -> Callable[[Tensor, Tensor], Tensor]:
    def answer(input: Tensor, grid: Tensor) -> Tensor:
        smooth = sample(input, grid)
        nearest = grid_sample(input, grid, "nearest", align_corners=align_corners)
        return smooth + (nearest - smooth).detach()

    return answer


# 2.3: a clean warp


def warp_clean(image: Tensor, theta: Tensor, size: tuple, rounded=math.floor) -> Tensor:
    times = max(0, rounded(math.log2(distance_down(image, theta, size))))
    for _ in range(times):
        image = F.avg_pool2d(image, 2)
    return warp(image, theta, size)


def distance_down(image: Tensor, theta: Tensor, size: tuple) -> float:
    grid = affine_grid(theta, (1, 1, *size))
    height, width = image.shape[2:]
    x, y = (grid[0, 1, 0] - grid[0, 0, 0]).tolist()
    return math.hypot(x * width / 2, y * height / 2)


def warp_clean_by_corners(image: Tensor, theta: Tensor, size: tuple) -> Tensor:
    for _ in range(math.floor(math.log2(max(1, distance_down(image, theta, size))))):
        image = F.avg_pool2d(image, 2)
    return warp(image, theta, size, align_corners=True)


def warp_clean_in_grid_units(image: Tensor, theta: Tensor, size: tuple) -> Tensor:
    grid = affine_grid(theta, (1, 1, *size))
    step = (grid[0, 0, 1] - grid[0, 0, 0]).norm()
    for _ in range(int(step.log2())):
        image = F.avg_pool2d(image, 2)
    return warp(image, theta, size)


def warp_clean_once(image: Tensor, theta: Tensor, size: tuple) -> Tensor:
    if distance_down(image, theta, size) >= 2:
        image = F.avg_pool2d(image, 2)
    return warp(image, theta, size)


def warp_clean_from_four(image: Tensor, theta: Tensor, size: tuple) -> Tensor:
    few = distance_down(image, theta, size) < 4
    return warp(image, theta, size) if few else warp_clean(image, theta, size)


def warp_clean_and_halve(image: Tensor, theta: Tensor, size: tuple) -> Tensor:
    step = distance_down(image, theta, size)
    while step >= 2:
        image, theta, step = F.avg_pool2d(image, 2), theta / 2, step / 2
    return warp(image, theta, size)


def warp_clean_and_zoom(image: Tensor, theta: Tensor, size: tuple) -> Tensor:
    step = distance_down(image, theta, size)
    while step >= 2:
        image, step = F.avg_pool2d(image, 2), step / 2
        theta = compose(theta, scaling(0.5))
    return warp(image, theta, size)


# 3.1: a shuffle in windows


def same_order_in_each(images: Tensor, side: int) -> Tensor:
    cells = F.pixel_unshuffle(images, side)
    return F.pixel_shuffle(cells[:, torch.randperm(side**2)], side)


def with_loops(images: Tensor, side: int) -> Tensor:
    mixed = images.clone()
    for y in range(0, images.shape[2], side):
        for x in range(0, images.shape[3], side):
            cell = images[:, :, y : y + side, x : x + side]
            order = torch.randperm(side * side)
            mixed[:, :, y : y + side, x : x + side] = cell.flatten(2)[
                ..., order
            ].view_as(cell)
    return mixed


def left_in_lines(images: Tensor, side: int) -> Tensor:
    flat = windows(images, side, side).flatten(4)
    return flat.gather(4, torch.rand_like(flat).argsort(4)).reshape_as(images)


def whole_windows(images: Tensor, side: int) -> Tensor:
    cells = windows(images, side, side)
    flat = cells.flatten(2, 3)
    flat = flat[:, :, torch.randperm(flat.shape[2])]
    return flat.view(cells.shape).transpose(3, 4).reshape_as(images)


def everything(images: Tensor, side: int) -> Tensor:
    return images.flatten(2)[..., torch.randperm(images[0].numel())].view_as(images)


def across_the_batch(images: Tensor, side: int) -> Tensor:
    flat = windows(images, side, side)
    flat = flat.gather(0, torch.rand_like(flat).argsort(0))
    return flat.transpose(3, 4).reshape_as(images)


# 3.2: shifts that the output survives


def survives(net: nn.Module, images: Tensor, s: int, dim: int = 3) -> bool:
    return torch.allclose(net(images), net(images.roll(s, dim)), atol=1e-5)


def as_tensor(net: nn.Module, images: Tensor, shifts: list) -> Tensor:
    return torch.tensor([s for s in shifts if survives(net, images, s)])


def by_largest_gap(net: nn.Module, images: Tensor, shifts: list) -> tuple:
    still, found = net(images), []
    for s in shifts:
        gap = (net(torch.roll(images, s, dims=-1)) - still).abs().max()
        if gap < 1e-3:
            found.append(s)
    return tuple(found)


def on_and_on(net: nn.Module, images: Tensor, shifts: list) -> list[int]:
    still, found = net(images), []
    for s in shifts:
        images = images.roll(s, 3)
        if torch.allclose(net(images), still, atol=1e-5):
            found.append(s)
    return found


def same_digit(net: nn.Module, images: Tensor, shifts: list) -> list[int]:
    said = [net(images.roll(s, 3)).argmax(dim=1) for s in (0, *shifts)]
    return [s for s, a in zip(shifts, said[1:], strict=True) if torch.equal(a, said[0])]


# 3.3: a maximum over turns


def in_one_batch(net: nn.Module, images: Tensor) -> Tensor:
    turned = [torch.rot90(images, k, dims=(3, 2)) for k in range(4)]
    return net(torch.cat(turned)).view(4, len(images), -1).max(dim=0).values


def four(net: nn.Module, images: Tensor) -> Tensor:
    return torch.stack([net(images.rot90(k, (2, 3))) for k in range(4)])


def rot90_unguided(net: nn.Module, images: Tensor) -> Tensor:
    return torch.stack([net(torch.rot90(images, k)) for k in range(4)]).amax(dim=0)


def by_turning(net: nn.Module, images: Tensor) -> Tensor:
    output = net(images)
    for _ in range(2):
        images = images.rot90(1, (2, 3))
        output = torch.maximum(output, net(images))
    return output


RIGHT = [
    ("0.1", nearest_by_hand),
    ("0.1", lambda k, labels, x: labels[gaps(k, x).square().min(dim=1).indices]),
    ("0.2", in_one_warp),
    ("0.2", lambda x, a, f, p: shift(resize(turn(x, a), f), p)),
    ("0.2", lambda x, a, f, p: shift(turn(resize(x, f), a), p)),  # these two commute
    ("0.3", surest_so_far),
    ("0.3", lambda *case: surest_so_far(*case).tolist()),
    ("1.1", shears),
    ("1.1", lambda a: np.array(shears(a))),
    ("1.1", lambda a: [torch.tensor([n]) for n in shears(a)]),
    ("1.2", crop),
    ("1.3", turn_by_formula),
    ("1.3", turn_pixels),
    ("1.4", normal_equations),
    ("1.4", least_squares),
    ("2.1", sample_cubic),
    ("2.2", straight_through),
    ("2.2", straight_by(with_one_more)),
    ("sampler", sampler(bilinear_kernel)),
    (
        "sampler",
        sampler(bilinear_kernel, in_pixels=partial(unnormalise, align_corners=0)),
    ),
    ("sampler", with_one_more),
    ("sampler", from_left),
    ("sampler", grid_sample),
    ("sampler", partial(F.grid_sample, align_corners=False)),
    ("sampler", lambda input, grid: grid_sample(input.double(), grid.double())),
    ("2.3", warp_clean),
    ("3.1", same_order_in_each),
    ("3.1", with_loops),
    ("3.2", as_tensor),
    ("3.2", by_largest_gap),
    ("3.3", in_one_batch),
    ("3.3", lambda net, x: four(net, x).flip(0).amax(dim=0)),
]


@pytest.mark.parametrize(("exercise", "answer"), RIGHT)
def test_a_right_answer_passes(exercise: str, answer: Callable) -> None:
    verdict = check(exercise, answer)
    assert verdict, verdict


# Usual mistakes, as a learner would write them, and what names them

WRONG = [
    ("0.1", lambda k, labels, x: labels[gaps(k, x).argmax(dim=1)], "the farthest"),
    ("0.1", lambda k, labels, x: gaps(k, x).argmin(dim=1), "Look up the labels"),
    ("0.1", lambda k, labels, x: labels[gaps(k, x).argmin(dim=0)], "over `images`"),
    ("0.1", lambda k, labels, x: labels[gaps(x, k).argmin(dim=1)], "over `images`"),
    ("0.1", nearest_by_sum, "without their squares"),
    ("0.1", most_alike, "the largest product"),
    ("0.2", forgetful, "only the shift is left"),
    ("0.2", lambda x, a, f, p: shift(resize(turn(x, -a), f), p), "turns the other"),
    ("0.2", lambda x, a, f, p: shift(resize(turn(x, a), 1 / f), p), "grows where"),
    ("0.2", lambda x, a, f, p: shift(resize(turn(x, a), f), -p), "moves the other"),
    ("0.2", composed_backwards, "come in another order"),
    ("0.2", lambda x, a, f, p: turn(resize(shift(x, p), f), a), "in another order"),
    ("0.2", lambda x, a, f, p: turn(shift(resize(x, f), p), a), "in another order"),
    ("0.2", lambda x, a, f, p: resize(shift(turn(x, a), p), f), "in another order"),
    ("0.2", lambda x, a, f, p: shift_down(resize(turn(x, a), f), p), "moves down"),
    ("0.2", lambda x, a, f, p: shift_by_share(resize(turn(x, a), f), p), "half as far"),
    ("0.2", lambda x, a, f, p: shift_by_pixels(resize(turn(x, a), f), p), "has left"),
    ("0.2", lambda x, a, f, p: in_one_warp(x, math.radians(a), f, p), "into radians"),
    (
        "0.3",
        lambda *case: torch.stack(ask(*case)).amax(dim=0).argmax(dim=1),
        "Only after softmax",
    ),
    (
        "0.3",
        lambda *case: sum(x.softmax(dim=1) for x in ask(*case)).argmax(dim=1),
        "averages over the angles",
    ),
    ("0.3", last_angle, "only the last angle"),
    ("0.3", lambda net, x, a: surest_so_far(net, x, [-b for b in a]), "the other way"),
    ("0.3", winning_angle, "the places of the winning angles"),
    (
        "0.3",
        lambda net, x, a: surest_so_far(net, x, [math.radians(b) for b in a]),
        "into radians",
    ),
    (
        "0.3",
        lambda *case: (
            torch.stack([x.softmax(dim=0) for x in ask(*case)])
            .amax(dim=0)
            .argmax(dim=1)
        ),
        "softmax runs over the images",
    ),
    ("1.1", partial(shears, sign=-1), "the grid turns the other way"),
    ("1.1", partial(shears, in_radians=float), "degrees were taken for radians"),
    ("1.1", lambda a: shears(a)[::-1], "k and m changed places"),
    ("1.1", lambda a: shears(30.0), "do not depend on the angle"),
    ("1.2", lambda b, size: crop((b[1], b[0], b[3], b[2]), size), "x and y changed"),
    ("1.2", lambda box, size: crop(box, size[::-1]), "x and y changed"),
    ("1.2", lambda box, size: invert(crop(box, size)), "this is the inverse"),
    ("1.2", partial(crop, less=1), "the centres of the outer pixels"),
    ("1.2", crop_from_corner, "the window's corner"),
    ("1.2", crop_from_zero, "run from 0 to 1 here"),
    ("1.2", crop_of_two, "twice as wide and high"),
    ("1.2", lambda box, size: translation(*box[:2]), "the numbers are in pixels"),
    ("1.3", lambda p, a, size: turn_pixels(p[::-1], a, size), "x and y changed"),
    ("1.3", lambda p, a, size: turn_pixels(p, a, size[::-1]), "x and y changed"),
    ("1.3", lambda p, a, size: turn_by_formula(p, -a, size), "turns the other way"),
    ("1.3", turn_normalised, "Turn pixels"),
    ("1.3", partial(turn_normalised, half=0), "Turn pixels"),
    ("1.3", lambda p, a, size: rotation(a), "this is `rotation` alone"),
    ("1.3", turn_about_edge, "half a pixel is missing"),
    ("1.3", lambda p, a, size: turn_pixels(p, math.radians(a), size), "into radians"),
    (
        "1.3",
        partial(turn_pixels, in_order=lambda *thetas: compose(*thetas[::-1])),
        "the two shifts changed places",
    ),
    ("1.3", turn_centre, "about the image's centre"),
    ("1.3", partial(turn_pixels, align_corners=True), "centres of the outer pixels"),
    ("1.3", turn_unconverted, "the numbers are in pixels"),
    ("1.4", lambda target, source: least_squares(source, target), "the inverse"),
    ("1.4", shiftless, "it has no shift"),
    ("1.4", lambda t, s: least_squares(t.flip(1), s.flip(1)), "x and y changed"),
    ("1.4", reshaped, "stand in the wrong order"),
    ("1.4", of_three, "three of the pairs"),
    ("2.1", lambda x, g, a: sample_cubic(x, g, -0.75), "a changes nothing"),
    ("2.1", lambda x, g, a: sample_cubic(x, g, -0.5), "a changes nothing"),
    ("2.1", partial(sample_cubic, offsets=(0, 1)), "other neighbours"),
    ("2.1", partial(sample_cubic, offsets=(0, 1, 2)), "other neighbours"),
    ("2.1", partial(sample_cubic, offsets=(-2, -1, 0, 1)), "other neighbours"),
    ("2.1", lambda x, g, a: sample_cubic(x, g[..., [1, 0]], a), "x and y changed"),
    ("2.1", partial(sample_cubic, align_corners=True), "centres of the outer pixels"),
    ("2.1", partial(sample_cubic, border=True), "it reads the border"),
    ("2.1", wide_as_high, "height and width changed places"),
    ("2.1", detached(sample_cubic), "no gradient reaches the grid"),
    (
        "2.1",
        lambda x, g, a: sample_cubic(
            x, torch.stack([g[..., 0], g[..., 1].detach()], 3), a
        ),
        "the gradient of the grid is not",
    ),
    (
        "2.1",
        lambda x, g, a: sample_cubic(x.detach(), g, a),
        "the gradient of the pixels is not",
    ),
    ("2.1", lambda x, g, a: sample_cubic(x, g, a).detach().numpy(), "with a gradient"),
    ("2.1", partial(sample_cubic, kernel=signed_kernel), "with its sign"),
    ("2.2", grid_sample, "this is bilinear alone"),
    ("2.2", partial(grid_sample, mode="nearest"), "the gradient is 0 everywhere"),
    ("2.2", nothing_detached, "the gradient is 0 everywhere"),
    ("2.2", lambda x, g: straight_through(x, g).detach(), "the gradient is 0"),
    ("2.2", roles_swapped, "the roles changed places"),
    ("2.2", wrong_sign, "the gradient has the wrong sign"),
    (
        "2.2",
        straight_by(partial(grid_sample, align_corners=True), align_corners=True),
        "centres of the outer pixels",
    ),
    ("2.2", straight_by(with_ceil), "the upper neighbour is `ceil`"),
    ("2.2", straight_by(sampler(bilinear_kernel, torch.ceil)), "neighbour is `ceil`"),
    ("2.2", straight_by(sampler()), "made with `abs`"),
    ("sampler", with_ceil, "the slope, is 0"),
    ("sampler", sampler(upper=torch.ceil), "which so counts twice"),
    ("sampler", sampler(bilinear_kernel, torch.ceil), "which so counts twice"),
    ("sampler", sampler(), "made with `abs`"),
    ("sampler", detached(grid_sample), "no gradient reaches the grid"),
    ("sampler", from_both_sides, "the values are right, but of the grid's"),
    ("sampler", lambda x, g: grid_sample(x.detach(), g), "gradient of the pixels is"),
    ("sampler", partial(grid_sample, mode="nearest"), "this is nearest"),
    ("sampler", partial(grid_sample, padding_mode="border"), "it reads the border"),
    ("sampler", partial(grid_sample, align_corners=True), "centres of the outer"),
    ("sampler", lambda x, g: grid_sample(x, g.flip(3)), "x and y changed places"),
    ("sampler", lambda x, g: grid_sample(x, g).detach().numpy(), "with a gradient"),
    (
        "sampler",
        sampler(
            bilinear_kernel, in_pixels=lambda c, size: (c + 1) * (48 - size) / 2 - 0.5
        ),
        "height and width changed places",
    ),
    ("2.3", warp, "averaged too rarely, or not at all"),
    ("2.3", warp_clean_in_grid_units, "averaged too rarely, or not at all"),
    ("2.3", warp_clean_once, "averaged too rarely, or not at all"),
    ("2.3", warp_clean_from_four, "averaged too rarely, or not at all"),
    ("2.3", partial(warp_clean, rounded=math.ceil), "once too often"),
    ("2.3", partial(warp_clean, rounded=round), "once too often"),
    ("2.3", warp_clean_and_halve, "theta was changed"),
    ("2.3", warp_clean_and_zoom, "theta was changed"),
    ("2.3", warp_clean_by_corners, "the centres of the outer pixels"),
    ("3.1", left_in_lines, "lie in one line of the image"),
    ("3.1", whole_windows, "whole windows changed places"),
    ("3.1", everything, "pixels left their windows of 4×4"),
    ("3.1", lambda images, side: with_loops(images, 4), "their windows of 3×3"),
    ("3.1", across_the_batch, "from one image to another"),
    ("3.1", lambda images, side: images, "most windows stay as they were"),
    ("3.1", lambda images, side: images.round(decimals=1), "the values are not"),
    ("3.1", lambda images, side: images[..., :-1], "of shape (3, 1, 24, 36), but got"),
    (
        "3.2",
        lambda net, x, shifts: [
            s for s in shifts if torch.equal(net(x), net(x.roll(s, 3)))
        ],
        "equality to the last digit",
    ),
    (
        "3.2",
        lambda net, x, shifts: [s for s in shifts if survives(net, x, s, dim=2)],
        "the images move down",
    ),
    (
        "3.2",
        lambda net, x, shifts: [survives(net, x, s) for s in shifts],
        "True or False",
    ),
    ("3.2", on_and_on, "where the last one ended"),
    ("3.2", same_digit, "only the largest output"),
    (
        "3.2",
        lambda net, x, shifts: [s for s in shifts if not survives(net, x, s)],
        "that change the output",
    ),
    ("3.3", lambda net, x: four(net, x).mean(dim=0), "the mean of the four"),
    ("3.3", rot90_unguided, "turned batch and channels"),
    ("3.3", by_turning, "one of the four turns is missing"),
    ("3.3", lambda net, x: four(net, x)[1:].amax(dim=0), "one of the four turns"),
    ("3.3", lambda net, x: four(net, x).amax(dim=-1), "over the classes"),
    ("3.3", lambda net, x: four(net, x).amax(dim=0).amax(dim=1), "over the classes"),
    ("3.3", lambda net, x: four(net, x).amax(dim=1), "over the images"),
    ("3.3", lambda net, x: four(net, x).amax(dim=0).argmax(dim=1), "these are labels"),
]


@pytest.mark.parametrize(("exercise", "answer", "said"), WRONG)
def test_a_usual_mistake_is_named(exercise: str, answer: Callable, said: str) -> None:
    assert_named(check(exercise, answer), said)


def test_every_hint_is_tested() -> None:
    assert untested_hints([*MINE, "sampler"], WRONG) == []


# Other wrong answers


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        ("0.1", lambda known, labels, images: labels[: len(images)]),
        ("0.2", lambda images, angle_deg, factor, pixels: images),
        ("0.3", lambda net, images, angles: torch.zeros(len(images))),
        ("1.1", lambda angle_deg: (0.1, 0.2)),
        ("1.2", lambda box, size: scaling(0.5)),
        ("1.3", lambda point, angle_deg, size: scaling(0.5)),
        ("1.4", lambda target, source: 2 * least_squares(target, source)),
        ("2.1", lambda input, grid, a: grid_sample(input, grid)),
        ("2.2", lambda input, grid: 2 * grid_sample(input, grid)),
        ("2.3", lambda image, theta, size: warp(image.flip(3), theta, size)),
        ("3.1", lambda images, side: images.flip(3)),
        ("3.2", lambda net, images, shifts: shifts[:3]),
        ("3.3", lambda net, images: net(images)),
    ],
)
def test_an_unknown_mistake_gets_no_guess(exercise: str, answer: Callable) -> None:
    verdict = check(exercise, answer)
    assert not verdict
    assert "got: " in verdict.text
    assert "Likely" not in verdict.text


def test_the_two_shears_are_not_told() -> None:
    text = check("1.1", lambda angle_deg: (0.1, 0.2)).text
    assert "angle_deg = 30" in text
    assert "0.267" not in text  # tan(15 degrees)


def test_a_network_is_named_in_one_line() -> None:
    text = check("3.3", lambda net, images: net(images)).text
    assert "  net = a network (Sequential)\n" in text


def test_every_exercise_has_a_right_and_a_wrong_answer() -> None:
    assert {name for name, _ in RIGHT} == {*MINE, "sampler"}
    assert {name for name, *_ in WRONG} == {*MINE, "sampler"}


# A right result in another form


@pytest.mark.parametrize("form", [Tensor.double, Tensor.numpy, Tensor.tolist, list])
@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        ("0.1", lambda *case: torch.tensor(nearest_by_hand(*case))),
        ("0.2", in_one_warp),
        ("0.3", surest_so_far),
        ("1.1", lambda angle_deg: torch.tensor(shears(angle_deg))),
        ("1.2", crop),
        ("1.3", turn_pixels),
        ("1.4", least_squares),
        ("2.3", warp_clean),
        ("3.1", with_loops),
        ("3.2", as_tensor),
        ("3.3", in_one_batch),
    ],
)
def test_numbers_count_and_not_what_holds_them(
    exercise: str, answer: Callable, form: Callable
) -> None:
    verdict = check(exercise, lambda *case: form(answer(*case)))
    assert verdict, verdict


# The gradient on whole pixels


@pytest.mark.parametrize("side", [28, 32, 42])
def test_the_slope_on_either_side_of_a_pixel_will_do_and_no_other(side: int) -> None:
    case = chapter_2.some_grid(side, side)
    for right in (
        with_one_more,
        from_left,
        partial(F.grid_sample, align_corners=False),
    ):
        assert chapter_2.judge_sampler(chapter_2.run(right, **case), **case) == ""
    for wrong in (with_ceil, sampler(), from_both_sides):
        fault = chapter_2.judge_sampler(chapter_2.run(wrong, **case), **case)
        assert "the values are right, but of the grid's" in fault


def test_a_gradient_that_is_not_a_number_is_not_right() -> None:
    def broken(input: Tensor, grid: Tensor) -> Tensor:
        return grid_sample(input, grid) + 0 * (grid - grid).abs().sqrt().sum()

    assert "gradients are wrong" in check("sampler", broken).text.replace("2048 ", "")


def test_the_gradient_of_the_cubic_sampler_is_that_of_pytorch() -> None:
    case = chapter_2.some_grid(9, 12)
    torch_sampler = partial(F.grid_sample, mode="bicubic", align_corners=False)
    for a, said in ((-0.75, ""), (-0.5, "the gradient of the grid is not: ")):
        output = torch_sampler(case["input"], case["grid"])
        fault = chapter_2.judge_cubic_gradient(output, **case, a=a)
        assert said in fault
        assert bool(said) == bool(fault)


def test_the_chapters_sampler_passes_with_the_kernel_that_the_package_holds() -> None:
    assert not check("sampler", sampler(abs_kernel))
    assert check("sampler", sampler(bilinear_kernel)).text == (
        "The sampler: right, in all 3 cases."
    )
