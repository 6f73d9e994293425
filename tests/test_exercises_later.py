"""The exercises of chapters 4 to 7: right answers pass, usual mistakes are named."""

import copy
import math
from collections.abc import Callable
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from test_exercises import EXERCISES, assert_named, untested_hints
from torch import Tensor, nn

from stn_tutorial.affine import (
    affine,
    affine_grid,
    compose,
    homogeneous,
    identity,
    rotation,
    scaling,
)
from stn_tutorial.data.digits import load_digits
from stn_tutorial.distortions import distort
from stn_tutorial.exercises import check
from stn_tutorial.interpolation import warp
from stn_tutorial.networks import Network, fcn
from stn_tutorial.signs import overlap
from stn_tutorial.training import Recipe, train
from stn_tutorial.transformer import LocalisationNet, SpatialTransformer
from stn_tutorial.warps import (
    CORNERS,
    control_points,
    projective_from_corners,
    projective_grid,
)

MINE = [name for name in EXERCISES if name[0] in "4567"]

# 4.1: attention


def window(size: Tensor, place: Tensor) -> Tensor:
    tx, ty = place.T
    return affine(size, 0.0, tx, 0.0, size, ty)


def size_of(numbers: Tensor) -> Tensor:
    return 0.65 + 0.35 * torch.tanh(numbers[:, 2])


def by_arctan(numbers: Tensor) -> Tensor:
    size = size_of(numbers)
    share = 2 / math.pi * torch.atan(numbers[:, :2])
    return torch.stack(
        [
            window(s[None], (1 - s) * p[None])[0]
            for s, p in zip(size, share, strict=True)
        ]
    )


def by_corners(numbers: Tensor) -> Tensor:
    size = 0.3 + 0.7 * torch.sigmoid(numbers[:, 0])
    low = -1 + 2 * (1 - size)[:, None] * torch.sigmoid(numbers[:, 1:])
    return window(size, low + size[:, None])


def off_the_image(numbers: Tensor) -> Tensor:
    return window(size_of(numbers), torch.tanh(numbers[:, :2]))


def of_any_size(numbers: Tensor) -> Tensor:
    size = 0.3 + numbers[:, 2].exp()
    return window(size, (1 - size)[:, None] * torch.tanh(numbers[:, :2]))


def from_nothing(numbers: Tensor) -> Tensor:
    size = torch.sigmoid(numbers[:, 2])
    return window(size, (1 - size)[:, None] * torch.tanh(numbers[:, :2]))


def clamped(numbers: Tensor) -> Tensor:
    size = numbers[:, 2].clamp(0.3, 1)
    room = (1 - size)[:, None]
    return window(size, torch.minimum(torch.maximum(numbers[:, :2], -room), room))


def without_gradient_of_size(numbers: Tensor) -> Tensor:
    size = size_of(numbers).detach()
    return window(size, (1 - size)[:, None] * torch.tanh(numbers[:, :2]))


def clamped_place(numbers: Tensor) -> Tensor:
    size = size_of(numbers)
    return window(size, (1 - size)[:, None] * numbers[:, :2].clamp(-1, 1))


def tilted(numbers: Tensor) -> Tensor:
    s, t, place = size_of(numbers) / 2, numbers[:, 0].tanh() / 9, numbers[:, :2] * 0
    return affine(s + 0.3, t, place[:, 0], -t, s + 0.3, place[:, 1])


def oblong(numbers: Tensor) -> Tensor:
    a, b, c = (0.3 + 0.7 * torch.sigmoid(numbers)).T
    return affine(a, 0.0, (1 - a) * (2 * c - 1.3) / 2, 0.0, b, 0.0)


def half_way(numbers: Tensor) -> Tensor:
    size = size_of(numbers)
    return window(size, (1 - size)[:, None] / 2 * torch.tanh(numbers[:, :2]))


def lower_right(numbers: Tensor) -> Tensor:
    size = size_of(numbers)
    return window(size, (1 - size)[:, None] * torch.sigmoid(numbers[:, :2]))


def nearly_one_size(numbers: Tensor) -> Tensor:
    size = 0.5 + 0.1 * torch.tanh(numbers[:, 2])
    return window(size, (1 - size)[:, None] * torch.tanh(numbers[:, :2]))


