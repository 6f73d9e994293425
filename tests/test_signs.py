"""The networks for traffic signs, and how their training images vary."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from stn_tutorial import signs
from stn_tutorial.affine import compose, identity, rotation, scaling, translation
from stn_tutorial.signs import (
    SIGN_MODELS,
    augment,
    find_windows,
    overlap,
    read_windows,
    sign_network,
)
from stn_tutorial.training import Recipe, make_optimiser

WITH = [model for model in SIGN_MODELS if model.startswith("st")]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    """Smooth ones, as bfloat16 has three digits only."""
    coarse = torch.rand(3, 3, 6, 6, generator=generator())
    return F.interpolate(coarse, (48, 48), mode="bicubic").clamp(0, 1)


def weights(model):
    return sum(parameter.numel() for parameter in sign_network(model).parameters())


# The networks


@pytest.mark.parametrize(
    ("size", "kinds", "wanted"), [("small", 4, 0.35e6), ("large", 3, 1.2e6)]
)
def test_models_of_a_size_have_equally_many_weights(size, kinds, wanted):
    counts = [weights(model) for model in SIGN_MODELS if model.endswith(size)]
    assert len(counts) == kinds
    assert max(counts) < 1.02 * min(counts)
    assert counts == pytest.approx([wanted] * kinds, rel=0.03)


@pytest.mark.parametrize("classes", [43, 12])
@pytest.mark.parametrize("model", SIGN_MODELS)
def test_there_is_a_score_for_each_class(model, classes, images):
    scores = sign_network(model, classes).eval()(images)
    assert scores.shape == (3, classes)
    assert scores.dtype == torch.float32
    assert not torch.allclose(scores[0], scores[1])


@pytest.mark.parametrize("model", WITH)
def test_the_first_transformer_starts_as_the_identity(model, images):
    straight, theta = sign_network(model).eval().straighten(images)
    assert_close(theta, identity().expand(3, 2, 3))
    assert_close(straight, images, atol=1e-5, rtol=0)


def test_the_second_transformer_starts_as_the_identity(images):
    early, second, late = sign_network("st2-cnn-small").eval().classifier
    maps = early(images)
    assert maps.shape == (3, 32, 24, 24)
    assert_close(second(maps), maps, atol=1e-4, rtol=0)
    assert_close(late(second(maps)), late(maps), atol=0.02, rtol=0)


@pytest.mark.parametrize("model", SIGN_MODELS)
def test_the_loss_reaches_every_weight(model, images):
    """Once the localisation nets' last layers have left zero."""
    network = sign_network(model)
    named = dict(network.named_parameters())
    for name, parameter in named.items():
        if name.endswith("last.weight"):
            torch.nn.init.normal_(parameter, std=0.01)
    F.cross_entropy(network(images), torch.arange(3)).backward()
    silent = [name for name, weight in named.items() if not weight.grad.any()]
    assert silent == []


@pytest.mark.parametrize("model", SIGN_MODELS)
def test_what_localises_learns_at_a_rate_of_its_own(model):
    """All of the localisation nets, the second one within the classifier too."""
    network = sign_network(model)
    recipe = Recipe(images=1, localisation_rate=0.25)
    slow = set()
    for group in make_optimiser(network, recipe).param_groups:
        if group["scale"] == 0.25:
            slow.update(map(id, group["params"]))
    localising = [
        name for name, weight in network.named_parameters() if id(weight) in slow
    ]
    assert all(".localisation." in name for name in localising)
    nets = {name.split(".localisation.")[0] for name in localising}
    kind = model.split("-")[0]
    assert len(nets) == {"cnn": 0, "crop": 0, "st": 1, "st2": 2}[kind]
    assert len(localising) == 8 * len(nets)


def test_the_control_sees_the_middle_of_every_image(images):
    network = sign_network("crop-cnn-small").eval()
    middle, theta = network.straighten(images)
    assert_close(theta, scaling(0.75).expand(3, 2, 3))
    inner = F.interpolate(images[:, :, 6:42, 6:42], (48, 48), mode="bilinear")
    assert_close(middle[:, :, 1:-1, 1:-1], inner[:, :, 1:-1, 1:-1])
    assert_close(network(images), network.classifier(middle))
    assert "theta" not in dict(network.named_parameters())


