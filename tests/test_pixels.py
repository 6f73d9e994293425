"""Transforms said in pixels, with OpenCV, scikit-image and slices as the judges."""

import cv2
import numpy as np
import pytest
import torch
from skimage import transform
from torch.autograd import gradcheck
from torch.testing import assert_close

from stn_tutorial.affine import homogeneous, identity, invert, rotation, scaling
from stn_tutorial.data.photos import cat_photo
from stn_tutorial.interpolation import warp
from stn_tutorial.pixels import (
    crop_theta,
    fit_theta,
    map_boxes,
    map_points,
    matrix_from_theta,
    theta_from_matrix,
    turn_about,
)

ONE_SPOT = np.ones((4, 2))  # four points that tell nothing
SIZE, OUT = (300, 451), (200, 320)
NOSE = (258, 240)
# From output to input pixels. A part of the output lies outside the photo.
TURNED, SLANTED = [[0.9, -0.4, 60.3], [0.3, 0.8, 20.7]], [[1, 0.2, -39], [0, 1.1, 5]]
MATRICES = torch.tensor([TURNED, SLANTED], dtype=torch.float64)


def exact(number):
    return torch.tensor(number, dtype=torch.float64)


@pytest.fixture(scope="module")
def cat():
    return cat_photo().double()


def pixels(image):
    """(1, C, H, W) as the array (H, W, C) that other libraries take."""
    return image[0].permute(1, 2, 0).numpy()


def normal(*shape, seed=0):
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=gen)


def some_theta(n=3):
    return identity(n, dtype=torch.float64) + 0.3 * normal(n, 2, 3)


# Turns and crops


@pytest.mark.parametrize("angle", [30.0, -75.0, 180.0])
def test_turn_about_is_the_turn_of_scikit_image(cat, angle):
    ours = warp(cat, turn_about(NOSE, exact(angle), SIZE))
    theirs = transform.rotate(pixels(cat), angle, center=NOSE, order=1)
    assert_close(pixels(ours), theirs, atol=1e-9, rtol=0)


def test_turn_about_takes_many_points_and_angles(cat):
    points, angles = torch.tensor([[258.0, 240], [0, 7]]), torch.tensor([30.0, -50])
    both = turn_about(points, angles, SIZE)
    for i in range(2):
        assert_close(both[i], turn_about(points[i], angles[i], SIZE)[0])
    assert turn_about(NOSE, angles, SIZE).shape == (2, 2, 3)
    assert turn_about(points, 30, SIZE).shape == (2, 2, 3)


def test_a_turn_in_a_square_is_a_rotation():
    assert_close(turn_about((3.5, 3.5), 40, 8), rotation(40.0))


def test_a_crop_is_a_slice(cat):
    boxes = exact([[100, 60, 220, 160], [331, 200, 451, 300], [0, 0, 120, 100]])
    windows = warp(cat, crop_theta(boxes, SIZE), (100, 120))
    slices = [cat[:, :, y1:y2, x1:x2] for x1, y1, x2, y2 in boxes.int()]
    assert_close(windows, torch.cat(slices), atol=1e-9, rtol=0)
    one = warp(cat, crop_theta((7, 0, 10, 300), SIZE), (300, 3))
    assert_close(one, cat[:, :, :, 7:10], atol=1e-4, rtol=0)  # theta in float32


# Matrices of OpenCV and scikit-image


@pytest.mark.parametrize("forward", [False, True])
def test_opencv_and_theta_give_the_same_image(cat, forward):
    flags = cv2.INTER_LINEAR | (0 if forward else cv2.WARP_INVERSE_MAP)
    image = pixels(cat.float()).copy()
    theta = theta_from_matrix(MATRICES, SIZE, OUT, forward)
    for ours, matrix in zip(warp(cat.float(), theta, OUT), MATRICES, strict=True):
        theirs = cv2.warpAffine(image, matrix.numpy(), OUT[::-1], flags=flags)
        assert np.abs(pixels(ours[None]) - theirs).max() < 1e-4
        assert 0 < (theirs == 0).mean() < 0.8  # the photo and what lies outside


