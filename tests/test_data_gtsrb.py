"""GTSRB, decoded from small archives of our own in the official layout, and split."""

import hashlib
import io
import os
import re
import shutil
import zipfile

import numpy as np
import pooch
import pytest
from mirrors import Mirrors, flip, save
from PIL import Image

from stn_tutorial.data import gtsrb
from stn_tutorial.data.gtsrb import LEAK, Signs, load_gtsrb, split_by_track

VARIABLE = "STN_TUTORIAL_DATA"
TRAINING, TEST, TRUTH = NAMES = tuple(gtsrb.HASHES)
HEAD = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
RANDOM = np.random.default_rng(0)

# Class, track, frame, then width, height and box, of each image to train on.
TRAIN_ROWS = [
    (0, 0, 0, 20, 40, 5, 10, 15, 30),
    (0, 0, 1, 48, 48, 0, 0, 48, 48),
    (0, 1, 0, 96, 60, 12, 15, 84, 45),
    (14, 23, 7, 31, 30, 5, 5, 26, 25),
    (42, 0, 0, 150, 243, 15, 20, 149, 223),
    (42, 0, 29, 15, 15, 3, 6, 12, 9),
]
# Class, then width, height and box, of each test image.
TEST_ROWS = [
    (42, 64, 32, 16, 8, 48, 24),
    (0, 29, 30, 5, 6, 24, 25),
    (1, 200, 100, 0, 25, 150, 100),
]
TRAIN_PIXELS = [RANDOM.integers(0, 256, (row[4], row[3], 3)) for row in TRAIN_ROWS]
TEST_PIXELS = [RANDOM.integers(0, 256, (row[2], row[1], 3)) for row in TEST_ROWS]
TEST_PIXELS[2] = np.indices((100, 200)).sum(0)[..., None] % 2 * np.full(3, 255)
# By hand: where a side is w pixels long, the edge x is at 2 x / w - 1.
TRAIN_BOXES = [
    (-0.5, -0.5, 0.5, 0.5),
    (-1, -1, 1, 1),
    (-0.75, -0.5, 0.75, 0.5),
    (-21 / 31, -2 / 3, 21 / 31, 2 / 3),
    (-0.8, -203 / 243, 74 / 75, 203 / 243),
    (-0.6, -0.2, 0.6, 0.2),
]
TEST_BOXES = [
    (-0.5, -0.5, 0.5, 0.5),
    (-19 / 29, -0.6, 19 / 29, 2 / 3),
    (-1, -0.5, 0.5, 1),
]


def ppm(pixels):
    """An image file, by the format's description: head, then the bytes."""
    height, width, _ = pixels.shape
    return b"P6 %d %d 255\n" % (width, height) + pixels.astype(np.uint8).tobytes()


def official():
    """What the archives hold: of each, paths and contents. Classes are not in order."""
    train, test = {"GTSRB/Readme-Images.txt": b"Read me"}, {}
    tables = {label: [HEAD] for label in (42, 0, 14)}
    for (label, track, frame, *numbers), pixels in zip(
        TRAIN_ROWS, TRAIN_PIXELS, strict=True
    ):
        name = f"{track:05}_{frame:05}.ppm"
        train[f"GTSRB/Final_Training/Images/{label:05}/{name}"] = ppm(pixels)
        tables[label].append(";".join(map(str, (name, *numbers, label))))
    for label, lines in tables.items():
        folder = f"GTSRB/Final_Training/Images/{label:05}"
        train[f"{folder}/GT-{label:05}.csv"] = "\r\n".join([*lines, ""]).encode()
    truth = [HEAD]
    for i, ((label, *numbers), pixels) in enumerate(
        zip(TEST_ROWS, TEST_PIXELS, strict=True)
    ):
        test[f"GTSRB/Final_Test/Images/{i:05}.ppm"] = ppm(pixels)
        truth.append(";".join(map(str, (f"{i:05}.ppm", *numbers, label))))
    test["GTSRB/Final_Test/Images/GT-final_test.test.csv"] = b"Filename;Width;Height"
    return {
        TRAINING: train,
        TEST: test,
        TRUTH: {"GT-final_test.csv": "\n".join([*truth, ""]).encode()},
    }


