"""Train the paper's table again, cell by cell, and keep every run on record."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev

import torch
import torch.nn.functional as F
from torch import Tensor

from stn_tutorial.data.digits import Digits, load_digits
from stn_tutorial.data.mnist import load_mnist
from stn_tutorial.distortions import DISTORTIONS, distort
from stn_tutorial.experiments.jobs import Job
from stn_tutorial.experiments.records import (
    KEY,
    WATCHED,
    Task,
    new_network,
    pack,
    run,
    run_name,
    summary,
    wrong_images,
)
from stn_tutorial.networks import TABLE_MODELS, Network, table_network
from stn_tutorial.training import Recipe

#: Test error in per cent, from Table 1 and of the 60x60 cluttered digits (TC).
PAPER = {
    "fcn": {"R": 2.1, "RTS": 5.2, "P": 3.1, "E": 3.2, "TC": 13.2},
    "cnn": {"R": 1.2, "RTS": 0.8, "P": 1.5, "E": 1.4, "TC": 3.5},
    "st-fcn-affine": {"R": 1.2, "RTS": 0.8, "P": 1.5, "E": 2.7, "TC": 2.0},
    "st-fcn-projective": {"R": 1.3, "RTS": 0.9, "P": 1.4, "E": 2.6},
    "st-fcn-tps": {"R": 1.1, "RTS": 0.8, "P": 1.4, "E": 2.4},
    "st-cnn-affine": {"R": 0.7, "RTS": 0.5, "P": 0.8, "E": 1.2, "TC": 1.7},
    "st-cnn-projective": {"R": 0.8, "RTS": 0.6, "P": 0.8, "E": 1.3},
    "st-cnn-tps": {"R": 0.7, "RTS": 0.5, "P": 0.8, "E": 1.1},
}
#: How many images the paper trained on, in 150,000 steps of 256.
PAPER_IMAGES = 38_400_000

# How many training images, the last ones, measure the error while we choose and train.
VALIDATION = {"mnist": 5_000, "digits": 200}
# How often each test image is distorted anew.
DRAWS = {"mnist": 4, "digits": 10}
FOLLOWED = 1_000  # test images, the first ones, whose transforms are recorded


def table_recipe(data: str, model: str, images: int | None = None) -> Recipe:
    """Say how the table trains a network; chosen on validation images.

    Args:
        data: "mnist" or "digits".
        model: one of ``TABLE_MODELS`` in :mod:`stn_tutorial.networks`.
        images: train on so many images instead, to try things out.
    """
    if images is None:
        many = 3_840_000 if "fcn" in model else 1_536_000
        images = many if data == "mnist" else 200_000
    return Recipe(images)


def load_by_name(data: str) -> Digits:
    """Load the undistorted digits by name.

    Raises:
        ValueError: the name is neither "mnist" nor "digits".
    """
    if data == "mnist":
        return load_mnist()
    if data == "digits":
        return load_digits()
    raise ValueError(f"expected data to be one of {sorted(DRAWS)}, but got: {data!r}")


def split_digits(data: str) -> tuple[Digits, tuple[Tensor, Tensor]]:
    """Load the digits, and keep the last training digits apart for validation.

    Returns:
        the digits with fewer to train on; images and labels to validate with.
    """
    digits = load_by_name(data)
    held = VALIDATION[data]
    validation = digits.train_images[-held:], digits.train_labels[-held:]
    rest = digits._replace(
        train_images=digits.train_images[:-held],
        train_labels=digits.train_labels[:-held],
    )
    return rest, validation


def distorted(
    images: Tensor, labels: Tensor, distortion: str, draws: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Distort every image ``draws`` times, in random ways that the seed decides."""
    generator = torch.Generator().manual_seed(seed)
    copies = []
    for _ in range(draws):
        copies.append(distort(images, distortion, generator, F.grid_sample))
    return torch.cat(copies), labels.repeat(draws)


