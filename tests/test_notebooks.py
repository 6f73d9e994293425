"""The chapters keep the book's form, and their outputs are up to date."""

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import markers
import nbformat
import pytest
import yaml
from fingerprint import PACKAGE, ROOT, code_cells, fingerprint
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebooks import KERNEL, LANGUAGE, chapters, clean, closed, is_fresh
from reading import headings, is_hidden, markdown, prose, section
from syntax import defined_names

EXERCISE = ":::{admonition} Exercise "
EXERCISE_NUMBER = re.compile(rf"^{re.escape(EXERCISE)}(\d+\.\d+)", re.M)
CLOSING = ["Summary", "Questions", "Exercises", "Further reading"]
QUESTION = re.compile(r"^\*\*Question (\S+)\.\*\* +(.+)$", re.M)
CHOICE = re.compile(r"^:::\{dropdown\} (.+)\n\*\*(Right|No)\.\*\* (.+)\n:::$", re.M)
AMERICAN = re.compile(
    r"\b(colou?rize|color(s|ed|ing|ful)?|gray(scale)?|center(s|ed|ing)?|behavior"
    r"|neighbor\w*|labeled|modeling|fiber|catalog|favor\w*"
    r"|(locali|normali|generali|initiali|optimi|minimi|maximi|visuali|recogni"
    r"|discreti|summari|organi|parametri|reali|regulari|speciali|synchroni"
    r"|characteri|emphasi|factori|equali|penali|standardi|vectori|utili)z\w+"
    r"|analyz\w+)\b",
    re.IGNORECASE,
)
MACHINE = re.compile(
    r"(?<![\w.])/(tmp|home|root|Users|work|opt|usr|var)/|site-packages|[A-Z]:\\Users"
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
COLAB = f"""\
if "google.colab" in sys.modules:  # Colab has only this notebook
    %pip install -q {PROJECT["name"]}
"""

CHAPTERS = {path.stem: nbformat.read(path, as_version=4) for path in chapters()}
# The others, such as the ten-minute version, have neither questions nor exercises.
NUMBERED = [name for name in CHAPTERS if name[:2].isdigit()]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "chapters").glob("*.md")])


def outputs(notebook: NotebookNode) -> list[tuple[NotebookNode, NotebookNode]]:
    """List each output with its cell."""
    return [(cell, out) for cell in code_cells(notebook) for out in cell.outputs]


def output_texts(output: NotebookNode) -> list[str]:
    """List all text in an output: streams, and every kind of data but pictures."""
    data = output.get("data", {})
    kinds = [kind for kind in data if not kind.startswith("image/")]
    return [output.get("text", ""), *(str(data[kind]) for kind in kinds)]


def is_image(output: NotebookNode) -> bool:
    """Say whether an output is a picture."""
    return any(kind.startswith("image/") for kind in output.get("data", {}))


# The checks: each one returns the faults that it finds


def check_opening(notebook: NotebookNode) -> list[str]:
    """One title; what the reader can do and needs to know; time; a hidden set-up."""
    faults = []
    if len(headings(notebook, 1)) != 1 or not notebook.cells[0].source.startswith("# "):
        faults.append("it does not open with its one title")
    setup = code_cells(notebook)[0]
    before = notebook.cells[: notebook.cells.index(setup)]
    opening = "\n".join(cell.source for cell in before)
    for part in ("After this (chapter|page) you can", "Prerequisites", "Reading time"):
        if not re.search(part, opening):
            faults.append(f"no '{part}' before the first code")
    if not is_hidden(setup) or "torch.set_num_threads(1)" not in setup.source:
        faults.append("the first code cell is no hidden set-up with one thread")
    if COLAB not in setup.source.split(f"from {PACKAGE}")[0]:
        faults.append("the set-up does not install the package on Colab, then import")
    return faults


def check_run(notebook: NotebookNode) -> list[str]:
    """Run in order from a fresh kernel, without an error or a warning."""
    faults = []
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        faults.append(f"execution counts {counts}")
    for cell, output in outputs(notebook):
        if output.output_type == "error" or output.get("name") == "stderr":
            faults.append(f"error or warning after: {cell.source.splitlines()[0]}")
    return faults


def check_figures(notebook: NotebookNode) -> list[str]:
    """Every picture stands alone in its cell, with name, caption and alt text."""
    faults = []
    for cell in code_cells(notebook):
        if not any(is_image(output) for output in cell.outputs):
            continue
        settings = cell.metadata.get("mystnb", {})
        figure = settings.get("figure", {})
        name = figure.get("name", cell.source.splitlines()[0])
        if not figure.get("name") or not figure.get("caption"):
            faults.append(f"figure without name or caption: {name}")
        if not settings.get("image", {}).get("alt"):
            faults.append(f"figure without alt text: {name}")
        if len(cell.outputs) != 1:
            faults.append(f"more than one output beside the figure: {name}")
    for _, output in outputs(notebook):
        page = output.get("data", {}).get("text/html", "")
        for tag in re.findall(r"<img[^>]*>", page):
            if not re.search(r"alt=[\"'][^\"']", tag):
                faults.append(f"picture in HTML without alt text: {tag[:60]}")
    return faults


