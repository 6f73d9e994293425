"""Checkpoints: all that the rest of a training needs, in one file or not at all."""

import json
import os
import resource
from contextlib import contextmanager
from hashlib import sha256

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import nn

from stn_tutorial.checkpoints import (
    load_checkpoint,
    load_weights,
    read_tensors,
    save_checkpoint,
    seal,
)

CONFIG = {"seed": 5, "recipe": {"images": 640, "rate": 0.1}}
NOTES = {
    "images": [32, 64],
    "error": [12.345678901234567, 1 / 3],
    "theta": [torch.rand(3, 2, 3), torch.rand(3, 2, 3)],
    "warped": [],
}


def small_network(width=4, frozen=False):
    torch.manual_seed(width)
    network = nn.Sequential(
        nn.Conv2d(2, width, 3),
        nn.BatchNorm2d(width),
        nn.Flatten(),
        nn.Linear(16 * width, 3),
    )
    network[0].weight.requires_grad_(not frozen)
    return network.to(memory_format=torch.channels_last)


def learn(network, momentum=0.9):
    """Two steps; gives the optimiser, whose momentum is then no longer 0."""
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=momentum)
    torch.manual_seed(0)
    for images in torch.rand(2, 4, 2, 6, 6):
        optimiser.zero_grad()
        network(images).square().sum().backward()
        optimiser.step()
    return optimiser


def momenta(network, optimiser):
    """The momentum of each weight that has one, by its name."""
    found = {}
    for name, weight in network.named_parameters():
        momentum = optimiser.state[weight].get("momentum_buffer")
        if momentum is not None:
            found[name] = momentum
    return found


def assert_equal(found, expected):
    """Tensors of the same names, bit for bit."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.fixture
def saved(tmp_path):
    """A file with a network, its optimiser and notes."""
    network = small_network()
    path = tmp_path / "new" / "run"
    save_checkpoint(path, network, learn(network), CONFIG, NOTES)
    return path


@pytest.mark.parametrize(
    ("frozen", "momentum", "with_momentum"),
    [(False, 0.9, 6), (True, 0.9, 5), (False, 0, 0)],
    ids=["all", "one frozen", "no momentum"],
)
def test_everything_comes_back(frozen, momentum, with_momentum, tmp_path):
    """Weights, the norm's statistics, momentum, and what was noted."""
    network = small_network(frozen=frozen)
    optimiser = learn(network, momentum)
    save_checkpoint(tmp_path / "run", network, optimiser, CONFIG, NOTES)
    other = small_network(frozen=frozen)
    fresh = torch.optim.SGD(other.parameters(), lr=0.1, momentum=momentum)
    notes = load_checkpoint(tmp_path / "run", other, fresh, CONFIG)
    assert_equal(other.state_dict(), network.state_dict())
    assert other[1].num_batches_tracked == 2
    expected = momenta(network, optimiser)
    assert len(expected) == with_momentum
    assert_equal(momenta(other, fresh), expected)
    assert (notes["images"], notes["error"]) == (NOTES["images"], NOTES["error"])
    assert notes["warped"] == []
    assert all(map(torch.equal, notes["theta"], NOTES["theta"]))
    assert len(notes["theta"]) == 2


def test_a_later_checkpoint_replaces_the_first(saved):
    network = small_network()
    later = NOTES | {"images": [32, 64, 96], "theta": 12 * [torch.ones(1, 2, 3)]}
    for i, theta in enumerate(later["theta"]):
        later["theta"][i] = i * theta  # more than ten: the order is that of numbers
    save_checkpoint(saved, network, learn(network), CONFIG, later)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    notes = load_checkpoint(saved, network, optimiser, CONFIG)
    assert notes["images"] == [32, 64, 96]
    assert [theta.max().item() for theta in notes["theta"]] == list(range(12))
    assert os.listdir(saved.parent) == ["run"]


def test_weights_come_back_in_the_layout_of_the_network(saved):
    """A change of their layout would change the sums' last digits."""
    network = small_network()
    load_checkpoint(saved, network, learn(network), CONFIG)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_the_checkpoint_of_another_training_is_refused(saved):
    network = small_network()
    other = CONFIG | {"seed": 6}
    told = f"expected in {saved} the checkpoint of .*: 6.*, but found one of .*: 5"
    with pytest.raises(ValueError, match=told):
        load_checkpoint(saved, network, learn(network), other)


