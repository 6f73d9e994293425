"""How hard the table's sets are, by each reading of what is told of them (chapter 6).

The paper's appendix could not be opened, and the accounts of it leave open how far, in
which direction and in which image the corners of P, the points of E and the frame of
RTS move. So the same plain FCN is trained on each reading. It is the judge because it
can neither shift its weights nor undo a distortion: its error says how much the
distortion spreads the digits. What comes out stands in ``difficulty.json``, among the
records. The test digits are never seen.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_tutorial.affine import affine_grid, identity, rotation
from stn_tutorial.data.digits import Digits
from stn_tutorial.distortions import uniform
from stn_tutorial.experiments.records import new_network
from stn_tutorial.experiments.table1 import split_digits, table_recipe
from stn_tutorial.files import RECORDED, write_whole
from stn_tutorial.networks import table_network
from stn_tutorial.training import Recipe, train
from stn_tutorial.warps import (
    CORNERS,
    control_points,
    projective_from_corners,
    projective_grid,
    thin_plate_spline_grid,
)

OUT = RECORDED / "difficulty.json"
IMAGES = 400_000
SEEDS = range(3)
# What is trained once more, with one seed, on as many images as the table's FCN.
AT_LENGTH = [
    ("P", "source, x and y", 4.5),
    ("P", "source, x and y", 4),
    ("E", "source, x and y", 2.5),
    ("RTS", "to the edge", 7),
]

Reading = Callable[[int, torch.Generator, float], Tensor]


def tilted_in_source(n: int, generator: torch.Generator, pixels: float) -> Tensor:
    """P as the book reads it: the sampling grid's corners move in x and in y."""
    noise = torch.randn(n, 4, 2, generator=generator)
    return _tilted(noise * pixels / 14, n, generator)


def tilted_along_diagonals(n: int, generator: torch.Generator, pixels: float) -> Tensor:
    """P, but each corner moves by one number only, out or in along its diagonal."""
    steps = torch.randn(n, 4, 1, generator=generator) * pixels / 14
    return _tilted(steps * torch.tensor(CORNERS) / 2**0.5, n, generator)


def _tilted(moves: Tensor, n: int, generator: torch.Generator) -> Tensor:
    scale = uniform(0.75, 1, n, generator)[:, None, None]
    corners = torch.tensor(CORNERS) / scale + moves
    theta = projective_from_corners(corners.double()).float()
    return projective_grid(theta, (n, 1, 28, 28))


def tilted_on_canvas(n: int, generator: torch.Generator, pixels: float) -> Tensor:
    """P, but it is the corners of the digit's frame that move, on the canvas."""
    noise = torch.randn(n, 4, 2, generator=generator) * pixels / 14
    scale = uniform(0.75, 1, n, generator)[:, None, None]
    corners = torch.tensor(CORNERS) * scale + noise
    theta = projective_from_corners(corners.double())  # from digit to canvas
    matrix = torch.cat([theta, torch.ones_like(theta[:, :1])], dim=1).view(n, 3, 3)
    plain = affine_grid(identity(), (1, 1, 28, 28), align_corners=False)
    points = F.pad(plain.double().view(-1, 2), (0, 1), value=1)  # x, y, 1
    x, y, w = (points @ torch.linalg.inv(matrix).mT).unbind(-1)  # (N, 784) each
    # Behind the horizon there is nothing to see: those points look far outside.
    grid = torch.stack([x / w, y / w], dim=-1).where(w[..., None] > 0, 1e3)
    return grid.view(n, 28, 28, 2).float()


def bent_in_source(n: int, generator: torch.Generator, pixels: float) -> Tensor:
    """E as the book reads it: the sampling grid's points move in x and in y."""
    noise = torch.randn(n, 16, 2, generator=generator)
    scale = uniform(0.75, 1, n, generator)[:, None, None]
    points = control_points() / scale + pixels / 14 * noise
    return thin_plate_spline_grid(points, (n, 1, 28, 28))


def moved_alike(n: int, generator: torch.Generator, pixels: float) -> Tensor:
    """RTS as the book reads it: all frames move as far, whatever their scale."""
    return _moved(n, generator, lambda scale: torch.full_like(scale, pixels))


