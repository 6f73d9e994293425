"""Ask a spatial transformer whether it does what it should, and how to mend it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from stn_tutorial.interpolation import _check_floating, _check_images
from stn_tutorial.pitfalls.learning import LEARNING
from stn_tutorial.pitfalls.patient import Patient
from stn_tutorial.pitfalls.questions import (
    TESTS,
    about_modes,
    about_numbers,
    about_start,
)
from stn_tutorial.pitfalls.report import NOTE, RIGHT, WRONG, Finding, Report

__all__ = ["Finding", "Report", "examine"]


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
    is done to two copies, one in evaluation and one in training mode, where dropout and
    batch normalisation rest.

    ============== =================================================================
    test           question
    ============== =================================================================
    ``numbers``    Are theta and the output free of NaN and infinity, and no lottery?
    ``start``      Is theta the identity before training?
    ``warp``       Does it read where theta says: x and y, direction, align_corners?
    ``alone``      Does each image get the transform that it asks for?
    ``background`` Does what stands outside look like the images' background?
    ``freedom``    Does each last number move the grid, both ways, and learn?
    ``gradient``   Is the gradient that reaches theta that of the warp?
    ``through``    Does a gradient reach the images, and the layers before?
    ``reach``      Does the gradient get to every layer of the localisation net?
    ``digits``     Are places computed in float32 at least?
    ``outside``    How many points of the grid lie outside the image?
    ``step``       Is the output too coarse for what it shows, so that it aliases?
    ``shape``      In images that are not square: does a turn shear, are sides swapped?
    ``use``        Do the network's scores depend on what the transformer does?
    ``modes``      Does the same theta give the same in training and evaluation mode?
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
        modes = [Patient(transformer, images, network, mode) for mode in (False, True)]
        findings = []
        for test in TESTS:
            if trained and test is about_start:
                continue
            found = _worse(test in LEARNING, *[test(patient) for patient in modes])
            findings += [found] if found else []
            if test is about_numbers and found and found.verdict == WRONG:
                return Report(findings)  # a sampler's backward pass may crash on NaN
        told = any(f.verdict == WRONG and " mode only: " in f.text for f in findings)
        return Report(findings if told else [*findings, about_modes(*modes)])


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


def _worse(
    learning: bool, evaluating: Finding | None, training: Finding | None
) -> Finding | None:
    """Choose what to report of a test that was made in both modes."""
    if evaluating is None or training is None:
        return evaluating or training
    if evaluating.verdict == training.verdict:
        return evaluating
    if learning and evaluating.verdict != RIGHT:
        return training  # a gradient that is cut where nothing learns does no harm
    ranks = [RIGHT, NOTE, WRONG]
    if ranks.index(training.verdict) > ranks.index(evaluating.verdict):
        return replace(training, text=f"in training mode only: {training.text}")
    return replace(evaluating, text=f"in evaluation mode only: {evaluating.text}")
