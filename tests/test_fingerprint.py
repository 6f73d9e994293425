"""Outputs are stale when what they depend on changed in meaning, and only then."""

from pathlib import Path

import pytest
from fingerprint import PACKAGE, fingerprint, reached
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from syntax import plain_python

FILES = {
    "__init__.py": '"""A package."""\n',
    "base.py": '''\
"""Sizes."""
import math

SIDE = 28
HALF = SIDE / 2
COUNTED = []


def area(n: int = SIDE) -> float:
    """The area of a square."""
    return math.pow(n, 2)


def lonely():
    return HALF
''',
    "shapes.py": f'''\
from {PACKAGE}.base import area
from {PACKAGE} import base as sizes


class Square:
    """A square."""

    side: int = 1

    def measure(self):
        return area(sizes.SIDE)


def ring():
    from {PACKAGE}.base import lonely
    return lonely()


def line():
    return 1
''',
    "lazy/__init__.py": """\
from importlib import import_module

HOMES = {"Lens": "lens", "Pool": "pool"}


def __getattr__(name):
    return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
""",
    "lazy/lens.py": f"""\
from {PACKAGE}.lazy.loader import load

class Lens:
    code = load("lens_view")
""",
    "lazy/pool.py": "class Pool:\n    pass\n",
    "lazy/loader.py": """\
from pathlib import Path

def load(name):
    return (Path(__file__).parent / "built" / f"{name}.js").read_text()
""",
    "lazy/built/lens_view.js": "let built",
    "lazy/built/pool.js": "let built",
    "lazy/source/lens_view.js": "let source",
    "weights.py": 'from pathlib import Path\nRECORD = Path("kept") / "net.bin"\n',
    "exercises/__init__.py": f"from {PACKAGE}.base import lonely\nlonely()\n",
}
RECORDS = {"trials.json": "1", "kept/net.bin": "1", "others.json": "1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small package, and beside it results on record."""
    for name, content in FILES.items():
        path = tmp_path / PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for name, content in RECORDS.items():
        path = tmp_path / "recorded" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


def chapter(*cells: str) -> NotebookNode:
    """A chapter of some code cells."""
    return new_notebook(cells=[new_code_cell(cell) for cell in cells])


def mark(notebook: NotebookNode, folder: Path) -> str:
    """The fingerprint of a chapter that uses the small package."""
    return fingerprint(notebook, folder / PACKAGE, folder / "recorded")


def units(notebook: NotebookNode, folder: Path) -> set[str]:
    """What a chapter reaches in the small package, and on record."""
    names = reached(notebook, folder / PACKAGE, folder / "recorded")
    return {name.removeprefix(f"{PACKAGE}.") for name in names}


# What a chapter reaches

AREA = {"base.SIDE", "base.area"}
RING = {"shapes.ring", "base.lonely", "base.HALF", "base.SIDE"}
SQUARE = {"shapes.Square", *AREA}
BASE = {"base.SIDE", "base.HALF", "base.COUNTED", "base.area", "base.lonely"}
LENS = {"lazy.lens.Lens", "lazy.loader.load", "lazy/built/lens_view.js"}
POOL = {"lazy.pool.Pool", "lazy/built/pool.js"}  # the file that has the module's name


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([f"from {PACKAGE}.base import area"], AREA),
        ([f"from {PACKAGE}.base import area as f", "f()"], AREA),
        ([f"from {PACKAGE} import base", "base.area()"], AREA),
        ([f"from {PACKAGE} import base", "base.SIDE"], {"base.SIDE"}),
        ([f"import {PACKAGE}.base", f"{PACKAGE}.base.area()"], AREA),
        ([f"import {PACKAGE}.base as package", "package.area(2)"], AREA),
        ([f"def f():\n    from {PACKAGE} import base\n    return base.area()"], AREA),
        (["%pip install x", f"!ls\nfrom {PACKAGE}.base import area"], AREA),
        ([f"from {PACKAGE}.shapes import ring"], RING),
        ([f"from {PACKAGE}.shapes import Square"], SQUARE),
        ([f"from {PACKAGE}.shapes import line"], {"shapes.line"}),
        ([f"from {PACKAGE} import base", "getattr(base, 'area')"], BASE),
        ([f"from {PACKAGE} import base", "use(base)"], BASE),
        ([f"from {PACKAGE}.base import *"], BASE),
        ([f"from {PACKAGE}.base import missing"], BASE),
        ([f"from {PACKAGE} import base"], set()),
        ([f"from {PACKAGE}.lazy import Lens"], LENS),
        ([f"from {PACKAGE} import lazy", "lazy.Lens()"], LENS),
        ([f"from {PACKAGE}.lazy import Pool"], POOL),
        ([f"from {PACKAGE}.exercises import check"], set()),
        ([f"from {PACKAGE} import exercises", "exercises.check()"], set()),
        (["read('trials.json')"], {"recorded/trials.json"}),
        (["read(f'kept/{name}.bin')"], {"recorded/kept/net.bin"}),
        (
            [f"from {PACKAGE}.weights import RECORD"],
            {"weights.RECORD", "recorded/kept/net.bin"},
        ),
        (["import math", "math.pi"], set()),
    ],
)
def test_a_chapter_reaches_what_it_names(
    folder: Path, cells: list[str], expected: set[str]
) -> None:
    assert units(chapter(*cells), folder) == expected


