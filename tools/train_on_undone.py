"""Train the table's CNN behind a perfect transformer for the set P (chapter 6).

The grid of each distorted digit is known here, so it can be undone exactly. What a
network still gets wrong then is lost in the distorted image, or is its own fault: no
learned transformer can be blamed for it.

``python tools/train_on_undone.py`` trains three seeds, as the table's own runs are
trained, and leaves their records in ``chapters/recorded/undone``. Each takes seven
minutes of one core.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_tutorial import benchmark
from stn_tutorial.digits import tilted_grid
from stn_tutorial.networks import build
from stn_tutorial.records import Task, new_network, run
from stn_tutorial.warps import undo_projective

OUT = Path(__file__).parents[1] / "chapters" / "recorded" / "undone"


def tilt_and_undo(images: Tensor, generator: torch.Generator) -> Tensor:
    """Distort images (N, 1, 28, 28) as P does, and undo each distortion."""
    grid = tilted_grid(len(images), generator)
    tilted = F.grid_sample(images, grid, align_corners=False)
    return F.grid_sample(tilted, undo_projective(grid), align_corners=False)


def tilted_and_undone(
    images: Tensor, labels: Tensor, draws: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Every image ``draws`` times, with the distortions of the table's own images."""
    generator = torch.Generator().manual_seed(seed)
    copies = [tilt_and_undo(images, generator) for _ in range(draws)]
    return torch.cat(copies), labels.repeat(draws)


def train_seed(seed: int) -> dict:
    """As :func:`stn_tutorial.benchmark.run_cell` trains, but on undone digits."""
    held, draws = benchmark.VALIDATION["mnist"], benchmark.DRAWS["mnist"]

    def prepare() -> Task:
        digits = benchmark.load("mnist")
        x, y = digits.train_images, digits.train_labels
        return Task(
            new_network(build, "cnn", "P", seed=seed),
            x[:-held],
            y[:-held],
            tilt_and_undo,
            validation=tilted_and_undone(x[-held:], y[-held:], draws=1, seed=2),
            test=tilted_and_undone(
                digits.test_images, digits.test_labels, draws, seed=1
            ),
        )

    key = {"data": "mnist", "model": "cnn", "distortion": "P-undone", "seed": seed}
    return run(OUT, key, benchmark.recipe("mnist", "cnn"), prepare)


if __name__ == "__main__":
    for seed in range(3):
        print(f"seed {seed}: {train_seed(seed)['error']:.2f}%", flush=True)
