"""Data sets from public mirrors: looked for, downloaded, and checked byte for byte."""

import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from stn_tutorial.files import write_whole


def fetch(
    data_set: str,
    files: Mapping[str, str],
    mirrors: Sequence[str],
    root: str | Path | None = None,
) -> list[bytes]:
    """What the files of a data set hold, from a folder or else from a mirror.

    Args:
        data_set: its name; a folder of that name inside the others is looked in too.
        files: each file's name, without ".gz", and the SHA-256 of what it holds. Two
            mirrors may pack the same content differently.
        mirrors: web folders with the packed files, to be asked in turn.
        root: the folder to look in before ``$STN_TUTORIAL_DATA`` and the user's cache
            folder. A download goes into the first of these.

    Returns:
        the files, unpacked, in order.

    Raises:
        ValueError: a file that was found is broken, or another one; or a folder is a
            file.
        ConnectionError: a file was not found, and no mirror gave a good one.
    """
    folders = data_folders(root)
    contents = {
        name: find(name, sha256, folders, data_set) for name, sha256 in files.items()
    }
    for name in [name for name, content in contents.items() if content is None]:
        failures = []
        for url in (f"{mirror}{name}.gz" for mirror in mirrors):
            try:
                packed = download(url)
                contents[name] = unpack(packed, files[name])
            except (OSError, ValueError) as error:
                failures.append(f"{url}: {error}")
            else:
                write_whole(folders[0] / f"{name}.gz", packed)
                break
        else:
            missing = [file for file, content in contents.items() if content is None]
            packed_files = [f"{file}.gz" for file in files]
            raise unreachable(data_set, missing, packed_files, folders, failures)
    return list(contents.values())


def data_folders(root: str | Path | None) -> list[Path]:
    """``root``, if given, ``$STN_TUTORIAL_DATA``, if set, and the cache folder."""
    import pooch  # not sooner: in a notebook without ipywidgets its import warns

    given = (root, os.environ.get("STN_TUTORIAL_DATA"), pooch.os_cache("stn-tutorial"))
    folders = [Path(folder).expanduser() for folder in given if folder]
    for folder in folders:
        if folder.is_file():
            raise ValueError(f"expected a folder for data, but {folder} is a file")
    return folders


def unreachable(
    data_set: str,
    missing: Sequence[str],
    files: Sequence[str],
    folders: Sequence[Path],
    failures: Sequence[str],
) -> ConnectionError:
    """What is missing, where it was looked for, who was asked, and what helps."""
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


def find(
    name: str, sha256: str, folders: Sequence[Path], data_set: str
) -> bytes | None:
    """What a file holds, packed or not, in the first folder that has it."""
    for place in product(folders, ("", data_set), (f"{name}.gz", name)):
        path = Path(*place)
        if path.is_file():
            try:
                return unpack(path.read_bytes(), sha256)
            except ValueError as error:
                raise ValueError(
                    f"{path} is broken, or another file than its name says: {error}. "
                    "Remove it to have it downloaded anew, or put a good one there."
                ) from None
    return None


def download(url: str) -> bytes:
    """What a mirror sends, with a progress bar. Nothing is written."""
    import pooch

    pooch.get_logger().info("Downloading %s", url)
    received = io.BytesIO()
    pooch.HTTPDownloader(progressbar=True)(url, received, None)
    return received.getvalue()


def unpack(data: bytes, sha256: str) -> bytes:
    """Undo gzip, if it is gzip, and refuse any content but the expected."""
    try:
        content = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except (EOFError, OSError, zlib.error) as error:
        got = f"a packed file that cannot be unpacked ({error})"
    else:
        got = hashlib.sha256(content).hexdigest()
        if got == sha256:
            return content
    raise ValueError(f"expected content with SHA-256 {sha256}, but got {got}")
