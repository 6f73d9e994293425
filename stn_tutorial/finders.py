"""Networks that find a sign in a scene, and read it."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_tutorial.affine import scaling, without_autocast
from stn_tutorial.data.scenes import NAMES
from stn_tutorial.networks import BFloat16, Network
from stn_tutorial.transformer import LocalisationNet, SpatialTransformer

#: Filters of the classifier's four stages. With them all networks but the narrow one,
#: which costs as much as the others instead, have equally many weights, but for 2%.
FILTERS = {
    "cnn-averaged": (16, 32, 64, 112),
    "cnn-full": (16, 32, 64, 112),
    "cnn-full-narrow": (6, 12, 24, 48),
    "st-cnn-regressed": (16, 32, 64, 52),
    "st-cnn-soft-argmax": (16, 32, 64, 95),
}
#: The names that :func:`scene_network` takes.
SCENE_MODELS = tuple(FILTERS)
#: What the classifiers but for the full ones see, in pixels a side.
GLANCE = 32
#: The sides of scenes that they read, in pixels; each is a multiple of ``GLANCE``.
SIDES = (64, 96, 128, 160)
#: A window's width before training, as a share of the scene's; chosen in trials.
START = 0.4


class SoftArgmax(nn.Module):
    """Look at an image and say where to look: the place where a map is hottest.

    Fully convolutional layers make a heat map of the image. Its softmax gives each
    pixel a share, and the mean of the pixels' centres, weighed by these shares, is the
    place. So the window goes along with what is hot, wherever that was in training.
    The window's size is one number, the same for all images, fixed or learned.

    The softmax stays out of autocast: places need all their digits. Before training
    the map is 0 everywhere, and so every window is in the middle.

    Args:
        heat: a module from images (N, C, H, W) to maps (N, K, h, w) that cover the
            image, such as convolutions that keep the size, and poolings.
        channels: K, how many maps ``heat`` gives; a last layer, 1x1, adds them up.
        size: width of the window as a share of the image's.
        learn_size: whether that is only where it starts. While a network does not know
            yet where to look, a wider window serves it better: a learned size may grow
            then, and stay so.

    Raises:
        ValueError: channels below 1, or a size that is not above 0 and finite.

    Built in chapter 7, without a size that is learned.
    """

    def __init__(
        self,
        heat: nn.Module,
        channels: int,
        size: float = 0.5,
        learn_size: bool = False,
    ) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"expected channels to be at least 1, but got {channels}")
        if not 0 < size < math.inf:
            raise ValueError(f"expected size to be above 0, finite, but got {size}")
        self.heat = heat
        self.last = nn.Conv2d(channels, 1, 1, bias=False)  # all pixels alike: no bias
        nn.init.zeros_(self.last.weight)
        # Its logarithm is what is learned, so that it stays above 0.
        self.log_size = nn.Parameter(torch.tensor(math.log(size)), learn_size)

    def shares(self, images: Tensor) -> Tensor:
        """From images (N, C, H, W) to the pixels' shares, (N, h, w), that sum to 1."""
        return self._shares(self.heat(images))

    def forward(self, images: Tensor) -> Tensor:
        """From images (N, C, H, W) to theta (N, 2, 3)."""
        return self._theta(self.heat(images))

    @without_autocast
    def _shares(self, features: Tensor) -> Tensor:
        warmth = self.last(features.to(self.last.weight.dtype))[:, 0]  # (N, h, w)
        return warmth.flatten(1).softmax(dim=1).view_as(warmth)

    @without_autocast
    def _theta(self, features: Tensor) -> Tensor:
        share = self._shares(features)
        height, width = share.shape[1:]
        x = (2 * torch.arange(width).to(share) + 1) / width - 1  # the pixels' centres
        y = (2 * torch.arange(height).to(share) + 1) / height - 1
        across, down = share.sum(dim=1) @ x, share.sum(dim=2) @ y  # (N,) each
        theta = scaling(self.log_size.exp().expand(len(share)))
        return theta + F.pad(torch.stack([across, down], dim=1)[:, :, None], (2, 0))


