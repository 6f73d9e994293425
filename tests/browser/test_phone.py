"""Phones, narrow windows and large letters: fingers scroll, words stay whole.

Build the site first (`make book`).
"""

import pytest
from playwright.sync_api import Page, expect
from test_site import CHAPTERS, PAGES, TOO_WIDE
from test_touch import FIGURES, drag, open_figure, shown
from visit import PHONE, Visit

NORMAL, LARGE = "html { }", "html { font-size: 200% !important; }"
# What a finger cannot scroll the page on, but for what it drags or draws on.
HELD = """figure => [...figure.querySelectorAll("*")]
  .filter(e => !/auto|manipulation|pan-y/.test(getComputedStyle(e).touchAction))
  .filter(e => !e.matches(".stn-handle, .stn-area, .stn-pad canvas"))
  .map(e => e.outerHTML.slice(0, 100))"""
# Words and numbers that go over two lines, or out of their cell.
BROKEN_WORDS = """root => [...root.querySelectorAll("th, td, .stn-pool-head")]
  .filter(cell => cell.checkVisibility()).flatMap(cell => {
    const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    const broken = [];
    while (texts.nextNode()) {
      for (const word of texts.currentNode.data.matchAll(/\\S+/g)) {
        const range = document.createRange();
        range.setStart(texts.currentNode, word.index);
        range.setEnd(texts.currentNode, word.index + word[0].length);
        const lines = new Set([...range.getClientRects()].map(box => box.top));
        const { right } = range.getBoundingClientRect();
        if (lines.size > 1 || right > cell.getBoundingClientRect().right + 1)
          broken.push(word[0]);
      }
    }
    return broken;
  })"""


def swipe_up(tab: Page, x: float, y: float) -> float:
    """Swipe by 180 pixels from a point of the screen; gives how far the page went."""
    before = tab.evaluate("scrollY")
    finger = tab.context.new_cdp_session(tab)
    finger.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    way = [{"type": "touchStart", "touchPoints": [{"x": x, "y": y}]}]
    for up in range(20, 200, 20):
        way.append({"type": "touchMove", "touchPoints": [{"x": x, "y": y - up}]})
    for step in [*way, {"type": "touchEnd", "touchPoints": []}]:
        finger.send("Input.dispatchTouchEvent", step)
        tab.wait_for_timeout(16)
    tab.wait_for_timeout(300)
    return tab.evaluate("scrollY") - before


@pytest.mark.parametrize("label", FIGURES)
def test_fingers_scroll_on_all_but_what_is_dragged(web: Visit, label: str) -> None:
    web.tab.set_viewport_size(PHONE)
    assert open_figure(web, label).evaluate(HELD) == []


def test_a_swipe_over_the_playground_scrolls_the_page(web: Visit) -> None:
    web.tab.set_viewport_size(PHONE)
    figure = open_figure(web, "fig-01-playground")
    card = figure.locator(".stn-panels .stn-stage").nth(1)  # the output
    card.scroll_into_view_if_needed()
    box = card.bounding_box()
    assert swipe_up(web.tab, box["x"] + 30, box["y"] + box["height"] / 2) > 100
    figure.get_by_role("button", name="drawing").click()
    pad = figure.locator(".stn-pad canvas")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert swipe_up(web.tab, box["x"] + 30, box["y"] + box["height"] / 2) == 0


@pytest.mark.parametrize("side", ["primary", "secondary"])
def test_a_phones_menu_closes_after_a_tap(web: Visit, side: str) -> None:
    web.tab.set_viewport_size(PHONE)
    tab = web.open(f"{CHAPTERS[0]}.html")
    menu = tab.locator(f"#pst-{side}-sidebar-modal")
    toggle = tab.locator(f".{side}-toggle").locator("visible=true")
    toggle.click()
    link = menu.locator("a[href]:visible").nth(3)
    address = link.evaluate("a => a.href")
    link.click()
    expect(menu).to_be_hidden()
    tab.wait_for_url(address)
    if side == "secondary":  # on this page
        part = tab.locator(f"[id='{address.split('#')[1]}']")
        expect(part).to_be_in_viewport()
        expect(toggle).not_to_be_focused()  # Tab goes on at the part
        toggle.click()
        expect(menu).to_be_visible()
        tab.keyboard.press("Escape")
        expect(menu).to_be_hidden()
    assert web.faults == []


def test_no_button_for_full_screen_where_there_is_none(web: Visit) -> None:
    web.tab.add_init_script(
        "for (const name of ['fullscreenEnabled', 'webkitFullscreenEnabled'])"
        "  Object.defineProperty(Document.prototype, name, { get: () => false });"
    )
    tab = web.open(f"{CHAPTERS[0]}.html")
    expect(tab.locator(".btn-fullscreen-button")).to_have_count(0)


@pytest.mark.parametrize("page", PAGES)
def test_large_letters_fit_a_phone(web: Visit, page: str) -> None:
    """Text at 200% (WCAG 1.4.4)."""
    web.tab.set_viewport_size(PHONE)
    tab = web.open(page)
    tab.add_style_tag(content=LARGE)
    assert tab.evaluate(TOO_WIDE) == []
    buttons = tab.locator(".bd-header-article button:visible")
    assert len({button.bounding_box()["y"] // 40 for button in buttons.all()}) <= 1


@pytest.mark.parametrize("letters", [NORMAL, LARGE], ids=["normal", "large"])
def test_the_playgrounds_numbers_can_be_read(web: Visit, letters: str) -> None:
    web.tab.set_viewport_size(PHONE)
    figure = open_figure(web, "fig-01-playground")
    web.tab.add_style_tag(content=letters)
    for field in figure.locator(".stn-matrix input[type=number]").all():
        field.fill("-0.25")
        assert field.evaluate("e => e.scrollWidth <= e.clientWidth")


@pytest.mark.parametrize(
    ("width", "letters"),
    [(320, NORMAL), (390, NORMAL), (390, LARGE)],
    ids=["320", "390", "large"],
)
def test_the_pooling_table_breaks_no_word(web: Visit, width: int, letters: str) -> None:
    web.tab.set_viewport_size(PHONE | {"width": width})
    figure = open_figure(web, "fig-03-pool-it")
    web.tab.add_style_tag(content=letters)
    assert figure.evaluate(BROKEN_WORDS) == []


def test_the_grid_cannot_be_lost(web: Visit) -> None:
    figure = open_figure(web, "fig-01-playground")
    figure.get_by_role("button", name="identity").click()
    card = figure.locator(".stn-panels .stn-stage").first
    centre = shown(figure, "centre of the grid")
    drag(web.tab, centre, 500, 0)
    expect(shown(figure, "centre of the grid: x 1")).to_have_count(0)  # x 4 or so
    box, handle = card.bounding_box(), centre.bounding_box()
    assert box["x"] <= handle["x"]
    assert handle["x"] + handle["width"] <= box["x"] + box["width"]
    drag(web.tab, centre, -0.45 * box["width"], 0)  # from the edge to the middle
    expect(shown(figure, "centre of the grid: x 0.0")).to_be_visible()
