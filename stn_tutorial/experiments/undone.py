"""Train the table's CNN behind a perfect transformer for the set P (chapter 6).

The grid of each distorted digit is known here, so it can be undone exactly. What a
network still gets wrong then is lost in the distorted image, or is its own fault: no
learned transformer can be blamed for it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_tutorial.distortions import tilted_grid
from stn_tutorial.experiments.records import Task, new_network, run
from stn_tutorial.experiments.table1 import DRAWS, split_digits, table_recipe
from stn_tutorial.files import RECORDED
from stn_tutorial.networks import table_network
from stn_tutorial.warps import undo_projective

OUT = RECORDED / "undone"


def tilt_and_undo(images: Tensor, generator: torch.Generator) -> Tensor:
    """Distort images (N, 1, 28, 28) as P does, and undo each distortion."""
    grid = tilted_grid(len(images), generator)
    tilted = F.grid_sample(images, grid, align_corners=False)
    # In double: nearly squashed, a digit is still no reason to stop a training.
    back = undo_projective(grid.double()).to(images)
    return F.grid_sample(tilted, back, align_corners=False)


def tilted_and_undone(
    images: Tensor, labels: Tensor, draws: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Tilt and undo every image ``draws`` times, as the table's own are tilted."""
    generator = torch.Generator().manual_seed(seed)
    copies = []
    for _ in range(draws):
        copies.append(tilt_and_undo(images, generator))
    return torch.cat(copies), labels.repeat(draws)


def train_seed(seed: int) -> dict:
    """Train one seed as the table does, but on undone digits."""

    def prepare() -> Task:
        digits, held = split_digits("mnist")
        test = digits.test_images, digits.test_labels
        return Task(
            new_network(table_network, "cnn", "P", seed=seed),
            digits.train_images,
            digits.train_labels,
            tilt_and_undo,
            validation=tilted_and_undone(*held, draws=1, seed=2),
            test=tilted_and_undone(*test, draws=DRAWS["mnist"], seed=1),
        )

    key = {"data": "mnist", "model": "cnn", "distortion": "P-undone", "seed": seed}
    return run(OUT, key, table_recipe("mnist", "cnn"), prepare)


def train_undone() -> None:
    """Train three seeds, as the table's own runs are trained: 7 minutes of a core each.

    The records stand in the folder ``undone`` among the book's own.
    """
    for seed in range(3):
        print(f"seed {seed}: {train_seed(seed)['error']:.2f}%", flush=True)
