"""The runs on scenes: clean splits, complete records, a report that adds up."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from round_signs import write_gtsrb
from runs import files, forbid, read_json, stopped, threads_kept
from torch import nn

from stn_tutorial.affine import scaling
from stn_tutorial.data.scenes import CONTENTS, load_signs, photo_pieces
from stn_tutorial.experiments import __main__ as command_line
from stn_tutorial.experiments import records, scene_traces
from stn_tutorial.experiments import scenes as module
from stn_tutorial.experiments.__main__ import main
from stn_tutorial.experiments.records import new_network, summary, unpack
from stn_tutorial.experiments.scene_traces import hunt, hunt_traces, hunter, parts
from stn_tutorial.experiments.scenes import (
    InScenes,
    correlation,
    count_multiplications,
    describe_finder,
    held_scenes,
    report_contents,
    report_scenes,
    run_scenes,
    scene_recipe,
    scene_test_set,
    trials,
    try_scenes,
)
from stn_tutorial.finders import SCENE_MODELS, scene_network
from stn_tutorial.networks import Network
from stn_tutorial.training import History, error_rate

FEW = 128  # images: two steps
HELD, TESTED = 24, 36
FOUND, READ = "st-cnn-soft-argmax", "cnn-averaged"


@pytest.fixture(autouse=True)
def threads():
    with threads_kept():
        yield


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory):
    """Few scenes, of signs made up."""
    folder = tmp_path_factory.mktemp("data") / "gtsrb"
    write_gtsrb(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STN_TUTORIAL_DATA", str(folder.parent))
        patch.setattr(module, "HELD", HELD)
        patch.setattr(module, "TESTED", TESTED)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data):
    """A folder with three runs."""
    out = tmp_path_factory.mktemp("runs")
    run_scenes(READ, 64, 0, out, FEW)
    run_scenes(FOUND, 64, 0, out, FEW)
    run_scenes(FOUND, 64, 1, out, FEW)
    return out


# The record


def test_a_run_leaves_these_files_and_no_others(runs):
    names = f"{READ}-seed0", f"{FOUND}-seed0", f"{FOUND}-seed1"
    expected = [f"scenes-64-{name}.json" for name in names]
    expected += [f"weights/scenes-64-{name}.safetensors" for name in names]
    assert files(runs) == sorted([*expected, f"scenes-64-{FOUND}-seed0.png"])


@pytest.mark.parametrize("model", [READ, FOUND])
def test_record_is_complete(model, runs):
    record = read_json(runs, f"scenes-64-{model}-seed0")
    network = new_network(scene_network, model, 64, seed=0)
    assert record["weights"] == sum(p.numel() for p in network.parameters())
    assert record["recipe"] == asdict(scene_recipe(model, FEW))
    assert record["test_images"] == TESTED
    assert record["multiplications"] == count_multiplications(network.eval(), 64)
    assert list(record["contents"]) == list(CONTENTS)
    assert record["contents"]["sign"]["error"] == record["error"]
    of_windows = {"theta", "overlap", "windows", "boxes"}
    if model == READ:
        assert of_windows.isdisjoint(record)
        assert all(seen.keys() == {"error"} for seen in record["contents"].values())
    else:
        assert of_windows <= record.keys()
        assert np.shape(record["theta"]) == (2, 12, 2, 3)
        boxes = unpack(record["boxes"])
        assert (boxes - scene_test_set(64)[2]).abs().max() < 1e-3
        windows = unpack(record["windows"])
        assert windows.shape == (TESTED, 2, 3)
        assert np.abs(windows[:12].numpy() - record["theta"][-1]).max() < 1e-3


def test_evaluation_repeats_the_recorded_error(runs, capsys):
    main(["evaluate", str(runs / f"weights/scenes-64-{FOUND}-seed1.safetensors")])
    printed = json.loads(capsys.readouterr().out)
    error = read_json(runs, f"scenes-64-{FOUND}-seed1")["error"]
    assert printed == {"data": "scenes-64", "model": FOUND, "error": error}


def test_each_network_has_its_recipe():
    for model in SCENE_MODELS:
        recipe = scene_recipe(model)
        assert asdict(scene_recipe(model, 500)) == asdict(recipe) | {"images": 500}
        assert (recipe.rate, recipe.localisation_rate) == module.RATES[model]
    assert module.RATES.keys() == set(SCENE_MODELS)


# What a run is trained and tested on


def colours(images):
    return {tuple(image[:, 24, 24].tolist()) for image in images}


def test_training_never_meets_signs_or_photographs_of_the_test(monkeypatch, tmp_path):
    drawn, given = [], {}

    def spy(signs, photos, side, generator):
        drawn.append((signs, photos))
        return make_scenes(signs, photos, side, generator)

    def watch(*args, **options):
        given.update(options)
        return train(*args, **options)

    make_scenes, train = module.make_scenes, records.train
    monkeypatch.setattr(module, "make_scenes", spy)
    monkeypatch.setattr(records, "train", watch)
    run_scenes(READ, 64, 3, tmp_path, FEW)
    assert len(drawn) == 2
    seen = colours(torch.cat([signs for signs, _ in drawn]))
    assert len(seen) > 60
    assert seen <= colours(load_signs("train")[0])
    assert all(torch.equal(photos, photo_pieces("train")) for _, photos in drawn)
    images, labels = given["validation"]
    assert images.shape == (HELD, 3, 64, 64)
    assert all(map(torch.equal, (images, labels), held_scenes(64)))


def test_test_scenes_are_the_same_every_time_but_for_their_content():
    images, labels, boxes = scene_test_set(64)
    again = scene_test_set(64)
    assert all(map(torch.equal, (images, labels, boxes), again))
    assert images.shape == (TESTED, 3, 64, 64)
    for content in CONTENTS[1:]:
        others, same_labels, same_boxes = scene_test_set(64, content)
        assert torch.equal(labels, same_labels)
        assert torch.equal(boxes, same_boxes)
        assert 0 < (images != others).float().mean() < 0.5


def test_a_scene_is_drawn_by_the_steps_generator():
    signs, _ = load_signs("train")
    change = InScenes(64)
    first, again, other = (
        change(signs[:9], torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert first.shape == (9, 3, 64, 64)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert change.__name__ == "scenes-64"


# What a network does


def test_correlation_is_numpys_over_both_axes():
    rng = np.random.default_rng(0)
    places = rng.uniform(-1, 1, (50, 2))
    centres = 0.3 * places + rng.normal(0, 0.1, (50, 2))
    expected = np.corrcoef(places.ravel(), centres.ravel())[0, 1]
    found = correlation(torch.tensor(centres).float(), torch.tensor(places).float())
    assert found == pytest.approx(expected, abs=1e-4)
    assert correlation(torch.zeros(50, 2) + 0.3, torch.tensor(places).float()) == 0


def test_multiplications_by_hand():
    layers = nn.Conv2d(3, 5, 3, padding=1), nn.Flatten(), nn.Linear(5 * 64, 2)
    network = Network(nn.Sequential(*layers)).eval()
    assert count_multiplications(network, 8) == 64 * 5 * 27 + 320 * 2


class Oracle(nn.Module):
    """A localisation that knows the scenes, and where their signs are."""

    def __init__(self, scenes, boxes):
        super().__init__()
        self.scenes, self.boxes = scenes, boxes

    def forward(self, images):
        theta = scaling(torch.full((len(images),), 0.5))
        for i, image in enumerate(images):
            which = (self.scenes == image).flatten(1).all(1).nonzero()
            if len(which):
                low, high = self.boxes[which[0, 0]].view(2, 2)
                theta[i, :, :2] = torch.diag(high - low) / 2
                theta[i, :, 2] = (low + high) / 2
        return theta


def test_a_network_that_knows_the_places_is_found_out():
    """And one that looks to the middle, in scenes whose content is gone."""
    scenes, labels, boxes = scene_test_set(64)
    network = new_network(scene_network, FOUND, 64, seed=0).eval()
    network.transformer.localisation = Oracle(scenes, boxes)
    history = History(theta=[scaling(s).expand(2, 2, 3) for s in (1.0, 0.5)])
    found = describe_finder(network, history, 64, boxes)
    assert found["overlap"] == pytest.approx(1, abs=0.05)
    assert found["contents"]["sign"]["correlation"] == pytest.approx(1, abs=1e-3)
    error = error_rate(network, scenes, labels)
    assert found["contents"]["sign"]["error"] == pytest.approx(error)
    for content in CONTENTS[1:]:
        assert found["contents"][content]["correlation"] == 0
    assert np.shape(found["theta"]) == (2, 2, 2, 3)
    assert not network.training


# Report


def fabricate(out, data, model, errors, correlations=None, cost=8_000_000):
    for seed, error in enumerate(errors):
        record = {
            **{"data": data, "model": model, "seed": seed, "error": error},
            **{"weights": 90_000, "images_seen": 64_000, "seconds": 60.0},
            **{"recipe": {}, "multiplications": cost},
            "contents": {content: {"error": 90.0} for content in CONTENTS},
        }
        if correlations:
            record["overlap"] = 0.5
            for i, content in enumerate(CONTENTS):
                value = correlations[seed] / 2**i
                record["contents"][content]["correlation"] = value
        (out / f"{data}-{model}-seed{seed}.json").write_text(json.dumps(record))


def test_report_goes_by_side_and_error(tmp_path):
    errors = [20.0, 21.0, 25.0]
    fabricate(tmp_path, "scenes-128", "cnn-full", [30.0], cost=41_580_000)
    fabricate(tmp_path, "scenes-64", "cnn-averaged", [40.0])
    fabricate(tmp_path, "scenes-64", FOUND, errors, [0.8, 0.6, 0.4])
    lines = report_scenes(tmp_path).splitlines()
    assert lines[2] == "scenes of 64x64:"
    spread = f"{np.std(errors, ddof=1):.1f}"
    assert lines[3].split() == [
        *(FOUND, "22.0", "±", spread, "3", "0.50", "0.60", "90,000"),
        "8.0M",
    ]
    assert lines[4].split()[:3] == ["cnn-averaged", "40.0", "1"]
    assert lines[5] == "scenes of 128x128:"
    assert lines[6].split() == ["cnn-full", "30.0", "1", "90,000", "41.6M"]
    assert max(map(len, lines)) <= 79
    of_one_size = report_scenes(tmp_path, side=64).splitlines()
    assert of_one_size == lines[:5]
    assert "no run on record" in report_scenes(tmp_path, side=160)
    of_contents = report_contents(tmp_path, side=64).splitlines()
    assert of_contents[1].split() == [FOUND, "0.60", "0.30", "0.15", "0.07"]
    assert len(of_contents) == 2


def test_report_of_real_runs(runs, capsys):
    main(["scenes", "--report", "--out", str(runs)])
    assert capsys.readouterr().out == report_scenes(runs) + "\n"
    assert FOUND in report_scenes(runs)
    main(["scenes", "--report", "--json", "--out", str(runs)])
    assert json.loads(capsys.readouterr().out) == summary(runs)


def test_nothing_on_record(tmp_path):
    assert report_scenes(tmp_path / "no") == f"no run on record in {tmp_path / 'no'}"


# Command line


def test_what_is_on_record_is_not_trained_again(runs, monkeypatch, capsys):
    monkeypatch.setattr(records, "train", forbid)
    few = ["--images", str(FEW), "--sides", "64", "--out", str(runs)]
    main(["scenes", "--models", FOUND, "--seeds", "2", *few])
    lines = capsys.readouterr().out.splitlines()
    names = [f"scenes-64-{FOUND}-seed{seed}" for seed in (0, 1)]
    assert lines == [f"{name}: {read_json(runs, name)['error']:.2f}%" for name in names]


def test_runs_come_seed_by_seed_and_by_side(tmp_path, monkeypatch):
    calls = []

    def note(*given):
        calls.append(given[:3])
        return {"error": 1.0}

    monkeypatch.setattr(module, "run_scenes", note)
    monkeypatch.setattr(command_line, "write_whole", lambda *_: None)
    models = ["cnn-full", FOUND]
    options = ["--seeds", "2", "--sides", "64", "96", "--out", str(tmp_path)]
    main(["scenes", "--models", *models, *options])
    expected = [(m, side, seed) for seed in (0, 1) for side in (64, 96) for m in models]
    assert calls == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sides", "100"], "invalid choice: 100"),
        (["--models", "fcn"], "invalid choice: 'fcn'"),
        (["--images", "500"], "expected --out with --images"),
    ],
)
def test_wrong_use(arguments, message, capsys, monkeypatch):
    monkeypatch.setattr(module, "run_scenes", forbid)
    assert stopped(main, ["scenes", *arguments]) == 2
    assert message in capsys.readouterr().err


# The trials


def test_each_network_is_tried_equally_often():
    tried = list(trials())
    for model in SCENE_MODELS:
        of_model = [trial for trial in tried if trial["model"] == model]
        assert len(set(map(str, of_model))) == len(of_model) == 4
    assert len({(t["side"], t["images"], t["seed"]) for t in tried}) == 1


def test_trials_are_kept_and_not_done_twice(tmp_path, monkeypatch, capsys):
    out = tmp_path / "trials.json"
    monkeypatch.setattr(module, "OUT", out)
    monkeypatch.setattr(module, "scene_trial", lambda trial: 100 * trial["rate"])
    try_scenes()
    done = json.loads(out.read_text())
    assert [{k: t[k] for k in t if k != "validation_error"} for t in done] == list(
        trials()
    )
    assert all(t["validation_error"] == 100 * t["rate"] for t in done)
    out.write_text(json.dumps(done[:-1]))
    capsys.readouterr()
    main(["scene-trials"])
    assert json.loads(out.read_text()) == done
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_trial_never_sees_a_test_scene(monkeypatch):
    monkeypatch.setattr(module, "SIDE", 64)
    monkeypatch.setattr(module, "IMAGES", FEW)
    monkeypatch.setattr(module, "scene_test_set", forbid)
    trial = next(trials())
    error = module.scene_trial(trial)
    assert error * HELD / 100 == pytest.approx(round(error * HELD / 100))


# The hunt for traces


def test_parts_by_hand():
    """Sixteen boxes, each in the middle of its part, and two at corners."""
    middles = [-0.75, -0.25, 0.25, 0.75]
    boxes = [[x - 0.2, y - 0.1, x + 0.2, y + 0.1] for y in middles for x in middles]
    assert parts(torch.tensor(boxes)).tolist() == list(range(16))
    corners = [[-1.0, -1, -1, -1], [1.0, 1, 1, 1]]
    assert parts(torch.tensor(corners)).tolist() == [0, 15]


@pytest.mark.parametrize("part", [0, 5, 11])
def test_the_hunter_says_where_it_is_hot(part):
    """With weights that hand on what is bright."""
    network = new_network(hunter, seed=0).eval()
    with torch.no_grad():
        for module_ in network.modules():
            if isinstance(module_, nn.Conv2d):
                module_.weight.zero_()
                side = module_.kernel_size[0] // 2
                module_.weight[:, 0, side, side] = 1
    scene = torch.zeros(1, 3, 96, 96)
    row, column = divmod(part, 4)
    scene[..., 24 * row + 9 : 24 * row + 15, 24 * column + 9 : 24 * column + 15] = 1
    with torch.no_grad():
        scores = network(scene)
    assert scores.shape == (1, 16)
    assert scores.argmax() == part


def test_the_hunt_says_what_a_guess_would_find(monkeypatch):
    monkeypatch.setattr(scene_traces, "HELD", 40)
    monkeypatch.setattr(scene_traces, "SIDE", 64)
    found = hunt("nothing", images=128)
    assert found["found"] * 0.4 == pytest.approx(round(found["found"] * 0.4))
    gen = torch.Generator().manual_seed(2)
    _, _, boxes = scene_traces.draw_scenes(40, "validation", 64, gen, "nothing")
    x, y = (boxes.view(40, 2, 2).mean(1).T + 1) * 2
    counts, _, _ = np.histogram2d(y, x, bins=4, range=[[0, 4], [0, 4]])
    assert found["guess"] == pytest.approx(100 * counts.max() / 40)


def test_hunts_are_kept_and_not_done_twice(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scene_traces, "OUT", tmp_path / "traces.json")
    monkeypatch.setattr(scene_traces, "hunt", lambda content: {"content": content})
    hunt_traces()
    hunt_traces()
    done = json.loads((tmp_path / "traces.json").read_text())
    assert done == [{"content": "sign"}, {"content": "nothing"}]
    assert len(capsys.readouterr().out.splitlines()) == 2
