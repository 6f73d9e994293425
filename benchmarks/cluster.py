"""A small sweep on a Dask cluster of one machine: one worker, two, and one that dies.

    python benchmarks/cluster.py             print it, in three minutes of two cores
    python benchmarks/cluster.py --record    and keep it for chapter 11

Twelve runs of the table's command, six seeds of two networks on the bundled digits. The
clock runs from the command's first line of code to its last record, so that it counts
what a cluster costs as well: to start, to send, to wait for the last run. The workers
are there before.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stn_tutorial.files import RECORDED

IMAGES = 25_600
RECORD = RECORDED / "cluster.json"
SWEEP = (
    "-m stn_tutorial.experiments table1 --data digits --models fcn st-fcn-affine "
    f"--distortions R --seeds 6 --images {IMAGES}"
)
QUIET = os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}


@contextmanager
def process(arguments: str, folder: Path) -> Iterator[subprocess.Popen]:
    """Python in the background; what it prints goes into a file."""
    with (folder / "log").open("a") as log:
        started = subprocess.Popen(
            [sys.executable, *arguments.split()],
            cwd=folder,
            env=QUIET,
            stdout=log,
            stderr=log,
        )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def wait_for(condition, folder: Path) -> None:
    """Look again and again, for two minutes at most."""
    end = time.monotonic() + 120
    while not condition():
        if time.monotonic() > end:
            sys.exit(
                "waited in vain; the programs said:\n" + (folder / "log").read_text()
            )
        time.sleep(0.05)


def sweep(workers: int, kill: bool = False) -> tuple[float, dict[str, dict], list[str]]:
    """Do the sweep, and kill a worker once two runs are on record.

    Returns:
        the seconds it took, the records by their runs' names without what a clock said,
        and the runs that were under way when a worker died.
    """
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place)
        contact = folder / "scheduler.json"
        common = (
            "--host 127.0.0.1 --no-dashboard --preload stn_tutorial.experiments.table1 "
            f"--scheduler-file {contact}"
        )
        scheduler = f"-m dask scheduler {common} --port 0"
        scheduler += " --dashboard-address 127.0.0.1:0"
        worker = f"-m dask worker {common} --nthreads 1 --no-nanny --memory-limit 0"
        stack.enter_context(process(scheduler, folder))
        wait_for(lambda: contact.exists() and contact.read_text().endswith("}"), folder)
        address = json.loads(contact.read_text())["address"]
        started = [stack.enter_context(process(worker, folder)) for _ in range(workers)]
        log = folder / "log"
        wait_for(
            lambda: (
                log.read_text().count("Starting established connection") >= workers
                or log.read_text().count("Registered to:") >= workers
            ),
            folder,
        )
        start = time.perf_counter()
        command = f"{SWEEP} --out {folder}/out --scheduler {address}"
        table = stack.enter_context(process(command, folder))
        out, begun = folder / "out", []

        def amid() -> bool:
            ended = {path.stem for path in out.glob("*.json")}
            saved = {path.stem for path in out.glob("checkpoints/*.safetensors")}
            begun[:] = sorted(saved - ended)
            return len(ended) >= 2 and len(begun) == workers

        if kill:
            wait_for(amid, folder)
            started[0].send_signal(signal.SIGKILL)
        if table.wait(300):
            sys.exit("the sweep failed:\n" + log.read_text())
        seconds = time.perf_counter() - start
        records = {
            path.stem: json.loads(path.read_text()) for path in out.glob("*.json")
        }
    for record in records.values():
        record.pop("seconds")
    return seconds, records, begun if kill else []


def main() -> None:
    """Print seconds and ratio, and whether a worker's death changed a number."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="keep it in the book")
    options = parser.parse_args()
    one, records, _ = sweep(1)
    print(f"one worker: {one:.1f} s for {len(records)} runs", flush=True)
    two, with_two, _ = sweep(2)
    print(f"two workers: {two:.1f} s, {one / two:.2f} times as fast", flush=True)
    killed, after, lost = sweep(2, kill=True)
    print(f"two, and one dies at {' and '.join(lost)}: {killed:.1f} s", flush=True)
    same = records == with_two == after
    print(
        f"{len(after)} records, {'the same' if same else 'NOT the same'} in all three"
    )
    if options.record:
        told = {
            "runs": len(records),
            "images": IMAGES,
            "seconds": {"one": one, "two": two, "one of two killed": killed},
            "under way": lost,
            "same": same,
        }
        RECORD.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    if not same:
        sys.exit("expected the same records, whoever did the runs")


if __name__ == "__main__":
    main()
