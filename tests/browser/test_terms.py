"""Terms and citations say what they are, beside the link: by mouse, by keyboard."""

import re

import pytest
from playwright.sync_api import Locator, expect
from test_site import CHAPTERS
from visit import PHONE, Visit

POOLING = "chapters/03-pooling.html"
DEFINITION = "Replacing each small window of an image by one number."
ELSEWHERE = "h1, h2, h3, figcaption, table, pre, summary, .admonition-title, footer"

OVERLAP = """() => {
  const hint = document.querySelector("#stn-hint").getBoundingClientRect();
  const link = document.activeElement.getBoundingClientRect();
  return hint.top < link.bottom && link.top < hint.bottom;
}"""


def term(visit: Visit, name: str) -> Locator:
    """The link of a term's first use."""
    return visit.tab.locator("a.term").get_by_text(name, exact=True)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_first_use_of_a_term_leads_to_it(web: Visit, chapter: str) -> None:
    tab = web.open(f"{chapter}.html")
    links = tab.locator("a.term")
    targets = [str(link.get_attribute("href")) for link in links.all()]
    assert len(targets) == len(set(targets)) > 3
    for link, target in zip(links.all(), targets, strict=True):
        name = target.partition("#term-")[2].replace("-", " ").lower()
        assert name in re.sub(r"[-\s]+", " ", (link.text_content() or "").lower())
    assert tab.locator(ELSEWHERE).locator("a.term").count() == 0
    assert tab.locator("a.term a, a a.term, code a.term").count() == 0
    assert web.faults == []


@pytest.mark.parametrize("chapter", [CHAPTERS[1], CHAPTERS[7]])
def test_a_black_box_is_no_box(web: Visit, chapter: str) -> None:
    web.open(f"{chapter}.html")
    box = web.tab.locator("p", has=web.tab.locator("a.term[href$='#term-box']"))
    expect(box).to_have_count(1)
    expect(box).not_to_contain_text("black")


def test_a_term_shows_its_definition_to_the_mouse(web: Visit) -> None:
    hint = web.open(POOLING).get_by_role("tooltip")
    link = term(web, "pooling")
    link.hover()
    expect(hint).to_contain_text(DEFINITION)
    expect(link).to_have_accessible_description(re.compile(DEFINITION))
    hint.hover()  # it stays while the pointer is on it
    web.tab.wait_for_timeout(600)
    expect(hint).to_be_visible()
    web.tab.mouse.move(5, 5)
    expect(hint).to_be_hidden()
    link.hover()
    expect(hint).to_be_visible()
    web.tab.keyboard.press("Escape")  # and leaves without the pointer
    expect(hint).to_be_hidden()
    link.click()
    web.tab.wait_for_url("**/glossary.html#term-pooling")
    assert web.faults == []


def test_a_pointer_that_passes_shows_nothing(web: Visit) -> None:
    tab = web.open(POOLING)
    tab.evaluate(
        """() => {
          const hint = document.querySelector("#stn-hint");
          window.seen = 0;
          new MutationObserver(() => { window.seen += !hint.hidden; })
            .observe(hint, { attributes: true });
        }"""
    )
    term(web, "pooling").hover()
    tab.mouse.move(5, 5)
    tab.wait_for_timeout(600)
    assert tab.evaluate("seen") == 0


def test_a_term_shows_its_definition_to_the_keyboard(web: Visit) -> None:
    hint = web.open(POOLING).get_by_role("tooltip")
    link = term(web, "pooling")
    link.focus()
    expect(hint).to_contain_text(DEFINITION)
    web.tab.keyboard.press("Escape")
    expect(hint).to_be_hidden()
    expect(link).to_be_focused()
    link.blur()
    link.focus()
    expect(hint).to_be_visible()
    web.tab.keyboard.press("Tab")
    expect(hint).not_to_contain_text(DEFINITION)


def test_a_citation_shows_author_title_and_year(web: Visit) -> None:
    hint = web.open(POOLING).get_by_role("tooltip")
    web.tab.locator(".bibtex-citation a").get_by_text("2019").first.focus()
    for part in ("Richard Zhang", "Making convolutional networks", "2019"):
        expect(hint).to_contain_text(part)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_hints_fit_a_phone_and_hide_no_link(web: Visit, chapter: str) -> None:
    web.tab.set_viewport_size(PHONE)
    tab = web.open(f"{chapter}.html")
    hint = tab.get_by_role("tooltip")
    for link in tab.locator("a.term, .bibtex-citation a").all():
        link.focus()
        expect(hint).to_be_in_viewport(ratio=1)
        assert not tab.evaluate(OVERLAP), link.inner_text()
    assert tab.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_a_tap_follows_the_link(web: Visit) -> None:
    """What a finger cannot hover over is one page away, and back."""
    tab = web.open(POOLING)
    term(web, "pooling").dispatch_event("pointerenter", {"pointerType": "touch"})
    tab.wait_for_timeout(600)
    expect(tab.locator("#stn-hint")).to_be_hidden()
    term(web, "pooling").click()
    tab.wait_for_url("**/glossary.html#term-pooling")


def test_hints_work_from_disk(disk: Visit) -> None:
    hint = disk.open(POOLING).get_by_role("tooltip")
    term(disk, "pooling").focus()
    expect(hint).to_contain_text(DEFINITION)
    assert disk.faults == []