def moved_to_the_edge(n: int, generator: torch.Generator, pixels: float) -> Tensor:
    """RTS as re-implementations do it: the *scaled* frame stands anywhere.

    ``pixels`` is the reach of a digit at scale 1. If it is 7, a digit at scale 0.7
    moves by up to 11 pixels, and one at 1.2 by up to 4.
    """
    return _moved(n, generator, lambda scale: pixels + 14 * (1 - scale))


def _moved(
    n: int, generator: torch.Generator, reach: Callable[[Tensor], Tensor]
) -> Tensor:
    angle = uniform(-45, 45, n, generator)
    scale = uniform(0.7, 1.2, n, generator)
    x, y = uniform(-1, 1, n, generator), uniform(-1, 1, n, generator)
    matrix = (42 / 28 / scale)[:, None, None] * rotation(angle)[:, :, :2]
    place = (torch.stack([x, y]) * reach(scale)).mT[:, :, None] / 21
    theta = torch.cat([matrix, -matrix @ place], dim=2)
    return affine_grid(theta, (n, 1, 42, 42), align_corners=False)


#: Each set's readings, and the pixels that each is tried with.
READINGS: dict[str, dict[str, tuple[Reading, tuple[float, ...]]]] = {
    "P": {
        "source, x and y": (tilted_in_source, (3.5, 4, 4.5, 5)),
        "canvas, x and y": (tilted_on_canvas, (3.5, 4, 4.5, 5)),
        "source, diagonals": (tilted_along_diagonals, (3.5, 4, 4.5, 5)),
    },
    "E": {"source, x and y": (bent_in_source, (1.5, 2, 2.5, 3))},
    "RTS": {
        "all alike": (moved_alike, (7,)),
        "to the edge": (moved_to_the_edge, (7,)),
    },
}


def distort_by(
    images: Tensor, generator: torch.Generator, reading: Reading, pixels: float
) -> Tensor:
    """Distort images (N, 1, 28, 28) as one reading says, by so many pixels."""
    grid = reading(len(images), generator, pixels)
    return F.grid_sample(images, grid, align_corners=False)


def trials() -> Iterator[dict]:
    """List what is to be tried, one entry a training."""
    wanted = [
        (name, reading, pixels, IMAGES, seed)
        for seed in SEEDS
        for name, readings in READINGS.items()
        for reading, (_, sizes) in readings.items()
        for pixels in sizes
    ]
    images = table_recipe("mnist", "fcn").images
    wanted += [(*which, images, 0) for which in AT_LENGTH]
    names = ("distortion", "reading", "pixels", "images", "seed")
    for trial in wanted:
        yield dict(zip(names, trial, strict=True))


def difficulty(trial: dict, digits: Digits, held: tuple[Tensor, Tensor]) -> float:
    """Train the table's FCN for one trial, and return its validation error in %."""
    reading, _ = READINGS[trial["distortion"]][trial["reading"]]
    change = partial(distort_by, reading=reading, pixels=trial["pixels"])
    images, labels = held
    history = train(
        new_network(table_network, "fcn", trial["distortion"], seed=trial["seed"]),
        digits.train_images,
        digits.train_labels,
        change,
        Recipe(trial["images"]),
        validation=(change(images, torch.Generator().manual_seed(2)), labels),
        seed=trial["seed"],
    )
    return history.error[-1]


def try_difficulties() -> None:
    """Train on every reading with three seeds: an hour of a core.

    What is on record is not trained again.
    """
    digits, held = split_digits("mnist")
    done = json.loads(OUT.read_bytes()) if OUT.exists() else []
    for trial in trials():
        if any(trial.items() <= other.items() for other in done):
            continue
        error = round(difficulty(trial, digits, held), 4)
        done.append(trial | {"validation_error": error})
        lines = ",\n ".join(json.dumps(entry) for entry in done)
        write_whole(OUT, f"[\n {lines}\n]\n".encode())
        print(f"{trial}: {error:.2f}%", flush=True)
