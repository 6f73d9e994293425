"""Train the paper's table again, cell by cell, and keep every run on record.

``python -m stn_tutorial.benchmark table1 --help`` lists the options. Each run trains
one network on one distortion with one seed, and leaves one JSON file.
"""

import argparse
import io
import json
import platform
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev

import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from stn_tutorial._download import write
from stn_tutorial.digits import DISTORTIONS, Digits, distort, load_digits, load_mnist
from stn_tutorial.networks import MODELS, Network, build
from stn_tutorial.training import Recipe, error_rate, train

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
    if images is None and data == "mnist":
        images = 3_840_000 if "fcn" in model else 1_536_000
    return Recipe(images=images or 200_000)


def load(data: str) -> Digits:
    """The undistorted digits by name, "mnist" or "digits"."""
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


def new_network(model: str, distortion: str, seed: int) -> Network:
    """An untrained network; its first weights depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build(model, distortion)
    return network.to(memory_format=torch.channels_last)


def run_name(data: str, model: str, distortion: str, seed: int) -> str:
    """What the files of a run are called, without their endings."""
    return f"{data}-{model}-{distortion}-seed{seed}"


def run_cell(
    data: str,
    model: str,
    distortion: str,
    seed: int,
    out: str | Path,
    images: int | None = None,
    device: str = "cpu",
) -> dict:
    """Train one network, test it once, and put the run on record.

    A run that is on record is not trained again; one that was interrupted goes on from
    its last checkpoint. In ``out`` it leaves ``NAME.json``, ``NAME.png`` for seed 0
    of a network with a transformer (test digits above what the classifier saw of them),
    and ``weights/NAME.safetensors``. The JSON file comes last.

    Returns:
        the record, as in the JSON file.

    Raises:
        ValueError: the run on record, or its checkpoint, had another recipe; or the
            file of the record cannot be read.
    """
    out, name = Path(out), run_name(data, model, distortion, seed)
    plan = recipe(data, model, images)
    checkpoint = out / "checkpoints" / f"{name}.safetensors"
    if (out / f"{name}.json").exists():
        record = read(out / f"{name}.json")
        if record["recipe"] != asdict(plan):
            raise ValueError(
                f"expected {out / name}.json to have the recipe {asdict(plan)}, but it "
                f"has {record['recipe']}; remove it, or name another --out"
            )
        _remove(checkpoint)
        return record
    torch.set_num_threads(1)
    digits, held = load(data), VALIDATION[data]
    x, y = digits.train_images, digits.train_labels
    test_images, test_labels = test_set(data, distortion)
    network = new_network(model, distortion, seed).to(device)
    watched = test_images[:WATCHED] if network.transformer else None
    history = train(
        network,
        x[:-held],
        y[:-held],
        distortion,
        plan,
        validation=distorted(x[-held:], y[-held:], distortion, draws=1, seed=2),
        seed=seed,
        watched=watched,
        checkpoint=checkpoint,
    )
    record = {
        "data": data,
        "model": model,
        "distortion": distortion,
        "seed": seed,
        "error": error_rate(network, test_images, test_labels),
        "test_images": len(test_labels),
        "weights": sum(p.numel() for p in network.parameters()),
        "images_seen": history.images[-1],
        "seconds": round(history.seconds[-1], 1),
        "recipe": asdict(plan),
        "curve": {
            "images": history.images,
            "loss": _rounded(history.loss),
            "validation_error": _rounded(history.error),
        },
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "stn-tutorial": version("stn-tutorial"),
        },
        "device": device,
    }
    if watched is not None:
        record["theta"] = _rounded(history.theta[-1])
        if seed == 0:
            write(out / f"{name}.png", picture(watched, history.warped[-1]))
    weights = {k: v.cpu().contiguous() for k, v in network.state_dict().items()}
    metadata = {"data": data, "model": model, "distortion": distortion}
    write(out / "weights" / f"{name}.safetensors", save(weights, metadata))
    write(out / f"{name}.json", to_json(record))
    _remove(checkpoint)
    return record


def _remove(checkpoint: Path) -> None:
    """Also what a process that was killed while it saved has left."""
    for path in checkpoint.parent.glob(f"{checkpoint.name}*"):
        path.unlink(missing_ok=True)


def _rounded(numbers: Tensor | Sequence[float]) -> list:
    return torch.as_tensor(numbers, dtype=torch.double).round(decimals=4).tolist()


def to_json(record: dict) -> bytes:
    """A record as the content of its file: one field a line."""
    lines = (f" {json.dumps(key)}: {json.dumps(record[key])}" for key in record)
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def read(path: Path) -> dict:
    """A record from its file; a ValueError if it is none, or not the named one."""
    try:
        record = json.loads(path.read_bytes())
        found = run_name(*(record[k] for k in ("data", "model", "distortion", "seed")))
    except (ValueError, KeyError, TypeError) as error:
        found = repr(error)
    if found != path.stem:
        raise ValueError(
            f"expected {path} to hold the record of {path.stem}, but found {found}"
        )
    return record


def picture(above: Tensor, below: Tensor) -> bytes:
    """Two rows of images (N, 1, H, W) and (N, 1, h, w) as a grey PNG."""
    side = max(above.shape[-1], below.shape[-1])
    rows = []
    for images in (above, below):
        gap = side - images.shape[-1]
        padded = F.pad(images, (gap // 2, gap - gap // 2) * 2)
        rows.append(padded[:, 0].transpose(0, 1).flatten(1))
    pixels = (255 * torch.cat(rows)).round().clamp(0, 255).byte().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return file.getvalue()


def evaluate(path: str | Path) -> dict:
    """Test a network whose weights a run has left, on the table's test images."""
    torch.set_num_threads(1)
    with safe_open(path, "pt") as file:
        cell = {k: file.metadata()[k] for k in ("data", "model", "distortion")}
    data, model, distortion = cell.values()
    network = new_network(model, distortion, seed=0)
    network.load_state_dict(load_file(path))
    return cell | {"error": error_rate(network, *test_set(data, distortion))}


