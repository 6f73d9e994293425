"""Run the chapters, check that their stored outputs are up to date, or measure them.

    python tools/notebooks.py run [CHAPTER ...]
    python tools/notebooks.py check [CHAPTER ...]
    python tools/notebooks.py report [CHAPTER ...]

A chapter goes by its number (3 or 03) or its file; without any, all are taken.

`run` executes each notebook from a fresh kernel and stores its outputs in place,
together with a fingerprint of what gave them (see fingerprint.py). It also fills in the
numbers in the prose (see markers.py). `check` fails when a chapter's outputs are older
than what they depend on. `report` prints how long a chapter is, which is for its author
to judge.
"""

import argparse
import ast
import os
import sys
import time
from pathlib import Path
from typing import Any

import markers
import nbformat
from fingerprint import PACKAGE, ROOT, fingerprint
from jupyter_core.utils import ensure_async
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from reading import report

CHAPTERS = ROOT / "chapters"
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
LANGUAGE = {"name": "python", "file_extension": ".py", "pygments_lexer": "ipython3"}
CELL_METADATA = ("tags", "mystnb")
# How JupyterLab and its kin keep closed what the site does, by the tag for the site.
CLOSED = {
    "hide-cell": {"source_hidden": True, "outputs_hidden": True},
    "hide-input": {"source_hidden": True},
}
WIDGETS = "application/vnd.jupyter.widget-state+json"


def chapters() -> list[Path]:
    """List the book's notebooks in reading order."""
    return sorted(CHAPTERS.glob("*.ipynb"))


def find_chapter(name: str) -> Path:
    """Find a chapter by its number or its file.

    Raises:
        ValueError: there is none.
    """
    numbered = [path for path in chapters() if path.stem.startswith(f"{name:0>2}-")]
    if name.isdigit() and numbered:
        return numbered[0]
    if not Path(name).is_file():
        raise ValueError(
            f"expected a chapter's number or file, such as 3 or "
            f"{chapters()[3].name}, but got: {name}"
        )
    return Path(name)


def is_fresh(notebook: NotebookNode) -> bool:
    """Say whether a notebook's outputs come from today's code and records."""
    stored = notebook.metadata.get(PACKAGE, {}).get("fingerprint")
    return stored == fingerprint(notebook)


def name_widgets(notebook: NotebookNode) -> None:
    """Call each figure by its label, not by a new number every time; drop the others.

    A widget without a label is one that a cell only computed with.
    """
    saved = notebook.metadata.get("widgets", {}).get(WIDGETS, {}).get("state", {})
    names = {}
    for number, model in saved.items():
        if label := model["state"].get("label"):
            names[number] = label
            names[model["state"]["layout"].removeprefix("IPY_MODEL_")] = (
                f"{label}-layout"
            )
    for number in set(saved) - set(names):
        del saved[number]
    text = nbformat.writes(notebook)
    for number, name in names.items():
        text = text.replace(number, name)
    notebook.update(nbformat.reads(text, as_version=4))


def closed(cell: NotebookNode) -> dict[str, bool]:
    """Say what of a cell JupyterLab keeps closed, as its metadata does."""
    tags = cell.metadata.get("tags", [])
    return next((CLOSED[tag] for tag in tags if tag in CLOSED), {})


def clean(notebook: NotebookNode, mark: str) -> None:
    """Keep only the metadata that the book uses, so that diffs show real changes.

    A cell that the site keeps closed is marked to be closed elsewhere too.

    Args:
        notebook: The notebook, changed in place.
        mark: The fingerprint of the code that gave its outputs.
    """
    name_widgets(notebook)
    widgets = {k: v for k, v in notebook.metadata.items() if k == "widgets"}
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": KERNEL,
            "language_info": LANGUAGE,
            PACKAGE: {"fingerprint": mark},
            **widgets,
        }
    )
    for cell in notebook.cells:
        kept = {
            key: cell.metadata[key] for key in CELL_METADATA if key in cell.metadata
        }
        if closed(cell):
            kept["jupyter"] = dict(closed(cell))
        cell.metadata = nbformat.from_dict(kept)


