"""Projective and thin-plate-spline grids: scikit-image, OpenCV and SciPy judge them."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.interpolate import RBFInterpolator
from skimage.transform import ProjectiveTransform
from skimage.transform import warp as scikit_warp
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

from stn_tutorial import warps
from stn_tutorial.affine import affine_grid, invert, pixel_centres, rotation
from stn_tutorial.interpolation import grid_sample
from stn_tutorial.warps import (
    CORNERS,
    FAR,
    control_points,
    matrix_from_projective,
    projective_from_corners,
    projective_from_matrix,
    projective_grid,
    target_points,
    thin_plate_spline_grid,
    undo_grid,
    undo_projective,
)

IDENTITY = torch.tensor([[1.0, 0, 0, 0, 1, 0, 0, 0]])
SIZES = [(1, 1, 1, 1), (1, 3, 1, 5), (1, 1, 4, 1), (1, 2, 7, 4)]
every_size = pytest.mark.parametrize("size", SIZES)
precisions = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)]
)

every_dtype = pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64]
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
    """w = 1 - 3x is above 0 up to x = 0.125; beyond, (u, v) = (1, -2) is far away."""
    theta = torch.tensor([[0, 0, 1, 0, 0, -2, -3, 0]], dtype=torch.float64)
    row = projective_grid(theta, (1, 1, 1, 8))[0, 0]
    w = 1 - 3 * pixel_centres(8, False, torch.float64)
    assert (w > 0).tolist() == [True] * 5 + [False] * 3
    expected = torch.stack([1 / w, -2 / w], 1)
    expected[5:] = torch.tensor([0.5 * FAR, -FAR])
    assert_close(row, expected)


QUADS = {
    "narrow at the top": [[-0.02, -1], [0.02, -1], [1, 1], [-1, 1]],
    "a sliver": [[-1, -1e-4], [1, -1e-4], [1, 1e-4], [-1, 2e-4]],
    "tiny": [[0.3, 0.4], [0.301, 0.4], [0.3012, 0.4011], [0.3, 0.401]],
    "mirrored": [[1, -1], [-0.6, -0.8], [-1, 1], [1, 0.7]],
}


@pytest.mark.parametrize("quad", QUADS.values(), ids=QUADS)
@precisions
def test_convex_corners_give_opencvs_grid(quad, dtype, tolerance):
    matrix = cv2.getPerspectiveTransform(np.float32(CORNERS), np.float32(quad))
    corners = torch.tensor([quad], dtype=torch.float32).to(dtype)
    theta, size = projective_from_corners(corners), (1, 1, 33, 20)
    points = target_points(size, theta.double())[None].numpy()
    expected = torch.from_numpy(cv2.perspectiveTransform(points, matrix))
    grid = projective_grid(theta, size).double().view(1, -1, 2)
    assert_close(grid, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("sampler", [grid_sample, F.grid_sample])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_behind_the_horizon_nothing_is_seen(sampler, mode):
    """A white image shows where a place is inside; the horizon crosses each output."""
    theta = IDENTITY + torch.tensor([[0.9], [1.4]]) * normal(2, 8, dtype=torch.float32)
    theta[:, 6:] = torch.tensor([[1.5, 0.7], [-0.4, 2.0]])
    size = (2, 1, 24, 31)
    points = target_points(size, theta)
    w = (points @ theta[:, 6:].mT + 1).T.view(2, 1, 24, 31)
    assert ((w < 0).sum((1, 2, 3)) > 50).all()
    grid = projective_grid(theta, size)
    image = 1 + torch.rand(2, 1, 6, 5, generator=torch.Generator().manual_seed(0))
    seen = sampler(image, grid, mode, "zeros", align_corners=False)
    assert (seen[w <= 0] == 0).all()
    assert (seen[w > 0] > 1).any()
    rim = sampler(image, grid, mode, "border", align_corners=False)
    image[:, :, 2:-2, 2:-2] = 100  # no more than the rim is read
    other = sampler(image, grid, mode, "border", align_corners=False)
    assert_close(other[w <= 0], rim[w <= 0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_gradients_at_the_horizon_are_finite(dtype):
    """w is 0 in the lower row, a rounding error in the middle one; once u = v = 0."""
    lines = [[1, 0, 0, 0, 1, -0.5, 0, -2], [1, 0, 0, 0, 0, 1, 0, -2]]
    lines += [[1, 0, 0, 0, 1, 0, 0, -2 + 1e-7], [1e-3, 0, 0, 0, 1, -0.5, 1e-7, -2]]
    theta = torch.tensor(lines, dtype=dtype).requires_grad_()
    grid = projective_grid(theta, (4, 1, 2, 3))
    assert grid.isfinite().all()
    assert (grid[:2, 1].abs().amax(2) == FAR).all()
    (slope,) = torch.autograd.grad(grid.sum(), theta)
    assert slope.isfinite().all()


@pytest.mark.parametrize("number", range(8))
def test_a_number_that_is_nan_gives_no_clean_grid(number):
    theta = IDENTITY.repeat(2, 1)
    theta[1, number] = torch.nan
    grid = projective_grid(theta, (2, 1, 3, 4))
    assert_close(grid[:1], identity_grid((1, 1, 3, 4)))
    assert grid[1].isnan().any(2).all()


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


LINES = {
    "two at one point": [[0, 0], [0, 0], [1, 1], [0, 1]],
    "all at one point": [[0.3, 0.3]] * 4,
    "three on one line": [[0.1, 0.1], [0.2, 0.2], [0.3, 0.3], [-0.5, 0.7]],
    "near each other": [[0.7, 0.1], [0.71, 0.11], [0.72, 0.12], [0.73, 0.1]],
    "nearer": [[0.91, 0.37], [0.9107, 0.3721], [0.9114, 0.3742], [0.912, 0.37]],
    "opposite ones coincide": [[-1, -1], [1, 0], [-1, -1], [0, 1]],
    "all on one line": [[-1, 0.7], [-0.2, 0.7], [0.4, 0.7], [0.9, 0.7]],
}


@pytest.mark.parametrize("scale", [1, 1e-3, 100])
@pytest.mark.parametrize("corners", LINES.values(), ids=LINES)
@every_dtype
def test_corners_on_a_line_are_refused(corners, scale, dtype):
    batch = torch.tensor([CORNERS, corners, CORNERS, corners], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"in sample\(s\) \[1, 3\] three lie on one"):
        projective_from_corners((scale * batch).to(dtype))


@every_dtype
def test_points_of_a_line_are_refused_however_they_are_rounded(dtype):
    start, way, other = normal(3, 500, 1, 2)
    on_line = start + way * normal(500, 3, 1, seed=1)
    corners = torch.cat([on_line, other], 1).to(dtype)
    with pytest.raises(ValueError, match="three lie on one line") as error:
        projective_from_corners(corners)
    assert str(list(range(500))) in str(error.value)


@every_dtype
def test_corners_that_cross_are_refused(dtype):
    batch = torch.tensor([CORNERS, [CORNERS[i] for i in (0, 1, 3, 2)]], dtype=dtype)
    with pytest.raises(ValueError, match=r"in sample\(s\) \[1\] the sides cross"):
        projective_from_corners(batch)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e30])
@precisions
def test_corners_may_be_as_near_or_far_as_they_like(scale, dtype, tolerance):
    at_one = projective_from_corners(torch.tensor([QUADS["mirrored"]], dtype=dtype))
    scaled = scale * torch.tensor([QUADS["mirrored"]], dtype=dtype)
    sizes = torch.tensor([scale] * 6 + [1, 1], dtype=dtype)
    found = projective_from_corners(scaled) / sizes
    assert_close(found, at_one, atol=tolerance, rtol=tolerance)


def test_corners_that_are_nan_give_nan():
    corners = torch.tensor([CORNERS, CORNERS])
    corners[1, 2, 0] = torch.nan
    theta = projective_from_corners(corners)
    assert_close(theta[:1], IDENTITY)
    assert theta[1].isnan().all()


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


HORIZONS = {  # and whether a part of the image can be seen from behind it alone
    "in a corner": ([1.0, 0.2, 0.1, -0.1, 0.9, 0.0, 0.6, 0.45], False),
    "in another": ([1.0, 0.2, 0.1, -0.1, 0.9, 0.0, 0.8, -0.7], True),
    "near the middle": ([1.0, 0.2, 0.1, -0.1, 0.9, 0.0, -1.6, 1.3], True),
    "the source's middle behind it": ([0.3, 0.0, 0.9, 0.1, 0.9, 0.0, 1.1, 0.1], True),
}


@pytest.mark.parametrize(("theta", "cut"), HORIZONS.values(), ids=HORIZONS)
@precisions
def test_what_lies_before_the_horizon_is_undone_too(theta, cut, dtype, tolerance):
    """What only points behind the horizon would look at is seen from nowhere."""
    theta = torch.tensor([theta], dtype=dtype)
    size = (1, 1, 28, 21)
    assert (target_points(size, theta) @ theta[0, 6:] + 1).min() < 0.1
    back = undo_projective(projective_grid(theta, size), (18, 23)).double().view(-1, 2)
    matrix = np.append(theta.double().numpy(), 1).reshape(3, 3)
    source = target_points((1, 1, 18, 23), theta).double().numpy()
    expected = torch.from_numpy(ProjectiveTransform(matrix).inverse(source))
    before = expected @ theta[0, 6:].double() + 1 > 0
    near = before & (expected.abs().amax(1) < 2)
    assert near.sum() > 80
    assert_close(back[near], expected[near], atol=100 * tolerance, rtol=0)
    assert (back[~before].abs().amax(1) == FAR).all()
    assert (~before).any() == cut


def test_an_affine_grid_is_undone_by_its_inverse():
    theta = rotation(torch.tensor([30.0, -75.0])) * torch.tensor([[[0.8], [1.3]]])
    theta[:, :, 2] = torch.tensor([[0.3, -0.2], [0.0, 0.5]])
    size = (2, 1, 7, 4)
    back = undo_projective(affine_grid(theta, size))
    assert_close(back, affine_grid(invert(theta), size), atol=1e-5, rtol=0)


def test_an_affine_grid_is_undone_for_an_image_of_another_size():
    theta = rotation(torch.tensor([30.0])) * torch.tensor([[[0.8], [1.3]]])
    back = undo_projective(affine_grid(theta, (1, 1, 7, 4)), 5)
    assert_close(back, affine_grid(invert(theta), (1, 1, 5, 5)), atol=1e-5, rtol=0)


FLAT = {
    "on a line": [[1.0, 2.0, 0.1], [0.3, 0.6, 0.2]],
    "on a point": [[0.0, 0.0, 0.3], [0.0, 0.0, 0.4]],
}


@pytest.mark.parametrize("undo", [undo_projective, undo_grid])
@pytest.mark.parametrize("flat", FLAT.values(), ids=FLAT)
@every_dtype
def test_a_squashed_grid_cannot_be_undone(flat, undo, dtype):
    theta = torch.tensor([[[1.0, 0, 0], [0, 1, 0]], flat], dtype=torch.float64)
    grid = affine_grid(theta, (2, 1, 9, 8)).to(dtype)
    with pytest.raises(ValueError, match=r"squashes .* in sample\(s\) \[1\]"):
        undo(grid)


def test_a_horizon_through_the_middle_cannot_be_undone():
    theta = torch.cat([IDENTITY, IDENTITY])
    theta[1, 6:] = torch.tensor([40.0, 30.0])
    with pytest.raises(ValueError, match=r"close to the middle in sample\(s\) \[1\]"):
        undo_projective(projective_grid(theta, (2, 1, 32, 32)))


@pytest.mark.parametrize("undo", [undo_projective, undo_grid])
def test_a_grid_that_is_nan_is_undone_to_nan(undo):
    grid = projective_grid(tilts(2), (2, 1, 9, 8))
    whole = undo(grid)
    grid[1] = torch.nan
    back = undo(grid)
    assert_close(back[0], whole[0])
    assert back[1].isnan().all()


def scipy_spline(points):
    """SciPy's spline through the lattice of control points, told where they look."""
    line = np.linspace(-1, 1, round(len(points) ** 0.5))
    control = np.array([(x, y) for y in line for x in line])
    return RBFInterpolator(control, points, kernel="thin_plate_spline", degree=1)


