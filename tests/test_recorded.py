"""The results on record: whole, of one recipe, and what their networks still give.

What the chapters say of them is asserted and filled in by the chapters' own cells.
"""

import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from stn_tutorial import signs
from stn_tutorial.checkpoints import load_weights, read_tensors
from stn_tutorial.experiments import compact_rows, scenes, table1, traffic_signs
from stn_tutorial.experiments.records import unpack, wrong_images
from stn_tutorial.finders import SCENE_MODELS, START
from stn_tutorial.networks import table_network

CHAPTERS = Path(__file__).parents[1] / "chapters"
RECORDED = CHAPTERS / "recorded"
TABLE = RECORDED / "table1"
RECORDS = {path.stem: json.loads(path.read_text()) for path in TABLE.glob("*.json")}
UNDONE = {
    path.stem: json.loads(path.read_text())
    for path in (RECORDED / "undone").glob("*.json")
}
LONGER = {
    path.stem: json.loads(path.read_text())
    for path in (RECORDED / "longer").glob("*.json")
}
ROWS = {
    path.stem: json.loads(path.read_text())
    for path in (RECORDED / "compact_rows").glob("*.json")
}
TRIALS = json.loads((RECORDED / "trials.json").read_text())
KEPT = RECORDED / "st-cnn-affine-RTS.safetensors"
SIGNS = {
    path.stem: json.loads(path.read_text())
    for path in (RECORDED / "gtsrb").glob("*.json")
}
SCENES = {
    path.stem: json.loads(path.read_text())
    for path in (RECORDED / "scenes").glob("*.json")
}
SETS = ["R", "RTS", "P", "E", "TC"]
SIDES = dict(zip(SETS, [28, 42, 28, 28, 60], strict=True))
# The paper's table 1 and its text on TC: test error in per cent.
PAPER = {
    "fcn": [2.1, 5.2, 3.1, 3.2, 13.2],
    "cnn": [1.2, 0.8, 1.5, 1.4, 3.5],
    "st-fcn-affine": [1.2, 0.8, 1.5, 2.7, 2.0],
    "st-fcn-projective": [1.3, 0.9, 1.4, 2.6],
    "st-fcn-tps": [1.1, 0.8, 1.4, 2.4],
    "st-cnn-affine": [0.7, 0.5, 0.8, 1.2, 1.7],
    "st-cnn-projective": [0.8, 0.6, 0.8, 1.3],
    "st-cnn-tps": [0.7, 0.5, 0.8, 1.1],
}


# The records


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_a_record_is_whole_and_follows_the_protocol(name):
    record = RECORDS[name]
    model, distortion, seed = (record[k] for k in ("model", "distortion", "seed"))
    assert name == f"mnist-{model}-{distortion}-seed{seed}"
    assert record["images_seen"] <= 38_400_000 // 10  # a tenth of the paper's
    batch, images = record["recipe"]["batch"], record["recipe"]["images"]
    assert record["images_seen"] == images // batch * batch
    assert record["test_images"] == 4 * 10_000
    wrong = record["error"] / 100 * record["test_images"]
    assert wrong == pytest.approx(round(wrong), abs=1e-6)
    network = table_network(model, distortion)
    assert record["weights"] == sum(p.numel() for p in network.parameters())
    assert record["weights"] <= 400_000
    assert record["curve"]["images"][-1] == record["images_seen"]
    assert {len(values) for values in record["curve"].values()} == {16}
    assert set(record["versions"]) == {"python", "torch", "stn-tutorial"}
    short = record.get("bfloat16", True)  # the older ones had no choice
    assert short == (model != "st-cnn-compact-tps")  # as the chapter says


def test_all_runs_share_one_recipe_but_for_the_number_of_images():
    recipes = [{**r["recipe"], "images": None} for r in RECORDS.values()]
    assert all(recipe == recipes[0] for recipe in recipes)
    for family, images in (("fcn", 3_840_000), ("cnn", 1_536_000)):
        seen = {r["images_seen"] for r in RECORDS.values() if family in r["model"]}
        assert seen == {images}


def test_each_cell_of_the_paper_has_three_seeds():
    seeds = {}
    for record in RECORDS.values():
        cell = record["model"], record["distortion"]
        seeds.setdefault(cell, []).append(record["seed"])
    for model, row in PAPER.items():
        for name in SETS[: len(row)]:
            assert sorted(seeds.pop((model, name))) == [0, 1, 2]
    assert all("compact" in model for model, _ in seeds)  # nothing else is there
    for (model, name), found in seeds.items():
        once = name == "TC" or model == "st-cnn-compact-tps"
        assert sorted(found) == ([0] if once else [0, 1, 2])


