"""The built site in a real browser: nothing fails, nothing leaves the site.

Build the site first (`make book`). Needs Chromium: without it these tests are skipped,
or fail where the variable CI is set.
"""

import gzip
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml
from book_extension import repository, site_address
from fontTools.ttLib import TTFont
from notebooks import ROOT, chapters
from PIL import Image
from playwright.sync_api import BrowserContext, Error, expect
from visit import PHONE, SITE, Visit, serve


def source(name: str) -> str:
    """The text of a chapter's notebook."""
    return (ROOT / f"{name}.ipynb").read_text("utf-8")


CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
CONTENTS = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
CHAPTERS = [f"chapters/{path.stem}" for path in chapters()]
ANIMATED = [name for name in CHAPTERS if "stn-animation" in source(name)]
DOCUMENTS = [CONTENTS["root"]] + [
    entry["file"] for part in CONTENTS["parts"] for entry in part["chapters"]
]
PAGES = [f"{name}.html" for name in [*DOCUMENTS, "index", "search"]]

# Text of the article that still looks like TeX: code does not count.
RAW_MATHEMATICS = r"""() => {
  const article = document.querySelector("article");
  if (!article) return [];
  const copy = article.cloneNode(true);
  for (const part of copy.querySelectorAll("pre, code, mjx-container, script, style"))
    part.remove();
  const tex = /\$[^$\n]+\$|\\\(.*|\\\[.*|\\begin\{.*|\\frac.*/g;
  return copy.textContent.match(tex) ?? [];
}"""
UNSET_MATHEMATICS = """() => [...document.querySelectorAll(".math")]
  .filter(e => !e.querySelector("mjx-container") || e.querySelector("mjx-merror"))
  .map(e => e.textContent.slice(0, 80))"""
POOR_IMAGES = """() => [...document.images]
  .filter(i => !i.naturalWidth || (i.closest("article") && !i.alt.trim()))
  .map(i => i.outerHTML.slice(0, 200))"""
# Parts that stick out of a narrow screen and cannot be scrolled within a box.
TOO_WIDE = """() => {
  const faults = [];
  const screen = document.documentElement.clientWidth;
  const scrolls = box => /auto|scroll/.test(getComputedStyle(box).overflowX);
  if (document.documentElement.scrollWidth > screen)
    faults.push("page: " + document.documentElement.scrollWidth);
  for (const part of document.querySelectorAll("article *")) {
    if (part.closest("mjx-assistive-mml, .visually-hidden")) continue;
    if (part.getBoundingClientRect().right <= screen + 1) continue;
    let box = part.parentElement;
    while (box && !scrolls(box)) box = box.parentElement;
    if (!box || box.getBoundingClientRect().right > screen + 1)
      faults.push(part.outerHTML.slice(0, 120));
  }
  return faults;
}"""
FILTERED_IMAGES = """() => [...document.querySelectorAll("article img")]
  .filter(i => getComputedStyle(i).filter !== "none")
  .map(i => i.outerHTML.slice(0, 200))"""

# Each letter that a style shows from an icon font, with the font's name and weight.
ICONS = """() => [...document.querySelectorAll("*")]
  .flatMap(part => ["::before", "::after"].map(place => getComputedStyle(part, place)))
  .filter(style => /^"Font Awesome/.test(style.fontFamily) && style.content !== "none")
  .map(style => [style.fontFamily, style.fontWeight, style.content.slice(1, -1)])"""
FONTS = {
    ('"Font Awesome 6 Free"', "900"): "fa-solid-900.woff2",
    ('"Font Awesome 6 Brands"', "400"): "fa-brands-400.woff2",
}
# What a page may leave behind: the reader's choice of colours, how far a menu scrolled.
KEPT = """() => [document.cookie, ...Object.keys(localStorage),
  ...Object.keys(sessionStorage)].filter(
    name => !["", "mode", "theme", "sidebar-scroll-top"].includes(name))"""


