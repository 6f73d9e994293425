"""What the package says of itself: built in a chapter's cell, and equal to that cell.

A docstring's "Built in chapter 2." says that a code cell of chapter 2 defines the same
name, and that the two syntax trees are equal. What a chapter leaves out is set aside:
hints, docstrings, comments, checks of the input, and what keeps autocast out. "Built in
chapter 2, as ``tent``" names the cell's function where it differs; "Built in chapter 4,
without ``start``" says what the package's has on top, so the trees differ. "Used in
chapter 5" says that the chapter's cells reach it.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

import nbformat
import pytest
from fingerprint import PACKAGE, ROOT, code_cells, reached
from notebooks import find_chapter
from syntax import Plain, plain_python

Definition = ast.FunctionDef | ast.ClassDef
BUILT = re.compile(
    r"Built in\s+chapter\s+(?P<chapter>\d+)"
    r"(?P<exercise>,\s+exercise\s+\d+\.\d+)?"
    r"(?:,\s+as\s+``(?P<name>\w+)``)?"
    r"(?P<without>,\s+without\s)?"
)

USED = re.compile(r"Used in\s+chapter\s+(\d+)")


@dataclass(frozen=True)
class Claim:
    """A function or class of the package that a chapter is said to build."""

    definition: Definition
    module: str
    chapter: int
    name: str
    in_exercise: bool
    more: bool

    def __str__(self) -> str:
        return f"{self.module}.{self.definition.name}"


def claims() -> Iterator[Claim]:
    """Find what says "Built in chapter"."""
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, Definition):
                for found in BUILT.finditer(ast.get_docstring(node) or ""):
                    yield Claim(
                        definition=node,
                        module=path.stem,
                        chapter=int(found["chapter"]),
                        name=found["name"] or node.name,
                        in_exercise=found["exercise"] is not None,
                        more=found["without"] is not None,
                    )


def definitions(chapter: int, in_exercises: bool) -> dict[str, Definition]:
    """Collect what a chapter's cells define, in its text or in its exercises."""
    notebook = nbformat.read(find_chapter(str(chapter)), as_version=4)
    exercises = len(notebook.cells)
    for i, cell in enumerate(notebook.cells):
        if re.search("^## Exercises", cell.source, re.M):
            exercises = i
    cells = notebook.cells[exercises:] if in_exercises else notebook.cells[:exercises]
    found: dict[str, Definition] = {}
    for cell in code_cells(nbformat.from_dict({"cells": cells})):
        for node in ast.parse(plain_python(cell.source)).body:
            if isinstance(node, Definition):
                found.setdefault(node.name, node)
    return found


def is_check(node: ast.stmt) -> bool:
    """Say whether a statement checks the input: it raises, or calls what does."""
    if isinstance(node, ast.If):
        return isinstance(node.body[-1], ast.Raise) and not node.orelse
    call = node.value if isinstance(node, ast.Expr) else None
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id.startswith("_check")
    )


def names_read(body: list[ast.stmt]) -> set[str]:
    """Name what some statements read."""
    nodes = (node for statement in body for node in ast.walk(statement))
    return {
        node.id
        for node in nodes
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


class Bare(Plain):
    """Takes away docstrings, hints, and checks with the names that only they read."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """Drop a function's checks, what only they read, and `without_autocast`."""
        super().visit_FunctionDef(node)
        node.decorator_list = [
            decorator
            for decorator in node.decorator_list
            if ast.unparse(decorator) != "without_autocast"
        ]
        before = names_read(node.body)
        node.body = [statement for statement in node.body if not is_check(statement)]
        only_checked = before - names_read(node.body)
        node.body = [
            statement
            for statement in node.body
            if not (
                isinstance(statement, ast.Assign)
                and all(getattr(t, "id", "") in only_checked for t in statement.targets)
            )
        ]
        return node

    def visit_For(self, node: ast.For) -> ast.For:
        """Drop checks of each item."""
        self.generic_visit(node)
        node.body = [statement for statement in node.body if not is_check(statement)]
        return node


def bare(definition: Definition, name: str) -> str:
    """Write a definition as Python, under a name, without what may be left out."""
    tree = ast.parse(ast.unparse(definition)).body[0]
    assert isinstance(tree, Definition)
    tree.name = name
    return ast.unparse(ast.fix_missing_locations(Bare().visit(tree)))


CLAIMS = list(claims())


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_what_is_built_in_a_chapter_is_what_the_package_holds(claim: Claim) -> None:
    cells = definitions(claim.chapter, claim.in_exercise)
    assert claim.name in cells, f"no code cell of the chapter defines {claim.name}"
    ours = bare(claim.definition, claim.name)
    theirs = bare(cells[claim.name], claim.name)
    if claim.more:
        assert ours != theirs, 'equal: the docstring need not say "without"'
    else:
        assert ours == theirs


def uses() -> Iterator[tuple[int, str]]:
    """Find what says "Used in chapter": the chapter, and the dotted name."""
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, Definition):
                for number in USED.findall(ast.get_docstring(node) or ""):
                    yield int(number), f"{module}.{node.name}"


@pytest.mark.parametrize("chapter", sorted({chapter for chapter, _ in uses()}))
def test_what_is_used_in_a_chapter_is_reached_by_it(chapter: int) -> None:
    notebook = nbformat.read(find_chapter(str(chapter)), as_version=4)
    said = {name for number, name in uses() if number == chapter}
    assert said - reached(notebook).keys() == set()


def test_the_core_says_where_it_is_built() -> None:
    modules = {claim.module for claim in CLAIMS}
    core = {
        "affine",
        "interpolation",
        "pooling",
        "transformer",
        "pixels",
        "registration",
    }
    assert core | {"networks", "training"} <= modules


CELL = """\
def f(x, n):
    y = []
    for k in range(n):
        y += [k * x]
    return y
"""
FIRST, LOOP = "    y =", "        y +="
SPREAD_CHECK = "    bad = x < 0\n    if bad:\n        raise Error(n)\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(x, n)", "(x: Tensor, n: int) -> list[Tensor]"),
        (FIRST, "    y: list[Tensor] ="),
        (FIRST, f'    """Say what."""\n{FIRST}'),
        (FIRST, f"    _check(x)\n{FIRST}"),
        (FIRST, SPREAD_CHECK + FIRST),
        (LOOP, f"        if k:\n            raise Error\n{LOOP}"),
        ("def f", "@without_autocast\ndef f"),
    ],
)
def test_hints_docstrings_and_checks_may_be_left_out(old: str, new: str) -> None:
    one, other = (ast.parse(text).body[0] for text in (CELL, CELL.replace(old, new, 1)))
    assert ast.dump(one) != ast.dump(other)
    assert bare(one, "f") == bare(other, "f")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("k * x", "x * k"),
        ("n)", "n=1)"),
        (FIRST, f"    if x:\n        return\n{FIRST}"),
        (FIRST, f"    z = x\n{FIRST}"),
        (FIRST, f"    clear(x)\n{FIRST}"),
        ("def f", "@cache\ndef f"),
    ],
)
def test_nothing_else_may_be_left_out(old: str, new: str) -> None:
    one, other = (ast.parse(text).body[0] for text in (CELL, CELL.replace(old, new, 1)))
    assert bare(one, "f") != bare(other, "f")
