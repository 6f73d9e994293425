"""The spatial transformer: localisation net, sampling grid, sampler."""

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_tutorial.affine import (
    affine_grid,
    at_least_float32,
    identity,
    pair,
    without_autocast,
)
from stn_tutorial.interpolation import (
    KERNELS,
    PADDINGS,
    _check_floating,
    _check_images,
    _kind,
    grid_sample,
)

#: The modes of each sampler; one of your own checks its options itself.
MODES = {grid_sample: tuple(KERNELS), F.grid_sample: ("nearest", "bilinear", "bicubic")}


class LocalisationNet(nn.Module):
    """Look at an image and say where to look: regress theta.

    Its last layer starts with zero weights and ``start`` as bias, so before
    training every image gets the same transform, ``start``. That layer stays out of
    autocast: theta needs all its digits.

    Args:
        in_shape: (C, H, W) of the images or feature maps it looks at.
        channels: output channels of 5x5 convolutions, each followed by a ReLU and
            2x2 max-pooling. Empty for a fully connected net.
        hidden: sizes of the fully connected layers before the last.
        start: theta before training, the same for every image, as the functions that
            build transforms return it: shape (1, 2, 3), or (1, ...) for other kinds of
            transform. The affine identity if not given.
        wrap: puts all layers but the last into another module, which computes them in
            its own way, such as :class:`stn_tutorial.networks.BFloat16`. Optional.

    Raises:
        ValueError: in_shape is not three positive integers, channels or hidden holds
            something else, the image is too small to be halved that often, or start is
            not one theta.

    Paper: section 3.1. Built in chapter 4, without ``start`` and ``wrap``.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        channels: Sequence[int] = (),
        hidden: Sequence[int] = (32, 32),
        start: Tensor | None = None,
        wrap: Callable[[nn.Module], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if not _are_counts(in_shape) or len(in_shape) != 3:
            raise ValueError(
                f"expected in_shape (C, H, W) of positive integers, got {in_shape!r}"
            )
        for name, given in (("channels", channels), ("hidden", hidden)):
            if not _are_counts(given):
                raise ValueError(
                    f"expected {name} to be a sequence of positive integers, one for "
                    f"each layer, got {given!r}"
                )
        self.in_shape = tuple(in_shape)
        c, height, width = in_shape
        if min(height, width) >> len(channels) == 0:
            raise ValueError(
                f"{len(channels)} poolings need an image of at least "
                f"{2 ** len(channels)} pixels a side, got in_shape {in_shape}"
            )
        layers: list[nn.Module] = []
        for k in channels:
            convolution = nn.Conv2d(c, k, 5, padding=2)
            layers += [convolution, nn.ReLU(), nn.MaxPool2d(2)]
            c, height, width = k, height // 2, width // 2
        layers.append(nn.Flatten())
        features = c * height * width
        for k in hidden:
            layers += [nn.Linear(features, k), nn.ReLU()]
            features = k
        body = nn.Sequential(*layers)
        self.body = body if wrap is None else wrap(body)
        start = identity() if start is None else start
        if not isinstance(start, Tensor) or start.dim() < 2 or len(start) != 1:
            raise ValueError(
                "expected start to be one theta of shape (1, 2, 3), or (1, ...) for "
                f"another kind of transform, but got {_kind(start)}"
            )
        self.theta_shape = start.shape[1:]
        self.last = nn.Linear(features, start.numel())
        nn.init.zeros_(self.last.weight)
        with torch.no_grad():
            self.last.bias.copy_(start.flatten())

    def forward(self, input: Tensor) -> Tensor:
        """From images (N, C, H, W) to theta (N, 2, 3), or (N, ...) as start's.

        Raises:
            TypeError: the images are not a tensor.
            ValueError: they are not of ``in_shape``, or not of the weights' dtype.
        """
        _check_images(input)
        if tuple(input.shape[1:]) != self.in_shape:
            raise ValueError(
                f"expected images of shape (N, C, H, W) with (C, H, W) = "
                f"{self.in_shape}, but got {tuple(input.shape)}"
            )
        dtype, device = self.last.weight.dtype, input.device.type
        if input.dtype != dtype and not torch.is_autocast_enabled(device):
            raise ValueError(
                f"expected images of the weights' type {dtype}, but got {input.dtype}; "
                f"turn them into it with images.to({dtype})"
            )
        return self._theta(self.body(input))

    @without_autocast
    def _theta(self, features: Tensor) -> Tensor:
        theta = self.last(features.to(self.last.weight.dtype))
        return theta.view(-1, *self.theta_shape)


class SpatialTransformer(nn.Module):
    """Warp each input by a transform that is computed from that input.

    Put it before a classifier or between any two layers. It is trained with them, by
    their labels alone. Theta, grid and places are computed in float32 at least, in
    half precision and inside autocast too; the output has the input's dtype.

    What it finds on one tensor, :meth:`sample` applies to another::

        theta = transformer.localisation(small)  # small copies, say of 28x28 pixels
        crop = transformer.sample(photo, theta, out_size=224)  # of all their detail
        cut = transformer.sample(mask, theta, mode="nearest")  # keeps whole labels
        back = warp(found, invert(theta), mask.shape[2:], mode="nearest")

    The last line brings a mask, found in what the transformer gave, to its place in the
    input (:func:`stn_tutorial.interpolation.warp`, :func:`stn_tutorial.affine.invert`).

    It goes through ``torch.export`` and ``torch.onnx.export(..., dynamo=True)``, from
    opset 18 on, with a batch, height and width that stay free, and through
    ``torch.jit.trace`` and ``torch.compile(fullgraph=True)``. Give the exporter an
    example of two images: from one, the file may take nothing but one image. A spline
    needs a fixed ``out_size``, since its matrix is computed beforehand.
    ``torch.jit.script`` cannot read this module.

    Args:
        localisation: a module from (N, C, H, W) to theta (N, 2, 3), such as
            :class:`LocalisationNet`.
        out_size: (h, w) of the output, or one number for both; the input's own if not
            given.
        padding_mode: as in :func:`stn_tutorial.interpolation.grid_sample`.
        grid_generator: from theta and the output's (N, C, h, w) to the sampling grid
            (N, h, w, 2). Another one, such as
            :func:`stn_tutorial.warps.projective_grid`, gives another kind of warp.
        sampler: the book's sampler, or PyTorch's ``F.grid_sample``: the same numbers,
            sooner, and training takes a fifth of the memory (bicubic: a seventeenth;
            measured by ``benchmarks/sampler.py``). But where theta is NaN it may give
            clean pixels. A sampler of your own takes the same arguments.
        mode: how the sampler reads between pixels: ``"bilinear"``, ``"nearest"``,
            ``"bicubic"``, or the book's sampler's ``"integer"``.

    Raises:
        ValueError: out_size is not positive integers, or the sampler does not know the
            mode or padding_mode.

    Paper: section 3, figure 2. Built in chapter 4, without ``grid_generator``,
    ``sampler``, ``mode`` and ``sample``.
    """

    def __init__(
        self,
        localisation: nn.Module,
        out_size: int | Sequence[int] | None = None,
        padding_mode: str = "zeros",
        grid_generator: Callable[..., Tensor] = affine_grid,
        sampler: Callable[..., Tensor] = grid_sample,
        mode: str = "bilinear",
    ) -> None:
        super().__init__()
        self.localisation = localisation
        self.out_size = None if out_size is None else pair(out_size)
        self.padding_mode = padding_mode
        self.grid_generator = grid_generator
        self.sampler = sampler
        self.mode = mode
        if sampler in MODES and padding_mode not in PADDINGS:
            raise ValueError(
                f"expected padding_mode to be one of {list(PADDINGS)}, "
                f"but got: {padding_mode!r}"
            )
        if sampler in MODES and mode not in MODES[sampler]:
            raise ValueError(
                f"expected mode to be one of this sampler's {list(MODES[sampler])}, "
                f"but got: {mode!r}"
            )

    def forward(
        self, input: Tensor, return_theta: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Warp a batch.

        Args:
            input: shape (N, C, H, W), floating point.
            return_theta: whether to return theta as well.

        Returns:
            output, shape (N, C, h, w), of the input's dtype; or (output, theta).

        Raises:
            TypeError: the input or theta is not a tensor.
            ValueError: the input or theta does not fit.
        """
        _check_images(input)
        _check_floating(input)
        theta = self.localisation(input)
        output = self.sample(input, theta)
        return (output, theta) if return_theta else output

    @without_autocast
    def sample(
        self,
        input: Tensor,
        theta: Tensor,
        out_size: int | Sequence[int] | None = None,
        mode: str | None = None,
    ) -> Tensor:
        """Warp a batch by a theta that is there already, with this module's options.

        Args:
            input: shape (N, C, H, W); other channels, another height and width than
                those of the images that theta was found on are welcome. Masks of
                integers or booleans can be read in mode ``"nearest"``.
            theta: what the localisation gave, for N images or for one; one image is
                read by all thetas.
            out_size: (h, w) of the output, or one number for both; the module's own
                if not given.
            mode: of the sampler; the module's own if not given.

        Returns:
            shape (N, C, h, w), of the input's dtype.

        Raises:
            TypeError: the input or theta is not a tensor.
            ValueError: the input, theta or an option does not fit.
        """
        _check_images(input)
        if not isinstance(theta, Tensor):
            raise TypeError(
                "expected theta from the localisation to be a tensor, but got "
                f"{_kind(theta)}"
            )
        if out_size is None:
            out_size = self.out_size or input.shape[2:]
        n = theta.shape[0] if input.shape[0] == 1 else input.shape[0]
        input = input.expand(n, -1, -1, -1)
        size = (n, input.shape[1], *pair(out_size))
        dtype = at_least_float32(torch.promote_types(theta.dtype, input.dtype))
        grid = self.grid_generator(theta.to(dtype), size)
        options: dict[str, Any] = {
            "mode": self.mode if mode is None else mode,
            "padding_mode": self.padding_mode,
            "align_corners": False,
        }
        if not input.is_floating_point():  # a mask, which PyTorch's sampler refuses
            return grid_sample(input, grid, **options)
        return self.sampler(input.to(dtype), grid, **options).to(input.dtype)


def _are_counts(values: object) -> bool:
    """Whether they are positive integers, in a sequence."""
    return isinstance(values, Sequence) and all(
        isinstance(value, Integral) and int(value) > 0 for value in values
    )
