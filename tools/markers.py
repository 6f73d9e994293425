"""Numbers in a chapter's prose that `make notebooks` fills in from its kernel.

    the FCN errs on <!--= f"{errors['FCN']:.1f}" -->16.3<!--/-->% of them

Between two comments of HTML, which no reader sees, stands the value of a Python
expression. So the prose says what the cells above it have found, in JupyterLab, on
GitHub and in Colab too, where nothing is substituted while the page is shown.
"""

import ast
import re
from collections.abc import Iterator

from nbformat import NotebookNode

MARKER = re.compile(r"<!--=(?P<expression>[^\n]*?)-->(?P<value>[^\n]*?)<!--/-->")
EDGE = re.compile(r"<!--=|<!--/-->")
# Where Markdown reads what follows as a block of HTML, which shows no Markdown.
BEGINS_LINE = re.compile(r"^[ \t>]*(?:(?:[-*+:]|\d+[.)])[ \t]+)*<!--=", re.M)
# Headings become entries of a table of contents, and of the search.
IN_HEADING = re.compile(r"^#+ .*<!--=.*", re.M)
# What one of the places where the book is read takes for something else: the end of
# the comment or a tag, a column of a table, mathematics, code.
FORBIDDEN = re.compile(r"--|[<>|$`]")
CODE_OR_MATHEMATICS = re.compile(
    r"^(?P<fence>`{3,}).*?^(?P=fence)[ \t]*$"
    r"|(?P<ticks>`+).+?(?P=ticks)"
    r"|\$\$.+?\$\$|\$[^$\n]+\$",
    re.M | re.S,
)


def marked_text(cell: NotebookNode) -> str:
    """Return the text of a cell that may hold markers: its prose, or its caption."""
    if cell.cell_type == "markdown":
        return cell.source
    return cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "")


def set_marked_text(cell: NotebookNode, text: str) -> None:
    """Put a text back where `marked_text` found it."""
    if cell.cell_type == "markdown":
        cell.source = text
    elif text:
        cell.metadata.mystnb.figure.caption = text


def expressions(text: str) -> list[str]:
    """List the expressions in a text, in the order of their markers."""
    return [found["expression"].strip() for found in MARKER.finditer(text)]


def filled(text: str, values: list[str]) -> str:
    """Write values into a text, one for each of its markers."""
    waiting = iter(values)

    def fill(found: re.Match[str]) -> str:
        return f"<!--= {found['expression'].strip()} -->{next(waiting)}<!--/-->"

    return MARKER.sub(fill, text)


def without_markers(text: str) -> str:
    """Return a text as it is read: the values stay, and the comments go."""
    return MARKER.sub(lambda found: found["value"], text)


def faults(text: str) -> Iterator[str]:
    """Find the markers in a text that cannot be filled, are not, or would show."""
    for found in MARKER.finditer(text):
        expression = found["expression"].strip()
        try:
            ast.parse(expression, mode="eval")
        except SyntaxError:
            yield f"no Python expression: {found[0]}"
        if FORBIDDEN.search(expression):
            yield f"one of -- < > | $ ` in the expression: {found[0]}"
        if not found["value"].strip():
            yield f"never filled: {found[0]}"
    if EDGE.search(MARKER.sub("", text)):
        yield f"not of the form <!--= expression -->value<!--/-->: {text[:60]}"
    for found in BEGINS_LINE.finditer(text):
        line = text[found.start() :].lstrip("\n").splitlines()[0]
        yield f"begins a line, so that Markdown takes the line for HTML: {line}"
    for found in IN_HEADING.finditer(text):
        yield f"in a heading: {found[0]}"
    for found in CODE_OR_MATHEMATICS.finditer(text):
        if EDGE.search(found[0]):
            yield f"in code or mathematics, where it would show: {found[0]}"
