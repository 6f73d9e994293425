"""Scenes: real traffic signs, small, somewhere in pieces of real photographs.

GTSRB's images are cut around their signs, so a network has little to find there. Here
the signs are cut out along their edge and stand in something larger. The twelve classes
are all round, so the outline does not tell which sign it is. Chapter 7 trains on them.
"""

from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from skimage import data
from torch import Tensor

from stn_tutorial.affine import affine_grid, rotation, scaling
from stn_tutorial.data import gtsrb
from stn_tutorial.data.drawn_signs import PHOTOS
from stn_tutorial.data.gtsrb import load_gtsrb, split_by_track
from stn_tutorial.distortions import uniform

#: GTSRB's numbers of the classes, seven speed limits and five other round signs.
CLASSES = (1, 2, 3, 4, 5, 7, 8, 9, 10, 17, 35, 38)
#: What they are called.
NAMES = tuple(gtsrb.NAMES[label] for label in CLASSES)
#: The parts of the data. Signs to validate with stand in photographs to train with.
PARTS = ("train", "validation", "test")
#: A sign's width in a scene, in pixels, is drawn evenly from the first to the second.
SPANS = 24, 48
#: What can stand in the place of a sign; all but the first are controls.
CONTENTS = ("sign", "blurred", "photo", "nothing")

# Pixels a side of a sign that was cut out, and the fewest that its box had in the
# camera's image: so no sign is ever painted more than twice as large as it was seen.
CUT, FEWEST = 48, 24
# Pixels a side of the square in which a sign is painted into its scene.
PATCH = 50
# Where a sign ends, as a share of its box, and over how many pixels its edge fades.
EDGE, FADE = 0.95, 3.0
# What of a sign's box GTSRB's image has on the mean, in pixels a side.
SEEN = 36
# Pixels of a photograph's piece, and those that come with scikit-learn.
PIECE = 512, 256
MORE_PHOTOS = (
    "sklearn/datasets/images/china.jpg",
    "sklearn/datasets/images/flower.jpg",
)


def load_signs(part: str, root: str | Path | None = None) -> tuple[Tensor, Tensor]:
    """Load the signs of one part, cut out of GTSRB by their annotated boxes.

    To train and to validate with are GTSRB's training images, split by
    :func:`stn_tutorial.data.gtsrb.split_by_track`; no real sign is in both. To test
    with are its test images. Signs below 24 pixels in the camera's image are left out.

    Args:
        part: one of ``PARTS``.
        root: as in :func:`stn_tutorial.data.gtsrb.load_gtsrb`.

    Returns:
        images of bytes (N, 3, 48, 48), which the signs' boxes fill, and labels (N,),
        indices into ``NAMES``.

    Raises:
        ValueError: an unknown part, or as ``load_gtsrb``.

    Source: Stallkamp et al. 2012. Used for the records of chapter 7.
    """
    _check_part(part)
    signs = load_gtsrb(root)
    if part == "test":
        images, classes = signs.test_images, signs.test_labels
        boxes, chosen = signs.test_boxes, np.arange(len(classes))
    else:
        images, classes, boxes = (
            signs.train_images,
            signs.train_labels,
            signs.train_boxes,
        )
        train, held = split_by_track(signs)
        chosen = train if part == "train" else held
    name = "test_roi.npy" if part == "test" else "train_roi.npy"
    _, _, x1, y1, x2, y2 = np.load(Path(str(images.filename)).with_name(name)).T
    large = np.minimum(x2 - x1, y2 - y1) >= FEWEST
    chosen = chosen[large[chosen] & np.isin(classes[chosen], CLASSES)]
    labels = torch.from_numpy(np.searchsorted(CLASSES, classes[chosen]))
    whole = torch.tensor(images[chosen]).permute(0, 3, 1, 2)
    return cut_out(whole, torch.tensor(boxes[chosen])), labels


def cut_out(images: Tensor, boxes: Tensor) -> Tensor:
    """Cut boxes out of images and resize them.

    Args:
        images: of bytes, shape (N, 3, H, W).
        boxes: x1, y1, x2, y2 in normalised coordinates, shape (N, 4).

    Returns:
        of bytes, shape (N, 3, 48, 48).
    """
    low, high = boxes[:, :2, None], boxes[:, 2:, None]  # (N, 2, 1) each
    size = torch.diag_embed((high - low)[:, :, 0] / 2)
    theta = torch.cat([size, (low + high) / 2], dim=2)  # (N, 2, 3)
    cuts = []
    for batch, window in zip(images.split(500), theta.split(500), strict=True):
        grid = affine_grid(window, (len(batch), 3, CUT, CUT), align_corners=False)
        pixels = F.grid_sample(
            batch.float(), grid, padding_mode="border", align_corners=False
        )
        cuts.append(pixels.round().byte())
    return torch.cat(cuts)


