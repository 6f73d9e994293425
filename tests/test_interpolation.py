"""The sampler: PyTorch and SciPy as judges, known values, limits, memory."""

import json
import platform

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from torch.profiler import ProfilerActivity, profile
from torch.testing import assert_close

from stn_tutorial.affine import (
    affine_grid,
    identity,
    pixel_to_normalised,
    rotation,
    translation,
)
from stn_tutorial.interpolation import (
    KERNELS,
    PADDINGS,
    bicubic_kernel,
    bilinear_kernel,
    blur,
    clip,
    grid_sample,
    integer_kernel,
    neighbours,
    pad,
    reflect,
    sample_with_loops,
    unnormalise,
    warp,
)

quick = settings(deadline=None, derandomize=True, max_examples=40)
unit_size_warning = pytest.mark.filterwarnings("ignore:Since version 1.3.0")
same_rounding = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"),
    reason="at a whole position the last bit chooses the neighbour",
)

MODES = ("nearest", "bilinear", "bicubic")  # those that PyTorch has too
both_alignments = pytest.mark.parametrize("align_corners", [False, True])
all_modes = pytest.mark.parametrize("mode", KERNELS)
smooth_modes = pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
pytorch_modes = pytest.mark.parametrize("mode", MODES)
all_paddings = pytest.mark.parametrize("padding_mode", PADDINGS)


def normalise(pixel, size, align_corners):
    """Pixel positions (..., 2), as (x, y), in normalised coordinates."""
    span = torch.tensor(size[::-1], dtype=pixel.dtype) - int(align_corners)
    offset = 0 if align_corners else 1
    return (2 * pixel + offset) / span.clamp(min=1) - 1


def grid_at(x, y, size, align_corners=False):
    """A grid (1, 1, n, 2) that reads one image at the pixel positions x and y."""
    x, y = (torch.as_tensor(v, dtype=torch.float64) for v in (x, y))
    points = torch.stack(torch.broadcast_tensors(x, y), -1).reshape(1, 1, -1, 2)
    return normalise(points, size, align_corners)


def values_and_gradients(function, input, grid, pull, **options):
    input, grid = input.detach().requires_grad_(), grid.detach().requires_grad_()
    output = function(input, grid, **options)
    return output, *torch.autograd.grad(output, (input, grid), pull)


def assert_equals_pytorch(input, grid, mode, padding_mode, align_corners):
    """Output, gradient of the image and gradient of the grid are PyTorch's."""
    options = {"mode": mode, "padding_mode": padding_mode}
    options["align_corners"] = align_corners
    gen = torch.Generator().manual_seed(1)
    shape = (*input.shape[:2], *grid.shape[1:3])
    pull = torch.randn(shape, dtype=input.dtype, generator=gen)
    ours = values_and_gradients(grid_sample, input, grid, pull, **options)
    theirs = values_and_gradients(F.grid_sample, input, grid, pull, **options)
    single = input.dtype == torch.float32
    tolerance = 1e-5 if single else 1e-10
    # One pixel's gradient is a sum over all points that read it: rounding adds up.
    slope = 1e-4 if single else 1e-10
    assert ours[0].dtype == input.dtype
    assert_close(ours[0], theirs[0], atol=tolerance, rtol=0)
    assert_close(ours[1:], theirs[1:], atol=slope, rtol=slope)


# Against PyTorch ---------------------------------------------------------------

# (N, C), (H, W) of the input, (h, w) of the output
SHAPES = [
    ((1, 1), (1, 1), (1, 1)),
    ((2, 3), (1, 1), (4, 3)),
    ((1, 2), (1, 6), (5, 2)),
    ((2, 1), (7, 1), (3, 8)),
    ((3, 2), (5, 9), (4, 4)),
    ((2, 17), (8, 3), (9, 10)),
    ((0, 2), (4, 5), (3, 6)),
    ((2, 2), (6, 7), (0, 3)),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytorch_modes
@all_paddings
@both_alignments
def test_anywhere(dtype, mode, padding_mode, align_corners):
    gen = torch.Generator().manual_seed(0)
    for nc, in_size, out_size in SHAPES:
        input = torch.randn(*nc, *in_size, dtype=dtype, generator=gen)
        grid = torch.randn(nc[0], *out_size, 2, dtype=dtype, generator=gen) * 1.5
        assert_equals_pytorch(input, grid, mode, padding_mode, align_corners)


@quick
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(0, 3),
    c=st.integers(1, 4),
    in_size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    out_size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    mode=st.sampled_from(MODES),
    padding_mode=st.sampled_from(PADDINGS),
    align_corners=st.booleans(),
)
def test_any_size(
    seed, n, c, in_size, out_size, dtype, mode, padding_mode, align_corners
):
    gen = torch.Generator().manual_seed(seed)
    input = torch.randn(n, c, *in_size, dtype=dtype, generator=gen)
    grid = torch.randn(n, *out_size, 2, dtype=dtype, generator=gen)
    assert_equals_pytorch(input, grid, mode, padding_mode, align_corners)


def lattice(sizes, dtype, align_corners):
    """Images with a grid on every pixel and half pixel, and well beyond."""
    gen = torch.Generator().manual_seed(0)
    for size in sizes:
        input = torch.randn(1, 2, *size, dtype=dtype, generator=gen)
        y, x = (torch.arange(-2 * n - 5, 4 * n + 6, dtype=dtype) / 2 for n in size)
        points = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]
        yield input, normalise(points, size, align_corners)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytorch_modes
@all_paddings
@both_alignments
def test_on_pixels_and_halfway(dtype, mode, padding_mode, align_corners):
    """Sizes at which these positions are exact in floating point."""
    sizes = [(3, 5), (5, 9), (2, 2)] if align_corners else [(2, 4), (8, 4), (1, 1)]
    for input, grid in lattice(sizes, dtype, align_corners):
        assert_equals_pytorch(input, grid, mode, padding_mode, align_corners)


