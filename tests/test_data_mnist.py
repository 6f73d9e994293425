"""MNIST's files, found or downloaded: small ones of our own, mirrors on loopback."""

import errno
import gzip
import hashlib
import re
import struct
from pathlib import Path

import numpy as np
import pooch
import pytest
import torch
from mirrors import Mirrors, flip, listing, save

from stn_tutorial.data import mnist
from stn_tutorial.data.mnist import load_mnist, read_idx

VARIABLE = "STN_TUTORIAL_DATA"
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES = tuple(mnist.HASHES)


def idx(values):
    """An idx file, by its description: 0, 0, type 8, dimensions, sizes, values."""
    head = struct.pack(f">BBBB{values.ndim}i", 0, 0, 8, values.ndim, *values.shape)
    return head + values.astype(np.uint8).tobytes()


RANDOM = np.random.default_rng(0)
VALUES = {
    TRAIN_IMAGES: RANDOM.integers(0, 256, (7, 28, 28)),
    TRAIN_LABELS: np.array([3, 1, 4, 1, 5, 9, 2]),
    TEST_IMAGES: RANDOM.integers(0, 256, (300, 28, 28)),
    TEST_LABELS: RANDOM.integers(0, 10, 300),
}
CONTENT = {name: idx(values) for name, values in VALUES.items()}
PACKED = {name: gzip.compress(content) for name, content in CONTENT.items()}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Our small files in MNIST's place, no network, and an empty cache folder."""
    hashes = {
        name: f"sha256:{hashlib.sha256(content).hexdigest()}"
        for name, content in CONTENT.items()
    }
    sizes = {name: len(data) for name, data in CONTENT.items()}
    monkeypatch.setattr(mnist, "HASHES", hashes)
    monkeypatch.setattr(mnist, "SIZES", sizes)
    monkeypatch.setattr(mnist, "MIRRORS", ())
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path / "cache" / "stn-tutorial"


@pytest.fixture
def mirrors(cache, monkeypatch):
    server = Mirrors()
    web = tuple(f"{server.address}/{mirror}/" for mirror in ("first", "second"))
    monkeypatch.setattr(mnist, "MIRRORS", web)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.stop()


def assert_ours(digits):
    """It is our small data set, to the last pixel."""
    for images, name in (
        (digits.train_images, TRAIN_IMAGES),
        (digits.test_images, TEST_IMAGES),
    ):
        assert images.dtype == torch.float32
        assert images.shape == (len(VALUES[name]), 1, 28, 28)
        assert torch.equal((255 * images[:, 0]).round(), torch.tensor(VALUES[name]))
        assert 0 == images.min() < images.max() == 1
    for labels, name in (
        (digits.train_labels, TRAIN_LABELS),
        (digits.test_labels, TEST_LABELS),
    ):
        assert labels.dtype == torch.int64
        assert labels.tolist() == VALUES[name].tolist()


ALL_GZ = [f"{name}.gz" for name in NAMES]


@pytest.mark.parametrize("inner", ["", "mnist"])
@pytest.mark.parametrize(("files", "end"), [(PACKED, ".gz"), (CONTENT, "")])
@pytest.mark.parametrize("place", ["root", "variable", "cache"])
def test_found_in_a_folder(place, files, end, inner, tmp_path, cache, monkeypatch):
    folder = cache if place == "cache" else tmp_path / "mine"
    save(folder / inner, files, end)
    if place == "variable":
        monkeypatch.setenv(VARIABLE, str(folder))
    assert_ours(load_mnist(folder if place == "root" else None))


def test_root_may_be_text_and_start_at_home(tmp_path, cache, monkeypatch):
    save(tmp_path / "data", PACKED)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert_ours(load_mnist("~/data"))


@pytest.mark.parametrize("place", ["root", "variable"])
def test_a_file_is_no_folder(place, tmp_path, mirrors, monkeypatch):
    """Said before anything is downloaded."""
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.touch()
    if place == "variable":
        monkeypatch.setenv(VARIABLE, str(path))
    with pytest.raises(ValueError, match=f"a folder for data, but {path} is a file"):
        load_mnist(path if place == "root" else None)
    assert mirrors.asked == []


def test_packed_another_way_is_the_same_file(tmp_path, cache):
    again = {name: gzip.compress(CONTENT[name], 1, mtime=0) for name in NAMES}
    assert again[TEST_IMAGES] != PACKED[TEST_IMAGES]
    save(tmp_path, again)
    assert_ours(load_mnist(tmp_path))


def test_root_comes_before_the_variable_before_the_cache(tmp_path, cache, monkeypatch):
    """A broken file shows which place was read."""
    folders = [tmp_path / "root", tmp_path / "variable", cache]
    monkeypatch.setenv(VARIABLE, str(folders[1]))
    for folder in folders:
        save(folder, dict.fromkeys(NAMES, b"broken"))
    for folder in folders:
        with pytest.raises(ValueError, match=re.escape(str(folder))):
            load_mnist(folders[0])
        for path in folder.iterdir():
            path.unlink()
    with pytest.raises(ConnectionError):
        load_mnist(folders[0])


