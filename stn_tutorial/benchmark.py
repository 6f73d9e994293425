"""Train the paper's table again, cell by cell, and keep every run on record.

``python -m stn_tutorial.benchmark --help`` lists the commands: ``table1`` for the
table, ``gtsrb`` for the traffic signs of :mod:`stn_tutorial.sign_runs`, ``evaluate`` to
test a trained network again.
"""

import argparse
import json
import traceback
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from stn_tutorial import sign_runs, signs
from stn_tutorial._download import write
from stn_tutorial.digits import DISTORTIONS, Digits, distort, load_digits, load_mnist
from stn_tutorial.gtsrb import load_gtsrb
from stn_tutorial.networks import MODELS, Network, build
from stn_tutorial.records import (
    KEY,
    RECORDED,
    Job,
    Task,
    new_network,
    rounded,
    run,
    run_name,
    runs_here,
    runs_on_cluster,
    summary,
    to_json,
)
from stn_tutorial.training import History, Recipe, error_rate

# Table 1, and the 60x60 translated and cluttered digits (TC): test error in per cent.
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
PAPER_IMAGES = 38_400_000  # 150,000 steps of 256

# How many training images, the last ones, measure the error while we choose and train.
VALIDATION = {"mnist": 5_000, "digits": 200}
# How often each test image is distorted anew.
DRAWS = {"mnist": 4, "digits": 10}
WATCHED = 12  # test images that a record shows straightened


def recipe(data: str, model: str, images: int | None = None) -> Recipe:
    """How the table trains a network; chosen on validation images.

    Args:
        data: "mnist" or "digits".
        model: one of ``MODELS`` in :mod:`stn_tutorial.networks`.
        images: train on so many images instead, to try things out.
    """
    if images is None:
        many = 3_840_000 if "fcn" in model else 1_536_000
        images = many if data == "mnist" else 200_000
    return Recipe(images)


def load(data: str) -> Digits:
    """The undistorted digits by name, "mnist" or "digits"; else a ValueError."""
    if data not in DRAWS:
        raise ValueError(
            f"expected data to be one of {sorted(DRAWS)}, but got: {data!r}"
        )
    return {"mnist": load_mnist, "digits": load_digits}[data]()