def pack(files):
    """A zip archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return packed.getvalue()


PACKED = {name: pack(files) for name, files in official().items()}
CACHE = sorted(f"{name}.npy" for name in gtsrb.ARRAYS)


NO_MIRROR = "http://127.0.0.1:9/"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Our archives for the official ones, no network, and an empty cache folder."""
    hashes = {
        name: f"md5:{hashlib.md5(data).hexdigest()}" for name, data in PACKED.items()
    }
    sizes = dict.fromkeys(PACKED, max(map(len, PACKED.values())))
    monkeypatch.setattr(gtsrb, "HASHES", hashes)
    monkeypatch.setattr(gtsrb, "SIZES", sizes)
    monkeypatch.setattr(gtsrb, "MIRRORS", (NO_MIRROR,))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path / "cache" / "stn-tutorial"


@pytest.fixture
def mirrors(cache, monkeypatch):
    server = Mirrors()
    monkeypatch.setattr(gtsrb, "MIRRORS", (f"{server.address}/official/",))
    yield server
    server.stop()


@pytest.fixture
def decoded(tmp_path, cache):
    """A folder ``gtsrb`` with the decoded arrays, and nothing else."""
    save(tmp_path / "once", PACKED, "")
    load_gtsrb(tmp_path / "once")
    shutil.move(tmp_path / "once" / "gtsrb", tmp_path / "mine" / "gtsrb")
    shutil.rmtree(tmp_path / "once")
    return tmp_path / "mine" / "gtsrb"