@pytest.mark.parametrize("kind", ["(2, 3)", "(3, 3)", "scaled", "object"])
def test_scikit_image_and_theta_give_the_same_image(cat, kind):
    square = np.vstack([MATRICES[0], [0, 0, 1]])
    matrix = {
        "(2, 3)": square[:2],
        "(3, 3)": square,
        "scaled": -3 * square,
        "object": transform.AffineTransform(matrix=square),
    }[kind]
    ours = warp(cat, theta_from_matrix(matrix, SIZE, OUT), OUT)
    theirs = transform.warp(pixels(cat), square, output_shape=OUT, order=1)
    assert_close(pixels(ours), theirs, atol=1e-4, rtol=0)  # theta is float32


def test_opencvs_rotation_matrix_is_turn_about():
    matrix = cv2.getRotationMatrix2D(NOSE, 30, 1)
    theta = theta_from_matrix(exact(matrix), SIZE, SIZE, forward=True)
    assert_close(theta, turn_about(NOSE, exact(30), SIZE), atol=1e-9, rtol=0)


@pytest.mark.parametrize("forward", [False, True])
def test_a_matrix_comes_back(cat, forward):
    theta = theta_from_matrix(MATRICES, SIZE, OUT, forward)
    matrix = matrix_from_theta(theta, SIZE, OUT, forward)
    assert_close(matrix, MATRICES, atol=1e-9, rtol=0)
    squares = theta_from_matrix(homogeneous(matrix), SIZE, OUT, forward)
    assert_close(squares, theta)


def test_theta_goes_to_opencv_and_scikit_image(cat):
    theta = some_theta(1)
    ours = pixels(warp(cat, theta, OUT))
    matrix = matrix_from_theta(theta, SIZE, OUT, forward=True)[0].numpy()
    image = pixels(cat.float()).copy()
    theirs = cv2.warpAffine(image, matrix, OUT[::-1], flags=cv2.INTER_LINEAR)
    assert np.abs(ours - theirs).max() < 1e-4
    square = homogeneous(matrix_from_theta(theta, SIZE, OUT))[0].numpy()
    theirs = transform.warp(pixels(cat), square, output_shape=OUT, order=1)
    assert_close(ours, theirs, atol=1e-9, rtol=0)


# Theta from points


def test_three_pairs_fit_exactly():
    target, source = normal(3, 2), normal(3, 2, seed=1)
    theirs = cv2.getAffineTransform(target.float().numpy(), source.float().numpy())
    ours = fit_theta(target, source)[0].numpy()
    assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_many_pairs_fit_in_least_squares():
    target, source = normal(4, 20, 2), normal(4, 20, 2, seed=1)
    for i, theta in enumerate(fit_theta(target, source)):
        columns = np.column_stack([target[i], np.ones(20)])
        assert_close(theta.numpy(), np.linalg.lstsq(columns, source[i].numpy())[0].T)


def test_one_set_of_targets_serves_many_sources():
    target, theta = normal(5, 2), some_theta()
    source = torch.stack([target @ t[:, :2].T + t[:, 2] for t in theta])
    for one in (target, target[None]):
        assert_close(fit_theta(one, source), theta)
    assert_close(fit_theta(source, target), invert(theta))


def test_pairs_in_pixels_fit_a_matrix_in_pixels():
    """In float32 too, where coordinates in the thousands leave few digits."""
    target = 1000 * normal(8, 2)
    linear, shift = MATRICES[0].split([2, 1], dim=1)
    source = target @ linear.T + shift.T
    matrix = fit_theta(target.float(), source.float()).double()
    again = target @ matrix[0, :, :2].T + matrix[0, :, 2]
    assert_close(again, source, atol=2e-3, rtol=0)


