"""Distorted digits: their random draws are recovered and held against the paper's.

What is drawn is recovered from the grids or the images.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from scipy.interpolate import RBFInterpolator
from skimage.transform import ProjectiveTransform
from torch.testing import assert_close

from stn_tutorial import distortions as module
from stn_tutorial.data.digits import load_digits
from stn_tutorial.distortions import (
    DISTORTIONS,
    SIDES,
    bent_grid,
    cluttered,
    distort,
    moved_grid,
    rotated_grid,
    tilted_grid,
)
from stn_tutorial.interpolation import grid_sample
from stn_tutorial.warps import CORNERS

every_distortion = pytest.mark.parametrize("distortion", DISTORTIONS)


@pytest.fixture(scope="module")
def digits():
    return load_digits()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def assert_uniform(values, low, high):
    """Within the range, up to its ends, and evenly (Kolmogorov-Smirnov)."""
    values = np.asarray(values, dtype=float)
    room = (high - low) / 100
    assert low - 1e-3 <= values.min() < low + room
    assert high - room < values.max() <= high + 1e-3
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 0.01


def assert_normal(values, deviation):
    """Mean 0 and the given standard deviation, bell-shaped (Kolmogorov-Smirnov)."""
    values = np.asarray(values, dtype=float)
    assert values.std() == pytest.approx(deviation, rel=0.02)
    assert stats.kstest(values, stats.norm(0, deviation).cdf).pvalue > 0.01


def assert_independent(*columns):
    correlation = np.corrcoef(stats.rankdata(np.stack(columns), axis=1))
    assert np.abs(correlation - np.eye(len(columns))).max() < 4 / len(columns[0]) ** 0.5


def affine_of(grid):
    """The (n, 2, 3) that gave an affine grid, from three of its corners."""
    side = grid.shape[1]
    span = 2 * (side - 1) / side
    along_x = (grid[:, 0, -1] - grid[:, 0, 0]) / span  # (n, 2)
    along_y = (grid[:, -1, 0] - grid[:, 0, 0]) / span
    shift = (grid[:, 0, 0] + grid[:, -1, -1]) / 2
    theta = torch.stack([along_x, along_y, shift], 2)
    expected = F.affine_grid(theta, (len(grid), 1, side, side), align_corners=False)
    assert_close(grid, expected, atol=1e-5, rtol=0)
    return theta.double()


def test_r_turns_by_any_angle_to_90_degrees():
    theta = affine_of(rotated_grid(4000, seeded()))
    assert theta[:, :, 2].abs().max() < 1e-6
    assert_close(
        torch.linalg.det(theta[:, :, :2]), torch.ones(4000).double(), rtol=1e-5, atol=0
    )
    assert_close(theta[:, 0, 0], theta[:, 1, 1], atol=1e-5, rtol=0)
    assert_close(theta[:, 0, 1], -theta[:, 1, 0], atol=1e-5, rtol=0)
    assert_uniform(torch.atan2(theta[:, 1, 0], theta[:, 0, 0]).rad2deg(), -90, 90)


def test_rts_turns_scales_and_moves():
    """The digit is `scale` as large, turned, and its centre is (x, y) pixels off."""
    theta = affine_of(moved_grid(4000, seeded()))
    linear, shift = theta[:, :, :2], theta[:, :, 2:]
    assert_close(linear[:, 0, 0], linear[:, 1, 1], atol=1e-5, rtol=0)
    assert_close(linear[:, 0, 1], -linear[:, 1, 0], atol=1e-5, rtol=0)
    angle = torch.atan2(linear[:, 1, 0], linear[:, 0, 0]).rad2deg()
    scale = 42 / 28 / linear.det().sqrt()
    x, y = (-torch.linalg.solve(linear, shift) * 42 / 2)[:, :, 0].T
    assert_uniform(angle, -45, 45)
    assert_uniform(scale, 0.7, 1.2)
    assert_uniform(x, -7, 7)
    assert_uniform(y, -7, 7)
    assert_independent(angle, scale, x, y)


def split_off_scale(points, at_rest):
    """Points are at_rest / scale + noise: their part along at_rest, and the others."""
    at_rest = at_rest.double().flatten()
    others = torch.eye(len(at_rest)).double()[:, 1:]
    directions, _ = torch.linalg.qr(torch.cat([at_rest[:, None], others], 1))
    parts = points.flatten(1).double() @ directions  # the first is along at_rest
    return parts[:, 0] / (at_rest @ directions[:, 0]), parts[:, 1:]


def assert_scale(along, deviation):
    """1 / scale, with scale even between 0.75 and 1, and a little normal noise."""
    gen = np.random.default_rng(0)
    expected = 1 / gen.uniform(0.75, 1, 100_000) + gen.normal(0, deviation, 100_000)
    assert stats.ks_2samp(along.numpy(), expected).pvalue > 0.01


def corners_of(grid):
    """Where a projective grid sends the image's corners, by scikit-image.

    Without the few whose horizon crosses the image: there the grid is held back.
    """
    side = grid.shape[1]
    line = (2 * np.arange(side) + 1) / side - 1
    pixels = np.stack(np.meshgrid(line, line), -1)
    outer = ([0, 0, -1, -1], [0, -1, -1, 0])
    corners = []
    for seen in grid.double().numpy():
        fit = ProjectiveTransform.from_estimate(pixels[outer], seen[outer])
        if np.abs(fit(pixels.reshape(-1, 2)) - seen.reshape(-1, 2)).max() < 1e-3:
            corners.append(fit(np.array(CORNERS)))
    assert len(corners) > 0.99 * len(grid)
    return torch.tensor(np.stack(corners))


def test_p_scales_and_moves_the_corners():
    """Both coordinates of all four, each on its own, by 5 of 28 pixels."""
    corners = corners_of(tilted_grid(2000, seeded()))
    along, others = split_off_scale(corners, torch.tensor(CORNERS))
    assert_scale(along, 5 / 14 / 8**0.5)
    assert_normal(others.flatten(), 5 / 14)
    assert_close(others.std(0), torch.full((7,), 5 / 14).double(), rtol=0.05, atol=0)
    assert_independent(along, *others.T)


def test_e_scales_and_moves_the_control_points():
    """Both coordinates of all sixteen, each on its own, by 1.5 of 28 pixels."""
    grid = bent_grid(2000, seeded()).double()
    line = (2 * np.arange(28) + 1) / 28 - 1
    pixels = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    line = np.linspace(-1, 1, 4)
    at_rest = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    spline = RBFInterpolator(at_rest, np.eye(16), kernel="thin_plate_spline", degree=1)
    matrix = torch.tensor(spline(pixels))
    points = torch.linalg.pinv(matrix) @ grid.reshape(-1, 784, 2)
    assert_close(matrix @ points, grid.reshape(-1, 784, 2), atol=1e-5, rtol=0)
    at_rest = torch.tensor(at_rest)
    along, others = split_off_scale(points, at_rest)
    assert_scale(along, 1.5 / 14 / at_rest.norm().item())
    assert_normal(others.flatten(), 1.5 / 14)
    assert_close(others.std(0), torch.full((31,), 1.5 / 14).double(), rtol=0.06, atol=0)
    assert_independent(along, *others.T)


@pytest.fixture(scope="module")
def tagged():
    """Clutter of 2,000 images without equal pixels: each tells where it came from.

    Image i is brighter than all images before it. Returns, for each canvas pixel, its
    image, and its row and column there; all are -1 where the canvas is empty.
    """
    n = 2000
    images = torch.arange(1.0, n * 784 + 1).view(n, 1, 28, 28)  # exact in float32
    canvas = cluttered(images, seeded())
    assert canvas.shape == (n, 1, 60, 60)
    number = canvas[:, 0].long() - 1
    parts = (number // 784, number % 784 // 28, number % 28)
    return [torch.where(number < 0, -1, part) for part in parts]


def test_tc_places_the_digit_anywhere(tagged):
    """Whole, in whole pixels, evenly over 33x33 places. Brighter pieces cover it."""
    image, row, column = tagged
    own = image == torch.arange(2000)[:, None, None]
    ys, xs = torch.meshgrid(torch.arange(60), torch.arange(60), indexing="ij")
    top = torch.where(own, ys - row, 99).flatten(1).amin(1)
    left = torch.where(own, xs - column, 99).flatten(1).amin(1)
    down, right = ys - top[:, None, None], xs - left[:, None, None]
    assert torch.equal(row[own], down[own])
    assert torch.equal(column[own], right[own])
    inside = (down >= 0) & (down < 28) & (right >= 0) & (right < 28)
    assert not own[~inside].any()
    covered = inside & ~own
    assert (image - torch.arange(2000)[:, None, None])[covered].min() > 0
    for place in (top, left):
        counts = np.bincount(place, minlength=33)
        assert len(counts) == 33
        assert stats.chisquare(counts).pvalue > 0.01
    assert_independent(top, left)


def pieces(tagged, i):
    """The pieces on canvas i: their image, and the rows and columns that show."""
    image, row, column = (part[i] for part in tagged)
    ys, xs = torch.nonzero((image >= 0) & (image != i), as_tuple=True)
    image, row, column = (part[ys, xs] for part in (image, row, column))
    shift = torch.stack([image, ys - row, xs - column], 1)
    for one in shift.unique(dim=0):
        where = (shift == one).all(1)
        yield one[0].item(), ys[where], xs[where]


def test_tc_adds_six_pieces_of_other_digits(tagged):
    """The first 100 images are so dark that they hide hardly a piece."""
    numbers, others, whole = [], [], 0
    for i in range(100):
        found = list(pieces(tagged, i))
        numbers.append(len(found))
        assert len({image for image, _, _ in found}) > 1
        for image, ys, xs in found:
            assert ys.max() - ys.min() < 6
            assert xs.max() - xs.min() < 6
            whole += len(ys) == 36
            others.append((image - i) % 2000)
    assert max(numbers) == 6
    assert numbers.count(6) > 90
    assert whole > 400
    assert_uniform(others, 1, 1999)


def test_tc_draws_the_places_of_pieces_evenly(tagged):
    """The brightest pixel of a canvas is the last of a piece, and nothing hides it."""
    image, row, column = (part[:500].flatten(1) for part in tagged)
    place = (image * 784 + row * 28 + column).argmax(1, keepdim=True)
    assert (image.gather(1, place)[:, 0] != torch.arange(500)).all()
    last = place // 60, place % 60, row.gather(1, place), column.gather(1, place)
    for values, side in zip(last, (60, 60, 28, 28), strict=True):
        counts = np.bincount(values[:, 0] - 5, minlength=side - 5)
        assert len(counts) == side - 5
        assert stats.chisquare(counts).pvalue > 0.01
    assert_independent(*(values[:, 0] for values in last))


def test_tc_of_two_images_takes_pieces_from_the_other():
    images = torch.stack([torch.full((1, 28, 28), 0.5), torch.ones(1, 28, 28)])
    for seed in range(20):
        values, counts = cluttered(images, seeded(seed))[0].unique(return_counts=True)
        assert values.tolist() == [0, 0.5, 1]
        assert 36 <= counts[2] <= 6 * 36


def blob(x, y):
    """A bright spot, its centre x to the right and y below the image's centre."""
    line = torch.arange(28) - 13.5
    return torch.exp(-((line - x) ** 2 + (line[:, None] - y) ** 2) / 4)[None, None]


