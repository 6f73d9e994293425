"""Animations hold their frames in order, stand still at first, and name themselves."""

import base64
import io
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from stn_tutorial.animation import Animation, frame
from stn_tutorial.figures import use_style

mpl.use("agg")

COLOURS = ["#0072B2", "#D55E00", "#009E73"]
FRAMES = [Image.new("RGB", (6, 4), colour) for colour in COLOURS]
for i, picture in enumerate(FRAMES):
    picture.putpixel((i, 1), (255, 255, 255))


def pictures_in(png, width):
    """The pictures, of one width, that stand side by side in a PNG in base64."""
    strip = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    return [
        np.asarray(strip.crop((x, 0, x + width, strip.height)))
        for x in range(0, strip.width, width)
    ]


def test_animation_holds_its_frames_in_order():
    bundle = Animation(FRAMES, "three colours")._repr_mimebundle_()
    page = bundle["text/html"]
    (sprite,) = re.findall(r'data-sprite="data:image/png;base64,([\w+/=]+)"', page)
    first, last = re.findall(r'<img src="data:image/png;base64,([\w+/=]+)"', page)
    shown = pictures_in(sprite, 6)
    assert len(shown) == 3
    for frame_shown, original in zip(shown, FRAMES, strict=True):
        assert np.array_equal(frame_shown, np.asarray(original))
    assert np.array_equal(pictures_in(first, 6), shown[:1])
    assert np.array_equal(pictures_in(last, 6), shown[-1:])
    # of one frame, which the script keeps to
    assert page.count('width="6" height="4"') == 2
    assert 'data-count="3"' in page
    assert 'max="2"' in page


def test_still_shows_first_and_last_frame():
    bundle = Animation(FRAMES, "three colours")._repr_mimebundle_()
    first, last = pictures_in(bundle["image/png"], 6)
    assert np.array_equal(first, np.asarray(FRAMES[0]))
    assert np.array_equal(last, np.asarray(FRAMES[2]))


def test_animation_is_described_and_asks_no_other_server():
    bundle = Animation(FRAMES, 'a "wide" grid & <b>')._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "image/png"}
    assert bundle["text/plain"] == 'Animation of 3 frames: a "wide" grid & <b>'
    page = bundle["text/html"]
    assert 'alt="a &quot;wide&quot; grid &amp; &lt;b&gt;"' in page
    assert "//" not in re.sub(r"base64,[\w+/=]+", "", page)
    assert re.findall(r' src="([^,]+),', page) == 2 * ["data:image/png;base64"]


def test_animations_on_one_page_have_their_own_ids():
    both = Animation(FRAMES, "x"), Animation(FRAMES[::-1], "x")
    pages = [animation._repr_mimebundle_()["text/html"] for animation in both]
    ids = [re.search(r'id="([\w-]+)"', page)[1] for page in pages]
    assert ids[0] != ids[1]
    assert all(f'getElementById("{i}")' in p for i, p in zip(ids, pages, strict=True))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "at least two frames of one size, but got 0"),
        (FRAMES[:1], r"but got 1 of size\(s\) \[\(6, 4\)\]"),
        ([FRAMES[0], Image.new("RGB", (4, 6))], r"got 2 .*\[\(4, 6\), \(6, 4\)\]"),
    ],
)
def test_bad_frames_are_named(frames, message):
    with pytest.raises(ValueError, match=message):
        Animation(frames, "x")


@pytest.mark.parametrize("title", ["short", "a title far wider than the figure" * 3])
def test_frame_has_the_size_of_its_figure(title):
    """In the book's style too, which would cut a saved figure to what it shows."""
    with mpl.rc_context():
        use_style()
        figure, ax = plt.subplots(figsize=(2, 1))
        ax.plot([0, 1])
        ax.set_title(title)
        dpi = plt.rcParams["savefig.dpi"]
        assert frame(figure).size == (2 * dpi, dpi)
    assert not plt.get_fignums()
