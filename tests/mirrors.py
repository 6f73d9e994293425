"""What the tests of downloads share: mirrors on loopback, files in folders."""

import http.server
import threading


class Mirrors:
    """Web folders on this machine: what each holds, and what it was asked for."""

    def __init__(self):
        self.files, self.asked = {}, []
        mirrors = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                mirrors.asked.append(self.path)
                body, missing = mirrors.files.get(self.path, (None, 0))
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"") + missing))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def put(self, mirror, files, end=".gz", missing=0):
        """Give a mirror files; announce more bytes than are sent."""
        for name, data in files.items():
            self.files[f"/{mirror}/{name}{end}"] = (data, missing)

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def save(folder, files, end=".gz"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / f"{name}{end}").write_bytes(data)


def listing(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def flip(data, position):
    """Change one bit."""
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