def table_test_set(data: str, distortion: str) -> tuple[Tensor, Tensor]:
    """Make the distorted test images and labels, the same for every network."""
    digits = load_by_name(data)
    return distorted(
        digits.test_images, digits.test_labels, distortion, DRAWS[data], seed=1
    )


def run_cell(
    data: str,
    model: str,
    distortion: str,
    seed: int,
    out: str | Path,
    images: int | None = None,
    device: str = "cpu",
) -> dict:
    """Train one cell with one seed, and put the run on record.

    Args:
        data: "mnist" or "digits".
        model: one of ``TABLE_MODELS`` in :mod:`stn_tutorial.networks`.
        distortion: R, RTS, P, E or TC.
        seed: of the first weights and of all that is drawn.
        out: folder of the records.
        images: train on so many images instead of the recipe's.
        device: "cpu" or "cuda".

    Returns:
        the record, as in its file; with a transformer also ``theta``, the transforms
        of the first test images, as ``unpack`` of
        :mod:`stn_tutorial.experiments.records` reads them.

    Used in chapter 6.
    """
    key = {"data": data, "model": model, "distortion": distortion, "seed": seed}
    recipe = table_recipe(data, model, images)
    prepare = partial(cell_task, data, model, distortion, seed)
    return run(out, key, recipe, prepare, device)


def cell_task(data: str, model: str, distortion: str, seed: int) -> Task:
    """Prepare what a run of one cell trains, validates and tests with."""
    digits, held = split_digits(data)
    test = table_test_set(data, distortion)
    network = new_network(table_network, model, distortion, seed=seed)
    task = Task(
        network,
        digits.train_images,
        digits.train_labels,
        distortion,
        validation=distorted(*held, distortion, draws=1, seed=2),
        test=test,
    )
    if network.transformer is None:
        return task
    followed = test[0][:FOLLOWED]
    return task._replace(
        watched=followed[:WATCHED],
        describe=lambda network, _: {"theta": thetas_of(network, followed)},
    )


@torch.no_grad()
def thetas_of(network: Network, images: Tensor) -> dict:
    """Record the transforms of images."""
    network.eval()
    device = next(network.parameters()).device
    parts = [network.straighten(part.to(device))[1].cpu() for part in images.split(500)]
    return pack(torch.cat(parts))


def paired_difference(
    first: Sequence[dict], second: Sequence[dict]
) -> tuple[float, float]:
    """How much more often one network errs than another, on the same test images.

    Each digit was distorted ``DRAWS`` times and met by several seeds. These are not
    independent, but the digits are: a digit's own difference is the mean over all of
    them, and the mean over all digits has a standard error.

    Args:
        first: records of one cell's runs, one a seed.
        second: those of another cell, of the same data and distortion.

    Returns:
        the difference of the errors, first less second, and its standard error, both
        in points of per cent.

    Raises:
        ValueError: no records, records of other test images, or a record that does not
            name its wrong images.
    """
    sets = {(run["data"], run["distortion"]) for run in (*first, *second)}
    if not first or not second or len(sets) != 1:
        raise ValueError(
            "expected records of two networks, of the same data and distortion, but "
            f"got {len(first)} and {len(second)} records of {sorted(sets)}"
        )
    ((data, _),) = sets
    shares = []
    for runs in (first, second):
        wrong = torch.stack([wrong_images(run) for run in runs]).double()
        shares.append(wrong.view(len(runs) * DRAWS[data], -1).mean(dim=0))  # a digit
    difference = 100 * (shares[0] - shares[1])
    error = difference.std() / len(difference) ** 0.5
    return difference.mean().item(), error.item()