@same_rounding
@unit_size_warning
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytorch_modes
@all_paddings
@both_alignments
def test_on_pixels_and_halfway_at_any_size(dtype, mode, padding_mode, align_corners):
    sizes = [(1, 3), (6, 7), (10, 11)]
    for input, grid in lattice(sizes, dtype, align_corners):
        assert_equals_pytorch(input, grid, mode, padding_mode, align_corners)
        start = F.affine_grid(
            identity().to(dtype), input.shape, align_corners=align_corners
        )
        assert_equals_pytorch(input, start, mode, padding_mode, align_corners)


@pytorch_modes
@all_paddings
@both_alignments
def test_views_without_a_copy(mode, padding_mode, align_corners):
    """Expanded, transposed, strided: the memory's layout does not matter."""
    gen = torch.Generator().manual_seed(0)
    image = torch.randn(1, 2, 5, 7, dtype=torch.float64, generator=gen)
    grid = torch.randn(3, 4, 6, 2, dtype=torch.float64, generator=gen)
    views = [
        (image.expand(3, 2, 5, 7), grid[:1].expand(3, 4, 6, 2)),
        (image.expand(3, 2, 5, 7).transpose(2, 3), grid.transpose(1, 2)),
        (image.expand(3, 2, 5, 7)[:, :, ::2, 1::3], grid.flip(3)[:, ::3]),
        (image.to(memory_format=torch.channels_last), grid[1:2]),
        (image[:, :, :1].expand(1, 2, 5, 7), grid[:1, :, :1].expand(1, 4, 6, 2)),
    ]
    for input, where in views:
        assert_equals_pytorch(input, where, mode, padding_mode, align_corners)


# Against SciPy -----------------------------------------------------------------

SCIPY_PADDING = {
    ("zeros", False): "grid-constant",
    ("zeros", True): "grid-constant",
    ("border", False): "nearest",
    ("border", True): "nearest",
    ("reflection", False): "reflect",
    ("reflection", True): "mirror",
}


@all_paddings
@both_alignments
@pytest.mark.parametrize(("order", "mode"), [(0, "nearest"), (1, "bilinear")])
@pytest.mark.parametrize("angle_deg", [0, 45, 90, -33])
def test_affine_transform_of_scipy(angle_deg, order, mode, padding_mode, align_corners):
    """Turn about the image's centre, slant, move; sizes differ and are not square."""
    gen = torch.Generator().manual_seed(0)
    in_size, out_size = (11, 6), (7, 13)
    image = torch.rand(in_size, dtype=torch.float64, generator=gen)
    angle = np.deg2rad(angle_deg)
    turn = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    matrix = np.array(turn) @ [[1.0, 0.2], [-0.1, 0.7]]  # in (row, column)
    centre_out, centre_in = (np.array(size) / 2 - 0.5 for size in (out_size, in_size))
    offset = centre_in - matrix @ centre_out + [0.31, -0.17]
    expected = ndimage.affine_transform(
        image.numpy(),
        matrix,
        offset,
        output_shape=out_size,
        order=order,
        mode=SCIPY_PADDING[padding_mode, align_corners],
    )
    swapped = np.concatenate([matrix[::-1, ::-1], offset[::-1, None]], axis=1)
    theta = pixel_to_normalised(
        torch.from_numpy(swapped)[None], in_size, out_size, align_corners
    )
    ours = warp(image[None, None], theta, out_size, mode, padding_mode, align_corners)
    assert_close(ours[0, 0], torch.tensor(expected), atol=1e-10, rtol=0)


# Laws --------------------------------------------------------------------------


@quick
@given(
    seed=st.integers(0, 2**32),
    powers=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    align_corners=st.booleans(),
    mode=st.sampled_from(sorted(KERNELS)),
    padding_mode=st.sampled_from(PADDINGS),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_identity_is_bitwise_exact(
    seed, powers, align_corners, mode, padding_mode, dtype
):
    """Where the coordinates are: sides of 2^k, or 2^k + 1 between corner centres."""
    height, width = (2**k + int(align_corners) for k in powers)
    gen = torch.Generator().manual_seed(seed)
    image = torch.randn(2, 3, height, width, dtype=dtype, generator=gen)
    output = warp(image, identity(), None, mode, padding_mode, align_corners)
    assert torch.equal(output, image)


@quick
@given(
    seed=st.integers(0, 2**32),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    align_corners=st.booleans(),
    mode=st.sampled_from(sorted(KERNELS)),
    padding_mode=st.sampled_from(PADDINGS),
)
def test_identity_up_to_rounding(seed, size, align_corners, mode, padding_mode):
    gen = torch.Generator().manual_seed(seed)
    image = torch.rand(1, 2, *size, dtype=torch.float64, generator=gen)
    output = warp(image, identity(), None, mode, padding_mode, align_corners)
    assert_close(output, image, atol=1e-12, rtol=0)
    if mode in ("nearest", "integer"):  # rounding absorbs the last bit
        assert torch.equal(output, image)


@quick
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 12),
    quarters=st.integers(-4, 4),
    mode=st.sampled_from(sorted(KERNELS)),
    padding_mode=st.sampled_from(PADDINGS),
    align_corners=st.booleans(),
)
def test_quarter_turns(seed, n, quarters, mode, padding_mode, align_corners):
    """rotation(90) turns the content counter-clockwise, as torch.rot90 does."""
    gen = torch.Generator().manual_seed(seed)
    image = torch.rand(1, 2, n, n, dtype=torch.float64, generator=gen)
    theta = rotation(torch.tensor(90.0 * quarters, dtype=torch.float64))
    output = warp(image, theta, None, mode, padding_mode, align_corners)
    assert_close(output, image.rot90(quarters, (2, 3)), atol=1e-12, rtol=0)


