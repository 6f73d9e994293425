"""Drawn signs: what is drawn at random is recovered, and compared with what is said.

The boxes are checked against the pixels of signs alone, and the signs in the images
against scikit-image's own warp.
"""

import socket
from importlib import metadata
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from scipy import stats
from skimage.transform import ProjectiveTransform, warp
from torch.testing import assert_close

from stn_tutorial.data import drawn_signs as module
from stn_tutorial.data.drawn_signs import (
    NAMES,
    PHOTOS,
    backgrounds,
    draw_signs,
    expose,
    places,
    templates,
)
from stn_tutorial.distortions import uniform
from stn_tutorial.figures import use_style
from stn_tutorial.warps import CORNERS

N = 3000
LABELS = torch.arange(N) % len(NAMES)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def assert_uniform(values, low, high):
    """Within the range, up to its ends, and evenly (Kolmogorov-Smirnov)."""
    values = np.asarray(values, dtype=float).ravel()
    room = (high - low) / 100
    assert low - 1e-3 <= values.min() < low + room
    assert high - room < values.max() <= high + 1e-3
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 0.01


def assert_independent(*columns):
    correlation = np.corrcoef(stats.rankdata(np.stack(columns), axis=1))
    assert np.abs(correlation - np.eye(len(columns))).max() < 4 / len(columns[0]) ** 0.5


@pytest.fixture
def fix(monkeypatch):
    """Let all draws from the given ranges be a constant, the others as they are."""

    def fix(constants):
        def draw(low, high, n, generator):
            if (low, high) in constants:
                return torch.full((n,), float(constants[low, high]))
            return uniform(low, high, n, generator)

        monkeypatch.setattr(module, "uniform", draw)

    return fix


@pytest.fixture(scope="module")
def signs():
    return templates()


@pytest.fixture(scope="module")
def drawn():
    return draw_signs(600, seeded())


def test_templates_fill_their_frame(signs):
    """The longer side does, exactly, and the shorter stands in the middle."""
    assert signs.shape == (len(NAMES), 4, 96, 96)
    assert signs.dtype == torch.float32
    assert signs.min() == 0
    assert signs.max() == 1
    for name, alpha in zip(NAMES, signs[:, 3], strict=True):
        rows, columns = (alpha > 0.1).any(1), (alpha > 0.1).any(0)
        assert columns.all() or rows.all(), name
        assert (rows == rows.flip(0)).all(), name
        assert (columns == columns.flip(0)).all(), name


