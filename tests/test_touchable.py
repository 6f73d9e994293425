"""A touchable figure on a page that is no notebook: picture, saved widget, paper."""

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from notebooks import ROOT
from PIL import Image

from stn_tutorial.widgets import StraightenIt

PAGE = """\
# A page

```{touchable} StraightenIt
:name: fig-index-x
:alt: A tilted digit.

It can be *turned*.
```

The text, with {numref}`fig-index-x`.
"""
SAVED = re.compile(
    r'<script type="application/vnd.jupyter.widget-state\+json">(.*?)</script>', re.S
)


def build(folder: Path, builder: str) -> Path:
    """Build a book of one page, with the book's own extensions."""
    (folder / "index.md").write_text(PAGE, "utf-8")
    settings = {"extensions": "myst_parser,touchable_extension", "numfig": "1"}
    out = folder / "built" / builder
    command = [sys.executable, "-m", "sphinx", "-C", "-W", "-b", builder]
    command += [f"-D{name}={value}" for name, value in settings.items()]
    done = subprocess.run(
        [*command, folder, out],
        env=os.environ | {"PYTHONPATH": str(ROOT / "site")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return out


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the page as a website."""
    return build(tmp_path_factory.mktemp("page"), "html")


def test_the_picture_stands_there_with_caption_and_number(site: Path) -> None:
    page = (site / "index.html").read_text("utf-8")
    figure = re.search(r'<figure[^>]* id="fig-index-x">.*?</figure>', page, re.S)[0]
    source, alt = (re.search(f'{name}="(.*?)"', figure)[1] for name in ("src", "alt"))
    assert alt == "A tilted digit."
    with Image.open(site / source) as picture:
        assert picture.width > 400
    assert "It can be <em>turned</em>." in figure
    assert "Fig. 1" in page.split("The text, with")[1]


def test_the_page_ends_with_all_that_the_widget_is_made_of(site: Path) -> None:
    page = (site / "index.html").read_text("utf-8")
    assert page.index("The text") < page.index("widget-state")
    (text,) = SAVED.findall(page)
    model = json.loads(text)["state"]["fig-index-x"]
    twin = StraightenIt("fig-index-x")
    own = {"label", "angle", "scale", "x", "y", "labels", "transformer", "tumbling"}
    assert {*model["state"]} == {*own, "_esm", "_css"}
    for name, value in model["state"].items():
        assert value == twin.get_state()[name]
    buffers = {b["path"][0]: base64.b64decode(b["data"]) for b in model["buffers"]}
    assert buffers == {
        name: getattr(twin, name) for name in ("drawing", "ready", "weights")
    }


def test_it_comes_out_the_same_elsewhere(site: Path, tmp_path: Path) -> None:
    other = build(tmp_path, "html")
    for name in ("index.html", "_images/fig-index-x.png"):
        assert (other / name).read_bytes() == (site / name).read_bytes()


def test_on_paper_the_picture_is_all(tmp_path: Path) -> None:
    (tex,) = build(tmp_path, "latex").glob("*.tex")
    text = tex.read_text("utf-8")
    assert "includegraphics{{fig-index-x}.png}" in text
    assert "widget-state" not in text
