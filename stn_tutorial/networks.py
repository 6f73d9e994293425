"""The networks of the paper's table, and a small modern one beside them."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_tutorial.affine import _is_whole, affine_grid, identity
from stn_tutorial.distortions import SIDES
from stn_tutorial.transformer import LocalisationNet, SpatialTransformer
from stn_tutorial.warps import control_points, projective_grid, thin_plate_spline_grid

#: The grid generator of each kind, and the one theta that changes nothing.
TRANSFORMS = {
    "affine": (affine_grid, identity()),
    "projective": (projective_grid, torch.tensor([[1.0, 0, 0, 0, 1, 0, 0, 0]])),
    "tps": (thin_plate_spline_grid, control_points()[None]),
}
#: The classifiers alone, without a transformer.
CLASSIFIERS = ("fcn", "cnn", "cnn-compact")
#: The names that :func:`table_network` takes.
TABLE_MODELS = CLASSIFIERS + tuple(
    f"st-{kind}-{transform}" for kind in CLASSIFIERS for transform in TRANSFORMS
)


def multiplies_bfloat16(device: str) -> bool:
    """Whether a device, "cpu" or "cuda", has circuits that multiply in bfloat16.

    One without them only imitates it, and takes longer than in float32.

    Used in chapter 6.
    """
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if not hasattr(torch.cpu, "get_capabilities"):  # an older PyTorch cannot say
        return False
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


class BFloat16(nn.Module):
    """Run a module in bfloat16 where the device multiplies in it; that is quicker.

    Elsewhere the module runs in float32. Weights, input and output are always in
    float32. Neither a sampler nor the layer that gives theta belongs inside: places in
    an image need all their digits.

    Used in chapter 6.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, input: Tensor) -> Tensor:
        """What the module gives, as float32."""
        device = input.device.type
        # What is exported runs elsewhere: onnxruntime has no convolution in bfloat16.
        exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
        if not torch.amp.is_autocast_available(device):  # as for the device "meta"
            return self.module(input)
        quick = multiplies_bfloat16(device) and not exporting()
        with torch.autocast(device, torch.bfloat16, enabled=quick):
            return self.module(input).float()


