"""The examination of a transformer: it finds each seeded bug, spares what is right."""

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_tutorial import interpolation
from stn_tutorial.affine import (
    affine,
    affine_grid,
    identity,
    invert,
    rotation,
    scaling,
    translation,
)
from stn_tutorial.data.digits import load_digits
from stn_tutorial.pitfalls import Report, examine
from stn_tutorial.pitfalls.report import NOTE, RIGHT, WRONG
from stn_tutorial.transformer import LocalisationNet, SpatialTransformer
from stn_tutorial.warps import projective_grid

DIGITS = load_digits().test_images[:8]
NORMALISED = (DIGITS - 0.1358) / 0.2579


def localiser(images: Tensor = DIGITS, seed: int = 0, **options: object) -> nn.Module:
    torch.manual_seed(seed)
    return LocalisationNet(images.shape[1:], **options)


class Own(nn.Module):
    """A transformer as people write it: theta, grid, sampler, each with its faults."""

    def __init__(
        self,
        images: Tensor = DIGITS,
        of_theta: Callable = lambda theta: theta,
        of_grid: Callable = lambda grid: grid,
        size: int | None = None,
        made: bool = False,
        read: bool = False,
        **options: object,
    ) -> None:
        super().__init__()
        self.find = localiser(images)  # not under the book's name
        self.of_theta, self.of_grid = of_theta, of_grid
        self.size, self.made, self.read, self.options = size, made, read, options

    def forward(self, images: Tensor) -> Tensor:
        theta = self.of_theta(self.find(images))
        side = images.shape[2:] if self.size is None else (self.size, self.size)
        grid = affine_grid(theta, (len(images), 1, *side), self.made)
        return F.grid_sample(
            images, self.of_grid(grid), align_corners=self.read, **self.options
        )


class OfTheTutorial(nn.Module):
    """In the form of PyTorch's tutorial: the transformer is a method."""

    def __init__(self, past: bool = False) -> None:
        super().__init__()
        self.localization = nn.Sequential(nn.Conv2d(1, 4, 7), nn.MaxPool2d(2))
        self.fc_loc = nn.Linear(4 * 11 * 11, 6)
        self.fc_loc.weight.data.zero_()
        self.fc_loc.bias.data = identity().flatten()
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(784, 6))
        self.past = past

    def stn(self, images: Tensor) -> Tensor:
        theta = self.fc_loc(self.localization(images).flatten(1)).view(-1, 2, 3)
        grid = F.affine_grid(theta, images.shape, align_corners=False)
        return F.grid_sample(images, grid, align_corners=False)

    def forward(self, images: Tensor) -> Tensor:
        warped = self.stn(images)
        return self.classifier(images if self.past else warped)


