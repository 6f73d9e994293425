"""The exercises of chapter 4: the spatial transformer."""

import itertools
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from stn_tutorial.affine import identity, rotation
from stn_tutorial.data.digits import load_digits
from stn_tutorial.exercises import (
    Exercise,
    WrongForm,
    kind,
    numbers_in,
    show,
    take,
    tensor_of,
)
from stn_tutorial.interpolation import warp

# 4.1: a window that never leaves the image


def call_with_copy(answer: Callable, numbers: Tensor) -> Tensor:
    return answer(numbers.clone())  # no leaf, like what a net puts out


def as_theta(got: object, numbers: Tensor) -> Tensor:
    theta = tensor_of((len(numbers), 2, 3), got, "theta")
    if not isinstance(got, Tensor) or not got.requires_grad:
        raise WrongForm(
            "no gradient flows from theta back to the numbers, so no net can learn."
        )
    return theta


def judge_gradient(got: Tensor, numbers: Tensor) -> str:
    """Say which number changes nothing in theta, though all are small."""
    wish = torch.linspace(0.3, 1.0, got.numel(), dtype=got.dtype).view_as(got)
    path = got + 0 * numbers.sum()  # a gradient that is missing is 0
    (gradient,) = torch.autograd.grad(path, numbers, wish.to(path.dtype))
    still = (gradient == 0) & (numbers.detach().abs() <= 2).all(dim=1, keepdim=True)
    if not still.any():
        return ""
    row, column = still.nonzero()[0].tolist()
    return (
        f"the windows are right, but at {show(numbers[row])} the gradient is zero for "
        f"number {column}, so it cannot learn. Is something detached?"
    )


def judge_window(theta: Tensor, numbers: Tensor) -> str:
    size, place = theta[:, 0, 0], theta[:, :, 2]
    for wrong, what in (
        ((theta[:, 0, 1].abs() + theta[:, 1, 0].abs()) > 1e-5, "is turned or sheared"),
        ((size - theta[:, 1, 1]).abs() > 1e-5, "is not square"),
        ((size < 0.3 - 1e-4) | (size > 1 + 1e-4), "has no size between 0.3 and 1"),
        (
            (place.abs() + size[:, None]).amax(dim=1) > 1 + 1e-4,
            "reaches beyond the image. How far it may move depends on its size",
        ),
    ):
        if wrong.any():
            row = wrong.int().argmax()
            given, made = show(numbers[row]), show(theta[row])
            return f"{given} gives theta = {made}. This window {what}."
    calm = numbers.abs().amax(dim=1) <= 2
    if len(theta[calm].unique(dim=0)) < calm.sum():
        return (
            "different numbers give the very same window. Where a limit cuts off, as "
            "`clamp` does, the gradient is zero and the window cannot learn."
        )
    return judge_reach(size, place) if len(numbers) > 100 else ""


def judge_reach(size: Tensor, place: Tensor) -> str:
    """Say which windows never occur, given very many."""
    if size.min() > 0.35 or size.max() < 0.95:
        return (
            f"the sizes only go from {size.min():.4g} to {size.max():.4g}. "
            "All from 0.3 to 1 should be within reach."
        )
    small = size < 0.6
    share = place[small] / (1 - size[small, None])  # of the way to the edge
    for x, y in itertools.product((-1, 1), repeat=2):
        if not (share * torch.tensor([x, y]) > 0.8).all(dim=1).any():
            corner = f"{'upper' if y < 0 else 'lower'} {'left' if x < 0 else 'right'}"
            return f"no small window comes near the image's {corner} corner."
    return ""


def net_outputs() -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    steps = [torch.zeros(1, 3), torch.eye(3), 2 * torch.eye(3)]
    large = 10_000 * torch.tensor(list(itertools.product((-1.0, 1.0), repeat=3)))
    many = 5 * torch.randn(1000, 3, generator=generator)
    batches = torch.cat(steps), large, torch.cat([many, large])
    return [{"numbers": batch.requires_grad_()} for batch in batches]


# 4.2: four starts

STARTS = (0.0, 90.0, 180.0, 270.0)


