"""The chapters in plain Markdown: each kind of text, and where they are published."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from docutils import nodes
from docutils.core import publish_doctree
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin
from myst_parser.parsers.docutils_ import Parser
from nbformat.v4 import new_code_cell, new_markdown_cell
from notebooks import ROOT
from plain_extension import BRANCH, FOLDER, add_text, package
from plain_markdown import Markdown, parts

PAGE = "https://me.github.io/book/chapters/one.html"
# What GitHub, Colab and JupyterLab read.
READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
READER.use(dollarmath_plugin, double_inline=True)


def read(text: str) -> nodes.document:
    """Parse a text as the book's pages are."""
    settings = {
        "myst_enable_extensions": ["colon_fence", "dollarmath"],
        "doctitle_xform": False,
    }
    return publish_doctree(text, parser=Parser(), settings_overrides=settings)


def plain(text: str) -> str:
    """Write a text of the book in plain Markdown."""
    return Markdown(PAGE, {}).blocks(parts(read(text)))


def test_a_drawing_is_fetched_from_the_website() -> None:
    picture = nodes.image(uri="chapters/assets/map.svg", alt="A map.")
    text = nodes.caption("", "The ", nodes.emphasis("", "map"))
    figure = nodes.figure("", picture, text, ids=["fig-map"])
    writer = Markdown(PAGE, {"fig-map": "1.2"})
    assert writer.write(figure) == (
        "![A map.](https://me.github.io/book/_images/map.svg)\n\n"
        '<a id="fig-map"></a>**Figure 1.2.** The *map*'
    )


SAME = [
    "Text *with* **stress**, `code`, $x_i^2$ and ``a ` tick``.\nAnd a second line.",
    "[A link](https://example.org) and *[one](https://example.org)* in italics.",
    "# One title\n\nText.\n\n## And a *section*\n\n### With one in it",
    "**Bold**: a colon, $x$ - 1 and a line\nthat goes on: `one`.",
    "- short\n- list",
    "- a list\n\n  of two paragraphs\n\n- and\n\n  - a list in it",
    "3. three\n4. four",
    "> A quote\n>\n> of two paragraphs",
    "| a | b |\n| --- | ---: |\n| `x\\|y` | $\\theta$ |",
    "```\nx = 1\n\n\ny = 2\n```",
    "$$\nx = \\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}\n$$",
    "snake_case, 2 * 3, a < b and R&D",
]


@pytest.mark.parametrize("text", SAME)
def test_plain_markdown_stays_as_it_is(text: str) -> None:
    assert plain(text).replace("2 \\* 3", "2 * 3") == text


CHANGED = [
    (
        ":::{admonition} Predict $x$\n:class: tip\nWhat is\n\n- it?\n:::",
        "> **Predict $x$**\n>\n> What is\n>\n> - it?",
    ),
    (":::{note}\nThis.\n:::", "> **Note**\n>\n> This."),
    ("% a comment\n\nText <!--= 6 * 7 -->42<!--/-->.", "Text 42."),
    ("(a-label)=\nText.", "Text."),
    ("Two\\\nlines", "Two<br />\nlines"),
    ("| a |\n|---|\n| $\\|x\\|$ |", "| a |\n| --- |\n| $\\vert x\\vert $ |"),
]


@pytest.mark.parametrize(("text", "expected"), CHANGED)
def test_what_is_mysts_own_becomes_plain(text: str, expected: str) -> None:
    assert plain(text) == expected


def test_an_equation_bears_its_number_and_its_place() -> None:
    tree = read("$$\nx = 1\n$$")
    (formula,) = tree.findall(nodes.math_block)
    formula["ids"] = ["equation-one"]
    link = nodes.reference("", "(7)", refid="equation-one")
    tree += nodes.paragraph("", "See ", link)
    assert Markdown(PAGE, {"equation-one": "7"}).blocks(tree) == (
        '<a id="equation-one"></a>\n\n$$\nx = 1\n\\tag{7}\n$$\n\n'
        "See [(7)](#equation-one)"
    )


def test_a_link_to_another_page_leads_to_the_website() -> None:
    link = nodes.reference("", "Next", refuri="two.html#part", internal=True)
    address = "https://me.github.io/book/chapters/two.html#part"
    assert Markdown(PAGE, {}).write(link) == f"[Next]({address})"