@pytest.mark.parametrize("turn", [0, 100])
@pytest.mark.parametrize(
    ("side", "median", "most"), [(28, 0.012, 0.15), (96, 0.004, 0.1)]
)
def test_a_spline_is_undone_within_a_part_of_a_pixel(side, median, most, turn):
    """Bent as digits of the set E, turned too: SciPy's spline takes each point back."""
    bend = control_points().double() / 0.9 + 1.5 / 14 * normal(5, 16, 2)
    points = bend @ rotation(torch.tensor([float(turn)]))[0, :, :2].double().T
    grid = thin_plate_spline_grid(points, (5, 1, side, side))
    back = undo_grid(grid, (30, 26)).view(5, -1, 2)
    source = target_points((5, 1, 30, 26), points)
    for told, found in zip(points, back, strict=True):
        inside = found.abs().amax(1) < 1
        assert inside.sum() > 500
        seen = torch.from_numpy(scipy_spline(told)(found[inside]))
        off = (seen - source[inside]).norm(dim=1) * side / 2  # in pixels of the grid
        assert off.median() < median
        assert off.max() < most


def test_a_spline_undone_shows_the_image_again():
    """Coordinates as an image: bent, then straightened, they are at home again."""
    grid = thin_plate_spline_grid(
        bends(4, 16) / 2 + control_points() / 2, (4, 1, 64, 64)
    )
    home = identity_grid((4, 1, 64, 64), torch.float64).expand(4, -1, -1, -1)
    image = home.permute(0, 3, 1, 2)
    bent = grid_sample(image, grid, padding_mode="border")
    straight = grid_sample(bent, undo_grid(grid)).permute(0, 2, 3, 1)
    middle = slice(16, 48)
    off = (straight - home)[:, middle, middle].abs() * 32  # in pixels
    assert off.max() < 0.1


