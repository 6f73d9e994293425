"""The cookbook's own functions and lines, with OpenCV and onnxruntime as the judges.

What the package's functions do, tests/test_pixels.py, tests/test_warps.py and
tests/test_export.py say.
"""

import ast
import math
import re

import cv2
import nbformat
import numpy as np
import pytest
import torch
from fingerprint import ROOT
from reading import is_hidden
from syntax import plain_python
from torch.export import Dim, export
from torch.testing import assert_close

from stn_tutorial.affine import affine_grid, angle_in, compose, identity, scaling
from stn_tutorial.data.photos import cat_photo
from stn_tutorial.exercises import check
from stn_tutorial.interpolation import grid_sample, warp
from stn_tutorial.pixels import (
    crop_theta,
    matrix_from_theta,
    theta_from_matrix,
    turn_about,
)
from stn_tutorial.transformer import LocalisationNet, SpatialTransformer
from stn_tutorial.warps import (
    projective_from_corners,
    projective_grid,
    thin_plate_spline_grid,
)

SIZE = (300, 451)
PAGE = nbformat.read(ROOT / "chapters" / "cookbook.ipynb", as_version=4)
CODE = [cell for cell in PAGE.cells if cell.cell_type == "code"]


def shown_statements():
    """List what stands in the page's open cells."""
    for cell in CODE:
        if not is_hidden(cell):
            yield from ast.parse(plain_python(cell.source)).body


def recipes():
    """What the page imports, and the functions and classes that it defines."""
    kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    tree = ast.Module([n for n in shown_statements() if isinstance(n, kept)], [])
    first = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
    names = {}
    exec(first, names)
    exec(compile(ast.fix_missing_locations(tree), "cookbook.ipynb", "exec"), names)
    return names


def literal(name):
    """The numbers that the page gives a name, where it gives them first."""
    for node in shown_statements():
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"the cookbook gives no {name}")


@pytest.fixture(scope="module")
def cook():
    return recipes()


@pytest.fixture(scope="module")
def cat():
    return cat_photo()


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pixels(image):
    """(1, C, H, W) as the array (H, W, C) that OpenCV takes."""
    return image[0].permute(1, 2, 0).numpy().copy()


# Pixels


def test_images_go_there_and_back(cook, cat):
    assert_close(cook["as_image"](cook["as_array"](cat)), cat)
    colours = np.zeros((2, 3, 3))
    colours[1, 2, 0] = 1  # red, low right
    assert cook["as_image"](colours)[0, 0, 1, 2] == 1


@pytest.mark.parametrize("step", [(6, 6), (6, 2), (0.5, 3)])
def test_warp_clean_is_opencvs_blur_and_slice(cook, cat, step):
    """A step over whole pixels, which OpenCV's own resize takes about the centres."""
    out = (32, 32)
    y2, x2 = (round(40 + side * n) for side, n in zip(out, step, strict=True))
    theta = crop_theta((40, 40, x2, y2), SIZE)
    ours = pixels(cook["warp_clean"](cat, theta, out))
    down, across = (max(0, (n - 1) / 2) for n in step)
    image = pixels(cat)
    for sigma, axis in ((across, 0), (down, 1)):
        reach = int(4 * sigma + 0.5)  # as far as blur's bell
        width = (2 * reach + 1, 1) if axis == 0 else (1, 2 * reach + 1)
        if sigma:
            image = cv2.GaussianBlur(
                image, width, sigma, borderType=cv2.BORDER_REPLICATE
            )
    theirs = cv2.resize(image[40:y2, 40:x2], out[::-1], interpolation=cv2.INTER_LINEAR)
    rim = 2 if min(step) < 1 else 0  # enlarging, only ours reads beyond the slice
    inside = slice(rim, 32 - rim)
    assert np.abs(ours - theirs)[inside, inside].max() < 1e-3


def test_warp_clean_blurs_alike_at_every_angle(cook, cat):
    """A turned window of the turned photo shows what the upright one does."""
    small = crop_theta((158, 90, 350, 210), SIZE)
    upright = cook["warp_clean"](cat, small, (20, 32))
    middle = (225, 149.5)
    turned = warp(cat, turn_about(middle, -30, SIZE))
    again = cook["warp_clean"](
        turned, compose(turn_about(middle, 30, SIZE), small), (20, 32)
    )
    assert (upright - again).abs().max() < 0.02
    plain = warp(cat, small, (20, 32))
    assert (upright - plain).abs().max() > 0.1


def test_scaling_up_needs_no_blur(cook, cat):
    enlarged = cook["warp_clean"](cat, scaling(0.5), SIZE)
    assert_close(enlarged, warp(cat, scaling(0.5), padding_mode="border"))


def test_the_matrix_is_the_one_that_opencv_makes(cat):
    matrix, out_size = literal("matrix"), literal("out_size")
    theirs = cv2.getRotationMatrix2D(literal("nose"), 30, 1)
    assert np.abs(theirs - matrix).max() < 1e-3
    theta = theta_from_matrix(theirs, SIZE, out_size, forward=True)
    assert_close(theta, turn_about(literal("nose"), 30, SIZE), atol=1e-5, rtol=0)
    image = cv2.warpAffine(pixels(cat), theirs, out_size[::-1])
    assert np.abs(pixels(warp(cat, theta, out_size)) - image).max() < 1e-3


