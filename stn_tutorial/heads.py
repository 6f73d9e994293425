"""What a localisation net may answer: heads from a few numbers to theta, and teams."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_tutorial.affine import (
    affine,
    affine_grid,
    at_least_float32,
    compose,
    identity,
    rotation,
    scaling,
    translation,
    without_autocast,
)
from stn_tutorial.transformer import LocalisationNet


def rotation_head(numbers: Tensor) -> Tensor:
    """Turn about the image's centre, and nothing else.

    Args:
        numbers: the angle in radians, shape (N, 1). At 0 theta is the identity.

    Returns:
        theta, shape (N, 2, 3).

    Raises:
        TypeError: numbers that are no tensor.
        ValueError: numbers of another shape, or not floating point.

    Built in chapter 8.
    """
    _check_numbers(numbers, 1)
    return rotation(numbers[:, 0].rad2deg())


def attention_head(numbers: Tensor) -> Tensor:
    """Attention: a window of free size at a free place, upright.

    Args:
        numbers: by how much the window's width exceeds the image's, as a share of it,
            and the window's centre (x, y), normalised; shape (N, 3). At 0 theta is the
            identity.

    Returns:
        theta, shape (N, 2, 3).

    Raises:
        TypeError: numbers that are no tensor.
        ValueError: numbers of another shape, or not floating point.

    Paper: section 3.2, equation 2. Built in chapter 8.
    """
    _check_numbers(numbers, 3)
    size, tx, ty = numbers.T
    return affine(1 + size, 0.0, tx, 0.0, 1 + size, ty)


def bounded_attention_head(numbers: Tensor) -> Tensor:
    """Attention that cannot get lost: its centre stays within the image.

    The window's width is between 1/e and e times the image's, so it can neither vanish
    nor turn inside out.

    Args:
        numbers: for size, x and y, shape (N, 3), each squashed by tanh. At 0 theta is
            the identity.

    Returns:
        theta, shape (N, 2, 3).

    Raises:
        TypeError: numbers that are no tensor.
        ValueError: numbers of another shape, or not floating point.

    Built in chapter 8.
    """
    _check_numbers(numbers, 3)
    size, tx, ty = numbers.tanh().T
    return affine(size.exp(), 0.0, tx, 0.0, size.exp(), ty)


def similarity_head(numbers: Tensor) -> Tensor:
    """Turn, zoom and move, without shear.

    Args:
        numbers: the angle in radians, the logarithm of the size, and the window's
            centre (x, y), normalised; shape (N, 4). At 0 theta is the identity.

    Returns:
        theta, shape (N, 2, 3).

    Raises:
        TypeError: numbers that are no tensor.
        ValueError: numbers of another shape, or not floating point.

    Built in chapter 8.
    """
    _check_numbers(numbers, 4)
    angle, size, tx, ty = numbers.T
    turned = compose(rotation(angle.rad2deg()), scaling(size.exp()))
    return compose(translation(tx, ty), turned)


def affine_head(numbers: Tensor) -> Tensor:
    """All six numbers of theta, each as far from the identity's as it likes.

    Args:
        numbers: what is added to the identity, shape (N, 6).

    Returns:
        theta, shape (N, 2, 3).

    Raises:
        TypeError: numbers that are no tensor.
        ValueError: numbers of another shape, or not floating point.

    Paper: section 3.2, equation 1. Built in chapter 8.
    """
    _check_numbers(numbers, 6)
    return identity().to(numbers) + numbers.view(-1, 2, 3)


def bounded_affine_head(numbers: Tensor) -> Tensor:
    """All six numbers of theta, none further than 1/2 from the identity's.

    Args:
        numbers: shape (N, 6), each squashed by tanh. At 0 theta is the identity.

    Returns:
        theta, shape (N, 2, 3).

    Raises:
        TypeError: numbers that are no tensor.
        ValueError: numbers of another shape, or not floating point.

    Built in chapter 8.
    """
    _check_numbers(numbers, 6)
    return identity().to(numbers) + 0.5 * numbers.tanh().view(-1, 2, 3)


#: The heads by name, and how many numbers each takes.
HEADS = {
    "rotation": (rotation_head, 1),
    "attention": (attention_head, 3),
    "bounded attention": (bounded_attention_head, 3),
    "similarity": (similarity_head, 4),
    "affine": (affine_head, 6),
    "bounded affine": (bounded_affine_head, 6),
}


class HeadedNet(nn.Module):
    """A localisation net whose answer is one of the heads'.

    Its last layer starts at zero, and so theta starts as the identity.

    Args:
        in_shape: (C, H, W) of the images it looks at.
        head: one of ``HEADS``.
        channels: as in :class:`stn_tutorial.transformer.LocalisationNet`.
        hidden: as there.

    Raises:
        ValueError: an unknown head, or sizes that a ``LocalisationNet`` refuses.

    Built in chapter 8.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        head: str,
        channels: Sequence[int] = (),
        hidden: Sequence[int] = (32, 32),
    ) -> None:
        super().__init__()
        _check_head(head)
        self.head, count = HEADS[head]
        start = torch.zeros(1, count)
        self.net = LocalisationNet(in_shape, channels, hidden, start)

    def forward(self, images: Tensor) -> Tensor:
        """From images (N, C, H, W) to theta (N, 2, 3)."""
        return self.head(self.net(images))


