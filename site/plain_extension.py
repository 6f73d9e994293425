"""Sphinx extension: each chapter as a plain notebook, for readers who lack MyST.

GitHub, Colab and nbconvert show directives and roles as they are written. So the site
holds each chapter once more, in Markdown that all of them read, with the book's numbers
and captions. Code and outputs are the chapter's own. A chapter's buttons lead there:
one to the site's copy, to download, and those for Binder and Colab, which open what a
repository holds, to a branch that the workflow makes of the folder.
"""

import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import nbformat
from docutils import nodes
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from pdf_extension import LIVE
from plain_markdown import Markdown, parts
from sphinx.transforms.post_transforms import SphinxPostTransform

BINDER = Path(__file__).resolve().parents[1] / "binder"
FOLDER = BRANCH = "notebooks"
RELEASED = "%pip install -q stn-tutorial\n"
README = """\
# Plain notebooks

The chapters of [{title}]({home}), made for
readers of plain Markdown when the site was built, and what Binder installs for them.
Please propose changes to [their sources]({repository}).
"""


def package(config: Any) -> str:
    """Say where pip finds the package in the state that this site was built from."""
    options = config.html_theme_options
    state = os.environ.get("GITHUB_SHA", options["repository_branch"])
    return f"git+{options['repository_url']}@{state}"


def numbers(environment: Any, page: str) -> dict[str, str]:
    """List the book's numbers of a page's figures and equations, by their ids."""
    return {
        name: ".".join(map(str, number))
        for kind in environment.toc_fignumbers.get(page, {}).values()
        for name, number in kind.items()
    }


def add_text(cells: list[NotebookNode], text: str) -> None:
    """Add text to the last cell, or begin a cell with it."""
    if text and cells and cells[-1].cell_type == "markdown":
        cells[-1].source += f"\n\n{text}"
    elif text:
        cells.append(new_markdown_cell(text, id=f"text-{len(cells)}"))


class PlainNotebook(SphinxPostTransform):
    """Writes a chapter's plain notebook, from what the site shows of it."""

    default_priority = 100  # after all references, before the site's own ways to fold
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Write the chapter that Sphinx has read, if this page is one."""
        source = Path(self.env.doc2path(self.env.docname))
        if source.suffix == ".ipynb":
            target = Path(self.app.outdir, FOLDER, source.name)
            target.parent.mkdir(exist_ok=True)
            nbformat.write(self.plain(nbformat.read(source, as_version=4)), target)

    def plain(self, notebook: NotebookNode) -> NotebookNode:
        """Make the plain notebook of a chapter, with the chapter's own code cells."""
        place = self.app.builder.get_target_uri(self.env.docname)
        page = urljoin(self.config.html_baseurl, place)
        writer = Markdown(page, numbers(self.env, self.env.docname))
        cells: list[NotebookNode] = []
        for part in parts(self.document):
            if "cell_index" not in part:
                is_title = not cells
                add_text(cells, writer.write(part))
                if is_title:
                    title = self.config.html_title
                    add_text(cells, f"From the book [{title}]({page}).")
                continue
            cell = notebook.cells[part["cell_index"]]
            cells.append(self.plain_code(cell))
            kinds = {kind for out in cell.outputs for kind in out.get("data", {})}
            for figure in part.findall(nodes.figure):
                text = writer.caption(figure)
                if LIVE & kinds:
                    text += f" [Try it on the website.]({page}#{figure['ids'][0]})"
                add_text(cells, text)
        notebook.cells = cells
        del notebook.metadata["stn_tutorial"]
        return notebook

    def plain_code(self, cell: NotebookNode) -> NotebookNode:
        """Let a cell install this site's package on Colab, and be closed there too."""
        line = f"%pip install -q {package(self.config)}\n"
        cell.source = cell.source.replace(RELEASED, line)
        cell.metadata.pop("mystnb", None)
        if cell.metadata.get("jupyter", {}).get("source_hidden"):
            cell.metadata["cellView"] = "form"
        return cell


def lead_to_plain(
    app: Any, page: str, template: str, context: dict, doctree: Any
) -> None:
    """Let a chapter's buttons lead to its plain notebook."""
    name = Path(app.env.doc2path(page)).name
    if not name.endswith(".ipynb"):
        return
    options = app.config.html_theme_options
    repository = urlsplit(options["repository_url"]).path.strip("/")
    launch = options["launch_buttons"]
    binder, colab = launch["binderhub_url"], launch["colab_url"]
    addresses = {
        ".ipynb": context["pathto"](f"{FOLDER}/{name}", resource=True),
        "Binder": f"{binder}/v2/gh/{repository}/{BRANCH}?urlpath=lab/tree/{name}",
        "Colab": f"{colab}/github/{repository}/blob/{BRANCH}/{name}",
    }
    for group in context["header_buttons"]:
        for button in group.get("buttons", []):
            if button.get("text") in addresses:
                button["url"] = addresses[button["text"]]


def write_binder_files(app: Any, exception: Exception | None) -> None:
    """Tell Binder what the plain notebooks need.

    That is what the sources need, but for the extension that shows MyST in JupyterLab:
    it hides from plain Markdown what can be opened.
    """
    if exception is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir, FOLDER)
    (folder / "binder").mkdir(parents=True, exist_ok=True)
    shutil.copy(BINDER / "runtime.txt", folder / "binder")
    lines = (BINDER / "requirements.txt").read_text("utf-8").splitlines()
    lines = [line for line in lines if not line.startswith("jupyterlab-myst")]
    lines += [f"stn-tutorial @ {package(app.config)}", ""]
    (folder / "binder/requirements.txt").write_text("\n".join(lines), "utf-8")
    text = README.format(
        title=app.config.html_title,
        home=app.config.html_baseurl,
        repository=app.config.html_theme_options["repository_url"],
    )
    (folder / "README.md").write_text(text, "utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Connect the transform and the handlers to Sphinx."""
    app.add_post_transform(PlainNotebook)
    app.connect("html-page-context", lead_to_plain, priority=900)  # after the theme
    app.connect("build-finished", write_binder_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
