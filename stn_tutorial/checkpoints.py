"""Save tensors in one file with a checksum; go on with a training as if never stopped.

The files are safetensors: others can read them too, though without asking the checksum.
"""

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from stn_tutorial.files import write_whole

# The checksum's place in a file's head. It is taken with zeros there.
PLACE = re.compile(rb'"sha256":"([0-9a-f]{64})"')
BLANK = "0" * 64


def seal(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Make the content of a file (safetensors) that holds its own SHA-256.

    Args:
        tensors: by their names. Those that share memory are written as often as they
            are named.
        metadata: what else is to be said.
    """
    # A copy of each: safetensors refuses shared memory and any order but the usual.
    copies = {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    content = save(copies, {**metadata, "sha256": BLANK})
    checksum = sha256(content).hexdigest()
    return PLACE.sub(f'"sha256":"{checksum}"'.encode(), content, count=1)


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Undo :func:`seal`: check a file's content to the last bit, and read it.

    The tensors are in memory, and no longer depend on the file.

    Returns:
        the tensors by their names, and the metadata.

    Raises:
        OSError: there is no such file.
        ValueError: the file is damaged, or :func:`seal` did not make it.
    """
    content = Path(path).read_bytes()
    found = PLACE.search(content)
    blank = PLACE.sub(f'"sha256":"{BLANK}"'.encode(), content, count=1)
    if found is None or sha256(blank).hexdigest() != found[1].decode():
        why = "it has none" if found is None else "its content has another one"
        raise ValueError(
            f"expected {path} to hold tensors with their checksum, but {why}: it is "
            "damaged, or another kind of file"
        )
    size = int.from_bytes(content[:8], "little")
    try:
        metadata = json.loads(content[8 : 8 + size])["__metadata__"]
        del metadata["sha256"]
        return load(content), metadata
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(
            f"expected {path} to hold tensors, but it is another kind of file"
        ) from error


def load_weights(path: str | Path, network: nn.Module) -> None:
    """Put the weights of a file into a network, if they are its own and whole.

    Half precision is taken for whole.

    Args:
        path: a file with what :func:`seal` made of a network's ``state_dict()``.
        network: a network like the one that was saved.

    Raises:
        OSError: there is no such file.
        ValueError: the file is damaged; or a weight is missing, unknown, of another
            shape or type, or not finite in the network's type. The network is as it
            was.
    """
    weights, _ = read_tensors(path)
    wanted = network.state_dict()
    expected = f"expected {path} to hold the weights of this network, but"
    if weights.keys() != wanted.keys():
        raise ValueError(
            f"{expected} it lacks {sorted(wanted.keys() - weights.keys())} and has "
            f"{sorted(weights.keys() - wanted.keys())} instead"
        )
    for name, own in wanted.items():
        weight = weights[name]
        floats = weight.is_floating_point() and own.is_floating_point()
        if weight.shape != own.shape or not (floats or weight.dtype == own.dtype):
            raise ValueError(
                f"{expected} {name} is {weight.dtype} of shape {tuple(weight.shape)} "
                f"instead of {own.dtype} of shape {tuple(own.shape)}"
            )
        if not weight.to(own.dtype).isfinite().all():
            raise ValueError(f"{expected} {name} is not finite everywhere")
    network.load_state_dict(weights)


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
    write_whole(path, seal(tensors, metadata))


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
        ValueError: the file is damaged, no checkpoint, or that of another training or
            network. Network and optimiser are as they were.
    """
    try:
        tensors, metadata = read_tensors(path)
        found = json.loads(metadata["config"])
        notes = _notes(json.loads(metadata["history"]), tensors)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"expected {path} to hold a checkpoint, but it is damaged, or another "
            "kind of file; remove it or name another file"
        ) from error
    if found != config:
        raise ValueError(
            f"expected in {path} the checkpoint of {config}, but found one of {found}; "
            "remove it or name another file"
        )
    weights = _group(tensors, "network")
    momenta = _group(tensors, "momentum")
    parameters = dict(network.named_parameters())
    same_network = _kinds(weights) == _kinds(network.state_dict())
    if not same_network or not _kinds(momenta).items() <= _kinds(parameters).items():
        raise ValueError(
            f"expected in {path} the checkpoint of this network, but found that of "
            "another one; remove it or name another file"
        )
    network.load_state_dict(weights)
    for name, momentum in momenta.items():
        parameter = parameters[name]
        optimiser.state[parameter]["momentum_buffer"] = momentum.to(parameter)
    return notes


def _notes(
    numbers: Mapping[str, list], tensors: Mapping[str, Tensor]
) -> dict[str, list]:
    """Put the notes together: lists of numbers, and lists of tensors."""
    notes = dict(numbers)
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


def _kinds(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.dtype, torch.Size]]:
    return {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}
