"""The book for LaTeX is whole, and the site offers the PDF where there is one.

LaTeX itself is not needed: these tests read what Sphinx writes for it. Its drawings
need the library cairo. Without it the tests are skipped, or fail where the variable CI
is set.
"""

import os
import re
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

import nbformat
import pytest
import yaml
from fingerprint import ROOT, code_cells
from nbformat import NotebookNode
from notebooks import chapters
from pdf_extension import LIVE, PDF

CHAPTERS = {path.stem: nbformat.read(path, as_version=4) for path in chapters()}
PARTS = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))["parts"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all that LaTeX gets, built without a warning."""
    if not find_library("cairo"):
        reason = "the library cairo is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    output = tmp_path_factory.mktemp("book")
    program = Path(sys.executable).with_name("jupyter-book")
    options = ["--builder", "latex", "-W", "-n", "--keep-going", "--path-output"]
    command = [program, "build", ROOT, *options, output]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return output / "_build" / "latex"


@pytest.fixture(scope="module")
def tex(folder: Path) -> str:
    """The book's LaTeX source."""
    return (folder / PDF).with_suffix(".tex").read_text("utf-8")


def chapter(tex: str, name: str) -> str:
    """Cut one chapter out of the book."""
    start = tex.index(rf"\label{{\detokenize{{chapters/{name}::doc}}}}")
    return tex[start : tex.find(r"\sphinxstepscope", start)]


def figure_cells(name: str) -> dict[str, NotebookNode]:
    """The cells of a chapter that draw a figure, by their labels."""
    settings = [(c, c.metadata.get("mystnb", {})) for c in code_cells(CHAPTERS[name])]
    return {s["figure"]["name"]: cell for cell, s in settings if "figure" in s}


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_figure_has_picture_and_caption(
    name: str, folder: Path, tex: str
) -> None:
    text = chapter(tex, name)
    figures = re.findall(r"\\begin\{figure\}.*?\\end\{figure\}", text, re.S)
    label = r"\\label\{\\detokenize\{chapters/[\w-]+:(.+?)\}"
    labels = [re.search(label, figure)[1] for figure in figures]
    source = "\n".join(cell.source for cell in CHAPTERS[name].cells)
    drawn = re.findall(r"^:name: (fig-\S+)", source, re.M)  # not by a cell
    assert sorted(labels) == sorted([*drawn, *figure_cells(name)])
    for figure in figures:
        image = r"\\sphinxincludegraphics(?:\[.*?\])?\{\{(.+?)\}(.+?)\}"
        (picture,) = re.findall(image, figure)
        assert (folder / "".join(picture)).stat().st_size > 1000
        assert len(re.search(r"\\caption\{(.*)\}\\label", figure, re.S)[1]) > 20


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_figure_that_moves_leads_to_the_website(name: str, tex: str) -> None:
    live = [
        label
        for label, cell in figure_cells(name).items()
        if LIVE & cell.outputs[0].data.keys()
    ]
    address = rf"sphinxhref\{{https://\S+/chapters/{name}\.html\\#([\w-]+)\}}"
    assert re.findall(address, chapter(tex, name)) == live


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_cell_is_there(name: str, tex: str) -> None:
    text, cells = chapter(tex, name), code_cells(CHAPTERS[name])
    assert text.count(r"\begin{sphinxuseclass}{cell_input}") == len(cells)
    shown = [cell for cell in cells if cell.outputs]
    assert text.count(r"\begin{sphinxuseclass}{cell_output}") == len(shown)
    prompts = [c.metadata.get("mystnb", {}).get("code_prompt_show") for c in cells]
    labels = re.findall(r"\\booklabel\{(.+?)\}", text)
    assert [f"Show the {label.lower()}" for label in labels] == [*filter(None, prompts)]


@pytest.mark.parametrize("name", [name for name in CHAPTERS if name[:2].isdigit()])
def test_every_question_and_exercise_is_there(name: str, tex: str) -> None:
    text = chapter(tex, name)
    source = "\n".join(cell.source for cell in CHAPTERS[name].cells)
    choices = re.findall(r"^:::\{dropdown\}", source, re.M)
    assert len(choices) >= 6
    assert text.count(r"\sphinxlineitem{") == len(choices)
    exercises = re.findall(r"^:::\{admonition\} (Exercise \d+\.\d)", source, re.M)
    assert re.findall(r"\{(Exercise \d+\.\d)", text) == exercises
    assert text.count(r"\booklabel{Solution}") >= len(exercises)


def test_parts_chapters_and_appendices(tex: str) -> None:
    """A preface, then chapters in parts; the last part holds the appendices."""
    captions = re.findall(r"\\bookpart\{(.+?)\}", tex)
    assert captions == [part["caption"] for part in PARTS]
    pages = [
        Path(page["file"]).name for part in PARTS[:-1] for page in part["chapters"]
    ]
    order = re.findall(r"\\(chapter(?=\{)|booknumber\{\d+\}|bookappendix)", tex)
    expected = ["chapter"]
    for page in pages:
        number = [f"booknumber{{{int(page[:2])}}}"] if page[:2].isdigit() else []
        expected += [*number, "chapter"]
    assert order == [
        *(*expected, "bookappendix"),
        *(["chapter"] * len(PARTS[-1]["chapters"])),
    ]
    assert "nonumfigreset" in tex  # site/pdf.sty numbers figures, as on the site


def test_the_front_page_lists_the_chapters(folder: Path, tex: str) -> None:
    cards = re.findall(r"\\begin\{bookcard\}(.*?)\\end\{bookcard\}", tex, re.S)
    pages = [page for part in PARTS for page in part["chapters"] if "title" in page]
    for card, page in zip(cards, pages, strict=True):
        assert page["title"].replace("'", "’") in card
        assert f"{{{page['file']}::doc}}" in card
        (picture,) = re.findall(r"\\sphinxincludegraphics\{\{(.+?)\}\.pdf\}", card)
        assert (folder / f"{picture}.pdf").read_bytes().startswith(b"%PDF")
    assert (folder / "logo.pdf").read_bytes().startswith(b"%PDF")


def test_the_front_pages_figure_leads_to_the_site(tex: str) -> None:
    """It is the first figure, and a widget without a notebook."""
    caption = tex.split(r"\caption{")[1].split(r"\label")[0]
    assert "index.html\\#fig-index-straighten}{Try it on the website.}" in caption


def test_no_markup_is_left(tex: str) -> None:
    book = tex.replace(chapter(tex, "api"), "")  # its signatures look like markup
    prose = re.sub(r"\\begin\{sphinxVerbatim\}.*?\\end\{sphinxVerbatim\}", "", book)
    faults = r":::|```|\{(?:numref|eq|cite|cite:t|term|doc|ref)\}|</?[a-z]+[ >]"
    assert re.findall(faults, prose) == []


def test_the_site_offers_the_pdf_if_it_was_made(tmp_path: Path) -> None:
    """A small book, built without the PDF, with it, and without it again."""
    source, site = tmp_path / "source", tmp_path / "_build" / "html"
    pdf = tmp_path / "_build" / "latex" / PDF
    source.mkdir()
    (source / "index.md").write_text("# A page")
    settings = {
        "extensions": "myst_parser,pdf_extension",
        "html_theme": "sphinx_book_theme",
    }
    command = [sys.executable, "-m", "sphinx", "-C", source, site]
    command += [f"-D{name}={value}" for name, value in settings.items()]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "site")}
    for made in (False, True, False):
        pdf.parent.mkdir(parents=True, exist_ok=True)
        if made:
            pdf.write_bytes(b"%PDF")
        else:
            pdf.unlink(missing_ok=True)
        subprocess.run(command, env=environment, capture_output=True, check=True)
        page = (site / "index.html").read_text("utf-8")
        assert page.count(f'href="{PDF}"') == made
        if made:
            assert (site / PDF).read_bytes() == b"%PDF"