class Anchors(HTMLParser):
    """Collect the links and the anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one element's link and anchor."""
        values = dict(attrs)
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        self.anchors |= {values[key] for key in ("id", "name") if values.get(key)}


@cache
def glyphs(font: Path) -> set[str]:
    """The letters of a font."""
    with TTFont(font) as opened:
        return set(map(chr, opened.getBestCmap()))


def lost_icons(visit: Visit) -> list[str]:
    """The icons on a page that are not in the site's fonts."""
    folder = SITE / "_static/vendor/fontawesome/webfonts"
    return [
        f"{family} {weight}: {letter!r}"
        for family, weight, letter in visit.tab.evaluate(ICONS)
        if letter not in glyphs(folder / FONTS[family, weight])
    ]


def weight(visit: Visit) -> int:
    """How many bytes a page needs, each file compressed where that makes it smaller."""
    addresses = {url for url in visit.requested if url.startswith(visit.base)}
    names = {urlsplit(url.removeprefix(visit.base)).path for url in addresses}
    files = [(SITE / unquote(name or "index.html")).read_bytes() for name in names]
    return sum(min(len(file), len(gzip.compress(file))) for file in files)


def limit(visit: Visit) -> int:
    """How many bytes a page may need: more where figures can be touched."""
    return 2_000_000 if visit.tab.locator(".stn-figure").count() else 1_500_000


def check_page(visit: Visit, page: str) -> None:
    """Open a page and assert that all of it came, and that it leaves nothing behind."""
    tab = visit.open(page)
    assert visit.faults == []
    assert tab.evaluate(RAW_MATHEMATICS) == []
    assert tab.evaluate(UNSET_MATHEMATICS) == []
    assert tab.evaluate(POOR_IMAGES) == []
    assert lost_icons(visit) == []
    assert tab.evaluate(KEPT) == []
    assert tab.context.cookies() == []


@pytest.mark.parametrize("page", PAGES)
def test_page_on_a_server(web: Visit, page: str) -> None:
    check_page(web, page)
    assert weight(web) < limit(web)


@pytest.mark.parametrize("page", PAGES)
def test_page_from_disk(disk: Visit, page: str) -> None:
    check_page(disk, page)


@pytest.mark.parametrize("page", PAGES)
def test_page_fits_a_phone(web: Visit, page: str) -> None:
    web.tab.set_viewport_size(PHONE)
    assert web.open(page).evaluate(TOO_WIDE) == []


@pytest.mark.parametrize("page", PAGES)
def test_dark_mode_keeps_grey_values(web: Visit, page: str) -> None:
    web.tab.emulate_media(color_scheme="dark")
    tab = web.open(page)
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    assert tab.evaluate(FILTERED_IMAGES) == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapter_can_be_edited_and_reported(web: Visit, chapter: str) -> None:
    url, branch = repository(**CONFIG["repository"])
    tab = web.open(f"{chapter}.html")
    links = tab.eval_on_selector_all("a", "all => all.map(a => a.href)")
    assert f"{url}/edit/{branch}/{chapter}.ipynb" in links
    (report,) = [link for link in links if "/issues/new" in link]
    form = {"template": ["page.yml"], "page": [chapter]}
    assert parse_qs(urlsplit(report).query) == form
    assert (ROOT / ".github/ISSUE_TEMPLATE/page.yml").exists()
    assert tab.locator("button.copybtn").count() > 0


