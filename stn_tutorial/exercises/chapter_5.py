"""The exercises of chapter 5: straightening digits."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_tutorial.affine import identity, rotation
from stn_tutorial.data.digits import load_digits
from stn_tutorial.distortions import distort
from stn_tutorial.exercises import Exercise, difference, kind
from stn_tutorial.networks import Network, fcn
from stn_tutorial.training import error_rate
from stn_tutorial.transformer import LocalisationNet, SpatialTransformer


def held_out(distortion: str) -> tuple[Tensor, Tensor]:
    """Distorted digits that no network of the chapter learns from, with labels."""
    digits, generator = load_digits(), torch.Generator().manual_seed(1)
    images, labels = digits.train_images[1000:], digits.train_labels[1000:]
    images, labels = images.repeat(5, 1, 1, 1), labels.repeat(5)
    return distort(images, distortion, generator, sampler=F.grid_sample), labels


def as_network(answer: object) -> object:
    """Take what the chapter's functions return: a network, or a tuple with it."""
    return answer[0] if isinstance(answer, tuple) and answer else answer


def transforms(network: Any, images: Tensor) -> Tensor:
    training = network.training
    network.eval()
    with torch.no_grad():
        theta = network.straighten(images)[1]
    network.train(training)
    return theta


# 5.1: a grid that stays where it is


def theta_and_error(answer: object, distortion: str) -> object:
    network = as_network(answer)
    if not isinstance(network, nn.Module):
        return network
    images, labels = held_out(distortion)
    error = error_rate(network, images, labels)
    if getattr(network, "transformer", None) is None:
        return "no theta", error
    return transforms(network, images), error


def judge_still(found: object, distortion: str) -> str:
    if not isinstance(found, tuple):
        return f"expected the trained network itself, but got {kind(found)}."
    theta, error = found
    if not isinstance(theta, Tensor):
        return "this network has no transformer. Keep it, and keep its grid still."
    if (theta - theta[:1]).abs().max() > 1e-4:
        return "theta differs from image to image: the grid still moves."
    if (theta - identity()).abs().max() > 1e-4:
        return "the grid is the same for all images, but it is not where it started."
    if error > 70:
        return "the classifier has learned next to nothing. It should be trained."
    return ""


# 5.2: a start that is turned


def untrained() -> Network:
    """The chapter's ST-FCN for RTS."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        half = LocalisationNet((1, 21, 21), hidden=(48, 32))
        localisation = nn.Sequential(nn.AvgPool2d(2), half)
        transformer = SpatialTransformer(localisation, (56, 56), sampler=F.grid_sample)
        return Network(fcn((1, 28, 28), (256, 128)), transformer, pool=2)


def start(answer: Callable, images: Tensor) -> Tensor:
    network = untrained()
    answer(network)
    return transforms(network, images)


def turned(images: Tensor, angle_deg: float = 40.0) -> Tensor:
    return rotation(torch.full((len(images),), angle_deg))


def judge_start(theta: Tensor, images: Tensor) -> str:
    if (theta - theta[:1]).abs().max() > 1e-4:
        return (
            "theta differs from image to image. In the beginning every grid should be "
            "the same: what makes it so in an ST-FCN that was not changed?"
        )
    return difference(turned(images), theta, 1e-3)


# 5.3: where there is nothing to gain


def errors(answer: Any, distortion: str) -> object:
    """By kind of network its error in per cent; "none" if it cannot take the images."""
    pair = isinstance(answer, (tuple, list))
    networks: list[Any] = [as_network(one) for one in answer] if pair else [answer]
    if not all(isinstance(network, nn.Module) for network in networks):
        return answer
    images, labels = held_out(distortion)
    found: dict[str, float | str] = {}
    for network in networks:
        name = "FCN" if getattr(network, "transformer", None) is None else "ST-FCN"
        try:
            found[name] = round(error_rate(network, images, labels), 1)
        except (RuntimeError, ValueError):
            found[name] = "none"
    return found


def judge_errors(found: object, distortion: str) -> str:
    if not isinstance(found, dict):
        return f"expected the two trained networks themselves, but got {kind(found)}."
    if set(found) != {"FCN", "ST-FCN"}:
        return "expected one network without a transformer and one with it."
    for name, error in found.items():
        if error == "none":
            return (
                f"{name} does not take images of {distortion}, which have 28 x 28 "
                "pixels. On which set was it trained?"
            )
        if error > 20:
            return (
                f"{name} is wrong on {error}% of the digits of {distortion}. Was it "
                "trained on this set, on all 30,000 images?"
            )
    if abs(found["FCN"] - found["ST-FCN"]) >= 3:
        return "the errors lie further apart than equal training on this set leaves."
    return ""


EXERCISES = {
    "5.1": Exercise(
        asks="the trained network",
        cases=lambda: [{"distortion": "RTS"}],
        apply=theta_and_error,
        judge=judge_still,
    ),
    "5.2": Exercise(
        asks="turned_start(net)",
        cases=lambda: [{"images": held_out("RTS")[0][:3]}],
        apply=start,
        expected=turned,
        judge=judge_start,
        mistakes=[
            (
                "the grid starts as it always does. Which layer gives theta? It should "
                "change in `net` itself.",
                lambda images: identity(len(images)),
            ),
            (
                "this grid turns the other way. Its start should be `rotation(40.0)`.",
                lambda images: turned(images, -40.0),
            ),
            (
                "degrees and radians are mixed. `rotation` takes degrees.",
                lambda images: turned(images, math.radians(40.0)),
            ),
            (
                "degrees and radians are mixed. `torch.cos` and `math.cos` take "
                "radians.",
                lambda images: turned(images, math.degrees(40.0)),
            ),
        ],
        tolerance=1e-3,
    ),
    "5.3": Exercise(
        asks="the pair of networks",
        cases=lambda: [{"distortion": "R"}],
        apply=errors,
        judge=judge_errors,
    ),
}
