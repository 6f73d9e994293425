"""Sphinx extension: what the reference page shows beyond the docstrings.

Each constant gets its value, each "chapter 3" in a docstring a link, and the page
begins with a table of its modules, which tells where each is built and used.
"""

import ast
import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[1]
# The chapters, by their numbers: of 03-pooling.ipynb, "3".
CHAPTERS = {
    str(int(path.name[:2])): path
    for path in sorted((ROOT / "chapters").glob("[0-9][0-9]-*.ipynb"))
}

MENTION = re.compile(r"\b[Cc]hapter\s+(\d+)\b")
BUILT = re.compile(r"Built in\s+chapter\s+(\d+)")
IMPORT = re.compile(r"^from (stn_tutorial[\w.]*) import (\([^)]*\)|.*)", re.M)
DIRECTIVE = re.compile(r"^\.\. automodule:: (\S+)", re.M)


def source_of(module: str) -> Path:
    """Find the file of a module of the package, or of a folder of modules."""
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def purpose(module: str) -> str:
    """Read the first sentence of a module's docstring."""
    tree = ast.parse(source_of(module).read_text("utf-8"))
    return " ".join((ast.get_docstring(tree) or "").partition("\n\n")[0].split())


def imported(code: str) -> set[str]:
    """Name the modules that some code imports, or takes names from."""
    names = set()
    for module, taken in IMPORT.findall(code):
        names |= {module, *(f"{module}.{name}" for name in re.findall(r"\w+", taken))}
    return names


def code_of(chapter: Path) -> str:
    """Read all code of a chapter."""
    cells = json.loads(chapter.read_text("utf-8"))["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")


def links(numbers: set[str]) -> str:
    """Write links to some chapters, in Markdown."""
    found = [(n, path) for n, path in CHAPTERS.items() if n in numbers]
    return ", ".join(f"[{n}]({path.name})" for n, path in found)


def module_table(modules: list[str]) -> list[str]:
    """Write the table of some modules, in Markdown.

    Args:
        modules: their dotted names, in the table's order.

    Returns:
        the lines. A module is built where a docstring says so, which a test proves, and
        used in the other chapters that import it.
    """
    used = {number: imported(code_of(path)) for number, path in CHAPTERS.items()}
    lines = ["| Module | What it holds | Built in | Used in |", "|---|---|---|---|"]
    for module in modules:
        built = set(BUILT.findall(source_of(module).read_text("utf-8")))
        users = {number for number in used if module in used[number]} - built
        short = module.removeprefix("stn_tutorial.")
        cells = [f"{{py:mod}}`{short} <{module}>`", purpose(module)]
        cells += [links(built), links(users)]
        lines += [f"| {' | '.join(cells)} |"]
    return lines


class ModuleTable(SphinxDirective):
    """Show a table of the modules that the page documents."""

    def run(self) -> list[nodes.Node]:
        """Read which these are, and parse the table as part of the page."""
        page = Path(self.env.doc2path(self.env.docname))
        modules = DIRECTIVE.findall(page.read_text("utf-8"))
        for path in [*map(source_of, modules), *CHAPTERS.values()]:
            self.env.note_dependency(str(path))
        parsed = self.parse_text_to_nodes("\n".join(module_table(modules)))
        for table in parsed:
            table["classes"] += ["modules"]
        return parsed


def is_literal(value: Any) -> bool:
    """Say whether Python reads a value from how it writes it."""
    try:
        return ast.literal_eval(repr(value)) == value
    except (SyntaxError, ValueError):
        return False


def describe(value: Any) -> str:
    """Write a constant's value in reStructuredText: what is no literal, by its name."""
    if is_literal(value):
        return f"``{value!r}``"
    if isinstance(value, tuple):
        return f"({', '.join(map(describe, value))})"
    if hasattr(value, "shape"):
        return f"a tensor of shape {tuple(value.shape)}"
    name = f"{value.__module__}.{value.__qualname__}"
    return f":func:`~{name}`" if name.startswith("stn_tutorial.") else f"``{name}``"


def value_field(value: Any) -> list[str]:
    """Write the field that shows a constant's value: of a table, a line for each key.

    A path differs from machine to machine, so a comment has to tell what it is.
    """
    if isinstance(value, Path):
        return []
    if isinstance(value, dict):
        items = [f"   - {describe(k)}: {describe(each)}" for k, each in value.items()]
        return ["", ":Value:", *items, ""]
    return ["", f":Value: {describe(value)}", ""]


def complete(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Show a constant's value, and link to the chapters that a docstring names."""

    def link(found: re.Match[str]) -> str:
        path = CHAPTERS.get(found[1])
        text = " ".join(found[0].split())
        return f":doc:`{text} </chapters/{path.stem}>`" if path else found[0]

    lines[:] = MENTION.sub(link, "\n".join(lines)).split("\n")
    if what == "data":
        lines += value_field(obj)


def setup(app: Any) -> dict[str, bool]:
    """Connect the table and the docstrings' handler to Sphinx."""
    app.add_directive("module-table", ModuleTable)
    app.connect("autodoc-process-docstring", complete)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