def test_an_affine_grid_is_undone_exactly_out_to_the_rim_and_beyond():
    theta = rotation(torch.tensor([130.0, -75.0])) * torch.tensor([[[0.6], [1.3]]])
    theta[:, :, 2] = torch.tensor([[0.3, -0.2], [0.0, 0.5]])
    back = undo_grid(affine_grid(theta, (2, 1, 7, 4)), (6, 5))
    assert back.abs().max() > 1.5
    assert_close(back, affine_grid(invert(theta), (2, 1, 6, 5)), atol=1e-5, rtol=0)


def test_where_a_grid_folds_pixels_are_found_or_far_away():
    points = control_points()[None].clone().requires_grad_()
    folded = points[:, [*range(5), 6, 5, *range(7, 16)]]  # two pins change places
    grid = thin_plate_spline_grid(folded, (1, 1, 40, 40))
    back = undo_grid(grid)
    lost = back.abs().amax(3) == FAR
    assert 0 < lost.float().mean() < 0.2
    seen = grid_sample(grid.permute(0, 3, 1, 2), back).permute(0, 2, 3, 1)
    inside = back.abs().amax(3) < 0.95
    home = identity_grid((1, 1, 40, 40))
    assert_close(seen[inside], home[inside], atol=0.01 / 20, rtol=0)
    (slope,) = torch.autograd.grad(back[~lost].sum(), points)
    assert slope.isfinite().all()