def check_closing(notebook: NotebookNode) -> list[str]:
    """The last sections; exercises, each with a hidden solution that passes."""
    if headings(notebook, 2)[-len(CLOSING) :] != CLOSING:
        return [f"the last sections are not {', '.join(CLOSING)}"]
    solutions: dict[str, list[NotebookNode]] = {}
    for cell in section(notebook, "Exercises"):
        if cell.cell_type == "code" and solutions:
            solutions[list(solutions)[-1]].append(cell)
        for number in EXERCISE_NUMBER.findall(cell.source):
            solutions[number] = []
    faults = [] if solutions else [f"no exercise ('{EXERCISE}1.1')"]
    for number, cells in solutions.items():
        texts = [text for c in cells for o in c.outputs for text in output_texts(o)]
        if not cells or not all(map(is_hidden, cells)):
            faults.append(f"exercise {number} has no hidden solution cell")
        elif f'check("{number}", ' not in cells[-1].source:
            faults.append(f"the solution of exercise {number} is not checked")
        elif f"Exercise {number}: right" not in "".join(texts):
            faults.append(f"the solution of exercise {number} is not right")
    return faults


def check_questions(notebook: NotebookNode) -> list[str]:
    """Questions with choices: one is right, and each is explained."""
    text = "\n".join(cell.source for cell in section(notebook, "Questions"))
    _, *questions = re.split(r"^(?=\*\*Question )", text, flags=re.M)
    faults = [] if questions else ["no question ('**Question 1.1.** Why?')"]
    for question in questions:
        name = question.splitlines()[0]
        choices = CHOICE.findall(question)
        if not QUESTION.match(question) or len(choices) != question.count(":::{"):
            faults.append(f"not in the form of a question with choices: {name}")
        if [answer for _, answer, _ in choices].count("Right") != 1:
            faults.append(f"not one right choice: {name}")
    return faults


def check_prose(text: str) -> list[str]:
    """British spelling."""
    return [f"American spelling: {m[0]}" for m in AMERICAN.finditer(prose(text))]


def check_text(notebook: NotebookNode) -> list[str]:
    """The chapter's prose, its captions and alt texts with it."""
    texts = [markdown(notebook)]
    for cell in code_cells(notebook):
        settings = cell.metadata.get("mystnb", {})
        texts.append(settings.get("figure", {}).get("caption", ""))
        texts.append(settings.get("image", {}).get("alt", ""))
    return check_prose("\n\n".join(texts))


def check_privacy(notebook: NotebookNode) -> list[str]:
    """No machine's paths; outputs that reach for no outside address."""
    texts = [cell.source for cell in notebook.cells]
    texts += [text for _, output in outputs(notebook) for text in output_texts(output)]
    faults = [f"machine path: {m[0]}" for text in texts for m in MACHINE.finditer(text)]
    for _, output in outputs(notebook):
        for text in output_texts(output):
            # An SVG's or MathML's name space is a name, nobody fetches it.
            text = re.sub(r"xmlns(:\w+)?=\S+", "", text)
            faults += [
                f"address in an output: {m}" for m in re.findall("https?://", text)
            ]
            faults += [
                f"memory address in an output: {m}"
                for m in re.findall(r"\b0x[0-9a-f]{6,}", text)
            ]
    return faults


def check_metadata(notebook: NotebookNode) -> list[str]:
    """Clean metadata, as `make notebooks` leaves it."""
    faults = []
    if notebook.metadata.get("kernelspec") != KERNEL:
        faults.append("another kernel than python3")
    if notebook.metadata.get("language_info") != LANGUAGE:
        faults.append("language_info names a machine's version")
    for cell in notebook.cells:
        if cell.metadata.get("jupyter", {}) != closed(cell):
            first_line = cell.source.partition("\n")[0]
            faults.append(f"not closed in JupyterLab as on the site: {first_line}")
    return faults


def check_markers(notebook: NotebookNode) -> list[str]:
    """Numbers in the prose that `make notebooks` has filled in, and nobody sees how."""
    texts = [markers.marked_text(cell) for cell in notebook.cells]
    return [fault for text in texts for fault in markers.faults(text)]


def check_freshness(notebook: NotebookNode) -> list[str]:
    """Outputs that come from today's code."""
    return [] if is_fresh(notebook) else ["outputs older than the code: make notebooks"]


