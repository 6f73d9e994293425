"""Photographs: transforms that are known come back, and OpenCV's ECC finds the same."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.transform import ProjectiveTransform
from torch.testing import assert_close

from stn_tutorial.data.photos import cat_photo
from stn_tutorial.homography import (
    align_projective,
    corner_error,
    correlation,
    difference_of_views,
)
from stn_tutorial.warps import CORNERS, projective_from_corners, projective_grid

SIZE = (60, 90)
STILL = torch.tensor([[1.0, 0, 0, 0, 1, 0, 0, 0]])


def two_views(move=0.15, seed=0):
    """A window of the photograph, and the same seen from elsewhere, half as bright."""
    gen = torch.Generator().manual_seed(seed)
    corners = torch.tensor(CORNERS)
    moved = corners + move * (2 * torch.rand(1, 4, 2, generator=gen) - 1)
    theta = projective_from_corners(moved)
    window = projective_from_corners(0.6 * corners[None])
    photo = F.interpolate(cat_photo(), (120, 180), mode="area")
    matrices = [F.pad(t, (0, 1), value=1).view(3, 3) for t in (window, theta)]
    both = matrices[0] @ matrices[1]
    both = (both / both[2, 2]).flatten()[None, :8]
    views = [
        F.grid_sample(photo, projective_grid(t, (1, 3, *SIZE)), align_corners=False)
        for t in (window, both)
    ]
    return views[0], 0.5 * views[1] + 0.1, theta


@pytest.mark.parametrize("seed", [0, 1])
def test_two_views_are_aligned_whatever_their_exposure(seed):
    source, target, theta = two_views(seed=seed)
    assert corner_error(STILL, theta, SIZE) > 2
    found, alike = align_projective(source, target, sampler=F.grid_sample)
    assert corner_error(found, theta, SIZE) < 0.3
    assert alike > 0.99


def test_opencvs_ecc_finds_the_same():
    source, target, _ = two_views()
    grey = [(255 * view.mean(1)[0]).byte().numpy() for view in (target, source)]
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 300, 1e-7)
    start = np.eye(3, dtype=np.float32)
    _, matrix = cv2.findTransformECC(*grey, start, cv2.MOTION_HOMOGRAPHY, stop, None, 5)
    found, _ = align_projective(source, target, sampler=F.grid_sample)
    height, width = SIZE
    corners = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5]])
    theirs = ProjectiveTransform(matrix)(corners)
    ours = F.pad(found, (0, 1), value=1).view(3, 3).numpy()
    to_pixels = np.array(
        [[width / 2, 0, width / 2 - 0.5], [0, height / 2, 29.5], [0, 0, 1]]
    )
    ours = to_pixels @ ours @ np.linalg.inv(to_pixels)
    assert abs(ProjectiveTransform(ours)(corners) - theirs).max() < 0.5


def test_a_good_start_is_refined():
    source, target, theta = two_views(0.4, seed=0)
    lost, _ = align_projective(source, target, steps=20, sampler=F.grid_sample)
    near = theta + 0.01
    options = {"start": near, "side": 48, "steps": 40, "sampler": F.grid_sample}
    found, _ = align_projective(source, target, **options)
    assert corner_error(found, theta, SIZE) < 0.3 < corner_error(near, theta, SIZE)
    assert corner_error(lost, theta, SIZE) > 1


def test_the_books_sampler_finds_what_pytorchs_does():
    source, target, _ = two_views()
    ours, _ = align_projective(source, target, steps=5)
    theirs, _ = align_projective(source, target, steps=5, sampler=F.grid_sample)
    assert_close(ours, theirs, atol=1e-2, rtol=0)


def test_correlation_is_numpys():
    gen = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 3, 2, 5, 6, generator=gen).unbind()
    keep = torch.rand(3, 1, 5, 6, generator=gen) > 0.4
    found = correlation(a, b, keep.float())
    for i in range(3):
        chosen = keep[i].expand(2, -1, -1).numpy()
        one, other = a[i].numpy()[chosen], b[i].numpy()[chosen]
        assert abs(np.corrcoef(one, other)[0, 1] - found[i].item()) < 1e-4


def test_correlation_forgives_exposure_but_not_nan():
    image = torch.rand(2, 1, 5, 6, generator=torch.Generator().manual_seed(0))
    ones = torch.ones_like(image)
    assert_close(
        correlation(image, 0.3 * image + 0.2, ones), torch.ones(2), atol=1e-4, rtol=0
    )
    assert_close(correlation(image, 1 - image, ones), -torch.ones(2), atol=1e-4, rtol=0)
    assert_close(correlation(image, ones, ones), torch.zeros(2), atol=1e-3, rtol=0)
    image[1, 0, 2, 2] = torch.nan
    assert correlation(image, image, ones).isnan().tolist() == [False, True]


def test_too_little_overlap_is_no_match():
    white = torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    far = STILL.clone()
    far[0, 2] = 1.9  # a twentieth is left
    far.requires_grad_()
    left = difference_of_views(white, white, far, F.grid_sample)
    assert left.item() == 1
    (slope,) = torch.autograd.grad(left.sum(), far)
    assert slope.abs().sum() == 0


def test_corner_error_is_scikit_images():
    gen = torch.Generator().manual_seed(1)
    thetas = STILL + 0.1 * torch.randn(2, 8, generator=gen)
    corners = np.array(CORNERS)
    ends = [
        ProjectiveTransform(np.append(t.numpy(), 1).reshape(3, 3))(corners)
        for t in thetas
    ]
    apart = (ends[0] - ends[1]) * [20.0, 5.0]  # half of 10 x 40 pixels
    mean = np.hypot(*apart.T).mean()
    assert_close(
        corner_error(thetas[:1], thetas[1:], (10, 40)).item(), mean, rtol=1e-4, atol=0
    )


def test_nan_is_not_aligned():
    source, target, _ = two_views()
    broken = source.clone()
    broken[0, 0, 30, 30] = torch.nan
    both = torch.cat([source, broken]), target.expand(2, -1, -1, -1)
    theta, alike = align_projective(*both, steps=2, sampler=F.grid_sample)
    assert theta.isnan().any(1).tolist() == [False, True]
    assert alike.isnan().tolist() == [False, True]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_needs_no_gradients_from_outside(mode):
    source, target, _ = two_views()
    outside, _ = align_projective(source, target, steps=2, sampler=F.grid_sample)
    with mode():
        images = source.clone(), target.clone()
        inside, _ = align_projective(*images, steps=2, sampler=F.grid_sample)
    assert_close(inside, outside)


ONE = torch.zeros(1, 1, 8, 8)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: align_projective(ONE.numpy(), ONE), TypeError, "source"),
        (lambda: align_projective(ONE, ONE[0]), ValueError, "target of shape"),
        (
            lambda: align_projective(ONE.byte(), ONE),
            ValueError,
            "floating point source",
        ),
        (
            lambda: align_projective(ONE, ONE, STILL[:, :6]),
            ValueError,
            "start of shape",
        ),
        (lambda: align_projective(ONE, ONE, steps=0), ValueError, "steps"),
        (lambda: align_projective(ONE, ONE, side=0), ValueError, "side"),
        (lambda: correlation(ONE, ONE[:, :, 1:], ONE), ValueError, "one shape"),
        (lambda: corner_error(STILL, STILL[:, :7], 8), ValueError, "true of shape"),
        (lambda: corner_error(STILL, STILL, 0), ValueError, "size"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()