def test_the_papers_errors_are_copied_right():
    """They were read off the paper twice."""
    for model, row in PAPER.items():
        assert table1.PAPER[model] == dict(zip(SETS, row, strict=False))
    assert table1.PAPER.keys() == PAPER.keys()


def test_the_runs_behind_a_perfect_transformer_are_runs_of_the_table_otherwise():
    assert set(UNDONE) == {f"mnist-cnn-P-undone-seed{seed}" for seed in range(3)}
    same = ("recipe", "images_seen", "weights", "test_images")
    plain = RECORDS["mnist-cnn-P-seed0"]
    for record in UNDONE.values():
        assert [record[k] for k in same] == [plain[k] for k in same]


def test_the_longer_runs_are_runs_of_the_table_otherwise():
    """One saw as many images as the paper's networks, the other a tenth of them."""
    assert {name: record["images_seen"] for name, record in LONGER.items()} == {
        "mnist-fcn-TC-seed0": 38_400_000,
        "mnist-st-cnn-affine-RTS-seed0": 3_840_000,
    }
    for name, record in LONGER.items():
        for key in ("model", "distortion", "seed", "weights", "test_images"):
            assert record[key] == RECORDS[name][key]
        recipe = {**record["recipe"], "images": RECORDS[name]["recipe"]["images"]}
        assert recipe == RECORDS[name]["recipe"]


def test_the_wider_fcn_has_the_papers_width_and_images():
    record = json.loads(
        (RECORDED / "wider_fcn" / "mnist-fcn-128-TC-seed0.json").read_text()
    )
    longer = LONGER["mnist-fcn-TC-seed0"]
    for key in ("distortion", "seed", "recipe", "images_seen", "test_images"):
        assert record[key] == longer[key]
    sizes = 60 * 60, 128, 128, 10
    weights = sum((above + 1) * below for above, below in pairwise(sizes))
    assert record["weights"] == weights + 2 * 128  # a factor beside each shift
    wrong = wrong_images(record).float().mean().item()
    assert record["error"] == pytest.approx(100 * wrong)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_record_of_the_compact_rows_is_whole_and_follows_the_protocol(name):
    record = ROWS[name]
    model, distortion, seed = (record[k] for k in ("model", "distortion", "seed"))
    assert name == f"mnist-{model}-{distortion}-seed{seed}"
    assert record["recipe"] == asdict(compact_rows.compact_recipe(model))
    taught = model == compact_rows.TAUGHT  # a quarter of its time went to lessons
    assert record["images_seen"] == (288_000 if taught else 384_000)
    assert record["test_images"] == 4 * 10_000
    wrong = wrong_images(record)
    assert record["error"] == pytest.approx(100 * wrong.float().mean().item())
    assert ("lessons" in record) == taught
    if model in (compact_rows.TAUGHT, compact_rows.UNTAUGHT):
        network = table_network("st-fcn-affine", distortion)
        kin = table_network("st-cnn-compact-affine", distortion)
        network.classifier = kin.classifier
    else:
        network = table_network(model, distortion)
    assert record["weights"] == sum(p.numel() for p in network.parameters())
    assert ("theta" in record) == ("st-" in model)
    if "theta" in record:
        assert len(unpack(record["theta"])) == 1000


def test_the_compact_rows_have_every_rival_and_three_seeds_on_each_set():
    assert set(ROWS) == {
        f"mnist-{model}-{name}-seed{seed}"
        for name in SETS
        for model in compact_rows.rivals(name)
        for seed in range(3)
    }


def test_no_trial_of_the_compact_rows_is_clearly_better_than_their_recipe():
    tried = [t for t in TRIALS if t["images"] == 96_000]
    for model in {trial["model"] for trial in tried}:
        recipe = compact_rows.compact_recipe(model)
        of_model = [trial for trial in tried if trial["model"] == model]
        assert len(of_model) == 6  # three on P, three on R
        if model == compact_rows.UNTAUGHT:  # whose row is R's alone
            of_model = [trial for trial in of_model if trial["distortion"] == "R"]
        errors = {}
        for trial in of_model:
            ((what, value),) = trial["settings"].items()
            both = errors.setdefault((what, value), [])
            both.append(trial["validation_error"])
        means = {setting: mean(both) for setting, both in errors.items()}
        assert means[what, getattr(recipe, what)] < min(means.values()) + 0.04


