"""The exercises of chapter 7: traffic signs."""

import math
from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor, nn

from stn_tutorial.affine import scaling
from stn_tutorial.data.drawn_signs import draw_signs
from stn_tutorial.exercises import Exercise, WrongForm, kind, one_number

# 7.1: the overlap of two rectangles


def shared_length(low: float, high: float, first: float, last: float) -> float:
    """How much two intervals share: both lengths, less that of the hull."""
    hull = max(high, last) - min(low, first)
    return max(0.0, (high - low) + (last - first) - hull)


def exact(
    theta: Tensor,
    boxes: Tensor,
    share_length: Callable = shared_length,
    union: Callable = lambda window, box, shared: window + box - shared,
) -> Tensor:
    overlaps = []
    for matrix, (x1, y1, x2, y2) in zip(theta.tolist(), boxes.tolist(), strict=True):
        (sx, _, tx), (_, sy, ty) = matrix
        shared = share_length(tx - sx, tx + sx, x1, x2)
        shared *= share_length(ty - sy, ty + sy, y1, y2)
        both = union(4 * sx * sy, (x2 - x1) * (y2 - y1), shared)
        overlaps.append(shared / both)
    return torch.tensor(overlaps)


def length_that_may_be_negative(
    low: float, high: float, first: float, last: float
) -> float:
    return min(high, last) - max(low, first)


def halved(theta: Tensor) -> Tensor:
    half = theta.clone()
    half[:, :, :2] /= 2
    return half


def cornered(theta: Tensor) -> Tensor:
    """Windows whose corner lies where their centre should."""
    shifted = theta.clone()
    shifted[:, :, 2] += theta[:, [0, 1], [0, 1]]
    return shifted


def windows_and_boxes() -> list[dict[str, Tensor]]:
    def window(sx: float, sy: float, tx: float, ty: float) -> Tensor:
        theta = scaling(sx, sy)
        theta[0, :, 2] = torch.tensor([tx, ty])
        return theta

    crossing = [window(0.5, 0.3, -0.2, 0.3), window(0.3, 0.6, 0.2, -0.1)]
    apart = [window(0.2, 0.2, -0.6, -0.5), window(0.2, 0.3, 0.4, 0.0)]
    inside = [window(0.2, 0.1, 0.1, 0.2), window(1.0, 1.0, 0.0, 0.0)]
    boxes = [
        [[-0.4, 0.1, 0.5, 0.9], [-0.3, -0.2, 0.4, 0.1]],
        [[0.1, 0.2, 0.7, 0.6], [-0.5, -0.2, 0.1, 0.5]],
        [[-0.6, 0.0, 0.8, 0.5], [-0.3, -0.6, 0.4, 0.1]],
    ]
    return [
        {"theta": torch.cat(theta), "boxes": torch.tensor(box)}
        for theta, box in zip((crossing, apart, inside), boxes, strict=True)
    ]


# 7.2: the localisation net alone

BODY = [(16, 3, 5, 5), (16,), (32, 16, 5, 5), (32,), (32, 512), (32,)]


def make(answer: Callable | nn.Module, images: Tensor) -> object:
    return answer if isinstance(answer, nn.Module) else answer()


def scores_and_shapes(network: object, images: Tensor) -> tuple[object, list[tuple]]:
    """Of a network the scores, and the shape of every parameter."""
    if not isinstance(network, nn.Module):
        raise WrongForm(f"expected a network, but got {kind(network)}.")
    scores, training = None, network.training
    with torch.no_grad(), suppress(Exception):  # it may not take such images
        scores = network.eval()(images)
    network.train(training)
    return scores, [tuple(weights.shape) for weights in network.parameters()]


def judge_alone(found: tuple[object, list[tuple]], images: Tensor) -> str:
    scores, shapes = found
    if (12, 6) in shapes:
        return (
            "this network reads the six numbers of theta. What counts are the 32 "
            "numbers from which theta is made."
        )
    if (6, 32) in shapes:
        return "the layer that makes theta, or the whole transformer, is still in it."
    if scores is None:
        return (
            f"the network does not take images of shape {tuple(images.shape)}. The "
            "others average them first."
        )
    if not isinstance(scores, Tensor) or scores.shape != (len(images), 12):
        return f"expected scores of shape (5, 12), but got {kind(scores)}."
    wanted = [*BODY, (12, 32)]
    if sorted(shapes) not in (sorted([*wanted, (12,)]), sorted(wanted)):
        return (
            "expected the weights of the localisation net's `body`, and one linear "
            "layer from 32 numbers to 12 scores."
        )
    return ""


