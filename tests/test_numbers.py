"""Figures and equations are numbered by chapter."""

from types import SimpleNamespace

from numbers_extension import by_chapter, renumber, restore


def sphinx_numbers() -> dict:
    """What Sphinx gives: one count through the book for each kind."""
    return {
        "chapters/index": {"figure": {"map": (1,)}},
        "chapters/00-why": {"figure": {"cat": (2,), "moon": (3,)}},
        "chapters/10-what": {
            "figure": {"swap": (4,)},
            "displaymath": {"first": (1,), "second": (2,)},
        },
        "chapters/notation": {"displaymath": {"theta": (3,)}},
    }


def test_each_chapter_counts_for_itself() -> None:
    assert by_chapter(sphinx_numbers()) == {
        "chapters/index": {"figure": {"map": (1,)}},
        "chapters/00-why": {"figure": {"cat": (0, 1), "moon": (0, 2)}},
        "chapters/10-what": {
            "figure": {"swap": (10, 1)},
            "displaymath": {"first": (10, 1), "second": (10, 2)},
        },
        "chapters/notation": {"displaymath": {"theta": (1,)}},
    }


def test_sphinx_compares_with_its_own_numbers() -> None:
    environment = SimpleNamespace(toc_fignumbers=sphinx_numbers())
    renumber(None, environment)
    assert environment.toc_fignumbers == by_chapter(sphinx_numbers())
    restore(None, environment)
    assert environment.toc_fignumbers == sphinx_numbers()
