"""Test a network again, from the weights that its run has left."""

from pathlib import Path

import torch

from stn_tutorial.checkpoints import load_weights, read_tensors
from stn_tutorial.data.gtsrb import load_gtsrb
from stn_tutorial.experiments.records import kind_of, new_network
from stn_tutorial.experiments.scenes import new_finder, scene_test_set
from stn_tutorial.experiments.table1 import table_test_set
from stn_tutorial.experiments.traffic_signs import sign_test_set
from stn_tutorial.networks import table_network
from stn_tutorial.signs import sign_network
from stn_tutorial.training import error_rate


def evaluate(path: str | Path) -> dict:
    """Test a network whose weights a run has left, on the test images of its data.

    Returns:
        what the run's key says of it, and its ``error`` in per cent.

    Raises:
        ValueError: the file does not hold such weights, or is damaged.
    """
    torch.set_num_threads(1)
    try:
        _, metadata = read_tensors(path)
    except OSError as error:
        raise ValueError(f"expected {path} to hold weights: {error}") from error
    key = kind_of(metadata)
    needed = {"data", "model"}
    scenes, _, side = key.get("data", "").partition("-")
    if key.get("data") != "gtsrb" and scenes != "scenes":
        needed.add("distortion")
    if not needed <= key.keys():
        raise ValueError(
            f"expected {path} to say which run left these weights, but it does not"
        )
    if key["data"] == "gtsrb":
        network = new_network(sign_network, key["model"], seed=0)
        test = sign_test_set(load_gtsrb())
    elif scenes == "scenes":
        network = new_finder(key["model"], int(side))
        test = scene_test_set(int(side))[:2]
    else:
        network = new_network(table_network, key["model"], key["distortion"], seed=0)
        test = table_test_set(key["data"], key["distortion"])
    load_weights(path, network)
    return key | {"error": error_rate(network, *test)}
