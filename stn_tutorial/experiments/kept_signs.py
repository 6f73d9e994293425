"""Keep one trained network for traffic signs, and what chapter 7 shows of it on GTSRB.

From the weights that a run has left (such as those in ``gtsrb/weights`` among the
records) it leaves, beside the other records, the weights rounded to half precision, a
few images of GTSRB and ``signs.json``. It needs GTSRB and takes a minute. What it tells
of the test images chose nothing.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from stn_tutorial.affine import identity
from stn_tutorial.data.gtsrb import Signs, load_gtsrb, split_by_track
from stn_tutorial.experiments.records import new_network, picture, rounded, to_json
from stn_tutorial.experiments.traffic_signs import as_tensors, sign_test_set
from stn_tutorial.files import RECORDED, write_whole
from stn_tutorial.networks import Network
from stn_tutorial.signs import overlap, read_windows, sign_network
from stn_tutorial.training import error_rate

MISTAKES = 12  # so many wrong answers are shown


def keep(path: Path) -> tuple[Network, str]:
    """Round the weights, leave them beside the records, and load them."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    weights = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in load_file(path).items()
    }
    model = metadata["model"]
    write_whole(RECORDED / f"{model}-gtsrb.safetensors", save(weights, metadata))
    network = new_network(sign_network, model, seed=0)
    network.load_state_dict(weights)
    return network.eval(), model


def spread(frames: Tensor) -> float:
    """How much the pixels of (N, C, H, W) vary from image to image: mean variance."""
    return round(frames.var(dim=0).mean().item(), 6)


def mean(values: Tensor) -> float:
    """As the record keeps it."""
    return round(values.mean().item(), 4)


def growth(roi: np.ndarray, frames: Tensor) -> float:
    """By what factor a sign grows over its track; of dark tracks nothing is shown."""
    widths = roi[:, 4] - roi[:, 2]
    return widths.max() / widths.min() if frames.mean() > 0.4 else 0.0


def constant_window(signs: Signs, train: np.ndarray) -> Tensor:
    """The mean box of the training images as theta: the best guess without looking."""
    x1, y1, x2, y2 = signs.train_boxes[train].mean(axis=0).tolist()
    return torch.tensor(
        [[[(x2 - x1) / 2, 0, (x1 + x2) / 2], [0, (y2 - y1) / 2, (y1 + y2) / 2]]]
    )


@torch.inference_mode()
def main(weights: Path) -> None:
    """Keep the weights, and record what the network does on GTSRB.

    Args:
        weights: the file of weights that a run has left.
    """
    network, model = keep(weights)
    signs = load_gtsrb()
    train, held = split_by_track(signs)
    images, labels = sign_test_set(signs)
    boxes = torch.tensor(signs.test_boxes)
    theta, scores = [], []
    for batch in images.split(500):
        theta.append(network.straighten(batch)[1])
        scores.append(network(batch))
    theta, scores = torch.cat(theta), torch.cat(scores)
    answers, fit = scores.argmax(dim=1), overlap(theta, boxes)
    size = torch.linalg.det(theta[:, :, :2]).abs().sqrt()
    span = (boxes[:, 2:] - boxes[:, :2]).mean(dim=1) / 2
    surprise = F.cross_entropy(scores, labels, reduction="none")
    wrong = (answers != labels).nonzero().flatten()
    shown = wrong[surprise[wrong].argsort(descending=True)][:MISTAKES]
    fixed = constant_window(signs, train)

    # A track is (label, track): the same sign again and again, ever nearer.
    tracks = {}
    for i in held.tolist():
        key = int(signs.train_labels[i]), int(signs.train_tracks[i])
        tracks.setdefault(key, []).append(i)
    frames, variances = {}, []
    for key, indices in tracks.items():
        order = sorted(indices, key=lambda i: signs.train_frames[i])
        pixels = as_tensors(signs.train_images[order], order)[0] / 255
        frames[key] = order, pixels
        outputs = network.straighten(pixels)[0]
        crops = read_windows(pixels, theta.mean(dim=0)[None])
        variances.append([spread(each) for each in (pixels, outputs, crops)])
    roi = np.load(Path(signs.train_images.filename).parent / "train_roi.npy")
    chosen = max(frames, key=lambda key: growth(roi[frames[key][0]], frames[key][1]))
    order, pixels = frames[chosen]

    found = {
        "model": model,
        "test_error": error_rate(network, images, labels),
        "overlap": {
            "whole image": mean(overlap(identity(), boxes)),
            "one window": mean(overlap(fixed, boxes)),
            "learned": mean(fit),
            "learned, where it errs": mean(fit[wrong]),
        },
        "one_window": rounded(fixed[0]),
        "size": {
            "learned": [mean(size), round(size.std().item(), 4)],
            "box": [mean(span), round(span.std().item(), 4)],
        },
        "variances": variances,
        "track": {
            "label": chosen[0],
            "track": chosen[1],
            "image_widths": roi[order, 0].tolist(),
            "sign_widths": (roi[order, 4] - roi[order, 2]).tolist(),
        },
        "mistakes": {
            "count": len(wrong),
            "truth": labels[shown].tolist(),
            "answer": answers[shown].tolist(),
            "box": rounded(boxes[shown]),
        },
    }
    for name, row in (("track", pixels), ("mistakes", images[shown])):
        write_whole(RECORDED / f"signs-{name}.png", picture(*row.chunk(2)))
    write_whole(RECORDED / "signs.json", to_json(found))
