"""What a chapter's outputs depend on, as one hash: they are stale when it changes.

It covers the chapter's own code, and what that code reaches in the package, name by
name: from `affine_grid` to the function, and on to each name that the function uses. Of
all this only the meaning counts, which is the syntax tree without docstrings and hints.
Data files that the reached code names count as they are, and so do results on record.
"""

import ast
import hashlib
import re
from functools import cache
from pathlib import Path

import markers
from nbformat import NotebookNode
from syntax import (
    Plain,
    defined_names,
    dotted_names,
    imports,
    meaning,
    plain_python,
    words,
)

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "chapters" / "recorded"
PACKAGE = "stn_tutorial"
CHECKERS = "exercises"  # they say "right", or nbval fails: no output depends on them
BUILT = "built"  # a folder of files that a bundler has made of their sources
SOURCE_FILES = {".py", ".pyc", ".typed"}
# At the end of a cell it keeps IPython from showing the last value.
SEMICOLON = re.compile(r";\s*(#.*)?\s*\Z")


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """List the cells that hold code."""
    return [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.source.strip()
    ]


# Following names through the package


class Module:
    """A module of the package.

    Args:
        name: its dotted name.
        path: its file.

    Attributes:
        defined: the statements that define a name: functions, classes, assignments.
        names: what each name stands for, imported or defined, as dotted names.
        other: statements that run whenever the module is imported.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self.is_folder = path.name == "__init__.py"
        self.package = name if self.is_folder else name.rpartition(".")[0]
        self.defined: dict[str, list[ast.stmt]] = {}
        self.names: dict[str, set[str]] = {}
        self.other: list[ast.stmt] = []
        for statement in Plain().visit(ast.parse(path.read_text("utf-8"))).body:
            defines = defined_names(statement)
            for each in defines:
                self.defined.setdefault(each, []).append(statement)
                self.names.setdefault(each, set()).add(f"{name}.{each}")
            if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
                continue  # what is imported within is known within
            for each, target in imports(statement, self.package):
                self.names.setdefault(each, set()).add(target)
            if not defines and not isinstance(statement, (ast.Import, ast.ImportFrom)):
                self.other.append(statement)

    def targets(self) -> set[str]:
        """Collect what all names stand for."""
        return set().union(*self.names.values())

    def lazy_home(self, name: str) -> str:
        """Find the module that a name is loaded from when it is asked for.

        A module with `__getattr__` lists such names in a dictionary of literals.
        """
        if "__getattr__" not in self.defined:
            return ""
        for statement in (s for each in self.defined.values() for s in each):
            table = getattr(statement, "value", None)
            if isinstance(table, ast.Dict):
                for key, home in zip(table.keys, table.values, strict=True):
                    if getattr(key, "value", None) == name:
                        return f"{self.name}.{getattr(home, 'value', None)}"
        return ""


class Reach:
    """Everything that some code reaches in the package.

    Args:
        folder: the package's folder.
        recorded: the folder of the results on record.

    Attributes:
        units: what counts, by name: the meaning of code, the content of files.
    """

    def __init__(self, folder: Path, recorded: Path) -> None:
        self.folder, self.recorded = folder, recorded
        self.units: dict[str, bytes] = {}
        self.waiting: list[tuple[str, str]] = []
        self.seen: set[tuple[str, str]] = set()
        self.touched: set[str] = set()
        self.module = cache(self.find_module)

    def find_module(self, name: str) -> Module | None:
        """Read a module; none if the package has no such module."""
        top, *parts = name.split(".")
        place = self.folder.joinpath(*parts)
        for path in (place / "__init__.py", place.with_suffix(".py")):
            if top == PACKAGE and path.exists():
                return Module(name, path)
        return None

    def add_cells(self, trees: list[ast.AST]) -> None:
        """Follow a chapter's cells, which share their names."""
        known: dict[str, set[str]] = {}
        for tree in trees:
            for name, target in imports(tree):
                known.setdefault(name, set()).add(target)
                if self.module(target) is None:
                    self.want(target)
                else:
                    self.touch(target)
        for tree in trees:
            self.follow(tree, known)
        self.finish()

    def follow(self, tree: ast.AST, known: dict[str, set[str]]) -> None:
        """Want all names of the package that a tree uses."""
        for name in dotted_names(tree):
            first, _, rest = name.partition(".")
            for target in known.get(first, ()):
                self.want(f"{target}.{rest}".rstrip("."))

    def want(self, target: str) -> None:
        """Note a dotted name to be followed; others than the package's are not."""
        parts = target.split(".")
        if parts[0] != PACKAGE or is_left_out(target):
            return
        name = parts.pop(0)
        while parts and self.module(f"{name}.{parts[0]}"):
            name = f"{name}.{parts.pop(0)}"
        wanted = name, parts[0] if parts else "*"
        if wanted not in self.seen:
            self.seen.add(wanted)
            self.waiting.append(wanted)

    def finish(self) -> None:
        """Follow what is wanted until nothing new turns up."""
        while self.waiting:
            module_name, name = self.waiting.pop()
            module = self.module(module_name)
            if module is None:
                continue
            self.touch(module_name)
            if name == "*":
                self.want_all(module)
            elif name in module.defined:
                for statement in module.defined[name]:
                    self.count(module, name, statement)
            elif name in module.names:
                for target in module.names[name]:
                    self.want(target)
            elif home := module.lazy_home(name):
                self.want(f"{home}.{name}")
            else:  # it comes from somewhere, so everything counts
                self.want_all(module)

    def want_all(self, module: Module) -> None:
        """Want a module as a whole, and all modules of a folder."""
        for target in module.targets():
            self.want(target)
        if module.is_folder:
            for path in module.path.parent.glob("*.py"):
                if path != module.path:
                    self.want(f"{module.name}.{path.stem}")
            for path in module.path.parent.glob("*/__init__.py"):
                self.want(f"{module.name}.{path.parent.name}")

    def touch(self, name: str) -> None:
        """Count what runs when a module is imported, and when it imports others."""
        module = self.module(name)
        if module is None or name in self.touched or is_left_out(name):
            return
        self.touched.add(name)
        self.touch(module.package)
        for statement in module.other:
            self.count(module, "", statement)
        for target in module.targets():
            self.touch(target)
            self.touch(target.rpartition(".")[0])

    def count(self, module: Module, name: str, statement: ast.stmt) -> None:
        """Count a statement of a module, and want the names that it uses."""
        key = f"{module.name}.{name}"
        self.units[key] = self.units.get(key, b"") + meaning(statement).encode()
        known = dict(module.names)
        for each, target in imports(statement, module.package):
            known[each] = known.get(each, set()) | {target}
        self.follow(statement, known)
        self.add_files(module.path, words(statement) | {module.path.stem})
        self.add_records(words(statement))

    def add_files(self, path: Path, named: set[str]) -> None:
        """Count the data files that a module's code names, beside it or built."""
        for folder in (path.parent, path.parent / BUILT):
            for file in folder.glob("*.*"):
                if file.suffix not in SOURCE_FILES and {file.name, file.stem} & named:
                    self.units[str(file.relative_to(self.folder))] = file.read_bytes()

    def add_records(self, named: set[str]) -> None:
        """Count the results on record that are named, by their file or folder."""
        for file in [*self.recorded.glob("*.*"), *self.recorded.glob("*/*.*")]:
            place = file.relative_to(self.recorded)
            if place.parts[0] in named:
                self.units[f"recorded/{place}"] = file.read_bytes()


