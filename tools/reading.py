"""Read a chapter as its readers do: its prose, its sections, its length."""

import re
from statistics import median

import markers
from fingerprint import code_cells
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

HIDDEN = {"hide-cell", "hide-input"}
WORDS_A_MINUTE = 200
LINES_A_MINUTE = 20  # of code
READING_TIME = re.compile(r"\*\*Reading time:?\*\*:? *(?:about *)?(\d+)")


def markdown(notebook: NotebookNode) -> str:
    """Join the notebook's text cells, as they are read."""
    texts = [c.source for c in notebook.cells if c.cell_type == "markdown"]
    return markers.without_markers("\n\n".join(texts))


def without_fences(text: str) -> str:
    """Drop code between fences; what stands between colons is prose."""
    return re.sub(r"^(`{3,}).*?^\1\s*$", "", text, flags=re.M | re.S)


def headings(notebook: NotebookNode, level: int) -> list[str]:
    """List the headings of one level."""
    pattern = rf"^{'#' * level} +(.+?) *$"
    return re.findall(pattern, without_fences(markdown(notebook)), flags=re.M)


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


def is_hidden(cell: NotebookNode) -> bool:
    """Say whether a cell starts closed on the site."""
    return bool(HIDDEN & set(cell.metadata.get("tags", [])))


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


def report(notebook: NotebookNode) -> dict[str, object]:
    """Measure a chapter, for its author to judge: none of this is right or wrong.

    Returns:
        Figures by name. The reading time is that of the prose and of the code that
        stands open, in minutes; "says" is the chapter's own, which adds trainings.
    """
    cells = [cell.source.strip("\n").splitlines() for cell in code_cells(notebook)]
    shown = [c.source for c in code_cells(notebook) if not is_hidden(c)]
    text = markdown(notebook)
    words = len(prose(text).split())
    lines = sum(len(source.splitlines()) for source in shown)
    said = READING_TIME.search(text)
    return {
        "code cells": len(cells),
        "median lines": median(map(len, cells)) if cells else 0,
        "longest": max(map(len, cells), default=0),
        "widest line": max((len(line) for cell in cells for line in cell), default=0),
        "words": words,
        "longest sentence": max(len(each.split()) for each in sentences(text)),
        "minutes": round(words / WORDS_A_MINUTE + lines / LINES_A_MINUTE),
        "says": said[1] if said else "",
    }
