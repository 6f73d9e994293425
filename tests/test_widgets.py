"""Touchable figures: their numbers are the package's, and bad input is refused."""

import io
import json

import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from javascript import run
from matplotlib import pyplot as plt
from notebooks import name_widgets
from PIL import Image
from traitlets import TraitError

from stn_tutorial import affine, widgets
from stn_tutorial.interpolation import grid_sample
from stn_tutorial.widgets._figure import HERE, javascript

DRAW = HERE / "draw.js"
FIGURES = [getattr(widgets, name) for name in widgets.__all__]


def theta(generator, spread=1.0):
    return affine.identity() + spread * torch.randn(1, 2, 3, generator=generator)


def six(matrix):
    return matrix.flatten().tolist()


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


# The shared code against the package, on random cases


def test_points_compose_and_invert_as_in_the_package(generator):
    pairs = [(theta(generator).double(), theta(generator).double()) for _ in range(50)]
    products = run(DRAW, "compose", [[six(a), six(b)] for a, b in pairs])
    inverses = run(DRAW, "invert", [[six(a)] for a, _ in pairs])
    points = run(DRAW, "transform", [[six(a), [0.3, -0.7]] for a, _ in pairs])
    for (a, b), product, inverse, point in zip(
        pairs, products, inverses, points, strict=True
    ):
        assert product == pytest.approx(six(affine.compose(a, b)))
        assert inverse == pytest.approx(six(affine.invert(a)), rel=1e-6)
        wanted = a[0] @ torch.tensor([0.3, -0.7, 1], dtype=torch.double)
        assert point == pytest.approx(wanted.tolist())


def test_a_flat_grid_has_no_inverse():
    assert run(DRAW, "invert", [[[1, 2, 0, 2, 4, 0]]]) == [None]


def test_the_sampler_is_pytorchs(generator):
    """For every theta, on images of one and of three channels, not square."""
    calls, wanted = [], []
    for case in range(50):
        c, h, w, rows, columns = (1, 5, 7, 6, 4) if case % 2 else (3, 4, 3, 5, 8)
        image = torch.rand(1, c, h, w, generator=generator).double()
        matrix = theta(generator, spread=0.5).double()
        grid = F.affine_grid(matrix, [1, c, rows, columns], align_corners=False)
        output = F.grid_sample(image, grid, align_corners=False)
        wanted.append((grid, output))
        assert torch.allclose(output, grid_sample(image, grid, align_corners=False))
        data = {
            "channels": c,
            "height": h,
            "width": w,
            "data": image.flatten().tolist(),
        }
        calls.append((six(matrix), rows, columns, data))
    grids = run(
        DRAW, "affineGrid", [[m, rows, columns] for m, rows, columns, _ in calls]
    )
    outputs = run(
        DRAW,
        "gridSample",
        [
            [data, grid, rows, columns]
            for (_, rows, columns, data), grid in zip(calls, grids, strict=True)
        ],
    )
    for (grid, output), ours, sampled in zip(wanted, grids, outputs, strict=True):
        assert ours == pytest.approx(grid.flatten().tolist(), abs=1e-12)
        assert sampled["data"] == pytest.approx(output.flatten().tolist(), abs=1e-9)
        assert [sampled[k] for k in ("channels", "height", "width")] == list(
            output.shape[1:]
        )


def test_numbers_are_shown_with_a_true_minus_and_never_minus_nothing():
    shown = run(DRAW, "fixed", [[1.005], [-0.004], [-1.5], [2, 0]])
    assert shown == ["1.00", "0.00", "−1.50", "2"]


# Each figure


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.__name__)
class TestEachFigure:
    def test_its_output_holds_a_widget_a_picture_and_a_stable_text(self, figure):
        made = figure("fig-00-x")
        data, _ = made._repr_mimebundle_()
        assert data["application/vnd.jupyter.widget-view+json"]
        assert data["text/plain"] == f"{figure.__name__}('fig-00-x')"
        picture = np.array(Image.open(io.BytesIO(data["image/png"])).convert("L"))
        assert picture.shape[0] > 150 < picture.shape[1]
        assert picture.std() > 10  # something is drawn
        assert not plt.get_fignums()  # and nothing is left open

    def test_it_saves_less_than_150_kb(self, figure):
        state = figure("fig-00-x").get_state()
        size = sum(
            len(v) * 4 / 3 if isinstance(v, bytes) else len(json.dumps(v))
            for k, v in state.items()
            if k != "layout"
        )
        limit = {"WatchItLearn": 400_000}.get(figure.__name__, 150_000)
        assert size < limit

    def test_its_code_is_one_module_that_asks_for_nothing_else(self, figure):
        code = figure("x")._esm
        assert "import " not in code.replace("important", "")
        assert code.count("export default") == 1
        for outside in ("http:", "https:", "fetch(", "XMLHttpRequest", "eval("):
            assert outside not in code


