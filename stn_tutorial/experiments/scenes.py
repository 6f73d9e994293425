"""Train the networks that find signs in scenes, and keep every run on record."""

import argparse
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from statistics import mean, stdev
from time import thread_time

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from stn_tutorial.data.scenes import (
    CONTENTS,
    draw_scenes,
    load_signs,
    make_scenes,
    photo_pieces,
)
from stn_tutorial.experiments.jobs import Job
from stn_tutorial.experiments.records import (
    WATCHED,
    Task,
    new_network,
    pack,
    read,
    rounded,
    run,
    run_name,
    summary,
)
from stn_tutorial.files import RECORDED, write_whole
from stn_tutorial.finders import START, scene_network
from stn_tutorial.networks import Network
from stn_tutorial.signs import find_windows, overlap
from stn_tutorial.training import History, Recipe, error_rate, train

#: Pixels a side of the scenes, but where another number is asked for.
SIDE = 96
#: Scenes to validate and to test with; the same for every network and seed.
HELD, TESTED = 1200, 2400
# Test scenes whose window and box are on record.
PLACES = 500
# Each network's peak rate and the localisation net's share of it, as trials told.
RATES = {
    "cnn-averaged": (0.2, 1.0),
    "cnn-full": (0.2, 1.0),
    "cnn-full-narrow": (0.1, 1.0),
    "st-cnn-regressed": (0.1, 0.1),
    "st-cnn-soft-argmax": (0.1, 0.3),
}
IMAGES, BATCH = 64_000, 64

OUT = RECORDED / "scene_trials.json"
# What was tried, equally often for each network, at the runs' own length: how a
# localisation net fares depends on it. The peak rate, that net's share of it, and the
# window's width before training.
TRIED: dict[str, list[tuple[float, ...]]] = {
    "cnn-averaged": [(0.05,), (0.1,), (0.2,), (0.4,)],
    "cnn-full": [(0.05,), (0.1,), (0.2,), (0.4,)],
    "cnn-full-narrow": [(0.05,), (0.1,), (0.2,), (0.4,)],
    "st-cnn-regressed": [
        (0.1, 1.0, 0.4),
        (0.1, 0.3, 0.4),
        (0.1, 0.1, 0.4),
        (0.1, 0.1, 0.5),
    ],
    "st-cnn-soft-argmax": [
        (0.1, 1.0, 0.4),
        (0.1, 0.3, 0.4),
        (0.1, 0.3, 0.5),
        (0.1, 0.3, 0.6),
    ],
}


def scene_recipe(model: str, images: int | None = None) -> Recipe:
    """Say how a network is trained.

    Args:
        model: one of ``SCENE_MODELS`` in :mod:`stn_tutorial.finders`.
        images: train on so many scenes instead, to try things out.
    """
    rate, localisation_rate = RATES[model]
    return Recipe(
        IMAGES if images is None else images,
        batch=BATCH,
        rate=rate,
        localisation_rate=localisation_rate,
    )


def scene_test_set(side: int, content: str = "sign") -> tuple[Tensor, Tensor, Tensor]:
    """Draw the scenes to test with: images, labels, boxes.

    Photographs, places and sizes are the same whatever the content.
    """
    generator = torch.Generator().manual_seed(1)
    return draw_scenes(TESTED, "test", side, generator, content)


def held_scenes(side: int) -> tuple[Tensor, Tensor]:
    """Draw the scenes to validate with: images and labels."""
    generator = torch.Generator().manual_seed(2)
    images, labels, _ = draw_scenes(HELD, "validation", side, generator)
    return images, labels


def new_finder(model: str, side: int, seed: int = 0) -> Network:
    """Make an untrained network for scenes, whose weights the seed decides."""
    return new_network(partial(scene_network, side=side), model, seed=seed)


class InScenes:
    """How signs become scenes, anew in every step of a training.

    Args:
        side: pixels a side of a scene.
    """

    def __init__(self, side: int) -> None:
        self.side = side
        self.photos = photo_pieces("train")
        self.__name__ = f"scenes-{side}"  # for the checkpoint

    def __call__(self, signs: Tensor, generator: torch.Generator) -> Tensor:
        """From signs (N, 3, 48, 48), of bytes, to scenes (N, 3, side, side)."""
        scenes, _ = make_scenes(signs.cpu(), self.photos, self.side, generator)
        return scenes.to(signs.device)