@pytest.mark.parametrize("chapter", ANIMATED)
def test_animation_steps_plays_and_follows_the_keyboard(
    web: Visit, chapter: str
) -> None:
    players = web.open(f"{chapter}.html").locator(".stn-animation").all()
    assert players
    for player in players:
        frame = player.locator("output")
        slider = player.get_by_label("Frame", exact=True)
        last = int(slider.get_attribute("max"))
        place = "e => e.style.objectPosition"
        player.get_by_label("One frame on").click()
        assert frame.text_content() == f"2 / {last + 1}"
        moved = float(player.locator("img").first.evaluate(place).split("%")[0])
        assert moved == pytest.approx(100 / last, abs=0.01)
        slider.press("End")
        assert frame.text_content() == f"{last + 1} / {last + 1}"
        player.get_by_role("button", name="Play").click()
        assert player.get_by_role("button", name="Pause").is_visible()
        expect(player.get_by_role("button", name="Play")).to_be_visible(timeout=15_000)
        assert frame.text_content() == f"{last + 1} / {last + 1}"
    assert web.faults == []


def test_the_checks_see_faults(web: Visit, site: Path) -> None:
    tab = web.open("search.html")
    tab.evaluate(r"""() => {
      document.body.innerHTML = `<article>$x$ <span class="math">y</span>
        <img src="nowhere.png" style="filter: invert(1)">
        <p style="width: 3000px">wide <i class="fas fa-anchor"></i></p></article>`;
      console.error("seen");
      localStorage.visitor = "1";
    }""")
    tab.wait_for_load_state("networkidle")
    assert tab.evaluate(RAW_MATHEMATICS) == ["$x$"]
    assert tab.evaluate(UNSET_MATHEMATICS) == ["y"]
    for check in (POOR_IMAGES, TOO_WIDE, FILTERED_IMAGES):
        assert tab.evaluate(check) != []
    assert lost_icons(web) == ["\"Font Awesome 6 Free\" 900: '\\uf13d'"]
    assert tab.evaluate(KEPT) == ["visitor"]
    tab.evaluate("localStorage.removeItem('visitor')")
    with pytest.raises(Error):
        tab.goto("https://example.invalid/")
    for fault in ("console: seen", "leaves the site: https://example.invalid/"):
        assert fault in web.faults


# What would run, or load, without a policy; gives the directives that forbid it.
INJECT = """async () => {
  const forbidden = [];
  addEventListener("securitypolicyviolation",
    (event) => forbidden.push(event.effectiveDirective));
  const script = document.createElement("script");
  script.textContent = "window.injected = 'script'";
  const button = document.createElement("button");
  button.setAttribute("onclick", "window.injected = 'attribute'");
  const image = document.createElement("img");
  image.src = "https://example.invalid/pixel.png";
  document.body.append(script, button, image);
  button.click();
  setTimeout("window.injected = 'text'", 0);
  await fetch("https://example.invalid/").catch(() => {});
  await new Promise((done) => setTimeout(done, 100));
  return [window.injected ?? "nothing", ...forbidden.sort()];
}"""


@pytest.mark.parametrize("place", ["web", "disk"])
def test_what_is_injected_does_not_run(
    place: str, request: pytest.FixtureRequest
) -> None:
    visit = request.getfixturevalue(place)
    tab = visit.open(f"{CHAPTERS[1]}.html")
    assert tab.evaluate(INJECT) == [
        *("nothing", "connect-src", "img-src"),
        *("script-src", "script-src-attr", "script-src-elem"),
    ]


def test_every_page_has_a_policy_before_its_first_script(site: Path) -> None:
    for path in site.rglob("*.html"):
        if "_static" in path.parts:
            continue
        page = path.read_text("utf-8")
        policies = re.findall(r'<meta http-equiv="Content-Security-Policy"[^>]*>', page)
        assert len(policies) == 1, path
        first = re.search(r"<(script|style|link|img)\b", page)
        assert first is None or page.index(policies[0]) < first.start(), path
        rules = dict(re.findall(r"([a-z]+-[a-z]+) ([^;\"]+)", policies[0]))
        assert rules["default-src"] == "'none'", path
        # One page may run WebAssembly; which one, tests/browser/test_live.py says.
        scripts = rules["script-src"].replace("'wasm-unsafe-eval'", "")
        assert "unsafe" not in scripts, path
        assert not re.search(r"https?:|\*", policies[0]), path