@both_alignments
def test_quarter_turn_of_a_non_square_image(align_corners):
    gen = torch.Generator().manual_seed(0)
    image = torch.rand(1, 1, 4, 7, dtype=torch.float64, generator=gen)
    # Output pixel (x, y) looks at the input's column 6 - y and row x.
    in_pixels = torch.tensor([[[0.0, -1, 6], [1, 0, 0]]], dtype=torch.float64)
    theta = pixel_to_normalised(in_pixels, (4, 7), (7, 4), align_corners)
    output = warp(image, theta, (7, 4), align_corners=align_corners)
    assert_close(output, image.rot90(1, (2, 3)), atol=1e-12, rtol=0)


@quick
@given(
    seed=st.integers(0, 2**32),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    reach=st.sampled_from([0.9, 3, 1e3, 1e8]),
    align_corners=st.booleans(),
    mode=st.sampled_from(sorted(KERNELS)),
    padding_mode=st.sampled_from(["border", "reflection"]),
)
def test_a_constant_image_stays_constant(
    seed, size, reach, align_corners, mode, padding_mode
):
    gen = torch.Generator().manual_seed(seed)
    image = torch.full((1, 1, *size), 0.7)
    grid = (2 * torch.rand(1, 5, 5, 2, generator=gen) - 1) * reach
    output = grid_sample(image, grid, mode, padding_mode, align_corners)
    assert_close(output, torch.full((1, 1, 5, 5), 0.7))


@both_alignments
def test_bilinear_reproduces_a_ramp(align_corners):
    y, x = torch.meshgrid(torch.arange(5.0), torch.arange(7.0), indexing="ij")
    ramp = (2 * x - 3 * y + 1).double()[None, None]
    gen = torch.Generator().manual_seed(0)
    px, py = torch.rand(2, 50, dtype=torch.float64, generator=gen)
    grid = grid_at(6 * px, 4 * py, (5, 7), align_corners)
    output = grid_sample(ramp, grid, align_corners=align_corners)
    assert_close(output.flatten(), 12 * px - 12 * py + 1, atol=1e-10, rtol=0)


# Known values ------------------------------------------------------------------


def row(*values):
    """An image of three equal rows."""
    return torch.tensor(values, dtype=torch.float64).expand(1, 1, 3, len(values))


@both_alignments
@pytest.mark.parametrize(
    ("mode", "padding_mode", "x", "expected"),
    [
        ("bilinear", "zeros", [0, 0.5, 1.25, 3], [1, 1.5, 2.5, 8]),
        ("bilinear", "zeros", [-0.5, -1, 3.25, 4, 9], [0.5, 0, 6, 0, 0]),
        ("bilinear", "border", [-0.5, -1, 3.25, 4, 9], [1, 1, 8, 8, 8]),
        ("nearest", "zeros", [-0.75, 0.25, 1.25, 2.75], [0, 1, 2, 8]),
        ("integer", "zeros", [-0.75, 0.25, 1.25, 2.75], [0, 1, 2, 8]),
        ("integer", "border", [-7, -0.75, 3.25, 9], [1, 1, 8, 8]),
        # Weights at a half: -3/32, 19/32, 19/32, -3/32.
        ("bicubic", "zeros", [1, 1.5, 0.5, -3], [2, 87 / 32, 45 / 32, 0]),
        ("bicubic", "border", [0.5, -9, 9], [42 / 32, 1, 8]),
    ],
)
def test_one_row_by_hand(mode, padding_mode, x, expected, align_corners):
    grid = grid_at(x, 1, (3, 4), align_corners)
    output = grid_sample(row(1, 2, 4, 8), grid, mode, padding_mode, align_corners)
    assert output.flatten().tolist() == pytest.approx(expected)


@both_alignments
@pytest.mark.parametrize(
    ("mode", "expected"), [("nearest", [1, 1, 4, 4]), ("integer", [1, 2, 4, 8])]
)
def test_halves_go_to_the_even_pixel_or_up(mode, expected, align_corners):
    image = row(1, 2, 4, 8, 16) if align_corners else row(1, 2, 4, 8)
    grid = grid_at([-0.5, 0.5, 1.5, 2.5], 1, image.shape[2:], align_corners)
    output = grid_sample(image, grid, mode, align_corners=align_corners)
    assert output.flatten().tolist() == expected


@pytest.mark.parametrize(
    ("align_corners", "expected"),
    [(False, [3, 2, 1, 1, 2, 3, 3, 2, 1, 1]), (True, [2, 3, 2, 1, 2, 3, 2, 1, 2, 3])],
)
@pytest.mark.parametrize("mode", ["nearest", "integer", "bilinear"])
def test_mirror_by_hand(mode, align_corners, expected):
    """The mirror stands beside the outer pixels (False) or on them (True)."""
    grid = grid_at(range(-3, 7), 1, (3, 3), align_corners)
    output = grid_sample(row(1, 2, 3), grid, mode, "reflection", align_corners)
    assert output.flatten().tolist() == pytest.approx(expected)


def test_four_neighbours_by_hand():
    """The weights are areas: they come back as the gradient of the image."""
    image = torch.tensor([[1.0, 2, 9], [4, 8, 9]], dtype=torch.float64)[None, None]
    image.requires_grad_()
    output = grid_sample(image, grid_at(0.25, 0.5, (2, 3)))
    output.backward()
    assert output.item() == pytest.approx(0.375 * (1 + 4) + 0.125 * (2 + 8))
    expected = torch.tensor([[0.375, 0.125, 0], [0.375, 0.125, 0]]).double()
    assert_close(image.grad[0, 0], expected)


