"""Handwritten digits that come with scikit-learn: real ones, without a download."""

from typing import NamedTuple

import torch
from sklearn import datasets
from torch import Tensor

from stn_tutorial.affine import scaling
from stn_tutorial.interpolation import warp

#: How many of the 1,797 digits train, in the order of the data set.
TRAIN = 1200


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
    bunch = datasets.load_digits()
    originals = torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 16
    images = warp(originals, scaling(1.5), size=(28, 28))
    labels = torch.tensor(bunch.target)
    return Digits(images[:TRAIN], labels[:TRAIN], images[TRAIN:], labels[TRAIN:])
