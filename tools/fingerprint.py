"""What a chapter's outputs depend on, as one hash: they are stale when it changes.

It covers the chapter's own code, and what that code reaches in the package, name by
name: from `affine_grid` to the function, and on to each name that the function uses. Of
all this only the meaning counts, which is the syntax tree without docstrings and hints.
Data files that the reached code names count as they are, and so do results on record.
"""

import ast
import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import markers
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "chapters" / "recorded"
PACKAGE = "stn_tutorial"
CHECKERS = "exercises"  # they say "right", or nbval fails: no output depends on them
BUILT = "built"  # a folder of files that a bundler has made of their sources
SOURCE_FILES = {".py", ".pyc", ".typed"}


# Reading code


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """List the cells that hold code."""
    return [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.source.strip()
    ]


def plain_python(source: str) -> str:
    """Turn IPython's own lines (`%pip`, `!ls`) into strings, so that `ast` can read."""
    with suppress(SyntaxError):
        ast.parse(source)
        return source
    lines = []
    for line in source.splitlines():
        bare = line.lstrip()
        indent = line[: len(line) - len(bare)]
        lines.append(f"{indent}{bare!r}" if bare.startswith(("%", "!")) else line)
    return "\n".join(lines)


class Plain(ast.NodeTransformer):
    """Takes away what means nothing when code runs: docstrings and hints."""

    in_class = False  # there a hint may make a dataclass's field

    def visit_Module(self, node: ast.Module) -> ast.Module:
        """Drop a module's docstring."""
        node.body = without_docstring(node.body)
        self.generic_visit(node)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """Drop a function's docstring, and the hints of its arguments and result."""
        around, self.in_class = self.in_class, False
        node.body = without_docstring(node.body) or [ast.Pass()]
        node.returns = None
        self.generic_visit(node)
        self.in_class = around
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        """Drop a class's docstring."""
        around, self.in_class = self.in_class, True
        node.body = without_docstring(node.body) or [ast.Pass()]
        self.generic_visit(node)
        self.in_class = around
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        """Drop the hint of an argument."""
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign | ast.Assign:
        """Drop the hint of a variable that gets a value."""
        self.generic_visit(node)
        if self.in_class or node.value is None:
            return node
        return ast.Assign(targets=[node.target], value=node.value)


def without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    """Drop the string that a body begins with."""
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return body[1:] if isinstance(first.value.value, str) else body
    return body


def meaning(node: object) -> str:
    """Write a syntax tree in words that all versions of Python share.

    `ast.dump` will not do: it writes empty fields in some versions, not in others.
    """
    if isinstance(node, ast.Constant):
        return ascii(node.value)
    if isinstance(node, ast.JoinedStr):
        return f"JoinedStr({', '.join(joined(node.values))})"
    if isinstance(node, ast.AST):
        fields = [
            f"{name}={meaning(value)}"
            for name, value in ast.iter_fields(node)
            if value not in (None, []) and not isinstance(value, ast.expr_context)
        ]
        return f"{type(node).__name__}({', '.join(fields)})"
    if isinstance(node, list):
        return f"[{', '.join(map(meaning, node))}]"
    return repr(node)


def joined(parts: list[ast.expr]) -> Iterator[str]:
    """Write the parts of an f-string; texts in a row are one, as some versions say."""
    text = ""
    for part in parts:
        if isinstance(part, ast.Constant):
            text += str(part.value)
        else:
            if text:
                yield ascii(text)
            text = ""
            yield meaning(part)
    if text:
        yield ascii(text)


def dotted_names(node: ast.AST) -> Iterator[str]:
    """Find the names that some code reads, with what follows their dots."""
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute) and (whole := dotted(node)):
        yield whole
    else:
        for child in ast.iter_child_nodes(node):
            yield from dotted_names(child)


def dotted(node: ast.expr) -> str:
    """Write `a.b.c`; empty for what does not begin with a name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def words(node: ast.AST) -> set[str]:
    """Find the words in a tree's strings: among them are the names of files."""
    strings = [
        child.value
        for child in ast.walk(node)
        if isinstance(child, ast.Constant) and isinstance(child.value, str)
    ]
    return set(re.findall(r"[\w.-]+", "\n".join(strings)))


def imports(node: ast.AST, module: str = "") -> Iterator[tuple[str, str]]:
    """Find what a tree imports, anywhere in it: the name, and what it stands for.

    Args:
        node: the tree.
        module: the module that it stands in, for relative imports.
    """
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                top = alias.name.partition(".")[0]
                yield alias.asname or top, alias.name if alias.asname else top
                yield "", alias.name  # it is run, by whatever name it goes
        elif isinstance(child, ast.ImportFrom):
            base = child.module or ""
            if child.level:
                above = module.split(".")[: 1 - child.level or None]
                base = ".".join([*above, base]).rstrip(".")
            for alias in child.names:
                yield alias.asname or alias.name, f"{base}.{alias.name}"


