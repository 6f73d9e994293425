"""Save a training in one file, and go on from it as if it had never stopped."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from stn_tutorial.files import write_whole


def save_checkpoint(
    path: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    config: dict,
    notes: Mapping[str, list],
) -> None:
    """Write everything that the rest of a training depends on, in one move.

    Args:
        path: the file (safetensors); an older one is replaced.
        network: the network, as far as it is trained.
        optimiser: its optimiser; the momentum of each weight is saved.
        config: what the training was asked to do, as JSON can hold it.
        notes: lists of what was noted so far, each either of numbers or of tensors.
    """
    tensors = {
        f"network.{name}": tensor for name, tensor in network.state_dict().items()
    }
    for name, parameter in network.named_parameters():
        momentum = optimiser.state[parameter].get("momentum_buffer")
        if momentum is not None:  # a frozen weight has none
            tensors[f"momentum.{name}"] = momentum
    numbers = {}
    for key, entries in notes.items():
        if entries and isinstance(entries[0], Tensor):
            tensors |= {f"{key}.{i}": entry for i, entry in enumerate(entries)}
        else:
            numbers[key] = entries
    metadata = {"config": json.dumps(config), "history": json.dumps(numbers)}
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_whole(path, save(contiguous, metadata))


def load_checkpoint(
    path: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    config: dict,
) -> dict[str, list]:
    """Undo :func:`save_checkpoint`: put weights and momentum back where they were.

    Args:
        path: the file (safetensors).
        network: a network like the one that was saved; gets its weights.
        optimiser: its optimiser; gets its momentum.
        config: what the training is asked to do.

    Returns:
        the notes.

    Raises:
        ValueError: the file is no checkpoint, or that of another training or network.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        found = json.loads(metadata["config"])
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(
            f"expected {path} to hold a checkpoint, but it does not; remove it or name "
            "another file"
        ) from error
    if found != config:
        raise ValueError(
            f"expected in {path} the checkpoint of {config}, but found one of {found}; "
            "remove it or name another file"
        )
    weights = _group(tensors, "network")
    if _shapes(weights) != _shapes(network.state_dict()):
        raise ValueError(
            f"expected in {path} the checkpoint of this network, but found that of "
            "another one; remove it or name another file"
        )
    network.load_state_dict(weights)
    momenta = _group(tensors, "momentum")
    for name, parameter in network.named_parameters():
        if name in momenta:
            momentum = momenta[name].to(parameter)
            optimiser.state[parameter]["momentum_buffer"] = momentum
    notes = json.loads(metadata["history"])
    for key in {name.partition(".")[0] for name in tensors} - {"network", "momentum"}:
        entries = _group(tensors, key)
        notes[key] = [entries[str(i)] for i in range(len(entries))]
    return notes


def _group(tensors: Mapping[str, Tensor], group: str) -> dict[str, Tensor]:
    """Pick the tensors of a group, by what follows the group in their names."""
    prefix = f"{group}."
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
