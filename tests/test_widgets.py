"""Touchable figures: their numbers are the package's, and bad input is refused."""

import io
import itertools
import json
import math
import re
import shutil
from collections import Counter
from hashlib import sha256

import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from anywidget._file_contents import FileContents
from javascript import ROOT, SOURCE, npm, run
from matplotlib import pyplot as plt
from notebooks import CHAPTERS, name_widgets
from PIL import Image
from safetensors.torch import load_file
from traitlets import TraitError

from stn_tutorial import (
    affine,
    heads,
    homography,
    interpolation,
    networks,
    pooling,
    training,
    warps,
    widgets,
)
from stn_tutorial.data.digits import load_digits
from stn_tutorial.data.photos import cat_photo
from stn_tutorial.distortions import distort, uniform
from stn_tutorial.interpolation import grid_sample, warp
from stn_tutorial.widgets import (
    draw_and_straighten,
    inside_transformer,
    loss_map,
    pool_it,
    six_heads,
    straighten_it,
    two_photographs,
)
from stn_tutorial.widgets._figure import BUILT, HERE

SAMPLING = SOURCE / "sampling.js"
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
    products = run(SAMPLING, "compose", [[six(a), six(b)] for a, b in pairs])
    inverses = run(SAMPLING, "invert", [[six(a)] for a, _ in pairs])
    points = run(SAMPLING, "transform", [[six(a), [0.3, -0.7]] for a, _ in pairs])
    for (a, b), product, inverse, point in zip(
        pairs, products, inverses, points, strict=True
    ):
        assert product == pytest.approx(six(affine.compose(a, b)))
        assert inverse == pytest.approx(six(affine.invert(a)), rel=1e-6)
        wanted = a[0] @ torch.tensor([0.3, -0.7, 1], dtype=torch.double)
        assert point == pytest.approx(wanted.tolist())


def test_a_flat_grid_has_no_inverse():
    assert run(SAMPLING, "invert", [[[1, 2, 0, 2, 4, 0]]]) == [None]


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
        SAMPLING, "affineGrid", [[m, rows, columns] for m, rows, columns, _ in calls]
    )
    outputs = run(
        SAMPLING,
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
    shown = run(SOURCE / "page.js", "fixed", [[1.005], [-0.004], [-1.5], [2, 0]])
    assert shown == ["1.00", "0.00", "−1.50", "2"]


# Each figure


def watched_training(n=16):
    """Images, notes of a training that watched them, and its start: what is needed."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(n, 1, 42, 42, generator=generator)
    history = training.History()
    for moment in range(1, 13):
        history.images.append(700 * moment**2)
        history.error.append(90 / moment)
        history.theta.append(
            affine.identity() + 0.2 * torch.randn(n, 2, 3, generator=generator)
        )
        history.warped.append(torch.zeros(n, 1, 28, 28))
    return images, history, (90.0, affine.identity().expand(n, 2, 3))


def net_and_digits():
    """A network built as chapter 0's, which has learned nothing, and ten digits."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 5, padding=2),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(8, 16, 5, padding=2),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(784, 10),
    )
    torch.nn.init.normal_(net[-1].weight)  # so that its answers differ
    digits = load_digits()
    firsts = [digits.test_images[digits.test_labels == k][0] for k in range(10)]
    return net, torch.stack(firsts)


def two_shots():
    """A window of a photograph, the same from elsewhere in other light, and theta."""
    window = torch.diag(torch.tensor([0.4, 0.4, 1.0]))
    seen = torch.tensor([[0.8, -0.4, 0.1], [0.7, 0.8, -0.05], [0.05, -0.08, 1.0]])
    shots = []
    for matrix in (window, window @ seen):
        theta = (matrix / matrix[2, 2]).flatten()[None, :8]
        grid = warps.projective_grid(theta, (1, 3, 96, 128))
        shots.append(F.grid_sample(cat_photo(), grid, align_corners=False))
    shots[1] = 0.8 * shots[1] ** 1.1
    return *shots, seen.flatten()[None, :8]


def make(figure, label, **traits):
    """A figure with its label, and with what it cannot do without."""
    needs = {
        "WatchItLearn": watched_training,
        "TurnIt": net_and_digits,
        "TwoPhotographs": two_shots,
    }
    needed = needs.get(figure.__name__, tuple)
    return figure(label, *needed(), **traits)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.__name__)
class TestEachFigure:
    def test_its_output_holds_a_widget_a_picture_and_a_stable_text(self, figure):
        made = make(figure, "fig-00-x")
        data, _ = made._repr_mimebundle_()
        assert data["application/vnd.jupyter.widget-view+json"]
        assert data["text/plain"] == f"{figure.__name__}('fig-00-x')"
        picture = np.array(Image.open(io.BytesIO(data["image/png"])).convert("L"))
        assert picture.shape[0] > 150 < picture.shape[1]
        assert picture.std() > 10  # something is drawn
        assert not plt.get_fignums()  # and nothing is left open

    def test_it_saves_less_than_150_kb(self, figure):
        state = make(figure, "fig-00-x").get_state()
        size = sum(
            len(v) * 4 / 3 if isinstance(v, bytes) else len(json.dumps(v))
            for k, v in state.items()
            if k != "layout"
        )
        own = {"LiveBench": 200_000, "WatchItLearn": 400_000}
        limit = own.get(figure.__name__, 150_000)
        assert size < limit

    def test_its_code_is_one_module_that_asks_for_nothing_else(self, figure):
        code = make(figure, "fig-00-x").get_state()["_esm"]
        assert not re.search(r"\bimport\b", code)
        assert re.findall(r"export.*", code) == [code[code.index("export{") :].strip()]
        assert re.search(r"export\{\w+ as default\};\n$", code)
        for outside in ("http:", "https:", "fetch(", "XMLHttpRequest", "eval("):
            assert outside not in code

    def test_its_code_and_look_come_from_files_that_can_be_watched(self, figure):
        for shown in (figure._esm, figure._css):
            assert isinstance(shown, FileContents)
            assert shown._path.parent == BUILT


@pytest.fixture
def workshop(tmp_path):
    """A copy of all that `npm run current` looks at: sources, and what is built."""
    shutil.copy(ROOT / "package.json", tmp_path)
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    folder = HERE.relative_to(ROOT)
    for part in ("source", "built"):
        shutil.copytree(HERE / part, tmp_path / folder / part)
    return tmp_path


def sources(workshop):
    folder = workshop / SOURCE.relative_to(ROOT)
    return [path for path in folder.glob("**/*") if path.suffix in (".js", ".css")]


def test_what_is_built_is_what_the_sources_say():
    done = npm("current")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_comment_changes_nothing_that_is_built(workshop):
    assert len(sources(workshop)) > 20
    for path in sources(workshop):
        path.write_text(f"/* A comment. */\n\n{path.read_text('utf-8')}", "utf-8")
    done = npm("current", workshop)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("sampling.js", "(2 * i + 1) / n - 1", "(2 * i) / n - 1"),
        ("widgets.css", "max-width: 46rem", "max-width: 45rem"),
    ],
)
def test_a_change_that_is_not_built_is_found(workshop, name, old, new):
    (path,) = (path for path in sources(workshop) if path.name == name)
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    done = npm("current", workshop)
    assert done.returncode == 1
    assert "npm run build" in done.stdout


def test_saved_widgets_are_the_figures_called_by_their_label():
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "0" * 32}}
    output = nbformat.v4.new_output("display_data", view)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("x", outputs=[output])]
    )
    state = {
        "0" * 32: {"state": {"label": "fig-01-a", "layout": "IPY_MODEL_" + "1" * 32}},
        "1" * 32: {"state": {}},
        "2" * 32: {"state": {"label": "", "layout": "IPY_MODEL_" + "3" * 32}},
        "3" * 32: {"state": {}},
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


MOVES = SOURCE / "affine_moves.js"


@pytest.mark.parametrize("corner", [[-1, -1], [1, -1], [1, 1], [-1, 1]])
def test_a_corner_handle_turns_and_scales_and_nothing_else(generator, corner):
    """In pixels, so that an image that is not square is turned without shear."""
    aspect = 1.5
    for _ in range(20):
        old, point = theta(generator, 0.3), torch.randn(2, generator=generator).tolist()
        (new,) = run(MOVES, "withCorner", [[six(old), corner, point, aspect]])
        new = torch.tensor(new).view(1, 2, 3)
        moved = new[0] @ torch.tensor([*corner, 1.0])
        assert moved.tolist() == pytest.approx(point, abs=1e-5)
        assert torch.equal(new[0, :, 2], old[0, :, 2])
        wide = torch.tensor([[aspect, 0], [0, 1.0]])
        a, b = wide @ old[0, :, :2], wide @ new[0, :, :2]
        turn = b @ torch.linalg.inv(a)  # a multiple of a rotation
        size = turn.det().sqrt()
        assert torch.allclose(
            turn.T @ turn, size**2 * torch.eye(2), atol=1e-4 * size**2
        )


def test_the_buttons_are_the_packages_transforms():
    (steps,) = run(MOVES, "steps", [[1]])
    assert steps["rotate"] == pytest.approx(six(affine.rotation(15.0)))
    assert steps["scale"] == pytest.approx(six(affine.scaling(0.8)))
    assert steps["shear"] == pytest.approx(six(affine.shear(0.2)))
    (wide,) = run(MOVES, "steps", [[1.5]])
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


# Pool it


POOLING = SOURCE / "pooling" / "pooling.js"


def as_image(values):
    """A map of shape (H, W), as the browser has it."""
    height, width = values.shape
    data = values.flatten().tolist()
    return {"data": data, "channels": 1, "height": height, "width": width}


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("maxPool", pooling.max_pool2d),
        ("averagePool", pooling.avg_pool2d),
        ("antiAliasedMaxPool", pooling.anti_aliased_max_pool2d),
    ],
)
def test_pooling_is_the_packages(generator, name, package):
    """On sides that are even, and on sides that leave a rest."""
    sides = [(2, 2), (8, 6), (7, 9), (4, 5), (3, 2), (32, 32)]
    images = [torch.rand(h, w, generator=generator).double() for h, w in sides]
    maps = run(POOLING, name, [[as_image(image)] for image in images])
    for image, ours in zip(images, maps, strict=True):
        wanted = package(image[None, None])[0, 0]
        assert (ours["height"], ours["width"]) == tuple(wanted.shape)
        assert ours["data"] == pytest.approx(wanted.flatten().tolist())


def random_poses(generator, count, reach):
    """Pixels right, pixels down, degrees; every second one is not turned."""
    moves = torch.randint(-reach, reach + 1, (count, 2), generator=generator)
    angles = torch.randint(-90, 91, (count, 1), generator=generator)
    angles[::2] = 0
    return torch.cat([moves, angles], 1).tolist()


