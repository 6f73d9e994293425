"""The exercises of chapter 3: pooling."""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stn_tutorial.exercises import Exercise, WrongForm, kind, tensor_of
from stn_tutorial.pooling import windows

INCOMPLETE = "one of the four turns is missing. The upright image counts as one."
OVER_CLASSES = (
    "the maximum runs over the classes. Take it for each class, over the turns."
)


def network(*layers: nn.Module) -> nn.Module:
    net = nn.Sequential(*layers).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for weight in net.parameters():
        nn.init.normal_(weight, std=0.3, generator=generator)
    return net


def random_images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


# 3.1: shuffle within the windows


def numbered_images(*shape: int) -> Tensor:
    # Each value occurs once, so it tells where it comes from.
    count = torch.Size(shape).numel()
    return (torch.arange(count) / count).view(shape)


def sorted_windows(images: Tensor, side: int) -> Tensor:
    return windows(images, side, side).flatten(4).sort(dim=4).values


def as_images(got: object, images: Tensor, side: int) -> Tensor:
    return tensor_of(images.shape, got)


def judge_shuffle(got: Tensor, images: Tensor, side: int) -> str:
    if not torch.equal(got.flatten().sort().values, images.flatten().sort().values):
        return "the values are not those of the images any more."
    before, after = sorted_windows(images, side), sorted_windows(got, side)
    if torch.equal(before, after):
        moved = windows(got != images, side, side).any(dim=5).any(dim=4)
        return "" if moved.float().mean() > 0.5 else "most windows stay as they were."
    if not torch.equal(before.flatten(1).sort().values, after.flatten(1).sort().values):
        return "pixels went from one image to another."
    if torch.equal(before, got.reshape(before.shape).sort(dim=4).values):
        return (
            "the pixels of each window now lie in one line of the image. The rows of "
            "a window belong below each other, beside those of the next window."
        )
    if torch.equal(order_windows(before), order_windows(after)):
        return "whole windows changed places. Each must stay, and its pixels change."
    return f"pixels left their windows of {side}×{side}."


def order_windows(cells: Tensor) -> Tensor:
    # Sorted by their smallest value, so that it does not count where they stand.
    flat = cells.flatten(1, 3)
    return flat.gather(1, flat[..., :1].argsort(dim=1).expand_as(flat))


# 3.2: the shifts that an output survives


def as_list(got: object, net: nn.Module, images: Tensor, shifts: list) -> list:
    flat = got.ndim == 1 if isinstance(got, (Tensor, np.ndarray)) else True
    other = isinstance(got, (str, bytes, dict, type))
    if other or not flat or not isinstance(got, Iterable):
        raise WrongForm(f"expected a list of shifts, but got {kind(got)}.")
    return sorted(got) if isinstance(got, set) else list(got)


def multiples_of_step(net: nn.Sequential, images: Tensor, shifts: list) -> list[int]:
    pooling: Any = net[0]
    return [shift for shift in shifts if shift % pooling.kernel_size[1] == 0]


def unchanged(
    same: Callable[[Tensor, Tensor], bool],
    net: nn.Module,
    images: Tensor,
    shifts: Sequence[int],
    dim: int = 3,
) -> list[bool]:
    still = net(images)
    return [same(still, net(images.roll(shift, dim))) for shift in shifts]


def close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, atol=1e-5)


def same_answers(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.argmax(dim=1), b.argmax(dim=1))


def keep(shifts: Sequence[int], same: Sequence[bool]) -> list[int]:
    return [shift for shift, kept in zip(shifts, same, strict=True) if kept]


