"""Sphinx extension: a touchable figure on a page that is no notebook.

    ```{touchable} StraightenIt
    :name: fig-index-straighten
    :alt: What the still picture shows.

    The caption.
    ```

It is a figure like any other, of the picture that the widget draws in Python. On the
site the page also saves the widget as a notebook's page does, so the same script brings
it to life (chapters/assets/figures.js). On paper the picture stays.
"""

import base64
import json
import os
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from docutils import nodes
from ipywidgets import DOMWidget
from sphinx.directives.patches import Figure
from sphinx.util.docutils import SphinxDirective

from stn_tutorial import figures, widgets
from stn_tutorial.widgets._figure import HERE, TouchableFigure

USED = ("_esm", "_css")  # of the traits that every widget has
SCRIPT = '<script type="application/vnd.jupyter.widget-state+json">{}</script>'


def make(name: str, label: str) -> TouchableFigure:
    """Make the widget of this class, with its label."""
    return getattr(widgets, name)(label)


def saved(widget: TouchableFigure) -> dict[str, Any]:
    """Save a widget as a notebook does: its traits, and binary ones as text beside."""
    state, buffers = {}, []
    for trait, value in widget.get_state().items():
        if trait not in USED and (trait in DOMWidget.class_traits() or trait[0] == "_"):
            continue  # what only Jupyter asks for
        if isinstance(value, bytes):
            data = base64.b64encode(value).decode()
            buffers.append({"encoding": "base64", "path": [trait], "data": data})
        else:
            state[trait] = value
    return {"state": state, "buffers": buffers}


class Touchable(Figure, SphinxDirective):
    """The directive: a figure whose picture a widget draws."""

    def run(self) -> list[nodes.Node]:
        """Draw the picture, then make a figure of it that remembers its widget."""
        (name,), label = self.arguments, self.options["name"]
        picture = Path(self.env.doctreedir, "touchable", f"{label}.png")
        picture.parent.mkdir(parents=True, exist_ok=True)
        figures.use_style()
        drawn = make(name, label).still()
        drawn.savefig(picture)
        plt.close(drawn)
        page = Path(self.env.doc2path(self.env.docname))
        self.arguments = [os.path.relpath(picture, page.parent)]
        for source in (*HERE.glob("*.py"), *HERE.glob("built/*")):
            self.env.note_dependency(str(source))
        made = super().run()
        for figure in made:
            if isinstance(figure, nodes.figure):
                figure["touchable"] = name
        return made


def save_widgets(app: Any, doctree: nodes.document, page: str) -> None:
    """Write the widgets of a page at its end, where they hold up no text."""
    if app.builder.format != "html":
        return
    models = {
        figure["names"][0]: saved(make(figure["touchable"], figure["names"][0]))
        for figure in doctree.findall(nodes.figure)
        if "touchable" in figure
    }
    if models:
        state = json.dumps({"state": models}, sort_keys=True).replace("</", r"<\/")
        doctree += nodes.raw("", SCRIPT.format(state), format="html")


def setup(app: Any) -> dict[str, bool]:
    """Add the directive, and the handler that saves its widgets."""
    app.add_directive("touchable", Touchable)
    app.connect("doctree-resolved", save_widgets)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