def test_the_matrix_means_what_kornia_means():
    """Against numbers that kornia 0.9.0's warp_affine and warp_perspective gave."""
    image = (torch.arange(20.0) ** 2 % 17).reshape(1, 1, 4, 5)
    matrix = torch.tensor([[[0.8, -0.5, 1.2], [0.4, 0.9, -0.3]]])
    by_kornia = [
        [0.0000, 2.6919, 0.8634, 1.8039],
        [6.6923, 5.6791, 7.0780, 9.0250],
        [8.6687, 2.2060, 10.5822, 13.6356],
    ]
    theta = theta_from_matrix(matrix, (4, 5), (3, 4), forward=True)
    ours = warp(image, theta, (3, 4))[0, 0]
    assert_close(ours, torch.tensor(by_kornia), atol=1e-4, rtol=0)
    back = matrix_from_theta(theta, (4, 5), (3, 4), forward=True)
    assert_close(back, matrix, atol=1e-5, rtol=0)


def test_an_outline_runs_through_the_corners_of_the_pixels(cook):
    theta = crop_theta((100, 60, 220, 160), SIZE)
    edge = cook["outline"](theta, SIZE)
    assert edge.shape == (1, 5, 2)
    corners = [[99.5, 59.5], [219.5, 59.5], [219.5, 159.5], [99.5, 159.5]]
    assert_close(edge[0], torch.tensor([*corners, corners[0]]))
    theta = turn_about((258, 240), torch.tensor([30.0, -50]), SIZE)
    for ours, one in zip(cook["outline"](theta, SIZE), theta, strict=True):
        matrix = matrix_from_theta(one[None], SIZE, SIZE)[0].numpy()
        whole = np.float32([[[-0.5, -0.5], [450.5, -0.5], [450.5, 299.5]]])
        theirs = cv2.transform(whole, matrix)[0]
        assert_close(ours[:3].numpy(), theirs, atol=1e-2, rtol=0)


def test_a_flow_is_opencvs_remap(cook, cat):
    flow = 5 * random(2, 2, *SIZE)
    grid = cook["flow_grid"](flow)
    rows, columns = np.indices(SIZE, dtype=np.float32)
    for i in range(2):
        x, y = (places + flow[i, k].numpy() for k, places in ((0, columns), (1, rows)))
        theirs = cv2.remap(pixels(cat), x, y, cv2.INTER_LINEAR)
        ours = pixels(grid_sample(cat, grid[i : i + 1], align_corners=False))
        assert np.abs(ours - theirs).max() < 1e-2


def test_a_page_by_its_corners_is_opencvs_perspective(cat):
    """With the page's own lines from pixels to normalised."""
    corners = np.float32([[130, 80], [362, 96], [330, 262], [190, 280]])
    half = torch.tensor([451.0, 300]) / 2
    theta = projective_from_corners(((torch.tensor(corners) + 0.5) / half - 1)[None])
    grid = projective_grid(theta, (1, 3, 96, 96))
    ours = pixels(grid_sample(cat, grid, align_corners=False))
    target = np.float32([[-0.5, -0.5], [95.5, -0.5], [95.5, 95.5], [-0.5, 95.5]])
    matrix = cv2.getPerspectiveTransform(corners, target)
    theirs = cv2.warpPerspective(pixels(cat), matrix, (96, 96))
    assert np.abs(ours - theirs).max() < 1e-2


def test_an_affine_transform_is_a_spline():
    """The expression stands in the page's text."""
    text = "\n".join(c.source for c in PAGE.cells if c.cell_type == "markdown")
    (expression,) = re.findall(r"`(control_points\(\) @ theta.+?)`", text)
    theta = identity(3) + 0.3 * random(3, 2, 3)
    names = {"theta": theta}
    exec("from stn_tutorial.warps import control_points", names)
    grid = thin_plate_spline_grid(eval(expression, names), (3, 1, 9, 14))
    assert_close(grid, affine_grid(theta, (3, 1, 9, 14)), atol=1e-4, rtol=0)


# Heads

HEADS = {"rotation_only": 1, "similarity": 4, "attention": 3, "bounded": 6}


@pytest.mark.parametrize("name", HEADS)
def test_a_heads_every_number_learns_at_the_start(cook, name):
    head, count = cook[name], HEADS[name]
    numbers = (0.1 * random(4, count)).requires_grad_()
    theta = head(numbers)
    assert theta.shape == (4, 2, 3)
    (theta * random(4, 2, 3, seed=1)).sum().backward()
    assert (numbers.grad != 0).all()


def test_attention_is_the_window_of_the_exercise(cook):
    verdict = check("4.1", cook["attention"])
    assert verdict, verdict


