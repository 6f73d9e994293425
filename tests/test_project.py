"""The project's own files agree with each other."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import check_jsonschema
import pytest
import yaml
from book_extension import repository, site_address
from click.testing import CliRunner
from notebooks import CHAPTERS, ROOT
from release_notes import release_notes

MEGABYTE = 2**20
PIN = re.compile(r"^\s*([A-Za-z0-9_-]+)==(\S+)", re.M)


def read(name: str) -> str:
    """Read a file of the repository."""
    return (ROOT / name).read_text("utf-8")


def tracked_files() -> list[Path]:
    """List the repository's files: those in git, and new ones it does not ignore."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    command += ["--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no git repository here")
    paths = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_the_repository_address_stands_in_two_places() -> None:
    url = yaml.safe_load(read("_config.yml"))["repository"]["url"]
    address = url.split("//")[1].encode()
    holders = {path.name for path in tracked_files() if address in path.read_bytes()}
    assert holders == {"_config.yml", "pyproject.toml"}
    links = tomllib.loads(read("pyproject.toml"))["project"]["urls"]
    assert links.pop("Homepage") == site_address(url)
    assert links["Source"] == url
    assert all(link.startswith(url) for link in links.values())


def test_files_are_small() -> None:
    large = [p.name for p in tracked_files() if p.stat().st_size > 2 * MEGABYTE]
    assert large == []


ON_GITHUB = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "you/fork"}
BRANCH = {"GITHUB_REF": "refs/heads/mine", "GITHUB_REF_NAME": "mine"}
TAG = {"GITHUB_REF": "refs/tags/v1", "GITHUB_REF_NAME": "v1"}
PULL_REQUEST = {"GITHUB_REF": "refs/pull/5/merge", "GITHUB_REF_NAME": "5/merge"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("https://host/me/book", "main")),
        (ON_GITHUB | BRANCH, ("https://github.com/you/fork", "mine")),
        (ON_GITHUB | TAG, ("https://github.com/you/fork", "main")),
        (ON_GITHUB | PULL_REQUEST, ("https://github.com/you/fork", "main")),
    ],
)
def test_a_fork_launches_the_fork(
    environ: dict[str, str], expected: tuple[str, str]
) -> None:
    assert repository("https://host/me/book", "main", environ) == expected


def test_the_site_of_a_repository() -> None:
    address = site_address("https://github.com/You/fork")
    assert address == "https://you.github.io/fork/"


@pytest.mark.parametrize("name", ["page", "code", "question"])
def test_issue_forms_ask_for_what_is_needed(name: str) -> None:
    """No empty report, and no two fields of one name."""
    form = yaml.safe_load(read(f".github/ISSUE_TEMPLATE/{name}.yml"))
    assert form["name"]
    assert form["description"]
    fields = form["body"]
    assert len({field["id"] for field in fields}) == len(fields) >= 3
    assert all(field["attributes"]["label"] for field in fields)
    needed = [field.get("validations", {}).get("required") for field in fields]
    assert needed.count(True) >= 2
    assert yaml.safe_load(read(".github/ISSUE_TEMPLATE/config.yml")) == {
        "blank_issues_enabled": False
    }


def test_binder_installs_the_tested_versions() -> None:
    pins = dict(PIN.findall(read("requirements.txt")))
    binder = dict(PIN.findall(read("binder/requirements.txt")))
    assert binder.items() <= pins.items()
    dependencies = tomllib.loads(read("pyproject.toml"))["project"]["dependencies"]
    needed = {re.split("[<>=]", dependency)[0] for dependency in dependencies}
    assert needed <= binder.keys()
    assert read("binder/runtime.txt").strip() == "python-3.11"


