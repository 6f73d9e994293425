"""The site in Firefox and WebKit: every page is whole, every figure as in Chromium.

Build the site first (`make book`). Without a browser its tests are skipped, or fail
where the variable CI is set.
"""

import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from engines import ENGINES, FAULTS, Engine, WatchingHandler, missing
from PIL import Image
from test_site import CHAPTERS, PAGES, POOR_IMAGES, RAW_MATHEMATICS, UNSET_MATHEMATICS
from test_touch import FIGURES
from visit import DESKTOP, SITE, Visit, serve

Start = Callable[[str], Engine]
READ = [page for page in PAGES if page != "index.html"]  # that one leads on at once
PHOTOGRAPHS = SITE.parent / "photographs"  # of what differs

# Wait until formulas are set and figures alive.
WHOLE = """async (labels) => {
  await window.MathJax?.startup?.promise;
  const there = (label) => document.querySelector(`#${label} .stn-figure`);
  while (!labels.every(there)) await new Promise((done) => setTimeout(done, 20));
  await document.fonts.ready;
}"""
# Cards of a figure on which nothing is drawn, not even after five seconds. A card
# learns its size, and draws, only when the page is next laid out.
BLANK = """async () => {
  const blank = () => [...document.querySelectorAll(".stn-figure canvas")]
    .filter((card) => card.checkVisibility())
    .filter((card) => {
      const { width, height } = card;
      const { buffer } = card.getContext("2d").getImageData(0, 0, width, height).data;
      return new Set(new Uint32Array(buffer)).size < 2;
    });
  for (let tries = 0; tries < 50 && blank().length; tries++) {
    await new Promise((done) => setTimeout(done, 100));
  }
  return blank().map((card) => card.outerHTML);
}"""
# Focus a figure's control by its number; give the key that changes something there.
FOCUS = """([label, number]) => {
  const controls = `#${label} .stn-figure :is(button, input, [tabindex="0"]):enabled`;
  const seen = (control) => control.checkVisibility();
  const control = [...document.querySelectorAll(controls)].filter(seen)[number];
  if (!control) return null;
  // What takes its time, draws lots, wipes a drawing, or leaves the figure as it is.
  const costly = /^(Play|Run|Let.*|random|clear|drawing|(Copy|Show) link.*)$/;
  if (costly.test(control.textContent)) return "";
  control.focus({ preventScroll: true });
  if (control.matches("button:not(.stn-handle)")) return "Enter";
  return control.type === "number" ? "ArrowUp" : "ArrowRight";
}"""
# What a figure shows and names, once it rests. What it says aloud comes later.
TOLD = """async (label) => {
  const figure = document.querySelector(`#${label} .stn-figure`);
  const read = () => [...figure.querySelectorAll(":not(.stn-link *, [aria-live])")]
    .filter((part) => part.checkVisibility())
    .flatMap((part) => [part.value, part.ariaLabel, part.ariaValueText,
      part.ariaPressed, !part.children.length && part.textContent])
    .filter(Boolean).join("; ");
  for (let before; ;) {
    const now = read();
    if (now === before && !now.includes("…")) return now;
    before = now;
    await new Promise((done) => setTimeout(done, 60));
  }
}"""
# Scroll to a part, wait until the window shows it, and give its place there.
BOX = """async (selector) => {
  const part = document.querySelector(selector);
  part.scrollIntoView({ behavior: "instant" });
  for (let frames = 0; frames < 2; frames++) await new Promise(requestAnimationFrame);
  const { left, top, right, bottom } = part.getBoundingClientRect();
  return [left, top, right, bottom];
}"""


@pytest.fixture(scope="session")
def watched(site: Path) -> Iterator[str]:
    """The address of a web server whose pages keep a list of their faults."""
    with serve(site, WatchingHandler) as address:
        yield address


@pytest.fixture(scope="session")
def start(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Start]:
    """Start an engine, once."""
    with ExitStack() as stack:

        @cache
        def start(name: str) -> Engine:
            if lacking := missing(name):
                reason = f"no {name}: {' and '.join(lacking)} not installed"
                if os.environ.get("CI"):
                    pytest.fail(reason)
                pytest.skip(reason)
            return stack.enter_context(ENGINES[name](tmp_path_factory.mktemp(name)))

        yield start


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, start: Start) -> Engine:
    """Each engine in turn."""
    return start(request.param)


def open_page(engine: Any, base: str, page: str) -> None:
    """Open a page and wait until it is whole."""
    engine.open(base + page)
    name = page.partition(".html")[0]
    engine.run(
        WHOLE, [label for label, place in FIGURES.items() if place.startswith(name)]
    )


@pytest.mark.parametrize("page", READ)
def test_page_is_whole(engine: Engine, watched: str, page: str) -> None:
    open_page(engine, watched, page)
    for check in (FAULTS, RAW_MATHEMATICS, UNSET_MATHEMATICS, POOR_IMAGES, BLANK):
        assert engine.run(check) == []


