"""Photographs: the bundled ones, as the book's tensors."""

import torch
from skimage import data

from stn_tutorial.data.photos import cat_photo


def test_cat_photo_is_the_bundled_photograph():
    photo = cat_photo()
    assert photo.shape == (1, 3, 300, 451)
    assert photo.dtype == torch.float32
    expected = torch.tensor(data.chelsea()).permute(2, 0, 1) / 255
    assert torch.equal(photo[0], expected)
    assert photo.max() <= 1