def test_heads_keep_their_bounds(cook):
    wild = 100 * random(1000, 6)
    assert angle_in(cook["rotation_only"](wild[:, :1])).abs().max() < 90.01
    theta = cook["similarity"](wild[:, :4])
    zoom = torch.linalg.det(theta[:, :, :2]).sqrt()
    assert zoom.min() > 0.499
    assert zoom.max() < 2.001
    assert theta[:, :, 2].abs().max() <= 1
    assert (cook["bounded"](wild) - identity()).abs().max() < 0.401


def test_a_head_learns_a_turn(cook):
    """From the images alone: the module goes where the rotation brings it."""
    torch.manual_seed(0)
    net = LocalisationNet((1, 28, 28), hidden=(8,), start=torch.zeros(1, 1))
    transformer = SpatialTransformer(cook["Headed"](net, cook["rotation_only"]))
    x = torch.linspace(-1, 1, 28)
    bar = (0.5 - x.abs())[None].clamp(0) * (0.9 - x[:, None].abs()).clamp(0)
    goal = bar[None, None]
    tilted = warp(goal, turn_about((13.5, 13.5), 25.0, 28))
    optimiser = torch.optim.Adam(transformer.parameters(), lr=0.01)
    for _ in range(150):
        output, theta = transformer(tilted, return_theta=True)
        loss = (output - goal).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert math.isclose(angle_in(theta).item(), -25, abs_tol=2)


# Networks


def small_backbone():
    layers = torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 5)
    return torch.nn.Sequential(*layers)


def test_a_backbone_sees_224_pixels_of_any_photo(cook, cat):
    seen = []
    backbone = small_backbone()
    backbone.register_forward_hook(lambda _, given, out: seen.append(given[0].shape))
    net = cook["Straightened"](backbone)
    for images in (cat, cat[:, :, :224, :224].expand(2, -1, -1, -1)):
        assert net(images).shape == (len(images), 5)
    assert seen == [(1, 3, 224, 224), (2, 3, 224, 224)]
    square = cat[:, :, :224, :224]
    assert_close(net.transformer.sample(square, identity()), square)


def test_the_first_step_grows_with_the_rate_and_leaves_the_net(cook, cat):
    torch.manual_seed(0)
    net = cook["Straightened"](small_backbone())
    before = {name: p.clone() for name, p in net.named_parameters()}
    images, labels = cat[:, :, :240, :240].expand(2, -1, -1, -1), torch.arange(2)
    low, high = (cook["first_step"](net, images, labels, r) for r in (1e-4, 1e-2))
    assert 50 < high / low < 200
    for name, p in net.named_parameters():
        assert torch.equal(p, before[name])
        assert p.grad is None


def test_theta_reaches_the_later_layer(cook):
    """Two places, one view: without theta the scores would be the same."""
    torch.manual_seed(0)
    window = SpatialTransformer(cook["BrightWindow"](), out_size=28)
    net = cook["WithPose"](window, torch.nn.Flatten(), 784, 2)
    wide = torch.zeros(2, 1, 28, 56)
    wide[0, :, 8:20, 10:20] = 1
    wide[1, :, 8:20, 30:40] = 1  # the same, 20 pixels further right
    output, theta = window(wide, return_theta=True)
    assert_close(output[0], output[1], atol=1e-5, rtol=0)
    assert_close(theta[:, 0, 2], torch.tensor([30 / 56 - 1, 70 / 56 - 1]))
    scores = net(wide)
    assert (scores[0] - scores[1]).abs().max() > 0.01


@pytest.mark.filterwarnings(
    r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning"
)
def test_the_lines_for_onnx_run(tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    text = "\n".join(c.source for c in PAGE.cells if c.cell_type == "markdown")
    (lines,) = re.findall(r"^```python\n(.+?)^```$", text, flags=re.M | re.S)
    torch.manual_seed(0)
    straighten = SpatialTransformer(LocalisationNet((1, 28, 28), channels=(2,)))
    torch.nn.init.normal_(straighten.localisation.last.weight, std=0.1)
    layers = straighten, torch.nn.Flatten(), torch.nn.Linear(784, 10)
    model = torch.nn.Sequential(*layers).eval()
    digits = torch.rand(7, 1, 28, 28)
    free = ({0: Dim.DYNAMIC},)
    exported = export(model, (digits[:2],), dynamic_shapes=free)
    monkeypatch.chdir(tmp_path)
    names = {"torch": torch, "exported": exported, "digits": digits}
    exec(lines, names)
    expected = model(digits).detach()
    assert_close(torch.from_numpy(names["scores"]), expected, atol=1e-5, rtol=0)
    assert (tmp_path / "straighten.onnx").exists()


def test_every_question_of_the_table_leads_to_its_recipe():
    text = "\n".join(c.source for c in PAGE.cells if c.cell_type == "markdown")
    targets = re.findall(r"^\((cook-[a-z]+)\)=\n## ", text, flags=re.M)
    assert len(targets) == len(re.findall(r"^## ", text, flags=re.M))
    assert re.findall(r"^\| \[[^]]+\]\(#([\w-]+)\)", text, flags=re.M) == targets
