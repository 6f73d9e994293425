"""How much memory each chapter's kernel takes at its peak.

    python benchmarks/memory.py [CHAPTER ...]

A chapter goes by its number or its file; without any, all are taken. Each runs in a
fresh kernel and an empty folder, on one thread, and nothing of it is stored. Its peak
is the most memory that the kernel ever had in use (VmHWM, so on Linux alone), also as a
share of what a chapter may take; beside it stands the cell that last raised it. What
the first cell imports is a part of every peak, 290 to 490 MB.
"""

import os
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tools"))

from notebooks import chapters, find_chapter  # noqa: E402

LIMIT = 900  # MB; a small machine of Binder's has 1,000 to 2,000


class Meter(NotebookClient):
    """Executes a notebook, and reads after each cell what the kernel has taken."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.peaks: list[float] = []  # in MB, one a cell
        self.lines: list[str] = []  # the first of each cell

    async def async_execute_cell(
        self, cell: NotebookNode, cell_index: int, *args: Any, **options: Any
    ) -> NotebookNode:
        """Execute a cell, and note the peak so far."""
        cell = await super().async_execute_cell(cell, cell_index, *args, **options)
        status = Path(f"/proc/{self.km.provisioner.pid}/status").read_text()
        kilobytes = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])
        self.peaks.append(kilobytes * 1024 / 1e6)
        self.lines.append(cell.source.strip().partition("\n")[0])
        return cell


def measure(path: Path) -> tuple[float, float, str]:
    """Run a chapter.

    Returns:
        the peak in MB after the first code cell, in which most is imported, and at the
        end; and the first line of the cell that raised it last by more than 1%.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    with TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        meter = Meter(
            notebook, kernel_name="python3", resources=resources, timeout=None
        )
        meter.execute()
    peaks = meter.peaks
    last = max(i for i in range(len(peaks)) if i == 0 or peaks[i] > 1.01 * peaks[i - 1])
    return peaks[0], peaks[-1], meter.lines[last]


def main() -> None:
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "TQDM_DISABLE": "1"}
    os.environ["MALLOC_ARENA_MAX"] = "1"  # as binder/start sets it
    paths = [find_chapter(name) for name in sys.argv[1:]] or chapters()
    print(f"{'chapter':24} {'imports':>8} {'peak':>8} {'of limit':>8}  raised last by")
    for path in paths:
        first, peak, line = measure(path)
        share = f"{peak / LIMIT:8.0%}"
        print(
            f"{path.stem:24} {first:5.0f} MB {peak:5.0f} MB {share}  {line}", flush=True
        )


if __name__ == "__main__":
    main()
