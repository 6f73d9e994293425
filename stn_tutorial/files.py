"""Where the book's results on record lie, and a writer that leaves no half a file."""

import os
import time
from contextlib import suppress
from glob import escape
from pathlib import Path
from uuid import uuid4


def book_folder() -> Path:
    """Find the book's own records: in the installed package, or in its repository."""
    package = Path(__file__).parent
    inside = package / "recorded"
    return inside if inside.is_dir() else package.parent / "chapters" / "recorded"


#: The folder of the results, ``chapters/recorded`` or the installed ``recorded``.
RECORDED = book_folder()


def remove_parts(path: Path) -> None:
    """Remove what processes have left that were killed while they wrote a file.

    A part that is younger than a minute may be one that another process is writing.

    Args:
        path: the file, which is left as it is.
    """
    for part in path.parent.glob(f"{escape(path.name)}.*.part"):
        with suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > 60:
                part.unlink()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file in one move, so that half of it never stands under its name.

    All is on the disk before the move, so neither does it after a power cut. What was
    killed on its way leaves a part, which the next one to write the file removes.

    Args:
        path: the file; its folder is made if it is missing.
        data: what it shall hold.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_parts(path)
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