SMOOTH = F.interpolate(normal(1, 1, 5, 6), (40, 50), mode="bicubic")
PIXELS = np.array([[0.7, 0.2, 5], [-0.15, 0.9, 4], [0.002, 0.004, 1]])


@pytest.mark.parametrize("forward", [False, True])
def test_a_matrix_in_pixels_warps_as_in_scikit_image_and_opencv(forward):
    theta = projective_from_matrix(-3 * PIXELS, (40, 50), (30, 44), forward)
    grid = projective_grid(theta, (1, 1, 30, 44)).double()
    seen = grid_sample(SMOOTH, grid, align_corners=False)[0, 0].numpy()
    image = SMOOTH[0, 0].numpy()
    to_input = np.linalg.inv(PIXELS) if forward else PIXELS
    expected = scikit_warp(image, to_input, output_shape=(30, 44), order=1)
    rim = abs(expected) > 1e-3  # scikit-image does not fade at the rim
    np.testing.assert_allclose(seen[rim], expected[rim], atol=1e-4)
    flags = cv2.INTER_LINEAR + (0 if forward else cv2.WARP_INVERSE_MAP)
    expected = cv2.warpPerspective(image, PIXELS, (44, 30), flags=flags)
    # OpenCV rounds each place to a 32nd of a pixel.
    np.testing.assert_allclose(seen, expected, atol=0.04)


@pytest.mark.parametrize("forward", [False, True])
def test_theta_becomes_the_matrix_again(forward):
    batch = np.stack([PIXELS, np.linalg.inv(PIXELS), np.eye(3)])
    theta = projective_from_matrix(torch.from_numpy(batch), (40, 50), 64, forward)
    matrix = matrix_from_projective(theta, (40, 50), 64, forward)
    assert_close(matrix, torch.from_numpy(batch / batch[:, 2:, 2:]))


