"""The site for everyone: axe-core finds no violation of WCAG 2.2, levels A and AA."""

import pytest
from notebooks import ROOT
from playwright.sync_api import expect
from test_site import CHAPTERS, PAGES
from visit import DESKTOP, PHONE, Visit

AXE = ROOT / "node_modules/axe-core/axe.min.js"  # `make javascript` brings it
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
OPTIONS = {"runOnly": LEVELS, "resultTypes": ["violations"]}
READ = [page for page in PAGES if page != "index.html"]  # that one leads on at once
SIZES = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])


def violations(visit: Visit) -> list[str]:
    """Each broken rule with the part of the page that breaks it."""
    visit.tab.evaluate(AXE.read_text("utf-8"))
    found = visit.tab.evaluate("options => axe.run(options)", OPTIONS)["violations"]
    return [f"{v['id']}: {node['html'][:200]}" for v in found for node in v["nodes"]]


@SCHEMES
@SIZES
@pytest.mark.parametrize("page", READ)
def test_page_is_accessible(web: Visit, page: str, size: dict, scheme: str) -> None:
    web.tab.emulate_media(color_scheme=scheme)
    web.tab.set_viewport_size(size)
    web.open(page)
    assert violations(web) == []


@SCHEMES
def test_a_list_of_hits_is_accessible(web: Visit, scheme: str) -> None:
    web.tab.emulate_media(color_scheme=scheme)
    tab = web.open("search.html?q=gradient")
    expect(tab.get_by_role("button", name="Show more")).to_be_visible()
    assert violations(web) == []


@SCHEMES
def test_a_hint_is_accessible(web: Visit, scheme: str) -> None:
    web.tab.emulate_media(color_scheme=scheme)
    tab = web.open(f"{CHAPTERS[3]}.html")
    tab.locator("a.term").first.focus()
    expect(tab.get_by_role("tooltip")).to_be_visible()
    assert violations(web) == []


def test_the_check_sees_faults(web: Visit) -> None:
    tab = web.open("search.html")
    tab.evaluate("""() => {
      document.querySelector("main").innerHTML = `<img src="">
        <button></button><p style="color: #aaa; background: #fff">pale</p>
        <button aria-label="Another name">seen</button>
        <dl><dd>no term</dd></dl>`;
    }""")
    rules = {fault.split(":")[0] for fault in violations(web)}
    assert {"image-alt", "button-name", "color-contrast", "definition-list"} <= rules
    assert "label-content-name-mismatch" in rules
