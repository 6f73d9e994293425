"""The fused kernel against PyTorch's sampler in float64, and all that surrounds it."""

import math
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from stn_tutorial import fast, transformer
from stn_tutorial.affine import compose, rotation, scaling
from stn_tutorial.interpolation import warp
from stn_tutorial.transformer import LocalisationNet

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_case(
    n: int, c: int, size: tuple[int, int], spread: float = 0.5, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Images and transforms in float64, some of which look far beyond the image."""
    generator = seeded(seed)
    images = torch.rand(n, c, *size, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, 2, 3, generator=generator, dtype=torch.float64)
    return images, torch.eye(2, 3, dtype=torch.float64) + spread * noise


def reference(images: Tensor, theta: Tensor, size: tuple[int, int]) -> Tensor:
    grid = F.affine_grid(theta, (len(theta), 1, *size), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def both(
    function: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    theta: Tensor,
    weight: Tensor,
) -> list[Tensor]:
    """The result, and the gradients of images and theta."""
    images, theta = images.detach().requires_grad_(), theta.detach().requires_grad_()
    output = function(images, theta)
    return [output.detach(), *torch.autograd.grad(output, (images, theta), weight)]


def test_the_kernel_is_there() -> None:
    """Where the tests run there is a compiler, so none below tests the fallback."""
    assert fast.missing() == ""


SIZES = [
    # n, c, (H, W), (h, w): planes, packed planes, one vector of channels and a rest
    (1, 1, (1, 1), (1, 1)),
    (3, 1, (1, 7), (5, 2)),
    (2, 3, (9, 14), (7, 20)),
    (9, 2, (6, 5), (6, 5)),
    (2, 16, (8, 9), (8, 9)),
    (3, 37, (12, 7), (9, 11)),
    (1, 20, (40, 40), (5, 5)),
    (1, 17, (130, 130), (70, 70)),
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("n", "c", "source", "target"), SIZES)
def test_values_and_gradients_are_pytorchs(
    n: int, c: int, source: tuple, target: tuple, layout: torch.memory_format
) -> None:
    images, theta = random_case(n, c, source)
    weight = torch.randn(n, c, *target, generator=seeded(1), dtype=torch.float64)
    expected = both(lambda i, t: reference(i, t, target), images, theta, weight)
    assert expected[0].count_nonzero()
    images = images.contiguous(memory_format=layout)
    got = both(lambda i, t: fast.affine_sample(i, t, target), images, theta, weight)
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 40),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.sampled_from([0.01, 0.3, 3.0]),
    st.integers(0, 10**6),
)
def test_any_sizes(
    n: int, c: int, source: tuple, target: tuple, spread: float, seed: int
) -> None:
    images, theta = random_case(n, c, source, spread, seed)
    weight = torch.randn(n, c, *target, generator=seeded(seed), dtype=torch.float64)
    expected = both(lambda i, t: reference(i, t, target), images, theta, weight)
    got = both(lambda i, t: fast.affine_sample(i, t, target), images, theta, weight)
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("shape", [(5, 1, 28, 28), (2, 64, 56, 56), (1, 3, 270, 480)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_float32_is_exact_to_a_millionth(
    shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    """PyTorch's own float32 result is not: its places have too few digits."""
    images, theta = random_case(*shape[:2], shape[2:], 0.1)
    images, theta = images.float(), theta.float()
    weight = torch.randn(shape, generator=seeded(1))
    exact = both(
        lambda i, t: reference(i, t, shape[2:]),
        *(tensor.double() for tensor in (images, theta, weight)),
    )
    given = images.contiguous(memory_format=layout)
    got = both(fast.affine_sample, given, theta, weight)
    for ours, true in zip(got, exact, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - true).abs().max() < 1e-6 * true.abs().max()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("c", [2, 16, 18])
def test_the_identity_changes_no_bit_and_takes_the_slope_on_the_right(
    c: int, layout: torch.memory_format
) -> None:
    """Where each transformer starts; 0.1 of a width is no binary number."""
    images = torch.rand(2, c, 11, 13, generator=seeded()).contiguous(
        memory_format=layout
    )
    theta = torch.eye(2, 3).repeat(2, 1, 1).requires_grad_()
    output = fast.affine_sample(images, theta)
    assert torch.equal(output, images)
    output.sum().backward()
    right = F.pad(images, (0, 1))[..., 1:] - images
    assert theta.grad is not None
    expected = right.sum((1, 2, 3)) * 13 / 2
    torch.testing.assert_close(theta.grad[:, 0, 2], expected, rtol=1e-4, atol=1e-4)


def test_a_layout_is_kept() -> None:
    images, theta = random_case(2, 18, (8, 9), 0.1)
    last = images.contiguous(memory_format=torch.channels_last).requires_grad_()
    output = fast.affine_sample(last, theta)
    assert output.is_contiguous(memory_format=torch.channels_last)
    output.sum().backward()
    assert last.grad is not None
    assert last.grad.is_contiguous(memory_format=torch.channels_last)
    assert fast.affine_sample(images, theta).is_contiguous()


STRANGE = {
    "slice": lambda images: images[:, 1::2, ::2, 1:],
    "transposed": lambda images: images.mT,
    "expanded channels": lambda images: images[:, :1].expand(-1, 20, -1, -1),
    "flipped": lambda images: images.flip(3)[:, :, 1:],
    "one for all": lambda images: images[:1].expand(3, -1, -1, -1),
    "last, one for all": lambda images: (
        images[:1].contiguous(memory_format=torch.channels_last).expand(3, -1, -1, -1)
    ),
}


@pytest.mark.parametrize("view", STRANGE.values(), ids=STRANGE)
def test_any_strides(view: Callable[[Tensor], Tensor]) -> None:
    images, theta = random_case(3, 6, (12, 10), 0.2)
    images, size = view(images), (7, 8)
    weight = torch.rand(1, generator=seeded(2), dtype=torch.float64)
    weight = weight.expand(3, images.shape[1], *size)
    expected = both(
        lambda i, t: reference(i, t, size), images, theta.mT.clone().mT, weight
    )
    theta = theta.mT.clone().mT  # not contiguous either
    got = both(lambda i, t: fast.affine_sample(i, t, size), images, theta, weight)
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_one_image_or_one_theta_serves_all() -> None:
    images, theta = random_case(4, 3, (6, 7), 0.2)
    for some, few in ((images[:1], theta), (images, theta[:1])):
        weight = torch.rand(4, 3, 6, 7, generator=seeded(3), dtype=torch.float64)
        got = both(fast.affine_sample, some, few, weight)
        expected = both(warp, some, few, weight)
        for ours, theirs in zip(got, expected, strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 0, 4, 5)])
