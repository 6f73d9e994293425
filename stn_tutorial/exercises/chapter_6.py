"""The exercises of chapter 6: the paper's table, again."""

from collections.abc import Callable

import torch
from torch import Tensor

from stn_tutorial.affine import affine, affine_grid, compose, invert, rotation, scaling
from stn_tutorial.exercises import Exercise, difference, one_number, tensor_of
from stn_tutorial.warps import (
    CORNERS,
    control_points,
    projective_from_corners,
    projective_grid,
    target_points,
    thin_plate_spline_grid,
)

Size = tuple[int, int, int, int]

SWAPPED = "x and y changed places. A point is (x, y), and x runs along the width."

# 6.1: an affine transform as a spline


def call_with_theta(answer: Callable, theta: Tensor, size: Size) -> object:
    return answer(theta)


def bend(got: object, theta: Tensor, size: Size) -> Tensor:
    places = tensor_of((len(theta), 16, 2), got, "places")
    return thin_plate_spline_grid(places, size)


def affine_by_spline(
    theta: Tensor, size: Size, pins: Tensor | None = None, row: bool = True
) -> Tensor:
    pins = control_points() if pins is None else pins
    matrix = theta[:, :, :2].mT if row else theta[:, :, :2]
    return thin_plate_spline_grid(pins @ matrix + theta[:, None, :, 2], size)


def without_shift(theta: Tensor) -> Tensor:
    return torch.cat([theta[:, :, :2], torch.zeros(len(theta), 2, 1)], dim=2)


def transforms() -> list[dict[str, object]]:
    one = compose(rotation(30.0), scaling(0.5, 0.8))
    one[0, :, 2] = torch.tensor([0.3, -0.1])
    two = torch.cat([affine(1.2, 0.3, -0.4, 0.1, 0.7, 0.2), rotation(-100.0)])
    return [{"theta": one, "size": (1, 1, 3, 4)}, {"theta": two, "size": (2, 3, 6, 5)}]


# 6.2: how many digits a difference needs


def digits_needed(difference: float, error: float) -> int:
    share, gap = error / 100, difference / 100
    return round(8 * share * (1 - share) / gap**2)


def numbers_needed(fault: float) -> Callable[[float, float], float]:
    return lambda difference, error: fault * digits_needed(difference, error)


# 6.3: what no affine transform undoes


def tilts(pixels: float) -> tuple[float, float]:
    """How far tilted grids are from the identity, and from the best affine one."""
    noise = torch.randn(2000, 4, 2, generator=torch.Generator().manual_seed(8))
    theta = projective_from_corners(torch.tensor(CORNERS) + pixels / 14 * noise)
    size = (len(theta), 1, 28, 28)
    points = target_points(size, theta)
    moved = projective_grid(theta, size).flatten(1, 2) - points
    terms = torch.cat([points, torch.ones(len(points), 1)], dim=1)
    basis = torch.linalg.qr(terms).Q  # of all that an affine map can do
    left = moved - basis @ (basis.T @ moved)
    lengths, left_over = (
        14 * shift.square().sum(2).mean(1).sqrt() for shift in (moved, left)
    )
    return lengths.median().item(), left_over.median().item()


def pixels_left(got: object, pixels: float) -> float:
    return one_number(got)


def judge_left_over(number: float, pixels: float) -> str:
    right = tilts(pixels)[1]
    if number > 4 * right:
        return (
            "the corners move much too far. `projective_from_corners` takes "
            "normalised coordinates, not pixels."
        )
    return difference(right, number, 0.1 * right)


EXERCISES = {
    "6.1": Exercise(
        asks="as_spline(theta)",
        cases=transforms,
        apply=call_with_theta,
        read=bend,
        expected=lambda theta, size: affine_grid(theta, size, align_corners=False),
        mistakes=[
            (SWAPPED, lambda theta, size: affine_by_spline(theta, size).flip(3)),
            (
                SWAPPED,
                lambda theta, size: affine_by_spline(
                    theta, size, control_points().flip(1)
                ),
            ),
            (
                "the shift is forgotten: theta's last column moves every point.",
                lambda theta, size: affine_by_spline(without_shift(theta), size),
            ),
            (
                "the matrix is transposed. A point that stands as a row before it is "
                "not multiplied like a column behind it.",
                lambda theta, size: affine_by_spline(theta, size, row=False),
            ),
            (
                "this is the inverse. theta says where the output's points look in "
                "the input, and so do the places of the control points.",
                lambda theta, size: affine_by_spline(invert(theta), size),
            ),
            (
                "these control points reach from 0 to 1. The lattice reaches from "
                "-1 to 1, from edge to edge.",
                lambda theta, size: affine_by_spline(
                    theta, size, (control_points() + 1) / 2
                ),
            ),
            (
                "these control points are the centres of 4 x 4 pixels. The lattice "
                "reaches from -1 to 1, from edge to edge.",
                lambda theta, size: affine_by_spline(
                    theta, size, 0.75 * control_points()
                ),
            ),
            (
                "all images get the first one's transform.",
                lambda theta, size: affine_by_spline(theta[:1], size),
            ),
        ],
        tolerance=1e-3,
    ),
    "6.2": Exercise(
        asks="digits_needed(difference, error)",
        cases=lambda: [
            {"difference": difference, "error": error}
            for difference, error in ((0.2, 0.5), (0.5, 2.0), (2.0, 20.0))
        ],
        expected=digits_needed,
        mistakes=[
            (
                "this is the variance of one network's error. The other's adds to it.",
                numbers_needed(1 / 2),
            ),
            (
                "here the difference is once its standard error, not twice.",
                numbers_needed(1 / 4),
            ),
            (
                "here the difference is half its standard error, not twice.",
                numbers_needed(1 / 16),
            ),
            (
                "the difference is in per cent, but the variance is that of a share.",
                numbers_needed(1 / 10_000),
            ),
            (
                "p (1 - p) holds for a share p between 0 and 1. The error is in per "
                "cent.",
                lambda difference, error: 8 * error * (1 - error) / difference**2,
            ),
            (
                "a standard error was not squared: variances are what falls "
                "with the number of digits.",
                lambda difference, error: (
                    4 * error * (100 - error) / difference  # over half the difference
                ),
            ),
        ],
        tolerance=1.0,  # rounded up, down or not at all
    ),
    "6.3": Exercise(
        asks="left_over_by_corners(pixels)",
        cases=lambda: [{"pixels": 3.0}, {"pixels": 6.0}],
        expected=lambda pixels: tilts(pixels)[1],
        read=pixels_left,
        judge=judge_left_over,
        mistakes=[
            (
                "the corners move half as far. The image is 2 units wide, so 14 of its "
                "28 pixels are one unit.",
                lambda pixels: tilts(pixels)[1] / 2,
            ),
            (
                "this number is in normalised units. Pixels are asked for.",
                lambda pixels: tilts(pixels)[1] / 14,
            ),
            (
                "this is how far the points move in all. Asked is what is left over "
                "when an affine transform has done its best.",
                lambda pixels: tilts(pixels)[0],
            ),
        ],
        tolerance=0.05,
    ),
}
