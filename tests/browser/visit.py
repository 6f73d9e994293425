"""What the tests in a browser share: a server, Chromium, and a visit to a page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urljoin

from notebooks import ROOT
from playwright.sync_api import BrowserContext, Page

SITE = ROOT / "_build" / "html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


class QuietHandler(SimpleHTTPRequestHandler):
    """Serve files without a line for each request."""

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serve(folder: Path, kind: type[QuietHandler] = QuietHandler) -> Iterator[str]:
    """A web server for a folder; gives its address."""
    handler = partial(kind, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()


def chromium() -> str | None:
    """The path of Chromium, if it is installed."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


class Visit:
    """One page in a tab of its own, with all that went wrong on it."""

    def __init__(self, browser: BrowserContext, base: str) -> None:
        self.base = base
        self.faults: list[str] = []
        self.requested: set[str] = set()
        self.tab: Page = browser.new_page()
        self.tab.on("request", lambda request: self.check_request(request.url))
        self.tab.on("requestfailed", lambda r: self.faults.append(f"failed: {r.url}"))
        self.tab.on("response", lambda r: self.check_status(r.status, r.url))
        self.tab.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.tab.on("console", lambda m: self.check_message(m.type, m.text))

    def check_request(self, url: str) -> None:
        """Note a request, above all one that leaves the site."""
        self.requested.add(url)
        if not url.startswith((self.base, "data:", "blob:")):
            self.faults.append(f"leaves the site: {url}")

    def check_status(self, status: int, url: str) -> None:
        """Note a request that the server refused."""
        if status >= 400:
            self.faults.append(f"status {status}: {url}")

    def check_message(self, kind: str, text: str) -> None:
        """Note an error in the console."""
        if kind == "error":
            self.faults.append(f"console: {text}")

    def open(self, page: str) -> Page:
        """Open a page and wait until its mathematics is set."""
        self.tab.goto(urljoin(self.base, page), wait_until="networkidle")
        self.tab.evaluate("() => window.MathJax?.startup?.promise")
        return self.tab
