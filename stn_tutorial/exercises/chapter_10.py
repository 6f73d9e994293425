"""The exercises of chapter 10: tests that find a fault, and a mend."""

import torch
from torch import Tensor

from stn_tutorial.affine import (
    affine_grid,
    identity,
    invert,
    rotation,
    scaling,
    translation,
)
from stn_tutorial.data.digits import load_digits
from stn_tutorial.exercises import Exercise, WrongForm, kind, tensor_of
from stn_tutorial.interpolation import grid_sample, warp

# 10.1: the share of points outside


def grid_of(theta: Tensor) -> Tensor:
    return affine_grid(theta, (len(theta), 1, 28, 28), align_corners=False)


def share_outside(theta: Tensor) -> Tensor:
    outside = (grid_of(theta).abs() > 1).any(dim=3)  # (N, 28, 28)
    return outside.float().mean(dim=(1, 2))


def both_outside(theta: Tensor) -> Tensor:
    return (grid_of(theta).abs() > 1).all(dim=3).float().mean(dim=(1, 2))


def numbers_outside(theta: Tensor) -> Tensor:
    return (grid_of(theta).abs() > 1).float().mean(dim=(1, 2, 3))


def right_outside(theta: Tensor) -> Tensor:
    return (grid_of(theta) > 1).any(dim=3).float().mean(dim=(1, 2))


def some_thetas() -> list[dict[str, Tensor]]:
    moved = translation(torch.tensor([0.5, -0.5, 3.0]), torch.tensor([0.3, -0.3, 0.0]))
    turned = rotation(torch.tensor([45.0, 10.0, -80.0]))
    return [{"theta": identity(2)}, {"theta": moved}, {"theta": 1.3 * turned}]


# 10.2: what is wrong with this warp?

WORDS = "right", "swapped", "backwards", "mixed", "nearest"


class Unknown:
    """A warp whose fault is to be found; its name does not tell."""

    def __init__(self, fault: str) -> None:
        self._fault = fault

    def __repr__(self) -> str:
        return "a warp, right or not"

    def __call__(self, images: Tensor, theta: Tensor) -> Tensor:
        """Warp images by theta, in a way of its own."""
        if self._fault == "backwards":
            theta = invert(theta)
        theta = theta.expand(len(images), -1, -1)
        grid = affine_grid(theta, images.shape, self._fault == "mixed")
        if self._fault == "swapped":
            grid = grid.flip(3)
        mode = "nearest" if self._fault == "nearest" else "bilinear"
        return grid_sample(images, grid, mode, align_corners=False)


def as_word(got: object, warp: Unknown) -> str:
    if not isinstance(got, str) or got not in WORDS:
        said = repr(got) if isinstance(got, str) else kind(got)
        raise WrongForm(
            f"expected one of the words {', '.join(WORDS)}, but got {said}."
        )
    return got


def judge_word(word: str, warp: Unknown) -> str:
    true = warp._fault
    if word == true:
        return ""
    if word == "right":
        where = {
            "swapped": "a shift along x alone",
            "backwards": "a shift along x alone",
            "mixed": "the identity",
            "nearest": "a shift by half a pixel",
        }[true]
        return (
            f"a fault was missed. Try {where}, and compare with the package's `warp`."
        )
    if true == "right":
        return f"a warp that is right was taken for {word!r}."
    return f"a warp that is {true!r} was taken for {word!r}."


# 10.3: a warp with a background


def on_background(images: Tensor, theta: Tensor, background: float) -> Tensor:
    return warp(images - background, theta) + background


def plain_zeros(images: Tensor, theta: Tensor, background: float) -> Tensor:
    return warp(images, theta)


def not_added(images: Tensor, theta: Tensor, background: float) -> Tensor:
    return warp(images - background, theta)


def with_border(images: Tensor, theta: Tensor, background: float) -> Tensor:
    return warp(images, theta, padding_mode="border")


def filled_blacks(images: Tensor, theta: Tensor, background: float) -> Tensor:
    output = warp(images, theta)
    return torch.where(output == 0, background, output)


def sheets() -> list[dict[str, object]]:
    digits = load_digits().test_images[:2]
    paper = 0.8 - 0.6 * digits  # dark ink, which touches the edge in none
    paper[:, :, 0, 10:18] = 0.1  # a stroke that does
    moved = translation(torch.tensor([0.4, -0.6]), torch.tensor([-0.3, -0.5]))
    return [
        {"images": (digits - 0.25) / 0.5, "theta": scaling(1.5), "background": -0.5},
        {"images": paper, "theta": moved, "background": 0.8},
    ]


def as_images(got: object, images: Tensor, theta: Tensor, background: float) -> Tensor:
    return tensor_of(images.shape, got, "images")


def as_shares(got: object, theta: Tensor) -> Tensor:
    return tensor_of((len(theta),), got, "one share a theta")


EXERCISES = {
    "10.1": Exercise(
        asks="share_outside(theta)",
        cases=some_thetas,
        expected=share_outside,
        read=as_shares,
        mistakes=[
            ("a point is outside if x or y is; both need not be.", both_outside),
            ("points are to be counted, and not x and y one by one.", numbers_outside),
            ("beyond −1 is outside, too.", right_outside),
        ],
    ),
    "10.2": Exercise(
        asks="diagnose(warp)",
        cases=lambda: [{"warp": Unknown(word)} for word in WORDS],
        read=as_word,
        judge=judge_word,
    ),
    "10.3": Exercise(
        asks="on_background(images, theta, background)",
        cases=sheets,
        expected=on_background,
        read=as_images,
        mistakes=[
            ("outside stands 0, not the background.", plain_zeros),
            ("the background was taken away and not added again.", not_added),
            (
                'padding_mode="border" draws out what touches the edge.',
                with_border,
            ),
            (
                "only what is exactly 0 was filled: the outermost half pixel has faded "
                "towards 0 already.",
                filled_blacks,
            ),
        ],
    ),
}
