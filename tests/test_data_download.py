"""Downloads where a mirror or the disk does not do its part."""

import errno
import gzip
import hashlib
import http.server
import os
import shutil
import threading
import time
from collections import namedtuple
from contextlib import suppress

import pytest
from mirrors import Mirrors, listing, save

from stn_tutorial.data import download, gtsrb, mnist
from stn_tutorial.data.download import check_room, fetch, remove_stale, writing

CONTENT = {"one": bytes(range(256)) * 40, "two": b"of little\n" * 900}
HASHES = {
    name: f"sha256:{hashlib.sha256(data).hexdigest()}" for name, data in CONTENT.items()
}
SIZES = {name: len(data) for name, data in CONTENT.items()}
PACKED = {name: gzip.compress(data) for name, data in CONTENT.items()}
HEX = "0123456789abcdef" * 2


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    """No proxy for this machine, short waits, and no mirror has failed so far."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "SILENCE", 0.3)
    monkeypatch.setattr(download, "failed", set())


@pytest.fixture
def mirrors():
    server = Mirrors()
    yield server
    server.stop()


class Trouble:
    """A mirror that answers as it is told, for five seconds at most."""

    def __init__(self, answer):
        self.asked = []
        trouble = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                trouble.asked.append(self.path)
                with suppress(OSError):  # who asked has left
                    answer(self)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def send(handler, data, length):
    handler.send_response(200)
    handler.send_header("Content-Length", str(length))
    handler.end_headers()
    handler.wfile.write(data)


def drip(handler):
    """A byte now and then, before any time limit for a single one."""
    for _ in range(100):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.05)


def drip_content(handler):
    send(handler, b"", 100_000)
    drip(handler)


def drip_head(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Name: ")
    drip(handler)


def say_nothing(handler):
    time.sleep(2)


def never_end(handler):
    send(handler, b"", 10**9)
    for _ in range(1000):
        handler.wfile.write(bytes(2**20))


def bomb(handler):
    data = gzip.compress(bytes(2**20)) * 1000  # a gigabyte, unpacked
    send(handler, data, len(data))


def small_bomb(handler):
    data = gzip.compress(bytes(2**24))
    send(handler, data, len(data))


TROUBLES = {
    "content drips": (drip_content, "only 0 bytes in"),
    "head drips": (drip_head, "only 0 bytes in"),
    "silent": (say_nothing, "timed? ?out"),
    "without end": (never_end, "more than"),
    "bomb": (bomb, "more than"),
    "small bomb": (small_bomb, "expected content with sha256"),
}


@pytest.fixture(params=TROUBLES)
def trouble(request):
    answer, told = TROUBLES[request.param]
    server = Trouble(answer)
    server.told = told
    yield server
    server.stop()


def test_trouble_is_soon_over_named_and_not_asked_again(trouble, mirrors, tmp_path):
    """The next mirror answers; for the second file it is the first to be asked."""
    mirrors.put("good", PACKED)
    web = (trouble.address, f"{mirrors.address}/good/")
    start = time.monotonic()
    paths = fetch("set", HASHES, SIZES, web, [tmp_path], ".gz")
    assert time.monotonic() - start < 5
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    assert listing(tmp_path) == ["one", "two"]
    assert trouble.asked == ["/one.gz"]
    with pytest.raises(ConnectionError, match=f"(?i)one.gz: .*{trouble.told}"):
        fetch("set", HASHES, SIZES, web[:1], [tmp_path / "new"], ".gz")
    assert listing(tmp_path / "new") == []


def test_a_mirror_that_failed_is_asked_when_no_other_is_left(mirrors, tmp_path):
    """Who was offline for a while need not start anew."""
    web = (f"{mirrors.address}/first/", f"{mirrors.address}/second/")
    with pytest.raises(ConnectionError):
        fetch("set", HASHES, SIZES, web, [tmp_path], ".gz")
    mirrors.put("first", PACKED)
    fetch("set", HASHES, SIZES, web, [tmp_path], ".gz")
    assert listing(tmp_path) == ["one", "two"]


def test_a_bomb_is_not_unpacked(mirrors, tmp_path, monkeypatch):
    """Of what is packed in a few bytes no more is asked for than one too many."""
    sizes, read = [], gzip.GzipFile.read
    monkeypatch.setattr(
        gzip.GzipFile, "read", lambda self, n=-1: sizes.append(n) or read(self, n)
    )
    mirrors.put("bad", dict.fromkeys(CONTENT, gzip.compress(bytes(2**24))))
    with pytest.raises(ConnectionError):
        fetch("set", HASHES, SIZES, [f"{mirrors.address}/bad/"], [tmp_path], ".gz")
    assert sizes == [SIZES["one"] + 1]


@pytest.mark.parametrize("fault", [MemoryError(), RuntimeError("odd")])
def test_whatever_a_mirror_causes_the_next_is_asked(
    fault, mirrors, tmp_path, monkeypatch
):
    mirrors.put("second", PACKED)
    retrieve = download.retrieve

    def fail(url, *rest):
        if "/first/" in url:
            raise fault
        return retrieve(url, *rest)

    monkeypatch.setattr(download, "retrieve", fail)
    web = [f"{mirrors.address}/{name}/" for name in ("first", "second")]
    fetch("set", HASHES, SIZES, web, [tmp_path], ".gz")
    assert listing(tmp_path) == ["one", "two"]
    with pytest.raises(ConnectionError, match=r"one.gz: (MemoryError\(\)|odd)"):
        fetch("set", HASHES, SIZES, web[:1], [tmp_path / "new"], ".gz")


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize("later", [0, 5000])
def test_too_little_room_is_said_before_anything_is_downloaded(
    later, mirrors, tmp_path, monkeypatch
):
    """What is there already needs none; to the byte, the rest has to fit."""
    mirrors.put("good", PACKED)
    web = [f"{mirrors.address}/good/"]
    save(tmp_path, {"one": CONTENT["one"]}, "")
    need = SIZES["two"] + later
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, need - 1))
    told = f"cannot write data into {tmp_path}: 0.0 MB are needed, .*STN_TUTORIAL_DATA"
    with pytest.raises(OSError, match=told) as raised:
        fetch("set", HASHES, SIZES, web, [tmp_path], ".gz", later)
    assert raised.value.errno == errno.ENOSPC
    assert mirrors.asked == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, need))
    fetch("set", HASHES, SIZES, web, [tmp_path], ".gz", later)
    assert mirrors.asked == ["/good/two.gz"]


def test_found_files_need_no_room_and_no_right_to_write(tmp_path, monkeypatch):
    save(tmp_path, CONTENT, "")
    monkeypatch.setattr(download, "check_room", None)
    fetch("set", HASHES, SIZES, [], [tmp_path])


@pytest.mark.parametrize(
    ("part", "kind"), [("a file", NotADirectoryError), ("no right", PermissionError)]
)
def test_a_folder_that_cannot_be_written_is_named(part, kind, tmp_path, monkeypatch):
    """Root may write everywhere, so the right is taken from it by hand."""
    folder = tmp_path / "data"
    if part == "a file":
        folder.touch()
        folder /= "inner"
    else:

        def refuse(**options):
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))

        monkeypatch.setattr(download, "TemporaryFile", refuse)
    with pytest.raises(kind, match=f"cannot write data into {folder}: .*set"):
        check_room(folder, 1)


def test_a_short_write_of_numpy_names_the_folder(tmp_path):
    """It has neither number nor file."""
    told = f"into {tmp_path}: 20 requested"
    with pytest.raises(OSError, match=told) as raised, writing(tmp_path):
        raise OSError("20 requested and 10 written")
    assert raised.value.errno == errno.ENOSPC


def age(path, seconds):
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def test_what_was_left_half_done_is_removed(tmp_path):
    """A file or a folder, but neither what is young nor what is not ours."""
    old = {f"one.{HEX}.part", f"two.{HEX}.part"}
    kept = {
        f"one.{HEX[::-1]}.part": 60,  # another process may be at it
        "one.part": 9999,
        f"one.{HEX[:-1]}.part": 9999,
        f"mine.{HEX}.part": 9999,
        f"one.{HEX}": 9999,
    }
    save(tmp_path, dict.fromkeys([*old, *kept], b"half"), "")
    for name in old:
        age(tmp_path / name, 9999)
    for name, seconds in kept.items():
        age(tmp_path / name, seconds)
    for name, seconds in (("old", 9999), ("young", 0)):
        part = tmp_path / f"set.{hashlib.md5(name.encode()).hexdigest()}.part"
        save(part, {name: b"half"}, "")
        age(part / name, seconds)
        age(part, 9999)
    fetch("set", {}, {}, [], [tmp_path / "none", tmp_path])
    remove_stale([tmp_path], {"set", *HASHES})
    assert listing(tmp_path) == sorted(["young", *kept])
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1


def test_gtsrb_removes_what_was_left_even_where_its_arrays_are(tmp_path):
    part = tmp_path / f"gtsrb.{HEX}.part"
    save(part, {"train_images.npy": b"half"}, "")
    age(part / "train_images.npy", 9999)
    age(part, 9999)
    save(tmp_path / "gtsrb", {"train_images.npy": b"broken"}, "")
    with pytest.raises(ValueError, match="broken"):
        gtsrb.load_gtsrb(tmp_path)
    assert listing(tmp_path) == ["train_images.npy"]


def test_the_sizes_are_those_of_the_data_sets():
    """Those of MNIST and of GTSRB's arrays follow from what they hold."""
    head, counts = {"images": 16, "labels": 8}, {"train": 60_000, "t10k": 10_000}
    for name, size in mnist.SIZES.items():
        part, kind, *_ = name.split("-")
        assert size == head[kind] + counts[part] * (784 if kind == "images" else 1)
    assert mnist.SIZES.keys() == mnist.HASHES.keys()
    assert gtsrb.SIZES.keys() == gtsrb.HASHES.keys()
    assert 365e6 < sum(gtsrb.SIZES.values()) < 366e6
    pixels, train, test = 3 * gtsrb.SIDE**2, 39_209, 12_630
    heads = 128 * len(gtsrb.ARRAYS)
    numbers = 13 * (train + test) + 4 * train  # labels and boxes; tracks and frames
    assert pixels * (train + test) + numbers + heads == gtsrb.DECODED