class Runner(NotebookClient):
    """Executes a notebook, and fills in the numbers of its prose as it goes along."""

    place = ""  # for a message: the cell that runs

    async def async_execute_cell(
        self, cell: NotebookNode, cell_index: int, *args: Any, **options: Any
    ) -> NotebookNode:
        """Execute a cell, and then evaluate the expressions in its prose.

        Raises:
            RuntimeError: If an expression fails.
        """
        first_line = cell.source.strip().partition("\n")[0]
        self.place = f"cell {cell_index + 1}: {first_line}"
        cell = await super().async_execute_cell(cell, cell_index, *args, **options)
        text = markers.marked_text(cell)
        values = [await self.value(wanted) for wanted in markers.expressions(text)]
        markers.set_marked_text(cell, markers.filled(text, values))
        return cell

    async def value(self, expression: str) -> str:
        """Ask the kernel for an expression's value, as text; no output remains of it.

        Raises:
            RuntimeError: If the expression fails.
        """
        wanted = {"value": f"str({expression})"}
        request = self.kc.execute("", silent=True, user_expressions=wanted)
        reply = await self.async_wait_for_reply(await ensure_async(request))
        answer = reply["content"]["user_expressions"]["value"]
        if answer["status"] == "error":
            raise RuntimeError(f"{expression}\n{answer['ename']}: {answer['evalue']}")
        return ast.literal_eval(answer["data"]["text/plain"])


def run(path: Path) -> None:
    """Execute a notebook from a fresh kernel, store its outputs, fill in its numbers.

    Args:
        path: The notebook. It is replaced as a whole, and only after every cell ran.

    Raises:
        RuntimeError: If a cell or an expression fails; the message names the cell.
    """
    notebook = nbformat.read(path, as_version=4)
    mark = fingerprint(notebook)
    client = Runner(
        notebook,
        kernel_name=KERNEL["name"],
        record_timing=False,
        coalesce_streams=True,  # or their number depends on the machine's pace
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        timeout=600,
        resources={"metadata": {"path": str(path.parent)}},
    )
    try:
        client.execute()
    except (CellExecutionError, RuntimeError) as error:
        raise RuntimeError(f"{path.name}, {client.place}\n{error}") from error
    clean(notebook, mark)
    draft = path.with_suffix(".ipynb.part")
    nbformat.write(notebook, draft)
    os.replace(draft, path)


def run_all(paths: list[Path]) -> bool:
    """Run chapters, and say how long each took or why it failed."""
    well = True
    for path in paths:
        start = time.perf_counter()
        try:
            run(path)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            well = False
        else:
            print(f"{path.name}: ran in {time.perf_counter() - start:.1f} s")
    return well


def check_all(paths: list[Path]) -> bool:
    """Name the chapters whose outputs are stale."""
    stale = [path for path in paths if not is_fresh(nbformat.read(path, as_version=4))]
    for path in stale:
        print(
            f"{path.name}: its code, the package's or a record changed after its "
            f"outputs were stored. Run `python tools/notebooks.py run "
            f"{os.path.relpath(path)}`.",
            file=sys.stderr,
        )
    return not stale


def report_all(paths: list[Path]) -> bool:
    """Print a table, a line a chapter."""
    for i, path in enumerate(paths):
        measures = report(nbformat.read(path, as_version=4))
        if i == 0:
            print(" " * 24, "  ".join(measures))
        numbers = [f"{value:>{len(name)}}" for name, value in measures.items()]
        print(f"{path.stem:24}", "  ".join(numbers))
    return True


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = {"run": run_all, "check": check_all, "report": report_all}
    parser.add_argument("command", choices=commands)
    parser.add_argument("chapter", nargs="*")
    options = parser.parse_args(arguments)
    os.environ["TQDM_DISABLE"] = "1"  # a progress bar is no output to store
    try:
        paths = [find_chapter(name) for name in options.chapter] or chapters()
    except ValueError as error:
        parser.error(str(error))
    return int(not commands[options.command](paths))


if __name__ == "__main__":
    sys.exit(main())
