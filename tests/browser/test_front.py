"""The front page's figure: alive at once, still at the first touch, as in the package.

Build the site first (`make book`).
"""

import re

import pytest
import torch
from playwright.sync_api import Locator, Page, expect
from test_site import weight
from test_touch import drag, pixels, shown
from visit import DESKTOP, PHONE, Visit

from stn_tutorial.widgets import StraightenIt

PAGE, LABEL = "chapters/index.html", "fig-index-straighten"
LAPTOP = {"width": 1280, "height": 720}
# Notes when the figure is there, and when its handle has moved.
WATCH = """addEventListener("DOMContentLoaded", () => {
  let first;
  const look = () => {
    const style = document.querySelector(".stn-front .stn-handle")?.style.left;
    first ??= style;
    if (style !== first) window.moved = performance.now();
    else requestAnimationFrame(look);
  };
  look();
})"""
IN_VIEW = """part => {
  const { top, bottom } = part.getBoundingClientRect();
  return scrollY === 0 && top >= 0 && bottom <= innerHeight;
}"""


def front(visit: Visit, query: str = "") -> Locator:
    """The figure on the front page."""
    tab = visit.open(PAGE + query)
    figure = tab.locator(f"#{LABEL} .stn-figure")
    expect(figure).to_be_visible()
    return figure


@pytest.fixture
def still(web: Visit) -> Locator:
    """The figure as a link brings it: at rest."""
    return front(web, f"?tumbling=no#{LABEL}")


def moves(figure: Locator) -> bool:
    """Whether the digit goes anywhere in half a second."""
    handle = figure.locator(".stn-handle").first
    before = handle.get_attribute("style")
    figure.page.wait_for_timeout(500)
    return handle.get_attribute("style") != before


def pose(figure: Locator) -> dict[str, float]:
    """The pose that the handles tell."""
    told = [h.get_attribute("aria-label") for h in figure.locator(".stn-handle").all()]
    words = " ".join(told).replace("−", "-")
    numbers = re.findall(r"-?\d+(?:\.\d+)?", words)
    return dict(zip(("angle", "scale", "x", "y"), map(float, numbers), strict=True))


def assert_as_the_package_says(figure: Locator, **traits: object) -> None:
    """Image, scores and answer are those of the figure's twin in Python."""
    twin = StraightenIt("x", **pose(figure), **traits)
    _, seen, shares = twin.read()
    texts = figure.locator(".stn-scores .stn-value").all_inner_texts()
    read = [float(text.strip(" ◀%")) for text in texts]
    assert read == pytest.approx((100 * shares).tolist(), abs=1)
    expect(figure.locator(".stn-front-answer strong")).to_have_text(
        str(int(shares.argmax()))
    )
    card = figure.locator(".stn-front-output canvas")
    places = [(i, j) for i in range(1, 27, 3) for j in range(1, 27, 4)]
    points = [  # the card shows -1.05 to 1.05
        (0.5 + ((2 * j + 1) / 28 - 1) / 2.1, 0.5 + ((2 * i + 1) / 28 - 1) / 2.1)
        for i, j in places
    ]
    for (i, j), read in zip(places, pixels(card, points), strict=True):
        assert read == pytest.approx([255 * seen[0, 0, i, j].item()] * 3, abs=3)


def test_it_moves_soon_and_the_page_is_light(web: Visit) -> None:
    web.tab.add_init_script(WATCH)
    assert moves(front(web))
    assert web.tab.evaluate("window.moved") < 3000  # 0.5 s where nothing else runs
    assert weight(web) < 1_000_000
    assert web.faults == []


@pytest.mark.parametrize("touch", ["click", "focus", "drag"])
def test_the_first_touch_stops_it_for_good(web: Visit, touch: str) -> None:
    figure = front(web)
    assert moves(figure)
    if touch == "click":
        figure.get_by_role("button", name="Without").click()
    elif touch == "focus":
        figure.get_by_role("button", name="Draw your own").focus()
    else:
        drag(web.tab, figure.locator(".stn-handle").first, 10, 0)
    assert not moves(figure)
    web.tab.mouse.wheel(0, 2000)
    web.tab.wait_for_timeout(200)
    web.tab.mouse.wheel(0, -2000)
    assert not moves(figure)
    expect(figure.get_by_role("button", name="Play")).to_be_visible()


def test_it_can_be_paused_and_goes_on(web: Visit) -> None:
    figure = front(web)
    figure.get_by_role("button", name="Pause").focus()
    assert moves(figure)
    web.tab.keyboard.press("Enter")
    assert not moves(figure)
    web.tab.keyboard.press("Enter")
    assert moves(figure)
    figure.get_by_role("button", name="Pause").click()
    assert not moves(figure)


def test_who_wants_less_motion_gets_none_unasked(web: Visit) -> None:
    web.tab.emulate_media(reduced_motion="reduce")
    figure = front(web)
    assert not moves(figure)
    figure.get_by_role("button", name="Play").click()
    assert moves(figure)


def test_out_of_sight_it_rests(web: Visit) -> None:
    figure = front(web)
    web.tab.evaluate("scrollTo(0, document.body.scrollHeight)")
    web.tab.wait_for_timeout(200)
    assert not moves(figure)
    web.tab.evaluate("scrollTo(0, 0)")
    web.tab.wait_for_timeout(200)
    assert moves(figure)


def test_with_and_without_the_transformer(still: Locator) -> None:
    assert_as_the_package_says(still)
    expect(still.locator(".stn-front-answer")).to_contain_text("✓ right")
    still.get_by_role("button", name="Without").click()
    assert_as_the_package_says(still, transformer=False)
    expect(still).to_contain_text("Its middle")
    expect(still.locator(".stn-front-answer")).to_contain_text("✗ it is a 3")
    expect(still.locator("[aria-live]")).to_contain_text("it is a 3")
    still.get_by_role("button", name="With transformer").click()
    assert_as_the_package_says(still)