def test_binder_renders_its_configuration(tmp_path: Path) -> None:
    """The program that Binder runs reads a clean copy of the repository."""
    for path in tracked_files():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug"]
    done = subprocess.run([*command, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rendered = done.stdout + done.stderr
    assert "conda environment for python=3.11" in rendered
    installs = re.findall(r"^RUN .*pip install.* -r (.*)$", rendered, re.M)
    assert installs == ['"binder/requirements.txt"']
    assert "\nRUN ./binder/postBuild\n" in rendered


def test_the_lock_holds_the_pins_and_no_address() -> None:
    """PyTorch aside, and what its build for graphics cards would bring along."""
    pins = dict(PIN.findall(read("requirements.txt")))
    del pins["torch"]
    lock = read("requirements.lock")
    locked = dict(PIN.findall(lock))
    names = {name.lower().replace("_", "-"): pin for name, pin in pins.items()}
    assert names.items() <= locked.items(), "run `make lock`"
    assert not re.search(r"^(torch|triton|nvidia|cuda)", lock, re.M)
    assert "://" not in lock
    entries = re.split(r"\n(?=\S)", lock.split("make lock\n")[1])
    assert len(entries) > len(pins)
    assert all("--hash=sha256:" in entry for entry in entries)


def test_actions_are_pinned_by_commit() -> None:
    """A tag or a branch may be moved to other code; a commit's hash may not."""
    used = [
        line.strip()
        for path in (ROOT / ".github").rglob("*.yml")
        for line in path.read_text("utf-8").splitlines()
        if re.search(r"\buses:", line)
    ]
    assert len(used) > 10
    pinned = re.compile(r"(- )?uses: [\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+")
    assert [line for line in used if not pinned.fullmatch(line)] == []
    versions: dict[str, set[str]] = {}
    for line in used:
        name, pin = line.split("uses: ")[1].split("@")
        versions.setdefault(name, set()).add(pin)
    assert all(len(pins) == 1 for pins in versions.values()), versions


def test_workflows_install_from_the_lock_alone() -> None:
    """What publishes a release must not be built by whatever is the newest."""
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        for job in yaml.safe_load(path.read_text("utf-8"))["jobs"].values():
            for step in job["steps"]:
                assert not re.search(r"\b(pip|pipx|uvx|npm|npx)\b", step.get("run", ""))


def test_files_come_out_the_same_on_every_system() -> None:
    """Line ends too: outputs, bundles and hashes are compared byte for byte."""
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "--eol"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("no git repository here")
    for line in done.stdout.splitlines():
        index, _, attributes = line.partition("\t")[0].partition("w/")
        if index.strip() == "i/-text":
            assert "attr/-text" in attributes, line
        else:
            assert index.strip() in ("i/lf", "i/none"), line
            assert "attr/text=auto eol=lf" in attributes, line


@pytest.mark.parametrize("place", ["book", "environment"])
def test_folders_may_have_spaces_in_their_names(place: str, tmp_path: Path) -> None:
    """In each command that make would run, such a name is one word, or part of one."""
    folder = tmp_path / "one two"
    (folder / "chapters").mkdir(parents=True)
    for name in ("Makefile", "package.json", "package-lock.json"):
        shutil.copy(ROOT / name, folder)
    for path in CHAPTERS.glob("*.ipynb"):
        (folder / "chapters" / path.name).touch()
    environment = ".venv" if place == "book" else f"{tmp_path}/one two/venv"
    command = ["make", "-n", "test", "book", "lab", "watch", "lock", "links"]
    done = subprocess.run(
        [*command, f"VENV={environment}"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    words = shlex.split(done.stdout, comments=False)
    assert len(words) > 50
    assert not [word for word in words if word.startswith("two/")]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_commands_on_the_pages_are_in_the_makefile(page: str) -> None:
    targets = set(re.findall(r"^([\w-]+):(?!=)", read("Makefile"), re.M))
    commands = re.findall(r"(?:^|`)make ([\w-]+)", read(page), re.M)
    assert commands
    assert set(commands) <= targets


def test_the_makefile_explains_its_commands() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    targets = set(re.findall(r"^([\w-]+):(?!=)", read("Makefile"), re.M))
    explained = re.findall(r"^make (\w+)", done.stdout, re.M)
    assert {"check", "chapter", "book", "test", "lock"} <= set(explained) <= targets


def test_one_version_everywhere() -> None:
    version = tomllib.loads(read("pyproject.toml"))["project"]["version"]
    assert yaml.safe_load(read("CITATION.cff"))["version"] == version
    assert re.search(r"^## \[(.*?)\]", read("CHANGELOG.md"), re.M)[1] == version


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("citation-file-format", "CITATION.cff"),
        ("github-workflows", ".github/workflows/*.yml"),
        ("dependabot", ".github/dependabot.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/*[!g].yml"),  # not config.yml
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
    ],
)
def test_files_for_github_follow_their_schema(schema: str, files: str) -> None:
    paths = [str(path) for path in ROOT.glob(files)]
    assert paths
    options = ["--builtin-schema", f"vendor.{schema}", *paths]
    done = CliRunner().invoke(check_jsonschema.main, options)
    assert done.exit_code == 0, done.output


# What Keep a Changelog allows
RELEASE = re.compile(r"\[(\d+)\.(\d+)\.(\d+)\] - (Unreleased|\d{4}-\d\d-\d\d)")
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def check_changelog(text: str) -> None:
    """Newest first, each with a date but the next; only the known kinds of change."""
    headings = re.findall(r"^## (.*)$", text, re.M)
    releases = [RELEASE.fullmatch(heading) for heading in headings]
    assert all(releases)
    versions = [tuple(map(int, found.groups()[:3])) for found in releases]
    assert versions == sorted(set(versions), reverse=True)
    dates = [found[4] for found in releases]
    if dates[0] == "Unreleased":
        dates[0] = date.max.isoformat()
    days = [date.fromisoformat(day) for day in dates]
    assert days == sorted(days, reverse=True)
    assert set(re.findall(r"^### (.*)$", text, re.M)) <= KINDS


def test_the_changelog_keeps_its_form() -> None:
    check_changelog(read("CHANGELOG.md"))


CHANGES = """\
# Changelog

## [0.2.0] - Unreleased

### Fixed

- This.

## [0.1.0] - 2026-01-31

### Added

- A long entry
  of two lines.
- Another.

## [0.0.1] - 2025-12-01

- First.
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[0.2.0]", "0.2.0"),
        ("2026-01-31", "Unreleased"),
        ("2026-01-31", "2026-02-31"),
        ("2026-01-31", "2025-01-31"),
        ("0.1.0", "0.2.0"),
        ("Fixed", "Mended"),
    ],
)
def test_a_changelog_without_form_fails(before: str, after: str) -> None:
    check_changelog(CHANGES)
    with pytest.raises((AssertionError, ValueError)):
        check_changelog(CHANGES.replace(before, after))


def test_release_notes_are_the_section_of_the_version() -> None:
    notes = "### Added\n\n- A long entry of two lines.\n- Another."
    assert release_notes(CHANGES, "0.1.0") == notes
    assert release_notes(CHANGES, "0.0.1") == "- First."
    for version in ("0.2.0", "0.1", "0x1.0"):
        with pytest.raises(ValueError, match=f"no section with a date for {version}"):
            release_notes(CHANGES, version)


def test_every_record_is_packed_with_the_package() -> None:
    """Chapters 6 and 7 need them where there is no repository."""
    setup = tomllib.loads(read("pyproject.toml"))["tool"]["setuptools"]
    records = ROOT / setup["package-dir"]["stn_tutorial.recorded"]
    files = [path for path in tracked_files() if records in path.parents]
    assert files
    for path in files:
        inside = path.parent.relative_to(records).parts
        package = ".".join(["stn_tutorial.recorded", *inside])
        assert package in setup["packages"]
        assert any(path.match(kind) for kind in setup["package-data"][package])


def test_links_between_files_lead_somewhere() -> None:
    pages = [p for p in tracked_files() if p.suffix == ".md" and p.parent != CHAPTERS]
    assert len(pages) > 5
    for page in pages:
        links = re.findall(r"\]\(([^)#]+)", page.read_text("utf-8"))
        inner = [link for link in links if "://" not in link]
        assert [x for x in inner if not (page.parent / x).exists()] == [], page


@pytest.mark.parametrize("page", ["README.md", "chapters/api.md"])
def test_examples_run(page: str) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", read(page), re.S)
    exec(example, {})
