"""The exercises of chapter 8: right answers pass, usual mistakes are named."""

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import center_of_mass
from test_exercises import EXERCISES, assert_named, untested_hints
from torch import Tensor, nn

from stn_tutorial.exercises import check
from stn_tutorial.heads import HeadedNet
from stn_tutorial.transformer import LocalisationNet, SpatialTransformer

MINE = [name for name in EXERCISES if name.startswith("8.")]

# 8.1: the mean place


def by_scipy(heat: Tensor) -> np.ndarray:
    places = []
    for one in heat.double().numpy():
        row, column = center_of_mass(np.exp(one))
        h, w = one.shape
        places.append([(2 * column + 1) / w - 1, (2 * row + 1) / h - 1])
    return np.array(places)


def place_by(
    share: Callable = lambda heat: heat.exp() / heat.exp().sum((1, 2), keepdim=True),
    line: Callable = lambda n: (torch.arange(n) + 0.5) / n * 2 - 1,
    order: tuple[int, int] = (0, 1),
) -> Callable:
    def soft_place(heat: Tensor) -> Tensor:
        weights = share(heat)
        x = (weights.sum(dim=1) * line(heat.shape[2])).sum(dim=1)
        y = (weights.sum(dim=2) * line(heat.shape[1])).sum(dim=1)
        both = x, y
        return torch.stack([both[i] for i in order], dim=1)

    return soft_place


def hard(heat: Tensor) -> Tensor:
    places = []
    for one in heat:
        row, column = divmod(one.argmax().item(), one.shape[1])
        x, y = (2 * column + 1) / one.shape[1] - 1, (2 * row + 1) / one.shape[0] - 1
        places.append([x, y])
    return torch.tensor(places)


# 8.2: one theta


def by_points(thetas: list[Tensor]) -> Tensor:
    """Lead three points through all of them, and read the matrix off."""
    points = torch.tensor([[0.0, 1, 0], [0, 0, 1]]).expand(len(thetas[0]), 2, 3)
    for theta in reversed(thetas):
        points = theta[:, :, :2] @ points + theta[:, :, 2:]
    origin = points[:, :, :1]
    return torch.cat([points[:, :, 1:] - origin, origin], dim=2)


def product(thetas: list[Tensor]) -> Tensor:
    total = torch.eye(3)
    row = torch.tensor([[[0.0, 0, 1]]]).expand(len(thetas[0]), 1, 3)
    for theta in thetas:
        total = total @ torch.cat([theta, row], dim=1)
    return total


def shifts_added(thetas: list[Tensor]) -> Tensor:
    total = product(thetas)[:, :2].clone()
    total[:, :, 2] = sum(theta[:, :, 2] for theta in thetas)
    return total


# 8.3: a volume


def turn_in_space(order: str = "xyz", sign: float = 1.0) -> Callable:
    """By a matrix for x, y, z; `order` says which of them turns into which."""

    def turn_volume(volume: Tensor, angle_deg: float) -> Tensor:
        angle = math.radians(sign * angle_deg)
        c, s = math.cos(angle), math.sin(angle)
        theta = torch.eye(3, 4)
        i, j = ("xyz".index(axis) for axis in order[:2])
        theta[i, i], theta[i, j], theta[j, i], theta[j, j] = c, -s, s, c
        grid = F.affine_grid(
            theta.expand(len(volume), 3, 4), volume.shape, align_corners=False
        )
        return F.grid_sample(volume, grid, align_corners=False)

    return turn_volume


def slice_by_slice(volume: Tensor, angle_deg: float) -> list:
    turn = turn_in_space()
    return [turn(volume[:, :, k : k + 1], angle_deg) for k in range(volume.shape[2])]


# 8.4: early layers that serve twice


def block(c: int, k: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c, k, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2))


def late() -> nn.Sequential:
    return nn.Sequential(block(8, 16), nn.Flatten(), nn.Linear(784, 10))


def shared() -> nn.Sequential:
    early = block(1, 8)
    localisation = nn.Sequential(early, HeadedNet((8, 14, 14), "rotation"))
    return nn.Sequential(SpatialTransformer(localisation), early, late())


