"""Projective and thin-plate-spline grids, with scikit-image and SciPy as the judges."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.interpolate import RBFInterpolator
from skimage.transform import ProjectiveTransform
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

from stn_tutorial.affine import affine_grid, invert, pixel_centres, rotation
from stn_tutorial.warps import (
    CORNERS,
    control_points,
    projective_from_corners,
    projective_grid,
    target_points,
    thin_plate_spline_grid,
    undo_projective,
)

IDENTITY = torch.tensor([[1.0, 0, 0, 0, 1, 0, 0, 0]])
SIZES = [(1, 1, 1, 1), (1, 3, 1, 5), (1, 1, 4, 1), (1, 2, 7, 4)]
every_size = pytest.mark.parametrize("size", SIZES)
precisions = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)]
)


def normal(*shape, dtype=torch.float64, seed=0):
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=dtype, generator=gen)


def tilts(n, dtype=torch.float64):
    """Projective transforms whose horizon is far from the image."""
    return IDENTITY.to(dtype) + 0.2 * normal(n, 8, dtype=dtype)


def bends(n, k, dtype=torch.float64):
    return control_points(round(k**0.5)).to(dtype) + 0.2 * normal(n, k, 2, dtype=dtype)


def identity_grid(size, dtype=torch.float32):
    x, y = pixel_centres(size[3], False, dtype), pixel_centres(size[2], False, dtype)
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns, rows], -1)[None]


def test_target_points_run_along_rows():
    like = torch.empty(0, dtype=torch.float64)
    points = target_points((5, 1, 2, 4), like)
    assert points.dtype == torch.float64
    expected = [[x, y] for y in (-0.5, 0.5) for x in (-0.75, -0.25, 0.25, 0.75)]
    assert points.tolist() == expected


def test_control_points_run_along_rows():
    assert control_points(2).tolist() == [[-1, -1], [1, -1], [-1, 1], [1, 1]]
    assert control_points().shape == (16, 2)
    assert_close(control_points()[6], torch.tensor([1 / 3, -1 / 3]))


@every_size
@precisions
def test_projective_without_tilt_is_affine(size, dtype, tolerance):
    theta = normal(3, 2, 3, dtype=dtype)
    size = (3, *size[1:])
    flat = torch.cat([theta.flatten(1), torch.zeros(3, 2, dtype=dtype)], 1)
    grid = projective_grid(flat, size)
    assert grid.dtype == dtype
    expected = affine_grid(theta, size)
    assert_close(grid, expected, atol=tolerance, rtol=tolerance)


def test_projective_by_hand():
    """(u, v, w) = (x + 2y + 3, 4x + 5y + 6, 0.5x + 0.25y + 1) at two points."""
    theta = torch.tensor([[1, 2, 3, 4, 5, 6, 0.5, 0.25]])
    grid = projective_grid(theta, (1, 1, 1, 2))  # x = -0.5 and 0.5, y = 0
    expected = [[[[2.5 / 0.75, 4 / 0.75], [3.5 / 1.25, 8 / 1.25]]]]
    assert_close(grid, torch.tensor(expected))


@precisions
def test_projective_equals_scikit_image(dtype, tolerance):
    thetas, size = tilts(5, dtype), (5, 1, 6, 9)
    grid = projective_grid(thetas, size).double()
    points = target_points(size, thetas).double().numpy()
    for theta, seen in zip(thetas, grid.view(5, -1, 2), strict=True):
        matrix = np.append(theta.double().numpy(), 1).reshape(3, 3)
        expected = torch.from_numpy(ProjectiveTransform(matrix)(points))
        assert_close(seen, expected, atol=10 * tolerance, rtol=10 * tolerance)


def test_horizon():
    """Where w = 1 - 3x is below 0.1, from x = 0.375 on, the grid divides by 0.1."""
    theta = torch.tensor([[0, 0, 1, 0, 0, -2, -3, 0]], dtype=torch.float64)
    theta.requires_grad_()
    row = projective_grid(theta, (1, 1, 1, 8))[0, 0]
    w = 1 - 3 * pixel_centres(8, False, torch.float64)
    assert (w < 0.1).tolist() == [False] * 5 + [True] * 3
    expected = torch.stack([1 / w, -2 / w], 1)
    expected[5:] = torch.tensor([10, -20])
    assert_close(row.detach(), expected)
    (slope,) = torch.autograd.grad(row.sum(), theta)
    assert slope.isfinite().all()


def test_just_before_the_horizon_nothing_is_kept_back():
    theta = torch.tensor([[0, 0, 1, 0, 0, -2, -1, 0]], dtype=torch.float64)
    w = 1 - pixel_centres(8, False, torch.float64)
    assert w.min() == 0.125
    assert_close(projective_grid(theta, (1, 1, 1, 8))[0, 0, :, 0], 1 / w)


@precisions
def test_corners_go_where_they_are_told(dtype, tolerance):
    at_rest = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    corners = torch.tensor(at_rest, dtype=dtype) + 0.3 * normal(6, 4, 2, dtype=dtype)
    thetas = projective_from_corners(corners)
    assert thetas.dtype == dtype
    for theta, told in zip(thetas.double(), corners.double(), strict=True):
        matrix = np.append(theta.numpy(), 1).reshape(3, 3)
        went = torch.from_numpy(ProjectiveTransform(matrix)(at_rest))
        assert_close(went, told, atol=10 * tolerance, rtol=10 * tolerance)
        reference = ProjectiveTransform.from_estimate(at_rest, told.numpy())
        expected = torch.from_numpy(reference.params.copy()).flatten()[:8]
        assert_close(theta, expected, atol=100 * tolerance, rtol=100 * tolerance)


def test_corners_in_place_are_the_identity():
    assert_close(projective_from_corners(torch.tensor([CORNERS])), IDENTITY)


def test_corners_of_a_batch_of_eight():
    """As many transforms as numbers in one: no axis may be taken for another."""
    corners = torch.tensor(CORNERS) + 0.3 * normal(8, 4, 2, dtype=torch.float32)
    alone = [projective_from_corners(one[None]) for one in corners]
    assert_close(projective_from_corners(corners), torch.cat(alone))


@precisions
def test_undone_takes_every_point_back_as_scikit_image_does(dtype, tolerance):
    thetas, size = tilts(5, dtype), (5, 1, 6, 9)
    back = undo_projective(projective_grid(thetas, size))
    assert back.dtype == dtype
    points = target_points(size, thetas).double().numpy()
    for theta, seen in zip(thetas, back.double().view(5, -1, 2), strict=True):
        matrix = np.append(theta.double().numpy(), 1).reshape(3, 3)
        expected = torch.from_numpy(ProjectiveTransform(matrix).inverse(points))
        assert_close(seen, expected, atol=100 * tolerance, rtol=100 * tolerance)


def test_what_lies_before_the_horizon_is_undone_too():
    """The corner of a wild tilt is held back at the horizon; no other point is."""
    theta = torch.tensor([[1.0, 0.2, 0.1, -0.1, 0.9, 0.0, 0.6, 0.45]]).double()
    size = (1, 1, 28, 28)
    points = target_points(size, theta).numpy()
    horizon = points @ theta[0, 6:].numpy() + 1
    assert horizon.min() < 0.1 < np.sort(horizon)[20]
    matrix = np.append(theta, 1).reshape(3, 3)
    expected = torch.from_numpy(ProjectiveTransform(matrix).inverse(points))
    back = undo_projective(projective_grid(theta, size)).view(-1, 2)
    near = expected.abs().amax(dim=1) < 1
    assert near.sum() > 200
    assert_close(back[near], expected[near], atol=1e-9, rtol=0)


def test_an_affine_grid_is_undone_by_its_inverse():
    theta = rotation(torch.tensor([30.0, -75.0])) * torch.tensor([[[0.8], [1.3]]])
    theta[:, :, 2] = torch.tensor([[0.3, -0.2], [0.0, 0.5]])
    size = (2, 1, 7, 4)
    back = undo_projective(affine_grid(theta, size))
    assert_close(back, affine_grid(invert(theta), size), atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [2, 3, 4, 6])
@precisions
def test_spline_equals_scipy(side, dtype, tolerance):
    points, size = bends(3, side**2, dtype), (3, 1, 5, 8)
    grid = thin_plate_spline_grid(points, size)
    assert grid.dtype == dtype
    line = np.linspace(-1, 1, side)
    control = np.array([(x, y) for y in line for x in line])
    where = target_points(size, points).double().numpy()
    for told, seen in zip(points.double(), grid.double(), strict=True):
        spline = RBFInterpolator(control, told, kernel="thin_plate_spline", degree=1)
        expected = torch.from_numpy(spline(where)).view_as(seen)
        assert_close(seen, expected, atol=10 * tolerance, rtol=10 * tolerance)


@pytest.mark.parametrize("pixels", [1, 2, 3])
def test_spline_passes_through_its_points(pixels):
    """Every other control point of 3x3, 5x5, 7x7 is the centre of a pixel."""
    side = 2 * pixels + 1
    points = bends(2, side**2)
    grid = thin_plate_spline_grid(points, (2, 1, pixels, pixels))
    told = points.view(2, side, side, 2)[:, 1::2, 1::2]
    assert_close(grid, told, atol=1e-6, rtol=0)


@every_size
@precisions
def test_identities(size, dtype, tolerance):
    expected = identity_grid(size, dtype)
    spline = thin_plate_spline_grid(control_points().to(dtype)[None], size)
    assert_close(spline, expected, atol=1e-6, rtol=0)
    tilt = projective_grid(IDENTITY.to(dtype), size)
    assert_close(tilt, expected, atol=tolerance, rtol=0)


def test_spline_keeps_an_affine_map_straight():
    theta, size = normal(2, 2, 3), (2, 1, 6, 5)
    lattice = torch.cat([control_points().double(), torch.ones(16, 1).double()], 1)
    grid = thin_plate_spline_grid(lattice @ theta.mT, size)
    assert_close(grid, affine_grid(theta, size), atol=1e-6, rtol=0)


def test_a_batch_is_its_images():
    size = (4, 2, 5, 3)
    for make, numbers in (
        (projective_grid, tilts(4)),
        (thin_plate_spline_grid, bends(4, 16)),
    ):
        grid = make(numbers, size)
        assert grid.shape == (4, 5, 3, 2)
        alone = [make(one[None], (1, *size[1:])) for one in numbers]
        assert_close(grid, torch.cat(alone))
        assert make(numbers[:0], (0, *size[1:])).shape == (0, 5, 3, 2)


@pytest.mark.parametrize(
    ("make", "one"),
    [(projective_grid, tilts(1)), (thin_plate_spline_grid, bends(1, 16))],
    ids=["projective", "spline"],
)
@pytest.mark.parametrize("n", [0, 1, 4])
def test_one_theta_serves_a_batch(make, one, n):
    """As if it were repeated: the same grid, and the same gradient of theta."""
    size = (n, 2, 5, 3)
    pull = normal(n, 5, 3, 2, seed=1)
    results = []
    for copies in (1, n):
        leaf = one.clone().requires_grad_()
        grid = make(leaf.expand(copies, *one.shape[1:]), size)
        (slope,) = torch.autograd.grad(grid, leaf, pull)
        results.append((grid, slope))
    assert results[0][0].shape == (n, 5, 3, 2)
    assert_close(*results)


@pytest.mark.parametrize(
    ("function", "numbers"),
    [
        (lambda theta: projective_grid(theta, (2, 1, 3, 4)), tilts(2)),
        (lambda points: thin_plate_spline_grid(points, (2, 1, 3, 4)), bends(2, 9)),
        (projective_from_corners, torch.tensor(CORNERS) + 0.3 * normal(2, 4, 2)),
        (undo_projective, projective_grid(tilts(2), (2, 1, 3, 4))),
    ],
    ids=["projective", "spline", "corners", "undone"],
)
def test_gradcheck(function, numbers):
    assert torch.autograd.gradcheck(function, numbers.clone().requires_grad_())


FIRST_CALL = """
import torch
from stn_tutorial.warps import control_points, thin_plate_spline_grid

