"""Time and memory of the book's grid and sampler, as multiples of PyTorch's.

Run it with ``python benchmarks/sampler.py``. Both sides run in one process, in turn,
on one thread; the time of each is the median of several runs.
"""

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint

from stn_tutorial.affine import affine_grid
from stn_tutorial.interpolation import grid_sample

SHAPES = [(256, 1, 28, 28), (16, 64, 56, 56)]
LARGE = (1, 3, 1024, 1024)
RUNS = 15
STRIP = 128  # rows


def ours(images: Tensor, theta: Tensor, mode: str = "bilinear") -> Tensor:
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


def pytorch(images: Tensor, theta: Tensor, mode: str = "bilinear") -> Tensor:
    """PyTorch's functions."""
    grid = F.affine_grid(theta, images.shape, align_corners=False)
    return F.grid_sample(images, grid, mode, align_corners=False)


def both_ways(forward: Callable[[], Tensor], leaves: tuple[Tensor, ...]) -> None:
    """A forward pass, and a backward pass to the leaves."""
    torch.autograd.grad(forward().sum(), leaves)


def seconds(*functions: Callable[[], object]) -> list[float]:
    """Median time of each function; they take turns."""
    times: list[list[float]] = [[] for _ in functions]
    for run in range(RUNS + 2):
        for function, results in zip(functions, times, strict=True):
            start = perf_counter()
            function()
            if run >= 2:  # the first two warm up
                results.append(perf_counter() - start)
    return [median(results) for results in times]


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


def inputs(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Images and one theta for each, near the identity."""
    gen = torch.Generator().manual_seed(0)
    images = torch.rand(shape, generator=gen).requires_grad_()
    theta = torch.eye(2, 3) + 0.1 * torch.randn(shape[0], 2, 3, generator=gen)
    return images, theta.requires_grad_()


def compare(shape: tuple[int, ...]) -> None:
    """Print one block of results."""
    images, theta = inputs(shape)

    def forward(function: Callable[[Tensor, Tensor], Tensor]) -> None:
        with torch.inference_mode():
            function(images, theta)

    def backward(function: Callable[[Tensor, Tensor], Tensor]) -> None:
        both_ways(partial(function, images, theta), (images, theta))

    print(f"images {shape}")
    for name, run in (("forward", forward), ("forward + backward", backward)):
        calls = [lambda run=run, f=f: run(f) for f in (ours, pytorch)]
        slow, fast = seconds(*calls)
        large, small = map(peak_bytes, calls)
        print(
            f"  {name:18}  time {1e3 * slow:7.1f} ms / {1e3 * fast:6.1f} ms "
            f"= {slow / fast:4.1f}   peak memory {large / 2**20:6.1f} MiB / "
            f"{small / 2**20:5.1f} MiB = {large / small:4.1f}"
        )


def compare_memory(shape: tuple[int, ...]) -> None:
    """Print what a training step of one large image holds."""
    images, theta = inputs(shape)
    print(f"images {shape}, forward + backward: kept in between, and peak memory")
    for mode in ("bilinear", "bicubic"):
        base = 0
        for function in (pytorch, ours, in_strips):
            forward = partial(function, images, theta, mode)
            peak = peak_bytes(partial(both_ways, forward, (images, theta)))
            base = base or peak  # PyTorch's, which comes first
            kept = kept_bytes(forward) / 2**20
            print(
                f"  {mode:8}  {function.__name__:9}  kept {kept:6.1f} MiB   "
                f"peak {peak / 2**20:6.1f} MiB = {peak / base:4.1f}"
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("ours / PyTorch = ratio")
    for shape in SHAPES:
        compare(shape)
    compare_memory(LARGE)
