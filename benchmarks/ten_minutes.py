"""The rates of the ten-minute page: each network's trials on images held apart.

Run it with ``python benchmarks/ten_minutes.py``, on one thread; it takes five minutes.
It runs the page's own cells, with the last 300 *training* digits as validation images,
and writes ``chapters/recorded/ten_minutes.json``. The test digits take no part.
"""

import json
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import nbformat
import torch

CHAPTERS = Path(__file__).parents[1] / "chapters"
RECORD = CHAPTERS / "recorded" / "ten_minutes.json"
HELD = 300  # of the 1,200 training digits
SEEDS = 3
# As many trials for the one as for the other: (rate, the localisation net's share).
PLAIN = [
    (rate, 1.0)
    for k in (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016)
    for rate in (k, 1.5 * k)
]
TRANSFORMER = list(product((0.003, 0.006, 0.012), (0.1, 0.3, 1.0, 3.0)))


def page() -> dict[str, Any]:
    """What the page defines before it trains: run its cells up to the one with fit."""
    notebook = nbformat.read(CHAPTERS / "ten-minutes.ipynb", as_version=4)
    names: dict[str, Any] = {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and "fit" not in names:
            exec(cell.source.replace("%pip", "pass  #"), names)
    return names


def trials() -> Iterator[dict[str, Any]]:
    """Train with each pair of rates, and give the validation errors in per cent."""
    names = page()
    digits, distort, fit = names["digits"], names["distort"], names["fit"]
    data = digits.train_images[:-HELD], digits.train_labels[:-HELD]
    random = torch.Generator().manual_seed(1)
    held = [distort(digits.train_images[-HELD:], random) for _ in range(5)]
    images, labels = torch.cat(held), digits.train_labels[-HELD:].repeat(5)

    def error(build: Callable, seed: int, rate: float, share: float) -> float:
        torch.manual_seed(seed)
        net = fit(build(), data, seed, rate, share)
        with torch.no_grad():
            wrong = net(images).argmax(dim=1) != labels
        return round(100 * wrong.float().mean().item(), 2)

    for name, rates in (("plain", PLAIN), ("with_transformer", TRANSFORMER)):
        for rate, share in rates:
            errors = [error(names[name], seed, rate, share) for seed in range(SEEDS)]
            yield {"network": name, "rate": rate, "share": share, "errors": errors}


def main() -> None:
    """Run all trials, and write them down."""
    lines = []
    for trial in trials():
        lines.append(json.dumps(trial))
        print(lines[-1], flush=True)
    RECORD.write_text("[\n " + ",\n ".join(lines) + "\n]\n", "utf-8")


if __name__ == "__main__":
    main()
