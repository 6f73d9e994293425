"""Keep one trained network for traffic signs, and what chapter 7 shows of it on GTSRB.

From the weights that a run has left (such as those in ``gtsrb/weights`` among the
records) it leaves, beside the other records, the weights rounded to half precision, a
few images of GTSRB and ``signs.json``. It needs GTSRB and takes a minute. What it tells
of the test images chose nothing.
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stn_tutorial.affine import affine, identity
from stn_tutorial.checkpoints import load_weights, read_tensors, seal
from stn_tutorial.data.gtsrb import CLASSES, Signs, load_gtsrb, split_by_track
from stn_tutorial.experiments.records import new_network, picture, rounded, to_json
from stn_tutorial.experiments.traffic_signs import as_tensors, sign_test_set
from stn_tutorial.files import RECORDED, write_whole
from stn_tutorial.networks import Network
from stn_tutorial.signs import find_windows, overlap, read_windows, sign_network
from stn_tutorial.training import error_rate

MISTAKES = 12  # so many wrong answers are shown


@torch.inference_mode()
def keep_signs(weights: Path) -> None:
    """Keep the weights, and record what the network does on GTSRB.

    Args:
        weights: the file of weights that a run has left.
    """
    model = round_weights(weights, "gtsrb")["model"]
    network = new_network(sign_network, model, seed=0).eval()
    load_weights(RECORDED / f"{model}-gtsrb.safetensors", network)
    signs = load_gtsrb()
    images, labels = sign_test_set(signs)
    boxes = torch.tensor(signs.test_boxes)
    thetas, scores = [], []
    for batch in images.split(500):
        thetas.append(find_windows(network, batch))
        scores.append(network(batch))
    theta = torch.cat(thetas)
    mistakes, shown = worst_mistakes(torch.cat(scores), labels)
    track, indices = choose_track(signs, range(CLASSES))
    track_images = track_pixels(signs, indices)
    record = {
        "model": model,
        "test_error": error_rate(network, images, labels),
        **compare_with_boxes(theta, boxes, best_guess(signs), mistakes),
        "variances": variances_in_tracks(network, signs, theta.mean(dim=0)),
        "track": track,
        "mistakes": {
            "count": len(mistakes),
            "truth": labels[shown].tolist(),
            "answer": torch.cat(scores)[shown].argmax(dim=1).tolist(),
            "box": rounded(boxes[shown]),
        },
    }
    for name, row in (("track", track_images), ("mistakes", images[shown])):
        write_whole(RECORDED / f"signs-{name}.png", picture(*row.chunk(2)))
    write_whole(RECORDED / "signs.json", to_json(record))


def round_weights(path: Path, data: str) -> dict[str, str]:
    """Round the weights that a run has left, and keep them beside the records.

    Args:
        path: the file of weights.
        data: how the name of the run's data must begin.

    Returns:
        what the file says of its run.

    Raises:
        ValueError: the file is damaged, or not what a run on such data has left.
    """
    tensors, metadata = read_tensors(path)
    if not metadata.get("data", "").startswith(data):
        raise ValueError(
            f"expected {path} to hold weights of a run on {data}, but it says "
            f"{metadata}"
        )
    weights = {}
    for name, tensor in tensors.items():
        weights[name] = tensor.half() if tensor.is_floating_point() else tensor
    name = f"{metadata['model']}-{metadata['data']}.safetensors"
    write_whole(RECORDED / name, seal(weights, metadata))
    return metadata


def best_guess(signs: Signs) -> Tensor:
    """Make theta, (1, 2, 3), of the training images' mean box: a guess without looking.

    Images to validate with are left out, as in the training.
    """
    train, _ = split_by_track(signs)
    x1, y1, x2, y2 = signs.train_boxes[train].mean(axis=0).tolist()
    width, height = (x2 - x1) / 2, (y2 - y1) / 2
    return affine(width, 0, (x1 + x2) / 2, 0, height, (y1 + y2) / 2)


def compare_with_boxes(
    theta: Tensor, boxes: Tensor, guess: Tensor, mistakes: Tensor
) -> dict:
    """Hold windows against the boxes of the signs.

    Args:
        theta: the learned windows, shape (M, 2, 3).
        boxes: shape (M, 4).
        guess: one window that serves all images, shape (1, 2, 3).
        mistakes: indices of the images that are misread.
    """
    fit = overlap(theta, boxes)
    size = torch.linalg.det(theta[:, :, :2]).abs().sqrt()
    span = (boxes[:, 2:] - boxes[:, :2]).mean(dim=1) / 2
    return {
        "overlap": {
            "whole image": rounded(overlap(identity(len(boxes)), boxes).mean()),
            "one window": rounded(overlap(guess.expand_as(theta), boxes).mean()),
            "learned": rounded(fit.mean()),
            "learned, where it errs": rounded(fit[mistakes].mean()),
        },
        "one_window": rounded(guess[0]),
        "size": {
            "learned": [rounded(size.mean()), rounded(size.std())],
            "box": [rounded(span.mean()), rounded(span.std())],
        },
    }


def worst_mistakes(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Find the images that are misread, and those of them that surprise most.

    Returns:
        indices of all, and of ``MISTAKES`` of them, the most surprising first.
    """
    surprise = F.cross_entropy(scores, labels, reduction="none")
    wrong = (scores.argmax(dim=1) != labels).nonzero().flatten()
    order = surprise[wrong].argsort(descending=True)
    return wrong, wrong[order][:MISTAKES]