def test_an_empty_batch(shape: tuple[int, ...]) -> None:
    images = torch.rand(shape, requires_grad=True)
    theta = torch.zeros(shape[0], 2, 3, requires_grad=True)
    output = fast.affine_sample(images, theta, (6, 7))
    assert output.shape == (*shape[:2], 6, 7)
    output.sum().backward()
    assert images.grad is not None
    assert theta.grad is not None
    assert images.grad.shape == shape
    assert theta.grad.count_nonzero() == 0


@pytest.mark.parametrize("c", [1, 16])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, 1e38, -1e30])
@pytest.mark.parametrize("entry", range(6))
def test_what_is_no_number_stays_none(
    c: int, layout: torch.memory_format, bad: float, entry: int
) -> None:
    """As with the book's sampler; the other images do not notice."""
    images, theta = random_case(3, c, (9, 8), 0.1)
    images, theta = images.float(), theta.float()
    theta[1, entry // 3, entry % 3] = bad
    images = images.contiguous(memory_format=layout)
    output = fast.affine_sample(images, theta)
    others = images[::2], theta[::2]
    exact = reference(*(tensor.double() for tensor in others), (9, 8))
    torch.testing.assert_close(output[::2], exact.float())
    lost = not math.isfinite(bad)
    assert output[1].isnan().all() if lost else output[1].isfinite().all()
    weight = torch.ones_like(output)
    _, to_images, to_theta = both(fast.affine_sample, images, theta, weight)
    assert to_images.isfinite().all()
    assert to_theta[::2].isfinite().all()
    assert to_theta[1].isfinite().all() != lost


@pytest.mark.parametrize("c", [1, 16])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_pixel_that_is_no_number_reaches_its_readers_alone(
    c: int, layout: torch.memory_format
) -> None:
    images, theta = random_case(2, c, (9, 8), 0.02)
    images[0, 0, 4, 0] = torch.nan  # where a row of the image begins
    images[0, 0, 4, 7] = torch.inf
    expected = reference(images, theta, (9, 8))
    given = images.contiguous(memory_format=layout)
    output = fast.affine_sample(given, theta)
    torch.testing.assert_close(output, expected, equal_nan=True)
    assert expected.isnan().any()


@pytest.mark.parametrize("shift", [5.0, -5.0, 2.0, -2.0])
def test_a_window_beyond_the_image_is_black_and_teaches_nothing(shift: float) -> None:
    images, theta = random_case(2, 3, (6, 7), 0.0)
    theta[:, :, 2] = shift
    weight = torch.ones(2, 3, 6, 7, dtype=torch.float64)
    for tensor in both(fast.affine_sample, images, theta, weight):
        assert not tensor.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(dtype: torch.dtype) -> None:
    images, theta = random_case(2, 5, (9, 12), 0.2)
    images, theta = images.to(dtype), theta.float()
    output = fast.affine_sample(images, theta)
    assert output.dtype == dtype
    exact = reference(images.double(), theta.double(), (9, 12))
    torch.testing.assert_close(output, exact.to(dtype), rtol=1e-2, atol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(fast.affine_sample(images, theta), output)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("c", [2, 17])
def test_gradcheck(c: int, layout: torch.memory_format) -> None:
    images, theta = random_case(1, c, (4, 5), 0.3)
    images = images.contiguous(memory_format=layout).requires_grad_()
    function = lambda i, t: fast.affine_sample(i, t, (3, 4))  # noqa: E731
    assert torch.autograd.gradcheck(function, (images, theta.requires_grad_()))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("c", [3, 16])
def test_opcheck(c: int, layout: torch.memory_format) -> None:
    """PyTorch's own test of an operator: schema, fake, autograd, compilation."""
    images, theta = random_case(2, c, (5, 6), 0.3)
    images = images.contiguous(memory_format=layout)
    weight = torch.rand(2, c, 4, 5, dtype=torch.float64)
    assert fast.missing() == ""
    ops = torch.ops.stn_fast
    for flag in (True, False):
        backward = (weight, images, theta, flag)
        torch.library.opcheck(ops.affine_sample_backward.default, backward)
    leaves = images.requires_grad_(), theta.requires_grad_()
    torch.library.opcheck(ops.affine_sample.default, (*leaves, 4, 5))


@pytest.mark.parametrize("wanted", [(True, False), (False, True)])
def test_a_gradient_nobody_wants_is_not_computed(wanted: tuple[bool, bool]) -> None:
    images, theta = random_case(2, 3, (5, 6))
    images.requires_grad_(wanted[0])
    theta.requires_grad_(wanted[1])
    fast.affine_sample(images, theta).sum().backward()
    assert [t.grad is not None for t in (images, theta)] == list(wanted)
    reference_images, reference_theta = (
        t.detach().requires_grad_(w)
        for t, w in zip((images, theta), wanted, strict=True)
    )
    reference(reference_images, reference_theta, (5, 6)).sum().backward()
    for ours, theirs in ((images, reference_images), (theta, reference_theta)):
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad)


def test_a_second_derivative_is_refused() -> None:
    images, theta = random_case(1, 1, (5, 6))
    theta.requires_grad_()
    output = fast.affine_sample(images, theta).square().sum()
    (slope,) = torch.autograd.grad(output, theta, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        slope.sum().backward()


@pytest.mark.parametrize("dims", [(0, 0), (None, 0), (0, None), (1, 2)])
def test_vmap(dims: tuple[int | None, int | None]) -> None:
    """Over a further axis, of the images, of theta, or of both, wherever it stands."""
    images, theta = random_case(6, 4, (5, 6), 0.2)
    images, theta = images.unflatten(0, (3, 2)), theta.unflatten(0, (3, 2))
    given = []
    for tensor, dim in zip((images, theta), dims, strict=True):
        given.append(tensor[0] if dim is None else tensor.movedim(0, dim))
    mapped = torch.func.vmap(lambda i, t: fast.affine_sample(i, t, (3, 4)), dims)
    output = mapped(*given)
    for k in range(3):
        some = [
            t[0 if d is None else k] for t, d in zip((images, theta), dims, strict=True)
        ]
        torch.testing.assert_close(output[k], reference(*some, (3, 4)))


def test_vmap_of_the_way_back() -> None:
    images, theta = random_case(6, 4, (5, 6), 0.2)
    weight = torch.rand(6, 4, 5, 6, dtype=torch.float64)
    back = torch.ops.stn_fast.affine_sample_backward
    apart = [t.unflatten(0, (3, 2)) for t in (weight, images, theta)]
    mapped = torch.func.vmap(lambda g, i, t: back(g, i, t, True))
    for ours, once in zip(
        mapped(*apart), back(weight, images, theta, True), strict=True
    ):
        assert torch.equal(ours.flatten(0, 1), once)
    mapped = torch.func.vmap(lambda g, i, t: back(g, i, t, False)[1])
    once = back(weight, images, theta, False)[1]
    assert torch.equal(mapped(*apart).flatten(0, 1), once)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # PyTorch's own
def test_a_forward_mode_derivative_is_refused_and_not_0() -> None:
    images, theta = random_case(2, 1, (5, 6))
    with pytest.raises(NotImplementedError, match="forward-mode"):
        torch.func.jvp(
            lambda t: fast.affine_sample(images, t), (theta,), (theta.clone(),)
        )


def test_it_compiles_for_sizes_that_are_not_known() -> None:
    compiled = torch.compile(
        fast.affine_sample, fullgraph=True, dynamic=True, backend="aot_eager"
    )
    for n, size in ((2, (5, 6)), (3, (8, 4)), (1, (9, 9))):
        images, theta = random_case(n, 2, size)
        torch.testing.assert_close(
            compiled(images, theta), fast.affine_sample(images, theta)
        )


def test_it_compiles_into_one_graph() -> None:
    """A batch that changes its size does not break it either."""
    compiled = torch.compile(fast.affine_sample, fullgraph=True, backend="aot_eager")
    for n, c in ((2, 3), (5, 3), (2, 16)):
        images, theta = random_case(n, c, (8, 9), 0.2)
        weight = torch.rand(n, c, 8, 9, dtype=torch.float64)
        got = both(compiled, images, theta, weight)
        expected = both(fast.affine_sample, images, theta, weight)
        assert all(map(torch.equal, got, expected))


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("n", "c"), [(1, 3), (9, 3), (3, 40)])
def test_the_bits_are_the_same_on_any_number_of_threads(
    n: int, c: int, layout: torch.memory_format, threads: None
) -> None:
    images, theta = random_case(n, c, (64, 64), 0.1)
    images = images.float().contiguous(memory_format=layout)
    weight = torch.randn(n, c, 64, 64, generator=seeded(1))
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        results.append(both(fast.affine_sample, images, theta.float(), weight))
    for result in results[1:]:
        assert all(map(torch.equal, results[0], result))


def test_small_numbers_stay_what_they_are() -> None:
    """A kernel linked with -ffast-math would round them to 0, in the whole process."""
    assert fast.missing() == ""
    tiny = torch.tensor([1e-40]) * 0.5
    assert tiny.item() > 0


BAD = [
    ([1.0], {}, TypeError, "expected input to be a tensor"),
    (torch.rand(3, 4, 5), {}, ValueError, "(N, C, H, W)"),
    (torch.rand(1, 3, 0, 5), {}, ValueError, "non-empty"),
    (torch.ones(1, 3, 4, 5, dtype=torch.uint8), {}, ValueError, "floating point"),
    (None, {"theta": torch.eye(3)[None]}, ValueError, "Nx2x3"),
    (None, {"theta": torch.rand(3, 2, 3)}, ValueError, "3 thetas for 2 images"),
    (None, {"theta": torch.rand(2, 2, 3, device="meta")}, ValueError, "same device"),
    (None, {"size": (0, 4)}, ValueError, "0"),
    (None, {"size": 2.5}, (TypeError, ValueError), "2.5"),
]


@pytest.mark.parametrize(("images", "options", "error", "message"), BAD)
def test_bad_input_is_told(
    images: Tensor | None, options: dict, error: type, message: str
) -> None:
    given = torch.rand(2, 3, 4, 5) if images is None else images
    theta = (
        options.pop("theta", torch.eye(2, 3)[None])
        if options
        else torch.eye(2, 3)[None]
    )
    with pytest.raises(error, match=re.escape(message)):
        fast.affine_sample(given, theta, **options)


def test_the_operator_itself_checks_its_input() -> None:
    assert fast.missing() == ""
    operator = torch.ops.stn_fast.affine_sample
    images = torch.rand(2, 3, 4, 5)
    for theta in (torch.eye(2, 3)[None], torch.eye(2, 3).double().repeat(2, 1, 1)):
        with pytest.raises(RuntimeError, match="expected one theta an image"):
            operator(images, theta, 4, 5)
    backward, thetas = torch.ops.stn_fast.affine_sample_backward, torch.eye(2, 3)
    for shape in ((2, 1, 4, 5), (1, 3, 4, 5), (2, 3, 4)):
        with pytest.raises(RuntimeError, match="expected a gradient of"):
            backward(torch.rand(shape), images, thetas.repeat(2, 1, 1), True)


@pytest.fixture
def fresh() -> Iterator[None]:
    """Forget what has been built, before and after."""
    fast.missing.cache_clear()
    yield
    fast.missing.cache_clear()


def assert_falls_back(reason: str) -> None:
    images, theta = random_case(2, 3, (6, 7), 0.2)
    theta[1, 0, 0] = torch.nan
    with pytest.warns(UserWarning, match=reason):
        output = fast.affine_sample(images, theta, (4, 5))
    torch.testing.assert_close(output[:1], reference(images[:1], theta[:1], (4, 5)))
    assert output[1].isnan().all()


def test_without_ninja(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert_falls_back("ninja, which drives the compiler, is not installed")


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    def build() -> None:
        raise RuntimeError("Error building extension: c++ not found")

    monkeypatch.setattr(fast, "_build", build)
    assert_falls_back("could not be built: Error building extension")


def test_a_compiler_that_fails(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another process, whose folder for extensions is empty and compiler `false`."""
    code = (
        "import warnings, torch; from stn_tutorial import fast;"
        "warnings.simplefilter('ignore');"
        "images, theta = torch.ones(1, 1, 4, 4), torch.eye(2, 3)[None];"
        "print(fast.affine_sample(images, theta).sum());"
        "print(fast.missing())"
    )
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.setenv("CXX", "false")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tensor(16.)\nthe kernel could not be built: ")


def test_another_device_takes_pytorchs_sampler() -> None:
    images = torch.rand(2, 3, 4, 5, device="meta")
    theta = torch.rand(2, 2, 3, device="meta")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fast.affine_sample(images, theta, 6).shape == (2, 3, 6, 6)


# Shrinking without aliasing


def area_mean(images: Tensor, theta: Tensor, size: tuple[int, int]) -> Tensor:
    """32 x 32 points a pixel, by PyTorch's sampler."""
    fine = reference(images, theta, (32 * size[0], 32 * size[1]))
    return F.avg_pool2d(fine, 32)


def smooth_noise(n: int, c: int, side: int) -> Tensor:
    noise = torch.rand(n, c, side, side, generator=seeded(), dtype=torch.float64)
    return F.avg_pool2d(F.pad(noise, [1] * 4, mode="reflect"), 3, 1)


@pytest.mark.parametrize("shrink", [1.5, 3.0, 6.0])
def test_shrinking_comes_near_the_mean_over_the_area(shrink: float) -> None:
    images, side = smooth_noise(2, 3, 96), round(96 * 0.6 / shrink)
    theta = compose(scaling(0.6), rotation(20.0)).double()
    true = area_mean(images, theta.expand(2, -1, -1), (side, side))

    def miss(output: Tensor) -> float:
        return (output - true).square().mean().sqrt().item()

    plain = miss(fast.affine_sample(images, theta, side))
    assert miss(fast.affine_shrink(images, theta, side, 1)) == plain
    assert miss(fast.affine_shrink(images, theta, side)) < 0.2 * plain
    finer = [miss(fast.affine_shrink(images, theta, side, p)) for p in (2, 4, 8)]
    assert finer[2] < finer[1] < finer[0] < plain


@pytest.mark.parametrize("shrink", [1, 2, 3, 8])
def test_whole_pixels_are_shrunk_to_their_mean(shrink: int) -> None:
    images = smooth_noise(2, 3, 24)
    theta = torch.eye(2, 3, dtype=torch.float64)[None]
    output = fast.affine_shrink(images, theta, 24 // shrink)
    torch.testing.assert_close(output, F.avg_pool2d(images, shrink))


@pytest.mark.parametrize(
    ("sides", "size", "points"),
    [
        ((1.0, 1.0), (24, 24), 1),
        ((1.0, 0.5), (12, 12), 2),
        ((0.2, 0.9), (24, 8), 1),
        ((0.2, 0.9), (8, 24), 3),
        ((3.0, 0.1), (24, 24), 3),
    ],
)
def test_as_many_points_as_pixels(sides: tuple, size: tuple, points: int) -> None:
    images, theta = smooth_noise(1, 1, 24), scaling(*sides).double()
    expected = fast.affine_shrink(images, theta, size, points)
    assert torch.equal(fast.affine_shrink(images, theta, size), expected)
    fewer = fast.affine_shrink(images, theta, size, points + 1)
    assert not torch.equal(fewer, expected)


def test_shrinking_has_a_gradient_and_takes_an_empty_batch() -> None:
    images = smooth_noise(2, 3, 12).requires_grad_()
    theta = scaling(torch.tensor([0.2, 0.5], dtype=torch.float64)).requires_grad_()
    fast.affine_shrink(images, theta, 3).square().sum().backward()
    for leaf in (images, theta):
        assert leaf.grad is not None
        assert leaf.grad.any()
    assert fast.affine_shrink(images[:0], theta[:0], 3).shape == (0, 3, 3, 3)


@pytest.mark.parametrize(
    ("points", "entry", "message"),
    [(0, 1.0, "points"), (1.5, 1.0, "points"), (None, torch.nan, "a finite theta")],
)
def test_shrinking_tells_bad_input(
    points: int | None, entry: float, message: str
) -> None:
    theta = torch.full((1, 2, 3), entry)
    with pytest.raises(ValueError, match=message):
        fast.affine_shrink(torch.rand(1, 1, 4, 4), theta, 2, points)


# The transformer


class Fixed(nn.Module):
    def __init__(self, theta: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(theta)

    def forward(self, images: Tensor) -> Tensor:
        return self.theta.expand(len(images), -1, -1)


OPTIONS: list[dict] = [
    {},
    {"out_size": (5, 6)},
    {"padding_mode": "border"},
    {"mode": "nearest"},
    {"grid_generator": lambda theta, size: F.affine_grid(theta, size, False)},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_fast_transformer_is_the_transformer(
    options: dict, dtype: torch.dtype
) -> None:
    images, theta = random_case(3, 2, (8, 9), 0.2)
    nets = [
        kind(Fixed(theta[:1].float()), **options)
        for kind in (transformer.SpatialTransformer, fast.FastTransformer)
    ]
    outputs = [net(images.to(dtype)) for net in nets]
    torch.testing.assert_close(*outputs)
    for output in outputs:
        output.float().square().sum().backward()
    grads = [net.localisation.theta.grad for net in nets]
    torch.testing.assert_close(*grads, rtol=1e-3, atol=1e-2)


def test_the_fast_transformer_takes_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(fast, "affine_sample", lambda *given: called.append(given))
    net = fast.FastTransformer(LocalisationNet((1, 8, 8)), out_size=4)
    net.sample(torch.rand(2, 1, 8, 8), torch.eye(2, 3)[None])
    assert called[0][2] == (4, 4)
    mask = torch.ones(2, 1, 8, 8, dtype=torch.uint8)
    net.sample(mask, torch.eye(2, 3)[None], mode="nearest")
    assert len(called) == 1


def test_the_fast_transformer_takes_the_readers_own_sampler() -> None:
    def sevens(images: Tensor, grid: Tensor, *rest: object, **more: object) -> Tensor:
        return torch.full((len(images), images.shape[1], *grid.shape[1:3]), 7.0)

    images, theta = torch.rand(2, 1, 8, 8, generator=seeded()), rotation(20.0)
    net = LocalisationNet((1, 8, 8))
    module = fast.FastTransformer(net, sampler=sevens)
    assert (module.sample(images, theta) == 7).all()
    with pytest.raises(ValueError, match="mode"):
        fast.FastTransformer(net).sample(images, theta, mode="")


def test_shrinking_of_half_thetas_and_of_no_channels() -> None:
    wide = torch.rand(1, 1, 2, 70_000, generator=seeded())
    half = fast.affine_shrink(wide, torch.eye(2, 3).half()[None], (1, 35_000))
    torch.testing.assert_close(half, F.avg_pool2d(wide, 2), atol=1e-5, rtol=0)
    none = fast.affine_shrink(torch.zeros(2, 0, 9, 9), scaling(1.0), 3)
    assert none.shape == (2, 0, 3, 3)
    with pytest.raises(ValueError, match="too long to count"):
        fast.affine_shrink(torch.zeros(1, 1, 99, 99), scaling(1e38), 3)


def test_a_build_that_was_killed_does_not_stop_the_next(tmp_path) -> None:
    """PyTorch's own lock stays behind, and it waits for that without an end."""
    folder = tmp_path / f"stn_fast_{fast._kind():08x}"
    folder.mkdir()
    (folder / "lock").touch()
    code = "from stn_tutorial import fast; print(fast.missing())"
    environment = os.environ | {"TORCH_EXTENSIONS_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        check=True,
    )
    assert done.stdout.strip() == ""