@pytest.mark.parametrize(
    ("align_corners", "expected"), [(False, [-0.5, 1.5, 3.5]), (True, [0, 1.5, 3])]
)
def test_unnormalise_by_hand(align_corners, expected):
    coordinates = torch.tensor([-1.0, 0, 1])
    assert unnormalise(coordinates, 4, align_corners).tolist() == expected


def test_reflect_and_clip_by_hand():
    positions = torch.tensor([-3.0, -0.25, 0, 1.5, 2.25, 4])
    assert reflect(positions, 3, True).tolist() == [1, 0.25, 0, 1.5, 1.75, 0]
    assert reflect(positions, 3, False).tolist() == [2, -0.25, 0, 1.5, 2.25, 1]
    assert reflect(positions, 1, True).tolist() == [0] * 6
    assert clip(positions, 3).tolist() == [0, 0, 0, 1.5, 2, 2]


# Gradients ---------------------------------------------------------------------


@smooth_modes
@all_paddings
@both_alignments
def test_gradcheck(mode, padding_mode, align_corners):
    gen = torch.Generator().manual_seed(0)
    input = torch.randn(1, 2, 3, 4, dtype=torch.float64, generator=gen)
    grid = torch.randn(1, 2, 4, 2, dtype=torch.float64, generator=gen)
    assert torch.autograd.gradcheck(
        lambda i, g: grid_sample(i, g, mode, padding_mode, align_corners),
        (input.requires_grad_(), grid.requires_grad_()),
    )


@pytest.mark.parametrize("mode", ["nearest", "integer"])
def test_rounding_has_gradient_zero_not_none(mode):
    gen = torch.Generator().manual_seed(0)
    input = torch.randn(2, 2, 3, 4, dtype=torch.float64, generator=gen)
    grid = torch.randn(2, 3, 3, 2, dtype=torch.float64, generator=gen)
    output, slope, still = values_and_gradients(
        lambda i, g: grid_sample(i, g, mode), input, grid, torch.ones(2, 2, 3, 3)
    )
    assert slope.sum() == (output != 0).sum()
    assert torch.equal(still, torch.zeros_like(grid))


