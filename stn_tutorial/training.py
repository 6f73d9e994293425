"""One loop that trains every network of the book."""

import math
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from numbers import Integral
from pathlib import Path
from time import thread_time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from stn_tutorial.checkpoints import load_checkpoint, save_checkpoint
from stn_tutorial.distortions import distort
from stn_tutorial.transformer import SpatialTransformer


@dataclass(frozen=True)
class Recipe:
    """How to train a network.

    Args:
        images: how many training images it sees in all, repeats counted.
        batch: images a step.
        rate: the highest learning rate; 0 learns nothing.
        localisation_rate: the localisation net's rate, as a multiple of the others'.
        warm_up: share of the training, below 1, in which the rate climbs from 0 to its
            peak; from there it falls back to 0 along half a cosine.
        momentum: Nesterov's, below 1; 0 is none.
        weight_decay: of matrices and filters; biases and norms have none.
        label_smoothing: share of each label, below 1, that is spread over all classes.
        clip: length to which a longer gradient is cut; ``math.inf`` cuts none.

    Raises:
        ValueError: a number outside its range; the message names it.

    Used in chapter 5.
    """

    images: int
    batch: int = 128
    rate: float = 0.1
    localisation_rate: float = 0.3
    warm_up: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.05
    clip: float = 1.0

    def __post_init__(self) -> None:
        for name in (option.name for option in fields(self)):
            value = getattr(self, name)
            if name in ("images", "batch"):
                wanted = "a whole number from 1 on"
                fits = isinstance(value, Integral) and int(value) >= 1
            elif name in ("warm_up", "momentum", "label_smoothing"):
                wanted, fits = "from 0 to below 1", 0 <= value < 1
            elif name == "clip":
                wanted, fits = "above 0", value > 0
            else:
                wanted, fits = "finite, from 0 on", 0 <= value < math.inf
            if not fits:
                raise ValueError(
                    f"expected {name} to be {wanted}, but got {name}={value}"
                )
            # NumPy's numbers become Python's, as a record in JSON wants them.
            plain = int(value) if name in ("images", "batch") else float(value)
            object.__setattr__(self, name, plain)


@dataclass
class History:
    """What was noted at some moments of a training, one entry a moment.

    Attributes:
        images: training images seen so far.
        seconds: processor time that the thread which trains has spent on it so far.
        loss: mean training loss since the last moment.
        error: validation error in per cent.
        theta: the transforms of the watched images.
        warped: what the classifier saw of them.
    """

    images: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    error: list[float] = field(default_factory=list)
    theta: list[Tensor] = field(default_factory=list)
    warped: list[Tensor] = field(default_factory=list)


def schedule(progress: float, warm_up: float) -> float:
    """The learning rate as a share of its peak: up a line, down half a cosine.

    Args:
        progress: from 0 (start) to 1 (end of the training).
        warm_up: where the peak is, from 0 to below 1.

    Raises:
        ValueError: progress or warm_up is outside its range.

    Built in chapter 5.
    """
    _check_progress(progress, warm_up)
    if progress < warm_up:
        return progress / warm_up
    return (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up))) / 2


def make_optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """SGD with a group for each parameter: its own rate and weight decay.

    What a :class:`stn_tutorial.transformer.SpatialTransformer` localises with learns at
    the localisation net's rate, wherever in the network it stands.

    Built in chapter 5.
    """
    localising: set[nn.Parameter] = set()
    for module in network.modules():
        if isinstance(module, SpatialTransformer):
            localising.update(module.localisation.parameters())
    groups = []
    for weights in network.parameters():
        scale = recipe.localisation_rate if weights in localising else 1.0
        decay = recipe.weight_decay if weights.dim() > 1 else 0.0
        group = {"params": [weights], "scale": scale, "weight_decay": decay}
        groups.append(group)
    momentum = recipe.momentum  # take_step sets the rate, here 0
    return torch.optim.SGD(groups, 0.0, momentum, nesterov=momentum > 0)