def photo_pieces(part: str) -> Tensor:
    """Cut the left halves of photographs to train with, the right ones to test with.

    Each photograph is resized to a height of 512 pixels; its piece is the left or the
    right 256 columns.

    Source: eight photographs that come with scikit-image, as in
    ``backgrounds`` of :mod:`stn_tutorial.data.drawn_signs`, and two that come with
    scikit-learn (CC BY 2.0): "china" by danielbuechele and "flower" by vultilion.

    Args:
        part: one of ``PARTS``; "validation" gives the pieces to train with.

    Returns:
        bytes, shape (10, 3, 512, 256).

    Raises:
        ValueError: an unknown part.

    Used in chapter 7.
    """
    _check_part(part)
    files = distribution("scikit-learn")
    photos = [np.atleast_3d(getattr(data, name)()) for name in PHOTOS]
    # Read as files, for to import scikit-learn would take 80 MB.
    for name in MORE_PHOTOS:
        photos.append(np.asarray(Image.open(str(files.locate_file(name)))))
    pieces = []
    for photo in photos:
        pixels = torch.tensor(photo).permute(2, 0, 1)[None].float()
        pixels = pixels.expand(1, 3, *photo.shape[:2])  # some have no colours
        height, width = PIECE
        size = height, round(photo.shape[1] * height / photo.shape[0])
        pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True)
        half = pixels[..., -width:] if part == "test" else pixels[..., :width]
        pieces.append(half.round().byte())
    return torch.cat(pieces)


def make_scenes(
    signs: Tensor,
    photos: Tensor,
    side: int,
    generator: torch.Generator,
    content: str = "sign",
) -> tuple[Tensor, Tensor]:
    """Put each sign somewhere on a piece of a photograph.

    All is drawn evenly: which photograph, and where in it the piece is cut, in whole
    pixels; the width of the sign's box, 24 to 48 pixels; a turn of -10 to 10 degrees;
    and the place, with all of the box in the scene. A sign is cut off 5% inside its
    box, in a circle whose edge fades over three pixels, and made as bright, on the
    mean, as its piece of the photograph, but at most twice as bright or half as bright
    as it was.

    Args:
        signs: of bytes, shape (N, 3, 48, 48), as :func:`load_signs` gives them.
        photos: of bytes, shape (P, 3, H, W), as :func:`photo_pieces` gives them.
        side: pixels a side of a scene, from 50 to what the photographs have.
        generator: the source of the random numbers.
        content: what stands inside the circle: the "sign"; its mean colour alone
            ("blurred"); a piece of another "photo"; or "nothing" but what was there
            before, as coarse as a sign and painted in by the same brush, so that no
            more is left than the traces of the painting. Photograph, place and size
            are drawn alike for all four.

    Returns:
        scenes (N, 3, side, side) in [0, 1], and boxes (N, 4), each the left, top, right
        and bottom edge of a sign, normalised (``align_corners=False``).

    Raises:
        ValueError: signs or photos of another shape or type; a side out of range; or
            an unknown content.

    Used in chapter 7.
    """
    _check_scenes(signs, photos, side, content)
    n = len(signs)
    scenes = _windows(photos, n, side, generator)
    span = uniform(*SPANS, n, generator)  # in pixels, as the centre
    centre = torch.rand(n, 2, generator=generator) * (side - span[:, None])
    centre += span[:, None] / 2
    turn = rotation(uniform(-10, 10, n, generator))[:, :, :2]  # (N, 2, 2)
    corner = (centre - PATCH / 2).floor().clamp(0, side - PATCH)  # the patch's, x and y
    line = torch.arange(PATCH) + 0.5
    offset = corner[:, :, None] + line - centre[:, :, None]  # (N, 2, PATCH), in pixels
    offset = offset / (span / 2)[:, None, None]  # from -1 to 1 in the sign's box
    x = offset[:, 0, None, :].expand(n, PATCH, PATCH)
    y = offset[:, 1, :, None].expand(n, PATCH, PATCH)
    radius = (x.square() + y.square()).sqrt()
    inside = (EDGE - radius) * (span / 2)[:, None, None]  # in pixels
    alpha = (inside / FADE + 0.5).clamp(0, 1)[:, None]  # (N, 1, PATCH, PATCH)
    grid = torch.stack([x, y], dim=-1).view(n, -1, 2) @ turn.mT
    paint = F.grid_sample(
        signs / 255,
        grid.view(n, PATCH, PATCH, 2),
        padding_mode="border",
        align_corners=False,
    )  # (N, 3, PATCH, PATCH)
    colour = (alpha * paint).sum((2, 3), keepdim=True) / alpha.sum((2, 3), keepdim=True)
    if content == "blurred":
        paint = colour
    elif content == "photo":
        paint = _windows(photos, n, PATCH, generator)
        colour = paint.mean((2, 3), keepdim=True)
    if content == "nothing":
        paint = _painted_again(scenes, centre, span, torch.stack([x, y], dim=-1))
    else:
        light = scenes.mean((1, 2, 3), keepdim=True)
        gain = light / colour.mean(1, keepdim=True).clamp(min=1e-3)
        paint = (gain.clamp(0.5, 2) * paint).clamp(0, 1)
    # Slices copy whole rows, which is quicker than one index for all the pixels.
    places = corner.long().tolist()
    for scene, (left, top), new, share in zip(
        scenes, places, paint, alpha, strict=True
    ):
        scene[:, top : top + PATCH, left : left + PATCH].lerp_(new, share)
    low, high = centre - span[:, None] / 2, centre + span[:, None] / 2
    return scenes, torch.cat([low, high], dim=1) * 2 / side - 1


