"""Make the environment that everything here runs in, or bring it up to date.

    python3 tools/set_up.py [FOLDER]           for the book, its site and its tests
    python3 tools/set_up.py --binder FOLDER    what Binder installs, and no more

`requirements.lock` names the exact versions; uv installs them and checks each file by
its hash, after pip has done so with uv itself. PyTorch is not in the lock: its build
depends on the machine, and the one without graphics cards has an index of its own, with
other files than PyPI's. So pip installs the version of `requirements.txt`, unchecked.
An environment that is up to date stays as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
RECIPE = ["requirements.txt", "requirements.lock", "pyproject.toml", "tools/set_up.py"]
BINDER_RECIPE = ["binder/requirements.txt", "requirements.lock", "tools/set_up.py"]


def python_of(folder: Path) -> Path:
    """The interpreter of an environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def receipt(folder: Path, recipe: list[str]) -> str:
    """What an environment is left with once it is whole: its place, its recipe's hash.

    The place counts because programs in an environment name it in their first line.
    """
    digest = hashlib.sha256()
    for name in recipe:
        digest.update((ROOT / name).read_bytes())
    return f"{place(folder)}{digest.hexdigest()}\n"


def place(folder: Path) -> str:
    """What an environment is marked with from its beginning: where it is, and whose."""
    return f"{folder}\n{ROOT}\n"


def works_here(folder: Path) -> bool:
    """Say whether an environment was made in this place, for this book, and can run.

    After an update of the system, its Python may be another one or gone.
    """
    kept = folder / ".ready"
    if not kept.exists():
        return False
    if not kept.read_text("utf-8").startswith(place(folder)):
        return False
    try:
        command = [str(python_of(folder)), "-c", "import pip"]
        tried = subprocess.run(command, check=False)
    except OSError:
        return False
    return tried.returncode == 0


def pin(package: str) -> str:
    """The line of `requirements.txt` that pins a package."""
    text = (ROOT / "requirements.txt").read_text("utf-8")
    (line,) = re.findall(rf"^{package}==\S+", text, re.M)
    return line


def locked(package: str) -> str:
    """The entry of `requirements.lock` for a package, with its files' hashes."""
    text = (ROOT / "requirements.lock").read_text("utf-8")
    (entry,) = re.findall(rf"^{package}==.*\n(?:[ ]+.*\n)+", text, re.M)
    return entry


def answers(address: str, seconds: float = 3) -> bool:
    """Say whether a web address answers within a few seconds."""
    try:
        with urllib.request.urlopen(address, timeout=seconds):
            return True
    except (OSError, http.client.HTTPException):
        return False


def torch_options(platform: str = sys.platform, index: str = TORCH_INDEX) -> list[str]:
    """Choose where pip looks for PyTorch, and say so where there is a choice.

    On Linux, PyPI's build brings gigabytes for graphics cards, which the book does not
    use. PyTorch's own index has one without them.
    """
    if platform != "linux":
        return []
    if answers(f"{index}/torch/"):
        print("PyTorch: the build without graphics cards, from PyTorch's own index.")
        return ["--index-url", index]
    print(
        "PyTorch: its own index does not answer, so pip takes the build that it finds. "
        "PyPI's brings along gigabytes for graphics cards."
    )
    return []


def run(*command: object) -> None:
    """Run a command, and stop here if it fails."""
    sys.stdout.flush()
    done = subprocess.run([str(part) for part in command], cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(f"This failed: {' '.join(map(str, command))}")


def check_owned(folder: Path) -> None:
    """Stop before a folder is emptied that was not made here, whatever it holds."""
    foreign = folder.exists() and any(folder.iterdir())
    if folder.is_symlink() or (foreign and not (folder / ".ready").exists()):
        sys.exit(
            f"{folder} is there already, and was not made by this command. Remove it, "
            "or choose another folder: make VENV=/some/folder"
        )


def make(folder: Path) -> None:
    """Make the environment for all of the book, or change it to today's recipe."""
    python = python_of(folder)
    if works_here(folder):
        print(f"Bringing the environment {folder} up to date.")
    else:
        if not (3, 11) <= sys.version_info[:2] < (3, 14):
            version = ".".join(map(str, sys.version_info[:3]))
            sys.exit(
                "The book needs Python 3.11, 3.12 or 3.13, but this is "
                f"{version}. Try: make PYTHON=python3.11"
            )
        check_owned(folder)
        if folder.exists():
            print(f"{folder} was moved or has lost its Python: making it again.")
        else:
            print(f"Making the environment {folder}.")
        run(sys.executable, "-m", "venv", "--clear", folder)
        (folder / ".ready").write_text(place(folder), "utf-8")
    pip = [python, "-m", "pip", "install", "-qq", "--no-compile"]
    uv = [python, "-m", "uv", "pip", "install", "--quiet", "--python", python]
    first = folder / "first.txt"
    first.write_text(locked("uv"), "utf-8")
    run(*pip, "--no-deps", "--require-hashes", "--requirement", first)
    run(*uv, "--no-deps", "--require-hashes", "--requirement", "requirements.lock")
    run(*pip, *torch_options(), pin("torch"))
    run(*uv, "--no-deps", "--no-build-isolation", "--editable", ".")


def make_binder(folder: Path) -> None:
    """Make the environment that Binder makes of its files, with its image's kernel.

    Run it with the Python of the book's environment. What Binder's list leaves open
    comes in the versions of the lock.
    """
    check_owned(folder)
    print(f"Making the environment {folder}, as Binder does.")
    python = python_of(folder)
    uv = [sys.executable, "-m", "uv"]
    pip = [sys.executable, "-m", "pip", "--python", python, "install"]
    run(*uv, "venv", "--quiet", "--clear", "--seed", "--python", sys.executable, folder)
    (folder / ".ready").write_text(place(folder), "utf-8")
    run(*pip, "-qq", "--no-compile", "--no-deps", *torch_options(), pin("torch"))
    # Not the list's index: PyTorch is there, and uv fails where an index is silent.
    listed = (ROOT / "binder/requirements.txt").read_text("utf-8").splitlines()
    wanted = folder / "wanted.txt"
    lines = [line for line in listed if not line.startswith("--")]
    wanted.write_text("\n".join([*lines, pin("ipykernel")]), "utf-8")
    uv += ["pip", "install", "--quiet", "--python", python]
    run(*uv, "--requirement", wanted, "--constraint", "requirements.lock")
    run(python, "-m", "ipykernel", "install", "--sys-prefix", "--name", "binder")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", default=".venv")
    parser.add_argument("--binder", action="store_true")
    options = parser.parse_args(arguments)
    folder = Path(os.path.abspath(ROOT / options.folder))
    whole = receipt(folder, BINDER_RECIPE if options.binder else RECIPE)
    kept = folder / ".ready"
    if works_here(folder) and kept.read_text("utf-8") == whole:
        return
    if options.binder:
        make_binder(folder)
    else:
        make(folder)
    kept.write_text(whole, "utf-8")


if __name__ == "__main__":
    main()
