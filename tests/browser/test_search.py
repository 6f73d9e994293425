"""The search: what readers type leads to a section that answers, with an excerpt."""

import re
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Locator, Route, expect
from visit import PHONE, Visit

API = "api.html#stn_tutorial"
# What learners and practitioners look for, and where the first hit leads.
WANTED = {
    "opencv": f"{API}.pixels.theta_from_matrix",
    "cv2": f"{API}.pixels.theta_from_matrix",
    "warpAffine": f"{API}.pixels.theta_from_matrix",
    "warpPerspective": f"{API}.warps.projective_from_matrix",
    "blank": "10-what-goes-wrong.html#black-and-stuck",
    "black": "10-what-goes-wrong.html#black-and-stuck",
    "jagged": "02-bilinear-interpolation.html#shrinking",
    "elastic": "06-the-papers-table.html#a-sheet-of-steel",
    "onnx": "cookbook.html#how-do-i-export-it-for-batches-of-any-size",
    "export": "cookbook.html#how-do-i-export-it-for-batches-of-any-size",
    "opset": "11-fast-and-live.html#export",
    "mixed precision": f"{API}.transformer.SpatialTransformer",
    "deterministic": f"{API}.training.train",
    "diverge": f"{API}.training.train",
    "reproducible": "06-the-papers-table.html#repeat-a-cell",
    "pretrained": "07-traffic-signs.html#repeat-it",
    "troubleshooting": "10-what-goes-wrong.html#from-the-symptom-to-the-cause",
    "homography": "api.html#module-stn_tutorial.homography",
    "crop": f"{API}.pixels.crop_theta",
    "box": "glossary.html#term-box",
    "invert": f"{API}.affine.invert",
    "mask": ("cookbook.html#how-do-i-bring-points-boxes-and-masks-back-through-theta"),
    "zoom": "10-what-goes-wrong.html#a-grey-frame",
    "learning rate": (
        "05-straightening-digits.html#the-localisation-net-s-learning-rate"
    ),
    "TPS": "06-the-papers-table.html#a-sheet-of-steel",
    "spatial transformer": "glossary.html#term-spatial-transformer",
    "grid_sample": f"{API}.interpolation.grid_sample",
    "localization": f"{API}.transformer.LocalisationNet",
    "normalized coordinates": "glossary.html#term-normalised-coordinates",
    "color": "notation.html#colours",
    "overfit": "glossary.html#term-overfitting",
    "heatmap": "08-beyond-affine.html#where-instead-of-how-much",
    "unsupervised": "08-beyond-affine.html#without-any-label",
    "test-time augmentation": (
        "08-beyond-affine.html#the-rival-that-needs-no-transformer"
    ),
    "panorama": "09-the-sampler-at-work.html#two-photographs-of-one-scene",
    "optical flow": "09-the-sampler-at-work.html#where-every-pixel-has-moved",
    "slow": "11-fast-and-live.html#where-the-time-goes",
    "quantization": "11-fast-and-live.html#eight-bits-and-the-geometry",
    "webcam": "11-fast-and-live.html#live",
    "detector": "09-the-sampler-at-work.html#boxes-out-of-a-feature-map",
}


def search(visit: Visit, query: str) -> Locator:
    """Search the book, and give the list of hits once it is there."""
    tab = visit.tab
    tab.goto(urljoin(visit.base, f"search.html?q={query}"))
    expect(tab.locator(".search-summary")).to_contain_text("Search finished")
    return tab.locator("#search-results li")


def address(hit: Locator) -> str:
    """Where a hit leads, without what is marked there."""
    page, _, anchor = (hit.locator("a").get_attribute("href") or "").partition("#")
    name = page.partition("?")[0].removeprefix("chapters/")
    return f"{name}#{anchor}" if anchor else name


@pytest.mark.parametrize("query", WANTED)
def test_what_readers_type_leads_to_a_section(web: Visit, query: str) -> None:
    hits = search(web, query)
    expect(hits.first).to_be_visible()
    first = hits.all()[:2]
    assert address(first[0]) == WANTED[query]
    for hit in first:
        excerpt = hit.locator(".context").inner_text()
        assert len(excerpt.split()) > 4
        assert "\\" not in excerpt  # no TeX
    assert web.faults == []