WHITE, BLACK, RED, BLUE, YELLOW = [
    (1, 1, 1),
    (0, 0, 0),
    (0.8, 0.1, 0.1),
    (0, 0.35, 0.6),
    (1, 0.7, 0),
]
LOOKS = {  # name: share of the frame, colours at places (x, y) in pixels
    "speed limit 30": (np.pi / 4, {(4, 48): RED, (48, 16): WHITE, (30, 63): BLACK}),
    "no entry": (np.pi / 4, {(48, 20): RED, (48, 48): WHITE, (20, 48): WHITE}),
    "stop": (2 * (2**0.5 - 1), {(48, 20): RED, (48, 70): RED}),
    "give way": (3**0.5 / 4, {(6, 10): RED, (48, 80): RED, (48, 40): WHITE}),
    "priority road": (0.5, {(10, 48): WHITE, (48, 10): WHITE, (48, 48): YELLOW}),
    "danger": (
        3**0.5 / 4,
        {(48, 10): RED, (48, 45): BLACK, (48, 67): WHITE, (48, 73): BLACK},
    ),
    "curve left": (3**0.5 / 4, {(90, 82): RED, (42, 45): BLACK, (30, 75): WHITE}),
    "turn left": (np.pi / 4, {(48, 10): BLUE, (20, 38): WHITE, (80, 38): BLUE}),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_sign_has_its_shape_and_colours(name, signs):
    """Round corners take a little from a polygon's area, or add, as it is scaled."""
    share, colours = LOOKS[name]
    sign = signs[NAMES.index(name)]
    assert sign[3].mean().item() == pytest.approx(share, rel=0.25)
    for (x, y), colour in colours.items():
        assert sign[:, y, x].tolist() == pytest.approx([*colour, 1], abs=0.13), (x, y)


def test_templates_differ(signs):
    """Any two, and those of one kind only within, by their symbol."""
    for a, b in combinations(range(len(NAMES)), 2):
        one, other = signs[a, :3] * signs[a, 3:], signs[b, :3] * signs[b, 3:]
        assert (one - other).square().mean().sqrt() > 0.1, (NAMES[a], NAMES[b])
    for kind in ("speed limit", "curve", "turn"):
        ones = signs[[name.startswith(kind) for name in NAMES]]
        assert len(ones) >= 2
        assert (ones[:, 3] == ones[:1, 3]).all()
        changed = (ones != ones[:1]).any(0).any(0)
        assert 0.01 < changed.float().mean() < 0.3


def cut_out(image):
    """What is bright in an image, stretched to 40x40 pixels."""
    box = image.point(lambda value: 255 * (value > 99)).getbbox()
    return np.asarray(image.crop(box).resize((40, 40)), dtype=float)


@pytest.mark.parametrize(
    ("name", "characters", "rows", "columns"),
    [
        ("speed limit 30", "30", (28, 68), (16, 80)),
        ("speed limit 50", "50", (28, 68), (16, 80)),
        ("speed limit 80", "80", (28, 68), (16, 80)),
        ("stop", "STOP", (28, 68), (6, 90)),
    ],
)
def test_characters_are_the_fonts(name, characters, rows, columns, signs):
    """As Pillow draws them, with the font that comes with matplotlib."""
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans-Bold.ttf")
    page = Image.new("L", (400, 200))
    font = ImageFont.truetype(path, 100)
    ImageDraw.Draw(page).text((20, 20), characters, fill=255, font=font)
    green = signs[NAMES.index(name), 1, slice(*rows), slice(*columns)]
    symbol = green if name == "stop" else 1 - green
    seen = cut_out(Image.fromarray(np.uint8(255 * symbol.numpy())))
    expected = cut_out(page)

    def likeness(image):
        return np.corrcoef(seen.ravel(), image.ravel())[0, 1]

    assert likeness(expected) > 0.85
    assert likeness(expected) > likeness(expected[::-1]) + 0.03
    assert likeness(expected) > likeness(expected[:, ::-1]) + 0.03


@pytest.mark.parametrize("kind", ["curve", "turn"])
def test_right_is_left_in_a_mirror(kind, signs):
    left, right = (signs[NAMES.index(f"{kind} {side}")] for side in ("left", "right"))
    visible = left[3] > 0
    assert_close(left[:, visible], right.flip(2)[:, visible], atol=0.02, rtol=0)
    assert (left - right).abs().amax(0).gt(0.5).float().mean() > 0.02
    # The arrow's tip is on its side: there the symbol's colour reaches further out.
    symbol = left[0].round() if kind == "turn" else 1 - left[0].round()
    columns = torch.nonzero(symbol[34:44, 12:84].any(0))[:, 0] + 12
    assert 48 - columns.min() > columns.max() - 48


def test_templates_leave_no_trace_and_take_no_style(signs):
    with plt.rc_context():
        use_style()
        plt.rcParams.update({"figure.dpi": 40, "savefig.dpi": 40, "text.usetex": True})
        assert torch.equal(templates(), signs)
    assert not plt.get_fignums()


def test_span_and_tilt_are_drawn_evenly(fix):
    """Without a slant, a matrix is a turn, a scale and a shift."""
    fix({(-0.08, 0.08): 0})
    matrices, _ = places(LABELS, seeded())
    assert_close(
        matrices[:, 2], torch.tensor([0.0, 0, 1]).expand(N, 3), atol=1e-5, rtol=0
    )
    (a, b), (c, d) = matrices[:, :2, :2].permute(1, 2, 0)
    assert_close(a, d, atol=1e-5, rtol=0)
    assert_close(b, -c, atol=1e-5, rtol=0)
    span, tilt = (a * d - b * c).sqrt(), torch.atan2(b, a).rad2deg()
    assert_uniform(span, 0.25, 0.7)
    assert_uniform(tilt, -15, 15)
    assert_independent(span, tilt)


def project(matrix, points):
    """Send points (k, 2) through a matrix (3, 3), by scikit-image."""
    return ProjectiveTransform(np.asarray(matrix, float))(np.asarray(points, float))


def test_slant_moves_every_corner_evenly(fix):
    fix({(0.25, 0.7): 0.5, (-15, 15): 0})
    matrices, boxes = places(LABELS, seeded())
    corners = np.stack([project(matrix, CORNERS) for matrix in matrices])
    # The place is drawn too: what tells of the slant is how corners differ.
    sides = (corners - corners[:, [0]]) / 0.5 - (np.array(CORNERS) - CORNERS[0])
    slant = sides[:, 1:].reshape(N, 6)
    assert 0.15 < np.abs(slant).max() <= 0.16 + 1e-4
    expected = stats.triang(0.5, -0.16, 0.32).cdf  # of two even draws' difference
    for column in slant.T:
        assert stats.kstest(column, expected).pvalue > 0.01
    assert_independent(slant[:, 0], slant[:, 1])


def test_signs_stand_anywhere_in_the_image():
    _, boxes = places(LABELS, seeded())
    low, high = boxes[:, :2], boxes[:, 2:]
    assert boxes.shape == (N, 4)
    assert boxes.abs().max() <= 1 + 1e-6
    assert (high - low).min() > 0.3
    left_of_room, top_of_room = ((low + 1) / (2 - (high - low))).T
    assert_uniform(left_of_room, 0, 1)
    assert_uniform(top_of_room, 0, 1)
    assert_independent(left_of_room, top_of_room, (high - low)[:, 0])


def extent(mask):
    """The normalised box of a mask's true pixels: the outer edges of the outermost."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    box = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return torch.tensor(box) * 2 / len(mask) - 1


@pytest.fixture
def plain(monkeypatch):
    """No photograph and no camera: the signs on black."""
    monkeypatch.setattr(
        module, "backgrounds", lambda n, side, generator: torch.zeros(n, 3, side, side)
    )
    monkeypatch.setattr(module, "expose", lambda images, generator: images)


@pytest.mark.parametrize("side", [48, 96])
def test_boxes_bound_the_sign(plain, monkeypatch, side):
    """White templates on black: the pixels more than half covered give the box."""
    white = templates()
    white[:, :3] = 1
    monkeypatch.setattr(module, "templates", lambda: white.clone())
    images, labels, boxes = draw_signs(240, seeded(1), side)
    assert labels.unique().tolist() == list(range(len(NAMES)))
    worst = max(
        (extent(image[0].numpy() > 0.5) - box).abs().max().item()
        for image, box in zip(images, boxes, strict=True)
    )
    # A corner's tip covers less than half of its pixel: the box may reach further.
    assert worst * side / 2 < (1.3 if side == 48 else 1.0)
    # And nothing at all is outside, but for the antialiased edge.
    x = (2 * torch.arange(side) + 1) / side - 1
    for image, (x1, y1, x2, y2) in zip(images, boxes, strict=True):
        near = 4 / side  # two pixels
        inside = ((x > y1 - near) & (x < y2 + near))[:, None] & (
            (x > x1 - near) & (x < x2 + near)
        )
        assert not image[:, ~inside].any()


def test_images_show_the_labelled_sign_where_the_matrix_says(plain, monkeypatch):
    """By scikit-image's warp of the template, four times as fine and then averaged."""
    seen = []

    def spy(labels, generator):
        seen.append(places(labels, generator))
        return seen[-1]

    monkeypatch.setattr(module, "places", spy)
    images, labels, boxes = draw_signs(48, seeded(2), 48)
    ((matrices, expected_boxes),) = seen
    assert torch.equal(boxes, expected_boxes)
    painted = templates()[:, :3] * templates()[:, 3:]

    def to_pixel(side):
        return np.array(
            [[side / 2, 0, side / 2 - 0.5], [0, side / 2, side / 2 - 0.5], [0, 0, 1]]
        )

    for image, label, matrix in zip(images, labels, matrices, strict=True):
        forward = to_pixel(192) @ matrix.double().numpy() @ np.linalg.inv(to_pixel(96))
        sign = warp(
            painted[label].permute(1, 2, 0).numpy(),
            ProjectiveTransform(forward).inverse,
            output_shape=(192, 192),
        )
        expected = sign.reshape(48, 4, 48, 4, 3).mean((1, 3)).transpose(2, 0, 1)
        error = np.abs(image.numpy() - expected)
        assert error.mean() < 0.015
        assert error.max() < 0.25  # half a pixel off, an edge has twice that


def test_a_sign_hides_what_is_behind_it(plain, monkeypatch):
    """On black or on white, a pixel of the sign is the same; others are the photo."""
    on_black, _, boxes = draw_signs(24, seeded())
    monkeypatch.setattr(
        module, "backgrounds", lambda n, side, generator: torch.ones(n, 3, side, side)
    )
    on_white, _, _ = draw_signs(24, seeded())
    alpha = 1 - (on_white - on_black)
    assert_close(alpha[:, 0], alpha[:, 1], atol=1e-5, rtol=0)
    assert alpha.min() > -1e-5
    assert alpha.max() < 1 + 1e-5
    for image, (x1, y1, x2, y2) in zip(alpha, boxes, strict=True):
        x, y = (int((low + high + 2) * 12) for low, high in ((x1, x2), (y1, y2)))
        assert image[0, y, x] > 0.999
        share = image[0].sum() / 48**2 / ((x2 - x1) * (y2 - y1) / 4)
        assert 0.35 < share < 0.9


def test_windows_of_photographs_are_drawn_evenly(monkeypatch):
    """Photographs that tell place and name: red is the row, green the column."""
    row, column = np.meshgrid(np.arange(96), np.arange(96), indexing="ij")
    pages = [np.stack([row, column, 0 * row + i], 2) for i in range(3)]
    tall = np.pad(pages[1], ((10, 10), (0, 0), (0, 0)), constant_values=255)
    wide = np.pad(pages[2], ((0, 0), (7, 7), (0, 0)), constant_values=255)
    photos = dict(zip("abc", (pages[0], tall, wide), strict=True))
    library = {
        name: lambda photo=photo: np.uint8(photo) for name, photo in photos.items()
    }
    monkeypatch.setattr(module, "PHOTOS", tuple(photos))
    monkeypatch.setattr(module, "data", SimpleNamespace(**library))
    windows = (backgrounds(N, 32, seeded()) * 255).round().int()
    assert windows.shape == (N, 3, 32, 32)
    top, left, which = windows[:, :, 0, 0].T
    steps = torch.arange(32, dtype=torch.int32)
    assert torch.equal(
        windows[:, 0], (top[:, None] + steps)[:, :, None].expand(N, 32, 32)
    )
    assert torch.equal(
        windows[:, 1], (left[:, None] + steps)[:, None].expand(N, 32, 32)
    )
    for values, number in ((top, 65), (left, 65), (which, 3)):
        counts = np.bincount(values, minlength=number)
        assert len(counts) == number
        assert stats.chisquare(counts).pvalue > 0.01
    assert_independent(top, left, which)


def test_grey_photographs_become_colour_images(monkeypatch):
    grey = np.arange(48 * 48, dtype=np.uint8).reshape(48, 48)
    monkeypatch.setattr(module, "PHOTOS", ("grey",))
    monkeypatch.setattr(module, "data", SimpleNamespace(grey=lambda: grey))
    windows = backgrounds(5, 16, seeded())
    assert windows.shape == (5, 3, 16, 16)
    assert torch.equal(windows[:, 0], windows[:, 2])
    assert windows.std() > 0.1


def test_every_real_photograph_is_used():
    """A window and its photograph have about the same mean colour and spread."""
    assert len(PHOTOS) == len(set(PHOTOS)) == 8
    windows = backgrounds(200, 24, seeded())
    assert 0 <= windows.min() < 0.1
    assert 0.9 < windows.max() <= 1
    assert len(windows.flatten(1).unique(dim=0)) > 195
    colourful = (windows.amax(1) - windows.amin(1)).flatten(1).amax(1) > 0
    assert 0.35 < colourful.float().mean() < 0.65  # four of eight


def test_photographs_are_in_the_wheel(monkeypatch):
    """So they are there offline, on a fresh machine too, without a cache."""
    shipped = {
        file.stem for file in metadata.files("scikit-image") if "data" in file.parts
    }
    assert set(PHOTOS) <= shipped

    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    draw_signs(2, seeded())


STILL = {(0.5, 1): 1, (0.9, 1.1): 1, (0, 0.03): 0}  # no light, tint or noise


def test_light_is_drawn_evenly(fix):
    """Black and grey images give the contrast and the darkest value."""
    fix({(0.9, 1.1): 1, (0, 0.03): 0})
    black, grey = (expose(torch.full((N, 3, 4, 4), v), seeded()) for v in (0.0, 0.5))
    assert black.std((1, 2, 3)).max() < 1e-5
    black, grey = black[:, 0, 0, 0], grey[:, 0, 0, 0]
    contrast = 2 * (grey - black)
    assert_uniform(contrast, 0.5, 1)
    kept = contrast < 0.99  # else there is no room
    lifted = (black / (1 - contrast))[kept]
    assert_uniform(lifted, 0, 1)
    assert_independent(contrast[kept], lifted)


def test_tint_is_drawn_evenly(fix):
    fix({(0.5, 1): 1, (0, 0.03): 0})
    tint = expose(torch.full((N, 3, 4, 4), 0.5), seeded())[:, :, 0, 0] * 2
    for channel in tint.T:
        assert_uniform(channel, 0.9, 1.1)
    assert_independent(*tint.T)


def test_noise_is_normal_and_not_equally_strong(fix):
    fix({(0.5, 1): 1, (0.9, 1.1): 1})
    noise = expose(torch.full((N, 3, 32, 32), 0.5), seeded()) - 0.5
    deviation = noise.std((1, 2, 3))
    assert deviation.min() < 0.0003
    assert 0.0295 < deviation.max() < 0.031
    assert stats.kstest(deviation, stats.uniform(0, 0.03).cdf).pvalue > 0.01
    strong = noise[deviation > 0.01]
    strong = strong / strong.std((1, 2, 3), keepdim=True)
    assert abs(strong.mean()) < 0.01
    assert stats.kstest(strong.flatten()[:100_000], stats.norm.cdf).pvalue > 0.01
    # Neighbours know nothing of each other: pixels, channels, images.
    for a, b in [
        (strong[..., 1:], strong[..., :-1]),
        (strong[:, 1:], strong[:, :-1]),
        (strong[1:], strong[:-1]),
    ]:
        assert abs((a * b).mean()) < 0.01


def test_blur_is_a_bell_curve_of_any_direction(fix):
    """One white pixel shows it. Its logarithm is a quadratic form: three numbers."""
    fix(STILL)
    spot = torch.zeros(N, 3, 9, 9)
    spot[:, :, 4, 4] = 1
    seen = expose(spot, seeded()).double()
    assert_close(seen.sum((2, 3)), torch.ones(N, 3).double(), atol=1e-5, rtol=0)
    assert_close(seen, seen.flip(2, 3), atol=1e-6, rtol=0)
    assert torch.equal(seen[:, 0], seen[:, 2])

    def form(y, x):
        return -2 * torch.log(seen[:, 0, 4 + y, 4 + x] / seen[:, 0, 4, 4])

    xx, yy, both = form(0, 1), form(1, 0), form(1, 1)
    xy = (both - xx - yy) / 2
    matrix = torch.stack([xx, xy, xy, yy], 1).view(N, 2, 2)
    values, vectors = torch.linalg.eigh(matrix)
    length, width = values.rsqrt().T
    u = (length - 0.3).clamp(min=0).sqrt()
    assert_uniform(u, 0, 1)
    clear = u > 0.3
    assert_uniform((width[clear] - 0.3) / (length[clear] - 0.3), 0, 1)
    long = width < 0.8 * length
    direction = torch.atan2(vectors[:, 1, 0], vectors[:, 0, 0]).rad2deg() % 180
    assert_uniform(direction[long], 0, 180)


def test_outside_the_image_stands_its_border(fix):
    fix(STILL)
    seen = expose(torch.ones(50, 3, 16, 16), seeded())
    assert_close(seen, torch.ones_like(seen), atol=1e-5, rtol=0)


def test_shapes_and_ranges(drawn):
    images, labels, boxes = drawn
    assert images.shape == (600, 3, 48, 48)
    assert labels.shape == (600,)
    assert labels.dtype == torch.int64  # what a cross-entropy loss takes
    assert boxes.shape == (600, 4)
    assert images.dtype == boxes.dtype == torch.float32
    assert 0 <= images.min() < 0.01
    assert 0.99 < images.max() <= 1
    assert (images.flatten(1).std(1) > 0.01).all()


@pytest.mark.parametrize(("n", "side"), [(1, 16), (30, 33), (3, 96)])
def test_any_number_and_side(n, side):
    images, labels, boxes = draw_signs(n, seeded(), side)
    assert images.shape == (n, 3, side, side)
    assert len(labels) == len(boxes) == n
    assert images.isfinite().all()


def test_classes_are_even_and_in_random_order(drawn):
    _, labels, _ = drawn
    assert torch.bincount(labels).tolist() == [50] * len(NAMES)
    assert abs(np.corrcoef(labels[1:], labels[:-1])[0, 1]) < 0.15
    counts = torch.bincount(draw_signs(30, seeded())[1], minlength=len(NAMES))
    assert sorted(counts.tolist()) == [2] * 6 + [3] * 6


def test_the_generator_decides():
    gen = seeded(3)
    first = draw_signs(150, gen)
    again = draw_signs(150, gen)
    assert not any(map(torch.equal, first, again))
    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert all(map(torch.equal, first, draw_signs(150, seeded(3))))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first[0], draw_signs(150, seeded(4))[0])


def test_each_image_has_a_light_of_its_own(plain, monkeypatch):
    """Also beyond the first hundred, which are made together."""
    monkeypatch.setattr(module, "expose", expose)
    images, _, _ = draw_signs(250, seeded())
    lowest = images.flatten(1).quantile(0.02, 1)
    assert len(lowest.unique()) > 150


BAD = {
    "no image": (lambda: draw_signs(0, seeded()), "at least 1 image, but got 0"),
    "fewer": (lambda: draw_signs(-3, seeded()), "at least 1 image, but got -3"),
    "small": (lambda: draw_signs(5, seeded(), 15), "at least 16 pixels, but got 15"),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
