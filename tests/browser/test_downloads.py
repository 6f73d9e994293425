"""The plain notebooks that the site offers: the same code, and text that needs no MyST.

Build the site first (`make book`).
"""

import re
import subprocess
import sys
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import nbformat
import pytest
import yaml
from book_extension import repository, site_address
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from nbformat import NotebookNode
from notebooks import ROOT, chapters
from plain_extension import BRANCH, FOLDER
from playwright.sync_api import BrowserContext
from reading import is_hidden
from visit import QuietHandler, Visit, serve

CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
URL, _ = repository(**CONFIG["repository"])
CHAPTERS = [path.stem for path in chapters()]
READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
READER.use(dollarmath_plugin, allow_labels=False)

# What those who lack MyST see of it: fences, roles, options, labels.
ARTEFACTS = re.compile(
    r"^[ >]*:{3,}.*|\{[a-z:]+\}(?=`)|^[ >]*:[a-z-]+:.*|^\([\w-]+\)=|^\$\$ \([\w-]+\)",
    re.M,
)


@cache
def source(name: str) -> NotebookNode:
    """A chapter."""
    return nbformat.read(ROOT / f"chapters/{name}.ipynb", as_version=4)


@pytest.fixture(params=CHAPTERS)
def name(request: pytest.FixtureRequest) -> str:
    """The name of a chapter, each in turn."""
    return request.param


