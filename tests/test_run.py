"""The tool runs chapters, fills in their numbers, and says which are stale."""

from pathlib import Path

import nbformat
import pytest
from fingerprint import PACKAGE
from markers import marked_text, without_markers
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from notebooks import chapters, find_chapter, main, run

FIGURE = {"figure": {"name": "fig-a", "caption": "Of <!--= n --><!--/--> points."}}


def test_a_run_stores_outputs_and_fills_in_numbers(tmp_path: Path) -> None:
    path = tmp_path / "one.ipynb"
    share = """<!--= f"{error['FCN']:.1f}" --><!--/-->"""
    cells = [
        new_code_cell("error, n = {'FCN': 16.34}, 1000\nprint(6 * 7)"),
        new_markdown_cell(f"- Errs on {share}% of <!--= n -->7<!--/-->."),
        new_code_cell("n = 2000", metadata={"mystnb": FIGURE}),
        new_markdown_cell("Then of <!--=n--><!--/-->."),
    ]
    notebook = new_notebook(cells=cells, metadata={"jupytext": {"version": "1"}})
    nbformat.write(notebook, path)
    assert main(["check", str(path)]) == 1
    for _ in range(2):  # the second run finds the first one's values
        assert main(["run", str(path)]) == 0
        assert main(["check", str(path)]) == 0
        after = nbformat.read(path, as_version=4)
        first, told, second, later = after.cells
        assert [output.text for output in first.outputs] == ["42\n"]
        assert second.outputs == []  # nothing of an expression is stored
        assert [first.execution_count, second.execution_count] == [1, 2]
        assert without_markers(told.source) == "- Errs on 16.3% of 1000."
        assert marked_text(second) == "Of <!--= n -->2000<!--/--> points."
        assert later.source == "Then of <!--= n -->2000<!--/-->."
        assert [c.id for c in after.cells] == [c.id for c in cells]
        assert set(after.metadata) == {"kernelspec", "language_info", PACKAGE}
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (new_code_cell("missing"), r"cell 2: missing\n.*NameError"),
        (
            new_markdown_cell("It: <!--= m --><!--/-->"),
            r"cell 2: It: <!--= m.*\nm\nNameError: name 'm' is not defined",
        ),
    ],
    ids=["cell", "expression"],
)
def test_a_failed_run_names_the_cell_and_leaves_the_file(
    tmp_path: Path, cell: nbformat.NotebookNode, message: str
) -> None:
    path = tmp_path / "one.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("n = 1"), cell]), path)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match=rf"(?s)^one\.ipynb, {message}"):
        run(path)
    assert path.read_bytes() == before


def test_check_names_the_stale_notebook(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "stale.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1")]), path)
    assert main(["check", str(path)]) == 1
    assert "stale.ipynb" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["3", "03", str(chapters()[3])])
def test_a_chapter_goes_by_its_number_or_its_file(name: str) -> None:
    assert find_chapter(name).samefile(chapters()[3])


@pytest.mark.parametrize("name", ["99", "missing.ipynb", ""])
def test_what_is_no_chapter_is_named(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["check", name])
    assert f"but got: {name}" in capsys.readouterr().err