def centre(image):
    """The centre of the light, in pixels from the image's centre, (x, y)."""
    side = image.shape[-1]
    line = torch.arange(side) - (side - 1) / 2
    weight = image[0, 0] / image.sum()
    return [(weight.sum(0) @ line).item(), (weight.sum(1) @ line).item()]


@pytest.fixture
def draw(monkeypatch):
    """Let the next draws be these, in turn; a normal one is 0 but at one place."""

    def fix(*evenly, noise=None):
        draws = iter(evenly)

        def uniform(low, high, n, generator):
            value = next(draws)
            assert low <= value <= high
            return torch.full((n,), value)

        def randn(*shape, generator):
            values = torch.zeros(shape)
            for place, value in (noise or {}).items():
                values[(0, *place)] = value
            return values

        monkeypatch.setattr(module, "uniform", uniform)
        monkeypatch.setattr(torch, "randn", randn)

    return fix


@pytest.mark.parametrize(
    ("angle", "expected"),
    [(0.0, (8, 0)), (90.0, (0, -8)), (-90.0, (0, 8)), (45.0, (5.657, -5.657))],
)
def test_r_turns_the_content_anticlockwise(draw, angle, expected):
    draw(angle)
    turned = distort(blob(8, 0), "R", seeded())
    assert centre(turned) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("draws", "expected"),
    [
        ((0, 1, 0, 0), (6, 0)),
        ((0, 1, 7, -3), (13, -3)),
        ((0, 0.75, 0, 0), (4.5, 0)),
        ((0, 1.2, 2, 0), (9.2, 0)),
        ((45, 0.75, -5, 1), (-5 + 3.182, 1 - 3.182)),
        ((-45, 1.2, 0, 7), (5.091, 7 + 5.091)),
    ],
)
def test_rts_turns_and_scales_the_digit_then_moves_it(draw, draws, expected):
    draw(*map(float, draws))
    moved = distort(blob(6, 0), "RTS", seeded())
    assert centre(moved) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("distortion", ["P", "E"])
