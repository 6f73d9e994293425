"""The site by keyboard alone: Tab reaches all, shows where it is, and never sticks."""

import pytest
from playwright.sync_api import Page, expect
from test_site import CHAPTERS, PAGES
from visit import DESKTOP, PHONE, Visit

READ = [page for page in PAGES if page != "index.html"]  # that one leads on at once
SIZES = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])

# How everything that can be focused looks before it is. In an open menu, what it holds.
PREPARE = """() => {
  const root = document.querySelector("dialog:modal") ?? document;
  const every = "a[href], button, input, select, textarea, summary, [tabindex]";
  const ring = (part, place) => {
    const style = getComputedStyle(part, place);
    const outline = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
    return [outline, style.boxShadow, style.borderWidth, style.borderColor].join();
  };
  window.look = (part) => [part, part.parentElement]
    .map((near) => ["", "::before", "::after"].map((place) => ring(near, place)).join())
    .join();
  window.parts = [...root.querySelectorAll(every)];
  window.looks = new Map(parts.map((part) => [part, look(part)]));
  window.visible = (part) => part.checkVisibility({ visibilityProperty: true });
  window.first = new Set(parts.filter(visible));
  window.seen = [];
  window.shorten = (part) => part.outerHTML.slice(0, 150);
}"""
# What is wrong with the focus where it is now; null where it has been through. Of a
# scrolled part one point in view is enough; a card's link stretches over the card.
LOOK = """() => {
  const part = document.activeElement;
  if (part.matches("body, dialog") || part === seen[0]) return null;
  const faults = [];
  if (seen.includes(part)) faults.push("comes again");
  seen.push(part);
  const box = part.matches(".sd-stretched-link") ? part.closest(".sd-card") : part;
  const grid = [0.05, 0.25, 0.5, 0.75, 0.95];
  const inView = [...box.getClientRects()].some((area) => grid.some((x) => grid.some(
    (y) => part.contains(document.elementFromPoint(
      area.left + x * area.width, area.top + y * area.height)))));
  if (!inView) faults.push("out of view or covered");
  if (!part.checkVisibility({ opacityProperty: true })) faults.push("transparent");
  if (look(part) === looks.get(part)) faults.push("looks as without focus");
  return {
    part: shorten(part),
    faults: faults.map((fault) => `${fault}: ${shorten(part)}`),
    again: faults[0] === "comes again",
    closed: part.matches("details:not([open]) > summary, .toggle-button-hidden"),
  };
}"""
OPENED = """() => document.activeElement.matches(
  "details[open] > summary, .toggle-button:not(.toggle-button-hidden)")"""
# Not what unfolds meanwhile by itself: the contents follow where the reader is.
MISSED = """() => parts
  .filter(part => first.has(part) || part.closest("details, .toggle"))
  .filter(part => visible(part) && part.tabIndex >= 0 && !part.disabled)
  .filter(part => !seen.includes(part))
  .map(part => `not reached: ${shorten(part)}`)"""
# A box that scrolls sideways needs the focus, or something in it that takes it.
OUT_OF_REACH = """() => [...document.querySelectorAll(".bd-article *")]
  .filter(box => box.scrollWidth > box.clientWidth + 1
    && /auto|scroll/.test(getComputedStyle(box).overflowX)
    && !box.matches("[tabindex='0']")
    && !box.querySelector("a[href], button, input, summary, [tabindex='0']"))
  .map(box => `scrolls out of reach: ${box.outerHTML.slice(0, 150)}`)"""


def walk(tab: Page, key: str = "Tab") -> list[str]:
    """Go through a page, or its open menu, by Tab; open what opens; list the faults."""
    tab.evaluate(PREPARE)
    faults, opened = [], 0
    while True:
        tab.keyboard.press(key)
        stop = tab.evaluate(LOOK)
        faults += stop["faults"] if stop else []
        if not stop or stop["again"]:
            return faults + tab.evaluate(MISSED)
        if stop["closed"] and key == "Tab":
            tab.keyboard.press(("Enter", "Space")[opened % 2])
            opened += 1
            if not tab.evaluate(OPENED):
                faults.append(f"does not open: {stop['part']}")


def read(visit: Visit, page: str, size: dict = DESKTOP) -> Page:
    """Open a page without moving parts, in a window of this size."""
    visit.tab.emulate_media(reduced_motion="reduce")
    visit.tab.set_viewport_size(size)
    return visit.open(page)


def tab_to(tab: Page, selector: str) -> None:
    """Press Tab until a part has the focus."""
    for _ in range(60):
        tab.keyboard.press("Tab")
        if tab.evaluate("s => document.activeElement.matches(s)", selector):
            return
    pytest.fail(f"Tab does not reach {selector}")


@SIZES
@pytest.mark.parametrize("page", READ)
def test_tab_goes_through_the_page(web: Visit, page: str, size: dict) -> None:
    tab = read(web, page, size)
    assert walk(tab) == []
    assert tab.locator("article details:not([open]), .toggle-hidden").count() == 0
    assert tab.evaluate(OUT_OF_REACH) == []
    assert web.faults == []


@SIZES
@pytest.mark.parametrize("page", [READ[0], f"{CHAPTERS[1]}.html"])
def test_tab_goes_back_and_stays_in_view(web: Visit, page: str, size: dict) -> None:
    """Upwards, a page scrolls until its part is near the header: not beneath it."""
    assert walk(read(web, page, size), "Shift+Tab") == []


