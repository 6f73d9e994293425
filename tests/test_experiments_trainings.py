"""The trainings without options, in small: what they learn from, and what they leave.

The bundled digits stand for MNIST's, and few images for many.
"""

import json
from dataclasses import asdict, replace
from hashlib import sha256

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from runs import FEW, files, read_json, threads_kept
from safetensors.torch import load_file

from stn_tutorial.affine import scaling
from stn_tutorial.checkpoints import load_weights, seal
from stn_tutorial.data import gtsrb
from stn_tutorial.data.digits import load_digits
from stn_tutorial.data.gtsrb import ARRAYS
from stn_tutorial.data.scenes import NAMES
from stn_tutorial.experiments import (
    compact_rows,
    drawing_net,
    kept_scenes,
    kept_signs,
    rates,
    table1,
    undone,
    wider_fcn,
)
from stn_tutorial.experiments.records import new_network, unpack
from stn_tutorial.experiments.scenes import new_finder
from stn_tutorial.networks import drawing_network, table_network
from stn_tutorial.sign_figures import read_tiles
from stn_tutorial.signs import sign_network
from stn_tutorial.training import error_rate, train


@pytest.fixture(autouse=True)
def threads():
    with threads_kept():
        yield


@pytest.fixture
def digits(monkeypatch):
    """The bundled digits in MNIST's place."""
    monkeypatch.setattr(table1, "load_mnist", load_digits)
    monkeypatch.setitem(table1.VALIDATION, "mnist", table1.VALIDATION["digits"])
    return load_digits()


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name])


# A perfect transformer


def test_a_tilt_is_undone_but_for_what_the_image_has_lost(digits):
    """The tilts are those of the table's P: the same seed, the same numbers."""
    images, labels = digits.test_images, digits.test_labels
    tilted, _ = table1.distorted(images, labels, "P", draws=1, seed=1)
    twice, again = undone.tilted_and_undone(images, labels, draws=2, seed=1)
    first, second = twice.split(len(images))
    assert torch.equal(again, torch.cat([labels, labels]))
    assert not torch.equal(first, second)
    once, _ = undone.tilted_and_undone(images, labels, draws=1, seed=1)
    assert torch.equal(once, first)
    before = (tilted - images).abs().mean(dim=(1, 2, 3))
    after = (first - images).abs().mean(dim=(1, 2, 3))
    assert after.median() < before.median() / 4
    assert (after < before).float().mean() > 0.99


def test_undone_digits_are_on_record_as_such(digits, tmp_path, monkeypatch, capsys):
    recipe = table1.table_recipe("mnist", "cnn", FEW)
    monkeypatch.setattr(undone, "table_recipe", lambda *_: recipe)
    monkeypatch.setattr(undone, "OUT", tmp_path)
    undone.train_undone()
    names = [f"mnist-cnn-P-undone-seed{seed}" for seed in range(3)]
    assert files(tmp_path) == [
        *(f"{name}.json" for name in names),
        *(f"weights/{name}.safetensors" for name in names),
    ]
    lines = []
    for seed, name in enumerate(names):
        record = read_json(tmp_path, name)
        assert record["test_images"] == 4 * 597
        lines.append(f"seed {seed}: {record['error']:.2f}%")
    assert capsys.readouterr().out.splitlines() == lines


# The compact rows


@pytest.fixture
def rows(digits, tmp_path, monkeypatch):
    """The folder of the compact rows, for short runs on one set."""
    monkeypatch.setattr(compact_rows, "OUT", tmp_path)
    monkeypatch.setattr(compact_rows, "IMAGES", FEW)
    monkeypatch.setattr(compact_rows, "LESSONS", FEW)
    monkeypatch.setattr(compact_rows, "DISTORTIONS", ["E"])
    return tmp_path


