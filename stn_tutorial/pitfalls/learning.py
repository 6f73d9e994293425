"""Can it learn? The questions about gradients, each with what to do about a fault."""

import torch
from torch import Tensor, nn

from stn_tutorial.affine import identity
from stn_tutorial.interpolation import PADDINGS, blur
from stn_tutorial.pitfalls.patient import TILTED, Patient, differ, slopes
from stn_tutorial.pitfalls.report import NOTE, RIGHT, WRONG, Finding


def about_freedom(patient: Patient) -> Finding | None:
    """Each number of the last layers: a little and far to either side, its slope."""
    if patient.reading is not None and patient.reading.mode == "nearest":
        return None
    squashed: list[tuple[str, int]] = []
    untaught, unused, thetas = squashed.copy(), squashed.copy(), []
    for name, module, own in patient.heads:
        numbers = own.clamp(-1, 1)  # with the grid at the image, wherever it is now
        middle = numbers.mean(dim=0).round()
        slope = torch.zeros_like(numbers)
        for by in (-0.03, 0.03):
            put = (numbers + by).requires_grad_()
            output, _ = patient.run(patient.noise, head=(module, put * 1))
            slope += slopes(output.float(), [put])[0].abs()
        for k in range(numbers.shape[1]):
            outputs = []
            for by in (-2.0, -0.1, -0.05, 0.05, 0.1, 2.0):
                put = numbers.clone()
                put[:, k] = middle[k] + by
                with torch.no_grad():
                    output, theta = patient.run(patient.noise, head=(module, put))
                outputs.append(output)
                thetas += [] if theta is None else [theta.flatten(1)]
            near = zip(outputs[1:4], outputs[2:5], strict=True)
            below, across, above = (torch.equal(one, other) for one, other in near)
            if below and across and above:
                unused.append((name, k + 1))
            elif across or (middle[k] == 0 and (below or above)):
                squashed.append((name, k + 1))
            elif not slope[:, k].any():
                untaught.append((name, k + 1))
    if thetas and not squashed:
        least, most = torch.cat(thetas).aminmax(dim=0)
        one_sided = ((least >= 0) | (most <= 0)) & (most - least > 0.01)
        squashed = [("theta", k + 1) for k in (1, 2, 3, 5) if one_sided[k]]
    total = sum(head.numbers.shape[1] for head in patient.heads)
    if total == 0:
        return None
    if squashed:
        return Finding(
            "freedom",
            WRONG,
            f"numbers that cannot take both signs: {listed(squashed)}. So some turns "
            "or shifts are out of reach",
            "nothing like relu, abs or sigmoid may stand between the last layer and "
            "the grid; for a bound, add 0.5 * tanh of the numbers to the identity",
        )
    if 0 < len(untaught) < total - len(unused):  # if all: the next tests tell
        text = f"numbers that move the grid but get no gradient: {listed(untaught)}"
        mend = "look for detach, .data, .item() and no_grad on their way"
        return Finding("freedom", WRONG, text, mend)
    if unused:
        text = f"numbers of a last layer that change nothing: {listed(unused)}"
        mend = "fine if they are to be left out; else follow them to the grid"
        verdict = WRONG if len(unused) == total else NOTE
        return Finding("freedom", verdict, text, mend)
    return Finding("freedom", RIGHT, "each last number moves the grid, both ways")


def listed(numbers: list[tuple[str, int]]) -> str:
    """Say which numbers of which layers, as in "2, 3 of fc"."""
    names = dict.fromkeys(name for name, _ in numbers)
    of = {name: [str(k) for other, k in numbers if other == name] for name in names}
    return ", ".join(f"{', '.join(ks)} of {name}" for name, ks in of.items())


def about_gradient(patient: Patient) -> Finding | None:
    """The gradient of theta against that of the warp that was understood."""
    if patient.theta is None or patient.reading is None or patient.off > 0:
        return None
    if patient.reading.padding_mode not in PADDINGS:
        return None  # in another scale of values, which the slopes share
    for name, start in (("a tilted grid", TILTED), ("the identity", identity())):
        pairs = [both_slopes(patient, start, seed) for seed in range(3)]
        # At the identity rounding decides on which side of a pixel a point lies
        error = min(apart(found, wanted) for found, wanted in pairs)
        found = torch.cat([found for found, _ in pairs])
        longest = max(wanted.abs().max() for _, wanted in pairs)
        none = [("theta", k + 1) for k in range(6) if not found[:, k].any()]
        tiny = found.abs().max() < 1e-3 * longest
        if none or tiny:
            part = "theta" if tiny else listed(none)
            text = f"no gradient reaches {part} at {name}"
            mend = (
                "look for detach, no_grad, round and mode='nearest', and for ceil: the "
                "upper neighbour of a place is floor + 1"
            )
        elif error > 0.5:
            text = f"theta's gradient is wrong at {name}, by {error:.0%} or more"
            mend = (
                "the upper neighbour of a place is floor + 1, never ceil, and no "
                "weight may be detached"
            )
        else:
            continue
        return Finding("gradient", WRONG, text, mend)
    return Finding("gradient", RIGHT, "theta gets the gradient of the warp")