@pytest.mark.parametrize(
    ("padding_mode", "x", "expected"),
    [
        ("zeros", [0, 1, 2], [1, 2, 4]),  # whole pixels: the slope on the right
        ("zeros", [0.5, 1.25, 3], [1, 2, -8]),
        ("zeros", [-1, -0.5, 3.5, 4, 9], [1, 1, -8, 0, 0]),
        ("border", [0, 0.25, 2.75, 3], [0, 1, 4, 0]),  # 0 on the outer pixels ...
        ("border", [-9, -0.25, 3.25, 9], [0, 0, 0, 0]),  # ... and beyond
        ("reflection", [-0.25, -0.75, -1.25, 4.25], [0, 0, -1, -4]),
    ],
)
def test_slope_in_x_by_hand(padding_mode, x, expected):
    """In pixels, for the row 1, 2, 4, 8; a normalised unit is two pixels."""
    grid = grid_at(x, 1, (3, 4)).requires_grad_()
    grid_sample(row(1, 2, 4, 8), grid, padding_mode=padding_mode).sum().backward()
    assert (grid.grad[..., 0] / 2).flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("mode", "pixels"),
    [("nearest", 1), ("integer", 1), ("bilinear", 4), ("bicubic", 16)],
)
def test_how_many_pixels_have_a_say(mode, pixels):
    image = torch.zeros(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    grid_sample(image, grid_at(3.3, 4.4, (8, 8)), mode).backward()
    assert (image.grad != 0).sum() == pixels
    assert image.grad.sum().item() == pytest.approx(1)


# Beyond all bounds -------------------------------------------------------------

FAR = [1e5, 1e8, 1e30, 3e38]


@all_modes
@all_paddings
@both_alignments
def test_infinity_in_the_grid_is_outside(mode, padding_mode, align_corners):
    bad = [float("inf"), -float("inf"), 0.0]
    grid = torch.cartesian_prod(torch.tensor(bad), torch.tensor(bad)).view(1, 3, 3, 2)
    output, slope, still = values_and_gradients(
        lambda i, g: grid_sample(i, g, mode, padding_mode, align_corners),
        torch.zeros(1, 1, 3, 3),
        grid,
        torch.ones(1, 1, 3, 3),
    )
    assert torch.equal(output, torch.zeros(1, 1, 3, 3))
    assert slope.isfinite().all()
    assert torch.equal(still, torch.zeros_like(grid))
    if padding_mode == "zeros":
        image = torch.ones(1, 1, 3, 3)
        output = grid_sample(image, grid, mode, "zeros", align_corners)
        assert output.flatten().tolist() == pytest.approx([0] * 8 + [1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@all_modes
@all_paddings
@both_alignments
def test_a_nan_place_gives_nan(dtype, mode, padding_mode, align_corners):
    image = torch.ones(1, 2, 3, 3, dtype=dtype)
    grid = torch.zeros(1, 2, 2, 2, dtype=dtype)
    grid[0, 0, 0, 0] = grid[0, 1, 1, 1] = float("nan")
    output = grid_sample(image, grid, mode, padding_mode, align_corners)
    assert output.isnan().tolist() == [[[[True, False], [False, True]]] * 2]


@all_modes
@all_paddings
def test_a_nan_theta_gives_nan(mode, padding_mode):
    theta = torch.cat([identity(), float("nan") * identity()])
    output = warp(torch.ones(1, 1, 3, 3), theta, None, mode, padding_mode)
    assert output.isnan().flatten(1).float().mean(1).tolist() == [0, 1]


@all_modes
@both_alignments
@pytest.mark.parametrize("far", [*FAR, float("inf")])
def test_far_outside(far, mode, align_corners):
    image = torch.tensor([[[[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]]]).requires_grad_()
    grid = torch.tensor([[[[-far, -far], [far, -far], [-far, far], [far, far]]]])
    grid.requires_grad_()

    def read(padding_mode):
        return grid_sample(image, grid, mode, padding_mode, align_corners).flatten()

    assert read("zeros").tolist() == [0, 0, 0, 0]
    assert read("border").tolist() == pytest.approx([1, 3, 7, 9])
    assert (read("reflection") > 0).all()
    assert (read("reflection") < 10).all()
    for padding_mode in PADDINGS:
        slopes = torch.autograd.grad(read(padding_mode).sum(), (image, grid))
        assert all(slope.isfinite().all() for slope in slopes)


@pytorch_modes
@all_paddings
@both_alignments
def test_a_nan_pixel_stays_where_it_is(mode, padding_mode, align_corners):
    gen = torch.Generator().manual_seed(0)
    image = torch.rand(1, 1, 4, 4, dtype=torch.float64, generator=gen)
    image[0, 0, 0, 0] = float("nan")
    grid = torch.randn(1, 20, 20, 2, dtype=torch.float64, generator=gen)
    output = grid_sample(image, grid, mode, padding_mode, align_corners)
    expected = F.grid_sample(image, grid, mode, padding_mode, align_corners)
    assert 0 < output.isnan().sum() < 400
    assert_close(output, expected, equal_nan=True)


# Half precision ----------------------------------------------------------------

half_types = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])


@half_types
@pytorch_modes
@both_alignments
def test_pytorchs_own_cases_for_half_precision(dtype, mode, align_corners):
    """The shapes and tolerances of PyTorch's tests, which compare with float64."""
    gen = torch.Generator().manual_seed(0)
    image = torch.randn(32, 64, 16, 16, generator=gen).to(dtype)
    grid = (torch.rand(32, 8, 8, 2, generator=gen) * 2 - 1).to(dtype)
    options = {"mode": mode, "padding_mode": "zeros", "align_corners": align_corners}
    exact = F.grid_sample(image.double(), grid.double(), **options)
    assert_close(grid_sample(image, grid, **options), exact.to(dtype))


@half_types
@pytorch_modes
@all_paddings
def test_a_half_precision_image_is_read_at_float32_places(dtype, mode, padding_mode):
    """Values are PyTorch's in float32, rounded; so are the gradients."""
    gen = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 500, 7, generator=gen).to(dtype).requires_grad_()
    theta = (rotation(20) * 0.9).repeat(2, 1, 1).requires_grad_()
    output = warp(image, theta, (400, 9), mode, padding_mode)
    grid = F.affine_grid(theta, (2, 3, 400, 9), align_corners=False)
    options = {"mode": mode, "padding_mode": padding_mode, "align_corners": False}
    expected = F.grid_sample(image.float(), grid, **options)
    digits = torch.finfo(dtype).eps
    assert_close(output, expected.to(dtype), rtol=digits, atol=1e-4)
    ours = torch.autograd.grad(output.float().square().sum(), (image, theta))
    theirs = torch.autograd.grad(expected.square().sum(), (image, theta))
    assert [slope.dtype for slope in ours] == [dtype, torch.float32]
    assert_close(ours, theirs, rtol=4 * digits, atol=4 * digits * theirs[1].abs().max())


@half_types
def test_the_identity_of_a_wide_half_precision_image_is_exact(dtype):
    """Each column holds its own number, or the nearest that the type has."""
    image = torch.arange(3000.0).expand(1, 1, 2, 3000).to(dtype)
    assert torch.equal(warp(image, identity(dtype=dtype)), image)
    assert torch.equal(warp(image, identity()), image)


def test_a_grid_with_more_digits_than_the_image_keeps_them():
    """One step of float64 beside a pixel: in float32 it would be the pixel itself."""
    image = torch.tensor([[[[0.0, 1e12]]]])
    grid = torch.tensor([[[[-0.5 + 1e-12, 0.0]]]], dtype=torch.float64)
    assert grid_sample(image, grid).item() == pytest.approx(1, abs=1e-3)


def test_autocast_changes_no_place():
    image = torch.rand(1, 1, 40, 500, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        inside = warp(image, rotation(30))
    assert torch.equal(inside, warp(image, rotation(30)))


# Masks -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
@pytest.mark.parametrize("mode", ["nearest", "integer"])
@all_paddings
def test_a_mask_is_copied(dtype, mode, padding_mode):
    gen = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (2, 3, 9, 8), generator=gen).to(dtype)
    output = warp(labels, rotation(30), (7, 6), mode, padding_mode)
    assert output.dtype == dtype
    as_floats = warp(labels.float(), rotation(30), (7, 6), mode, padding_mode)
    assert torch.equal(output.float(), as_floats)


def test_a_mask_keeps_numbers_that_floats_do_not_know():
    labels = torch.tensor([[[[2**40 + 1, 2**62 + 1]]]])
    assert torch.equal(warp(labels, identity(), mode="nearest"), labels)


# Kernels and the plain loops ---------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "distance", "expected"),
    [
        (integer_kernel, [-1, -0.5, -0.25, 0, 0.25, 0.5, 1], [0, 1, 1, 1, 1, 0, 0]),
        (bilinear_kernel, [-2, -1, -0.25, 0, 0.5, 1, 2], [0, 0, 0.75, 1, 0.5, 0, 0]),
        (bicubic_kernel, [-2.5, -2, -1, 0, 1, 2, 3], [0, 0, 0, 1, 0, 0, 0]),
        (bicubic_kernel, [-1.5, -0.5, 0.5, 1.5], [-3 / 32, 19 / 32, 19 / 32, -3 / 32]),
    ],
)
def test_kernel_by_hand(kernel, distance, expected):
    assert kernel(torch.tensor(distance)).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kernel", "distance", "expected"),
    [
        (bilinear_kernel, [-2, -1, -0.5, 0, 0.5, 1, 2], [0, 1, 1, -1, -1, 0, 0]),
        (bicubic_kernel, [-2, -1, 0, 1, 2], [0, 0.75, 0, -0.75, 0]),
    ],
)
def test_slope_of_a_kernel_by_hand(kernel, distance, expected):
    """At a kink of the tent, the slope on its right."""
    distance = torch.tensor(distance, dtype=torch.float64, requires_grad=True)
    kernel(distance).sum().backward()
    assert distance.grad.tolist() == expected