def take_step(
    network: nn.Module,
    optimiser: torch.optim.SGD,
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
    progress: float,
) -> Tensor:
    """Learn from one batch.

    Args:
        network: from images to scores.
        optimiser: as :func:`make_optimiser` makes it.
        images: distorted images, shape (N, C, S, S).
        labels: shape (N,).
        recipe: how to train.
        progress: where in the training we are, from 0 to 1.

    Returns:
        the loss before the step, without dimensions.

    Built in chapter 5.
    """
    share = schedule(progress, recipe.warm_up)
    for group in optimiser.param_groups:
        group["lr"] = recipe.rate * group["scale"] * share
    smoothing = recipe.label_smoothing
    scores = network(images)
    loss = F.cross_entropy(scores, labels, label_smoothing=smoothing)
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
    optimiser.step()
    return loss.detach()


def _check_progress(progress: float, warm_up: float) -> None:
    if not (0 <= progress <= 1 and 0 <= warm_up < 1):
        raise ValueError(
            "expected progress from 0 to 1, and warm_up from 0 to below 1, but got "
            f"{progress} and {warm_up}"
        )


def _check_data(images: Tensor, labels: Tensor) -> None:
    """Refuse what no network could learn, or be measured by."""
    for name, given in (("images", images), ("labels", labels)):
        if not isinstance(given, Tensor):
            raise TypeError(
                f"expected {name} to be a tensor, but got a {type(given).__name__}; "
                "torch.as_tensor makes one of an array or a list"
            )
    if len(images) == 0 or labels.shape != (len(images),):
        raise ValueError(
            f"expected at least one image, and a label for each, but got {len(images)} "
            f"images and labels of shape {tuple(labels.shape)}"
        )
    try:
        torch.iinfo(labels.dtype)
    except TypeError:
        raise ValueError(
            f"expected labels to be whole numbers, but got {labels.dtype}"
        ) from None
    if images.is_complex():
        raise ValueError(f"expected images of real numbers, but got {images.dtype}")
    if not all(bound.isfinite() for bound in images.aminmax()):
        raise ValueError("expected images of finite numbers, but one holds NaN or inf")


def _check_network(network: nn.Module) -> None:
    """Refuse weights that are no numbers a network can have learnt."""
    for name, weights in network.named_parameters():
        if not weights.is_floating_point():
            raise ValueError(
                "expected a network with weights of floating point type, but "
                f"{name} is {weights.dtype}"
            )


def _check_classes(labels: Tensor, classes: int) -> None:
    low, high = labels.aminmax()
    if low < 0 or high >= classes:
        raise ValueError(
            f"expected labels from 0 to {classes - 1}, as the network gives {classes} "
            f"scores an image, but got {low} to {high}"
        )


def _check_theta(localisation: nn.Module, inputs: Any, theta: Tensor) -> None:
    """Refuse a theta that is not finite, before a sampler gets it: a forward hook.

    PyTorch's sampler may make clean pixels of it. With padding by the border its
    gradient ends the whole process on the CPU (PyTorch's issue 24823). While a GPU
    trains, nothing waits for it here; :func:`error_rate` looks at every moment.
    """
    if torch.compiler.is_compiling() or (theta.is_cuda and localisation.training):
        return  # neither stops for a number
    if not math.isfinite(theta.detach().sum()):  # quicker than each number alone
        raise ValueError(
            "expected a finite theta, but a localisation net gives NaN or inf: the "
            "training diverged; try a lower rate, or a lower localisation_rate"
        )


def _check_loss(loss: float, steps: int) -> None:
    if not math.isfinite(loss):
        raise ValueError(
            f"expected a finite loss, but got {loss} within {steps} steps: the "
            "training diverged; try a lower rate"
        )


def _check_weights(network: nn.Module, steps: int) -> None:
    for name, weights in network.named_parameters():
        if not weights.isfinite().all():
            raise ValueError(
                f"expected finite weights, but got NaN or inf in {name} within {steps} "
                "steps: the training diverged; try a lower rate"
            )


def _check_notes(notes: dict[str, list], path: Path, recipe: Recipe) -> None:
    names = {"images", "seconds", "loss", "error"}
    fits = notes.keys() == names | {"theta", "warped"}
    fits = fits and all(isinstance(entries, list) for entries in notes.values())
    if fits:
        looks = len(notes["theta"]) == len(notes["warped"])
        rows = [notes[name] for name in names]
        kinds = {type(number) for row in rows for number in row}
        fits = looks and len(set(map(len, rows))) == 1 and kinds <= {int, float}
    if fits:
        seen = notes["images"]
        possible = range(recipe.batch, recipe.images + 1, recipe.batch)
        fits = set(map(type, seen)) == {int} and set(seen) <= set(possible)
        fits = fits and seen == sorted(set(seen))
        fits = fits and all(math.isfinite(number) for row in rows for number in row)
    if not fits:
        raise ValueError(
            f"expected {path} to hold the notes of this training, but some are missing "
            "or do not fit; remove it or name another file"
        )


