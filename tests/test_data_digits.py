"""The digits: scikit-learn's own, in its order, resized as SciPy would."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn import datasets

from stn_tutorial.data.digits import load_digits


@pytest.fixture(scope="module")
def digits():
    return load_digits()


def test_shapes_and_range(digits):
    assert digits.train_images.shape == (1200, 1, 28, 28)
    assert digits.test_images.shape == (597, 1, 28, 28)
    assert digits.train_labels.shape == (1200,)
    assert digits.test_labels.shape == (597,)
    for images in (digits.train_images, digits.test_images):
        assert images.dtype == torch.float32
        assert images.min() == 0
        assert 0.9 < images.max() <= 1


def test_labels_are_scikit_learns_in_order(digits):
    labels = torch.cat([digits.train_labels, digits.test_labels])
    assert labels.dtype == torch.int64  # what a cross-entropy loss takes
    assert labels.tolist() == datasets.load_digits().target.tolist()
    for part in (digits.train_labels, digits.test_labels):
        assert part.unique().tolist() == list(range(10))


def test_every_image_is_the_resized_original(digits):
    """Order kept, nothing twice, and the bilinear values of another resampler."""
    positions = (1.5 * ((2 * np.arange(28) + 1) / 28 - 1) + 1) * 4 - 0.5
    where = np.stack(np.meshgrid(positions, positions, indexing="ij"))
    originals = datasets.load_digits().images / 16
    expected = [
        ndimage.map_coordinates(image, where, order=1, mode="grid-constant")
        for image in originals
    ]
    images = torch.cat([digits.train_images, digits.test_images])[:, 0]
    assert np.abs(images.numpy() - np.stack(expected)).max() < 1e-5


def test_digits_have_a_margin(digits):
    """Room to turn and shift: the original covers two thirds of the side."""
    margin = torch.ones(28, 28, dtype=torch.bool)
    margin[4:24, 4:24] = False
    assert not digits.train_images[:, 0, margin].any()


def test_each_call_gives_the_same(digits):
    assert all(map(torch.equal, digits, load_digits()))
