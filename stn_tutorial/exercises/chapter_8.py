"""The exercises of chapter 8: beyond affine."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_tutorial.affine import (
    compose,
    invert,
    pixel_centres,
    rotation,
    translation,
)
from stn_tutorial.data.digits import load_digits
from stn_tutorial.exercises import Exercise, WrongForm, kind, tensor_of
from stn_tutorial.exercises.chapter_5 import transformer_in

# 8.1: the mean place


def heat_maps() -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(8)
    sizes = (3, 6, 9), (2, 8, 5)
    return [{"heat": 2 * torch.randn(size, generator=generator)} for size in sizes]


def softmax_of_all(heat: Tensor) -> Tensor:
    return heat.flatten(1).softmax(dim=1).view_as(heat)


def mean_place(
    heat: Tensor,
    shares: Callable[[Tensor], Tensor] = softmax_of_all,
    centres: Callable[[int], Tensor] = lambda n: pixel_centres(n, False),
) -> Tensor:
    share = shares(heat)
    height, width = heat.shape[1:]
    x = torch.einsum("nhw,w->n", share, centres(width))
    y = torch.einsum("nhw,h->n", share, centres(height))
    return torch.stack([x, y], dim=1)


def hottest(heat: Tensor) -> Tensor:
    """Give everything to the hottest pixel."""
    best = heat.flatten(1).argmax(dim=1)
    return F.one_hot(best, heat[0].numel()).view_as(heat).float()


def as_places(got: object, heat: Tensor) -> Tensor:
    return tensor_of((len(heat), 2), got, "places")


# 8.2: one theta of several


def rows_of_thetas() -> list[dict[str, list[Tensor]]]:
    angles = torch.tensor([20.0, -35.0])
    turn, shift = rotation(angles), translation(torch.tensor([0.3, -0.1]), 0.2)
    zoom = 0.7 * translation(0.4, -0.2).repeat(2, 1, 1)
    return [{"thetas": [compose(turn, shift), zoom]}, {"thetas": [zoom, turn, shift]}]


def all_at_once(thetas: Sequence[Tensor]) -> Tensor:
    return compose(*thetas)


def as_theta(got: object, thetas: Sequence[Tensor]) -> Tensor:
    return tensor_of(thetas[0].shape, got, "theta")


def added(thetas: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(thetas)).sum(dim=0)


def matrices_and_shifts(thetas: Sequence[Tensor]) -> Tensor:
    """Multiply the matrices, but only add the shifts."""
    total = compose(*thetas).clone()
    total[:, :, 2] = added(thetas)[:, :, 2]
    return total


# 8.3: a volume, turned


def volumes() -> list[dict[str, object]]:
    generator = torch.Generator().manual_seed(8)
    volume = torch.rand(2, 1, 5, 7, 7, generator=generator)
    return [
        {"volume": volume, "angle_deg": 90.0},
        {"volume": volume, "angle_deg": 25.0},
    ]


def turned(volume: Tensor, angle_deg: float, align_corners: bool = False) -> Tensor:
    """Turn the slices one by one, as images with many channels."""
    slices = volume.flatten(1, 2)
    theta = rotation(angle_deg).expand(len(volume), -1, -1)
    size = list(slices.shape)
    grid = F.affine_grid(theta, size, align_corners=align_corners)
    seen = F.grid_sample(slices, grid, align_corners=align_corners)
    return seen.view_as(volume)


def about(volume: Tensor, angle_deg: float, first: int, second: int) -> Tensor:
    """Turn in the plane of two of the axes (x, y, z), by their numbers."""
    theta = torch.eye(3, 4).repeat(len(volume), 1, 1)
    matrix = rotation(angle_deg)[0, :, :2]
    for i, row in enumerate((first, second)):
        for j, column in enumerate((first, second)):
            theta[:, row, column] = matrix[i, j]
    grid = F.affine_grid(theta, list(volume.shape), align_corners=False)
    return F.grid_sample(volume, grid, align_corners=False)


def as_volume(got: object, volume: Tensor, angle_deg: float) -> Tensor:
    return tensor_of(volume.shape, got, "a volume")


# 8.4: early layers that serve twice


def make(answer: Callable | nn.Module, images: Tensor) -> object:
    if isinstance(answer, nn.Module):
        return answer
    with torch.random.fork_rng(devices=[]):
        return answer()


def calls(network: object, images: Tensor) -> tuple[Tensor, list[tuple]]:
    """Run a network, and note of each convolution and transformer what it gets.

    Returns:
        the scores; and (module, its input, its output) of every call, in order.
    """
    if not isinstance(network, nn.Module):
        raise WrongForm(f"expected a network, but got {kind(network)}.")
    transformer = transformer_in(network)
    if transformer is None:
        raise WrongForm("this network has no transformer.")
    noted: list[tuple] = []

    def note(module: nn.Module, given: tuple, got: object) -> None:
        output = got[0] if isinstance(got, tuple) else got
        noted.append((module, given[0], output))

    watched = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    hooks = [m.register_forward_hook(note) for m in [*watched, transformer]]
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            scores = network(images)
    except Exception as error:  # whatever the reader has built
        raise WrongForm(
            f"the network does not run on images of shape {tuple(images.shape)}: "
            f"{type(error).__name__}: {error}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    return tensor_of((len(images), 10), scores, "scores"), noted


def judge_shared(found: tuple[Tensor, list[tuple]], images: Tensor) -> str:
    _, noted = found
    warps = [n for n in noted if not isinstance(n[0], nn.Conv2d)]
    if not warps:
        return "the network has a transformer, but does not use it."
    _, given, warped = warps[0]
    if given.shape != images.shape or not torch.equal(given, images):
        return (
            "the transformer warps feature maps. It should warp the input, which the "
            "early layers then read once more."
        )
    convolutions = [n for n in noted if isinstance(n[0], nn.Conv2d)]
    first = [m for m, seen, _ in convolutions if same(seen, images)]
    again = [m for m, seen, _ in convolutions if same(seen, warped)]
    # Before training the transformer changes nothing: count the calls themselves.
    if not first:
        return "no convolution reads the input: where does the localisation net look?"
    if len({*first, *again}) > 1:
        return (
            "one convolution reads the input and another one the warped image, each "
            "with weights of its own. Put the same module in both places."
        )
    if sum(m is first[0] for m, _, _ in convolutions) < 2:
        return "the first convolution is used once: does it read the warped image, too?"
    return ""


def same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, atol=1e-5)


EXERCISES = {
    "8.1": Exercise(
        asks="soft_place(heat)",
        cases=heat_maps,
        read=as_places,
        expected=mean_place,
        mistakes=[
            (
                "x and y changed places. The last axis of a map is x.",
                lambda heat: mean_place(heat).flip(1),
            ),
            (
                "the centres reach from -1 to 1, as with `align_corners=True`. With "
                "False, -1 and 1 are the edges of the outer pixels.",
                lambda heat: mean_place(heat, centres=lambda n: pixel_centres(n, True)),
            ),
            (
                "the places are counted in pixels.",
                lambda heat: mean_place(
                    heat, centres=lambda n: torch.arange(n).float()
                ),
            ),
            (
                "the places reach from 0 to 1.",
                lambda heat: mean_place(
                    heat, centres=lambda n: (pixel_centres(n, False) + 1) / 2
                ),
            ),
            (
                "these are the places of the hottest pixels. They have no slope; take "
                "the mean over all pixels.",
                lambda heat: mean_place(heat, hottest),
            ),
            (
                "the softmax went over each row alone. It should go over all pixels of "
                "a map.",
                lambda heat: mean_place(heat, lambda h: h.softmax(dim=2) / h.shape[1]),
            ),
            (
                "the softmax went over each column alone. It should go over all pixels "
                "of a map.",
                lambda heat: mean_place(heat, lambda h: h.softmax(dim=1) / h.shape[2]),
            ),
            (
                "the weights are the heat itself, divided by its sum. Where is the "
                "exponential?",
                lambda heat: mean_place(
                    heat, lambda h: h / h.sum(dim=(1, 2), keepdim=True)
                ),
            ),
        ],
    ),
    "8.2": Exercise(
        asks="one_theta(thetas)",
        cases=rows_of_thetas,
        read=as_theta,
        expected=all_at_once,
        mistakes=[
            (
                "the order is reversed. theta leads from output to input, so the last "
                "one is applied to a grid point first.",
                lambda thetas: compose(*reversed(thetas)),
            ),
            ("the thetas were added.", added),
            (
                "the shifts were added. What stands before a shift turns and zooms it.",
                matrices_and_shifts,
            ),
            ("this is the last theta alone.", lambda thetas: thetas[-1]),
            ("this is the first theta alone.", lambda thetas: thetas[0]),
            ("this is the inverse.", lambda thetas: invert(compose(*thetas))),
        ],
    ),
    "8.3": Exercise(
        asks="turn_volume(volume, angle_deg)",
        cases=volumes,
        read=as_volume,
        expected=turned,
        mistakes=[
            (
                "this turns the other way.",
                lambda volume, angle_deg: turned(volume, -angle_deg),
            ),
            (
                "this turns about the axis along H, in the plane of x and z.",
                lambda volume, angle_deg: about(volume, angle_deg, 0, 2),
            ),
            (
                "this turns about the axis along W, in the plane of y and z. Is the "
                "grid's last axis taken as (z, y, x)?",
                lambda volume, angle_deg: about(volume, angle_deg, 1, 2),
            ),
            (
                "nothing was turned.",
                lambda volume, angle_deg: volume,
            ),
        ],
    ),
    "8.4": Exercise(
        asks="shared()",
        cases=lambda: [{"images": load_digits().train_images[1000:1004]}],
        apply=make,
        read=calls,
        judge=judge_shared,
    ),
}