def scene_network(
    model: str, side: int, classes: int = len(NAMES), start: float = START
) -> Network:
    """Make a network that reads the sign in a scene.

    They share a classifier, a CNN of four small convolutions, batch-normalised and
    pooled, the last one globally. They differ in what it sees:

    - "cnn-averaged": the whole scene, averaged to 32x32;
    - "cnn-full": the whole scene at its full resolution;
    - "cnn-full-narrow": the same, but with so few filters that a scene of 96x96 costs
      about as much as with a transformer;
    - "st-cnn-regressed": a window of 32x32, found by a ``LocalisationNet``;
    - "st-cnn-soft-argmax": a window of 32x32, found by a :class:`SoftArgmax`.

    Both transformers look at the scene averaged to 32x32, start with a window of 0.4
    of the scene's width, in the middle, and read it at 64x64, averaged to 32x32. The
    regressed window may change in every way; the other one moves, and keeps its size.
    Where a window leaves the scene, the sampler repeats the border. All networks but
    the narrow one have about 90,000 weights.

    Args:
        model: one of ``SCENE_MODELS``.
        side: pixels a side of a scene, one of ``SIDES``. The images have shape
            (N, 3, side, side), in [0, 1].
        classes: how many kinds of sign to tell apart.
        start: a window's width before training, as a share of the scene's.

    Raises:
        ValueError: an unknown model, another side, or no classes.

    Used for the records of chapter 7.
    """
    if model not in SCENE_MODELS:
        raise ValueError(
            f"expected model to be one of {SCENE_MODELS}, but got: {model!r}"
        )
    if side not in SIDES:
        raise ValueError(f"expected side to be one of {SIDES}, but got {side}")
    if classes < 1:
        raise ValueError(f"expected classes to be at least 1, but got {classes}")
    classifier = BFloat16(_classifier(FILTERS[model], classes))
    average = nn.AvgPool2d(side // GLANCE)
    if model == "cnn-averaged":
        return Network(nn.Sequential(average, classifier))
    if model.startswith("cnn-"):
        return Network(classifier)
    localisation: nn.Module
    if model == "st-cnn-regressed":
        shape = 3, GLANCE, GLANCE
        localisation = LocalisationNet(shape, (16, 24), (16,), scaling(start), BFloat16)
    else:
        localisation = SoftArgmax(BFloat16(_heat((16, 24, 24))), 24, start)
    transformer = SpatialTransformer(
        nn.Sequential(average, localisation),
        out_size=2 * GLANCE,
        padding_mode="border",
        sampler=F.grid_sample,
    )
    return Network(classifier, transformer, pool=2)


def _classifier(filters: tuple[int, ...], classes: int) -> nn.Sequential:
    """Four convolutions, so that the last one sees 40 pixels at once."""
    layers: list[nn.Module] = []
    c = 3
    for i, k in enumerate(filters):
        side = 5 if i == 0 else 3
        convolution = nn.Conv2d(c, k, side, padding=side // 2, bias=False)
        layers += [convolution, nn.BatchNorm2d(k), nn.ReLU(), nn.MaxPool2d(2)]
        c = k
    layers[-1] = nn.AdaptiveMaxPool2d(1)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(c, classes))


def _heat(filters: tuple[int, ...]) -> nn.Sequential:
    """Three convolutions; the first is pooled, so a map of 16x16 comes of 32x32."""
    layers: list[nn.Module] = []
    c = 3
    for i, k in enumerate(filters):
        side = 5 if i == 0 else 3
        convolution = nn.Conv2d(c, k, side, padding=side // 2, bias=False)
        layers += [convolution, nn.BatchNorm2d(k), nn.ReLU()]
        if i == 0:
            layers.append(nn.MaxPool2d(2))
        c = k
    return nn.Sequential(*layers)
