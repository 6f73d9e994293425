"""The chapters keep the book's conventions, and their outputs are up to date."""

import re
import statistics
import tomllib
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import markers
import nbformat
import pytest
import yaml
from nbformat import NotebookNode
from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_output,
)
from notebooks import (
    KERNEL,
    LANGUAGE,
    PACKAGE,
    ROOT,
    chapters,
    clean,
    code_cells,
    fingerprint,
    is_fresh,
    main,
    run,
)

HIDDEN = {"hide-cell", "hide-input"}
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
LONGEST_SENTENCE = 40
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
COLAB = f"""\
if "google.colab" in sys.modules:  # Colab has only this notebook
    %pip install -q {PROJECT["name"]}
"""

CHAPTERS = {path.stem: nbformat.read(path, as_version=4) for path in chapters()}
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "chapters").glob("*.md")])


# Reading a notebook


def markdown(notebook: NotebookNode) -> str:
    """Join the notebook's text cells."""
    return "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")


def without_fences(text: str) -> str:
    """Drop code between fences; what stands between colons is prose."""
    return re.sub(r"^(`{3,}).*?^\1\s*$", "", text, flags=re.M | re.S)


def headings(notebook: NotebookNode, level: int) -> list[str]:
    """List the headings of one level."""
    pattern = rf"^{'#' * level} +(.+?) *$"
    return re.findall(pattern, without_fences(markdown(notebook)), flags=re.M)


def prose(text: str) -> str:
    """Keep what is read as sentences: no code, mathematics, tables or addresses."""
    text = without_fences(text)
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.S)
    text = re.sub(r"\$\$.*?\$\$(\s*\(.*?\))?", "x", text, flags=re.S)
    text = re.sub(r"\$[^$]+\$", "x", text)
    text = re.sub(r"(\{[\w:]+\})?(`+).+?\2", "x", text, flags=re.S)
    text = re.sub(r"^\s*(\||#|:{3,}|:\w+:).*$", "", text, flags=re.M)
    text = re.sub(r"\]\([^)]*\)|\]\[[^]]*\]", "]", text)
    return re.sub(r"<[^>]*>|https?://\S+", "", text)


def sentences(text: str) -> list[str]:
    """Split prose into sentences; a blank line or a list item begins a new one."""
    blocks = re.split(r"\n\s*\n|^\s*(?:[-*+]|\d+\.|:)\s+", prose(text), flags=re.M)
    return [
        sentence
        for block in blocks
        for sentence in re.split(r"(?<=[.!?])[\"')*_]*\s+", block.strip())
    ]


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


def is_hidden(cell: NotebookNode) -> bool:
    """Say whether a cell starts closed on the site."""
    return bool(HIDDEN & set(cell.metadata.get("tags", [])))


# The checks: each one returns the faults that it finds


def check_opening(notebook: NotebookNode) -> list[str]:
    """Title, promise, what the reader can do, prerequisites, time; then set-up."""
    faults = []
    if len(headings(notebook, 1)) != 1 or not notebook.cells[0].source.startswith("# "):
        faults.append("it does not open with its one title")
    first_code = next(
        (i for i, c in enumerate(notebook.cells) if c.cell_type == "code"), 0
    )
    opening = "\n".join(cell.source for cell in notebook.cells[:first_code])
    for part in ("After this chapter you can", "Prerequisites", "Reading time"):
        if part.lower() not in opening.lower():
            faults.append(f"no '{part}' before the first code")
    setup = notebook.cells[first_code]
    if not is_hidden(setup) or "torch.set_num_threads(1)" not in setup.source:
        faults.append("the first code cell is no hidden set-up with one thread")
    if COLAB not in setup.source.split(f"from {PACKAGE}")[0]:
        faults.append("the set-up does not install the package on Colab, then import")
    return faults


