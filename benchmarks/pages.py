"""How heavy the site's pages are, and how soon a reader sees something.

    make book && python benchmarks/pages.py

For each page of the built site, in Chromium from a server on this machine: its weight
with all that it loads, compressed, as a share of the limit; the time until something
is painted, as a share of 1 s; and the time until all is loaded. Times are medians of
three visits of a browser that has seen nothing yet.
"""

import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / name) for name in ("site", "tools", "tests", "tests/browser")]

from playwright.sync_api import Browser, sync_playwright  # noqa: E402
from test_site import PAGES, limit, weight  # noqa: E402
from visit import DESKTOP, FLAGS, SITE, Visit, chromium, serve  # noqa: E402

TIMES = """() => [
  performance.getEntriesByName("first-contentful-paint")[0].startTime,
  performance.getEntriesByType("navigation")[0].loadEventEnd,
]"""


def measure(browser: Browser, address: str, page: str) -> tuple[float, float, list]:
    """Weight, limit, and the times of one visit."""
    context = browser.new_context(viewport=DESKTOP)
    visit = Visit(context, address)
    times = visit.open(page).evaluate(TIMES)
    result = weight(visit), limit(visit), times
    context.close()
    return result


def main() -> None:
    """Print one line a page."""
    heads = ("weight", "of limit", "painted", "of 1 s", "loaded")
    print(f"{'page':40}" + "".join(f"{head:>10}" for head in heads))
    with serve(SITE) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        for page in PAGES:
            visits = [measure(browser, address, page) for _ in range(3)]
            heavy, most, _ = visits[0]
            painted, loaded = (
                median(visit[2][i] for visit in visits) / 1000 for i in range(2)
            )
            print(
                f"{page:40}{heavy / 1000:7.0f} kB{heavy / most:10.2f}"
                f"{painted:8.2f} s{painted:10.2f}{loaded:8.2f} s",
                flush=True,
            )
        browser.close()


if __name__ == "__main__":
    main()
