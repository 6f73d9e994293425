"""MNIST: 70,000 handwritten digits, downloaded on first use and checked."""

import struct
from pathlib import Path

import torch
from torch import Tensor

from stn_tutorial.data.digits import Digits
from stn_tutorial.data.download import fetch

# The four files of MNIST, each with the SHA-256 of what it holds, unpacked.
MNIST = {
    "train-images-idx3-ubyte": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "train-labels-idx1-ubyte": (
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "t10k-images-idx3-ubyte": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "t10k-labels-idx1-ubyte": (
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
}
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


def load_mnist(root: str | Path | None = None) -> Digits:
    """MNIST: 60,000 handwritten digits to train, 10,000 to test, all 28x28.

    Its four files are looked for in ``root``, then in the folder that the environment
    variable ``STN_TUTORIAL_DATA`` names, then in your cache folder: packed (``.gz``)
    or not, in the folder itself or in a folder ``mnist`` inside. What is missing is
    downloaded, 12 MB in all, into the first of these folders. Found or downloaded,
    every file is checked against the SHA-256 of its content.

    Args:
        root: the folder that has the files, or shall have them. Optional.

    Raises:
        ValueError: a file that was found is broken, or not MNIST's; or ``root`` is a
            file.
        ConnectionError: a file was not found, and no mirror gave a good one. Nothing
            of a failed download is kept.

    Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits". Used
    in chapter 6.
    """
    files = fetch("mnist", MNIST, MIRRORS, root)
    train_images, train_labels, test_images, test_labels = map(read_idx, files)
    return Digits(
        train_images[:, None] / 255,
        train_labels.long(),
        test_images[:, None] / 255,
        test_labels.long(),
    )


def read_idx(content: bytes) -> Tensor:
    """The bytes in an idx file, as a tensor of the shape that its head gives.

    Byte 3 counts the dimensions. Their sizes follow, four bytes each, the highest
    first; then the values. Used in chapter 6.
    """
    start = 4 + 4 * content[3]
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)[start:].view(shape)