# 7.3: how many standard deviations


def deviations(first: float, second: float, n: int) -> float:
    p, q = first / 100, second / 100
    return abs(p - q) / math.hypot(*((r * (1 - r) / n) ** 0.5 for r in (p, q)))


def without_sign(got: object, first: float, second: float, n: int) -> float:
    return abs(one_number(got))


def variance(error: float, n: int) -> float:
    return error * (100 - error) / n


EXERCISES = {
    "7.1": Exercise(
        asks="exact(theta, boxes)",
        cases=windows_and_boxes,
        expected=exact,
        mistakes=[
            (
                "windows that lie apart share nothing. Apart in x *and* in y, they "
                "share two negative lengths, whose product is positive.",
                lambda theta, boxes: exact(theta, boxes, length_that_may_be_negative),
            ),
            (
                "the union counts the shared part twice.",
                lambda theta, boxes: exact(
                    theta, boxes, union=lambda window, box, shared: window + box
                ),
            ),
            (
                "this divides by the area of the box, not by that of the union.",
                lambda theta, boxes: exact(
                    theta, boxes, union=lambda window, box, shared: box
                ),
            ),
            (
                "this divides by the area of the window, not by that of the union.",
                lambda theta, boxes: exact(
                    theta, boxes, union=lambda window, box, shared: window
                ),
            ),
            (
                "this divides by the smaller area, not by that of the union.",
                lambda theta, boxes: exact(
                    theta, boxes, union=lambda window, box, shared: min(window, box)
                ),
            ),
            (
                "x and y changed places. A box is x1, y1, x2, y2.",
                lambda theta, boxes: exact(theta, boxes[:, [1, 0, 3, 2]]),
            ),
            (
                "the windows are half as wide as they should be. theta's numbers "
                "multiply a square from -1 to 1, which is 2 wide.",
                lambda theta, boxes: exact(halved(theta), boxes),
            ),
            (
                "the windows start at theta's shift. It says where their centre lies.",
                lambda theta, boxes: exact(cornered(theta), boxes),
            ),
        ],
    ),
    "7.2": Exercise(
        asks="alone()",
        cases=lambda: [{"images": draw_signs(5, torch.Generator().manual_seed(0))[0]}],
        apply=make,
        read=scores_and_shapes,
        judge=judge_alone,
    ),
    "7.3": Exercise(
        asks="deviations(first, second, n)",
        cases=lambda: [
            {"first": first, "second": second, "n": n}
            for first, second, n in (
                (0.8, 0.5, 2500),
                (5.0, 8.0, 400),
                (50.0, 45.0, 400),
            )
        ],
        read=without_sign,
        expected=deviations,
        mistakes=[
            (
                "one network's variance is missing. The variance of a difference is "
                "the sum of both.",
                lambda first, second, n: (
                    abs(first - second) / variance(first, n) ** 0.5
                ),
            ),
            (
                "one network's variance is missing. The variance of a difference is "
                "the sum of both.",
                lambda first, second, n: (
                    abs(first - second) / variance(second, n) ** 0.5
                ),
            ),
            (
                "a variance was not made a standard deviation: take its square root.",
                lambda first, second, n: (
                    abs(first - second) / (variance(first, n) + variance(second, n))
                ),
            ),
            (
                "standard deviations do not add up. Variances do.",
                lambda first, second, n: (
                    abs(first - second)
                    / (variance(first, n) ** 0.5 + variance(second, n) ** 0.5)
                ),
            ),
            (
                "p (1 - p) holds for a share p between 0 and 1. The errors are in per "
                "cent.",
                lambda first, second, n: (
                    abs(first - second)
                    / abs((first * (1 - first) + second * (1 - second)) / n) ** 0.5
                ),
            ),
            (
                "the difference is in per cent, the deviation that of a share.",
                lambda first, second, n: 100 * deviations(first, second, n),
            ),
            (
                "the difference is a share, the deviation in per cent.",
                lambda first, second, n: deviations(first, second, n) / 100,
            ),
            (
                "the number of images is missing: more images, less chance.",
                lambda first, second, n: deviations(first, second, 1),
            ),
        ],
        tolerance=0.005,
    ),
}