def test_a_matrix_gives_theta_in_a_precision_that_serves():
    sizes = (40, 50), (30, 44)
    eye = torch.eye(3)
    assert projective_from_matrix(np.eye(3), *sizes).dtype == torch.float32
    assert projective_from_matrix(eye.double(), *sizes).dtype == torch.float64
    assert projective_from_matrix(eye.bfloat16(), *sizes).dtype == torch.float32
    assert projective_from_matrix(eye.long(), *sizes).dtype == torch.float32


@pytest.mark.parametrize("side", [2, 3, 4, 6])
@precisions
def test_spline_equals_scipy(side, dtype, tolerance):
    points, size = bends(3, side**2, dtype), (3, 1, 5, 8)
    grid = thin_plate_spline_grid(points, size)
    assert grid.dtype == dtype
    where = target_points(size, points).double().numpy()
    for told, seen in zip(points.double(), grid.double(), strict=True):
        expected = torch.from_numpy(scipy_spline(told)(where)).view_as(seen)
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
        (undo_grid, projective_grid(tilts(2), (2, 1, 3, 4))),
    ],
    ids=["projective", "spline", "corners", "undone", "undone nearly"],
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


def test_splines_are_kept_within_a_bound(monkeypatch):
    """Three matrices of 4 x 8 pixels fit; the one that was used longest ago goes."""
    monkeypatch.setattr(warps, "_kept", {})
    monkeypatch.setattr(warps, "SPLINE_CACHE_BYTES", 3 * 32 * 16 * 8 + 1)

    def made(height, width):
        return warps._spline_matrix(4, height, width, np.float64)

    first, second, third = made(4, 8), made(8, 4), made(2, 16)
    assert made(4, 8) is first
    made(16, 2)
    assert made(4, 8) is first
    assert made(2, 16) is third
    assert made(8, 4) is not second
    assert np.array_equal(made(8, 4), second)
    assert made(100, 100) is not made(100, 100)  # too large, so made each time
    assert sum(matrix.nbytes for matrix in warps._kept.values()) <= 3 * 32 * 16 * 8


MAKERS = {
    "projective": (projective_grid, tilts(5, torch.float32)),
    "spline": (thin_plate_spline_grid, bends(5, 16, torch.float32)),
}
every_maker = pytest.mark.parametrize(("make", "theta"), MAKERS.values(), ids=MAKERS)


@every_maker
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_places_in_float32(make, theta, dtype):
    half, size = theta.to(dtype), (5, 1, 30, 200)
    assert_close(make(half, size), make(half.float(), size), atol=0, rtol=0)


CORE = {
    "projective": (lambda theta: projective_grid(theta, (2, 1, 6, 8)), tilts(2)),
    "spline": (lambda theta: thin_plate_spline_grid(theta, (2, 1, 6, 8)), bends(2, 16)),
    "corners": (projective_from_corners, torch.tensor(CORNERS) + 0.2 * normal(2, 4, 2)),
    "undone": (undo_projective, projective_grid(tilts(2), (2, 1, 6, 8))),
    "undone nearly": (undo_grid, projective_grid(tilts(2), (2, 1, 6, 8))),
}
every_function = pytest.mark.parametrize(("function", "given"), CORE.values(), ids=CORE)


@every_function
def test_autocast_changes_no_place(function, given):
    expected = function(given.float())
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(function(given.float()), expected, atol=0, rtol=0)


@every_function
def test_works_under_vmap(function, given):
    """Refusals look at values, which vmap does not let a program do."""
    several = torch.stack([given, given.flip(0)])
    expected = torch.stack([function(one) for one in several])
    assert_close(torch.func.vmap(function)(several), expected)