@contextmanager
def _watch_theta(network: nn.Module) -> Iterator[None]:
    """Check what every transformer in a network localises, for a while."""
    hooks = []
    for module in network.modules():
        localise = getattr(module, "localisation", None)
        if isinstance(module, SpatialTransformer) and isinstance(localise, nn.Module):
            hooks.append(localise.register_forward_hook(_check_theta))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _score(network: nn.Module, images: Tensor) -> Tensor:
    """Return the scores of a batch, shape (N, K), if they are scores."""
    try:
        scores = network(images)
    except RuntimeError as error:
        own = next(network.parameters(), images).dtype
        if images.dtype == own:
            raise
        raise ValueError(
            f"expected images of a type that the network takes, whose weights are "
            f"{own}, but got {images.dtype}; images.to({own}) may help"
        ) from error
    if scores.dim() != 2 or len(scores) != len(images):
        raise ValueError(
            f"expected a network that gives scores of shape (N, K), but for "
            f"{len(images)} images it gives {tuple(scores.shape)}"
        )
    if not scores.is_floating_point():
        raise ValueError(
            f"expected scores of floating point type, but the network gives "
            f"{scores.dtype}"
        )
    if not (scores < math.inf).all():
        raise ValueError(
            "expected scores that are numbers, but the network gives NaN or infinity: "
            "the training diverged, or its weights are damaged"
        )
    return scores


