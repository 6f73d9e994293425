"""Data sets from public mirrors: looked for, downloaded, and checked byte for byte."""

import errno
import gzip
import hashlib
import io
import os
import re
import shutil
import time
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from tempfile import TemporaryFile
from threading import Thread
from typing import BinaryIO
from uuid import uuid4

from tqdm import tqdm

# A mirror may be silent for so many seconds. In all it gets twice that, and another
# second for each so many bytes that have come.
SILENCE, SLOWEST = 15.0, 20_000
# A download may have so many bytes more than it holds: packing adds some.
MARGIN = 2**16
# What is half done, and has not grown for so many seconds, its writer has left.
STALE = 600
PART = re.compile(r"(.+)\.[0-9a-f]{32}\.part")
# An error with such a number is the disk's, not a mirror's.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES}
# Mirrors that failed in this process: the others are asked first.
failed: set[str] = set()


def fetch(
    data_set: str,
    hashes: Mapping[str, str],
    sizes: Mapping[str, int],
    mirrors: Sequence[str],
    folders: Sequence[Path],
    ending: str = "",
    later: int = 0,
) -> list[Path]:
    """Find the files of a data set in a folder, or download them from a mirror.

    Args:
        data_set: its name; a folder of that name inside the others is looked in too.
        hashes: each file's name, and the checksum of what it holds, "md5:..." or
            "sha256:...".
        sizes: how many bytes it holds. Of no download more is taken.
        mirrors: web folders with the files, to be asked in turn.
        folders: where to look, as :func:`data_folders` lists them. A download goes
            into the first.
        ending: ".gz" if the mirrors have the files packed. They are found packed or
            not; a download is unpacked.
        later: how many bytes will be written into the first folder afterwards.

    Returns:
        where the files are, in order.

    Raises:
        ValueError: a file that was found is broken, or another one.
        OSError: the first folder cannot be written, or has no room for what is missing
            and comes later. Said before anything is downloaded.
        ConnectionError: a file was not found, and no mirror gave a good one.
    """
    remove_stale(folders, {data_set, *hashes})
    paths = {}
    for name, known_hash in hashes.items():
        for folder, inner, end in product(folders, ("", data_set), (ending, "")):
            path = folder / inner / f"{name}{end}"
            if path.is_file():
                check_found(path, known_hash)
                paths[name] = path
                break
    missing = [name for name in hashes if name not in paths]
    if missing or later:
        check_room(folders[0], sum(sizes[name] for name in missing) + later)
    for name in missing:
        failures = []
        for mirror in sorted(mirrors, key=failed.__contains__):
            url = f"{mirror}{name}{ending}"
            try:
                paths[name] = retrieve(url, hashes[name], sizes[name], folders[0], name)
                break
            except Exception as error:  # whatever a mirror does, the next is asked
                if isinstance(error, OSError) and error.errno in DISK:
                    raise unwritable(folders[0], error) from error
                failures.append(f"{url}: {str(error) or repr(error)}")
                failed.add(mirror)
        else:
            missing = [other for other in hashes if other not in paths]
            files = [f"{other}{ending}" for other in hashes]
            raise unreachable(data_set, missing, files, folders, failures)
    return [paths[name] for name in hashes]


def data_folders(root: str | Path | None) -> list[Path]:
    """List ``root``, if given, ``$STN_TUTORIAL_DATA``, if set, and the cache folder.

    Raises:
        ValueError: one of them is a file.
    """
    import pooch  # not sooner: in a notebook without ipywidgets its import warns

    given = (root, os.environ.get("STN_TUTORIAL_DATA"), pooch.os_cache("stn-tutorial"))
    folders = [Path(folder).expanduser() for folder in given if folder]
    for folder in folders:
        if folder.is_file():
            raise ValueError(f"expected a folder for data, but {folder} is a file")
    return folders


def open_unpacked(path: Path) -> io.BufferedIOBase:
    """Open a file to read what it holds, packed by gzip or not."""
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def checksum(path: Path, algorithm: str) -> str:
    """Compute the checksum of what a file holds, packed by gzip or not."""
    with open_unpacked(path) as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def check_found(path: Path, known_hash: str) -> None:
    """Refuse a file that holds anything but the expected; it stays as it is."""
    algorithm, wanted = known_hash.split(":")
    try:
        found = checksum(path, algorithm)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        found = f"a packed file that cannot be unpacked ({error})"
    if found != wanted:
        raise ValueError(
            f"{path} is broken, or another file than its name says: expected content "
            f"with {algorithm.upper()} {wanted}, but got {found}. Remove it to have it "
            "downloaded anew, or put a good one there."
        )


def part_of(path: Path) -> Path:
    """Name what shall become a file or folder, for as long as it is half done."""
    return path.with_name(f"{path.name}.{uuid4().hex}.part")


