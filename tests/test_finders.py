"""Networks that find signs: places by hand, equal sizes and costs, bad input."""

import numpy as np
import pytest
import torch
from scipy.ndimage import center_of_mass
from torch import nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from stn_tutorial.finders import (
    SCENE_MODELS,
    SIDES,
    SoftArgmax,
    scene_network,
)
from stn_tutorial.transformer import SpatialTransformer

RANDOM = torch.Generator().manual_seed(0)


def soft_argmax(strength=1.0, channels=1, size=0.5, heat=None, learn_size=False):
    """A head that takes the image itself for its heat."""
    head = SoftArgmax(heat or nn.Identity(), channels, size, learn_size)
    with torch.no_grad():
        head.last.weight.fill_(strength)
    return head


# The head


def test_before_training_the_window_is_in_the_middle():
    images = torch.rand(3, 4, 6, 8, generator=RANDOM)
    theta = SoftArgmax(nn.Identity(), channels=4, size=0.4)(images)
    expected = torch.tensor([[0.4, 0, 0], [0, 0.4, 0]]).expand(3, 2, 3)
    assert_close(theta, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (2, 7), (5, 3)])
def test_a_single_hot_pixel_is_the_place(row, column):
    image = torch.zeros(1, 1, 6, 8)
    image[0, 0, row, column] = 1
    theta = soft_argmax(strength=100)(image)[0]
    x, y = (2 * column + 1) / 8 - 1, (2 * row + 1) / 6 - 1
    expected = torch.tensor([[0.5, 0, x], [0, 0.5, y]])
    assert_close(theta, expected, atol=1e-5, rtol=0)


def test_the_place_is_the_centre_of_mass():
    """By SciPy's, of the exponential of the heat."""
    images = 3 * torch.randn(5, 2, 7, 9, generator=RANDOM)
    head = soft_argmax(channels=2)
    theta, shares = head(images), head.shares(images)
    assert shares.shape == (5, 7, 9)
    for image, share, matrix in zip(images, shares, theta, strict=True):
        mass = np.exp(image.sum(0).double().numpy())
        assert np.abs(share.detach().numpy() - mass / mass.sum()).max() < 1e-5
        row, column = center_of_mass(mass)
        place = [(2 * column + 1) / 9 - 1, (2 * row + 1) / 7 - 1]
        assert np.abs(matrix[:, 2].detach().numpy() - place).max() < 1e-5


def test_the_window_goes_along_with_what_is_hot():
    image = torch.zeros(1, 1, 20, 20)
    image[0, 0, 4:8, 3:6] = torch.rand(4, 3, generator=RANDOM)
    moved = image.roll((7, 10), dims=(2, 3))
    head = soft_argmax(strength=30)
    way = (head(moved) - head(image))[0, :, 2]
    assert_close(way, torch.tensor([1.0, 0.7]), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("size", "learn_size"), [(0.9, True), (0.4, False)])
def test_it_serves_a_transformer_and_learns_with_it(size, learn_size):
    """The window comes to a bright spot, and shrinks if it may."""
    heat = nn.Conv2d(1, 1, 3, padding=1)
    head = SoftArgmax(heat, 1, size, learn_size)
    transformer = SpatialTransformer(head, out_size=8, padding_mode="border")
    image = torch.zeros(1, 1, 24, 24)
    image[0, 0, 3:9, 14:20] = 1
    optimiser = torch.optim.Adam(transformer.parameters(), 0.05)
    with torch.no_grad():
        heat.weight.fill_(0.1)
    for _ in range(150):
        window, theta = transformer(image, return_theta=True)
        loss = (1 - window).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    spot = torch.tensor([17 / 12 - 1, 6 / 12 - 1])
    assert (theta[0, :, 2] - spot).abs().max() < (0.1 if learn_size else 0.2)
    if learn_size:
        assert theta[0, 0, 0] < 0.5
    else:
        assert theta[0, 0, 0].item() == pytest.approx(size)
    assert theta[0, 0, 0] == theta[0, 1, 1]
    assert theta[0, 0, 1] == theta[0, 1, 0] == 0