def everything(folder):
    """All files and folders below one."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


DECODED = sorted(["gtsrb", *(f"gtsrb/{name}" for name in CACHE)])


def shrink(pixels):
    image = Image.fromarray(pixels.astype(np.uint8))
    return np.asarray(image.resize((48, 48), Image.Resampling.BILINEAR))


def assert_ours(signs):
    """They are our small data set, to the last pixel."""
    for images, pixels in (
        (signs.train_images, TRAIN_PIXELS),
        (signs.test_images, TEST_PIXELS),
    ):
        assert isinstance(images, np.memmap)
        assert not images.flags.writeable
        assert images.dtype == np.uint8
        np.testing.assert_array_equal(images, [shrink(image) for image in pixels])
    numbers = np.array(TRAIN_ROWS)
    for values, column in (
        (signs.train_labels, numbers[:, 0]),
        (signs.train_tracks, numbers[:, 1]),
        (signs.train_frames, numbers[:, 2]),
        (signs.test_labels, np.array(TEST_ROWS)[:, 0]),
    ):
        assert type(values) is np.ndarray
        assert values.dtype == np.int64
        assert values.tolist() == column.tolist()
    for boxes, by_hand in (
        (signs.train_boxes, TRAIN_BOXES),
        (signs.test_boxes, TEST_BOXES),
    ):
        assert boxes.dtype == np.float32
        np.testing.assert_allclose(boxes, by_hand, atol=1e-7)


@pytest.mark.parametrize("inner", ["", "gtsrb"])
@pytest.mark.parametrize("place", ["root", "variable", "cache"])
def test_archives_found_in_a_folder(place, inner, tmp_path, cache, monkeypatch):
    """They are decoded into a folder ``gtsrb``, beside them or around them."""
    folder = cache if place == "cache" else tmp_path / "mine"
    save(folder / inner, PACKED, "")
    before = everything(folder)
    if place == "variable":
        monkeypatch.setenv(VARIABLE, str(folder))
    assert_ours(load_gtsrb(folder if place == "root" else None))
    assert everything(folder) == sorted({*before, *DECODED})


def test_each_archive_may_stand_elsewhere(tmp_path, cache, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "variable"))
    places = [tmp_path / "variable", cache / "gtsrb", tmp_path / "root"]
    for folder, name in zip(places, NAMES, strict=True):
        save(folder, {name: PACKED[name]}, "")
    save(cache, {TRAINING: b"broken, but never asked for"}, "")
    assert_ours(load_gtsrb(tmp_path / "root"))
    assert everything(tmp_path / "root") == sorted([TRUTH, *DECODED])
    assert everything(tmp_path / "variable") == [TRAINING]


def test_an_image_of_48_pixels_stays_and_a_larger_one_is_averaged(tmp_path, cache):
    """So resized, a fine chequerboard is grey, not a pattern of its own."""
    save(tmp_path, PACKED, "")
    signs = load_gtsrb(tmp_path)
    np.testing.assert_array_equal(signs.train_images[1], TRAIN_PIXELS[1])
    assert np.abs(signs.test_images[2] - 127.5).max() < 10


def test_second_load_needs_no_archive(tmp_path, cache, monkeypatch):
    save(tmp_path, PACKED, "")
    load_gtsrb(tmp_path)
    monkeypatch.setattr(gtsrb, "ZipFile", None)
    assert_ours(load_gtsrb(tmp_path))
    for name in NAMES:
        (tmp_path / name).unlink()
    assert_ours(load_gtsrb(tmp_path))
    assert everything(tmp_path) == DECODED


@pytest.mark.parametrize("inner", ["", "gtsrb"])
@pytest.mark.parametrize("place", ["root", "variable", "cache"])
def test_arrays_found_in_a_folder(place, inner, decoded, mirrors, cache, monkeypatch):
    """Written by hand, they need neither archives nor the network."""
    folder = cache if place == "cache" else decoded.parent.with_name("arrays")
    shutil.copytree(decoded, folder / inner)
    if place == "variable":
        monkeypatch.setenv(VARIABLE, str(folder))
    assert_ours(load_gtsrb(folder if place == "root" else None))
    assert mirrors.asked == []


def test_root_comes_before_the_variable_before_the_cache(decoded, cache, monkeypatch):
    """A broken file shows which place was read."""
    root, variable = decoded.parent, decoded.parent.with_name("variable")
    monkeypatch.setenv(VARIABLE, str(variable))
    for folder in (root, variable, cache):
        save(folder, {"train_images.npy": b"broken"}, "")
    for folder in (root, variable, cache):
        with pytest.raises(ValueError, match=re.escape(str(folder))):
            load_gtsrb(folder if folder is root else root)
        (folder / "train_images.npy").unlink()
        if folder is root:
            shutil.move(decoded, cache / "gtsrb")
    assert_ours(load_gtsrb(root))


def test_images_come_from_disk_and_cannot_be_changed(decoded):
    signs = load_gtsrb(decoded)
    with pytest.raises(ValueError, match="read-only"):
        signs.train_images[0] = 0
    signs.train_labels[0] = signs.train_boxes[0] = 0  # these are the caller's own
    assert_ours(load_gtsrb(decoded))


def npy(values):
    """An .npy file."""
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


BOXES = np.array([row[3:] for row in TRAIN_ROWS], "int16")
SPOILT_ARRAYS = {
    "cut short": ("train_images", npy(np.zeros((6, 48, 48, 3), "u1"))[:-1], "mmap"),
    "labels cut short": ("train_labels", npy(np.zeros(6, "u1"))[:-1], "mmap"),
    "head cut short": ("test_images", npy(np.zeros((3, 48, 48, 3), "u1"))[:40], "EOF"),
    "empty": ("train_tracks", b"", "EOF"),
    "head garbled": ("train_frames", npy(np.zeros(6, "i2")).replace(b"}", b" "), "EOF"),
    "not an array": ("test_labels", b"<html>Sign in</html>", "magic"),
    "other size": (
        "train_images",
        npy(np.zeros((6, 32, 32, 3), "u1")),
        r"expected uint8 of shape \(6, 48, 48, 3\), but got uint8 .*32, 32, 3\)",
    ),
    "other order": ("test_images", npy(np.zeros((3, 3, 48, 48), "u1")), "3, 48, 48"),
    "floats": ("test_images", npy(np.zeros((3, 48, 48, 3), "f4")), "got float32"),
    "one number": ("train_images", npy(np.uint8(0)), r"got uint8 of shape \(\)"),
    "other images": (
        "train_images",
        npy(np.zeros((5, 48, 48, 3), "u1")),
        r"labels.npy is .*expected uint8 of shape \(5,\), but got .* \(6,\)",
    ),
    "a label too few": ("test_labels", npy(np.zeros(2, "u1")), r"shape \(3,\)"),
    "a frame too many": ("train_frames", npy(np.zeros(7, "i2")), r"shape \(6,\)"),
    "tracks of another type": ("train_tracks", npy(np.zeros(6)), "expected int16"),
    "no such class": ("test_labels", npy(np.array([0, 43, 1], "u1")), "0 to 42.*43"),
    "boxes of another type": ("train_roi", npy(BOXES.astype("i4")), "expected int16"),
    "box leaves": (
        "train_roi",
        npy(BOXES + np.array([0, 0, 0, 0, 1, 0], "i2")),
        "box of row 1 ",
    ),
    "images of no size": ("train_roi", npy(0 * BOXES), "box of row 0 "),
    "boxes alone": ("test_roi", npy(np.zeros((3, 4), "i2")), r"\(3, 6\)"),
}


@pytest.mark.parametrize(
    ("name", "data", "told"), SPOILT_ARRAYS.values(), ids=SPOILT_ARRAYS
)
def test_spoilt_array_is_refused_and_kept(name, data, told, decoded, mirrors):
    """No decoding over a file that is the user's own."""
    mirrors.put("official", PACKED, "")
    save(decoded, {f"{name}.npy": data}, "")
    with pytest.raises(ValueError, match=told) as raised:
        load_gtsrb(decoded.parent)
    assert str(decoded) in str(raised.value)
    assert "Remove all .npy files" in str(raised.value)
    if "labels.npy" not in told:
        assert str(raised.value).startswith(str(decoded / f"{name}.npy"))
    assert (decoded / f"{name}.npy").read_bytes() == data
    assert everything(decoded) == CACHE
    assert mirrors.asked == []


