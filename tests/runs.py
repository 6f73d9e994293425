"""What the tests of long runs share: tiny runs, and records made up."""

import json
from contextlib import contextmanager

import pytest
import torch

from stn_tutorial import training
from stn_tutorial.experiments.table1 import run_cell

FEW = 640  # images: five steps
REPORTED = {
    "data",
    "model",
    "distortion",
    "errors",
    "weights",
    "images_seen",
    "seconds",
}


@contextmanager
def threads_kept():
    """A run sets the number of threads to one; here it comes back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run_tiny(model, out, seed=0, distortion="R"):
    """A run of the table that takes a second."""
    return run_cell("digits", model, distortion, seed, out, FEW)


def train_table(out):
    """Three runs: two seeds of a cell, and a transformer on TC."""
    run_tiny("fcn", out)
    run_tiny("fcn", out, seed=1)
    run_tiny("st-fcn-tps", out, distortion="TC")


def read_json(out, name):
    return json.loads((out / f"{name}.json").read_text())


def files(folder):
    """All files below a folder, by their paths within it."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def forbid(*_, **__):
    """Stand for what is not to be called."""
    raise AssertionError("expected no training")


@contextmanager
def stop_before(step, monkeypatch):
    """Press Ctrl-C in the middle of a training; gives a list of the steps begun."""
    begun = []

    def interrupted(*args):
        begun.append(None)
        if len(begun) == step:
            raise KeyboardInterrupt
        return take_step(*args)

    take_step = training.take_step
    with monkeypatch.context() as patch:
        patch.setattr(training, "take_step", interrupted)
        yield begun


def fabricate(out, errors, images=1_000_000, **key):
    """Records as runs leave them, with errors of our choice: seed -> error."""
    for seed, error in errors.items():
        record = {
            **key,
            "seed": seed,
            "error": error,
            "weights": 1234,
            "images_seen": images,
            "seconds": 60.0 * (seed + 1),
            "recipe": {"images": images},
        }
        kind = [key[field] for field in ("data", "model", "distortion") if field in key]
        path = out / f"{'-'.join(kind)}-seed{seed}.json"
        path.write_text(json.dumps(record))


def stopped(call, *arguments):
    """Call the command line, which ends: with what status, or with what message."""
    with pytest.raises(SystemExit) as stop:
        call(*arguments)
    return stop.value.code
