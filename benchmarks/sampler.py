"""Time and memory of the samplers, as multiples of PyTorch's: chapter 11's record.

    python benchmarks/sampler.py             print it, in some three minutes
    python benchmarks/sampler.py --quick     without torch.compile, in half of that
    python benchmarks/sampler.py --record    and keep it

All sides run in one process, in turn, on one thread and on two; the time of each is the
least of many runs, so another program on the machine does little harm. For a record
stop all others nevertheless.
"""

import argparse
import json
import platform
import tempfile
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import torch
import torch.nn.functional as F
from skimage import data
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile
from torch.utils import cpp_extension
from torch.utils.checkpoint import checkpoint

from stn_tutorial import fast
from stn_tutorial.affine import affine_grid, compose, rotation, scaling
from stn_tutorial.files import RECORDED, write_whole
from stn_tutorial.interpolation import grid_sample, warp

RECORD = RECORDED / "sampler.json"
SHAPES = [(256, 1, 28, 28), (16, 64, 56, 56), (64, 3, 224, 224), (1, 3, 1080, 1920)]
COMPILED = SHAPES[:2]
LARGE = (1, 3, 1024, 1024)
STRIP = 128  # rows
SECONDS = 0.6  # for each function and time
Sampler = Callable[..., Tensor]


def pytorch(images: Tensor, theta: Tensor, mode: str = "bilinear") -> Tensor:
    """PyTorch's functions."""
    grid = F.affine_grid(theta, images.shape, align_corners=False)
    return F.grid_sample(images, grid, mode, align_corners=False)


def book(images: Tensor, theta: Tensor, mode: str = "bilinear") -> Tensor:
    """The book's functions."""
    grid = affine_grid(theta, images.shape, align_corners=False)
    return grid_sample(images, grid, mode, align_corners=False)


def in_strips(images: Tensor, theta: Tensor, mode: str = "bilinear") -> Tensor:
    """The book's functions, a strip of rows at a time, computed again for backward."""
    grid = affine_grid(theta, images.shape, align_corners=False)
    strips = [
        checkpoint(grid_sample, images, strip, mode, use_reentrant=False)
        for strip in grid.split(STRIP, dim=1)
    ]
    return torch.cat(strips, dim=2)


def indexed(images: Tensor, theta: Tensor) -> Tensor:
    """Chapter 11's sampler for the compiler: no grid, and all channels at once."""
    n, _, height, width = images.shape
    x = (2 * torch.arange(width) + 1) / width - 1
    y = ((2 * torch.arange(height) + 1) / height - 1)[:, None]
    a, b, tx, c, d, ty = theta.flatten(1).T[:, :, None, None]
    x, y = a * x + b * y + tx, c * x + d * y + ty
    x, y = ((x + 1) * width - 1) / 2, ((y + 1) * height - 1) / 2
    which, output = torch.arange(n)[:, None, None], 0
    for column in (x.floor(), x.floor() + 1):
        for row in (y.floor(), y.floor() + 1):
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            weight = (1 - (x - column).abs()) * (1 - (y - row).abs()) * inside
            i = row.clamp(0, height - 1).long()
            j = column.clamp(0, width - 1).long()
            output = output + weight[..., None] * images[which, :, i, j]
    return output.permute(0, 3, 1, 2)


def both_ways(
    function: Sampler, images: Tensor, theta: Tensor, weight: Tensor
) -> tuple[Tensor, ...]:
    """A forward pass, and a backward pass to images and theta."""
    return torch.autograd.grad(function(images, theta), (images, theta), weight)


def to_images(
    function: Sampler, images: Tensor, theta: Tensor, weight: Tensor
) -> tuple[Tensor, ...]:
    """A forward pass, and a backward pass to images alone."""
    return torch.autograd.grad(function(images, theta.detach()), images, weight)


