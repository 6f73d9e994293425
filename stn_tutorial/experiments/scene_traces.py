"""Does the painting leave a trace by which a sign's place could be found (chapter 7)?

A network is told in which of sixteen parts of a scene the sign stands, and learns to
say it at full resolution: once of scenes with signs, as a proof that it can, and once
of scenes that were painted over with what was there before. What comes out stands in
``scene_traces.json``, among the records. Signs and scenes to test with are never seen.
"""

import json

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_tutorial.data.scenes import draw_scenes, load_signs, make_scenes, photo_pieces
from stn_tutorial.experiments.records import new_network
from stn_tutorial.experiments.scenes import HELD, SIDE
from stn_tutorial.files import RECORDED, write_whole
from stn_tutorial.networks import BFloat16, Network
from stn_tutorial.training import Recipe, error_rate, make_optimiser, take_step

OUT = RECORDED / "scene_traces.json"
# The scene is parted into so many columns and rows.
PARTS = 4
IMAGES = 32_000


def hunter(filters: tuple[int, ...] = (16, 32, 64)) -> Network:
    """Make a network from scenes (N, 3, side, side) to a score of each part."""
    layers: list[nn.Module] = []
    c = 3
    for k in filters:
        convolution = nn.Conv2d(c, k, 5, padding=2, bias=False)
        layers += [convolution, nn.BatchNorm2d(k), nn.ReLU(), nn.MaxPool2d(2)]
        c = k
    layers += [nn.Conv2d(c, 1, 1), nn.AdaptiveMaxPool2d(PARTS), nn.Flatten()]
    return Network(BFloat16(nn.Sequential(*layers)))


def parts(boxes: Tensor) -> Tensor:
    """Number the part in which each box (N, 4) has its centre, row by row: (N,)."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    column, row = ((centres + 1) / 2 * PARTS).long().clamp(0, PARTS - 1).T
    return PARTS * row + column


def hunt(content: str, images: int = IMAGES, seed: int = 0) -> dict:
    """Train a network to tell the places, and say how often it does in held scenes.

    Args:
        content: what stands there, as in :func:`stn_tutorial.data.scenes.make_scenes`.
        images: how many scenes it sees.
        seed: of the first weights and of all that is drawn.

    Returns:
        ``found``: the share of held scenes, in per cent, whose part it names, and
        ``guess``: that of the commonest part.
    """
    signs, _ = load_signs("train")
    photos = photo_pieces("train")
    network = new_network(hunter, seed=seed).train()
    recipe = Recipe(images, batch=64, rate=0.05)
    optimiser = make_optimiser(network, recipe)
    steps = images // recipe.batch
    for step in range(steps):
        generator = torch.Generator().manual_seed(1_000_003 * seed + step)
        chosen = torch.randint(len(signs), (recipe.batch,), generator=generator)
        scenes, boxes = make_scenes(signs[chosen], photos, SIDE, generator, content)
        progress = (step + 1) / steps
        take_step(network, optimiser, scenes, parts(boxes), recipe, progress)
    generator = torch.Generator().manual_seed(2)
    scenes, _, boxes = draw_scenes(HELD, "validation", SIDE, generator, content)
    places = parts(boxes)
    commonest = F.one_hot(places, PARTS**2).sum(dim=0).max().item()
    return {
        "content": content,
        "images": images,
        "found": round(100 - error_rate(network, scenes, places), 4),
        "guess": round(100 * commonest / len(places), 4),
    }


def hunt_traces() -> None:
    """Hunt for signs, and for the traces of painting: ten minutes of a core.

    What is on record is not trained again.
    """
    torch.set_num_threads(1)
    done = json.loads(OUT.read_bytes()) if OUT.exists() else []
    for content in ("sign", "nothing"):
        if any(entry["content"] == content for entry in done):
            continue
        done.append(hunt(content))
        lines = ",\n ".join(json.dumps(entry) for entry in done)
        write_whole(OUT, f"[\n {lines}\n]\n".encode())
        print(done[-1], flush=True)