CHECKS = [
    check_opening,
    check_run,
    check_figures,
    check_text,
    check_privacy,
    check_metadata,
    check_markers,
    check_freshness,
]
OF_CHAPTERS = [check_closing, check_questions]
Check = Callable[[NotebookNode], list[str]]


# The book


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", CHAPTERS)
def test_notebook(name: str, check: Check) -> None:
    assert check(CHAPTERS[name]) == []


@pytest.mark.parametrize("check", OF_CHAPTERS)
@pytest.mark.parametrize("name", NUMBERED)
def test_chapter(name: str, check: Check) -> None:
    assert check(CHAPTERS[name]) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_prose(page: Path) -> None:
    assert check_prose(page.read_text("utf-8")) == []


def test_every_chapter_is_in_the_contents() -> None:
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    listed = [Path(e["file"]).name for p in contents["parts"] for e in p["chapters"]]
    pages = [page.stem for page in PAGES if page.parent.name == "chapters"]
    assert CHAPTERS
    assert sorted([*listed, "index"]) == sorted([*CHAPTERS, *pages])


def test_contents_number_the_chapters() -> None:
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    entries = [entry for part in contents["parts"] for entry in part["chapters"]]
    titles = {Path(e["file"]).name: e["title"] for e in entries if "title" in e}
    assert sorted(titles) == NUMBERED
    for name, title in titles.items():
        number, short_title = title.split(". ", 1)
        assert int(number) == int(name[:2])
        assert headings(CHAPTERS[name], 1)[0].startswith(short_title)


@pytest.mark.parametrize("name", NUMBERED)
def test_exercises_and_questions_are_numbered(name: str) -> None:
    text = markdown(CHAPTERS[name])
    for numbers in (
        EXERCISE_NUMBER.findall(text),
        [q[0] for q in QUESTION.findall(text)],
    ):
        assert numbers == [f"{int(name[:2])}.{k + 1}" for k in range(len(numbers))]


@pytest.mark.parametrize("name", NUMBERED)
def test_every_exercise_has_its_checker(name: str) -> None:
    path = ROOT / PACKAGE / "exercises" / f"chapter_{int(name[:2])}.py"
    (table,) = (  # read, since an import takes seconds
        node.value
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.Assign) and defined_names(node) == ["EXERCISES"]
    )
    assert isinstance(table, ast.Dict)
    checked = [getattr(key, "value", None) for key in table.keys]
    assert checked == EXERCISE_NUMBER.findall(markdown(CHAPTERS[name]))


def test_figure_names_are_unique_in_the_book() -> None:
    names = [
        cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
        for notebook in CHAPTERS.values()
        for cell in code_cells(notebook)
    ]
    counts = Counter(name for name in names if name)
    assert [name for name, count in counts.items() if count > 1] == []


# The checks can fail


QUESTION_CELL = """\
## Questions

**Question 1.1.** Which way does the line go?

:::{dropdown} It falls
**No.** It would, if you read the picture from right to left.
:::

:::{dropdown} It rises
**Right.** Follow it from left to right, as the axis says.
:::

## Exercises

:::{admonition} Exercise 1.1
Build it.
:::
"""


def sound_notebook() -> NotebookNode:
    """Build a small notebook without a fault."""
    hidden = {"tags": ["hide-cell"]}
    figure = {
        "figure": {"name": "fig-line", "caption": "A line."},
        "image": {"alt": "A line that rises from left to right."},
    }
    picture = new_output("display_data", {"image/png": "iVBORw0KGgo="})
    verdict = new_output("stream", text="Exercise 1.1: right.")
    set_up = f"import sys\n\n{COLAB}\ntorch.set_num_threads(1)"
    cells = [
        new_markdown_cell(
            "# A title\n\nA promise.\n\n**After this chapter you can** do it.\n\n"
            "**Prerequisites:** none.\n\n**Reading time:** 5 minutes."
        ),
        new_code_cell(set_up, metadata=hidden),
        new_markdown_cell("## A question\n\nGuess first. Then look."),
        new_code_cell("plot()", outputs=[picture], metadata={"mystnb": figure}),
        new_markdown_cell(f"## Summary\n\nIt rises.\n\n{QUESTION_CELL}"),
        new_code_cell('check("1.1", build)', outputs=[verdict], metadata=hidden),
        new_markdown_cell("## Further reading\n\nThe paper."),
    ]
    notebook = new_notebook(cells=cells)
    for count, cell in enumerate(code_cells(notebook), 1):
        cell.execution_count = count
    clean(notebook, fingerprint(notebook))
    return notebook


def text(cell: int, old: str, new: str) -> Callable[[NotebookNode], None]:
    """Make a change that replaces text in a cell."""

    def change(notebook: NotebookNode) -> None:
        assert old in notebook.cells[cell].source
        notebook.cells[cell].source = notebook.cells[cell].source.replace(old, new)

    return change


