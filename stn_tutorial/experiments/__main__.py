"""The command line of the long runs: ``python -m stn_tutorial.experiments --help``.

``table1`` trains the paper's table, ``gtsrb`` the networks for traffic signs,
``scenes`` those that find signs in scenes, and ``evaluate`` tests a trained network
again. The others repeat single controls and figures of the chapters, with the book's
own settings.
"""

import argparse
import json
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch

from stn_tutorial.distortions import DISTORTIONS
from stn_tutorial.experiments.cluster import runs_on_cluster
from stn_tutorial.experiments.compact_rows import train_compact_rows
from stn_tutorial.experiments.difficulty import try_difficulties
from stn_tutorial.experiments.drawing_net import train_drawing_net
from stn_tutorial.experiments.evaluate import evaluate
from stn_tutorial.experiments.jobs import Job, runs_here
from stn_tutorial.experiments.kept_scenes import keep_scenes
from stn_tutorial.experiments.kept_signs import keep_signs
from stn_tutorial.experiments.rates import try_rates
from stn_tutorial.experiments.records import summary, to_json
from stn_tutorial.experiments.scene_traces import hunt_traces
from stn_tutorial.experiments.scenes import (
    SIDE,
    report_scenes,
    scene_jobs,
    try_scenes,
)
from stn_tutorial.experiments.table1 import DRAWS, PAPER, report_table, table_jobs
from stn_tutorial.experiments.traffic_signs import report_signs, sign_jobs
from stn_tutorial.experiments.undone import train_undone
from stn_tutorial.experiments.wider_fcn import train_wider_fcn
from stn_tutorial.files import RECORDED, write_whole
from stn_tutorial.finders import SCENE_MODELS, SIDES
from stn_tutorial.networks import TABLE_MODELS
from stn_tutorial.signs import SIGN_MODELS
from stn_tutorial.training import Recipe


def train_all(options: argparse.Namespace, jobs: Sequence[Job]) -> None:
    """Do all runs that the command line asks for; when one fails, the others go on.

    Raises:
        SystemExit: at the end, if runs failed; it names them.
    """
    if options.scheduler:
        results = runs_on_cluster(jobs, options.scheduler)
    else:
        results = runs_here(jobs)
    failures = []
    for name, result in results:
        if isinstance(result, Exception):
            traceback.print_exception(result)
            failures.append(f"{name}: {type(result).__name__}: {result}")
        else:
            print(f"{name}: {result['error']:.2f}%", flush=True)
            if not (options.out / f"{name}.json").exists():  # worker: another folder
                write_whole(options.out / f"{name}.json", to_json(result))
    if failures:
        raise SystemExit("\n".join([f"{len(failures)} runs failed:", *failures]))


def add_options(
    parser: argparse.ArgumentParser,
    models: Sequence[str],
    default: list[str],
    home: Path,
) -> None:
    """Add what both kinds of runs can be told; ``home`` has the book's own records."""
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
    parser.add_argument(
        "--report", action="store_true", help="print all that is on record in --out"
    )
    parser.add_argument("--json", action="store_true", help="report as JSON")


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with a message if no run could do what is asked; fill in the folder."""
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
    needs_gpu = options.device == "cuda" and not options.scheduler
    if needs_gpu and not torch.cuda.is_available():
        parser.error("expected a GPU for --device cuda, but PyTorch finds none here")


# Trainings that have no options: what each does, and what the help says of it.
SINGLE = {
    "drawing-net": (
        train_drawing_net,
        "train the network of the figure that readers draw digits for",
    ),
    "compact-rows": (
        train_compact_rows,
        "train the compact CNN alone and behind transformers",
    ),
    "wider-fcn": (
        train_wider_fcn,
        "train the FCN on TC with the paper's width, digits and images",
    ),
    "undone": (train_undone, "train the table's CNN behind a perfect transformer"),
    "rates": (try_rates, "try three learning rates on CNN and ST-CNN"),
    "difficulty": (try_difficulties, "train the FCN on other readings of the sets"),
    "scene-trials": (try_scenes, "try recipes for the networks that find signs"),
    "scene-traces": (hunt_traces, "hunt for traces of the painting in scenes"),
}
RESUMED = (
    "table1",
    "gtsrb",
    "scenes",
    "compact-rows",
    "wider-fcn",
    "undone",
    "difficulty",
    "scene-trials",
    "scene-traces",
)  # commands that go on after an interruption
RESUME = (
    "What is on record in --out is not trained again, and what was interrupted goes on."
)


def make_parser() -> argparse.ArgumentParser:
    """List the commands and their options."""
    parser = argparse.ArgumentParser(prog="python -m stn_tutorial.experiments")
    commands = parser.add_subparsers(dest="command", required=True)
    table = commands.add_parser(
        "table1",
        help="train the paper's table, or report it",
        description=f"Train cells of the paper's table, with several seeds. {RESUME}",
    )
    table.add_argument("--data", choices=sorted(DRAWS), default="mnist")
    table.add_argument(
        "--distortions", nargs="+", choices=DISTORTIONS, default=list(DISTORTIONS)
    )
    add_options(table, TABLE_MODELS, list(PAPER), RECORDED / "table1")
    table.set_defaults(jobs=table_jobs, text=report_table, parser=table)
    road = commands.add_parser(
        "gtsrb",
        help="train the networks for traffic signs, or report them",
        description=f"Train networks on GTSRB, each with several seeds. {RESUME}",
    )
    add_options(road, SIGN_MODELS, list(SIGN_MODELS), RECORDED / "gtsrb")
    road.set_defaults(jobs=sign_jobs, text=report_signs, data="gtsrb", parser=road)
    wide = commands.add_parser(
        "scenes",
        help="train the networks that find signs in scenes, or report them",
        description=f"Train networks on scenes with GTSRB's signs. {RESUME}",
    )
    wide.add_argument(
        "--sides",
        nargs="+",
        type=int,
        metavar="SIDE",
        choices=SIDES,
        default=[SIDE],
        help=f"pixels a side of the scenes: {', '.join(map(str, SIDES))} ({SIDE})",
    )
    add_options(wide, SCENE_MODELS, list(SCENE_MODELS), RECORDED / "scenes")
    wide.set_defaults(jobs=scene_jobs, text=report_scenes, data="scenes", parser=wide)
    again = commands.add_parser("evaluate", help="test a network from its weights")
    again.add_argument("weights", type=Path)
    keep = commands.add_parser(
        "keep-signs", help="keep a network for traffic signs, and what chapter 7 shows"
    )
    keep.add_argument("weights", type=Path)
    found = commands.add_parser(
        "keep-scenes", help="keep a network that finds signs, and a track for it"
    )
    found.add_argument("weights", type=Path)
    for name, (_, told) in SINGLE.items():
        commands.add_parser(name, help=told, description=told)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if "jobs" in options:
        check_options(options.parser, options)
    try:
        if options.command == "evaluate":
            print(json.dumps(evaluate(options.weights)))
        elif options.command == "keep-signs":
            keep_signs(options.weights)
        elif options.command == "keep-scenes":
            keep_scenes(options.weights)
        elif options.command in SINGLE:
            train, _ = SINGLE[options.command]
            train()
        elif options.json:
            print(json.dumps(summary(options.out), indent=1))
        elif options.report:
            print(options.text(options.out))
        else:
            train_all(options, options.jobs(options))
    except (OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: error: {error}\n")
    except KeyboardInterrupt:
        goes_on = options.command in RESUMED
        hint = "; the same command goes on from here" if goes_on else ""
        parser.exit(130, f"\nstopped{hint}\n")


if __name__ == "__main__":
    main()
