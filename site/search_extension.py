"""Sphinx extension: a search whose hits are sections, by Pagefind.

Once the pages are written, each section becomes a record of an index, and so does each
function of the package, each term of the glossary and each cited work. The search page
asks that index (chapters/assets/search.js). From disk, where no page may read a file,
Sphinx's own search stays.

What readers type and no page says stands in site/search_terms.yml.
"""

import asyncio
import re
import shutil
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import yaml
from bs4 import BeautifulSoup, Tag
from pagefind.index import PagefindIndex

TERMS = Path(__file__).with_name("search_terms.yml")
# Interfaces that Pagefind brings along: the search page has its own.
UNUSED = ("*-ui.*", "pagefind-highlight.js", "wasm.unknown.pagefind")

# The script takes over after Sphinx's search is there, and before that has its index.
BUILT_IN = re.compile(r'(?=<script[^>]* src="searchindex\.js)')
SCRIPT = """\
<link rel="stylesheet" href="_static/search.css" />
  <script defer src="_static/search.js"></script>
  """

# What becomes a record of its own, and is then no part of the section around it.
PARTS = """section[id], dl.py.class, dl.py.data, dl.py.function, dl.py.method,
  dl.glossary > dt[id], div.citation[id]"""
# No prose: code, cells but for the captions of their figures, displayed formulas.
CODE = re.compile(r"<(pre|script|svg)\b.*?</\1>", re.S)
NOISE = "style, button, div.math, .headerlink, .caption-number, details.hide > summary"
BLOCKS = "p, li, dt, dd, td, th, h1, h2, h3, h4, div, figcaption, section"

LETTERS = {"times": "×", "cdot": "·", "dots": "…", "geq": "≥", "leq": "≤", "pm": "±"}
LETTERS |= {"alpha": "α", "beta": "β", "theta": "θ", "sigma": "σ"}
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass
class Record:
    """A part of the book that a search can lead to.

    Attributes:
        url: Its address within the site.
        title: Its heading, or the name of the function or term.
        place: Where it stands: the page's name in the contents, or a module.
        text: Its prose, without that of the parts in it.
    """

    url: str
    title: str
    place: str
    text: str


def plain(formula: str) -> str:
    """Write a short formula without TeX; drop one that needs more than symbols."""
    text = re.sub(r"^\\\(|\\\)$", "", formula)
    text = re.sub(r"\\([a-z]+)", lambda m: LETTERS.get(m[1], m[0]), text)
    text = re.sub(r"\^\{?(-?\d+)\}?", lambda m: m[1].translate(RAISED), text)
    return "" if "\\" in text else re.sub("[{}_^]", "", text)


def words(part: Tag) -> str:
    """Read the text of a part, with its spaces in order."""
    return " ".join(part.get_text().split())


def clean(article: Tag) -> None:
    """Leave the prose of a page: words with a space between blocks, and no code."""
    for cell in article.select("div.cell"):
        captions = [caption.extract() for caption in cell.select("figcaption")]
        cell.clear()
        cell.extend(captions)
    for formula in article.select("span.math"):
        formula.string = plain(formula.get_text())
    for part in article.select(NOISE):
        part.decompose()
    for block in article.select(BLOCKS):
        block.append(" ")


def describe(part: Tag, page: str, url: str) -> Record:
    """Make a part a record, on a page of this name and address."""
    if part.name == "section":
        heading = part.find(re.compile("^h[1-6]$"), recursive=False)
        title = words(heading.extract()) if isinstance(heading, Tag) else ""
        if part.parent and part.parent.name == "article":
            return Record(
                url, page, "", words(part)
            )  # the page, as far as its first h2
        return Record(f"{url}#{part['id']}", title, page, words(part))
    if part.name == "dt":  # of the glossary
        definition = part.find_next_sibling("dd")  # several terms may share it
        assert isinstance(definition, Tag)
        text = words(definition)
        before = part.find_previous_sibling(["dt", "dd"])
        if before is None or before.name == "dd":  # the first of them comes last
            definition.extract()
        return Record(f"{url}#{part['id']}", words(part), page, text)
    if part.name == "dl":  # of a function or class, described by autodoc
        path = str(part.select("dt[id]")[0]["id"])
        names = path.split(".")
        own = 2 if "method" in part["class"] else 1
        text = " ".join(map(words, part.select(":scope > dd")))
        title, module = ".".join(names[-own:]), ".".join(names[:-own])
        return Record(f"{url}#{path}", title, module, text)
    text = " ".join(map(words, part.select("p")))  # a work, after its label
    return Record(f"{url}#{part['id']}", page, "", text)


