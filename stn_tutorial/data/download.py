"""Data sets from public mirrors: looked for, downloaded, and checked byte for byte."""

import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path


def fetch(
    data_set: str,
    hashes: Mapping[str, str],
    mirrors: Sequence[str],
    folders: Sequence[Path],
    ending: str = "",
) -> list[Path]:
    """Find the files of a data set in a folder, or download them from a mirror.

    Args:
        data_set: its name; a folder of that name inside the others is looked in too.
        hashes: each file's name, and the checksum of what it holds, "md5:..." or
            "sha256:...".
        mirrors: web folders with the files, to be asked in turn.
        folders: where to look, as :func:`data_folders` lists them. A download goes
            into the first.
        ending: ".gz" if the mirrors have the files packed. They are found packed or
            not; a download is unpacked.

    Returns:
        where the files are, in order.

    Raises:
        ValueError: a file that was found is broken, or another one.
        ConnectionError: a file was not found, and no mirror gave a good one.
    """
    paths = {}
    for name, known_hash in hashes.items():
        for folder, inner, end in product(folders, ("", data_set), (ending, "")):
            path = folder / inner / f"{name}{end}"
            if path.is_file():
                check_found(path, known_hash)
                paths[name] = path
                break
    for name, known_hash in hashes.items():
        if name in paths:
            continue
        failures = []
        for mirror in mirrors:
            url = f"{mirror}{name}{ending}"
            try:
                paths[name] = retrieve(url, known_hash, folders[0], name)
                break
            except (OSError, ValueError, EOFError, zlib.error) as error:
                failures.append(f"{url}: {error}")
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


def check_found(path: Path, known_hash: str) -> None:
    """Refuse a file that holds anything but the expected; it stays as it is."""
    algorithm, wanted = known_hash.split(":")
    try:
        with open_unpacked(path) as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        found = f"a packed file that cannot be unpacked ({error})"
    if found != wanted:
        raise ValueError(
            f"{path} is broken, or another file than its name says: expected content "
            f"with {algorithm.upper()} {wanted}, but got {found}. Remove it to have it "
            "downloaded anew, or put a good one there."
        )


def retrieve(url: str, known_hash: str, folder: Path, name: str) -> Path:
    """Download a file into a folder, with a progress bar; unpack it if it is packed.

    Only a file with the right checksum takes its name; of others nothing is left.
    """
    import pooch

    unpack = download_unpacked if url.endswith(".gz") else None
    pooch.retrieve(url, known_hash, name, folder, downloader=unpack, progressbar=True)
    path = folder / name
    path.chmod(folder.stat().st_mode & 0o666)  # it was a private temporary file
    return path


def download_unpacked(url: str, output_file: str, _: object) -> None:
    """Download a packed file and write what it holds: a downloader for pooch."""
    import pooch

    packed = io.BytesIO()
    pooch.HTTPDownloader(progressbar=True)(url, packed, None)
    Path(output_file).write_bytes(gzip.decompress(packed.getvalue()))


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
