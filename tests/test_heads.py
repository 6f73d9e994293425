"""Heads and teams: what theta may be, against matrices by hand; what teams read."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.linalg import expm
from torch import nn
from torch.testing import assert_close

from stn_tutorial.affine import (
    affine_grid,
    identity,
    rotation,
    scaling,
    translation,
)
from stn_tutorial.data.digits import load_digits
from stn_tutorial.heads import (
    HEADS,
    Composed,
    HeadedNet,
    Parallel,
    affine_head,
    attention_head,
    bounded_affine_head,
    bounded_attention_head,
    rotation_head,
    similarity_head,
)
from stn_tutorial.interpolation import grid_sample
from stn_tutorial.pitfalls import examine
from stn_tutorial.transformer import LocalisationNet, SpatialTransformer

RANDOM = torch.Generator().manual_seed(0)


def random_numbers(count, n=9, scale=1.0):
    return scale * torch.randn(n, count, generator=RANDOM)


class Fixed(nn.Module):
    """A localisation net that always gives one theta."""

    def __init__(self, theta):
        super().__init__()
        self.theta = nn.Parameter(theta.clone())

    def forward(self, images):
        return self.theta.expand(len(images), 2, 3)


# The heads


@pytest.mark.parametrize("name", HEADS)
def test_at_zero_each_head_gives_the_identity(name):
    head, count = HEADS[name]
    assert_close(head(torch.zeros(3, count)), identity(3))


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_number_moves_the_grid_and_learns(name, dtype):
    head, count = HEADS[name]
    numbers = torch.zeros(1, count, dtype=dtype, requires_grad=True)
    theta = head(numbers)
    assert theta.dtype == dtype
    jacobian = torch.autograd.functional.jacobian(head, numbers).view(6, count)
    assert torch.linalg.matrix_rank(jacobian) == count  # no number is idle
    put = random_numbers(count, 2, 0.3).to(torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(head, put)


def test_a_rotation_is_the_exponential_of_its_generator():
    numbers = random_numbers(1)
    for angle, theta in zip(numbers[:, 0], rotation_head(numbers), strict=True):
        expected = expm(angle.item() * np.array([[0.0, -1.0], [1.0, 0.0]]))
        assert np.abs(theta[:, :2].numpy() - expected).max() < 1e-5
        assert not theta[:, 2].any()


def test_a_similarity_by_complex_numbers():
    """It multiplies x + iy by one complex number and adds another."""
    numbers = random_numbers(4)
    points = torch.randn(5, 2, generator=RANDOM)
    for row, theta in zip(numbers.tolist(), similarity_head(numbers), strict=True):
        angle, size, tx, ty = row
        factor = complex(math.cos(angle), math.sin(angle)) * math.exp(size)
        for x, y in points.tolist():
            z = factor * complex(x, y) + complex(tx, ty)
            found = theta[:, :2] @ torch.tensor([x, y]) + theta[:, 2]
            assert found.tolist() == pytest.approx([z.real, z.imag], abs=1e-4)


def test_attention_by_hand():
    theta = attention_head(torch.tensor([[-0.4, 0.1, -2.0]]))
    assert_close(theta, torch.tensor([[[0.6, 0.0, 0.1], [0.0, 0.6, -2.0]]]))
    free = attention_head(torch.tensor([[-3.0, 9.0, 0.0]]))[0]
    assert free[0, 0] < 0  # turned inside out
    assert free[0, 2] > 8  # and far away


@pytest.mark.parametrize("scale", [0.1, 1.0, 100.0])
def test_bounded_attention_stays_with_the_image(scale):
    numbers = random_numbers(3, 200, scale)
    theta = bounded_attention_head(numbers)
    a, b, tx, c, d, ty = theta.flatten(1).T
    assert torch.equal(a, d)
    assert not torch.cat([b, c]).any()
    assert 1 / math.e - 1e-6 <= a.min()
    assert a.max() <= math.e + 1e-6
    assert torch.stack([tx, ty]).abs().max() <= 1
    expected = np.exp(np.tanh(numbers[:, 0].double().numpy()))
    assert np.abs(a.numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("scale", [0.1, 1.0, 100.0])
def test_a_bounded_affine_theta_stays_within_a_half(scale):
    numbers = random_numbers(6, 200, scale)
    off = bounded_affine_head(numbers) - identity()
    assert off.abs().max() <= 0.5 + 1e-6
    expected = 0.5 * np.tanh(numbers.double().numpy()).reshape(-1, 2, 3)
    assert np.abs(off.numpy() - expected).max() < 1e-6


def test_a_free_affine_head_adds_to_the_identity():
    numbers = torch.tensor([[1.0, 2, 3, 4, 5, 6]])
    assert affine_head(numbers).tolist() == [[[2.0, 2, 3], [4, 6, 6]]]


@pytest.mark.parametrize("name", HEADS)
def test_nan_does_not_become_a_theta(name):
    head, count = HEADS[name]
    theta = head(torch.full((1, count), math.nan))
    assert theta.isnan().any()


# The net


@pytest.mark.parametrize("name", HEADS)
def test_before_training_it_gives_the_identity_and_then_it_learns(name):
    images = torch.rand(4, 1, 16, 16, generator=RANDOM)
    torch.manual_seed(0)
    net = HeadedNet((1, 16, 16), name, channels=(4,), hidden=(8,))
    assert_close(net(images), identity(4))
    before = [weights.detach().clone() for weights in net.parameters()]
    transformer = SpatialTransformer(net)
    optimiser = torch.optim.SGD(net.parameters(), 0.001)
    for _ in range(2):  # the first step moves the last layer alone
        optimiser.zero_grad()
        (transformer(images) - images.flip(3)).square().sum().backward()
        optimiser.step()
    after = list(net.parameters())
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", HEADS)
def test_the_books_own_doctor_finds_nothing_wrong(name):
    torch.manual_seed(0)
    transformer = SpatialTransformer(HeadedNet((1, 28, 28), name))
    report = examine(transformer, load_digits().test_images[:8])
    assert not [f for f in report.findings if f.verdict == "wrong"], report


def test_places_keep_their_digits_inside_autocast():
    images = torch.rand(3, 1, 16, 16, generator=RANDOM)
    net = HeadedNet((1, 16, 16), "similarity")
    nn.init.normal_(net.net.last.bias, std=0.3)
    team = Composed([net, net])
    with torch.autocast("cpu", torch.bfloat16):
        theta = team(images)
    assert theta.dtype == torch.float32
    assert_close(theta, team(images), atol=1e-5, rtol=0)


# Teams


def two_thetas():
    return rotation(25.0), scaling(0.8) + F.pad(torch.tensor([[[0.3], [-0.2]]]), (2, 0))


def test_composed_thetas_read_the_input_once():
    """A point goes through the last one first."""
    one, other = two_thetas()
    team = Composed([Fixed(one), Fixed(other)])
    theta = team(torch.rand(2, 1, 8, 8, generator=RANDOM))
    points = torch.randn(2, 5, generator=RANDOM)
    inner = other[0, :, :2] @ points + other[0, :, 2:]
    expected = one[0, :, :2] @ inner + one[0, :, 2:]
    for matrix in theta:
        assert_close(matrix[:, :2] @ points + matrix[:, 2:], expected)


def test_what_the_row_would_show_but_sharp_and_whole():
    """In smooth images the composed theta shows what a row of transformers shows."""
    x = affine_grid(identity(), (1, 1, 64, 64), align_corners=False)
    image = (-4 * x.square().sum(dim=3)).exp()[:, None]
    one, other = two_thetas()
    team = SpatialTransformer(Composed([Fixed(one), Fixed(other)]))
    row = nn.Sequential(*[SpatialTransformer(Fixed(t)) for t in (one, other)])
    difference = (team(image) - row(image)).abs()[..., 8:-8, 8:-8]
    assert difference.max() < 0.01
    away, back = translation(1.5, 0.0), translation(-1.5, 0.0)
    team = SpatialTransformer(Composed([Fixed(away), Fixed(back)]))
    row = nn.Sequential(*[SpatialTransformer(Fixed(t)) for t in (away, back)])
    assert_close(team(image), image, atol=1e-5, rtol=0)
    assert (row(image) - image).abs().max() > 0.9  # lost at the border


def test_each_net_sees_what_the_ones_before_have_made():
    seen = []

    class Watching(Fixed):
        def forward(self, images):
            seen.append(images)
            return super().forward(images)

    images = torch.rand(2, 3, 9, 11, generator=RANDOM)
    thetas = [rotation(20.0), scaling(0.7), translation(0.2, 0.1)]
    Composed([Watching(theta) for theta in thetas], grid_sample)(images)
    homogeneous = [np.vstack([t[0].numpy(), [0, 0, 1]]) for t in thetas]
    product = np.eye(3)
    for picture, matrix in zip(seen, homogeneous, strict=True):
        theta = torch.tensor(product[None, :2], dtype=torch.float32)
        grid = F.affine_grid(theta, (1, 3, 9, 11), align_corners=False)
        expected = F.grid_sample(
            images, grid.expand(2, -1, -1, -1), align_corners=False
        )
        assert_close(picture, expected, atol=1e-5, rtol=1e-5)
        product = product @ matrix


def test_a_net_that_stands_there_twice_has_its_weights_once():
    net = LocalisationNet((1, 8, 8))
    count = sum(p.numel() for p in net.parameters())
    assert sum(p.numel() for p in Composed([net, net]).parameters()) == count
    assert_close(Composed([net])(torch.rand(2, 1, 8, 8)), identity(2))


def test_half_precision_goes_through():
    images = torch.rand(2, 1, 8, 8, generator=RANDOM).half()
    team = Composed([Fixed(rotation(30.0)), Fixed(scaling(0.8))])
    seen = team.look(images, rotation(30.0).half())
    assert seen.dtype == torch.float16
    assert_close(
        seen.float(), team.look(images.float(), rotation(30.0)), atol=2e-3, rtol=0
    )


def test_windows_side_by_side_keep_their_channels_together():
    images = torch.rand(2, 3, 10, 10, generator=RANDOM)
    thetas = scaling(0.5), translation(0.4, 0.0)
    ones = [SpatialTransformer(Fixed(theta), 6) for theta in thetas]
    windows = Parallel(ones)(images)
    assert windows.shape == (2, 6, 6, 6)
    for k, theta in enumerate(thetas):
        grid = F.affine_grid(theta.expand(2, 2, 3), (2, 3, 6, 6), align_corners=False)
        expected = F.grid_sample(images, grid, align_corners=False)
        assert_close(windows[:, 3 * k : 3 * k + 3], expected, atol=1e-5, rtol=0)


BAD = {
    "shape": (lambda: similarity_head(torch.zeros(2, 3)), r"of shape \(N, 4\), but"),
    "flat": (lambda: rotation_head(torch.zeros(2)), r"of shape \(N, 1\), but got"),
    "whole": (lambda: affine_head(torch.zeros(2, 6).long()), "floating point numbers"),
    "head": (
        lambda: HeadedNet((1, 8, 8), "shear"),
        "head to be one of .* got: 'shear'",
    ),
    "none": (lambda: Composed([]), "at least one localisation net"),
    "alone": (lambda: Parallel([]), "at least one transformer"),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", HEADS)
def test_what_is_no_tensor_is_named(name):
    head, count = HEADS[name]
    with pytest.raises(TypeError, match="as a tensor of shape .* but got a list"):
        head([[0.0] * count])
