"""Train the compact CNN alone and behind transformers, on every set (chapter 6).

The paper's table holds each of its networks against a number in print. These runs hold
networks of today against each other: one recipe, as much processor time, three seeds,
and all errors on record image by image.

The transformers may stand still: every image gets the same theta. So one network has a
transformer that was taught before an FCN, and keeps its localisation net. On R one more
has that net untaught, at a bolder rate.
"""

from functools import partial

from stn_tutorial.distortions import DISTORTIONS
from stn_tutorial.experiments.records import (
    Task,
    channels_last,
    new_network,
    run,
    run_name,
)
from stn_tutorial.experiments.table1 import cell_task, table_recipe
from stn_tutorial.files import RECORDED
from stn_tutorial.networks import TABLE_MODELS, Network, table_network
from stn_tutorial.training import History, Recipe, train

OUT = RECORDED / "compact_rows"
IMAGES = 384_000  # a quarter of what the table's own CNNs see
LESSONS = 800_000  # images before an FCN; they take as long as a quarter of IMAGES
#: The compact CNN behind an affine transformer that an FCN has taught.
TAUGHT = "st-cnn-compact-taught"
#: The compact CNN alone, behind each kind of transformer, and ``TAUGHT``.
COMPACT = (*(model for model in TABLE_MODELS if "compact" in model), TAUGHT)
#: The network of ``TAUGHT`` without its lessons, trained on R.
UNTAUGHT = "st-cnn-compact-untaught"


def rivals(distortion: str) -> list[str]:
    """Say which networks race on a set: on TC, as in the paper, no bent grid."""
    models = list(COMPACT)
    if distortion == "TC":
        models = [m for m in COMPACT if not m.endswith(("-projective", "-tps"))]
    if distortion == "R":
        models.append(UNTAUGHT)
    return models


def compact_recipe(model: str) -> Recipe:
    """Say how one of ``COMPACT`` is trained.

    Each network but ``TAUGHT`` had three trials on P and three on R (``trials.json``):
    of the peak rate without a transformer, of the localisation net's rate with one.
    None was better than this by more than 0.04 points on the mean; for ``UNTAUGHT`` R
    alone counted.
    """
    images = IMAGES * 3 // 4 if model == TAUGHT else IMAGES
    return Recipe(images, localisation_rate=1.0 if model == UNTAUGHT else 0.1)


def untaught_task(distortion: str, seed: int) -> Task:
    """Let the compact CNN learn behind the affine ST-FCN's transformer."""
    task = cell_task("mnist", "st-fcn-affine", distortion, seed)
    _seat_compact_cnn(task.network, distortion, seed)
    return task


def taught_task(distortion: str, seed: int) -> Task:
    """Teach an affine transformer before an FCN, then let the compact CNN follow.

    The record will hold the ``lessons``: their images, and seconds of processor time.
    """
    task = cell_task("mnist", "st-fcn-affine", distortion, seed)
    recipe = table_recipe("mnist", "st-fcn-affine", LESSONS)
    network = task.network
    history = train(
        network,
        task.images,
        task.labels,
        task.distortion,
        recipe,
        task.validation,
        seed,
        moments=1,
    )
    _seat_compact_cnn(network, distortion, seed)
    lessons = {"images": history.images[-1], "seconds": round(history.seconds[-1], 1)}

    def describe(network: Network, history: History) -> dict:
        found = task.describe(network, history) if task.describe else {}
        return {"lessons": lessons, **found}

    return task._replace(describe=describe)


def _seat_compact_cnn(network: Network, distortion: str, seed: int) -> None:
    """Put the compact CNN in the place of the network's classifier."""
    other = new_network(table_network, "st-cnn-compact-affine", distortion, seed=seed)
    network.classifier = other.classifier
    channels_last(network)


def train_compact_cell(model: str, distortion: str, seed: int) -> dict:
    """Train one network with one seed, as :func:`run_cell` of the table does."""
    key = {"data": "mnist", "model": model, "distortion": distortion, "seed": seed}
    if model == TAUGHT:
        prepare = partial(taught_task, distortion, seed)
    elif model == UNTAUGHT:
        prepare = partial(untaught_task, distortion, seed)
    else:
        prepare = partial(cell_task, "mnist", model, distortion, seed)
    return run(OUT, key, compact_recipe(model), prepare)


def train_compact_rows() -> None:
    """Train three seeds of all: 2 to 20 minutes of a core each, 5 hours together.

    The records stand in the folder ``compact_rows`` among the book's own.
    """
    for seed in range(3):
        for distortion in DISTORTIONS:
            for model in rivals(distortion):
                record = train_compact_cell(model, distortion, seed)
                print(f"{run_name(record)}: {record['error']:.2f}%", flush=True)
