"""The cookbook's own functions and lines, with OpenCV and onnxruntime as the judges.

What the package's functions do, tests/test_pixels.py, tests/test_warps.py and
tests/test_export.py say.
"""

import ast
import builtins
import copy
import math
import re
from itertools import pairwise, product

import cv2
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from fingerprint import ROOT
from PIL import Image
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
from stn_tutorial.warps import thin_plate_spline_grid

SIZE = (300, 451)
PAGE = nbformat.read(ROOT / "chapters" / "cookbook.ipynb", as_version=4)
CODE = [cell for cell in PAGE.cells if cell.cell_type == "code"]
QUESTION = re.compile(r"^\((cook-[a-z]+)\)=\n## ", re.M)


def shown_statements():
    """List what stands in the page's open cells."""
    for cell in CODE:
        if not is_hidden(cell):
            yield from ast.parse(plain_python(cell.source)).body


def statements(cell, *kinds):
    """List a cell's statements of some kinds."""
    body = ast.parse(plain_python(cell.source)).body
    return [node for node in body if isinstance(node, kinds)]


def run(nodes, names):
    """Execute statements of the page."""
    exec(compile(ast.Module(list(nodes), []), "cookbook.ipynb", "exec"), names)


def recipes():
    """The functions and classes of the open cells, each as if copied out alone.

    Each gets names of its own: what the set-up and its cell import, and nothing else.
    """
    imports = ast.Import, ast.ImportFrom
    found = {}
    for cell in CODE:
        if is_hidden(cell):
            continue
        for node in statements(cell, ast.FunctionDef, ast.ClassDef):
            names = {"__name__": "cookbook"}
            run([*statements(CODE[0], *imports), *statements(cell, *imports)], names)
            run([node], names)
            found[node.name] = names[node.name]
            found[node.name, "lacks"] = unknown(node, names)
    return found


def unknown(node, names):
    """The names that a function or class reads, and that nobody has given it."""
    given = {*names, *vars(builtins)}
    for each in ast.walk(node):
        if isinstance(each, ast.arg):
            given.add(each.arg)
        elif isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            given.add(each.id)
    read = {
        each.id
        for each in ast.walk(node)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)
    }
    return sorted(read - given)


def sections():
    """The code of each question, by its label."""
    found, label = {}, None
    for cell in PAGE.cells:
        if cell.cell_type == "code" and label:
            found[label].append(cell)
        elif cell.cell_type == "markdown":
            for label in QUESTION.findall(cell.source):
                found[label] = []
    return found


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


# What one copies out


NAMES = [name for name in recipes() if isinstance(name, str)]


@pytest.mark.parametrize("name", NAMES)
def test_a_function_copied_out_lacks_nothing(cook, name):
    assert cook[name, "lacks"] == []


def test_a_function_that_lacks_something_is_found():
    (node,) = ast.parse("def f(a, *, b):\n    c = a + len(b)\n    return c + d").body
    assert unknown(node, {"f": None}) == ["d"]


@pytest.mark.filterwarnings(
    r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning"
)
@pytest.mark.parametrize(("label", "cells"), sections().items())
def test_a_section_runs_alone(label, cells):
    """After the set-up and the cell with the photograph, its checks included."""
    assert cells
    names = {"__name__": "cookbook"}
    with plt.rc_context():
        for cell in (*CODE[:2], *cells):
            run(statements(cell, ast.stmt), names)
    plt.close("all")


# Kinds of input: what each recipe makes inside has to be of the input's kind


