"""Runs on record: each trains one network, tests it once, and leaves one JSON file."""

import base64
import io
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from stn_tutorial.checkpoints import seal
from stn_tutorial.files import remove_parts, write_whole
from stn_tutorial.networks import Network, multiplies_bfloat16
from stn_tutorial.training import History, Recipe, mistakes, train

# What names a run, in this order; not every run has a distortion.
KEY = ("data", "model", "distortion", "seed")
# What else a report needs of its record.
RESULT = ("error", "weights", "images_seen", "seconds", "recipe")
WATCHED = 12  # test images that a record follows through the training


class Task(NamedTuple):
    """What a run needs, as :func:`stn_tutorial.training.train` takes it.

    ``test`` holds test images and labels. ``describe`` gets the trained network and
    the history, and returns what else is to be recorded.
    """

    network: Network
    images: Tensor
    labels: Tensor
    distortion: str | Callable[..., Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    watched: Tensor | None = None
    describe: Callable[[Network, History], dict] | None = None


def new_network(build: Callable[..., Network], *names: str, seed: int) -> Network:
    """Make an untrained network, ``build(*names)``, whose weights the seed decides."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build(*names)
    channels_last(network)
    return network


def channels_last(network: nn.Module) -> None:
    """Keep a network's filters in the layout in which convolutions are quickest."""
    # PyTorch's own types leave this argument out.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def run_name(key: dict) -> str:
    """Say what the files of a run are called, without their endings."""
    kind = "-".join(kind_of(key).values())
    return f"{kind}-seed{key['seed']}"


def kind_of(key: Mapping) -> dict[str, str]:
    """Keep what runs that differ in nothing but the seed have in common."""
    return {field: str(key[field]) for field in KEY[:3] if field in key}


def run(
    out: str | Path,
    key: dict,
    recipe: Recipe,
    prepare: Callable[[], Task],
    device: str = "cpu",
) -> dict:
    """Train one network, test it once, and put the run on record.

    A run that is on record is not trained again; one that was interrupted goes on from
    its last checkpoint. In ``out`` it leaves ``NAME.json``, ``NAME.png`` for seed 0
    of a network with a transformer (test images above what the classifier saw of them),
    and ``weights/NAME.safetensors``. The JSON file comes last. PyTorch is left with one
    thread, which is quickest for such small networks.

    Args:
        out: folder of the records.
        key: the fields of ``KEY`` that name the run.
        recipe: how to train.
        prepare: makes the network and loads the data; not called for a run on record.
        device: where to train, "cpu" or "cuda".

    Returns:
        the record, as in the JSON file.

    Raises:
        ValueError: the run on record, or its checkpoint, had another recipe; or the
            file of the record cannot be read.
    """
    out, name = Path(out), run_name(key)
    checkpoint = out / "checkpoints" / f"{name}.safetensors"
    if (out / f"{name}.json").exists():
        record = read(out / f"{name}.json")
        if record["recipe"] != asdict(recipe):
            raise ValueError(
                f"expected {out / name}.json to have the recipe {asdict(recipe)}, but "
                f"it has {record['recipe']}; remove it, or name another --out"
            )
        _remove(checkpoint)
        return record
    torch.set_num_threads(1)
    task = prepare()
    network = task.network.to(device)
    history = train(
        network,
        task.images,
        task.labels,
        task.distortion,
        recipe,
        validation=task.validation,
        seed=key["seed"],
        watched=task.watched,
        checkpoint=checkpoint,
    )
    wrong = mistakes(network, *task.test)
    record = {
        **key,
        "error": 100 * wrong.sum().item() / len(wrong),
        "test_images": len(task.test[1]),
        "weights": sum(weights.numel() for weights in network.parameters()),
        "images_seen": history.images[-1],
        "seconds": round(history.seconds[-1], 1),
        "recipe": asdict(recipe),
        "curve": {
            "images": history.images,
            "loss": rounded(history.loss),
            "validation_error": rounded(history.error),
        },
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "stn-tutorial": version("stn-tutorial"),
        },
        "device": device,
        "bfloat16": multiplies_bfloat16(device),
        "wrong": bits_to_text(wrong),
    }
    if task.describe:
        record |= task.describe(network, history)
    if task.watched is not None and key["seed"] == 0:
        write_whole(out / f"{name}.png", picture(task.watched, history.warped[-1]))
    content = seal(network.state_dict(), kind_of(key))
    write_whole(out / "weights" / f"{name}.safetensors", content)
    write_whole(out / f"{name}.json", to_json(record))
    _remove(checkpoint)
    return record