def test_a_pose_is_a_turn_then_a_shift_by_the_package(generator):
    figure = widgets.PoolIt("x")
    image = figure.maps([0, 0, 0])[0]
    for right, down, angle in random_poses(generator, 10, reach=8):
        turn = affine.rotation(torch.tensor(angle).double())
        wanted = pooling.shift(warp(image, turn), right, down)
        # Turned twice, an image is blurred twice; in whole pixels a shift is none.
        assert torch.allclose(figure.maps([right, down, angle])[0], wanted)


@pytest.mark.parametrize("how", pool_it.LAYERS)
def test_the_maps_and_their_numbers_are_the_packages(generator, how):
    # Starts and poses near each other, of which much is unchanged, and far apart.
    starts, poses = (
        random_poses(generator, 6, reach=1) + random_poses(generator, 6, reach=8)
        for _ in range(2)
    )
    figures = [
        widgets.PoolIt("x", picture=picture, pooling=how, start=start, pose=pose)
        for picture, start, pose in zip(
            ["7", "5", "drawn 7"] * 4, starts, poses, strict=True
        )
    ]
    maps = [[f.maps(pose) for pose in (f.start, f.pose)] for f in figures]
    pairs = [pair for two in maps for pair in zip(*two, strict=True)]
    calls = []
    for figure in figures:
        size, at = 4 * 32 * 32, ["7", "5", "drawn 7"].index(figure.picture)
        sent = np.frombuffer(figure.pixels[size * at : size * (at + 1)], "<f4")
        image = as_image(torch.tensor(sent).view(32, 32))
        calls += [[image, pose, how] for pose in (figure.start, figure.pose)]
    ours = run(POOLING, "poolThrice", calls)
    for got, wanted in zip(ours, [m for two in maps for m in two], strict=True):
        assert [m["height"] for m in got] == [32, 16, 8, 4]
        for map, values in zip(got, wanted, strict=True):
            assert map["data"] == pytest.approx(values.flatten().tolist(), abs=1e-9)
    calls = [[as_image(a[0, 0]), as_image(b[0, 0])] for a, b in pairs]
    distances = run(POOLING, "relativeDifference", calls)
    shares = run(POOLING, "unchanged", calls)
    for (a, b), distance, share in zip(pairs, distances, shares, strict=True):
        assert distance == pytest.approx(pooling.relative_difference(a, b))
        same = torch.isclose(a, b, rtol=0, atol=1e-6)
        ink = (a > 1e-6) | (b > 1e-6)
        assert share["all"] == pytest.approx(same.double().mean().item())
        assert share["ink"] == pytest.approx(same[ink].double().mean().item())
        assert pool_it.unchanged(a, b) == pytest.approx((share["all"], share["ink"]))


def test_equal_maps_are_unchanged_and_at_no_distance(generator):
    image = as_image(torch.rand(3, 5, generator=generator))
    empty = as_image(torch.zeros(3, 5))
    assert run(POOLING, "unchanged", [[image, image]]) == [{"all": 1, "ink": 1}]
    pairs = [[image, image], [empty, empty], [image, empty]]
    assert run(POOLING, "relativeDifference", pairs) == pytest.approx([0, 0, 1])


def slack(figure, start, way):
    """How far the digit can go, before the map of each layer changes."""
    free = []
    before = figure.maps([*start, 0])
    for depth in (1, 2, 3):
        for steps in range(1, 9):
            x, y = start[0] + steps * way[0], start[1] + steps * way[1]
            if pool_it.unchanged(before[depth], figure.maps([x, y, 0])[depth])[0] < 1:
                free.append(steps - 1)
                break
    return free


def test_what_chapter_3_says_of_the_figure_is_so():
    right, left, up, down = (1, 0), (-1, 0), (0, -1), (0, 1)
    drawn = widgets.PoolIt("x", picture="drawn 7")
    assert slack(drawn, (0, 0), right) == slack(drawn, (0, 0), down) == [1, 3, 7]
    assert slack(drawn, (0, 0), left) == slack(drawn, (0, 0), up) == [0, 0, 0]
    assert slack(drawn, (1, 0), right) == [0, 2, 6]
    assert slack(drawn, (1, 0), left) == [1, 1, 1]

    seven, five = widgets.PoolIt("x"), widgets.PoolIt("x", picture="5")
    soft = widgets.PoolIt("x", pooling="anti-aliased max")
    for way in (right, left, up, down):
        assert slack(seven, (0, 0), way) == [0, 0, 0]
        for depth in (1, 2, 3):
            hard_pair, soft_pair = (
                (f.maps([0, 0, 0])[depth], f.maps([*way, 0])[depth])
                for f in (seven, soft)
            )
            soft_share, hard_share = (
                pool_it.unchanged(*pair)[0] for pair in (soft_pair, hard_pair)
            )
            assert soft_share < hard_share
            assert pooling.relative_difference(
                *soft_pair
            ) < pooling.relative_difference(*hard_pair)

    before, yardstick = seven.maps([0, 0, 0]), five.maps([0, 0, 0])

    def distances(maps):
        return [
            pooling.relative_difference(a, b) for a, b in zip(before, maps, strict=True)
        ]

    another, moved = distances(yardstick), distances(seven.maps([2, 0, 0]))
    assert moved[0] < another[0]
    assert f"{moved[3]:.2f}" == f"{another[3]:.2f}"
    one_degree = seven.maps([0, 0, 1])
    for a, b in zip(before, one_degree, strict=True):
        assert pool_it.unchanged(a, b)[1] == 0
    assert distances(seven.maps([0, 0, 30]))[3] > another[3]


def test_the_drawn_seven_is_the_chapters_four_times_as_large():
    """Pooled to 8x8 it is the 6x6 map of the chapter's, without its empty edges."""
    small = torch.zeros(12, 12)
    for row, column in [(2, 4), (2, 6), (4, 6), (6, 4)]:
        small[row, column : column + 3] = 1
    for row, column in [(2, 8), (4, 6), (6, 4)]:
        small[row : row + 3, column] = 1
    wanted = pooling.max_pool2d(small[None, None])[0, 0, 1:5, 1:5]
    drawn = widgets.PoolIt("x", picture="drawn 7")
    assert torch.equal(drawn.maps([0, 0, 0])[3][0, 0].float(), wanted)


@pytest.mark.parametrize(
    "bad", [[1, 2], [9, 0, 0], [0, -9, 0], [0, 0, 91], [0.5, 0, 0], ["a", 0, 0]]
)
@pytest.mark.parametrize("trait", ["pose", "start"])
def test_a_bad_pose_is_refused_and_the_old_one_stays(trait, bad):
    figure = widgets.PoolIt("x", **{trait: [1, 2, 3]})
    with pytest.raises(TraitError, match=trait):
        setattr(figure, trait, bad)
    assert getattr(figure, trait) == [1, 2, 3]


@pytest.mark.parametrize("trait", ["picture", "pooling"])
def test_an_unknown_digit_or_pooling_is_refused(trait):
    with pytest.raises(TraitError, match="'median'"):
        widgets.PoolIt("x", **{trait: "median"})


# Watch it learn


MOMENTS = SOURCE / "learning" / "moments.js"


def test_the_browser_sees_what_the_classifier_saw():
    """Recomputed from bytes and theta, it is what the training noted."""
    torch.manual_seed(0)
    network = networks.table_network("st-fcn-affine", "RTS")
    torch.nn.init.normal_(network.transformer.localisation[1].last.weight, std=0.1)
    watched, labels = torch.rand(5, 1, 42, 42), torch.zeros(5, dtype=torch.long)
    digits = torch.rand(8, 1, 28, 28), torch.zeros(8, dtype=torch.long)
    recipe = training.Recipe(8, batch=4)
    history = training.train(
        network, *digits, "RTS", recipe, (watched, labels), watched=watched, moments=2
    )
    start = 90.0, affine.identity().expand(5, 2, 3)
    figure = widgets.WatchItLearn("x", watched, history, start)
    pixels = np.frombuffer(figure.pixels, np.uint8).reshape(5, -1) / 255
    thetas = np.frombuffer(figure.theta, "<f4").reshape(3, 5, 6)
    assert np.ptp(thetas[1], axis=0).min() > 0.01  # each image has its own grid
    for moment, warped in enumerate(history.warped, 1):
        calls = [
            [
                {"data": list(p), "channels": 1, "height": 42, "width": 42},
                theta.tolist(),
                figure.side,
                figure.pool,
            ]
            for p, theta in zip(pixels, thetas[moment], strict=True)
        ]
        seen = [image["data"] for image in run(MOMENTS, "straighten", calls)]
        for wanted in (warped, figure.straightened(moment)):
            off = torch.tensor(seen).view(5, 1, 28, 28) - wanted
            assert off.abs().max() < 0.51 / 255  # a byte's rounding


def test_shift_size_and_angle_are_read_as_in_the_chapter(generator):
    matrices = torch.cat([theta(generator, 0.5).double() for _ in range(50)])
    poses = run(MOMENTS, "pose", [[six(matrix), 42] for matrix in matrices])
    (a, b, x), (c, d, y) = matrices.permute(1, 2, 0)
    size = (a * d - b * c).abs().sqrt()
    angle = torch.atan2(c - b, a + d).rad2deg()
    for name, wanted in (
        ("shift", 21 * torch.hypot(x, y)),
        ("size", size),
        ("angle", angle),
    ):
        assert [p[name] for p in poses] == pytest.approx(wanted.tolist())
    turned = affine.compose(affine.translation(3 / 21, 4 / 21), affine.rotation(30.0))
    turned = affine.compose(turned, affine.scaling(0.5))
    (found,) = run(MOMENTS, "pose", [[six(turned), 42]])
    assert found == pytest.approx({"shift": 5, "size": 0.5, "angle": 30}, rel=1e-5)


def test_moments_stand_at_their_logarithm_and_the_first_one_before_them():
    images = [0, 100, 1_000, 10_000]
    zero, *places = run(MOMENTS, "along", [[images, n] for n in images])
    assert zero == 0
    assert places[-1] == 1
    assert places[2] - places[1] == pytest.approx(places[1] - places[0])
    assert 0 < places[0] < places[1] - places[0]


def test_the_figure_holds_what_the_training_noted():
    images, history, start = watched_training()
    figure = widgets.WatchItLearn("x", images, history, start, moment=12, chosen=3)
    assert figure.images == [0, *history.images]
    assert figure.error == [90.0, *history.error]
    thetas = np.frombuffer(figure.theta, "<f4").reshape(13, 16, 2, 3)
    assert np.array_equal(thetas[0], start[1])
    assert np.array_equal(thetas[12], history.theta[-1])
    assert (figure.moment, figure.chosen) == (12, 3)