# Following names through the package


class Module:
    """A module of the package: what each of its names stands for.

    Args:
        name: its dotted name.
        path: its file.

    Attributes:
        defined: the statements that define a name: functions, classes, assignments.
        imported: what the names that it imports stand for.
        other: statements that run whenever the module is imported.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self.defined: dict[str, list[ast.stmt]] = {}
        self.other: list[ast.stmt] = []
        tree = Plain().visit(ast.parse(path.read_text("utf-8")))
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        self.package = package
        self.imported: dict[str, set[str]] = {}
        for statement in tree.body:
            names = defined_names(statement)
            for each in names:
                self.defined.setdefault(each, []).append(statement)
            if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
                continue  # what is imported within is known within
            for each, target in imports(statement, package):
                self.imported.setdefault(each, set()).add(target)
            if not names and not isinstance(statement, (ast.Import, ast.ImportFrom)):
                self.other.append(statement)


def defined_names(statement: ast.stmt) -> list[str]:
    """Name what a statement defines, if it does nothing else."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        return []
    names = []
    for target in targets:
        for part in target.elts if isinstance(target, ast.Tuple) else [target]:
            if not isinstance(part, ast.Name):
                return []
            names.append(part.id)
    return names


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
            self.touch(module_name)
            module = self.module(module_name)
            if module is None:
                continue
            if name == "*":
                self.want_all(module)
            elif name in module.defined:
                for statement in module.defined[name]:
                    self.count(module, name, statement)
            elif name in module.imported:
                for target in module.imported[name]:
                    self.want(target)
            elif home := lazy_home(module, name):
                self.want(f"{home}.{name}")
            else:  # it comes from somewhere, so everything counts
                self.want_all(module)

    def want_all(self, module: Module) -> None:
        """Want a module as a whole, and all modules of a folder."""
        for name in module.defined:
            self.want(f"{module.name}.{name}")
        for targets in module.imported.values():
            for target in targets:
                self.want(target)
        if module.path.name == "__init__.py":
            for path in sorted(module.path.parent.glob("*.py")):
                if path != module.path:
                    self.want(f"{module.name}.{path.stem}")

    def touch(self, name: str) -> None:
        """Count what runs when a module is imported, and when it imports others."""
        touched = name, ""
        module = self.module(name)
        if module is None or touched in self.seen or is_left_out(name):
            return
        self.seen.add(touched)
        if "." in name:
            self.touch(name.rpartition(".")[0])
        for statement in module.other:
            self.count(module, "", statement)
        for targets in module.imported.values():
            for target in targets:
                self.touch(target)
                self.touch(target.rpartition(".")[0])

    def count(self, module: Module, name: str, statement: ast.stmt) -> None:
        """Count a statement of a module, and want the names that it uses."""
        key = f"{module.name}.{name}"
        self.units[key] = self.units.get(key, b"") + meaning(statement).encode()
        known = {each: set(targets) for each, targets in module.imported.items()}
        for each, target in imports(statement, module.package):
            known.setdefault(each, set()).add(target)
        for each in module.defined:
            known.setdefault(each, set()).add(f"{module.name}.{each}")
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


def lazy_home(module: Module, name: str) -> str:
    """Find the module that a name is loaded from when it is asked for.

    A module that has `__getattr__` lists such names in a dictionary of literals.
    """
    if "__getattr__" in module.defined:
        for statements in module.defined.values():
            for statement in statements:
                table = getattr(statement, "value", None)
                if isinstance(table, ast.Dict):
                    for key, value in zip(table.keys, table.values, strict=True):
                        if isinstance(key, ast.Constant) and key.value == name:
                            home = getattr(value, "value", None)
                            return f"{module.name}.{home}"
    return ""


# The hash


def cell_trees(notebook: NotebookNode) -> list[ast.AST]:
    """Read a chapter's code: its cells, and the expressions in its prose."""
    trees: list[ast.AST] = []
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.strip():
            tree = ast.parse(plain_python(cell.source))
            # A cell shows its first string if nothing follows: that is no docstring.
            trees.append(Plain().generic_visit(tree))
        for expression in markers.expressions(markers.marked_text(cell)):
            trees.append(ast.parse(expression, mode="eval"))
    return trees


def is_silent(source: str) -> bool:
    """Say whether a cell ends in the semicolon that keeps IPython from showing it."""
    source = plain_python(source)
    body = ast.parse(source).body
    if not body:
        return True
    rest = source.encode().splitlines()[body[-1].end_lineno - 1 :]
    return b";" in b"\n".join(rest)[body[-1].end_col_offset :]


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
        digest.update(b"silent" if is_silent(cell.source) else b"shown")
    for name, content in sorted(reached(notebook, folder, recorded).items()):
        digest.update(name.encode() + b"\0" + content + b"\0")
    return digest.hexdigest()