def test_pictures_stand_beside_the_first_seed_of_each_transformer():
    wanted = {n for n in RECORDS if "-st-" in n and n.endswith("seed0")}
    assert {path.stem for path in TABLE.glob("*.png")} == wanted
    for name in wanted:
        side = SIDES[RECORDS[name]["distortion"]]
        with Image.open(TABLE / f"{name}.png") as picture:
            assert picture.size == (12 * side, 2 * side)


# The kept network


def test_the_kept_weights_make_the_recorded_picture():
    """Its upper row, through the network, gives its lower row."""
    _, metadata = read_tensors(KEPT)
    assert metadata == {
        "data": "mnist",
        "model": "st-cnn-affine",
        "distortion": "RTS",
    }
    assert KEPT.stat().st_size < 1_000_000
    network = table_network("st-cnn-affine", "RTS").eval()
    network.load_state_dict(load_file(KEPT))
    pixels = np.array(Image.open(TABLE / "mnist-st-cnn-affine-RTS-seed0.png"))
    above, below = pixels.reshape(2, 42, 12, 42).transpose(0, 2, 1, 3)
    with torch.inference_mode():
        images = torch.tensor(above / 255).float()[:, None]
        straight, theta = network.straighten(images)
    # Grey values in steps of 1/255, and weights in half precision, stand between them.
    recorded = below[:, 7:35, 7:35] / 255
    difference = np.abs(straight[:, 0].numpy() - recorded)
    assert difference.max() < 0.1
    assert difference.mean() < 0.005
    recorded_theta = torch.tensor(RECORDS["mnist-st-cnn-affine-RTS-seed0"]["theta"])
    assert (theta - recorded_theta).abs().max() < 0.02
    still = torch.nn.functional.interpolate(images, (28, 28), mode="area")
    assert np.abs(still[:, 0].numpy() - recorded).mean() > 10 * difference.mean()


# Traffic signs


def tiles(path, rows, columns):
    """Square images of a picture, row by row, as floats (N, 3, 48, 48)."""
    pixels = np.array(Image.open(path)).reshape(rows, 48, columns, 48, 3)
    images = pixels.transpose(0, 2, 4, 1, 3).reshape(rows * columns, 3, 48, 48)
    return torch.tensor(images / 255).float()


@pytest.mark.parametrize("name", sorted(SIGNS))
def test_a_record_of_signs_is_whole_and_follows_the_protocol(name):
    record = SIGNS[name]
    model, seed = record["model"], record["seed"]
    assert name == f"gtsrb-{model}-seed{seed}"
    assert record["test_images"] == 12_630
    wrong = record["error"] / 100 * 12_630
    assert wrong == pytest.approx(round(wrong), abs=1e-6)
    assert record["recipe"] == asdict(traffic_signs.sign_recipe())
    assert record["images_seen"] == record["curve"]["images"][-1] == 400_000
    weights = sum(p.numel() for p in signs.sign_network(model).parameters())
    assert record["weights"] == weights < 20_000_000 / 4
    assert {len(values) for values in record["curve"].values()} == {16}
    assert ("theta" in record) == (not model.startswith("cnn"))


def test_every_network_for_signs_has_three_seeds():
    wanted = {f"gtsrb-{m}-seed{seed}" for m in signs.SIGN_MODELS for seed in range(3)}
    assert set(SIGNS) == wanted


def test_pictures_stand_beside_the_first_seed_of_each_transformer_for_signs():
    wanted = {n for n in SIGNS if "theta" in SIGNS[n] and n.endswith("seed0")}
    assert {path.stem for path in (RECORDED / "gtsrb").glob("*.png")} == wanted
    assert wanted


@pytest.fixture(scope="module")
def sign_reader():
    path = RECORDED / "st-cnn-small-gtsrb.safetensors"
    assert path.stat().st_size < 4_000_000
    _, metadata = read_tensors(path)
    assert metadata == {"data": "gtsrb", "model": "st-cnn-small"}
    network = signs.sign_network("st-cnn-small").eval()
    network.load_state_dict(load_file(path))
    return network


