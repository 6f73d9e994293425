"""The exercises of chapter 5: straightening digits."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from stn_tutorial.affine import identity, rotation
from stn_tutorial.data.digits import load_digits
from stn_tutorial.distortions import distort
from stn_tutorial.exercises import (
    Exercise,
    WrongForm,
    difference,
    kind,
    take,
    tensor_of,
)
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


def transformer_in(network: nn.Module) -> nn.Module | None:
    """The network's transformer, wherever it stands."""
    named = getattr(network, "transformer", None)
    modules = (m for m in network.modules() if isinstance(m, SpatialTransformer))
    return named if isinstance(named, nn.Module) else next(modules, None)


def transforms(transformer: nn.Module, images: Tensor) -> Tensor:
    device = next((p.device for p in transformer.parameters()), images.device)
    training = transformer.training
    transformer.eval()
    with torch.no_grad():
        theta = transformer(images.to(device), return_theta=True)[1]
    transformer.train(training)
    return theta.cpu()


def cut_off(
    network: nn.Module, images: Tensor, labels: Tensor, learns: bool = True
) -> str:
    """Say that the classifier goes without its transformer; "" if it does not.

    Args:
        network: it stays as it is.
        images: some that it takes.
        labels: theirs.
        learns: whether the loss has to reach the localisation net, too.
    """
    transformer = transformer_in(network)
    if transformer is None or not list(transformer.parameters()):
        return ""
    device = next(transformer.parameters()).device
    images, labels = images[:20].to(device), labels[:20].to(device)
    weights = {n: p.detach().requires_grad_() for n, p in network.named_parameters()}
    inside = {id(p) for p in transformer.parameters()}
    parts = [name for name, p in network.named_parameters() if id(p) in inside]
    generator = torch.Generator().manual_seed(0)
    moved = dict(weights)
    for name in parts:
        noise = torch.randn(weights[name].shape, generator=generator)
        moved[name] = weights[name] + 0.1 * noise.to(device)
    modes = {module: module.training for module in network.modules()}
    network.eval()
    scores = functional_call(network, weights, (images,))
    others = functional_call(network, moved, (images,))
    for module, training in modes.items():
        module.training = training
    found = torch.autograd.grad(
        F.cross_entropy(scores, labels),
        [weights[name] for name in parts],
        allow_unused=True,
    )
    none = (
        f"After `loss.backward()` the `grad` of `{parts[-1]}` and all others in the "
        "transformer is None, since no path leads from the loss to them."
    )
    if torch.equal(scores, others):
        return (
            "the classifier never sees what the transformer makes: the scores stay the "
            f"same when theta changes. {none} Hand the classifier the transformer's "
            "output, not the images as they came."
        )
    if learns and all(gradient is None for gradient in found):
        return (
            "the transformer cannot learn, though the classifier sees its output. "
            f"{none} Is theta or the grid cut off by `detach` or `torch.no_grad`?"
        )
    return ""


# 5.1: a grid that stays where it is


def theta_and_error(got: object, distortion: str) -> tuple[Tensor, float]:
    network = as_network(got)
    if not isinstance(network, nn.Module):
        raise WrongForm(f"expected the trained network itself, but got {kind(got)}.")
    transformer = transformer_in(network)
    if transformer is None:
        raise WrongForm(
            "this network has no transformer. Keep it, and keep its grid still."
        )
    images, labels = held_out(distortion)
    try:
        theta = transforms(transformer, images)
        error = error_rate(network, images, labels)
    except Exception as wrong:  # whatever the reader has built
        raise WrongForm(
            f"the network does not run on images of {distortion}, of shape "
            f"{tuple(images.shape)}: {type(wrong).__name__}: {wrong}"
        ) from wrong
    if fault := cut_off(network, images, labels, learns=False):
        raise WrongForm(fault)
    return theta, error


def judge_still(found: tuple[Tensor, float], distortion: str) -> str:
    theta, error = found
    if not theta.isfinite().all():
        return "theta is not finite: the training diverged."
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


def change(answer: Callable, images: Tensor) -> Network:
    network = untrained()
    answer(network)
    return network


def start(network: Network, images: Tensor) -> Tensor:
    try:
        _, theta = network.eval().straighten(images)
    except Exception as error:  # whatever the reader has changed
        raise WrongForm(
            "the changed network does not run any more: "
            f"{type(error).__name__}: {error}"
        ) from error
    return tensor_of((len(images), 2, 3), theta, "theta")


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


def errors(got: Any, distortion: str) -> dict[str, float | str]:
    """By kind of network its error in per cent; "none" if it cannot take the images."""
    pair = isinstance(got, (tuple, list))
    networks = []
    for network in map(as_network, got) if pair else [got]:
        if not isinstance(network, nn.Module):
            raise WrongForm(
                "expected the two trained networks themselves, in a list, but there is "
                f"{kind(network)}."
            )
        networks.append(network)
    images, labels = held_out(distortion)
    found: dict[str, float | str] = {}
    for network in networks:
        name = "FCN" if transformer_in(network) is None else "ST-FCN"
        try:
            found[name] = round(error_rate(network, images, labels), 1)
        except Exception:  # whatever the reader has built
            found[name] = "none"
        else:
            if fault := cut_off(network, images, labels):
                raise WrongForm(f"{name}: {fault}")
    return found


def judge_errors(found: dict[str, Any], distortion: str) -> str:
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
        apply=take,
        read=theta_and_error,
        judge=judge_still,
    ),
    "5.2": Exercise(
        asks="turned_start(net)",
        cases=lambda: [{"images": held_out("RTS")[0][:3]}],
        apply=change,
        read=start,
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
        apply=take,
        read=errors,
        judge=judge_errors,
    ),
}
