"""What the tests in a browser are given: the site, a server, Chromium, a visit."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from notebooks import ROOT
from playwright.sync_api import BrowserContext, Playwright, sync_playwright
from visit import BROWSERS, DESKTOP, FLAGS, SITE, Visit, chromium, serve


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built site."""
    if not (SITE / "index.html").exists():
        pytest.fail(f"no site in {SITE.relative_to(ROOT)}: run `make book` first")
    return SITE


@pytest.fixture(scope="session")
def server(site: Path) -> Iterator[str]:
    """The address of a web server for the site."""
    with serve(site) as address:
        yield address


@pytest.fixture(scope="session")
def program() -> str:
    """The path of Chromium."""
    found = chromium()
    if found is None:
        reason = f"no browser: none of {', '.join(BROWSERS)} is installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def playwright(program: str) -> Iterator[Playwright]:
    """What drives Chromium."""
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def browser(
    playwright: Playwright, program: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrowserContext]:
    """Chromium, driven by Playwright."""
    context = playwright.chromium.launch_persistent_context(
        tmp_path_factory.mktemp("profile"),
        executable_path=program,
        headless=True,
        args=FLAGS,
        viewport=DESKTOP,
    )
    yield context
    context.close()


@pytest.fixture
def web(browser: BrowserContext, server: str) -> Iterator[Visit]:
    """A visit to the site on a web server."""
    visit = Visit(browser, server)
    yield visit
    visit.tab.close()


@pytest.fixture
def disk(browser: BrowserContext, site: Path) -> Iterator[Visit]:
    """A visit to the site's files, without a server."""
    visit = Visit(browser, f"{site.as_uri()}/")
    yield visit
    visit.tab.close()