def draw_scenes(
    n: int,
    part: str,
    side: int,
    generator: torch.Generator,
    content: str = "sign",
    root: str | Path | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Make n scenes of one part of the data, the classes as even as n allows.

    Args:
        n: how many.
        part: one of ``PARTS``.
        side, generator, content: as in :func:`make_scenes`.
        root: as in :func:`stn_tutorial.data.gtsrb.load_gtsrb`.

    Returns:
        scenes (n, 3, side, side) in [0, 1], labels (n,), and boxes (n, 4).

    Raises:
        ValueError: n below 1, or as the other functions here.

    Used for the records of chapter 7.
    """
    if n < 1:
        raise ValueError(f"expected n to be at least 1 scene, but got {n}")
    images, classes = load_signs(part, root)
    labels = torch.randperm(n, generator=generator) % len(NAMES)
    chosen = torch.empty(n, dtype=torch.long)
    for label in range(len(NAMES)):
        mine, of_class = labels == label, (classes == label).nonzero()[:, 0]
        count = int(mine.sum())
        pick = torch.randint(len(of_class), (count,), generator=generator)
        chosen[mine] = of_class[pick]
    photos = photo_pieces(part)
    scenes, boxes = make_scenes(images[chosen], photos, side, generator, content)
    return scenes, labels, boxes


def _painted_again(
    scenes: Tensor, centre: Tensor, span: Tensor, grid: Tensor
) -> Tensor:
    """See what is in each box in as few pixels as a sign, and paint that.

    The grid has shape (N, PATCH, PATCH, 2); the box goes from -1 to 1.
    """
    n, _, side, _ = scenes.shape
    theta = scaling(span / side)
    theta[:, :, 2] = 2 * centre / side - 1
    seen = affine_grid(theta, (n, 3, SEEN, SEEN), align_corners=False)
    coarse = F.grid_sample(scenes, seen, padding_mode="border", align_corners=False)
    return F.grid_sample(coarse, grid, padding_mode="border", align_corners=False)


def _windows(photos: Tensor, n: int, side: int, generator: torch.Generator) -> Tensor:
    """Cut n windows out of photographs, shape (n, 3, side, side), in [0, 1]."""
    which = torch.randint(len(photos), (n,), generator=generator)
    height, width = photos.shape[2:]
    top = torch.randint(height - side + 1, (n,), generator=generator)
    left = torch.randint(width - side + 1, (n,), generator=generator)
    windows = torch.empty(n, 3, side, side)
    for window, i, y, x in zip(
        windows, which.tolist(), top.tolist(), left.tolist(), strict=True
    ):
        window.copy_(photos[i, :, y : y + side, x : x + side])
    return windows.div_(255)


def _check_part(part: str) -> None:
    if part not in PARTS:
        raise ValueError(f"expected part to be one of {PARTS}, but got: {part!r}")


def _check_scenes(signs: Tensor, photos: Tensor, side: int, content: str) -> None:
    for name, given in (("signs", signs), ("photos", photos)):
        if given.dim() != 4 or given.shape[1] != 3 or given.dtype != torch.uint8:
            raise ValueError(
                f"expected {name} of bytes (torch.uint8) and shape (N, 3, H, W), but "
                f"got {given.dtype} of shape {tuple(given.shape)}"
            )
    most = min(photos.shape[2:])
    if not PATCH <= side <= most:
        raise ValueError(
            f"expected side to be from {PATCH} to {most} pixels, as many as the "
            f"photographs have, but got {side}"
        )
    if content not in CONTENTS:
        raise ValueError(
            f"expected content to be one of {CONTENTS}, but got: {content!r}"
        )