def test_the_checks_hear_faults(engine: Engine, watched: str) -> None:
    open_page(engine, watched, f"{CHAPTERS[1]}.html")
    engine.run("""async () => {
      document.querySelector(".stn-figure").innerHTML = `<canvas></canvas>
        <img src="nowhere.png"><img src="https://example.invalid/pixel.png">`;
      const code = `console.error("seen"); Promise.reject("broken"); throw "thrown";`;
      const script = document.createElement("script");
      script.src = URL.createObjectURL(new Blob([code]));
      document.body.append(script);
      await new Promise((done) => setTimeout(done, 200));
    }""")
    told = "\n".join(engine.run(FAULTS))
    for fault in ("console: seen", "broken", "thrown", "invalid/", "nowhere.png"):
        assert fault in told
    assert len(engine.run(BLANK)) == 1
    assert len(engine.run(POOR_IMAGES)) == 2


def test_a_page_from_disk_is_whole(engine: Engine, site: Path) -> None:
    open_page(engine, f"{site.as_uri()}/", f"{CHAPTERS[2]}.html")
    for check in (RAW_MATHEMATICS, UNSET_MATHEMATICS, POOR_IMAGES, BLANK):
        assert engine.run(check) == []


def test_the_search_finds(engine: Engine, watched: str) -> None:
    open_page(engine, watched, "search.html?q=sampler")
    found = engine.run("""async () => {
      const summary = document.querySelector(".search-summary");
      while (!/finished/.test(summary.textContent))
        await new Promise((done) => setTimeout(done, 20));
      return document.querySelectorAll("#search-results li a").length;
    }""")
    assert found > 5
    assert engine.run(FAULTS) == []


def test_a_handle_is_dragged(engine: Engine, watched: str) -> None:
    label = "fig-01-playground"
    open_page(engine, watched, FIGURES[label])
    stage = engine.run(BOX, f"#{label} .stn-panels .stn-stage")
    box = engine.run(BOX, f"#{label} .stn-handle[aria-label^='centre of the grid']")
    theta = f"""() => [...document.querySelectorAll(
      "#{label} .stn-matrix input[type=number]")].map(({{ value }}) => Number(value))"""
    before = engine.run(theta)
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    unit = (stage[2] - stage[0]) / 3.2  # the stage shows -1.6 to 1.6
    engine.drag((x, y), (x + 0.5 * unit, y + 0.25 * unit))
    moved = np.subtract(engine.run(theta), before)
    assert moved == pytest.approx([0, 0, 0.5, 0, 0, 0.25], abs=0.02)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_link_lands_where_it_leads(
    engine: Engine, watched: str, site: Path, chapter: str
) -> None:
    """What comes late, such as formulas and figures, moves the page after the jump."""
    page = f"{chapter}.html"
    parts = re.findall(r'<section id="([^"]+)"', (site / page).read_text("utf-8"))
    name = parts[-3]  # far down, but not at the end
    engine.open("about:blank")  # within a page there is nothing to load
    open_page(engine, watched, f"{page}#{name}")
    off = """async (name) => {
      await new Promise((done) => setTimeout(done, 500));
      const landed = scrollY;
      document.getElementById(name).scrollIntoView({ behavior: "instant" });
      return scrollY - landed;
    }"""
    assert engine.run(off, name) == pytest.approx(0, abs=3)


def walk(engine: Any, label: str) -> tuple[list[tuple[int, str, str]], Image.Image]:
    """Press a key on each control of a figure. Gives what it told, and a photograph."""
    told = []
    number = 0
    while (key := engine.run(FOCUS, [label, number])) is not None:
        if key:
            engine.press(key)
            told.append((number, key, engine.run(TOLD, label)))
        number += 1
    assert engine.run(BLANK) == []
    left, top, right, bottom = engine.run(BOX, f"#{label} .stn-figure")
    photograph = Image.open(io.BytesIO(engine.photograph())).convert("RGB")
    box = (left, top, right, min(bottom, DESKTOP["height"]))
    return told, photograph.crop(tuple(map(round, box)))


def coarse(photograph: Image.Image) -> np.ndarray:
    """The mean grey of each part of a photograph, eight by eight."""
    grey = photograph.convert("L").resize((8, 8), Image.Resampling.BOX)
    return np.asarray(grey, dtype=float)


@pytest.mark.parametrize("label", FIGURES)
def test_figure_is_as_in_chromium(
    engine: Engine, web: Visit, watched: str, label: str, request: pytest.FixtureRequest
) -> None:
    tab = web.tab
    chromium = SimpleNamespace(
        open=tab.goto,
        run=tab.evaluate,
        press=tab.keyboard.press,
        photograph=tab.screenshot,
    )
    told, photographs = [], []
    for each in (chromium, engine):
        open_page(each, watched, FIGURES[label])
        words, photograph = walk(each, label)
        told.append(words)
        photographs.append(photograph)
    assert len(told[0]) > 2
    ours, theirs = photographs
    try:
        assert told[0] == told[1]
        assert theirs.width == ours.width
        assert theirs.height == pytest.approx(ours.height, rel=0.04)
        assert abs(coarse(theirs) - coarse(ours)).max() < 50  # of 255
    except AssertionError:
        PHOTOGRAPHS.mkdir(exist_ok=True)
        name = request.node.callspec.id
        ours.save(PHOTOGRAPHS / f"{name}-chromium.png")
        theirs.save(PHOTOGRAPHS / f"{name}.png")
        raise
