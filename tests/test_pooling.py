"""Pooling against PyTorch, receptive fields against autograd, measures by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from stn_tutorial.pooling import (
    anti_aliased_max_pool2d,
    avg_pool2d,
    equivariance_error,
    invariance_error,
    max_pool2d,
    receptive_field,
    relative_difference,
    shift,
    windows,
)

quick = settings(deadline=None, derandomize=True, max_examples=40)
both_pools = pytest.mark.parametrize(
    ("ours", "theirs"), [(max_pool2d, F.max_pool2d), (avg_pool2d, F.avg_pool2d)]
)


def random_images(*shape, seed=0):
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=gen)


def test_windows_by_hand():
    image = torch.arange(12.0).view(1, 1, 3, 4)
    assert windows(image, 2, 2).tolist() == [[[[[[0, 1], [4, 5]], [[2, 3], [6, 7]]]]]]


@both_pools
@quick
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(0, 2),
    size=st.tuples(st.integers(4, 11), st.integers(4, 11)),
    kernel_size=st.integers(1, 4),
    stride=st.none() | st.integers(1, 5),
)
def test_pooling_equals_pytorch(ours, theirs, seed, n, size, kernel_size, stride):
    results = []
    for pool in (ours, theirs):
        images = random_images(n, 2, *size, seed=seed).requires_grad_()
        output = pool(images, kernel_size, stride)
        (slope,) = torch.autograd.grad(output.square().sum(), images)
        results.append((output, slope))
    assert_close(*results)


@both_pools
def test_pooling_halves_unless_told(ours, theirs):
    images = random_images(2, 3, 7, 8)
    assert_close(ours(images), theirs(images, 2))


@pytest.mark.parametrize("size", [(2, 2), (6, 8), (7, 5), (3, 10)])
def test_anti_aliased_pooling_is_maximum_then_blur(size):
    images = random_images(2, 3, *size)
    taps = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64)
    blur = (torch.outer(taps, taps) / 64).expand(3, 1, 4, 4)
    dense = F.pad(F.max_pool2d(images, 2, stride=1), (1, 2, 1, 2))
    expected = F.conv2d(dense, blur, stride=2, groups=3)
    assert expected.shape[2:] == (size[0] // 2, size[1] // 2)
    assert_close(anti_aliased_max_pool2d(images), expected)


def test_anti_aliased_pooling_keeps_a_constant_away_from_the_edge():
    pooled = anti_aliased_max_pool2d(torch.full((1, 1, 12, 12), 0.7))
    assert_close(pooled[:, :, 1:-1, 1:-1], torch.full((1, 1, 4, 4), 0.7))


def test_anti_aliased_pooling_varies_less_when_the_image_moves():
    images = random_images(8, 1, 20, 20).abs()
    images = F.pad(images, (6, 6, 6, 6))
    plain = equivariance_error(max_pool2d, images, 1, 0, 2)
    smooth = equivariance_error(anti_aliased_max_pool2d, images, 1, 0, 2)
    assert smooth < 0.75 * plain


# Receptive fields --------------------------------------------------------------


@quick
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), max_size=4))
def test_receptive_field_is_what_gradients_reach(layers):
    assert len(receptive_field(layers)) == len(layers)
    for depth, (size, step) in enumerate(receptive_field(layers), start=1):
        row = torch.zeros(1, 1, size + step, requires_grad=True)
        units = row
        for kernel_size, stride in layers[:depth]:
            units = F.conv1d(units, torch.ones(1, 1, kernel_size), stride=stride)
        seen = []  # first and last pixel that two neighbouring units see
        for unit in units.flatten()[:2]:
            (slope,) = torch.autograd.grad(unit, row, retain_graph=True)
            seen.append(slope.flatten().nonzero()[[0, -1]].flatten().tolist())
        assert [last - first + 1 for first, last in seen] == [size, size]
        assert seen[1][0] - seen[0][0] == step


def test_receptive_field_by_hand():
    lenet = [(5, 1), (2, 2), (5, 1), (2, 2)]
    assert receptive_field(lenet) == [(5, 1), (6, 2), (14, 2), (16, 4)]
    assert receptive_field([]) == []


# Shifts and what they change ---------------------------------------------------


@quick
@given(
    seed=st.integers(0, 2**32),
    powers=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    dx=st.integers(-9, 9),
    dy=st.integers(-9, 9),
)
def test_whole_pixel_shift_moves_right_and_down(seed, powers, dx, dy):
    """Bit for bit where the coordinates are exact: sides of 2^k."""
    height, width = (2**k for k in powers)
    images = random_images(2, 3, height, width, seed=seed)
    expected = F.pad(images, (9, 9, 9, 9)).roll((dy, dx), (2, 3))
    assert torch.equal(shift(images, dx, dy), expected[:, :, 9:-9, 9:-9])


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, -2), (3, 5)])
def test_whole_pixel_shift_at_any_size(dx, dy):
    images = random_images(1, 1, 7, 11)
    expected = F.pad(images, (9, 9, 9, 9)).roll((dy, dx), (2, 3))
    moved = shift(images, dx, dy)
    assert_close(moved, expected[:, :, 9:-9, 9:-9], atol=1e-5, rtol=0)


def test_half_pixel_shift_is_the_mean_of_two():
    image = torch.tensor([1.0, 2, 4, 8]).view(1, 1, 1, 4)
    assert shift(image, 0.5).flatten().tolist() == [0.5, 1.5, 3, 6]
    assert shift(image, -0.5).flatten().tolist() == [1.5, 3, 6, 4]


def test_moves_go_to_the_right_alone_unless_told():
    images = spots()
    assert torch.equal(shift(images, 1.5), shift(images, 1.5, 0))
    error = invariance_error(max_pool2d, images, 1)
    assert error == invariance_error(max_pool2d, images, 1, 0)
    assert error != invariance_error(max_pool2d, images, 1, 1)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([[1, 2]], [[1, 2]], 0),
        ([[3, 0]], [[0, 4]], 1),  # nothing in common
        ([[3, 4]], [[-3, -4]], 2**0.5),
        ([[3, 4]], [[0, 0]], 1),
        ([[0, 0]], [[0, 0]], 0),
        ([[3, 0], [1, 2]], [[0, 4], [1, 2]], 0.5),  # mean over samples
        ([[[1], [3]]], [[[1], [1]]], 1 / 3**0.5),
        ([1, 5], [0, 5], 0.5),
    ],
)
def test_relative_difference_by_hand(a, b, expected):
    a, b = torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32)
    assert relative_difference(a, b) == pytest.approx(expected)
    assert relative_difference(10 * a, 10 * b) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_relative_difference_of_halves_is_that_of_the_same_numbers(dtype):
    """Squares of 300 leave the range of float16."""
    gen = torch.Generator().manual_seed(0)
    a = (300 * torch.randn(4, 100, generator=gen)).to(dtype)
    b = a + torch.randn(4, 100, generator=gen).to(dtype)
    expected = relative_difference(a.double(), b.double())
    assert relative_difference(a, b) == pytest.approx(expected, rel=1e-5)
    assert relative_difference(a, -a) == pytest.approx(2**0.5)


@pytest.mark.parametrize("size", [1e-45, 1e-38, 1e-30, 1e30, 3e38])
def test_relative_difference_of_the_smallest_and_largest_numbers(size):
    """Their squares are 0 or infinite in their own precision."""
    a = size * torch.tensor([[1.0, 0, 1], [1, 1, 0]])
    b = size * torch.tensor([[0.0, 1, 0], [1, 1, 0]])
    assert relative_difference(a, -a) == pytest.approx(2**0.5)
    assert relative_difference(a, b) == pytest.approx(0.5)  # disjoint, and equal


def test_relative_difference_of_what_is_no_number_is_none():
    a, b = torch.rand(2, 3), torch.rand(2, 3)
    a[1, 2] = math.nan
    assert math.isnan(relative_difference(a, b))
    assert math.isnan(relative_difference(b, a))


def test_relative_difference_of_bytes_does_not_wrap_around():
    a, b = torch.tensor([[0, 3]]).byte(), torch.tensor([[4, 0]]).byte()
    assert relative_difference(a, b) == 1


def spots():
    """Images with content in the middle only, so that shifts lose nothing."""
    return F.pad(random_images(4, 1, 4, 4).abs(), (6, 6, 6, 6))


def test_what_is_fully_invariant():
    assert invariance_error(lambda x: torch.ones(len(x), 5), spots(), 1, 0) == 0
    assert invariance_error(lambda x: x.amax((2, 3)), spots(), 2, -1) == 0
    assert invariance_error(lambda x: x, spots(), 0, 0) == 0


def test_row_sums_see_vertical_moves_only():
    def row_sums(images):
        return images.sum(3)

    assert invariance_error(row_sums, spots(), 3, 0) == pytest.approx(0, abs=1e-6)
    assert invariance_error(row_sums, spots(), 0, 3) > 0.5


def test_what_is_not_invariant():
    assert invariance_error(lambda x: x, spots(), 4, 0) == pytest.approx(1)
    plain = invariance_error(lambda x: x, spots(), 1, 0)
    pooled = invariance_error(max_pool2d, spots(), 1, 0)
    assert 0 < pooled < plain < 1


@pytest.mark.parametrize(
    ("features", "dx", "dy", "step"),
    [
        (lambda x: x, 3, -2, 1),
        (lambda x: F.conv2d(x, random_images(2, 1, 3, 3)), 3, -2, 1),  # no padding
        (max_pool2d, 2, -4, 2),
        (lambda x: avg_pool2d(x[:, :, 1:, 1:]), -2, 2, 2),  # an odd size
        (lambda x: max_pool2d(max_pool2d(x)), 4, 4, 4),
    ],
)
def test_what_is_fully_equivariant(features, dx, dy, step):
    error = equivariance_error(features, spots(), dx, dy, step)
    assert error == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("features", "dx", "step"),
    [
        (max_pool2d, 1, 2),  # half a step
        (max_pool2d, 2, 1),  # the wrong step
        (lambda x: x.flip(3), 1, 1),
        (lambda x: x.transpose(2, 3), 1, 1),
    ],
)
def test_what_is_not_equivariant(features, dx, step):
    assert equivariance_error(features, spots(), dx, 0, step) > 0.05


# Bad input ---------------------------------------------------------------------

BAD = {
    "no batch": (
        lambda: max_pool2d(torch.zeros(1, 4, 4)),
        r"expected input of shape \(N, C, H, W\), with .*, but got shape \(1, 4, 4\)",
    ),
    "no batch, anti-aliased": (
        lambda: anti_aliased_max_pool2d(torch.zeros(1, 4, 4)),
        r"expected input of shape \(N, C, H, W\), with .*, but got shape \(1, 4, 4\)",
    ),
    "no batch, moved": (
        lambda: shift(torch.zeros(1, 4, 4), 1),
        r"expected input of shape \(N, C, H, W\), with .*, but got shape \(1, 4, 4\)",
    ),
    "the mean of whole numbers": (
        lambda: avg_pool2d(torch.ones(1, 1, 4, 4).int()),
        "floating point type, to be averaged, but got torch.int32",
    ),
    "whole numbers, anti-aliased": (
        lambda: anti_aliased_max_pool2d(torch.ones(1, 1, 4, 4) > 0),
        "floating point type, to be averaged, but got torch.bool",
    ),
    "complex, moved": (
        lambda: shift(torch.ones(1, 1, 4, 4) * 1j, 1),
        "real floating point numbers, got torch.complex64",
    ),
    "layer of half a pixel": (
        lambda: receptive_field([(2.5, 2)]),
        r"whole numbers of at least 1, but got \(2.5, 2\)",
    ),
    "layer of half a stride": (
        lambda: receptive_field([(3, 2), (3, 1.5)]),
        r"whole numbers of at least 1, but got \(3, 1.5\)",
    ),
    "layer of a tensor": (
        lambda: receptive_field([(torch.tensor(2), 2)]),
        r"whole numbers of at least 1, but got \(tensor\(2\), 2\)",
    ),
    "steps of half a pixel": (
        lambda: equivariance_error(max_pool2d, torch.zeros(1, 1, 4, 4), 1, 0, 2.5),
        "step to be a whole number from 1 on, but got 2.5",
    ),
    "no steps": (
        lambda: equivariance_error(max_pool2d, torch.zeros(1, 1, 4, 4), 1, 0, 0),
        "step to be a whole number from 1 on, but got 0",
    ),
    "no samples": (
        lambda: relative_difference(torch.zeros(0, 3), torch.zeros(0, 3)),
        r"at least one sample, .* of shape \(0, 3\)",
    ),
    "features without axes": (
        lambda: relative_difference(torch.tensor(1.0), torch.tensor(2.0)),
        r"at least one sample, .* of shape \(\)",
    ),
    "complex features": (
        lambda: relative_difference(torch.ones(1, 3) * 1j, torch.ones(1, 3)),
        "expected real features .* got torch.complex64 and torch.float32",
    ),
    "kernel of no pixels": (
        lambda: avg_pool2d(torch.zeros(1, 1, 4, 4), 0),
        "at least 1, but got 0 and 0",
    ),
    "no step": (
        lambda: max_pool2d(torch.zeros(1, 1, 4, 4), 2, 0),
        "at least 1, but got 2 and 0",
    ),
    "window beyond the image": (
        lambda: windows(torch.zeros(1, 1, 9, 4), 5, 1),
        r"at least 5 x 5 pixels.*got \(1, 1, 9, 4\)",
    ),
    "one column, anti-aliased": (
        lambda: anti_aliased_max_pool2d(torch.zeros(1, 1, 4, 1)),
        r"at least 2 x 2 pixels.*got \(1, 1, 4, 1\)",
    ),
    "layer of no size": (
        lambda: receptive_field([(3, 1), (0, 1)]),
        r"at least 1, but got \(0, 1\)",
    ),
    "layer of no stride": (
        lambda: receptive_field([(3, 0)]),
        r"at least 1, but got \(3, 0\)",
    ),
    "features of two shapes": (
        lambda: relative_difference(torch.zeros(2, 3), torch.zeros(2, 4)),
        r"one shape, but got \(2, 3\) and \(2, 4\)",
    ),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda array: windows(array, 2, 2),
        lambda array: avg_pool2d(array),
        lambda array: anti_aliased_max_pool2d(array),
        lambda array: shift(array, 1),
    ],
)
def test_an_array_is_named(call):
    with pytest.raises(TypeError, match="input to be a tensor .* but got a numpy"):
        call(np.zeros((1, 1, 4, 4)))
