"""The exercises of chapter 0: why geometry matters."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from stn_tutorial.affine import rotation, scaling, translation
from stn_tutorial.data.digits import load_digits
from stn_tutorial.exercises import Exercise
from stn_tutorial.interpolation import blur, warp

WRONG_ORDER = (
    "the changes come in another order. First turn, then resize, then shift: a shift "
    "that comes earlier is itself turned or resized."
)
RADIANS = "the angle was turned into radians. `rotation` takes degrees."


# 0.1: the label of the nearest digit


def nearest_neighbour(known: Tensor, labels: Tensor, images: Tensor) -> Tensor:
    classifier = KNeighborsClassifier(1).fit(known.flatten(1), labels)
    return torch.tensor(classifier.predict(images.flatten(1)))


def distances(known: Tensor, images: Tensor, p: float = 2.0) -> Tensor:
    return torch.cdist(images.flatten(1), known.flatten(1), p)


def largest_product(known: Tensor, labels: Tensor, images: Tensor) -> Tensor:
    return labels[(images.flatten(1) @ known.flatten(1).T).argmax(dim=1)]


def turned_digits() -> list[dict[str, Tensor]]:
    digits = load_digits()
    return [
        {
            "known": digits.train_images[:known],
            "labels": digits.train_labels[:known],
            "images": warp(digits.test_images[:n], rotation(angle_deg)),
        }
        for known, n, angle_deg in ((120, 40, 45.0), (80, 60, 0.0))
    ]


# 0.2: three changes, one after the other


def one_by_one(images: Tensor, *thetas: Tensor) -> Tensor:
    for theta in thetas:
        images = warp(images, theta)
    return images


def three_changes(
    images: Tensor, angle_deg: float, factor: float, pixels: float
) -> tuple[Tensor, Tensor, Tensor]:
    across = translation(-2 * pixels / images.shape[3], 0)
    return rotation(angle_deg), scaling(1 / factor), across


def change_all(
    images: Tensor, angle_deg: float, factor: float, pixels: float
) -> Tensor:
    return one_by_one(images, *three_changes(images, angle_deg, factor, pixels))


def in_order(*order: int) -> Callable[..., Tensor]:
    def mistaken(
        images: Tensor, angle_deg: float, factor: float, pixels: float
    ) -> Tensor:
        thetas = three_changes(images, angle_deg, factor, pixels)
        return one_by_one(images, *(thetas[i] for i in order))

    return mistaken


def change_and_shift(
    images: Tensor, angle_deg: float, factor: float, pixels: float, down: bool = False
) -> Tensor:
    """Turn and resize, then shift by normalised units, across or down."""
    turn, resize, _ = three_changes(images, angle_deg, factor, 0)
    shift = translation(0, -pixels) if down else translation(-pixels, 0)
    return one_by_one(images, turn, resize, shift)


def soft_images() -> Tensor:
    # So smooth that one composed warp gives nearly what three warps give.
    generator = torch.Generator().manual_seed(0)
    spots = (torch.rand(2, 1, 20, 20, generator=generator) > 0.97).float()
    soft = blur(F.pad(spots, [30] * 4), 4)
    return soft / soft.amax(dim=(1, 2, 3), keepdim=True)


# 0.3: the answer that a net is surest of


def surest(net: nn.Module, images: Tensor, angles: Sequence[float]) -> Tensor:
    turned = [net(warp(images, rotation(angle))) for angle in angles]
    odds = torch.cat([scores.log_softmax(dim=1) for scores in turned], dim=1)
    return odds.argmax(dim=1) % turned[0].shape[1]


def tries(net: nn.Module, images: Tensor, angles: Sequence[float]) -> Tensor:
    return torch.stack([net(warp(images, rotation(angle))) for angle in angles])


def net_with_shared_score() -> nn.Module:
    # Each image adds its own number to all of its scores: softmax does not see it,
    # but the largest score is no longer the surest one.
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 400, generator=generator) / 3
    weight -= weight.mean(dim=1, keepdim=True)  # so that no label wins every time
    shared = torch.randn(400, generator=generator)
    linear = nn.Linear(400, 5, bias=False).requires_grad_(False)
    linear.weight.copy_(weight + shared)
    return nn.Sequential(nn.Flatten(), linear)


def turnable_images() -> list[dict[str, object]]:
    images = torch.rand(30, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    return [
        {"net": net_with_shared_score(), "images": images, "angles": angles}
        for angles in ([0, 20, 70, -35], [45])
    ]


EXERCISES = {
    "0.1": Exercise(
        asks="nearest_neighbour(known, labels, images)",
        cases=turned_digits,
        expected=nearest_neighbour,
        mistakes=[
            (
                "these are the labels of the farthest digits. The smallest distance "
                "wins.",
                lambda known, labels, images: labels[
                    distances(known, images).argmax(dim=1)
                ],
            ),
            (
                "these are the places of the nearest digits in `known`. Look up the "
                "labels that stand there.",
                lambda known, labels, images: distances(known, images).argmin(dim=1),
            ),
            (
                "the minimum runs over `images`. Each image has a distance to every "
                "known digit; take the smallest of those.",
                lambda known, labels, images: labels[
                    distances(known, images).argmin(dim=0)
                ],
            ),
            (
                "the differences are added up without their squares. The pixel "
                "distance squares them first.",
                lambda known, labels, images: labels[
                    distances(known, images, p=1.0).argmin(dim=1)
                ],
            ),
            (
                "it takes the largest product of the pixels. A digit with much ink "
                "has a large product with everything; the distance does not.",
                largest_product,
            ),
        ],
    ),
    "0.2": Exercise(
        asks="change_all(images, angle_deg, factor, pixels)",
        cases=lambda: [
            {"images": soft_images(), "angle_deg": a, "factor": f, "pixels": p}
            for a, f, p in ((50.0, 0.7, 14.0), (-20.0, 1.2, -6.0), (0.0, 1.0, 3.0))
        ],
        expected=change_all,
        mistakes=[
            (
                "only the shift is left. Give each change the result of the one "
                "before, not the images of the start.",
                in_order(2),
            ),
            (
                "the content turns the other way. `rotation` turns the grid, not the "
                "content; `turn` keeps this in mind.",
                lambda images, angle_deg, factor, pixels: change_all(
                    images, -angle_deg, factor, pixels
                ),
            ),
            (
                "the content grows where it should shrink. `scaling` stretches the "
                "grid, not the content; `resize` keeps this in mind.",
                lambda images, angle_deg, factor, pixels: change_all(
                    images, angle_deg, 1 / factor, pixels
                ),
            ),
            (
                "the content moves the other way. `translation` moves the grid, not "
                "the content; `shift` keeps this in mind.",
                lambda images, angle_deg, factor, pixels: change_all(
                    images, angle_deg, factor, -pixels
                ),
            ),
            (
                "the content moves down, not to the right. The first number of "
                "`translation` is for x, the second for y.",
                lambda images, angle_deg, factor, pixels: change_and_shift(
                    images, angle_deg, factor, 2 * pixels / images.shape[2], down=True
                ),
            ),
            (
                "the content moves half as far. A width of W pixels is 2 normalised "
                "units, so one pixel is 2 / W.",
                lambda images, angle_deg, factor, pixels: change_and_shift(
                    images, angle_deg, factor, pixels / images.shape[3]
                ),
            ),
            (
                "the content has left the image. `translation` takes normalised units, "
                "not pixels.",
                change_and_shift,
            ),
            (
                RADIANS,
                lambda images, angle_deg, factor, pixels: change_all(
                    images, math.radians(angle_deg), factor, pixels
                ),
            ),
            (WRONG_ORDER, in_order(2, 0, 1)),
            (WRONG_ORDER, in_order(1, 2, 0)),
            (WRONG_ORDER, in_order(0, 2, 1)),
        ],
        tolerance=0.03,
    ),
    "0.3": Exercise(
        asks="surest(net, images, angles)",
        cases=turnable_images,
        expected=surest,
        mistakes=[
            (
                "it compares the scores as they come out of the net. Only after "
                "softmax are they probabilities, which you can compare between tries.",
                lambda net, images, angles: (
                    tries(net, images, angles).amax(dim=0).argmax(dim=1)
                ),
            ),
            (
                "it averages over the angles. One sure try counts, however unsure "
                "the others are.",
                lambda net, images, angles: (
                    tries(net, images, angles).softmax(dim=2).mean(dim=0).argmax(dim=1)
                ),
            ),
            (
                "only the last angle counts. Keep the tries at the other angles, too.",
                lambda net, images, angles: tries(net, images, angles[-1:])[0].argmax(
                    dim=1
                ),
            ),
            (
                "the images turn the other way.",
                lambda net, images, angles: surest(net, images, [-a for a in angles]),
            ),
            (
                RADIANS,
                lambda net, images, angles: surest(
                    net, images, [math.radians(a) for a in angles]
                ),
            ),
            (
                "these are the places of the winning angles in `angles`. The answer is "
                "the label that won there.",
                lambda net, images, angles: (
                    tries(net, images, angles).softmax(dim=2).amax(dim=2).argmax(dim=0)
                ),
            ),
            (
                "softmax runs over the images. The probabilities of the labels of "
                "*one* image add up to 1.",
                lambda net, images, angles: (
                    tries(net, images, angles).softmax(dim=1).amax(dim=0).argmax(dim=1)
                ),
            ),
        ],
    ),
}