# 4.2: best of four


def align(source: Tensor, target: Tensor, theta: Tensor) -> list[Tensor]:
    theta = theta.clone().requires_grad_()
    optimiser = torch.optim.Adam([theta], 0.03)
    for _ in range(120):
        loss = (warp(source, theta) - target).square().mean((1, 2, 3)).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return [theta.detach()]


@cache
def four_ends() -> tuple[Tensor, Tensor]:
    """Where descent ends from each start on the checker's digits, and the losses."""
    (case,) = EXERCISES["4.2"].cases()
    source, target, theta = case.values()
    starts = [compose(theta, rotation(a)) for a in (0.0, 90.0, 180.0, 270.0)]
    ends = torch.stack([align(source, target, start)[-1] for start in starts])
    left = [(warp(source, e) - target).square().mean((1, 2, 3)) for e in ends]
    return ends, torch.stack(left)


def best_each(source: Tensor, target: Tensor, theta: Tensor) -> list[Tensor]:
    ends, left = four_ends()
    best = [ends[left[:, i].argmin(), i] for i in range(len(theta))]
    return [theta, torch.stack(best)]


def best_for_all(source: Tensor, target: Tensor, theta: Tensor) -> list[Tensor]:
    ends, left = four_ends()
    return [ends[left.sum(dim=1).argmin()]]


def worst_each(source: Tensor, target: Tensor, theta: Tensor) -> list[Tensor]:
    ends, left = four_ends()
    return [ends[left.argmax(dim=0), torch.arange(len(theta))]]


def best_start(source: Tensor, target: Tensor, theta: Tensor) -> list[Tensor]:
    _, left = four_ends()
    return [rotation(90.0 * left.argmin(dim=0))]


def two_starts(source: Tensor, target: Tensor, theta: Tensor) -> list[Tensor]:
    ends, left = four_ends()
    return [ends[left[:2].argmin(dim=0), torch.arange(len(theta))]]


# 5: networks


def straightener() -> SpatialTransformer:
    half = LocalisationNet((1, 21, 21), hidden=(48, 32))
    localisation = nn.Sequential(nn.AvgPool2d(2), half)
    return SpatialTransformer(localisation, (56, 56), sampler=F.grid_sample)


def st_fcn() -> Network:
    return Network(fcn((1, 28, 28), (256, 128)), straightener(), pool=2)


@cache
def trained(kind: str, distortion: str, images: int, **options: float) -> Network:
    """A network of chapter 5, trained on the bundled digits."""
    torch.manual_seed(0)
    if kind == "FCN":
        side = {"R": 28, "RTS": 42}[distortion]
        network = Network(fcn((1, side, side), (200, 128)))
    elif distortion == "R":
        half = LocalisationNet((1, 14, 14), hidden=(48, 32))
        localisation = nn.Sequential(nn.AvgPool2d(2), half)
        transformer = SpatialTransformer(localisation, sampler=F.grid_sample)
        network = Network(fcn((1, 28, 28), (256, 128)), transformer)
    else:
        network = st_fcn()
    data = load_digits()
    learn = data.train_images[:1000], data.train_labels[:1000]
    few = distort(learn[0][:9], distortion, torch.Generator().manual_seed(0))
    recipe = Recipe(images, rate=0.2, **options)
    train(network, *learn, distortion, recipe, (few, learn[1][:9]), moments=1)
    return network


def still() -> Network:
    return trained("ST-FCN", "RTS", 12_800, localisation_rate=0.0)


def moving() -> Network:
    return trained("ST-FCN", "RTS", 6400)


def blind_to_eights() -> Network:
    network = copy.deepcopy(trained("FCN", "R", 19_200))
    network.classifier[-1].bias.data[8] = -100
    return network


def still_elsewhere() -> Network:
    network = st_fcn()
    network.load_state_dict(still().state_dict())
    network.transformer.localisation[1].last.bias.data += 0.1
    return network


def last_layer(net: Network) -> nn.Linear:
    return net.transformer.localisation[1].last


def start_at(theta: Tensor) -> Callable:
    def turned_start(net: Network) -> None:
        last_layer(net).bias = nn.Parameter(theta.flatten())

    return turned_start


