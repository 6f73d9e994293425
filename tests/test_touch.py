"""The touchable figures on the built site: dragged, keyed, and read, without a kernel.

Build the site first (`make book`).
"""

import json

import nbformat
import pytest
import torch
from conftest import PHONE, Visit
from notebooks import WIDGETS, chapters
from playwright.sync_api import Locator, Page, expect

from stn_tutorial.interpolation import warp
from stn_tutorial.widgets import AffinePlayground


def saved(path) -> list[str]:
    """The labels of the figures that a chapter has saved."""
    state = nbformat.read(path, as_version=4).metadata.get("widgets", {}).get(WIDGETS)
    models = (state or {"state": {}})["state"].values()
    return [m["state"]["label"] for m in models if m["state"].get("label")]


# Which page shows which figure.
FIGURES = {
    label: f"chapters/{path.stem}.html" for path in chapters() for label in saved(path)
}
BY_KEYBOARD = "button, input, select, [tabindex='0']"


def open_figure(visit: Visit, label: str) -> Locator:
    """The figure on its page, alive."""
    tab = visit.open(FIGURES[label])
    figure = tab.locator(f"#{label} .stn-figure")
    expect(figure).to_be_visible()
    figure.scroll_into_view_if_needed()
    return figure


def drag(tab: Page, handle: Locator, right: float, down: float) -> None:
    """Drag by so many pixels of the screen, with the mouse."""
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + right / 2, y + down / 2)
    tab.mouse.move(x + right, y + down)
    tab.mouse.up()


def pixels(canvas: Locator, points: list[tuple[float, float]]) -> list[list[int]]:
    """Red, green and blue of a canvas at points given as shares of width and height."""
    return canvas.evaluate(
        """(canvas, points) => points.map(([x, y]) => Array.from(
             canvas.getContext("2d").getImageData(
               x * canvas.width, y * canvas.height, 1, 1).data.slice(0, 3)))""",
        points,
    )


@pytest.mark.parametrize("label", FIGURES)
class TestEachFigure:
    def test_it_lives_on_a_server_and_from_disk(self, web, disk, label):
        for visit in (web, disk):
            figure = open_figure(visit, label)
            assert visit.faults == []
            caption = visit.tab.locator(f"#{label} figcaption")
            assert len(caption.inner_text()) > 20
            assert visit.tab.locator(f"#{label} img").count() == 0
            assert figure.locator("canvas").count() > 0

    def test_without_scripts_the_still_picture_stands(self, browser, server, label):
        context = browser.browser or browser
        page = context.new_context(java_script_enabled=False).new_page()
        page.goto(server + FIGURES[label])
        image = page.locator(f"#{label} img")
        expect(image).to_be_visible()
        assert len(image.get_attribute("alt")) > 40
        page.context.close()

    def test_every_control_can_be_reached_by_tab_and_is_seen(self, web, label):
        figure = open_figure(web, label)
        controls = [c for c in figure.locator(BY_KEYBOARD).all() if c.is_visible()]
        assert len(controls) > 1
        controls[0].focus()
        for control in controls:
            assert control.evaluate("e => e === document.activeElement")
            outline = control.evaluate("e => getComputedStyle(e).outlineStyle")
            web.tab.keyboard.press("Tab")
            assert outline != "none" or control.evaluate("e => e.matches('.stn-quiet')")
        named = (
            """e => (e.ariaLabel ?? e.labels?.[0]?.innerText ?? e.innerText).trim()"""
        )
        assert all(control.evaluate(named) for control in controls)

    def test_it_fits_a_phone(self, web, label):
        web.tab.set_viewport_size(PHONE)
        figure = open_figure(web, label)
        sticks_out = """f => [...f.querySelectorAll("*")].filter(e => {
          const { right, width } = e.getBoundingClientRect();
          return width && right > f.parentElement.getBoundingClientRect().right + 1;
        }).map(e => e.outerHTML.slice(0, 100))"""
        assert figure.evaluate(sticks_out) == []
        for button in figure.locator("button").all():
            if button.is_visible():
                box = button.bounding_box()
                assert min(box["width"], box["height"]) >= 24  # WCAG 2.2, target size

    def test_it_is_readable_in_the_dark(self, web, label):
        web.tab.emulate_media(color_scheme="dark")
        figure = open_figure(web, label)
        text, page = figure.evaluate(
            """f => [getComputedStyle(f).color,
                     getComputedStyle(document.body).backgroundColor]"""
        )
        light, dark = (
            sum(int(v) for v in c[c.index("(") + 1 : -1].split(",")[:3])
            for c in (text, page)
        )
        assert light - dark > 400