@pytest.mark.parametrize("kernel", [integer_kernel, bilinear_kernel, bicubic_kernel])
def test_weights_add_up_to_one(kernel):
    x = torch.linspace(-0.5, 1.5, 41, dtype=torch.float64)
    pixels = torch.arange(-4.0, 6)
    weights = kernel(x[:, None] - pixels)
    assert_close(weights.sum(1), torch.ones_like(x))


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (bilinear_kernel, [0, 0.25, 0.5, 0.75]),
        (bicubic_kernel, [0, 19 / 64, 0.5, 45 / 64]),
    ],
)
def test_reading_a_ramp(kernel, expected):
    """The tent follows a straight line; a = -0.75 bends it between half pixels."""
    pixels = torch.arange(-4.0, 6)
    weights = kernel(torch.tensor([[0.0], [0.25], [0.5], [0.75]]) - pixels)
    assert (weights @ pixels).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("mode", "kernel"),
    [
        ("integer", integer_kernel),
        ("bilinear", bilinear_kernel),
        ("bicubic", bicubic_kernel),
    ],
)
def test_loops_give_the_same(mode, kernel):
    """Values and slopes: between pixels, on them, halfway, at the edge, outside."""
    gen = torch.Generator().manual_seed(0)
    image = torch.randn(2, 4, dtype=torch.float64, generator=gen)
    points = [(1.3, 0.6), (2, 1), (0, 0), (0.5, 1), (1.5, 0.5), (-0.7, 0.2), (3, -1)]
    points += [(3.5, 1.5), (4, 2), (-2, 0), (7.1, 9.2)]
    for x, y in points:
        grid = grid_at(x, y, (2, 4)).requires_grad_()
        output = grid_sample(image[None, None], grid, mode)
        (slope,) = torch.autograd.grad(output, grid)
        x, y = (
            torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (x, y)
        )
        looped = sample_with_loops(image, x, y, kernel)
        assert_close(output.reshape(()), looped)
        if mode != "integer":
            slopes = torch.stack(torch.autograd.grad(looped, (x, y)))
            assert_close(slope.flatten() / torch.tensor([2, 1]), slopes)


# Memory ------------------------------------------------------------------------


def peak_memory(function, folder):
    """Most bytes that tensors made by ``function`` hold at one time."""
    activities = [ProfilerActivity.CPU]
    with (
        torch.inference_mode(),
        profile(activities=activities, profile_memory=True) as profiler,
    ):
        function()
    trace = folder / "trace.json"
    profiler.export_chrome_trace(str(trace))
    events = json.loads(trace.read_text())["traceEvents"]
    held = [e["args"]["Total Allocated"] for e in events if e["name"] == "[memory]"]
    return max(held) - min(held)


def all_at_once(input, grid, mode, padding_mode, align_corners):
    """A right but wasteful sampler: all four neighbours and weights at one time."""
    size = torch.tensor([input.shape[3], input.shape[2]])
    position = ((grid + 1) * size - 1) / 2
    pixels = torch.stack([position.floor(), position.floor() + 1])
    weights = 1 - (position - pixels).abs()
    columns, rows = torch.minimum(pixels.clamp(min=0), size - 1).long().unbind(-1)
    samples = torch.arange(len(input)).view(-1, 1, 1)
    values = input[samples, :, rows[:, None], columns]
    weights = weights[:, None, ..., 1] * weights[..., 0]
    return (values * weights[..., None]).sum((0, 1)).permute(0, 3, 1, 2)


def memory_ratio(function, channels, padding_mode, align_corners, folder):
    gen = torch.Generator().manual_seed(0)
    input = torch.rand(4, channels, 64, 64, generator=gen)
    grid = 1.9 * torch.rand(4, 64, 64, 2, generator=gen) - 0.95
    arguments = (input, grid, "bilinear", padding_mode, align_corners)
    peak = peak_memory(lambda: function(*arguments), folder)
    return peak / (input.numel() * input.element_size())


@pytest.mark.parametrize("channels", [1, 3])
@all_paddings
@both_alignments
def test_memory_stays_under_fourteen_outputs(
    channels, padding_mode, align_corners, tmp_path
):
    ratio = memory_ratio(grid_sample, channels, padding_mode, align_corners, tmp_path)
    assert 1 <= ratio < 14


def test_memory_of_a_wasteful_sampler_is_seen(tmp_path):
    gen = torch.Generator().manual_seed(0)
    input = torch.rand(1, 2, 6, 8, generator=gen)
    grid = 1.5 * torch.rand(1, 5, 5, 2, generator=gen) - 0.75
    arguments = (input, grid, "bilinear", "zeros", False)
    assert_close(all_at_once(*arguments), grid_sample(*arguments))
    assert memory_ratio(all_at_once, 1, "zeros", False, tmp_path) > 14


# warp, and bad input -----------------------------------------------------------


@all_modes
@all_paddings
@both_alignments
def test_warp_is_grid_and_sampler(mode, padding_mode, align_corners):
    gen = torch.Generator().manual_seed(0)
    input = torch.rand(3, 2, 5, 6, generator=gen)
    theta = torch.randn(3, 2, 3, generator=gen)
    grid = affine_grid(theta, (3, 2, 4, 7), align_corners)
    expected = grid_sample(input, grid, mode, padding_mode, align_corners)
    output = warp(input, theta, (4, 7), mode, padding_mode, align_corners)
    assert torch.equal(output, expected)