KINDS = {
    "float64": {"dtype": torch.float64},
    "float16": {"dtype": torch.float16},
    "bfloat16": {"dtype": torch.bfloat16},
    "meta": {"dtype": torch.float32, "device": "meta"},  # a device without values
}
WINDOWS = crop_theta([[3, 2, 25, 17], [5.5, 4, 12, 9]], (20, 31))
CORNERS = [[(3, 4), (25, 6), (24, 17), (2, 15)]] * 2
# How each is called, given a maker of tensors; what gives places keeps float32.
CALLS = {
    "outline": (lambda f, t: f(t(2, 2, 3), (30, 45)), "places"),
    "flow_grid": (lambda f, t: f(t(2, 2, 9, 14)), "places"),
    "warp_clean": (lambda f, t: f(t(2, 1, 20, 31), WINDOWS, (7, 5)), ""),
    "rectify": (lambda f, t: f(t(1, 3, 20, 31), CORNERS[:1], (8, 9)), ""),
    "rotation_only": (lambda f, t: f(t(3, 1)), ""),
    "similarity": (lambda f, t: f(t(3, 4)), ""),
    "attention": (lambda f, t: f(t(3, 3)), ""),
    "bounded": (lambda f, t: f(t(3, 6)), ""),
    "BrightWindow": (lambda f, t: f()(t(2, 3, 10, 24)), ""),
}


def maker(**kind):
    """Make tensors of one kind, from the same numbers in every kind."""
    numbers = torch.Generator().manual_seed(0)

    def make(*shape):
        return torch.rand(*shape, generator=numbers, dtype=torch.double).to(**kind)

    return make


@pytest.mark.parametrize(
    ("name", "kind"),
    # How much warp_clean blurs depends on values.
    [case for case in product(CALLS, KINDS) if case != ("warp_clean", "meta")],
)
def test_a_recipe_takes_its_inputs_kind(cook, name, kind):
    call, gives = CALLS[name]
    ours = call(cook[name], maker(**KINDS[kind]))
    exact = call(cook[name], maker())
    assert ours.shape == exact.shape
    if kind == "meta":
        assert ours.device.type == "meta"
        return
    half = kind != "float64"
    assert ours.dtype == (torch.float32 if half and gives else KINDS[kind]["dtype"])
    eps = torch.finfo(KINDS[kind]["dtype"]).eps
    reach = exact.abs().max().item()
    assert_close(ours.double(), exact, atol=20 * eps * reach, rtol=0)


def stand_in(channels):
    flat = torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten()
    return torch.nn.Sequential(*flat, torch.nn.Linear(16 * channels, 5))


def headed(cook, channels):
    net = LocalisationNet((channels, 20, 31), hidden=(8,), start=torch.zeros(1, 4))
    return SpatialTransformer(cook["Headed"](net, cook["similarity"]), out_size=9)


def posed(cook, channels):
    net = LocalisationNet((channels, 20, 31), hidden=(8,))
    window = SpatialTransformer(net, out_size=9)
    return cook["WithPose"](window, stand_in(channels), 5, 3)


def straightened(cook, channels):
    return cook["Straightened"](stand_in(channels), channels=channels, small=16)


