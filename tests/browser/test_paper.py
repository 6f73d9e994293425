"""The site on paper, and in the system's own colours.

Build the site first (`make book`).
"""

import io

import pytest
from PIL import Image
from playwright.sync_api import Locator
from test_site import ANIMATED, CHAPTERS
from test_touch import FIGURES, open_figure
from visit import PHONE, Visit

# The figures with a choice, of which one is pressed.
WITHOUT_CHOICE = ("fig-02-areas", "fig-06-draw", "fig-11-live")
CHOICES = [label for label in FIGURES if label not in WITHOUT_CHOICE]
TILES = ("fig-00-turn", "fig-05-learning")  # a choice of pictures
PAPER = {"width": 688, "height": 1000}  # A4 with the browser's usual margins
CUT = """() => [...document.querySelectorAll(".bd-article pre")]
  .filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1)
  .map(e => e.textContent.slice(0, 80))"""
# What a browser leaves out on paper, if it is not told to print it: handles, bars,
# the button that is pressed.
COLOURED = ".stn-handle, .stn-button, .stn-bar, .stn-map-bar"
# Relative to the page's white. Text that has less contrast than 4.5 has more than this.
PALE = """() => [...document.querySelectorAll(".bd-article :is(p, li, pre span)")]
  .filter(e => e.checkVisibility() && e.textContent.trim())
  .filter(e => {
    const [r, g, b] = getComputedStyle(e).color.match(/[\\d.]+/g).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.184;
  }).map(e => e.outerHTML.slice(0, 80))"""


def colours(part: Locator) -> dict[tuple[int, int, int], float]:
    """The colours of a part of the page, each with its share of the pixels."""
    picture = Image.open(io.BytesIO(part.screenshot())).convert("RGB")
    size = picture.width * picture.height
    return {colour: n / size for n, colour in picture.getcolors(size)}


def ground(part: Locator) -> tuple[int, int, int]:
    """The colour that most of a part has."""
    found = colours(part)
    return max(found, key=lambda colour: found[colour])


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_line_of_code_is_cut_on_paper(web: Visit, chapter: str) -> None:
    web.tab.set_viewport_size(PAPER)
    tab = web.open(f"{chapter}.html")
    tab.emulate_media(media="print")
    assert tab.evaluate(CUT) == []


def test_dark_pages_are_printed_in_light_colours(web: Visit) -> None:
    web.tab.emulate_media(color_scheme="dark")
    tab = web.open(f"{CHAPTERS[1]}.html")
    assert tab.evaluate(PALE) != []
    tab.evaluate(
        f"addEventListener('beforeprint', () => {{ window.pale = ({PALE})() }})"
    )
    tab.pdf()
    assert tab.evaluate("window.pale") == []
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.parametrize("chapter", ANIMATED)
def test_an_animation_prints_the_frame_that_is_shown(web: Visit, chapter: str) -> None:
    """A picture is printed, a background is not."""
    tab = web.open(f"{chapter}.html")
    player = tab.locator(".stn-animation").first
    player.get_by_label("Frame", exact=True).press("End")
    tab.add_style_tag(content="* { background: none !important; }")
    tab.emulate_media(media="print")
    picture = player.locator("img").first
    assert len(colours(picture)) > 8
    assert picture.evaluate("e => e.naturalWidth > 2 * e.naturalHeight")  # all frames
    box = picture.bounding_box()
    width, height = (int(picture.get_attribute(side)) for side in ("width", "height"))
    assert box["width"] / box["height"] == pytest.approx(width / height, rel=0.01)
    assert player.locator("button").first.is_hidden()


@pytest.mark.parametrize("label", FIGURES)
def test_colours_that_say_something_are_printed(web: Visit, label: str) -> None:
    figure = open_figure(web, label)
    web.tab.emulate_media(media="print")
    parts = figure.locator(COLOURED)
    printed = "all => all.map(e => getComputedStyle(e).printColorAdjust)"
    assert set(parts.evaluate_all(printed)) == {"exact"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
class TestForcedColours:
    """Windows' high contrast, which replaces the page's colours by its own."""

    @pytest.fixture(autouse=True)
    def _forced(self, web: Visit, scheme: str) -> None:
        web.tab.emulate_media(forced_colors="active", color_scheme=scheme)

    @pytest.mark.parametrize("label", FIGURES)
    def test_cards_are_white_and_handles_seen(self, web: Visit, label: str) -> None:
        figure = open_figure(web, label)
        card = figure.locator(".stn-stage:visible").first
        style = card.evaluate("e => getComputedStyle(e).backgroundColor")
        assert style == "rgb(255, 255, 255)"
        handle = figure.locator(".stn-handle:visible:not(.stn-pool-grip)").first
        if handle.count():
            wanted = handle.evaluate("e => e.style.getPropertyValue('--stn-colour')")
            digits = (
                wanted[1:] if len(wanted) == 7 else "".join(2 * c for c in wanted[1:])
            )
            rgb = tuple(bytes.fromhex(digits))
            assert colours(handle).get(rgb, 0) > 0.05

    @pytest.mark.parametrize("label", CHOICES)
    def test_what_is_pressed_is_seen(self, web: Visit, label: str) -> None:
        figure = open_figure(web, label)
        kind = ".stn-tile" if label in TILES else ".stn-button"
        pressed = figure.locator(f"{kind}[aria-pressed=true]:visible")
        other = figure.locator(f"{kind}[aria-pressed=false]:visible")
        border = "e => getComputedStyle(e).borderColor"
        assert pressed.first.evaluate(border) != other.first.evaluate(border)
        if kind == ".stn-button":
            assert ground(pressed.first) != ground(other.first)

    def test_bars_and_legends_are_seen(self, web: Visit) -> None:
        figure = open_figure(web, "fig-06-draw")
        best = figure.locator("[aria-current=true] .stn-bar")
        page = web.tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert best.evaluate("e => getComputedStyle(e).backgroundColor") != page
        figure = open_figure(web, "fig-04-map")
        assert len(colours(figure.locator(".stn-map-bar"))) > 30  # a ramp of greys
        web.open("chapters/notation.html")
        swatches = web.tab.locator(".swatch").all()
        assert len({ground(swatch) for swatch in swatches}) == len(swatches) == 3

    def test_drawings_stand_on_white(self, web: Visit) -> None:
        tab = web.open("chapters/index.html")
        assert ground(tab.locator("article figure img")) == (255, 255, 255)


def test_who_asks_for_contrast_gets_no_grey_text(web: Visit) -> None:
    web.tab.emulate_media(contrast="more")
    web.tab.set_viewport_size(PHONE)
    figure = open_figure(web, "fig-03-pool-it")
    text = figure.evaluate("e => getComputedStyle(e).color")
    border = figure.locator(".stn-button").first.evaluate(
        "e => [getComputedStyle(e).borderColor, getComputedStyle(e).borderWidth]"
    )
    assert border == [text, "2px"]
    caption = web.tab.locator("#fig-03-pool-it figcaption")
    body = web.tab.evaluate("getComputedStyle(document.body).color")
    assert caption.evaluate("e => getComputedStyle(e).color") == body