with torch.{mode}():
    first = thin_plate_spline_grid(control_points().double()[None], (1, 1, 4, 4))
points = control_points().double()[None].requires_grad_()
for _ in range(2):
    grid = thin_plate_spline_grid(points, (1, 1, 4, 4))
    assert torch.equal(grid, first)
    grid.square().sum().backward()
assert points.grad.any()
"""


@pytest.mark.parametrize("mode", ["inference_mode", "no_grad"])
def test_trains_after_a_first_call_without_gradients(mode):
    """In a process of its own: the first call for a size does work that is kept."""
    code = ["-W", "error", "-c", FIRST_CALL.format(mode=mode)]
    done = subprocess.run([sys.executable, *code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_first_call_without_numbers_leaves_none_behind():
    size, points = (1, 1, 3, 11), control_points().double()[None]  # a size of its own
    with FakeTensorMode() as mode:  # as torch.export and torch.compile call it
        thin_plate_spline_grid(mode.from_tensor(points), size)
    assert_close(thin_plate_spline_grid(points, size), identity_grid(size).double())


BAD = {
    "seven numbers": (
        lambda: projective_grid(torch.zeros(2, 7), (2, 1, 4, 4)),
        r"shape \(N, 8\), but got torch.float32 of shape \(2, 7\)",
    ),
    "a 3x3 matrix": (
        lambda: projective_grid(torch.eye(3)[None], (1, 1, 4, 4)),
        r"shape \(N, 8\), but got torch.float32 of shape \(1, 3, 3\)",
    ),
    "whole numbers": (
        lambda: projective_grid(IDENTITY.int(), (1, 1, 4, 4)),
        "floating point .* got torch.int32",
    ),
    "projective: another N": (
        lambda: projective_grid(tilts(2), (3, 1, 4, 4)),
        r"N = 2, but got \(3, 1, 4, 4\)",
    ),
    "projective: size of three": (
        lambda: projective_grid(IDENTITY, (1, 4, 4)),
        r"size \(N, C, H, W\) .* got \(1, 4, 4\)",
    ),
    "projective: no rows": (
        lambda: projective_grid(IDENTITY, (1, 1, 0, 4)),
        r"positive C, H, W .* got \(1, 1, 0, 4\)",
    ),
    "spline: another N": (
        lambda: thin_plate_spline_grid(bends(2, 16), (3, 1, 4, 4)),
        r"N = 2, but got \(3, 1, 4, 4\)",
    ),
    "spline: no batch": (
        lambda: thin_plate_spline_grid(control_points(), (1, 1, 4, 4)),
        r"shape \(N, K, 2\) .* got \(16, 2\)",
    ),
    "spline: not a square": (
        lambda: thin_plate_spline_grid(torch.zeros(1, 15, 2), (1, 1, 4, 4)),
        r"K a square number from 4 on, but got \(1, 15, 2\)",
    ),
    "spline: one point": (
        lambda: thin_plate_spline_grid(torch.zeros(1, 1, 2), (1, 1, 4, 4)),
        r"from 4 on, but got \(1, 1, 2\)",
    ),
    "spline: three coordinates": (
        lambda: thin_plate_spline_grid(torch.zeros(1, 16, 3), (1, 1, 4, 4)),
        r"shape \(N, 16, 2\), but got torch.float32 of shape \(1, 16, 3\)",
    ),
    "spline: whole numbers": (
        lambda: thin_plate_spline_grid(torch.zeros(1, 16, 2).int(), (1, 1, 4, 4)),
        "floating point .* got torch.int32",
    ),
    "three corners": (
        lambda: projective_from_corners(torch.zeros(1, 3, 2)),
        r"shape \(N, 4, 2\), but got torch.float32 of shape \(1, 3, 2\)",
    ),
    "corners without a batch": (
        lambda: projective_from_corners(torch.tensor(CORNERS)),
        r"shape \(N, 4, 2\), but got torch.float32 of shape \(4, 2\)",
    ),
    "whole-number corners": (
        lambda: projective_from_corners(torch.tensor([CORNERS]).long()),
        "floating point corners .* got torch.int64",
    ),
    "a grid of one row": (
        lambda: undo_projective(torch.zeros(2, 1, 4, 2)),
        r"two rows and columns, but got torch.float32 of shape \(2, 1, 4, 2\)",
    ),
    "a grid of three coordinates": (
        lambda: undo_projective(torch.zeros(2, 4, 4, 3)),
        r"shape \(N, H, W, 2\) .* got torch.float32 of shape \(2, 4, 4, 3\)",
    ),
    "a grid of whole numbers": (
        lambda: undo_projective(torch.zeros(2, 4, 4, 2).int()),
        "floating point grid .* got torch.int32",
    ),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