@pytest.mark.parametrize("kind", ["float64", "meta"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("build", [headed, posed, straightened])
def test_a_module_takes_grey_and_colour_of_any_kind(cook, build, channels, kind):
    torch.manual_seed(0)
    net = build(cook, channels).to(**KINDS[kind])
    for n in (1, 3):
        output = net(maker(**KINDS[kind])(n, channels, 20, 31))
        assert len(output) == n
        expected = torch.empty(0, **KINDS[kind])
        assert (output.dtype, output.device) == (expected.dtype, expected.device)


# Pixels


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", ["float64", "float16", "bfloat16"])
def test_images_go_there_and_back(cook, channels, kind):
    images = maker(**KINDS[kind])(1, channels, 5, 7)
    array = cook["as_array"](images.requires_grad_())
    assert array.shape == ((5, 7) if channels == 1 else (5, 7, channels))
    assert cv2.blur(array, (3, 3)).shape == array.shape  # others know its dtype
    assert_close(cook["as_image"](array), images.detach().float())


def test_bytes_become_numbers_to_1(cook):
    colours = np.zeros((2, 3, 3), np.uint8)
    colours[1, 2, 0] = 255  # red, low right
    image = cook["as_image"](colours)
    assert image.dtype == torch.float32
    assert image[0, 0, 1, 2] == 1
    assert image.sum() == 1
    from_opencv = cook["as_image"](colours[:, :, ::-1])
    assert_close(from_opencv, image.flip(1))
    assert_close(cook["as_image"](colours[:, :, 0]), image[:, :1])
    as_picture = cook["as_image"](Image.fromarray(colours))
    assert_close(as_picture, image)
    assert_close(cook["as_image"](257 * colours.astype(np.uint16)), image)
    mask = torch.full((1, 1, 2, 3), 7, dtype=torch.uint8)
    array = cook["as_array"](mask)
    assert array.dtype == np.uint8
    array[0, 0] = 9  # to draw on, and the tensor stays
    assert (mask == 7).all()


def test_a_batch_is_no_array(cook):
    with pytest.raises(ValueError):
        cook["as_array"](torch.zeros(2, 3, 4, 5))


def test_warp_clean_takes_many_windows(cook, cat):
    """Each is blurred by its own amount, as it would be alone."""
    boxes = torch.tensor([[20.0, 30, 420, 270], [100, 60, 140, 100]])
    both = cook["warp_clean"](cat, crop_theta(boxes, SIZE), (16, 16))
    for box, ours in zip(boxes, both, strict=True):
        alone = cook["warp_clean"](cat, crop_theta(box, SIZE), (16, 16))
        assert_close(ours, alone[0])
    theta = crop_theta(boxes[1], SIZE).requires_grad_()
    cook["warp_clean"](cat.expand(2, -1, -1, -1), theta, (16, 16)).sum().backward()
    assert theta.grad.abs().sum() > 0


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


def test_a_page_by_its_corners_is_opencvs_perspective(cook, cat):
    corners = np.float32([[130, 80], [362, 96], [330, 262], [190, 280]])
    target = np.float32([[-0.5, -0.5], [95.5, -0.5], [95.5, 63.5], [-0.5, 63.5]])
    shifted = corners + np.float32([20, -15])
    both = cook["rectify"](
        cat.expand(2, -1, -1, -1), np.stack([corners, shifted]), (64, 96)
    )
    for ours, there in zip(both, (corners, shifted), strict=True):
        matrix = cv2.getPerspectiveTransform(there, target)
        theirs = cv2.warpPerspective(pixels(cat), matrix, (96, 64))
        assert np.abs(pixels(ours[None]) - theirs).max() < 1e-2


def test_an_affine_transform_is_a_spline():
    """The expression stands in the page's text."""
    text = "\n".join(c.source for c in PAGE.cells if c.cell_type == "markdown")
    (expression,) = re.findall(r"`(control_points\(\)\S* @ theta.+?)`", text)
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


def test_the_largest_step_grows_with_the_rate_and_leaves_the_net(cook, cat):
    torch.manual_seed(0)
    net = cook["Straightened"](small_backbone())
    before = {name: p.clone() for name, p in net.named_parameters()}
    images, labels = cat[:, :, :240, :240].expand(2, -1, -1, -1), torch.arange(2)
    low, high = (cook["largest_step"](net, images, labels, r) for r in (1e-4, 1e-2))
    assert high > 50 * low
    for name, p in net.named_parameters():
        assert torch.equal(p, before[name])
        assert p.grad is None
    moves = corners_move(cook, net, images, labels, 1e-4)
    assert len(moves) == 10
    assert_close(low, max(moves), rtol=1e-3, atol=0)


def corners_move(cook, net, images, labels, rate):
    """How far each of ten steps moves the four corners, by the outlines."""
    moved = copy.deepcopy(net)
    rates = {moved.backbone: 1e-4, moved.transformer: rate}
    groups = [{"params": part.parameters(), "lr": r} for part, r in rates.items()]
    optimiser = torch.optim.AdamW(groups)
    outlines = []
    for _ in range(11):
        outlines.append(cook["outline"](moved.theta(images), (224, 224))[:, :4])
        moved.zero_grad()
        torch.nn.functional.cross_entropy(moved(images), labels).backward()
        optimiser.step()
    return [
        (after - before).square().sum(2).sqrt().mean().item()
        for before, after in pairwise(outlines)
    ]


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
    targets = re.findall(r"^\((cook-[a-z]+)\)=\n###? ", text, flags=re.M)
    assert len(sections()) == len(re.findall(r"^## ", text, flags=re.M))
    assert re.findall(r"^\| \[[^]]+\]\(#([\w-]+)\)", text, flags=re.M) == targets