def test_each_file_may_stand_elsewhere(tmp_path, cache, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "variable"))
    places = [tmp_path / "root", tmp_path / "variable", cache, tmp_path / "root"]
    for folder, name in zip(places, NAMES, strict=True):
        save(folder, {name: PACKED[name]})
    assert_ours(load_mnist(tmp_path / "root"))


def test_whole_folder_needs_no_network(tmp_path, mirrors):
    save(tmp_path / "mine", PACKED)
    assert_ours(load_mnist(tmp_path / "mine"))
    assert mirrors.asked == []


SPOILT = {
    "cut short": PACKED[TEST_IMAGES][:-1000],
    "without its last byte": PACKED[TEST_IMAGES][:-1],
    "bit in the middle": flip(PACKED[TEST_IMAGES], 100_000),
    "bit in the checksum": flip(PACKED[TEST_IMAGES], -5 % len(PACKED[TEST_IMAGES])),
    "not a way of packing": PACKED[TEST_IMAGES][:10]
    + b"\xff"
    + PACKED[TEST_IMAGES][11:],
    "rubbish after": PACKED[TEST_IMAGES] + b"more",
    "bit before packing": gzip.compress(flip(CONTENT[TEST_IMAGES], 1000)),
    "another file of the set": PACKED[TRAIN_IMAGES],
    "web page": b"<html>Sign in</html>",
    "empty": b"",
    "head of gzip alone": PACKED[TEST_IMAGES][:2],
}
spoilt = pytest.mark.parametrize("data", SPOILT.values(), ids=SPOILT)


@spoilt
def test_spoilt_file_is_refused_and_kept(data, tmp_path, mirrors):
    """No download over a file that is the user's own."""
    mirrors.put("first", PACKED)
    save(tmp_path, PACKED | {TEST_IMAGES: data})
    path = tmp_path / f"{TEST_IMAGES}.gz"
    sha256 = hashlib.sha256(CONTENT[TEST_IMAGES]).hexdigest()
    told = f"{re.escape(str(path))} is broken.* SHA256 {sha256}, but got .*Remove it"
    with pytest.raises(ValueError, match=told):
        load_mnist(tmp_path)
    assert path.read_bytes() == data
    assert mirrors.asked == []


def test_what_came_instead_is_named(tmp_path, cache):
    save(tmp_path, PACKED | {TEST_LABELS: PACKED[TRAIN_LABELS]})
    sha256 = hashlib.sha256(CONTENT[TRAIN_LABELS]).hexdigest()
    with pytest.raises(ValueError, match=f"got {sha256}"):
        load_mnist(tmp_path)
    save(tmp_path, {TEST_LABELS: PACKED[TEST_LABELS][:-9]})
    with pytest.raises(ValueError, match="got a packed file that cannot be unpacked"):
        load_mnist(tmp_path)


@pytest.mark.parametrize("place", ["root", "variable", "cache"])
def test_download_into_the_first_folder(place, tmp_path, mirrors, cache, monkeypatch):
    """It makes the folder, and the second call asks no mirror."""
    mirrors.put("first", PACKED)
    mine = tmp_path / "new" / "folder"
    if place != "cache":
        monkeypatch.setenv(VARIABLE, str(tmp_path if place == "root" else mine))
    root = mine if place == "root" else None
    assert_ours(load_mnist(root))
    folder = cache if place == "cache" else mine
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
    assert listing(tmp_path) == sorted(NAMES)
    for name in NAMES:
        assert (folder / name).read_bytes() == CONTENT[name]
    assert mirrors.asked == [f"/first/{name}.gz" for name in NAMES]
    assert_ours(load_mnist(root))
    assert len(mirrors.asked) == 4


def test_only_what_is_missing_is_downloaded(tmp_path, mirrors):
    mirrors.put("first", PACKED)
    save(tmp_path, {name: PACKED[name] for name in NAMES[1:]})
    assert_ours(load_mnist(tmp_path))
    assert mirrors.asked == [f"/first/{TRAIN_IMAGES}.gz"]
    assert listing(tmp_path) == sorted([TRAIN_IMAGES, *ALL_GZ[1:]])


def test_download_shows_a_progress_bar(tmp_path, mirrors, capsys):
    mirrors.put("first", PACKED)
    load_mnist(tmp_path)
    shown = capsys.readouterr().err
    assert shown.count("100%|") >= 4


@spoilt
def test_spoilt_download_is_dropped_for_the_next_mirror(data, tmp_path, mirrors):
    mirrors.put("first", PACKED | {TEST_IMAGES: data})
    mirrors.put("second", PACKED)
    assert_ours(load_mnist(tmp_path))
    path = f"{TEST_IMAGES}.gz"
    assert [asked for asked in mirrors.asked if path in asked] == [
        f"/first/{path}",
        f"/second/{path}",
    ]
    assert listing(tmp_path) == sorted(NAMES)
    assert (tmp_path / TEST_IMAGES).read_bytes() == CONTENT[TEST_IMAGES]


