"""The table's runs: complete records, no work done twice, a report that adds up."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save

from stn_tutorial import files as book_files
from stn_tutorial import training
from stn_tutorial.distortions import SIDES, distort
from stn_tutorial.experiments import records, table1, traffic_signs
from stn_tutorial.experiments.__main__ import main
from stn_tutorial.experiments.evaluate import evaluate
from stn_tutorial.experiments.records import new_network, summary, to_json
from stn_tutorial.experiments.table1 import (
    PAPER,
    PAPER_IMAGES,
    load_by_name,
    report_table,
    run_cell,
    table_recipe,
)
from stn_tutorial.files import RECORDED
from stn_tutorial.networks import TABLE_MODELS, multiplies_bfloat16, table_network
from stn_tutorial.training import Recipe

FEW = 640  # images: five steps
FIELDS = {"data", "model", "distortion", "errors", "weights", "images_seen", "seconds"}


@pytest.fixture(autouse=True)
def threads():
    """A run sets the number of threads to one; here it comes back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run(model, out, seed=0, distortion="R"):
    return run_cell("digits", model, distortion, seed, out, FEW)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A folder with three runs: two seeds of a cell, and a transformer on TC."""
    out = tmp_path_factory.mktemp("table")
    run("fcn", out)
    run("fcn", out, seed=1)
    run("st-fcn-tps", out, distortion="TC")
    return out


def read(out, name):
    return json.loads((out / f"{name}.json").read_text())


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def forbid(*_, **__):
    raise AssertionError("expected no training")


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
    record = read(table, f"digits-{model}-{distortion}-seed0")
    curve, versions = record.pop("curve"), record.pop("versions")
    theta, error = record.pop("theta", None), record.pop("error")
    assert 0 <= record.pop("seconds") < 60
    network = table1.build(model, distortion)
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
    if model == "fcn":
        assert theta is None
    else:
        theta = np.array(theta)
        assert theta.shape == (12, 16, 2)
        assert np.array_equal(theta, theta.round(4))
        lattice = np.linspace(-1, 1, 4)
        start = np.stack(np.meshgrid(lattice, lattice), -1).reshape(16, 2) * 28 / 60
        assert 0 < np.abs(theta - start).max() < 0.2


def test_record_is_small_and_readable(table):
    """One field a line."""
    text = (table / "digits-st-fcn-tps-TC-seed0.json").read_text()
    fields = json.loads(text)
    lines = text.splitlines()
    assert [line.split('"')[1] for line in lines[1:-1]] == list(fields)
    assert len(text) < 12_000


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


@pytest.mark.parametrize("name", ["digits-fcn-R-seed1", "digits-st-fcn-tps-TC-seed0"])
def test_evaluation_repeats_the_recorded_error(name, table, capsys):
    record = read(table, name)
    weights = table / "weights" / f"{name}.safetensors"
    assert evaluate(weights)["error"] == record["error"]
    main(["evaluate", str(weights)])
    printed = json.loads(capsys.readouterr().out)
    assert printed == {k: record[k] for k in ("data", "model", "distortion", "error")}


# What a run is trained and tested on


def hashes(images):
    return {hash(image.numpy().tobytes()) for image in images}


@pytest.mark.parametrize("distortion", SIDES)
def test_test_set_is_the_same_for_every_network(distortion):
    """Ten draws of each test digit, each draw another."""
    images, labels = table1.table_test_set("digits", distortion)
    again, _ = table1.table_test_set("digits", distortion)
    assert torch.equal(images, again)
    plain = load_by_name("digits")
    assert labels.tolist() == 10 * plain.test_labels.tolist()
    draws = images.view(10, 597, *images.shape[1:])
    assert len({draw.sum().item() for draw in draws}) == 10
    generator = torch.Generator().manual_seed(1)
    first = distort(plain.test_images, distortion, generator)  # by the book's sampler
    assert (draws[0] - first).abs().max() < 1e-4


def test_training_never_meets_validation_or_test_digits(monkeypatch, tmp_path):
    """Not one training step draws a digit of the other two sets."""
    plain, drawn, given = load_by_name("digits"), [], {}

    def spy(images, *args, **kwargs):
        drawn.append(images.clone())
        return distort(images, *args, **kwargs)

    def look(*args, **options):
        given.update(options)
        return training.train(*args, **options)

    monkeypatch.setattr(training, "distort", spy)
    monkeypatch.setattr(records, "train", look)
    run("st-fcn-affine", tmp_path)
    seen = hashes(torch.cat(drawn))
    assert len(seen) > 300
    assert seen <= hashes(plain.train_images[:1000])
    assert not seen & hashes(plain.train_images[1000:])
    assert not seen & hashes(plain.test_images)
    images, labels = given["validation"]
    assert labels.tolist() == plain.train_labels[1000:].tolist()
    generator = torch.Generator().manual_seed(2)
    expected = distort(plain.train_images[1000:], "R", generator)
    assert (images - expected).abs().max() < 1e-4
    assert torch.equal(given["watched"], table1.table_test_set("digits", "R")[0][:12])


def test_a_runs_seed_and_device_reach_the_network_and_its_training(
    monkeypatch, tmp_path
):
    """No GPU is needed: on the device "meta" there are shapes, and no numbers."""
    given = []

    def look(network, *_, seed, **options):
        given.append((network, seed))
        raise KeyboardInterrupt

    monkeypatch.setattr(records, "train", look)
    for seed, device in ((1, "cpu"), (2, "meta")):
        with pytest.raises(KeyboardInterrupt):
            run_cell("digits", "fcn", "R", seed, tmp_path, FEW, device)
    (first, _), (second, _) = given
    assert [seed for _, seed in given] == [1, 2]
    wanted = new_network(table_network, "fcn", "R", seed=1).parameters()
    for found, weights in zip(first.parameters(), wanted, strict=True):
        assert torch.equal(found, weights)
    assert all(weights.device.type == "meta" for weights in second.parameters())


def test_first_weights_depend_on_the_seed_alone():
    torch.manual_seed(3)
    a = new_network(table_network, "cnn", "R", seed=1)
    torch.manual_seed(4)
    state = torch.get_rng_state()
    b, c = (
        new_network(table_network, "cnn", "R", seed=1),
        new_network(table_network, "cnn", "R", seed=2),
    )
    assert torch.equal(torch.get_rng_state(), state)
    for x, y, z in zip(*(n.parameters() for n in (a, b, c)), strict=True):
        assert torch.equal(x, y)
        assert x.dim() == 1 or not torch.equal(x, z)


@pytest.mark.parametrize("model", TABLE_MODELS)
def test_a_tenth_of_the_papers_images_at_most(model):
    plan = table_recipe("mnist", model)
    assert plan.batch < plan.images <= PAPER_IMAGES / 10
    assert table_recipe("mnist", model, 5000).images == 5000
    assert asdict(table_recipe("mnist", model, 5000)) == asdict(plan) | {"images": 5000}


# Interruption


def test_what_is_on_record_is_not_trained_again(table, monkeypatch):
    before = {name: (table / name).stat().st_mtime_ns for name in files(table)}
    monkeypatch.setattr(records, "train", forbid)
    monkeypatch.setattr(table1, "load_by_name", forbid)
    assert run("fcn", table, seed=1) == read(table, "digits-fcn-R-seed1")
    assert before == {name: (table / name).stat().st_mtime_ns for name in files(table)}


def test_a_record_of_another_recipe_is_refused(table):
    message = r"R-seed0.json to have .*: 768, .* it has .*: 640, .*; remove it"
    with pytest.raises(ValueError, match=message):
        run_cell("digits", "fcn", "R", 0, table, images=768)
    assert read(table, "digits-fcn-R-seed0")["images_seen"] == FEW


@contextmanager
def stop_before(step, monkeypatch):
    """Ctrl-C in the middle of a training."""
    taken = []

    def interrupted(*args):
        taken.append(None)
        if len(taken) == step:
            raise KeyboardInterrupt
        return take_step(*args)

    take_step = training.take_step
    with monkeypatch.context() as patch:
        patch.setattr(training, "take_step", interrupted)
        yield taken


def test_an_interrupted_run_goes_on(table, tmp_path, monkeypatch):
    """With the same end, but for the clock; what a killed process left goes too."""
    with stop_before(4, monkeypatch), pytest.raises(KeyboardInterrupt):
        run("fcn", tmp_path)
    checkpoint = "checkpoints/digits-fcn-R-seed0.safetensors"
    assert files(tmp_path) == [checkpoint]
    (tmp_path / f"{checkpoint}.0123.part").touch()
    with stop_before(3, monkeypatch) as taken:
        record = run("fcn", tmp_path)
    assert len(taken) == 2
    expected = read(table, "digits-fcn-R-seed0")
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
            records.append(run("fcn", tmp_path))
        return take_step(*args)

    take_step = training.take_step
    monkeypatch.setattr(training, "take_step", step_aside)
    records.append(run("fcn", tmp_path))
    assert len(steps) == 5 + 2  # the second went on from the first's checkpoint
    for record in records:
        expected = read(table, "digits-fcn-R-seed0")
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
            records.append(run("fcn", tmp_path))
        return replace(part, path)

    replace = Path.replace
    monkeypatch.setattr(Path, "replace", step_aside)
    records.append(run("fcn", tmp_path))
    assert records[0] == records[1]
    expected = read(table, "digits-fcn-R-seed0")
    assert records[1] == expected | {"seconds": records[1]["seconds"]}
    assert files(tmp_path) == [
        "digits-fcn-R-seed0.json",
        "weights/digits-fcn-R-seed0.safetensors",
    ]


def test_what_is_missing_for_other_reasons_is_told(tmp_path, monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError("the checkpoint's folder")

    monkeypatch.setattr(records, "train", missing)
    with pytest.raises(FileNotFoundError, match="the checkpoint's folder"):
        run("fcn", tmp_path)
    assert files(tmp_path) == []


def test_a_training_that_diverges_is_not_put_on_record(tmp_path, monkeypatch):
    """Nor is its checkpoint kept, from which it could only diverge again."""
    wild = Recipe(FEW, rate=1e30)
    monkeypatch.setattr(table1, "table_recipe", lambda *_: wild)
    with pytest.raises(ValueError, match="got nan within . steps: .* try a lower rate"):
        run("st-fcn-affine", tmp_path)
    assert files(tmp_path) == ["checkpoints/digits-st-fcn-affine-R-seed0.safetensors"]


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
    run("fcn", tmp_path, seed=1)
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
            run("fcn", tmp_path)
    assert "digits-fcn-R-seed0.json" not in files(tmp_path)
    monkeypatch.setattr(training, "take_step", forbid)
    assert run("fcn", tmp_path)["error"] == read(table, "digits-fcn-R-seed0")["error"]


# Report


def fabricate(out, model, distortion, errors, data="mnist", images=1_000_000, **other):
    """Records as runs leave them, with errors of our choice: seed -> error."""
    for seed, error in errors.items():
        record = {
            "data": data,
            "model": model,
            "distortion": distortion,
            "seed": seed,
            "error": error,
            "weights": 1234,
            "images_seen": images,
            "seconds": 10.0 + seed,
            "recipe": {"images": images},
        } | other
        name = f"{data}-{model}-{distortion}-seed{record['seed']}.json"
        (out / name).write_text(json.dumps(record))


THREE = {0: 0.61, 1: 0.73, 2: 0.68}


def test_summary_by_hand(tmp_path):
    """Errors in the order of the seeds (10 after 2); other files do not matter."""
    fabricate(tmp_path, "cnn", "R", {10: 4.0, 0: 1.0, 2: 3.0})
    fabricate(tmp_path, "cnn", "R", {0: 7.5}, data="digits")
    (tmp_path / "digits-cnn-R-seed0.png").write_bytes(b"")
    expected = {"model": "cnn", "distortion": "R", "weights": 1234}
    assert sorted(summary(tmp_path), key=lambda entry: entry["data"]) == [
        expected
        | {
            "data": "digits",
            "errors": [7.5],
            "images_seen": 1_000_000,
            "seconds": 10.0,
        },
        expected
        | {
            "data": "mnist",
            "errors": [1.0, 3.0, 4.0],
            "images_seen": 1_000_000,
            "seconds": pytest.approx((10 + 12 + 20) / 3),
        },
    ]


def cells(text, data):
    """The numbers of a block of the report, by line and column: {(row, d): words}."""
    block = text.split(f"{data}: test error in %")[1].split("\n\n")[0].splitlines()
    ends = [(d, block[1].index(f" {d}") + 1 + len(d)) for d in SIDES]
    found, model = {}, ""
    for line in takewhile(lambda line: line[0] != "*", block[2:]):
        head = line[:25].strip()
        model = head if head != "paper" else f"{model} paper"
        for d, end in ends:
            words = line[max(end - 15, 25) : end].split()
            if words:
                found[model, d] = words
    return found


def test_report_shows_mean_spread_and_the_papers(tmp_path):
    fabricate(tmp_path, "st-cnn-affine", "R", THREE)
    fabricate(tmp_path, "st-cnn-affine", "E", {0: 1.2}, images=3_000_000)
    fabricate(tmp_path, "st-cnn-affine", "TC", {0: 10.5, 1: 11.5})
    fabricate(tmp_path, "fcn", "P", {0: 3.05, 1: 3.25})
    fabricate(tmp_path, "fcn", "R", {0: 30.5, 1: 20.25}, data="digits")
    text = report_table(tmp_path)
    assert max(map(len, text.splitlines())) <= 100
    errors = list(THREE.values())
    mean, spread = np.mean(errors), np.std(errors, ddof=1)
    assert cells(text, "mnist") == {
        ("st-cnn-affine", "R"): [f"{mean:.2f}", "±", f"{spread:.2f}"],
        ("st-cnn-affine paper", "R"): ["0.7", "*"],
        ("st-cnn-affine", "E"): ["1.20"],
        ("st-cnn-affine paper", "E"): ["1.2", "*"],
        ("st-cnn-affine", "TC"): ["11.00", "±", "0.71"],
        ("st-cnn-affine paper", "TC"): ["1.7"],
        ("fcn", "P"): ["3.15", "±", "0.14"],
        ("fcn paper", "P"): ["3.1"],
    }
    assert cells(text, "digits") == {("fcn", "R"): ["25.38", "±", "7.25"]}
    assert text.index("mnist: ") < text.index("\nfcn ") < text.index("\nst-cnn-affine ")
    assert "2 of the paper's 36 cells are met" in text
    assert "\n1 to 3 seeds a cell; 1,000,000 to 3,000,000 training images" in text
    assert " 38,400,000 in the paper\n" in text


def test_a_compact_network_can_meet_the_cell_of_its_kin(tmp_path):
    fabricate(tmp_path, "st-cnn-affine", "RTS", {0: 0.6})
    fabricate(tmp_path, "st-cnn-compact-affine", "RTS", {0: 0.4})
    fabricate(tmp_path, "st-cnn-compact-tps", "R", {0: 0.8})
    fabricate(tmp_path, "cnn", "R", {0: 1.1})
    fabricate(tmp_path, "cnn-compact", "R", {0: 1.0})
    fabricate(tmp_path, "st-fcn-projective", "TC", {0: 1.0})  # not in the paper
    text = report_table(tmp_path)
    assert "2 of the paper's 36 cells are met" in text
    found = cells(text, "mnist")
    assert found["st-cnn-affine paper", "RTS"] == ["0.5"]
    assert found["st-cnn-compact-affine paper", "RTS"] == ["0.5", "*"]
    assert found["st-cnn-compact-tps paper", "R"] == ["0.7"]
    assert found["cnn-compact paper", "R"] == ["1.2", "*"]
    assert ("st-fcn-projective paper", "TC") not in found


def test_all_cells_can_be_met(tmp_path):
    for model, row in PAPER.items():
        for distortion, error in row.items():
            fabricate(tmp_path, model, distortion, {0: error, 1: error, 2: error})
    text = report_table(tmp_path)
    assert "36 of the paper's 36 cells are met" in text
    assert sum(words[-1] == "*" for words in cells(text, "mnist").values()) == 36
    assert max(map(len, text.splitlines())) <= 100


def test_reports_pass_over_each_others_runs():
    assert report_table(RECORDED / "gtsrb").startswith("no run on record in ")
    assert traffic_signs.report_signs(RECORDED / "table1").startswith(
        "no run on record in "
    )


def test_json_report_has_the_promised_fields(table, capsys):
    main(["table1", "--report", "--json", "--out", str(table)])
    entries = json.loads(capsys.readouterr().out)
    assert [(e["model"], e["distortion"]) for e in entries] == [
        ("fcn", "R"),
        ("st-fcn-tps", "TC"),
    ]
    assert all(entry.keys() == FIELDS for entry in entries)
    runs = [read(table, f"digits-fcn-R-seed{seed}") for seed in (0, 1)]
    assert entries[0]["errors"] == [run["error"] for run in runs]
    main(["table1", "--report", "--out", str(table)])
    assert capsys.readouterr().out == report_table(table) + "\n"


def test_runs_of_unlike_recipes_make_no_cell(tmp_path):
    fabricate(tmp_path, "cnn", "R", {0: 1.0})
    fabricate(tmp_path, "cnn", "R", {1: 1.0}, recipe={"images": 5})
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
        run("fcn", tmp_path, seed=3)
    with pytest.raises(ValueError, match=message):
        summary(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["table1", "--report", "--out", str(tmp_path)])
    assert stop.value.code == 1
    assert message in capsys.readouterr().err
    assert path.read_bytes() == content.encode(errors="surrogateescape")


def test_the_books_records_are_in_the_package_or_in_its_repository(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(book_files, "__file__", str(tmp_path / "stn_tutorial/files.py"))
    assert book_files.book_folder() == tmp_path / "chapters" / "recorded"
    (tmp_path / "stn_tutorial" / "recorded").mkdir(parents=True)
    assert book_files.book_folder() == tmp_path / "stn_tutorial" / "recorded"


# Command line


def test_nothing_on_record(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["table1", "--report", "--out", "missing"])
    assert capsys.readouterr().out == f"no run on record in {tmp_path / 'missing'}\n"
    main(["table1", "--report", "--json", "--out", "missing"])
    assert json.loads(capsys.readouterr().out) == []
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table1", "--json"], "--json needs --report"),
        (["table1", "--seeds", "0"], "expected --seeds to be at least 1, but got 0"),
        (["table1", "--images", "127"], "at least a batch of 128, but got 127"),
        (["table1", "--models", "mlp"], "invalid choice: 'mlp'"),
        (["table1", "--distortions", "Q"], "invalid choice: 'Q'"),
        ([], "arguments are required: command"),
    ],
)
def test_wrong_use(arguments, message, capsys, monkeypatch):
    monkeypatch.setattr(table1, "run_cell", forbid)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        (b'{"error": 1}', "run.safetensors to hold weights: "),
        (save({"a": torch.ones(2)}), "run.safetensors to say which run left these"),
        (
            save(
                {"a": torch.ones(2)},
                {"data": "svhn", "model": "cnn", "distortion": "R"},
            ),
            "expected data to be one of ['digits', 'mnist'], but got: 'svhn'",
        ),
        (
            save(
                {"a": torch.ones(2)},
                {"data": "digits", "model": "cnn", "distortion": "R"},
            ),
            "run.safetensors to hold the weights of cnn: ",
        ),
    ],
    ids=["missing", "no weights", "no run's", "of other data", "of another network"],
)
def test_evaluating_what_holds_no_weights(content, message, tmp_path, capsys):
    path = tmp_path / "run.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", str(path)])
    assert stop.value.code == 1
    assert message in capsys.readouterr().err


def test_evaluating_a_folder(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", str(tmp_path)])
    assert f"expected {tmp_path} to hold weights: " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["table1", "gtsrb"])
def test_the_books_own_records_are_found_from_anywhere(
    command, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    main([command, "--report"])
    assert "cnn" in capsys.readouterr().out
    assert files(tmp_path) == []


TINY = ["table1", "--data", "digits", "--images", str(FEW)]
CUDA = "expected a GPU for --device cuda, but PyTorch finds none here"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (TINY, "expected --out with --images or --data digits"),
        (["table1", "--data", "digits"], "expected --out with --images or"),
        (["gtsrb", "--images", "1280"], "expected --out with --images or"),
        (["table1", "--device", "cuda"], CUDA),
        (["gtsrb", "--device", "cuda"], CUDA),
        (["table1", "--device", "gpu"], "invalid choice: 'gpu'"),
    ],
)
def test_what_would_spoil_the_books_records_or_cannot_run(
    arguments, message, capsys, monkeypatch, tmp_path
):
    monkeypatch.setattr(records, "train", forbid)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_is_told_before_any_training(
    tmp_path, capsys, monkeypatch
):
    (tmp_path / "file").write_text("precious")
    monkeypatch.setattr(table1, "load_by_name", forbid)
    with pytest.raises(SystemExit) as stop:
        main([*TINY, "--out", str(tmp_path / "file")])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert f"--out to be a folder, but {tmp_path / 'file'} is a file" in error
    assert (tmp_path / "file").read_text() == "precious"


def test_what_no_run_can_mend_is_told_once(tmp_path, capsys, monkeypatch):
    """Without the data, the second run would fail as the first did."""
    calls = []

    def no_network(*job):
        calls.append(job)
        raise ConnectionError("expected MNIST in a folder\nWhat to do: ...")

    monkeypatch.setattr(table1, "run_cell", no_network)
    with pytest.raises(SystemExit) as stop:
        main([*TINY, "--out", str(tmp_path)])
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert error.endswith("error: expected MNIST in a folder\nWhat to do: ...\n")
    assert "Traceback" not in error
    assert len(calls) == 1


def test_runs_come_seed_by_seed(tmp_path, monkeypatch, capsys):
    """First one seed of every cell; an absolute folder, wherever they run."""
    calls = []

    def note(*job):
        calls.append(job)
        return {"error": 12.345}

    monkeypatch.setattr(table1, "run_cell", note)
    monkeypatch.chdir(tmp_path)
    arguments = ["--models", "cnn", "fcn", "--distortions", "R", "P", "--seeds", "2"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    main([*TINY, *arguments, "--out", "some/folder", "--device", "cuda"])
    assert calls == [
        ("digits", model, distortion, seed, tmp_path / "some/folder", FEW, "cuda")
        for seed in (0, 1)
        for distortion in ("R", "P")
        for model in ("cnn", "fcn")
    ]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert lines[1] == "digits-fcn-R-seed0: 12.35%" or lines[1].endswith("12.34%")


def test_a_failed_run_does_not_stop_the_others(tmp_path, capsys):
    broken = tmp_path / "digits-fcn-R-seed1.json"
    broken.write_text("{")
    arguments = ["--models", "fcn", "--distortions", "R", "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as stop:
        main([*TINY, *arguments])
    output = capsys.readouterr()
    names = [line.split(":")[0] for line in output.out.splitlines()]
    assert names == ["digits-fcn-R-seed0", "digits-fcn-R-seed2"]
    assert "Traceback" in output.err
    told = "1 runs failed:\ndigits-fcn-R-seed1: ValueError: expected "
    assert str(stop.value).startswith(told)
    assert broken.read_text() == "{"
    broken.unlink()
    main([*TINY, *arguments])
    names = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert names == [f"digits-fcn-R-seed{seed}" for seed in range(3)]


def test_ctrl_c_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    arguments = ["--models", "fcn", "--distortions", "R", "--out", str(tmp_path)]
    with stop_before(3, monkeypatch), pytest.raises(SystemExit) as stop:
        main([*TINY, *arguments])
    assert stop.value.code == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert files(tmp_path) == ["checkpoints/digits-fcn-R-seed0.safetensors"]


# Dask


def test_without_dask_the_message_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(SystemExit) as stop:
        main([*TINY, "--out", str(tmp_path), "--scheduler", "tcp://127.0.0.1:1"])
    assert stop.value.code == 1
    assert "--scheduler needs Dask: pip install distributed" in capsys.readouterr().err


class Job:
    """What a cluster gives for a submitted call, ended at once."""

    released = 0

    def __init__(self, function, *arguments):
        self.result = lambda: function(*arguments)

    def release(self):
        Job.released += 1


def fake_dask(monkeypatch, workers):
    """Dask with its workers in this process; the last run ends first."""
    monkeypatch.setattr(Job, "released", 0)
    client = SimpleNamespace(nthreads=lambda: workers, submit=Job)
    dask = SimpleNamespace(
        Client=lambda address: nullcontext(client), as_completed=reversed
    )
    monkeypatch.setitem(sys.modules, "dask", SimpleNamespace(distributed=dask))
    monkeypatch.setitem(sys.modules, "dask.distributed", dask)


def test_workers_have_one_thread_each(tmp_path, monkeypatch, capsys):
    """Two runs in one process would mix their random numbers and their clocks."""
    fake_dask(monkeypatch, {"a": 1, "b": 4})
    monkeypatch.setattr(table1, "run_cell", forbid)
    arguments = ["--out", str(tmp_path), "--scheduler", "tcp://somewhere:8786"]
    with pytest.raises(SystemExit) as stop:
        main([*TINY, *arguments])
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert "expected workers with one thread each" in error
    assert "{'a': 1, 'b': 4}" in error


def test_records_of_workers_without_the_folder_come_home(monkeypatch, tmp_path, capsys):
    """They come in any order; what failed is told at the end, and none is kept.

    There is no worker at first.
    """
    fabricate(tmp_path, "fcn", "R", THREE, data="digits")
    records = {seed: read(tmp_path, f"digits-fcn-R-seed{seed}") for seed in THREE}
    out = tmp_path / "here"

    def elsewhere(data, model, distortion, seed, *_):
        if seed == 1:
            raise RuntimeError("no memory")
        return records[seed]

    fake_dask(monkeypatch, {})
    monkeypatch.setattr(table1, "run_cell", elsewhere)
    arguments = ["--models", "fcn", "--distortions", "R", "--out", str(out)]
    with pytest.raises(SystemExit, match="no memory"):
        main([*TINY, *arguments, "--scheduler", "tcp://somewhere:8786"])
    wait, *output = capsys.readouterr().out.splitlines()
    assert wait.startswith("no worker yet; start some: dask worker tcp://somewhere")
    assert output == ["digits-fcn-R-seed2: 0.68%", "digits-fcn-R-seed0: 0.61%"]
    assert Job.released == 3
    assert files(out) == ["digits-fcn-R-seed0.json", "digits-fcn-R-seed2.json"]
    assert read(out, "digits-fcn-R-seed2") == records[2]


def scheduler_address(contact):
    """As the scheduler's file tells it, once it is there and whole."""
    with suppress(OSError, ValueError):
        return json.loads(contact.read_text())["address"]