def run_scenes(
    model: str,
    side: int,
    seed: int,
    out: str | Path,
    images: int | None = None,
    device: str = "cpu",
) -> dict:
    """Train one network with one seed, and put the run on record.

    Args:
        model: one of ``SCENE_MODELS`` in :mod:`stn_tutorial.finders`.
        side: pixels a side of the scenes: 64, 96, 128 or 160.
        seed: of the first weights and of all that is drawn to train with.
        out: folder of the records.
        images: train on so many scenes instead of the recipe's.
        device: "cpu" or "cuda".

    Returns:
        the record, as in its file, with what :func:`describe_finder` gives.

    Used for the records of chapter 7.
    """

    def prepare() -> Task:
        network = new_finder(model, side, seed)
        signs, labels = load_signs("train")
        scenes, truth, boxes = scene_test_set(side)

        def describe(network: Network, history: History) -> dict:
            return describe_finder(network, history, side, boxes)

        return Task(
            network,
            signs,
            labels,
            InScenes(side),
            held_scenes(side),
            (scenes, truth),
            None if network.transformer is None else scenes[:WATCHED],
            describe,
        )

    key = {"data": f"scenes-{side}", "model": model, "seed": seed}
    return run(out, key, scene_recipe(model, images), prepare, device)


@torch.no_grad()
def describe_finder(
    network: Network, history: History, side: int, boxes: Tensor
) -> dict:
    """Describe what a network costs, and where its windows are, for the record.

    Args:
        network: trained.
        history: of its training.
        side: pixels a side of the scenes.
        boxes: of the signs in the test scenes, shape (M, 4).

    Returns:
        ``multiplications``: of one scene; ``contents``: for each content of the test
        scenes the ``error`` in per cent and, with a transformer, the ``correlation`` of
        the windows' centres with the places of the signs. With a transformer also
        ``overlap``: of window and box, the mean over the test scenes; ``theta``: the
        watched scenes' windows at each moment; ``windows`` and ``boxes``: of the first
        500 test scenes, in half precision.
    """
    training = network.training
    network.eval()
    device = next(network.parameters()).device
    found: dict = {
        "multiplications": count_multiplications(network, side),
        "contents": {},
    }
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    for content in CONTENTS:
        scenes, labels, _ = scene_test_set(side, content)
        seen = {"error": error_rate(network, scenes, labels)}
        if network.transformer is not None:
            batches = scenes.split(500)
            theta = torch.cat([find_windows(network, b.to(device)) for b in batches])
            theta = theta.cpu()
            seen["correlation"] = correlation(theta[:, :, 2], centres)
            if content == "sign":
                found["overlap"] = rounded(overlap(theta, boxes).mean())
                found["windows"] = pack(theta[:PLACES])
                found["boxes"] = pack(boxes[:PLACES])
        found["contents"][content] = seen
    if network.transformer is not None:
        found["theta"] = rounded(torch.stack(history.theta))
    network.train(training)
    return found


def correlation(centres: Tensor, places: Tensor) -> float:
    """Correlate windows' centres with signs' places, (M, 2) each, in x and y at once.

    Centres that are all the same have none: they give 0.
    """
    if (centres - centres.mean(dim=0)).abs().max() < 1e-6:
        return 0.0
    both = torch.stack([centres.flatten(), places.flatten()])  # (2, 2 M)
    return round(torch.corrcoef(both)[0, 1].item(), 4)


def count_multiplications(network: Network, side: int) -> int:
    """Count the multiplications of convolutions and matrices that read one scene."""
    scene = torch.zeros(1, 3, side, side, device=next(network.parameters()).device)
    with FlopCounterMode(display=False) as counter:  # counts additions as well
        network(scene)
    return counter.get_total_flops() // 2


@torch.no_grad()
def time_reading(network: Network, side: int, rounds: int = 7) -> float:
    """Measure what it takes of one core to read a scene, in batches of 100.

    Args:
        network: on the CPU.
        side: of the scenes, in pixels.
        rounds: batches to read; the quickest counts.

    Returns:
        milliseconds of processor time a scene.

    Used in chapter 7.
    """
    scenes = torch.rand(100, 3, side, side)
    times = []
    for _ in range(rounds):
        start = thread_time()
        network(scenes)
        times.append(thread_time() - start)
    return 10 * min(times)  # 1000 ms a second, 100 scenes


