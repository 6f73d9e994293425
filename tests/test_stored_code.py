"""What a chapter has stored and a reader's browser would run is the package's own."""

import copy
import json
import re
from html.parser import HTMLParser

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_output
from notebooks import CHAPTERS, WIDGETS, chapters

from stn_tutorial import animation, widgets
from stn_tutorial.widgets._figure import BUILT

KINDS = {
    "text/plain",
    "text/markdown",
    "text/html",
    "image/png",
    "application/vnd.jupyter.widget-view+json",
}
# A figure's class, by the identity that anywidget saves.
FIGURES = [getattr(widgets, name) for name in widgets.__all__]
CLASSES = {f"{figure.__module__}.{figure.__qualname__}": figure for figure in FIGURES}
ANIMATION = re.compile(
    rf"""\(\(\) => {{
{re.escape(animation.SCRIPT)}
playFrames\(document\.getElementById\("animation-[0-9a-f]{{12}}"\)\);
}}\)\(\);"""
)
# Neither a script nor what could bring one along: frames, SVG, other pages' styles.
TAGS = {"div", "span", "img", "output", "button", "input", "style", "script"}
MARKDOWN_TAGS = {"a", "b", "br", "em", "i", "img", "span", "strong", "sub", "sup"}
RAW = re.compile(r"\{raw\}|^%%(html|javascript|js|svg)\b|javascript:", re.M | re.I)


class Reader(HTMLParser):
    """Collect what is no mere text in HTML: tags, attributes, scripts, styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.code: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag, and that a script or a style begins."""
        self.tags.add(tag)
        self.attributes += attrs
        if tag in self.code:
            self.code[tag].append("")

    def handle_data(self, data: str) -> None:
        """Take the text of a script or a style."""
        if self.cdata_elem in self.code:
            self.code[self.cdata_elem][-1] += data

    def check(self, allowed: set[str]) -> None:
        """Refuse tags but some, and attributes that run or fetch something."""
        assert self.tags <= allowed
        for name, value in self.attributes:
            assert not name.startswith("on"), name
            if name in ("src", "href", "srcset", "action", "formaction"):
                assert not re.match(r"\s*(javascript|data:(?!image/png;))", value or "")


def check_stored(notebook: NotebookNode) -> None:
    """Fail at any code that the package has not made."""
    saved = notebook.metadata.get("widgets", {})
    assert saved.keys() <= {WIDGETS}
    shown = []
    for model in saved.get(WIDGETS, {}).get("state", {}).values():
        state = model["state"]
        if model["model_name"] == "LayoutModel":
            assert model["model_module"] == "@jupyter-widgets/base"
            assert "_esm" not in state
            continue
        assert (model["model_module"], state["_model_module"]) == ("anywidget",) * 2
        figure = CLASSES[state["_anywidget_id"]]
        for name in ("_esm", "_css"):
            file = getattr(figure, name)._path
            assert file.parent == BUILT
            assert state[name] == file.read_text("utf-8"), f"not {file.name}"
        shown.append(f"{figure.__name__}({state['label']!r})")
    told = []
    for cell in notebook.cells:
        assert not cell.get("attachments")
        if cell.cell_type == "markdown":
            check_markdown(cell.source)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            assert data.keys() <= KINDS
            if "application/vnd.jupyter.widget-view+json" in data:
                told.append(data["text/plain"])
            check_markdown(data.get("text/markdown", ""))
            check_html(data.get("text/html", ""))
    assert sorted(shown) == sorted(told)  # each figure is what its cell made


def check_html(text: str) -> None:
    """Let an animation pass, and nothing else that moves."""
    page = Reader(text)
    page.check(TAGS)
    assert all(ANIMATION.fullmatch(code.strip()) for code in page.code["script"])
    assert all(code.strip() == animation.STYLE.strip() for code in page.code["style"])


def check_markdown(text: str) -> None:
    """Let the few tags pass that the text uses; what stands as code is no tag."""
    assert not RAW.search(text)
    prose = re.sub(r"(```+|~~~+).*?\1|(`+).+?\2|<!--.*?-->", "", text, flags=re.S)
    page = Reader(re.sub(r"<(?=[^a-zA-Z/!?])", "&lt;", prose))
    page.check(MARKDOWN_TAGS)


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_what_a_chapter_stores_is_the_packages_own(path) -> None:
    check_stored(nbformat.read(path, as_version=4))


