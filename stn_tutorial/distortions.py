"""The paper's ways to distort a digit: turned, moved, tilted, bent, cluttered."""

from collections.abc import Callable

import torch
from torch import Tensor

from stn_tutorial.affine import (
    affine_grid,
    at_least_float32,
    rotation,
    without_autocast,
)
from stn_tutorial.interpolation import grid_sample
from stn_tutorial.warps import (
    CORNERS,
    control_points,
    projective_from_corners,
    projective_grid,
    thin_plate_spline_grid,
)


def uniform(low: float, high: float, n: int, generator: torch.Generator) -> Tensor:
    """Draw n numbers evenly between low and high, shape (n,). Built in chapter 5."""
    return torch.empty(n).uniform_(low, high, generator=generator)


def rotated_grid(n: int, generator: torch.Generator) -> Tensor:
    """R: turn by an angle drawn evenly from -90 to 90 degrees, 28x28.

    Like the other grids here it has shape (n, h, w, 2), target to source.

    Paper: section 4.1 and the appendix. Used in chapter 5.
    """
    theta = rotation(uniform(-90, 90, n, generator))
    return affine_grid(theta, (n, 1, 28, 28), align_corners=False)


def moved_grid(n: int, generator: torch.Generator) -> Tensor:
    """RTS: turn by -45 to 45 degrees, scale by 0.7 to 1.2, place in 42x42.

    All are drawn evenly. Before it is turned and scaled, the 28x28 frame of the digit
    stands anywhere within the 42x42 canvas.

    Paper: section 4.1 and the appendix. Built in chapter 5.
    """
    angle = uniform(-45, 45, n, generator)
    scale = uniform(0.7, 1.2, n, generator)
    x = uniform(-7, 7, n, generator)
    y = uniform(-7, 7, n, generator)
    # From the canvas, 42 pixels wide, back to the digit, 28 pixels wide.
    matrix = (42 / 28 / scale)[:, None, None] * rotation(angle)[:, :, :2]
    place = torch.stack([x, y], dim=1)[:, :, None] / 21
    theta = torch.cat([matrix, -matrix @ place], dim=2)
    return affine_grid(theta, (n, 1, 42, 42), align_corners=False)


def tilted_grid(n: int, generator: torch.Generator) -> Tensor:
    """P: scale by 0.75 to 1, move each corner by a normal 5 pixels, 28x28.

    The scale is drawn evenly. The corners are those of the sampling grid. They move in
    the source, each coordinate by a normal number with that standard deviation.

    Paper: section 4.1; the numbers as others report its appendix, which leave open if
    the corners moved in the source or on the canvas. Used in chapter 6.
    """
    noise = torch.randn(n, 4, 2, generator=generator)
    scale = uniform(0.75, 1, n, generator)[:, None, None]
    corners = torch.tensor(CORNERS) / scale + 5 / 14 * noise
    # In double, or one draw in a hundred million would count as three on a line.
    theta = projective_from_corners(corners.double()).float()
    return projective_grid(theta, (n, 1, 28, 28))


def bent_grid(n: int, generator: torch.Generator) -> Tensor:
    """E: scale by 0.75 to 1, bend by a spline whose points move 1.5 pixels, 28x28.

    The scale is drawn evenly. The 4x4 control points are those of the sampling grid.
    They move in the source, each coordinate by a normal number with that standard
    deviation.

    Paper: section 4.1; the numbers as others report its appendix, which leave open if
    the points moved in the source or on the canvas. Used in chapter 6.
    """
    noise = torch.randn(n, 16, 2, generator=generator)
    scale = uniform(0.75, 1, n, generator)[:, None, None]
    points = control_points() / scale + 1.5 / 14 * noise
    return thin_plate_spline_grid(points, (n, 1, 28, 28))


#: The distortions that a grid does, by the paper's letters.
GRIDS = {"R": rotated_grid, "RTS": moved_grid, "P": tilted_grid, "E": bent_grid}
#: How many pixels a side a distorted image has.
SIDES = {"R": 28, "RTS": 42, "P": 28, "E": 28, "TC": 60}
#: The names that :func:`distort` takes.
DISTORTIONS = tuple(SIDES)


