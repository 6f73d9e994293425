"""Figures: what is drawn stands where it should."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from stn_tutorial.affine import affine_grid, identity, scaling, translation
from stn_tutorial.figures import (
    GRID,
    INPUT,
    draw_grid,
    plot_panels,
    show_image,
    show_images,
    show_maps,
    show_warp,
    use_style,
)
from stn_tutorial.interpolation import warp

mpl.use("agg")


@pytest.fixture(autouse=True)
def fresh_style():
    with mpl.rc_context():
        use_style()
        yield
    plt.close("all")


@pytest.fixture
def ax():
    return plt.figure().add_subplot()


def drawn(ax):
    """The one picture on an axis, as an array."""
    (picture,) = ax.images
    return np.asarray(picture.get_array())


# Images ------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 6), (1, 4, 6), (3, 4, 6)])
def test_image_fills_its_pixels(ax, shape):
    image = torch.rand(shape, requires_grad=True)
    show_image(ax, image, "title", edge=INPUT)
    expected = image.detach().reshape(-1, 4, 6).permute(1, 2, 0).numpy()
    assert np.array_equal(drawn(ax).reshape(4, 6, -1), expected)
    assert ax.images[0].get_extent() == [-0.5, 5.5, 3.5, -0.5]
    assert ax.images[0].get_clim() == (0, 1)
    assert ax.get_title() == "title"
    assert mpl.colors.to_hex(ax.spines["top"].get_edgecolor()).upper() == INPUT
    assert all(spine.get_visible() for spine in ax.spines.values())


def test_grey_values_are_absolute(ax):
    """0 is black and 1 is white, whatever the image holds; beyond is clipped."""
    show_image(ax, torch.tensor([[0.25, 0.5], [-1.0, 2.0]]))
    picture = ax.images[0]
    shown = picture.cmap(picture.norm(drawn(ax)))[..., :3]
    assert shown.mean(-1) == pytest.approx(np.array([[0.25, 0.5], [0, 1]]), abs=0.01)


def test_overshoot_is_clipped_in_silence(ax, caplog):
    """Bicubic sampling leaves [0, 1]; matplotlib would warn in the notebook."""
    show_image(ax, torch.tensor([-0.2, 0.5, 1.2]).view(3, 1, 1))
    assert drawn(ax).flatten().tolist() == [0, 0.5, 1]
    assert not caplog.records


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(2, 4, 4), r"\(3, H, W\), but got \(2, 4, 4\)"),
        (torch.zeros(1, 1, 4, 4), r"\(3, H, W\), but got \(1, 1, 4, 4\)"),
        (torch.zeros(4), r"\(3, H, W\), but got \(4,\)"),
        (torch.zeros(4, 4).byte(), "floats from 0 to 1, but got torch.uint8"),
    ],
)
def test_bad_image_is_named(ax, image, message):
    with pytest.raises(ValueError, match=message):
        show_image(ax, image)


def test_images_stand_in_rows():
    images = torch.rand(5, 1, 4, 6)
    figure = show_images(images, titles=list("abcde"), columns=2)
    axes = np.array(figure.axes).reshape(3, 2)
    for i, image in enumerate(images):
        assert np.array_equal(drawn(axes.flat[i]), image[0])
        assert axes.flat[i].get_title() == "abcde"[i]
    assert not axes[2, 1].axison  # the place left over stays empty
    assert len(show_images(list(images)).axes) == 5


@pytest.mark.parametrize(
    ("count", "titles", "message"),
    [(0, None, r"got 0 image\(s\)"), (3, ["a"], r"3 image\(s\) and 1 title\(s\)")],
)
def test_bad_images_are_named(count, titles, message):
    with pytest.raises(ValueError, match=message):
        show_images(torch.zeros(count, 1, 4, 4), titles)


# Grids -------------------------------------------------------------------------


def lines_of(ax):
    """The lines (without markers) as arrays (n, 2) of pixel positions (x, y)."""
    return [line.get_xydata() for line in ax.lines if line.get_linestyle() != "None"]


@pytest.mark.parametrize("align_corners", [False, True])
def test_identity_grid_passes_the_pixel_centres(ax, align_corners):
    grid = affine_grid(identity(), (1, 1, 3, 5), align_corners)[0]
    draw_grid(ax, grid, (3, 5), align_corners)
    rows, columns = lines_of(ax)[:3], lines_of(ax)[3:]
    assert len(columns) == 5
    for y, line in enumerate(rows):
        assert line == pytest.approx(np.array([[x, y] for x in range(5)]), abs=1e-5)
    for x, line in enumerate(columns):
        assert line == pytest.approx(np.array([[x, y] for y in range(3)]), abs=1e-5)


@pytest.mark.parametrize(
    ("theta", "align_corners", "first", "last"),
    [
        (translation(2 / 8, -2 / 4), False, (1, -1), (8, 2)),  # one pixel each way
        (scaling(0.5), False, (1.75, 0.75), (5.25, 2.25)),
        (scaling(2), True, (-3.5, -1.5), (10.5, 4.5)),
    ],
)
def test_grid_stands_at_pixels(ax, theta, align_corners, first, last):
    """An image of 4 rows and 8 columns; a marker on the first target pixel."""
    grid = affine_grid(theta, (1, 1, 4, 8), align_corners)[0]
    draw_grid(ax, grid, (4, 8), align_corners)
    assert lines_of(ax)[0][0] == pytest.approx(first)
    assert lines_of(ax)[-1][-1] == pytest.approx(last)
    (marker,) = [line for line in ax.lines if line.get_marker() == "o"]
    assert marker.get_xydata()[0] == pytest.approx(first)
    assert {line.get_color() for line in ax.lines} == {GRID}


def test_a_large_grid_is_thinned_to_its_edges(ax):
    grid = affine_grid(identity(), (1, 1, 64, 32))[0]
    draw_grid(ax, grid, (64, 32), lines=5)
    lines = lines_of(ax)
    assert len(lines) == 5 + 5
    assert [line[0, 1] for line in lines[:5]] == pytest.approx([0, 16, 32, 47, 63])
    assert [line[0, 0] for line in lines[5:]] == pytest.approx([0, 8, 16, 23, 31])


def test_show_warp_draws_grid_theta_and_output():
    source, target = torch.rand(2, 1, 6, 8)
    theta = translation(0.25, 0).requires_grad_()
    figure = show_warp(source, theta[0], target)
    first, third, last, middle = figure.axes
    assert np.array_equal(drawn(first), source[0])
    assert lines_of(first)[0][0] == pytest.approx((1, 0), abs=1e-5)
    numbers = [float(text) for text in middle.texts[0].get_text().split()]
    assert numbers == [1, 0, 0.25, 0, 1, 0]
    assert drawn(third) == pytest.approx(warp(source[None], theta)[0, 0].detach())
    assert np.array_equal(drawn(last), target[0])
    figure.canvas.draw()
    pixel = [ax.get_window_extent().width / np.ptp(ax.get_xlim()) for ax in figure.axes]
    assert pixel[:3] == pytest.approx(3 * pixel[:1])
    assert len(show_warp(source, theta[0]).axes) == 3


# Maps and curves ---------------------------------------------------------------


def test_maps_are_blue_above_zero_and_red_below():
    values = torch.tensor([[4.0, -4.0], [0.0, 1.0]], requires_grad=True)
    figure = show_maps({"a": values, "b": values / 100, "nothing": 0 * values})
    for ax, title in zip(figure.axes, ["a", "b", "nothing"], strict=True):
        assert ax.get_title() == title
        picture = ax.images[0]
        (above, below), (zero, _) = picture.cmap(picture.norm(drawn(ax)))[..., :3]
        assert zero.min() > 0.95
        if title != "nothing":
            assert above[2] > 0.3 > above[0]
            assert below[0] > 0.3 > below[2]


def test_panels_hold_their_curves():
    left = {"one": ([0, 1], [2, 3]), "two": ([0, 1], [4, 5])}
    right = {"one": ([0, 2], [6, 7])}
    figure = plot_panels({"angle": left, "shift": right}, ylabel="accuracy")
    for ax, xlabel, curves in zip(
        figure.axes, ["angle", "shift"], [left, right], strict=True
    ):
        assert ax.get_xlabel() == xlabel
        assert [line.get_label() for line in ax.lines] == list(curves)
        for line, (x, y) in zip(ax.lines, curves.values(), strict=True):
            assert line.get_xdata().tolist() == x
            assert line.get_ydata().tolist() == y
    assert figure.axes[0].get_ylabel() == "accuracy"
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    legend = figure.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["one", "two"]
