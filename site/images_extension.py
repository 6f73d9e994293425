"""Sphinx extension: each picture of the site says how large it is.

A browser then keeps its place free, and no text moves when the picture comes.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from PIL import Image

IMAGE = re.compile(r"<img\b[^>]*>")
SOURCE = re.compile(r' src="(?!data:)([^"]*)"')
SIZED = re.compile(r" (?:width|height)=")


def size(path: Path) -> tuple[int, int]:
    """The width and height of a picture, in CSS pixels."""
    if path.suffix == ".svg":
        root = ElementTree.parse(path).getroot()
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        return round(width), round(height)
    with Image.open(path) as picture:
        return picture.size


def give_sizes(page: str, folder: Path) -> str:
    """Write width and height into each picture of a page that does not have them.

    Args:
        page: The page's HTML.
        folder: Where the page lies; pictures that come from elsewhere stay as they are.
    """

    def sized(found: re.Match[str]) -> str:
        source = SOURCE.search(found[0])
        path = folder / unquote(source[1]) if source else folder
        if SIZED.search(found[0]) or not path.is_file():
            return found[0]
        width, height = size(path)
        return f'<img width="{width}" height="{height}"{found[0][4:]}'

    return IMAGE.sub(sized, page)


def finish(app: Any, exception: Exception | None) -> None:
    """Finish the pages that this build wrote."""
    if exception is not None or app.builder.format != "html":
        return
    static = Path(app.outdir, "_static")
    for path in Path(app.outdir).rglob("*.html"):
        if static in path.parents:
            continue
        page = path.read_text("utf-8")
        if (finished := give_sizes(page, path.parent)) != page:
            path.write_text(finished, "utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Connect the handler to the end of the build."""
    app.connect("build-finished", finish, priority=850)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