def test_compact_rows_are_runs_of_the_table_but_for_length_and_rate(
    rows, tmp_path_factory, monkeypatch, capsys
):
    model = "st-cnn-compact-tps"
    monkeypatch.setattr(compact_rows, "COMPACT", [model])
    compact_rows.train_compact_rows()
    names = [f"mnist-{model}-E-seed{seed}" for seed in range(3)]
    records = [read_json(rows, name) for name in names]
    assert capsys.readouterr().out.splitlines() == [
        f"{name}: {record['error']:.2f}%"
        for name, record in zip(names, records, strict=True)
    ]
    recipe = compact_rows.compact_recipe(model)
    monkeypatch.setattr(table1, "table_recipe", lambda *_: recipe)
    own = table1.run_cell("mnist", model, "E", 2, tmp_path_factory.mktemp("table"))
    for what in ("recipe", "error", "wrong", "theta", "weights", "test_images"):
        assert records[2][what] == own[what]


def test_on_r_alone_one_network_has_the_transformer_without_its_lessons(
    rows, monkeypatch
):
    model = compact_rows.UNTAUGHT
    monkeypatch.setattr(compact_rows, "COMPACT", ())
    monkeypatch.setattr(compact_rows, "DISTORTIONS", ["R", "E"])
    compact_rows.train_compact_rows()
    assert {path.stem for path in rows.glob("*.json")} == {
        f"mnist-{model}-R-seed{seed}" for seed in range(3)
    }
    assert read_json(rows, f"mnist-{model}-R-seed1")["images_seen"] == FEW
    task = compact_rows.untaught_task("R", seed=1)
    for name, part in (("st-fcn", "transformer"), ("st-cnn-compact", "classifier")):
        twin = new_network(table_network, f"{name}-affine", "R", seed=1)
        assert_equal(
            getattr(task.network, part).state_dict(), getattr(twin, part).state_dict()
        )


def test_a_taught_transformer_is_that_of_the_fcn_before_a_new_compact_cnn(rows):
    task = compact_rows.taught_task("E", seed=1)
    lessons = table1.table_recipe("mnist", "st-fcn-affine", FEW)
    teacher = table1.cell_task("mnist", "st-fcn-affine", "E", 1)
    train(teacher.network, *teacher[1:4], lessons, teacher.validation, seed=1)
    taught = teacher.network.transformer.state_dict()
    assert_equal(task.network.transformer.state_dict(), taught)
    heir = new_network(table_network, "st-cnn-compact-affine", "E", seed=1)
    assert_equal(task.network.classifier.state_dict(), heir.classifier.state_dict())
    record = compact_rows.train_compact_cell(compact_rows.TAUGHT, "E", 1)
    assert record["images_seen"] == FEW * 3 // 4 // 128 * 128
    assert record["lessons"]["images"] == FEW
    assert len(unpack(record["theta"])) == 1000
    assert record["weights"] == sum(p.numel() for p in task.network.parameters())


# The wider FCN


def test_the_wider_fcn_differs_from_the_table_in_width_digits_and_images(
    digits, tmp_path, monkeypatch, capsys
):
    recipe = asdict(wider_fcn.RECIPE)
    assert recipe == asdict(table1.table_recipe("mnist", "fcn", 38_400_000))
    monkeypatch.setattr(wider_fcn, "OUT", tmp_path)
    monkeypatch.setattr(wider_fcn, "RECIPE", replace(wider_fcn.RECIPE, images=FEW))
    wider_fcn.train_wider_fcn()
    record = read_json(tmp_path, "mnist-fcn-128-TC-seed0")
    assert (
        capsys.readouterr().out == f"mnist-fcn-128-TC-seed0: {record['error']:.2f}%\n"
    )
    assert record["images_seen"] == FEW
    linear = 3600 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10
    assert record["weights"] == linear + 2 * 128  # batch normalisation's factors
    task, like = wider_fcn.wider_task(), table1.cell_task("mnist", "fcn", "TC", 0)
    assert len(like.images) < len(task.images) == len(digits.train_images)
    assert torch.equal(task.test[0], like.test[0])


# Learning rates


def test_every_rate_is_tried_on_both_networks(monkeypatch, capsys):
    tried = []

    def note(model, distortion, rate, images):
        tried.append((model, distortion, rate, images))
        return 12.345

    monkeypatch.setattr(rates, "validation_error", note)
    rates.try_rates()
    assert len(set(tried)) == 2 * 3 * 3
    lines = capsys.readouterr().out.splitlines()
    for (model, distortion, rate, images), line in zip(tried, lines, strict=True):
        assert images == 300_000
        assert line.split()[:3] == [model, distortion, str(rate)]


