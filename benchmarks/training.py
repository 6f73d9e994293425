"""Speed of training for each network and distortion, and what the distortion costs.

Run it with ``python benchmarks/training.py``. All is measured in one process, on one
thread, in processor time. The networks take turns of a quarter of a second; the numbers
are medians over steps. Speeds are also given as multiples of the plain CNN's on the
same distortion. The share is that of drawing and distorting a batch in a whole step.
"""

from collections.abc import Callable
from statistics import median
from time import process_time

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_tutorial.data.digits import load_digits
from stn_tutorial.distortions import DISTORTIONS, distort
from stn_tutorial.networks import TABLE_MODELS, table_network
from stn_tutorial.training import Recipe, make_optimiser, take_step

RECIPE = Recipe(images=1_000_000)
TURNS, SECONDS = 3, 0.25
LIMIT = 0.25  # what the distortion may cost


def batch_maker(distortion: str) -> Callable[[], tuple[Tensor, Tensor]]:
    """What draws and distorts a batch, from as many images as MNIST has."""
    digits = load_digits()
    images = digits.train_images.repeat(50, 1, 1, 1)
    labels = digits.train_labels.repeat(50)
    generator = torch.Generator().manual_seed(0)

    def make_batch() -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(images), (RECIPE.batch,), generator=generator)
        batch = images.index_select(0, chosen)
        batch = distort(batch, distortion, generator, F.grid_sample)
        return batch, labels.index_select(0, chosen)

    return make_batch


def learner(model: str, distortion: str) -> Callable[[Tensor, Tensor], Tensor]:
    """What takes a step of training with a batch."""
    torch.manual_seed(0)
    network = table_network(model, distortion).to(memory_format=torch.channels_last)
    optimiser = make_optimiser(network, RECIPE)
    return lambda images, labels: take_step(
        network, optimiser, images, labels, RECIPE, progress=0.02
    )


def measure(distortion: str) -> dict[str, tuple[float, float]]:
    """Each network's seconds for making a batch, and for learning from it."""
    make_batch = batch_maker(distortion)
    learners = {model: learner(model, distortion) for model in TABLE_MODELS}
    times: dict[str, list[tuple[float, float]]] = {model: [] for model in TABLE_MODELS}
    for _ in range(TURNS):
        for model, learn in learners.items():
            turn: list[tuple[float, float]] = []
            begun = process_time()
            while len(turn) < 3 or process_time() < begun + SECONDS:
                start = process_time()
                batch = make_batch()
                made = process_time()
                learn(*batch)
                turn.append((made - start, process_time() - made))
            times[model] += turn[1:]  # the first one warms up
    return {
        model: tuple(map(median, zip(*pairs, strict=True)))
        for model, pairs in times.items()
    }


def main() -> None:
    """Print one line for each network, one group of columns for each distortion."""
    torch.set_num_threads(1)
    table = {distortion: measure(distortion) for distortion in DISTORTIONS}
    print("images a second, as a multiple of the CNN's, share of the distortion")
    print(f"{'':25}" + "".join(f"{distortion:>21}" for distortion in DISTORTIONS))
    shares = {}
    for model in TABLE_MODELS:
        line = f"{model:25}"
        for distortion, row in table.items():
            making, learning = row[model]
            share = shares[f"{model} on {distortion}"] = making / (making + learning)
            speed = RECIPE.batch / (making + learning)
            line += f"{speed:10,.0f} {speed * sum(row['cnn']) / RECIPE.batch:5.2f}"
            line += f"{share:5.0%}"
        print(line)
    cell = max(shares, key=shares.get)
    print(f"highest share: {shares[cell]:.1%}, {cell} (limit {LIMIT:.0%})")


if __name__ == "__main__":
    main()