@pytest.mark.parametrize("scale", [0.75, 1.0])
def test_p_and_e_without_noise_only_scale(draw, distortion, scale):
    draw(scale)
    scaled = distort(blob(8, -4), distortion, seeded())
    assert centre(scaled) == pytest.approx((8 * scale, -4 * scale), abs=0.02)


@pytest.mark.parametrize(
    ("corner", "expected"),
    [((0, 0), (1, 0)), ((0, 1), (0, 1)), ((1, 0), (0, 0)), ((3, 0), (0, 0))],
)
def test_p_looks_where_the_corner_went(draw, corner, expected):
    """The first corner is the upper left one; a unit of noise is 5 pixels."""
    draw(1.0, noise={corner: 1.0})
    grid = tilted_grid(1, seeded())[0]
    # Half a pixel inside the corner: next to nothing of the distance to the next.
    seen = (grid[0, 0] + 27 / 28) * 14 / 5
    assert seen.tolist() == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(
    ("point", "expected"),
    [((5, 0), (1, 0)), ((5, 1), (0, 1)), ((6, 0), (0, 0)), ((9, 1), (0, 0))],
)
def test_e_looks_where_the_control_point_went(draw, point, expected):
    """Point 5 stands at (-1/3, -1/3), within a pixel's width of pixel (9, 9)."""
    draw(1.0, noise={point: 1.0})
    grid = bent_grid(1, seeded())[0]
    seen = (grid[9, 9] + 9 / 28) * 14 / 1.5
    assert seen.tolist() == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(
    ("distortion", "make_grid"),
    [("R", rotated_grid), ("RTS", moved_grid), ("P", tilted_grid), ("E", bent_grid)],
)
def test_each_name_stands_for_its_grid(distortion, make_grid, digits):
    images = digits.train_images[:4]
    expected = grid_sample(images, make_grid(4, seeded()), align_corners=False)
    assert torch.equal(distort(images, distortion, seeded()), expected)