def test_the_checkpoint_of_another_network_is_refused(saved):
    """Before any weight of it is taken over."""
    wider, narrower = small_network(width=5), small_network()
    del narrower[3]
    for network in (wider, narrower):
        before = {name: each.clone() for name, each in network.state_dict().items()}
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
        with pytest.raises(ValueError, match=f"in {saved} .*, but found that of anoth"):
            load_checkpoint(saved, network, optimiser, CONFIG)
        assert_equal(network.state_dict(), before)


def test_weights_of_another_type_are_refused(saved):
    network = small_network().double()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=f"in {saved} .*, but found that of another"):
        load_checkpoint(saved, network, optimiser, CONFIG)


def test_what_comes_back_does_not_depend_on_the_file(saved):
    """Were it mapped into memory, it would change with the file."""
    network = small_network()
    optimiser = learn(network)
    notes = load_checkpoint(saved, network, optimiser, CONFIG)
    found = momenta(network, optimiser) | network.state_dict()
    found |= {str(i): theta for i, theta in enumerate(notes["theta"])}
    before = {name: tensor.clone() for name, tensor in found.items()}
    with saved.open("r+b") as file:
        file.write(bytes(saved.stat().st_size))
    assert_equal(found, before)


ONES = {"network.a": torch.ones(2)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"rubbish",
        save({"a": torch.ones(2)}),
        seal(ONES, {}),
        seal(ONES, {"config": json.dumps(CONFIG)}),
        seal(ONES, {"config": json.dumps(CONFIG), "history": "no JSON"}),
        seal(ONES, {"config": json.dumps(CONFIG), "history": "3"}),
        seal({"theta.1": torch.ones(2)}, {"config": "{}", "history": "{}"}),
    ],
)
def test_what_is_no_checkpoint_is_refused_and_kept(content, tmp_path):
    path = tmp_path / "run"
    path.write_bytes(content)
    network = small_network()
    with pytest.raises(ValueError, match=f"expected {path} to hold a checkpoint"):
        load_checkpoint(path, network, learn(network), CONFIG)
    assert path.read_bytes() == content


# The checksum


def test_a_sealed_file_is_one_that_others_read(tmp_path):
    """And its checksum is that of the file with zeros in the checksum's place."""
    path = tmp_path / "file"
    weights = torch.rand(3, 4).t()  # in another order
    tensors = {
        "a": weights,
        "b": weights,  # in the same memory
        "bits": torch.tensor([True, False]),
        "count": torch.tensor(3),
        "half": torch.rand(5).bfloat16(),
    }
    metadata = {"data": "mnist", "model": 'a "quoted" \u00e9'}
    content = seal(tensors, metadata)
    path.write_bytes(content)
    assert_equal(load_file(path), tensors)
    with safe_open(path, "pt") as file:
        found = dict(file.metadata())
    checksum = found.pop("sha256")
    assert found == metadata
    assert content.count(checksum.encode()) == 1
    blank = content.replace(checksum.encode(), 64 * b"0")
    assert sha256(blank).hexdigest() == checksum
    read, told = read_tensors(path)
    assert_equal(read, tensors)
    assert {name: each.dtype for name, each in read.items()} == {
        name: each.dtype for name, each in tensors.items()
    }
    assert told == metadata


def test_any_bit_that_flips_is_seen(saved):
    """In the file's head as among the numbers; so are cuts, and pages of zeros."""
    good = saved.read_bytes()
    head = 8 + int.from_bytes(good[:8], "little")
    places = [*range(0, 8 * head, 27), *range(8 * head, 8 * len(good), 509)]
    spoilt = [flipped(good, place) for place in places]
    spoilt += [good[:-1], good + b"\0", good[:head], bytes(len(good))]
    spoilt.append(good[:-512] + bytes(512))
    for content in spoilt:
        saved.write_bytes(content)
        with pytest.raises(ValueError, match="with their checksum, but it"):
            read_tensors(saved)
    network = small_network()
    with pytest.raises(ValueError, match="a checkpoint, but it is damaged"):
        load_checkpoint(saved, network, learn(network), CONFIG)
    assert len(places) > 400