def remove_stale(folders: Sequence[Path], names: Collection[str]) -> None:
    """Remove what killed processes left half done; others may be at what is young."""
    for path in (path for folder in folders for path in folder.glob("*.part")):
        found = PART.fullmatch(path.name)
        if found is None or found[1] not in names:
            continue
        with suppress(OSError):  # it is gone, or not ours to remove
            newest = max(part.stat().st_mtime for part in (path, *path.rglob("*")))
            if time.time() - newest > STALE:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def check_room(folder: Path, size: int) -> None:
    """Make a folder, if it is missing, and see whether so many bytes go into it.

    Raises:
        OSError: the folder cannot be written, or has no room.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    if free < size:
        megabytes = f"{size / 1e6:.1f} MB are needed, but {free / 1e6:.1f} MB are free"
        raise unwritable(folder, OSError(errno.ENOSPC, megabytes))


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Where a folder cannot be written, name it and say what helps."""
    try:
        yield
    except OSError as error:
        raise unwritable(folder, error) from error


def unwritable(folder: Path, error: OSError) -> OSError:
    """Say which folder cannot be written, why, and what helps."""
    return OSError(
        error.errno or errno.ENOSPC,  # NumPy gives none where a disk is full
        f"cannot write data into {folder}: {error.strerror or error}. What to do: make "
        "room there; or name another folder that you may write to, by setting "
        "STN_TUTORIAL_DATA or as root",
    )


def retrieve(url: str, known_hash: str, size: int, folder: Path, name: str) -> Path:
    """Download a file into a folder, with a progress bar; unpack it if it is packed.

    Only a file with the right checksum takes its name; of others nothing is left.
    """
    path = folder / name
    part, ceiling = part_of(path), size + MARGIN
    try:
        if url.endswith(".gz"):
            with io.BytesIO() as file:
                Download(url, name, file, ceiling).wait()
                file.seek(0)
                with gzip.open(file) as packed:
                    content = packed.read(size + 1)  # not all that a bomb holds
            part.write_bytes(content)
        else:
            with part.open("wb") as file:
                Download(url, name, file, ceiling).wait()
        algorithm, wanted = known_hash.split(":")
        # Unpacked or not, its name does not end in .gz: it is read as it is.
        if (found := checksum(part, algorithm)) != wanted:
            raise ValueError(f"expected content with {known_hash}, but got {found}")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


class Download(Thread):
    """Write what a mirror sends into a file, unless it is too much or comes too slowly.

    It runs beside the program, which so can end the wait for one byte after another.
    """

    def __init__(self, url: str, name: str, file: BinaryIO, ceiling: int) -> None:
        super().__init__(daemon=True)
        self.url, self.file, self.ceiling = url, file, ceiling
        self.bar = tqdm(desc=name, total=ceiling, unit="B", unit_scale=True)
        self.came, self.over = 0, False
        self.failure: Exception | None = None

    def wait(self) -> None:
        """Start, and return when all is written.

        Raises:
            ValueError: it is more than the ceiling.
            TimeoutError: it comes too slowly.
            Exception: whatever else went wrong.
        """
        start = time.monotonic()
        self.start()
        try:
            while self.is_alive():
                self.join(0.1)
                seconds = time.monotonic() - start
                if seconds > 2 * SILENCE + self.came / SLOWEST:
                    raise TimeoutError(f"only {self.came} bytes in {seconds:.0f} s")
        finally:
            self.over = True
            self.bar.close()
        if self.failure:
            try:
                raise self.failure
            finally:
                self.failure = None  # it would keep the connection open

    def run(self) -> None:
        """Ask the mirror, in the thread."""
        import pooch

        get = pooch.HTTPDownloader(self.bar, chunk_size=2**16, timeout=SILENCE)
        try:
            get(self.url, self, None)
        except Exception as error:
            if not self.over:
                self.failure = error

    def write(self, data: bytes) -> None:
        """Take what has come, as a file does."""
        self.came += len(data)
        if self.over or self.came > self.ceiling:
            raise ValueError(f"it sends more than {self.ceiling} bytes")
        self.file.write(data)

    def flush(self) -> None:
        """Do nothing: the file is flushed when it is closed."""


def unreachable(
    data_set: str,
    missing: Sequence[str],
    files: Sequence[str],
    folders: Sequence[Path],
    failures: Sequence[str],
) -> ConnectionError:
    """Say what is missing, where it was looked for, who was asked, and what helps."""
    return ConnectionError(
        f"{data_set}: missing {', '.join(missing)}. "
        f"Looked in (and in a folder {data_set} inside each):"
        + "".join(f"\n- {folder}" for folder in folders)
        + "\nAsked:"
        + "".join(f"\n- {failure}" for failure in failures)
        + "\nWhat to do: try again when you are online; or copy the files "
        + ", ".join(files)
        + f" into {folders[0]}; or set STN_TUTORIAL_DATA to the folder that has them."
    )