@every_distortion
def test_the_generator_decides(distortion, digits):
    images = digits.train_images[:6]
    gen = seeded(3)
    first = distort(images, distortion, gen)
    assert first.shape == (6, 1, SIDES[distortion], SIDES[distortion])
    assert not torch.equal(distort(images, distortion, gen), first)
    torch.manual_seed(0)
    assert torch.equal(distort(images, distortion, seeded(3)), first)
    assert not torch.equal(distort(images, distortion, seeded(4)), first)


@every_distortion
def test_each_image_has_a_draw_of_its_own(distortion, digits):
    distorted = distort(
        digits.train_images[:1].repeat(5, 1, 1, 1), distortion, seeded()
    )
    for i in range(1, 5):
        assert (distorted[i] - distorted[0]).abs().max() > 0.3


@every_distortion
def test_samplers_agree(distortion, digits):
    images = digits.train_images[:50]
    ours = distort(images, distortion, seeded())
    assert torch.equal(distort(images, distortion, seeded(), grid_sample), ours)
    theirs = distort(images, distortion, seeded(), sampler=F.grid_sample)
    assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_sampler_is_asked(digits):
    """Once, for the images and a grid, with the book's choice of align_corners."""
    asked = []

    def sampler(images, grid, align_corners):
        asked.append((images, grid.shape, align_corners))
        return given

    given = torch.rand(3, 1, 42, 42)
    images = digits.train_images[:3]
    assert distort(images, "RTS", seeded(), sampler) is given
    ((seen, shape, align_corners),) = asked
    assert seen is images
    assert shape == (3, 42, 42, 2)
    assert align_corners is False