def output(cell: int, kind: str, *args: dict, **content: str) -> Callable:
    """Make a change that adds an output to a cell."""

    def change(notebook: NotebookNode) -> None:
        notebook.cells[cell].outputs.append(new_output(kind, *args, **content))

    return change


def metadata(cell: int, **values: object) -> Callable[[NotebookNode], None]:
    """Make a change that sets a cell's metadata."""
    return lambda notebook: notebook.cells[cell].metadata.update(values)


BROKEN = [
    (check_opening, text(0, "# A title", "A title")),
    (check_opening, text(2, "## A question", "# A second title")),
    (check_opening, text(0, "After this chapter you can", "You can")),
    (check_opening, text(0, "Prerequisites", "Needs")),
    (check_opening, text(0, "Reading time", "Time")),
    (check_opening, text(1, "torch.set_num_threads(1)", "")),
    (check_opening, metadata(1, tags=[])),
    (check_opening, text(1, PROJECT["name"], PACKAGE)),
    (check_opening, text(1, "import sys", f"from {PACKAGE} import affine")),
    (check_run, lambda notebook: notebook.cells[3].update(execution_count=7)),
    (check_run, lambda notebook: notebook.cells[3].update(execution_count=None)),
    (check_run, output(5, "error", ename="E", evalue="", traceback=[])),
    (check_run, output(5, "stream", name="stderr", text="warning")),
    (check_figures, metadata(3, mystnb={})),
    (check_figures, metadata(3, mystnb={"figure": {"name": "a", "caption": "b"}})),
    (check_figures, output(3, "stream", text="beside")),
    (check_figures, output(5, "display_data", {"image/gif": "R0lGODdh"})),
    (check_figures, output(5, "display_data", {"text/html": "<img src='x'>"})),
    (check_closing, text(4, "## Summary", "## Conclusion")),
    (check_closing, text(6, "## Further reading", "## More")),
    (check_closing, text(4, EXERCISE, "Exercise ")),
    (check_closing, text(4, EXERCISE, f"{EXERCISE}1.0\n:::\n{EXERCISE}")),
    (check_closing, metadata(5, tags=[])),
    (check_closing, text(5, 'check("1.1", build)', "build()")),
    (check_closing, text(5, 'check("1.1", build)', 'check("1.2", build)')),
    (check_closing, lambda notebook: notebook.cells[5].outputs.clear()),
    (check_questions, text(4, "## Questions", "## Quiz")),
    (check_questions, text(4, "**Question 1.1.**", "Question 1.1.")),
    (check_questions, text(4, "**Right.**", "**No.**")),
    (check_questions, text(4, "**No.** It would", "**Right.** It would")),
    (check_questions, text(4, "**No.** It would", "No. It would")),
    (check_text, text(2, "Guess", "Normalize")),
    (check_text, text(2, "Guess", "The color of")),
    (
        check_text,
        lambda notebook: notebook.cells[3].metadata.mystnb.image.update(alt="A gray."),
    ),
    (check_privacy, text(3, "plot()", "open('/home/me/x')")),
    (check_privacy, output(5, "stream", text="/root/x/site-packages/y.py:3")),
    (check_privacy, output(5, "display_data", {"text/html": "<a href='https://x.y'>"})),
    (check_privacy, output(5, "execute_result", {"text/plain": "<A at 0x7f00aa11>"})),
    (check_metadata, lambda notebook: notebook.metadata.kernelspec.update(name="stn")),
    (
        check_metadata,
        lambda notebook: notebook.metadata.language_info.update(version="3"),
    ),
    (check_metadata, metadata(1, jupyter={})),
    (check_metadata, metadata(5, jupyter={"source_hidden": True})),
    (check_metadata, metadata(3, tags=["hide-input"])),
    (check_metadata, metadata(3, jupyter={"source_hidden": True})),
    (check_markers, text(2, "Guess", "Guess <!--= 6 * 7 --><!--/-->")),
    (check_freshness, text(2, "Guess", "Guess <!--= 6 * 7 -->42<!--/-->")),
    (check_freshness, text(3, "plot()", "plot(2)")),
    (check_freshness, lambda notebook: notebook.metadata.pop(PACKAGE)),
]


@pytest.mark.parametrize("check", [*CHECKS, *OF_CHAPTERS])
def test_sound_notebook_passes(check: Check) -> None:
    assert check(sound_notebook()) == []


@pytest.mark.parametrize(("check", "change"), BROKEN)
def test_broken_notebook_fails(check: Check, change: Callable) -> None:
    notebook = sound_notebook()
    change(notebook)
    assert check(notebook) != []