def distorted(
    images: Tensor, labels: Tensor, distortion: str, draws: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Every image ``draws`` times, in random ways that are always the same."""
    generator = torch.Generator().manual_seed(seed)
    copies = [
        distort(images, distortion, generator, F.grid_sample) for _ in range(draws)
    ]
    return torch.cat(copies), labels.repeat(draws)


def test_set(data: str, distortion: str) -> tuple[Tensor, Tensor]:
    """The distorted test images and labels, the same for every network."""
    digits = load(data)
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
    """Train one cell with one seed, as :func:`stn_tutorial.records.run` does it.

    Args:
        data: "mnist" or "digits".
        model: one of ``MODELS`` in :mod:`stn_tutorial.networks`.
        distortion: R, RTS, P, E or TC.
        seed: of the first weights and of all that is drawn.
        out: folder of the records.
        images: train on so many images instead of the recipe's.
        device: "cpu" or "cuda".

    Returns:
        the record, as in its file; with a transformer also ``theta``, the transforms
        of the first test images.

    Used in chapter 6.
    """
    key = {"data": data, "model": model, "distortion": distortion, "seed": seed}

    def prepare() -> Task:
        digits, held = load(data), VALIDATION[data]
        x, y = digits.train_images, digits.train_labels
        test = test_set(data, distortion)
        network = new_network(build, model, distortion, seed=seed)
        task = Task(
            network,
            x[:-held],
            y[:-held],
            distortion,
            validation=distorted(x[-held:], y[-held:], distortion, draws=1, seed=2),
            test=test,
        )
        if network.transformer is None:
            return task
        return task._replace(watched=test[0][:WATCHED], describe=last_theta)

    return run(out, key, recipe(data, model, images), prepare, device)


def last_theta(network: Network, history: History) -> dict:
    """The transforms of the watched images after the training."""
    return {"theta": rounded(history.theta[-1])}


def evaluate(path: str | Path) -> dict:
    """Test a network whose weights a run has left, on the test images of its data.

    Returns:
        what the run's key says of it, and its ``error`` in per cent.

    Raises:
        ValueError: the file does not hold such weights.
    """
    torch.set_num_threads(1)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"expected {path} to hold weights: {error}") from error
    key = {k: metadata[k] for k in KEY[:3] if k in metadata}
    if len(key) < (2 if metadata.get("data") == "gtsrb" else 3):
        raise ValueError(
            f"expected {path} to say which run left these weights, but it does not"
        )
    if key["data"] == "gtsrb":
        network = new_network(signs.build, key["model"], seed=0)
        test = sign_runs.test_set(load_gtsrb())
    else:
        network = new_network(build, key["model"], key["distortion"], seed=0)
        test = test_set(key["data"], key["distortion"])
    try:
        network.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise ValueError(
            f"expected {path} to hold the weights of {key['model']}: {error}"
        ) from error
    return key | {"error": error_rate(network, *test)}


def report(out: str | Path) -> str:
    """The table on record as text, 100 columns wide, the paper's numbers below ours."""
    entries = [entry for entry in summary(out) if entry["data"] in DRAWS]
    lines = []
    for data in sorted({entry["data"] for entry in entries}, reverse=True):
        cells = {(e["model"], e["distortion"]): e for e in entries if e["data"] == data}
        lines.append(f"{data}: test error in %, mean ± standard deviation over seeds")
        lines.append(_line("", DISTORTIONS))
        for model in MODELS:
            ours, papers = [], []
            for distortion in DISTORTIONS:
                errors = cells.get((model, distortion), {}).get("errors", [])
                spread = f" ± {stdev(errors):.2f}" if len(errors) > 1 else ""
                ours.append(f"{mean(errors):.2f}{spread}" if errors else "")
                paper = errors and target(model, distortion)
                star = "*" if paper and mean(errors) <= paper else " "
                papers.append(f"{paper} {star}" if paper else "")
            if any(ours):
                lines.append(_line(model, ours))
            if any(papers) and data == "mnist":
                lines.append(_line("  paper", papers))
        lines += [*(_verdict(cells) if data == "mnist" else ()), ""]
    return "\n".join(lines) or f"no run on record in {Path(out).resolve()}"


def _line(head: str, cells: Sequence[str]) -> str:
    return (f"{head:25}" + "".join(f"{cell:>15}" for cell in cells)).rstrip()


def target(model: str, distortion: str) -> float | None:
    """The paper's error in a cell; a compact network is held against the plain one."""
    return PAPER.get(model.replace("-compact", ""), {}).get(distortion)


def _verdict(cells: dict[tuple[str, str], dict]) -> list[str]:
    """How many of the paper's cells are met, and after how many images."""
    met = [
        any(
            mean(cells[net, distortion]["errors"]) <= error
            for net in (model, model.replace("cnn", "cnn-compact"))
            if (net, distortion) in cells
        )
        for model, errors in PAPER.items()
        for distortion, error in errors.items()
    ]
    seeds = [len(entry["errors"]) for entry in cells.values()]
    seen = [entry["images_seen"] for entry in cells.values()]
    return [
        "* at or below the paper's; a compact network is held against the plain one",
        f"{sum(met)} of the paper's {len(met)} cells are met, by the network or its "
        "compact kin",
        f"{min(seeds)} to {max(seeds)} seeds a cell; {min(seen):,} to {max(seen):,} "
        f"training images seen by a run, {PAPER_IMAGES:,} in the paper",
    ]


def train_all(options: argparse.Namespace, jobs: Sequence[Job]) -> None:
    """All runs that the command line asks for; when one fails, the others go on."""
    address = options.scheduler
    failures = []
    for name, result in runs_on_cluster(jobs, address) if address else runs_here(jobs):
        if isinstance(result, Exception):
            traceback.print_exception(result)
            failures.append(f"{name}: {type(result).__name__}: {result}")
        else:
            print(f"{name}: {result['error']:.2f}%", flush=True)
            if not (options.out / f"{name}.json").exists():  # worker: another folder
                write(options.out / f"{name}.json", to_json(result))
    if failures:
        raise SystemExit("\n".join([f"{len(failures)} runs failed:", *failures]))


def table_jobs(options: argparse.Namespace) -> list[Job]:
    """First one seed of every cell."""
    jobs = []
    for seed in range(options.seeds):
        for distortion in options.distortions:
            for model in options.models:
                cell = (options.data, model, distortion, seed)
                name = run_name(dict(zip(KEY, cell, strict=True)))
                given = (*cell, options.out, options.images, options.device)
                jobs.append((name, run_cell, given))
    return jobs


def sign_jobs(options: argparse.Namespace) -> list[Job]:
    """First one seed of every network."""
    jobs = []
    for seed in range(options.seeds):
        for model in options.models:
            name = run_name({"data": "gtsrb", "model": model, "seed": seed})
            given = (model, seed, options.out, options.images, options.device)
            jobs.append((name, sign_runs.run_signs, given))
    return jobs


def add_options(
    parser: argparse.ArgumentParser,
    models: Sequence[str],
    default: list[str],
    home: Path,
) -> None:
    """What both kinds of runs can be told; ``home`` is where the book's own lie."""
    parser.add_argument(
        "--seeds", type=int, default=3, help="how many runs of each (%(default)s)"
    )
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="MODEL",
        choices=models,
        default=default,
        help=", ".join(models),
    )
    parser.add_argument(
        "--out",
        type=Path,
        help=f"folder of the records (without it the book's own, {home})",
    )
    parser.set_defaults(home=home)
    parser.add_argument("--images", type=int, help="train on so many images only")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a Dask scheduler: its workers do the runs (dask worker ADDRESS "
        "--nworkers 2 --nthreads 1); let all machines share --out",
    )
    told = "print all that is on record in --out"
    parser.add_argument("--report", action="store_true", help=told)
    parser.add_argument("--json", action="store_true", help="report as JSON")