def test_points_close_together_and_far_away_fit_in_float32():
    """A small thing at the far end of a large image; the reference is NumPy."""
    target = 4000 + 50 * torch.rand(6, 2, generator=torch.Generator().manual_seed(0))
    source = 1.2 * target + 3
    by_numpy = np.linalg.lstsq(
        np.c_[target.double(), np.ones(6)], source.double(), rcond=None
    )[0]
    theta = fit_theta(target, source).double()
    assert_close(theta[0, :, :2], exact(by_numpy[:2].T.tolist()), atol=1e-5, rtol=0)
    again = target.double() @ theta[0, :, :2].T + theta[0, :, 2]
    assert_close(again, source.double(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("scale", [1, 1000])
@pytest.mark.parametrize("shape", ["line", "point"])
def test_targets_on_one_line_fit_nothing(scale, shape):
    x = normal(20, 6)
    slope = 0 if shape == "point" else normal(20, 1)
    x = x[:, :1].expand(-1, 6) if shape == "point" else x
    line = scale * torch.stack([x, slope * x + 0.3], dim=-1).float()
    for targets in line:  # each for itself: none slips through
        with pytest.raises(ValueError, match=r"on one line.* sample\(s\) \[0\]"):
            fit_theta(targets, normal(6, 2).float())
    near = line + 1e-3 * scale * normal(20, 6, 2).float()
    assert fit_theta(near, normal(6, 2).float()).isfinite().all()


# Points, boxes and masks


def test_points_lie_where_opencv_puts_them():
    points = 100 * normal(2, 7, 2)
    ours = map_points(theta_from_matrix(MATRICES, SIZE, OUT), points, SIZE, OUT)
    for i in range(2):
        theirs = cv2.transform(points[i : i + 1].numpy(), MATRICES[i].numpy())
        assert_close(ours[i].numpy(), theirs[0])


@pytest.mark.parametrize("given", ["(K, 2)", "(1, K, 2)", "array", "list"])
def test_points_of_one_image_meet_many_thetas(given):
    points, theta = normal(4, 2), some_theta()
    as_given = {"(K, 2)": points, "(1, K, 2)": points[None]}
    as_given |= {"array": points.numpy(), "list": points.tolist()}
    every = map_points(theta, points.expand(3, 4, 2), SIZE, OUT)
    assert_close(map_points(theta, as_given[given], SIZE, OUT), every)
    for i in range(3):
        assert_close(map_points(theta[i : i + 1], points, SIZE, OUT)[0], every[i])


def test_a_point_of_the_input_goes_with_its_pixel():
    """One white pixel: the brightest of the output is where the inverse puts it."""
    image = torch.zeros(1, 1, *SIZE)
    image[0, 0, 120, 200] = 1
    theta = turn_about(NOSE, 30, SIZE)
    output = warp(image, theta)
    place = map_points(invert(theta), [[200, 120]], SIZE, SIZE)[0, 0]
    row, column = divmod(int(output.argmax()), SIZE[1])
    assert_close(place, torch.tensor([column, row]).float(), atol=0.75, rtol=0)


def test_a_box_holds_the_corners_of_its_slice():
    """Of scikit-image's corners, which are the outer edges of the slice's pixels."""
    theta = theta_from_matrix(MATRICES, SIZE, OUT)
    ours = map_boxes(theta, [[10, 20, 30, 50], [0, 0, 320, 200]], SIZE, OUT)
    for boxes, matrix in zip(ours, MATRICES, strict=True):
        square = np.vstack([matrix, [0, 0, 1]])
        for box, (x1, y1, x2, y2) in zip(
            boxes, [(10, 20, 30, 50), (0, 0, 320, 200)], strict=True
        ):
            edges = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]) - 0.5
            moved = transform.matrix_transform(edges, square) + 0.5
            expected = np.concatenate([moved.min(0), moved.max(0)])
            assert_close(box.numpy(), expected, atol=1e-9, rtol=0)


def test_the_box_of_a_crop_is_the_slice():
    box = [[100.0, 60, 220, 160]]
    theta = crop_theta(box, SIZE)
    whole = map_boxes(theta, [[0, 0, 120, 100]], SIZE, (100, 120))
    assert_close(whole, torch.tensor([box]), atol=1e-4, rtol=0)
    back = map_boxes(invert(theta), box, (100, 120), SIZE)
    assert_close(back, torch.tensor([[[0.0, 0, 120, 100]]]), atol=1e-4, rtol=0)


