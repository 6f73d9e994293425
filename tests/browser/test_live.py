"""Chapter 11's figure: three programs on the bench, and the reader's camera.

Build the site first (`make book`). Chromium's camera is a made one here.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from engines import Engine
from playwright.sync_api import Locator, Page, Playwright, expect
from test_engines import engine, open_page, start, watched  # noqa: F401 fixtures
from test_touch import FIGURES, open_figure
from visit import FLAGS, Visit

LABEL = "fig-11-live"
MADE = "--use-fake-device-for-media-stream"
ALLOWED = "--use-fake-ui-for-media-stream"
SAID = re.compile(r"([\d.]+) ms an image; .*differs by (\d)e(.\d+)$")
# Keep what the page is given, to see what becomes of it.
WATCH = """() => {
  window.tracks = [];
  const { mediaDevices } = navigator;
  const give = mediaDevices.getUserMedia.bind(mediaDevices);
  mediaDevices.getUserMedia = async (wish) => {
    const stream = await give(wish);
    window.tracks.push(...stream.getTracks());
    return stream;
  };
}"""


def row(figure: Locator, name: str) -> Locator:
    """One way to run the network."""
    return figure.locator(".stn-bench").filter(has_text=name)


def run_on_bench(figure: Locator, name: str) -> str:
    """Click its button, and wait for what it says."""
    button = row(figure, name).locator("button")
    button.click()
    expect(button).to_be_enabled(timeout=60_000)
    return row(figure, name).locator("[role=status]").inner_text()


def runtime_of(visit: Visit) -> set[str]:
    """What of onnxruntime-web the page has asked for."""
    return {url.rsplit("/", 1)[1] for url in visit.requested if "onnxruntime" in url}


def test_the_page_loads_no_program_before_a_click(web: Visit) -> None:
    figure = open_figure(web, LABEL)
    said = run_on_bench(figure, "JavaScript")
    assert re.match(r"[\d.]+ ms an image; 70 kB", said)
    assert runtime_of(web) == set()
    assert web.faults == []


def test_wasm_gives_the_same_numbers(web: Visit) -> None:
    """Loaded from the site, within its policy, and to a few millionths."""
    figure = open_figure(web, LABEL)
    time, digit, power = SAID.match(run_on_bench(figure, "wasm")).groups()
    assert 0 < float(time) < 1000
    assert float(f"{digit}e{power.replace('−', '-')}") < 1e-4
    assert runtime_of(web) == {
        "ort.wasm.bundle.min.mjs",
        "ort-wasm-simd-threaded.wasm.gz",
    }
    assert web.faults == []


def test_without_a_graphics_card_nothing_is_loaded_for_one(web: Visit) -> None:
    figure = open_figure(web, LABEL)
    assert "no WebGPU" in run_on_bench(figure, "WebGPU")
    assert runtime_of(web) == set()


def test_a_site_without_the_program_says_so(web: Visit) -> None:
    web.tab.route("**/onnxruntime/**", lambda route: route.fulfill(status=404))
    figure = open_figure(web, LABEL)
    assert "built without onnxruntime-web" in run_on_bench(figure, "wasm")


def test_from_disk_javascript_runs_and_wasm_says_why_not(disk: Visit) -> None:
    figure = open_figure(disk, LABEL)
    assert "open it on the book's site" in run_on_bench(figure, "wasm")
    assert "ms an image" in run_on_bench(figure, "JavaScript")
    assert disk.faults == []


def test_only_its_page_may_run_webassembly(site: Path) -> None:
    own = FIGURES[LABEL]
    for path in site.rglob("*.html"):
        if "_static" not in path.parts:
            page = path.relative_to(site).as_posix()
            assert ("'wasm-unsafe-eval'" in path.read_text("utf-8")) == (page == own)


@pytest.mark.parametrize("name", ["JavaScript", "wasm"])
def test_in_other_browsers_too(
    engine: Engine,  # noqa: F811
    watched: str,  # noqa: F811
    name: str,
) -> None:
    open_page(engine, watched, FIGURES[LABEL])
    said = engine.run(
        """async ([label, name]) => {
          const rows = [...document.querySelectorAll(`#${label} .stn-bench`)];
          const row = rows.find((row) => row.textContent.includes(name));
          const button = row.querySelector("button");
          button.click();
          while (button.disabled) await new Promise((done) => setTimeout(done, 50));
          return row.querySelector("[role=status]").textContent;
        }""",
        [LABEL, name],
    )
    assert re.match(r"[\d.]+ ms an image", said)


# The camera


@pytest.fixture
def camera(
    request: pytest.FixtureRequest, playwright: Playwright, program: str, server: str
) -> Iterator[Page]:
    """The page in a Chromium with these flags."""
    browser = playwright.chromium.launch(
        executable_path=program, args=[*FLAGS, *request.param]
    )
    tab = browser.new_page()
    tab.goto(server + FIGURES[LABEL], wait_until="networkidle")
    yield tab
    browser.close()


def parts(tab: Page) -> tuple[Locator, Locator, Locator, Locator]:
    """The figure, its buttons for the camera, and what is said of that."""
    figure = tab.locator(f"#{LABEL} .stn-figure")
    begin = figure.get_by_role("button", name="Let the camera see")
    stop = figure.get_by_role("button", name="Stop the camera")
    return figure, begin, stop, figure.locator("p[role=status]")


def states(tab: Page) -> list[str]:
    return tab.evaluate("tracks.map((track) => track.readyState)")


@pytest.mark.parametrize("camera", [[MADE, ALLOWED]], indirect=True)
def test_the_camera_sees_until_it_is_stopped(camera: Page) -> None:
    figure, begin, stop, status = parts(camera)
    camera.evaluate(WATCH)
    picture = figure.locator("canvas").nth(2)  # behind the two on the buttons
    before = picture.evaluate("canvas => canvas.toDataURL()")
    begin.click()
    expect(status).to_have_text(
        re.compile(
            r"^\d+ pictures a second, each read in \d+ ms\. None is kept or sent"
        )
    )
    expect(stop).to_be_focused()
    assert picture.evaluate("canvas => canvas.toDataURL()") != before
    assert states(camera) == ["live"]
    stop.click()
    expect(status).to_have_text("Stopped.")
    expect(begin).to_be_focused()
    assert states(camera) == ["ended"]
    assert picture.evaluate("canvas => canvas.toDataURL()") == before


@pytest.mark.parametrize("camera", [[MADE, ALLOWED]], indirect=True)
@pytest.mark.parametrize("way", ["removed", "photograph", "hidden"])
def test_the_camera_ends_with_what_it_is_for(camera: Page, way: str) -> None:
    figure, begin, _, status = parts(camera)
    pressed = figure.locator("[aria-label^=photograph][aria-pressed=true]")
    expect(pressed).to_have_count(1)
    camera.evaluate(WATCH)
    begin.click()
    expect(status).to_contain_text("pictures a second")
    expect(pressed).to_have_count(0)
    if way == "removed":
        figure.evaluate("figure => figure.remove()")
    elif way == "photograph":
        photograph = figure.get_by_role("button", name="photograph of a 2")
        photograph.click()
        expect(photograph).to_have_attribute("aria-pressed", "true")
    else:
        camera.evaluate("""() => {
          Object.defineProperty(document, "hidden", { value: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }""")
    camera.wait_for_function(
        "() => tracks.every(({ readyState }) => readyState === 'ended')"
    )
    if way == "hidden":
        expect(status).to_have_text("Stopped: the page was hidden.")


@pytest.mark.parametrize("camera", [[MADE, ALLOWED]], indirect=True)
def test_a_camera_that_comes_too_late_is_let_go(camera: Page) -> None:
    _, begin, stop, status = parts(camera)
    camera.evaluate(WATCH)
    camera.evaluate("""() => {
      const give = navigator.mediaDevices.getUserMedia;
      navigator.mediaDevices.getUserMedia = async (wish) => {
        await new Promise((done) => setTimeout(done, 300));
        return give(wish);
      };
    }""")
    begin.click()
    expect(status).to_contain_text("Waiting")
    stop.click()
    camera.wait_for_function(
        "() => tracks.length === 1 && tracks[0].readyState === 'ended'"
    )
    expect(begin).to_be_visible()


@pytest.mark.parametrize(
    ("camera", "said"),
    [
        ([MADE, f"{ALLOWED}=deny"], "The camera was not allowed."),
        ([ALLOWED], "No camera was found."),
    ],
    indirect=["camera"],
)
def test_without_a_camera_the_photograph_stays(camera: Page, said: str) -> None:
    figure, begin, _, status = parts(camera)
    begin.click()
    expect(status).to_have_text(said)
    expect(begin).to_be_visible()
    expect(figure).to_contain_text("4. Answer: 3")


@pytest.mark.parametrize("camera", [[MADE]], indirect=True)
def test_where_browsers_give_no_camera_the_figure_says_so(camera: Page) -> None:
    camera.evaluate(
        "Object.defineProperty(navigator, 'mediaDevices', { value: undefined })"
    )
    _, begin, _, status = parts(camera)
    begin.click()
    expect(status).to_contain_text("https")
    expect(begin).to_be_visible()