def test_the_kept_sign_reader_makes_the_recorded_picture(sign_reader):
    """Half precision and bytes of grey stand between them."""
    name = "gtsrb-st-cnn-small-seed0"
    above, below = tiles(RECORDED / f"gtsrb/{name}.png", 2, 12).chunk(2)
    with torch.inference_mode():
        straight, theta = sign_reader.straighten(above)
    assert (straight - below).abs().mean() < 0.005 < (above - below).abs().mean()
    recorded = torch.tensor(SIGNS[name]["theta"][-1])
    assert (theta - recorded).abs().max() < 0.02


def test_the_shown_mistakes_are_mistakes(sign_reader):
    """And they are of the number of wrong answers that the record of the run says."""
    found = json.loads((RECORDED / "signs.json").read_text())
    with torch.inference_mode():
        scores = sign_reader(tiles(RECORDED / "signs-mistakes.png", 2, 6))
    assert scores.argmax(dim=1).tolist() == found["mistakes"]["answer"]
    truth = torch.tensor(found["mistakes"]["truth"])
    assert (scores.argmax(dim=1) != truth).all()
    count = found["mistakes"]["count"]
    assert found["test_error"] == pytest.approx(100 * count / 12_630)
    recorded = SIGNS["gtsrb-st-cnn-small-seed0"]["error"]
    assert found["test_error"] == pytest.approx(recorded, abs=0.05)


# Signs in scenes


@pytest.mark.parametrize("name", sorted(SCENES))
def test_a_record_of_scenes_is_whole_and_follows_the_protocol(name):
    record = SCENES[name]
    model, seed = record["model"], record["seed"]
    side = int(record["data"].removeprefix("scenes-"))
    assert name == f"scenes-{side}-{model}-seed{seed}"
    assert record["test_images"] == scenes.TESTED
    wrong = wrong_images(record)
    assert record["error"] == pytest.approx(100 * wrong.float().mean().item())
    assert record["recipe"] == asdict(scenes.scene_recipe(model))
    assert record["images_seen"] == record["curve"]["images"][-1] == scenes.IMAGES
    network = scenes.new_finder(model, side)
    assert record["weights"] == sum(p.numel() for p in network.parameters())
    assert record["multiplications"] == scenes.count_multiplications(network, side)
    assert record["contents"]["sign"]["error"] == pytest.approx(record["error"])
    assert ("windows" in record) == model.startswith("st-")


def test_every_network_for_scenes_has_three_seeds_at_each_size():
    sizes = {record["data"] for record in SCENES.values()}
    assert f"scenes-{scenes.SIDE}" in sizes
    assert set(SCENES) == {
        f"{size}-{model}-seed{seed}"
        for size in sizes
        for model in SCENE_MODELS
        for seed in range(3)
    }


def test_the_recipes_of_scenes_are_the_best_of_the_trials():
    tried = json.loads((RECORDED / "scene_trials.json").read_text())
    assert len(tried) == len(list(scenes.trials()))
    for model in SCENE_MODELS:
        of_model = [trial for trial in tried if trial["model"] == model]
        best = min(of_model, key=lambda trial: trial["validation_error"])
        rates = best["rate"], best.get("localisation_rate", 1.0)
        assert scenes.RATES[model] == rates
        assert best.get("start", START) == START


def test_the_kept_finder_makes_the_recorded_picture_and_finds_its_track():
    """Half precision and bytes of grey stand between picture and network."""
    name = "scenes-96-st-cnn-soft-argmax-seed0"
    path = RECORDED / "st-cnn-soft-argmax-scenes-96.safetensors"
    network = scenes.new_finder("st-cnn-soft-argmax", 96).eval()
    load_weights(path, network)
    pixels = torch.tensor(np.array(Image.open(RECORDED / f"scenes/{name}.png")) / 255)
    rows = pixels.float().view(2, 96, 12, 96, 3).permute(0, 2, 4, 1, 3)
    above, below = rows[0], rows[1][..., 32:64, 32:64]
    with torch.inference_mode():
        windows, theta = network.straighten(above)
    assert (windows - below).abs().mean() < 0.01 < (above - rows[1]).abs().mean()
    recorded = torch.tensor(SCENES[name]["theta"][-1])
    assert (theta - recorded).abs().max() < 0.05
    found = json.loads((RECORDED / "scenes.json").read_text())
    assert found["test_error"] == pytest.approx(SCENES[name]["error"], abs=0.5)
    assert len(found["track"]["sign_widths"]) == 30
