"""How soon the touchable figures are there, and how long one update takes.

    make book && python benchmarks/figures.py

For each figure on the built site, in Chromium from a server on this machine: the time
until it can be used, as a share of 2 s; the mean time of an update, when a control is
moved by a key, as a share of a frame of 16 ms; and the size of its saved state.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / name) for name in ("site", "tools", "tests", "tests/browser")]

from playwright.sync_api import sync_playwright  # noqa: E402
from test_touch import FIGURES  # noqa: E402
from visit import FLAGS, SITE, chromium, serve  # noqa: E402

# Each control of a figure, in turn, gets keys; the slowest one counts.
UPDATES = """async (figure) => {
  const visible = (e) => e.offsetParent !== null;
  let slowest = 0;
  for (const control of [...figure.querySelectorAll(
      ".stn-handle, input[type=range]")].filter(visible)) {
    const start = performance.now();
    for (let i = 0; i < 40; i++) {
      if (control.matches("input")) {
        const step = (control.max - control.min) / 20;
        control.value = +control.min + step * (i % 20);
        control.dispatchEvent(new Event("input", { bubbles: true }));
      } else {
        const key = i % 2 ? "ArrowLeft" : "ArrowRight";
        control.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      }
    }
    slowest = Math.max(slowest, (performance.now() - start) / 40);
  }
  return slowest;
}"""


def main() -> None:
    """Print one line a figure."""
    heads = ("usable", "of 2 s", "update", "of 16 ms", "saved")
    print(f"{'figure':20}" + "".join(f"{head:>10}" for head in heads))
    with serve(SITE) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        for label, page in FIGURES.items():
            tab = browser.new_page()
            tab.goto(address + page, wait_until="commit")
            figure = tab.wait_for_selector(f"#{label} .stn-figure")
            usable = tab.evaluate("performance.now()") / 1000
            tab.wait_for_load_state("networkidle")
            update = figure.evaluate(UPDATES)
            state = json.loads(
                tab.locator("script[type*=widget-state]").text_content()
            )["state"][label]
            saved = len(json.dumps(state)) / 1000
            print(
                f"{label:20}{usable:8.2f} s{usable / 2:10.2f}{update:7.1f} ms"
                f"{update / 16:10.2f}{saved:7.0f} kB"
            )
            tab.close()
        browser.close()


if __name__ == "__main__":
    main()