@pytest.mark.parametrize("path", [*CHAPTERS.glob("*.md")], ids=lambda path: path.stem)
def test_a_page_brings_no_script(path) -> None:
    check_markdown(path.read_text("utf-8"))


def models(notebook: NotebookNode) -> list[dict]:
    """The saved figures of a notebook."""
    saved = notebook.metadata["widgets"][WIDGETS]["state"].values()
    return [model["state"] for model in saved if "_esm" in model["state"]]


def prepend(name: str, code: str):
    """Put code before what a figure has saved."""

    def change(notebook: NotebookNode) -> None:
        state = models(notebook)[0]
        state[name] = code + state[name]

    return change


def add_model(notebook: NotebookNode) -> None:
    state = {"_esm": "alert(1)", "label": "fig-01-grid"}
    model = {"model_name": "LayoutModel", "model_module": "@jupyter-widgets/base"}
    notebook.metadata["widgets"][WIDGETS]["state"]["x"] = {**model, "state": state}


def show_again(notebook: NotebookNode) -> None:
    """A figure of the package in the place of another one."""
    saved = notebook.metadata["widgets"][WIDGETS]["state"]
    twin = copy.deepcopy(next(m for m in saved.values() if "_esm" in m["state"]))
    twin["state"]["label"] = "fig-01-grid"
    saved["twin"] = twin


def other_class(notebook: NotebookNode) -> None:
    models(notebook)[0]["_anywidget_id"] = "stn_tutorial.widgets.turn_it.TurnIt"


def other_kind(notebook: NotebookNode) -> None:
    saved = notebook.metadata["widgets"]
    saved["application/x-widget"] = saved[WIDGETS]


def output(kind: str, content: str):
    """Add an output."""

    def change(notebook: NotebookNode) -> None:
        cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
        cell.outputs.append(new_output("display_data", {kind: content}))

    return change


def edit_html(before: str, after: str):
    """Change the animation that is stored."""

    def change(notebook: NotebookNode) -> None:
        for cell in notebook.cells:
            for out in cell.get("outputs", []):
                if "text/html" in out.get("data", {}):
                    text = out.data["text/html"]
                    assert before in text
                    out.data["text/html"] = text.replace(before, after)

    return change


def text(source: str):
    """Add a Markdown cell."""
    return lambda notebook: notebook.cells.append(new_markdown_cell(source))


CHANGES = {
    "code before a module": prepend("_esm", "alert(1);"),
    "a space before a module": prepend("_esm", " "),
    "a rule before a style": prepend("_css", "body{background:url(//x)}"),
    "a widget of no class": add_model,
    "a figure in another's place": show_again,
    "another figure's name": other_class,
    "another kind of state": other_kind,
    "JavaScript": output("application/javascript", "alert(1)"),
    "SVG": output("image/svg+xml", "<svg onload='alert(1)'/>"),
    "HTML": output("text/html", "<script>alert(1)</script>"),
    "a frame": output("text/html", "<iframe srcdoc='x'></iframe>"),
    "an event": output("text/html", "<img src=x onerror=alert(1)>"),
    "a style": output("text/html", "<style>@import '//x';</style>"),
    "Markdown as output": output("text/markdown", "<img src=x onerror=alert(1)>"),
    "an animation's script": edit_html("<script>\n", "<script>\nalert(1);"),
    "another script beside it": edit_html(
        "</style>", "</style><script src=x></script>"
    ),
    "an animation's event": edit_html("<output>", "<output onclick=alert(1)>"),
    "script in text": text("A <script>alert(1)</script>"),
    "event in text": text("A <b onclick='alert(1)'>b</b>"),
    "link in text": text("A [b](javascript:alert(1))"),
    "tag after code": text("`a` <svg onload=alert(1)> `b`"),
    "raw": text("```{raw} html\n<script>alert(1)</script>\n```"),
}


@pytest.fixture(scope="module")
def sound() -> str:
    """A chapter with a figure and an animation."""
    notebook = nbformat.read(CHAPTERS / "01-affine-transforms.ipynb", as_version=4)
    check_stored(notebook)
    return json.dumps(notebook)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_slipped_in_fails(change, sound: str) -> None:
    notebook = nbformat.reads(sound, as_version=4)
    change(notebook)
    with pytest.raises((AssertionError, KeyError)):
        check_stored(notebook)
