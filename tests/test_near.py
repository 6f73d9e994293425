"""The tests that a change calls for are found."""

import subprocess
from pathlib import Path

import near
import pytest
from near import changed_files

TESTS = {
    "test_affine.py": "from stn_tutorial.affine import rotation",
    "test_signs.py": "from stn_tutorial import affine, signs\nimport mirrors",
    "test_data_mnist.py": "from stn_tutorial.data.mnist import load",
    "test_widgets.py": "import stn_tutorial.widgets.sample_lens",
    "test_exercises_first.py": "",
    "test_notebooks.py": "from notebooks import run",
    "test_markers.py": "import markers",
}


@pytest.fixture
def tests(tmp_path: Path) -> Path:
    """A folder with tests of a few modules."""
    for name, source in TESTS.items():
        (tmp_path / name).write_text(source, "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("README.md", ["affine"]),
        ("stn_tutorial/signs.py", ["affine", "signs"]),
        ("stn_tutorial/affine.py", ["affine"]),
        ("stn_tutorial/data/mnist.py", ["affine", "data_mnist"]),
        ("stn_tutorial/data/__init__.py", ["affine", "data_mnist"]),
        ("stn_tutorial/exercises/chapter_1.py", ["affine", "exercises_first"]),
        ("stn_tutorial/widgets/sample_lens.py", ["affine", "widgets"]),
        ("stn_tutorial/widgets/source/stage.js", ["affine", "widgets"]),
        ("tests/test_signs.py", ["affine", "signs"]),
        ("tests/test_notebooks.py", ["affine"]),
        ("tests/mirrors.py", ["affine", "signs"]),
        ("tools/markers.py", ["affine", "markers"]),
    ],
)
def test_a_change_calls_for_its_tests(
    changed: str, expected: list[str], tests: Path
) -> None:
    assert near.near([changed], tests) == [f"tests/test_{name}.py" for name in expected]


def test_the_core_is_always_tested() -> None:
    chosen = near.near([])
    assert chosen == sorted(f"tests/test_{name}.py" for name in near.CORE)
    assert all((near.ROOT / path).exists() for path in chosen)


def test_every_reader_is_a_file_of_tests() -> None:
    named = {name for readers in near.READERS.values() for name in readers}
    assert [n for n in named if not (near.TESTS / f"test_{n}.py").exists()] == []


def test_changed_and_new_files_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        name = ("-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgsign=no")
        subprocess.run(["git", *name, *arguments], cwd=tmp_path, check=True)

    monkeypatch.setattr(near, "ROOT", tmp_path)
    git("init", "--quiet")
    for name in ("kept.py", "edited.py", "removed.py", ".gitignore"):
        (tmp_path / name).write_text("ignored.py\n", "utf-8")
    git("add", ".")
    git("commit", "--quiet", "--message", "First")
    (tmp_path / "edited.py").write_text("edited\n", "utf-8")
    (tmp_path / "removed.py").unlink()
    (tmp_path / "new.py").touch()
    (tmp_path / "ignored.py").touch()
    assert sorted(changed_files("HEAD")) == ["edited.py", "new.py", "removed.py"]
