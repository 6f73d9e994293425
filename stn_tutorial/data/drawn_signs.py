"""Drawn traffic signs on real photographs: a small data set without a download.

The signs follow German ones in shape, colour and symbol, but no camera saw them:
matplotlib draws them, and chance gives each a place, a size, a slant and a light.
Chapter 7 trains on them.
"""

from typing import Any

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D
from skimage import data
from torch import Tensor

from stn_tutorial.affine import homogeneous, rotation, translation
from stn_tutorial.distortions import uniform
from stn_tutorial.warps import CORNERS, projective_from_corners, projective_grid

# These come with scikit-image itself, and are CC0 or in the public domain.
PHOTOS = (
    "astronaut",
    "brick",
    "camera",
    "chelsea",
    "coffee",
    "grass",
    "gravel",
    "rocket",
)


def shape(corners: int, turn: float = 0, rounding: float = 0.15) -> np.ndarray:
    """Outline a regular polygon with round corners, within the circle of radius 1.

    Args:
        corners: how many; a divisor of 120.
        turn: direction of the first corner, in degrees clockwise from the top.
        rounding: radius of the corners; 1 makes a circle.

    Returns:
        points (x, y), y pointing down, shape (120, 2).
    """
    to_corner = turn + np.arange(corners)[:, None] * 360 / corners  # (corners, 1)
    around_it = np.linspace(-180, 180, 120 // corners) / corners
    centre = on_circle(to_corner)  # (corners, 1, 2)
    arc = on_circle(to_corner + around_it)  # (corners, 120 // corners, 2)
    return ((1 - rounding) * centre + rounding * arc).reshape(-1, 2)


def on_circle(angle_deg: np.ndarray) -> np.ndarray:
    """Find points on the circle of radius 1, clockwise from the top: (...) to (..., 2).

    They are (x, y), y pointing down.
    """
    angle = np.deg2rad(angle_deg)
    return np.stack([np.sin(angle), -np.cos(angle)], axis=-1)


def text(characters: str, width: float, height: float) -> Path:
    """Outline bold characters, stretched to a box around (0, 0), y pointing down."""
    font = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans-Bold.ttf"
    path = TextPath((0, 0), characters, prop=FontProperties(fname=font))
    box = path.get_extents()
    to_box = Affine2D().translate(-(box.x0 + box.x1) / 2, -(box.y0 + box.y1) / 2)
    to_box.scale(width / box.width, -height / box.height)
    return path.transformed(to_box)


RED, BLUE, YELLOW = "#c1121c", "#005b9c", "#f7b500"
CIRCLE, OCTAGON = shape(1, rounding=1), shape(8, 22.5, 0.05)
UP, DOWN, DIAMOND = shape(3), shape(3, 180), shape(4, rounding=0.12)
BAR = np.array([(-0.7, -0.17), (0.7, -0.17), (0.7, 0.17), (-0.7, 0.17)])
# Two arrows to the left, as a row of x above a row of y, and their mirror images.
TURN_LEFT = np.transpose(
    [
        (0.5, 0.5, -0.08, -0.08, -0.72, -0.08, -0.08, 0.2, 0.2),
        (0.62, -0.34, -0.34, -0.62, -0.19, 0.24, -0.04, -0.04, 0.62),
    ]
)
CURVE_LEFT = np.transpose(
    [
        (0.24, 0.24, 0.08, 0.17, -0.22, -0.17, -0.08, 0.05, 0.05),
        (0.34, -0.06, -0.22, -0.31, -0.35, 0.03, -0.06, 0.07, 0.34),
    ]
)
TURN_RIGHT, CURVE_RIGHT = TURN_LEFT * [-1, 1], CURVE_LEFT * [-1, 1]

LIMIT = [(CIRCLE, RED), (0.8 * CIRCLE, "white")]
WARNING = [(UP, RED), (0.76 * UP, "white")]
ORDER = [(CIRCLE, "white"), (0.95 * CIRCLE, BLUE)]
# What is painted, one thing upon the other: points or a path, and its colour. The first
# is the outline of the sign, as points.
SIGNS: dict[str, list[tuple[Any, str]]] = {
    "speed limit 30": [*LIMIT, (text("30", 1.16, 0.72), "black")],
    "speed limit 50": [*LIMIT, (text("50", 1.16, 0.72), "black")],
    "speed limit 80": [*LIMIT, (text("80", 1.16, 0.72), "black")],
    "no entry": [(CIRCLE, "white"), (0.95 * CIRCLE, RED), (BAR, "white")],
    "stop": [
        (OCTAGON, "white"),
        (0.94 * OCTAGON, RED),
        (text("STOP", 1.5, 0.6), "white"),
    ],
    "give way": [(DOWN, RED), (0.62 * DOWN, "white")],
    "priority road": [
        (DIAMOND, "black"),
        (0.96 * DIAMOND, "white"),
        (0.66 * DIAMOND, "black"),
        (0.62 * DIAMOND, YELLOW),
    ],
    "danger": [*WARNING, (text("!", 0.18, 0.7), "black")],
    "curve left": [*WARNING, (CURVE_LEFT, "black")],
    "curve right": [*WARNING, (CURVE_RIGHT, "black")],
    "turn left": [*ORDER, (TURN_LEFT, "white")],
    "turn right": [*ORDER, (TURN_RIGHT, "white")],
}
#: The classes.
NAMES = tuple(SIGNS)


def to_template(outline: np.ndarray) -> Affine2D:
    """Move the middle of a sign's box to (0, 0), and make its longer side 2."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    x, y = (low + high) / 2
    return Affine2D().translate(-x, -y).scale(2 / (high - low).max())


def outlines() -> Tensor:
    """List points (x, y) around each sign in its template, normalised, (K, 120, 2)."""
    fitted = []
    for painted in SIGNS.values():
        outline, _ = painted[0]
        fitted.append(to_template(outline).transform(outline))
    return torch.tensor(np.stack(fitted), dtype=torch.get_default_dtype())


def templates() -> Tensor:
    """Draw every sign, seen straight on, and as large as fits.

    Returns:
        red, green, blue and alpha in [0, 1], shape (K, 4, 96, 96), in the order of
        ``NAMES``. Alpha is 1 on the sign, and 0 around it.
    """
    images = []
    for painted in SIGNS.values():
        figure = Figure(figsize=(1, 1), dpi=96, facecolor="none")
        canvas = FigureCanvasAgg(figure)
        outline, _ = painted[0]
        to_pixels = to_template(outline).scale(48, -48).translate(48, 48)
        for form, colour in painted:
            path = form if isinstance(form, Path) else Path(form)
            figure.add_artist(
                PathPatch(path, transform=to_pixels, color=colour, linewidth=0)
            )
        canvas.draw()
        images.append(torch.tensor(np.asarray(canvas.buffer_rgba())))  # (96, 96, 4)
    return torch.stack(images).permute(0, 3, 1, 2) / 255


def places(labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Put each sign somewhere in its image, as a camera might see it.

    All is drawn evenly: the span of the sign, 25% to 70% of the width of the image;
    its tilt, -15 to 15 degrees; the slant, which moves each corner of its template by
    up to 8% of half the span in x and in y; and the place, with all of the sign
    in the image.

    Args:
        labels: which sign each image shows, shape (n,).
        generator: the source of the random numbers.

    Returns:
        projective matrices (n, 3, 3) from the template to the image, both in
        normalised (x, y), and boxes (n, 4) as in :func:`draw_signs`.
    """
    n = len(labels)
    span = uniform(0.25, 0.7, n, generator)[:, None, None]
    tilt = rotation(uniform(-15, 15, n, generator))[:, :, :2]  # (n, 2, 2)
    slant = uniform(-0.08, 0.08, 8 * n, generator).view(n, 4, 2)
    corners = (torch.tensor(CORNERS) + slant) @ (span * tilt.mT)  # (n, 4, 2)
    numbers = projective_from_corners(corners)  # (n, 8); the ninth is 1
    matrices = F.pad(numbers, (0, 1), value=1).view(n, 3, 3)
    around = F.pad(outlines(), (0, 1), value=1)[labels]  # (n, 120, 3), the last is 1
    seen = around @ matrices.mT
    points = seen[:, :, :2] / seen[:, :, 2:]  # (n, 120, 2)
    low, high = points.amin(dim=1), points.amax(dim=1)  # (n, 2) each
    room = 2 - (high - low)
    shift = room * torch.rand(n, 2, generator=generator) - 1 - low
    x, y = shift.unbind(dim=1)
    matrices = homogeneous(translation(x, y)) @ matrices
    return matrices, torch.cat([low + shift, high + shift], dim=1)


def put(signs: Tensor, matrices: Tensor) -> Tensor:
    """Warp each sign to its place in an image of its template's size.

    Each pixel is the mean of four samples, or small signs would lose thin lines.

    Args:
        signs: templates, shape (n, 4, side, side).
        matrices: from the template to the image, shape (n, 3, 3).

    Returns:
        shape (n, 4, side, side), 0 around the signs.
    """
    n, c, height, width = signs.shape
    back = torch.linalg.inv(matrices).flatten(1)  # (n, 9)
    theta = back[:, :8] / back[:, 8:]
    grid = projective_grid(theta, (n, c, 2 * height, 2 * width))
    return F.avg_pool2d(F.grid_sample(signs, grid, align_corners=False), 2)


def backgrounds(n: int, side: int, generator: torch.Generator) -> Tensor:
    """Cut windows out of real photographs, shape (n, 3, side, side).

    A photograph is cut to a square, three times as wide as the window. Which
    photograph, and where the window stands, in whole pixels, is drawn evenly.

    Source: photographs by NASA (astronaut), SpaceX (rocket), Lav Varshney (camera),
    Stefan van der Walt (chelsea), Rachel Michetti (coffee) and CC0Textures (brick,
    grass, gravel), in scikit-image.
    """
    squares = []
    for name in PHOTOS:
        load = getattr(data, name)
        photo = np.atleast_3d(load())  # some have no colours
        height, width, _ = photo.shape
        short = min(height, width)
        top, left = (height - short) // 2, (width - short) // 2
        square = torch.tensor(photo[top : top + short, left : left + short]) / 255
        square = square.permute(2, 0, 1)[None].expand(1, 3, short, short)
        size = (3 * side, 3 * side)
        squares.append(F.interpolate(square, size, mode="bilinear", antialias=True))
    # (photographs, 3, tops, lefts, side, side)
    windows = torch.cat(squares).unfold(2, side, 1).unfold(3, side, 1)
    which = torch.randint(len(PHOTOS), (n,), generator=generator)
    top, left = torch.randint(2 * side + 1, (2, n), generator=generator)
    return windows[which, :, top, left]


def expose(images: Tensor, generator: torch.Generator) -> Tensor:
    """Photograph each scene in a light of its own: blur, contrast, tint and noise.

    A bell curve blurs the image. It is long and narrow, as by motion, or round, as out
    of focus, in any direction: its length is 0.3 + u^2 pixels with u even from 0 to
    1, so few are long, its width even from 0.3 pixels to the length. Then the
    contrast is 0.5 to 1 times as strong, the darkest value any that leaves room for
    it, each channel 0.9 to 1.1 times as bright, and the noise normal, of a standard
    deviation of 0 to 0.03: all drawn evenly.

    Args:
        images: shape (n, 3, H, W), in [0, 1].
        generator: the source of the random numbers.

    Returns:
        shape (n, 3, H, W), in [0, 1].
    """
    n = len(images)

    def even(low: float, high: float, channels: int = 1) -> Tensor:
        """Draw numbers for each image, shape (n, channels, 1, 1)."""
        return uniform(low, high, channels * n, generator).view(n, channels, 1, 1)

    length = 0.3 + even(0, 1) ** 2
    width = 0.3 + (length - 0.3) * even(0, 1)
    angle = even(0, 180)
    kernels = bell_curves(length.flatten(), width.flatten(), angle.flatten())
    # As if the images were channels: each is blurred by its own kernel.
    planes = F.pad(images.transpose(0, 1), [3] * 4, "replicate")  # (3, n, H+6, W+6)
    blurred = F.conv2d(planes, kernels[:, None], groups=n).transpose(0, 1)
    contrast = even(0.5, 1)
    darkest = (1 - contrast) * even(0, 1)
    tint = even(0.9, 1.1, channels=3)
    lit = tint * (contrast * blurred + darkest)  # (n, 3, H, W)
    noise = torch.randn(images.shape, generator=generator)
    return (lit + even(0, 0.03) * noise).clamp(0, 1)


def bell_curves(length: Tensor, width: Tensor, angle: Tensor) -> Tensor:
    """Make 7x7 kernels that blur along a direction and across it.

    Args:
        length: standard deviation along the direction, in pixels, shape (n,).
        width: that across it, shape (n,).
        angle: the direction, in degrees, shape (n,).

    Returns:
        shape (n, 7, 7); each kernel sums to 1.
    """
    line = torch.arange(-3.0, 4.0)
    points = torch.cartesian_prod(line, line)  # (49, 2)
    along_and_across = points @ rotation(angle)[:, :, :2]  # (n, 49, 2)
    deviations = torch.stack([length, width], dim=1)[:, None]  # (n, 1, 2)
    square = (along_and_across / deviations).square().sum(dim=2)  # (n, 49)
    return (square / -2).softmax(dim=1).view(-1, 7, 7)


def draw_signs(
    n: int, generator: torch.Generator, side: int = 48
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw n images, with one traffic sign somewhere in each.

    Args:
        n: how many images. The classes are as even as n allows, in random order.
        generator: the source of the random numbers.
        side: pixels a side of an image.

    Returns:
        images (n, 3, side, side) in [0, 1], labels (n,), indices into ``NAMES``, and
        boxes (n, 4): the left, top, right and bottom edge of the sign, normalised; -1
        and 1 are the outer edges of the image (``align_corners=False``).

    Raises:
        ValueError: n is below 1, or side below 16, where a small sign would
            span less than 4 pixels.

    Used in chapter 7.
    """
    if n < 1:
        raise ValueError(f"expected n to be at least 1 image, but got {n}")
    if side < 16:
        raise ValueError(f"expected side to be at least 16 pixels, but got {side}")
    labels = torch.randperm(n, generator=generator) % len(NAMES)
    matrices, boxes = places(labels, generator)
    images = backgrounds(n, side, generator)
    signs = templates()  # (K, 4, 96, 96)
    signs[:, :3] *= signs[:, 3:]  # or what is around a sign would tint its edge
    signs = F.interpolate(signs, size=(side, side), mode="bilinear", antialias=True)
    for part in torch.arange(n).split(100):  # all at once would need much memory
        placed = put(signs[labels[part]], matrices[part])
        paint, alpha = placed.split([3, 1], dim=1)
        scene = paint + (1 - alpha) * images[part]
        images[part] = expose(scene, generator)
    return images, labels, boxes
