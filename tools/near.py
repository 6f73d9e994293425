"""Name the unit tests to run after a small change: the core's, and those nearest to it.

    python tools/near.py [COMMIT]

Prints the test files of the package's core, and those that have changed since the
commit (by default the last one), that bear the name of a module of the package that
has, or that import another such file. This finds most faults in seconds; `make test`
runs all tests.
"""

import argparse
import ast
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
PACKAGE = Path("stn_tutorial")
# Quick, and about what everything else stands on.
CORE = ["affine", "interpolation", "pooling", "transformer", "figures", "project"]
CORE += ["contracts", "truth"]
# What is no Python has no importer: the tests that read it.
READERS = {
    "chapters/recorded/": ["recorded"],
    "stn_tutorial/animation.": ["animation"],
    "stn_tutorial/widgets/": ["widgets"],
    ".github/": ["plain", "project"],
    "_config.yml": ["pages", "pdf", "plain", "reference"],
    "site/": ["pages", "pdf", "plain", "reference"],
    "chapters/api.md": ["reference"],
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


def named_after(module: Path, tests: Path) -> list[str]:
    """Name the tests of a module of the package: its own, or else its folder's."""
    parts = module.relative_to(PACKAGE).with_suffix("").parts
    own = "test_" + "_".join(part for part in parts if part != "__init__")
    if (tests / f"{own}.py").exists():
        return [own]
    return [path.stem for path in tests.glob(f"test_{parts[0]}*.py")]


def near(changed: list[str], tests: Path = TESTS) -> list[str]:
    """Name the test files to run when these files have changed."""
    wanted = {f"test_{name}" for name in CORE}
    modules = set()
    for name in changed:
        path = Path(name)
        for start, readers in READERS.items():
            if name.startswith(start):
                wanted |= {f"test_{reader}" for reader in readers}
        if path.suffix == ".py" and PACKAGE in path.parents:
            wanted |= set(named_after(path, tests))
        elif path.suffix == ".py":  # site, tools and tests are on the tests' path
            modules.add(path.stem)
    chosen = []
    for file in sorted(tests.glob("test_*.py")):
        if file.name in ELSEWHERE:
            continue
        near_by = file.stem in wanted | modules
        if near_by or imported(file.read_text("utf-8")) & modules:
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
