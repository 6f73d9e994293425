"""The traffic signs' runs: clean splits, complete records, a report that adds up."""

import io
import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image
from runs import (
    REPORTED,
    fabricate,
    files,
    forbid,
    read_json,
    stopped,
    threads_kept,
)
from safetensors.torch import load_file

from stn_tutorial.affine import identity, scaling
from stn_tutorial.data.gtsrb import ARRAYS, load_gtsrb, split_by_track
from stn_tutorial.experiments import __main__ as command_line
from stn_tutorial.experiments import records, traffic_signs
from stn_tutorial.experiments.__main__ import main
from stn_tutorial.experiments.records import new_network, to_json
from stn_tutorial.experiments.traffic_signs import (
    describe_windows,
    report_signs,
    report_windows,
    run_signs,
    sign_recipe,
)
from stn_tutorial.signs import SIGN_MODELS, sign_network
from stn_tutorial.training import History

FEW = 384  # images: three steps
TRAIN, TEST = 400, 40


@pytest.fixture(autouse=True)
def threads():
    with threads_kept():
        yield


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory):
    """Arrays as the cache has them: classes 13 to 17, ten tracks or more of each.

    The images of a track share a colour, so that a learner could cheat by it.
    """
    rng = np.random.default_rng(0)
    labels, tracks = 13 + np.arange(TRAIN) % 5, np.arange(TRAIN) % 120 // 5
    colours = rng.integers(256, size=(200, 1, 1, 3))
    pixels = rng.integers(-20, 20, size=(TRAIN + TEST, 48, 48, 3))
    pixels[:TRAIN] += colours[labels + 20 * (tracks % 5)]
    pixels[TRAIN:] += colours[100 + np.arange(TEST)]
    pixels = pixels.clip(0, 255)
    roi = np.tile([48, 48, 6, 6, 42, 42], (TRAIN + TEST, 1))
    arrays = {
        "train_images": pixels[:TRAIN],
        "train_labels": labels,
        "train_tracks": tracks,
        "train_frames": np.arange(TRAIN) // 120,
        "train_roi": roi[:TRAIN],
        "test_images": pixels[TRAIN:],
        "test_labels": 13 + np.arange(TEST) % 5,
        "test_roi": roi[TRAIN:],
    }
    folder = tmp_path_factory.mktemp("data") / "gtsrb"
    folder.mkdir()
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", np.asarray(values, ARRAYS[name][0]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STN_TUTORIAL_DATA", str(folder.parent))
        yield folder.parent


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data):
    """A folder with three runs."""
    out = tmp_path_factory.mktemp("runs")
    run_signs("cnn-small", 0, out, FEW)
    run_signs("st-cnn-small", 0, out, FEW)
    run_signs("st-cnn-small", 1, out, FEW)
    return out


# The record


def test_a_run_leaves_these_files_and_no_others(runs):
    assert files(runs) == [
        "gtsrb-cnn-small-seed0.json",
        "gtsrb-st-cnn-small-seed0.json",
        "gtsrb-st-cnn-small-seed0.png",
        "gtsrb-st-cnn-small-seed1.json",
        "weights/gtsrb-cnn-small-seed0.safetensors",
        "weights/gtsrb-st-cnn-small-seed0.safetensors",
        "weights/gtsrb-st-cnn-small-seed1.safetensors",
    ]


@pytest.mark.parametrize("model", ["cnn-small", "st-cnn-small"])
def test_record_is_complete(model, runs):
    record = read_json(runs, f"gtsrb-{model}-seed0")
    network = new_network(sign_network, model, seed=0)
    assert record["weights"] == sum(p.numel() for p in network.parameters())
    assert record["recipe"] == asdict(sign_recipe(FEW))
    assert asdict(sign_recipe(FEW)) == asdict(sign_recipe()) | {"images": FEW}
    assert record["images_seen"] == FEW
    assert record["test_images"] == TEST
    assert record["curve"]["images"] == [128, 256, 384]
    wrong = record["error"] * TEST / 100
    assert wrong == pytest.approx(round(wrong))
    assert 0 < wrong <= TEST
    of_windows = {"theta", "overlap", "theta_mean", "theta_deviation"}
    of_windows.add("error_with_one_theta")
    if model == "cnn-small":
        assert of_windows.isdisjoint(record)
    else:
        assert of_windows <= record.keys()
        assert np.shape(record["theta"]) == (3, 12, 2, 3)
        # Windows still near the identity hold a box of 3/4 of the width.
        assert record["overlap"] == pytest.approx(0.75**2, abs=0.05)
        assert np.abs(record["theta_mean"] - identity()[0].numpy()).max() < 0.05


def test_evaluation_repeats_the_recorded_error(runs, capsys):
    weights = runs / "weights/gtsrb-st-cnn-small-seed1.safetensors"
    main(["evaluate", str(weights)])
    printed = json.loads(capsys.readouterr().out)
    error = read_json(runs, "gtsrb-st-cnn-small-seed1")["error"]
    assert printed == {"data": "gtsrb", "model": "st-cnn-small", "error": error}