@pytest.mark.parametrize("name", CACHE)
def test_missing_array_is_named(name, decoded):
    (decoded / name).unlink()
    with pytest.raises(ValueError, match=re.escape(str(decoded / name))):
        load_gtsrb(decoded.parent)


SPOILT = {
    "cut short": PACKED[TEST][:-100],
    "without its last byte": PACKED[TEST][:-1],
    "bit in the middle": flip(PACKED[TEST], 1000),
    "another archive": PACKED[TRAINING],
    "web page": b"<html>Sign in</html>",
    "empty": b"",
}
spoilt = pytest.mark.parametrize("data", SPOILT.values(), ids=SPOILT)


@spoilt
def test_spoilt_archive_is_refused_and_kept(data, tmp_path, mirrors):
    """No download over a file that is the user's own."""
    mirrors.put("official", PACKED, "")
    save(tmp_path, PACKED | {TEST: data}, "")
    told = (
        f"{tmp_path / TEST} is broken, or another file than its name says: expected "
        f"content with MD5 {hashlib.md5(PACKED[TEST]).hexdigest()}, but got "
        f"{hashlib.md5(data).hexdigest()}. Remove it"
    )
    with pytest.raises(ValueError, match=re.escape(told)):
        load_gtsrb(tmp_path)
    assert (tmp_path / TEST).read_bytes() == data
    assert mirrors.asked == []
    assert everything(tmp_path) == sorted(NAMES)


@pytest.mark.parametrize("place", ["root", "variable", "cache"])
def test_download_into_the_first_folder(place, tmp_path, mirrors, cache, monkeypatch):
    """It makes the folder, and the second call asks no mirror."""
    mirrors.put("official", PACKED, "")
    mine = tmp_path / "new" / "folder"
    if place != "cache":
        monkeypatch.setenv(VARIABLE, str(tmp_path if place == "root" else mine))
    root = mine if place == "root" else None
    assert_ours(load_gtsrb(root))
    folder = cache if place == "cache" else mine
    assert everything(folder) == sorted([*NAMES, *DECODED])
    for name in NAMES:
        assert (folder / name).read_bytes() == PACKED[name]
    assert mirrors.asked == [f"/official/{name}" for name in NAMES]
    assert_ours(load_gtsrb(root))
    assert len(mirrors.asked) == 3


def test_only_what_is_missing_is_downloaded(tmp_path, mirrors):
    mirrors.put("official", PACKED, "")
    save(tmp_path, {TRAINING: PACKED[TRAINING], TRUTH: PACKED[TRUTH]}, "")
    assert_ours(load_gtsrb(tmp_path))
    assert mirrors.asked == [f"/official/{TEST}"]
    assert everything(tmp_path) == sorted([*NAMES, *DECODED])


def test_progress_bars(tmp_path, mirrors, capsys):
    mirrors.put("official", PACKED, "")
    load_gtsrb(tmp_path)
    shown = capsys.readouterr().err
    assert shown.count("100%|") >= 5
    assert re.search(r"training images: 100%\|.*6/6", shown)
    assert re.search(r"test images: 100%\|.*3/3", shown)


