"""Sphinx extension: the book as a PDF, by LaTeX, and the site's link to it."""

import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.transforms.post_transforms.images import ImageConverter

ROOT = Path(__file__).resolve().parents[1]
PDF = "spatial-transformers.pdf"
# What a figure that moves on the site stores beside its still picture
LIVE = {"text/html", "application/vnd.jupyter.widget-view+json"}


# From the site's pages to a book. All of this changes only what LaTeX gets.


def latex(text: str) -> nodes.raw:
    """Make a node that LaTeX reads as it stands."""
    return nodes.raw("", text, format="latex")


def draw(source: str | Path, target: str | Path) -> None:
    """Turn an SVG drawing into a PDF, which LaTeX can include."""
    from cairosvg import svg2pdf  # here, since the site does without

    svg2pdf(url=str(source), write_to=str(target))


class DrawingConverter(ImageConverter):
    """Convert the drawings on the pages."""

    conversion_rules = [("image/svg+xml", "application/pdf")]

    def is_available(self) -> bool:
        """Say yes: the converter is among the book's requirements."""
        return True

    def convert(self, source: str, target: str) -> bool:
        """Convert one drawing."""
        draw(source, target)
        return True


class BookOrder(SphinxPostTransform):
    """Make a preface, chapters in parts with their own numbers, and appendices."""

    default_priority = 700
    formats = ("latex",)

    def run(self, **kwargs: Any) -> None:
        """Move the front page's text into the preface; mark where each part begins."""
        front_page = next(self.document.findall(nodes.section))
        preface = nodes.section("", nodes.title("", "Preface"))
        for child in front_page.children[1:]:
            if "toctree-wrapper" not in child.get("classes", []):
                front_page.remove(child)
                preface += child
        front_page.insert(1, preface)
        pages = {p["docname"]: p for p in self.document.findall(addnodes.start_of_file)}
        parts = self.config.external_site_map.root.subtrees
        for part in parts:
            for item in part.items:
                command = ""
                if item == part.items[0]:
                    command += rf"\bookpart{{{part.caption}}}"
                    command += r"\bookappendix" if part is parts[-1] else ""
                if number := re.match(r"chapters/(\d\d)-", str(item)):
                    command += rf"\booknumber{{{int(number[1])}}}"
                page = pages[str(item)]
                page.parent.insert(page.parent.index(page), latex(f"{command}\n"))


class LiveFigures(SphinxPostTransform):
    """Say where a figure can be touched or played."""

    default_priority = 3  # before MyST-NB drops what LaTeX cannot show
    formats = ("latex",)

    def run(self, **kwargs: Any) -> None:
        """Add a link to the caption of each such figure."""
        pages = {  # by the figures; those of the first page stand in none
            id(figure): page["docname"]
            for page in self.document.findall(addnodes.start_of_file)
            for figure in page.findall(nodes.figure)
        }
        for figure in self.document.findall(nodes.figure):
            kinds = {box.get("mime_type") for box in figure.findall(nodes.container)}
            if LIVE & kinds or "touchable" in figure:
                page = pages.get(id(figure), self.config.root_doc)
                url = f"{self.config.html_baseurl}{page}.html#{figure['ids'][0]}"
                link = nodes.reference("", "Try it on the website.", refuri=url)
                (caption,) = figure.findall(nodes.caption)
                caption += [nodes.Text(" "), link]


def components(root: nodes.Node, name: str) -> Iterator[Any]:
    """Find the containers that sphinx-design or MyST-NB has named so."""
    for box in list(root.findall(nodes.container)):
        if name in (box.get("design_component"), box.get("nb_element")):
            yield box


