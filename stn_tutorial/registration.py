"""Aligning images without labels: gradient descent on theta, from coarse to fine."""

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_tutorial.affine import at_least_float32, identity, without_autocast
from stn_tutorial.interpolation import PADDINGS, blur, warp

#: How many pixels the shorter side has where the descent begins.
SIDE = 28
#: The share of the target in which some patch may fit by chance.
LEAST = 0.1


def squared_difference(a: Tensor, b: Tensor) -> Tensor:
    """The mean squared difference of two images, for each pair.

    Args:
        a: shape (N, C, H, W).
        b: the same shape.

    Returns:
        shape (N,).

    Raises:
        ValueError: the shapes differ.

    Built in chapter 4.
    """
    if a.shape != b.shape:
        raise ValueError(
            f"expected two images of one shape, but got {tuple(a.shape)} and "
            f"{tuple(b.shape)}"
        )
    return (a - b).square().mean((1, 2, 3))


def difference_in_overlap(source: Tensor, target: Tensor, theta: Tensor) -> Tensor:
    """The mean squared difference where the warped source has something to show.

    Args:
        source: shape (N, C, H, W).
        target: shape (N, C, h, w).
        theta: shape (N, 2, 3), target to source.

    Returns:
        shape (N,). Infinite where the two overlap in less than a tenth of the target,
        since in so little some patch fits by chance. Gradients flow to theta.
    """
    white = torch.ones_like(source[:, :1])
    warped = warp(torch.cat([source, white], dim=1), theta, target.shape[2:])
    shown, inside = warped[:, :-1], warped[:, -1:]  # 0 where the source ends
    squares = (shown - inside * target).square().mean((1, 2, 3))
    overlap = inside.mean((1, 2, 3))
    return (squares / overlap.clamp(min=LEAST)).masked_fill(overlap < LEAST, torch.inf)


@torch.inference_mode(False)  # descent needs gradients, wherever it is called
@without_autocast
def align(
    source: Tensor,
    target: Tensor,
    starts: Tensor | None = None,
    padding_mode: str | None = None,
    steps: int = 50,
) -> tuple[Tensor, Tensor]:
    """Find the theta that warps each source onto its target.

    Descent on the squared difference begins on small images, whose shorter side has 28
    pixels: strongly blurred, slightly blurred, sharp. Then it goes on at twice the size
    again and again, in smaller steps, up to the size of the images. A blurred image
    sees further, and on a small image a wide blur costs little.

    The squared difference takes brightness at its word: both images must show a place
    alike.

    Args:
        source: images, shape (N, C, H, W), or (1, C, H, W) for one that serves all.
        target: what they shall look like, shape (N, C, h, w) or (1, C, h, w).
        starts: thetas to start from, shape (S, 2, 3); the identity if not given. Each
            sample keeps the one that leads to the smallest difference on the small
            images. For images turned by any angle take four,
            ``turn_about(middle, torch.tensor([0.0, 90, 180, 270]), (h, w))``; but what
            looks alike upside down, as some digits do, may then come out upside down.
        padding_mode: what stands beyond the source's edges. ``None``, for photographs,
            does not compare what lies there (see :func:`difference_in_overlap`).
            ``"zeros"``, for small things on black ground such as digits, sees further.
            ``"border"`` repeats the edges.
        steps: of gradient descent, at each of the levels.

    Returns:
        theta, shape (N, 2, 3), in float32 at least; and the difference that is left in
        each sample, shape (N,). If it is a good part of
        ``squared_difference(source, target)``, the way was not found.

    Raises:
        TypeError: source or target is no tensor.
        ValueError: a shape, dtype or option is wrong.

    Built in chapter 4, as ``coarse_to_fine``, without other sizes and starts.
    """
    _check(source, target, starts, padding_mode, steps)
    n = max(source.shape[0], target.shape[0])
    dtype = at_least_float32(torch.promote_types(source.dtype, target.dtype))
    source = source.detach().to(dtype).expand(n, -1, -1, -1)
    target = target.detach().to(dtype).expand(n, -1, -1, -1)
    starts = identity() if starts is None else starts.detach()
    theta = starts.to(source).repeat_interleave(n, dim=0)  # (S * N, 2, 3)

    small = _resize(source, SIDE).repeat(starts.shape[0], 1, 1, 1)  # (S * N, C, ...)
    goal = _resize(target, SIDE).repeat(starts.shape[0], 1, 1, 1)
    for sigma in (4, 2, 0):
        blurred, aim = blur(small, sigma), blur(goal, sigma)
        theta = _descend(blurred, aim, theta, padding_mode, steps, lr=0.03)
    losses = _difference(small, goal, theta, padding_mode).view(-1, n)  # (S, N)
    each = torch.arange(n, device=theta.device)
    best = losses.nan_to_num(torch.inf).argmin(dim=0)  # (N,)
    theta = theta.view(-1, n, 2, 3)[best, each]

    side, last = SIDE, max(min(source.shape[2:]), min(target.shape[2:]))
    while side < last:
        side = min(2 * side, last)
        larger, goal = _resize(source, side), _resize(target, side)
        theta = _descend(
            larger, goal, theta, padding_mode, steps, lr=0.03 * SIDE / side
        )
    return theta, _difference(source, target, theta, padding_mode)