def summary(out: str | Path) -> list[dict]:
    """One entry for each cell on record, the errors in the order of the seeds.

    Raises:
        ValueError: a file is no record, or the runs of a cell differ in their recipe.
    """
    cells: dict[tuple, list[dict]] = {}
    for path in sorted(Path(out).glob("*.json")):
        record = read(path)
        key = tuple(record[k] for k in ("data", "model", "distortion"))
        cells.setdefault(key, []).append(record)
    for key, runs in cells.items():
        runs.sort(key=lambda run: run["seed"])
        if any(run["recipe"] != runs[0]["recipe"] for run in runs):
            raise ValueError(
                f"expected one recipe in all runs of {'-'.join(key)} in {out}, but "
                f"found {[run['recipe'] for run in runs]}"
            )
    return [
        {
            "data": data,
            "model": model,
            "distortion": distortion,
            "errors": [run["error"] for run in runs],
            "weights": runs[0]["weights"],
            "images_seen": runs[0]["images_seen"],
            "seconds": round(mean(run["seconds"] for run in runs), 1),
        }
        for (data, model, distortion), runs in cells.items()
    ]


def report(out: str | Path) -> str:
    """The table on record as text, 100 columns wide, the paper's numbers below ours."""
    entries = summary(out)
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


def runs_here(jobs: Sequence[tuple]) -> Iterator[tuple[str, dict | Exception]]:
    """Each run's name, and its record or what went wrong, one after the other."""
    for job in jobs:
        try:
            yield run_name(*job[:4]), run_cell(*job)
        except Exception as error:
            yield run_name(*job[:4]), error


