"""Photographs of digits on paper: as they are told to be, and read back to ink."""

import pytest
import torch
from scipy.ndimage import generic_filter
from torch.testing import assert_close

from stn_tutorial.data import paper
from stn_tutorial.data.digits import load_digits
from stn_tutorial.data.paper import SIDE, mean_around, paper_photos, read_paper
from stn_tutorial.distortions import distort
from stn_tutorial.widgets.draw_and_straighten import trained_network


def lots(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits():
    return load_digits()


@pytest.mark.parametrize("side", [3, 7])
def test_the_mean_around_is_taken_of_what_there_is(side):
    image = torch.rand(1, 1, 9, 12, generator=lots()).double()

    def mean(values):
        return values[values == values].mean()  # beyond the edge stands NaN

    wanted = generic_filter(
        image[0, 0].numpy(), mean, side, mode="constant", cval=float("nan")
    )
    assert_close(mean_around(image, side)[0, 0], torch.from_numpy(wanted))


def test_a_photograph_has_the_pose_of_the_set_rts(digits):
    """Where the set's image has ink, so has the photograph, without light and noise."""
    images = digits.test_images[:20]
    moved = distort(images, "RTS", lots(3))
    photos = paper_photos(images, lots(3), pen=8, noise=0, shade=1)
    ink = torch.nn.functional.avg_pool2d((1 - photos) / 0.7, 3)
    for one, other in zip(moved, ink, strict=True):
        pair = torch.stack([one.flatten(), other.flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.7


def test_light_noise_and_pen_are_what_they_are_told_to_be(digits):
    blank = torch.zeros(6, 1, 28, 28)
    even = paper_photos(blank, lots(), noise=0, shade=1)
    assert_close(even, torch.ones_like(even))
    shaded = paper_photos(blank, lots(), noise=0, shade=0.35).flatten(1)
    assert shaded.amin() >= 0.349
    assert shaded.amin(1).max() < 0.6 < 0.8 < shaded.amax(1).min()
    noisy = paper_photos(blank, lots(), noise=0.02, shade=0.35)
    rough = noisy - paper_photos(blank, lots(), noise=0, shade=0.35)
    assert rough[noisy < 1].std() == pytest.approx(0.02, rel=0.1)
    thin, thick = (
        (1 - paper_photos(digits.test_images[:9], lots(), pen, 0, 1)).sum()
        for pen in (2, 4)
    )
    assert thick / thin == pytest.approx(2, rel=0.2)


def test_the_ink_does_not_depend_on_the_light(digits):
    images = digits.test_images[:30]
    bright = paper_photos(images, lots(), noise=0, shade=1).double()
    wanted = read_paper(bright)
    assert_close(read_paper(0.4 * bright), wanted, atol=1e-5, rtol=0)
    away = (read_paper(paper_photos(images, lots(), noise=0).double()) - wanted).abs()
    assert away.mean() < 0.005


def test_an_empty_sheet_has_no_ink():
    sheets = paper_photos(torch.zeros(5, 1, 28, 28), lots())
    assert read_paper(sheets).mean() < 0.01
    assert read_paper(torch.zeros(1, 1, SIDE, SIDE)).max() == 0
    assert read_paper(torch.ones(1, 1, SIDE, SIDE)).max() == 0


def test_one_that_holds_nan_is_nan_and_the_others_are_not(digits):
    photos = paper_photos(digits.test_images[:2], lots())
    photos[0, 0, 60, 60] = float("nan")
    images = read_paper(photos)
    assert images[0].isnan().all()
    assert not images[1].isnan().any()


def test_no_photographs_give_no_images():
    assert paper_photos(torch.zeros(0, 1, 28, 28), lots()).shape == (0, 1, SIDE, SIDE)
    assert read_paper(torch.zeros(0, 1, SIDE, SIDE)).shape == (0, 1, 42, 42)


def test_the_network_reads_paper_as_well_as_clean_pen_strokes(digits):
    """Light, blur and noise cost nothing; the photograph itself says nothing to it."""
    images, labels = digits.test_images[:300], digits.test_labels[:300]
    network = trained_network()

    def errors(seen):
        with torch.inference_mode():
            return (network(seen).argmax(1) != labels).float().mean().item()

    photos = paper_photos(images, lots())
    clean = paper_photos(images, lots(), noise=0, shade=1)
    assert errors(read_paper(photos)) < errors(read_paper(clean)) + 0.03
    assert errors(read_paper(photos)) < 0.3
    shrunk = torch.nn.functional.avg_pool2d(photos, 3)
    assert errors(shrunk) > 0.8 < errors(1 - shrunk)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: read_paper(torch.zeros(1, 1, 42, 42)), r"126\), but got \(1, 1, 42"),
        (lambda: read_paper(torch.zeros(SIDE, SIDE)), "of shape"),
        (lambda: paper_photos(torch.zeros(28, 28), lots()), r"\(N, 1, 28, 28\)"),
        (lambda: paper_photos(torch.zeros(1, 1, 28, 28), lots(), pen=0), "pen=0"),
        (lambda: paper_photos(torch.zeros(1, 1, 28, 28), lots(), shade=2), "shade=2"),
        (
            lambda: paper_photos(torch.zeros(1, 1, 28, 28), lots(), noise=float("nan")),
            "noise=nan",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_three_pixels_make_one_of_the_networks():
    assert paper.SIDE == 3 * 42


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_photograph_is_drawn_of_what_is_no_number(digits, value):
    broken = digits[0][:1].clone()
    broken[0, 0, 14, 14] = value
    with pytest.raises(ValueError, match="finite"):
        paper_photos(broken, lots())
    with pytest.raises(ValueError, match="finite pen"):
        paper_photos(digits[0][:1], lots(), noise=value)


@pytest.mark.parametrize("function", [lambda x: paper_photos(x, lots()), read_paper])
@pytest.mark.parametrize("value", [[0.5], torch.zeros(1, 1, 28, 28, dtype=torch.uint8)])
def test_what_is_no_tensor_of_floats_is_refused(function, value):
    with pytest.raises(TypeError, match="tensor of floats, but got (list|torch.uint8)"):
        function(value)
