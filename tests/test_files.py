"""Files: where the book's records lie, and a writer that leaves no half a file."""

import os
from pathlib import Path

import pytest

from stn_tutorial import files
from stn_tutorial.files import write_whole


def test_the_books_records_are_in_the_package_or_in_its_repository(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(files, "__file__", str(tmp_path / "stn_tutorial/files.py"))
    assert files.book_folder() == tmp_path / "chapters" / "recorded"
    (tmp_path / "stn_tutorial" / "recorded").mkdir(parents=True)
    assert files.book_folder() == tmp_path / "stn_tutorial" / "recorded"


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    for data in (b"first", b"second"):
        write_whole(path, data)
        assert path.read_bytes() == data
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("fault", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_half_a_file_never_stands_under_its_name(fault, tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"the last one")
    real = os.fsync

    def fails(descriptor):
        real(descriptor)
        assert path.read_bytes() == b"the last one"
        raise fault

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(type(fault)):
        write_whole(path, b"another one")
    assert path.read_bytes() == b"the last one"
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_killed_on_its_way_is_cleared_by_the_next_writer(tmp_path):
    """Not what is young, nor another file's, nor one whose name only begins alike."""
    path = tmp_path / "file[1]"
    old = tmp_path / "file[1].0123abcd.part"
    stay = [tmp_path / f"{name}.4567.part" for name in ("file[1]", "file1", "other")]
    for part in (old, *stay):
        part.write_bytes(b"half")
    for part in (old, *stay[1:]):
        os.utime(part, times=(1, 1))
    write_whole(path, b"whole")
    assert set(tmp_path.iterdir()) == {path, *stay}


def test_all_is_on_the_disk_before_the_file_has_its_name(tmp_path, monkeypatch):
    """Else a power cut could leave an empty file under the good name."""
    done = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(descriptor):
        done.append(("on the disk", os.fstat(descriptor).st_size))
        fsync(descriptor)

    def note_replace(part, path):
        done.append(("named", part.stat().st_size))
        return replace(part, path)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    write_whole(tmp_path / "file", b"four")
    assert done == [("on the disk", 4), ("named", 4)]