def test_saved_widgets_are_called_by_their_figures_label():
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "0" * 32}}
    output = nbformat.v4.new_output("display_data", view)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("x", outputs=[output])]
    )
    state = {
        "0" * 32: {"state": {"label": "fig-01-a", "layout": "IPY_MODEL_" + "1" * 32}},
        "1" * 32: {"state": {}},
    }
    mime = "application/vnd.jupyter.widget-state+json"
    notebook.metadata["widgets"] = {mime: {"state": state}}
    name_widgets(notebook)
    saved = notebook.metadata["widgets"][mime]["state"]
    assert set(saved) == {"fig-01-a", "fig-01-a-layout"}
    assert saved["fig-01-a"]["state"]["layout"] == "IPY_MODEL_fig-01-a-layout"
    (shown,) = notebook.cells[0].outputs
    view = shown["data"]["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == "fig-01-a"


# Affine playground


PLAYGROUND = javascript("affine_playground")


def test_the_corner_handle_turns_and_scales_and_nothing_else(generator):
    """In pixels, so that an image that is not square is turned without shear."""
    aspect = 1.5
    for _ in range(20):
        old, point = theta(generator, 0.3), torch.randn(2, generator=generator).tolist()
        (new,) = run(PLAYGROUND, "withCorner", [[six(old), point, aspect]])
        new = torch.tensor(new).view(1, 2, 3)
        assert (new[0] @ torch.ones(3)).tolist() == pytest.approx(point, abs=1e-5)
        assert torch.equal(new[0, :, 2], old[0, :, 2])
        wide = torch.tensor([[aspect, 0], [0, 1.0]])
        a, b = wide @ old[0, :, :2], wide @ new[0, :, :2]
        turn = b @ torch.linalg.inv(a)  # a multiple of a rotation
        size = turn.det().sqrt()
        assert torch.allclose(
            turn.T @ turn, size**2 * torch.eye(2), atol=1e-4 * size**2
        )


def test_the_buttons_are_the_packages_transforms():
    (steps,) = run(PLAYGROUND, "steps", [[1]])
    assert steps["rotate"] == pytest.approx(six(affine.rotation(15.0)))
    assert steps["scale"] == pytest.approx(six(affine.scaling(0.8)))
    assert steps["shear"] == pytest.approx(six(affine.shear(0.2)))
    (wide,) = run(PLAYGROUND, "steps", [[1.5]])
    size = (100, 150)
    there = affine.translation(74.5, 49.5)
    turn = affine.compose(there, affine.rotation(15.0), affine.invert(there))
    wanted = affine.pixel_to_normalised(turn, size, size)
    assert wide["rotate"] == pytest.approx(six(wanted), abs=1e-6)


def test_the_playground_shows_theta_and_the_pictures():
    playground = widgets.AffinePlayground("x", theta=[0.5, 0, 0, 0, 0.5, 0])
    assert playground.image().shape == (1, 28, 28)
    playground.picture = "wide cat"
    assert playground.image().shape == (3, 48, 72)
    playground.picture, playground.drawing = (
        "drawing",
        bytes(range(256)) * 3 + bytes(16),
    )
    assert playground.image()[0, 0, 5] == pytest.approx(5 / 255)


@pytest.mark.parametrize("bad", [[1, 0, 0], [1, 0, 0, 0, 1, float("nan")], ["a"] * 6])
def test_a_bad_theta_is_refused_and_the_old_one_stays(bad):
    playground = widgets.AffinePlayground("x")
    with pytest.raises(TraitError):
        playground.theta = bad
    assert playground.theta == [1, 0, 0, 0, 1, 0]


def test_the_pixels_that_the_browser_gets_are_the_pictures():
    playground = widgets.AffinePlayground("x")
    size = sum(c * h * w for _, c, h, w in playground.shapes)
    assert len(playground.pixels) == size
    first = torch.tensor(list(playground.pixels[:784])).view(1, 28, 28) / 255
    assert (first - playground.image()).abs().max() <= 0.51 / 255
