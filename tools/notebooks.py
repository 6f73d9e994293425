"""Run the chapters, or check that their stored outputs are up to date.

    python tools/notebooks.py run [NOTEBOOK ...]
    python tools/notebooks.py check [NOTEBOOK ...]

`run` executes each notebook from a fresh kernel and stores its outputs in place,
together with a fingerprint of what gave them: the notebook's own cells, every module
of the package that they reach, and the results on record that they name. It also fills
in the numbers in the prose (see markers.py). `check` fails when any of it has changed
since. Without a name, both take every chapter.
"""

import argparse
import ast
import hashlib
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import markers
import nbformat
from jupyter_core.utils import ensure_async
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = ROOT / "chapters"
RECORDED = CHAPTERS / "recorded"
PACKAGE = "stn_tutorial"
CHECKERS = "exercises"  # they say "right", or nbval fails: no output depends on them

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
LANGUAGE = {"name": "python", "file_extension": ".py", "pygments_lexer": "ipython3"}
CELL_METADATA = ("tags", "mystnb")
WIDGETS = "application/vnd.jupyter.widget-state+json"


def chapters() -> list[Path]:
    """List the book's notebooks in reading order."""
    return sorted(CHAPTERS.glob("*.ipynb"))


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """List the cells that hold code."""
    return [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.source.strip()
    ]


def plain_python(source: str) -> str:
    """Turn IPython's own lines (`%pip`, `!ls`) into comments, so that `ast` can read.

    A line keeps its indentation and holds `pass`, so a block never becomes empty.
    """
    lines = []
    for line in source.splitlines():
        bare = line.lstrip()
        indent = line[: len(line) - len(bare)]
        lines.append(f"{indent}pass" if bare.startswith(("%", "!")) else line)
    return "\n".join(lines)


def imported_modules(source: str, package_dir: Path) -> set[str]:
    """Name the package's modules that some Python source imports itself."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = f"{PACKAGE}.{base}".rstrip(".")
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    stems = set()
    for name in names:
        top, _, rest = name.partition(".")
        if top == PACKAGE:
            stems |= {"__init__", rest.split(".")[0]}
    return {stem for stem in stems if stem and module_files(stem, package_dir)}


def module_files(stem: str, package_dir: Path) -> list[Path]:
    """List the files of a module: one, or a folder's with what Python does not read."""
    single = package_dir / f"{stem}.py"
    return [single] if single.exists() else sorted((package_dir / stem).glob("*.*"))


def reachable_modules(sources: list[str], package_dir: Path) -> list[Path]:
    """List the package's files that some sources import, directly or through others.

    The exercises' checkers are left out.
    """
    found: set[str] = set()
    waiting = list(sources)
    while waiting:
        new = imported_modules(waiting.pop(), package_dir) - found - {CHECKERS}
        found |= new
        for path in (path for stem in new for path in module_files(stem, package_dir)):
            if path.suffix == ".py":
                waiting.append(path.read_text("utf-8"))
    return [path for stem in sorted(found) for path in module_files(stem, package_dir)]


def named_records(sources: list[str], recorded: Path) -> list[Path]:
    """List the results on record that some sources name, by their file or folder."""
    words = set(re.findall(r"[\w.-]+", "\n".join(sources)))
    paths = sorted([*recorded.glob("*.*"), *recorded.glob("*/*.*")])
    return [path for path in paths if path.relative_to(recorded).parts[0] in words]


def without_docstrings(source: str) -> str:
    """Blank the docstrings of some Python source: no output depends on them."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            text = node.body[0]
            for i in range(text.lineno - 1, text.end_lineno):
                lines[i] = ""
    return "\n".join(lines)


def fingerprint(
    notebook: NotebookNode,
    package_dir: Path = ROOT / PACKAGE,
    recorded: Path = RECORDED,
) -> str:
    """Hash the code and the records that a notebook's outputs depend on.

    Prose, outputs and the package's docstrings do not count.

    Args:
        notebook: The notebook.
        package_dir: The folder of the package's modules.
        recorded: The folder of the results on record.

    Returns:
        A SHA-256 in hexadecimal.
    """
    sources = [cell.source for cell in code_cells(notebook)]
    digest = hashlib.sha256()
    texts = [markers.marked_text(cell) for cell in notebook.cells]
    wanted = [each for text in texts for each in markers.expressions(text)]
    for source in [*sources, *wanted]:
        digest.update(source.encode() + b"\0")
    modules = reachable_modules([plain_python(s) for s in sources], package_dir)
    for path in modules + named_records(sources, recorded):
        content = path.read_bytes()
        if path.suffix == ".py":
            content = without_docstrings(content.decode()).encode()
        digest.update(path.name.encode() + b"\0" + content)
    return digest.hexdigest()


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


def clean(notebook: NotebookNode, mark: str) -> None:
    """Keep only the metadata that the book uses, so that diffs show real changes.

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
        cell.metadata = nbformat.from_dict(kept)


class Runner(NotebookClient):
    """Executes a notebook, and fills in the numbers of its prose as it goes along."""

    place = ""  # for a message: the cell that runs

    async def async_execute_cell(
        self, cell: NotebookNode, cell_index: int, **options: Any
    ) -> NotebookNode:
        """Execute a cell, and then evaluate the expressions in its prose.

        Raises:
            RuntimeError: If an expression fails.
        """
        first_line = cell.source.strip().partition("\n")[0]
        self.place = f"cell {cell_index + 1}: {first_line}"
        cell = await super().async_execute_cell(cell, cell_index, **options)
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


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["run", "check"])
    parser.add_argument("notebook", nargs="*", type=Path)
    options = parser.parse_args(arguments)
    os.environ["TQDM_DISABLE"] = "1"  # a progress bar is no output to store
    failed = False
    for path in options.notebook or chapters():
        if options.command == "run":
            start = time.perf_counter()
            try:
                run(path)
            except RuntimeError as error:
                print(error, file=sys.stderr)
                failed = True
            else:
                print(f"{path.name}: ran in {time.perf_counter() - start:.1f} s")
        elif not is_fresh(nbformat.read(path, as_version=4)):
            print(
                f"{path.name}: its code, the package's or a record changed after its "
                "outputs were stored. Run `make notebooks`.",
                file=sys.stderr,
            )
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