def _descend(
    source: Tensor,
    target: Tensor,
    theta: Tensor,
    padding_mode: str | None,
    steps: int,
    lr: float,
) -> Tensor:
    theta = theta.clone().requires_grad_()
    optimiser = torch.optim.Adam([theta], lr)
    for _ in range(steps):
        loss = _difference(source, target, theta, padding_mode).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return theta.detach()


def _difference(
    source: Tensor, target: Tensor, theta: Tensor, padding_mode: str | None
) -> Tensor:
    if padding_mode is None:
        return difference_in_overlap(source, target, theta)
    warped = warp(source, theta, target.shape[2:], padding_mode=padding_mode)
    return squared_difference(warped, target)


def _resize(image: Tensor, side: int) -> Tensor:
    """Bring the shorter side to a length, without false patterns.

    Only the first level, which all images share, may enlarge one.
    """
    factor = side / min(image.shape[2:])
    if factor > 1 and side > SIDE:
        return image
    size = [round(n * factor) for n in image.shape[2:]]
    return F.interpolate(image, size, mode="bilinear", antialias=True)


def _check(
    source: Tensor,
    target: Tensor,
    starts: Tensor | None,
    padding_mode: str | None,
    steps: int,
) -> None:
    for name, image in (("source", source), ("target", target)):
        if not isinstance(image, Tensor):
            raise TypeError(
                f"expected {name} to be a tensor of shape (N, C, H, W), but got a "
                f"{type(image).__name__}; torch.as_tensor makes one of an array"
            )
        if image.dim() != 4 or 0 in image.shape:
            raise ValueError(
                f"expected {name} of shape (N, C, H, W) that is not empty, but got "
                f"{tuple(image.shape)}"
            )
        if not image.is_floating_point():
            raise ValueError(
                f"expected {name} of floating point type, in [0, 1] (of bytes: image "
                f"/ 255), but got {image.dtype}"
            )
    (n, c), (m, channels) = source.shape[:2], target.shape[:2]
    if c != channels or (n != m and 1 not in (n, m)):
        raise ValueError(
            "expected as many sources as targets (or one), of as many channels, but "
            f"got {tuple(source.shape)} and {tuple(target.shape)}"
        )
    if source.device != target.device:
        raise ValueError(
            "expected source and target on the same device, but got "
            f"{source.device} and {target.device}"
        )
    if starts is not None and not isinstance(starts, Tensor):
        raise TypeError(
            f"expected starts to be a tensor of shape (S, 2, 3), got {starts!r}"
        )
    if starts is not None and (starts.shape[1:] != (2, 3) or starts.shape[0] < 1):
        raise ValueError(
            "expected starts of shape (S, 2, 3), at least one, but got "
            f"{tuple(starts.shape)}"
        )
    if padding_mode not in (None, *PADDINGS):
        raise ValueError(
            f"expected padding_mode to be one of {list(PADDINGS)} or None, but got: "
            f"{padding_mode!r}"
        )
    if steps < 1:
        raise ValueError(f"expected at least one step, but got {steps}")
