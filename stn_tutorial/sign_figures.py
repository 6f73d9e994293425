"""Figures of chapter 7: traffic signs, and the windows that networks put on them."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from stn_tutorial.affine import affine_grid
from stn_tutorial.animation import Animation, frame
from stn_tutorial.data.gtsrb import SIDE
from stn_tutorial.experiments.traffic_signs import PUBLISHED
from stn_tutorial.figures import (
    GREY,
    GRID,
    INPUT,
    OUTPUT,
    draw_grid,
    show_image,
    show_images,
)
from stn_tutorial.signs import read_windows


def read_tiles(path: str | Path, side: int = SIDE) -> Tensor:
    """Read the images of a picture that shows two rows of them.

    Args:
        path: the picture.
        side: pixels a side of each image, S.

    Returns:
        shape (N, 3, S, S), in [0, 1]; the upper row comes first.

    Raises:
        ValueError: the picture is not two rows of S x S images in colour.

    Used in chapter 7.
    """
    pixels = torch.tensor(plt.imread(path))  # (H, W, 3), or 4 with alpha
    if pixels.dim() != 3 or len(pixels) != 2 * side or pixels.shape[1] % side:
        raise ValueError(
            f"expected {path} to show two rows of {side}x{side} images in colour, but "
            f"its shape is {tuple(pixels.shape)}"
        )
    rows = pixels[:, :, :3].unflatten(0, (2, side))  # (2, S, W, 3)
    tiles = rows.unflatten(2, (-1, side))  # (2, S, N / 2, S, 3)
    return tiles.permute(0, 2, 4, 1, 3).flatten(0, 1)  # (N, 3, S, S)


def draw_window(ax: plt.Axes, theta: Tensor, side: int = SIDE) -> None:
    """Outline a window over its image; a dot marks the upper left corner.

    Args:
        ax: where the image is drawn.
        theta: the window, shape (2, 3).
        side: pixels a side of the image.

    Used in chapter 7.
    """
    ax.autoscale(False)
    grid = affine_grid(theta[None], (1, 3, side, side), align_corners=False)
    draw_grid(ax, grid[0], (side, side), lines=2)


def show_windows(
    images: Tensor, theta: Tensor, title: str = "", side: int = SIDE
) -> Figure:
    """Draw images with their windows, and below them what the windows show.

    Args:
        images: shape (N, 3, S, S), in [0, 1].
        theta: the windows, shape (N, 2, 3), or (1, 2, 3) for one on all images.
        title: text above all.
        side: pixels a side of what the windows show.

    Used in chapter 7.
    """
    seen = read_windows(images, theta, side)
    figure = show_images([*images, *seen], columns=len(images), height=0.95)
    windows = theta.expand(len(images), 2, 3)
    for ax, window in zip(figure.axes, windows, strict=False):
        draw_window(ax, window, images.shape[-1])
    figure.suptitle(title, fontsize=10)
    return figure


def film(
    images: Tensor,
    thetas: Sequence[Tensor],
    titles: Sequence[str],
    label: str,
    side: int = SIDE,
) -> Animation:
    """Film the windows on the same images at several moments, to be played.

    Args:
        images: shape (N, 3, S, S), in [0, 1].
        thetas: for each moment the windows, shape (N, 2, 3) or (1, 2, 3).
        titles: text above each moment.
        label: what the film shows, for readers who cannot see it.
        side: pixels a side of what the windows show.

    Used in chapter 7.
    """
    frames = []
    for theta, title in zip(thetas, titles, strict=True):
        frames.append(frame(show_windows(images, theta, title, side)))
    return Animation(frames, label)


def show_approach(
    track: Tensor, theta: Tensor, widths: Sequence[int], label: str
) -> Animation:
    """Film a sign that comes nearer: in its own size, and with and in its window.

    Args:
        track: frames in the order of time, shape (N, 3, 48, 48), in [0, 1].
        theta: their windows, shape (N, 2, 3).
        widths: of the frames as they were filmed, in pixels.
        label: what the film shows, for readers who cannot see it.

    Used in chapter 7.
    """
    outputs = read_windows(track, theta)
    most = max(widths) / 2
    frames = []
    for image, window, output, width in zip(track, theta, outputs, widths, strict=True):
        figure, axes = plt.subplots(1, 3, figsize=(5, 2))
        show_image(axes[0], image, f"{width} pixels")
        axes[0].images[0].set_extent((-width / 2, width / 2, width / 2, -width / 2))
        axes[0].set(xlim=(-most, most), ylim=(most, -most))
        show_image(axes[1], image, "input", edge=INPUT)
        draw_window(axes[1], window)
        show_image(axes[2], output, "output", edge=OUTPUT)
        frames.append(frame(figure))
    return Animation(frames, label)


def show_errors(entries: Sequence[dict]) -> Figure:
    """Draw the test errors of the networks on record beside published ones.

    Args:
        entries: as :func:`stn_tutorial.experiments.records.summary` gives them.

    Used in chapter 7.
    """
    names = [*(entry["model"] for entry in entries), *PUBLISHED]
    figure, ax = plt.subplots(figsize=(6.4, 0.32 * len(names) + 0.5))
    for row, entry in enumerate(entries):
        errors = entry["errors"]
        ax.plot(errors, [row] * len(errors), "o", color=OUTPUT)
    for row, (accuracy, _) in enumerate(PUBLISHED.values(), len(entries)):
        ax.plot(100 - accuracy, row, "|", color="black", markersize=10, mew=2)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="test error (%)", xlim=(0, None))
    ax.invert_yaxis()
    return figure


def show_places(truth: Tensor, theta: dict[str, Tensor]) -> Figure:
    """Draw the centres of windows against those of the signs, x and y alike.

    Args:
        truth: centres of the signs, shape (N, 2).
        theta: for each network its windows, shape (N, 2, 3).

    Used in chapter 7.
    """
    size = (3.1 * len(theta), 3.2)
    figure, axes = plt.subplots(1, len(theta), figsize=size, sharey=True, squeeze=False)
    for ax, (name, windows) in zip(axes.flat, theta.items(), strict=True):
        ax.plot([-1, 1], [-1, 1], "--", color=GREY)
        centres = windows[:, :, 2].flatten()
        ax.scatter(truth.flatten(), centres, s=4, alpha=0.3, color=GRID)
        ax.set(title=name, xlabel="centre of the sign", xlim=(-1, 1), ylim=(-1, 1))
    axes[0, 0].set_ylabel("centre of the window")
    return figure