def both_slopes(patient: Patient, start: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Theta's gradient (N, 6), and what it should be, towards a small shift."""
    assert patient.reading is not None
    random = torch.Generator().manual_seed(seed)
    noise = torch.rand(patient.noise.shape, generator=random).to(patient.noise)
    images = blur(noise.float(), 3.0)
    put = start.repeat(len(images), 1, 1).to(images).requires_grad_()
    output = patient.run(images.to(noise), put)[0].float()
    right = patient.reading.warp(images, put, output.shape[2:])
    toward = (right - right.roll((1, 1), (2, 3))).detach()
    toward[..., :1, :] = toward[..., -1:, :] = 0  # the edge, where rounding decides
    toward[..., :1] = toward[..., -1:] = 0
    (found,) = slopes(output, [put], toward)
    (wanted,) = slopes(right, [put], toward)
    return found.flatten(1), wanted.flatten(1)


def apart(found: Tensor, wanted: Tensor) -> float:
    """The largest error of one of the six numbers, as a share of its length."""
    length = wanted.norm(dim=0) + 0.1 * wanted.norm()
    return ((found - wanted).norm(dim=0) / length).max().item()


def about_through(patient: Patient) -> Finding | None:
    """Whether a gradient reaches the images."""
    images = patient.input.clone().requires_grad_()
    output, theta = patient.run(images, patient.put[:1])
    if theta is None:
        return None
    (found,) = slopes(output.float(), [images])
    if found.any():
        return Finding("through", RIGHT, "a gradient reaches the images")
    return Finding(
        "through",
        WRONG,
        "no gradient reaches the images, so layers before the transformer cannot learn",
        "the sampler has to read the images themselves, without detach",
    )


def about_reach(patient: Patient) -> Finding | None:
    """Whether each layer of the localisation net learns, after a first small step."""
    if patient.theta is None:
        return None
    weights = {n: w for n, w in patient.owner.named_parameters() if w.requires_grad}
    if not patient.theta.requires_grad or not weights:
        text, mend = (
            "theta depends on no weights that can learn",
            "is the localisation net frozen, detached, or under no_grad?",
        )
        if patient.theta.requires_grad:
            text = "theta depends on weights that parameters() does not list"
            mend = "keep layers in nn.ModuleList or nn.Sequential, not in a plain list"
        fixed = not weights and not patient.theta.requires_grad
        return Finding("reach", NOTE if fixed else WRONG, text, mend)
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    total = patient.theta.float().sum()
    slope = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
    pairs = zip(weights, slope, strict=True)
    behind = [name for name, grad in pairs if grad is not None]
    learning = [weights[name] for name in behind]
    step(patient, learning)  # the last layer's weights leave their zeros
    grads = step(patient, learning)
    dead = [n for n, grad in zip(behind, grads, strict=True) if not grad.any()]
    cut = [n for n in weights if n not in behind and steers(patient, weights[n])]
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(before[name])
    if not dead and not cut:
        return Finding("reach", RIGHT, "the gradient gets to every layer behind theta")
    if len(dead) == len(behind):
        text = "no gradient gets to the localisation net"
        mend = (
            "does the network use the transformer's output, is the grid inside the "
            "image, and is nothing detached on the way?"
        )
    else:
        text = f"no gradient gets to {', '.join([*dead, *cut][:3])}"
        mend = "look for detach and dead ReLUs; only the last layer starts with zeros"
    return Finding("reach", WRONG, text, mend)


def step(patient: Patient, weights: list[nn.Parameter]) -> list[Tensor]:
    """Measure the gradient of each weight, then move all by a hundredth at most."""
    whole = patient.network is not None
    images = patient.images if whole else patient.input
    output, theta = patient.run(images, whole=whole)
    grads = slopes(output, weights)
    largest = max(grad.abs().max().item() for grad in grads)
    patient.moved = None if theta is None else theta.detach()
    if largest > 0:
        with torch.no_grad():
            for weight, grad in zip(weights, grads, strict=True):
                weight.sub_(0.01 * grad / largest)
    return grads


@torch.no_grad()
def steers(patient: Patient, weight: nn.Parameter) -> bool:
    """Whether theta changes with a weight, gradient or not."""
    _, before = patient.run(patient.input)
    weight.add_(0.1)
    _, after = patient.run(patient.input)
    weight.sub_(0.1)
    return before is not None and differ(before, after)


LEARNING = (about_freedom, about_gradient, about_through, about_reach)