class Shared(nn.Module):
    """The same, with the transformer called by hand and trained a little."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.late = block(1, 8), late()
        self.look = LocalisationNet((8, 14, 14))
        nn.init.normal_(self.look.last.weight, std=0.05)
        self.transformer = SpatialTransformer(nn.Sequential(self.early, self.look))

    def forward(self, images: Tensor) -> Tensor:
        return self.late(self.early(self.transformer(images)))


def two_sets() -> nn.Sequential:
    localisation = nn.Sequential(block(1, 8), HeadedNet((8, 14, 14), "rotation"))
    return nn.Sequential(SpatialTransformer(localisation), block(1, 8), late())


def at_the_maps() -> nn.Sequential:
    transformer = SpatialTransformer(HeadedNet((8, 14, 14), "rotation"))
    return nn.Sequential(block(1, 8), transformer, late())


def looks_for_itself() -> nn.Sequential:
    transformer = SpatialTransformer(HeadedNet((1, 28, 28), "rotation"))
    return nn.Sequential(transformer, block(1, 8), late())


def only_pixels() -> nn.Sequential:
    transformer = SpatialTransformer(HeadedNet((1, 28, 28), "rotation"))
    return nn.Sequential(transformer, nn.Flatten(), nn.Linear(784, 10))


class Unused(Shared):
    def forward(self, images: Tensor) -> Tensor:
        return self.late(self.early(images))


RIGHT = [
    ("8.1", by_scipy),
    ("8.1", place_by()),
    ("8.1", lambda heat: place_by()(heat).tolist()),
    ("8.2", by_points),
    ("8.2", lambda thetas: product(thetas)[:, :2].double().numpy()),
    ("8.3", turn_in_space()),
    ("8.3", lambda volume, angle: torch.cat(slice_by_slice(volume, angle), dim=2)),
    ("8.4", shared),
    ("8.4", shared()),
    ("8.4", Shared),
]
WRONG = [
    ("8.1", place_by(order=(1, 0)), "x and y changed places"),
    ("8.1", place_by(line=lambda n: torch.linspace(-1, 1, n)), "`align_corners=True`"),
    ("8.1", place_by(line=torch.arange), "counted in pixels"),
    ("8.1", place_by(line=lambda n: (torch.arange(n) + 0.5) / n), "from 0 to 1"),
    ("8.1", hard, "of the hottest pixels"),
    ("8.1", place_by(lambda h: h.softmax(2) / len(h[0])), "over each row alone"),
    ("8.1", place_by(lambda h: h.softmax(1) / len(h[0, 0])), "over each column alone"),
    ("8.1", place_by(lambda h: h / h.sum((1, 2))[:, None, None]), "the exponential?"),
    ("8.1", lambda heat: place_by()(heat)[0], "expected places of shape (3, 2)"),
    ("8.2", lambda thetas: product(thetas[::-1])[:, :2], "the order is reversed"),
    ("8.2", lambda thetas: sum(thetas), "the thetas were added"),
    ("8.2", shifts_added, "the shifts were added"),
    ("8.2", lambda thetas: thetas[-1], "the last theta alone"),
    ("8.2", lambda thetas: thetas[0], "the first theta alone"),
    ("8.2", lambda thetas: product(thetas).inverse()[:, :2], "this is the inverse"),
    ("8.2", product, "expected theta of shape (2, 2, 3)"),
    ("8.3", turn_in_space(sign=-1.0), "turns the other way"),
    ("8.3", turn_in_space("xzy"), "in the plane of x and z"),
    ("8.3", turn_in_space("yzx"), "taken as (z, y, x)?"),
    ("8.3", lambda volume, angle_deg: volume, "nothing was turned"),
    ("8.3", lambda volume, angle: volume[:, :, 0], "expected a volume of shape"),
    ("8.4", two_sets, "each with weights of its own"),
    ("8.4", at_the_maps, "warps feature maps"),
    ("8.4", looks_for_itself, "the first convolution is used once"),
    ("8.4", only_pixels, "no convolution reads the input"),
    ("8.4", Unused, "does not use it"),
    ("8.4", lambda: nn.Sequential(block(1, 8), late()), "has no transformer"),
    ("8.4", lambda: nn.Sequential(shared()[0], late()), "does not run on images"),
    ("8.4", lambda: 3.4, "expected a network, but got a number"),
    ("8.4", lambda: shared()[:2], "expected scores of shape (4, 10)"),
]


@pytest.mark.parametrize(("exercise", "answer"), RIGHT)
def test_a_right_answer_passes(exercise: str, answer: Callable) -> None:
    before = torch.get_rng_state()
    verdict = check(exercise, answer)
    assert verdict, verdict
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("exercise", "answer", "said"), WRONG)
def test_a_usual_mistake_is_named(exercise: str, answer: Callable, said: str) -> None:
    assert_named(check(exercise, answer), said)


def test_an_unknown_mistake_gets_no_guess() -> None:
    verdict = check("8.2", lambda thetas: 2 * product(thetas)[:, :2])
    assert not verdict
    assert "Likely" not in verdict.text


def test_a_network_comes_back_as_it_went() -> None:
    network = shared().train()
    before = copy.deepcopy(network.state_dict())
    assert check("8.4", network)
    assert all(module.training for module in network.modules())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    assert not any(module._forward_hooks for module in network.modules())


def test_every_exercise_has_a_right_and_a_wrong_answer() -> None:
    assert {name for name, _ in RIGHT} == set(MINE)
    assert {name for name, *_ in WRONG} == set(MINE)
    assert untested_hints(MINE, WRONG) == []
