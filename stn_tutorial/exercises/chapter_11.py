"""The exercises of chapter 11: fast."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from stn_tutorial.affine import affine, compose, rotation, scaling
from stn_tutorial.exercises import (
    Exercise,
    WrongForm,
    kind,
    numbers_in,
    one_number,
    tensor_of,
)

# 11.1: where a row needs no checks


def rows() -> list[dict[str, float | int]]:
    given = [
        (0.0, 1.0, 8, 8),
        (-2.5, 0.75, 10, 20),
        (12.0, -0.75, 10, 18),
        (3.0, 0.0, 10, 6),
        (9.5, 0.0, 10, 6),
        (-30.0, 0.5, 10, 12),
        (2.25, 1.5, 9, 5),
    ]
    names = ("start", "step", "width", "count")
    return [dict(zip(names, numbers, strict=True)) for numbers in given]


def inner(
    start: float, step: float, width: int, count: int, low: float = 0, less: float = 1
) -> Tensor:
    here = [i for i in range(count) if low <= start + step * i < width - less]
    return torch.tensor([here[0], here[-1] + 1.0] if here else [0.0, 0.0])


def one_less(**case: Any) -> Tensor:
    return (inner(**case) - torch.tensor([0.0, 1.0])).clamp(min=0)


def never_from_the_right(**case: Any) -> Tensor:
    return inner(**case) * (case["step"] >= 0)


def as_pair(got: object, **case: object) -> Tensor:
    numbers = numbers_in(got)
    if numbers is None or numbers.numel() != 2:
        raise WrongForm(f"expected two whole numbers, but got {kind(got)}.")
    first, end = numbers.double().flatten().tolist()
    if not (first.is_integer() and end.is_integer()):  # NaN is none
        raise WrongForm(f"expected whole numbers, but got {first} and {end}.")
    return torch.tensor([0.0, 0.0] if first >= end else [first, end])


# 11.2: how many points a pixel needs


def windows() -> list[dict[str, object]]:
    whole = affine(1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    turned = compose(scaling(0.9, 0.3), rotation(40.0))
    slanted = affine(0.2, 0.7, 0.1, -0.6, 0.3, 0.0)
    return [
        {"theta": whole, "source": (64, 64), "target": (16, 16)},
        {"theta": whole, "source": (20, 20), "target": (40, 40)},
        {"theta": whole, "source": (40, 200), "target": (20, 25)},
        {"theta": turned, "source": (240, 500), "target": (28, 60)},
        {"theta": slanted, "source": (99, 50), "target": (9, 30)},
    ]


def sides(theta: Tensor, source: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """How many pixels of the source lie along each side of a target's pixel."""
    here = theta.new_tensor([[source[1]], [source[0]]])
    there = theta.new_tensor([target[1], target[0]])
    return (theta[0, :, :2] * here / there).norm(dim=0)


def up(number: Tensor) -> Tensor:
    return (number - 1e-3).ceil().clamp(min=1)


def points(theta: Tensor, source: tuple[int, int], target: tuple[int, int]) -> Tensor:
    return up(sides(theta, source, target).max())


def as_count(got: object, **case: object) -> Tensor:
    number = one_number(got)
    if isinstance(number, bool):
        raise WrongForm(f"expected a whole number, but got {number}.")
    if not float(number).is_integer():  # NaN is none
        raise WrongForm(f"expected a whole number, but got {number:.3g}.")
    return torch.tensor(float(number))


# 11.3: an output in strips


def strips() -> list[dict[str, object]]:
    turned = compose(scaling(0.8, 0.5), rotation(30.0))
    both = affine(
        torch.tensor([1.0, 0.4]), 0.3, 0.1, -0.2, torch.tensor([0.7, 1.2]), 0.0
    )
    return [
        {
            "theta": affine(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
            "first": 0,
            "rows": 5,
            "height": 10,
        },
        {"theta": turned, "first": 12, "rows": 8, "height": 32},
        {"theta": both, "first": 30, "rows": 1, "height": 31},
    ]


def strip(
    theta: Tensor, first: float, rows: float, height: float, less: float = 0
) -> Tensor:
    middle = (2 * first + rows) / height - 1
    share = (rows - less) / (height - less)
    return compose(theta, affine(1.0, 0.0, 0.0, 0.0, share, middle, dtype=theta.dtype))


def strip_first(theta: Tensor, first: int, rows: int, height: int) -> Tensor:
    middle = (2 * first + rows) / height - 1
    return compose(affine(1.0, 0.0, 0.0, 0.0, rows / height, middle), theta)


def from_the_top(theta: Tensor, first: int, rows: int, height: int) -> Tensor:
    top = affine(1.0, 0.0, 0.0, 0.0, rows / height, 2 * first / height - 1)
    return compose(theta, top)


def only_moved(theta: Tensor, first: int, rows: int, height: int) -> Tensor:
    middle = (2 * first + rows) / height - 1
    return compose(theta, affine(1.0, 0.0, 0.0, 0.0, 1.0, middle))


def as_theta(got: object, theta: Tensor, **case: object) -> Tensor:
    return tensor_of(tuple(theta.shape), got, "theta, as a tensor")


EXERCISES = {
    "11.1": Exercise(
        asks="inner(start, step, width, count)",
        cases=rows,
        expected=inner,
        read=as_pair,
        mistakes=[
            (
                "the right neighbour is forgotten: it stands one pixel further, and "
                "must be inside, too.",
                partial(inner, less=0),
            ),
            (
                "at -0.5 the left neighbour is outside. The first pixel stands at 0.",
                partial(inner, low=-0.5),
            ),
            (
                "`end` is the first column that is not in any more, as in `range`.",
                one_less,
            ),
            (
                "the row runs from right to left where the step is negative.",
                never_from_the_right,
            ),
        ],
    ),
    "11.2": Exercise(
        asks="points(theta, source, target)",
        cases=windows,
        expected=points,
        read=as_count,
        mistakes=[
            (
                "this is the shorter side of a pixel. The longer one aliases first.",
                lambda **case: up(sides(**case).min()),
            ),
            (
                "this rounds down or to the nearest. The points then lie further apart "
                "than pixels.",
                lambda **case: sides(**case).max().round().clamp(min=1),
            ),
            (
                "theta alone says how much of the image is seen, but not by how many "
                "pixels.",
                lambda theta, **sizes: up(theta[0, :, :2].norm(dim=0).max()),
            ),
            (
                "height and width changed places. Sizes begin with the height, theta "
                "with x.",
                lambda theta, source, target: points(theta, source[::-1], target[::-1]),
            ),
        ],
    ),
    "11.3": Exercise(
        asks="strip(theta, first, rows, height)",
        cases=strips,
        expected=strip,
        read=as_theta,
        mistakes=[
            (
                "the order is the other one: a point of the strip first becomes a "
                "point of the whole output, and then goes through theta.",
                strip_first,
            ),
            (
                "this moves to the strip's upper edge. Its middle is where y is 0.",
                from_the_top,
            ),
            (
                "the strip is moved, but still as high as the whole output.",
                only_moved,
            ),
            (
                "rows are counted from centre to centre. With `align_corners=False` "
                "from -1 to 1 there are `height` rows, not `height - 1`.",
                lambda theta, first, rows, height: strip(theta, first, rows, height, 1),
            ),
        ],
    ),
}
