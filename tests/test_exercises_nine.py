"""The exercises of chapter 9: right answers pass, usual mistakes are named."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from test_exercises import EXERCISES, assert_named, untested_hints
from torch import Tensor

from stn_tutorial.exercises import chapter_9, check
from stn_tutorial.flow import flow_grid
from stn_tutorial.regions import roi_align

MINE = [name for name in EXERCISES if name.startswith("9.")]


def by_columns(grid: Tensor) -> Tensor:
    """Where each pixel looks, in pixels, less where it is."""
    n, h, w, _ = grid.shape
    x = ((grid[..., 0] + 1) * w - 1) / 2 - torch.arange(w)
    y = ((grid[..., 1] + 1) * h - 1) / 2 - torch.arange(h)[:, None]
    return torch.stack([x, y], 1)


def through_grids(first: Tensor, second: Tensor) -> Tensor:
    """Warp the first grid itself by the second."""
    planes = flow_grid(first).permute(0, 3, 1, 2)
    options = {"padding_mode": "border", "align_corners": False}
    read = F.grid_sample(planes, flow_grid(second), **options)
    return by_columns(read.permute(0, 2, 3, 1))


def by_cosine(angle_deg: float) -> list[float]:
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    numbers = []
    for y in (-1, 0, 1):
        for x in (-1, 0, 1):
            numbers += [s * x + c * y - y, c * x - s * y - x]
    return numbers


def descend(image: Tensor, crop: Tensor, box: Tensor, steps: int = 200) -> Tensor:
    edges = box[:, 1:].clone().requires_grad_()
    optimiser = torch.optim.Adam([edges], lr=0.3)
    for _ in range(steps):
        boxes = torch.cat([box[:, :1], edges], 1)
        read = roi_align(image, boxes, 14, 1.0, 2, True, F.grid_sample)
        loss = (read - crop).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return torch.cat([box[:, :1], edges.detach()], 1)


RIGHT = [
    ("9.1", by_columns),
    ("9.2", through_grids),
    ("9.3", by_cosine),
    ("9.3", lambda angle: torch.tensor(by_cosine(angle)).view(1, 18, 1, 1)),
    ("9.4", descend),
]
WRONG = [
    ("9.1", chapter_9.with_the_pixels_place, "and not how far away"),
    ("9.1", chapter_9.with_the_other_divisor, "not W - 1"),
    ("9.1", chapter_9.normalised, "these numbers are normalised"),
    ("9.1", lambda grid: by_columns(grid).flip(1), "x and y changed places"),
    ("9.1", lambda grid: -by_columns(grid), "the flow points back"),
    ("9.1", lambda grid: by_columns(grid).permute(0, 2, 3, 1), "expected a tensor"),
    ("9.2", lambda first, second: first + second, "adds the two at one pixel"),
    ("9.2", lambda a, b: through_grids(b, a), "the order is the other one"),
    ("9.2", lambda a, b: through_grids(a, b) - b, "`second` itself is missing"),
    ("9.3", lambda angle: chapter_9.offsets(angle, (0, 1)), "begin with y"),
    ("9.3", lambda angle: by_cosine(-angle), "turns the other way"),
    ("9.3", chapter_9.places, "the places of the readings"),
    ("9.3", lambda angle: by_cosine(math.degrees(angle)), "take radians"),
    ("9.3", lambda angle: by_cosine(angle)[:9], "of shape (18,)"),
    ("9.4", lambda image, crop, box: box, "where it began"),
    ("9.4", lambda *case: descend(*case, steps=3), "pixels off"),
    ("9.4", lambda *case: descend(*case)[:, 1:], "expected a box of shape (1, 5)"),
    ("9.4", lambda *case: descend(*case) + 1, "must stay 0"),
    ("9.4", lambda *case: descend(*case) * torch.nan, "not finite"),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_a_right_answer_passes(name: str, answer: Callable) -> None:
    verdict = check(name, answer)
    assert verdict, verdict


@pytest.mark.parametrize(("name", "answer", "said"), WRONG)
def test_a_mistake_is_named(name: str, answer: Callable, said: str) -> None:
    assert_named(check(name, answer), said)


def test_two_warps_are_one() -> None:
    """On an image that is linear in x and y, interpolation is exact."""
    for case in chapter_9.two_flows():
        first, second = case["first"], case["second"]
        plane = flow_grid(0 * first)[..., :1].permute(0, 3, 1, 2).contiguous()
        options = {"padding_mode": "border", "align_corners": False}
        once = F.grid_sample(plane, flow_grid(first), **options)
        twice = F.grid_sample(once, flow_grid(second), **options)
        both = flow_grid(chapter_9.one_flow(first, second))
        direct = F.grid_sample(plane, both, **options)
        assert (direct - twice).abs().max() < 0.02


def test_each_exercise_has_a_right_and_a_wrong_answer() -> None:
    assert {name for name, _ in RIGHT} == set(MINE)
    assert {name for name, *_ in WRONG} == set(MINE)
    assert untested_hints(MINE, WRONG) == []