@every_maker
@pytest.mark.parametrize("strict", [False, True])
def test_exported_with_a_batch_of_any_size(make, theta, strict):
    class Grid(torch.nn.Module):
        def forward(self, theta, images):
            return make(theta, images.shape)

    images, any_n = torch.zeros(5, 1, 6, 7), {0: torch.export.Dim.DYNAMIC}
    program = torch.export.export(
        Grid(), (theta[:2], images[:2]), dynamic_shapes=(any_n, any_n), strict=strict
    ).module()
    for n in (1, 5):
        expected = make(theta[:n], images[:n].shape)
        assert_close(program(theta[:n], images[:n]), expected)


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
        "theta holds 2 transforms, but size asks for 3",
    ),
    "projective: size of three": (
        lambda: projective_grid(IDENTITY, (1, 4, 4)),
        r"size \(N, C, H, W\) .* got \(1, 4, 4\)",
    ),
    "projective: no rows": (
        lambda: projective_grid(IDENTITY, (1, 1, 0, 4)),
        r"positive whole numbers C, H, W, but got \(1, 1, 0, 4\)",
    ),
    "spline: another N": (
        lambda: thin_plate_spline_grid(bends(2, 16), (3, 1, 4, 4)),
        "theta holds 2 transforms, but size asks for 3",
    ),
    "spline: no batch": (
        lambda: thin_plate_spline_grid(control_points(), (1, 1, 4, 4)),
        r"shape \(N, K, 2\), but got .* \(16, 2\); points\[None\] makes a batch",
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
        r"shape \(N, K, 2\), but got torch.float32 of shape \(1, 16, 3\)",
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
        r"two rows and columns, but got \(2, 1, 4, 2\)",
    ),
    "a grid of three coordinates": (
        lambda: undo_projective(torch.zeros(2, 4, 4, 3)),
        r"shape \(N, h, w, 2\), but got torch.float32 of shape \(2, 4, 4, 3\)",
    ),
    "a grid of whole numbers": (
        lambda: undo_projective(torch.zeros(2, 4, 4, 2).int()),
        "floating point grid .* got torch.int32",
    ),
    "one grid without a batch": (
        lambda: undo_grid(torch.zeros(4, 4, 2)),
        r"got torch.float32 of shape \(4, 4, 2\); grid\[None\] makes a batch",
    ),
    "undone to half a pixel": (
        lambda: undo_projective(identity_grid((1, 1, 4, 4)), (3, 2.5)),
        r"size \(H, W\) of positive whole numbers, .* got \(3, 2.5\)",
    ),
    "numbers of one transform": (
        lambda: projective_grid(IDENTITY[0], (1, 1, 4, 4)),
        r"got torch.float32 of shape \(8,\); theta\[None\] makes a batch",
    ),
    "half a row": (
        lambda: projective_grid(IDENTITY, (1, 1, 4.5, 4)),
        r"positive whole numbers C, H, W, but got \(1, 1, 4.5, 4\)",
    ),
    "a complex matrix": (
        lambda: projective_from_matrix(torch.eye(3) * (1 + 1j), 4, 4),
        "a matrix of real numbers, but got complex",
    ),
    "a complex array": (
        lambda: projective_from_matrix(np.eye(3) * (1 + 1j), 4, 4),
        "a matrix of real numbers, but got complex",
    ),
    "a lattice of half a point": (
        lambda: control_points(2.5),
        "side to be a whole number from 2 on, but got 2.5",
    ),
    "a lattice of one point": (
        lambda: control_points(1),
        "side to be a whole number from 2 on, but got 1",
    ),
    "no matrix": (lambda: projective_from_matrix(None, 4, 4), "maker found none: None"),
    "a matrix that nobody could find": (
        lambda: projective_from_matrix(
            ProjectiveTransform.from_estimate(np.ones((4, 2)), np.ones((4, 2))), 4, 4
        ),
        "maker found none: .",
    ),
    "a matrix of two rows": (
        lambda: projective_from_matrix(PIXELS[:2], 4, 4),
        r"shape \(3, 3\) or \(N, 3, 3\), but got \(2, 3\); .* lacks the row",
    ),
    "a matrix without inverse": (
        lambda: projective_from_matrix(np.ones((3, 3)), 4, 4, forward=True),
        r"no inverse: .* in sample\(s\) \[0\]",
    ),
    "a middle on the horizon": (
        lambda: projective_from_matrix([[1, 0, 0], [0, 1, 0], [2, 0, -3]], 4, 4),
        r"the middle .* lies on the horizon in sample\(s\) \[0\]",
    ),
    "a theta without inverse": (
        lambda: matrix_from_projective(torch.zeros(1, 8), 4, 4, forward=True),
        r"no inverse: .* in sample\(s\) \[0\]",
    ),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: projective_grid(IDENTITY.numpy(), (1, 1, 4, 4)),
        lambda: thin_plate_spline_grid(control_points()[None].numpy(), (1, 1, 4, 4)),
        lambda: projective_from_corners(np.array([CORNERS])),
        lambda: undo_projective(identity_grid((1, 1, 4, 4)).numpy()),
        lambda: undo_grid(identity_grid((1, 1, 4, 4)).numpy()),
    ],
)
def test_an_array_is_named(call):
    with pytest.raises(TypeError, match="got a ndarray; torch.as_tensor makes"):
        call()