def runs_on_cluster(
    jobs: Sequence[tuple], address: str
) -> Iterator[tuple[str, dict | Exception]]:
    """The same on the workers of a Dask scheduler, in the order in which they end.

    A run whose worker dies goes to another worker. Where the workers share the folder
    it goes on there from its checkpoint.
    """
    try:
        from dask.distributed import Client, as_completed
    except ImportError:
        raise ValueError("--scheduler needs Dask: pip install distributed") from None
    with Client(address) as client:
        if any(threads > 1 for threads in client.nthreads().values()):
            raise ValueError(
                "expected workers with one thread each (dask worker ADDRESS --nworkers "
                f"2 --nthreads 1), but got {client.nthreads()}"
            )
        names = {client.submit(run_cell, *job): run_name(*job[:4]) for job in jobs}
        for future in as_completed(list(names)):
            try:
                yield names[future], future.result()
            except Exception as error:
                yield names[future], error
            future.release()  # a result still held is run again if its worker dies


def train_table(options: argparse.Namespace) -> None:
    """All runs that the command line asks for; when one fails, the others go on."""
    out = options.out.resolve()  # so that it means the same to workers elsewhere
    jobs = [
        (options.data, model, distortion, seed, out, options.images, options.device)
        for seed in range(options.seeds)
        for distortion in options.distortions
        for model in options.models
    ]
    address = options.scheduler
    failures = []
    for name, result in runs_on_cluster(jobs, address) if address else runs_here(jobs):
        if isinstance(result, Exception):
            traceback.print_exception(result)
            failures.append(f"{name}: {result!r}")
        else:
            print(f"{name}: {result['error']:.2f}%", flush=True)
            if not (out / f"{name}.json").exists():  # the worker has another folder
                write(out / f"{name}.json", to_json(result))
    if failures:
        raise SystemExit("\n".join([f"{len(failures)} runs failed:", *failures]))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m stn_tutorial.benchmark")
    commands = parser.add_subparsers(dest="command", required=True)
    table = commands.add_parser(
        "table1",
        help="train the paper's table, or report it",
        description="Train cells of the paper's table, each with several seeds. What "
        "is on record in --out is not trained again, and what was interrupted goes on.",
    )
    table.add_argument("--data", choices=sorted(DRAWS), default="mnist")
    table.add_argument(
        "--seeds", type=int, default=3, help="how many runs of each cell"
    )
    table.add_argument(
        "--models",
        nargs="+",
        metavar="MODEL",
        choices=MODELS,
        default=list(PAPER),
        help=", ".join(MODELS),
    )
    table.add_argument(
        "--distortions", nargs="+", choices=DISTORTIONS, default=list(DISTORTIONS)
    )
    table.add_argument(
        "--out",
        type=Path,
        default=Path("chapters/recorded/table1"),
        help="folder of the records (%(default)s)",
    )
    table.add_argument("--images", type=int, help="train on so many images only")
    table.add_argument("--device", default="cpu", help="cpu or cuda")
    table.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a Dask scheduler: its workers do the runs (dask worker ADDRESS "
        "--nworkers 2 --nthreads 1); let all machines share --out",
    )
    table.add_argument("--report", action="store_true", help="print what is on record")
    table.add_argument("--json", action="store_true", help="report as JSON")
    check = commands.add_parser("evaluate", help="test a network from its weights")
    check.add_argument("weights", type=Path)
    options = parser.parse_args(arguments)
    try:
        if options.command == "evaluate":
            print(json.dumps(evaluate(options.weights)))
            return
        if options.json and not options.report:
            table.error("--json needs --report")
        if options.seeds < 1:
            table.error(f"expected --seeds to be at least 1, but got {options.seeds}")
        if options.images is not None and options.images < Recipe.batch:
            table.error(
                f"expected --images to be at least a batch of {Recipe.batch}, but got "
                f"{options.images}"
            )
        if options.json:
            print(json.dumps(summary(options.out), indent=1))
        elif options.report:
            print(report(options.out))
        else:
            train_table(options)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "\nstopped; the same command goes on from here\n")


if __name__ == "__main__":
    from stn_tutorial import benchmark  # so named, Dask's workers find run_cell

    benchmark.main()
