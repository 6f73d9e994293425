"""Links into a page: to a part of it, to a figure as somebody left it, from a search.

Build the site first (`make book`).
"""

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Route, expect
from test_site import CHAPTERS, CONFIG, CONTENTS
from test_touch import FIGURES, open_figure
from visit import PHONE, Visit

CHAPTER = f"{CHAPTERS[1]}.html"
HEADINGS = "all => all.map(section => section.id)"
# Chromium goes to the part that a link names until all is loaded, and then keeps it in
# its place when what is above it grows. So formulas come later here, and as in WebKit
# they move it.
AS_WEBKIT = """(() => {
  addEventListener("DOMContentLoaded", () => {
    const style = document.createElement("style");
    style.textContent = "* { overflow-anchor: none !important; }";
    document.head.append(style);
  });
  let mathjax;
  const ready = () => setTimeout(() => mathjax.startup.defaultReady(), 1000);
  Object.defineProperty(window, "MathJax", {
    get: () => mathjax,
    set: (value) => {
      mathjax = value;
      if (!value.version) value.startup = { ...value.startup, ready };
    },
  });
})();"""


def late(route: Route) -> None:
    """Answer late. Such answers wait for one another."""
    time.sleep(0.3)
    route.continue_()


@pytest.fixture
def slow(web: Visit) -> Page:
    """A tab in which formulas come late."""
    web.tab.add_init_script(AS_WEBKIT)
    return web.tab


