"""The environment is made again where it has to be, and only there."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mirrors import Mirrors
from set_up import (
    RECIPE,
    answers,
    main,
    place,
    python_of,
    receipt,
    torch_options,
    works_here,
)


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A folder that looks like an environment made for this book."""
    folder = tmp_path / "venv"
    python_of(folder).parent.mkdir(parents=True)
    python_of(folder).symlink_to(sys.executable)
    (folder / ".ready").write_text(receipt(folder, RECIPE), "utf-8")
    return folder


@pytest.fixture
def index() -> Iterator[Mirrors]:
    """A web server in the place of PyTorch's index."""
    server = Mirrors()
    yield server
    server.stop()


def test_an_environment_that_is_up_to_date_stays(environment: Path) -> None:
    before = sorted(os.walk(environment))
    main([str(environment)])
    assert sorted(os.walk(environment)) == before


def test_a_moved_environment_does_not_work_here(environment: Path) -> None:
    assert works_here(environment)
    moved = environment.rename(environment.with_name("moved"))
    assert not works_here(moved)


def test_an_environment_without_its_python_does_not_work(environment: Path) -> None:
    python_of(environment).unlink()
    assert not works_here(environment)
    python_of(environment).symlink_to(environment / "gone")
    assert not works_here(environment)


def test_a_half_made_environment_is_finished(environment: Path) -> None:
    (environment / ".ready").write_text(place(environment), "utf-8")
    assert works_here(environment)
    assert place(environment) != receipt(environment, RECIPE)


@pytest.mark.parametrize("options", [[], ["--binder"]])
def test_what_was_not_made_here_is_not_emptied(
    options: list[str], environment: Path
) -> None:
    link = environment.with_name("link")
    link.symlink_to(environment)
    with pytest.raises(SystemExit, match="was not made by this command"):
        main([*options, str(link)])
    (environment / ".ready").unlink()
    with pytest.raises(SystemExit, match="was not made by this command"):
        main([*options, str(environment)])
    assert python_of(environment).exists()


@pytest.mark.parametrize("version", [(3, 10, 14), (3, 14, 0)])
def test_another_python_is_refused_with_advice(
    version: tuple[int, int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(SystemExit, match=r"needs Python 3\.11.*make PYTHON="):
        main([str(tmp_path / "venv")])
    assert list(tmp_path.iterdir()) == []


def test_on_linux_pytorch_comes_without_graphics_cards(
    index: Mirrors, capsys: pytest.CaptureFixture[str]
) -> None:
    index.put("torch", {"": b"<!DOCTYPE html>"}, end="")
    assert torch_options("linux", index.address) == ["--index-url", index.address]
    assert "without graphics cards" in capsys.readouterr().out


def test_where_its_index_has_nothing_pip_looks_elsewhere(
    index: Mirrors, capsys: pytest.CaptureFixture[str]
) -> None:
    assert torch_options("linux", index.address) == []
    assert "does not answer" in capsys.readouterr().out


def test_a_silent_index_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not answers(f"http://127.0.0.1:{server.getsockname()[1]}/", seconds=0.1)


def test_elsewhere_there_is_one_build(index: Mirrors) -> None:
    assert torch_options("darwin", index.address) == []
    assert index.asked == []