class Fixed(nn.Module):
    def __init__(self, theta: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(theta)

    def forward(self, images: Tensor) -> Tensor:
        return self.theta.expand(len(images), -1, -1)


class Turning(nn.Module):
    """A head of one angle."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.angle = nn.Linear(images[0].numel(), 1)
        nn.init.zeros_(self.angle.weight)
        nn.init.zeros_(self.angle.bias)

    def forward(self, images: Tensor) -> Tensor:
        angle = self.angle(images.flatten(1))[:, 0]
        return affine(angle.cos(), -angle.sin(), 0.0, angle.sin(), angle.cos(), 0.0)


def ceil_sample(images: Tensor, grid: Tensor, **options: object) -> Tensor:
    """Bilinear, the upper neighbour by ceil."""
    n, c, height, width = images.shape
    x = ((grid[..., 0] + 1) * width - 1) / 2
    y = ((grid[..., 1] + 1) * height - 1) / 2
    output = 0
    low_x, high_x = x.detach().floor(), x.detach().ceil()
    low_y, high_y = y.detach().floor(), y.detach().ceil()
    across, down = x - low_x, y - low_y
    for row, share_y in ((low_y, 1 - down), (high_y, down)):
        for column, share_x in ((low_x, 1 - across), (high_x, across)):
            value = interpolation.look_up(images, column, row)
            output = output + value * (share_x * share_y)[:, None]
    return output


def of_loose(grid_sample: Callable, **options: object) -> nn.Module:
    return SpatialTransformer(localiser(), sampler=grid_sample, **options)


def random_start() -> nn.Module:
    net = localiser()
    net.last.reset_parameters()
    return SpatialTransformer(net)


def zero_start() -> nn.Module:
    net = localiser()
    nn.init.zeros_(net.last.bias)
    return SpatialTransformer(net)


def two_zero_layers() -> nn.Module:
    net = localiser()
    nn.init.zeros_(net.body[-2].weight)
    nn.init.zeros_(net.body[-2].bias)
    return SpatialTransformer(net)


def with_bfloat16() -> nn.Module:
    class Half(Own):
        def forward(self, images: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                theta = self.find.body(images)
                theta = F.linear(theta, self.find.last.weight, self.find.last.bias)
            grid = F.affine_grid(theta.view(-1, 2, 3).float(), images.shape, False)
            return F.grid_sample(images, grid, align_corners=False)

    return Half()


class Around(nn.Module):
    """A transformer with something before and behind it, as the book advises."""

    def __init__(
        self, before: Callable, behind: Callable, size: int | None = None
    ) -> None:
        super().__init__()
        self.inner, self.before, self.behind = Own(size=size), before, behind

    def forward(self, images: Tensor) -> Tensor:
        return self.behind(self.inner(self.before(images)))


def of_batch(of_theta: Callable) -> nn.Module:
    """A module with trained weights, whose thetas are mixed."""
    module = Own(of_theta=of_theta)
    nn.init.normal_(module.find.last.weight, std=0.05)
    return module


TALL = DIGITS[:, :, :, 4:24]


def plainly(images: Tensor, theta: Tensor, **options: str) -> Tensor:
    grid = F.affine_grid(theta, images.shape, align_corners=False)
    return F.grid_sample(images, grid, align_corners=False, **options)


def mixed(images: Tensor, theta: Tensor) -> Tensor:
    grid = F.affine_grid(theta, images.shape, align_corners=True)
    return F.grid_sample(images, grid, align_corners=False)


def bordered(images: Tensor, theta: Tensor) -> Tensor:
    return plainly(images, theta, padding_mode="border")


def by_corners(images: Tensor, theta: Tensor) -> Tensor:
    grid = F.affine_grid(theta, images.shape, align_corners=True)
    return F.grid_sample(images, grid, align_corners=True)


def on_side(images: Tensor, theta: Tensor) -> Tensor:
    size = (len(images), 1, images.shape[3], images.shape[2])
    grid = F.affine_grid(theta, size, align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def starting(layer: nn.Linear, *bias: float) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    layer.bias.data.copy_(torch.tensor(bias))
    return layer


class Usual(nn.Module):
    """As most people write it: layers, theta, F.affine_grid, F.grid_sample.

    Args:
        of_theta: what is done to theta.
        training: how training mode warps, if not as evaluation mode.
        evaluation: how evaluation mode warps.
        of_features: what is done to what the last layer gets.
        inner: more layers before the last one.
        tail: more layers behind it.
    """

    def __init__(
        self,
        of_theta: Callable = lambda theta: theta,
        *,
        training: Callable = plainly,
        evaluation: Callable = plainly,
        of_features: Callable = lambda features, training: features,
        inner: Sequence[nn.Module] = (),
        tail: Sequence[nn.Module] = (),
        images: Tensor = DIGITS,
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Flatten(), nn.Linear(images[0].numel(), 16), nn.ReLU(), *inner
        )
        start = identity().flatten().tolist()
        self.last = nn.Sequential(starting(nn.Linear(16, 6), *start), *tail)
        self.of_theta, self.of_features = of_theta, of_features
        self.warps = {True: training, False: evaluation}

    def forward(self, images: Tensor) -> Tensor:
        features = self.of_features(self.features(images), self.training)
        theta = self.of_theta(self.last(features).view(-1, 2, 3))
        return self.warps[self.training](images, theta)


class Heads(nn.Module):
    """Two last layers, or one of fewer numbers, from which theta is put together."""

    def __init__(self, join: Callable, *starts: Sequence[float]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU())
        layers = [starting(nn.Linear(16, len(bias)), *bias) for bias in starts]
        self.heads, self.join = nn.ModuleList(layers), join

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)
        return plainly(images, self.join(*[head(features) for head in self.heads]))


class Listed(nn.Module):
    """Layers in a plain list, of which PyTorch learns nothing."""

    def __init__(self) -> None:
        super().__init__()
        start = identity().flatten().tolist()
        self.layers = [nn.Flatten(), starting(nn.Linear(784, 6), *start)]

    def forward(self, images: Tensor) -> Tensor:
        return plainly(images, self.layers[1](self.layers[0](images)).view(-1, 2, 3))


def matrix_and_shift(matrix: Tensor, shift: Tensor) -> Tensor:
    return torch.cat([matrix.view(-1, 2, 2), shift[:, :, None]], dim=2)


def window(numbers: Tensor) -> Tensor:
    size, x, y = numbers.unbind(1)
    return affine(size, 0.0, x, 0.0, size, y)


def angle_and_scales(numbers: Tensor) -> Tensor:
    angle, wide, high, shear, x, y = numbers.unbind(1)
    cos, sin, wide, high = angle.cos(), angle.sin(), wide.exp(), high.exp()
    return affine(wide * cos, shear - high * sin, x, wide * sin, high * cos, y)


MATRIX, SHIFT = (1.0, 0.0, 0.0, 1.0), (0.0, 0.0)


def bounded(theta: Tensor) -> Tensor:
    return identity() + 0.5 * torch.tanh(theta - identity())


def never_tiny(theta: Tensor) -> Tensor:
    scales = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    return theta * (1 - scales) + theta.clamp(min=0.2) * scales


def matrix_detached(theta: Tensor) -> Tensor:
    return torch.cat([theta[:, :, :2].detach(), theta[:, :, 2:]], dim=2)


def after_training(module: Usual) -> Usual:
    nn.init.normal_(module.last[0].weight, std=0.02)
    module.last[0].bias.data.copy_(rotation(20).flatten())
    return module


RIGHT_ONES = {
    "the book's": (lambda: SpatialTransformer(localiser()), DIGITS),
    "convolutional": (lambda: SpatialTransformer(localiser(channels=(4, 6))), DIGITS),
    "with PyTorch's sampler": (lambda: of_loose(F.grid_sample), DIGITS),
    "bicubic": (lambda: of_loose(F.grid_sample, mode="bicubic"), DIGITS),
    "reflection": (lambda: of_loose(F.grid_sample, padding_mode="reflection"), DIGITS),
    "border, normalised": (
        lambda: of_loose(F.grid_sample, padding_mode="border"),
        NORMALISED,
    ),
    "align_corners": (lambda: Own(made=True, read=True), DIGITS),
    "larger output": (lambda: Own(size=56), DIGITS),
    "smaller output": (lambda: Own(size=20), DIGITS),
    "clamped and border": (
        lambda: Own(of_grid=lambda grid: grid.clamp(-1, 1), padding_mode="border"),
        DIGITS,
    ),
    "not square": (lambda: SpatialTransformer(localiser(TALL)), TALL),
    "only turns": (lambda: SpatialTransformer(Turning(DIGITS)), DIGITS),
    "in float64": (lambda: SpatialTransformer(localiser()).double(), DIGITS.double()),
    "colours": (
        lambda: SpatialTransformer(LocalisationNet((3, 28, 28))),
        DIGITS.expand(-1, 3, -1, -1),
    ),
    "one image": (lambda: SpatialTransformer(localiser()), DIGITS[:1]),
    "a window": (lambda: SpatialTransformer(localiser(start=scaling(0.5))), DIGITS),
    "the tutorial's method": (lambda: OfTheTutorial().stn, DIGITS),
    "PyTorch's grid and border": (
        lambda: Usual(training=bordered, evaluation=bordered),
        DIGITS,
    ),
    "PyTorch's, of one image, by corners": (
        lambda: Usual(training=by_corners, evaluation=by_corners),
        DIGITS[:1],
    ),
    "bounded": (lambda: Usual(bounded), DIGITS),
    "clamped at 1": (lambda: Usual(lambda t: t.clamp(-1, 1)), DIGITS),
    "never tiny": (lambda: Usual(never_tiny), DIGITS),
    "dropout and batch norm": (
        lambda: Usual(inner=[nn.BatchNorm1d(16), nn.Dropout()]),
        DIGITS,
    ),
    "F.dropout": (
        lambda: Usual(of_features=lambda f, training: F.dropout(f, training=training)),
        DIGITS,
    ),
    "batch norm behind": (
        lambda: nn.Sequential(Usual(), nn.BatchNorm2d(1)),
        DIGITS,
    ),
    "through six units": (
        lambda: Usual(inner=[nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 16)]),
        DIGITS,
    ),
    "two heads": (lambda: Heads(matrix_and_shift, MATRIX, SHIFT), DIGITS),
    "a moving window": (lambda: Heads(window, (1.0, 0.0, 0.0)), DIGITS),
    "an angle and scales": (lambda: Heads(angle_and_scales, [0.0] * 6), DIGITS),
    "no gradient in evaluation": (
        lambda: Usual(evaluation=lambda x, theta: plainly(x, theta.detach())),
        DIGITS,
    ),
}


@pytest.mark.parametrize(("build", "images"), RIGHT_ONES.values(), ids=RIGHT_ONES)
def test_a_correct_module_passes(build: Callable, images: Tensor) -> None:
    report = examine(build(), images)
    assert report.wrong == []
    assert report
    assert report["warp"].verdict == RIGHT
    assert report["gradient"].verdict == RIGHT


# bug: module, images, the tests that must find it, words that are said
BUGS = {
    "x and y swapped in the grid": (
        lambda: Own(of_grid=lambda grid: grid.flip(3)),
        DIGITS,
        {"warp"},
        "x and y are swapped in the grid",
    ),
    "x and y swapped before theta": (
        lambda: Own(of_theta=lambda theta: theta[:, :, [1, 0, 2]]),
        DIGITS,
        {"warp"},
        "x and y are swapped before theta",
    ),
    "theta as (y, x)": (
        lambda: Own(of_theta=lambda theta: theta[:, [1, 0]][:, :, [1, 0, 2]]),
        DIGITS,
        {"warp"},
        "theta is read as (y, x)",
    ),
    "the wrong way": (
        lambda: Own(of_theta=invert),
        DIGITS,
        {"warp"},
        "the content goes the wrong way",
    ),
    "align_corners mixed": (
        lambda: Own(made=True),
        DIGITS,
        {"warp"},
        "made with align_corners=True and read with align_corners=False",
    ),
    "align_corners mixed, the other way": (
        lambda: Own(read=True),
        DIGITS,
        {"warp"},
        "made with align_corners=False and read with align_corners=True",
    ),
    "the identity by size - 2": (
        lambda: Own(
            of_grid=lambda grid: (grid + 1) * (26 / 27) - 1, made=True, read=True
        ),
        DIGITS,
        {"warp"},
        "(size - 2)",
    ),
    "something else": (
        lambda: Own(of_grid=lambda grid: grid + 0.2 * grid.flip(3) ** 2),
        DIGITS,
        set(),
        "no warp that this test knows",
    ),
    "a clamped grid": (
        lambda: Own(of_grid=lambda grid: grid.clamp(-1, 1)),
        DIGITS,
        {"warp"},
        "clamped",
    ),
    "nearest": (
        lambda: Own(mode="nearest"),
        DIGITS,
        {"warp", "gradient", "reach"},
        "copies the nearest pixel",
    ),
    "ceil": (lambda: of_loose(ceil_sample), DIGITS, {"gradient"}, "at the identity"),
    "a detached grid": (
        lambda: Own(of_grid=Tensor.detach),
        DIGITS,
        {"gradient", "reach"},
        "no gradient reaches theta",
    ),
    "random start": (random_start, DIGITS, {"start"}, "differs between images"),
    "zero start": (zero_start, DIGITS, {"start"}, "squeezes the grid"),
    "two layers of zeros": (two_zero_layers, DIGITS, {"reach"}, "body"),
    "zeros around normalised images": (
        lambda: SpatialTransformer(localiser()),
        NORMALISED,
        {"background"},
        "from the background",
    ),
    "off the image": (
        lambda: SpatialTransformer(Fixed(translation(2.5, 0.0))),
        DIGITS,
        {"start", "outside"},
        "the whole grid lies outside",
    ),
    "a matrix in pixels": (
        lambda: SpatialTransformer(Fixed(translation(14.0, 9.0))),
        DIGITS,
        {"outside"},
        "largest shift 14",
    ),
    "a rotation that shears": (
        lambda: SpatialTransformer(Turning(TALL)),
        TALL,
        {"shape"},
        "shears an image of 28 x 20",
    ),
    "half precision": (
        lambda: Own(of_grid=lambda grid: grid.bfloat16().float()),
        DIGITS,
        {"digits"},
        "places are coarse",
    ),
    "theta inside autocast": (with_bfloat16, DIGITS, {"digits"}, "places are coarse"),
    "a localisation net that is detached": (
        lambda: Own(of_theta=Tensor.detach),
        DIGITS,
        {"gradient", "reach"},
        "no gradient gets to the localisation net",
    ),
    "one theta for the whole batch": (
        lambda: of_batch(lambda t: t.mean(0, keepdim=True).expand_as(t)),
        DIGITS,
        {"alone"},
        "among others",
    ),
    "images that change places": (
        lambda: of_batch(lambda t: t.roll(1, 0)),
        DIGITS,
        {"alone"},
        "among others",
    ),
    "a sampler that reads detached images": (
        lambda: Around(Tensor.detach, lambda y: y),
        DIGITS,
        {"through"},
        "no gradient reaches the images",
    ),
    "dropout in evaluation mode": (
        lambda: Around(lambda x: x, F.dropout),
        DIGITS,
        {"numbers"},
        "another output each time",
    ),
    "NaN": (
        lambda: SpatialTransformer(Fixed(identity() / 0), padding_mode="border"),
        DIGITS,
        {"numbers"},
        "NaN",
    ),
    "relu on theta": (
        lambda: Usual(Tensor.relu),
        DIGITS,
        {"freedom"},
        "cannot take both signs: 2, 3, 4, 6 of last.0",
    ),
    "abs on theta": (lambda: Usual(Tensor.abs), DIGITS, {"freedom"}, "both signs"),
    "a sigmoid on theta": (
        lambda: Usual(Tensor.sigmoid),
        DIGITS,
        {"freedom"},
        "cannot take both signs: 2, 3, 4, 6 of theta",
    ),
    "a last ReLU, in place": (
        lambda: Usual(tail=[nn.ReLU(inplace=True)]),
        DIGITS,
        {"freedom"},
        "both signs",
    ),
    "relu before a grid of one's own": (
        lambda: Own(of_theta=Tensor.relu),
        DIGITS,
        {"freedom"},
        "both signs",
    ),
    "abs after training": (
        lambda: after_training(Usual(Tensor.abs)),
        DIGITS,
        {"freedom", "start"},
        "both signs",
    ),
    "relu of one head": (
        lambda: Heads(lambda m, s: matrix_and_shift(m, s.relu()), MATRIX, SHIFT),
        DIGITS,
        {"freedom"},
        "1, 2 of heads.1",
    ),
    "a matrix that is detached": (
        lambda: Usual(matrix_detached),
        DIGITS,
        {"freedom", "gradient"},
        "no gradient reaches 1, 2, 4, 5 of theta",
    ),
    "a head that is detached": (
        lambda: Heads(lambda m, s: matrix_and_shift(m, s.detach()), MATRIX, SHIFT),
        DIGITS,
        {"freedom", "reach"},
        "get no gradient: 1, 2 of heads.1",
    ),
    "a window whose size is a plain number": (
        lambda: Heads(
            lambda n: affine(n[:, 0].max().item(), 0.0, n[:, 1], 0.0, 1.0, n[:, 2]),
            (1.0, 0.0, 0.0),
        ),
        DIGITS,
        {"freedom", "alone"},
        "get no gradient: 1 of heads.0",
    ),
    "features that are detached": (
        lambda: Usual(of_features=lambda features, _: features.detach()),
        DIGITS,
        {"reach"},
        "no gradient gets to features.1.weight",
    ),
    "layers in a plain list": (Listed, DIGITS, {"reach"}, "parameters() does not list"),
    "theta detached in training": (
        lambda: Usual(training=lambda x, theta: plainly(x, theta.detach())),
        DIGITS,
        {"gradient", "reach"},
        "in training mode only: no gradient reaches theta",
    ),
    "images detached in training": (
        lambda: Usual(training=lambda x, theta: plainly(x.detach(), theta)),
        DIGITS,
        {"through"},
        "in training mode only: no gradient reaches the images",
    ),
    "no warp in training": (
        lambda: Usual(training=lambda x, theta: x),
        DIGITS,
        {"freedom"},
        "in training mode only: numbers of a last layer that change nothing",
    ),
    "nearest in training": (
        lambda: Usual(training=lambda x, theta: plainly(x, theta, mode="nearest")),
        DIGITS,
        {"warp", "gradient"},
        "in training mode only: it copies the nearest pixel",
    ),
    "align_corners mixed in evaluation": (
        lambda: Usual(evaluation=mixed),
        DIGITS,
        {"warp"},
        "in evaluation mode only: the grid is made with align_corners=True",
    ),
    "one theta for the batch in training": (
        lambda: Usual(
            training=lambda x, theta: plainly(x, theta.mean(0).expand_as(theta))
        ),
        DIGITS,
        {"alone"},
        "in training mode only: an image gets another output among others",
    ),
    "another padding in training": (
        lambda: Usual(training=bordered),
        DIGITS,
        {"modes"},
        "in training mode the same numbers of the last layer give another output",
    ),
    "relu in evaluation": (
        lambda: Usual(evaluation=lambda x, theta: plainly(x, theta.relu())),
        DIGITS,
        {"modes"},
        "another output",
    ),
    "noise on theta in training": (
        lambda: Usual(
            training=lambda x, theta: plainly(x, theta + 0.1 * torch.randn(2, 3))
        ),
        DIGITS,
        {"modes"},
        "another output each time",
    ),
    "dropout behind the last layer": (
        lambda: Usual(tail=[nn.Dropout()]),
        DIGITS,
        {"modes"},
        "Dropout acts on theta's own numbers",
    ),
    "the first theta for all": (
        lambda: Usual(lambda theta: theta[:1].expand_as(theta)),
        DIGITS,
        {"alone"},
        "among others",
    ),
    "height and width swapped": (
        lambda: Usual(training=on_side, evaluation=on_side, images=TALL),
        TALL,
        {"shape"},
        "images of 28 x 20 come out as 20 x 28",
    ),
}


@pytest.mark.parametrize(("build", "images", "tests", "said"), BUGS.values(), ids=BUGS)
def test_a_seeded_bug_is_found(
    build: Callable, images: Tensor, tests: set[str], said: str
) -> None:
    report = examine(build(), images)
    assert not report
    assert tests <= set(report.wrong) | {"start"}
    assert set(report.wrong) <= tests | {"reach"}
    assert any(said in each.text for each in report.findings)
    assert all(each.mend for each in report.findings if each.verdict == WRONG)


def test_a_classifier_wired_past_the_transformer_is_found() -> None:
    net = OfTheTutorial(past=True)
    report = examine(net.stn, DIGITS, net)
    assert report.wrong == ["reach", "use"]
    assert "whatever the transformer does" in report["use"].text


def test_a_network_that_uses_its_transformer_passes() -> None:
    net = OfTheTutorial()
    assert examine(net.stn, DIGITS, net)
    layers = SpatialTransformer(localiser()), nn.Flatten(), nn.Linear(784, 10)
    assert examine(layers[0], DIGITS, nn.Sequential(*layers))


def test_a_transformer_behind_layers_gets_their_maps() -> None:
    convolution, transformer = (
        nn.Conv2d(1, 4, 5),
        SpatialTransformer(LocalisationNet((4, 24, 24))),
    )
    network = nn.Sequential(convolution, transformer, nn.Flatten(), nn.Linear(2304, 9))
    report = examine(transformer, DIGITS, network)
    assert report["warp"].verdict == report["use"].verdict == RIGHT


def test_what_may_be_meant_is_noted() -> None:
    shifts_left_out = Usual(lambda theta: theta * torch.tensor([1.0, 1.0, 0.0]))
    report = examine(shifts_left_out, DIGITS)
    assert report
    assert report["freedom"].verdict == NOTE
    assert "change nothing: 3, 6 of last.0" in report["freedom"].text
    report = examine(Usual(lambda theta: theta.squeeze()), DIGITS)
    assert report
    assert report["alone"].verdict == NOTE
    assert "it takes no image alone" in report["alone"].text


def test_a_coarse_output_is_noted() -> None:
    report = examine(Own(size=14), DIGITS)
    assert report
    assert report["step"].verdict == NOTE
    assert "2.0 pixels apart" in report["step"].text
    fine, coarse = examine(Own(size=18), DIGITS), examine(Own(size=17), DIGITS)
    assert (fine["step"].verdict, coarse["step"].verdict) == (RIGHT, NOTE)  # at 1.6


def test_a_trained_module_may_have_any_theta() -> None:
    trained = random_start()
    nn.init.normal_(trained.localisation.last.weight, std=0.01)
    with torch.no_grad():
        trained.localisation.last.bias.copy_(rotation(30).flatten())
    assert examine(trained, DIGITS).wrong == ["start"]
    assert examine(trained, DIGITS, trained=True)


def test_a_warp_that_is_not_affine_is_not_judged() -> None:
    start = torch.tensor([[1.0, 0, 0, 0, 1, 0, 0, 0]])
    net = localiser(start=start)
    report = examine(SpatialTransformer(net, grid_generator=projective_grid), DIGITS)
    assert report.wrong == []
    assert not report  # what was not tested is not right
    assert report["start"].verdict == NOTE


def test_values_may_be_changed_around_the_warp() -> None:
    low = NORMALISED.min()
    for module, images in (
        (Around(lambda x: x - low, lambda y: y + low), NORMALISED),
        (Around(lambda x: x, lambda y: (y - 0.1) / 0.3), DIGITS),
    ):
        report = examine(module, images)
        assert report
        assert report["background"].verdict == RIGHT


@pytest.mark.parametrize(
    "module",
    [
        Around(lambda x: x, lambda y: F.avg_pool2d(y, 2), size=56),
        Around(lambda x: F.avg_pool2d(x, 3, 1, 1), lambda y: y),
        Around(lambda x: x, lambda y: y.clamp(0.2, 0.8)),
    ],
    ids=["averaged", "blurred", "values clamped"],
)
def test_a_change_of_values_is_not_judged(module: nn.Module) -> None:
    report = examine(module, DIGITS)
    assert report.wrong == []


class Residual(nn.Module):
    """Six numbers that are added to the identity, before a grid of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.localisation = nn.Sequential(nn.Flatten(), nn.Linear(784, 6))
        for weights in self.localisation.parameters():
            nn.init.zeros_(weights)

    def forward(self, images: Tensor) -> Tensor:
        theta = identity() + self.localisation(images).view(-1, 2, 3)
        return F.grid_sample(
            images, affine_grid(theta, images.shape), align_corners=False
        )


def test_numbers_may_be_added_to_the_identity() -> None:
    report = examine(Residual(), DIGITS)
    assert report
    assert report["start"].verdict == report["gradient"].verdict == RIGHT


def test_half_precision_of_a_small_image_is_noted_at_most() -> None:
    report = examine(SpatialTransformer(localiser()).half(), DIGITS.half())
    assert report.wrong == []


def test_nothing_is_changed() -> None:
    module, images = SpatialTransformer(localiser()).train(), DIGITS.clone()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    with torch.no_grad():
        assert examine(module, images)
    assert module.training
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, DIGITS)
    examine(Around(lambda images: images.mul_(0.5), lambda y: y), images)
    assert torch.equal(images, DIGITS)
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(m._forward_hooks for m in module.modules())
    assert all(weight.grad is None for weight in module.parameters())