@pytest.mark.parametrize("fault", ["not found", "line breaks"])
def test_mirror_that_fails_is_followed_by_the_next(fault, tmp_path, mirrors):
    if fault == "line breaks":
        cut = {name: data[: len(data) // 2] for name, data in PACKED.items()}
        mirrors.put("first", cut, missing=10)
    mirrors.put("second", PACKED)
    assert_ours(load_mnist(tmp_path))
    assert listing(tmp_path) == sorted(NAMES)


@spoilt
def test_nothing_of_spoilt_downloads_is_left(data, tmp_path, mirrors):
    mirrors.put("first", PACKED | {TEST_IMAGES: data})
    mirrors.put("second", PACKED | {TEST_IMAGES: data})
    with pytest.raises(ConnectionError) as raised:
        load_mnist(tmp_path)
    for mirror in ("first", "second"):
        url = f"{mirrors.address}/{mirror}/{TEST_IMAGES}.gz"
        assert f"\n- {url}: " in str(raised.value)
    first = str(raised.value).splitlines()[0]
    assert TRAIN_IMAGES not in first
    assert TEST_IMAGES in first
    assert listing(tmp_path) == sorted([TRAIN_IMAGES, TRAIN_LABELS])


def test_offline_tells_what_to_do(tmp_path, mirrors, cache, monkeypatch):
    """What is missing, where it was looked for, who was asked, what helps."""
    mirrors.stop()
    monkeypatch.setattr(mirrors, "stop", lambda: None)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "variable"))
    save(tmp_path / "root", {TEST_LABELS: PACKED[TEST_LABELS]})
    with pytest.raises(ConnectionError) as raised:
        load_mnist(tmp_path / "root")
    lines = str(raised.value).splitlines()
    assert all((name in lines[0]) == (name != TEST_LABELS) for name in NAMES)
    folders = (tmp_path / "root", tmp_path / "variable", cache)
    assert lines[1:4] == [f"- {folder}" for folder in folders]
    for line, mirror in zip(lines[5:7], mnist.MIRRORS, strict=True):
        assert line.startswith(f"- {mirror}{TRAIN_IMAGES}.gz: ")
    advice = lines[7]
    for word in (*ALL_GZ, f"into {tmp_path / 'root'};", VARIABLE, "online"):
        assert word in advice
    assert listing(tmp_path) == [f"{TEST_LABELS}.gz"]
    assert not (tmp_path / "variable").exists()


def test_interrupted_write_leaves_no_half_file(tmp_path, mirrors, monkeypatch):
    """The disk is full after half the bytes: nothing stands under the good name.

    No mirror is to blame, so the other is not asked.
    """
    mirrors.put("first", PACKED)
    mirrors.put("second", PACKED)
    write_bytes = Path.write_bytes

    def half(path, data):
        assert path.name not in NAMES
        write_bytes(path, data[: len(data) // 2])
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", half)
    told = f"into {tmp_path}: No space left on device. What to do: .*{VARIABLE}"
    with pytest.raises(OSError, match=told) as raised:
        load_mnist(tmp_path)
    assert raised.value.errno == errno.ENOSPC
    assert mirrors.asked == [f"/first/{TRAIN_IMAGES}.gz"]
    assert listing(tmp_path) == []


def test_files_are_as_readable_as_any_other(tmp_path, mirrors):
    """A class shares the folder: no private rights left from a temporary file."""
    mirrors.put("first", PACKED)
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "another").write_bytes(b"")
    load_mnist(folder)
    assert len(list(folder.iterdir())) == 5
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 300, 3), (1, 2, 3, 4)])
def test_read_idx(shape):
    values = RANDOM.integers(0, 256, shape)
    read = read_idx(idx(values))
    assert read.dtype == torch.uint8
    assert torch.equal(read, torch.tensor(values, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"but got 0 bytes that start with \[\]"),
        (b"\0\0\x08", "but got 3 bytes"),
        (gzip.compress(b"packed", mtime=0), r"bytes that start with \[31, 139, 8, 0\]"),
        (b"\0\0\x0d\1\0\0\0\1\0\0\0\0", r"\[0, 0, 13, 1\]"),  # floats
        (idx(np.zeros((2, 3)))[:11], r"but got 11 bytes .* \[0, 0, 8, 2\]"),
        (idx(np.zeros((2, 3)))[:-1], r"6 values, as its sizes \(2, 3\) say, but got 5"),
        (idx(np.zeros((2, 3))) + b"\0", r"sizes \(2, 3\) say, but got 7"),
    ],
)
def test_what_is_no_idx_file_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        read_idx(content)


def test_mnist_itself(monkeypatch):
    """The real files, where this machine has them: their sums, sizes and look."""
    monkeypatch.setattr(mnist, "MIRRORS", ())
    try:
        data = load_mnist()
    except ConnectionError:
        pytest.skip("MNIST is not here; STN_TUTORIAL_DATA may say where it is")
    assert data.train_images.shape == (60_000, 1, 28, 28)
    assert data.test_images.shape == (10_000, 1, 28, 28)
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert data.train_labels.bincount().tolist() == counts
    assert data.test_labels.shape == (10_000,)
    assert data.train_images.mean().item() == pytest.approx(0.1307, abs=1e-4)
