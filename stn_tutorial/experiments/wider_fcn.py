"""Train the FCN of TC with the paper's width, images and digits (chapter 6).

In the table its hidden layers are narrow, so that it is no larger than the others. Here
they have as many units as the paper's narrowest. It sees all 60,000 training digits,
those for validation among them, so the validation errors of its curve are no promise.
"""

from dataclasses import replace

from stn_tutorial.distortions import SIDES
from stn_tutorial.experiments.records import Task, new_network, run, run_name
from stn_tutorial.experiments.table1 import (
    PAPER_IMAGES,
    cell_task,
    load_by_name,
    table_recipe,
)
from stn_tutorial.files import RECORDED
from stn_tutorial.networks import Network, fcn

OUT = RECORDED / "wider_fcn"
SEED = 0
KEY = {"data": "mnist", "model": "fcn-128", "distortion": "TC", "seed": SEED}
RECIPE = replace(table_recipe("mnist", "fcn"), images=PAPER_IMAGES)


def wider_fcn() -> Network:
    """An FCN for TC with 128 units in both of its hidden layers."""
    side = SIDES["TC"]
    return Network(fcn((1, side, side), (128, 128)))


def wider_task() -> Task:
    """Prepare the run as the table does, but for the network and all digits."""
    task = cell_task("mnist", "fcn", "TC", SEED)
    digits = load_by_name("mnist")
    return task._replace(
        network=new_network(wider_fcn, seed=SEED),
        images=digits.train_images,
        labels=digits.train_labels,
    )


def train_wider_fcn() -> None:
    """Train it once, for half an hour; the record goes into ``wider_fcn``."""
    record = run(OUT, KEY, RECIPE, wider_task)
    print(f"{run_name(record)}: {record['error']:.2f}%")