def check_cells(notebook: NotebookNode) -> list[str]:
    """Few, short and narrow code cells."""
    sources = [cell.source.strip("\n") for cell in code_cells(notebook)]
    lengths = [len(source.splitlines()) for source in sources]
    faults = []
    if len(sources) > 25:
        faults.append(f"{len(sources)} code cells, more than 25")
    if lengths and statistics.median(lengths) > 8:
        faults.append(f"median length {statistics.median(lengths)} lines, more than 8")
    for source, length in zip(sources, lengths, strict=True):
        first = source.splitlines()[0]
        if length > 25:
            faults.append(f"{length} lines, more than 25: {first}")
        widest = max(map(len, source.splitlines()))
        if widest > 79:
            faults.append(f"{widest} columns, more than 79: {first}")
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
        if len(settings.get("image", {}).get("alt", "")) < 20:
            faults.append(f"figure without alt text of 20 characters: {name}")
        if len(cell.outputs) != 1:
            faults.append(f"more than one output beside the figure: {name}")
    for _, output in outputs(notebook):
        for tag in re.findall(
            r"<img[^>]*>", output.get("data", {}).get("text/html", "")
        ):
            if not re.search(r"alt=[\"'][^\"']{20,}", tag):
                faults.append(f"picture in HTML without alt text: {tag[:60]}")
    return faults


def section(notebook: NotebookNode, heading: str) -> list[NotebookNode]:
    """List the cells of one section; text cells are cut where a section begins."""
    found, inside = [], False
    for cell in notebook.cells:
        if cell.cell_type == "code":
            found += [cell] * inside
            continue
        for part in re.split(r"^(?=## )", cell.source, flags=re.M):
            if part.startswith("## "):
                inside = part.splitlines()[0].strip() == f"## {heading}"
            found += [new_markdown_cell(part)] * inside
    return found


def check_closing(notebook: NotebookNode) -> list[str]:
    """The last sections, and three to five exercises.

    Each exercise's hidden solution ends with its checker, which finds it right.
    """
    if headings(notebook, 2)[-len(CLOSING) :] != CLOSING:
        return [f"the last sections are not {', '.join(CLOSING)}"]
    solutions: dict[str, list[NotebookNode]] = {}
    for cell in section(notebook, "Exercises"):
        if cell.cell_type == "code" and solutions:
            solutions[list(solutions)[-1]].append(cell)
        for number in re.findall(
            rf"^{re.escape(EXERCISE)}(\d+\.\d+)", cell.source, re.M
        ):
            solutions[number] = []
    faults = []
    if not 3 <= len(solutions) <= 5:
        faults.append(f"{len(solutions)} exercises ('{EXERCISE}1.1'), not 3 to 5")
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
    """Three questions; of the choices one is right, and each is explained."""
    text = "\n".join(cell.source for cell in section(notebook, "Questions"))
    _, *parts = re.split(r"^(?=\*\*Question )", text, flags=re.M)
    faults = [f"{len(parts)} questions, not 3"] if len(parts) != 3 else []
    for part in parts:
        name = part.splitlines()[0]
        choices = CHOICE.findall(part)
        if not QUESTION.match(part) or len(choices) != part.count(":::{"):
            faults.append(f"not in the form of a question with choices: {name}")
        if len(choices) < 3 or [c[1] for c in choices].count("Right") != 1:
            faults.append(f"not one right choice among three or more: {name}")
        if any(len(explanation.split()) < 8 for _, _, explanation in choices):
            faults.append(f"a choice without an explanation of 8 words: {name}")
    return faults


def check_prose(text: str) -> list[str]:
    """British spelling, and no sentence too long."""
    faults = [f"American spelling: {m[0]}" for m in AMERICAN.finditer(prose(text))]
    for sentence in sentences(text):
        words = len(sentence.split())
        if words > LONGEST_SENTENCE:
            faults.append(f"{words} words in one sentence: {sentence[:60]} ...")
    return faults


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
    check_cells,
    check_run,
    check_figures,
    check_closing,
    check_questions,
    check_text,
    check_privacy,
    check_metadata,
    check_markers,
    check_freshness,
]
Check = Callable[[NotebookNode], list[str]]


