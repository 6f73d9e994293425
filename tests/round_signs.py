"""GTSRB made up for the tests of scenes: each real sign has a colour of its own."""

import numpy as np

from stn_tutorial.data.gtsrb import ARRAYS
from stn_tutorial.data.scenes import CLASSES

# Of each class eleven tracks of three frames, the first of them too small; one class
# more, which is not round; and six images to test with.
TRACKS, FRAMES = 11, 3
LABELS = (*CLASSES, 13)
BOX = (8, 4, 40, 44)  # in an image of 48x48 pixels


def write_gtsrb(folder):
    """Write the arrays of the cache; returns them."""
    rng = np.random.default_rng(0)
    labels, tracks, frames = (
        part.ravel() for part in np.meshgrid(LABELS, range(TRACKS), range(FRAMES))
    )
    test_labels = np.repeat(LABELS, 6)
    colours = rng.integers(30, 226, size=(100 * TRACKS, 3))
    train_images = np.empty((len(labels), 48, 48, 3))
    train_images[:] = colours[labels * TRACKS + tracks][:, None, None]
    test_images = np.empty((len(test_labels), 48, 48, 3))
    test_images[:] = rng.integers(30, 226, size=(len(test_labels), 1, 1, 3))
    # In the camera's image the sign was half as large, and then too small, or as large.
    train_roi = np.tile([48, 48, *BOX], (len(labels), 1))
    train_roi[frames == 0] //= 2
    test_roi = np.tile([48, 48, *BOX], (len(test_labels), 1))
    test_roi[::6] //= 2
    arrays = {
        "train_images": train_images,
        "train_labels": labels,
        "train_tracks": tracks,
        "train_frames": frames,
        "train_roi": train_roi,
        "test_images": test_images,
        "test_labels": test_labels,
        "test_roi": test_roi,
    }
    folder.mkdir()
    for name, values in arrays.items():
        arrays[name] = np.asarray(values, ARRAYS[name][0])
        np.save(folder / f"{name}.npy", arrays[name])
    return arrays