def report_table(out: str | Path) -> str:
    """Write the table on record as text, with the paper's numbers below ours.

    It is 100 columns wide.
    """
    entries = summary(out)
    lines = []
    for data in ("mnist", "digits"):
        cells = {
            (entry["model"], entry["distortion"]): entry
            for entry in entries
            if entry["data"] == data
        }
        if not cells:
            continue
        lines.append(f"{data}: test error in %, mean ± standard deviation over seeds")
        lines.append(_line("", DISTORTIONS))
        for model in TABLE_MODELS:
            ours, papers = [], []
            for distortion in DISTORTIONS:
                errors = cells.get((model, distortion), {}).get("errors", [])
                spread = f" ± {stdev(errors):.2f}" if len(errors) > 1 else ""
                ours.append(f"{mean(errors):.2f}{spread}" if errors else "")
                paper = target(model, distortion)
                mark = MARKS[standing(mean(errors), paper)] if errors and paper else ""
                papers.append(f"{paper} {mark}" if mark else "")
            if any(ours):
                lines.append(_line(model, ours))
            if any(papers) and data == "mnist":
                lines.append(_line("  paper", papers))
        if data == "mnist":
            lines += _verdict(cells)
        lines.append("")
    return "\n".join(lines) or f"no run on record in {Path(out).resolve()}"


def _line(head: str, cells: Sequence[str]) -> str:
    columns = "".join(f"{cell:>15}" for cell in cells)
    return f"{head:25}{columns}".rstrip()


def target(model: str, distortion: str) -> float | None:
    """Look up the paper's error; a compact network is held against the plain one."""
    return PAPER.get(model.replace("-compact", ""), {}).get(distortion)


#: What :func:`standing` can say, the best first, and how a report marks it.
MARKS = {"met": "*", "level": "~", "missed": " "}
RANK = list(MARKS)


def standing(error: float, paper: float) -> str:
    """Say how an error stands to the paper's, which is rounded to a tenth of a point.

    Args:
        error: ours, in per cent.
        paper: the paper's, in per cent.

    Returns:
        "met" (at or below it), "level" (above, but not by 0.05, so that rounded it is
        the same) or "missed".

    Used in chapter 6.
    """
    if error <= paper:
        return "met"
    return "level" if error < paper + 0.05 else "missed"


def _verdict(cells: dict[tuple[str, str], dict]) -> list[str]:
    """Say how many of the paper's cells are met, and after how many images."""
    best: dict[bool, dict[tuple[str, str], str]] = {True: {}, False: {}}
    for (model, distortion), entry in cells.items():
        paper = target(model, distortion)
        if paper is None:
            continue
        found = standing(mean(entry["errors"]), paper)
        cell = model.replace("-compact", ""), distortion
        for with_kin, standings in best.items():
            if with_kin or model in PAPER:
                standings[cell] = min(found, standings.get(cell, found), key=RANK.index)
    met, level = (
        [list(best[with_kin].values()).count(mark) for with_kin in (False, True)]
        for mark in ("met", "level")
    )
    total = sum(len(errors) for errors in PAPER.values())
    seeds = [len(entry["errors"]) for entry in cells.values()]
    seen = [entry["images_seen"] for entry in cells.values()]
    return [
        "* at or below the paper's, ~ level with it as rounded",
        "(a compact network is held against the plain one)",
        f"{met[0]} of the paper's {total} cells are met by networks of its shapes, "
        f"{met[1]} by these or compact ones",
        f"{level[0]} and {level[1]} more are level",
        f"{min(seeds)} to {max(seeds)} seeds a cell; {min(seen):,} to {max(seen):,} "
        f"training images seen by a run, {PAPER_IMAGES:,} in the paper",
    ]


def table_jobs(options: argparse.Namespace) -> list[Job]:
    """List the runs that the command line asks for, first one seed of every cell."""
    jobs = []
    for seed in range(options.seeds):
        for distortion in options.distortions:
            for model in options.models:
                cell = (options.data, model, distortion, seed)
                name = run_name(dict(zip(KEY, cell, strict=True)))
                given = (*cell, options.out, options.images, options.device)
                jobs.append((name, run_cell, given))
    return jobs