def flipped(content, place):
    """The content with another bit at a place."""
    byte, bit = divmod(place, 8)
    return content[:byte] + bytes([content[byte] ^ 1 << bit]) + content[byte + 1 :]


def with_checksum(head):
    """A file that is nothing but this and its checksum."""
    entry = b'"sha256":"%s"'
    blank = head.replace(b"@", entry % (64 * b"0"))
    return head.replace(b"@", entry % sha256(blank).hexdigest().encode())


def framed(head, rest=b""):
    """A head as safetensors has it, after its length in eight bytes."""
    length = len(head.replace(b"@", bytes(75)))
    return with_checksum(length.to_bytes(8, "little") + head + rest)


A = b'"a":{"dtype":"F32","shape":[2],"data_offsets":[0,80]}'


@pytest.mark.parametrize(
    "content",
    [
        with_checksum(b"@"),
        with_checksum(bytes(8) + b"{@}"),
        framed(b"{@}"),
        framed(b'{"__metadata__":[@]}'),
        framed(b'{"__metadata__":{@},' + A + b"}", bytes(8)),  # 80 bytes, it says
    ],
    ids=["alone", "no head", "no metadata", "no JSON", "cut off"],
)
def test_a_checksum_alone_makes_no_tensors(content, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(content)
    network = small_network()
    with pytest.raises(ValueError, match=f"expected {path} to hold tensors, but it is"):
        read_tensors(path)
    with pytest.raises(ValueError, match=f"expected {path} to hold tensors, but it is"):
        load_weights(path, network)
    with pytest.raises(ValueError, match=f"expected {path} to hold a checkpoint"):
        load_checkpoint(path, network, learn(network), CONFIG)


# Weights


@pytest.mark.parametrize(
    "dtype", [torch.float8_e5m2, torch.float16, torch.float32, torch.float64]
)
def test_weights_come_back_from_any_precision(dtype, tmp_path):
    network = small_network()
    learn(network)
    weights = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
    }
    (tmp_path / "file").write_bytes(seal(weights, {}))
    other = small_network()
    load_weights(tmp_path / "file", other)
    expected = {name: tensor.float() for name, tensor in weights.items()}
    assert_equal({k: v.float() for k, v in other.state_dict().items()}, expected)
    assert other[3].weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("3.bias", lambda t: t[:2], r"3.bias is torch.float32 of shape \(2,\) instead"),
        ("3.bias", lambda t: t.int(), "3.bias is torch.int32 .* of torch.float32"),
        ("3.bias", lambda t: t > 0, "3.bias is torch.bool"),
        ("3.bias", lambda t: t.to(torch.complex64), "3.bias is torch.complex64"),
        ("3.bias", lambda t: t / 0, "3.bias is not finite"),
        ("3.bias", lambda t: t.double() + 1e300, "3.bias is not finite"),  # as float32
        ("1.running_var", lambda t: t * torch.nan, "1.running_var is not finite"),
        ("1.num_batches_tracked", lambda t: t.float(), "torch.float32 .* torch.int64"),
        ("4.bias", lambda t: torch.ones(2), r"it lacks \[\] and has \['4.bias'\]"),
    ],
)
def test_weights_that_are_not_the_networks_are_refused(name, change, message, tmp_path):
    weights = small_network().state_dict()
    weights[name] = change(weights.get(name))
    path = tmp_path / "file"
    path.write_bytes(seal(weights, {}))
    network = small_network()
    learn(network)
    before = {name: each.clone() for name, each in network.state_dict().items()}
    with pytest.raises(ValueError, match=f"{path} to hold the weights of .*{message}"):
        load_weights(path, network)
    assert_equal(network.state_dict(), before)


# A full disk


@contextmanager
def disk_of(size):
    """No file can grow beyond so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_leaves_the_last_checkpoint(saved):
    """A save that breaks off in the middle of the file does no harm."""
    before = saved.read_bytes()
    network = small_network()
    optimiser = learn(network)
    with disk_of(len(before) // 2), pytest.raises(OSError, match="too large"):
        save_checkpoint(saved, network, optimiser, CONFIG, NOTES)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == ["run"]
