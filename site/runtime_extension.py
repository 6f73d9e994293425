"""Sphinx extension: the site hands on onnxruntime-web, for the figure "Live".

It is larger than all pages together, so a page asks for it only when a reader clicks
(chapters/assets/figures.js). npm brings it (`npm ci`); its programs are packed here,
since not every server does so. Without it the site is built all the same, and the
figure says what is missing.
"""

import gzip
import shutil
from pathlib import Path
from typing import Any

from sphinx.util import logging

PACKAGE = Path("node_modules/onnxruntime-web/dist")
# Modules, and the programs that they run: without and with a graphics card.
MODULES = ("ort.wasm.bundle.min.mjs", "ort.webgpu.bundle.min.mjs")
PROGRAMS = ("ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.asyncify.wasm")
LICENSE = """\
onnxruntime-web, as it comes from npm. Copyright (c) Microsoft Corporation

MIT License

Permission is hereby granted, free of charge, to any person obtaining a copy of this
software and associated documentation files (the "Software"), to deal in the Software
without restriction, including without limitation the rights to use, copy, modify,
merge, publish, distribute, sublicense, and/or sell copies of the Software, and to
permit persons to whom the Software is furnished to do so, subject to the following
conditions:

The above copyright notice and this permission notice shall be included in all copies
or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED,
INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A
PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT
HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF
CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR
THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def hand_on(package: Path, folder: Path) -> None:
    """Copy the modules and pack the programs, what is there already aside."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "LICENSE").write_text(LICENSE, "utf-8")
    for name in MODULES:
        shutil.copyfile(package / name, folder / name)
    for name in PROGRAMS:
        source, target = package / name, folder / f"{name}.gz"
        if target.exists() and target.stat().st_mtime > source.stat().st_mtime:
            continue
        target.write_bytes(gzip.compress(source.read_bytes(), 9, mtime=0))


def finish(app: Any, exception: Exception | None) -> None:
    """Hand it on, where npm has brought it."""
    if exception is not None or app.builder.format != "html":
        return
    package = Path(app.confdir, PACKAGE)
    if package.is_dir():
        hand_on(package, Path(app.outdir, "_static", "onnxruntime"))
    else:
        logging.getLogger(__name__).info("no onnxruntime-web here: `npm ci` brings it")


def setup(app: Any) -> dict[str, bool]:
    """Connect the handler to Sphinx."""
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
