"""The spatial transformer: localisation net, sampling grid, sampler."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from stn_tutorial.affine import affine_grid, identity
from stn_tutorial.interpolation import grid_sample


class LocalisationNet(nn.Module):
    """Look at an image and say where to look: regress theta.

    Its last layer starts with zero weights and ``start`` as bias, so before
    training every image gets the same transform, ``start``.

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
        ValueError: in_shape is not three positive integers, the image is too small to
            be halved that often, or start is not one theta.

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
        self.in_shape = tuple(in_shape)
        if len(in_shape) != 3 or min(in_shape) < 1:
            raise ValueError(
                f"expected in_shape (C, H, W) of positive integers, got {in_shape}"
            )
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
        if start.dim() < 2 or len(start) != 1:
            raise ValueError(
                "expected start to be one theta of shape (1, 2, 3), or (1, ...) for "
                f"another kind of transform, but got shape {tuple(start.shape)}"
            )
        self.theta_shape = start.shape[1:]
        self.last = nn.Linear(features, start.numel())
        nn.init.zeros_(self.last.weight)
        with torch.no_grad():
            self.last.bias.copy_(start.flatten())

    def forward(self, input: Tensor) -> Tensor:
        """From images (N, C, H, W) to theta (N, 2, 3), or (N, ...) as start's.

        Raises:
            ValueError: the images are not of ``in_shape``.
        """
        if tuple(input.shape[1:]) != self.in_shape:
            raise ValueError(
                f"expected images of shape (N, C, H, W) with (C, H, W) = "
                f"{self.in_shape}, but got {tuple(input.shape)}"
            )
        return self.last(self.body(input)).view(-1, *self.theta_shape)


class SpatialTransformer(nn.Module):
    """Warp each input by a transform that is computed from that input.

    Put it before a classifier or between any two layers. It is trained with them, by
    their labels alone. Keep it out of autocast: places need all their digits.

    Args:
        localisation: a module from (N, C, H, W) to theta (N, 2, 3), such as
            :class:`LocalisationNet`.
        out_size: (h, w) of the output; the input's own if not given.
        padding_mode: as in :func:`stn_tutorial.interpolation.grid_sample`.
        grid_generator: from theta and the output's (N, C, h, w) to the sampling grid
            (N, h, w, 2). Another one, such as
            :func:`stn_tutorial.warps.projective_grid`, gives another kind of warp.
        sampler: the book's sampler, or PyTorch's ``F.grid_sample``: the same numbers,
            sooner.

    Paper: section 3, figure 2. Built in chapter 4, without ``grid_generator`` and
    ``sampler``.
    """

    def __init__(
        self,
        localisation: nn.Module,
        out_size: Sequence[int] | None = None,
        padding_mode: str = "zeros",
        grid_generator: Callable[..., Tensor] = affine_grid,
        sampler: Callable[..., Tensor] = grid_sample,
    ) -> None:
        super().__init__()
        self.localisation = localisation
        self.out_size = out_size
        self.padding_mode = padding_mode
        self.grid_generator = grid_generator
        self.sampler = sampler

    def forward(
        self, input: Tensor, return_theta: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Warp a batch.

        Args:
            input: shape (N, C, H, W).
            return_theta: whether to return theta as well.

        Returns:
            output, shape (N, C, h, w); or (output, theta).

        Raises:
            ValueError: the input, theta or an option does not fit.
        """
        theta = self.localisation(input)
        size = (*input.shape[:2], *(self.out_size or input.shape[2:]))
        grid = self.grid_generator(theta, size)
        output = self.sampler(
            input, grid, padding_mode=self.padding_mode, align_corners=False
        )
        return (output, theta) if return_theta else output