@every_distortion
def test_double_precision_and_range(distortion, digits):
    images = digits.train_images[:20].double()
    distorted = distort(images, distortion, seeded())
    assert distorted.dtype == torch.float64
    assert 0 <= distorted.min() < 0.1
    assert 0.5 < distorted.max() <= 1 + 1e-6
    single = distort(images.float(), distortion, seeded())
    assert_close(distorted.float(), single, atol=1e-4, rtol=0)


DEVICES = ["meta", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("sampler", [grid_sample, F.grid_sample])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@every_distortion
def test_half_precision_only_rounds(distortion, dtype, sampler, digits):
    """Places are computed in float32: the same numbers, rounded at the end."""
    images = digits.train_images[:20].to(dtype)
    found = distort(images, distortion, seeded(), sampler)
    wanted = distort(images.float(), distortion, seeded(), F.grid_sample)
    assert found.dtype == dtype
    rounding = torch.finfo(dtype).eps / 2
    assert ((found.float() - wanted).abs() <= rounding * wanted + 1e-5).all()


@every_distortion
def test_autocast_changes_nothing(distortion, digits):
    images = digits.train_images[:4]
    with torch.autocast("cpu", torch.bfloat16):
        inside = distort(images, distortion, seeded())
    assert torch.equal(inside, distort(images, distortion, seeded()))


@pytest.mark.parametrize("device", DEVICES)
@every_distortion
def test_images_may_be_on_another_device(distortion, device, digits):
    """The device "meta" has shapes and no values: it is there on every machine."""
    images = digits.train_images[:4]
    distorted = distort(images.to(device), distortion, seeded())
    assert distorted.device.type == device
    expected = distort(images, distortion, seeded())
    assert distorted.shape == expected.shape
    if device != "meta":
        assert_close(distorted.cpu(), expected, atol=1e-4, rtol=0)


@every_distortion
def test_images_are_left_as_they_are(distortion, digits):
    images = digits.train_images[:3].clone()
    distort(images, distortion, seeded())
    assert torch.equal(images, digits.train_images[:3])


@pytest.mark.parametrize("distortion", [d for d in DISTORTIONS if d != "TC"])
def test_one_image_or_none(distortion, digits):
    for n in (0, 1):
        distorted = distort(digits.train_images[:n], distortion, seeded())
        assert distorted.shape == (n, 1, SIDES[distortion], SIDES[distortion])


IMAGES = torch.zeros(2, 1, 28, 28)
BAD = {
    "distortion": (
        lambda: distort(IMAGES, "X", seeded()),
        r"\['R', 'RTS', 'P', 'E', 'TC'\], but got: 'X'",
    ),
    "size": (
        lambda: distort(torch.zeros(2, 1, 28, 27), "R", seeded()),
        r"shape \(N, 1, 28, 28\), but got torch.float32 of shape \(2, 1, 28, 27\)",
    ),
    "channels": (
        lambda: distort(torch.zeros(2, 3, 28, 28), "TC", seeded()),
        r"but got torch.float32 of shape \(2, 3, 28, 28\)",
    ),
    "no batch": (lambda: distort(IMAGES[0], "E", seeded()), r"shape \(1, 28, 28\)"),
    "another size among clutter": (
        lambda: cluttered(torch.zeros(2, 1, 20, 20), seeded()),
        r"but got torch.float32 of shape \(2, 1, 20, 20\)",
    ),
    "colours among clutter": (
        lambda: cluttered(torch.zeros(2, 3, 28, 28), seeded()),
        r"but got torch.float32 of shape \(2, 3, 28, 28\)",
    ),
    "bytes": (
        lambda: distort(IMAGES.byte(), "TC", seeded()),
        "floating point images .* but got torch.uint8",
    ),
    "one image among clutter": (
        lambda: distort(IMAGES[:1], "TC", seeded()),
        "at least 2 images, .* but got 1",
    ),
    "no image among clutter": (
        lambda: cluttered(IMAGES[:0], seeded()),
        "at least 2 images, .* but got 0",
    ),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@every_distortion
def test_arrays_are_no_tensors(distortion):
    told = r"a tensor of shape \(N, 1, 28, 28\), but got a ndarray"
    with pytest.raises(TypeError, match=told):
        distort(IMAGES.numpy(), distortion, seeded())
    with pytest.raises(TypeError, match=told):
        cluttered(IMAGES.numpy(), seeded())
