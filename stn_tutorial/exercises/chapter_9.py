"""The exercises of chapter 9: the sampler at work."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_tutorial.affine import affine, affine_grid, identity, rotation
from stn_tutorial.data.digits import load_digits
from stn_tutorial.exercises import Exercise, WrongForm, kind, tensor_of
from stn_tutorial.flow import grid_flow, warp_by_flow
from stn_tutorial.regions import roi_align


def still_grid(height: int, width: int) -> Tensor:
    return affine_grid(identity(), (1, 1, height, width), align_corners=False)


def smooth_flow(n: int, size: tuple[int, int], seed: int) -> Tensor:
    """Flows of some pixels that never look beyond the image, where paddings differ."""
    generator = torch.Generator().manual_seed(seed)
    coarse = 2 * torch.randn(n, 2, 3, 4, generator=generator)
    flow = F.interpolate(coarse, size, mode="bilinear", align_corners=True)
    height, width = size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    here = torch.stack([x, y])
    last = torch.tensor([width - 1, height - 1]).view(2, 1, 1)
    return (here + flow).clamp(min=0).minimum(last) - here


# 9.1: from a grid to a flow


def grids() -> list[dict[str, Tensor]]:
    size = (1, 1, 12, 20)
    shifted = affine(1.0, 0.0, 0.1, 0.0, 1.0, -0.5)
    turned = affine_grid(rotation(torch.tensor([20.0, -70.0])), (2, 1, 9, 14), False)
    return [
        {"grid": affine_grid(shifted, size, align_corners=False)},
        {"grid": turned},
    ]


def half(grid: Tensor, less: int = 0) -> Tensor:
    return torch.tensor([grid.shape[2] - less, grid.shape[1] - less]) / 2


def with_the_pixels_place(grid: Tensor) -> Tensor:
    return (grid * half(grid)).permute(0, 3, 1, 2)


def with_the_other_divisor(grid: Tensor) -> Tensor:
    away = grid - still_grid(*grid.shape[1:3])
    return (away * half(grid, 1)).permute(0, 3, 1, 2)


def normalised(grid: Tensor) -> Tensor:
    return (grid - still_grid(*grid.shape[1:3])).permute(0, 3, 1, 2)


# 9.2: two flows in one


def two_flows() -> list[dict[str, Tensor]]:
    sizes = [(1, (20, 30)), (2, (25, 16))]
    return [
        {"first": smooth_flow(n, size, seed), "second": smooth_flow(n, size, seed + 7)}
        for seed, (n, size) in enumerate(sizes)
    ]


def one_flow(first: Tensor, second: Tensor) -> Tensor:
    return second + warp_by_flow(first, second, padding_mode="border")


# 9.3: a kernel that turns


def offsets(angle_deg: float, order: tuple[int, int] = (1, 0)) -> Tensor:
    places = torch.cartesian_prod(*[torch.arange(-1.0, 2)] * 2).flip(1)  # (x, y)
    turn = rotation(angle_deg)[0, :, :2]
    return (places @ turn.mT - places)[:, list(order)].flatten()


def places(angle_deg: float) -> Tensor:
    still = torch.cartesian_prod(*[torch.arange(-1.0, 2)] * 2)
    return offsets(angle_deg) + still.flatten()


def as_offsets(got: object, **case: object) -> Tensor:
    if isinstance(got, Tensor) and got.numel() == 18 and got.dim() != 2:
        got = got.reshape(18)
    return tensor_of((18,), got, "the offsets, as a tensor")


# 9.4: a box that follows a gradient


def framed(corner: tuple[int, int], side: int, start: list[float]) -> dict[str, Tensor]:
    digit = load_digits().test_images[:1]
    digit = F.interpolate(digit, (side, side), mode="bilinear", antialias=True)
    x, y = corner
    image = F.pad(digit, (x, 72 - side - x, y, 72 - side - y))
    true = torch.tensor([[0.0, x, y, x + side, y + side]])
    crop = roi_align(image, true, 14, 1.0, 2, aligned=True)
    return {"image": image, "crop": crop, "box": torch.tensor([[0.0, *start]])}


TRUE = ([20.0, 15, 48, 43], [14.0, 24, 54, 64])


def boxes() -> list[dict[str, Tensor]]:
    return [
        framed((20, 15), 28, [16, 19, 45, 47]),
        framed((14, 24), 40, [18, 20, 54, 60]),
    ]


def refine(answer: Callable, **case: Tensor) -> Any:
    with torch.enable_grad():
        return answer(*case.values())


def as_box(got: object, **case: object) -> Tensor:
    if isinstance(got, Tensor) and got.shape == (1, 4):
        raise WrongForm(
            "expected a box of shape (1, 5), whose first number says which image, but "
            f"got {kind(got)}."
        )
    return tensor_of((1, 5), got, "a box, as a tensor")


def judge_box(found: Tensor, image: Tensor, crop: Tensor, box: Tensor) -> str:
    if torch.equal(found, box):
        return "the box is where it began. Does a gradient reach it?"
    true = torch.tensor(TRUE[0] if image[0, 0, :24].any() else TRUE[1])
    off = (found[0, 1:] - true).abs().max().item()
    if found[0, 0] != 0:
        return "the first number says which image, and must stay 0."
    if off > 1:
        return f"an edge is still {off:.1f} pixels off. More steps, or longer ones?"
    return ""


EXERCISES = {
    "9.1": Exercise(
        asks="grid_flow(grid)",
        cases=grids,
        expected=grid_flow,
        mistakes=[
            (
                "this says where each pixel looks, and not how far away. Subtract the "
                "grid that changes nothing.",
                with_the_pixels_place,
            ),
            (
                "pixels are counted from centre to centre. With `align_corners=False` "
                "the image is W pixels wide from -1 to 1, not W - 1.",
                with_the_other_divisor,
            ),
            (
                "these numbers are normalised. One unit of x is W / 2 pixels.",
                normalised,
            ),
            (
                "x and y changed places. A grid and a flow both begin with x.",
                lambda grid: grid_flow(grid).flip(1),
            ),
            (
                "the flow points back. It leads from the pixel to where it looks.",
                lambda grid: -grid_flow(grid),
            ),
        ],
    ),
    "9.2": Exercise(
        asks="one_flow(first, second)",
        cases=two_flows,
        expected=one_flow,
        mistakes=[
            (
                "this adds the two at one pixel. But the second flow has led elsewhere "
                "before the first is read.",
                lambda first, second: first + second,
            ),
            (
                "the order is the other one. A pixel of the last output asks `second` "
                "first.",
                lambda first, second: one_flow(second, first),
            ),
            (
                "the way of `second` itself is missing.",
                lambda first, second: one_flow(first, second) - second,
            ),
        ],
        tolerance=1e-3,
    ),
    "9.3": Exercise(
        asks="turned(angle_deg)",
        cases=lambda: [{"angle_deg": a} for a in (30.0, 90.0, -45.0)],
        expected=offsets,
        read=as_offsets,
        mistakes=[
            (
                "right stands before down. A grid begins with x, but these offsets "
                "begin with y.",
                lambda angle_deg: offsets(angle_deg, (0, 1)),
            ),
            (
                "the kernel turns the other way.",
                lambda angle_deg: offsets(-angle_deg),
            ),
            (
                "these are the places of the readings. An offset is how far each has "
                "moved from its own place in the kernel.",
                places,
            ),
            (
                "degrees and radians are mixed. `math.cos` and `torch.cos` take "
                "radians.",
                lambda angle_deg: offsets(math.degrees(angle_deg)),
            ),
        ],
    ),
    "9.4": Exercise(
        asks="refine(image, crop, box)",
        cases=boxes,
        apply=refine,
        read=as_box,
        judge=judge_box,
    ),
}
