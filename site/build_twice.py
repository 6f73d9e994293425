"""Build the site from clean, here and in a copy of the book, both at the same time.

Here no warning is allowed. The copy lies in another folder and hashes differently. That
it comes out the same, byte for byte, shows that the site depends on the book alone.
"""

import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What no page is made of. The PDF stays: the site offers it.
LEFT_OUT = shutil.ignore_patterns(".*", "node_modules", "html", "jupyter_execute")


def start_build(folder: Path, *options: str, seed: str) -> subprocess.Popen[bytes]:
    """Start to build the site of a book from clean.

    Args:
        folder: The book's.
        options: Of `jupyter-book build`.
        seed: Of Python's hashes, on which the order in a set depends.
    """
    for name in ("html", ".doctrees"):
        shutil.rmtree(folder / "_build" / name, ignore_errors=True)
    program = Path(sys.executable).with_name("jupyter-book")
    command: list[str | Path] = [program, "build", folder, "--all", *options]
    return subprocess.Popen(command, env=os.environ | {"PYTHONHASHSEED": seed})


def differences(one: Path, other: Path) -> list[str]:
    """List the files that are not in both folders, or not the same in both."""
    names = {
        path.relative_to(folder)
        for folder in (one, other)
        for path in folder.rglob("*")
        if path.is_file()
    }
    same, _, _ = filecmp.cmpfiles(one, other, names, shallow=False)
    return sorted(str(name) for name in names - set(same))


def main() -> None:
    """Build the site twice, and fail if one build fails or they differ."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, "book")
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
        (copy / "node_modules").symlink_to(ROOT / "node_modules")
        here = start_build(ROOT, "-W", "-n", "--keep-going", seed="0")
        elsewhere = start_build(copy, "--quiet", seed="1")
        codes = (here.wait(), elsewhere.wait())
        if any(codes):
            sys.exit("The site was not built without a fault.")
        faults = differences(ROOT / "_build/html", copy / "_build/html")
        if faults:
            sys.exit("Built elsewhere, these differ: " + ", ".join(faults))


if __name__ == "__main__":
    main()