@contextmanager
def process(arguments, log):
    """Python in the background, with all that it prints in a file."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "TQDM_DISABLE": "1",
    }
    with log.open("w") as output:
        started = subprocess.Popen(
            [sys.executable, *arguments.split()],
            cwd=log.parent,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def wait_for(condition, what, seconds=240):
    """Look again and again until it holds."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.01)
    return result


def test_a_killed_workers_run_is_finished_by_another(tmp_path):
    """A real scheduler, two workers, six runs; one worker dies in the middle of one.

    That is when the first run is on record and both are in the middle of another, with
    a checkpoint each. All programs load the package at the start, so that none waits
    for another to do so.
    """
    images, out, contact = 6_400, tmp_path / "out", tmp_path / "scheduler.json"
    common = "--host 127.0.0.1 --no-dashboard --preload stn_tutorial.experiments "
    common += f"--scheduler-file {contact}"
    scheduler = f"-m dask scheduler {common} --port 0 --dashboard-address 127.0.0.1:0"
    worker = f"-m dask worker {common} --nthreads 1 --no-nanny --memory-limit 0"
    table = "-m stn_tutorial.experiments table1 --data digits --models fcn --seeds 6 "
    table += f"--distortions R --images {images} --out out --scheduler "
    log = tmp_path / "table.log"
    with ExitStack() as stack:
        start = lambda *job: stack.enter_context(process(*job))  # noqa: E731
        start(scheduler, tmp_path / "scheduler.log")
        address = wait_for(lambda: scheduler_address(contact), "the scheduler")
        workers = [start(worker, tmp_path / f"{name}.log") for name in "ab"]
        client = start(table + address, log)

        def two_begun():
            assert client.poll() is None, log.read_text()
            ended = {p.stem: p.stat().st_mtime_ns for p in out.glob("*.json")}
            begun = {p.stem for p in (out / "checkpoints").glob("*.safetensors")}
            begun -= ended.keys()
            return (ended, begun) if ended and len(begun) == 2 else None

        ended, begun = wait_for(two_begun, "both workers to be at a second run")
        workers[0].send_signal(signal.SIGKILL)
        assert client.wait(240) == 0, log.read_text()
        assert workers[1].poll() is None
    names = [f"digits-fcn-R-seed{seed}" for seed in range(6)]
    assert files(out) == [f"{name}.json" for name in names] + [
        f"weights/{name}.safetensors" for name in names
    ]
    lines = [line for line in log.read_text().splitlines() if "no worker" not in line]
    assert sorted(line.split(":")[0] for line in lines) == names
    assert [read(out, name)["seed"] for name in names] == list(range(6))
    for name, written in ended.items():  # not run again
        assert (out / f"{name}.json").stat().st_mtime_ns == written
    for name in begun:  # one of them was killed: no trace of that is left
        seed = int(name[-1])
        expected = run_cell("digits", "fcn", "R", seed, tmp_path / "again", images)
        assert read(out, name) == expected | {"seconds": read(out, name)["seconds"]}