def test_the_digit_is_dragged_turned_and_scaled(web: Visit, still: Locator) -> None:
    card = still.locator(".stn-stage").first.bounding_box()
    pixel = card["width"] / 54.6
    before = pose(still)
    area = still.locator(".stn-area").bounding_box()
    middle = [
        area["x"] + area["width"] / 2 + pixel * before["x"],
        area["y"] + area["height"] / 2 + pixel * before["y"],
    ]
    web.tab.mouse.move(*middle)
    web.tab.mouse.down()
    web.tab.mouse.move(middle[0] - 4 * pixel, middle[1] + 6 * pixel, steps=3)
    web.tab.mouse.up()
    after = pose(still)
    assert after["x"] - before["x"] == pytest.approx(-4, abs=0.6)
    assert after["y"] - before["y"] == pytest.approx(6, abs=0.6)
    drag(web.tab, shown(still, "turn and scale"), 0, -3 * pixel)
    assert pose(still)["angle"] < before["angle"]
    assert_as_the_package_says(still)


def test_keys_move_turn_and_scale(web: Visit, still: Locator) -> None:
    before = pose(still)
    shown(still, "turn and scale").focus()
    web.tab.keyboard.press("ArrowRight")
    web.tab.keyboard.press("ArrowUp")
    handle = shown(still, "move the digit")
    assert handle.evaluate("e => getComputedStyle(e).opacity") == "0"
    web.tab.keyboard.press("Tab")
    expect(handle).to_be_focused()
    assert handle.evaluate("e => getComputedStyle(e).opacity") == "1"
    web.tab.keyboard.press("ArrowLeft")
    web.tab.keyboard.press("Shift+ArrowDown")
    changed = {name: value - before[name] for name, value in pose(still).items()}
    wanted = {"angle": -5, "scale": 0.05, "x": -1, "y": 0.5}
    assert changed == pytest.approx(wanted, abs=0.5)
    assert_as_the_package_says(still)


@pytest.mark.parametrize("way", ["mouse", "keys"])
def test_what_is_drawn_is_read(web: Visit, still: Locator, way: str) -> None:
    still.get_by_role("button", name="Draw your own").press("Enter")
    pad = still.locator(".stn-pad canvas")
    expect(pad).to_be_focused()
    expect(still.locator(".stn-front-answer strong")).to_have_text("?")
    box = pad.bounding_box()
    if way == "mouse":
        web.tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 5)
        web.tab.mouse.down()
        web.tab.mouse.move(
            box["x"] + box["width"] / 2, box["y"] + 0.8 * box["height"], steps=4
        )
        web.tab.mouse.up()
    else:
        for key in ["ArrowUp"] * 8 + ["Space"] + ["ArrowDown"] * 16:
            web.tab.keyboard.press(key)
    expect(still.locator(".stn-front-answer strong")).to_have_text("1")
    expect(still.locator(".stn-front-answer")).not_to_contain_text("right")
    still.get_by_role("button", name="Turn what you drew").click()
    expect(pad).to_be_hidden()
    assert pose(still) == {"angle": 0, "scale": 1, "x": 0, "y": 0}
    for _ in range(4):
        shown(still, "turn and scale").press("ArrowLeft")
    expect(still.locator(".stn-front-answer strong")).to_have_text("1")
    still.get_by_role("button", name="take this 6").click()
    digit = torch.tensor(list(StraightenIt("x").ready)).byte()[784 * 3 :]
    assert_as_the_package_says(still, drawing=digit.numpy().tobytes())


@pytest.mark.parametrize("size", [LAPTOP, DESKTOP, PHONE])
def test_it_fits_the_first_screen(web: Visit, size: dict[str, int]) -> None:
    web.tab.set_viewport_size(size)
    figure = front(web)
    seen = [
        figure.page.locator("article h1"),
        figure.locator(".stn-stage").first,
        figure.locator(".stn-front-output"),
        figure.locator(".stn-scores"),
        *figure.locator(".stn-front-controls button").all(),
    ]
    if size != PHONE:
        seen.append(figure.page.locator(f"#{LABEL} figcaption"))
    for part in seen:
        assert part.evaluate(IN_VIEW), part


def one_pixel(card: Locator, view: float, pixels: int) -> float:
    """How large a card that shows -view to view draws a pixel of its image."""
    return card.bounding_box()["width"] / (view * pixels)


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_input_and_output_share_one_scale(web: Visit, size: dict[str, int]) -> None:
    web.tab.set_viewport_size(size)
    figure = front(web)
    ours = one_pixel(figure.locator(".stn-stage").first, 1.3, 42)
    theirs = one_pixel(figure.locator(".stn-front-output .stn-stage"), 1.05, 28)
    assert ours == pytest.approx(theirs, rel=0.01)


def doors(tab: Page) -> list[str]:
    """Where the three ways in lead."""
    links = tab.locator("#three-ways-in .sd-card a")
    return links.evaluate_all("all => all.map(a => a.getAttribute('href'))")


def test_three_ways_lead_in(web: Visit) -> None:
    front(web)
    assert doors(web.tab) == [
        "#figures-to-touch",
        "ten-minutes.html",
        "00-why-geometry.html",
    ]
    figures = web.tab.locator("#figures-to-touch li a").evaluate_all(
        "all => all.map(a => a.getAttribute('href').split('#')[1])"
    )
    assert len(figures) == len(set(figures)) == 12