@pytest.fixture
def plain(site: Path, name: str) -> NotebookNode:
    """The chapter's plain notebook."""
    notebook = nbformat.read(site / FOLDER / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    return notebook


def code(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells that run."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text(notebook: NotebookNode) -> str:
    """All that is there to be read."""
    texts = [c.source for c in notebook.cells if c.cell_type == "markdown"]
    return "\n\n".join(texts)


def test_code_and_outputs_are_the_chapters_own(name: str, plain: NotebookNode) -> None:
    """Only the line that installs the package on Colab is another."""
    ours, theirs = code(source(name)), code(plain)
    lines = [
        (a, b)
        for one, other in zip(ours, theirs, strict=True)
        for a, b in zip(one.source.split("\n"), other.source.split("\n"), strict=True)
        if a != b
    ]
    ((released, built),) = lines
    assert released == "    %pip install -q stn-tutorial"
    assert re.fullmatch(rf"    %pip install -q git\+{re.escape(URL)}@\S+", built)
    for one, other in zip(ours, theirs, strict=True):
        assert other.outputs == one.outputs
        assert other.execution_count == one.execution_count
        assert other.metadata.get("tags") == one.metadata.get("tags")
    assert plain.metadata.get("widgets") == source(name).metadata.get("widgets")


def test_what_is_hidden_on_the_site_is_closed(plain: NotebookNode) -> None:
    """In JupyterLab by the first two keys, on Colab by the third."""
    for cell in code(plain):
        kept = cell.metadata.get("jupyter", {})
        assert kept.get("source_hidden", False) == is_hidden(cell)
        hides_all = "hide-cell" in cell.metadata.get("tags", [])
        assert kept.get("outputs_hidden", False) == hides_all
        assert cell.metadata.get("cellView") == ("form" if is_hidden(cell) else None)


def test_no_artefact_of_myst_is_left(name: str, plain: NotebookNode) -> None:
    # Pages without a number have neither questions nor exercises.
    assert len(ARTEFACTS.findall(text(source(name)))) > (20 if name[0].isdigit() else 3)
    assert ARTEFACTS.findall(text(plain)) == []
    assert "<!--" not in text(plain)


def test_answers_are_folded(name: str, plain: NotebookNode) -> None:
    answer = re.compile(r"\*\*(?:Right|No)\.\*\*")
    shown = re.sub(r"<details>.*?</details>", "", text(plain), flags=re.S)
    assert answer.findall(text(plain)) == answer.findall(text(source(name)))
    assert text(plain).count("<details>") == text(source(name)).count("{dropdown}")
    assert answer.findall(shown) == []


class Numbers(HTMLParser):
    """Reads the numbers of a page's figures and equations, and all its ids."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.numbers: dict[str, str] = {}
        self.waiting: str | None = None
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element's id, and whether it is a number."""
        values = dict(attrs)
        self.ids += [values["id"]] if values.get("id") else []
        if values.get("class") in ("caption-number", "eqno"):
            kind = "fig-" if values["class"] == "caption-number" else "equation-"
            (self.waiting, *_) = (i for i in self.ids[::-1] if i.startswith(kind))

    def handle_data(self, data: str) -> None:
        """Take a number."""
        if self.waiting:
            self.numbers[self.waiting] = data.strip()
            self.waiting = None


@cache
def page_numbers(page: Path) -> Numbers:
    """Read a page of the site."""
    return Numbers(page)


def test_figures_and_equations_have_their_numbers(
    site: Path, name: str, plain: NotebookNode
) -> None:
    expected = page_numbers(site / f"chapters/{name}.html").numbers
    figures = re.findall(
        r'^<a id="(fig-[^"]+)"></a>\*\*(Figure \d+(?:\.\d+)?)\.\*\* \w',
        text(plain),
        re.M,
    )
    tagged = r"\n\n\$\$\n(?:[^$]+\n)\\tag\{(\d+\.\d+)\}\n\$\$$"
    equations = re.findall(
        r'^<a id="(equation-[^"]+)"></a>' + tagged, text(plain), re.M
    )
    found = dict(figures) | {key: f"({number})" for key, number in equations}
    assert found == expected
    drawings = re.findall(r"^:name: fig-", text(source(name)), re.M)
    assert len(figures) == len(drawings) + sum(
        "mystnb" in c.metadata and "figure" in c.metadata.mystnb
        for c in code(source(name))
    )


def test_links_lead_somewhere(site: Path, plain: NotebookNode) -> None:
    home = site_address(URL)
    anchors = re.findall(r'<a id="([^"]+)"></a>', text(plain))
    assert len(anchors) == len(set(anchors))
    links = re.findall(r"\]\(([^()\s]+)\)", text(plain))
    assert len(links) > 5
    for link in links:
        if link.startswith("#"):
            assert link[1:] in anchors
        elif link.startswith(home):
            address = urlsplit(link.removeprefix(home))
            ids = page_numbers(site / address.path).ids
            assert not address.fragment or address.fragment in ids, link
        else:
            assert link.startswith("https://")


def test_readers_of_markdown_see_what_the_chapter_holds(
    name: str, plain: NotebookNode
) -> None:
    """No heading, formula, table or note is lost in a list or in a line of HTML."""
    unlabelled = re.sub(r"^\$\$ \(.*\)$", "$$", text(source(name)), flags=re.M)
    written, seen = (
        Counter(token.type for token in READER.parse(markdown))
        for markdown in (unlabelled, text(plain))
    )
    for kind in ("heading_open", "table_open", "math_block", "list_item_open"):
        assert seen[kind] == written[kind]
    notes = text(source(name)).count(":::{admonition}")
    assert seen["blockquote_open"] == written["blockquote_open"] + notes


def test_binder_installs_what_the_plain_notebooks_need(site: Path) -> None:
    """Read by the program that Binder runs."""
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug"]
    done = subprocess.run([*command, site / FOLDER], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rendered = done.stdout + done.stderr
    assert "conda environment for python=3.11" in rendered
    assert 'pip install --no-cache-dir -r "binder/requirements.txt"' in rendered
    built = (site / FOLDER / "binder/requirements.txt").read_text("utf-8")
    lines = (ROOT / "binder/requirements.txt").read_text("utf-8").splitlines()
    *pins, package = built.splitlines()
    assert pins == [line for line in lines if not line.startswith("jupyterlab-myst==")]
    assert len(pins) == len(lines) - 1
    assert package.startswith(f"stn-tutorial @ git+{URL}@")


# The buttons


def test_a_chapters_buttons_lead_to_its_plain_notebook(web: Visit, name: str) -> None:
    repository_name = urlsplit(URL).path.strip("/")
    tab = web.open(f"chapters/{name}.html")
    links = tab.eval_on_selector_all("a", "all => all.map(a => a.href)")
    buttons = CONFIG["launch_buttons"]
    binder = f"{buttons['binderhub_url']}/v2/gh/{repository_name}/{BRANCH}"
    assert f"{binder}?urlpath=lab/tree/{name}.ipynb" in links
    colab = f"{buttons['colab_url']}/github/{repository_name}/blob/{BRANCH}"
    assert f"{colab}/{name}.ipynb" in links
    assert urljoin(web.base, f"{FOLDER}/{name}.ipynb") in links


class JsonHandler(QuietHandler):
    """Serve notebooks as some servers do, so that a browser would show them."""

    extensions_map = {**QuietHandler.extensions_map, ".ipynb": "application/json"}


def test_a_notebook_is_saved_not_shown(browser: BrowserContext, site: Path) -> None:
    name = f"{CHAPTERS[1]}.ipynb"
    with serve(site, JsonHandler) as address:
        tab = Visit(browser, address).open(f"chapters/{CHAPTERS[1]}.html")
        tab.get_by_label("Download this page").click()
        with tab.expect_download() as download:
            tab.locator(".btn-download-source-button").click()
        assert download.value.suggested_filename == name
        saved = Path(download.value.path()).read_bytes()
        tab.close()
    assert saved == (site / FOLDER / name).read_bytes()