def test_picture_shows_test_images_above_what_the_classifier_saw(runs):
    network = new_network(sign_network, "st-cnn-small", seed=5)
    path = runs / "weights/gtsrb-st-cnn-small-seed0.safetensors"
    network.load_state_dict(load_file(path))
    content = (runs / "gtsrb-st-cnn-small-seed0.png").read_bytes()
    pixels = np.array(Image.open(io.BytesIO(content)))
    assert pixels.shape == (96, 12 * 48, 3)
    above, below = pixels.reshape(2, 48, 12, 48, 3).transpose(0, 2, 1, 3, 4)
    assert as_bytes(above) <= as_bytes(load_gtsrb().test_images)
    assert len(as_bytes(above)) == 12
    images = torch.tensor(above).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        seen, theta = network.eval().straighten(images)
    assert np.abs(below / 255 - seen.permute(0, 2, 3, 1).numpy()).max() < 0.003
    recorded = read_json(runs, "gtsrb-st-cnn-small-seed0")["theta"][-1]
    assert np.abs(np.array(recorded) - theta.numpy()).max() < 1e-3


# What a run is trained and tested on


def as_bytes(images):
    return {image.tobytes() for image in images}


def test_training_never_meets_validation_or_test_images(monkeypatch, tmp_path):
    drawn, given = [], {}

    def spy(images, generator):
        drawn.append(images)
        return images / 255

    def watch(*args, **options):
        given.update(options)
        return train(*args, **options)

    train = records.train
    monkeypatch.setattr(traffic_signs, "augment", spy)
    monkeypatch.setattr(records, "train", watch)
    run_signs("cnn-small", 3, tmp_path, FEW)
    seen = as_bytes(torch.cat(drawn).permute(0, 2, 3, 1).numpy())
    signs = load_gtsrb()
    train_part, held = split_by_track(signs)
    assert len(seen) > 150
    assert seen <= as_bytes(signs.train_images[train_part])
    images, labels = given["validation"]
    assert labels.tolist() == signs.train_labels[held].tolist()
    expected = np.array(signs.train_images[held]) / 255
    assert np.abs(images.permute(0, 2, 3, 1).numpy() - expected).max() < 1e-6


def test_test_set_is_in_the_official_order():
    signs = load_gtsrb()
    images, labels = traffic_signs.sign_test_set(signs)
    assert labels.tolist() == signs.test_labels.tolist()
    assert images.shape == (TEST, 3, 48, 48)
    expected = torch.tensor(signs.test_images[7, 30, 20] / 255).float()
    assert torch.equal(images[7, :, 30, 20], expected)


# What the transformer does


@pytest.fixture
def zooming():
    """A network whose window is always the middle half of the width, but once."""
    network = new_network(sign_network, "st-cnn-small", seed=0).eval()
    last = network.transformer.localisation[1].last
    with torch.no_grad():
        last.bias.copy_(scaling(0.5).flatten())
    return network


def history(n=2):
    return History(theta=[scaling(s).expand(n, 2, 3) for s in (1.0, 0.5)])


