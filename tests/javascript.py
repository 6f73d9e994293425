"""Run a figure's JavaScript under Node, to compare it with the package."""

import json
import subprocess
from pathlib import Path

from playwright._impl._driver import compute_driver_executable

NODE = compute_driver_executable()[0]  # Playwright brings its own
CALL = """\
const { source, name, calls } = JSON.parse(require("fs").readFileSync(0, "utf-8"));
const url = "data:text/javascript," + encodeURIComponent(source);
const plain = (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value;
import(url).then((module) => {
  console.log(JSON.stringify(calls.map((call) => module[name](...call)), plain));
});
"""


def run(source: str | Path, name: str, calls: list[list]) -> list:
    """What a function of a JavaScript module returns, for each list of arguments.

    Args:
        source: the module's text, or its file.
        name: of the exported function.
        calls: JSON values; where the function returns typed arrays, lists come back.
    """
    if isinstance(source, Path):
        source = source.read_text("utf-8")
    task = json.dumps({"source": source, "name": name, "calls": calls})
    done = subprocess.run(
        [NODE, "-e", CALL], input=task, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