def test_a_rate_is_tried_on_training_digits_alone(digits, monkeypatch):
    given = {}

    def note(network, images, labels, distortion, recipe, validation):
        given.update(images=images, recipe=recipe, validation=validation)
        return train(network, images, labels, distortion, recipe, validation)

    monkeypatch.setattr(rates, "train", note)
    error = rates.validation_error("cnn", "RTS", 0.2, images=256)
    assert 0 < error <= 100
    assert torch.equal(given["images"], digits.train_images[:1000])
    assert (given["recipe"].rate, given["recipe"].images) == (0.2, 256)
    _, labels = given["validation"]
    assert torch.equal(labels, digits.train_labels[1000:])


# The figure's network


def test_the_drawing_net_is_trained_in_two_stages(digits, tmp_path, monkeypatch):
    """The transformer learns before another classifier, and stays as it then is."""
    transformers = []

    def train_little(network, images, labels, distortion, recipe, validation, seed):
        little = replace(recipe, images=256)
        history = train(network, images, labels, distortion, little, validation, seed)
        weights = network.transformer.state_dict()
        transformers.append({name: each.clone() for name, each in weights.items()})
        return history

    monkeypatch.setattr(drawing_net, "train", train_little)
    monkeypatch.setattr(drawing_net, "RECORDED", tmp_path)
    drawing_net.train_drawing_net()
    assert files(tmp_path) == ["drawing-net.json", "drawing-net.safetensors"]

    torch.manual_seed(drawing_net.SEED)
    untrained = drawing_network().transformer.state_dict()
    first, second = transformers
    name = "localisation.1.last.bias"
    assert not torch.equal(first[name], untrained[name])
    assert all(torch.equal(first[name], second[name]) for name in first)

    record = read_json(tmp_path, "drawing-net")
    content = (tmp_path / "drawing-net.safetensors").read_bytes()
    assert record["sha256"] == sha256(content).hexdigest()
    recipes = [stage["recipe"] for stage in record["stages"]]
    assert [recipe["localisation_rate"] for recipe in recipes] == [0.5, 0]
    weights = load_file(tmp_path / "drawing-net.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    network = drawing_network()
    network.load_state_dict(weights, strict=False)  # without batch norm's counts
    test = table1.table_test_set("mnist", "RTS")
    assert error_rate(network, *test) == record["test_error"]


# A network for traffic signs, kept


@pytest.fixture
def signs(tmp_path, monkeypatch):
    """Arrays as the cache has them: 43 classes, of each two tracks of four frames.

    A sign grows over its track, in class 7 most of all; class 9 is as dark as night.
    """
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(43), 8)
    frames = np.tile([2, 0, 3, 1], 86)
    images = rng.integers(150, 256, size=(len(labels), 48, 48, 3))
    images[labels == 9] //= 10
    growth = np.where(labels == 7, 10, 5) + np.where(labels == 9, 10, 0)
    width = 10 + growth * frames
    side = 2 * width
    roi = np.stack([side, side, width // 2, width // 2, width // 2 + width, side], 1)
    arrays = {
        "train_images": images,
        "train_labels": labels,
        "train_tracks": np.tile(np.repeat([0, 1], 4), 43),
        "train_frames": frames,
        "train_roi": roi,
        "test_images": images[:86],
        "test_labels": np.arange(86) % 43,
        "test_roi": roi[:86],
    }
    folder = tmp_path / "data" / "gtsrb"
    folder.mkdir(parents=True)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", np.asarray(values, ARRAYS[name][0]))
    monkeypatch.setenv("STN_TUTORIAL_DATA", str(folder.parent))
    return arrays


def test_only_a_run_on_signs_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_signs, "RECORDED", tmp_path / "recorded")
    weights = tmp_path / "run.safetensors"
    weights.write_bytes(seal({"a": torch.ones(2)}, {"data": "mnist", "model": "cnn"}))
    with pytest.raises(ValueError, match=r"run.safetensors .* of a run on gtsrb, but"):
        kept_signs.keep_signs(weights)
    assert files(tmp_path) == ["run.safetensors"]


def test_signs_are_kept_with_what_the_chapter_shows(signs, tmp_path, monkeypatch):
    """A network whose window is always the middle half of the width."""
    network = new_network(sign_network, "st-cnn-small", seed=0)
    with torch.no_grad():
        network.transformer.localisation[1].last.bias.copy_(scaling(0.5).flatten())
    weights = tmp_path / "run.safetensors"
    metadata = {"data": "gtsrb", "model": "st-cnn-small"}
    weights.write_bytes(seal(network.state_dict(), metadata))
    out = tmp_path / "recorded"
    monkeypatch.setattr(kept_signs, "RECORDED", out)
    kept_signs.keep_signs(weights)
    assert files(out) == [
        "signs-mistakes.png",
        "signs-track.png",
        "signs.json",
        "st-cnn-small-gtsrb.safetensors",
    ]
    record = json.loads((out / "signs.json").read_text())
    assert record["model"] == "st-cnn-small"
    assert record["mistakes"]["count"] == round(record["test_error"] * 86 / 100)
    assert len(record["mistakes"]["truth"]) == kept_signs.MISTAKES
    for truth, answer in zip(
        record["mistakes"]["truth"], record["mistakes"]["answer"], strict=True
    ):
        assert truth != answer
    assert record["size"]["learned"] == [0.5, 0.0]
    assert record["overlap"]["whole image"] < record["overlap"]["learned"]
    assert len(record["variances"]) == 43
    for whole, windows, one_window in record["variances"]:
        assert windows == pytest.approx(one_window, rel=1e-3)
        assert 0 < windows < whole  # the sampler averages neighbours
    # The sign that grows most, but for the dark one, in the order of time.
    assert record["track"]["label"] == 7
    assert record["track"]["sign_widths"] == [10, 20, 30, 40]
    assert record["track"]["image_widths"] == [20, 40, 60, 80]


def test_a_finder_is_kept_with_a_track(signs, tmp_path, monkeypatch):
    """Any network for scenes; the track is of a class that stands in scenes."""
    network = new_finder("cnn-averaged", 64)
    metadata = {"data": "scenes-64", "model": "cnn-averaged"}
    weights = tmp_path / "run.safetensors"
    weights.write_bytes(seal(network.state_dict(), metadata))
    out = tmp_path / "recorded"
    for module in (kept_signs, kept_scenes):
        monkeypatch.setattr(module, "RECORDED", out)
    monkeypatch.setattr(kept_scenes, "evaluate", lambda path: {"error": 12.5})
    kept_scenes.keep_scenes(weights)
    kept = "cnn-averaged-scenes-64.safetensors"
    assert files(out) == [kept, "scenes-track.png", "scenes.json"]
    record = json.loads((out / "scenes.json").read_text())
    assert record.items() > (metadata | {"test_error": 12.5}).items()
    load_weights(out / kept, network)
    track = record["track"]
    assert NAMES[track["label"]] == gtsrb.NAMES[7]
    assert track["sign_widths"] == [10, 20, 30, 40]
    tiles = read_tiles(out / "scenes-track.png")
    chosen = (signs["train_labels"] == 7) & (signs["train_tracks"] == track["track"])
    pixels = torch.from_numpy(signs["train_images"][chosen]).permute(0, 3, 1, 2)
    order = np.argsort(signs["train_frames"][chosen])
    boxed = pixels[order][:, :, 12:48, 12:36].float() / 255  # as its box says
    wanted = F.interpolate(boxed, (48, 48), mode="bilinear")
    inner = (..., slice(2, -2), slice(2, -2))
    assert (tiles[inner] - wanted[inner]).abs().max() < 0.01


def test_only_a_finder_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_signs, "RECORDED", tmp_path / "recorded")
    weights = tmp_path / "run.safetensors"
    content = seal({"a": torch.ones(2)}, {"data": "gtsrb", "model": "cnn-small"})
    weights.write_bytes(content)
    with pytest.raises(ValueError, match=r"run.safetensors .* of a run on scenes-, "):
        kept_scenes.keep_scenes(weights)
    assert files(tmp_path) == ["run.safetensors"]
