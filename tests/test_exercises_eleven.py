"""The exercises of chapter 11: right answers pass, usual mistakes are named."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from test_exercises import EXERCISES, assert_named, untested_hints
from torch import Tensor

from stn_tutorial.affine import affine
from stn_tutorial.exercises import chapter_11, check
from stn_tutorial.interpolation import warp

MINE = [name for name in EXERCISES if name.startswith("11.")]


def by_the_line(start: float, step: float, width: int, count: int) -> tuple[int, int]:
    """Solve 0 <= start + step i < width - 1 for i."""
    if step == 0:
        return (0, count) if 0 <= start < width - 1 else (0, 0)
    if step > 0:
        first = math.ceil(-start / step)
        end = math.ceil((width - 1 - start) / step)
    else:
        first = math.floor((width - 1 - start) / step) + 1
        end = math.floor(-start / step) + 1
    return max(0, min(first, count)), max(0, min(end, count))


def by_two_readings(theta: Tensor, source: tuple, target: tuple) -> int:
    """How far apart neighbouring points of the output are read, in pixels."""
    h, w = target
    places = torch.tensor([[0.0, 0, 1], [2 / w, 0, 1], [0, 2 / h, 1]])
    read = places @ theta[0].mT * torch.tensor([source[1], source[0]]) / 2
    longest = max((read[1] - read[0]).norm(), (read[2] - read[0]).norm())
    return max(1, math.ceil(longest - 1e-4))


def by_rows(theta: Tensor, first: int, rows: int, height: int) -> Tensor:
    """What theta sends the first and the last row's edges to fixes the new columns."""
    top, bottom = 2 * first / height - 1, 2 * (first + rows) / height - 1
    new = theta.clone()
    new[:, :, 1] = theta[:, :, 1] * (bottom - top) / 2
    new[:, :, 2] = theta[:, :, 2] + theta[:, :, 1] * (bottom + top) / 2
    return new


RIGHT = [
    ("11.1", by_the_line),
    ("11.1", lambda *case: torch.tensor(by_the_line(*case))),
    ("11.2", by_two_readings),
    ("11.2", lambda *case: np.float32(by_two_readings(*case))),
    ("11.3", by_rows),
    ("11.3", lambda *case: by_rows(*case).double()),
]
E11 = chapter_11


def count(answer: Callable) -> Callable:
    return lambda theta, source, target: int(answer(theta, source, target))


def columns(answer: Callable) -> Callable:
    names = ("start", "step", "width", "count")
    return lambda *case: answer(**dict(zip(names, case, strict=True))).tolist()


WRONG: list[tuple[str, Callable, str]] = [
    (
        "11.1",
        lambda *case: by_the_line(*case[:2], case[2] + 1, case[3]),
        "right neighbour is forgotten",
    ),
    ("11.1", columns(partial(E11.inner, low=-0.5)), "The first pixel stands at 0"),
    ("11.1", columns(E11.one_less), "as in `range`"),
    ("11.1", columns(E11.never_from_the_right), "from right to left"),
    ("11.1", lambda *case: by_the_line(*case)[0], "expected two whole numbers"),
    ("11.1", lambda *case: (0.5, 3), "expected whole numbers"),
    ("11.2", count(lambda *case: E11.up(E11.sides(*case).min())), "the shorter side"),
    (
        "11.2",
        count(lambda *case: E11.sides(*case).max().clamp(min=1).round()),
        "rounds down",
    ),
    ("11.2", count(lambda t, *_: E11.up(t[0, :, :2].norm(dim=0).max())), "theta alone"),
    (
        "11.2",
        count(lambda t, s, g: E11.points(t, s[::-1], g[::-1])),
        "height and width",
    ),
    ("11.2", lambda *case: E11.sides(*case).max().item() + 0.01, "expected a whole"),
    ("11.2", lambda *case: "4", "expected a number, but got a string"),
    ("11.3", chapter_11.strip_first, "the order is the other one"),
    ("11.3", chapter_11.from_the_top, "the strip's upper edge"),
    ("11.3", chapter_11.only_moved, "still as high"),
    ("11.3", lambda *case: E11.strip(*case, 1), "not `height - 1`"),
    ("11.3", lambda *case: by_rows(*case)[0], "expected theta"),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_a_right_answer_passes(name: str, answer: Callable) -> None:
    verdict = check(name, answer)
    assert verdict, verdict


@pytest.mark.parametrize(("name", "answer", "said"), WRONG)
def test_a_mistake_is_named(name: str, answer: Callable, said: str) -> None:
    assert_named(check(name, answer), said)


def test_strips_together_are_the_whole() -> None:
    """What the exercise asks for does what its text says."""
    image = torch.rand(1, 2, 20, 24, generator=torch.Generator().manual_seed(0))
    theta = affine(0.7, 0.3, 0.1, -0.4, 0.8, 0.0)
    whole = warp(image, theta, (15, 18))
    parts = [
        warp(image, chapter_11.strip(theta, first, rows, 15), (rows, 18))
        for first, rows in ((0, 4), (4, 10), (14, 1))
    ]
    torch.testing.assert_close(torch.cat(parts, 2), whole, rtol=1e-4, atol=1e-5)


def test_each_exercise_has_a_right_and_a_wrong_answer() -> None:
    assert {name for name, _ in RIGHT} == set(MINE)
    assert {name for name, *_ in WRONG} == set(MINE)
    assert untested_hints(MINE, WRONG) == []