@pytest.mark.parametrize("bad", [{"moment": 13}, {"moment": -1}, {"chosen": 16}])
def test_a_moment_or_image_that_is_not_there_is_refused(bad):
    (name,) = bad
    with pytest.raises(TraitError, match=f"{name} to be from 0 to 1[25], but got"):
        widgets.WatchItLearn("x", *watched_training(), **bad)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w, h, s: (w[:, 0], h, s), r"\(N, 1, S, S\), but got \(16, 42, 42\)"),
        (lambda w, h, s: (w[..., 1:], h, s), r"but got \(16, 1, 42, 41\)"),
        (lambda w, h, s: (w[:9], h, s), r"\(9, 2, 3\) for 9 images, but got \(16,"),
        (lambda w, h, s: (w, h, (s[0], s[1][0])), r"but got \(2, 3\)"),
        (lambda w, h, s: (w, training.History(), s), "without any theta"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        widgets.WatchItLearn("x", *change(*watched_training()))


# Sample lens


KERNELS_JS = SOURCE / "lens" / "kernels.js"
KERNELS = ("nearest", "bilinear", "bicubic")


def sampled(image, x, y, mode):
    """The package's values at (x, y), in pixels, and autograd's slopes per pixel."""
    height, width = image.shape
    size = torch.tensor([width, height])
    grid = (2 * torch.stack([x, y], dim=-1) + 1) / size - 1
    grid = grid[None, None].requires_grad_()
    value = grid_sample(image[None, None], grid, mode, "zeros")
    (slope,) = torch.autograd.grad(value.sum(), grid)
    return value.flatten().detach(), *(slope * 2 / size).view(-1, 2).T


def lens_points(generator, width, height):
    """Random places, the lines through the centres and between them, and far outside.

    Where the sides are powers of two, these lines are met exactly by the package, too.
    """
    span = torch.tensor([width + 6, height + 6])
    free = torch.rand(200, 2, generator=generator).double() * span - 3
    x, y = (torch.arange(-3.0, n + 3, 0.5).double() for n in (width, height))
    lines = torch.cartesian_prod(x, y)
    mixed = torch.stack([lines[:200, 0], free[:, 1]], dim=1)
    other = torch.stack([free[:, 0], lines[:200, 1]], dim=1)
    far = torch.tensor([[1e6, 1.0], [1.0, -1e6], [-50.5, 50.5]]).double()
    return torch.cat([free, lines, mixed, other, far]).T


@pytest.mark.parametrize("mode", KERNELS)
def test_values_and_slopes_are_the_packages_also_on_the_lines(generator, mode):
    image = torch.rand(4, 8, generator=generator).double()
    x, y = lens_points(generator, 8, 4)
    rows = image.tolist()
    calls = [[rows, *place, mode] for place in zip(x.tolist(), y.tolist(), strict=True)]
    reads = run(KERNELS_JS, "sample", calls)
    wanted = sampled(image, x, y, mode)
    for name, values in zip(("value", "dx", "dy"), wanted, strict=True):
        found = [read[name] for read in reads]
        assert found == pytest.approx(values.tolist(), abs=1e-12)
    moving = (wanted[1] != 0).any() and (wanted[2] != 0).any()
    assert moving == (mode != "nearest")
    lens = widgets.SampleLens("x", pixels=rows, mode=mode)
    for values, ours in zip(wanted, lens.read(x, y), strict=True):
        assert torch.allclose(values, ours, atol=1e-12)


@pytest.mark.parametrize("mode", KERNELS)
def test_the_neighbours_weights_sum_to_the_value(generator, mode):
    image = torch.rand(5, 5, generator=generator).double()
    x, y = torch.rand(2, 50, generator=generator).double() * 8 - 2
    places = list(zip(x, y, strict=True))
    calls = [[image.tolist(), *map(float, place), mode] for place in places]
    kernel = {
        "nearest": interpolation.integer_kernel,
        "bilinear": interpolation.bilinear_kernel,
        "bicubic": interpolation.bicubic_kernel,
    }[mode]
    for place, read in zip(places, run(KERNELS_JS, "sample", calls), strict=True):
        loops = interpolation.sample_with_loops(image, *place, kernel)
        terms = read["terms"]
        assert len(terms) == {"nearest": 1, "bilinear": 4, "bicubic": 16}[mode]
        assert sum(term["weight"] for term in terms) == pytest.approx(1)
        total = sum(term["weight"] * term["pixel"] for term in terms)
        assert total == pytest.approx(loops.item(), abs=1e-12)
        for term in terms:
            m, n = term["column"], term["row"]
            inside = 0 <= m < 5 and 0 <= n < 5
            assert term["pixel"] == (image[int(n), int(m)] if inside else 0)


@pytest.mark.parametrize("mode", KERNELS)
def test_the_picture_is_the_warped_patch(generator, mode):
    image = torch.rand(4, 8, generator=generator).double()
    (made,) = run(KERNELS_JS, "surface", [[image.tolist(), mode]])
    wanted = warp(image[None, None], affine.identity(), (128, 256), mode)
    assert [made[k] for k in ("channels", "height", "width")] == [1, 128, 256]
    assert made["data"] == pytest.approx(wanted.flatten().tolist(), abs=1e-12)


@pytest.mark.parametrize("mode", KERNELS)
def test_curves_jump_only_where_the_kernel_does(generator, mode):
    """Nearest in its value, between the centres; bilinear in its slope, on them."""
    image = torch.rand(4, 8, generator=generator).double()
    (curve,) = run(KERNELS_JS, "pieces", [[image.tolist(), 1.3, mode]])
    assert [len(curve), curve[0][0]["x"], curve[-1][-1]["x"]] == pytest.approx(
        [16, -0.5, 7.5]
    )
    jumps = {"value": set(), "dx": set()}
    for before, after in zip(curve[:-1], curve[1:], strict=True):
        for name, places in jumps.items():
            if abs(after[0][name] - before[-1][name]) > 1e-4:
                places.add(round(2 * after[0]["x"]) / 2)
    centres, between = set(range(8)), {m + 0.5 for m in range(7)}
    assert jumps["value"] == (between if mode == "nearest" else set())
    assert jumps["dx"] == (centres if mode == "bilinear" else set())


def test_halves_are_rounded_as_in_pytorch():
    places = torch.arange(-4, 4, 0.25)
    wanted = places.round().tolist()
    assert run(KERNELS_JS, "round", [[v] for v in places.tolist()]) == wanted


def test_the_lens_shows_the_cats_pixels():
    grey = cat_photo().mean(1)[0, 100:105, 166:171]
    shown = torch.tensor(widgets.SampleLens("x").pixels)
    assert (shown - grey).abs().max() <= 0.0051
    assert shown.max() > shown.min() + 0.5  # a glint


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"point": [1.0]}, "two finite numbers"),
        ({"point": [1.0, float("nan")]}, "two finite numbers"),
        ({"pixels": [[0.1, 0.2]]}, r"rows of length \[2\]"),
        ({"pixels": [[0.1], [0.2]]}, r"rows of length \[1, 1\]"),
        ({"pixels": [[0.1, 0.2], [0.3]]}, r"rows of length \[2, 1\]"),
        ({"pixels": [[0.1, 0.2], [0.3, 1.1]]}, "from 0 to 1, but got"),
        ({"pixels": [[0.1, 0.2], [0.3, float("nan")]]}, "from 0 to 1, but got"),
        ({"mode": "cubic"}, "nearest"),
    ],
)
def test_a_lens_refuses_what_it_cannot_show(bad, message):
    with pytest.raises(TraitError, match=message):
        widgets.SampleLens("x", **bad)
    lens = widgets.SampleLens("x")
    ((name, value),) = bad.items()
    before = getattr(lens, name)
    with pytest.raises(TraitError, match=message):
        setattr(lens, name, value)
    assert getattr(lens, name) == before


@pytest.mark.parametrize("mode", KERNELS)
def test_the_lens_draws_its_curves_from_the_kernel(mode):
    figure = widgets.SampleLens("x", mode=mode, point=[2.5, 1.0]).still()
    *_, values, rates = figure.axes
    drawn = np.concatenate([line.get_ydata() for line in rates.lines[:-1]])
    assert (abs(drawn).max() > 0.2) == (mode != "nearest")
    x, y = (torch.tensor([v]).double() for v in (2.5, 1.0))
    wanted = widgets.SampleLens("x", mode=mode).read(x, y)
    for ax, value in zip((values, rates), wanted, strict=False):
        assert ax.lines[-1].get_ydata() == pytest.approx(value.item())
    plt.close(figure)


# Inside a spatial transformer


INSIDE, GRADIENT = SOURCE / "inside", SOURCE / "gradient.js"
PICTURES = widgets.InsideTransformer.picture.values
# The figure's transformer and descent without a page: how it ends from theta, in how
# many steps, and the loss before and after.
DESCENT = f"""
globalThis.matchMedia = () => ({{ matches: true }});
const {{ Transformer }} = await import("{(INSIDE / "transformer.js").as_uri()}");
const {{ Descent }} = await import("{(INSIDE / "descent.js").as_uri()}");
export function end(traits, bytes) {{
  traits.pixels = new DataView(Uint8Array.from(bytes).buffer);
  const figure = {{
    get: (name) => traits[name],
    send: (changes) => {{ Object.assign(traits, changes); transformer.update(); }},
    ending: new EventTarget(),
  }};
  const transformer = new Transformer(figure);
  transformer.update();
  const before = transformer.loss;
  const descent = new Descent(transformer, () => {{}});
  while (descent.step());
  const outcome = transformer.solved ? "solved" : descent.end;
  return {{ before, after: transformer.loss, steps: descent.steps, outcome,
    theta: traits.theta }};
}}
"""


def as_data(image):
    """An image of shape (1, C, H, W), as JavaScript has it."""
    _, channels, height, width = image.shape
    data = image.double().flatten().tolist()
    return {"data": data, "channels": channels, "height": height, "width": width}


def test_loss_and_gradient_by_theta_are_autograds(generator):
    """For all six numbers, on images and targets of any shape, outside them too."""
    calls, wanted = [], []
    for _ in range(60):
        image = torch.rand(1, 1, 5, 7, generator=generator).double()
        target = torch.rand(1, 1, 6, 4, generator=generator).double()
        matrix = theta(generator, spread=0.5).double()
        calls.append([as_data(image), as_data(target), six(matrix.detach())])
        matrix.requires_grad_()
        loss = (warp(image, matrix, (6, 4)) - target).square().mean()
        loss.backward()
        wanted.append((loss.item(), six(matrix.grad)))
    found = run(GRADIENT, "lossAndGradient", calls)
    assert max(abs(g) for _, gradient in wanted for g in gradient) > 0.1
    for ours, (loss, gradient) in zip(found, wanted, strict=True):
        assert ours["loss"] == pytest.approx(loss, abs=1e-12)
        assert ours["gradient"] == pytest.approx(gradient, abs=1e-12)