@pytest.mark.parametrize("place", ["web", "disk"])
def test_the_search_finds(place: str, request: pytest.FixtureRequest) -> None:
    visit = request.getfixturevalue(place)
    tab = visit.open("search.html")
    tab.locator("input[name=q]:visible").fill("sampler")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/search.html?q=sampler*", wait_until="networkidle")
    assert tab.locator("#search-results li").count() > 5
    summaries = tab.locator("#search-results li p.context").count()
    assert (summaries > 0) == (place == "web")  # from disk no page reads another
    assert visit.faults == []


def test_the_buttons_for_paper_and_screen_work(web: Visit) -> None:
    tab = web.open(f"{CHAPTERS[0]}.html")
    tab.evaluate("window.print = () => { window.printed = true; }")
    tab.get_by_label("Download this page").click()
    tab.locator(".btn-download-pdf-button").click()
    assert tab.evaluate("window.printed")
    tab.locator(".btn-fullscreen-button").click()
    tab.wait_for_function("document.fullscreenElement !== null")
    assert web.faults == []


def test_site_holds_every_page_and_no_other(site: Path) -> None:
    built = {
        path.relative_to(site).as_posix()
        for path in site.rglob("*.html")
        if "_static" not in path.parts
    }
    assert built == {*PAGES, "404.html"}


def test_internal_links_and_anchors_resolve(site: Path) -> None:
    # 404.html is for one address only; it has a test of its own.
    pages = {p: Anchors(p) for p in site.rglob("*.html") if p.name != "404.html"}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (
                (path.parent / unquote(parts.path)).resolve() if parts.path else path
            )
            anchor = unquote(parts.fragment)
            lost = target in pages and anchor and anchor not in pages[target].anchors
            if not target.is_file() or lost:
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


ADDRESS = site_address(repository(**CONFIG["repository"])[0])


def test_a_wrong_address_leads_back_into_the_book(
    browser: BrowserContext, site: Path, tmp_path: Path
) -> None:
    """The host shows 404.html at any depth: no link of it may be relative."""
    folder = urlsplit(ADDRESS).path.strip("/")
    (tmp_path / folder).symlink_to(site)
    with serve(tmp_path) as server:
        visit = Visit(browser, f"{server}{folder}/")
        check_page(visit, "404.html")
        visit.tab.close()
    links = {link for link in Anchors(site / "404.html").links if link[0] != "#"}
    for link in links:
        parts = urlsplit(link)
        if not parts.netloc:
            assert parts.path.startswith(f"/{folder}/")
            inside = parts.path.removeprefix(f"/{folder}/") or "index.html"
            assert (site / inside).is_file(), link
    assert {f"/{folder}/{name}.html" for name in DOCUMENTS} <= links


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_shared_link_has_a_preview(document: str, site: Path) -> None:
    page = (site / f"{document}.html").read_text("utf-8")
    tags = re.findall(r'<meta property="og:(\S+)" content="([^"]*)"', page)
    preview = dict(tags)
    assert len(tags) == len(preview)
    assert preview["url"] == f"{ADDRESS}{document}.html"
    assert f'<link rel="canonical" href="{preview["url"]}"' in page
    assert preview["site_name"] == CONFIG["title"]
    assert preview["title"] in page.split("<h1>")[1].split("</h1>")[0]
    assert len(preview["description"]) > 60
    assert preview["image"].startswith(ADDRESS)
    assert preview["image:alt"]
    with Image.open(site / preview["image"].removeprefix(ADDRESS)) as picture:
        assert picture.size == (1200, 630)


def test_the_sitemap_names_every_document(site: Path) -> None:
    found = re.findall("<loc>(.*?)</loc>", (site / "sitemap.xml").read_text("utf-8"))
    assert sorted(found) == sorted(f"{ADDRESS}{name}.html" for name in DOCUMENTS)
