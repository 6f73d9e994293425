"""Numbers in a chapter's prose: filled in by a run, and seen as plain text."""

from pathlib import Path

import markers
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from notebooks import run

FIGURE = {"figure": {"name": "fig-a", "caption": "Of <!--= n --><!--/--> points."}}


def test_a_run_fills_in_what_the_cells_above_have_found(tmp_path: Path) -> None:
    path = tmp_path / "one.ipynb"
    prose = (
        "- Errs on <!--= f\"{error['FCN']:.1f}\" --><!--/-->% of <!--= n -->7<!--/-->."
    )
    cells = [
        new_code_cell("error, n = {'FCN': 16.34}, 1000"),
        new_markdown_cell(prose),
        new_code_cell("n = 2000", metadata={"mystnb": FIGURE}),
        new_markdown_cell("Then of <!--=n--><!--/-->."),
    ]
    nbformat.write(new_notebook(cells=cells), path)
    for _ in range(2):  # the second run finds the first one's values
        run(path)
        first, told, second, later = nbformat.read(path, as_version=4).cells
        assert markers.without_markers(told.source) == "- Errs on 16.3% of 1000."
        caption = markers.marked_text(second)
        assert caption == "Of <!--= n -->2000<!--/--> points."
        assert later.source == "Then of <!--= n -->2000<!--/-->."
        assert first.outputs == second.outputs == []
        assert [first.execution_count, second.execution_count] == [1, 2]


def test_a_failing_expression_stops_the_run_and_names_the_cell(tmp_path: Path) -> None:
    path = tmp_path / "one.ipynb"
    cells = [new_code_cell("n = 1"), new_markdown_cell("It: <!--= m --><!--/-->")]
    nbformat.write(new_notebook(cells=cells), path)
    before = path.read_bytes()
    with pytest.raises(
        RuntimeError, match=r"(?s)one\.ipynb, cell 2: It.*m\nNameError.*'m'"
    ):
        run(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        "No marker, but a comment <!-- here -->, $x$ and `code`.",
        "It is <!--= n -->3<!--/--> of <!--= f'{100 * share:.0f}' -->40<!--/-->%.",
        "| a |\n|---|\n| <!--= n -->3<!--/--> |",
        "- **<!--= n -->3<!--/-->** of $x$, then $y$",
    ],
)
def test_sound_markers_pass(text: str) -> None:
    assert list(markers.faults(text)) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("It is <!--= n --><!--/-->.", "never filled"),
        ("It is <!--= n + -->3<!--/-->.", "no Python expression"),
        ("It is <!--= n", "not of the form"),
        ("It is <!--= n -->3", "not of the form"),
        ("It is 3<!--/-->.", "not of the form"),
        ("It is <!--= n -->\n3<!--/-->.", "not of the form"),
        ("It is <!--= 2--1 -->3<!--/-->.", "one of --"),
        ("It is <!--= n > 2 -->3<!--/-->.", "one of --"),
        ("<!--= n -->3<!--/--> are.", "begins a line"),
        ("They:\n- <!--= n -->3<!--/-->", "begins a line"),
        ("They:\n\n 1. <!--= n -->3<!--/-->", "begins a line"),
        ("## All <!--= n -->3<!--/-->", "in a heading"),
        ("Write `<!--= n -->3<!--/-->`.", "in code"),
        ("```\nn is <!--= n -->3<!--/-->\n```", "in code"),
        ("So $x = <!--= n -->3<!--/-->$.", "in code or mathematics"),
    ],
)
def test_markers_that_fail_or_would_show_are_found(text: str, fault: str) -> None:
    assert any(found.startswith(fault) for found in markers.faults(text))