def test_no_boxes_give_no_boxes():
    assert map_boxes(some_theta(), torch.zeros(0, 4), SIZE, OUT).shape == (3, 0, 4)
    assert map_points(some_theta(), torch.zeros(0, 2), SIZE, OUT).shape == (3, 0, 2)


def test_a_mask_comes_back_and_fills_its_box():
    """Labels of a turned, enlarged view lie in the photo where the view came from."""
    theta = turn_about(NOSE, 25, SIZE) @ homogeneous(scaling(0.5))
    mask = torch.zeros(1, 1, *OUT, dtype=torch.uint8)
    mask[:, :, 60:140, 90:230] = 7
    back = warp(mask, invert(theta), SIZE, mode="nearest")
    assert back.dtype == torch.uint8
    assert set(back.unique().tolist()) == {0, 7}
    rows, columns = back[0, 0].nonzero().T
    tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    box = map_boxes(theta, [[90, 60, 230, 140]], SIZE, OUT)[0, 0]
    assert_close(torch.stack(tight).float(), box, atol=1, rtol=0)
    again = warp(back, theta, OUT, mode="nearest")
    assert (again != mask).float().mean() < 0.01


# Dtypes, gradients, NaN


def test_tensors_decide_on_the_dtype():
    points = [[1.1, 2.3]]
    for given in (points, np.array(points), torch.tensor(points)):
        assert map_points(identity(), given, SIZE, OUT).dtype == torch.float32
        wide = map_points(identity(dtype=torch.float64), given, SIZE, SIZE)
        assert wide.dtype == torch.float64
    assert theta_from_matrix(np.eye(3), SIZE, OUT).dtype == torch.float32
    assert map_points(identity(), exact(points), SIZE, OUT).dtype == torch.float64


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(half):
    theta, point = identity().to(half), torch.tensor([[400.0, 300.0]]).to(half)
    moved = map_points(theta, point, SIZE, SIZE)
    assert moved.dtype == torch.float32
    assert_close(moved, point.float()[None], atol=1e-3, rtol=0)
    assert turn_about(point, torch.tensor(30).to(half), SIZE).dtype == torch.float32


def test_autocast_changes_no_place():
    theta, points = some_theta().float(), 100 * normal(4, 2).float()
    matrix = MATRICES.float()

    def all_of_it():
        yield map_points(theta, points, SIZE, OUT)
        yield turn_about(points, 20, SIZE)
        yield theta_from_matrix(matrix, SIZE, OUT, forward=True)
        yield fit_theta(points, points.flip(0))

    outside = list(all_of_it())
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(list(all_of_it()), outside, atol=1e-5, rtol=1e-5)


def test_gradients_flow_to_theta_points_and_boxes():
    theta, points = some_theta(), 10 * normal(3, 5, 2)
    boxes = torch.tensor([[[1.0, 2, 5, 9], [3, 3, 4, 8]]], dtype=torch.float64)
    angle = torch.tensor([10.0, 40], dtype=torch.float64)
    for function, given in [
        (lambda t, p: map_points(t, p, SIZE, OUT), (theta, points)),
        (lambda t, b: map_boxes(t, b, SIZE, OUT), (theta, boxes)),
        (lambda p, a: turn_about(p, a, SIZE), (points[0, :2], angle)),
        (lambda b: crop_theta(b, SIZE), (boxes[0],)),
        (lambda m: theta_from_matrix(m, SIZE, OUT, True), (theta,)),
        (fit_theta, (points, normal(3, 5, 2, seed=1))),
    ]:
        assert gradcheck(function, [g.requires_grad_() for g in given])


def test_samples_map_alike_under_vmap():
    theta, points = some_theta(), normal(3, 4, 2)
    one = torch.vmap(lambda t, p: map_points(t[None], p, SIZE, OUT)[0])
    assert_close(one(theta, points), map_points(theta, points, SIZE, OUT))
    boxes = torch.tensor([[1.0, 2, 5, 9], [3, 3, 4, 8]])
    crop = torch.vmap(lambda box: crop_theta(box, SIZE)[0])
    assert_close(crop(boxes), crop_theta(boxes, SIZE))