def test_warp_shares_one_theta_and_keeps_the_size():
    gen = torch.Generator().manual_seed(0)
    input = torch.rand(3, 2, 5, 6, generator=gen)
    theta = torch.randn(1, 2, 3, generator=gen)
    output = warp(input, theta)
    assert output.shape == input.shape
    assert torch.equal(output, warp(input, theta.expand(3, 2, 3)))
    assert not torch.equal(output, warp(input, identity()))


def test_warp_takes_the_dtype_of_the_image():
    assert warp(torch.rand(1, 1, 3, 3).double(), identity()).dtype == torch.float64


def test_warp_lets_gradients_through_to_theta():
    gen = torch.Generator().manual_seed(0)
    input = torch.rand(2, 1, 4, 5, dtype=torch.float64, generator=gen)
    theta = (0.8 * identity() + 0.03).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: warp(input, t), theta)


def test_theta_says_where_to_look():
    """The grid moves right by one pixel, so the content moves left."""
    output = warp(row(1, 2, 4, 8), translation(2 / 4, 0))
    assert output[0, 0, 0].tolist() == [2, 4, 8, 0]


IMAGE, GRID = torch.zeros(2, 1, 4, 5), torch.zeros(2, 3, 3, 2)
BAD = {
    "mode": ((IMAGE, GRID, "garbage"), r"mode.*bilinear.*but got: 'garbage'"),
    "padding": (
        (IMAGE, GRID, "bilinear", "garbage"),
        r"padding_mode.*'zeros', 'border', 'reflection'.*but got: 'garbage'",
    ),
    "image without a batch": (
        (IMAGE[0], GRID),
        r"expected input .* batch axis and a channel axis, but got shape \(1, 4, 5\)",
    ),
    "image without rows": (
        (IMAGE[:, :, :0], GRID),
        r"expected input to have non-empty spatial dimensions.*got \(2, 1, 0, 5\)",
    ),
    "whole-number image": (
        (IMAGE.byte(), GRID),
        "expected input of floating point type.*but got torch.uint8",
    ),
    "grid without a batch": (
        (IMAGE, GRID[0]),
        r"expected grid .*\(N, h, w, 2\), but got shape \(3, 3, 2\)",
    ),
    "grid of three numbers": (
        (IMAGE, torch.zeros(2, 3, 3, 3)),
        r"expected grid to have size 2 in last dimension.*got shape \(2, 3, 3, 3\)",
    ),
    "batch sizes": (
        (IMAGE, GRID[:1]),
        r"same batch size, but got input \(2, 1, 4, 5\) and grid \(1, 3, 3, 2\)",
    ),
    "image with a depth": (
        (IMAGE[:, None], GRID),
        r"expected input of shape \(N, C, H, W\).*got shape \(2, 1, 1, 4, 5\)",
    ),
    "grid with fewer digits": (
        (IMAGE.double(), GRID),
        "same type, .* more digits, but got torch.float64 and torch.float32",
    ),
    "whole-number grid": (
        (IMAGE, GRID.long()),
        "grid of floating point type, got torch.int64",
    ),
    "complex image": (
        (IMAGE.cfloat(), GRID, "nearest"),
        "expected input of a real type, but got torch.complex64",
    ),
    "mask read at NaN": (
        (IMAGE.long(), torch.cat([GRID[:1], GRID[1:] * float("nan")]), "nearest"),
        r"in sample\(s\) \[1\] it is NaN, which an output of torch.int64 cannot say",
    ),
    "devices": ((IMAGE, GRID.to("meta")), "same device, but got cpu and meta"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        grid_sample(*arguments)


BAD_WARP = {
    "image": ((IMAGE[0], identity()), r"expected input.*got shape \(1, 4, 5\)"),
    "theta as 3x3": ((IMAGE, torch.eye(3)[None]), r"Nx2x3, but got .*3, 3\)"),
    "theta in a row": ((IMAGE, torch.zeros(2, 6)), r"Nx2x3, but got \(2, 6\)"),
    "batch sizes": ((IMAGE, identity(3)), "one for each image, .* 3 thetas for 2"),
    "16 bits without a sign": (
        (IMAGE.to(torch.uint16), identity(), None, "nearest"),
        r"cannot look up pixels of torch.uint16: input.to\(torch.int32\)",
    ),
    "size as text": ((IMAGE, identity(), "88"), "expected a size .*got '88'"),
    "size": ((IMAGE, identity(), (4,)), r"expected a size \(H, W\).*got \(4,\)"),
    "size as of an image": ((IMAGE, identity(), IMAGE.shape), r"size \(H, W\).*Size"),
    "half a pixel": ((IMAGE, identity(), 4.5), "whole numbers.*got 4.5"),
    "theta without a batch": ((IMAGE, identity()[0]), r"theta\[None\] makes a batch"),
    "mode": ((IMAGE, identity(), None, "linear"), "but got: 'linear'"),
    "padding": ((IMAGE, identity(), None, "bilinear", "wrap"), "but got: 'wrap'"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_WARP.values(), ids=BAD_WARP)
def test_bad_input_of_warp_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        warp(*arguments)


PLACES = torch.tensor([-2.0, 0.25, 3.5, 9.0])  # along a side of four pixels


def test_pad_by_hand():
    padded = {mode: pad(PLACES, 4, mode, False).tolist() for mode in PADDINGS}
    assert padded == {
        "zeros": [-2, 0.25, 3.5, 9],
        "border": [0, 0.25, 3, 3],
        "reflection": [1, 0.25, 3, 1],
    }


def test_neighbours_by_hand():
    """Halves to the even pixel, halves up, two around a place, four around it."""
    found = {
        mode: [each.tolist() for each in neighbours(torch.tensor([2.5]), mode)]
        for mode in KERNELS
    }
    assert found == {
        "nearest": [[2]],
        "integer": [[3]],
        "bilinear": [[2], [3]],
        "bicubic": [[1], [2], [3], [4]],
    }


@pytest.mark.parametrize("mode", ["Zeros", "zero", "border ", "", None])
def test_an_unknown_padding_is_none(mode):
    with pytest.raises(ValueError, match=f"padding_mode to be .*but got: '{mode}'"):
        pad(PLACES, 4, mode, False)


@pytest.mark.parametrize("mode", ["Bicubic", "cubic", "linear", "", None])
def test_an_unknown_mode_has_no_neighbours(mode):
    with pytest.raises(ValueError, match=f"mode to be one of .*but got: '{mode}'"):
        next(neighbours(PLACES, mode))


SIDED = {
    "unnormalise": lambda n, flag=False: unnormalise(PLACES, n, flag),
    "reflect": lambda n, flag=False: reflect(PLACES, n, flag),
    "clip": lambda n, flag=False: clip(PLACES, n),
    "pad by zeros": lambda n, flag=False: pad(PLACES, n, "zeros", flag),
    "pad by the border": lambda n, flag=False: pad(PLACES, n, "border", flag),
    "pad by a mirror": lambda n, flag=False: pad(PLACES, n, "reflection", flag),
}


@pytest.mark.parametrize("call", SIDED.values(), ids=SIDED)
@pytest.mark.parametrize("n", [2.5, 4.0, 0, -1, float("nan"), torch.tensor(4.5)])
def test_a_side_is_a_whole_number_of_pixels(call, n):
    with pytest.raises(ValueError, match="size to be a whole number from 1 on"):
        call(n)


@pytest.mark.parametrize("call", SIDED.values(), ids=SIDED)
def test_a_side_may_be_numpys_or_a_tensor(call):
    for n in (np.int64(4), torch.tensor(4)):
        assert torch.equal(call(n), call(4))


ALIGNED = {name: call for name, call in SIDED.items() if name != "clip"} | {
    "sample": lambda _, flag: grid_sample(IMAGE, GRID, align_corners=flag),
    "warp": lambda _, flag: warp(IMAGE, identity(), align_corners=flag),
}


@pytest.mark.parametrize("call", ALIGNED.values(), ids=ALIGNED)
@pytest.mark.parametrize("flag", ["False", "True", 2])
def test_a_text_is_neither_true_nor_false(call, flag):
    with pytest.raises(TypeError, match="align_corners to be True or False, but got"):
        call(4, flag)


def test_an_image_for_the_loops_has_two_axes():
    with pytest.raises(ValueError, match=r"shape \(H, W\), but got \(1, 4, 5\)"):
        sample_with_loops(IMAGE[0], torch.tensor(1.0), torch.tensor(1.0), clip)


def test_an_array_or_a_picture_is_no_tensor():
    array = np.zeros((1, 1, 4, 5), dtype=np.float32)
    for picture in (array, Image.fromarray(array[0, 0])):
        with pytest.raises(TypeError, match="a tensor .*but got a (numpy|PIL)"):
            warp(picture, identity())
    with pytest.raises(TypeError, match="theta to be a tensor .*but got a ndarray"):
        warp(IMAGE, np.zeros((1, 2, 3), dtype=np.float32))


def test_one_image_serves_many_thetas():
    gen = torch.Generator().manual_seed(0)
    image = torch.rand(1, 2, 5, 6, generator=gen).requires_grad_()
    theta = torch.randn(3, 2, 3, generator=gen)
    output = warp(image, theta)
    assert torch.equal(output, warp(image.expand(3, -1, -1, -1), theta))
    assert output.sum(0).shape == image.shape[1:]


def test_one_number_is_a_square():
    image = torch.rand(1, 1, 5, 6)
    assert torch.equal(warp(image, identity(), 4), warp(image, identity(), (4, 4)))


# Blur


@pytest.mark.parametrize("sigma", [1, 2.0, 0.4, 5, (3, 1), (0, 2.5), (1.7, 0.3)])
@pytest.mark.parametrize("shape", [(1, 1, 9, 9), (2, 3, 7, 30)])
def test_blur_is_scipys_gaussian_filter(sigma, shape):
    images = torch.rand(shape, dtype=torch.float64)
    down, across = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    scipy = ndimage.gaussian_filter(images, (0, 0, down, across), mode="nearest")
    assert_close(blur(images, sigma), torch.from_numpy(scipy))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_blur_rounds_half_precision_once(dtype):
    images = torch.rand(1, 2, 20, 30, generator=torch.Generator().manual_seed(0))
    images = images.to(dtype)
    scipy = ndimage.gaussian_filter(images.double(), (0, 0, 1.5, 1.5), mode="nearest")
    rounding = torch.finfo(dtype).eps / 2
    assert_close(blur(images, 1.5).double(), torch.tensor(scipy), rtol=rounding, atol=0)


def test_autocast_does_not_coarsen_blur():
    images = torch.rand(1, 2, 20, 30)
    with torch.autocast("cpu", torch.bfloat16):
        inside = blur(images, 1.5)
    assert torch.equal(inside, blur(images, 1.5))


@pytest.mark.parametrize("sigma", [-1, float("nan"), float("inf"), (1, -2), (1, 2, 3)])
def test_blur_refuses_what_is_no_width(sigma):
    with pytest.raises(ValueError, match=r"expected sigma in pixels, 0 or more.*got"):
        blur(torch.rand(1, 1, 4, 4), sigma)