# Affine playground


def read_theta(figure: Locator) -> list[float]:
    numbers = figure.locator(".stn-matrix input[type=number]").all()
    return [float(number.input_value()) for number in numbers]


@pytest.fixture
def playground(web):
    figure = open_figure(web, "fig-01-playground")
    figure.get_by_role("button", name="identity").click()
    return figure


def shown(figure: Locator, name: str) -> Locator:
    """A handle that is visible, by the start of its name."""
    return figure.locator(f".stn-handle[aria-label^='{name}']")


def test_dragging_the_centre_shifts_the_grid(web, playground):
    stage = playground.locator(".stn-panels .stn-stage").first.bounding_box()
    unit = stage["width"] / 3.2  # the stage shows -1.6 to 1.6
    drag(web.tab, shown(playground, "centre of the grid"), 0.5 * unit, -0.25 * unit)
    wanted = [1, 0, 0.5, 0, 1, -0.25]
    assert read_theta(playground) == pytest.approx(wanted, abs=0.02)


def test_keys_move_a_handle(web, playground):
    shown(playground, "centre of the grid").focus()
    web.tab.keyboard.press("ArrowRight")
    web.tab.keyboard.press("ArrowRight")
    web.tab.keyboard.press("Shift+ArrowUp")
    assert read_theta(playground) == pytest.approx([1, 0, 0.1, 0, 1, -0.005])
    handle = shown(playground, "centre of the grid: x 0.10, y")
    expect(handle).to_be_visible()
    expect(playground.locator("[aria-live]")).to_contain_text("theta 1.00")


def test_moving_the_content_is_the_inverse(web, playground):
    playground.get_by_role("button", name="Move the content").click()
    expect(shown(playground, "centre of the grid")).to_be_hidden()
    shown(playground, "end of the x axis of the content").focus()
    for _ in range(10):
        web.tab.keyboard.press("ArrowRight")  # 1.5 times as wide
    assert read_theta(playground)[0] == pytest.approx(1 / 1.5, abs=0.001)


@pytest.mark.parametrize("picture", ["digit", "cat", "wide cat"])
def test_the_output_is_the_packages(web, playground, picture):
    theta = [0.7, -0.3, 0.1, 0.2, 0.8, -0.2]
    playground.get_by_role("button", name=picture, exact=True).click()
    for number, value in zip(
        playground.locator(".stn-matrix input[type=number]").all(), theta, strict=True
    ):
        number.fill(str(value))
        number.press("Enter")
    twin = AffinePlayground("x", theta=theta, picture=picture)
    wanted = warp(twin.image()[None], torch.tensor(theta).view(1, 2, 3))[0]
    _, height, width = wanted.shape
    places = [(i * 7 % height, i * 5 % width) for i in range(1, 40)]
    shares = [  # the stage shows -1.6 to 1.6
        (0.5 + ((2 * j + 1) / width - 1) / 3.2, 0.5 + ((2 * i + 1) / height - 1) / 3.2)
        for i, j in places
    ]
    output = playground.locator(".stn-panels .stn-stage canvas").nth(1)
    for (i, j), read in zip(places, pixels(output, shares), strict=True):
        if 0 < i < height - 1 and 0 < j < width - 1:  # the frame lies on the others
            grey = 255 * wanted[:, i, j].expand(3)
            assert read == pytest.approx(grey.tolist(), abs=1.5)


def test_a_drawing_is_read_through_the_grid(web, playground):
    playground.get_by_role("button", name="drawing").click()
    pad = playground.locator(".stn-pad canvas")
    pad.focus()
    web.tab.keyboard.press(" ")
    for _ in range(6):
        web.tab.keyboard.press("ArrowRight")
    canvas = playground.locator(".stn-panels .stn-stage canvas").nth(1)
    middle, corner = pixels(canvas, [(0.51, 0.51), (0.3, 0.3)])
    assert middle[0] > 200
    assert corner[0] < 10


def test_the_saved_state_is_what_the_chapter_made(web):
    """No trait is lost between the notebook and the page."""
    page = web.open(FIGURES["fig-01-playground"])
    text = page.locator(
        "script[type='application/vnd.jupyter.widget-state+json']"
    ).text_content()
    state = json.loads(text)["state"]["fig-01-playground"]
    assert state["state"]["picture"] == "digit"
    assert {b["path"][0] for b in state["buffers"]} == {"pixels", "drawing"}
