"""What a reader reads of a chapter, and how long it takes."""

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from notebooks import chapters, main
from reading import prose, report, sentences


def test_prose_is_what_is_read_as_sentences() -> None:
    page = (
        "---\ntitle: A\n---\n# Heading\n\nSet `color` here: $center$, in "
        "<!--= n -->3<!--/--> places.\n\n```python\ncolor = 'gray'\n```\n\n"
        "| color | gray |\n\n:::{tip}\n[the site](https://example.org/color) "
        "{cite}`color`\n:::\n"
    )
    read = " ".join(prose(page).split())
    assert read == "Set x here: x, in 3 places. [the site] x"


def test_a_list_item_or_a_blank_line_begins_a_sentence() -> None:
    text = 'One. Two ("three?") Four\n\nFive\n- six\n1. seven'
    found = ["One.", 'Two ("three?', "Four", "Five", "six", "seven"]
    assert [each for each in sentences(text) if each] == found


def test_the_report_measures_a_chapter() -> None:
    words = " ".join(["word"] * 198)
    cells = [
        new_markdown_cell(f"{words}.\n\n**Reading time:** about 9 minutes"),
        new_code_cell("\n".join(["x = 1"] * 40)),
        new_code_cell("y = 123456\n" * 3, metadata={"tags": ["hide-cell"]}),
        new_code_cell("z = 1"),
    ]
    assert report(new_notebook(cells=cells)) == {
        "code cells": 3,
        "median lines": 3,
        "longest": 40,
        "widest line": 10,
        "words": 203,
        "longest sentence": 198,
        "minutes": 3,  # one for the words, two for the lines that stand open
        "says": "9",
    }


def test_the_tool_prints_a_line_a_chapter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert "longest sentence" in head
    assert [line.split()[0] for line in lines] == [path.stem for path in chapters()]
