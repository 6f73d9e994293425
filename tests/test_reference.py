"""The reference page: all that one imports stands there, constants with their values.

What has to be there is read from the package's files and the chapters' cells.
"""

import ast
import importlib
import os
import re
import subprocess
import sys
from inspect import signature
from pathlib import Path

import nbformat
import pytest
import torch
import torch.nn.functional as F
import yaml
from book_extension import mend_signature
from fingerprint import PACKAGE, ROOT, code_cells
from notebooks import chapters
from reference_extension import (
    describe,
    imported,
    module_table,
    source_of,
    value_field,
)
from syntax import defined_names, plain_python

from stn_tutorial.affine import rotation
from stn_tutorial.training import History

PAGE = (ROOT / "chapters" / "api.md").read_text("utf-8")
# Each module on the page, with the options of its directive.
DOCUMENTED = {
    name: dict(re.findall(r"^ {3}:([\w-]+): *(.*)$", options, re.M))
    for name, options in re.findall(
        r"^\.\. automodule:: (\S+)\n((?: {3}.*\n)*)", PAGE, re.M
    )
}
# What only the package itself calls, or the command line of the long runs.
INTERNAL = {
    *("data", "data.download", "experiments", "experiments.cluster"),
    *("experiments.difficulty", "experiments.drawing_net", "experiments.jobs"),
    *("experiments.kept_scenes", "experiments.kept_signs", "experiments.rates"),
    *("experiments.scene_traces", "experiments.undone", "experiments.wider_fcn"),
    "fast_triton",
    *("pitfalls.learning", "pitfalls.patient", "pitfalls.questions"),
    *("pitfalls.readings", "pitfalls.report"),
}


def public_modules() -> set[str]:
    """Name the package's modules, without private ones.

    Of `widgets` and `exercises` one imports the folder, not its modules.
    """
    names = set()
    for path in (ROOT / PACKAGE).rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        elif parts[1] in ("exercises", "widgets"):
            continue
        if len(parts) > 1 and not parts[-1].startswith("_"):
            names.add(".".join(parts))
    return names


def listed(module: str, option: str) -> set[str]:
    """Read the names that an option of a module's directive lists."""
    return set(re.findall(r"\w+", DOCUMENTED[module].get(option, "")))


def defined(module: str) -> set[str]:
    """Name what a module offers: functions, classes, and constants."""
    if exported := getattr(importlib.import_module(module), "__all__", None):
        return set(exported)
    names = set()
    for statement in ast.parse(source_of(module).read_text("utf-8")).body:
        is_constant = isinstance(statement, (ast.Assign, ast.AnnAssign))
        public = "[A-Z][A-Z_]+" if is_constant else "[A-Za-z].*"
        names |= {n for n in defined_names(statement) if re.fullmatch(public, n)}
    return names


def shown(module: str) -> set[str]:
    """Name what the page shows of a module."""
    names = listed(module, "members") or defined(module)
    return names - listed(module, "exclude-members")


def taken_by(code: str) -> set[tuple[str, str]]:
    """Find what some code takes from the package: module and name."""
    tree = ast.parse(code)
    modules, taken = {}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(PACKAGE):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name in public_modules():
                    modules[alias.asname or alias.name] = name
                else:
                    taken.add((str(node.module), alias.name))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            taken |= {(modules.get(node.value.id, ""), node.attr)}
    return {(module, name) for module, name in taken if module}


def test_every_public_module_is_on_the_page() -> None:
    internal = {f"{PACKAGE}.{name}" for name in INTERNAL}
    assert internal <= public_modules()
    assert set(DOCUMENTED) == public_modules() - internal


@pytest.mark.parametrize("module", DOCUMENTED)
def test_what_the_page_lists_of_a_module_is_there(module: str) -> None:
    chosen = listed(module, "members") | listed(module, "exclude-members")
    assert chosen - defined(module) == set()


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_what_a_chapter_takes_from_the_package_is_on_the_page(path: Path) -> None:
    cells = code_cells(nbformat.read(path, as_version=4))
    taken = taken_by("\n".join(plain_python(cell.source) for cell in cells))
    assert taken
    assert {(m, name) for m, name in taken if name not in shown(m)} == set()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page as text, built alone with the book's settings of autodoc."""
    folder = tmp_path_factory.mktemp("reference")
    (folder / "index.md").write_text(PAGE, "utf-8")
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["sphinx"][
        "config"
    ]
    settings = {k: v for k, v in config.items() if re.match("autodoc|add_module", k)}
    extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
    settings |= {"extensions": [*extensions, "reference_extension"]}
    lines = [f"{key} = {value!r}" for key, value in settings.items()]
    (folder / "conf.py").write_text("\n".join(lines), "utf-8")
    command = [sys.executable, "-m", "sphinx", "-b", "text", folder, folder / "built"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "site")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return (folder / "built" / "index.txt").read_text("utf-8")


