"""Networks that read traffic signs, and how their training images vary."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_tutorial.affine import (
    affine_grid,
    compose,
    invert,
    rotation,
    scaling,
    translation,
)
from stn_tutorial.data.gtsrb import CLASSES, SIDE
from stn_tutorial.distortions import uniform
from stn_tutorial.networks import BFloat16, Network
from stn_tutorial.transformer import LocalisationNet, SpatialTransformer

#: Filters of the classifier's four stages. With them the kinds of a size have equally
#: many weights, but for 2%.
FILTERS = {
    "cnn-small": (16, 32, 64, 144),
    "crop-cnn-small": (16, 32, 64, 144),
    "st-cnn-small": (16, 32, 64, 128),
    "st2-cnn-small": (16, 32, 64, 106),
    "cnn-large": (32, 64, 128, 264),
    "crop-cnn-large": (32, 64, 128, 264),
    "st-cnn-large": (32, 64, 128, 256),
}
#: The names that :func:`sign_network` takes.
SIGN_MODELS = tuple(FILTERS)
#: The share of the width that signs span, which is all that the controls see.
CROP = 0.75


def sign_network(model: str, classes: int = CLASSES) -> Network:
    """Make a network for traffic signs, with no, one or two spatial transformers.

    The classifier is a present-day CNN: seven small convolutions, all batch-normalised,
    in four stages. The first three stages are pooled 2x2, the last one globally. One
    transformer stands before it. A second one, where there is one, warps the feature
    maps of the second stage before they are pooled. Each is affine, starts as the
    identity, and keeps the size; where a grid leaves the image, the sampler repeats
    the border. The controls, "crop-cnn-small" and "crop-cnn-large", see the middle of
    each image, ``CROP`` of the width, enlarged to the size of the image: a transformer
    that cannot learn.

    Models of one size have equally many weights, but for 2%: "small" ones 0.35 million,
    "large" ones 1.2 million.

    Args:
        model: one of ``SIGN_MODELS``. Its images have shape (N, 3, 48, 48), in [0, 1].
        classes: how many kinds of sign to tell apart.

    Raises:
        ValueError: an unknown model, or no classes.

    Used in chapter 7.
    """
    if model not in SIGN_MODELS:
        raise ValueError(
            f"expected model to be one of {SIGN_MODELS}, but got: {model!r}"
        )
    if classes < 1:
        raise ValueError(f"expected classes to be at least 1, but got {classes}")
    first, second, third, fourth = FILTERS[model]
    early = [
        *_convolution(3, first, side=5),
        nn.MaxPool2d(2),
        *_convolution(first, second),
        *_convolution(second, second),
    ]
    late = [
        nn.MaxPool2d(2),
        *_convolution(second, third),
        *_convolution(third, third),
        nn.MaxPool2d(2),
        *_convolution(third, fourth),
        *_convolution(fourth, fourth),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(fourth, classes),
    ]
    if model.startswith("st2-"):
        classifier: nn.Module = nn.Sequential(
            BFloat16(nn.Sequential(*early)),
            _transformer((second, SIDE // 2, SIDE // 2), (32, 32)),
            BFloat16(nn.Sequential(*late)),
        )
    else:
        classifier = BFloat16(nn.Sequential(*early, *late))
    if model.startswith("crop-"):
        return Network(classifier, _sampler(OneWindow(scaling(CROP))))
    if model.startswith("cnn-"):
        return Network(classifier)
    return Network(classifier, _transformer((3, SIDE, SIDE), (16, 32)))


class OneWindow(nn.Module):
    """In the place of a localisation net: the same theta for every image.

    Args:
        theta: shape (1, 2, 3).

    Used in chapter 7.
    """

    theta: Tensor

    def __init__(self, theta: Tensor) -> None:
        super().__init__()
        self.register_buffer("theta", theta)

    def forward(self, images: Tensor) -> Tensor:
        """From images (N, C, H, W) to theta (N, 2, 3)."""
        return self.theta.expand(len(images), 2, 3)


def _convolution(channels: int, filters: int, side: int = 3) -> list[nn.Module]:
    """A convolution that keeps the size, batch-normalised and rectified."""
    convolution = nn.Conv2d(channels, filters, side, padding=side // 2, bias=False)
    return [convolution, nn.BatchNorm2d(filters), nn.ReLU()]


def _transformer(shape: Sequence[int], channels: Sequence[int]) -> SpatialTransformer:
    """A transformer whose localisation net sees the input at half the size."""
    input_channels, height, width = shape
    half = (input_channels, height // 2, width // 2)
    localisation = LocalisationNet(half, channels, (32,), wrap=BFloat16)
    return _sampler(nn.Sequential(nn.AvgPool2d(2), localisation))


def _sampler(localisation: nn.Module) -> SpatialTransformer:
    return SpatialTransformer(
        localisation, padding_mode="border", sampler=F.grid_sample
    )


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """See each sign a little otherwise: from another place, in another light.

    All is drawn evenly: a turn of -10 to 10 degrees, a scale of 0.85 to 1.15, a shift
    of up to 6% of the width in x and in y, a contrast of 0.6 to 1.4 about the image's
    mean, and a brightness that adds -0.2 to 0.2. Places outside the image repeat its
    border.

    Args:
        images: shape (N, 3, H, W), in [0, 1] or in bytes.
        generator: the source of the random numbers.

    Returns:
        shape (N, 3, H, W), in [0, 1].

    Raises:
        ValueError: images of another shape or type.

    Used for the records of chapter 7.
    """
    if images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(
            f"expected images of shape (N, 3, H, W), but got {tuple(images.shape)}"
        )
    if not (images.is_floating_point() or images.dtype == torch.uint8):
        raise ValueError(
            f"expected images as floats or bytes (torch.uint8), but got {images.dtype}"
        )
    n = len(images)
    if not images.is_floating_point():
        images = images / 255
    x = uniform(-0.12, 0.12, n, generator)
    y = uniform(-0.12, 0.12, n, generator)
    turn = rotation(uniform(-10, 10, n, generator))
    scale = scaling(1 / uniform(0.85, 1.15, n, generator))
    theta = compose(translation(x, y), turn, scale).to(images)
    grid = affine_grid(theta, images.shape, align_corners=False)
    views = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    contrast = uniform(0.6, 1.4, n, generator).view(n, 1, 1, 1).to(views)
    light = uniform(-0.2, 0.2, n, generator).view(n, 1, 1, 1).to(views)
    mean = views.mean(dim=(1, 2, 3), keepdim=True)
    return (mean + contrast * (views - mean) + light).clamp(0, 1)


def overlap(theta: Tensor, boxes: Tensor) -> Tensor:
    """Tell how well windows fit boxes: the intersection's area over the union's.

    The areas are counted on a lattice of 150x150 points from -1.5 to 1.5; of a window
    that reaches beyond, the rest does not count. All is computed in float32.

    Args:
        theta: affine transforms; the window of each is where it sends the square from
            -1 to 1. Shape (N, 2, 3), or (1, 2, 3) for one that serves all.
        boxes: x1, y1, x2, y2 in the same normalised coordinates, shape (N, 4).

    Returns:
        from 0 (apart) to 1 (the same), shape (N,).

    Raises:
        ValueError: theta or boxes of another shape; a theta that is not finite; a box
            whose edges are not in order; or a pair that no point of the lattice is in.

    Used in chapter 7.
    """
    n = len(boxes)
    if boxes.shape != (n, 4) or theta.shape not in ((n, 2, 3), (1, 2, 3)):
        raise ValueError(
            "expected theta of shape (N, 2, 3) or (1, 2, 3) and boxes of shape (N, 4), "
            f"but got {tuple(theta.shape)} and {tuple(boxes.shape)}"
        )
    if not theta.isfinite().all():
        raise ValueError("expected theta to be finite, but it holds NaN or inf")
    if not (boxes[:, :2] < boxes[:, 2:]).all():
        raise ValueError("expected boxes with x1 < x2 and y1 < y2, but not all are so")
    theta = theta.float().expand(n, 2, 3)
    line = torch.linspace(-1.5, 1.5, 150)
    points = torch.cartesian_prod(line, line)  # (22500, 2)
    shares = []
    for back, box in zip(invert(theta).split(10), boxes.split(10), strict=True):
        # From the image into each window, whose inside goes from -1 to 1.
        seen = points @ back[:, :, :2].mT + back[:, None, :, 2]  # (10, 22500, 2)
        in_window = (seen.abs() <= 1).all(dim=2)  # (10, 22500)
        low, high = box[:, None, :2], box[:, None, 2:]  # (10, 1, 2) each
        in_box = ((points >= low) & (points <= high)).all(dim=2)
        both = (in_window & in_box).sum(dim=1)
        shares.append(both / (in_window | in_box).sum(dim=1))
    share = torch.cat(shares)
    if share.isnan().any():
        first = share.isnan().nonzero()[0].item()
        raise ValueError(
            "expected a point of the lattice, from -1.5 to 1.5, in each window or its "
            f"box, but number {first} has none"
        )
    return share


def find_windows(network: Network, images: Tensor) -> Tensor:
    """Find where the first transformer looks: theta for each image, no gradients.

    Args:
        network: with a transformer.
        images: shape (N, 3, H, W), in [0, 1].

    Returns:
        shape (N, 2, 3).

    Used in chapter 7.
    """
    with torch.inference_mode():
        parts = images.split(100)  # all at once would need much memory
        return torch.cat([network.straighten(part)[1] for part in parts])


def read_windows(images: Tensor, theta: Tensor, side: int = SIDE) -> Tensor:
    """Read what windows show, as the networks of chapter 7 see it.

    Args:
        images: shape (N, 3, H, W).
        theta: the windows, shape (N, 2, 3), or (1, 2, 3) for one that serves all.
        side: pixels a side of what comes out.

    Returns:
        shape (N, 3, side, side); places outside an image repeat its border.

    Used in chapter 7.
    """
    size = (*images.shape[:2], side, side)
    grid = affine_grid(theta, size, align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