def records(page: str, url: str) -> list[Record]:
    """Find the records of a page.

    Args:
        page: The page as it was written.
        url: Its address within the site.
    """
    soup = BeautifulSoup(CODE.sub("", page), "html.parser")
    article = soup.select_one("article.bd-article")
    if article is None:
        return []
    name = soup.select_one(".bd-links a.current") or article.select_one("h1")
    title = words(name).removesuffix("#") if name else ""
    clean(article)
    found = []
    # The inner parts come first, so they are gone from those around them.
    for part in reversed(article.select(PARTS)):
        found.append(describe(part, title, url))
        part.extract()
    return found[::-1]


# What stands after a dot, as in cv2.warpAffine: Pagefind would know the whole alone.
DOTTED = re.compile(r"(?<=[A-Za-z0-9_]\.)[A-Za-z_]\w+")


def as_page(record: Record, terms: str) -> str:
    """Write a record as Pagefind reads it: data about it, and its text.

    What the chapters say weighs more than the same word in the package's reference.
    """
    in_reference = record.place.startswith("stn_tutorial")
    data = {
        "name" if in_reference else "title": record.title,
        "place": record.place,
        "terms": terms,
        "dotted": " ".join(sorted(set(DOTTED.findall(record.text)))),
    }
    spans = "".join(
        f'<span data-pagefind-meta="{key}[title]" title="{escape(value)}"></span>'
        for key, value in data.items()
        if value
    )
    text = escape(record.text or record.title)
    weight = "0.3" if in_reference else "1"
    return (
        f'<html lang="en"><body>{spans}<p data-pagefind-weight="{weight}">{text}</p>'
        "</body></html>"
    )


async def write_index(found: list[Record], terms: dict[str, str], folder: Path) -> None:
    """Write the index of some records, with what else readers call them."""
    config: Any = {"output_path": str(folder), "include_characters": "_"}
    async with PagefindIndex(config=config) as index:
        for record in found:
            page = as_page(record, terms.get(record.url, ""))
            await index.add_html_file(content=page, url=record.url)


def index_site(app: Any, exception: Exception | None) -> None:
    """Index the pages, and let the search page ask the index."""
    if exception is not None or app.builder.name != "html":
        return
    folder = Path(app.outdir)
    found = []
    for name in sorted(app.env.found_docs):
        url = app.builder.get_target_uri(name)
        found += records((folder / url).read_text("utf-8"), url)
    listed = yaml.safe_load(TERMS.read_text("utf-8"))
    lost = listed.keys() - {record.url for record in found}
    if lost:
        raise ValueError(f"{TERMS.name} names what is not there: {sorted(lost)}")
    terms = {url: ", ".join(names) for url, names in listed.items()}
    index = folder / "pagefind"
    shutil.rmtree(index, ignore_errors=True)
    asyncio.run(write_index(found, terms, index))
    for unused in UNUSED:
        for file in index.glob(unused):
            file.unlink()
    page = folder / "search.html"
    text = page.read_text("utf-8")
    if SCRIPT not in text:  # this build wrote the page
        text, count = BUILT_IN.subn(SCRIPT, text, count=1)
        if not count:
            raise ValueError("expected a search page that loads Sphinx's index")
        page.write_text(text, "utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Connect the handler to Sphinx, before the pages get their last touch."""
    app.connect("build-finished", index_site, priority=800)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
