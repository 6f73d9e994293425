"""Scenes: where signs stand, what hides them, and what is never in two parts."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from round_signs import BOX, TRACKS, write_gtsrb
from scipy import stats
from sklearn.datasets import load_sample_image
from torch.testing import assert_close

from stn_tutorial.data import scenes as module
from stn_tutorial.data.scenes import (
    CLASSES,
    CONTENTS,
    NAMES,
    cut_out,
    draw_scenes,
    load_signs,
    make_scenes,
    photo_pieces,
)

N = 400
SIDE = 64


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """GTSRB as its cache has it, made up."""
    folder = tmp_path_factory.mktemp("data") / "gtsrb"
    arrays = write_gtsrb(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STN_TUTORIAL_DATA", str(folder.parent))
        yield arrays


def plain(value, n=N):
    """Signs of one grey."""
    return torch.full((n, 3, 48, 48), value, dtype=torch.uint8)


def page(value, side=80):
    """A photograph of one grey."""
    return torch.full((1, 3, side, side), value, dtype=torch.uint8)


def pixel_centres(side):
    return (2 * torch.arange(side) + 1) / side - 1


# The parts


def test_the_classes_are_round_and_have_names():
    assert NAMES[0] == "speed limit 30"
    assert NAMES[9] == "no entry"
    assert len(NAMES) == len(set(NAMES)) == 12


def test_no_sign_is_in_two_parts(arrays):
    """Each track has a colour of its own, and all its frames have it."""
    colours = {}
    for part in ("train", "validation", "test"):
        images, labels = load_signs(part)
        assert images.dtype == torch.uint8
        assert images.shape == (len(labels), 3, 48, 48)
        assert labels.dtype == torch.int64
        assert images.flatten(2).float().std(2).max() == 0
        colours[part] = {tuple(image[:, 0, 0].tolist()) for image in images}
    assert len(colours["train"]) > 100
    assert len(colours["validation"]) == len(CLASSES)  # a tenth of eleven tracks
    assert len(colours["train"] & colours["validation"]) == 0
    assert len(colours["train"] & colours["test"]) <= 1  # colours may meet by chance


def test_small_signs_and_other_classes_are_left_out(arrays):
    _, train = load_signs("train")
    _, held = load_signs("validation")
    counts = torch.bincount(torch.cat([train, held]), minlength=12)
    assert counts.tolist() == [TRACKS * 2] * 12  # two of three frames
    assert torch.bincount(load_signs("test")[1]).tolist() == [5] * 12


def test_labels_are_the_classes(arrays):
    images, labels = load_signs("test")
    whole = arrays["test_images"]
    kept = (np.arange(len(whole)) % 6 > 0) & np.isin(arrays["test_labels"], CLASSES)
    assert [CLASSES[k] for k in labels] == arrays["test_labels"][kept].tolist()
    assert images[:, :, 0, 0].tolist() == whole[kept][:, 0, 0].tolist()


def test_a_cut_holds_what_is_in_the_box():
    """On a ramp, by hand: bilinear reading is exact there."""
    x, y = np.meshgrid(np.arange(48) + 0.5, np.arange(48) + 0.5)
    ramp = torch.tensor(np.stack([4 * x, 4 * y, 2 * x + y])).byte()[None]
    x1, y1, x2, y2 = BOX
    box = torch.tensor([[x1, y1, x2, y2]]) / 24 - 1
    cut = cut_out(ramp, box)
    assert cut.shape == (1, 3, 48, 48)
    step = (np.arange(48) + 0.5) / 48
    u, v = np.meshgrid(x1 + (x2 - x1) * step, y1 + (y2 - y1) * step)
    expected = np.stack([4 * u, 4 * v, 2 * u + v])
    assert np.abs(cut[0].numpy() - expected).max() <= 1.01  # bytes, twice rounded


def test_pieces_to_train_and_to_test_with_share_no_column(monkeypatch):
    """A photograph whose red is the column; by Pillow's resizing."""
    column = np.tile(np.linspace(0, 255, 640).round(), (400, 1))
    photo = np.stack([column, 0 * column, 255 - column], 2).astype(np.uint8)
    grey = photo[:, :512, 0]
    library = SimpleNamespace(colour=lambda: photo, grey=lambda: grey)
    monkeypatch.setattr(module, "data", library)
    monkeypatch.setattr(module, "PHOTOS", ("colour", "grey"))
    monkeypatch.setattr(module, "MORE_PHOTOS", ())
    train, test = photo_pieces("train"), photo_pieces("test")
    assert train.shape == test.shape == (2, 3, 512, 256)
    assert train.dtype == torch.uint8
    assert torch.equal(photo_pieces("validation"), train)
    assert (train[:, 0].amax((1, 2)) < test[:, 0].amin((1, 2))).all()
    assert torch.equal(train[1, 0], train[1, 2])
    resized = Image.fromarray(photo).resize((819, 512), Image.Resampling.BILINEAR)
    whole = np.array(resized).transpose(2, 0, 1).astype(int)
    assert np.abs(train[0].numpy() - whole[:, :, :256]).max() <= 1
    assert np.abs(test[0].numpy() - whole[:, :, -256:]).max() <= 1


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_scikit_learns_photographs_are_read_as_it_reads_them(name):
    photo = load_sample_image(name)
    width = round(512 * photo.shape[1] / photo.shape[0])
    resized = Image.fromarray(photo).resize((width, 512), Image.Resampling.BILINEAR)
    whole = np.array(resized).transpose(2, 0, 1).astype(int)
    pieces = photo_pieces("train")[-2:].numpy()
    piece = pieces[["china.jpg", "flower.jpg"].index(name)]
    assert np.abs(piece - whole[:, :, :256]).max() <= 1