class Network(nn.Module):
    """A classifier with a spatial transformer before it, or with none.

    Args:
        classifier: from images (N, C, h, w) to scores (N, K).
        transformer: a :class:`stn_tutorial.transformer.SpatialTransformer`, or None.
        pool: how many times smaller the transformer's output is made, by averaging,
            before the classifier sees it.

    Raises:
        ValueError: a pool that is not a whole number from 1 on, or one of more than 1
            without a transformer.

    Paper: section 4.1. Built in chapter 5.
    """

    def __init__(
        self,
        classifier: nn.Module,
        transformer: SpatialTransformer | None = None,
        pool: int = 1,
    ) -> None:
        super().__init__()
        if not _is_whole(pool) or pool < 1 or (pool > 1 and transformer is None):
            raise ValueError(
                "expected pool to be a whole number of at least 1, and 1 without a "
                "transformer (it makes the transformer's output smaller), but got "
                f"pool={pool}"
            )
        self.classifier = classifier
        self.transformer = transformer
        self.pool = pool

    def straighten(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What the classifier gets to see, (N, C, h, w), and theta.

        Raises:
            ValueError: the network has no transformer.
        """
        if self.transformer is None:
            raise ValueError("expected a network with a transformer, but it has none")
        warped, theta = self.transformer(images, return_theta=True)
        return F.avg_pool2d(warped, self.pool), theta

    def forward(self, images: Tensor) -> Tensor:
        """From images (N, C, H, W) to the scores of K classes, (N, K)."""
        if self.transformer is not None:
            images, _ = self.straighten(images)
        return self.classifier(images)


def _check_shape(in_shape: Sequence[int], side: int) -> None:
    whole = len(in_shape) == 3 and all(map(_is_whole, in_shape))
    if not whole or in_shape[0] < 1 or min(in_shape[1:]) < side:
        raise ValueError(
            f"expected in_shape (C, H, W) of images of at least {side}x{side} pixels, "
            f"but got {tuple(in_shape)}"
        )


def _check_counts(name: str, counts: Sequence[int], wanted: int | None = None) -> None:
    whole = all(map(_is_whole, counts)) and wanted in (None, len(counts))
    if not whole or min(counts, default=1) < 1:
        many = "" if wanted is None else f"{wanted} "
        raise ValueError(
            f"expected {name} to be {many}whole numbers from 1 on, but got "
            f"{tuple(counts)}"
        )


def fcn(in_shape: Sequence[int], hidden: Sequence[int]) -> nn.Sequential:
    """FCN: fully connected layers, each batch-normalised, and ten scores.

    Args:
        in_shape: (C, H, W) of the images.
        hidden: sizes of the hidden layers.

    Raises:
        ValueError: not three sizes of images, or a size below 1.

    Paper: section 4.1. Built in chapter 5.
    """
    _check_shape(in_shape, side=1)
    _check_counts("hidden", hidden)
    layers: list[nn.Module] = [nn.Flatten()]
    features = math.prod(in_shape)
    for k in hidden:
        linear = nn.Linear(features, k, bias=False)
        layers += [linear, nn.BatchNorm1d(k), nn.ReLU()]
        features = k
    return nn.Sequential(*layers, nn.Linear(features, 10))


def cnn(in_shape: Sequence[int], filters: Sequence[int]) -> nn.Sequential:
    """CNN: a 9x9 and a 7x7 convolution, each pooled 2x2, and ten scores.

    Args:
        in_shape: (C, H, W) of the images, at least 24x24.
        filters: how many filters each of the two has. Each is batch-normalised.

    Raises:
        ValueError: smaller images, or not two numbers of filters from 1 on.

    Paper: section 4.1. Built in chapter 5.
    """
    _check_shape(in_shape, side=24)
    _check_counts("filters", filters, 2)
    layers: list[nn.Module] = []
    c, height, width = in_shape
    for k, side in zip(filters, (9, 7), strict=True):
        conv = nn.Conv2d(c, k, side, bias=False)
        layers += [conv, nn.BatchNorm2d(k), nn.ReLU(), nn.MaxPool2d(2)]
        c = k
        height = (height - side + 1) // 2
        width = (width - side + 1) // 2
    scores = nn.Linear(c * height * width, 10)
    return nn.Sequential(*layers, nn.Flatten(), scores)


def compact_cnn(filters: Sequence[int]) -> nn.Sequential:
    """A present-day CNN: five small convolutions, two poolings, then a global one.

    For grey images from 4x4 on. The global max-pooling forgets where a feature was.

    Args:
        filters: of each convolution, 5x5 the first, 3x3 the others, each
            batch-normalised. The first and the third are pooled 2x2.

    Raises:
        ValueError: no filters, or a number of them below 1.

    Built in chapter 5.
    """
    _check_counts("filters", filters)
    if not filters:
        raise ValueError("expected filters of at least one convolution, but got none")
    layers: list[nn.Module] = []
    c = 1
    for i, k in enumerate(filters):
        side = 5 if i == 0 else 3
        conv = nn.Conv2d(c, k, side, padding=side // 2, bias=False)
        layers += [conv, nn.BatchNorm2d(k), nn.ReLU()]
        if i in (0, 2):
            layers.append(nn.MaxPool2d(2))
        c = k
    pooled = nn.AdaptiveMaxPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, *pooled, nn.Linear(c, 10))


def table_network(model: str, distortion: str) -> Network:
    """A network of the table, for the images of one distortion.

    Those with the paper's shapes have 330,000 to 400,000 weights each. A transformer's
    localisation net sees the image at half its size. Its output has 28x28 pixels; on
    RTS and TC it has 56x56, averaged to 28x28. It starts as a window of 28x28 pixels in
    the middle of the image, so that no detail is lost; on R, P and E that is all of it.

    Args:
        model: one of ``TABLE_MODELS``, as "cnn" or "st-fcn-tps".
        distortion: one of ``DISTORTIONS`` in :mod:`stn_tutorial.distortions`.

    Raises:
        ValueError: an unknown model or distortion.

    Paper: section 4.1 and the appendix. Used in chapter 6.
    """
    if model not in TABLE_MODELS:
        raise ValueError(
            f"expected model to be one of {TABLE_MODELS}, but got: {model!r}"
        )
    if distortion not in SIDES:
        raise ValueError(
            f"expected distortion to be one of {list(SIDES)}, but got: {distortion!r}"
        )
    side = SIDES[distortion]
    if not model.startswith("st-"):
        return Network(_classifier(model, side, with_transformer=False))
    kind, _, transform = model.removeprefix("st-").rpartition("-")
    channels, hidden = {
        "fcn": ((), (64, 32) if distortion == "TC" else (128, 64)),
        "cnn": ((20, 20), (20,)),
        "cnn-compact": ((16, 32), (20,)),
    }[kind]
    grid_generator, identity_theta = TRANSFORMS[transform]
    start = identity_theta * 28 / side
    half = (1, side // 2, side // 2)
    wrap = BFloat16 if channels else None
    localisation = LocalisationNet(half, channels, hidden, start, wrap)
    pool = 2 if distortion in ("RTS", "TC") else 1
    transformer = SpatialTransformer(
        nn.Sequential(nn.AvgPool2d(2), localisation),
        out_size=(28 * pool, 28 * pool),
        grid_generator=grid_generator,
        sampler=F.grid_sample,
    )
    return Network(_classifier(kind, 28, with_transformer=True), transformer, pool)


def drawing_network() -> Network:
    """The network behind the figure "Draw and straighten": a small ST-CNN for RTS.

    Its images have shape (N, 1, 42, 42).

    Used in chapter 6.
    """
    start = identity() * 28 / 42
    localisation = LocalisationNet((1, 21, 21), (8, 16), (20,), start)
    transformer = SpatialTransformer(
        nn.Sequential(nn.AvgPool2d(2), localisation),
        out_size=(56, 56),
        sampler=F.grid_sample,
    )
    return Network(compact_cnn((8, 16, 24, 32, 32)), transformer, pool=2)


def _classifier(kind: str, side: int, with_transformer: bool) -> nn.Module:
    shape = (1, side, side)
    if kind == "fcn":
        width = 300 if with_transformer else {28: 320, 42: 200, 60: 100}[side]
        return fcn(shape, (width, width))
    if kind == "cnn":
        filters = 208 if with_transformer else {28: 224, 42: 192, 60: 128}[side]
        return BFloat16(cnn(shape, (32, filters)))
    return BFloat16(compact_cnn((24, 48, 64, 96, 128 if with_transformer else 156)))
