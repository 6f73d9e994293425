"""Ask a spatial transformer whether it does what it should, and how to mend it."""

import copy
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from stn_tutorial.affine import affine_grid, identity, invert, rotation, scaling
from stn_tutorial.interpolation import (
    PADDINGS,
    _check_floating,
    _check_images,
    blur,
)

#: The verdicts of a finding.
RIGHT, NOTE, WRONG = "right", "note", "WRONG"


@dataclass(frozen=True)
class Finding:
    """What one test found.

    Args:
        test: its name, one word.
        verdict: ``RIGHT``, ``NOTE`` (look at it: it may be what you mean) or ``WRONG``.
        text: what was found.
        mend: what to do about it; empty if nothing.
    """

    test: str
    verdict: str
    text: str
    mend: str = ""

    def __str__(self) -> str:
        head = f"{self.verdict:6}{self.test:11}"
        lines = textwrap.wrap(self.text, 55)
        lines += textwrap.wrap(self.mend, 55, initial_indent="-> ")
        return head + ("\n" + " " * len(head)).join(lines)


class Report:
    """What :func:`examine` found: printed, one finding a line.

    It is true if nothing is wrong and the warp was recognised: what could not be tested
    is not right.

    Args:
        findings: in the order of the tests.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)

    @property
    def wrong(self) -> list[str]:
        """The names of the tests that found a fault."""
        return [each.test for each in self.findings if each.verdict == WRONG]

    def __bool__(self) -> bool:
        known = [e.verdict for e in self.findings if e.test == "warp"]
        return not self.wrong and known == [RIGHT]

    def __getitem__(self, test: str) -> Finding:
        for each in self.findings:
            if each.test == test:
                return each
        raise KeyError(f"no test {test!r} among {[e.test for e in self.findings]}")

    def __repr__(self) -> str:
        return "\n".join(map(str, self.findings))


def examine(
    transformer: nn.Module | Callable[..., Any],
    images: Tensor,
    network: nn.Module | None = None,
    trained: bool = False,
) -> Report:
    """Test a spatial transformer, yours or the book's, and say what is wrong.

    It finds where theta passes, puts thetas of its own there, and compares what comes
    out with the book's warp and with those of the usual mistakes. So it need not know
    how the module is written: a part must give six numbers an image, or the module must
    call ``F.affine_grid``. What it does not recognise, it notes and does not judge. All
    is done to a copy, in evaluation mode.

    ============== =================================================================
    test           question
    ============== =================================================================
    ``numbers``    Are theta and the output free of NaN and infinity, and no lottery?
    ``alone``      Does each image get the transform that it asks for?
    ``start``      Is theta the identity before training?
    ``warp``       Does it read where theta says: x and y, direction, align_corners?
    ``background`` Does what stands outside look like the images' background?
    ``gradient``   Is the gradient that reaches theta that of the warp?
    ``through``    Does a gradient reach the images, and the layers before?
    ``reach``      Does the gradient get to every layer of the localisation net?
    ``digits``     Are places computed in float32 at least?
    ``outside``    How many points of the grid lie outside the image?
    ``step``       Is the output too coarse for what it shows, so that it aliases?
    ``shape``      Does a rotation shear, as in images that are not square?
    ``use``        Do the network's scores depend on what the transformer does?
    ============== =================================================================

    Args:
        transformer: from images to warped images (or to a tuple that begins with
            them): a module, or a method of one, such as ``net.stn``. Its grid must be
            affine for all the tests.
        images: shape (N, C, H, W), of the kind it will get, as it will get them (if
            you normalise, then normalised). With ``network``, what the network gets.
        network: the whole network that holds the transformer, if its use is to be
            tested.
        trained: whether it has been trained, so that theta may be anything.

    Returns:
        the findings, to be printed.

    Raises:
        TypeError: the transformer is neither a module nor a method of one, the network
            is no module, the images are no tensor, or no tensor comes out.
        ValueError: the images have another shape, are not floating point, show nothing
            or hold NaN, or the network does not hold the transformer.

    Used in chapter 10.
    """
    _check(transformer, images, network)
    devices = [images.device] if images.is_cuda else []
    with (
        torch.random.fork_rng(devices),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        return _examine(Patient(transformer, images, network), trained)


def _check(transformer: object, images: Tensor, network: object) -> None:
    owner = getattr(transformer, "__self__", transformer)
    if not isinstance(owner, nn.Module):
        raise TypeError(
            "expected transformer to be a module, or a method of one such as net.stn, "
            f"but got {transformer!r}"
        )
    if not isinstance(network, nn.Module | None):
        raise TypeError(f"expected network to be a module, but got {network!r}")
    _check_images(images)
    _check_floating(images)
    if len(images) == 0 or not images.isfinite().all() or images.min() == images.max():
        what = "none"
        if len(images):
            what = "even ones" if images.isfinite().all() else "NaN or infinity in them"
        raise ValueError(f"expected images that show something, but got {what}")
    if isinstance(network, nn.Module) and owner not in set(network.modules()):
        raise ValueError("expected network to hold the transformer, but it does not")


def _examine(patient: "Patient", trained: bool) -> Report:
    found = about_numbers(patient)
    if found.verdict == WRONG:
        return Report([found])  # a sampler's backward pass may crash on NaN
    tests: list[Callable[[Patient], Finding | None]] = [
        about_warp,
        about_alone,
        about_background,
        about_gradient,
        about_through,
        about_reach,
        about_digits,
        about_outside,
        about_step,
        about_shape,
        about_use,
    ]
    if not trained:
        tests.insert(0, about_start)
    findings = [found]
    findings += [finding for test in tests if (finding := test(patient)) is not None]
    return Report(findings)


# How the module reads, told from what comes out

Way = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]


def same(values: Tensor) -> Tensor:
    """Leave theta, or a grid, as it is."""
    return values


#: What a module may do to theta, and to the grid, and what to say of it.
MISTAKES: dict[str, tuple[Way, str]] = {
    "": ((same, same), ""),
    "x and y are swapped in the grid, so the image is mirrored at its diagonal": (
        (lambda theta: theta[:, [1, 0]], same),
        'the last axis of a grid is (x, y), column first: meshgrid(..., indexing="xy")',
    ),
    "x and y are swapped before theta, so the image is mirrored at its diagonal": (
        (lambda theta: theta[:, :, [1, 0, 2]], same),
        "theta is to be multiplied with (x, y, 1), column first",
    ),
    "theta is read as (y, x): the shift goes down and not right": (
        (lambda theta: theta[:, [1, 0]][:, :, [1, 0, 2]], same),
        "the first row of theta gives x, the column; the second gives y, the row",
    ),
    "the six numbers fill theta column by column": (
        (lambda theta: theta.reshape(-1, 3, 2).transpose(1, 2), same),
        "write .view(-1, 2, 3)",
    ),
    "the content goes the wrong way: the inverse of theta is used": (
        (lambda theta: invert(theta), same),
        "theta leads from the output to the input; leave the inverse away",
    ),
    "the grid is clamped to [-1, 1], so what lies outside is drawn out in stripes": (
        (same, lambda grid: grid.clamp(-1, 1)),
        'leave the clamp away; padding_mode="border" does what was meant',
    ),
    "places are multiplied by (size - 2), so the identity is a slight zoom": (
        (same, lambda grid: short(grid)),
        "with align_corners=True the pixels lie at (x + 1) * (size - 1) / 2",
    ),
}
#: No mistake: the six numbers are what theta differs from the identity by.
ADDED = "the six numbers are added to the identity"
MISTAKES[ADDED] = ((lambda theta: theta + identity().to(theta), same), "")
MIXED = "the grid is made with align_corners={} and read with align_corners={}"


def short(grid: Tensor) -> Tensor:
    """What a sampler reads that takes size - 2 for size - 1."""
    last = grid.new_tensor([grid.shape[2] - 1, grid.shape[1] - 1])
    return (grid + 1) * (1 - 1 / last) - 1


class Reading(NamedTuple):
    """One way to read an image by theta, right or mistaken."""

    mistake: str = ""
    made: bool = False  # align_corners of the grid
    read: bool = False  # and of the sampler
    padding_mode: str = "zeros"
    mode: str = "bilinear"

    def warp(self, images: Tensor, theta: Tensor, size: Sequence[int]) -> Tensor:
        """What comes out for images (N, C, H, W) and theta (N, 2, 3)."""
        (of_theta, of_grid), _ = MISTAKES[self.mistake]
        shape = (len(images), 1, *size)
        grid = of_grid(affine_grid(of_theta(theta), shape, self.made))
        padding = self.padding_mode if self.padding_mode in PADDINGS else "zeros"
        return F.grid_sample(images, grid, self.mode, padding, self.read)


def readings() -> Iterator[Reading]:
    """All the ways to read, first the right ones."""
    ways = [(False, False), (True, True), (False, True), (True, False)]
    for mistake in MISTAKES:
        modes = ("bilinear",) if mistake else ("bilinear", "bicubic", "nearest")
        for mode, (made, read), padding in product(modes, ways, PADDINGS):
            yield Reading(mistake, made, read, padding, mode)


class Patient:
    """A copy of a transformer, with a hand on its theta.

    Args:
        transformer: as in :func:`examine`.
        images: as in :func:`examine`.
        network: as in :func:`examine`.
    """

    def __init__(
        self,
        transformer: Callable[..., Any],
        images: Tensor,
        network: nn.Module | None,
    ) -> None:
        self.images = images.detach()
        roots = [getattr(transformer, "__self__", transformer), network]
        memo = {}  # what a module has kept of its last run cannot be copied
        for root in [root for root in roots if isinstance(root, nn.Module)]:
            for value in [v for part in root.modules() for v in vars(part).values()]:
                if isinstance(value, Tensor) and not value.is_leaf:
                    memo[id(value)] = value.detach()
        self.call, self.network = copy.deepcopy((transformer, network), memo)
        owner = getattr(self.call, "__self__", self.call)
        self.owner = owner if isinstance(owner, nn.Module) else self.network
        for module in (self.owner, self.network):
            if module is not None:
                module.eval()
        self.input = self._input()
        self.place: nn.Module | str | None = None
        self.reading: Reading | None = None
        self.off = float("nan")  # how far the best reading is off, in pixels
        self.moved: Tensor | None = None  # theta after a small step
        self.adds = False  # whether the six numbers are added to the identity
        self._find_place()
        if self.reading is not None and self.reading.mistake == ADDED:
            self.adds, self.reading = True, self.reading._replace(mistake="")
        self.output, self.theta = self.run(self.input)
        if self.theta is not None and self.adds:
            self.theta = self.theta + identity().to(self.theta)

    def _input(self) -> Tensor:
        """What the transformer gets, which are feature maps inside a network."""
        seen: list[Tensor] = []
        if self.network is None or not isinstance(self.call, nn.Module):
            return self.images
        hook = self.call.register_forward_pre_hook(
            lambda _, args, kwargs: seen.append([*args, *kwargs.values()][0]),
            with_kwargs=True,
        )
        with torch.no_grad():
            self.network(self.images)
        hook.remove()
        return seen[0].detach() if seen else self.images

    @contextmanager
    def holding(
        self, place: nn.Module | str | None, put: Tensor | None
    ) -> Iterator[list[Tensor]]:
        """Note theta where it passes, and put another in its place if one is given."""
        seen: list[Tensor] = []

        def exchange(theta: Tensor) -> Tensor:
            seen.append(theta)
            if put is None:
                return theta
            sent = put - identity().to(put) if self.adds else put
            return sent.to(theta).expand(len(theta), -1, -1).reshape(theta.shape)

        if isinstance(place, nn.Module):
            hook = place.register_forward_hook(lambda _, args, theta: exchange(theta))
            try:
                yield seen
            finally:
                hook.remove()
        elif place:
            with AtAffineGrid(exchange):
                yield seen
        else:
            yield seen

    def run(
        self, images: Tensor, put: Tensor | None = None, whole: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Warp images, or give the network's scores; and theta if it is seen."""
        with self.holding(self.place, put) as seen:
            output = self.network(images) if whole else self.call(images)  # type: ignore
        output = output[0] if isinstance(output, (tuple, list)) else output
        if not isinstance(output, Tensor):
            raise TypeError(f"expected a tensor to come out, but got {type(output)}")
        return output, seen[0].reshape(-1, 2, 3) if seen else None

    def places(self) -> list[nn.Module | str]:
        """Where theta may pass: what gives six numbers an image, or affine_grid."""
        n, found, hooks = len(self.input), [], []

        def look(module: nn.Module, args: object, output: object) -> None:
            if not isinstance(output, Tensor) or module is self.call:
                return
            if output.shape[:1] == (n,) and output.numel() == 6 * n:
                found.append(module)

        modules = [] if self.owner is None else list(self.owner.named_modules())
        named = [module for name, module in modules if "locali" in name.split(".")[-1]]
        hooks = [module.register_forward_hook(look) for _, module in modules]
        with torch.no_grad(), self.holding("F.affine_grid", None) as seen:
            self.call(self.input)
        for hook in hooks:
            hook.remove()
        first = [module for module in found if module in named]
        last = ["F.affine_grid"] if seen and seen[0].shape[1:] == (2, 3) else []
        return [*first, *reversed(found), *last]

    @torch.no_grad()
    def _find_place(self) -> None:
        """Try the places until the warp behind one is understood."""
        n = len(self.input)
        noise = torch.rand(n, *self.input.shape[1:], generator=generator())
        self.noise = noise.to(self.input)
        thetas = torch.cat([identity(), TILTED, rotation(20) * 1.6])
        self.put = thetas.repeat(n // 3 + 1, 1, 1)[-n:].to(self.input.device)
        best = float("inf")
        for place in self.places():
            self.place, before = place, self.place
            output = self.run(self.noise, self.put)[0].float()
            reading, miss, off = understand(self.noise.float(), self.put, output)
            if miss < best:
                self.reading, self.off, best = reading, off, miss
            else:
                self.place = before
            if best == 0:
                return


TILTED = torch.tensor([[[0.61, -0.23, 0.17], [0.32, 0.83, -0.11]]])


class AtAffineGrid(TorchFunctionMode):
    """Exchange theta wherever ``F.affine_grid`` is called."""

    def __init__(self, exchange: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.exchange = exchange

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Hand every other function on as it is."""
        kwargs = dict(kwargs or {})
        if func is F.affine_grid:
            theta = args[0] if args else kwargs.pop("theta")
            args = (self.exchange(theta), *args[1:])
        return func(*args, **kwargs)


def understand(
    images: Tensor, theta: Tensor, output: Tensor
) -> tuple[Reading, float, float]:
    """Find the reading that gives this output.

    Returns:
        the best reading; its mean error, 0 if it fits; the same in pixels.
    """
    if output.dim() != 4 or output.shape[:2] != images.shape[:2]:
        return Reading(), float("inf"), float("nan")
    best = Reading(), float("inf")
    white = torch.ones_like(images[:, :1])
    for reading in readings():
        wanted = reading.warp(images, theta, output.shape[2:])
        apart = (wanted - output).abs()
        if (apart < 5e-4).float().mean() > 0.99:  # ties and edges aside
            return reading, 0.0, 0.0
        if apart.mean() < best[1]:
            best = reading, apart.mean().item()
    for reading in readings():  # inside the image, in another scale of values
        if reading.padding_mode != "zeros" or reading.mode != "bilinear":
            continue
        wanted = reading.warp(images, theta, output.shape[2:])
        inside = (reading.warp(white, theta, output.shape[2:]) > 0.999).expand_as(
            wanted
        )
        x, y = wanted[inside], output[inside]
        if len(x) < 20:
            continue
        gain = ((x - x.mean()) * (y - y.mean())).mean() / x.var(correction=0)
        apart = (y - y.mean() - gain * (x - x.mean())).abs()
        if gain.abs() > 1e-3 and (apart < 5e-4 * gain.abs()).float().mean() > 0.99:
            return reading._replace(padding_mode="its own"), 0.0, 0.0
    reading, miss = best
    moved = theta.clone()
    moved[:, :, 2] += 0.1 / max(images.shape[2:])  # a twentieth of a pixel
    size = output.shape[2:]
    wanted = reading.warp(images, theta, size) - reading.warp(images, moved, size)
    a_pixel = wanted.abs().mean().item() * 20 / 2**0.5  # moved along both axes
    return reading, miss, miss / max(a_pixel, 1e-9)


def generator() -> torch.Generator:
    """The examination's own random numbers, the same each time."""
    return torch.Generator().manual_seed(0)


# The tests


def about_numbers(patient: Patient) -> Finding:
    """NaN and infinity."""
    for name, values in (("theta", patient.theta), ("the output", patient.output)):
        if values is not None and not values.isfinite().all():
            return Finding(
                "numbers",
                WRONG,
                f"{name} holds NaN or infinity, so nothing else was tested",
                "bound theta, lower the localisation net's rate, and stop a training "
                "at the first loss that is not finite: on some devices the backward "
                "pass of F.grid_sample crashes the whole process on a grid of NaN",
            )
    with torch.no_grad():
        again, _ = patient.run(patient.input)
    if not torch.equal(again, patient.output):
        return Finding(
            "numbers",
            WRONG,
            "the same images give another output each time, in evaluation mode too, so "
            "nothing else was tested",
            "look for F.dropout without training=self.training, and for noise on theta",
        )
    return Finding("numbers", RIGHT, "theta and the output are finite")


def about_start(patient: Patient) -> Finding | None:
    """The identity, for every image."""
    if patient.theta is None:
        return Finding(
            "start",
            NOTE,
            "no theta seen: no part gives six numbers an image, and F.affine_grid is "
            "not called, so only the output could be tested",
            "let a submodule named localisation give theta of shape (N, 2, 3)",
        )
    if patient.reading is None or patient.off > 0.3:
        return None  # its six numbers may be none of theta's
    theta = patient.theta.float()
    mend = (
        "start the last layer with zero weights and the bias (1, 0, 0, 0, 1, 0); if "
        "this module has been trained already, say trained=True"
    )
    if (theta - identity().to(theta)).abs().max() < 1e-3:
        return Finding("start", RIGHT, "theta is the identity for every image")
    if theta[:, :, :2].det().abs().max() < 1e-3:
        text = "theta squeezes the grid onto one line or point, so nothing can be seen"
        return Finding("start", WRONG, text, mend)
    if (theta - theta[:1]).abs().max() < 1e-3:
        text = f"theta is the same for every image, but no identity: {told(theta[0])}"
        return Finding("start", NOTE, text, mend + "; if you mean this window, fine")
    text = f"theta is no identity and differs between images, as in {told(theta[0])}"
    return Finding("start", WRONG, text, mend)


def about_warp(patient: Patient) -> Finding | None:
    """Where the module reads, for three thetas on images of noise."""
    if patient.theta is None:
        return None
    reading, off = patient.reading, patient.off
    if reading is None:
        text = "another theta changes nothing that could be compared"
        return Finding(
            "warp", NOTE, text, "is theta used at all, and detached nowhere?"
        )
    sampler = f"{reading.mode}, {reading.padding_mode}, align_corners={reading.read}"
    if off > 0.3:
        return Finding(
            "warp",
            NOTE,
            f"what comes out is no warp that this test knows. The nearest ({sampler}) "
            f"reads about {off:.1f} pixels away. A blur, an average or another kind of "
            "grid may be meant; a mistake of another kind may not",
            "put simple thetas in by hand, identity, translation, rotation, and "
            "compare with stn_tutorial.interpolation.warp",
        )
    faults, mends = [], []
    if reading.mistake:
        faults.append(reading.mistake)
        mends.append(MISTAKES[reading.mistake][1])
    if reading.made != reading.read:
        faults.append(MIXED.format(reading.made, reading.read))
        mends.append(
            "write one align_corners into both calls: False, but True for a grid "
            "of linspace(-1, 1)"
        )
    if faults:
        return Finding("warp", WRONG, "; ".join(faults), "; ".join(mends))
    if reading.mode == "nearest":
        text = "it copies the nearest pixel, so theta gets no gradient"
        return Finding("warp", WRONG, text, 'read with mode="bilinear"')
    return Finding("warp", RIGHT, f"it reads where theta says: {sampler}")


def about_digits(patient: Patient) -> Finding | None:
    """How exactly places are computed."""
    if patient.theta is None:
        return None
    theta, moved = patient.theta.detach(), patient.moved
    if moved is None or torch.equal(moved, theta):
        moved = torch.full_like(theta, 1 / 3)  # which half precision cannot write
    off, half = (patient.off if 0 < patient.off < 0.3 else 0.0), False
    for dtype in (torch.float16, torch.bfloat16):
        if torch.equal(moved, moved.to(dtype).to(moved)):
            side = max(patient.input.shape[2:])
            off, half = max(off, torch.finfo(dtype).eps / 4 * side / 2), True
    if off == 0:
        return Finding("digits", RIGHT, "places are computed with enough digits")
    if not half and not stepwise(patient):
        return Finding(
            "digits",
            NOTE,
            f"it reads about {off:.2f} pixels away from where theta says; a blur or an "
            "average over output pixels may be meant",
        )
    return Finding(
        "digits",
        WRONG if off > (0.02 if half else 0.005) else NOTE,
        f"places are coarse: off by about {off:.1g} pixels. Is theta or the grid in "
        "half precision, or inside autocast?",
        "compute theta's last layer, grid and places in float32, without autocast",
    )


def stepwise(patient: Patient) -> bool:
    """Whether a tiny move of theta, which float32 sees, changes nothing."""
    assert patient.theta is not None
    put = identity().to(patient.noise.device) + 0.2
    near = put + 2e-4
    with torch.no_grad():
        first, second = (patient.run(patient.noise, t)[0] for t in (put, near))
    return (first == second).float().mean().item() > 0.5


def about_alone(patient: Patient) -> Finding | None:
    """Whether an image gets the same output alone as among others."""
    if len(patient.input) < 2:
        return None
    with torch.no_grad():
        try:
            last, _ = patient.run(patient.input[-1:])
        except (RuntimeError, ValueError):  # it takes no other number of images
            return None
    apart = (last[0] - patient.output[-1]).abs().max()
    if apart <= 1e-3 * patient.output.abs().max():
        return Finding("alone", RIGHT, "an image gets the same alone as among others")
    return Finding(
        "alone",
        WRONG,
        "an image gets another output among others than alone",
        "each theta has to come from its own image: look for a mean over the batch, "
        "and for images that change places",
    )


def about_through(patient: Patient) -> Finding | None:
    """Whether a gradient reaches the images."""
    images = patient.input.clone().requires_grad_()
    with patient.holding(patient.place, patient.put[:1]) as seen:
        output = patient.call(images)
    output = output[0] if isinstance(output, (tuple, list)) else output
    if not seen:
        return None
    (found,) = slopes(output.float(), [images])
    if found.any():
        return Finding("through", RIGHT, "a gradient reaches the images")
    return Finding(
        "through",
        WRONG,
        "no gradient reaches the images, so layers before the transformer cannot learn",
        "the sampler has to read the images themselves, without detach",
    )


def about_background(patient: Patient) -> Finding | None:
    """What stands outside, against the border of the images."""
    away = identity().to(patient.input.device)
    away[:, :, 2] = 20.0
    if patient.theta is None or patient.off > 0:
        return None
    with torch.no_grad():
        outside = patient.run(patient.input, away)[0].float()
        # The border as it comes out, from just inside, whatever is done to its values
        images = patient.run(patient.input, scaling(0.9).to(away))[0].float()
    rim = [images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]]
    border = torch.cat(rim, dim=2).transpose(0, 1).flatten(1)  # (C, points)
    colour = border.median(dim=1).values
    span = images.amax() - images.amin()
    near = (border - colour[:, None]).abs() < 0.1 * span
    if outside.shape[1] != len(colour):
        return None
    gap = (outside.transpose(0, 1).flatten(1).median(dim=1).values - colour).abs()
    gap = gap.max() / span.clamp(min=1e-9)
    if gap < 0.1:
        return Finding("background", RIGHT, "outside stands what the border shows")
    text = f"outside stands a value {gap:.0%} of the range away from the background"
    mend = (
        "warp first and normalise after, subtract the background before the warp and "
        'add it after, or take padding_mode="border"'
    )
    plain = near.float().mean() > 0.6
    return Finding("background", WRONG if plain else NOTE, text, mend)


def about_gradient(patient: Patient) -> Finding | None:
    """The gradient of theta against that of the warp that was understood."""
    if patient.theta is None or patient.reading is None or patient.off > 0:
        return None
    if patient.reading.padding_mode not in PADDINGS:
        return None  # in another scale of values, which the slopes share
    images = blur(patient.noise.float(), 1.5)
    for name, start in (("a tilted grid", TILTED), ("the identity", identity())):
        put = start.repeat(len(images), 1, 1).to(images).requires_grad_()
        output, _ = patient.run(images.to(patient.noise), put)
        (found,) = slopes(output.float(), [put])
        (wanted,) = slopes(patient.reading.warp(images, put, output.shape[2:]), [put])
        alike = F.cosine_similarity(found.flatten(1).T, wanted.flatten(1).T).min()
        if found.abs().max() < 1e-3 * wanted.abs().max() or not found.any():
            text = f"no gradient reaches theta at {name}"
            mend = (
                "look for detach, no_grad, round and mode='nearest', and for ceil: the "
                "upper neighbour of a place is floor + 1"
            )
        elif alike < 0.95 or not 0.8 < found.norm() / wanted.norm() < 1.25:
            text = f"the gradient of theta is wrong at {name} (cosine {alike:.2f})"
            mend = (
                "the upper neighbour of a place is floor + 1, never ceil, and no "
                "weight may be detached"
            )
        else:
            continue
        return Finding("gradient", WRONG, text, mend)
    return Finding("gradient", RIGHT, "theta gets the gradient of the warp")


def slopes(output: Tensor, to: Sequence[Tensor]) -> list[Tensor]:
    """The gradients of a weighted sum of the output; 0 where there is none."""
    found: Sequence[Tensor | None] = [None] * len(to)
    if output.requires_grad:
        weights = torch.randn(output.shape, generator=generator()).to(output)
        total = (output * weights).sum()
        found = torch.autograd.grad(total, to, allow_unused=True)
    pairs = zip(found, to, strict=True)
    return [torch.zeros_like(t) if grad is None else grad for grad, t in pairs]


def about_reach(patient: Patient) -> Finding | None:
    """Whether each layer of the localisation net learns, after a first small step."""
    if patient.theta is None:
        return None
    if not patient.theta.requires_grad:
        weights = [] if patient.owner is None else list(patient.owner.parameters())
        return Finding(
            "reach",
            WRONG if any(weight.requires_grad for weight in weights) else NOTE,
            "theta depends on no weights that can learn",
            "is the localisation net frozen, detached, or under no_grad?",
        )
    named = learning(patient)
    before = [weight.detach().clone() for weight in named.values()]
    grads = step(patient, named)  # the last layer's weights leave their zeros
    grads = step(patient, named)
    with torch.no_grad():
        for weight, value in zip(named.values(), before, strict=True):
            weight.copy_(value)
    dead = [name for name, grad in zip(named, grads, strict=True) if not grad.any()]
    if not dead:
        return Finding("reach", RIGHT, "the gradient gets to every layer behind theta")
    if len(dead) == len(named):
        text = "no gradient gets to the localisation net"
        mend = (
            "does the network use the transformer's output, is the grid inside the "
            "image, and is nothing detached on the way?"
        )
    else:
        text = f"no gradient gets to {', '.join(dead[:3])}"
        mend = "only the last layer may start with zeros; look for dead ReLUs"
    return Finding("reach", WRONG, text, mend)


def step(patient: Patient, named: dict[str, nn.Parameter]) -> list[Tensor]:
    """Measure the gradient of each weight, then move all by a hundredth at most."""
    whole = patient.network is not None
    images = patient.images if whole else patient.input
    output, theta = patient.run(images, whole=whole)
    grads = slopes(output, list(named.values()))
    largest = max(grad.abs().max().item() for grad in grads)
    patient.moved = None if theta is None else theta.detach()
    if largest > 0:
        with torch.no_grad():
            for weight, grad in zip(named.values(), grads, strict=True):
                weight.sub_(0.01 * grad / largest)
    return grads


def learning(patient: Patient) -> dict[str, nn.Parameter]:
    """The weights that theta depends on, by name."""
    assert patient.owner is not None
    assert patient.theta is not None
    named = [(n, p) for n, p in patient.owner.named_parameters() if p.requires_grad]
    total = patient.theta.float().sum()
    weights = [weight for _, weight in named]
    grads = torch.autograd.grad(total, weights, retain_graph=True, allow_unused=True)
    pairs = zip(named, grads, strict=True)
    return {name: weight for (name, weight), grad in pairs if grad is not None}


def about_outside(patient: Patient) -> Finding | None:
    """The share of points outside the image, and the images of which all are."""
    if patient.theta is None:
        return None
    theta = patient.theta.detach().float()
    size = len(theta), 1, *patient.output.shape[2:]
    away = (affine_grid(theta, size, False).abs() > 1).any(dim=3).float().mean((1, 2))
    text = f"{away.mean():.0%} of the grid's points lie outside the image"
    far = theta[:, :, 2].abs().max().item()
    pixels = "; theta counts in half images, not in pixels" if far > 3 else ""
    if (away > 0.99).any():
        blank = (away > 0.99).float().mean()
        return Finding(
            "outside",
            WRONG,
            f"for {blank:.0%} of the images the whole grid lies outside: blank, and "
            f"without a gradient (largest shift {far:.3g})",
            "no training leads back: start again with a smaller rate for the "
            f"localisation net, or bound theta{pixels}",
        )
    if away.mean() > 0.25:
        mend = f"a smaller rate for the localisation net, or a bounded theta{pixels}"
        return Finding("outside", NOTE, text, mend)
    return Finding("outside", RIGHT, text)


def about_step(patient: Patient) -> Finding | None:
    """From one output pixel to the next: how many input pixels?"""
    if patient.theta is None:
        return None
    (height, width), (h, w) = patient.input.shape[2:], patient.output.shape[2:]
    theta = patient.theta.detach().float()[:, :, :2]
    pixels = theta * theta.new_tensor([[width], [height]]) / theta.new_tensor([w, h])
    step = pixels.norm(dim=1).amax(dim=1).median().item()
    text = f"neighbours in the output read {step:.1f} pixels apart"
    if step < 1.6:
        return Finding("step", RIGHT, text)
    mend = "blur first, or make the output larger and average it down"
    return Finding("step", NOTE, f"{text}, so fine patterns alias", mend)


def about_shape(patient: Patient) -> Finding | None:
    """A head that only rotates, in images that are not square."""
    height, width = patient.input.shape[2:]
    if patient.theta is None or patient.moved is None or height == width:
        return None
    theta = torch.cat([patient.theta.detach(), patient.moved]).float()
    (a, b), (c, d) = theta[:, 0, :2].T, theta[:, 1, :2].T
    turned = (b.abs() > 1e-6).any()
    if not (turned and (a - d).abs().max() < 1e-5 and (b + c).abs().max() < 1e-5):
        return Finding("shape", RIGHT, "theta is no rotation in normalised coordinates")
    return Finding(
        "shape",
        WRONG,
        f"theta is a rotation in normalised coordinates, which shears an image of "
        f"{height} x {width}",
        "multiply theta's upper right number by H / W and the lower left by W / H",
    )


def about_use(patient: Patient) -> Finding | None:
    """Whether another theta changes the network's scores."""
    if patient.network is None or patient.theta is None:
        return None
    views = []
    with torch.no_grad():
        for theta in (identity(), rotation(90), scaling(0.5)):
            views.append(patient.run(patient.images, theta, whole=True)[0])
    if all(torch.equal(views[0], view) for view in views[1:]):
        return Finding(
            "use",
            WRONG,
            "the network's scores are the same whatever the transformer does",
            "hand the transformer's output to the classifier, not the images",
        )
    return Finding("use", RIGHT, "the network's scores depend on the transformer")


def told(theta: Tensor) -> str:
    """Six numbers in one line."""
    return str([round(number, 2) for number in theta.flatten().tolist()])
