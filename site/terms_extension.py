"""Sphinx extension: the first use of a term in a chapter leads to the glossary.

The link brings the definition along, as a citation brings its author, title and year;
chapters/assets/terms.js shows them. The chapters themselves need no markup for that.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from docutils import nodes
from sphinx.util.nodes import make_refnode

# Phrases in which a term is an everyday word.
EVERYDAY = ("black box", "box of width")
# Where a link would be in the way: it is one already, is code, or is read aloud twice.
SPARED = (
    nodes.title,
    nodes.reference,
    nodes.literal,
    nodes.math,
    nodes.figure,
    nodes.table,
    nodes.raw,
    nodes.footnote,
    nodes.citation,
)


@dataclass
class Term:
    """An entry of the glossary: its page, its anchor there, and what it says."""

    page: str
    anchor: str
    definition: str


def glossary(env: Any) -> dict[str, Term]:
    """Collect the terms and their definitions."""
    found = {}
    for (kind, name), (page, anchor) in env.domains["std"].objects.items():
        if kind == "term":
            label = env.get_doctree(page).ids[anchor]
            definition = next(label.parent.findall(nodes.definition))
            text = " ".join(definition.astext().split())
            found[name.lower()] = Term(page, anchor, text)
    return found


def pattern(names: Iterable[str]) -> re.Pattern[str]:
    """Match any of these terms, one or many of what it names, the longest first."""
    each = sorted([*names, *EVERYDAY], key=len, reverse=True)
    parts = "|".join(re.escape(name).replace(r"\ ", r"\s+") for name in each)
    return re.compile(rf"(?<![\w-])({parts})(?:s|es)?(?![\w-])", re.I)


def is_prose(text: nodes.Text) -> bool:
    """Say whether a text stands in a paragraph, and nowhere that is spared."""
    node, inside = text.parent, False
    while node is not None:
        if isinstance(node, SPARED):
            return False
        inside = inside or isinstance(node, nodes.paragraph)
        node = node.parent
    return inside


def link_terms(app: Any, document: nodes.document, name: str) -> None:
    """Make the first use of each term in a chapter a link."""
    chapter = app.env.doc2path(name).endswith(".ipynb")
    if app.builder.format != "html" or not chapter:
        return
    left = glossary(app.env)
    term = pattern(left)
    for text in filter(is_prose, list(document.findall(nodes.Text))):
        pieces: list[nodes.Node] = []
        end = 0
        for found in term.finditer(text):
            entry = left.pop(" ".join(found[1].lower().split()), None)
            if entry:
                link = make_refnode(
                    *(app.builder, name, entry.page, entry.anchor),
                    *(nodes.Text(found[0]), entry.definition),
                )
                link["classes"].append("term")
                pieces += [nodes.Text(text[end : found.start()]), link]
                end = found.end()
        if pieces:
            text.parent.replace(text, [*pieces, nodes.Text(text[end:])])


def setup(app: Any) -> dict[str, bool]:
    """Connect the handler to Sphinx, when all references are resolved."""
    app.connect("doctree-resolved", link_terms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