def circular_nets() -> list[dict[str, object]]:
    images = random_images(6, 1, 12, 12)
    cases = []
    for window, shifts in (((3, 2), range(1, 8)), ((1, 1), (1, 5)), ((2, 3), (-3, 1))):
        pool = nn.MaxPool2d(window)
        convolve = nn.Conv2d(1, 8, 3, padding=1, padding_mode="circular")
        net = network(pool, convolve, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        cases.append({"net": net, "images": images, "shifts": list(shifts)})
    return cases


# 3.3: the maximum over turned copies


def pool_turns(net: nn.Module, images: Tensor) -> Tensor:
    half = images.flip(2, 3)
    quarter, three_quarters = images.mT.flip(2), images.mT.flip(3)
    outputs = [net(turned) for turned in (quarter, half, three_quarters)]
    return net(images).maximum(outputs[0]).maximum(outputs[1]).maximum(outputs[2])


def turns(net: nn.Module, images: Tensor) -> Tensor:
    return torch.stack([net(images.rot90(k, (2, 3))) for k in range(4)])


def turned_cases() -> list[dict[str, object]]:
    convolve = nn.Conv2d(1, 4, 3)
    return [
        {
            "net": network(nn.Flatten(), nn.Linear(72, 5)),
            "images": random_images(2, 2, 6, 6),
        },
        {
            "net": network(convolve, nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten()),
            "images": random_images(1, 1, 9, 9),
        },
    ]


EXERCISES = {
    "3.1": Exercise(
        asks="shuffle_in_windows(images, side)",
        cases=lambda: [
            {"images": numbered_images(3, 1, 24, 36), "side": side} for side in (4, 3)
        ],
        read=as_images,
        judge=judge_shuffle,
    ),
    "3.2": Exercise(
        asks="invariant_shifts(net, images, shifts)",
        cases=circular_nets,
        read=as_list,
        expected=multiples_of_step,
        mistakes=[
            (
                "it asks for equality to the last digit. Sums in another order are "
                "rounded in another way: allow a small difference, such as 1e-5.",
                lambda net, images, shifts: keep(
                    shifts, unchanged(torch.equal, net, images, shifts)
                ),
            ),
            (
                "the images move down, not to the right. Dimension 2 holds the rows, "
                "dimension 3 the columns.",
                lambda net, images, shifts: keep(
                    shifts, unchanged(close, net, images, shifts, dim=2)
                ),
            ),
            (
                "these are True or False for each shift. Return the shifts themselves.",
                lambda net, images, shifts: unchanged(close, net, images, shifts),
            ),
            (
                "each shift starts where the last one ended. Start from the images as "
                "they came.",
                lambda net, images, shifts: keep(
                    shifts, unchanged(close, net, images, list(accumulate(shifts)))
                ),
            ),
            (
                "only the largest output is compared. Every output must stay.",
                lambda net, images, shifts: keep(
                    shifts, unchanged(same_answers, net, images, shifts)
                ),
            ),
            (
                "these are the shifts that change the output.",
                lambda net, images, shifts: [
                    shift
                    for shift in shifts
                    if shift not in multiples_of_step(net, images, shifts)
                ],
            ),
        ],
    ),
    "3.3": Exercise(
        asks="pool_turns(net, images)",
        cases=turned_cases,
        expected=pool_turns,
        mistakes=[
            (
                "it takes the mean of the four outputs, not the maximum.",
                lambda net, images: turns(net, images).mean(dim=0),
            ),
            (
                "`rot90` turned batch and channels: if it is not told which "
                "dimensions, it takes the first two. Those of the picture are 2 and 3.",
                lambda net, images: torch.stack(
                    [net(images.rot90(k)) for k in range(4)]
                ).amax(dim=0),
            ),
            (INCOMPLETE, lambda net, images: turns(net, images)[1:].amax(dim=0)),
            (INCOMPLETE, lambda net, images: turns(net, images)[:3].amax(dim=0)),
            (OVER_CLASSES, lambda net, images: turns(net, images).amax(dim=2)),
            (OVER_CLASSES, lambda net, images: turns(net, images).amax(dim=(0, 2))),
            (
                "the maximum runs over the images. Take it for each image, over the "
                "turns.",
                lambda net, images: turns(net, images).amax(dim=1),
            ),
            (
                "these are labels. Return the pooled outputs, a number for each class.",
                lambda net, images: turns(net, images).amax(dim=0).argmax(dim=1),
            ),
        ],
    ),
}
