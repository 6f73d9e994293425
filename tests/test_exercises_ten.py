"""The exercises of chapter 10: right answers pass, usual mistakes are named."""

from collections.abc import Callable

import pytest
import torch
from test_exercises import EXERCISES, assert_named, untested_hints
from torch import Tensor

from stn_tutorial.affine import affine_grid, identity, translation
from stn_tutorial.exercises import chapter_10, check
from stn_tutorial.interpolation import grid_sample, warp

MINE = [name for name in EXERCISES if name.startswith("10.")]


def counted(theta: Tensor) -> list[float]:
    grid = affine_grid(theta, (len(theta), 1, 28, 28), align_corners=False)
    inside = (grid >= -1).all(dim=3) & (grid <= 1).all(dim=3)
    return [1 - part.float().mean().item() for part in inside]


def diagnose(unknown: Callable) -> str:
    images = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    right = translation(0.5, 0.1)
    if torch.allclose(unknown(images, right), warp(images, right), atol=1e-4):
        return "right"
    if not torch.allclose(unknown(images, identity()), images, atol=1e-4):
        transposed = images.transpose(2, 3)
        same = torch.allclose(unknown(images, identity()), transposed, atol=1e-4)
        return "swapped" if same else "mixed"
    left = warp(images, -right + 2 * identity())
    same = torch.allclose(unknown(images, right), left, atol=1e-4)
    return "backwards" if same else "nearest"


def by_ones(images: Tensor, theta: Tensor, background: float) -> Tensor:
    inside = warp(torch.ones_like(images), theta)
    return warp(images, theta) + (1 - inside) * background


RIGHT = [
    ("10.1", counted),
    ("10.1", chapter_10.share_outside),
    ("10.2", diagnose),
    ("10.3", chapter_10.on_background),
    ("10.3", by_ones),
]
WRONG = [
    ("10.1", chapter_10.both_outside, "both need not be"),
    ("10.1", chapter_10.numbers_outside, "not x and y one by one"),
    ("10.1", chapter_10.right_outside, "beyond −1 is outside"),
    ("10.1", lambda theta: 0.0, "one share a theta"),
    ("10.2", lambda warp: "right", "Try a shift along x alone"),
    ("10.2", lambda warp: "mixed", "a warp that is right was taken for 'mixed'"),
    ("10.2", lambda warp: "wrong", "expected one of the words right, swapped"),
    ("10.2", lambda warp: True, "expected one of the words"),
    ("10.3", chapter_10.plain_zeros, "outside stands 0"),
    ("10.3", chapter_10.not_added, "not added again"),
    ("10.3", chapter_10.with_border, "draws out what touches the edge"),
    ("10.3", chapter_10.filled_blacks, "only what is exactly 0 was filled"),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_a_right_answer_passes(name: str, answer: Callable) -> None:
    verdict = check(name, answer)
    assert verdict, verdict


@pytest.mark.parametrize(("name", "answer", "said"), WRONG)
def test_a_mistake_is_named(name: str, answer: Callable, said: str) -> None:
    assert_named(check(name, answer), said)


def test_every_fault_of_a_warp_must_be_told_apart() -> None:
    for missed in chapter_10.WORDS[1:]:
        verdict = check(
            "10.2", lambda warp, m=missed: "right" if warp._fault == m else warp._fault
        )
        assert_named(verdict, "a fault was missed")
    other = check("10.2", lambda warp: warp._fault.replace("nearest", "mixed"))
    assert_named(other, "a warp that is 'nearest' was taken for 'mixed'")


def test_a_warp_does_not_tell_its_fault() -> None:
    unknown = chapter_10.Unknown("swapped")
    assert "swapped" not in repr(unknown)
    images = torch.rand(1, 1, 8, 8)
    grid = affine_grid(identity(), images.shape, align_corners=False)
    right = grid_sample(images, grid, align_corners=False)
    assert torch.allclose(unknown(images, identity()), right.transpose(2, 3), atol=1e-5)


def test_each_exercise_has_a_right_and_a_wrong_answer() -> None:
    assert {name for name, _ in RIGHT} == set(MINE)
    assert {name for name, *_ in WRONG} == set(MINE)
    assert untested_hints(MINE, WRONG) == []