def cluttered(images: Tensor, generator: torch.Generator) -> Tensor:
    """TC: put each digit somewhere in 60x60, with six 6x6 pieces of other digits.

    All places are drawn evenly, in whole pixels; the pieces come from other images of
    the batch. Where things overlap, the brighter pixel stays.

    Args:
        images: shape (N, 1, 28, 28), N at least 2.
        generator: the source of the random numbers.

    Returns:
        shape (N, 1, 60, 60).

    Raises:
        TypeError: images that are no tensor.
        ValueError: fewer than two images, or of another shape or dtype.

    Paper: section 4.1 and the appendix. Used in chapter 5.
    """
    _check_images(images)
    n = len(images)
    if n < 2:
        raise ValueError(
            f"expected at least 2 images, for pieces of other digits, but got {n}"
        )
    each = torch.arange(n)
    digits = images[:, 0]  # (N, 28, 28)
    canvas = images.new_zeros(n, 60, 60)
    top, left = draw_corners(n, 60 - 28, generator)
    all_windows(canvas, 28)[each, top, left] = digits
    pieces = all_windows(digits, 6)  # (N, 23, 23, 6, 6)
    places = all_windows(canvas, 6)  # (N, 55, 55, 6, 6)
    for _ in range(6):
        other = (each + torch.randint(1, n, (n,), generator=generator)) % n
        top, left = draw_corners(n, 28 - 6, generator)
        piece = pieces[other, top, left]  # (N, 6, 6)
        top, left = draw_corners(n, 60 - 6, generator)
        behind = places[each, top, left]
        places[each, top, left] = torch.maximum(behind, piece)
    return canvas[:, None]


def _check_images(images: Tensor) -> None:
    if not isinstance(images, Tensor):
        raise TypeError(
            "expected images as a tensor of shape (N, 1, 28, 28), but got a "
            f"{type(images).__name__}; torch.as_tensor makes one of an array"
        )
    if not images.is_floating_point() or images.shape[1:] != (1, 28, 28):
        raise ValueError(
            "expected floating point images of shape (N, 1, 28, 28), but got "
            f"{images.dtype} of shape {tuple(images.shape)}"
        )


def draw_corners(n: int, room: int, generator: torch.Generator) -> Tensor:
    """Draw n upper left corners, rows and columns from 0 to room, shape (2, n)."""
    return torch.randint(room + 1, (2, n), generator=generator)


def all_windows(images: Tensor, side: int) -> Tensor:
    """View each image's square windows, by image, top and left.

    Args:
        images: shape (N, H, W).
        side: of a window, in pixels.

    Returns:
        shape (N, H - side + 1, W - side + 1, side, side), without copying, so what is
        written into a window is written into its image.
    """
    return images.unfold(1, side, 1).unfold(2, side, 1)


@without_autocast
def distort(
    images: Tensor,
    distortion: str,
    generator: torch.Generator,
    sampler: Callable[..., Tensor] = grid_sample,
) -> Tensor:
    """Distort each image of a batch in its own random way, as in the paper's table.

    Args:
        images: shape (N, 1, 28, 28).
        distortion: one of ``DISTORTIONS``: "R" turned, "RTS" turned, scaled and
            moved, "P" seen at a slant, "E" bent, "TC" moved among clutter.
        generator: the source of the random numbers, on the CPU: the same state gives
            the same distortions on every device.
        sampler: the book's sampler, or PyTorch's ``F.grid_sample``: the same numbers,
            sooner.

    Returns:
        shape (N, 1, S, S); S is 42 for "RTS", 60 for "TC" and 28 for the others. Half
        precision is computed in float32, and rounded at the end; autocast changes
        nothing.

    Raises:
        TypeError: images that are no tensor.
        ValueError: images of another shape or dtype, an unknown distortion, or fewer
            than two images for "TC".

    Paper: section 4.1 and the appendix. Used in chapter 5.
    """
    _check_images(images)
    if distortion not in DISTORTIONS:
        raise ValueError(
            f"expected distortion to be one of {list(DISTORTIONS)}, "
            f"but got: {distortion!r}"
        )
    if distortion == "TC":
        return cluttered(images, generator)
    wide = images.to(at_least_float32(images.dtype))
    grid = GRIDS[distortion](len(images), generator).to(wide)
    return sampler(wide, grid, align_corners=False).to(images.dtype)