def end_of_path(got: object, source: Tensor, target: Tensor, theta: Tensor) -> Tensor:
    shape = tuple(theta.shape)
    wanted = f"expected a list with theta of shape {shape} at its end, but"
    if isinstance(got, (list, tuple)):
        if not got:
            raise WrongForm(f"{wanted} the list is empty.")
        got = got[-1]
    numbers = numbers_in(got)
    if numbers is not None and numbers.dim() == 4:  # all on the way in one tensor
        numbers = numbers[-1]
    if numbers is None or numbers.shape != shape:
        raise WrongForm(f"{wanted} there is {kind(got)}.")
    return tensor_of(shape, numbers)


def judge_alignment(
    found: Tensor, source: Tensor, target: Tensor, theta: Tensor
) -> str:
    if all(any(torch.allclose(f, rotation(a)[0]) for a in STARTS) for f in found):
        return "these are starts. What is asked for is where descent ends."
    start, left = (
        (warp(source, t) - target).square().mean((1, 2, 3)) for t in (theta, found)
    )
    aligned = (left < 0.1 * start).tolist()
    if sum(aligned) == 0:
        return (
            "not one of the four digits is aligned, though each has a start from "
            "which descent arrives. Is the largest loss kept, and not the smallest?"
        )
    if sum(aligned) == 1:
        return (
            "only one of the four digits is aligned. Each of them needs another start: "
            "is one start kept for the whole batch?"
        )
    wrong = ", ".join(str(i) for i in range(4) if not aligned[i])
    return f"not every digit is aligned; see image {wrong}." if wrong else ""


def turned_digits() -> list[dict[str, Tensor]]:
    source = load_digits().test_images[[0, 2, 15, 4]]  # 7, 3, 6, 1
    target = warp(source, rotation(torch.tensor([190.0, 10.0, 280.0, 100.0])))
    return [{"source": source, "target": target, "theta": identity(4)}]


# 4.3: what learns when two layers are zero

LAYERS = ("body.1", "body.3", "last")
NAMES = {f"{layer}.{part}" for layer in LAYERS for part in ("weight", "bias")}


def as_names(got: object) -> list[str]:
    if isinstance(got, str):
        raise WrongForm(
            "expected a list of names, but got a string, which is a list of letters. "
            "Put it into square brackets."
        )
    if isinstance(got, (bytes, Tensor)) or not isinstance(got, Iterable):
        raise WrongForm(f"expected a list of names, but got {kind(got)}.")
    names = list(got)
    for name in names:
        if isinstance(name, tuple):
            raise WrongForm(
                "expected a list of names alone. `named_parameters` gives pairs of a "
                "name and a parameter."
            )
        if not isinstance(name, str):
            raise WrongForm(f"expected names, which are strings, but got {kind(name)}.")
    return sorted({str(name).split("localisation.")[-1] for name in names})


def judge_names(names: list[str]) -> str:
    for name in names:
        if name not in NAMES:
            return f"a `LocalisationNet` has no parameter called {name!r}."
    if not names:
        return (
            "not every gradient is zero: theta itself can still change. (Is `grad` "
            "None, and not zero, for all of them? Then no path leads from the loss to "
            "the localisation net: the classifier was given the images as they came, "
            "not what the transformer made of them.)"
        )
    if any(name.startswith("body") for name in names):
        return (
            "to reach the layers before it, the gradient is multiplied by the last "
            "layer's weights. What are they, in each of the ten steps?"
        )
    if "last.weight" in names:
        return (
            "the gradient of a layer's weights is multiplied by the layer's input. "
            "What does the last layer get as its input here?"
        )
    return ""


EXERCISES = {
    "4.1": Exercise(
        asks="attention(numbers)",
        cases=net_outputs,
        apply=call_with_copy,
        read=as_theta,
        judge=judge_window,
        besides=judge_gradient,
    ),
    "4.2": Exercise(
        asks="best_of_four(source, target, theta)",
        cases=turned_digits,
        read=end_of_path,
        judge=judge_alignment,
    ),
    "4.3": Exercise(
        asks="a list of parameters' names",
        cases=lambda: [{}],
        apply=take,
        read=as_names,
        judge=judge_names,
    ),
}