def test_an_expression_in_the_prose_reaches_as_a_cell_does(folder: Path) -> None:
    notebook = chapter(f"from {PACKAGE} import base")
    notebook.cells.append(new_markdown_cell("It is <!--= base.area() -->784<!--/-->."))
    assert units(notebook, folder) == AREA


def test_statements_that_run_on_import_count_with_their_module(folder: Path) -> None:
    base = folder / PACKAGE / "base.py"
    base.write_text(base.read_text() + "COUNTED.append(HALF)\n")
    on_import = {"base.", "base.COUNTED", "base.HALF", "base.SIDE"}
    for name in ("base", "shapes"):  # shapes imports base
        found = units(chapter(f"import {PACKAGE}.{name}"), folder)
        assert found == on_import


# What makes outputs stale


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("base.py", "SIDE / 2", "SIDE /  2  # half"),
        ("base.py", "    return math", "\n    # A comment.\n    return math"),
        ("base.py", "The area of a square.", "Measure a square."),
        ("base.py", '"""Sizes."""', '"""Lengths."""'),
        ("base.py", "n: int = SIDE) -> float", "n=SIDE)"),
        ("base.py", "HALF = SIDE", "HALF: float = SIDE"),
        ("shapes.py", '"""A square."""', '"""A shape."""'),
        ("lazy/source/lens_view.js", "source", "new source"),
    ],
)
def test_what_means_the_same_stales_nothing(
    folder: Path, file: str, old: str, new: str
) -> None:
    notebook = chapter(
        f"from {PACKAGE} import base, lazy, shapes", "base, lazy, shapes"
    )
    before = mark(notebook, folder)
    change(folder / PACKAGE / file, old, new)
    assert mark(notebook, folder) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("base.py", "SIDE = 28", "SIDE = 28.0"),
        ("base.py", "n: int = SIDE", "n: int = 1"),
        ("base.py", "math.pow(n, 2)", "math.pow(2, n)"),
        ("shapes.py", "side: int", "side: float"),  # a dataclass would see it
        ("lazy/built/lens_view.js", "built", "built anew"),
    ],
)
def test_what_means_something_else_stales(
    folder: Path, file: str, old: str, new: str
) -> None:
    notebook = chapter(
        f"from {PACKAGE}.shapes import Square", f"from {PACKAGE}.lazy import Lens"
    )
    before = mark(notebook, folder)
    change(folder / PACKAGE / file, old, new)
    assert mark(notebook, folder) != before


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("f(1)", "f( 1 )  # one", True),
        ("def f(n):\n", 'def f(n):\n    """Say."""\n', True),
        ("f(1)", "f(1)\n\n", True),
        ("f(1)", "f(True)", False),
        ("f(1)", "f(1);", False),  # IPython then shows nothing
        ("f(1)", "f(1);  # quiet\n", False),
        ("%pip install a", "%pip install b", False),
    ],
)
def test_a_chapters_own_code_counts_by_its_meaning(
    folder: Path, old: str, new: str, same: bool
) -> None:
    source = "%pip install a\ndef f(n):\n    return n\n\nf(1)"
    before = mark(chapter(source), folder)
    assert (mark(chapter(source.replace(old, new)), folder) == before) == same


def test_prose_and_outputs_do_not_count_but_expressions_do(folder: Path) -> None:
    def told(text: str) -> str:
        cells = [new_code_cell("n = 1"), new_markdown_cell(text)]
        return mark(new_notebook(cells=cells), folder)

    before = told("It is <!--= n -->1<!--/-->.")
    assert told("There, it is <!--=n-->2<!--/-->!") == before
    assert told("It is <!--= n + 1 -->1<!--/-->.") != before
    assert told("It is 1.") != before


def test_the_order_of_cells_counts(folder: Path) -> None:
    assert mark(chapter("a = 1", "b = 2"), folder) != mark(
        chapter("b = 2", "a = 1"), folder
    )


@pytest.mark.parametrize("source", ["x = (7\n  % 3)", 'text = """\n! no command\n"""'])
def test_python_that_looks_like_ipythons_own_lines_stays(source: str) -> None:
    assert plain_python(source) == source


def change(path: Path, old: str, new: str) -> None:
    """Replace text in a file."""
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))