class Past(Network):
    """Wired past its transformer: the classifier gets the images as they came."""

    def forward(self, images: Tensor) -> Tensor:
        self.straighten(images)
        return self.classifier(images)


class CutOff(Network):
    """The classifier sees the transformer's output, but no gradient comes back."""

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.straighten(images)[0].detach())


def wired(kind: type[Network], distortion: str) -> Network:
    """A trained network, wired in another way."""
    side = {"R": 28, "RTS": 42}[distortion]
    sort = "FCN" if kind is Past else "ST-FCN"
    one = trained(sort, distortion, 19_200 if distortion == "R" else 6400)
    if kind is CutOff:
        return kind(one.classifier, one.transformer, one.pool)
    half = LocalisationNet((1, side // 2, side // 2))
    transformer = SpatialTransformer(nn.Sequential(nn.AvgPool2d(2), half))
    return kind(one.classifier, transformer)


class Frozen(CutOff):
    """Its grid stays still since nothing of the transformer ever learns."""


def frozen() -> Network:
    network = still()
    return Frozen(network.classifier, network.transformer, network.pool)


def start_of_five_numbers(net: Network) -> None:
    net.transformer.localisation[1].last = nn.Linear(32, 5)


def start_by_copy(net: Network) -> Network:
    state = net.state_dict()
    c, s = math.cos(math.radians(40)), math.sin(math.radians(40))
    state["transformer.localisation.1.last.bias"].copy_(
        torch.tensor([c, -s, 0, s, c, 0])
    )
    return net


def start_in_radians(net: Network) -> None:
    c, s = math.cos(40), math.sin(40)
    last_layer(net).bias.data = torch.tensor([c, -s, 0, s, c, 0])


def start_of_a_new_layer(net: Network) -> None:
    net.transformer.localisation[1].last = nn.Linear(32, 6)
    start_at(rotation(40.0))(net)


def start_of_another_layer(net: Network) -> None:
    net.classifier[-1].bias.data[:6] = rotation(40.0).flatten()


# 6: splines, chance, tilted grids


def spline(theta: Tensor) -> Tensor:
    pins = torch.cat([control_points(), torch.ones(16, 1)], dim=1)
    return (theta @ pins.T).transpose(1, 2)


def spline_yx(theta: Tensor) -> Tensor:
    line = torch.linspace(-1, 1, 4)
    pins = torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=2).view(16, 2)
    return pins @ theta[:, :, :2].mT + theta[:, None, :, 2]


def spline_inverse(theta: Tensor) -> Tensor:
    matrix = torch.linalg.inv(homogeneous(theta))
    return spline(matrix[:, :2])


def spline_from(pins: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda theta: pins @ theta[:, :, :2].mT + theta[:, None, :, 2]


def left_over(grid: Tensor, size: int = 28) -> tuple[Tensor, Tensor]:
    """As in the chapter: the median movement, and what no affine map undoes."""
    points = affine_grid(identity(), (1, 1, size, size), align_corners=False)
    points = points.reshape(1, -1, 2)
    terms = torch.cat([points, torch.ones_like(points[:, :, :1])], dim=2)
    flat = grid.flatten(1, 2)
    best = torch.linalg.lstsq(terms.expand(len(grid), -1, -1), flat).solution
    lengths = [(flat - p).norm(dim=2) * 14 for p in (points, terms @ best)]
    return tuple(x.square().mean(dim=1).sqrt().median() for x in lengths)


def tilt(shift: float) -> tuple[Tensor, Tensor]:
    noise = torch.randn(1000, 4, 2, generator=torch.Generator().manual_seed(7))
    theta = projective_from_corners(torch.tensor(CORNERS) + shift * noise)
    return left_over(projective_grid(theta, (1000, 1, 28, 28)))


# 7: areas, a network, chance


def counted(theta: Tensor, boxes: Tensor) -> Tensor:
    line = torch.linspace(-1.5, 1.5, 3001)
    shares = []
    for t, (x1, y1, x2, y2) in zip(theta, boxes, strict=True):
        in_window = [(line - t[i, 2]).abs() <= t[i, i] for i in (1, 0)]
        in_box = [(y1 <= line) & (line <= y2), (x1 <= line) & (line <= x2)]
        window, box = (a[:, None] & b for a, b in (in_window, in_box))
        shares.append((window & box).sum() / (window | box).sum())
    return torch.stack(shares)


def overlap_by(
    low: Callable = lambda centre, half: centre - half,
    high: Callable = lambda centre, half: centre + half,
    length: Callable = lambda length: length.clamp(min=0),
    divide: Callable = lambda shared, window, box: shared / (window + box - shared),
) -> Callable:
    def exact(theta: Tensor, boxes: Tensor) -> Tensor:
        half, centre = theta.diagonal(dim1=1, dim2=2), theta[:, :, 2]
        a, b = low(centre, half), high(centre, half)
        start, end = torch.maximum(a, boxes[:, :2]), torch.minimum(b, boxes[:, 2:])
        areas = (b - a).prod(dim=1), (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
        return divide(length(end - start).prod(dim=1), *areas)

    return exact


def overlap_yx(theta: Tensor, boxes: Tensor) -> Tensor:
    y1, x1, y2, x2 = boxes.T
    return overlap_by()(theta, torch.stack([x1, y1, x2, y2], dim=1))


def body() -> nn.Module:
    return LocalisationNet((3, 16, 16), (16, 32), (32,)).body


def alone() -> nn.Module:
    layers = *body(), nn.Linear(32, 12)
    return nn.Sequential(nn.AvgPool2d(3), *layers)


def reads_theta() -> nn.Module:
    look = LocalisationNet((3, 16, 16), (16, 32), (32,))
    return nn.Sequential(nn.AvgPool2d(3), look, nn.Flatten(), nn.Linear(6, 12))


def reads_the_window() -> nn.Module:
    look = LocalisationNet((3, 16, 16), (16, 32), (32,))
    localisation = nn.Sequential(nn.AvgPool2d(3), look)
    reader = nn.Sequential(nn.Flatten(), nn.Linear(1728, 12))
    return nn.Sequential(SpatialTransformer(localisation, (24, 24)), reader)


def reads_pixels() -> nn.Module:
    return nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(1728, 12))


def spread(error: float, n: int) -> float:
    return math.sqrt(error * (100 - error) / n)


def pooled(first: float, second: float, n: int) -> Tensor:
    p = torch.tensor([first, second]).mean() / 100
    return (first - second) / 100 / (2 * p * (1 - p) / n).sqrt()


# Right answers, written in other ways than the checker's

RIGHT = [
    ("4.1", lambda: by_arctan),
    ("4.1", lambda: by_corners),
    ("4.1", lambda: lambda numbers: by_corners(numbers.double())),
    ("4.2", lambda: best_each),
    ("4.2", lambda: lambda *case: torch.stack(best_each(*case))),
    ("4.2", lambda: lambda *case: best_each(*case)[-1].double().numpy()),
    ("4.3", lambda: ["last.bias"]),
    ("4.3", lambda: {"0.localisation.last.bias"}),
    ("4.3", lambda: (name for name in ["last.bias"])),
    ("5.1", still),
    ("5.1", frozen),
    (
        "5.1",
        lambda: nn.Sequential(still().transformer, nn.AvgPool2d(2), still().classifier),
    ),
    ("5.1", lambda: (still(), 40.0)),
    ("5.2", lambda: start_at(rotation(40.0))),
    ("5.2", lambda: start_by_copy),
    ("5.3", lambda: [trained(k, "R", 19_200) for k in ("FCN", "ST-FCN")]),
    ("5.3", lambda: tuple((trained(k, "R", 19_200), 0) for k in ("ST-FCN", "FCN"))),
    ("6.1", lambda: spline),
    ("6.1", lambda: lambda theta: spline(theta).double().tolist()),
    ("6.2", lambda: lambda d, e: math.ceil(2 * e * (100 - e) * 4 / d**2)),
    ("6.3", lambda: lambda pixels: tilt(pixels / 14)[1]),
    ("6.3", lambda: lambda pixels: tilt(pixels / 14)[1][None].numpy()),
    ("7.1", lambda: overlap_by()),
    ("7.2", lambda: alone),
    ("7.2", lambda: alone()),
    ("7.3", lambda: lambda a, b, n: (b - a) / math.hypot(spread(a, n), spread(b, n))),
    ("7.3", lambda: pooled),
]


@pytest.mark.parametrize(("exercise", "make"), RIGHT)
def test_a_right_answer_passes(exercise: str, make: Callable) -> None:
    answer = make()
    before = torch.get_rng_state()
    verdict = check(exercise, answer)
    assert verdict, verdict
    if answer is not alone:  # it draws weights
        assert torch.equal(torch.get_rng_state(), before)


# Usual mistakes, as a learner would write them, and what names them

WRONG = [
    ("4.1", lambda: off_the_image, "reaches beyond the image."),
    ("4.1", lambda: of_any_size, "has no size between 0.3 and 1"),
    ("4.1", lambda: from_nothing, "has no size between 0.3 and 1"),
    ("4.1", lambda: clamped, "the gradient is zero"),
    ("4.1", lambda: clamped_place, "the gradient is zero"),
    ("4.1", lambda: lambda n: by_corners(n).detach(), "no gradient flows"),
    ("4.1", lambda: without_gradient_of_size, "is zero for number 2"),
    ("4.1", lambda: lambda n: by_corners(n).detach().numpy(), "no gradient flows"),
    ("4.1", lambda: tilted, "turned or sheared"),
    ("4.1", lambda: oblong, "is not square"),
    ("4.1", lambda: half_way, "near the image's upper left corner"),
    ("4.1", lambda: lower_right, "near the image's upper left corner"),
    ("4.1", lambda: nearly_one_size, "should be within reach"),
    ("4.1", lambda: lambda n: by_corners(n)[0], r"expected theta of shape (7, 2, 3)"),
    ("4.2", lambda: best_for_all, "is one start kept for the whole batch?"),
    ("4.2", lambda: worst_each, "Is the largest loss kept"),
    ("4.2", lambda: best_start, "these are starts"),
    ("4.2", lambda: two_starts, "see image 0, 2"),
    ("4.2", lambda: lambda s, t, theta: [theta[:1]], "at its end, but there is"),
    ("4.2", lambda: lambda s, t, theta: [], "the list is empty"),
    ("4.2", lambda: lambda s, t, theta: [theta * math.nan], "not finite"),
    ("4.3", lambda: "last.bias", "a string, which is a list of letters"),
    ("4.3", lambda: list(body().named_parameters()), "pairs of a name and a parameter"),
    ("4.3", lambda: list(body().parameters()), "names, which are strings, but got a t"),
    ("4.3", lambda: ["last.weight", "last.bias"], "multiplied by the layer's input"),
    ("4.3", lambda: dict(body().named_parameters()), "has no parameter called"),
    ("4.3", lambda: ["body.1.weight"], "multiplied by the last layer's weights"),
    ("4.3", lambda: [], "not every gradient is zero"),
    ("4.3", lambda: [], "given the images as they came"),
    ("5.1", moving, "the grid still moves"),
    ("5.1", still_elsewhere, "not where it started"),
    ("5.1", st_fcn, "learned next to nothing"),
    ("5.1", lambda: trained("FCN", "RTS", 6400), "has no transformer"),
    ("5.1", lambda: 29.3, "expected the trained network itself"),
    ("5.1", lambda: (None, 29.3), "but got 2 values (None, a number)"),
    ("5.1", lambda: trained("ST-FCN", "R", 19_200), "does not run on images of RTS"),
    ("5.1", lambda: wired(Past, "RTS"), "never sees what the transformer makes"),
    ("5.2", lambda: start_of_another_layer, "Which layer gives theta?"),
    ("5.2", lambda: lambda net: st_fcn(), "change in `net` itself"),
    ("5.2", lambda: start_at(rotation(-40.0)), "turns the other way"),
    ("5.2", lambda: start_at(rotation(math.radians(40))), "takes degrees"),
    ("5.2", lambda: start_in_radians, "take radians"),
    ("5.2", lambda: start_of_a_new_layer, "differs from image to image"),
    ("5.2", lambda: start_of_five_numbers, "does not run any more: RuntimeError"),
    (
        "5.3",
        lambda: [trained("FCN", "R", 19_200), wired(Past, "R")],
        "the scores stay the same when theta changes",
    ),
    (
        "5.3",
        lambda: [trained("FCN", "R", 19_200), wired(CutOff, "R")],
        "is None, since no path leads from the loss to them. Is theta or the grid cut",
    ),
    ("5.3", lambda: (3.2, 3.0), "expected the two trained networks"),
    ("5.3", lambda: [trained("FCN", "R", 19_200)] * 2, "and one with it"),
    (
        "5.3",
        lambda: [trained("FCN", "RTS", 6400), trained("ST-FCN", "R", 19_200)],
        "On which set was it trained?",
    ),
    (
        "5.3",
        lambda: [trained("FCN", "R", 19_200), moving()],
        "On which set was it trained?",
    ),
    (
        "5.3",
        lambda: [trained("FCN", "R", 640), trained("ST-FCN", "R", 19_200)],
        "on all 30,000 images?",
    ),
    (
        "5.3",
        lambda: [blind_to_eights(), trained("ST-FCN", "R", 19_200)],
        "lie further apart",
    ),
    ("6.1", lambda: lambda theta: spline(theta).flip(2), "x and y changed places"),
    ("6.1", lambda: spline_yx, "x and y changed places"),
    ("6.1", lambda: lambda theta: control_points() @ theta[:, :, :2].mT, "the shift"),
    ("6.1", lambda: spline_inverse, "this is the inverse"),
    ("6.1", lambda: lambda theta: spline(theta[:1]).expand(len(theta), 16, 2), "first"),
    (
        "6.1",
        lambda: lambda theta: control_points() @ theta[:, :, :2] + theta[:, None, :, 2],
        "the matrix is transposed",
    ),
    ("6.1", lambda: spline_from(control_points() / 2 + 0.5), "reach from 0 to 1"),
    (
        "6.1",
        lambda: spline_from(
            affine_grid(identity(), (1, 1, 4, 4), align_corners=False).view(16, 2)
        ),
        "the centres of 4 x 4 pixels",
    ),
    ("6.1", lambda: lambda theta: spline(theta).flatten(1), "of shape (1, 16, 2), but"),
    ("6.2", lambda: lambda d, e: e * (100 - e) / (d / 2) ** 2, "one network's error"),
    ("6.2", lambda: lambda d, e: 2 * e * (100 - e) / d**2, "once its standard"),
    ("6.2", lambda: lambda d, e: 2 * e * (100 - e) / (2 * d) ** 2, "is half its"),
    ("6.2", lambda: lambda d, e: 2 * e * (1 - e) / (d / 2) ** 2, "holds for a share p"),
    (
        "6.2",
        lambda: lambda d, e: 2 * e / 100 * (1 - e / 100) / (d / 2) ** 2,
        "the variance is that of a share",
    ),
    ("6.2", lambda: lambda d, e: 2 * e * (100 - e) / (d / 2), "was not squared"),
    ("6.3", lambda: lambda pixels: tilt(pixels / 28)[1], "14 of its 28 pixels"),
    ("6.3", lambda: lambda pixels: tilt(pixels)[1], "the corners move much too far"),
    ("6.3", lambda: lambda pixels: tilt(pixels / 14)[1] / 14, "in normalised units"),
    ("6.3", lambda: lambda pixels: tilt(pixels / 14)[0], "how far the points move"),
    ("7.1", lambda: overlap_by(length=lambda x: x), "windows that lie apart"),
    (
        "7.1",
        lambda: overlap_by(divide=lambda shared, window, box: shared / (window + box)),
        "the shared part twice",
    ),
    (
        "7.1",
        lambda: overlap_by(divide=lambda shared, window, box: shared / box),
        "area of the box",
    ),
    (
        "7.1",
        lambda: overlap_by(divide=lambda shared, window, box: shared / window),
        "area of the window",
    ),
    (
        "7.1",
        lambda: overlap_by(
            divide=lambda shared, window, box: shared / torch.minimum(window, box)
        ),
        "the smaller area",
    ),
    ("7.1", lambda: overlap_yx, "x and y changed places"),
    (
        "7.1",
        lambda: overlap_by(lambda c, h: c - h / 2, lambda c, h: c + h / 2),
        "half as wide",
    ),
    (
        "7.1",
        lambda: overlap_by(lambda c, h: c, lambda c, h: c + 2 * h),
        "start at theta's shift",
    ),
    ("7.2", lambda: reads_theta, "reads the six numbers of theta"),
    ("7.2", lambda: reads_the_window, "is still in it"),
    (
        "7.2",
        lambda: lambda: nn.Sequential(body(), nn.Linear(32, 12)),
        "does not take images",
    ),
    (
        "7.2",
        lambda: lambda: nn.Sequential(nn.AvgPool2d(3), body(), nn.Linear(32, 10)),
        "expected scores of shape (5, 12)",
    ),
    ("7.2", lambda: reads_pixels, "one linear layer from 32 numbers"),
    ("7.2", lambda: lambda: 46.8, "expected a network, but got a number"),
    ("7.3", lambda: lambda a, b, n: (a - b) / spread(a, n), "variance is missing"),
    ("7.3", lambda: lambda a, b, n: (a - b) / spread(b, n), "variance is missing"),
    (
        "7.3",
        lambda: lambda a, b, n: (a - b) / (spread(a, n) ** 2 + spread(b, n) ** 2),
        "take its square root",
    ),
    (
        "7.3",
        lambda: lambda a, b, n: (a - b) / (spread(a, n) + spread(b, n)),
        "standard deviations do not add up",
    ),
    (
        "7.3",
        lambda: lambda a, b, n: (a - b) / math.sqrt((a * (1 - a) + b * (1 - b)) / n),
        "holds for a share p",
    ),
    (
        "7.3",
        lambda: lambda a, b, n: 100 * (a - b) / math.hypot(spread(a, n), spread(b, n)),
        "the deviation that of a share",
    ),
    (
        "7.3",
        lambda: lambda a, b, n: (a - b) / math.hypot(spread(a, n), spread(b, n)) / 100,
        "the deviation in per cent",
    ),
    (
        "7.3",
        lambda: lambda a, b, n: (a - b) / math.hypot(spread(a, 1), spread(b, 1)),
        "the number of images is missing",
    ),
]


@pytest.mark.parametrize(("exercise", "make", "said"), WRONG)
def test_a_usual_mistake_is_named(exercise: str, make: Callable, said: str) -> None:
    assert_named(check(exercise, make()), said)


def test_every_hint_is_tested() -> None:
    assert untested_hints(MINE, WRONG) == []


@pytest.mark.parametrize("exercise", ["5.1", "7.2"])
def test_a_network_comes_back_as_it_went(exercise: str) -> None:
    network = still() if exercise == "5.1" else alone()
    for training in (True, False):
        network.train(training).requires_grad_().zero_grad()
        before = copy.deepcopy(network.state_dict())
        assert check(exercise, network)
        assert all(module.training == training for module in network.modules())
        assert all(weights.grad is None for weights in network.parameters())
        for name, value in network.state_dict().items():
            assert torch.equal(value, before[name])


# Other wrong answers


@pytest.mark.parametrize(
    ("exercise", "make"),
    [
        ("5.2", lambda: start_at(scaling(0.8))),
        ("6.1", lambda: lambda theta: 2 * spline(theta)),
        ("6.2", lambda: lambda difference, error: 1000),
        ("6.3", lambda: lambda pixels: 1.4 * tilt(pixels / 14)[1]),
        ("7.1", lambda: lambda theta, boxes: torch.tensor([0.1, 0.9])),
        ("7.1", lambda: lambda theta, boxes: 1 - overlap(theta, boxes)),
        ("7.3", lambda: lambda first, second, n: 5.0),
    ],
)
def test_an_unknown_mistake_gets_no_guess(exercise: str, make: Callable) -> None:
    verdict = check(exercise, make())
    assert not verdict
    assert "expected" in verdict.text
    assert "Likely" not in verdict.text


@pytest.mark.parametrize(
    "answer", [[], ["last.weight"], ["body.3.bias"], ["nothing"], 3]
)
def test_the_name_that_is_asked_for_is_not_told(answer: object) -> None:
    verdict = check("4.3", answer)
    assert not verdict
    assert "last.bias" not in verdict.text


def test_every_exercise_has_a_right_and_a_wrong_answer() -> None:
    assert {name for name, _ in RIGHT} == set(MINE)
    assert {name for name, *_ in WRONG} == set(MINE)
