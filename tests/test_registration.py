"""Alignment: transforms that are known come back, and OpenCV's ECC finds the same."""

import cv2
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from stn_tutorial.affine import affine, compose, identity, rotation, translation
from stn_tutorial.data.digits import load_digits
from stn_tutorial.data.photos import cat_photo
from stn_tutorial.interpolation import warp
from stn_tutorial.pixels import crop_theta, map_points, theta_from_matrix, turn_about
from stn_tutorial.registration import align, difference_in_overlap, squared_difference

WINDOW = (60, 80)
MIDDLE = ((WINDOW[1] - 1) / 2, (WINDOW[0] - 1) / 2)
CORNERS = [[-0.5, -0.5], [79.5, -0.5], [79.5, 59.5], [-0.5, 59.5]]
TURNED = turn_about(MIDDLE, 15, WINDOW)
MOVED = affine(0.95, 0.1, 0.12, -0.05, 1.05, -0.1)


@pytest.fixture(scope="module")
def digits():
    return load_digits().test_images[:5]


def two_views(theta):
    """Two windows of one small photo: the second is the first, moved."""
    window = crop_theta((35, 20, 115, 80), (100, 150))
    photo = F.interpolate(cat_photo(), (100, 150), mode="area")
    return warp(photo, window, WINDOW), warp(photo, compose(window, theta), WINDOW)


def miss(found, true):
    """How far apart, in pixels, two thetas send the corners of the window."""
    places = [map_points(theta, CORNERS, WINDOW, WINDOW) for theta in (found, true)]
    return (places[0] - places[1]).norm(dim=-1).amax(dim=1)


# What is found


@pytest.mark.parametrize(
    ("true", "padding_mode"),
    [(TURNED, "border"), (MOVED, "border"), (translation(0.3, -0.2), None)],
)
def test_two_views_of_a_photo_are_aligned(true, padding_mode):
    """In colour, not square, and each view shows what the other does not."""
    source, target = two_views(true)
    theta, left = align(source, target, padding_mode=padding_mode)
    assert miss(theta, true) < 0.5
    assert left < 0.2 * squared_difference(source, target)


def test_opencvs_ecc_finds_the_same():
    source, target = two_views(MOVED)
    grey = [image.mean(1)[0].numpy() for image in (target, source)]
    start = torch.eye(2, 3).numpy()
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 300, 1e-7)
    _, matrix = cv2.findTransformECC(*grey, start, cv2.MOTION_AFFINE, stop, None, 5)
    theirs = theta_from_matrix(matrix, WINDOW, WINDOW)
    assert miss(align(source, target, padding_mode=None)[0], theirs) < 0.3


@pytest.mark.parametrize("side", [28, 56])
def test_the_blur_follows_the_size(digits, side):
    """Strokes half an image apart find each other, however many pixels that is."""
    images = F.interpolate(digits, (side, side), mode="bicubic").clamp(0, 1)
    target = warp(images, translation(1.0, 0.0))
    _, left = align(images, target, padding_mode="zeros")
    assert (left < 0.1 * squared_difference(images, target)).all()


def test_several_starts_find_a_far_turn_and_the_difference_tells(digits):
    target = warp(digits, rotation(150.0))
    quarters = rotation(torch.tensor([0.0, 90, 180, 270]))
    _, from_one = align(digits, target, padding_mode="zeros")
    _, from_four = align(digits, target, quarters, padding_mode="zeros")
    before = squared_difference(digits, target)
    assert (from_four < 0.1 * before).all()
    assert (from_one > 0.1 * before).float().mean() >= 0.7


def test_the_images_may_differ_in_size():
    """The target is the right half of the source, at half its resolution."""
    photo = F.interpolate(cat_photo(), (120, 180), mode="area")
    target = F.interpolate(photo[:, :, :, 80:], (60, 50), mode="area")
    theta, left = align(photo, target, crop_theta((60, 0, 180, 120), (120, 180)))
    assert_close(theta, crop_theta((80, 0, 180, 120), (120, 180)), atol=0.02, rtol=0)
    assert left < 1e-3


@pytest.mark.parametrize("size", [(1, 3), (5, 40)])
def test_a_small_image_is_no_obstacle(size):
    image = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(0))
    theta, left = align(image, image, steps=5)
    assert theta.isfinite().all()
    assert left.max() < 0.03


# Batches, modes, dtypes


def test_each_sample_is_aligned_by_itself(digits):
    target = warp(digits, rotation(20.0))
    theta, left = align(digits[:3], target[:3], steps=10)
    for i in range(3):
        alone, rest = align(digits[i : i + 1], target[i : i + 1], steps=10)
        assert_close(alone[0], theta[i], atol=1e-3, rtol=0)
        assert_close(rest[0], left[i], atol=1e-5, rtol=1e-3)


