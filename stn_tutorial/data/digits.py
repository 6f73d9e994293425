"""Handwritten digits that come with scikit-learn: real ones, without a download."""

from importlib.metadata import distribution
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stn_tutorial.affine import scaling
from stn_tutorial.interpolation import warp

#: How many of the 1,797 digits train, in the order of the data set.
TRAIN = 1200
#: Where scikit-learn keeps them, in the folder of the packages.
DIGITS = "sklearn/datasets/data/digits.csv.gz"


class Digits(NamedTuple):
    """Images (N, 1, 28, 28) in [0, 1] and labels (N,) from 0 to 9."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def load_digits() -> Digits:
    """Load the 1,797 bundled digits at 28x28: 1,200 to train, 597 to test.

    The originals are 8x8. A grid 1.5 times as wide as the image reads them
    with a margin of zeros, and the book's own bilinear sampler brings them to
    28x28. The split keeps the order of the data set, so it is the same everywhere.

    Source: scikit-learn's ``load_digits``, the test part of Alpaydin and Kaynak's
    "Optical Recognition of Handwritten Digits". Used from chapter 0 on.
    """
    # To import scikit-learn, and SciPy's statistics with it, would take 80 MB and most
    # of a second, for one table: 64 pixels a digit, and its label.
    table = distribution("scikit-learn").locate_file(DIGITS)
    numbers = torch.from_numpy(np.loadtxt(str(table), delimiter=","))
    originals = numbers[:, :64].float().view(-1, 1, 8, 8) / 16
    images = warp(originals, scaling(1.5), size=(28, 28))
    labels = numbers[:, 64].long()
    return Digits(images[:TRAIN], labels[:TRAIN], images[TRAIN:], labels[TRAIN:])