def to_theta(
    function: Sampler, images: Tensor, theta: Tensor, weight: Tensor
) -> tuple[Tensor, ...]:
    """A forward pass, and a backward pass to theta alone."""
    return torch.autograd.grad(function(images.detach(), theta), theta, weight)


def forward(function: Sampler, images: Tensor, theta: Tensor, *_: Tensor) -> Tensor:
    """A forward pass alone."""
    with torch.no_grad():
        return function(images, theta)


def seconds(functions: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The least time of each function; they take turns."""
    for function in functions.values():
        function()
    best = dict.fromkeys(functions, float("inf"))
    end = perf_counter() + SECONDS * len(functions)
    while perf_counter() < end:
        for name, function in functions.items():
            start = perf_counter()
            function()
            best[name] = min(best[name], perf_counter() - start)
    return best


def peak_bytes(function: Callable[[], object]) -> int:
    """Most bytes that tensors made by the function hold at one time."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    held = [e["args"]["Total Allocated"] for e in events if e["name"] == "[memory]"]
    return max(held) - min(held)


def kept_bytes(function: Callable[[], object]) -> int:
    """How much a forward pass keeps for the backward pass, its inputs included."""
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        result = function()  # while it lives, no storage gives its place to another
    del result
    return sum(sizes.values())


def inputs(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Images, one theta for each, near the identity, and a gradient to send back."""
    gen = torch.Generator().manual_seed(0)
    images = torch.rand(shape, generator=gen).requires_grad_()
    theta = torch.eye(2, 3) + 0.1 * torch.randn(shape[0], 2, 3, generator=gen)
    return images, theta.requires_grad_(), torch.randn(shape, generator=gen)


def channels_last(images: Tensor, theta: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    """The same, with the channels of a pixel side by side."""
    last = torch.channels_last
    images = images.detach().contiguous(memory_format=last).requires_grad_()
    return images, theta, weight.contiguous(memory_format=last)


def compare(
    shape: tuple[int, ...], threads: int, with_compiler: bool
) -> dict[str, Any]:
    """Time all samplers on one shape, print the ratios, and give the milliseconds."""
    given = inputs(shape)
    last = channels_last(*given)
    sides: dict[str, tuple[Sampler, tuple[Tensor, ...]]] = {
        "pytorch": (pytorch, given),
        "pytorch, channels last": (pytorch, last),
        "book": (book, given),
        "fused": (fast.affine_sample, given),
        "fused, channels last": (fast.affine_sample, last),
    }
    if with_compiler:
        torch.compiler.reset()
        compiled = partial(torch.compile, dynamic=False)
        sides["book, compiled"] = compiled(warp), given
        sides["indexed, compiled"] = compiled(indexed), given
        sides["indexed, compiled, channels last"] = compiled(indexed), last
    result: dict[str, Any] = {"shape": shape, "threads": threads}
    copied, target = given[0].detach(), torch.empty(shape)
    copies = {
        "copy": copied.clone,
        "copy to the same place": partial(target.copy_, copied),
    }
    ways = {"forward": forward, "both": both_ways}
    if with_compiler:
        ways |= {"to images": to_images, "to theta": to_theta}
    for kind, way in ways.items():
        calls: dict[str, Callable[[], object]] = {}
        for name, (function, tensors) in sides.items():
            if way in (forward, both_ways) or name in ("pytorch", "indexed, compiled"):
                calls[name] = partial(way, function, *tensors)
        times = seconds(calls | copies)
        result[kind] = {name: 1e3 * time for name, time in times.items()}
        ratios = [
            f"{name} {time / times['pytorch']:.2f}" for name, time in times.items()
        ]
        print(f"{shape}, {threads} threads, {kind}: {', '.join(ratios)}", flush=True)
    return result


def quality(shape: tuple[int, ...]) -> dict[str, Any]:
    """Peak memory, distance from the exact result, and whether the bits repeat."""
    given = inputs(shape)
    exact = forward(pytorch, *(tensor.double() for tensor in given[:2]))
    result: dict[str, Any] = {"shape": shape}
    for name, function in (("pytorch", pytorch), ("fused", fast.affine_sample)):
        runs = []
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            runs.append(both_ways(function, *given))
        torch.set_num_threads(1)
        result[name] = {
            "error": (forward(function, *given) - exact).abs().max().item(),
            "same bits": all(
                torch.equal(one, other)
                for run in runs[1:]
                for one, other in zip(runs[0], run, strict=True)
            ),
            "MiB forward": peak_bytes(partial(forward, function, *given)) / 2**20,
            "MiB both": peak_bytes(partial(both_ways, function, *given)) / 2**20,
        }
    print(result, flush=True)
    return result


def gathers(shape: tuple[int, ...]) -> dict[str, float]:
    """Time with plain loads, and with the instruction for scattered ones."""
    loop = "  for (int64_t i = r.inner; i < r.inner_end; ++i) {\n    const T *p"
    source = fast.SOURCE.read_text().replace("stn_fast", "stn_gather")
    assert source.count(loop) == 2  # to read, and to send back
    source = source.replace(loop, f"#pragma omp simd\n{loop}", 1)
    cpp_extension.load_inline(
        "stn_gather",
        source,
        extra_cflags=[*fast.FLAGS, "-fopenmp"],
        is_python_module=False,
        no_implicit_headers=True,
    )
    images, theta, _ = (tensor.detach() for tensor in inputs(shape))
    plain = torch.ops.stn_fast.affine_sample
    gather = torch.ops.stn_gather.affine_sample
    size = shape[2:]
    times = seconds(
        {
            "plain": lambda: plain(images, theta, *size),
            "gather": lambda: gather(images, theta, *size),
        }
    )
    result = {name: 1e3 * time for name, time in times.items()}
    print(result, flush=True)
    return result


def half_precision(shape: tuple[int, ...]) -> dict[str, Any]:
    """Time with images in bfloat16, and the error of pixels and of places in it.

    PyTorch's own sampler is not run in bfloat16: on some processors it reads beyond the
    image and may crash.
    """
    images, theta, _ = inputs(shape)
    images, theta = images.detach(), theta.detach()
    small = images.bfloat16()
    times = seconds(
        {
            "pytorch, float32": lambda: pytorch(images, theta),
            "pytorch, there and back": lambda: pytorch(small.float(), theta).bfloat16(),
            "fused, float32": lambda: fast.affine_sample(images, theta),
            "fused, bfloat16": lambda: fast.affine_sample(small, theta),
        }
    )
    exact = pytorch(images.double(), theta.double())
    coarse = F.affine_grid(theta, images.shape, align_corners=False).bfloat16().float()

    def off(output: Tensor) -> float:
        return (output - exact).square().mean().sqrt().item()

    result: dict[str, Any] = {"shape": shape}
    result["ms"] = {name: 1e3 * time for name, time in times.items()}
    result["rms"] = {
        "pixels": off(fast.affine_sample(small, theta)),
        "places": off(F.grid_sample(images, coarse, align_corners=False)),
    }
    print(result, flush=True)
    return result


def pyramid_sample(images: Tensor, theta: Tensor, size: int, apart: float) -> Tensor:
    """Chapter 11's pyramid: halve it until the points lie close, then read once."""
    while apart > 2**0.5:
        images, apart = F.avg_pool2d(images, 2), apart / 2
    return fast.affine_sample(images, theta, size)


def shrinking() -> list[dict[str, Any]]:
    """Error and time of ways to shrink a photograph, turned and not."""
    photo = torch.tensor(data.astronaut()).permute(2, 0, 1)[None].float() / 255
    rows = photo[0].permute(1, 2, 0).contiguous().numpy()
    results = []
    for angle in (0.0, 20.0):
        for side in (256, 128, 64):
            window = 1.0 if angle == 0 else 0.7
            theta = compose(scaling(window), rotation(angle))
            grid = F.affine_grid(theta.double(), (1, 3, 16 * side, 16 * side), False)
            # The mean over a pixel's area, where those of the source are squares
            options = {"mode": "nearest", "padding_mode": "border"}
            exact = F.grid_sample(photo.double(), grid, **options, align_corners=False)
            exact = F.avg_pool2d(exact, 16).float()
            apart = 512 * window / side
            ways: dict[str, Callable[[], Any]] = {
                "one point": partial(fast.affine_sample, photo, theta, side),
                "2 x 2 points": partial(fast.affine_shrink, photo, theta, side, 2),
                "a point a pixel": partial(fast.affine_shrink, photo, theta, side),
                "pyramid": partial(pyramid_sample, photo, theta, side, apart),
            }
            if angle == 0:
                size = (side, side)
                ways["F.interpolate"] = partial(
                    F.interpolate, photo, size, mode="bilinear", antialias=True
                )
                ways["INTER_AREA"] = partial(
                    cv2.resize, rows, size, interpolation=cv2.INTER_AREA
                )
            times, errors = seconds(ways), {}
            for name, way in ways.items():
                output = way()
                if not isinstance(output, Tensor):
                    output = torch.tensor(output).permute(2, 0, 1)[None]
                errors[name] = (output - exact).square().mean().sqrt().item()
            ms = {name: 1e3 * time for name, time in times.items()}
            results.append({"angle": angle, "side": side, "rms": errors, "ms": ms})
            print(results[-1], flush=True)
    return results


def compare_memory(shape: tuple[int, ...]) -> list[dict[str, Any]]:
    """What a training step of one large image holds."""
    images, theta, weight = inputs(shape)
    results = []
    print(f"images {shape}, forward + backward: kept in between, and peak memory")
    for mode in ("bilinear", "bicubic"):
        base = 0
        for function in (pytorch, book, in_strips):
            sampler = partial(function, mode=mode)
            peak = peak_bytes(partial(both_ways, sampler, images, theta, weight))
            base = base or peak  # PyTorch's, which comes first
            kept = kept_bytes(partial(sampler, images, theta)) / 2**20
            name = function.__name__
            print(
                f"  {mode:8}  {name:9}  kept {kept:6.1f} MiB   "
                f"peak {peak / 2**20:6.1f} MiB = {peak / base:4.1f}"
            )
            results.append({"mode": mode, "sampler": name, "MiB": peak / 2**20})
    return results


def roofs() -> dict[str, float]:
    """What one core can do at most: move and multiply."""
    source, target = torch.rand(2, 64, 3, 224, 224)
    a, b = torch.rand(2, 1024, 1024)
    times = seconds(
        {"copy": lambda: target.copy_(source), "multiply": lambda: torch.mm(a, b)}
    )
    return {
        "GB/s": 8 * source.numel() / times["copy"] / 1e9,
        "Gflop/s": 2 * 1024**3 / times["multiply"] / 1e9,
    }


def processor() -> str:
    """What the machine calls its processor."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    """Measure, print, and keep it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without torch.compile")
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name}")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if reason := fast.missing():
        raise SystemExit(f"no fused kernel here: {reason}")
    record: dict[str, Any] = {
        "date": date.today().isoformat(),
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "opencv": cv2.__version__,
    }
    record["roofs"] = roofs()
    record["quality"] = [quality(shape) for shape in SHAPES]
    record["gathers"] = gathers(SHAPES[2])
    record["half"] = half_precision(SHAPES[2])
    record["shrinking"] = shrinking()
    record["memory"] = compare_memory(LARGE)
    record["times"] = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for shape in SHAPES:
            compiler = threads == 1 and shape in COMPILED and not options.quick
            record["times"].append(compare(shape, threads, compiler))
    if options.record:
        text = json.dumps(record, indent=1) + "\n"
        write_whole(RECORD, text.encode())


if __name__ == "__main__":
    main()
