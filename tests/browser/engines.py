"""Firefox and WebKit, as Debian has them, driven in the words of WebDriver.

Playwright drives builds of its own only, and Debian has no geckodriver. So Firefox is
told by Marionette, WebDriver's commands on a socket, and WebKit by WebKitWebDriver.
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from visit import DESKTOP, QuietHandler

PREFERENCES = {"marionette.port": 0, "ui.useOverlayScrollbars": 1}
PATHS = {
    "Navigate": ("POST", "url"),
    "ExecuteScript": ("POST", "execute/sync"),
    "PerformActions": ("POST", "actions"),
    "TakeScreenshot": ("GET", "screenshot"),
    "SetWindowRect": ("POST", "window/rect"),
}
KEYS = {
    "ArrowUp": "\ue013",
    "ArrowRight": "\ue014",
    "Enter": "\ue007",
}

# Stands in a page before all else, and hears what goes wrong.
WATCH = b"""<head><script>
  window.faults = [];
  addEventListener("error", ({ message, target }) =>
    faults.push(message ?? `not loaded: ${target.src ?? target.href}`), true);
  addEventListener("unhandledrejection", ({ reason }) => faults.push(`${reason}`));
  addEventListener("securitypolicyviolation", ({ blockedURI, effectiveDirective }) =>
    faults.push(`forbidden by ${effectiveDirective}: ${blockedURI}`));
  console.error = (...words) => faults.push(`console: ${words.join(" ")}`);
</script>"""
FAULTS = r"""() => [...faults, ...performance.getEntriesByType("resource")
  .map(({ name }) => `asked for ${name}`)
  .filter((asked) => !/^asked for (data:|blob:|http:\/\/127\.0\.0\.1:)/.test(asked))]"""


class WatchingHandler(QuietHandler):
    """Serve a site as on a first visit. Its pages keep a list of their faults."""

    def do_GET(self) -> None:
        """Send a page with its watch, any other file as it is."""
        path = Path(self.translate_path(self.path))
        if path.suffix != ".html" or not path.is_file():
            super().do_GET()
            return
        page = path.read_bytes().replace(b"<head>", WATCH, 1)
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def end_headers(self) -> None:
        """Let no browser keep a file."""
        self.send_header("Cache-Control", "no-store")
        super().end_headers()


class Engine:
    """A browser with one tab, as large on its inside as Chromium's."""

    def __init__(self, ask: Callable[..., Any]) -> None:
        self.ask = ask
        self.ask("SetWindowRect", **DESKTOP)
        inside = self.run("() => ({ width: innerWidth, height: innerHeight })")
        larger = {side: 2 * DESKTOP[side] - inside[side] for side in DESKTOP}
        self.ask("SetWindowRect", **larger)

    def open(self, address: str) -> None:
        """Open a page and wait until it is loaded."""
        self.ask("Navigate", url=address)

    def run(self, function: str, value: object = None) -> Any:
        """What a function gives in the page, once its promise is kept."""
        script = f"return ({function})(arguments[0])"
        return self.ask("ExecuteScript", script=script, args=[value])

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        strokes = [{"type": kind, "value": KEYS[key]} for kind in ("keyDown", "keyUp")]
        self.act("key", strokes)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag with the mouse from one place in the window to another."""
        (x, y), (right, down) = (map(round, place) for place in (start, end))
        steps = [
            {"type": "pointerMove", "x": x, "y": y},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerMove", "x": (x + right) // 2, "y": (y + down) // 2},
            {"type": "pointerMove", "x": right, "y": down},
            {"type": "pointerUp", "button": 0},
        ]
        self.act("pointer", steps)

    def act(self, kind: str, steps: list[dict[str, Any]]) -> None:
        """Do what a keyboard or a mouse does."""
        self.ask(
            "PerformActions", actions=[{"type": kind, "id": kind, "actions": steps}]
        )

    def photograph(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(self.ask("TakeScreenshot", full=False))


@contextmanager
def started(*command: str, **options: Any) -> Iterator[subprocess.Popen]:
    """A program that runs for as long as it is needed."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet | options) as program:
        try:
            yield program
        finally:
            program.terminate()


def soon(get: Callable[[], Any], seconds: float = 60) -> Any:
    """What can be had once a program has started."""
    end = time.monotonic() + seconds
    while True:
        try:
            return get()
        except (OSError, ValueError):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@contextmanager
def firefox(folder: Path) -> Iterator[Engine]:
    """Firefox, with a folder for its profile."""
    lines = [f"user_pref({json.dumps(k)}, {v});\n" for k, v in PREFERENCES.items()]
    (folder / "user.js").write_text("".join(lines), "utf-8")
    options = ("--headless", "--no-remote", "--profile", str(folder), "--marionette")
    with ExitStack() as stack:
        stack.enter_context(started("firefox-esr", *options))
        port = soon(lambda: int((folder / "MarionetteActivePort").read_text("utf-8")))
        line = stack.enter_context(socket.create_connection(("127.0.0.1", port), 120))
        answers = stack.enter_context(line.makefile("rb"))

        def hear() -> Any:
            size = b""
            while (letter := answers.read(1)) != b":":
                size += letter
            return json.loads(answers.read(int(size)))

        def ask(command: str, **values: object) -> Any:
            words = json.dumps([0, 1, f"WebDriver:{command}", values]).encode()
            line.sendall(b"%d:%s" % (len(words), words))
            _, _, error, answer = hear()
            if error:
                raise RuntimeError(f"{command}: {error}")
            return answer.get("value")

        hear()  # its greeting
        ask("NewSession")
        yield Engine(ask)


@contextmanager
def webkit(folder: Path) -> Iterator[Engine]:
    """WebKit, on a screen that nobody sees, with a folder for what it keeps."""
    size = "1600x1200x24"
    screen = ("Xvfb", "-displayfd", "1", "-screen", "0", size, "-nolisten", "tcp")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with ExitStack() as stack:
        xvfb = stack.enter_context(started(*screen, stdout=subprocess.PIPE))
        display = xvfb.stdout.readline().decode().strip()
        place = {"DISPLAY": f":{display}", "HOME": str(folder)}
        driver = ("WebKitWebDriver", f"--port={port}")
        stack.enter_context(started(*driver, env=os.environ | place))

        def send(method: str, path: str, **values: object) -> Any:
            address = f"http://127.0.0.1:{port}/session{path}"
            words = json.dumps(values).encode() if method == "POST" else None
            request = urllib.request.Request(address, words, method=method)
            try:
                with urllib.request.urlopen(request, timeout=120) as answer:
                    return json.load(answer)["value"]
            except urllib.error.HTTPError as error:
                raise RuntimeError(f"{path}: {error.read().decode()}") from None

        session = soon(lambda: send("POST", "", capabilities={}))["sessionId"]
        stack.callback(send, "DELETE", f"/{session}")

        def ask(command: str, **values: object) -> Any:
            method, path = PATHS[command]
            return send(method, f"/{session}/{path}", **values)

        yield Engine(ask)


Start = Callable[[Path], AbstractContextManager[Engine]]
ENGINES: dict[str, Start] = {"firefox": firefox, "webkit": webkit}
PROGRAMS = {"firefox": ["firefox-esr"], "webkit": ["WebKitWebDriver", "Xvfb"]}


def missing(engine: str) -> list[str]:
    """The programs that an engine needs and this machine lacks."""
    return [program for program in PROGRAMS[engine] if not shutil.which(program)]