# The book


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", CHAPTERS)
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
    assert titles.keys() == CHAPTERS.keys()
    for name, title in titles.items():
        number, short_title = title.split(". ", 1)
        assert int(number) == int(name[:2])
        assert headings(CHAPTERS[name], 1)[0].startswith(short_title)


@pytest.mark.parametrize("name", CHAPTERS)
def test_exercises_and_questions_are_numbered(name: str) -> None:
    text = markdown(CHAPTERS[name])
    for numbers in (
        EXERCISE_NUMBER.findall(text),
        [q[0] for q in QUESTION.findall(text)],
    ):
        assert numbers == [f"{int(name[:2])}.{k + 1}" for k in range(len(numbers))]


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_exercise_has_its_checker(name: str) -> None:
    module = import_module(f"{PACKAGE}.exercises.chapter_{int(name[:2])}")
    assert list(module.EXERCISES) == EXERCISE_NUMBER.findall(markdown(CHAPTERS[name]))


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
**Question 1.{number}.** Which way does the line go?

:::{{dropdown}} It falls
**No.** It would, if you read the picture from right to left.
:::

:::{{dropdown}} It rises
**Right.** Follow it from left to right, as the axis says.
:::

:::{{dropdown}} It stays
**No.** Then its two ends would stand at the same height.
:::

