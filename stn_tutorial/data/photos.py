"""Real photographs that come with scikit-image."""

import torch
from skimage import data
from torch import Tensor


def cat_photo() -> Tensor:
    """Load a real photograph, not square: shape (1, 3, 300, 451), in [0, 1].

    Source: "Chelsea" by Stefan van der Walt (CC0), in scikit-image.
    """
    return torch.tensor(data.chelsea()).permute(2, 0, 1)[None] / 255
