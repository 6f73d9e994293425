"""Sphinx extension: figures and equations are numbered by chapter.

Sphinx numbers by section only what stands in a numbered table of contents, whose first
chapter would be 1. This book's is 0, and its pages of reference have no number.
"""

import re
from typing import Any

Numbers = dict[str, dict[str, dict[str, tuple[int, ...]]]]  # page, kind, id


def by_chapter(numbers: Numbers) -> Numbers:
    """Count from 1 on each page; on a chapter's, after the chapter's number."""
    renumbered: Numbers = {}
    for page, kinds in numbers.items():
        chapter = re.match(r"chapters/(\d\d)-", page)
        first = (int(chapter[1]),) if chapter else ()
        renumbered[page] = {
            kind: {name: (*first, k) for k, name in enumerate(names, start=1)}
            for kind, names in kinds.items()
        }
    return renumbered


def restore(app: Any, env: Any) -> list[str]:
    """Give Sphinx its own numbers back: where they change, it writes a page anew."""
    env.toc_fignumbers = getattr(env, "numbers_through_the_book", {})
    return []


def renumber(app: Any, env: Any) -> list[str]:
    """Number by chapter, once Sphinx has numbered through the book."""
    env.numbers_through_the_book = env.toc_fignumbers
    env.toc_fignumbers = by_chapter(env.toc_fignumbers)
    return []


def setup(app: Any) -> dict[str, bool]:
    """Stand before and after Sphinx's own numbering."""
    app.connect("env-get-updated", restore, priority=100)
    app.connect("env-get-updated", renumber, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