def test_the_chapter_follows_the_definition(web: Visit) -> None:
    hits = search(web, "spatial transformer")
    expect(hits.first).to_be_visible()
    assert address(hits.nth(1)) == "04-spatial-transformer.html"


@pytest.mark.parametrize(
    ("american", "british"),
    [("localization", "localisation"), ("gray", "grey"), ("centering", "centring")],
)
def test_both_spellings_find_the_same(web: Visit, american: str, british: str) -> None:
    found = [
        [address(hit) for hit in search(web, q).all()] for q in (american, british)
    ]
    assert found[0] == found[1] != []


def test_words_are_found_and_not_letters(web: Visit) -> None:
    search(web, "learning rate")
    marked = web.tab.locator("#search-results mark").all_inner_texts()
    assert marked
    for mark in marked:  # "localisation_rate" is two words
        assert re.search(r"(?<![a-z])(learn|rate)", mark.lower()), mark


@pytest.mark.parametrize("query", ["quicksand", "xylophone"])
def test_what_is_not_in_the_book_leads_nowhere(web: Visit, query: str) -> None:
    expect(search(web, query)).to_have_count(0)
    expect(web.tab.locator(".search-summary")).to_contain_text("found nothing")


def test_set_up_cells_are_no_prose(web: Visit) -> None:
    expect(search(web, "importlib")).to_have_count(0)


def test_more_hits_come_by_keyboard(web: Visit) -> None:
    hits = search(web, "gradient")
    assert hits.count() == 10
    more = web.tab.get_by_role("button", name="Show more")
    more.press("Enter")
    expect(hits).to_have_count(20)
    expect(hits.nth(10).locator("a")).to_be_focused()
    while more.count():
        shown = hits.count()
        more.press("Enter")
        expect(hits.nth(shown)).to_be_visible()
    assert len({address(hit) for hit in hits.all()}) == hits.count() > 20
    assert web.faults == []


def test_the_menus_field_leads_to_a_section(web: Visit) -> None:
    web.tab.set_viewport_size(PHONE)
    tab = web.open("chapters/01-affine-transforms.html")
    tab.get_by_role("button", name="Search").locator("visible=true").click()
    tab.keyboard.type("elastic")
    tab.keyboard.press("Enter")
    tab.locator("#search-results a").first.click()
    tab.wait_for_url("**/06-the-papers-table.html*#a-sheet-of-steel")
    expect(tab.locator("#a-sheet-of-steel h3")).to_be_in_viewport()
    assert web.faults == []


def test_a_query_is_text(web: Visit) -> None:
    search(web, "%3Cimg src=x onerror=alert(1)%3E gradient")
    assert web.tab.locator("#search-results img").count() == 0
    assert web.faults == []


@pytest.mark.parametrize("lost", ["pagefind.js", "pagefind-worker.js"])
def test_without_the_index_the_built_in_search_answers(web: Visit, lost: str) -> None:
    def refuse(route: Route) -> None:
        route.fulfill(status=404)

    web.tab.route(f"**/{lost}*", refuse)
    hits = search(web, "sampler")
    expect(hits.first).to_be_visible()
    assert hits.count() > 5


# What every object of JavaScript knows, by its own name and by its stem.
KNOWN = ["constructor", "__proto__", "-constructor grid", "valueOf", "hasOwnProperty"]


@pytest.mark.parametrize("query", KNOWN)
@pytest.mark.parametrize("place", ["web", "disk"])
def test_what_all_objects_know_is_no_hit(
    place: str, query: str, request: pytest.FixtureRequest
) -> None:
    """The built-in search, from disk, asked the objects and not the index."""
    visit: Visit = request.getfixturevalue(place)
    visit.tab.goto(urljoin(visit.base, f"search.html?q={query}"))
    summary = visit.tab.locator(".search-summary")
    expect(summary).to_contain_text(re.compile("Search finished|did not match"))
    hits = visit.tab.locator("#search-results li")
    if "grid" not in query:  # without constructors there are some
        expect(hits).to_have_count(0)
    for hit in hits.all():
        assert address(hit)
        assert "undefined" not in address(hit)
    assert visit.faults == []


def test_the_search_from_disk_finds_words(disk: Visit) -> None:
    for query in ("sampler", "bilinear interpolation"):
        assert search(disk, query).count() > 5
    assert disk.faults == []
