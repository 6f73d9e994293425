"""The affine sampler as one kernel, which never writes a grid to memory.

The kernel stands in ``fast.cpp`` beside this file, and ``fast_triton.py`` is its twin
for graphics cards.
"""

import math
import platform
import shutil
import sys
import warnings
import zlib
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

from stn_tutorial.affine import (
    _check_theta,
    _check_whole,
    affine_grid,
    at_least_float32,
    pair,
    without_autocast,
)
from stn_tutorial.interpolation import _check_floating, _check_images
from stn_tutorial.transformer import MODES, SpatialTransformer

#: The kernel's source.
SOURCE = Path(__file__).with_name("fast.cpp")
#: What the compiler is asked for. Not ``-ffast-math``, which would let it forget NaN.
FLAGS = ["-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math"]


@lru_cache
def missing() -> str:
    """What keeps this machine from building the kernel; "" if nothing does.

    The first call compiles it, in some ten seconds, and registers it with PyTorch. The
    result is kept in PyTorch's folder for extensions, where later calls find it.

    Used in chapter 11.
    """
    if not shutil.which("ninja"):
        return "the program ninja, which drives the compiler, is not installed"
    try:
        _build()
    except Exception as error:  # whatever a compiler, a linker or a disk may say
        return f"the kernel could not be built: {error}"
    _register()
    return ""


def _build() -> None:
    # When asked for: it imports setuptools
    from torch.utils import cpp_extension

    flags = [*FLAGS, *(["-fopenmp"] if sys.platform == "linux" else [])]
    name = f"stn_fast_{_kind():08x}"
    folder = Path(cpp_extension._get_build_directory(name, False))
    with (folder / "turn").open("w") as turn:
        if fcntl:
            fcntl.flock(turn, fcntl.LOCK_EX)  # falls with the process that holds it
            # PyTorch's own lock stays behind where a process is killed while it builds,
            # and all later ones would wait for it for ever.
            (folder / "lock").unlink(missing_ok=True)
        cpp_extension.load(
            name, str(SOURCE), extra_cflags=flags, is_python_module=False
        )


def _kind() -> int:
    """A number for this PyTorch and this kind of processor.

    A home may be shared by different processors, and PyTorch may be replaced by another
    version in its place: both need a kernel of their own.
    """
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else [platform.processor()]
    can = next((x for x in lines if x.startswith(("flags", "Features"))), lines[0])
    return zlib.crc32(f"{torch.__version__} {platform.machine()} {can}".encode())


@lru_cache  # PyTorch lets an operator be described only once
def _register() -> None:
    """Tell PyTorch what it needs for autograd, torch.compile and torch.func.vmap."""
    library, one, back = torch.library, "stn_fast::affine_sample", "_backward"
    library.register_fake(one, _fake)
    library.register_fake(one + back, _fake_backward)
    library.register_autograd(one, _gradients, setup_context=_remember)
    library.register_autograd(one + back, _no_second, setup_context=_nothing)
    if hasattr(library, "register_vmap"):  # since PyTorch 2.5
        library.register_vmap(one, _vmap)
        library.register_vmap(one + back, _vmap_backward)


def _empty_as(images: Tensor, shape: Sequence[Any]) -> Tensor:
    first = images[:1]
    tight = first.is_contiguous()
    last = not tight and first.is_contiguous(memory_format=torch.channels_last)
    order = torch.channels_last if last else torch.contiguous_format
    like: dict[str, Any] = {"dtype": images.dtype, "device": images.device}
    return torch.empty(shape, memory_format=order, **like)


def _fake(images: Tensor, theta: Tensor, h: int, w: int) -> Tensor:
    return _empty_as(images, (*images.shape[:2], h, w))


def _fake_backward(
    grad: Tensor, images: Tensor, theta: Tensor, for_images: bool
) -> tuple[Tensor, Tensor]:
    to_theta = torch.empty_like(theta, memory_format=torch.contiguous_format)
    if not for_images:
        return images.new_empty(0), to_theta
    return _empty_as(images, images.shape), to_theta


