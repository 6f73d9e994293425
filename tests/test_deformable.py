"""Offsets for each place: PyTorch's convolution at none, plain loops at any."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from stn_tutorial.deformable import (
    DeformableAttention,
    deform_conv2d,
    deformable_attention,
)


def drawn(*shape, seed=0, dtype=torch.float64):
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=gen, dtype=dtype)


def read(plane, y, x):
    """Bilinear, with zeros outside, by its four neighbours."""
    total = 0.0
    for n in (np.floor(y), np.floor(y) + 1):
        for m in (np.floor(x), np.floor(x) + 1):
            if 0 <= n < plane.shape[0] and 0 <= m < plane.shape[1]:
                share = (1 - abs(y - n)) * (1 - abs(x - m))
                total += share * plane[int(n), int(m)]
    return total


OPTIONS = [
    {},
    {"padding": 1},
    {"stride": 2, "padding": (1, 0)},
    {"stride": (1, 2), "dilation": 2, "padding": 2},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_without_offsets_it_is_a_convolution(options):
    image, weight, bias = drawn(2, 3, 9, 8), drawn(4, 3, 3, 2, seed=1), drawn(4, seed=2)
    theirs = F.conv2d(image, weight, bias, **options)
    offset = image.new_zeros(2, 12, *theirs.shape[2:])
    assert_close(deform_conv2d(image, offset, weight, bias, **options), theirs)


@pytest.mark.parametrize("options", OPTIONS)
def test_with_offsets_plain_loops_agree(options):
    image, weight = drawn(2, 2, 7, 6), drawn(3, 2, 3, 2, seed=1)
    n, d, h, w = F.conv2d(image, weight, **options).shape
    offset, mask = 2 * drawn(n, 12, h, w, seed=2), drawn(n, 6, h, w, seed=3)
    found = deform_conv2d(image, offset, weight, mask=mask, **options)

    def two(name, otherwise):
        value = options.get(name, otherwise)
        return (value, value) if isinstance(value, int) else value

    stride, padding, dilation = two("stride", 1), two("padding", 0), two("dilation", 1)
    for i, k, y, x in np.ndindex(n, d, h, w):
        total = 0.0
        for p, (a, b) in enumerate(np.ndindex(3, 2)):
            down = y * stride[0] - padding[0] + a * dilation[0]
            right = x * stride[1] - padding[1] + b * dilation[1]
            down = down + offset[i, 2 * p, y, x].item()
            right = right + offset[i, 2 * p + 1, y, x].item()
            for c in range(2):
                value = read(image[i, c].numpy(), down, right)
                total += (weight[k, c, a, b] * mask[i, p, y, x]).item() * value
        assert abs(found[i, k, y, x].item() - total) < 1e-9


def test_the_offset_goes_down_first():
    image = torch.arange(20.0).view(1, 1, 4, 5)
    offset = torch.tensor([2.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 4, 5)
    found = deform_conv2d(image, offset, torch.ones(1, 1, 1, 1))
    assert found[0, 0, :2, :4].tolist() == image[0, 0, 2:, 1:].tolist()


def test_gradients_of_the_convolution():
    inputs = drawn(1, 2, 4, 5), drawn(1, 8, 3, 4, seed=1), drawn(2, 2, 2, 2, seed=2)
    inputs = [tensor.requires_grad_() for tensor in inputs]
    assert torch.autograd.gradcheck(deform_conv2d, inputs)


def test_attention_is_its_definition_in_loops():
    value, places = drawn(2, 4, 5, 6), 0.8 * drawn(2, 2, 3, 5, 2, seed=1)
    weights = drawn(2, 2, 3, 5, seed=2).softmax(-1)
    found = deformable_attention(value, places, weights)
    for i, c, q in np.ndindex(2, 4, 3):
        head, total = c // 2, 0.0
        for p in range(5):
            x, y = places[i, head, q, p].tolist()
            y, x = ((y + 1) * 5 - 1) / 2, ((x + 1) * 6 - 1) / 2
            total += weights[i, head, q, p].item() * read(value[i, c].numpy(), y, x)
        assert abs(found[i, c, q].item() - total) < 1e-9


def test_pytorchs_sampler_gives_the_same():
    value, places = drawn(2, 4, 5, 6), drawn(2, 2, 3, 5, 2, seed=1)
    weights = drawn(2, 2, 3, 5, seed=2).softmax(-1)
    ours = deformable_attention(value, places, weights)
    assert_close(ours, deformable_attention(value, places, weights, F.grid_sample))
    image, offset, weight = drawn(1, 2, 4, 5), drawn(1, 8, 3, 4), drawn(2, 2, 2, 2)
    ours = deform_conv2d(image, offset, weight)
    assert_close(ours, deform_conv2d(image, offset, weight, sampler=F.grid_sample))


def test_the_module_starts_with_a_ring():
    net = DeformableAttention(3, 2, points=4, radius=2.0)
    query = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(0))
    offsets, weights = net.look(query, (10, 20))
    ring = torch.tensor([[2.0, 0], [0, 2], [-2, 0], [0, -2]]) * torch.tensor([0.1, 0.2])
    assert_close(offsets[0, 0], ring.expand(5, 4, 2), atol=1e-6, rtol=0)
    assert_close(weights, torch.full((1, 1, 5, 4), 0.25))


def test_at_the_start_it_is_the_mean_of_the_ring():
    """Whole pixels away, so that what is read are the pixels themselves."""
    net = DeformableAttention(3, 2, points=4, radius=1.0)
    value = drawn(1, 2, 5, 5, dtype=torch.float32)
    middle = torch.zeros(1, 1, 2)
    found = net(drawn(1, 1, 3, dtype=torch.float32), middle, value)
    around = value[0, :, [1, 2, 2, 3], [2, 1, 3, 2]].mean(1)
    assert_close(found[0, :, 0], around, atol=1e-5, rtol=0)


def test_the_module_joins_its_parts():
    torch.manual_seed(0)
    net = DeformableAttention(3, 4, heads=2, points=3, sampler=F.grid_sample)
    torch.nn.init.normal_(net.offsets.weight)
    torch.nn.init.normal_(net.weights.weight)
    torch.nn.init.normal_(net.value.weight)
    torch.nn.init.normal_(net.output.weight)
    query, value = torch.randn(2, 5, 3), torch.randn(2, 4, 6, 7)
    reference = 0.5 * torch.randn(2, 5, 2)
    offsets, weights = net.look(query, (6, 7))
    places = reference[:, None, :, None] + offsets
    by_hand = net.output(deformable_attention(net.value(value), places, weights))
    found = net(query, reference, value)
    assert found.shape == (2, 4, 5)
    assert_close(found, by_hand)
    found.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


IMAGE, KERNEL = torch.zeros(1, 2, 5, 5), torch.zeros(3, 2, 3, 3)
VALUE, PLACES = torch.zeros(1, 4, 5, 5), torch.zeros(1, 2, 3, 4, 2)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: deform_conv2d([1.0], IMAGE, KERNEL), TypeError, "input"),
        (
            lambda: deform_conv2d(IMAGE, torch.zeros(1, 9, 3, 3), KERNEL),
            ValueError,
            r"offset of shape \(1, 18, 3, 3\)",
        ),
        (
            lambda: deform_conv2d(IMAGE, torch.zeros(1, 18, 3, 3), KERNEL[:, :1]),
            ValueError,
            "weight of shape",
        ),
        (
            lambda: deform_conv2d(IMAGE, torch.zeros(1, 18, 3, 3), KERNEL, mask=IMAGE),
            ValueError,
            "mask of shape",
        ),
        (lambda: deform_conv2d(IMAGE, IMAGE, KERNEL, stride=0), ValueError, "stride"),
        (
            lambda: deform_conv2d(IMAGE, IMAGE, KERNEL, padding=(1, 2, 3)),
            ValueError,
            "padding",
        ),
        (
            lambda: deformable_attention(VALUE, PLACES[..., 0], PLACES[..., 0]),
            ValueError,
            "places of shape",
        ),
        (
            lambda: deformable_attention(VALUE, PLACES, PLACES),
            ValueError,
            "weights of shape",
        ),
        (
            lambda: deformable_attention(VALUE[:, :3], PLACES, PLACES[..., 0]),
            ValueError,
            "divide 3 channels",
        ),
        (
            lambda: deformable_attention(VALUE, PLACES[:, :0], PLACES[:, :0, ..., 0]),
            ValueError,
            "heads that divide .* but got 0",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()