def test_the_four_neighbours_make_the_packages_value(generator):
    image = torch.rand(1, 1, 5, 7, generator=generator).double()
    points = torch.rand(60, 2, generator=generator).double() * 3 - 1.5
    wanted = grid_sample(image, points.view(1, 1, 60, 2)).flatten()
    calls = [[as_data(image), point] for point in points.tolist()]
    found = run(SOURCE / "neighbours.js", "neighbours", calls)
    for terms, value, (x, y) in zip(found, wanted, points.tolist(), strict=True):
        assert sum(t["weight"] for t in terms) == pytest.approx(1)
        read = sum(t["weight"] * t["value"] for t in terms)
        assert read == pytest.approx(value.item(), abs=1e-12)
        column, row = ((x + 1) * 7 - 1) / 2, ((y + 1) * 5 - 1) / 2
        places = {(t["row"], t["column"]) for t in terms}
        assert len(places) == 4
        assert all(abs(row - i) < 1 >= abs(column - j) for i, j in places)


def test_the_nearest_pixel_is_the_one_pointed_at():
    calls = [[[0.0, -0.9], 4, 8], [[-3, 3], 4, 8], [[0.24, 0.26], 4, 8]]
    found = run(SOURCE / "neighbours.js", "nearestCentre", calls)
    assert found == [[0.125, -0.75], [-0.875, 0.75], [0.125, 0.25]]


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("size", [8, 28])
def test_output_target_and_loss_are_the_packages(generator, picture, size):
    calls, wanted = [], []
    for _ in range(5):
        matrix = theta(generator, spread=0.3).clamp(-2, 2)
        figure = widgets.InsideTransformer(
            "x", picture=picture, size=size, theta=six(matrix)
        )
        output = warp(figure.image(), matrix, (size, size))
        assert torch.allclose(figure.output(), output)
        wanted.append(figure.loss().item())
        calls.append([six(output), six(figure.target())])
    found = run(INSIDE / "transformer.js", "meanSquare", calls)
    assert found == pytest.approx(wanted, abs=1e-7)
    found = run(INSIDE / "transformer.js", "variance", [c[1:] for c in calls])
    spread = figure.target().double().var(correction=0).item()
    assert found == pytest.approx([spread] * 5, abs=1e-7)


@pytest.mark.parametrize("picture", PICTURES)
def test_each_step_of_descent_is_autograds(picture):
    figure = widgets.InsideTransformer("x", picture=picture)
    image, target = figure.image().double(), figure.target().double()
    matrix = affine.rotation(1.0).double()  # on whole pixels rounding picks the slope
    for _ in range(12):
        call = [as_data(image), as_data(target), six(matrix.detach())]
        (ours,) = run(INSIDE / "descent.js", "descend", [call])
        matrix.requires_grad_()
        loss = (warp(image, matrix, (28, 28)) - target).square().mean()
        (gradient,) = torch.autograd.grad(loss, matrix)
        matrix = matrix.detach() - 0.3 * gradient
        assert ours == pytest.approx(six(matrix), abs=1e-9)


def test_descent_stays_in_range_and_knows_where_there_is_no_slope():
    figure = widgets.InsideTransformer("x")
    bright = as_data(1e3 * figure.image())
    call = [bright, as_data(figure.target()), six(affine.identity())]
    lost = [as_data(figure.image()), call[1], [1, 0, 2, 0, 1, 2]]
    far, nowhere = run(INSIDE / "descent.js", "descend", [call, lost])
    assert max(map(abs, far)) == 2
    assert nowhere is None


@pytest.mark.parametrize(
    ("picture", "size", "start", "outcome"),
    [
        ("digit", 28, [1, 0, 0, 0, 1, 0], "solved"),
        ("digit", 12, [1, 0, 0, 0, 1, 0], "solved"),
        ("digit", 8, [1, 0, 0, 0, 1, 0], "stuck"),
        ("digit", 28, [-1, 0, 0, 0, -1, 0], "stuck"),
        ("digit", 28, [1, 0, 1.8, 0, 1, 1.8], "flat"),
        ("cat", 28, [1, 0, 0, 0, 1, 0], "stuck"),
        ("stripes", 28, [1, 0, 0, 0, 1, 0], "stuck"),
    ],
)
def test_descent_ends_as_the_figure_says(picture, size, start, outcome):
    figure = widgets.InsideTransformer("x", picture=picture, size=size, theta=start)
    traits = {
        name: getattr(figure, name)
        for name in ("shapes", "picture", "theta", "known", "size", "follow")
    }
    (found,) = run(DESCENT, "end", [[traits, list(figure.pixels)]])
    assert found["outcome"] == outcome
    assert found["before"] == pytest.approx(figure.loss().item(), abs=1e-7)
    figure.theta = found["theta"]
    assert found["after"] == pytest.approx(figure.loss().item(), abs=1e-7)
    assert found["steps"] < 500
    if outcome == "solved":
        assert found["theta"] == pytest.approx(figure.known, abs=0.06)
    elif outcome == "stuck":
        assert found["after"] > 0.05 * figure.target().var().item()


def test_eight_pixels_make_one_stripe_of_seven_and_a_chessboard():
    """Aliasing: what the chapter says of the stripes."""
    figure = widgets.InsideTransformer("x", picture="stripes", size=8)
    output, board = figure.output()[0, 0] > 0.5, figure.target()[0, 0, :4, :5] > 0.5
    assert output.tolist() == [[False] * 4 + [True] * 4] * 8
    fields = torch.arange(4)[:, None] + torch.arange(5)
    assert torch.equal(board, fields % 2 == 0)


def test_the_transformer_shows_the_pictures_that_the_browser_gets():
    figure, start = widgets.InsideTransformer("x"), 0
    for name, *shape in figure.shapes:
        figure.picture = name
        size = math.prod(shape)
        sent = torch.tensor(list(figure.pixels[start : start + size])).view(1, *shape)
        assert torch.equal(sent / 255, figure.image())
        assert figure.image().std() > 0.1
        start += size
    assert start == len(figure.pixels)


@pytest.mark.parametrize("picture", ["digit", "cat"])
def test_the_known_theta_sets_the_picture_upright(picture):
    """What the chapter says: it was turned, shrunk and moved, and that is undone."""
    figure = widgets.InsideTransformer("x", picture=picture)
    upright = load_digits().test_images[:1]
    if picture == "cat":
        upright = cat_photo()[..., 75:375].mean(1, keepdim=True)
        upright = F.interpolate(upright, (28, 28), mode="area")
    inner = (..., slice(6, 22), slice(6, 22))  # the cat's corners were cut off
    before, after = (
        (image[inner] - upright[inner]).square().mean()
        for image in (figure.output(), figure.target())
    )
    assert after < 0.2 * before


def test_the_still_picture_starts_unsolved_with_a_goal():
    made = widgets.InsideTransformer("x")
    figure = made.still()
    assert figure.get_suptitle() == inside_transformer.GOAL
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["input and grid", f"output, loss {made.loss():.3f}", "target"]
    assert made.loss() > 0.5 * made.target().var()
    units = [  # inches a unit of the image: one scale
        ax.get_position().width / abs(np.diff(ax.get_xlim())[0]) for ax in figure.axes
    ]
    assert units == pytest.approx([units[0]] * 3)
    plt.close(figure)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"theta": [1.0, 0, 0, 0, 1.0]}, "theta to be six numbers from -2.0 to 2.0"),
        ({"theta": [2.1, 0, 0, 0, 1.0, 0]}, r"but got \[2.1"),
        ({"known": [float("nan"), 0, 0, 0, 1.0, 0]}, "known to be six numbers"),
        ({"follow": [0.0]}, "x and y from -1 to 1"),
        ({"follow": [0.0, 1.5]}, "x and y from -1 to 1"),
        ({"size": 3}, "3"),
        ({"size": 65}, "65"),
        ({"picture": "dog"}, "dog"),
    ],
)
def test_a_transformer_refuses_what_it_cannot_show(bad, message):
    with pytest.raises(TraitError, match=message):
        widgets.InsideTransformer("x", **bad)
    figure = widgets.InsideTransformer("x")
    ((name, value),) = bad.items()
    before = getattr(figure, name)
    with pytest.raises(TraitError, match=message):
        setattr(figure, name, value)
    assert getattr(figure, name) == before


# The map of the loss


LANDSCAPE = SOURCE / "landscape"
FOUR_NUMBERS, CONTOURS = LANDSCAPE / "four_numbers.js", LANDSCAPE / "contours.js"
FOUR = list(loss_map.RANGES)
PAIRS = widgets.LossMap.pair.values
RADIANS = torch.tensor([torch.pi / 180, 1, 1, 1], dtype=torch.double)


def positions(pair):
    return [FOUR.index(name) for name in pair.split(" and ")]


def ranges():
    return list(loss_map.RANGES.values())


def four_at_random(generator, n):
    low, high = torch.tensor(ranges(), dtype=torch.double).T
    return low + (high - low) * torch.rand(n, 4, generator=generator).double()


def test_loss_and_gradient_are_autograds(generator):
    """For every parameter, on images and targets of any shape, outside them too."""
    calls, wanted = [], []
    for parameters in four_at_random(generator, 60):
        image = torch.rand(1, 1, 5, 7, generator=generator).double()
        target = torch.rand(1, 1, 6, 4, generator=generator).double()
        calls.append([as_data(image), as_data(target), parameters.tolist()])
        parameters.requires_grad_()
        matrix = inside_transformer.four_numbers(parameters[None])
        grid = affine.affine_grid(matrix, (1, 1, 6, 4))
        loss = (grid_sample(image, grid) - target).square().mean()
        loss.backward()
        wanted.append((loss.item(), (parameters.grad / RADIANS).tolist()))
    found = run(FOUR_NUMBERS, "lossAndGradient", calls)
    assert max(abs(g) for _, gradient in wanted for g in gradient) > 0.1
    for ours, (loss, gradient) in zip(found, wanted, strict=True):
        assert ours["loss"] == pytest.approx(loss, abs=1e-12)
        assert ours["gradient"] == pytest.approx(gradient, abs=1e-12)


