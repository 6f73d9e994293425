"""Keep one trained network that finds signs, and a track for it to follow in chapter 7.

From the weights that a run of ``scenes`` has left it leaves, beside the other records,
the weights rounded to half precision; the frames of one track, cut out as scenes want
them; and ``scenes.json``. It needs GTSRB and takes a minute. What it tells of the test
scenes chose nothing.
"""

from pathlib import Path

import numpy as np
import torch

from stn_tutorial.checkpoints import load_weights
from stn_tutorial.data.gtsrb import load_gtsrb
from stn_tutorial.data.scenes import CLASSES, cut_out
from stn_tutorial.experiments.evaluate import evaluate
from stn_tutorial.experiments.kept_signs import choose_track, round_weights
from stn_tutorial.experiments.records import picture, to_json
from stn_tutorial.experiments.scenes import new_finder
from stn_tutorial.experiments.traffic_signs import as_tensors
from stn_tutorial.files import RECORDED, write_whole


def keep_scenes(weights: Path) -> None:
    """Keep the weights, and the track that chapter 7 shows.

    Args:
        weights: the file of weights that a run has left.

    Raises:
        ValueError: the file is damaged, or not what a run on scenes has left.
    """
    metadata = round_weights(weights, "scenes-")
    side = int(metadata["data"].removeprefix("scenes-"))
    kept = RECORDED / f"{metadata['model']}-{metadata['data']}.safetensors"
    load_weights(kept, new_finder(metadata["model"], side))
    signs = load_gtsrb()
    track, indices = choose_track(signs, CLASSES)
    images, _ = as_tensors(signs.train_images[indices], signs.train_labels[indices])
    frames = cut_out(images, torch.tensor(signs.train_boxes[indices])) / 255
    record = {
        **metadata,
        "test_error": evaluate(kept)["error"],
        "track": track | {"label": int(np.searchsorted(CLASSES, track["label"]))},
    }
    write_whole(RECORDED / "scenes-track.png", picture(*frames.chunk(2)))
    write_whole(RECORDED / "scenes.json", to_json(record))