class PlainParts(SphinxPostTransform):
    """Lay out on paper what stands in cards or folds on the site."""

    default_priority = 300
    formats = ("latex",)

    def run(self, **kwargs: Any) -> None:
        """Replace cards and dropdowns, label hidden cells, empty empty table cells."""
        for grid in components(self.document, "grid-container"):
            cards = components(grid, "card")
            grid.replace_self([part for card in cards for part in entry(card)])
        for box in components(self.document, "dropdown"):
            title, *text = box.children
            term = nodes.term("", "", *title.children)
            item = nodes.definition_list_item("", term, nodes.definition("", *text))
            box.replace_self(nodes.definition_list("", item))
        for cell in components(self.document, "cell_code"):
            prompt = cell.get("prompt_show", "")
            if cell.get("hide_mode") and prompt.startswith("Show the "):
                label = prompt.removeprefix("Show the ").capitalize()
                cell.insert(0, latex(rf"\booklabel{{{label}}}"))
        for field in self.document.findall(nodes.entry):
            if not field.astext():
                field.clear()  # LaTeX would give its empty paragraph a line


def entry(card: nodes.Element) -> list[nodes.Node]:
    """Set a card as a line: its picture, and beside it the link and the text.

    Of a card without a picture, which is no link as a whole, title and text stay.
    """
    (title,) = components(card, "card-title")
    (body,) = components(card, "card-body")
    body.remove(title)
    if next(card.findall(nodes.image), None) is None:
        return [
            nodes.paragraph("", "", nodes.strong("", title.astext())),
            *body.children,
        ]
    link = next(card.findall(nodes.reference))
    link.children = [nodes.strong("", title.astext())]
    picture = next(card.findall(nodes.image))
    text = [nodes.paragraph("", "", link), *body.children]
    start, middle, end = r"\begin{bookcard}{", "}", r"\end{bookcard}"
    return [latex(start), picture, latex(middle), *text, latex(end)]


def fill_title_page(app: Any, config: Any) -> None:
    """Tell LaTeX what the title page says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    config.latex_elements["preamble"] = (
        rf"\newcommand{{\bookversion}}{{{project['version']}}}"
        rf"\newcommand{{\bookaddress}}{{{config.html_baseurl}}}"
        r"\usepackage{pdf}"
    )


def draw_logo(app: Any) -> None:
    """Draw the logo for the title page."""
    if app.builder.name == "latex":
        draw(app.srcdir / app.config.html_logo, app.outdir / "logo.pdf")


# From the PDF to the site


def find_pdf(app: Any, config: Any) -> None:
    """Note whether `make pdf` has made the PDF: only then does the site offer it."""
    config.offer_pdf = (app.outdir.parent / "latex" / PDF).exists()


def offer_pdf(app: Any, page: str, template: str, context: dict, doctree: Any) -> None:
    """Let the button "download" offer the PDF as well."""
    for group in context.get("header_buttons", []):
        if app.config.offer_pdf and group["label"] == "download-buttons":
            group["buttons"].append(
                {
                    "type": "link",
                    "url": context["pathto"](PDF, resource=True),
                    "text": "The whole book (.pdf)",
                    "tooltip": "Download the whole book as a PDF",
                    "icon": "fas fa-book",
                    "label": "download-book-button",
                }
            )


def copy_pdf(app: Any, exception: Exception | None) -> None:
    """Put the PDF on the site."""
    if exception is None and app.builder.format == "html" and app.config.offer_pdf:
        shutil.copy(app.outdir.parent / "latex" / PDF, app.outdir)


def setup(app: Any) -> dict[str, bool]:
    """Connect the transforms and the handlers to Sphinx."""
    app.add_config_value("offer_pdf", False, "html")  # a change writes all pages anew
    for transform in (DrawingConverter, BookOrder, LiveFigures, PlainParts):
        app.add_post_transform(transform)
    app.connect("config-inited", fill_title_page, priority=900)  # after the address
    app.connect("config-inited", find_pdf)
    app.connect("builder-inited", draw_logo)
    app.connect("html-page-context", offer_pdf, priority=900)  # after the theme
    app.connect("build-finished", copy_pdf)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
