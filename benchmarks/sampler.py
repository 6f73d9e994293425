"""Time and memory of the book's grid and sampler, as multiples of PyTorch's.

Run it with ``python benchmarks/sampler.py``. Both sides run in one process, in turn,
on one thread; the time of each is the median of several runs.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from stn_tutorial.affine import affine_grid
from stn_tutorial.interpolation import grid_sample

SHAPES = [(256, 1, 28, 28), (16, 64, 56, 56)]
RUNS = 15


def ours(images: Tensor, theta: Tensor) -> Tensor:
    """The book's functions."""
    grid = affine_grid(theta, images.shape, align_corners=False)
    return grid_sample(images, grid, align_corners=False)


def pytorch(images: Tensor, theta: Tensor) -> Tensor:
    """PyTorch's functions."""
    grid = F.affine_grid(theta, images.shape, align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


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


def compare(shape: tuple[int, ...]) -> None:
    """Print one block of results."""
    gen = torch.Generator().manual_seed(0)
    images = torch.rand(shape, generator=gen).requires_grad_()
    theta = torch.eye(2, 3) + 0.1 * torch.randn(shape[0], 2, 3, generator=gen)
    theta.requires_grad_()

    def forward(function: Callable[[Tensor, Tensor], Tensor]) -> None:
        with torch.inference_mode():
            function(images, theta)

    def both_ways(function: Callable[[Tensor, Tensor], Tensor]) -> None:
        torch.autograd.grad(function(images, theta).sum(), (images, theta))

    print(f"images {shape}")
    for name, run in (("forward", forward), ("forward + backward", both_ways)):
        calls = [lambda run=run, f=f: run(f) for f in (ours, pytorch)]
        slow, fast = seconds(*calls)
        large, small = map(peak_bytes, calls)
        print(
            f"  {name:18}  time {1e3 * slow:7.1f} ms / {1e3 * fast:6.1f} ms "
            f"= {slow / fast:4.1f}   peak memory {large / 2**20:6.1f} MiB / "
            f"{small / 2**20:5.1f} MiB = {large / small:4.1f}"
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("ours / PyTorch = ratio")
    for shape in SHAPES:
        compare(shape)
