"""Where the book's results on record lie, and a writer that leaves no half a file."""

import os
from pathlib import Path
from uuid import uuid4


def book_folder() -> Path:
    """Find the book's own records: in the installed package, or in its repository."""
    package = Path(__file__).parent
    inside = package / "recorded"
    return inside if inside.is_dir() else package.parent / "chapters" / "recorded"


#: The folder of the results, ``chapters/recorded`` or the installed ``recorded``.
RECORDED = book_folder()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file in one move, so that half of it never stands under its name.

    All is on the disk before the move, so neither does it after a power cut.

    Args:
        path: the file; its folder is made if it is missing.
        data: what it shall hold.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