def test_on_whole_pixels_the_slope_is_the_right_one(generator):
    """The identity on a side of 4 pixels: every point falls exactly on a pixel."""
    image = torch.rand(1, 1, 4, 4, generator=generator).double()
    target = torch.rand(1, 1, 4, 4, generator=generator).double()
    shift = torch.zeros(2, dtype=torch.double).requires_grad_()
    loss = (warp(image, affine.translation(*shift[:, None])) - target).square().mean()
    loss.backward()
    call = [as_data(image), as_data(target), [0, 1, 0, 0]]
    (ours,) = run(FOUR_NUMBERS, "lossAndGradient", [call])
    assert ours["gradient"][2:] == pytest.approx(shift.grad.tolist(), abs=1e-12)


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("pair", PAIRS)
def test_the_map_is_the_packages_loss(pair, picture):
    figure = widgets.LossMap("x", picture=picture, pair=pair)
    known = torch.tensor([figure.parameters], dtype=torch.double)
    target = warp(
        figure.image().double(), inside_transformer.four_numbers(known), (28, 28)
    )
    n, (i, j) = 7, positions(pair)
    call = [as_data(figure.image()), as_data(target), known[0].tolist(), [i, j]]
    rows = run(FOUR_NUMBERS, "lossRow", [[*call, ranges(), n, row] for row in range(n)])
    grid = known.repeat(n * n, 1)
    across, down = (torch.linspace(*ranges()[k], n).double() for k in (i, j))
    grid[:, i], grid[:, j] = across.repeat(n), down.repeat_interleave(n)
    wanted = figure.loss(grid).view(n, n)
    assert wanted.max() > 0.05
    assert torch.tensor(rows).double() == pytest.approx(wanted.numpy(), abs=1e-7)


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("pair", PAIRS)
def test_the_descent_is_autograds(pair, picture):
    figure = widgets.LossMap("x", picture=picture, pair=pair, steps=12, rate=0.05)
    wanted = figure.path()
    known = torch.tensor([figure.parameters], dtype=torch.double)
    matrix = inside_transformer.four_numbers(known)
    target = warp(figure.image().double(), matrix, (28, 28))
    call = [as_data(figure.image()), as_data(target), wanted[0].tolist()]
    (found,) = run(FOUR_NUMBERS, "descend", [[*call, positions(pair), 0.05, 12]])
    found = torch.tensor(found, dtype=torch.double)
    assert torch.allclose(found, wanted, atol=1e-7)
    moved = wanted[-1] != wanted[0]
    assert moved.tolist() == [k in positions(pair) for k in range(4)]
    held = [k for k in range(4) if k not in positions(pair)]
    assert torch.equal(wanted[0, held], known[0, held])


@pytest.mark.parametrize(
    ("pair", "start", "rate", "end"),
    [
        ("tx and ty", {"tx": 0.5, "ty": -0.45}, 0.3, "target"),
        ("tx and ty", {"tx": -0.15, "ty": 0.2}, 0.3, "target"),
        ("tx and ty", {"tx": 0.5, "ty": 0.2}, 0.3, "false valley"),
        ("tx and ty", {"tx": -1.4, "ty": -1.4}, 0.3, "no slope"),
        ("tx and ty", {"tx": -0.7, "ty": 0.1}, 0.3, "away"),
        ("tx and ty", {"tx": 0.15, "ty": -0.15}, 2, "no rest"),
        ("tx and ty", {"tx": 0.3, "ty": 0.1}, 2, "no rest"),
        ("tx and angle", {"tx": 0.4, "angle": -80}, 0.3, "target"),
        ("tx and angle", {"tx": 0.2, "angle": 150}, 0.3, "false valley"),
    ],
)
def test_descent_ends_where_the_chapter_says(pair, start, rate, end):
    figure = widgets.LossMap("x", pair=pair)
    figure.start = [
        start.get(name, v) for name, v in zip(FOUR, figure.start, strict=True)
    ]
    images = as_data(figure.image()), as_data(figure.target())
    first = figure.path()[0].tolist()
    call = [*images, first, positions(pair), rate, 100]
    (path,) = run(FOUR_NUMBERS, "descend", [call])
    (last,) = run(FOUR_NUMBERS, "lossAndGradient", [[*images, path[-1]]])
    path = torch.tensor(path, dtype=torch.double) * RADIANS
    off = (path - torch.tensor(figure.parameters) * RADIANS).abs().amax(1)
    away = off[-1] - off[0]
    if end == "no slope":
        assert torch.equal(path[0], path[-1])
    elif end == "target":
        assert off[-20:].max() < 0.05
        assert away < -0.2
    elif end == "no rest":
        assert off[-20:].max() > 0.2
    else:
        assert (path[-20:] - path[-1]).abs().max() < 0.05
        assert last["loss"] > 0.01
        assert (away > 0.1) == (end == "away")


def test_contours_lie_where_the_values_are(generator):
    n, level = 6, 0.55
    values = torch.rand(n, n, generator=generator).double()
    (pieces,) = run(CONTOURS, "contour", [[values.flatten().tolist(), n, level]])
    assert len(pieces) > 10
    for piece in pieces:
        assert len(piece) == 2
        for x, y in piece:  # on an edge of a cell, or on its diagonal
            near = {(math.floor(y), math.floor(x)), (math.ceil(y), math.ceil(x))}
            (i, j), (k, m) = min(near), max(near)
            share = max(y - i, x - j)
            between = (1 - share) * values[i, j] + share * values[k, m]
            assert between == pytest.approx(level)
    ends = Counter(tuple(np.round(end, 9)) for piece in pieces for end in piece)
    for (x, y), count in ends.items():  # a line ends only on the frame
        assert count == 2 or {x, y} & {0.0, n - 1.0}
    flat = [0.5] * 9
    assert run(CONTOURS, "contour", [[flat, 3, 0.4], [flat, 3, 0.6]]) == [[], []]


def test_contours_stand_at_round_steps():
    cases = {0.0064: 0.01, 0.0315: 0.05, 0.011: 0.02, 0.2: 0.2, 7.0: 10.0}
    found = run(CONTOURS, "roundStep", [[value] for value in cases])
    assert found == pytest.approx(list(cases.values()))


def test_the_still_map_shows_how_far_descent_has_come():
    figure = widgets.LossMap("x", steps=3).still()
    titles = [ax.get_title() for ax in figure.axes]
    made = widgets.LossMap("x", steps=3)
    loss = made.loss(made.path()[-1:]).item()
    assert titles[2] == f"output, loss {loss:.3f}"
    assert len(figure.axes[0].lines[0].get_xdata()) == 4
    plt.close(figure)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"parameters": [0.0, 1.0, 0.0]}, "parameters to be angle, scale, tx and ty"),
        ({"parameters": [0.0, 0.1, 0.0, 0.0]}, r"but got \[0.0, 0.1, 0.0, 0.0\]"),
        ({"start": [float("nan"), 1.0, 0.0, 0.0]}, "start to be angle"),
        ({"start": [181.0, 1.0, 0.0, 0.0]}, r"'angle': \[-180.0, 180.0\]"),
        ({"rate": 0.0}, "from 0.01 to 3, but got 0.0"),
        ({"rate": float("nan")}, "but got nan"),
        ({"steps": 101}, "101"),
        ({"picture": "dog"}, "dog"),
        ({"pair": "tx and scale"}, "tx and scale"),
    ],
)
def test_a_map_refuses_what_it_cannot_show(bad, message):
    with pytest.raises(TraitError, match=message):
        widgets.LossMap("x", **bad)
    figure = widgets.LossMap("x")
    ((name, value),) = bad.items()
    before = getattr(figure, name)
    with pytest.raises(TraitError, match=message):
        setattr(figure, name, value)
    assert getattr(figure, name) == before


# Draw and straighten


NETWORK, POSE = SOURCE / "digit" / "network.js", SOURCE / "digit" / "pose.js"
# The weights travel to Node as numbers; the figure gets them as bytes.
WITH_WEIGHTS = f"""
import {{ forward, readWeights }} from "{NETWORK.as_uri()}";
const from = (bytes) => readWeights(Uint8Array.from(bytes));
export const tensors = (bytes) => from(bytes);
export const answers = (bytes, images) => images.map((data) =>
  forward(from(bytes), {{ data, channels: 1, height: 42, width: 42 }}));
"""


@pytest.fixture(scope="module")
def drawing_net():
    """The trained network; it has no part in bfloat16, so its numbers are exact."""
    return draw_and_straighten.trained_network()


def on_record():
    return list(draw_and_straighten.WEIGHTS.read_bytes())


def poses(generator, count):
    low, high = torch.tensor([[-90, 0.5, -10, -10], [90, 1.5, 10, 10]])
    drawn = low + (high - low) * torch.rand(count, 4, generator=generator)
    return [
        dict(zip(("angle", "scale", "x", "y"), row, strict=True))
        for row in drawn.tolist()
    ]


def test_half_precision_is_read_as_pytorch_reads_it():
    bits = torch.arange(2**16)
    numbers = bits.to(torch.uint16).view(torch.float16).double()
    finite = numbers.isfinite()
    read = run(NETWORK, "half", [[b] for b in bits[finite].tolist()])
    assert read == numbers[finite].tolist()


def test_every_weight_is_read():
    wanted = load_file(draw_and_straighten.WEIGHTS)
    (read,) = run(WITH_WEIGHTS, "tensors", [[on_record()]])
    assert read.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert read[name]["shape"] == list(tensor.shape)
        assert read[name]["data"] == tensor.flatten().tolist()


def test_the_network_is_pytorchs(drawing_net, generator):
    """On noise and on distorted digits: theta, what the classifier sees, the scores."""
    digits = load_digits().test_images[:20]
    images = torch.cat(
        [
            torch.rand(10, 1, 42, 42, generator=generator),
            distort(digits, "RTS", generator),
            torch.zeros(1, 1, 42, 42),
        ]
    )
    with torch.inference_mode():
        straight, theta = drawing_net.straighten(images)
        scores = drawing_net(images)
    call = [on_record(), images.flatten(1).tolist()]
    (answers,) = run(WITH_WEIGHTS, "answers", [call])
    for name, wanted in (("theta", theta), ("straight", straight), ("scores", scores)):
        read = [a[name]["data"] if name == "straight" else a[name] for a in answers]
        difference = torch.tensor(read) - wanted.flatten(1)
        assert difference.abs().max() < 1e-3
    shares = run(NETWORK, "softmax", [[answer["scores"]] for answer in answers])
    assert torch.allclose(torch.tensor(shares), scores.softmax(1), atol=1e-3)


def test_the_digit_is_placed_as_in_the_set_rts(generator):
    digits = load_digits().test_images[:12]
    state = generator.get_state()
    wanted = distort(digits, "RTS", generator)
    generator.set_state(state)
    ranges = {"angle": (-45, 45), "scale": (0.7, 1.2), "x": (-7, 7), "y": (-7, 7)}
    drawn = {
        name: uniform(*span, 12, generator).tolist() for name, span in ranges.items()
    }
    for i, digit in enumerate(digits):
        pose = {name: values[i] for name, values in drawn.items()}
        drawing = {
            "channels": 1,
            "height": 28,
            "width": 28,
            "data": digit.flatten().tolist(),
        }
        (placed,) = run(POSE, "place", [[drawing, pose]])
        assert placed["data"] == pytest.approx(wanted[i].flatten().tolist(), abs=1e-5)
        twin = widgets.DrawAndStraighten(
            "x", drawing=(255 * digit).round().byte().numpy().tobytes(), **pose
        )
        assert (twin.image() - wanted[i]).abs().max() < 0.51 / 255 + 1e-5


