"""How long chapter 11's network takes in Chromium: JavaScript, and onnxruntime-web.

    make book && python benchmarks/live.py             print it, in a minute
    make book && python benchmarks/live.py --record    and keep it for the chapter

It clicks the figure's buttons, from a server on this machine, three times each, and
takes the least.
"""

import argparse
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / name) for name in ("site", "tools", "tests", "tests/browser")]

from playwright.sync_api import sync_playwright  # noqa: E402
from visit import FLAGS, SITE, chromium, serve  # noqa: E402

from stn_tutorial.files import RECORDED  # noqa: E402

PAGE = "chapters/11-fast-and-live.html"


def main() -> None:
    """Click each button, read what it says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="keep it in the book")
    options = parser.parse_args()
    with serve(SITE) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        found: dict = {"browser": f"Chromium {browser.version}", "ways": {}}
        tab = browser.new_page()
        tab.goto(address + PAGE, wait_until="networkidle")
        for row in tab.locator(".stn-bench").all():
            name = row.locator("strong").inner_text()
            button, times = row.locator("button"), []
            for _ in range(3):
                button.click()
                button.and_(tab.locator(":enabled")).wait_for(timeout=120_000)
                said = row.locator("[role=status]").inner_text()
                if time := re.match(r"([\d.]+) ms an image", said):
                    times.append(float(time[1]))
            size = re.search(r"([\d.]+) MB", said)
            found["ways"][name] = {
                "ms": min(times, default=None),
                "MB": float(size[1]) if size else None,
                "said": said,
            }
        browser.close()
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    print(text)
    if options.record:
        (RECORDED / "live.json").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