def test_places_keep_their_digits_inside_autocast():
    images = torch.rand(2, 1, 32, 32, generator=RANDOM)
    head = soft_argmax(strength=3)
    with torch.autocast("cpu", torch.bfloat16):
        theta = head(images)
    assert theta.dtype == torch.float32
    assert_close(theta, head(images), atol=1e-5, rtol=0)


def test_nan_does_not_become_a_place():
    images = torch.rand(2, 1, 5, 5, generator=RANDOM)
    images[1, 0, 2, 3] = torch.nan
    theta = soft_argmax()(images)
    assert theta[0].isfinite().all()
    assert theta[1, :, 2].isnan().all()


# The networks


@pytest.fixture(scope="module")
def networks():
    return {model: scene_network(model, 96).eval() for model in SCENE_MODELS}


def test_networks_of_one_size_have_equally_many_weights(networks):
    counts = {m: sum(p.numel() for p in n.parameters()) for m, n in networks.items()}
    narrow = counts.pop("cnn-full-narrow")
    assert len(counts) == 4
    assert max(counts.values()) < 1.02 * min(counts.values())
    assert min(counts.values()) == pytest.approx(90_000, rel=0.02)
    assert narrow < 20_000


def test_networks_of_one_cost_multiply_equally_often(networks):
    costs = {}
    for model, network in networks.items():
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, 96, 96))
        costs[model] = counter.get_total_flops() / 2e6
    costs_as_much = "cnn-full-narrow", "st-cnn-regressed", "st-cnn-soft-argmax"
    assert [costs[m] for m in costs_as_much] == pytest.approx([8] * 3, rel=0.1)
    assert costs["cnn-averaged"] < 5
    assert costs["cnn-full"] == pytest.approx(9 * costs["cnn-averaged"], rel=0.01)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("model", SCENE_MODELS)
def test_scenes_become_scores(model, side):
    network = scene_network(model, side, classes=7).eval()
    images = torch.rand(2, 3, side, side, generator=RANDOM)
    with torch.no_grad():
        scores = network(images)
        assert scores.shape == (2, 7)
        assert scores.isfinite().all()
        if model.startswith("st-"):
            seen, theta = network.straighten(images)
            assert seen.shape == (2, 3, 32, 32)
            expected = torch.tensor([[0.4, 0, 0], [0, 0.4, 0]]).expand(2, 2, 3)
            assert_close(theta, expected, atol=1e-6, rtol=0)
        else:
            assert network.transformer is None


def test_the_averaged_network_sees_means_alone(networks):
    images = torch.rand(2, 3, 96, 96, generator=RANDOM)
    means = images.view(2, 3, 32, 3, 32, 3).mean((3, 5))
    coarse = means.repeat_interleave(3, 2).repeat_interleave(3, 3)
    with torch.no_grad():
        for model in ("cnn-averaged", "cnn-full"):
            one, other = (networks[model](x) for x in (images, coarse))
            assert torch.allclose(one, other, atol=1e-3) == (model == "cnn-averaged")


@pytest.mark.parametrize("model", ["cnn-full", "cnn-full-narrow"])
def test_the_full_networks_find_a_sign_anywhere(model, networks):
    """Moved by whole poolings, far from the border, it gives the same scores."""
    scene = torch.zeros(1, 3, 96, 96)
    scene[..., 32:56, 32:56] = torch.rand(3, 24, 24, generator=RANDOM)
    with torch.no_grad():
        one, other = (
            networks[model](x) for x in (scene, scene.roll((8, 16), dims=(2, 3)))
        )
    assert_close(one, other, atol=1e-5, rtol=0)


BAD = {
    "model": (lambda: scene_network("fcn", 96), "expected model to be one of"),
    "side": (lambda: scene_network("cnn-full", 100), "side to be one of .* got 100"),
    "classes": (lambda: scene_network("cnn-full", 96, 0), "at least 1, but got 0"),
    "channels": (lambda: SoftArgmax(nn.Identity(), 0), "at least 1, but got 0"),
    "size": (lambda: SoftArgmax(nn.Identity(), 1, 0.0), "above 0, finite, but got 0"),
    "nan": (lambda: SoftArgmax(nn.Identity(), 1, float("nan")), "but got nan"),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