def test_the_box_and_its_handles_lie_on_the_digit(generator):
    """The box has the 20 pixels that MNIST's digits fill, of the drawing's 28."""
    for pose in poses(generator, 30):
        corner, top = run(POSE, "onCanvas", [[pose, [1, 0.5]], [pose, [0, -1]]])
        turn = 42 / 28 / pose["scale"] * affine.rotation(pose["angle"])
        there = affine.translation(-pose["x"] / 21, -pose["y"] / 21)
        back = affine.compose(turn, there)[0]  # from the canvas to the drawing
        for point, wanted in ((corner, (20, 10)), (top, (0, -20))):
            in_drawing = back @ torch.tensor([*point, 1])
            assert (28 * in_drawing).tolist() == pytest.approx(wanted, abs=1e-3)
        (found,) = run(POSE, "withTop", [[pose, top]])
        assert found["angle"] == pytest.approx(pose["angle"])
        assert found["scale"] == pytest.approx(pose["scale"])


def test_the_handles_give_what_the_sliders_can_show():
    wild = {"angle": -135.2, "scale": 9, "x": 3.3, "y": -12}
    fine = {"angle": 12.4, "scale": 0.777, "x": -0.2, "y": 0.3}
    assert run(POSE, "allowed", [[wild], [fine]]) == [
        {"angle": -90, "scale": 1.5, "x": 3.5, "y": -10},
        {"angle": 12, "scale": 0.78, "x": 0, "y": 0.5},
    ]


def test_the_transformer_straightens_digits_it_has_never_met(drawing_net, generator):
    """The bundled digits are not MNIST's: other writers, other pens."""
    data = load_digits()
    state = generator.get_state()
    images = distort(data.test_images, "RTS", generator)
    generator.set_state(state)
    angle = uniform(-45, 45, len(images), generator)
    with torch.inference_mode():
        straight, theta = drawing_net.straighten(images)
        answers = drawing_net(images).argmax(1)
    (a, b, _), (c, d, _) = theta.permute(1, 2, 0)
    found = torch.atan2(c - b, a + d).rad2deg()
    assert torch.corrcoef(torch.stack([angle, found]))[0, 1] < -0.8
    assert (answers == data.test_labels).float().mean() > 0.8


def test_the_first_digit_and_all_that_stand_ready_are_read_rightly(drawing_net):
    figure = widgets.DrawAndStraighten("x")
    assert len(set(figure.labels)) == len(figure.labels) >= 3
    assert figure.drawing == figure.ready[:784]
    for i, label in enumerate(figure.labels):
        figure.drawing = figure.ready[784 * i : 784 * (i + 1)]
        with torch.inference_mode():
            assert drawing_net(figure.image()[None]).argmax() == label


def test_the_record_names_this_network(drawing_net):
    record = json.loads((CHAPTERS / "recorded" / "drawing-net.json").read_text())
    count = sum(weights.numel() for weights in drawing_net.parameters())
    assert record["weights"] == count
    content = draw_and_straighten.WEIGHTS.read_bytes()
    assert record["sha256"] == sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"drawing": bytes(100)}, "784 bytes.*got 100"),
        ({"angle": 91}, "angle to be from -90 to 90, but got 91"),
        ({"scale": 0.1}, "from 0.5 to 1.5, but got 0.1"),
        ({"x": float("nan")}, "x to be from -10 to 10, but got nan"),
        ({"y": -11}, "y to be from -10 to 10, but got -11"),
    ],
)
def test_a_bad_drawing_or_pose_is_refused_and_the_old_one_stays(bad, message):
    figure = widgets.DrawAndStraighten("x")
    ((name, value),) = bad.items()
    before = getattr(figure, name)
    with pytest.raises(TraitError, match=message):
        setattr(figure, name, value)
    assert getattr(figure, name) == before


def test_the_ready_digits_are_read_as_far_as_chapter_6_says(drawing_net):
    """In the middle, and where the figure opens."""
    digits = load_digits()
    read = {}
    for angle in (45, 60, 90, -45, -60, -90):
        for x, y in ((0, 0), (3, -2)):
            right = 0
            for index in draw_and_straighten.READY:
                image = (255 * digits.test_images[index]).round().byte()
                pose = {"drawing": image.numpy().tobytes(), "angle": angle}
                figure = widgets.DrawAndStraighten("x", **pose, x=x, y=y)
                with torch.inference_mode():
                    answer = drawing_net(figure.image()[None]).argmax().item()
                right += answer == digits.test_labels[index].item()
            read.setdefault(abs(angle), []).append(right)
    assert read.keys() == {45, 60, 90}
    assert read[45] == read[60] == [4, 4, 4, 4]
    assert max(read[90]) == 2


# Six heads


SIX, TASK = SOURCE / "heads" / "heads.js", SOURCE / "heads" / "task.js"
EACH_HEAD = pytest.mark.parametrize("head", heads.HEADS)


def some_numbers(generator, head, n):
    count = heads.HEADS[head][1]
    return torch.randn(n, count, generator=generator).double()


def apart(some, others):
    """How far two thetas read, in pixels of 28x28: the root of the mean square."""
    shape = (len(some), 1, 28, 28)
    grids = [affine.affine_grid(theta, shape) for theta in (some, others)]
    return 14 * (grids[0] - grids[1]).square().sum(-1).mean((1, 2)).sqrt()


@EACH_HEAD
def test_a_head_in_the_page_is_the_packages(generator, head):
    numbers = some_numbers(generator, head, 40)
    numbers[0] = 0
    wanted = heads.HEADS[head][0](numbers)
    ours = run(SIX, "thetaOf", [[head, row] for row in numbers.tolist()])
    for mine, theirs in zip(ours, wanted, strict=True):
        assert mine == pytest.approx(six(theirs), abs=1e-6)
    assert ours[0] == pytest.approx(six(affine.identity()))


@EACH_HEAD
def test_page_and_python_come_equally_near(generator, head):
    """To any theta, to one that has collapsed, and to one turned inside out."""
    matrices = [theta(generator).double() for _ in range(30)]
    matrices += [0 * matrices[0], -affine.identity().double()]
    ours = run(SIX, "numbersOf", [[head, six(matrix)] for matrix in matrices])
    for mine, matrix in zip(ours, matrices, strict=True):
        wanted = six_heads.nearest_numbers(head, matrix)
        # A half turn has two angles.
        mine = heads.HEADS[head][0](torch.tensor([mine]).double())
        assert torch.allclose(mine, heads.HEADS[head][0](wanted), atol=1e-6)


@EACH_HEAD
def test_a_head_gives_back_what_it_can_say(generator, head):
    make = heads.HEADS[head][0]
    for row in some_numbers(generator, head, 20).clamp(-2, 2):
        wanted = make(row[None])
        again = make(six_heads.nearest_numbers(head, wanted))
        assert torch.allclose(again, wanted, atol=1e-6)


@EACH_HEAD
def test_nothing_that_a_head_says_is_nearer(generator, head):
    """Descent from many starts, on the distance over the grid, finds nothing better."""
    make = heads.HEADS[head][0]
    for _ in range(2):
        goal = theta(generator, 0.6).double()
        nearest = apart(make(six_heads.nearest_numbers(head, goal)), goal).item()
        numbers = some_numbers(generator, head, 24).requires_grad_()
        optimiser = torch.optim.Adam([numbers], 0.1)
        for step in range(400):
            optimiser.param_groups[0]["lr"] = 0.1 * (1 - step / 400)
            optimiser.zero_grad()
            apart(make(numbers), goal).square().sum().backward()
            optimiser.step()
        found = apart(make(numbers.detach()), goal).min().item()
        assert nearest == pytest.approx(found, abs=0.05)  # tanh: slow at the end
        assert nearest < found + 1e-3


def test_the_distance_is_the_packages(generator):
    pairs = [(theta(generator).double(), theta(generator).double()) for _ in range(10)]
    ours = run(TASK, "pixelsApart", [[six(a), six(b), 28] for a, b in pairs])
    wanted = [apart(a, b).item() for a, b in pairs]
    assert ours == pytest.approx(wanted, rel=1e-6)
    figure = widgets.SixHeads("x", head="affine", theta=six(pairs[0][0].clamp(-2, 2)))
    wanted = apart(torch.tensor(figure.theta).view(1, 2, 3), figure.goal())
    assert figure.off() == pytest.approx(wanted.item(), rel=1e-5)


UNDONE_BY = {
    "turned": {"rotation", "similarity", "affine"},
    "moved": set(heads.HEADS) - {"rotation"},
    "shrunk": set(heads.HEADS) - {"rotation"},
    "sheared": {"affine", "bounded affine"},
    "all of it": {"affine"},
}


@pytest.mark.parametrize("distortion", six_heads.DISTORTIONS)
def test_which_heads_undo_what(distortion):
    """At the goal, or as near to it as can be; nobody starts there."""
    figure, undone = widgets.SixHeads("x", distortion=distortion), set()
    start = figure.off()
    assert start > 3
    goal = figure.goals[distortion]
    assert goal == pytest.approx(six(figure.goal()))
    for figure.head in heads.HEADS:
        figure.theta = goal
        assert figure.off() <= start + 1e-4
        if figure.off() < 0.01:
            undone.add(figure.head)
        else:
            assert figure.off() > 1.5
    assert undone == UNDONE_BY[distortion]


@pytest.mark.parametrize("distortion", six_heads.DISTORTIONS)
def test_at_the_goal_the_seven_stands_upright_and_all_of_the_goal_is_seen(distortion):
    upright = load_digits().test_images[:1]
    figure = widgets.SixHeads("x", head="affine", distortion=distortion)
    before = (figure.output() - upright).square().mean()
    figure.theta = figure.goals[distortion]
    assert (figure.output() - upright).square().mean() < 0.25 * before
    corners = torch.tensor([(x, y, 1.0) for x in (-1, 1) for y in (-1, 1)])
    assert (corners @ figure.goal()[0].T).abs().max() < 1.45  # what the card shows


def test_the_pixels_of_the_sevens_are_what_the_page_gets():
    figure = widgets.SixHeads("x")
    names = [name for name, *shape in figure.shapes if shape == [1, 28, 28]]
    assert names == [*six_heads.DISTORTIONS, "upright"]
    for at, figure.distortion in enumerate(six_heads.DISTORTIONS):
        sent = torch.tensor(list(figure.pixels[784 * at : 784 * (at + 1)])) / 255
        assert torch.equal(sent, figure.image().flatten())