def validation_tracks(signs: Signs) -> dict[tuple[int, int], list[int]]:
    """Collect the tracks to validate with: the same sign again and again, ever nearer.

    Returns:
        for each (label, track) the indices of its images, in the order of time.
    """
    _, held = split_by_track(signs)
    tracks: dict[tuple[int, int], list[int]] = {}
    for i in held.tolist():
        key = int(signs.train_labels[i]), int(signs.train_tracks[i])
        tracks.setdefault(key, []).append(i)
    for indices in tracks.values():
        indices.sort(key=lambda i: signs.train_frames[i])
    return tracks


def track_pixels(signs: Signs, indices: list[int]) -> Tensor:
    """Return training images as (N, 3, 48, 48), in [0, 1]."""
    images, _ = as_tensors(signs.train_images[indices], signs.train_labels[indices])
    return images / 255


def variances_in_tracks(
    network: Network, signs: Signs, mean_theta: Tensor
) -> list[list[float]]:
    """Measure how much the frames of each validation track vary.

    Returns:
        for each track the mean variance of a pixel: of whole images, of what the
        network's windows show, and of what the mean window shows.
    """
    variances = []
    for indices in validation_tracks(signs).values():
        pixels = track_pixels(signs, indices)
        outputs, _ = network.straighten(pixels)
        crops = read_windows(pixels, mean_theta[None])
        row = []
        for frames in (pixels, outputs, crops):
            row.append(round(frames.var(dim=0).mean().item(), 6))
        variances.append(row)
    return variances


def choose_track(signs: Signs, classes: Collection[int]) -> tuple[dict, list[int]]:
    """Choose the bright validation track whose sign grows most.

    Args:
        signs: of GTSRB.
        classes: of the tracks to choose from.

    Returns:
        what is recorded of the track, and its images' indices.
    """
    roi = np.load(Path(str(signs.train_images.filename)).with_name("train_roi.npy"))

    def growth(indices: list[int]) -> float:
        widths = roi[indices, 4] - roi[indices, 2]
        bright = track_pixels(signs, indices).mean() > 0.4
        return widths.max() / widths.min() if bright else 0.0

    tracks = validation_tracks(signs)
    candidates = [key for key in tracks if key[0] in classes]
    label, track = max(candidates, key=lambda key: growth(tracks[key]))
    indices = tracks[label, track]
    record = {
        "label": label,
        "track": track,
        "image_widths": roi[indices, 0].tolist(),
        "sign_widths": (roi[indices, 4] - roi[indices, 2]).tolist(),
    }
    return record, indices
