"""The paper's table: what its networks are trained and tested on, and its report."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from runs import fabricate, run_tiny, threads_kept

from stn_tutorial import training
from stn_tutorial.distortions import SIDES, distort
from stn_tutorial.experiments import records, table1, traffic_signs
from stn_tutorial.experiments.records import bits_to_text
from stn_tutorial.experiments.table1 import (
    PAPER,
    PAPER_IMAGES,
    load_by_name,
    paired_difference,
    report_table,
    table_recipe,
)
from stn_tutorial.files import RECORDED
from stn_tutorial.networks import TABLE_MODELS


@pytest.fixture(autouse=True)
def threads():
    with threads_kept():
        yield


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
    plain = load_by_name("digits")
    drawn, given = [], {}

    def spy(images, *args, **kwargs):
        drawn.append(images.clone())
        return distort(images, *args, **kwargs)

    def note_options(*args, **options):
        given.update(options)
        return training.train(*args, **options)

    monkeypatch.setattr(training, "distort", spy)
    monkeypatch.setattr(records, "train", note_options)
    run_tiny("st-fcn-affine", tmp_path)
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


@pytest.mark.parametrize("model", TABLE_MODELS)
def test_a_tenth_of_the_papers_images_at_most(model):
    plan = table_recipe("mnist", model)
    assert plan.batch < plan.images <= PAPER_IMAGES / 10
    assert table_recipe("mnist", model, 5000).images == 5000
    assert asdict(table_recipe("mnist", model, 5000)) == asdict(plan) | {"images": 5000}


# Report


def fabricate_cell(out, model, distortion, errors, data="mnist", images=1_000_000):
    key = {"data": data, "model": model, "distortion": distortion}
    fabricate(out, errors, images, **key)


def cells(text, data):
    """The numbers in a block of the report: (line, distortion) -> words."""
    block = text.split(f"{data}: test error in %")[1].split("\n\n")[0]
    _, head, *lines = block.splitlines()
    found, model = {}, ""
    for line in lines:
        if line.startswith("*"):  # below the table
            break
        name = line[:25].strip()
        model = f"{model} paper" if name == "paper" else name
        for distortion in SIDES:
            end = head.index(f" {distortion}") + 1 + len(distortion)
            words = line[max(end - 15, 25) : end].split()
            if words:
                found[model, distortion] = words
    return found


def test_report_shows_mean_spread_and_the_papers(tmp_path):
    errors = [0.61, 0.73, 0.68]
    fabricate_cell(tmp_path, "st-cnn-affine", "R", dict(enumerate(errors)))
    fabricate_cell(tmp_path, "st-cnn-affine", "E", {0: 1.2}, images=3_000_000)
    fabricate_cell(tmp_path, "st-cnn-affine", "TC", {0: 10.5, 1: 11.5})
    fabricate_cell(tmp_path, "fcn", "P", {0: 3.05, 1: 3.25})
    fabricate_cell(tmp_path, "cnn", "P", {0: 1.53})
    fabricate_cell(tmp_path, "fcn", "R", {0: 30.5, 1: 20.25}, data="digits")
    text = report_table(tmp_path)
    assert max(map(len, text.splitlines())) <= 100
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
        ("cnn", "P"): ["1.53"],
        ("cnn paper", "P"): ["1.5", "~"],
    }
    assert cells(text, "digits") == {("fcn", "R"): ["25.38", "±", "7.25"]}
    assert text.index("mnist: ") < text.index("\nfcn ") < text.index("\nst-cnn-affine ")
    assert "2 of the paper's 36 cells are met" in text
    assert "\n1 to 3 seeds a cell; 1,000,000 to 3,000,000 training images" in text
    assert " 38,400,000 in the paper\n" in text


def test_a_compact_network_can_meet_the_cell_of_its_kin(tmp_path):
    fabricate_cell(tmp_path, "st-cnn-affine", "RTS", {0: 0.6})
    fabricate_cell(tmp_path, "st-cnn-compact-affine", "RTS", {0: 0.4})
    fabricate_cell(tmp_path, "st-cnn-compact-tps", "R", {0: 0.74})
    fabricate_cell(tmp_path, "cnn", "R", {0: 1.1})
    fabricate_cell(tmp_path, "cnn-compact", "R", {0: 1.0})
    fabricate_cell(tmp_path, "st-fcn-projective", "TC", {0: 1.0})  # not in the paper
    text = report_table(tmp_path)
    counts = "1 of the paper's 36 cells are met by networks of its shapes, 2 by these"
    assert counts in text
    assert "\n0 and 1 more are level\n" in text
    found = cells(text, "mnist")
    assert found["st-cnn-affine paper", "RTS"] == ["0.5"]
    assert found["st-cnn-compact-affine paper", "RTS"] == ["0.5", "*"]
    assert found["st-cnn-compact-tps paper", "R"] == ["0.7", "~"]
    assert found["cnn-compact paper", "R"] == ["1.2", "*"]
    assert ("st-fcn-projective paper", "TC") not in found


def test_all_cells_can_be_met(tmp_path):
    for model, row in PAPER.items():
        for distortion, error in row.items():
            fabricate_cell(tmp_path, model, distortion, {0: error, 1: error, 2: error})
    text = report_table(tmp_path)
    assert "36 of the paper's 36 cells are met" in text
    assert sum(words[-1] == "*" for words in cells(text, "mnist").values()) == 36
    assert max(map(len, text.splitlines())) <= 100


def test_reports_pass_over_each_others_runs():
    assert report_table(RECORDED / "gtsrb").startswith("no run on record in ")
    assert traffic_signs.report_signs(RECORDED / "table1").startswith(
        "no run on record in "
    )


@pytest.mark.parametrize(
    ("error", "paper", "word"),
    [
        (0.5, 0.5, "met"),
        (0.3, 0.5, "met"),
        (0.5025, 0.5, "level"),
        (1.4499, 1.4, "level"),
        (1.4501, 1.4, "missed"),
        (13.3, 13.2, "missed"),
    ],
)
def test_standing_by_hand(error, paper, word):
    assert table1.standing(error, paper) == word


# Two networks on the same digits


def fake_runs(wrong, **key):
    key = {"data": "mnist", "model": "cnn", "distortion": "R"} | key
    runs = []
    for seed, bits in enumerate(wrong):
        record = {"test_images": len(bits), "wrong": bits_to_text(bits)}
        runs.append({**key, "seed": seed, **record})
    return runs


def test_a_paired_difference_is_what_drawing_digits_again_finds():
    """By a bootstrap over the digits: each with all its draws and both its networks."""
    n, draws = 500, 4
    generator = torch.Generator().manual_seed(0)
    hard = torch.rand(n, generator=generator) ** 6  # some digits are hard for both
    chances = {"first": hard, "second": 0.7 * hard}
    wrong = {}
    for name, chance in chances.items():
        drawn = torch.rand(3, draws, n, generator=generator)
        wrong[name] = drawn < chance
    first, second = (fake_runs(list(bits.flatten(1))) for bits in wrong.values())
    difference, error = paired_difference(first, second)
    by_digit = 100 * (wrong["first"].double() - wrong["second"].double()).mean((0, 1))
    assert difference == pytest.approx(by_digit.mean().item())
    assert paired_difference(second, first)[0] == pytest.approx(-difference)
    again = torch.randint(n, (4000, n), generator=generator)
    assert error == pytest.approx(by_digit[again].mean(dim=1).std().item(), rel=0.05)
    assert paired_difference(first, first) == (0, 0)


@pytest.mark.parametrize(
    ("first", "second"), [("RTS", "R"), ("R", None)], ids=["other images", "no run"]
)
def test_only_networks_on_the_same_images_are_compared(first, second):
    bits = [torch.zeros(8, dtype=torch.bool)]
    left, right = (
        fake_runs(bits, distortion=name) if name else [] for name in (first, second)
    )
    with pytest.raises(ValueError, match="of the same data and distortion"):
        paired_difference(left, right)