def test_one_window_for_all_is_found_as_such(zooming):
    """Boxes as large as the window, or a quarter of it."""
    images = torch.rand(6, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(6)
    half, quarter = torch.tensor([-1, -1, 1, 1]) / 2, torch.tensor([-1, -1, 1, 1]) / 4
    boxes = torch.stack([half, quarter] * 3)
    found = describe_windows(zooming, history(), (images, labels), boxes)
    assert found["overlap"] == pytest.approx((1 + 1 / 4) / 2, abs=0.02)
    assert found["theta_mean"] == scaling(0.5)[0].tolist()
    assert np.abs(found["theta_deviation"]).max() == 0
    assert np.shape(found["theta"]) == (2, 2, 2, 3)
    assert found["theta"][1][0] == scaling(0.5)[0].tolist()
    with torch.no_grad():
        wrong = (zooming(images).argmax(1) != labels).float().mean()
    assert found["error_with_one_theta"] == pytest.approx(100 * wrong.item())
    assert not zooming.training


def test_one_window_is_the_mean_of_all(zooming):
    """Dark images get one window, bright ones another; the mean lies between."""
    localisation = zooming.transformer.localisation

    class ByLight(torch.nn.Module):
        def forward(self, images):
            size = torch.where(images.mean((1, 2, 3)) > 0.5, 1.0, 0.5)
            return scaling(size)

    zooming.transformer.localisation = ByLight()
    images = torch.full((4, 3, 48, 48), 0.2)
    images[0] = 0.9
    labels = torch.zeros(4, dtype=torch.long)
    boxes = torch.tensor([[-1.0, -1, 1, 1]]).expand(4, 4)
    found = describe_windows(zooming, history(), (images, labels), boxes)
    assert np.array(found["theta_mean"]) == pytest.approx(scaling(0.625)[0].numpy())
    deviation = np.std([1, 0.5, 0.5, 0.5], ddof=1)
    assert found["theta_deviation"][0][0] == pytest.approx(deviation, abs=1e-4)
    assert found["overlap"] == pytest.approx((1 + 3 / 4) / 4, abs=0.02)
    zooming.transformer.localisation = localisation


# Report


def test_report_shows_the_most_accurate_first(tmp_path):
    for model, errors in (
        ("cnn-small", {0: 1.0, 1: 1.5, 2: 1.1}),
        ("st-cnn-small", {0: 0.25}),
    ):
        fabricate(tmp_path, errors, 400_000, data="gtsrb", model=model)
    lines = report_signs(tmp_path).splitlines()
    assert lines[2].split() == ["st-cnn-small", "99.75", "1", "1,234", "400,000", "1"]
    spread = f"{np.std([1.0, 1.5, 1.1], ddof=1):.2f}"
    assert lines[3].split() == [
        *("cnn-small", "98.80", "±", spread, "3", "1,234", "400,000", "2")
    ]
    published = "\n".join(lines[lines.index("published:") :])
    for accuracy in ("98.84", "99.46", "98.42", "99.33", "99.61", "99.71"):
        assert published.count(accuracy) == 1
    assert max(map(len, lines)) <= 100


def test_json_report_has_the_promised_fields(runs, capsys):
    main(["gtsrb", "--report", "--json", "--out", str(runs)])
    entries = {entry["model"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert set(entries) == {"cnn-small", "st-cnn-small"}
    fields = REPORTED - {"distortion"}
    assert all(set(entry) == fields for entry in entries.values())
    errors = [
        read_json(runs, f"gtsrb-st-cnn-small-seed{seed}")["error"] for seed in (0, 1)
    ]
    assert entries["st-cnn-small"]["errors"] == errors
    main(["gtsrb", "--report", "--out", str(runs)])
    assert capsys.readouterr().out == report_signs(runs) + "\n"


def test_nothing_on_record(tmp_path):
    assert report_signs(tmp_path / "none") == f"no run on record in {tmp_path / 'none'}"


# Command line


def test_what_is_on_record_is_not_trained_again(runs, monkeypatch, capsys):
    monkeypatch.setattr(records, "train", forbid)
    few = ["--images", str(FEW), "--out", str(runs)]
    main(["gtsrb", "--models", "st-cnn-small", "--seeds", "2", *few])
    lines = capsys.readouterr().out.splitlines()
    names = [f"gtsrb-st-cnn-small-seed{seed}" for seed in (0, 1)]
    assert lines == [f"{name}: {read_json(runs, name)['error']:.2f}%" for name in names]


def test_runs_come_seed_by_seed(tmp_path, monkeypatch):
    calls = []

    def note(*given):
        calls.append(given)
        return {"error": 1.0}

    monkeypatch.setattr(traffic_signs, "run_signs", note)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    main(["gtsrb", "--seeds", "2", "--out", str(tmp_path), "--device", "cuda"])
    assert calls == [
        (model, seed, tmp_path, None, "cuda")
        for seed in (0, 1)
        for model in SIGN_MODELS
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "resnet"], "invalid choice: 'resnet'"),
        (["--seeds", "0"], "expected --seeds to be at least 1, but got 0"),
        (["--images", "5"], "at least a batch of 128, but got 5"),
        (["--json"], "--json needs --report"),
    ],
)
def test_wrong_use(arguments, message, capsys, monkeypatch):
    monkeypatch.setattr(command_line, "sign_jobs", None)
    assert stopped(main, ["gtsrb", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_without_the_data_the_message_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("STN_TUTORIAL_DATA", str(tmp_path))
    (tmp_path / "train_images.npy").write_bytes(b"")
    arguments = ["--models", "cnn-small", "--out", str(tmp_path / "out")]
    assert "train_images.npy is missing, broken" in stopped(main, ["gtsrb", *arguments])
    assert not (tmp_path / "out").exists()


def test_report_of_windows(tmp_path):
    """Only of networks that have windows; the size is the root of the area."""
    name = "gtsrb-st-cnn-small-seed0"
    fabricate(tmp_path, {0: 0.25}, data="gtsrb", model="st-cnn-small")
    fabricate(tmp_path, {0: 1.0}, data="gtsrb", model="cnn-small")
    record = read_json(tmp_path, name) | {
        "theta_mean": [[0.8, 0.0, 0.1], [0.0, 0.2, 0.0]],
        "theta_deviation": [[0.01, 0.0, 0.5], [0.02, 0.03, 0.0]],
        "overlap": 0.625,
        "error_with_one_theta": 0.5,
    }
    (tmp_path / f"{name}.json").write_bytes(to_json(record))
    lines = report_windows(tmp_path).splitlines()
    assert len(lines) == 2
    row = "st-cnn-small-seed0 0.40 ± 0.030 0.62 0.25% 0.50%"
    assert lines[1].split() == row.split()