def test_the_six_heads_still_picture_starts_unsolved_with_a_goal():
    made = widgets.SixHeads("x")
    figure = made.still()
    assert figure.get_suptitle() == six_heads.GOAL
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == [
        "the seven is turned",
        f"it shows, {made.off():.1f} px off",
        "upright",
    ]
    units = [  # inches a unit of the image: one scale
        ax.get_position().width / abs(np.diff(ax.get_xlim())[0]) for ax in figure.axes
    ]
    assert units == pytest.approx([units[0]] * 3, rel=0.01)
    plt.close(figure)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"theta": [1.0, 0, 0, 0, 1.0]}, "theta to be six numbers from -2.0 to 2.0"),
        ({"theta": [2.1, 0, 0, 0, 1.0, 0]}, r"but got \[2.1"),
        ({"theta": [float("nan"), 0, 0, 0, 1.0, 0]}, "theta to be six numbers"),
        ({"head": "projective"}, "projective"),
        ({"distortion": "bent"}, "bent"),
    ],
)
def test_six_heads_refuse_what_they_cannot_show(bad, message):
    with pytest.raises(TraitError, match=message):
        widgets.SixHeads("x", **bad)
    figure = widgets.SixHeads("x")
    ((name, value),) = bad.items()
    before = getattr(figure, name)
    with pytest.raises(TraitError, match=message):
        setattr(figure, name, value)
    assert getattr(figure, name) == before


# Two photographs


PHOTOGRAPHS = SOURCE / "photographs"
HOMOGRAPHY, ALIKE = PHOTOGRAPHS / "homography.js", PHOTOGRAPHS / "alike.js"
SQUARE = torch.tensor(two_photographs.MARKS, dtype=torch.double)
# The photographs and descent without a page: how far off it ends, and its words.
WITHOUT_PAGE = f"""
import {{ lossAndGradient }} from "{ALIKE.as_uri()}";
import {{ Descent }} from "{(PHOTOGRAPHS / "descent.js").as_uri()}";
import {{ TwoPhotographs }} from "{(PHOTOGRAPHS / "two.js").as_uri()}";
const make = (given) => {{
  const pixels = new DataView(Uint8Array.from(given.pixels).buffer);
  const traits = {{ ...given, pixels }};
  const figure = {{
    get: (name) => traits[name],
    send: (changed) => {{ Object.assign(traits, changed); two.update(); }},
    ending: {{ addEventListener: () => {{}} }},
  }};
  const two = new TwoPhotographs(figure);
  two.update();
  return two;
}};
export const overlay = (traits) => make(traits).overlay(96);
export const ofNaN = (source, target) =>
  String(lossAndGradient(source, target, [1, 0, NaN, 0, 1, 0, 0, 0]).loss);
export const play = (traits) => {{
  const two = make(traits);
  const descent = new Descent(two, () => {{}});
  const sides = [];
  for (let goes = true; goes; ) {{
    goes = descent.step();
    if (!descent.end) sides.push(descent.side);
  }}
  const {{ theta, history, error, alike }} = two;
  const {{ verdict, records }} = descent;
  return {{ theta, history, error, alike, verdict, records, sides }};
}};
"""


def eight_at_random(generator, n, spread):
    still = torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0], dtype=torch.double)
    return still + spread * torch.randn(n, 8, generator=generator).double()


def grey(generator, *size):
    return torch.rand(1, 1, *size, generator=generator).double()


def traits_of(figure):
    names = ("shapes", "marks", "wanted", "points", "placed", "begin")
    traits = {name: getattr(figure, name) for name in names}
    return traits | {"pixels": list(figure.pixels)}


def by_equations(points, partners):
    """The eight numbers as the solution of eight equations, as textbooks write them."""
    rows, right = [], []
    for (x, y), (u, v) in zip(points, partners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -x * u, -y * u], [0, 0, 0, x, y, 1, -x * v, -y * v]]
        right += [u, v]
    return np.linalg.solve(rows, right).tolist()


def quadrilaterals(generator, n, spread=0.3):
    corners = SQUARE + spread * torch.randn(n, 4, 2, generator=generator).double()
    return corners.tolist()


def test_four_points_say_a_homography(generator):
    quads = quadrilaterals(generator, 60)
    known = run(HOMOGRAPHY, "convex", [[points] for points in quads])
    quads = [points for points, good in zip(quads, known, strict=True) if good]
    pairs = list(itertools.pairwise(quads))
    assert len(pairs) > 10
    found = run(HOMOGRAPHY, "fromPoints", [list(pair) for pair in pairs])
    figure = make(widgets.TwoPhotographs, "x")
    for (points, partners), ours in zip(pairs, found, strict=True):
        wanted = by_equations(points, partners)
        assert ours == pytest.approx(wanted, rel=1e-7, abs=1e-7)
        figure.marks, figure.points = sum(points, []), sum(partners, [])
        assert figure.theta()[0].tolist() == pytest.approx(wanted, rel=1e-7, abs=1e-7)


def test_only_clockwise_convex_points_are_taken(generator):
    quads = quadrilaterals(generator, 200, spread=0.6)
    found = run(HOMOGRAPHY, "convex", [[points] for points in quads])
    assert 20 < sum(found) < 180
    for points, ours in zip(quads, found, strict=True):
        around = np.array(points)
        ways = np.roll(around, -1, 0) - around
        onward = np.roll(ways, -1, 0)
        turns = ways[:, 0] * onward[:, 1] - ways[:, 1] * onward[:, 0]
        assert ours == (turns.min() > 0.01)
        assert two_photographs._sane(sum(points, [])) == ours


def test_the_homographys_grid_is_the_packages(generator):
    """Behind the horizon too."""
    thetas = eight_at_random(generator, 40, 0.8)
    found = run(HOMOGRAPHY, "projectiveGrid", [[t.tolist(), 5, 7] for t in thetas])
    grids = warps.projective_grid(thetas, (40, 1, 5, 7))
    assert (grids.abs() == 10_000).any()
    ours = torch.tensor(found).double().view(40, 5, 7, 2)
    assert torch.allclose(ours, grids, rtol=1e-6, atol=1e-6)


def test_the_corner_error_is_the_packages(generator):
    thetas = eight_at_random(generator, 20, 0.1)
    size = {"height": 9, "width": 13}
    calls = [[a.tolist(), b.tolist(), size] for a, b in itertools.pairwise(thetas)]
    wanted = homography.corner_error(thetas[:-1], thetas[1:], (9, 13))
    assert run(HOMOGRAPHY, "cornerError", calls) == pytest.approx(wanted.tolist())


@pytest.mark.parametrize("side", [3, 5, 8, 12, 24])
def test_smaller_photographs_are_pytorchs(generator, side):
    image = grey(generator, 24, 32)
    (found,) = run(ALIKE, "resized", [[as_data(image), side]])
    size = [side, round(32 * side / 24)]
    wanted = F.interpolate(image, size, mode="bilinear", antialias=True)
    assert [found["height"], found["width"]] == size
    assert found["data"] == pytest.approx(wanted.flatten().tolist(), abs=1e-12)


def test_the_slope_of_the_difference_is_autograds(generator):
    """For all eight numbers, outside the image and behind the horizon too."""
    calls, wanted = [], []
    for spread in [0.2] * 30 + [0.9] * 30:
        source, target = grey(generator, 9, 13), grey(generator, 8, 11)
        theta = eight_at_random(generator, 1, spread)
        calls.append([as_data(source), as_data(target), theta[0].tolist()])
        theta.requires_grad_()
        loss = homography.difference_of_views(source, target, theta, F.grid_sample)
        loss.sum().backward()
        wanted.append((loss.item(), theta.grad[0].tolist()))
    found = run(ALIKE, "lossAndGradient", calls)
    assert max(abs(g) for _, gradient in wanted for g in gradient) > 1
    for ours, (loss, gradient) in zip(found, wanted, strict=True):
        assert ours["loss"] == pytest.approx(loss, abs=1e-12)
        assert ours["gradient"] == pytest.approx(gradient, abs=1e-11)


def test_where_photographs_hardly_overlap_there_is_no_slope(generator):
    images = as_data(grey(generator, 8, 8)), as_data(grey(generator, 8, 8))
    far = [1, 0, 1.85, 0, 1, 0, 0, 0]
    (found,) = run(ALIKE, "lossAndGradient", [[*images, far]])
    assert found == {"loss": 1, "gradient": [0] * 8}
    assert run(WITHOUT_PAGE, "ofNaN", [images]) == ["NaN"]


