"""MNIST: 70,000 handwritten digits, downloaded on first use and checked."""

import math
import struct
from pathlib import Path

import torch
from torch import Tensor

from stn_tutorial.data.digits import Digits
from stn_tutorial.data.download import data_folders, fetch, open_unpacked

# The four files of MNIST, each with the checksum of what it holds, unpacked.
HASHES = {
    "train-images-idx3-ubyte": (
        "sha256:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "train-labels-idx1-ubyte": (
        "sha256:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "t10k-images-idx3-ubyte": (
        "sha256:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "t10k-labels-idx1-ubyte": (
        "sha256:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
}
# How many bytes each of them holds, unpacked.
SIZES = {
    "train-images-idx3-ubyte": 47_040_016,
    "train-labels-idx1-ubyte": 60_008,
    "t10k-images-idx3-ubyte": 7_840_016,
    "t10k-labels-idx1-ubyte": 10_008,
}
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


def load_mnist(root: str | Path | None = None) -> Digits:
    """Load MNIST: 60,000 handwritten digits to train, 10,000 to test, all 28x28.

    Its four files are looked for in ``root``, then in the folder that the environment
    variable ``STN_TUTORIAL_DATA`` names, then in your cache folder: packed (``.gz``)
    or not, in the folder itself or in a folder ``mnist`` inside. What is missing is
    downloaded, 12 MB in all, and unpacked, 55 MB, into the first of these folders.
    Found or downloaded, every file is checked against the SHA-256 of its content.

    Args:
        root: the folder that has the files, or shall have them. Optional.

    Raises:
        ValueError: a file that was found is broken, or not MNIST's; or ``root`` is a
            file.
        OSError: the first folder cannot be written, or has no room for what is missing.
        ConnectionError: a file was not found, and no mirror gave a good one. Nothing
            of a failed download is kept.

    Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits". The
    runs that chapter 6 shows are trained on it.
    """
    tensors = []
    folders = data_folders(root)
    for path in fetch("mnist", HASHES, SIZES, MIRRORS, folders, ending=".gz"):
        with open_unpacked(path) as file:
            tensors.append(read_idx(file.read()))
    train_images, train_labels, test_images, test_labels = tensors
    return Digits(
        train_images[:, None] / 255,
        train_labels.long(),
        test_images[:, None] / 255,
        test_labels.long(),
    )


def read_idx(content: bytes) -> Tensor:
    """Read the bytes of an idx file as a tensor of the shape that its head gives.

    Two zeros come first, then 8, which says that the values are bytes, and the number
    of dimensions. Their sizes follow, four bytes each, the highest first; then the
    values.

    Raises:
        ValueError: the content is not that.
    """
    known = len(content) > 3 and content[:3] == b"\0\0\x08"
    if not known or len(content) < 4 + 4 * content[3]:
        raise ValueError(
            "expected an idx file of bytes: 0, 0, 8, the number of dimensions and four "
            f"bytes for the size of each, but got {len(content)} bytes that start with "
            f"{list(content[:4])}"
        )
    dimensions = content[3]
    start = 4 + 4 * dimensions
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise ValueError(
            f"expected an idx file with {math.prod(shape)} values, as its sizes "
            f"{shape} say, but got {len(content) - start}"
        )
    values = torch.frombuffer(bytearray(content), dtype=torch.uint8)[start:]
    return values.view(shape)