def report_scenes(out: str | Path, side: int | None = None) -> str:
    """Write the runs on record as text: by side, and most accurate first.

    Args:
        out: the folder of the records.
        side: of the scenes, in pixels, where those of one size alone are wanted.
    """
    entries = [e for e in summary(out) if e["data"].startswith("scenes-")]
    if side is not None:
        entries = [e for e in entries if e["data"] == f"scenes-{side}"]
    if not entries:
        return f"no run on record in {Path(out).resolve()}"
    lines = [
        "Signs in scenes: test error in % (mean ± s. d. of the seeds), cost a scene",
        f"{'':19}{'error':>13}{'seeds':>6}{'overlap':>8}{'corr.':>6}{'weights':>8}"
        f"{'mult.':>8}",
    ]
    found = described(out)
    entries.sort(key=lambda e: (int(e["data"].split("-")[1]), mean(e["errors"])))
    before = None
    for entry in entries:
        if entry["data"] != before:
            before = entry["data"]
            pixels = entry["data"].split("-")[1]
            lines.append(f"scenes of {pixels}x{pixels}:")
        errors = entry["errors"]
        spread = f" ± {stdev(errors):.1f}" if len(errors) > 1 else ""
        runs = found[entry["data"], entry["model"]]
        fits, follows = "", ""
        if "overlap" in runs[0]:
            fits = f"{mean(record['overlap'] for record in runs):.2f}"
            shifts = [record["contents"]["sign"]["correlation"] for record in runs]
            follows = f"{mean(shifts):.2f}"
        millions = runs[0]["multiplications"] / 1e6
        lines.append(
            f"{entry['model']:19}{f'{mean(errors):.1f}{spread}':>13}{len(errors):6}"
            f"{fits:>8}{follows:>6}{entry['weights']:8,}{millions:7.1f}M"
        )
    return "\n".join(lines)


def report_contents(out: str | Path, side: int) -> str:
    """Write as text what each network does when the signs' content is gone.

    Args:
        out: the folder of the records.
        side: of the scenes, in pixels.
    """
    head = "".join(f"{content:>10}" for content in CONTENTS)
    lines = [f"{'correlation, with':24}{head}"]
    for (data, model), runs in described(out).items():
        if data == f"scenes-{side}" and "overlap" in runs[0]:
            shares = []
            for content in CONTENTS:
                found = [run["contents"][content]["correlation"] for run in runs]
                shares.append(f"{mean(found):10.2f}")
            lines.append(f"{model:24}{''.join(shares)}")
    return "\n".join(lines)


def described(out: str | Path) -> dict[tuple[str, str], list[dict]]:
    """Read the records, those that differ in nothing but the seed together."""
    found: dict[tuple[str, str], list[dict]] = {}
    for path in sorted(Path(out).glob("scenes-*.json")):
        record = read(path)
        found.setdefault((record["data"], record["model"]), []).append(record)
    return found


def scene_jobs(options: argparse.Namespace) -> list[Job]:
    """List the runs that the command line asks for, first one seed of each network."""
    jobs = []
    for seed in range(options.seeds):
        for side in options.sides:
            for model in options.models:
                key = {"data": f"scenes-{side}", "model": model, "seed": seed}
                given = (model, side, seed, options.out, options.images, options.device)
                jobs.append((run_name(key), run_scenes, given))
    return jobs


def trials() -> Iterator[dict]:
    """List what is to be tried, one entry a training."""
    for model, tried in TRIED.items():
        for values in tried:
            names = ("rate", "localisation_rate", "start")
            given = dict(zip(names, values, strict=False))
            yield {"model": model, "side": SIDE, "images": IMAGES, "seed": 0, **given}


@lru_cache
def _trial_data(side: int) -> tuple:
    return *load_signs("train"), InScenes(side), held_scenes(side)


def scene_trial(trial: Mapping) -> float:
    """Train a network for one trial, and return its validation error in %."""
    side, seed = trial["side"], trial["seed"]
    signs, labels, change, held = _trial_data(side)
    start = trial.get("start", START)
    build = partial(scene_network, side=side, start=start)
    network = new_network(build, trial["model"], seed=seed)
    recipe = Recipe(
        trial["images"],
        batch=BATCH,
        rate=trial["rate"],
        localisation_rate=trial.get("localisation_rate", 1.0),
    )
    history = train(network, signs, labels, change, recipe, held, seed)
    return history.error[-1]


def try_scenes() -> None:
    """Try four recipes for each network, on signs and scenes to validate with.

    What is on record is not trained again. No scene to test with is drawn.
    """
    torch.set_num_threads(1)
    done = json.loads(OUT.read_bytes()) if OUT.exists() else []
    for trial in trials():
        if any(trial.items() <= other.items() for other in done):
            continue
        error = round(scene_trial(trial), 4)
        done.append(trial | {"validation_error": error})
        lines = ",\n ".join(json.dumps(entry) for entry in done)
        write_whole(OUT, f"[\n {lines}\n]\n".encode())
        print(f"{trial}: {error:.2f}%", flush=True)
