"""Name the unit tests to run after a small change: the core's, and those nearest to it.

    python tools/near.py [COMMIT]

Prints the test files of the package's core, and each one that has changed since the
commit (by default the last one) or that imports a module that has. This finds most
faults in seconds; `make test` runs all tests.
"""

import argparse
import ast
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
# Quick, and about what everything else stands on.
CORE = ["affine", "interpolation", "pooling", "transformer", "figures", "project"]
CORE += ["contracts", "truth"]
# What is no Python has no importer: the tests that read it.
READERS = {
    "chapters/recorded/": ["recorded"],
    "stn_tutorial/widgets/": ["widgets"],
    ".github/": ["project"],
    "_config.yml": ["pages", "pdf"],
    "site/": ["pages", "pdf"],
}
# They have a command of their own.
ELSEWHERE = {"test_notebooks.py"}


def changed_files(commit: str) -> list[str]:
    """List the files that differ from a commit, and those that Git does not know."""
    git = ["git", "-c", "safe.directory=*", "-c", "core.quotePath=off"]
    known = [*git, "diff", "--name-only", "--relative", commit]
    new = [*git, "ls-files", "--others", "--exclude-standard"]
    names = []
    for command in (known, new):
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True
        )
        names += done.stdout.splitlines()
    return names


def imported(source: str) -> set[str]:
    """Name all that some Python source imports, modules and what is taken from them."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def module_name(path: str) -> str:
    """The name by which tests import a Python file."""
    parts = Path(path).with_suffix("").parts
    if parts[0] in ("site", "tests", "tools"):  # they are on the tests' path
        parts = parts[1:]
    return ".".join(part for part in parts if part != "__init__")


def near(changed: list[str], tests: Path = TESTS) -> list[str]:
    """Name the test files to run when these files have changed."""
    wanted = set(CORE)
    for path in changed:
        for start, readers in READERS.items():
            if path.startswith(start):
                wanted |= set(readers)
    modules = {module_name(path) for path in changed if path.endswith(".py")}
    chosen = []
    for file in sorted(tests.glob("test_*.py")):
        if file.name in ELSEWHERE:
            continue
        own = file.stem.removeprefix("test_") in wanted or file.stem in modules
        if own or imported(file.read_text("utf-8")) & modules:
            chosen.append(f"tests/{file.name}")
    return chosen


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commit", nargs="?", default="HEAD")
    options = parser.parse_args(arguments)
    print("\n".join(near(changed_files(options.commit))))


if __name__ == "__main__":
    main()