@pytest.mark.parametrize("side", [12, 96])
def test_steps_of_descent_are_adams(side):
    source, target = (i.double().mean(1, keepdim=True) for i in two_shots()[:2])
    start = torch.tensor([[0.9, -0.2, 0.05, 0.4, 0.9, 0, 0.02, -0.03]]).double()
    call = [as_data(source), as_data(target), start[0].tolist(), side, 15]
    (found,) = run(ALIKE, "descend", [call])
    small, goal = (
        F.interpolate(image, (side, side * 4 // 3), mode="bilinear", antialias=True)
        for image in (source, target)
    )
    theta = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([theta], lr=0.3 / side)
    for _ in range(15):
        optimiser.zero_grad()
        loss = homography.difference_of_views(small, goal, theta, F.grid_sample)
        loss.sum().backward()
        optimiser.step()
    assert (theta - start).abs().max() > 0.02
    assert found == pytest.approx(theta[0].tolist(), abs=1e-9)


def started(degrees, **traits):
    """The figure, its points turned from their right places about their middle."""
    figure = make(widgets.TwoPhotographs, "x")
    matrix = torch.tensor([*figure.wanted, 1.0]).double().view(3, 3)
    seen = F.pad(SQUARE, (0, 1), value=1) @ matrix.T
    places = pixels_of(seen[:, :2] / seen[:, 2:])
    turn = affine.rotation(torch.tensor([degrees]))[0, :, :2].double()
    turned = (places - places.mean(0)) @ turn.T + places.mean(0)
    points = (turned / pixels_of(1)).flatten().tolist()
    return make(widgets.TwoPhotographs, "x", points=points, **traits)


def pixels_of(points):
    return points * torch.tensor([64.0, 48.0]).double()


def test_descent_on_photographs_ends_where_the_packages_does():
    figure = started(20.0)
    (found,) = run(WITHOUT_PAGE, "play", [[traits_of(figure)]])
    images = (image.double() for image in figure._images.values())
    theta, alike = homography.align_projective(
        *images, figure.theta(), sampler=F.grid_sample
    )
    ours = torch.tensor([found["theta"]]).double()
    # A start that differs by 1e-13 ends as much as 0.01 pixels elsewhere.
    assert homography.corner_error(ours, theta, (96, 128)).item() < 0.06
    assert found["alike"] == pytest.approx(alike.item(), abs=1e-4)
    assert found["sides"] == sorted([12, 24, 48, 96] * 60)[1:]  # of the step to come
    assert [note["byHand"] for note in found["history"]] == [True] + [False] * 240
    first, last = (found["history"][k]["error"] for k in (0, -1))
    assert first == pytest.approx(figure.error(), abs=1e-3)
    assert found["error"] == last < 0.5


@pytest.mark.parametrize(
    ("degrees", "begin", "verdict"),
    [
        (8.0, "coarse", "Solved: descent has found the place."),
        (8.0, "fine", "Solved: descent has found the place."),
        (20.0, "coarse", "Solved: descent has found the place."),
        (20.0, "fine", "A wrong valley: no small step makes the two more alike."),
        (40.0, "coarse", "A wrong valley: no small step makes the two more alike."),
    ],
)
def test_descent_on_photographs_tells_how_it_ends(degrees, begin, verdict):
    figure = started(degrees, begin=begin)
    (found,) = run(WITHOUT_PAGE, "play", [[traits_of(figure)]])
    assert found["verdict"] == verdict
    solved = verdict.startswith("Solved")
    assert (found["error"] < 1) == solved
    way = {"coarse": "beginning small", "fine": "beginning at full size"}[begin]
    told = f"Furthest that descent has come from: {figure.error():.0f} pixels, {way}."
    assert found["records"] == (told if solved else "")


def test_one_photograph_over_the_other_is_the_packages():
    figure = started(20.0)
    (found,) = run(WITHOUT_PAGE, "overlay", [[traits_of(figure)]])
    wanted = figure.overlay()[0]
    assert found["data"] == pytest.approx(wanted.flatten().tolist(), abs=1e-6)
    pale = (wanted[0] == wanted[1]) & (wanted[1] == wanted[2])
    assert 0.05 < pale.double().mean() < 0.6


def put(points, placed, which, to):
    call = [points, placed, which, to, 4 / 3]
    (found,) = run(PHOTOGRAPHS / "placing.js", "put", [call])
    return torch.tensor(found, dtype=torch.double)


def test_each_point_brings_two_numbers():
    """A shift, then a turn and a scale, then a slant, then a tilt."""
    start, to = SQUARE.tolist(), [-0.4, -0.5]
    shifted = put(start, [False] * 4, 0, to)
    assert torch.allclose(
        shifted, SQUARE + torch.tensor([0.2, 0.1]).double(), atol=1e-6
    )
    turned = put(shifted.tolist(), [True, False, False, False], 1, [0.6, 0.1])
    places = [to, [0.6, 0.1], [0.3, 0.9], [-0.6, 0.4]]
    places = torch.tensor(places, dtype=torch.double)
    assert torch.allclose(turned[:2], places[:2])
    before, after = (pixels_of(p) - pixels_of(p)[0] for p in (shifted, turned))
    grown = after[1].norm() / before[1].norm()
    assert torch.allclose(after @ after.T, grown**2 * before @ before.T)
    assert torch.linalg.det(after[1:3]) > 0  # not a mirror image
    slanted = put(turned.tolist(), [True, True, False, False], 2, [0.3, 0.9])
    assert torch.allclose(slanted[:3], places[:3])
    assert torch.allclose(slanted[3], slanted[0] + slanted[2] - slanted[1])
    tilted = put(slanted.tolist(), [True, True, True, False], 3, [-0.6, 0.4])
    assert torch.allclose(tilted, places)
    again = put(tilted.tolist(), [True] * 4, 0, [-0.5, -0.6])
    assert torch.allclose(again[1:], places[1:])


@pytest.mark.parametrize(
    ("placed", "which", "to"),
    [
        ([True] * 4, 0, [0.7, 0.7]),  # across the others
        ([True] * 4, 0, [0.6, 0.6]),  # onto another point
        ([True, False, False, False], 1, [-0.6, -0.6]),
        ([True, True, False, False], 2, [0.0, -0.6]),  # on one line
        ([True, True, False, False], 2, [0.0, -0.9]),  # a mirror image
        ([False] * 4, 0, [5.0, 0.0]),
    ],
)
def test_what_cannot_be_shown_moves_nothing(placed, which, to):
    assert torch.equal(put(SQUARE.tolist(), placed, which, to), SQUARE)


def test_two_photographs_start_unsolved_with_a_goal():
    made = make(widgets.TwoPhotographs, "x")
    theta = made.theta()
    assert theta[0].tolist() == pytest.approx([1, 0, 0, 0, 1, 0, 0, 0], abs=1e-12)
    wanted = torch.tensor([made.wanted]).double()
    off = homography.corner_error(theta, wanted, (96, 128)).item()
    assert made.error() == pytest.approx(off)
    assert off > 20
    figure = made.still()
    assert figure.get_suptitle() == two_photographs.GOAL
    titles = [ax.get_title() for ax in figure.axes]
    third = f"one over the other: {off:.0f} pixels off"
    assert titles == ["fixed (target)", "moving (source)", third]
    assert not figure.axes[1].collections
    plt.close(figure)
    moved = started(20.0).still()  # once the points have moved, arrows lead to them
    assert len(moved.axes[1].collections) == 1
    plt.close(moved)


def photographs(height=96, width=128, count=1, channels=3):
    return torch.rand(count, channels, height, width)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((photographs(90), photographs(90), torch.zeros(1, 8)), r"\(1, 3, 90, 128\)"),
        ((photographs(count=2), photographs(count=2), torch.zeros(1, 8)), "of 8"),
        ((photographs(), photographs(channels=1), torch.zeros(1, 8)), "source's shape"),
        ((photographs(), photographs(), torch.zeros(8)), r"wanted of shape \(1, 8\)"),
        ((*two_shots(), SQUARE.flip(0).tolist()), "clockwise round a convex"),
        ((*two_shots(), SQUARE[:3].tolist()), "marks to be four points"),
    ],
)
def test_two_photographs_refuse_others(given, message):
    with pytest.raises(ValueError, match=message):
        widgets.TwoPhotographs("x", *given)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"points": [0.0] * 8}, "points to be eight numbers"),
        ({"points": [float("nan")] * 8}, "but got"),
        ({"points": SQUARE.flatten().tolist()[:6]}, "points to be eight numbers"),
        ({"points": (10 * SQUARE).flatten().tolist()}, "from -4 to 4"),
        ({"placed": [0, 1, 2, 0]}, "four times 0 or 1"),
        ({"placed": [0, 1]}, "four times 0 or 1"),
        ({"begin": "large"}, "large"),
    ],
)
def test_two_photographs_refuse_what_they_cannot_show(bad, message):
    figure = make(widgets.TwoPhotographs, "x")
    ((name, value),) = bad.items()
    before = getattr(figure, name)
    with pytest.raises(TraitError, match=message):
        setattr(figure, name, value)
    assert getattr(figure, name) == before


# Straighten it


READING = SOURCE / "straighten" / "reading.js"
TUMBLE = SOURCE / "straighten" / "tumble.js"
BARE_CLASSIFIER = f"""
import {{ readWeights }} from "{NETWORK.as_uri()}";
import {{ withoutTransformer }} from "{READING.as_uri()}";
export const answers = (bytes, images) => images.map((data) =>
  withoutTransformer(readWeights(Uint8Array.from(bytes)),
    {{ data, channels: 1, height: 42, width: 42 }}));
"""


def without(network, images):
    """What the classifier gets, and its scores, without the transformer."""
    theta = straighten_it.MIDDLE
    seen = F.avg_pool2d(warp(images, theta, size=(56, 56)), 2)
    with torch.inference_mode():
        return seen, network.classifier(seen)


def test_without_the_transformer_the_classifier_gets_the_middle(drawing_net, generator):
    images = distort(load_digits().test_images[:10], "RTS", generator)
    seen, scores = without(drawing_net, images)
    _, start = networks.drawing_network().straighten(images[:1])
    assert torch.equal(straighten_it.MIDDLE, start)  # of the transformer's training
    call = [on_record(), images.flatten(1).tolist()]
    (answers,) = run(BARE_CLASSIFIER, "answers", [call])
    read = torch.tensor([answer["straight"]["data"] for answer in answers])
    assert (read - seen.flatten(1)).abs().max() < 1e-5
    read = torch.tensor([answer["scores"] for answer in answers])
    assert (read - scores).abs().max() < 1e-3
    figure = widgets.StraightenIt("x", transformer=False)
    theta, straight, shares = figure.read()
    assert torch.equal(theta, straighten_it.MIDDLE)
    wanted, scores = without(drawing_net, figure.image()[None])
    assert torch.equal(straight, wanted)
    assert torch.allclose(shares, scores[0].softmax(0))


def way(seconds):
    return run(TUMBLE, "poseAt", [[each] for each in seconds])


def test_the_digit_begins_to_tumble_where_it_stands():
    figure = widgets.StraightenIt("x")
    (start,) = way([0])
    for name, value in start.items():
        assert getattr(figure, name) == pytest.approx(value, abs=0.05)


def test_all_along_its_way_the_transformer_reads_each_digit(drawing_net):
    """Within the ranges of its training. Without it, many poses are too much."""
    poses = way(range(240))
    ranges = {"angle": (-45, 45), "scale": (0.7, 1.2), "x": (-7, 7), "y": (-7, 7)}
    for name, (low, high) in ranges.items():
        assert all(low <= pose[name] <= high for pose in poses)
    figure = widgets.StraightenIt("x")
    for i, label in enumerate(figure.labels):
        drawing = figure.ready[784 * i : 784 * (i + 1)]
        images = []
        for pose in poses:
            twin = widgets.DrawAndStraighten("x", drawing=drawing, **pose)
            images.append(twin.image())
        images = torch.stack(images)
        with torch.inference_mode():
            assert (drawing_net(images).argmax(1) == label).all()
        _, scores = without(drawing_net, images)
        assert (scores.argmax(1) == label).float().mean() < 0.8


def test_the_front_page_says_how_many_are_read(drawing_net):
    """The means of five draws from the set RTS."""
    text = " ".join((CHAPTERS / "index.md").read_text("utf-8").split())
    said = r"the book's (\d+) test digits.*? reads (\d+)%\. .*?, and (\d+)% are left"
    count, with_it, bare = map(int, re.search(said, text).groups())
    digits = load_digits()
    assert count == len(digits.test_labels)
    right = {True: [], False: []}
    for seed in range(5):
        draw = torch.Generator().manual_seed(seed)
        images = distort(digits.test_images, "RTS", draw)
        with torch.inference_mode():
            answers = {
                True: drawing_net(images),
                False: without(drawing_net, images)[1],
            }
        for kind, scores in answers.items():
            hits = scores.argmax(1) == digits.test_labels
            right[kind].append(100 * hits.float().mean().item())
    assert np.mean(right[True]) == pytest.approx(with_it, abs=1)
    assert np.mean(right[False]) == pytest.approx(bare, abs=1)