@torch.no_grad()
def mistakes(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Say which images a network gets wrong.

    Args:
        network: from images to scores (N, K).
        images: distorted images, shape (N, C, S, S), on the CPU.
        labels: from 0 to K - 1, shape (N,), on the CPU.

    Returns:
        True where its answer is wrong, shape (N,).

    Raises:
        TypeError: images or labels that are no tensors.
        ValueError: no images, or not one label for each; labels that are no whole
            numbers, or out of range; images, theta or scores with NaN; scores of
            another shape; or images, weights or scores of another type.
    """
    _check_data(images, labels)
    _check_network(network)
    device, training = next(network.parameters(), images).device, network.training
    network.eval()
    wrong = []
    try:
        with _watch_theta(network):
            for batch, truth in zip(images.split(100), labels.split(100), strict=True):
                scores = _score(network, batch.to(device))
                _check_classes(truth, scores.shape[1])
                wrong.append(scores.argmax(dim=1).cpu() != truth)
    finally:
        network.train(training)
    return torch.cat(wrong)


def error_rate(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of wrong answers, in per cent; takes and raises what :func:`mistakes` does.

    Used in chapter 5.
    """
    wrong = mistakes(network, images, labels)
    return 100 * wrong.sum().item() / len(wrong)


def train(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    distortion: str | Callable[..., Tensor],
    recipe: Recipe,
    validation: tuple[Tensor, Tensor],
    seed: int = 0,
    watched: Tensor | None = None,
    moments: int = 16,
    checkpoint: str | Path | None = None,
) -> History:
    """Train a network on images that are distorted anew in every step.

    Step k draws its images and distortions from a generator that is seeded by
    ``seed`` and k alone. So a training that was stopped and goes on from its
    checkpoint ends with the same weights as one that was not, on the CPU and if the
    network draws nothing itself, as dropout would.

    Args:
        network: from distorted images to scores (N, K), on the CPU or a GPU. Trained
            in place.
        images: undistorted training images, (N, 1, 28, 28) for digits, on the CPU.
        labels: whole numbers from 0 to K - 1, shape (N,), on the CPU.
        distortion: as in :func:`stn_tutorial.distortions.distort`, or a function that
            gets a batch of the images, and ``generator=``, and returns what to learn
            from; a checkpoint knows it by its name.
        recipe: how to train.
        validation: distorted images and labels that measure the error on the way.
        seed: of the draws. (The network's first weights are its maker's matter.)
        watched: distorted images to be straightened by the network's transformer
            at every moment, for looking at.
        moments: how often to validate and note, at least once; closer together at
            the start.
        checkpoint: file (safetensors) to save to at every moment and to go on from.

    Returns:
        the notes. The network is left in training mode.

    Raises:
        TypeError: images or labels that are no tensors.
        ValueError: no images, or not one label for each; images that are not finite,
            or labels out of range; a network without weights to train; the recipe
            trains for less than a batch; no moments; a seed of more than 43 bits;
            watched images, but no transformer; the checkpoint is none, is damaged, or
            has another recipe, seed, distortion or network (the images are not
            compared); or the loss, a weight or theta is no longer finite.

    Paper: section 4.1, but with a recipe of today. Used in chapter 5.
    """
    _check_data(images, labels)
    _check_data(*validation)
    if watched is not None and getattr(network, "transformer", None) is None:
        raise ValueError("expected a network with a transformer, to watch its images")
    if not any(weights.requires_grad for weights in network.parameters()):
        raise ValueError("expected a network with weights to train, but it has none")
    moments, seed = operator.index(moments), operator.index(seed)
    if moments < 1:
        raise ValueError(f"expected moments to be at least 1, but got {moments}")
    if abs(seed) >= 2**43:  # a million times as much is a generator's limit
        raise ValueError(f"expected a seed of 43 bits at most, but got {seed}")
    steps = recipe.images // recipe.batch
    if steps < 1:
        raise ValueError(
            f"expected a recipe of at least one batch of {recipe.batch} images, "
            f"but got {recipe.images} images"
        )
    stops = {math.ceil(steps * (i / moments) ** 2) for i in range(1, moments + 1)}
    device = next(network.parameters()).device
    optimiser = make_optimiser(network, recipe)
    history, losses, first = History(), [], 0
    if callable(distortion):
        name, change = getattr(distortion, "__name__", repr(distortion)), distortion
    else:
        name = distortion
        change = partial(distort, distortion=distortion, sampler=F.grid_sample)
    config = {"distortion": name, "recipe": asdict(recipe), "seed": seed}
    if checkpoint is not None and Path(checkpoint).exists():
        notes = load_checkpoint(Path(checkpoint), network, optimiser, config)
        _check_notes(notes, Path(checkpoint), recipe)
        history = History(**notes)
        first = history.images[-1] // recipe.batch
    with _watch_theta(network):
        network.eval()
        with torch.no_grad():
            classes = _score(network, validation[0][:1].to(device)).shape[1]
        _check_classes(labels, classes)
        network.train()
        started = thread_time() - (history.seconds[-1] if history.seconds else 0)
        todo = range(first, steps)  # trainings in several threads share a line
        for step in tqdm(todo, initial=first, total=steps, leave=False, position=0):
            generator = torch.Generator().manual_seed(1_000_003 * seed + step)
            chosen = torch.randint(len(images), (recipe.batch,), generator=generator)
            batch = images.index_select(0, chosen).to(device)
            batch = change(batch, generator=generator)
            target = labels.index_select(0, chosen).to(device, torch.long)
            progress = (step + 1) / steps
            loss = take_step(network, optimiser, batch, target, recipe, progress)
            losses.append(loss)
            if not loss.is_cuda:  # a GPU would have to be waited for
                _check_loss(loss.item(), step + 1)
            if step + 1 in stops:
                mean_loss = torch.stack(losses).mean().item()
                _check_loss(mean_loss, step + 1)
                _check_weights(network, step + 1)
                losses.clear()
                history.images.append((step + 1) * recipe.batch)
                history.loss.append(mean_loss)
                paused = thread_time()
                history.seconds.append(paused - started)
                history.error.append(error_rate(network, *validation))
                if watched is not None:
                    _note_watched(network, watched.to(device), history)
                if checkpoint is not None:
                    save_checkpoint(
                        Path(checkpoint), network, optimiser, config, vars(history)
                    )
                started += thread_time() - paused
    return history


@torch.no_grad()
def _note_watched(network: Any, watched: Tensor, history: History) -> None:
    network.eval()
    warped, theta = network.straighten(watched)
    network.train()
    history.theta.append(theta.cpu())
    history.warped.append(warped.cpu())
