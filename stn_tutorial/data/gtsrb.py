"""The German Traffic Sign Recognition Benchmark, decoded once, then memory-mapped."""

import io
import shutil
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from tokenize import TokenError
from typing import NamedTuple
from zipfile import ZipFile

import numpy as np
import torch
from numpy import ndarray
from numpy.typing import ArrayLike
from PIL import Image
from tqdm import tqdm

from stn_tutorial.data.download import (
    data_folders,
    fetch,
    part_of,
    remove_stale,
    writing,
)

#: The classes, in the official order.
NAMES = (
    *("speed limit 20", "speed limit 30", "speed limit 50", "speed limit 60"),
    *("speed limit 70", "speed limit 80", "end of limit 80", "speed limit 100"),
    *("speed limit 120", "no overtaking", "no overtaking by lorries"),
    *("right of way", "priority road", "give way", "stop", "no vehicles"),
    *("no lorries", "no entry", "danger", "curve left", "curve right"),
    *("double curve", "bumpy road", "slippery road", "road narrows", "road works"),
    *("traffic lights", "pedestrians", "children", "bicycles", "snow or ice"),
    *("wild animals", "end of all limits", "turn right", "turn left", "ahead only"),
    *("ahead or right", "ahead or left", "keep right", "keep left", "roundabout"),
    *("overtaking allowed", "overtaking allowed to lorries"),
)
CLASSES = len(NAMES)
#: The images' height and width in pixels.
SIDE = 48
# Class and track. Eight of its images are in the test set too, pixel for pixel.
LEAK = (14, 23)

MIRRORS = ("https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/",)
# The archives, each with its MD5: no other sum of them is published.
HASHES = {
    "GTSRB_Final_Training_Images.zip": "md5:f33fd80ac59bff73c82d25ab499e03a3",
    "GTSRB_Final_Test_Images.zip": "md5:c7e4e6327067d32654124b0fe9e82185",
    "GTSRB_Final_Test_GT.zip": "md5:fe31e9c9270bbcd7b84b7f21a9d9d9e5",
}
# Their sizes in bytes, and that of all the arrays that are decoded from them.
SIZES = {
    "GTSRB_Final_Training_Images.zip": 276_294_756,
    "GTSRB_Final_Test_Images.zip": 88_978_620,
    "GTSRB_Final_Test_GT.zip": 99_620,
}
DECODED = 359_142_935
TEST_FOLDER = "GTSRB/Final_Test/Images/"

# The arrays of the cache, each in a file NAME.npy: its type, and the shape of one item.
# "roi" is width, height, x1, y1, x2, y2, in pixels of the original image.
ARRAYS = {
    "train_images": ("uint8", (SIDE, SIDE, 3)),
    "train_labels": ("uint8", ()),
    "train_tracks": ("int16", ()),
    "train_frames": ("int16", ()),
    "train_roi": ("int16", (6,)),
    "test_images": ("uint8", (SIDE, SIDE, 3)),
    "test_labels": ("uint8", ()),
    "test_roi": ("int16", (6,)),
}


class Signs(NamedTuple):
    """Traffic signs to train on (N of them) and to test with (M), as NumPy arrays.

    Images are RGB, uint8, of shape (N, 48, 48, 3), and memory-mapped for reading: an
    index fetches from disk only what it names. Labels, from 0 to 42, tracks and frames
    are int64, of shape (N,). A track is one real sign, filmed on approach, frame after
    frame; its number counts within its class, so only (label, track) names it.

    Boxes, float32 of shape (N, 4), say where the sign is: x1, y1, x2, y2 in normalised
    coordinates of the image, whose edges are at -1 and 1 (``align_corners=False``).
    """

    train_images: np.memmap
    train_labels: ndarray
    train_tracks: ndarray
    train_frames: ndarray
    train_boxes: ndarray
    test_images: np.memmap
    test_labels: ndarray
    test_boxes: ndarray