def test_outside_the_image_its_border_goes_on():
    network = sign_network("st-cnn-small").eval()
    with torch.no_grad():
        network.transformer.localisation[1].last.bias[2] = 2.0  # one width to the right
    image = torch.rand(1, 3, 48, 48, generator=generator())
    straight, _ = network.straighten(image)
    assert_close(straight, image[..., -1:].expand(1, 3, 48, 48), atol=1e-5, rtol=0)


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match=r"cnn-small.*but got: 'resnet'"):
        sign_network("resnet")


def test_no_classes_are_refused():
    with pytest.raises(ValueError, match="classes to be at least 1, but got 0"):
        sign_network("cnn-small", classes=0)


# How the images vary


def test_a_view_is_turned_scaled_shifted_and_lit(images, monkeypatch):
    """Each draw has its range and its place in the formula, written out by hand."""
    values = {
        (-0.12, 0.12): [torch.tensor([0.1, 0.0, -0.05]), torch.tensor([0.0, 0.1, 0.1])],
        (-10, 10): [torch.tensor([10.0, 0.0, -5.0])],
        (0.85, 1.15): [torch.tensor([1.0, 0.85, 1.1])],
        (0.6, 1.4): [torch.tensor([1.0, 0.6, 1.3])],
        (-0.2, 0.2): [torch.tensor([0.0, 0.2, -0.1])],
    }
    drawn = {span: list(draws) for span, draws in values.items()}
    monkeypatch.setattr(signs, "uniform", lambda a, b, *_: drawn[a, b].pop(0))
    seen = augment(images, generator())
    (x, y), (angle_deg,), (scale,), (contrast,), (light,) = values.values()
    for i in range(3):
        angle = math.radians(angle_deg[i])
        cos, sin = math.cos(angle) / scale[i], math.sin(angle) / scale[i]
        theta = torch.tensor([[[cos, -sin, x[i]], [sin, cos, y[i]]]])
        grid = F.affine_grid(theta, (1, 3, 48, 48), align_corners=False)
        view = F.grid_sample(
            images[i : i + 1], grid, padding_mode="border", align_corners=False
        )
        view = contrast[i] * (view - view.mean()) + view.mean() + light[i]
        assert_close(seen[i], view[0].clamp(0, 1), atol=1e-5, rtol=0)
    assert not any(drawn.values())


def test_bytes_and_floats_give_the_same_views():
    pixels = torch.randint(256, (5, 3, 48, 48), generator=generator()).byte()
    assert_close(augment(pixels, generator(1)), augment(pixels / 255, generator(1)))


def test_views_differ_from_image_to_image_and_follow_the_generator(images):
    same = images[:1].expand(4, 3, 48, 48)
    state = torch.get_rng_state()
    views = augment(same, generator(2))
    assert torch.equal(views, augment(same, generator(2)))
    assert torch.equal(state, torch.get_rng_state())
    assert (views[0] - views[1:]).abs().amax((1, 2, 3)).min() > 0.05
    assert (augment(same, generator(3)) - views).abs().max() > 0.05
    assert 0 <= views.min() < views.max() <= 1


@pytest.mark.parametrize("shape", [(3, 48, 48), (2, 1, 48, 48), (2, 48, 48, 3)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\), but got \("):
        augment(torch.zeros(shape), generator())


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.complex64])
def test_images_of_another_type_are_refused(dtype):
    with pytest.raises(ValueError, match=f"floats or bytes .*, but got {dtype}"):
        augment(torch.ones(2, 3, 48, 48, dtype=dtype), generator())


# Windows and boxes


@pytest.mark.parametrize(
    ("theta", "box", "wanted"),
    [
        (identity(), (-1, -1, 1, 1), 1),
        (identity(), (-0.5, -0.5, 0.5, 0.5), 1 / 4),
        (scaling(0.5), (-1, -1, 1, 1), 1 / 4),
        (scaling(0.5), (0, -0.5, 1, 0.5), 1 / 3),
        (scaling(0.4, 0.8), (-0.4, -0.8, 0.4, 0.8), 1),
        (scaling(0.3), (0.5, 0.5, 1, 1), 0),
        (compose(translation(0.4, -0.3), scaling(0.5)), (-0.1, -0.8, 0.9, 0.2), 1),
        # Two squares, one turned by 45 degrees, have a regular octagon in common.
        (compose(rotation(45), scaling(0.8)), (-0.8, -0.8, 0.8, 0.8), 1 / math.sqrt(2)),
    ],
)
def test_overlap_by_hand(theta, box, wanted):
    found = overlap(theta, torch.tensor([box]).float())
    assert found.shape == (1,)
    assert found.item() == pytest.approx(wanted, abs=0.02)


