"""Train the networks for traffic signs on GTSRB, and keep every run on record."""

import argparse
from pathlib import Path
from statistics import mean, stdev

import torch
from numpy import ndarray
from torch import Tensor

from stn_tutorial.data.gtsrb import Signs, load_gtsrb, split_by_track
from stn_tutorial.experiments.jobs import Job
from stn_tutorial.experiments.records import (
    WATCHED,
    Task,
    new_network,
    read,
    rounded,
    run,
    run_name,
    summary,
)
from stn_tutorial.networks import Network
from stn_tutorial.signs import augment, overlap, read_windows, sign_network
from stn_tutorial.training import History, Recipe, error_rate

#: Test accuracy in %, and weights in millions where known.
PUBLISHED = {
    "humans (Stallkamp et al. 2012)": (98.84, None),
    "multi-scale CNN (Sermanet 2011)": (98.31, None),
    "25 CNNs (Cireşan et al. 2012)": (99.46, 90),
    "CNN of the Torch post (2015)": (98.42, None),
    "the same, one ST": (99.33, None),
    "the same, two STs": (99.61, 20),
    "3 STs (Arcos-García et al. 2018)": (99.71, 14.6),
}


def sign_recipe(images: int | None = None) -> Recipe:
    """Say how the networks are trained; chosen on validation tracks.

    Args:
        images: train on so many images instead, to try things out.
    """
    images = 400_000 if images is None else images
    return Recipe(images, localisation_rate=0.1)


def as_tensors(images: ndarray, labels: ndarray) -> tuple[Tensor, Tensor]:
    """Turn arrays (N, H, W, 3) of bytes into tensors (N, 3, H, W), still of bytes."""
    return torch.tensor(images).permute(0, 3, 1, 2), torch.tensor(labels)


def sign_test_set(signs: Signs) -> tuple[Tensor, Tensor]:
    """Return the official test images (M, 3, 48, 48), in [0, 1], and their labels."""
    images, labels = as_tensors(signs.test_images, signs.test_labels)
    return images / 255, labels


def run_signs(
    model: str,
    seed: int,
    out: str | Path,
    images: int | None = None,
    device: str = "cpu",
) -> dict:
    """Train one network with one seed, and put the run on record.

    Args:
        model: one of ``SIGN_MODELS`` in :mod:`stn_tutorial.signs`.
        seed: of the first weights and of all that is drawn. The validation tracks
            are the same for every seed.
        out: folder of the records.
        images: train on so many images instead of the recipe's.
        device: "cpu" or "cuda".

    Returns:
        the record, as in its file; with a transformer also what
        :func:`describe_windows` gives.

    Used for the records of chapter 7.
    """

    def prepare() -> Task:
        signs = load_gtsrb()
        train, held = split_by_track(signs)
        images, labels = as_tensors(
            signs.train_images[train], signs.train_labels[train]
        )
        held_images, held_labels = as_tensors(
            signs.train_images[held], signs.train_labels[held]
        )
        test = sign_test_set(signs)
        network = new_network(sign_network, model, seed=seed)
        validation = held_images / 255, held_labels
        task = Task(network, images, labels, augment, validation, test)
        if network.transformer is None:
            return task
        generator = torch.Generator().manual_seed(1)
        chosen = torch.randperm(len(test[1]), generator=generator)[:WATCHED]
        boxes = torch.tensor(signs.test_boxes)

        def describe(network: Network, history: History) -> dict:
            return describe_windows(network, history, test, boxes)

        return task._replace(watched=test[0][chosen], describe=describe)

    key = {"data": "gtsrb", "model": model, "seed": seed}
    return run(out, key, sign_recipe(images), prepare, device)


@torch.no_grad()
def describe_windows(
    network: Network, history: History, test: tuple[Tensor, Tensor], boxes: Tensor
) -> dict:
    """Describe what the first transformer does, for the record.

    Args:
        network: trained, with a transformer.
        history: of its training.
        test: images (M, 3, H, W) and labels (M,).
        boxes: of the signs in the test images, shape (M, 4).

    Returns:
        ``theta``: the watched images' transforms at each moment of the training;
        ``overlap``: of window and box, the mean over the test images;
        ``theta_mean`` and ``theta_deviation``: over the test images;
        ``error_with_one_theta``: the test error in per cent when every image gets the
        mean theta.
    """
    images, labels = test
    device = next(network.parameters()).device
    training = network.training
    network.eval()
    thetas = []
    for batch in images.split(500):
        _, theta = network.straighten(batch.to(device))
        thetas.append(theta.cpu())
    theta = torch.cat(thetas)  # (M, 2, 3)
    middle = theta.mean(dim=0)
    fixed = [read_windows(batch, middle[None]) for batch in images.split(500)]
    one_theta = error_rate(network.classifier, torch.cat(fixed), labels)
    network.train(training)
    return {
        "theta": rounded(torch.stack(history.theta)),
        "overlap": rounded(overlap(theta, boxes).mean()),
        "theta_mean": rounded(middle),
        "theta_deviation": rounded(theta.std(dim=0)),
        "error_with_one_theta": one_theta,
    }


def report_signs(out: str | Path) -> str:
    """Write the runs on record as text, most accurate first, beside published ones."""
    entries = [entry for entry in summary(out) if entry["data"] == "gtsrb"]
    if not entries:
        return f"no run on record in {Path(out).resolve()}"
    entries.sort(key=lambda entry: mean(entry["errors"]))
    lines = [
        "GTSRB: test accuracy in %, mean ± standard deviation over seeds",
        f"{'':33}{'accuracy':>13}{'seeds':>6}{'weights':>10}{'images':>9}{'min':>4}",
    ]
    for entry in entries:
        errors = entry["errors"]
        spread = f" ± {stdev(errors):.2f}" if len(errors) > 1 else ""
        lines.append(
            f"{entry['model']:33}{f'{100 - mean(errors):.2f}{spread}':>13}"
            f"{len(errors):6}{entry['weights']:10,}{entry['images_seen']:9,}"
            f"{entry['seconds'] / 60:4.0f}"
        )
    lines.append("published:")
    for name, (accuracy, millions) in PUBLISHED.items():
        weights = f"{millions}M" if millions else ""
        lines.append(f"{name:33}{f'{accuracy:.2f}':>13}{'':6}{weights:>10}".rstrip())
    return "\n".join(lines)


def report_windows(out: str | Path) -> str:
    """Write as text what the windows of each run are like on the test images."""
    lines = [
        f"{'':20}{'size of the window':>20}{'overlap':>10}{'error':>9}"
        f"{'with one window':>18}"
    ]
    for path in sorted(Path(out).glob("*.json")):
        record = read(path)
        if "overlap" in record:
            size = torch.tensor(record["theta_mean"])[:, :2].det().abs().sqrt()
            deviation = torch.tensor(record["theta_deviation"])[:, :2].max()
            lines.append(
                f"{path.stem.removeprefix('gtsrb-'):20}"
                f"{f'{size:.2f} ± {deviation:.3f}':>20}{record['overlap']:10.2f}"
                f"{record['error']:8.2f}%{record['error_with_one_theta']:17.2f}%"
            )
    return "\n".join(lines)


def sign_jobs(options: argparse.Namespace) -> list[Job]:
    """List the runs that the command line asks for, first one seed of each network."""
    jobs = []
    for seed in range(options.seeds):
        for model in options.models:
            name = run_name({"data": "gtsrb", "model": model, "seed": seed})
            given = (model, seed, options.out, options.images, options.device)
            jobs.append((name, run_signs, given))
    return jobs