def load_gtsrb(root: str | Path | None = None) -> Signs:
    """Load GTSRB: 39,209 traffic signs to train, 12,630 to test, all 48x48.

    Every image is whole, with its margin around the sign, resized with antialiasing.

    The decoded arrays (``train_images.npy`` and so on) are looked for in ``root``, then
    in the folder that the environment variable ``STN_TUTORIAL_DATA`` names, then in
    your cache folder: in the folder itself or in a folder ``gtsrb`` inside. If they are
    in none, the three official archives are looked for in the same places and checked
    against their MD5. What is missing is downloaded, about 365 MB in all, into the
    first of these folders. Then the archives are decoded, once, into a folder ``gtsrb``
    there, 360 MB; from then on you may delete them.

    Args:
        root: the folder that has the files, or shall have them. Optional.

    Raises:
        ValueError: a file is missing among the arrays, is broken, or another file than
            its name says; the message names it.
        OSError: the first folder cannot be written, or has no room for the archives
            that are missing and for the arrays.
        ConnectionError: an archive was neither found nor downloaded whole.

    Source: Stallkamp et al. 2012, "Man vs. computer: Benchmarking machine learning
    algorithms for traffic sign recognition". Used for the records of chapter 7.
    """
    folders = data_folders(root)
    remove_stale(folders, {"gtsrb", *HASHES})
    for place in product(folders, ("", "gtsrb")):
        if any(Path(*place, f"{name}.npy").is_file() for name in ARRAYS):
            return read_cache(Path(*place))
    archives = fetch("gtsrb", HASHES, SIZES, MIRRORS, folders, later=DECODED)
    return read_cache(write_cache(folders[0] / "gtsrb", archives))


def split_by_track(signs: Signs, seed: int = 0) -> tuple[ndarray, ndarray]:
    """Split the training images: indices to train on, and indices to validate with.

    Images of one track look alike, so tracks stay whole: of each class a tenth of the
    tracks, drawn by the seed, and at least one, are for validation. The track ``LEAK``
    is in neither.

    Returns:
        two sorted int64 arrays without a common index.

    Used for the records of chapter 7.
    """
    generator = torch.Generator().manual_seed(seed)
    labels, tracks = signs.train_labels, signs.train_tracks
    leak = (labels == LEAK[0]) & (tracks == LEAK[1])
    validation = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        of_class = (labels == label) & ~leak
        candidates = np.unique(tracks[of_class])
        order = torch.randperm(len(candidates), generator=generator).numpy()
        drawn = candidates[order[: max(1, round(len(candidates) / 10))]]
        validation |= of_class & np.isin(tracks, drawn)
    return np.flatnonzero(~validation & ~leak), np.flatnonzero(validation)


def read_cache(folder: Path) -> Signs:
    """Check the arrays in a folder and read all but the images, which stay on disk.

    Raises:
        ValueError: one is missing, broken, or does not fit the others.
    """
    arrays: dict[str, np.memmap] = {}
    for name, (dtype, item) in ARRAYS.items():
        path = folder / f"{name}.npy"
        try:
            array = np.lib.format.open_memmap(path, mode="r")
            # As many items as there are images, which come first.
            part = name.split("_")[0]
            images = arrays.get(f"{part}_images", array)
            shape = (*images.shape[:1], *item)
            if array.dtype != dtype or array.shape != shape:
                raise ValueError(
                    f"expected {dtype} of shape {shape}, but got {array.dtype} of "
                    f"shape {array.shape}"
                )
            if name.endswith("labels") and array.max() >= CLASSES:
                raise ValueError(f"expected 0 to {CLASSES - 1}, but got {array.max()}")
            if name.endswith("roi") and not inside(array).all():
                row = inside(array).argmin()
                raise ValueError(f"the box of row {row} is empty or leaves the image")
        except (FileNotFoundError, TokenError, ValueError) as error:
            raise ValueError(
                f"{path} is missing, broken, or another file than its name says: "
                f"{error}. Remove all .npy files of GTSRB from {folder} to have them "
                "made anew from the official archives, or put good ones there."
            ) from None
        arrays[name] = array
    return Signs(
        arrays["train_images"],
        np.array(arrays["train_labels"], int),
        np.array(arrays["train_tracks"], int),
        np.array(arrays["train_frames"], int),
        normalised(arrays["train_roi"]),
        arrays["test_images"],
        np.array(arrays["test_labels"], int),
        normalised(arrays["test_roi"]),
    )