class Composed(nn.Module):
    """Several localisation nets in a row: each corrects what the one before has found.

    Each looks at the image as the theta so far shows it. Their thetas are composed, so
    that in the end the input is read once: a row of transformers would blur it at each
    step, and lose for good what once fell outside.

    Args:
        localisations: modules from images (N, C, H, W) to theta (N, 2, 3), all for
            images of one shape. If one stands there twice, its weights serve twice.
        sampler: the book's sampler, or PyTorch's ``F.grid_sample``: what the nets after
            the first look through.

    Raises:
        ValueError: no localisations.

    Source: Lin and Lucey, "Inverse compositional spatial transformer networks", 2017.
    Built in chapter 8, without what half precision needs.
    """

    def __init__(
        self,
        localisations: Sequence[nn.Module],
        sampler: Callable[..., Tensor] = F.grid_sample,
    ) -> None:
        super().__init__()
        _check_some(localisations, "localisation net")
        self.localisations = nn.ModuleList(localisations)
        self.sampler = sampler

    @without_autocast
    def look(self, images: Tensor, theta: Tensor) -> Tensor:
        """What theta shows of the images, in their own size and dtype."""
        wide = at_least_float32(images.dtype)
        grid = affine_grid(theta.to(wide), images.shape, align_corners=False)
        seen = self.sampler(images.to(wide), grid, align_corners=False)
        return seen.to(images.dtype)

    def forward(self, images: Tensor) -> Tensor:
        """From images (N, C, H, W) to theta (N, 2, 3)."""
        first, *others = self.localisations
        theta = first(images)
        for localisation in others:
            step = localisation(self.look(images, theta))
            theta = compose(theta, step)
        return theta


class Parallel(nn.Module):
    """Several transformers side by side, each with a window of its own.

    Args:
        transformers: modules from images (N, C, H, W) to windows (N, K, h, w), with one
            h and w for all.

    Raises:
        ValueError: no transformers.

    Paper: section 3.4 and the appendix. Built in chapter 8.
    """

    def __init__(self, transformers: Sequence[nn.Module]) -> None:
        super().__init__()
        _check_some(transformers, "transformer")
        self.transformers = nn.ModuleList(transformers)

    def forward(self, images: Tensor) -> Tensor:
        """From images (N, C, H, W) to the windows' channels, one after the other."""
        windows = [transformer(images) for transformer in self.transformers]
        return torch.cat(windows, dim=1)


def _check_numbers(numbers: Any, count: int) -> None:
    if not isinstance(numbers, Tensor):
        raise TypeError(
            f"expected numbers as a tensor of shape (N, {count}), but got a "
            f"{type(numbers).__name__}"
        )
    fits = numbers.dim() == 2 and numbers.shape[1] == count
    if not fits or not numbers.is_floating_point():
        raise ValueError(
            f"expected floating point numbers of shape (N, {count}), but got "
            f"{numbers.dtype} of shape {tuple(numbers.shape)}"
        )


def _check_head(head: str) -> None:
    if head not in HEADS:
        raise ValueError(f"expected head to be one of {list(HEADS)}, but got: {head!r}")


def _check_some(modules: Sequence[nn.Module], name: str) -> None:
    if len(modules) == 0:
        raise ValueError(f"expected at least one {name}, but got none")
