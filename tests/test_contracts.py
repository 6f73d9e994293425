"""Who may import whom: the package's modules stand in layers, in one direction."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stn_tutorial

PACKAGE = Path(stn_tutorial.__file__).parent
# Each imports only what stands above it; a folder's modules import each other too.
LAYERS = [
    ["affine"],
    ["interpolation", "warps", "pixels", "files"],
    ["pooling", "transformer", "distortions", "registration"],
    ["homography", "flow", "regions", "deformable", "fast_triton"],
    ["fast"],
    ["data", "pitfalls", "heads"],
    ["networks", "checkpoints"],
    ["training"],
    ["signs", "finders"],
    ["experiments"],
    ["figures", "animation"],
    ["sign_figures"],
    ["exercises", "widgets"],
]
ABOVE = {
    name: {other for above in LAYERS[:i] for other in above}
    for i, layer in enumerate(LAYERS)
    for name in layer
}
CORE = [
    "affine",
    "interpolation",
    "warps",
    "pixels",
    "pooling",
    "transformer",
    "registration",
    "homography",
    "flow",
    "regions",
    "deformable",
    "pitfalls",
]


def imported(path: Path) -> Iterator[str]:
    """Name what a module imports, at its head or within a function."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            if node.module == PACKAGE.name:  # from stn_tutorial import figures
                yield from (f"{PACKAGE.name}.{alias.name}" for alias in node.names)
            else:
                yield str(node.module)


def files(name: str) -> list[Path]:
    """List the files of a module or of a folder of modules."""
    single = PACKAGE / f"{name}.py"
    return [single] if single.exists() else sorted((PACKAGE / name).glob("*.py"))


def test_every_module_has_its_layer() -> None:
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert ABOVE.keys() == modules | folders


@pytest.mark.parametrize("name", ABOVE)
def test_a_module_imports_only_earlier_layers(name: str) -> None:
    own = {name} if (PACKAGE / name).is_dir() else set()
    for path in files(name):
        names = [module.split(".") for module in imported(path)]
        ours = {parts[1] for parts in names if parts[0] == PACKAGE.name}
        assert ours <= ABOVE[name] | own, path.name


@pytest.mark.parametrize("name", CORE)
def test_the_core_imports_nothing_but_torch(name: str) -> None:
    """Only the spline's matrix is NumPy's: it must not remember PyTorch's modes."""
    names = [module for path in files(name) for module in imported(path)]
    tops = {module.partition(".")[0] for module in names}
    allowed = {"torch", PACKAGE.name, *(["numpy"] if name == "warps" else [])}
    assert tops - sys.stdlib_module_names <= allowed


@pytest.mark.parametrize("name", ["widgets", "exercises"])
def test_a_figure_or_a_chapters_checks_load_when_asked_for(name: str) -> None:
    """The folder's own import loads none of its modules."""
    module = f"{PACKAGE.name}.{name}"
    command = f"import sys, {module}; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True
    ).stdout.split()
    assert module in loaded
    assert [other for other in loaded if other.startswith(f"{module}.")] == []