def is_left_out(target: str) -> bool:
    """Say whether a dotted name is one of the checkers'."""
    return target.split(".")[1:2] == [CHECKERS]


# The hash


def cell_trees(notebook: NotebookNode) -> list[ast.AST]:
    """Read a chapter's code: its cells, and the expressions in its prose."""
    trees = []
    for cell in notebook.cells:
        codes = markers.expressions(markers.marked_text(cell))
        if cell.cell_type == "code":
            codes.insert(0, plain_python(cell.source))
        for code in codes:
            try:
                # A cell shows its first string if nothing follows: no docstring.
                trees.append(Plain().generic_visit(ast.parse(code)))
            except SyntaxError:  # a run will say so
                trees.append(ast.Constant(code))
    return trees


def reached(
    notebook: NotebookNode,
    folder: Path = ROOT / PACKAGE,
    recorded: Path = RECORDED,
) -> dict[str, bytes]:
    """Find what a chapter's outputs depend on, outside the chapter.

    Args:
        notebook: The chapter.
        folder: The package's folder.
        recorded: The folder of the results on record.

    Returns:
        What counts, by name: the package's code, data files, results on record.
    """
    reach = Reach(folder, recorded)
    reach.add_cells(cell_trees(notebook))
    for cell in code_cells(notebook):
        reach.add_records(set(re.findall(r"[\w.-]+", cell.source)))
    return reach.units


def fingerprint(
    notebook: NotebookNode,
    folder: Path = ROOT / PACKAGE,
    recorded: Path = RECORDED,
) -> str:
    """Hash all that a chapter's outputs depend on, as a SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    for tree in cell_trees(notebook):
        digest.update(meaning(tree).encode() + b"\0")
    for cell in code_cells(notebook):
        digest.update(b"silent" if SEMICOLON.search(cell.source) else b"shown")
    for name, content in sorted(reached(notebook, folder, recorded).items()):
        digest.update(name.encode() + b"\0" + content + b"\0")
    return digest.hexdigest()