def test_overlap_of_many():
    """Each window is held against its own box, in whatever batches."""
    sizes = torch.linspace(0.3, 1, 1100)
    boxes = torch.tensor([-0.6, -0.6, 0.6, 0.6]).expand(1100, 4)
    found = overlap(scaling(sizes), boxes)
    wanted = torch.minimum(sizes / 0.6, 0.6 / sizes) ** 2
    assert (found - wanted).abs().max() < 0.06
    assert (found - wanted).abs().mean() < 0.02


def test_one_window_serves_all_boxes():
    boxes = torch.tensor([[-0.5, -0.5, 0.5, 0.5], [0.0, -0.5, 1.0, 0.5]])
    found = overlap(scaling(0.5), boxes)
    assert found.tolist() == pytest.approx([1, 1 / 3], abs=0.02)


@pytest.mark.parametrize(
    ("theta", "boxes"), [((2, 2, 3), (3, 4)), ((2, 3, 3), (2, 4)), ((2, 2, 3), (2, 2))]
)
def test_windows_and_boxes_of_other_shapes_are_refused(theta, boxes):
    with pytest.raises(ValueError, match=r"boxes of shape \(N, 4\), but got \("):
        overlap(torch.ones(theta), torch.ones(boxes))


FAR = torch.tensor([[[0.1, 0, 5], [0, 0.1, 5]]])
BOX = (-0.5, -0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("theta", "box", "message"),
    [
        (identity() * math.nan, BOX, "theta to be finite"),
        (identity() / 0, BOX, "theta to be finite"),
        (identity(), (math.nan, -0.5, 0.5, 0.5), "x1 < x2 and y1 < y2"),
        (identity(), (0.5, -0.5, -0.5, 0.5), "x1 < x2 and y1 < y2"),
        (identity(), (-0.5, 0.5, 0.5, 0.5), "x1 < x2 and y1 < y2"),
        (FAR, (4.5, 4.5, 5.5, 5.5), r"from -1.5 to 1.5, .* number 1 has none"),
    ],
)
def test_what_has_no_overlap_is_refused(theta, box, message):
    """And does not count as apart."""
    theta = torch.cat([identity(), theta])
    with pytest.raises(ValueError, match=message):
        overlap(theta, torch.tensor([BOX, box]))


def test_overlap_of_other_precisions():
    boxes = torch.tensor([[-0.5, -0.25, 0.5, 0.25]])
    wanted = overlap(scaling(0.5), boxes)
    for dtype in (torch.float16, torch.float64):
        assert torch.equal(overlap(scaling(0.5).to(dtype), boxes.to(dtype)), wanted)


def test_windows_are_what_the_transformer_looks_through(images):
    """The package's two halves make what the network itself makes."""
    network = sign_network("st-cnn-small").eval()
    with torch.no_grad():
        network.transformer.localisation[1].last.weight.normal_(std=0.1)
        straight, theta = network.straighten(images)
    found = find_windows(network, images)
    assert not found.requires_grad
    assert_close(found, theta)
    assert (found[0] - found[1]).abs().max() > 1e-3
    assert_close(read_windows(images, found), straight, atol=1e-6, rtol=0)


def test_one_window_serves_all_images(images):
    """A quarter of the image, as large as asked for; the border goes on outside."""
    corner = compose(translation(-0.5, -0.5), scaling(0.5))
    seen = read_windows(images, corner, side=24)
    assert_close(seen, images[:, :, :24, :24], atol=1e-5, rtol=0)
    beside = read_windows(images, translation(2.0, 0.0))
    assert_close(beside, images[..., -1:].expand(3, 3, 48, 48), atol=1e-5, rtol=0)
