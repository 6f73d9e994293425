"""Train the small network of the figure "Draw and straighten" (chapter 6).

It leaves the weights among the book's records, and beside them what was done. There are
two stages. A tiny FCN reads straight digits best, so it makes the transformer
straighten them. A compact CNN can read turned ones too, and leaves them turned; but it
errs less. So the transformer is trained before an FCN; then it stays as it is, and the
CNN learns to read what it gives.

It takes about ten minutes of one core. All choices were made on the last 5,000 training
digits and on the bundled ones; MNIST's test digits are met once.
"""

import platform
from dataclasses import asdict
from hashlib import sha256

import torch
from safetensors.torch import save

from stn_tutorial.experiments.records import channels_last, to_json
from stn_tutorial.experiments.table1 import distorted, split_digits, table_test_set
from stn_tutorial.files import RECORDED, write_whole
from stn_tutorial.networks import Network, drawing_network, fcn
from stn_tutorial.training import Recipe, error_rate, train

NAME = "drawing-net"
SEED = 0


def train_drawing_net() -> None:
    """Train, round the weights to half precision, and only then validate and test."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    network = drawing_network()
    teacher = Network(fcn((1, 28, 28), (20, 20)), network.transformer, network.pool)
    digits, held = split_digits("mnist")
    validation = distorted(*held, "RTS", draws=1, seed=2)
    stages = {
        "transformer, before an FCN": (
            teacher,
            Recipe(images=2_304_000, localisation_rate=0.5),
        ),
        "CNN": (network, Recipe(images=768_000, localisation_rate=0)),
    }
    done = []
    for name, (learner, recipe) in stages.items():
        channels_last(learner)
        history = train(
            learner,
            digits.train_images,
            digits.train_labels,
            "RTS",
            recipe,
            validation,
            seed=SEED,
        )
        done.append(
            {
                "trains": name,
                "recipe": asdict(recipe),
                "images_seen": history.images[-1],
                "seconds": round(history.seconds[-1]),
                "validation_error": history.error[-1],
            }
        )
    weights = {
        name: tensor.half().contiguous()
        for name, tensor in network.state_dict().items()
        if tensor.is_floating_point()  # not batch norm's counts of steps
    }
    network.load_state_dict(weights)
    content = save(weights)
    record = {
        "distortion": "RTS",
        "seed": SEED,
        "stages": done,
        "weights": sum(parameter.numel() for parameter in network.parameters()),
        "sha256": sha256(content).hexdigest(),
        "validation_error": error_rate(network, *validation),
        "test_error": error_rate(network, *table_test_set("mnist", "RTS")),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    write_whole(RECORDED / f"{NAME}.safetensors", content)
    write_whole(RECORDED / f"{NAME}.json", to_json(record))