def test_nan_stays_nan():
    theta = some_theta()
    theta[1, 0, 0] = torch.nan
    for moved in (
        map_points(theta, [[1.0, 2]], SIZE, OUT),
        map_boxes(theta, [[1.0, 2, 3, 4]], SIZE, OUT),
        turn_about(NOSE, torch.tensor([0.0, torch.nan, 0]), SIZE),
        theta_from_matrix(homogeneous(theta), SIZE, OUT),
    ):
        lost = moved.isnan().flatten(1).any(1)
        assert lost.tolist() == [False, True, False]


# What is refused

TILTED = [[1, 0, 0], [0, 1, 0], [1e-3, 0, 1]]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: turn_about((1, 2, 3), 30, SIZE), r"point of shape \(2,\) or \(N, 2\)"),
        (lambda: turn_about(5, 30, SIZE), r"point of shape .* but got \(\)"),
        (lambda: turn_about((1, 2), 30, (3, 4, 5)), r"size \(H, W\)"),
        (lambda: crop_theta((1, 2, 3), SIZE), r"box of shape \(4,\) or \(N, 4\)"),
        (lambda: crop_theta((5, 2, 5, 9), SIZE), r"x1 < x2 and y1 < y2.*\[0\]"),
        (lambda: crop_theta((5, 9, 7, 2), SIZE), r"x1 < x2 and y1 < y2.*\[0\]"),
        (lambda: crop_theta((5, 2, 7, 9), (0, 4)), r"size \(H, W\)"),
        (lambda: theta_from_matrix(np.eye(4), SIZE, OUT), r"\(2, 3\) or \(3, 3\)"),
        (lambda: theta_from_matrix(np.eye(2), SIZE, OUT), r"\(2, 3\) or \(3, 3\)"),
        (lambda: theta_from_matrix(TILTED, SIZE, OUT), "projective_from_matrix"),
        (lambda: theta_from_matrix(None, SIZE, OUT), "maker found none: None"),
        (
            lambda: theta_from_matrix(
                transform.SimilarityTransform.from_estimate(ONE_SPOT, ONE_SPOT),
                SIZE,
                OUT,
            ),
            "maker found none: .",
        ),
        (
            lambda: theta_from_matrix(np.diag([1.0, 1, 0]), SIZE, OUT),
            r"last row \(0, 0, s\), but got \[0.0, 0.0, 0.0\]",
        ),
        (
            lambda: theta_from_matrix(np.zeros((2, 3)), SIZE, OUT, forward=True),
            "no inverse",
        ),
        (lambda: matrix_from_theta(torch.eye(3), SIZE, OUT), "Nx2x3"),
        (lambda: fit_theta(normal(2, 2), normal(2, 2)), "at least three pairs"),
        (lambda: fit_theta(normal(4, 2), normal(5, 2)), "as many targets as sources"),
        (lambda: fit_theta(normal(2, 4, 2), normal(3, 4, 2)), "as many targets"),
        (lambda: fit_theta(normal(4, 3), normal(4, 3)), r"target of shape \(K, 2\)"),
        (
            lambda: fit_theta(normal(4, 2) / 0, normal(4, 2)),
            "finite points",
        ),
        (
            lambda: map_points(some_theta(), [1, 2], SIZE, OUT),
            "points of shape",
        ),
        (lambda: map_points(some_theta(), normal(2, 4, 2), SIZE, OUT), "3 transforms"),
        (lambda: map_points(torch.eye(3), [[1, 2]], SIZE, OUT), "Nx2x3"),
        (
            lambda: map_boxes(some_theta(), [[1, 2]], SIZE, OUT),
            "boxes of shape",
        ),
        (lambda: map_boxes(some_theta(), normal(2, 1, 4), SIZE, OUT), "3 transforms"),
    ],
)
def test_wrong_input_is_named(call, match):
    with pytest.raises(ValueError, match=match):
        call()