def test_every_photograph_is_wide_enough():
    train, test = photo_pieces("train"), photo_pieces("test")
    assert train.shape == test.shape == (10, 3, 512, 256)
    both = torch.cat([train, test]).flatten(1).float()
    assert both.std(1).min() > 5
    assert len(both.unique(dim=0)) == 20


# A scene


@pytest.fixture(scope="module")
def white_on_black():
    """White signs on black: made half as bright, but no less."""
    return make_scenes(plain(255), page(0), SIDE, seeded())


def test_shapes_and_ranges(white_on_black):
    scenes, boxes = white_on_black
    assert scenes.shape == (N, 3, SIDE, SIDE)
    assert boxes.shape == (N, 4)
    assert scenes.dtype == boxes.dtype == torch.float32
    assert scenes.min() == 0
    assert scenes.max() == pytest.approx(0.5)
    assert boxes.abs().max() <= 1 + 1e-6


def test_a_circle_fills_its_box_but_for_a_twentieth(white_on_black):
    scenes, boxes = white_on_black
    share = scenes[:, 0] / 0.5  # (N, SIDE, SIDE)
    line = pixel_centres(SIDE)
    mass = share.sum((1, 2))
    centre_x = (share.sum(1) @ line) / mass
    centre_y = (share.sum(2) @ line) / mass
    low, high = boxes[:, :2], boxes[:, 2:]
    middle, size = (low + high) / 2, high - low
    assert_close(size[:, 0], size[:, 1], atol=1e-5, rtol=0)
    assert_close(torch.stack([centre_x, centre_y], 1), middle, atol=1e-3, rtol=0)
    radius = 0.95 * size[:, 0] * SIDE / 4  # in pixels
    fade = np.pi * 3**2 / 12  # what a fading edge adds to a circle's area
    assert_close(mass, np.pi * radius**2 + fade, atol=1.5, rtol=0)
    for image, (x1, y1, x2, y2) in zip(share, boxes, strict=True):
        near = 2 / SIDE  # a pixel, in which the edge fades
        outside = (line < x1 - near) | (line > x2 + near)
        assert not image[:, outside].any()
        outside = (line < y1 - near) | (line > y2 + near)
        assert not image[outside].any()


def test_size_and_place_are_drawn_evenly(white_on_black):
    _, boxes = white_on_black
    low, size = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    pixels = size[:, 0] * SIDE / 2
    assert stats.kstest(pixels, stats.uniform(24, 24).cdf).pvalue > 0.01
    x, y = ((low + 1) / (2 - size)).T
    for place in (x, y):
        assert stats.kstest(place, stats.uniform(0, 1).cdf).pvalue > 0.01
    assert np.abs(np.corrcoef(torch.stack([x, y, pixels])) - np.eye(3)).max() < 0.15


def test_around_the_sign_is_the_photograph():
    """Photographs that tell place and name: red the row, green the column."""
    row, column = np.meshgrid(np.arange(100), np.arange(100), indexing="ij")
    photos = np.stack([[row, column, 0 * row + 50 * i] for i in range(3)])
    photos = torch.tensor(photos).byte()
    scenes, boxes = make_scenes(plain(90), photos, SIDE, seeded())
    numbers = (255 * scenes).round().int()
    line, seen = pixel_centres(SIDE), set()
    for image, (x1, y1, x2, y2) in zip(numbers, boxes, strict=True):
        u, v = (2 * line - x1 - x2) / (x2 - x1), (2 * line - y1 - y2) / (y2 - y1)
        beside = torch.hypot(u[None, :], v[:, None]) >= 1.08  # the edge has ended
        spot = beside.nonzero()[0]
        top, left = (image[:2, spot[0], spot[1]] - spot).tolist()
        which = int(image[2, spot[0], spot[1]]) // 50
        seen.add((which, top, left))
        window = photos[which, :, top : top + SIDE, left : left + SIDE].int()
        assert torch.equal(image[:, beside], window[:, beside])
    which, top, left = np.array(sorted(seen)).T
    assert len(seen) > N / 2
    assert set(which) == {0, 1, 2}
    assert (top.min(), top.max(), left.min(), left.max()) == (0, 36, 0, 36)