def test_one_image_serves_a_batch(digits):
    target = warp(digits[:1], rotation(torch.tensor([10.0, -20.0])))
    every = align(digits[:1].expand(2, -1, -1, -1), target, steps=10)
    assert_close(align(digits[:1], target, steps=10), every)
    assert align(target, digits[:1], steps=1)[0].shape == (2, 2, 3)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_needs_no_gradients_from_outside(digits, mode):
    target = warp(digits, rotation(20.0))
    outside = align(digits, target, steps=5)
    with mode():
        images, target = digits.clone(), target.clone()  # inference tensors
        assert_close(align(images, target, steps=5), outside)
    leaf = digits.clone().requires_grad_()
    theta, left = align(leaf, target, steps=5)
    assert leaf.grad is None
    assert not theta.requires_grad
    assert not left.requires_grad


def test_half_precision_and_autocast(digits):
    target = warp(digits, rotation(20.0))
    outside, _ = align(digits, target, steps=5)
    half, left = align(digits.bfloat16(), target.bfloat16(), steps=5)
    assert half.dtype == left.dtype == torch.float32
    assert_close(half, outside, atol=0.02, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(align(digits, target, steps=5)[0], outside)
    assert align(digits.double(), target, steps=1)[0].dtype == torch.float64


def test_nan_is_not_aligned(digits):
    images = digits[:3].clone()
    images[1, 0, 14, 14] = torch.nan
    theta, left = align(images, digits[:3], steps=2)
    assert theta.isnan().flatten(1).all(1).tolist() == [False, True, False]
    assert left.isnan().tolist() == [False, True, False]


# What is compared where the source ends


def test_only_the_overlap_is_compared():
    """A shift by half the image: its left half, against the target's right half."""
    gen = torch.Generator().manual_seed(0)
    source = torch.rand(2, 3, 6, 8, generator=gen)
    target = torch.rand(2, 3, 6, 8, generator=gen)
    left = difference_in_overlap(source, target, translation(-1.0, 0.0))
    assert_close(left, squared_difference(source[..., :4], target[..., 4:]))


def test_a_start_that_is_nan_loses():
    """Argmin would take NaN for the smallest."""
    image = torch.rand(2, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    starts = torch.cat([identity() * float("nan"), identity()])
    theta, left = align(image, image, starts, steps=2)
    assert theta.isfinite().all()
    assert left.isfinite().all()


def test_too_little_overlap_is_no_match():
    white = torch.ones(1, 1, 10, 10)
    shifts = translation(torch.tensor([1.7, 1.9, 5.0]), 0.0).requires_grad_()
    left = difference_in_overlap(white, white, shifts)
    assert left.tolist() == [0, torch.inf, torch.inf]
    (slope,) = torch.autograd.grad(left.sum(), shifts)
    assert slope.isfinite().all()
    _, lost = align(white, white, translation(5.0, 0.0), padding_mode=None, steps=2)
    assert lost.item() == torch.inf


# What is refused

ONE, TWO, THREE = (torch.zeros(n, 1, 4, 4) for n in (1, 2, 3))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: align(ONE.numpy(), ONE), TypeError, "source to be a tensor"),
        (lambda: align(ONE, ONE[0]), ValueError, r"target of shape \(N, C, H, W\)"),
        (lambda: align(ONE[:0], ONE), ValueError, "source .* not empty"),
        (lambda: align(ONE.byte(), ONE), ValueError, "source .* / 255"),
        (lambda: align(ONE, torch.zeros(1, 3, 4, 4)), ValueError, "channels"),
        (lambda: align(TWO, THREE), ValueError, "as many"),
        (lambda: align(ONE, ONE.to("meta")), ValueError, "same device"),
        (lambda: align(ONE, ONE, torch.eye(2, 3)), ValueError, r"starts .*\(S, 2, 3\)"),
        (lambda: align(ONE, ONE, identity(0)), ValueError, "at least one"),
        (lambda: align(ONE, ONE, [[1]]), TypeError, "starts to be a tensor"),
        (lambda: squared_difference(ONE, TWO), ValueError, "two images of one shape"),
        (lambda: align(ONE, ONE, padding_mode="edge"), ValueError, "or None.*'edge'"),
        (lambda: align(ONE, ONE, steps=0), ValueError, "at least one step"),
    ],
)
def test_wrong_input_is_named(call, error, match):
    with pytest.raises(error, match=match):
        call()
