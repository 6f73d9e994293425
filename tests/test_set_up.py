"""The environment is made again where it has to be, and only there."""

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import set_up
from mirrors import Mirrors
from set_up import (
    RECIPE,
    answers,
    locked,
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


@pytest.mark.parametrize("fault", ["moved", "copied", "no Python"])
def test_it_is_made_again_with_a_word(
    fault: str,
    environment: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    commands = []
    monkeypatch.setattr(set_up, "run", lambda *parts: commands.append(parts))
    monkeypatch.setattr(set_up, "torch_options", list)
    folder = environment
    if fault == "moved":
        folder = environment.rename(environment.with_name("with a space"))
    elif fault == "copied":
        folder = environment.with_name("copy")
        shutil.copytree(environment, folder, symlinks=True)
    else:
        python_of(environment).unlink()
    main([str(folder)])
    assert (
        "was moved or has lost its Python: making it again" in capsys.readouterr().out
    )
    assert commands[0] == (sys.executable, "-m", "venv", "--clear", folder)
    assert (folder / ".ready").read_text("utf-8") == receipt(folder, RECIPE)


def test_after_a_change_of_the_lock_it_is_brought_up_to_date(
    environment: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    commands = []
    monkeypatch.setattr(set_up, "run", lambda *parts: commands.append(parts))
    monkeypatch.setattr(set_up, "torch_options", list)
    (environment / ".ready").write_text(f"{place(environment)}of before\n", "utf-8")
    main([str(environment)])
    assert "up to date" in capsys.readouterr().out
    assert not any("venv" in command for command in commands)
    hashed = [command for command in commands if "--require-hashes" in command]
    assert len(hashed) == 2  # uv itself, and what the lock holds


def test_what_installs_all_is_checked_by_its_hash_too() -> None:
    entry = locked("uv")
    assert entry.startswith(f"{set_up.pin('uv')} \\\n")
    assert entry.count("==") == 1
    assert entry.count("--hash=sha256:") > 10
    assert entry.endswith("\n")


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