def _remember(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    images, theta = ctx.saved_tensors
    for_images, for_theta = ctx.needs_input_grad[:2]
    backward = torch.ops.stn_fast.affine_sample_backward
    to_images, to_theta = backward(grad, images, theta, for_images)
    none = None, None
    return to_images if for_images else None, to_theta if for_theta else None, *none


def _nothing(ctx: Any, inputs: tuple, output: tuple) -> None: ...


def _no_second(ctx: Any, *grads: Tensor) -> None:
    raise NotImplementedError(
        "the fast kernel knows no second derivative; take "
        "stn_tutorial.interpolation.warp or F.grid_sample where you need one"
    )


def _refuse_tangents(*tensors: Tensor) -> None:
    """PyTorch would drop them without a word: a derivative of 0."""
    if any(unpack_dual(tensor).tangent is not None for tensor in tensors):
        raise NotImplementedError(
            "the fast kernel knows no forward-mode derivative, as torch.func.jvp asks "
            "for; take stn_tutorial.interpolation.warp where you need one"
        )


def _fold(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """Put the axis that vmap runs along into the batch."""
    if dim is None:
        return tensor.expand(size, *tensor.shape).flatten(0, 1)
    return tensor.movedim(dim, 0).flatten(0, 1)


def _vmap(
    info: Any, in_dims: tuple, images: Tensor, theta: Tensor, h: int, w: int
) -> tuple[Tensor, int]:
    b = info.batch_size
    images, theta = _fold(images, in_dims[0], b), _fold(theta, in_dims[1], b)
    output = torch.ops.stn_fast.affine_sample(images, theta, h, w)
    return output.view(b, len(images) // b, *output.shape[1:]), 0


def _vmap_backward(
    info: Any, in_dims: tuple, grad: Tensor, images: Tensor, theta: Tensor, flag: bool
) -> tuple[tuple[Tensor, Tensor], tuple[int | None, int]]:
    b = info.batch_size
    given = zip((grad, images, theta), in_dims, strict=False)
    folded = [_fold(tensor, dim, b) for tensor, dim in given]
    results = torch.ops.stn_fast.affine_sample_backward(*folded, flag)
    wide = [r.unflatten(0, (b, len(r) // b)) if r.dim() > 1 else r for r in results]
    return (wide[0], wide[1]), (0 if flag else None, 0)


@torch.compiler.assume_constant_result
def _kernel_for(device: str) -> str:
    """Which kernel serves a kind of device: "cpp", "triton", or "" for PyTorch's own.

    Where a kernel could be but is not, a warning says why.
    """
    if device == "cuda":
        return "triton" if find_spec("triton") else ""
    if device != "cpu":
        return ""
    if reason := missing():
        warnings.warn(f"{reason}. PyTorch's sampler is used instead.", stacklevel=3)
        return ""
    return "cpp"


@without_autocast
def affine_sample(
    images: Tensor, theta: Tensor, size: int | Sequence[int] | None = None
) -> Tensor:
    """Warp images by affine transforms, with no grid in between.

    The same as ``F.grid_sample(images, F.affine_grid(theta, ...))``, bilinear, zeros
    outside, ``align_corners=False``. Places are computed in float64, so of the two it
    is the closer one to the exact result. The first call on a processor compiles the
    kernel (:func:`missing`); where that cannot be done, PyTorch's sampler is used, and
    a warning says why.

    It goes through ``torch.compile(fullgraph=True)`` and ``torch.func.vmap``. For an
    exporter, and for ``torch.func.grad``, take PyTorch's sampler.

    Args:
        images: shape (N, C, H, W), floating point; or (1, C, H, W) for one image that N
            transforms read. A channels-last layout is kept.
        theta: shape (N, 2, 3), or (1, 2, 3) for one transform that serves all images;
            target to source, normalised.
        size: (h, w) of the output, or one number for a square; the images' own if not
            given.

    Returns:
        shape (N, C, h, w), dtype of the images; half precision is computed in float32.
        Differentiable once. NaN where theta is not finite, and where it reads NaN.

    Raises:
        TypeError: images or theta is not a tensor.
        ValueError: a shape, dtype or device is wrong.

    Built in chapter 11, without other layouts, dtypes and devices.
    """
    _check_images(images)
    _check_floating(images)
    _check_theta(theta)
    height, width = images.shape[2:] if size is None else pair(size)
    n = theta.shape[0] if images.shape[0] == 1 else images.shape[0]
    if theta.shape[0] != 1 and theta.shape[0] != n:  # "in" misleads torch.compile
        raise ValueError(
            f"expected one theta, or one for each image, but got {theta.shape[0]} "
            f"thetas for {n} images"
        )
    if images.device != theta.device:
        raise ValueError(
            "expected images and theta on the same device, "
            f"but got {images.device} and {theta.device}"
        )
    wide = at_least_float32(torch.promote_types(images.dtype, theta.dtype))
    source, theta = images.to(wide), theta.to(wide)
    source, theta = source.expand(n, -1, -1, -1), theta.expand(n, -1, -1)
    kernel = _kernel_for(images.device.type)
    if kernel:
        _refuse_tangents(source, theta)
    if kernel == "cpp":
        output = torch.ops.stn_fast.affine_sample(source, theta, height, width)
    elif kernel == "triton":
        from stn_tutorial import fast_triton

        output = fast_triton.affine_sample(source, theta, height, width)
    else:
        grid = affine_grid(theta, (n, 1, height, width), align_corners=False)
        output = F.grid_sample(source, grid, align_corners=False)
        # PyTorch's may make clean pixels of them.
        output = output.masked_fill(~grid.isfinite().all(3)[:, None], math.nan)
    return output.to(images.dtype)


def affine_shrink(
    images: Tensor,
    theta: Tensor,
    size: int | Sequence[int],
    points: int | None = None,
) -> Tensor:
    """Warp images so that shrinking does not alias: a pixel is the mean of many points.

    Args:
        images: shape (N, C, H, W), as in :func:`affine_sample`.
        theta: shape (N, 2, 3) or (1, 2, 3).
        size: (h, w) of the output, or one number for a square.
        points: along each side of an output pixel. If not given, as many as the largest
            of these pixels is pixels of the input long, rounded up.

    Returns:
        shape (N, C, h, w); in between, ``points`` times as many rows and columns.

    Raises:
        TypeError: images or theta is not a tensor.
        ValueError: a shape, dtype or device is wrong, points is not a whole number from
            1 on, or it is not given and theta is not finite.

    Built in chapter 11, without the choice of ``points``.
    """
    _check_images(images)
    _check_theta(theta)
    height, width = pair(size)
    if points is None:
        points = _points_for(images, theta.detach(), (height, width))
    _check_whole("points", points)
    fine = affine_sample(images, theta, (height * points, width * points))
    if points == 1:
        return fine
    if not fine.numel():  # which pooling refuses where there are no channels
        return fine[:, :, ::points, ::points]
    return F.avg_pool2d(fine, points)


def _points_for(images: Tensor, theta: Tensor, size: tuple[int, int]) -> int:
    """How many pixels of the input go along the longest side of one of the output."""
    if not theta.isfinite().all():
        raise ValueError("expected points, or a finite theta, which tells how many")
    theta = theta.to(at_least_float32(theta.dtype))  # a half may not hold a size
    source = theta.new_tensor([[images.shape[3]], [images.shape[2]]])
    sides = theta[:, :, :2] * source / theta.new_tensor([size[1], size[0]])
    longest = float(sides.norm(dim=1).max()) if len(theta) else 1
    if not math.isfinite(longest):
        raise ValueError(
            "expected points, or a theta that tells how many, but its pixels are too "
            f"long to count: {theta.abs().max().item():.3g} is its largest number"
        )
    return max(1, math.ceil(longest - 1e-3))


class FastTransformer(SpatialTransformer):
    """The spatial transformer on the fast kernel, where its options allow.

    Affine, bilinear and with zeros outside it calls :func:`affine_sample`, and else
    does what :class:`stn_tutorial.transformer.SpatialTransformer` does, whose arguments
    and results it has.

    Built in chapter 11, without other options.
    """

    def sample(
        self,
        input: Tensor,
        theta: Tensor,
        out_size: int | Sequence[int] | None = None,
        mode: str | None = None,
    ) -> Tensor:
        """Warp a batch by a theta that is there already, as the parent does."""
        mode = self.mode if mode is None else mode
        plain = self.padding_mode == "zeros" and mode == "bilinear"
        plain = plain and self.sampler in MODES  # not the reader's own
        floats = isinstance(input, Tensor) and input.is_floating_point()
        if not (plain and floats and self.grid_generator is affine_grid):
            return super().sample(input, theta, out_size, mode)
        size = self.out_size if out_size is None else out_size
        return affine_sample(input, theta, size)
