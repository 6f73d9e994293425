"""What all touchable figures share on the Python side."""

import io
from pathlib import Path
from typing import Any

import anywidget
import matplotlib.pyplot as plt
import traitlets
from matplotlib.figure import Figure

HERE = Path(__file__).parent
BUILT = HERE / "built"


def javascript(name: str) -> Path:
    """A figure's module, which `npm run build` bundles from the files in ``source``.

    anywidget reads it when the figure is imported. In `make lab` it also watches it, so
    that what is built anew shows at once.
    """
    return BUILT / f"{name}.js"


def to_bytes(value: memoryview, _: object) -> bytes:
    """How a binary trait comes from the browser (traitlets' ``from_json``)."""
    return bytes(value)


class TouchableFigure(anywidget.AnyWidget):
    """A figure that readers can touch, in JupyterLab and on the static page.

    In a notebook it is a widget: what the reader changes arrives in the traits, and
    what Python sets shows in the figure. Its output also holds a still picture. The
    site shows that picture until its own script finds the saved widget and puts it in
    the picture's place.

    Args:
        label: the figure's name in the book, such as "fig-01-playground".
    """

    _css = BUILT / "widgets.css"
    label = traitlets.Unicode().tag(sync=True)

    def __init__(self, label: str = "", **traits: object) -> None:
        super().__init__(label=label, **traits)

    def still(self) -> Figure:
        """Draw the figure as it stands, for paper and for pages without scripts."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.label!r})"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:  # a widget that is not for show
            return None
        data, metadata = bundle
        figure, file = self.still(), io.BytesIO()
        figure.savefig(file, format="png")
        plt.close(figure)
        return {**data, "image/png": file.getvalue()}, metadata