"""


def sound_notebook() -> NotebookNode:
    """Build a small notebook without a fault."""
    picture = new_output("display_data", {"image/png": "iVBORw0KGgo="})
    figure = {
        "figure": {"name": "fig-line", "caption": "A line."},
        "image": {"alt": "A line that rises from left to right."},
    }
    cells = [
        new_markdown_cell(
            "# A title\n\nA promise.\n\n**After this chapter you can** do it.\n\n"
            "**Prerequisites:** none.\n\n**Reading time:** 5 minutes."
        ),
        new_code_cell(f"import sys\n\n{COLAB}\ntorch.set_num_threads(1)"),
        new_markdown_cell("## A question\n\nGuess first. Then look."),
        new_code_cell("plot()", outputs=[picture], metadata={"mystnb": figure}),
        new_markdown_cell(
            "## Summary\n\nIt rises.\n\n## Questions\n\n"
            + "".join(QUESTION_CELL.format(number=k) for k in (1, 2, 3))
            + "## Exercises"
        ),
    ]
    for number in ("1.1", "1.2", "1.3"):
        cells.append(new_markdown_cell(f"{EXERCISE}{number}\nBuild it.\n:::"))
        said = new_output("stream", text=f"Exercise {number}: right.")
        cells.append(new_code_cell(f'check("{number}", build)', outputs=[said]))
        cells[-1].metadata["tags"] = ["hide-cell"]
    cells.append(new_markdown_cell("## Further reading\n\nThe paper."))
    cells[1].metadata["tags"] = ["hide-cell"]
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


def remove(first: int, last: int) -> Callable[[NotebookNode], None]:
    """Make a change that removes cells."""
    return lambda notebook: notebook.cells.__delitem__(slice(first, last + 1))


def repeat(cell: int, times: int) -> Callable[[NotebookNode], None]:
    """Make a change that repeats a cell."""
    return lambda notebook: notebook.cells.extend([notebook.cells[cell]] * times)


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
    (check_cells, repeat(3, 21)),
    (check_cells, text(3, "plot()", "plot()\n" * 26)),
    (
        check_cells,
        lambda notebook: [c.update(source="a\n" * 9) for c in code_cells(notebook)],
    ),
    (check_cells, text(3, "plot()", "x" * 80)),
    (check_run, lambda notebook: notebook.cells[3].update(execution_count=7)),
    (check_run, lambda notebook: notebook.cells[3].update(execution_count=None)),
    (check_run, output(6, "error", ename="E", evalue="", traceback=[])),
    (check_run, output(6, "stream", name="stderr", text="warning")),
    (check_figures, metadata(3, mystnb={})),
    (check_figures, metadata(3, mystnb={"figure": {"name": "a", "caption": "b"}})),
    (check_figures, output(3, "stream", text="beside")),
    (check_figures, output(6, "display_data", {"image/gif": "R0lGODdh"})),
    (check_figures, output(6, "display_data", {"text/html": "<img src='x'>"})),
    (check_closing, text(4, "## Summary", "## Conclusion")),
    (check_closing, text(11, "## Further reading", "## More")),
    (check_closing, remove(5, 6)),
    (check_closing, metadata(6, tags=[])),
    (check_closing, remove(10, 10)),
    (check_closing, text(6, 'check("1.1", build)', "build()")),
    (check_closing, text(6, 'check("1.1", build)', 'check("1.2", build)')),
    (check_closing, lambda notebook: notebook.cells[6].outputs.clear()),
    (check_questions, text(4, "## Questions", "## Quiz")),
    (check_questions, text(4, "**Question 1.2.**", "Question 1.2.")),
    (check_questions, text(4, "**Right.**", "**No.**")),
    (check_questions, text(4, "**No.** It would", "**Right.** It would")),
    (check_questions, text(4, "**No.** It would", "No. It would")),
    (check_questions, text(4, "its two ends would stand at", "at")),
    (check_text, text(2, "Guess", "Normalize")),
    (check_text, text(2, "Guess", "The color of")),
    (check_text, text(2, "Guess", "word " * 41)),
    (check_text, text(5, "Build", "word " * 41)),
    (
        check_text,
        lambda notebook: notebook.cells[3].metadata.mystnb.image.update(
            alt="A gray line."
        ),
    ),
    (check_privacy, text(3, "plot()", "open('/home/me/x')")),
    (check_privacy, output(6, "stream", text="/root/x/site-packages/y.py:3")),
    (check_privacy, output(6, "display_data", {"text/html": "<a href='https://x.y'>"})),
    (check_privacy, output(6, "execute_result", {"text/plain": "<A at 0x7f00aa11>"})),
    (check_metadata, lambda notebook: notebook.metadata.kernelspec.update(name="stn")),
    (
        check_metadata,
        lambda notebook: notebook.metadata.language_info.update(version="3"),
    ),
    (check_markers, text(2, "Guess", "Guess <!--= 6 * 7 --><!--/-->")),
    (check_freshness, text(2, "Guess", "Guess <!--= 6 * 7 -->42<!--/-->")),
    (check_freshness, text(3, "plot()", "plot(2)")),
    (check_freshness, lambda notebook: notebook.metadata.pop(PACKAGE)),
]


@pytest.mark.parametrize("check", CHECKS)
def test_sound_notebook_passes(check: Check) -> None:
    assert check(sound_notebook()) == []


@pytest.mark.parametrize(("check", "change"), BROKEN)
def test_broken_notebook_fails(check: Check, change: Callable) -> None:
    notebook = sound_notebook()
    change(notebook)
    assert check(notebook) != []


def test_prose_skips_code_and_mathematics() -> None:
    page = (
        "Set `color` here: $center$.\n\n```python\ncolor = 'gray'\n```\n\n"
        "| color | gray |\n\n[the site](https://example.org/color) {cite}`color`\n"
    )
    assert check_prose(page) == []


# The tool


def write_package(folder: Path) -> None:
    """Write a package where `b` imports `a`, and `c` stands alone."""
    (folder / "__init__.py").write_text("")
    (folder / "a.py").write_text("ONE = 1\n")
    (folder / "b.py").write_text("from .a import ONE\n")
    (folder / "c.py").write_text("THREE = 3\n")


@pytest.mark.parametrize(
    "statement",
    [
        f"import {PACKAGE}.b",
        f"from {PACKAGE} import b",
        f"def f():\n    from {PACKAGE}.b import ONE",
        f"%pip install -q x\nfrom {PACKAGE}.b import ONE",
    ],
)
def test_fingerprint_follows_imports(tmp_path: Path, statement: str) -> None:
    write_package(tmp_path)
    notebook = new_notebook(cells=[new_code_cell(statement)])
    before = fingerprint(notebook, tmp_path)
    (tmp_path / "c.py").write_text("THREE = 4\n")
    assert fingerprint(notebook, tmp_path) == before
    (tmp_path / "a.py").write_text("ONE = 2\n")
    assert fingerprint(notebook, tmp_path) != before


@pytest.mark.parametrize(
    "statement",
    ["read('trials.json')", "read(f'runs/{name}.json')", "summary(RECORDED / 'runs')"],
)
def test_fingerprint_follows_the_records_that_are_named(
    tmp_path: Path, statement: str
) -> None:
    (tmp_path / "runs").mkdir()
    names = "s.json", "trials.json", "runs/one.json"
    notebook = new_notebook(cells=[new_code_cell(statement)])
    marks = []
    for changed in (None, *names):
        for name in names:
            (tmp_path / name).write_text(str(name == changed))
        marks.append(fingerprint(notebook, recorded=tmp_path))
    named = [names[1].split(".")[0] in statement, "runs" in statement]
    assert [mark != marks[0] for mark in marks[1:]] == [False, *named]


DOCUMENTED = 'def f():\n    """One."""\n    return 1\n'


def test_fingerprint_leaves_the_checkers_out(tmp_path: Path) -> None:
    write_package(tmp_path)
    (tmp_path / "exercises").mkdir()
    checkers = tmp_path / "exercises" / "__init__.py"
    checkers.write_text(f"from {PACKAGE} import a\n")
    notebook = new_notebook(cells=[new_code_cell(f"from {PACKAGE} import exercises")])
    before = fingerprint(notebook, tmp_path)
    checkers.write_text("TWO = 2\n")
    (tmp_path / "a.py").write_text("ONE = 2\n")
    assert fingerprint(notebook, tmp_path) == before


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ('"""One."""\nA = 1\n', '"""Two."""\nA = 1\n', True),
        (DOCUMENTED, DOCUMENTED.replace("One.", "Two."), True),
        (DOCUMENTED, DOCUMENTED.replace("return 1", "return 2"), False),
        ('A = """One."""\n', 'A = """Two."""\n', False),
    ],
)
def test_fingerprint_ignores_docstrings(
    tmp_path: Path, before: str, after: str, same: bool
) -> None:
    write_package(tmp_path)
    notebook = new_notebook(cells=[new_code_cell(f"import {PACKAGE}.a")])
    marks = []
    for source in (before, after):
        (tmp_path / "a.py").write_text(source)
        marks.append(fingerprint(notebook, tmp_path))
    assert (marks[0] == marks[1]) == same


def test_fingerprint_ignores_prose_and_outputs() -> None:
    notebook = sound_notebook()
    text(2, "Guess", "Think")(notebook)
    output(6, "stream", text="more")(notebook)
    assert is_fresh(notebook)


def test_run_stores_outputs_and_keeps_ids(tmp_path: Path) -> None:
    path = tmp_path / "one.ipynb"
    notebook = new_notebook(cells=[new_code_cell("print(6 * 7)")])
    notebook.metadata["jupytext"] = {"version": "1"}
    nbformat.write(notebook, path)
    assert main(["check", str(path)]) == 1
    assert main(["run", str(path)]) == 0
    assert main(["check", str(path)]) == 0
    after = nbformat.read(path, as_version=4)
    assert after.cells[0].outputs[0].text == "42\n"
    assert after.cells[0].id == notebook.cells[0].id
    assert set(after.metadata) == {"kernelspec", "language_info", PACKAGE}
    assert list(tmp_path.iterdir()) == [path]


def test_failed_run_names_the_cell_and_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "one.ipynb"
    cells = [new_code_cell("print(1)"), new_code_cell("missing")]
    nbformat.write(new_notebook(cells=cells), path)
    before = path.read_bytes()
    with pytest.raises(
        RuntimeError, match=r"(?s)one\.ipynb, cell 2: missing.*NameError"
    ):
        run(path)
    assert path.read_bytes() == before


def test_check_names_the_stale_notebook(tmp_path: Path, capsys) -> None:
    path = tmp_path / "stale.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1")]), path)
    assert main(["check", str(path)]) == 1
    assert "stale.ipynb" in capsys.readouterr().err
