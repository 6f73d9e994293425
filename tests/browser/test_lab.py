"""In a real JupyterLab: the hand moves Python, Python the figure; a question opens.

A plain notebook, as Binder opens it, reads as a chapter does on the site.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from notebooks import KERNEL
from plain_extension import FOLDER
from playwright.sync_api import BrowserContext, Page, expect

CELLS = [
    "from stn_tutorial.widgets import AffinePlayground\n"
    'playground = AffinePlayground("fig-01-playground")\nplayground',
    'print("theta is", playground.theta)',
    "playground.theta = [0.5, 0, 0.25, 0, 0.5, -0.25]",
]
QUESTION = """\
**Question 1.1.** Which is right?

:::{dropdown} This one
**Right.** Its explanation.
:::
"""


@contextmanager
def jupyter_lab(folder: Path) -> Iterator[str]:
    """A JupyterLab for a folder, with settings in `.jupyter`; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"),
        *(f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *("--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"),
        "--LabApp.news_url=None",
    ]
    places = ("CONFIG", "DATA", "RUNTIME")
    home = {f"JUPYTER_{place}_DIR": str(folder / ".jupyter") for place in places}
    settings = {"JUPYTERLAB_SETTINGS_DIR": str(folder / ".jupyter/settings")}
    workspaces = {"JUPYTERLAB_WORKSPACES_DIR": str(folder / ".jupyter/workspaces")}
    environment = os.environ | home | settings | workspaces
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urlopen(f"{address}/api", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, (folder / "lab.log").read_text()
                time.sleep(0.25)
        yield address
    finally:
        server.terminate()
        server.wait(60)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """The address of a JupyterLab with a notebook of the cells, `touch.ipynb`."""
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in CELLS])
    notebook.cells.append(new_markdown_cell(QUESTION))
    notebook.metadata["kernelspec"] = KERNEL
    nbformat.write(notebook, tmp_path / "touch.ipynb")
    with jupyter_lab(tmp_path) as address:
        yield address


@pytest.fixture
def tab(browser: BrowserContext) -> Iterator[Page]:
    """An empty tab."""
    page = browser.new_page()
    page.set_default_timeout(60_000)
    yield page
    page.close()
    browser.clear_cookies()  # JupyterLab's; the site's tests would find them


def open_notebook(lab: str, tab: Page) -> None:
    """Open the notebook and wait until its kernel can be spoken to.

    Ask the server: JupyterLab shows an idle kernel before there is one, and
    drops what is run until then.
    """
    tab.goto(f"{lab}/lab/tree/touch.ipynb")
    for _ in range(480):
        with urlopen(f"{lab}/api/kernels", timeout=5) as answer:
            kernels = json.load(answer)
        if [(k["execution_state"], k["connections"]) for k in kernels] == [("idle", 1)]:
            break
        tab.wait_for_timeout(250)
    kernel = tab.locator(".jp-Notebook-ExecutionIndicator")
    expect(kernel).to_have_attribute("data-status", "idle")


def run_cell(tab: Page, number: int) -> None:
    """Run a cell, each in its turn, and wait until it has ended."""
    cell = tab.locator(".jp-CodeCell").nth(number)
    cell.locator(".cm-content").click()
    expect(cell.locator(".cm-content")).to_be_focused()
    tab.keyboard.press("Control+Enter")
    prompt = cell.locator(".jp-InputArea-prompt")
    expect(prompt).to_have_text(f"[{number + 1}]:", timeout=60_000)


def test_a_figure_and_a_question(lab: str, tab: Page) -> None:
    errors = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    open_notebook(lab, tab)
    run_cell(tab, 0)
    figure = tab.locator(".stn-figure")
    numbers = figure.locator(".stn-matrix input[type=number]")
    expect(numbers.nth(5)).to_have_value("0")

    handle = figure.locator(".stn-handle[aria-label^='centre of the grid']")
    handle.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        tab.keyboard.press(key)
    expect(numbers.nth(2)).to_have_value("0.1")
    time.sleep(0.5)  # the figure sends what it has when the hand has rested
    run_cell(tab, 1)
    output = tab.locator(".jp-CodeCell").nth(1).locator(".jp-OutputArea-output")
    expect(output).to_have_text("theta is [1.0, 0.0, 0.1, 0.0, 1.0, 0.05]")

    run_cell(tab, 2)
    for number, value in zip(
        numbers.all(), ("0.5", "0", "0.25", "0", "0.5", "-0.25"), strict=True
    ):
        expect(number).to_have_value(value)

    choice = tab.locator("details")
    explanation = choice.get_by_text("Its explanation.")
    expect(explanation).to_be_hidden()
    choice.locator("summary").click()
    expect(explanation).to_be_visible()
    assert errors == []


# Binder has no jupyterlab-myst; and all cells at once, not only those in view.
PLAIN_SETTINGS = {
    "labconfig/page_config.json": {"disabledExtensions": {"jupyterlab-myst": True}},
    "settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {
        "windowingMode": "none"
    },
}


def test_a_plain_notebook(site: Path, tmp_path: Path, tab: Page) -> None:
    """Solutions and answers are closed, formulas set, and links lead to figures."""
    path = site / FOLDER / "01-affine-transforms.ipynb"
    shutil.copy(path, tmp_path)
    cells = nbformat.read(path, as_version=4).cells
    for name, setting in PLAIN_SETTINGS.items():
        file = tmp_path / ".jupyter" / name
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(setting))
    with jupyter_lab(tmp_path) as address:
        tab.goto(f"{address}/lab/tree/{path.name}")
        book = tab.locator(".jp-Notebook")
        expect(book.locator(".jp-Cell")).to_have_count(len(cells), timeout=60_000)
        answers = book.locator("details strong", has_text="Right.")
        expect(answers).to_have_count(3)
        for answer in answers.all():
            expect(answer).to_be_hidden()
        for cell, shown in zip(cells, book.locator(".jp-Cell").all(), strict=True):
            editor = shown.locator(".jp-InputArea-editor")
            if cell.metadata.get("jupyter", {}).get("source_hidden"):
                expect(editor).to_be_hidden()
            elif cell.cell_type == "code":
                expect(editor).to_be_visible()
        expect(book.locator("mjx-container")).not_to_have_count(0)
        expect(book.locator("mjx-merror")).to_have_count(0)
        link = book.get_by_role("link", name=re.compile(r"^Figure 1\.\d+$")).first
        caption = book.locator("strong", has_text=f"{link.inner_text()}.")
        expect(caption).not_to_be_in_viewport()
        link.click()
        expect(caption).to_be_in_viewport()
