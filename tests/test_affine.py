"""Affine transforms: known values, the laws they obey, and PyTorch as the judge."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from stn_tutorial.affine import (
    affine,
    affine_grid,
    angle_in,
    compose,
    homogeneous,
    identity,
    invert,
    normalised_to_pixel,
    normalised_to_pixel_matrix,
    pixel_centres,
    pixel_to_normalised,
    rotation,
    scaling,
    shear,
    translation,
)

quick = settings(deadline=None, derandomize=True, max_examples=40)
number = st.floats(-2, 2)
positive = st.floats(0.25, 4)
both_alignments = pytest.mark.parametrize("align_corners", [False, True])
unit_size_warning = pytest.mark.filterwarnings("ignore:Since version 1.3.0")


@st.composite
def transforms(draw):
    """Invertible transforms in double precision: turned, stretched, slanted, moved."""
    angle = torch.tensor(draw(st.floats(-180, 180)), dtype=torch.float64)
    sx, sy, k = draw(positive), draw(positive), draw(number)
    tx, ty = draw(number), draw(number)
    stretch = torch.tensor([[[sx, k, tx], [0, sy, ty]]], dtype=torch.float64)
    return compose(rotation(angle), stretch)


def apply(theta, *point):
    """Send one point (x, y) through theta."""
    column = torch.tensor([*point, 1], dtype=theta.dtype)
    return (theta @ column)[0].tolist()


@pytest.mark.parametrize(
    ("theta", "point", "expected"),
    [
        (affine(1, 2, 3, 4, 5, 6), (10, 100), (213, 546)),
        (identity(), (0.3, -0.7), (0.3, -0.7)),
        (translation(0.5, -0.25), (0.1, 0.2), (0.6, -0.05)),
        (scaling(2), (0.1, 0.2), (0.2, 0.4)),
        (scaling(2, 3), (0.1, 0.2), (0.2, 0.6)),
        (rotation(90), (1, 0), (0, 1)),  # y points down: clockwise on the screen
        (rotation(30), (2, 0), (3**0.5, 1)),
        (rotation(30), (0, 2), (-1, 3**0.5)),
        (shear(0.5), (1, 2), (2, 2)),
        (shear(0.5, 0.25), (1, 2), (2, 2.25)),
    ],
)
def test_where_a_point_goes(theta, point, expected):
    assert theta.shape == (1, 2, 3)
    assert apply(theta, *point) == pytest.approx(expected, abs=1e-6)


def test_identity_of_a_batch():
    assert identity(3).shape == (3, 2, 3)
    assert torch.equal(identity(3)[2], torch.tensor([[1.0, 0, 0], [0, 1, 0]]))


@pytest.mark.parametrize("make", [translation, scaling, shear])
def test_tensors_make_a_batch_and_get_gradients(make):
    values = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    theta = make(values, 0.25)
    assert theta.dtype == torch.float64
    expected = [make(v.item(), 0.25).double() for v in values]
    assert_close(theta, torch.cat(expected))
    theta.sum().backward()
    assert torch.equal(values.grad, torch.ones(3, dtype=torch.float64))


def test_rotation_of_a_batch_gets_gradients():
    angles = torch.tensor([0.0, 90.0], dtype=torch.float64, requires_grad=True)
    theta = rotation(angles)
    theta[:, 1, 0].sum().backward()  # the sine; its slope per degree is cos * pi / 180
    assert_close(theta[:, 1, 0].detach(), torch.tensor([0.0, 1.0]).double())
    assert_close(angles.grad, torch.tensor([torch.pi / 180, 0.0]).double())


@quick
@given(theta=transforms())
def test_the_angle_is_that_of_the_nearest_rotation(theta):
    u, _, vh = torch.linalg.svd(theta[:, :, :2])
    nearest = u @ vh  # the orthogonal matrix nearest to it, by its polar decomposition
    assert_close(rotation(angle_in(theta))[:, :, :2], nearest)


def test_angles_are_degrees():
    angles = torch.tensor([-170.0, -90.0, 0.0, 30.0, 180.0])
    assert_close(angle_in(rotation(angles)).abs(), angles.abs())
    assert_close(angle_in(rotation(30)), torch.tensor([30.0]))


@quick
@given(a=st.floats(-180, 180), b=st.floats(-180, 180))
def test_rotations_add(a, b):
    a, b = torch.tensor(a).double(), torch.tensor(b).double()
    assert_close(compose(rotation(a), rotation(b)), rotation(a + b))


@quick
@given(a=transforms(), b=transforms(), x=number, y=number)
def test_compose_applies_the_last_first(a, b, x, y):
    assert apply(compose(a, b), x, y) == pytest.approx(apply(a, *apply(b, x, y)))


@quick
@given(a=transforms(), b=transforms(), c=transforms())
def test_compose_chains_any_number(a, b, c):
    assert_close(compose(a, b, c), compose(a, compose(b, c)))
    assert torch.equal(compose(a), a)


def test_order_matters():
    move, turn = translation(1, 0), rotation(90)
    assert apply(compose(move, turn), 1, 0) == pytest.approx((1, 1), abs=1e-6)
    assert apply(compose(turn, move), 1, 0) == pytest.approx((0, 2), abs=1e-6)


def test_compose_broadcasts_a_single_transform():
    many = translation(torch.tensor([1.0, 2.0, 3.0]), 0)
    assert_close(compose(scaling(2), many)[:, 0, 2], torch.tensor([2.0, 4.0, 6.0]))
    assert_close(compose(many, scaling(2))[:, 0, 2], torch.tensor([1.0, 2.0, 3.0]))


def test_homogeneous_adds_a_row():
    square = homogeneous(affine(1, 2, 3, 4, 5, 6))
    assert square.tolist() == [[[1, 2, 3], [4, 5, 6], [0, 0, 1]]]


@quick
@given(theta=transforms())
def test_invert_undoes(theta):
    nothing = identity().double()
    assert_close(compose(invert(theta), theta), nothing, atol=1e-10, rtol=0)
    assert_close(compose(theta, invert(theta)), nothing, atol=1e-10, rtol=0)
    assert_close(invert(invert(theta)), theta, atol=1e-10, rtol=1e-10)


def test_invert_treats_each_sample():
    both = torch.cat([scaling(2), translation(0.5, -1)])
    assert_close(invert(both), torch.cat([scaling(0.5), translation(-0.5, 1)]))


NEARLY_FLAT = {
    "rounding alone makes a determinant": [[0.1, 0.2, 0], [0.3, 0.6, 0]],
    "two columns alike": [[0.1, 0.1, 0], [0.7, 0.7, 0]],
    "all zero": [[0.0, 0, 0.5], [0, 0, 0]],
}
FAR_FROM_FLAT = {
    "tiny": [[1e-30, 0, 0], [0, 1e-30, 0]],
    "a wide strip": [[1e-20, 0, 0.25], [0, 1e20, 1]],
    "a strong shear": [[1, 1000, 0], [0, 1, 0]],
    "nearly alike columns": [[1, 0.999, 0], [0.999, 1, 0]],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("entries", NEARLY_FLAT.values(), ids=NEARLY_FLAT)
def test_invert_refuses_what_only_rounding_keeps_from_being_flat(entries, dtype):
    theta = torch.cat([identity(), torch.tensor([entries])]).to(dtype)
    with pytest.raises(ValueError, match=r"in sample\(s\) \[1\]"):
        invert(theta)


@pytest.mark.parametrize("entries", FAR_FROM_FLAT.values(), ids=FAR_FROM_FLAT)
def test_invert_takes_any_scale(entries):
    theta = torch.tensor([entries], dtype=torch.float32)
    by_numpy = np.linalg.inv(homogeneous(theta.double()).numpy())[:, :2]
    assert_close(invert(theta).double(), torch.tensor(by_numpy), rtol=1e-3, atol=1e-30)


def test_invert_keeps_nan():
    theta = torch.cat([identity(), identity() * float("nan")])
    assert invert(theta).isnan().flatten(1).all(1).tolist() == [False, True]


IN_PIXELS = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0))
CALLS = {
    "invert": invert,
    "pixel_to_normalised": lambda m: pixel_to_normalised(m, (30, 45), (7, 9)),
    "normalised_to_pixel": lambda m: normalised_to_pixel(m, (30, 45), (7, 9)),
    "compose": lambda m: compose(m, rotation(30, dtype=m.dtype), m),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_one_by_one_under_vmap_and_in_one_graph(call):
    together = call(IN_PIXELS)
    alone = torch.func.vmap(lambda m: call(m[None])[0])(IN_PIXELS)
    assert_close(alone, together)
    compiled = torch.compile(call, fullgraph=True, backend="eager")
    assert_close(compiled(IN_PIXELS), together)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_exported_with_a_free_batch(call):
    class Module(torch.nn.Module):
        def forward(self, matrix):
            return call(matrix)

    free = ({0: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(Module(), (IN_PIXELS[:2],), dynamic_shapes=free)
    for n in (1, 5):
        assert_close(program.module()(IN_PIXELS[:n]), call(IN_PIXELS[:n]))


def test_angles_and_sizes_stay_free_in_an_export():
    class Module(torch.nn.Module):
        def forward(self, angles, image):
            size = image.shape[2:]
            return pixel_to_normalised(rotation(angles), size, size)

    module, dim = Module(), torch.export.Dim.DYNAMIC
    example = torch.tensor([10.0, 20.0]), torch.zeros(1, 1, 12, 10)
    other = torch.tensor([30.0, 40.0, 50.0]), torch.zeros(1, 1, 9, 14)
    free = ({0: dim}, {2: dim, 3: dim})
    program = torch.export.export(module, example, dynamic_shapes=free)
    assert_close(program.module()(*other), module(*other))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(call, dtype):
    coarse = IN_PIXELS.to(dtype)
    exact = call(coarse.double()).to(dtype)
    rounding = torch.finfo(dtype).eps
    assert_close(call(coarse), exact, rtol=rounding, atol=rounding)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_autocast_does_not_coarsen(call):
    with torch.autocast("cpu", torch.bfloat16):
        inside = call(IN_PIXELS)
    assert torch.equal(inside, call(IN_PIXELS))


@pytest.mark.parametrize(
    "make",
    [
        lambda **kind: affine(1.0, 0.1, 0.2, 0.3, 1.0, 0.4, **kind),
        lambda **kind: identity(2, **kind),
        lambda **kind: translation(0.1, 0.2, **kind),
        lambda **kind: scaling(0.1, **kind),
        lambda **kind: rotation(33, **kind),
        lambda **kind: shear(0.1, **kind),
    ],
)
def test_builders_take_a_dtype_and_a_device(make):
    """In float64 all digits are there: none was lost in float32 on the way."""
    wide = make(dtype=torch.float64)
    assert wide.dtype == torch.float64
    assert (wide - make().double()).abs().max() < 1e-7
    assert make(device="meta").device.type == "meta"


def test_float64_keeps_the_digits_of_an_angle():
    cos = rotation(33, dtype=torch.float64)[0, 0, 0].item()
    assert cos == pytest.approx(math.cos(math.radians(33)), abs=1e-15)


def test_the_widest_entry_decides():
    theta = affine(torch.tensor(1.0), 0, torch.tensor(1 / 3).double(), 0, 1, 0)
    assert theta.dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_grid_of_half_precision_is_that_of_float32(dtype):
    theta = (rotation(30) * 0.9).to(dtype)
    size = (1, 1, 512, 512)
    grid = affine_grid(theta, size)
    exact = F.affine_grid(theta.double(), size, align_corners=False)
    assert grid.dtype == torch.float32
    assert 256 * (grid - exact).abs().max() < 1e-3  # in pixels


def test_gradients_pass_through_compose_and_invert():
    gen = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 2, 2, 3, dtype=torch.float64, generator=gen)
    leaves = a.requires_grad_(), b.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: compose(a, invert(b)), leaves)


@pytest.mark.parametrize(
    ("align_corners", "first", "last"),
    [(False, (-0.5, -0.5), (5.5, 3.5)), (True, (0, 0), (5, 3))],
)
def test_corners_of_the_normalised_square_in_pixels(align_corners, first, last):
    matrix = normalised_to_pixel_matrix((4, 6), align_corners)
    assert apply(matrix, -1, -1) == pytest.approx(first)
    assert apply(matrix, 1, 1) == pytest.approx(last)


@pytest.mark.parametrize(
    ("align_corners", "expected"), [(False, (2 / 8, 2 / 4)), (True, (2 / 7, 2 / 3))]
)
def test_one_pixel_in_normalised_units(align_corners, expected):
    theta = pixel_to_normalised(translation(1, 1), (4, 8), (4, 8), align_corners)
    assert theta[0, :, 2].tolist() == pytest.approx(expected)
    assert_close(theta[:, :, :2], identity()[:, :, :2])


@quick
@given(
    matrix=transforms(),
    in_size=st.tuples(st.integers(2, 99), st.integers(2, 99)),
    out_size=st.tuples(st.integers(2, 99), st.integers(2, 99)),
    align_corners=st.booleans(),
)
def test_pixels_to_normalised_and_back(matrix, in_size, out_size, align_corners):
    theta = pixel_to_normalised(matrix, in_size, out_size, align_corners)
    back = normalised_to_pixel(theta, in_size, out_size, align_corners)
    assert_close(back, matrix, atol=1e-9, rtol=1e-9)


@quick
@given(
    matrix=transforms(),
    in_size=st.tuples(st.integers(2, 9), st.integers(2, 9)),
    out_size=st.tuples(st.integers(2, 9), st.integers(2, 9)),
    align_corners=st.booleans(),
)
def test_a_pixel_matrix_sends_pixels_to_pixels(
    matrix, in_size, out_size, align_corners
):
    """The grid of the rewritten matrix, read in pixels, is the matrix itself."""
    theta = pixel_to_normalised(matrix, in_size, out_size, align_corners)
    grid = affine_grid(theta, (1, 1, *out_size), align_corners)[0]
    rows, columns = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float64) for n in out_size), indexing="ij"
    )
    expected = torch.stack([columns, rows, torch.ones_like(rows)], -1) @ matrix[0].T
    span = torch.tensor(in_size[::-1]) - int(align_corners)
    seen = ((grid + 1) * span - (0 if align_corners else 1)) / 2
    assert_close(seen, expected, atol=1e-9, rtol=1e-9)


def test_pixel_centres_by_hand():
    assert pixel_centres(4, False).tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert pixel_centres(5, True).tolist() == [-1, -0.5, 0, 0.5, 1]
    assert pixel_centres(1, False).tolist() == pixel_centres(1, True).tolist() == [0]
    assert pixel_centres(3, True, torch.float64).dtype == torch.float64


def test_grid_by_hand():
    """Rows run along y, columns along x, and the last axis is (x, y)."""
    theta = affine(1, 2, 3, 4, 5, 6)
    grid = affine_grid(theta, (1, 1, 2, 3), align_corners=True)
    assert grid.tolist() == [
        [[[0, -3], [1, 1], [2, 5]], [[4, 7], [5, 11], [6, 15]]],
    ]


@unit_size_warning
@both_alignments
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)]
)
@pytest.mark.parametrize(
    "size", [(1, 1, 1, 1), (2, 3, 1, 5), (3, 1, 4, 1), (2, 2, 7, 4), (5, 4, 8, 9)]
)
def test_grid_equals_pytorch(size, dtype, tolerance, align_corners):
    gen = torch.Generator().manual_seed(0)
    theta = torch.randn(size[0], 2, 3, dtype=dtype, generator=gen)
    pull = torch.randn(size[0], *size[2:], 2, dtype=dtype, generator=gen)
    results = []
    for function in (affine_grid, F.affine_grid):
        leaf = theta.clone().requires_grad_()
        grid = function(leaf, size, align_corners=align_corners)
        (slope,) = torch.autograd.grad(grid, leaf, pull)
        results.append((grid, slope))
    assert_close(*results, atol=tolerance, rtol=tolerance)


@both_alignments
@pytest.mark.parametrize("n", [1, 4])
def test_one_theta_serves_a_batch(n, align_corners):
    """PyTorch wants it repeated: the same grid, and the same gradient of theta."""
    gen = torch.Generator().manual_seed(0)
    theta = torch.randn(1, 2, 3, dtype=torch.float64, generator=gen)
    pull = torch.randn(n, 5, 7, 2, dtype=torch.float64, generator=gen)
    size = (n, 3, 5, 7)
    ours, theirs = theta.clone().requires_grad_(), theta.clone().requires_grad_()
    grid = affine_grid(ours, size, align_corners)
    expected = F.affine_grid(theirs.expand(n, 2, 3), size, align_corners=align_corners)
    assert_close(grid, expected)
    (slope,) = torch.autograd.grad(grid, ours, pull)
    (expected_slope,) = torch.autograd.grad(expected, theirs, pull)
    assert_close(slope, expected_slope)


def test_grid_of_an_empty_batch():
    assert affine_grid(identity(), (0, 1, 4, 5)).shape == (0, 4, 5, 2)
    assert affine_grid(torch.zeros(0, 2, 3), (0, 1, 4, 5)).shape == (0, 4, 5, 2)


@both_alignments
def test_grid_gradcheck(align_corners):
    gen = torch.Generator().manual_seed(0)
    theta = torch.randn(2, 2, 3, dtype=torch.float64, generator=gen).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda t: affine_grid(t, (2, 1, 3, 4), align_corners), theta
    )


def test_book_aligns_the_outer_edges_unless_told():
    theta, size = identity(), (1, 1, 4, 4)
    assert torch.equal(affine_grid(theta, size), affine_grid(theta, size, False))
    assert not torch.equal(affine_grid(theta, size), affine_grid(theta, size, True))


@pytest.mark.parametrize("false", [0, 0.0, None, np.False_, torch.tensor(False)])
def test_what_equals_true_or_false_is_taken_at_its_word(false):
    theta, size = rotation(30), (1, 1, 4, 6)
    for flag, meant in ((false, False), (not false, True)):
        expected = F.affine_grid(theta, size, align_corners=meant)
        assert_close(affine_grid(theta, size, flag), expected)
        expected = normalised_to_pixel_matrix((4, 6), meant)
        assert torch.equal(normalised_to_pixel_matrix((4, 6), flag), expected)


ALIGNED = {
    "grid": lambda flag: affine_grid(identity(), (1, 1, 4, 4), flag),
    "centres": lambda flag: pixel_centres(4, flag),
    "matrix": lambda flag: normalised_to_pixel_matrix(4, flag),
    "from pixels": lambda flag: pixel_to_normalised(identity(), 4, 4, flag),
    "to pixels": lambda flag: normalised_to_pixel(identity(), 4, 4, flag),
}


@pytest.mark.parametrize("call", ALIGNED.values(), ids=ALIGNED)
@pytest.mark.parametrize("flag", ["False", "True", 2, []])
def test_a_text_is_neither_true_nor_false(call, flag):
    with pytest.raises(TypeError, match="align_corners to be True or False, but got"):
        call(flag)


SIZED = {
    "grid": lambda n: affine_grid(identity(), (1, 1, n, 4)),
    "channels": lambda n: affine_grid(identity(), (1, n, 4, 4)),
    "batch": lambda n: affine_grid(identity(), (n, 1, 4, 4)),
    "one number": lambda n: normalised_to_pixel_matrix(n, False),
    "two numbers": lambda n: normalised_to_pixel_matrix((4, n), False),
    "centres": lambda n: pixel_centres(n, False),
    "copies": identity,
}
NOT_WHOLE = [4.0, 4.5, math.nan, "4", np.float32(4.5), torch.tensor(4.5), -1]


@pytest.mark.parametrize("call", SIZED.values(), ids=SIZED)
@pytest.mark.parametrize("n", NOT_WHOLE, ids=repr)
def test_sizes_are_whole_numbers(call, n):
    with pytest.raises(ValueError, match="whole number"):
        call(n)


@pytest.mark.parametrize("n", [3, np.int64(3), np.uint8(3), torch.tensor(3)], ids=repr)
def test_whole_numbers_may_be_numpys_or_tensors(n):
    theta = rotation(30)
    expected = F.affine_grid(theta, (1, 1, 3, 5), align_corners=False)
    assert_close(affine_grid(theta, (1, 1, n, 5)), expected)
    expected = affine(1.5, 0, 1, 0, 1.5, 1)
    assert torch.equal(normalised_to_pixel_matrix(n, False), expected)
    assert_close(pixel_centres(n, False), torch.tensor([-2 / 3, 0, 2 / 3]))
    assert torch.equal(identity(n), identity().repeat(3, 1, 1))


NO_NUMBER = {
    "imaginary": 1j,
    "NumPy's imaginary": np.complex128(1 + 1j),
    "text": "1",
    "nothing": None,
    "array": np.array([1 / 3, 2 / 3]),  # float64, of which float32 would be left
    "list": [1.0, 2.0],
}


@pytest.mark.parametrize("build", [translation, scaling, rotation, shear])
@pytest.mark.parametrize("entry", NO_NUMBER.values(), ids=NO_NUMBER)
def test_what_is_no_number_is_named(build, entry):
    told = f"numbers or tensors of them, but got a {type(entry).__name__}; torch.as_t"
    with pytest.raises(TypeError, match=told):
        build(*[entry] * (1 if build is rotation else 2))


@pytest.mark.parametrize("dtype", [None, torch.float32])
@pytest.mark.parametrize("build", [translation, scaling, rotation, shear])
def test_no_imaginary_part_is_lost(build, dtype):
    given = [torch.tensor([1 + 1j])] * (1 if build is rotation else 2)
    with pytest.raises(ValueError, match="real floating point .* got torch.complex64"):
        build(*given, dtype=dtype)


BAD = {
    "matrix entry": (
        lambda: affine(torch.zeros(2, 2), 0, 0, 0, 1, 0),
        r"expected .*\(N,\).*got .*\(2, 2\)",
    ),
    "entries of two lengths": (
        lambda: translation(torch.zeros(2), torch.zeros(3)),
        r"one shape \(N,\), got .*\(2,\).*\(3,\)",
    ),
    "theta without a batch": (
        lambda: affine_grid(torch.zeros(2, 3), (1, 1, 4, 4)),
        r"Nx2x3, but got \(2, 3\)",
    ),
    "theta with four axes": (
        lambda: affine_grid(torch.zeros(1, 1, 2, 3), (1, 1, 4, 4)),
        r"Nx2x3, but got \(1, 1, 2, 3\)",
    ),
    "theta in three dimensions": (
        lambda: affine_grid(torch.zeros(1, 3, 4), (1, 1, 4, 4)),
        r"Nx2x3, but got \(1, 3, 4\)",
    ),
    "whole-number theta": (
        lambda: affine_grid(torch.zeros(1, 2, 3).int(), (1, 1, 4, 4)),
        "theta to have floating point type, but got torch.int32",
    ),
    "batches of two sizes": (
        lambda: affine_grid(identity(2), (3, 1, 4, 4)),
        "2 transforms, but size asks for 3",
    ),
    "size of three numbers": (
        lambda: affine_grid(identity(), (1, 4, 4)),
        r"expected size \(N, C, H, W\).*got \(1, 4, 4\)",
    ),
    "size of one number": (
        lambda: affine_grid(identity(), 8),
        r"expected size \(N, C, H, W\).*got 8",
    ),
    "negative batch": (
        lambda: affine_grid(identity(), (-1, 1, 4, 4)),
        r"expected size \(N, C, H, W\).*got \(-1, 1, 4, 4\)",
    ),
    "image size as an array": (
        lambda: normalised_to_pixel_matrix(np.array([8, 9]), False),
        r"expected a size \(H, W\).*got array\(\[8, 9\]\)",
    ),
    "size that is not whole": (
        lambda: affine_grid(identity(), (1, 1, 4, 4.5)),
        r"whole numbers C, H, W, but got \(1, 1, 4, 4.5\)",
    ),
    "image of half a pixel": (
        lambda: normalised_to_pixel_matrix((4, 4.5), False),
        r"whole .* got \(4, 4.5\)",
    ),
    "compose without a batch": (
        lambda: compose(identity(), identity()[0]),
        r"Nx2x3, but got \(2, 3\); theta\[None\] makes a batch",
    ),
    "compose two dtypes": (
        lambda: compose(identity(), identity().double()),
        r"one dtype on one device, got \['torch.float32 on cpu', 'torch.float64",
    ),
    "complex entry": (
        lambda: affine(torch.tensor(1j), 0, 0, 0, 1, 0),
        "expected real floating point numbers, got torch.complex64",
    ),
    "whole-number dtype": (
        lambda: identity(dtype=torch.int64),
        "expected real floating point numbers, got torch.int64",
    ),
    "size of zero rows": (
        lambda: affine_grid(identity(), (1, 1, 0, 4)),
        r"positive.*got \(1, 1, 0, 4\)",
    ),
    "negative size": (
        lambda: affine_grid(identity(), (1, 1, 4, -4)),
        r"positive.*got \(1, 1, 4, -4\)",
    ),
    "homogeneous": (lambda: homogeneous(torch.zeros(1, 3, 3)), r"got \(1, 3, 3\)"),
    "compose nothing": (compose, r"at least one theta of shape \(N, 2, 3\)"),
    "compose 3x3": (
        lambda: compose(identity(), torch.eye(3)[None]),
        r"Nx2x3, but got \(1, 3, 3\)",
    ),
    "compose batches of two sizes": (
        lambda: compose(identity(2), identity(), identity(3)),
        r"batches of one N, got \[2, 3\]",
    ),
    "invert 3x3": (
        lambda: invert(torch.eye(3)[None]),
        r"Nx2x3, but got \(1, 3, 3\)",
    ),
    "angle in one matrix": (
        lambda: angle_in(identity()[0]),
        r"Nx2x3, but got \(2, 3\); theta\[None\]",
    ),
    "invert a flat transform": (
        lambda: invert(torch.cat([identity(), scaling(1, 0)])),
        r"no inverse: it squashes the plane .* sample\(s\) \[1\]",
    ),
    "image of no rows": (
        lambda: normalised_to_pixel_matrix((0, 4), False),
        r"expected a size \(H, W\) of positive whole .* got \(0, 4\)",
    ),
    "image of three sides": (
        lambda: pixel_to_normalised(identity(), (4, 4), (1, 4, 4)),
        r"expected a size \(H, W\) of positive whole .* got \(1, 4, 4\)",
    ),
    "corners of one pixel": (
        lambda: normalised_to_pixel(identity(), (4, 4), (1, 4), align_corners=True),
        r"align_corners=True cannot .* got size \(1, 4\); use align_corners=False",
    ),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