@SIZES
@pytest.mark.parametrize("page", [CHAPTERS[0] + ".html", "search.html"])
def test_the_first_tab_can_skip_the_menu(web: Visit, page: str, size: dict) -> None:
    tab = read(web, page, size)
    tab.keyboard.press("Tab")
    skip = tab.get_by_role("link", name="Skip to main content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport(ratio=1)
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.closest('main') !== null")


@SIZES
def test_search_by_keyboard(web: Visit, size: dict) -> None:
    tab = read(web, f"{CHAPTERS[0]}.html", size)
    field = tab.locator("#pst-search-dialog input")
    tab_to(tab, ".search-button__button")
    button = tab.locator(":focus")
    tab.keyboard.press("Enter")
    expect(field).to_be_focused()
    tab.keyboard.press("Escape")
    expect(field).to_be_hidden()
    expect(button).to_be_focused()
    tab.keyboard.press("Control+k")
    tab.keyboard.type("sampler")
    tab.keyboard.press("Enter")
    results = tab.locator("#search-results li a")
    expect(results.first).to_be_visible()
    # The list fetches each page for an excerpt. To leave earlier would break that off.
    expect(tab.locator(".search-summary")).to_contain_text("Search finished")
    expect(tab.locator("#search-results li:not(:has(.context))")).to_have_count(0)
    tab_to(tab, "#search-results a")
    address = results.first.get_attribute("href").split("?")[0]
    tab.keyboard.press("Enter")
    tab.wait_for_url(f"**/{address}*")
    assert web.faults == []


@SIZES
def test_the_colours_switch_by_keyboard(web: Visit, size: dict) -> None:
    tab = read(web, f"{CHAPTERS[0]}.html", size)
    tab_to(tab, ".theme-switch-button")
    themes = []
    for _ in range(3):  # automatic (here light), dark, light
        themes.append(tab.evaluate("document.documentElement.dataset.theme"))
        tab.keyboard.press("Enter")
    assert themes == ["light", "dark", "light"]
    assert tab.evaluate("document.documentElement.dataset.mode") == "auto"
    expect(tab.locator(".theme-switch-button")).to_be_focused()


@SIZES
def test_the_buttons_menus_open_and_close(web: Visit, size: dict) -> None:
    tab = read(web, f"{CHAPTERS[0]}.html", size)
    buttons = tab.locator(".article-header-buttons .dropdown-toggle").all()
    assert len(buttons) == 3
    for button in buttons:
        tab_to(tab, ".dropdown-toggle")
        expect(button).to_be_focused()
        tab.keyboard.press("Enter")
        items = tab.locator(".dropdown-menu.show .dropdown-item")
        tab.keyboard.press("Tab")
        expect(items.first).to_be_focused()
        tab.keyboard.press("ArrowDown")
        expect(items.nth(1)).to_be_focused()
        tab.keyboard.press("Escape")
        expect(items.first).to_be_hidden()
        expect(button).to_be_focused()


@pytest.mark.parametrize("side", ["primary", "secondary"])
def test_a_phones_menus_open_and_close(web: Visit, side: str) -> None:
    tab = read(web, f"{CHAPTERS[0]}.html", PHONE)
    menu = tab.locator(f"#pst-{side}-sidebar-modal")
    tab_to(tab, f".{side}-toggle")
    tab.keyboard.press("Enter")
    expect(menu).to_be_visible()
    tab.keyboard.press("Shift+Tab")  # before the first link, which had the focus
    assert walk(tab) == []
    tab.keyboard.press("Tab")
    tab.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    expect(tab.locator(f".{side}-toggle")).to_be_focused()
    assert web.faults == []


def test_a_desktops_menu_folds_away_and_comes_back(web: Visit) -> None:
    tab = read(web, f"{CHAPTERS[0]}.html")
    link = tab.locator("#pst-primary-sidebar").get_by_role("link", name="1. Affine")
    tab_to(tab, ".primary-toggle")
    tab.keyboard.press("Enter")
    expect(link).to_be_hidden()
    tab.keyboard.press("Enter")
    expect(link).to_be_visible()
    expect(tab.locator(".primary-toggle")).to_be_focused()


def test_a_cell_is_copied_by_keyboard(web: Visit) -> None:
    tab = read(web, f"{CHAPTERS[1]}.html")
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab_to(tab, "button.copybtn")
    button = tab.locator(":focus")
    code = button.locator("xpath=../pre").text_content()
    tab.keyboard.press("Enter")
    expect(button).to_have_attribute("data-tooltip", "Copied!")
    expect(button).to_be_focused()
    assert tab.evaluate("navigator.clipboard.readText()").strip() == code.strip()


def test_the_checks_see_faults(web: Visit) -> None:
    tab = read(web, "search.html")
    tab.evaluate("""() => {
      const wide = "wide ".repeat(99);
      document.querySelector("main").innerHTML = `<article class="bd-article">
        <button style="outline: none; box-shadow: none">plain</button>
        <a href="#" style="opacity: 0">pale</a>
        <a href="#" style="position: fixed; left: -999px">away</a>
        <details><summary>stuck</summary></details>
        <div style="width: 50px; overflow: auto; white-space: nowrap">${wide}</div>
        <button id="trap">trap</button> <a href="#">behind</a></article>`;
      addEventListener("keydown", (event) => {
        const opens = event.key === "Enter" || event.key === " ";
        if (event.target.matches(opens ? "summary" : "#trap")) event.preventDefault();
      });
    }""")
    faults = {fault.split(":")[0] for fault in walk(tab) + tab.evaluate(OUT_OF_REACH)}
    assert faults == {
        *("looks as without focus", "transparent", "out of view or covered"),
        *("does not open", "comes again", "not reached", "scrolls out of reach"),
    }