@pytest.mark.parametrize("turn", [0, 10])
def test_the_sign_is_upright_or_turned_clockwise(turn, monkeypatch):
    """A ramp from left to right in red, from top to bottom in green."""

    def fixed(low, high, n, generator):
        if (low, high) == (-10, 10):
            return torch.full((n,), float(turn))
        return even(low, high, n, generator)

    even = module.uniform
    monkeypatch.setattr(module, "uniform", fixed)
    x, y = np.meshgrid(np.arange(48), np.arange(48))
    ramp = torch.tensor(np.stack([40 + 2 * x, 40 + 2 * y, 0 * x + 87])).byte()
    scenes, boxes = make_scenes(ramp.expand(50, 3, 48, 48), page(87), SIDE, seeded())
    line = pixel_centres(SIDE).numpy()
    angle = np.deg2rad(turn)
    for image, (x1, y1, x2, y2) in zip(scenes.numpy(), boxes.numpy(), strict=True):
        u = (2 * line - x1 - x2)[None, :] / (x2 - x1)  # from -1 to 1 in the box
        v = (2 * line - y1 - y2)[:, None] / (y2 - y1)
        red = 87 + 48 * (np.cos(angle) * u - np.sin(angle) * v)
        green = 87 + 48 * (np.sin(angle) * u + np.cos(angle) * v)
        within = np.hypot(u, v) < 0.8
        for values, expected in zip(image[:2], (red, green), strict=True):
            assert np.abs(255 * values - expected)[within].max() < 2


def test_signs_are_as_bright_as_their_scene():
    """But at most twice, or half, as bright as they were."""
    signs = plain(100, 1)
    for photo, expected in ((120, 120), (60, 60), (255, 200), (10, 50)):
        scenes, boxes = make_scenes(signs, page(photo), SIDE, seeded())
        middle = (boxes[0].view(2, 2).mean(0) + 1) * SIDE / 2
        x, y = middle.int()
        assert 255 * scenes[0, 1, y, x] == pytest.approx(expected, abs=0.1)
    colourful = plain(100, 1)
    colourful[:, 0] = 40
    scenes, boxes = make_scenes(colourful, page(120), SIDE, seeded())
    x, y = ((boxes[0].view(2, 2).mean(0) + 1) * SIDE / 2).int()
    expected = torch.tensor([40.0, 100, 100]) * 120 / 80
    assert_close(255 * scenes[0, :, y, x], expected, atol=0.1, rtol=0)


# The controls


def noisy(n, generator):
    return torch.randint(60, 190, (n, 3, 48, 48), generator=generator).byte()


def test_controls_differ_in_nothing_but_the_content():
    signs, photos = noisy(60, seeded(1)), photo_pieces("train")
    made = {c: make_scenes(signs, photos, 96, seeded(), c) for c in CONTENTS}
    assert list(made) == ["sign", "blurred", "photo", "nothing"]
    scenes, boxes = made["sign"]
    line = pixel_centres(96)
    for content in CONTENTS[1:]:
        others, same = made[content]
        assert torch.equal(same, boxes)
        for image, other, (x1, y1, x2, y2) in zip(scenes, others, boxes, strict=True):
            u = (2 * line - x1 - x2)[None, :] / (x2 - x1)
            v = (2 * line - y1 - y2)[:, None] / (y2 - y1)
            beside = torch.hypot(u, v) >= 1.08  # the edge has ended
            assert torch.equal(image[:, beside], other[:, beside])
            inside = torch.hypot(u, v) < 0.8
            assert (image[:, inside] - other[:, inside]).abs().mean() > 0.02
            if content == "blurred":  # the mean colour, alone
                assert other[:, inside].std(1).max() < 1e-4
                mean = image[:, inside].mean(1)
                assert_close(other[:, inside][:, 0], mean, atol=0.05, rtol=0)


def test_a_photograph_in_the_signs_place_tells_nothing_of_it():
    photos = photo_pieces("train")
    first, second = (
        make_scenes(noisy(20, seeded(i)), photos, 96, seeded(), "photo")[0]
        for i in (1, 2)
    )
    assert torch.equal(first, second)


