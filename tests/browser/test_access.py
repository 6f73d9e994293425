"""The site for everyone: axe-core finds no violation of WCAG 2.2, levels A and AA."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from test_site import PAGES
from visit import DESKTOP, PHONE, Visit

LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
OPTIONS = {"runOnly": LEVELS, "resultTypes": ["violations"]}
READ = [page for page in PAGES if page != "index.html"]  # that one leads on at once


def violations(visit: Visit) -> list[str]:
    """Each broken rule with the part of the page that breaks it."""
    found = Axe().run(visit.tab, options=OPTIONS).response["violations"]
    return [f"{v['id']}: {node['html'][:200]}" for v in found for node in v["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("page", READ)
def test_page_is_accessible(web: Visit, page: str, size: dict, scheme: str) -> None:
    web.tab.emulate_media(color_scheme=scheme)
    web.tab.set_viewport_size(size)
    web.open(page)
    assert violations(web) == []


def test_the_check_sees_faults(web: Visit) -> None:
    tab = web.open("search.html")
    tab.evaluate("""() => {
      document.querySelector("main").innerHTML = `<img src="">
        <button></button><p style="color: #aaa; background: #fff">pale</p>
        <dl><dd>no term</dd></dl>`;
    }""")
    rules = {fault.split(":")[0] for fault in violations(web)}
    assert {"image-alt", "button-name", "color-contrast", "definition-list"} <= rules
