"""Photographs of digits on paper: drawn from digits, and read back to ink.

A camera sees grey paper in uneven light; a network of the book was trained on white ink
on black. What stands between the two is `read_paper`.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.morphology import skeletonize
from torch import Tensor

from stn_tutorial.affine import rotation
from stn_tutorial.distortions import uniform
from stn_tutorial.interpolation import warp

#: Pixels a side of a photograph; three of them make one of the network's 42.
SIDE = 126

# How read_paper tells ink from paper; the values were chosen on training digits.
SMOOTH, AROUND = 5, 43  # pixels a side of two boxes
PEAK, LEAST = 0.99, 0.15  # the quantile that counts as ink, and its least darkness
LOW, HIGH = 0.4, 0.8  # of that: no ink up to here, and all ink from there


def paper_photos(
    digits: Tensor,
    generator: torch.Generator,
    pen: float = 4.0,
    noise: float = 0.02,
    shade: float = 0.35,
) -> Tensor:
    """Draw photographs of digits on paper, turned and moved as in the set RTS.

    Each digit's middle line is drawn again with a round pen. Light comes from one side,
    which differs from photograph to photograph; then come blur and noise.

    Args:
        digits: (N, 1, 28, 28), ink 1 and paper 0.
        generator: of all that is drawn by lot.
        pen: the line's width in pixels of the photograph.
        noise: standard deviation of what is added to each pixel.
        shade: brightness of the darkest corner; the lightest has 1.

    Returns:
        grey values (N, 1, 126, 126) from 0 to 1.

    Raises:
        TypeError: the digits are no tensor of floats.
        ValueError: they have another shape or hold NaN or infinity, or a number makes
            no sense.

    Used in chapter 11.
    """
    if not isinstance(digits, Tensor) or not digits.is_floating_point():
        raise TypeError(
            f"expected digits to be a tensor of floats, but got {_kind(digits)}"
        )
    if digits.ndim != 4 or digits.shape[1:] != (1, 28, 28):
        raise ValueError(
            f"expected digits of shape (N, 1, 28, 28), but got {tuple(digits.shape)}"
        )
    if not digits.isfinite().all():
        raise ValueError("expected digits of finite numbers, but some are not")
    if not (0 < pen < math.inf and 0 <= noise < math.inf and 0 < shade <= 1):
        raise ValueError(
            "expected finite pen > 0, noise >= 0 and shade in (0, 1], but got "
            f"pen={pen}, noise={noise}, shade={shade}"
        )
    n, fine = len(digits), 2 * SIDE
    angle, scale = uniform(-45, 45, n, generator), uniform(0.7, 1.2, n, generator)
    x, y = uniform(-7, 7, n, generator), uniform(-7, 7, n, generator)
    matrix = (42 / 28 / scale)[:, None, None] * rotation(angle)[:, :, :2]
    place = torch.stack([x, y], dim=1)[:, :, None] / 21
    theta = torch.cat([matrix, -matrix @ place], dim=2)
    large = F.interpolate(digits.float(), scale_factor=6.0, mode="bicubic").clamp(0, 1)
    lines = warp(large, theta, size=(fine, fine))[:, 0].numpy()
    angles = (2 * math.pi * torch.rand(n, generator=generator)).tolist()
    across = np.linspace(-1, 1, SIDE)
    photos = []
    for line, angle in zip(lines, angles, strict=True):
        middle = skeletonize(line > 0.5)
        away = distance_transform_edt(~middle) if middle.any() else np.inf
        # The pen's width is its radius in the finer pixels.
        ink = np.clip(pen + 0.5 - away * np.ones((fine, fine)), 0, 1)
        ink = ink.reshape(SIDE, 2, SIDE, 2).mean((1, 3))
        slope = math.cos(angle) * across + math.sin(angle) * across[:, None]
        light = 1 - (1 - shade) * (1 - slope / math.sqrt(2)) / 2
        photos.append(gaussian_filter(light * (1 - 0.7 * ink), 1))
    made = torch.from_numpy(np.array(photos).reshape(n, 1, SIDE, SIDE)).float()
    return (made + noise * torch.randn(made.shape, generator=generator)).clamp(0, 1)


def _kind(value: object) -> str:
    return str(value.dtype) if isinstance(value, Tensor) else type(value).__name__


def mean_around(images: Tensor, side: int) -> Tensor:
    """The mean of the side x side pixels around each pixel, as far as there are any.

    Built in chapter 11.
    """
    return F.avg_pool2d(images, side, 1, side // 2, count_include_pad=False)


def read_paper(photos: Tensor) -> Tensor:
    """From photographs of ink on paper to images for the network: ink 1, paper 0.

    How much darker a pixel is than the paper around it, in shares, does not depend on
    the light. The darkest hundredth of the pixels says how dark ink is here, and what
    comes close to that is ink. An empty sheet has none, but for its darkest corner.

    Args:
        photos: grey values (N, 1, 126, 126) from 0 to 1, white paper near 1.

    Returns:
        images (N, 1, 42, 42) from 0 to 1; all NaN where a photograph holds NaN.

    Raises:
        TypeError: the photographs are no tensor of floats, such as bytes from 0 to 255.
        ValueError: they have another shape.

    Built in chapter 11.
    """
    if not isinstance(photos, Tensor) or not photos.is_floating_point():
        raise TypeError(
            f"expected photos to be a tensor of floats, but got {_kind(photos)}"
        )
    if photos.ndim != 4 or photos.shape[1:] != (1, SIDE, SIDE):
        raise ValueError(
            f"expected photos of shape (N, 1, {SIDE}, {SIDE}), "
            f"but got {tuple(photos.shape)}"
        )
    paper = mean_around(photos, AROUND)
    dark = mean_around((paper - photos) / paper.clamp(min=0.02), SMOOTH)
    ordered = dark.flatten(1).sort(dim=1).values  # (N, 126 * 126)
    peak = ordered[:, int(PEAK * ordered.shape[1])].clamp(min=LEAST)
    ink = (dark / peak[:, None, None, None] - LOW) / (HIGH - LOW)
    return F.avg_pool2d(ink.clamp(0, 1), 3)
