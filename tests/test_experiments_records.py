"""Runs on record: complete, no work done twice, no harm by an interruption."""

import base64
import io
import json
import os
import struct
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from runs import (
    FEW,
    fabricate,
    files,
    forbid,
    read_json,
    run_tiny,
    stop_before,
    stopped,
    threads_kept,
    train_table,
)
from safetensors.torch import load_file

from stn_tutorial import training
from stn_tutorial.experiments import records, table1
from stn_tutorial.experiments.__main__ import main
from stn_tutorial.experiments.records import (
    bits_to_text,
    new_network,
    pack,
    summary,
    to_json,
    unpack,
    wrong_images,
)
from stn_tutorial.experiments.table1 import run_cell, table_recipe
from stn_tutorial.networks import multiplies_bfloat16, table_network
from stn_tutorial.training import Recipe


@pytest.fixture(autouse=True)
def threads():
    with threads_kept():
        yield


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A folder with three runs: two seeds of a cell, and a transformer on TC."""
    out = tmp_path_factory.mktemp("table")
    train_table(out)
    return out


# The record


def test_a_run_leaves_these_files_and_no_others(table):
    assert files(table) == [
        "digits-fcn-R-seed0.json",
        "digits-fcn-R-seed1.json",
        "digits-st-fcn-tps-TC-seed0.json",
        "digits-st-fcn-tps-TC-seed0.png",
        "weights/digits-fcn-R-seed0.safetensors",
        "weights/digits-fcn-R-seed1.safetensors",
        "weights/digits-st-fcn-tps-TC-seed0.safetensors",
    ]


@pytest.mark.parametrize(("model", "distortion"), [("fcn", "R"), ("st-fcn-tps", "TC")])
def test_record_is_complete(model, distortion, table):
    record = read_json(table, f"digits-{model}-{distortion}-seed0")
    curve, versions = record.pop("curve"), record.pop("versions")
    has_theta = record.pop("theta", None) is not None
    assert has_theta == model.startswith("st-")
    error = record.pop("error")
    wrong = wrong_images(record | {"error": error})
    assert wrong.shape == (5970,)
    assert 100 * wrong.sum() / 5970 == pytest.approx(error)
    del record["wrong"]
    assert 0 <= record.pop("seconds") < 60
    network = table_network(model, distortion)
    assert record == {
        "data": "digits",
        "model": model,
        "distortion": distortion,
        "seed": 0,
        "test_images": 10 * 597,
        "weights": sum(p.numel() for p in network.parameters()),
        "images_seen": FEW,
        "recipe": asdict(table_recipe("digits", model, FEW)),
        "device": "cpu",
        "bfloat16": multiplies_bfloat16("cpu"),
    }
    assert record["recipe"]["images"] == FEW
    assert 0 < error < 100
    assert round(error * 5970 / 100) == pytest.approx(error * 5970 / 100)
    assert curve.keys() == {"images", "loss", "validation_error"}
    assert curve["images"][-1] == FEW
    assert len(curve["images"]) == len(curve["loss"]) == len(curve["validation_error"])
    for number in curve["loss"] + curve["validation_error"]:
        assert number == round(number, 4) > 0
    assert versions.keys() == {"python", "torch", "stn-tutorial"}
    assert versions["torch"] == torch.__version__


def test_record_names_the_wrong_images_and_follows_a_thousand(table):
    """A network made from the weights that the run left says the same."""
    name = "digits-st-fcn-tps-TC-seed0"
    network = new_network(table_network, "st-fcn-tps", "TC", seed=5).eval()
    network.load_state_dict(load_file(table / f"weights/{name}.safetensors"))
    images, labels = table1.table_test_set("digits", "TC")
    with torch.no_grad():
        answers = network(images).argmax(dim=1)
        theta = network.straighten(images[:1000])[1]
    record = read_json(table, name)
    assert torch.equal(wrong_images(record), answers != labels)
    found = unpack(record["theta"])
    assert found.shape == (1000, 16, 2)
    assert torch.equal(found, theta.half().float())


def test_bits_and_halves_are_written_for_any_reader():
    """Checked by hand: the first image is the highest bit of the first byte."""
    bits = torch.tensor([True, *[False] * 7, False, True])
    assert (
        bits_to_text(bits)
        == base64.b64encode(bytes([0b1000_0000, 0b0100_0000])).decode()
    )
    assert wrong_images({"wrong": bits_to_text(bits), "test_images": 10}).equal(bits)
    numbers = torch.tensor([[1.0, -2.0]])
    halves = base64.b64encode(struct.pack("<2e", 1, -2)).decode()
    packed = {"shape": [1, 2], "float16": halves}
    assert pack(numbers) == packed
    assert unpack(packed).equal(numbers)
    assert unpack([[1.0, -2.0]]).equal(numbers)  # as older records


def test_an_older_record_does_not_name_its_wrong_images(tmp_path):
    key = {"data": "mnist", "model": "fcn", "distortion": "R", "seed": 0}
    with pytest.raises(ValueError, match="mnist-fcn-R-seed0 does not"):
        wrong_images(key | {"test_images": 10})


def test_record_is_small_and_readable(table):
    """One field a line."""
    text = (table / "digits-st-fcn-tps-TC-seed0.json").read_text()
    fields = json.loads(text)
    lines = text.splitlines()
    assert [line.split('"')[1] for line in lines[1:-1]] == list(fields)
    assert len(text) < 100_000  # most of it 1,000 transforms of 32 numbers


def test_picture_shows_test_digits_above_what_the_classifier_saw(table):
    network = new_network(table_network, "st-fcn-tps", "TC", seed=5)
    path = table / "weights/digits-st-fcn-tps-TC-seed0.safetensors"
    network.load_state_dict(load_file(path))
    images, _ = table1.table_test_set("digits", "TC")
    with torch.no_grad():
        seen, _ = network.eval().straighten(images[:12])
    content = (table / "digits-st-fcn-tps-TC-seed0.png").read_bytes()
    pixels = np.array(Image.open(io.BytesIO(content)))
    assert pixels.shape == (2 * 60, 12 * 60)
    rows = pixels.reshape(2, 60, 12, 60).transpose(0, 2, 1, 3) / 255
    assert np.abs(rows[0] - images[:12, 0].numpy()).max() < 0.003
    assert np.abs(rows[1, :, 16:44, 16:44] - seen[:, 0].numpy()).max() < 0.003
    rows[1, :, 16:44, 16:44] = 0
    assert not rows[1].any()


# What a run is trained and tested on


def test_a_runs_seed_and_device_reach_the_network_and_its_training(
    monkeypatch, tmp_path
):
    """No GPU is needed: on the device "meta" there are shapes, and no numbers."""
    given = []

    def note(network, *_, seed, **options):
        given.append((network, seed))
        raise KeyboardInterrupt

    monkeypatch.setattr(records, "train", note)
    for seed, device in ((1, "cpu"), (2, "meta")):
        with pytest.raises(KeyboardInterrupt):
            run_cell("digits", "fcn", "R", seed, tmp_path, FEW, device)
    (first, first_seed), (second, second_seed) = given
    assert (first_seed, second_seed) == (1, 2)
    wanted = new_network(table_network, "fcn", "R", seed=1).parameters()
    for found, weights in zip(first.parameters(), wanted, strict=True):
        assert torch.equal(found, weights)
    assert all(weights.device.type == "meta" for weights in second.parameters())


def test_first_weights_depend_on_the_seed_alone():
    torch.manual_seed(3)
    first = new_network(table_network, "cnn", "R", seed=1)
    torch.manual_seed(4)
    state = torch.get_rng_state()
    again = new_network(table_network, "cnn", "R", seed=1)
    other = new_network(table_network, "cnn", "R", seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    for weights, same in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(weights, same)
    for weights, others in zip(first.parameters(), other.parameters(), strict=True):
        assert weights.dim() == 1 or not torch.equal(weights, others)


# Interruption


def test_what_is_on_record_is_not_trained_again(table, monkeypatch):
    before = {name: (table / name).stat().st_mtime_ns for name in files(table)}
    monkeypatch.setattr(records, "train", forbid)
    monkeypatch.setattr(table1, "load_by_name", forbid)
    assert run_tiny("fcn", table, seed=1) == read_json(table, "digits-fcn-R-seed1")
    assert before == {name: (table / name).stat().st_mtime_ns for name in files(table)}


def test_a_record_of_another_recipe_is_refused(table):
    message = r"R-seed0.json to have .*: 768, .* it has .*: 640, .*; remove it"
    with pytest.raises(ValueError, match=message):
        run_cell("digits", "fcn", "R", 0, table, images=768)
    assert read_json(table, "digits-fcn-R-seed0")["images_seen"] == FEW


def test_an_interrupted_run_goes_on(table, tmp_path, monkeypatch):
    """With the same end, but for the clock; what a killed process left goes too."""
    with stop_before(4, monkeypatch), pytest.raises(KeyboardInterrupt):
        run_tiny("fcn", tmp_path)
    checkpoint = "checkpoints/digits-fcn-R-seed0.safetensors"
    assert files(tmp_path) == [checkpoint]
    left = tmp_path / f"{checkpoint}.0123.part"
    left.touch()
    os.utime(left, (time.time() - 61, time.time() - 61))
    with stop_before(3, monkeypatch) as begun:
        record = run_tiny("fcn", tmp_path)
    assert len(begun) == 2
    expected = read_json(table, "digits-fcn-R-seed0")
    assert record == expected | {"seconds": record["seconds"]}
    weights = "weights/digits-fcn-R-seed0.safetensors"
    assert files(tmp_path) == ["digits-fcn-R-seed0.json", weights]
    trained, wanted = (load_file(folder / weights) for folder in (tmp_path, table))
    assert trained.keys() == wanted.keys()
    assert all(torch.equal(trained[name], wanted[name]) for name in wanted)


def test_two_workers_at_the_same_run_do_no_harm(table, tmp_path, monkeypatch):
    """The second starts and ends while the first is in the middle of its training."""
    records, steps = [], []

    def step_aside(*args):
        steps.append(None)
        if len(steps) == 4:
            records.append(run_tiny("fcn", tmp_path))
        return take_step(*args)

    take_step = training.take_step
    monkeypatch.setattr(training, "take_step", step_aside)
    records.append(run_tiny("fcn", tmp_path))
    assert len(steps) == 5 + 2  # the second went on from the first's checkpoint
    for record in records:
        expected = read_json(table, "digits-fcn-R-seed0")
        assert record == expected | {"seconds": record["seconds"]}
    assert files(tmp_path) == [
        "digits-fcn-R-seed0.json",
        "weights/digits-fcn-R-seed0.safetensors",
    ]


def test_a_run_that_another_one_overtakes_is_on_record(table, tmp_path, monkeypatch):
    """The other ends, and clears up, while this one is about to save a checkpoint."""
    records, replaced = [], []

    def step_aside(part, path):
        replaced.append(path)
        if len(replaced) == 2:
            records.append(run_tiny("fcn", tmp_path))
        return replace(part, path)

    replace = Path.replace
    monkeypatch.setattr(Path, "replace", step_aside)
    records.append(run_tiny("fcn", tmp_path))
    expected = read_json(table, "digits-fcn-R-seed0")
    for record in records:  # each by its own clock
        assert record == expected | {"seconds": record["seconds"]}
    assert files(tmp_path) == [
        "digits-fcn-R-seed0.json",
        "weights/digits-fcn-R-seed0.safetensors",
    ]


def test_what_is_missing_for_other_reasons_is_told(tmp_path, monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError("the checkpoint's folder")

    monkeypatch.setattr(records, "train", missing)
    with pytest.raises(FileNotFoundError, match="the checkpoint's folder"):
        run_tiny("fcn", tmp_path)
    assert files(tmp_path) == []


def test_a_training_that_diverges_is_not_put_on_record(tmp_path, monkeypatch):
    """Nor is its checkpoint kept, from which it could only diverge again."""
    wild = Recipe(FEW, rate=1e30)
    monkeypatch.setattr(table1, "table_recipe", lambda *_: wild)
    with pytest.raises(ValueError, match="the training diverged; try a lower rate"):
        run_tiny("st-fcn-affine", tmp_path)
    assert files(tmp_path) == []


def test_a_record_is_json_for_any_reader():
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"error": float("nan")})


def test_a_checkpoint_beside_its_record_is_removed(table, monkeypatch, tmp_path):
    """As a process leaves it that is killed between the two."""
    record = (table / "digits-fcn-R-seed1.json").read_bytes()
    (tmp_path / "digits-fcn-R-seed1.json").write_bytes(record)
    (tmp_path / "checkpoints").mkdir()
    for seed in (1, 10):
        (tmp_path / f"checkpoints/digits-fcn-R-seed{seed}.safetensors").touch()
    monkeypatch.setattr(records, "train", forbid)
    run_tiny("fcn", tmp_path, seed=1)
    assert files(tmp_path) == [
        "checkpoints/digits-fcn-R-seed10.safetensors",
        "digits-fcn-R-seed1.json",
    ]


def test_a_record_is_there_whole_or_not_at_all(table, tmp_path, monkeypatch):
    """Power off at the last moment before the record is in its place."""

    def power_off(self, target):
        if str(target).endswith(".json"):
            raise OSError("no power")
        return replace(self, target)

    replace = Path.replace
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", power_off)
        with pytest.raises(OSError, match="no power"):
            run_tiny("fcn", tmp_path)
    assert "digits-fcn-R-seed0.json" not in files(tmp_path)
    monkeypatch.setattr(training, "take_step", forbid)
    expected = read_json(table, "digits-fcn-R-seed0")
    assert run_tiny("fcn", tmp_path)["error"] == expected["error"]


# Sums of records


def test_summary_by_hand(tmp_path):
    """Errors in the order of the seeds (10 after 2); other files do not matter."""
    cell = {"model": "cnn", "distortion": "R"}
    fabricate(tmp_path, {10: 4.0, 0: 1.0, 2: 3.0}, data="mnist", **cell)
    fabricate(tmp_path, {0: 7.5}, data="digits", **cell)
    (tmp_path / "digits-cnn-R-seed0.png").write_bytes(b"")
    common = {**cell, "weights": 1234, "images_seen": 1_000_000}
    digits, mnist = summary(tmp_path)
    assert digits == common | {"data": "digits", "errors": [7.5], "seconds": 60.0}
    assert mnist == common | {
        "data": "mnist",
        "errors": [1.0, 3.0, 4.0],
        "seconds": 60.0 * (1 + 3 + 11) / 3,
    }


def test_runs_of_unlike_recipes_make_no_cell(tmp_path):
    cell = {"data": "mnist", "model": "cnn", "distortion": "R"}
    fabricate(tmp_path, {0: 1.0}, **cell)
    fabricate(tmp_path, {1: 1.0}, images=5, **cell)
    with pytest.raises(ValueError, match="one recipe in all runs of mnist-cnn-R"):
        summary(tmp_path)


BROKEN = {
    "half": ('{"data": "digits", "mod', "JSONDecodeError"),
    "empty": ("", "JSONDecodeError"),
    "no record": ('{"data": "digits"}', "KeyError"),
    "a list": ("[1, 2]", "TypeError"),
    "bytes": ("\udcff\udcfe", "UnicodeDecodeError|JSONDecodeError"),
    "without a result": (
        '{"data": "digits", "model": "fcn", "distortion": "R", "seed": 3, "error": 1}',
        "digits-fcn-R-seed3 without weights, images_seen, seconds, recipe",
    ),
    "of another run": (
        '{"data": "digits", "model": "fcn", "distortion": "R", "seed": 7}',
        "digits-fcn-R-seed7",
    ),
}


@pytest.mark.parametrize(("content", "found"), BROKEN.values(), ids=BROKEN)
def test_a_broken_record_is_named(content, found, tmp_path, capsys):
    path = tmp_path / "digits-fcn-R-seed3.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    message = f"expected {path} to hold the record of digits-fcn-R-seed3, but found "
    with pytest.raises(ValueError, match=f"{message}.*({found})"):
        run_tiny("fcn", tmp_path, seed=3)
    with pytest.raises(ValueError, match=message):
        summary(tmp_path)
    assert stopped(main, ["table1", "--report", "--out", str(tmp_path)]) == 1
    assert message in capsys.readouterr().err
    assert path.read_bytes() == content.encode(errors="surrogateescape")