def check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse what no run could do."""
    if options.json and not options.report:
        parser.error("--json needs --report")
    if options.seeds < 1:
        parser.error(f"expected --seeds to be at least 1, but got {options.seeds}")
    if options.images is not None and options.images < Recipe.batch:
        parser.error(
            f"expected --images to be at least a batch of {Recipe.batch}, but got "
            f"{options.images}"
        )
    if options.out is None:
        if (options.images or options.data == "digits") and not options.report:
            parser.error(
                "expected --out with --images or --data digits: the folder meant "
                "otherwise holds the book's own records"
            )
        options.out = options.home
    options.out = options.out.resolve()  # so that it means the same to workers
    if options.out.is_file():
        parser.error(f"expected --out to be a folder, but {options.out} is a file")
    here = options.device == "cuda" and not options.scheduler
    if here and not torch.cuda.is_available():
        parser.error("expected a GPU for --device cuda, but PyTorch finds none here")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m stn_tutorial.benchmark")
    commands = parser.add_subparsers(dest="command", required=True)
    resume = "What is on record in --out is not trained again, and what was "
    resume += "interrupted goes on."
    table = commands.add_parser(
        "table1",
        help="train the paper's table, or report it",
        description="Train cells of the paper's table, each with several seeds. "
        + resume,
    )
    table.add_argument("--data", choices=sorted(DRAWS), default="mnist")
    table.add_argument(
        "--distortions", nargs="+", choices=DISTORTIONS, default=list(DISTORTIONS)
    )
    add_options(table, MODELS, list(PAPER), RECORDED / "table1")
    table.set_defaults(jobs=table_jobs, text=report)
    road = commands.add_parser(
        "gtsrb",
        help="train the networks for traffic signs, or report them",
        description="Train networks on GTSRB, each with several seeds. " + resume,
    )
    models = list(signs.MODELS)
    add_options(road, models, models, RECORDED / "gtsrb")
    road.set_defaults(jobs=sign_jobs, text=sign_runs.report, data="gtsrb")
    again = commands.add_parser("evaluate", help="test a network from its weights")
    again.add_argument("weights", type=Path)
    options = parser.parse_args(arguments)
    if options.command != "evaluate":
        check(commands.choices[options.command], options)
    try:
        if options.command == "evaluate":
            print(json.dumps(evaluate(options.weights)))
        elif options.json:
            print(json.dumps(summary(options.out), indent=1))
        elif options.report:
            print(options.text(options.out))
        else:
            train_all(options, options.jobs(options))
    except (OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "\nstopped; the same command goes on from here\n")


if __name__ == "__main__":
    from stn_tutorial import benchmark  # so named, Dask's workers find run_cell

    benchmark.main()
