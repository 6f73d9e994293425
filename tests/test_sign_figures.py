"""Figures of traffic signs: what is drawn lies where the numbers say."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from stn_tutorial.affine import compose, scaling, translation
from stn_tutorial.experiments import records
from stn_tutorial.experiments.traffic_signs import PUBLISHED
from stn_tutorial.sign_figures import (
    draw_window,
    film,
    read_tiles,
    show_approach,
    show_errors,
    show_places,
    show_windows,
)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(4, 3, 48, 48, generator=generator)


@pytest.mark.parametrize("side", [48, 24])
def test_tiles_come_back_in_their_order(images, side, tmp_path):
    images = images[..., :side, :side]
    path = tmp_path / "tiles.png"
    path.write_bytes(records.picture(*images.chunk(2)))
    assert_close(read_tiles(path, side), images, atol=0.003, rtol=0)


@pytest.mark.parametrize("size", [(96, 96), (96, 100, 3), (48, 96, 3)])
def test_another_picture_is_refused(size, tmp_path):
    path = tmp_path / "other.png"
    Image.fromarray(np.zeros(size, np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"two rows of 48x48 images in colour, but"):
        read_tiles(path)


@pytest.mark.parametrize("side", [48, 96])
def test_the_outline_of_a_window_lies_where_theta_says(side):
    """The right half of the image; its lines are those of the outer samples."""
    _, ax = plt.subplots()
    ax.imshow(np.zeros((side, side)))
    draw_window(ax, compose(translation(0.5, 0.0), scaling(0.5, 1.0))[0], side)
    points = np.concatenate([line.get_xydata() for line in ax.lines])
    left = side / 2 - 0.25
    assert points.min(axis=0) == pytest.approx([left, 0], abs=0.3)
    assert points.max(axis=0) == pytest.approx([side - 0.75, side - 1], abs=0.3)
    corner = ax.lines[-1].get_xydata()
    assert corner == pytest.approx(np.array([[left, 0]]), abs=0.3)
    assert ax.get_xlim() == (-0.5, side - 0.5)


@pytest.mark.parametrize("side", [48, 40])
def test_below_each_image_stands_what_its_window_shows(images, side):
    images = images[..., :side, :side]
    half = side // 2
    theta = compose(translation(-0.5, -0.5), scaling(0.5))  # one for all
    figure = show_windows(images, theta, "title", side=half)
    assert len(figure.axes) == 8
    for ax, image in zip(figure.axes[4:], images, strict=True):
        shown = torch.tensor(np.array(ax.images[0].get_array()))
        assert_close(shown.permute(2, 0, 1), image[:, :half, :half], atol=1e-5, rtol=0)
    for ax in figure.axes[:4]:
        assert max(line.get_xdata().max() for line in ax.lines) < half


def test_a_film_has_a_frame_for_each_moment(images):
    thetas = [scaling(size).expand(4, 2, 3) for size in (1.0, 0.7, 0.5)]
    played = film(images, thetas, ["a", "b", "c"], "Four images.")
    assert len(played.frames) == 3
    assert played.label == "Four images."
    with pytest.raises(ValueError, match="zip"):
        film(images, thetas, ["a", "b"], "Four images.")


def test_an_approach_shows_each_frame_in_its_own_size(images, monkeypatch):
    extents, limits = [], []

    def note(figure):
        extents.append(figure.axes[0].images[0].get_extent())
        limits.append(figure.axes[0].get_xlim())
        return Image.new("RGB", (4, 4), (len(extents), 0, 0))

    monkeypatch.setattr("stn_tutorial.sign_figures.frame", note)
    theta = scaling(0.7).expand(4, 2, 3)
    played = show_approach(images, theta, [20, 30, 40, 100], "A sign.")
    assert len(played.frames) == 4
    widths = [right - left for left, right, *_ in extents]
    assert widths == [20, 30, 40, 100]
    assert limits == [(-50, 50)] * 4


def test_errors_stand_beside_the_published_ones():
    entries = [
        {"model": "cnn-small", "errors": [0.7, 0.8, 0.6]},
        {"model": "st-cnn-small", "errors": [0.4]},
    ]
    ax = show_errors(entries).axes[0]
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names == ["cnn-small", "st-cnn-small", *PUBLISHED]
    drawn = {tuple(line.get_ydata()): list(line.get_xdata()) for line in ax.lines}
    assert drawn[0, 0, 0] == [0.7, 0.8, 0.6]
    assert drawn[(1,)] == [0.4]
    for i, (accuracy, _) in enumerate(PUBLISHED.values(), 2):
        assert drawn[(i,)] == [pytest.approx(100 - accuracy)]


def test_places_are_drawn_for_each_network():
    truth = torch.tensor([[0.1, -0.2], [0.3, 0.4]])
    windows = {name: scaling(0.5).repeat(2, 1, 1) for name in ("a", "b")}
    windows["b"][:, :, 2] = truth
    figure = show_places(truth, windows)
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"]
    for ax, expected in zip(
        figure.axes, (torch.zeros(4), truth.flatten()), strict=True
    ):
        points = torch.tensor(np.array(ax.collections[0].get_offsets()))
        assert_close(points[:, 0], truth.flatten(), check_dtype=False)
        assert_close(points[:, 1], expected, check_dtype=False)