@spoilt
def test_nothing_of_a_spoilt_download_is_left(data, tmp_path, mirrors):
    mirrors.put("official", PACKED | {TEST: data}, "")
    with pytest.raises(ConnectionError) as raised:
        load_gtsrb(tmp_path)
    lines = str(raised.value).splitlines()
    assert lines[0].startswith(f"gtsrb: missing {TEST}, {TRUTH}. ")
    wanted, found = (
        hashlib.md5(content).hexdigest() for content in (PACKED[TEST], data)
    )
    (failure,) = (line for line in lines if f"official/{TEST}: " in line)
    assert wanted in failure
    assert found in failure
    assert everything(tmp_path) == [TRAINING]


@pytest.mark.parametrize("fault", ["not found", "line breaks"])
def test_nothing_of_a_failed_download_is_left(fault, tmp_path, mirrors):
    if fault == "line breaks":
        mirrors.put("official", {TRAINING: PACKED[TRAINING][:1000]}, "", missing=10)
    with pytest.raises(ConnectionError, match=f"official/{TRAINING}: "):
        load_gtsrb(tmp_path)
    assert everything(tmp_path) == []


def test_offline_tells_what_to_do(tmp_path, cache, monkeypatch):
    """What is missing, where it was looked for, who was asked, what helps."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "variable"))
    save(tmp_path / "root", {TRAINING: PACKED[TRAINING]}, "")
    with pytest.raises(ConnectionError) as raised:
        load_gtsrb(tmp_path / "root")
    missing, *folders, asked, failure, advice = str(raised.value).splitlines()
    assert missing.startswith(f"gtsrb: missing {TEST}, {TRUTH}. Looked in ")
    places = (tmp_path / "root", tmp_path / "variable", cache)
    assert folders == [f"- {folder}" for folder in places]
    assert asked == "Asked:"
    assert failure.startswith(f"- {NO_MIRROR}{TEST}: ")
    for word in (*NAMES, f"into {tmp_path / 'root'};", VARIABLE, "online"):
        assert word in advice
    assert everything(tmp_path) == ["root", f"root/{TRAINING}"]


@pytest.mark.parametrize("fault", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_interrupted_write_leaves_nothing(fault, tmp_path, cache, monkeypatch):
    """It ends in the middle of the fifth file."""
    save(tmp_path, PACKED, "")
    whole, written = np.save, []

    def half(path, values):
        whole(path, values)
        written.append(path.name)
        if len(written) == 5:
            os.truncate(path, 50)
            raise fault

    monkeypatch.setattr(np, "save", half)
    with pytest.raises(type(fault)):
        load_gtsrb(tmp_path)
    assert len(written) == 5
    assert everything(tmp_path) == sorted(NAMES)


def test_two_may_decode_at_once(decoded, cache, monkeypatch):
    """Another process finishes the same folder first."""
    folder = decoded.parent.with_name("shared")
    save(folder, PACKED, "")
    decode = gtsrb.decode

    def slower(*archives):
        arrays = decode(*archives)
        shutil.copytree(decoded, folder / "gtsrb")
        return arrays

    monkeypatch.setattr(gtsrb, "decode", slower)
    assert_ours(load_gtsrb(folder))
    assert everything(folder) == sorted([*NAMES, *DECODED])


def test_files_are_as_readable_as_any_other(tmp_path, mirrors):
    """A class shares the folder: no private rights left from a temporary file."""
    mirrors.put("official", PACKED, "")
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "another").write_bytes(b"")
    load_gtsrb(folder)
    assert len(everything(folder)) == 1 + len(NAMES) + len(DECODED)
    for path in folder.rglob("*"):
        like = folder if path.is_dir() else folder / "another"
        assert path.stat().st_mode == like.stat().st_mode


def tracks_only(labels, tracks):
    """Signs of which only the class and the track are known."""
    return Signs(None, np.array(labels), np.array(tracks), *5 * [None])


def many_tracks():
    """In class c, 7 + c tracks of c % 3 + 1 images each, all in random order."""
    pairs = [
        (label, track)
        for label in range(43)
        for track in range(7 + label)
        for _ in range(label % 3 + 1)
    ]
    return tracks_only(*RANDOM.permutation(pairs).T)


@pytest.mark.parametrize("seed", range(5))
def test_split_keeps_tracks_whole(seed):
    signs = many_tracks()
    signs.train_tracks[signs.train_labels == 14] += 10  # 10 to 30, the leak among them
    pairs = list(
        zip(signs.train_labels.tolist(), signs.train_tracks.tolist(), strict=True)
    )
    assert LEAK == (14, 23)
    assert LEAK in pairs
    training, validation = split_by_track(signs, seed)
    assert training.dtype == validation.dtype == np.int64
    expected = [i for i, pair in enumerate(pairs) if pair != LEAK]
    assert sorted([*training, *validation]) == expected
    assert (np.diff(training) > 0).all()
    assert (np.diff(validation) > 0).all()
    held = {pairs[i] for i in validation}
    assert held.isdisjoint(pairs[i] for i in training)
    for label in range(43):
        count = 7 + label - (label == 14)
        drawn = sum(pair[0] == label for pair in held)
        assert drawn == round(count / 10), label


def test_split_draws_by_its_seed():
    signs = many_tracks()
    splits = [split_by_track(signs, seed)[1].tolist() for seed in (0, 0, 1, 2)]
    assert splits[0] == splits[1] == split_by_track(signs)[1].tolist()
    assert splits[1] != splits[2] != splits[3] != splits[1]


def test_split_draws_every_track_some_time():
    signs = tracks_only([5] * 20, np.arange(20))
    drawn = {i for seed in range(200) for i in split_by_track(signs, seed)[1].tolist()}
    assert drawn == set(range(20))


@pytest.mark.parametrize("seed", range(20))
def test_split_takes_one_track_of_a_small_class(seed):
    """The number of a track counts within its class: only class 14 has the leak."""
    signs = tracks_only([14, 14, 14, 13, 13, 14], [23, 3, 7, 23, 3, 23])
    training, validation = split_by_track(signs, seed)
    assert sorted([*training, *validation]) == [1, 2, 3, 4]
    assert sorted(signs.train_labels[validation].tolist()) == [13, 14]


@pytest.fixture(scope="module")
def real():
    """The real data, where this machine has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gtsrb, "MIRRORS", (NO_MIRROR,))
        patch.setenv("NO_PROXY", "127.0.0.1")
        try:
            return load_gtsrb()
        except ConnectionError:
            pytest.skip("GTSRB is not here; STN_TUTORIAL_DATA may say where it is")