def test_an_answer_is_folded() -> None:
    title = nodes.rubric("", "If ", nodes.math("", "x<y"))
    title += [nodes.Text(" & "), nodes.literal("", "<")]
    title += nodes.reference("", "one", refid="fig-one")
    answer = nodes.paragraph("", "", nodes.strong("", "Right."))
    answer += nodes.Text(" Since 2*3.")
    box = nodes.container("", title, answer, design_component="dropdown")
    assert Markdown(PAGE, {}).write(box) == (
        "<details>\n<summary>If $x&lt;y$ &amp; <code>&lt;</code>"
        '<a href="#fig-one">one</a></summary>'
        "\n\n"
        "**Right.** Since 2\\*3.\n\n</details>"
    )


def test_an_unknown_kind_of_text_is_named() -> None:
    with pytest.raises(NotImplementedError, match="one.html holds a footnote,"):
        Markdown(PAGE, {}).write(nodes.footnote())


def shown(tokens: list[Token]) -> Iterator[str]:
    """List what a reader sees of a paragraph, or another token's kind."""
    for token in tokens:
        if token.type == "inline":
            yield from shown(token.children or [])
        elif token.type == "text":
            yield token.content
        elif token.type == "softbreak":
            yield "\n"
        elif token.type not in ("paragraph_open", "paragraph_close"):
            yield f"({token.type})"


WORDS = st.text("ab12 \\`*_{}[]()<>#+-=.!|~&;:$^/\"'", min_size=1).map(str.strip)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(WORDS.filter(bool), min_size=1, max_size=3).map("\n".join))
@example("a_b_ _c_ **d** `e` $f$ <b> &lt; [g](h) ![i](j) ~~k~~")
@example("[1]: 2")
@example("- a\n1. b\n# c\n> d\n===\n---\n|e|")
def test_text_is_shown_as_it_is(text: str) -> None:
    written = Markdown(PAGE, {}).write(nodes.paragraph("", text))
    assert "".join(shown(READER.parse(written))) == text


def test_text_joins_the_text_before_it() -> None:
    cells = [new_code_cell("1")]
    for text in ("one", "", "two"):
        add_text(cells, text)
    assert [cell.source for cell in cells] == ["1", "one\n\ntwo"]
    assert cells[1] == new_markdown_cell("one\n\ntwo", id="text-1")


def test_colab_installs_the_state_that_was_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = {"repository_url": "https://host/me/book", "repository_branch": "main"}
    config = SimpleNamespace(html_theme_options=options)
    monkeypatch.delenv("GITHUB_SHA", raising=False)
    assert package(config) == "git+https://host/me/book@main"
    monkeypatch.setenv("GITHUB_SHA", "5f3a")
    assert package(config) == "git+https://host/me/book@5f3a"


def test_the_workflow_publishes_the_branch(tmp_path: Path) -> None:
    """Run its commands here, in a folder of notebooks, with a repository of our own."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/book.yml").read_text("utf-8"))
    jobs = workflow["jobs"]
    uploads = [step.get("with", {}) for step in jobs["prove"]["steps"]]
    (upload,) = [w for w in uploads if w.get("path") == f"_build/html/{FOLDER}"]
    download, publish = jobs["notebooks"]["steps"]
    assert download["with"]["name"] == upload["name"]

    assert download["with"]["path"] == publish["working-directory"]
    server = tmp_path / "me/book"
    subprocess.run(["git", "init", "--quiet", "--bare", server], check=True)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "gh").write_text('#!/bin/sh\ntest "$*" = "auth setup-git"\n')
    (programs / "gh").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "GITHUB_SERVER_URL": tmp_path.as_uri(),
        "GITHUB_REPOSITORY": "me/book",
        "GITHUB_SHA": "5f3a",
    }
    for content in ("first", "second"):
        folder = tmp_path / content
        folder.mkdir()
        (folder / "one.ipynb").write_text(content)
        command = ["bash", "-eo", "pipefail", "-c", publish["run"]]
        subprocess.run(command, cwd=folder, env=environment, check=True)
    git = ["git", "--git-dir", server]
    shown = subprocess.run(
        [*git, "show", f"{BRANCH}:one.ipynb"], capture_output=True, check=True
    )
    assert shown.stdout == b"second"
