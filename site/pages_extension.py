"""Sphinx extension: what is done to the site once its pages are written.

The theme's icons shrink to those that the pages show, scripts wait until the text is
there, downloads are saved, and each page gets a content security policy. All need the
whole page: the theme writes parts of it that no earlier event sees.
"""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pydata_sphinx_theme
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

FONTS = Path("vendor/fontawesome/webfonts")
THEME = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static"

# The script draws each icon a second time, as SVG, and brings 1.5 MB of them.
ICON_SCRIPT = re.compile(r'\s*<script[^>]*src="[^"]*/fontawesome\.js[^>]*></script>')
# The figure that loads a program when it is asked to, as its page saves it.
LIVE = "stn_tutorial.widgets.live_bench.LiveBench"
ICON_NAME = re.compile(r"fa-[a-z0-9-]+")
# In the theme's styles: selectors, and the character that they show.
ICON_RULE = re.compile(r'([^{};]*)[{;][\w-]+:"(\\[0-9a-f]+|[^"\\])"')


def icons(pages: list[str], styles: list[str]) -> set[int]:
    """Find the icons that the site shows, as code points.

    A style that names an icon's class counts where a page has that class. One that
    shows an icon elsewhere, such as beside a note's title, counts always.
    """
    used = {name for page in pages for name in ICON_NAME.findall(page)}
    found = set()
    for style in styles:
        for selectors, character in ICON_RULE.findall(style):
            names = set(ICON_NAME.findall(selectors))
            if not names or names & used:
                code = character.removeprefix("\\")
                found.add(int(code, 16) if len(code) > 1 else ord(code))
    return found


def cut_font(source: Path, target: Path, characters: set[int]) -> None:
    """Write a font that holds these characters only, as WOFF2."""
    with TTFont(source, recalcTimestamp=False) as font:
        subsetter = Subsetter(Options())
        subsetter.populate(unicodes=characters)
        subsetter.subset(font)
        font.flavor = "woff2"
        font.save(target)


class Scripts(HTMLParser):
    """Collect a page's inline scripts, and note what widgets it saves."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.saves_widgets = False
        self.may_compute = False
        self.inside = self.among_widgets = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See whether a script begins, or data in a script's guise."""
        values = dict(attrs)
        if tag == "script" and "src" not in values:
            kind = values.get("type") or "text/javascript"
            self.among_widgets = kind.endswith("widget-state+json")
            self.saves_widgets |= self.among_widgets
            self.inside = kind in ("text/javascript", "module")
            self.texts += [""] * self.inside

    def handle_data(self, data: str) -> None:
        """Take a script's text."""
        if self.inside:
            self.texts[-1] += data
        elif self.among_widgets:
            self.may_compute |= LIVE in data

    def handle_endtag(self, tag: str) -> None:
        """Leave a script."""
        self.inside = self.among_widgets = False


def hashed(script: str) -> str:
    """A script's SHA-256, as a policy writes it."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def policy(page: str) -> str:
    """The content security policy of a page: its own site, and nothing from elsewhere.

    Weaker than that is only what the page needs:

    - inline scripts, each by its hash: the theme, MathJax's settings, animations;
    - scripts from a `blob:`, where figures can be touched: each brings its code along;
    - WebAssembly, on the page alone whose figure runs onnxruntime-web at the reader's
      wish; it comes from the site, as all else (site/runtime_extension.py);
    - inline styles: MathJax and the figures write them, and so do notebooks' outputs;
    - pictures from `data:`: animations, and the theme's arrows and check marks.
    """
    scripts = Scripts(page)
    allowed = ["'self'", "blob:"] if scripts.saves_widgets else ["'self'"]
    allowed += ["'wasm-unsafe-eval'"] if scripts.may_compute else []
    rules = [
        "default-src 'none'",
        " ".join(["script-src", *allowed, *sorted(set(map(hashed, scripts.texts)))]),
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
    ]
    return "; ".join(rules)


# The front page is named like the book.
TWICE = re.compile(r"<title>(.+) &#8212; \1</title>")
# A name that hides what the eye reads there: who speaks to the browser says that.
MISNAMED = re.compile(
    r'(<summary|<button class="btn search-button-field[^>]*) aria-label="[^"]*"'
)
CHARSET = re.compile(r'<meta charset="utf-8"[^>]*>')
# The policy forbids scripts in attributes: book.js listens to these buttons instead.
HANDLER = re.compile(r' onclick="(window\.print|toggleFullScreen)\(\)"')
# Firefox asks for the next page before anybody wants it, which the policy forbids.
AHEAD = re.compile(r'\s*<link rel="next"[^>]*>')
# Unless the link says so, a browser shows a notebook that a server calls JSON as text.
DOWNLOAD = re.compile(r'<a(?=[^>]* class="[^"]*btn-download-source-button)')
# A script that is fetched holds up the text behind it, unless it may wait. Inline
# scripts set documentation options, so these come first.
HASTY = re.compile(r"<script(?=[^>]* src=)(?![^>]*( defer|documentation_options))")


def finish_page(page: str) -> str:
    """Drop what the page does without, and set the policy before all it governs."""
    for needless in (ICON_SCRIPT, HANDLER, AHEAD):
        page = needless.sub("", page)
    page = MISNAMED.sub(r"\1", page)
    page = TWICE.sub(r"<title>\1</title>", page)
    page = DOWNLOAD.sub("<a download", page)
    page = HASTY.sub("<script defer", page)
    rule = f'<meta http-equiv="Content-Security-Policy" content="{policy(page)}">'
    page, count = CHARSET.subn(lambda found: f"{found[0]}\n{rule}", page, count=1)
    if not count:
        raise ValueError("expected a page that names its character set")
    return page


def finish(app: Any, exception: Exception | None) -> None:
    """Finish each page that this build wrote, and cut the icons' fonts."""
    if exception is not None or app.builder.format != "html":
        return
    static = Path(app.outdir, "_static")
    pages = {
        path: path.read_text("utf-8")
        for path in Path(app.outdir).rglob("*.html")
        if static not in path.parents
    }
    for path, page in pages.items():
        if 'http-equiv="Content-Security-Policy"' not in page:
            path.write_text(finish_page(page), "utf-8")
    styles = [path.read_text("utf-8") for path in static.rglob("*.css")]
    characters = icons(list(pages.values()), styles)
    for script in (static / "scripts").glob("fontawesome.js*"):
        script.unlink()
    for font in (THEME / FONTS).glob("*.ttf"):
        cut_font(font, (static / FONTS / font.name).with_suffix(".woff2"), characters)


def setup(app: Any) -> dict[str, bool]:
    """Connect the last handler of the build to Sphinx."""
    app.connect("build-finished", finish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