def inside(roi: ndarray) -> ndarray:
    """Tell which boxes (N, 6) have a content and lie in their image, shape (N,)."""
    width, height, x1, y1, x2, y2 = roi.T
    in_width = (x1 >= 0) & (x1 < x2) & (x2 <= width)
    return in_width & (y1 >= 0) & (y1 < y2) & (y2 <= height)


def normalised(roi: ndarray) -> ndarray:
    """Rewrite boxes from pixels, the far edge excluded, to an image from -1 to 1."""
    sides = roi[:, [0, 1, 0, 1]]  # width, height, width, height
    return (2 * (roi[:, 2:] / sides) - 1).astype(np.float32)


def write_cache(folder: Path, archives: Sequence[Path]) -> Path:
    """Decode the archives into a folder of arrays: all of them or none.

    Another process may do the same at the same time, with the same end.
    """
    part = part_of(folder)
    arrays = decode(*archives)
    try:
        with writing(folder.parent):
            part.mkdir(parents=True)
            for name, values in arrays.items():
                np.save(part / f"{name}.npy", np.asarray(values, ARRAYS[name][0]))
        try:
            part.rename(folder)
        except OSError:  # the folder is there: with the archives, or just made
            for path in part.iterdir():
                path.replace(folder / path.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


class Row(NamedTuple):
    """A row of an official table; ``path`` is that of its image in the archive."""

    path: str
    roi: list[int]
    label: int


def decode(training: Path, test: Path, truth: Path) -> dict[str, ArrayLike]:
    """Make the arrays of the cache from the archives; nothing is unpacked to disk."""
    rows = []
    with ZipFile(training) as archive:
        for table in sorted(archive.namelist()):
            if table.endswith(".csv"):
                folder = table[: table.rfind("/") + 1]
                rows += read_table(archive, table, folder)
        train_images = read_images(archive, rows, "Decoding training images")
    with ZipFile(truth) as archive:
        test_rows = read_table(archive, "GT-final_test.csv", TEST_FOLDER)
    with ZipFile(test) as archive:
        test_images = read_images(archive, test_rows, "Decoding test images")
    # A training image is called TRACK_FRAME.ppm.
    names = [Path(row.path).stem.split("_") for row in rows]
    return {
        "train_images": train_images,
        "train_labels": [row.label for row in rows],
        "train_tracks": [int(track) for track, _ in names],
        "train_frames": [int(frame) for _, frame in names],
        "train_roi": [row.roi for row in rows],
        "test_images": test_images,
        "test_labels": [row.label for row in test_rows],
        "test_roi": [row.roi for row in test_rows],
    }


def read_table(archive: ZipFile, table: str, folder: str) -> list[Row]:
    """Read the rows of a csv file; ``folder`` is where in an archive their images are.

    Its columns are Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId.
    """
    rows = []
    for line in archive.read(table).decode().splitlines()[1:]:
        name, *numbers = line.split(";")
        *roi, label = map(int, numbers)
        rows.append(Row(folder + name, roi, label))
    return rows


def read_images(archive: ZipFile, rows: Sequence[Row], title: str) -> ndarray:
    """Decode the whole images of the rows, shape (N, 48, 48, 3).

    Where Pillow's filter shrinks an image, it averages all pixels.
    """
    images = np.empty((len(rows), SIDE, SIDE, 3), np.uint8)
    for i, row in enumerate(tqdm(rows, title)):
        image = Image.open(io.BytesIO(archive.read(row.path))).convert("RGB")
        images[i] = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return images