def entry(page: str, name: str) -> str:
    """Cut out of the page what it says of a name, in one line."""
    _, found, rest = page.partition(f"\n{name}\n")
    assert found, f"{name} is not on the page"
    return " ".join(re.split(r"\n(?=\w)", rest)[0].split())


@pytest.mark.parametrize("module", DOCUMENTED)
def test_each_name_stands_there_with_its_path(page: str, module: str) -> None:
    """What is missing lacks a docstring; a constant, a comment `#:` on the line above.

    What helps inside alone goes into the option `exclude-members`.
    """
    written = set(re.findall(rf"^(?:class )?{module}\.(\w+)(?=[(\n])", page, re.M))
    assert written == shown(module)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("interpolation.PADDINGS", "\"('zeros', 'border', 'reflection')\""),
        ("interpolation.KERNELS", '* "\'bicubic\'": "bicubic_kernel()"'),
        ("distortions.SIDES", '* "\'TC\'": "60"'),
        ("networks.TRANSFORMS", '("affine_grid()", a tensor of shape (1, 2, 3))'),
        ("figures.GRID", "\"'#D55E00'\""),
        ("experiments.table1.PAPER_IMAGES", '"38400000"'),
    ],
)
def test_a_constant_stands_there_with_its_value(
    page: str, name: str, value: str
) -> None:
    assert value in entry(page, f"{PACKAGE}.{name}").partition("Value: ")[2]


def test_nothing_on_the_page_depends_on_the_machine(page: str) -> None:
    assert str(ROOT) not in page
    assert re.findall(r"0x[0-9a-f]{4}", page) == []


def test_the_table_names_the_chapters_that_build_and_use_a_module() -> None:
    head, line, pooling, mnist = module_table(
        [f"{PACKAGE}.pooling", f"{PACKAGE}.data.mnist"]
    )
    assert head.count("|") == line.count("|") == 5
    assert pooling.startswith("| {py:mod}`pooling <stn_tutorial.pooling>` | Pooling, ")
    assert pooling.endswith(" | [3](03-pooling.ipynb) |  |")
    assert mnist.endswith(". |  |  |")


def test_all_ways_to_import_a_module_are_found() -> None:
    code = "from stn_tutorial import affine, warps\n"
    code += "from stn_tutorial.data.digits import (\n    Digits,\n    load_digits,\n)\n"
    code += "from torch import nn\n"
    modules = {"affine", "warps", "data.digits"}
    found = {name for name in imported(code) if name in public_modules()}
    assert found == {f"{PACKAGE}.{name}" for name in modules}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1, "a"), "``(1, 'a')``"),
        (torch.zeros(2, 3), "a tensor of shape (2, 3)"),
        (F.grid_sample, "``torch.nn.functional.grid_sample``"),
        (rotation, ":func:`~stn_tutorial.affine.rotation`"),
        (("a", rotation), "(``'a'``, :func:`~stn_tutorial.affine.rotation`)"),
    ],
)
def test_values_are_written_as_python_or_named(value: object, text: str) -> None:
    assert describe(value) == text


def test_a_table_is_written_line_by_line_and_a_path_not_at_all() -> None:
    lines = value_field({"R": 28, "TC": 60})
    assert lines[2:-1] == ["   - ``'R'``: ``28``", "   - ``'TC'``: ``60``"]
    assert value_field(Path("/home/someone")) == []


def test_the_signature_of_a_dataclass_becomes_python() -> None:
    given = str(signature(History))
    with pytest.raises(SyntaxError):
        ast.parse(f"def f{given}: ...")
    mended, _ = mend_signature(None, "class", "History", History, None, given, None)
    ast.parse(f"def f{mended}: ...")