def test_a_module_may_keep_what_it_has_made() -> None:
    module = Own()
    module.last = module(DIGITS)  # a tensor with a history, which cannot be copied
    assert examine(module, DIGITS)


def test_the_report_prints_one_finding_a_line() -> None:
    report = examine(Own(made=True), DIGITS)
    assert isinstance(report, Report)
    lines = repr(report).splitlines()
    assert lines[0] == "right numbers    theta and the output are finite"
    assert any(line.startswith("WRONG warp") for line in lines)
    assert max(map(len, lines)) <= 72
    with pytest.raises(KeyError, match="no test 'wrap'"):
        report["wrap"]


def test_images_are_checked() -> None:
    module = SpatialTransformer(localiser())
    with pytest.raises(ValueError, match="shape"):
        examine(module, DIGITS[0])
    with pytest.raises(ValueError, match="floating point"):
        examine(module, (255 * DIGITS).byte())
    for images, found in (
        (DIGITS[:0], "none"),
        (0 * DIGITS, "even ones"),
        (DIGITS / 0, "NaN"),
    ):
        with pytest.raises(ValueError, match=f"show something, but got {found}"):
            examine(module, images)


@pytest.mark.parametrize(
    "given",
    [None, SpatialTransformer, lambda images: images],
    ids=["nothing", "a class", "a function"],
)
def test_what_is_no_module_is_named(given: object) -> None:
    with pytest.raises(TypeError, match="expected transformer to be a module"):
        examine(given, DIGITS)
    module = SpatialTransformer(localiser())
    with pytest.raises(TypeError, match="expected network to be a module"):
        examine(module, DIGITS, network=lambda images: images)
    with pytest.raises(ValueError, match="network to hold the transformer"):
        examine(module, DIGITS, network=nn.Flatten())
    with pytest.raises(TypeError, match="tensor to come out"):
        examine(Around(lambda x: x, lambda y: {"output": y}), DIGITS)