def test_nothing_leaves_but_what_was_there_a_little_coarser():
    """On ramps all is as it was, but for half a grey level at the rim."""
    row, column = np.meshgrid(np.arange(90), np.arange(90), indexing="ij")
    ramps = torch.tensor(np.stack([2 * row, 2 * column, row + column])).byte()[None]
    made, boxes = make_scenes(plain(0, 40), ramps, SIDE, seeded(), "nothing")
    for axis, channel in ((3, 1), (2, 0)):
        steps = 255 * made.diff(dim=axis)[:, channel]
        assert (steps - 2).abs().max() < 0.5
    photos = photo_pieces("train")
    made, boxes = make_scenes(plain(0, 40), photos, 96, seeded(), "nothing")
    hidden, _ = make_scenes(plain(0, 40), photos, 96, seeded())
    line = pixel_centres(96)
    likeness = []
    for image, other, (x1, y1, x2, y2) in zip(made, hidden, boxes, strict=True):
        u = (2 * line - x1 - x2)[None, :] / (x2 - x1)
        v = (2 * line - y1 - y2)[:, None] / (y2 - y1)
        assert not other[:, torch.hypot(u, v) < 0.8].any()  # a black sign
        ring = (torch.hypot(u, v) > 1.1) & (torch.hypot(u, v) < 1.4)
        edge = (torch.hypot(u, v) > 0.6) & (torch.hypot(u, v) < 0.9)
        likeness.append([image[1, ring].mean().item(), image[1, edge].mean().item()])
    assert np.corrcoef(np.transpose(likeness))[0, 1] > 0.95


# What is drawn


def test_classes_are_even_and_in_random_order(arrays):
    scenes, labels, boxes = draw_scenes(30, "test", SIDE, seeded())
    assert scenes.shape == (30, 3, SIDE, SIDE)
    assert boxes.shape == (30, 4)
    counts = torch.bincount(labels, minlength=12)
    assert sorted(counts.tolist()) == [2] * 6 + [3] * 6
    assert labels.tolist() != sorted(labels.tolist())


def test_a_scene_shows_a_sign_of_its_label(arrays, monkeypatch):
    """By its colour, which each sign has for itself; so brightness must stay."""
    monkeypatch.setattr(module, "photo_pieces", lambda part: page(0, 200))
    images, classes = load_signs("test")
    scenes, labels, boxes = draw_scenes(60, "test", SIDE, seeded())
    used = set()
    for scene, label, box in zip(scenes, labels, boxes, strict=True):
        x, y = ((box.view(2, 2).mean(0) + 1) * SIDE / 2).int()
        colour = (2 * 255 * scene[:, y, x]).round()  # on black: half as bright
        fits = (images[:, :, 0, 0] == colour).all(1) & (classes == label)
        assert fits.any()
        used.add(fits.nonzero()[0].item())
    assert len(used) > 30


def test_the_generator_decides(arrays):
    gen = seeded(3)
    first, again = (draw_scenes(24, "validation", SIDE, gen) for _ in range(2))
    assert not torch.equal(first[0], again[0])
    torch.manual_seed(0)
    state = torch.get_rng_state()
    repeated = draw_scenes(24, "validation", SIDE, seeded(3))
    assert all(map(torch.equal, first, repeated))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("side", [50, 80])
def test_any_side_from_a_patch_to_the_photograph(side):
    scenes, boxes = make_scenes(plain(200, 30), page(100), side, seeded())
    assert scenes.shape == (30, 3, side, side)
    assert scenes.isfinite().all()
    assert boxes.abs().max() <= 1 + 1e-6


BAD = {
    "part": (lambda: load_signs("all"), "expected part to be one of"),
    "piece": (lambda: photo_pieces("left"), "expected part to be one of"),
    "none": (
        lambda: draw_scenes(0, "test", 96, seeded()),
        "expected n to be at least 1 scene, but got 0",
    ),
    "small": (
        lambda: make_scenes(plain(0, 2), page(0), 49, seeded()),
        "from 50 to 80 pixels, as many as the photographs have, but got 49",
    ),
    "large": (
        lambda: make_scenes(plain(0, 2), page(0), 81, seeded()),
        "from 50 to 80 pixels, as many as the photographs have, but got 81",
    ),
    "floats": (
        lambda: make_scenes(plain(0, 2) / 255, page(0), 64, seeded()),
        r"expected signs of bytes \(torch.uint8\) .* but got torch.float32",
    ),
    "grey": (
        lambda: make_scenes(plain(0, 2), page(0)[:, :1], 64, seeded()),
        r"expected photos of bytes .* of shape \(1, 1, 80, 80\)",
    ),
    "content": (
        lambda: make_scenes(plain(0, 2), page(0), 64, seeded(), "text"),
        "expected content to be one of .* but got: 'text'",
    ),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