def section(web: Visit, page: str) -> str:
    """The name of a section in the second half of a page."""
    names = web.open(page).locator("article section[id]").evaluate_all(HEADINGS)
    return names[2 * len(names) // 3]


def settle(tab: Page) -> None:
    """Wait until formulas and figures are there."""
    tab.wait_for_load_state("networkidle")
    tab.evaluate("() => MathJax.startup.promise.then(() => document.fonts.ready)")
    tab.wait_for_timeout(200)


@pytest.mark.parametrize("size", [None, PHONE], ids=["desktop", "phone"])
def test_a_deep_link_arrives(web: Visit, slow: Page, size: dict | None) -> None:
    if size:
        slow.set_viewport_size(size)
    name = section(web, CHAPTER)
    slow.goto("about:blank")
    slow.goto(f"{web.base}{CHAPTER}#{name}", wait_until="commit")
    settle(slow)
    top = slow.locator(f"[id='{name}']").bounding_box()["y"]
    header = slow.locator(".bd-header-article").bounding_box()
    assert 0 <= top < header["y"] + header["height"] + 60


def test_who_scrolls_on_is_not_called_back(web: Visit, slow: Page) -> None:
    name = section(web, CHAPTER)
    slow.goto("about:blank")
    slow.goto(f"{web.base}{CHAPTER}#{name}", wait_until="commit")
    slow.locator(f"[id='{name}']").wait_for()
    slow.mouse.move(600, 400)
    slow.mouse.wheel(0, -100_000)
    settle(slow)
    assert slow.evaluate("scrollY") == 0


def test_search_matches_can_be_hidden(web: Visit) -> None:
    tab = web.open(f"{CHAPTER}?highlight=matrix")
    marked = tab.locator("span.highlighted")
    expect(marked.first).to_be_attached()
    tab.locator("#searchbox .highlight-link a").evaluate("a => a.click()")
    expect(marked).to_have_count(0)
    expect(tab.locator(".highlight-link")).to_have_count(0)
    assert web.faults == []


def test_the_front_page_is_named_once(web: Visit) -> None:
    assert web.open(f"{CONTENTS['root']}.html").title() == CONFIG["title"]
    assert web.open(CHAPTER).title() == f"Affine transforms — {CONFIG['title']}"


SHIFTS = """window.shift = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });"""


@pytest.mark.parametrize("size", [None, PHONE], ids=["desktop", "phone"])
def test_late_pictures_move_nothing(web: Visit, size: dict | None) -> None:
    if size:
        web.tab.set_viewport_size(size)
    web.tab.add_init_script(SHIFTS)
    web.tab.route(re.compile(r"\.png|\.svg"), late)
    tab = web.open(f"{CONTENTS['root']}.html")
    assert tab.evaluate("window.shift") < 0.02


def test_every_picture_says_how_large_it_is(site: Path) -> None:
    unsized = [
        f"{path.name}: {image[:200]}"
        for path in site.glob("chapters/*.html")
        for image in re.findall(r"<img\b[^>]*>", path.read_text("utf-8"))
        if not re.search(r'\swidth="\d+"\s+height="\d+"', image)
    ]
    assert unsized == []


# A link to a figure as somebody left it

STATE = """figure => ({
  values: [...figure.querySelectorAll("input")].map(e => e.value),
  pressed: [...figure.querySelectorAll("[aria-pressed=true]")]
    .map(e => e.ariaLabel ?? e.textContent),
  handles: [...figure.querySelectorAll(".stn-handle")].map(e => e.ariaLabel),
  texts: [...figure.querySelectorAll("output, .stn-note, .stn-title, td, .stn-sum")]
    .map(e => e.textContent),
})"""
# What a reader does to each kind of figure before the link is copied.
TOUCHES = {
    "fig-01-playground": ["wide cat", "rotate", "Move the content"],
    "fig-03-pool-it": ["average", "right by one pixel"],
    "fig-04-inside": ["cat", "12 × 12"],
    "fig-04-map": ["angle and scale", "Step"],
    "fig-05-learning": ["One moment on", "Image 3 of 16"],
    "fig-06-draw": ["upright", "start from this 2"],
    "fig-08-six": ["all of it", "affine 6 numbers"],
    "fig-09-hand": ["96 × 128 at once"],
    "fig-11-live": ["photograph of a 2"],
    "fig-index-straighten": ["Without", "take this 7"],
}


def touch(figure: Locator, label: str) -> None:
    """Change a figure's setting by buttons, or else by the keys on a handle."""
    for name in TOUCHES.get(label, []):
        figure.get_by_role("button", name=name, exact=True).click()
    handle = figure.locator(".stn-handle:visible").first
    if handle.count():
        handle.press("ArrowRight")
        handle.press("ArrowDown")


def copied(figure: Locator) -> str:
    """Copy the link by keyboard; gives the link."""
    tab = figure.page
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    figure.get_by_role("button", name="Copy link to this setting").press("Enter")
    expect(figure.locator(".stn-link [role=status]")).to_have_text("Copied.")
    return tab.evaluate("navigator.clipboard.readText()")


@pytest.mark.parametrize("label", FIGURES)
@pytest.mark.parametrize("place", ["web", "disk"])
def test_a_copied_link_brings_the_setting_back(
    place: str, label: str, request: pytest.FixtureRequest
) -> None:
    visit = request.getfixturevalue(place)
    figure = open_figure(visit, label)
    usual = figure.evaluate(STATE)
    touch(figure, label)
    left = figure.evaluate(STATE)
    assert left != usual
    link = copied(figure)
    assert len(link) < 800
    visit.tab.goto("about:blank")
    visit.tab.goto(link, wait_until="networkidle")
    again = visit.tab.locator(f"#{label} .stn-figure")
    expect(again).to_be_in_viewport()
    assert again.evaluate(STATE) == left
    assert visit.faults == []


def test_a_link_brings_a_drawing_back(web: Visit) -> None:
    figure = open_figure(web, "fig-06-draw")
    figure.get_by_role("button", name="clear").click()
    figure.locator(".stn-pad canvas").press("Space")
    for _ in range(8):
        web.tab.keyboard.press("ArrowDown")
    answer = figure.locator(".stn-scores").inner_text()
    web.tab.goto(copied(figure), wait_until="networkidle")
    assert figure.locator(".stn-scores").inner_text() == answer


@pytest.mark.parametrize(
    "query",
    [
        "theta=1_2_3",
        "theta=1_0_0_0_1_1e9",
        "theta=a_b_c_d_e_f",
        "picture=<img src=x>",
        "moves=both&drawing=.9999.",
        "label=fig-02-lens&_css=body{display:none}",
    ],
)
def test_a_link_that_makes_no_sense_changes_nothing(web: Visit, query: str) -> None:
    label = "fig-01-playground"
    usual = open_figure(web, label).evaluate(STATE)
    figure = web.open(f"{FIGURES[label]}?{query}#{label}").locator(f"#{label}")
    assert figure.locator(".stn-figure").evaluate(STATE) == usual
    assert web.faults == []


def test_a_setting_is_for_the_figure_that_is_named(web: Visit) -> None:
    usual = open_figure(web, "fig-02-lens").evaluate(STATE)
    tab = web.open(f"{FIGURES['fig-02-lens']}?point=1_1#fig-02-areas")
    assert tab.locator("#fig-02-lens .stn-figure").evaluate(STATE) == usual
    expect(tab.locator("#fig-02-areas .stn-handle")).to_have_accessible_name(
        "sample point: x 1.00, y 1.00"
    )


def test_where_no_page_may_copy_the_link_is_shown(web: Visit) -> None:
    web.tab.add_init_script(
        "Object.defineProperty(Navigator.prototype, 'clipboard',"
        "  { get: () => undefined });"
    )
    figure = open_figure(web, "fig-01-playground")
    figure.get_by_role("button", name="wide cat").click()
    figure.get_by_role("button", name="Show link to this setting").click()
    field = figure.get_by_label("Link to this setting", exact=True)
    expect(field).to_be_focused()
    link = field.input_value()
    assert link == f"{web.tab.url}?picture=wide+cat#fig-01-playground"
    selected = "e => e.value.slice(e.selectionStart, e.selectionEnd)"
    assert field.evaluate(selected) == link
