"""Runs on a cluster: a scheduler and workers that die, and Dask that is not there."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from types import SimpleNamespace

import pytest
from runs import FEW, fabricate, files, forbid, read_json, stopped, threads_kept

from stn_tutorial.experiments import table1
from stn_tutorial.experiments.__main__ import main
from stn_tutorial.experiments.table1 import run_cell

TINY = ["table1", "--data", "digits", "--images", str(FEW)]


@pytest.fixture(autouse=True)
def threads():
    with threads_kept():
        yield


def test_without_dask_the_message_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    arguments = ["--out", str(tmp_path), "--scheduler", "tcp://127.0.0.1:1"]
    assert stopped(main, [*TINY, *arguments]) == 1
    assert "--scheduler needs Dask: pip install distributed" in capsys.readouterr().err


class Job:
    """What a cluster gives for a submitted call, ended at once."""

    released = 0

    def __init__(self, function, *arguments):
        self.result = lambda: function(*arguments)

    def release(self):
        Job.released += 1


def fake_dask(monkeypatch, workers):
    """Dask with its workers in this process; the last run ends first."""
    monkeypatch.setattr(Job, "released", 0)
    client = SimpleNamespace(nthreads=lambda: workers, submit=Job)
    dask = SimpleNamespace(
        Client=lambda address: nullcontext(client), as_completed=reversed
    )
    monkeypatch.setitem(sys.modules, "dask", SimpleNamespace(distributed=dask))
    monkeypatch.setitem(sys.modules, "dask.distributed", dask)


def test_workers_have_one_thread_each(tmp_path, monkeypatch, capsys):
    """Two runs in one process would mix their random numbers and their clocks."""
    fake_dask(monkeypatch, {"a": 1, "b": 4})
    monkeypatch.setattr(table1, "run_cell", forbid)
    arguments = ["--out", str(tmp_path), "--scheduler", "tcp://somewhere:8786"]
    assert stopped(main, [*TINY, *arguments]) == 1
    error = capsys.readouterr().err
    assert "expected workers with one thread each" in error
    assert "{'a': 1, 'b': 4}" in error


def test_records_of_workers_without_the_folder_come_home(monkeypatch, tmp_path, capsys):
    """They come in any order; what failed is told at the end, and none is kept.

    There is no worker at first.
    """
    errors = {0: 0.61, 1: 0.73, 2: 0.68}
    fabricate(tmp_path, errors, data="digits", model="fcn", distortion="R")
    records = {seed: read_json(tmp_path, f"digits-fcn-R-seed{seed}") for seed in errors}
    out = tmp_path / "here"

    def elsewhere(data, model, distortion, seed, *_):
        if seed == 1:
            raise RuntimeError("no memory")
        return records[seed]

    fake_dask(monkeypatch, {})
    monkeypatch.setattr(table1, "run_cell", elsewhere)
    arguments = ["--models", "fcn", "--distortions", "R", "--out", str(out)]
    with pytest.raises(SystemExit, match="no memory"):
        main([*TINY, *arguments, "--scheduler", "tcp://somewhere:8786"])
    wait, *output = capsys.readouterr().out.splitlines()
    assert wait.startswith("no worker yet; start some: dask worker tcp://somewhere")
    assert output == ["digits-fcn-R-seed2: 0.68%", "digits-fcn-R-seed0: 0.61%"]
    assert Job.released == 3
    assert files(out) == ["digits-fcn-R-seed0.json", "digits-fcn-R-seed2.json"]
    assert read_json(out, "digits-fcn-R-seed2") == records[2]


def scheduler_address(contact):
    """As the scheduler's file tells it, once it is there and whole."""
    with suppress(OSError, ValueError):
        return json.loads(contact.read_text())["address"]


@contextmanager
def process(arguments, log):
    """Python in the background, with all that it prints in a file."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "TQDM_DISABLE": "1",
    }
    with log.open("w") as output:
        started = subprocess.Popen(
            [sys.executable, *arguments.split()],
            cwd=log.parent,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def wait_for(condition, what, seconds=240):
    """Look again and again until it holds."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.01)
    return result


def test_a_killed_workers_run_is_finished_by_another(tmp_path):
    """A real scheduler, two workers, six runs; one worker dies in the middle of one.

    That is when the first run is on record and both are in the middle of another, with
    a checkpoint each. All programs load the package at the start, so that none waits
    for another to do so.
    """
    images = 6_400
    out, contact = tmp_path / "out", tmp_path / "scheduler.json"
    common = (
        "--host 127.0.0.1 --no-dashboard --preload stn_tutorial.experiments.table1 "
        f"--scheduler-file {contact}"
    )
    scheduler = f"-m dask scheduler {common} --port 0 --dashboard-address 127.0.0.1:0"
    worker = f"-m dask worker {common} --nthreads 1 --no-nanny --memory-limit 0"
    table = (
        "-m stn_tutorial.experiments table1 --data digits --models fcn --seeds 6 "
        f"--distortions R --images {images} --out out --scheduler "
    )
    log = tmp_path / "table.log"
    with ExitStack() as stack:

        def start(arguments, log):
            return stack.enter_context(process(arguments, log))

        start(scheduler, tmp_path / "scheduler.log")
        address = wait_for(lambda: scheduler_address(contact), "the scheduler")
        workers = [start(worker, tmp_path / f"{name}.log") for name in "ab"]
        client = start(table + address, log)

        def two_begun():
            assert client.poll() is None, log.read_text()
            ended = {path.stem: path.stat().st_mtime_ns for path in out.glob("*.json")}
            saved = {path.stem for path in (out / "checkpoints").glob("*.safetensors")}
            begun = saved - ended.keys()
            return (ended, begun) if ended and len(begun) == 2 else None

        ended, begun = wait_for(two_begun, "both workers to be at a second run")
        workers[0].send_signal(signal.SIGKILL)
        assert client.wait(240) == 0, log.read_text()
        assert workers[1].poll() is None
    names = [f"digits-fcn-R-seed{seed}" for seed in range(6)]
    # A worker that dies as it saves leaves a part, which a later run removes.
    assert [name for name in files(out) if not name.endswith(".part")] == [
        *(f"{name}.json" for name in names),
        *(f"weights/{name}.safetensors" for name in names),
    ]
    lines = [line for line in log.read_text().splitlines() if "no worker" not in line]
    assert sorted(line.split(":")[0] for line in lines) == names
    assert [read_json(out, name)["seed"] for name in names] == list(range(6))
    for name, written in ended.items():  # not run again
        assert (out / f"{name}.json").stat().st_mtime_ns == written
    for name in begun:  # one of them was killed: no trace of that is left
        seed = int(name[-1])
        expected = run_cell("digits", "fcn", "R", seed, tmp_path / "again", images)
        found = read_json(out, name)
        assert found == expected | {"seconds": found["seconds"]}