def test_gtsrb_itself(real):
    """Its sizes, classes and boxes."""
    assert real.train_images.shape == (39_209, 48, 48, 3)
    assert real.test_images.shape == (12_630, 48, 48, 3)
    for labels, fewest, most in (
        (real.train_labels, 210, 2250),
        (real.test_labels, 60, 750),
    ):
        counts = np.bincount(labels)
        assert len(counts) == 43
        assert (counts.min(), counts.max()) == (fewest, most)
    pairs = np.stack([real.train_labels, real.train_tracks, real.train_frames])
    assert len(np.unique(pairs, axis=1).T) == 39_209
    assert len(np.unique(pairs[:2], axis=1).T) == 1307
    for boxes in (real.train_boxes, real.test_boxes):
        assert (boxes[:, :2] < boxes[:, 2:]).all()
        assert np.abs(boxes).max() <= 1
        widths = (boxes[:, 2] - boxes[:, 0]) / 2
        assert widths.mean() == pytest.approx(0.745, abs=0.005)


def test_split_of_gtsrb_itself(real):
    training, validation = split_by_track(real)
    labels = real.train_labels
    assert len(np.unique(labels[training])) == len(np.unique(labels[validation])) == 43
    assert len(training) + len(validation) == 39_209 - 30
    assert 0.09 < len(validation) / 39_209 < 0.11


def test_leak_of_gtsrb_itself(real):
    """Of the track that is left out, 8 images are in the test set, pixel for pixel."""
    leak = (real.train_labels == LEAK[0]) & (real.train_tracks == LEAK[1])
    test = {image.tobytes() for image in real.test_images}
    assert sum(image.tobytes() in test for image in real.train_images[leak]) == 8
    training, validation = split_by_track(real)
    for indices in (training, validation):
        assert not any(real.train_images[i].tobytes() in test for i in indices)