def _remove(checkpoint: Path) -> None:
    checkpoint.unlink(missing_ok=True)
    remove_parts(checkpoint)


def rounded(numbers: Tensor | Sequence[float]) -> list:
    """Round numbers as a record keeps them: to four digits after the point."""
    return torch.as_tensor(numbers, dtype=torch.double).round(decimals=4).tolist()


def bits_to_text(bits: Tensor) -> str:
    """Write booleans, shape (N,), as text: eight of them are a byte, in Base64."""
    return base64.b64encode(np.packbits(bits.numpy()).tobytes()).decode()


def pack(numbers: Tensor) -> dict:
    """Write numbers as a record keeps many of them: in half precision, as Base64."""
    halves = numbers.half().numpy().astype("<f2").tobytes()
    return {
        "shape": list(numbers.shape),
        "float16": base64.b64encode(halves).decode(),
    }


def unpack(packed: dict | list) -> Tensor:
    """Read numbers that ``pack`` wrote, or a list of them, as older records have.

    The transforms ``theta`` of a run are such numbers: (N, 2, 3), (N, 8) or (N, 16, 2).
    """
    if isinstance(packed, list):
        return torch.tensor(packed)
    halves = np.frombuffer(base64.b64decode(packed["float16"]), "<f2")
    return torch.from_numpy(halves.astype(np.float32)).view(packed["shape"])


def wrong_images(record: dict) -> Tensor:
    """Say which test images a run got wrong, shape (``record["test_images"]``,).

    Raises:
        ValueError: the record is an older one, which keeps their number alone.
    """
    if "wrong" not in record:
        raise ValueError(
            f"expected a record that names its wrong images, but {run_name(record)} "
            "does not: remove it, and train again"
        )
    packed = np.frombuffer(base64.b64decode(record["wrong"]), np.uint8)
    return torch.from_numpy(np.unpackbits(packed, count=record["test_images"])).bool()


def to_json(record: dict) -> bytes:
    """Write a record as the content of its file: one field a line."""
    lines = []
    for field, value in record.items():
        lines.append(f" {json.dumps(field)}: {json.dumps(value, allow_nan=False)}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def read(path: Path) -> dict:
    """Read a record from its file.

    Raises:
        ValueError: the file holds no record, or not the one it is named after.
    """
    try:
        record = json.loads(path.read_bytes())
        found = run_name(record)
        if missing := [field for field in RESULT if field not in record]:
            found += f" without {', '.join(missing)}"
    except (ValueError, KeyError, TypeError) as error:
        found = repr(error)
    if found != path.stem:
        raise ValueError(
            f"expected {path} to hold the record of {path.stem}, but found {found}"
        )
    return record


def picture(above: Tensor, below: Tensor) -> bytes:
    """Draw two rows of square images, (N, C, S, S) and (N, C, s, s), as a PNG.

    They are grey or RGB. The smaller ones stand in the middle of their places.
    """
    side = max(above.shape[-1], below.shape[-1])
    rows = []
    for images in (above, below):
        gap = side - images.shape[-1]
        before, after = gap // 2, gap - gap // 2
        padded = F.pad(images, (before, after, before, after))  # (N, C, side, side)
        rows.append(padded.permute(2, 0, 3, 1).flatten(1, 2))  # (side, N * side, C)
    pixels = (255 * torch.cat(rows)).round().clamp(0, 255).byte()
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(2).numpy()).save(file, "PNG", optimize=True)
    return file.getvalue()


def summary(out: str | Path) -> list[dict]:
    """Sum up the runs on record: one entry for all that differ but in the seed.

    Each has the runs' data, model and distortion, their ``errors`` in the order of the
    seeds (test error in %), ``weights``, ``images_seen``, and mean ``seconds``.

    Raises:
        ValueError: a file is no record, or the runs of a set differ in their recipe.
    """
    sets: dict[str, list[dict]] = {}
    for path in sorted(Path(out).glob("*.json")):
        record = read(path)
        sets.setdefault("-".join(kind_of(record).values()), []).append(record)
    entries = []
    for name, runs in sets.items():
        runs.sort(key=lambda run: run["seed"])
        recipes = [run["recipe"] for run in runs]
        if any(recipe != recipes[0] for recipe in recipes):
            raise ValueError(
                f"expected one recipe in all runs of {name} in {out}, but found "
                f"{recipes}"
            )
        entry = {
            **kind_of(runs[0]),
            "errors": [run["error"] for run in runs],
            "weights": runs[0]["weights"],
            "images_seen": runs[0]["images_seen"],
            "seconds": round(mean(run["seconds"] for run in runs), 1),
        }
        entries.append(entry)
    return entries
