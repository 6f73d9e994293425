"""The command line of the long runs: what it does, refuses, prints, and keeps."""

import json
import os
from pathlib import Path

import pytest
import torch
from runs import (
    FEW,
    REPORTED,
    files,
    forbid,
    read_json,
    stop_before,
    stopped,
    threads_kept,
    train_table,
)
from safetensors.torch import save

from stn_tutorial.checkpoints import seal
from stn_tutorial.experiments import __main__ as command_line
from stn_tutorial.experiments import records, table1
from stn_tutorial.experiments.__main__ import main
from stn_tutorial.experiments.evaluate import evaluate
from stn_tutorial.experiments.table1 import report_table

TINY = ["table1", "--data", "digits", "--images", str(FEW)]
CUDA = "expected a GPU for --device cuda, but PyTorch finds none here"


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


@pytest.mark.parametrize("name", ["digits-fcn-R-seed1", "digits-st-fcn-tps-TC-seed0"])
def test_evaluation_repeats_the_recorded_error(name, table, capsys):
    record = read_json(table, name)
    weights = table / "weights" / f"{name}.safetensors"
    assert evaluate(weights)["error"] == record["error"]
    main(["evaluate", str(weights)])
    printed = json.loads(capsys.readouterr().out)
    assert printed == {k: record[k] for k in ("data", "model", "distortion", "error")}


def test_json_report_has_the_promised_fields(table, capsys):
    main(["table1", "--report", "--json", "--out", str(table)])
    entries = json.loads(capsys.readouterr().out)
    assert [(e["model"], e["distortion"]) for e in entries] == [
        ("fcn", "R"),
        ("st-fcn-tps", "TC"),
    ]
    assert all(entry.keys() == REPORTED for entry in entries)
    runs = [read_json(table, f"digits-fcn-R-seed{seed}") for seed in (0, 1)]
    assert entries[0]["errors"] == [run["error"] for run in runs]
    main(["table1", "--report", "--out", str(table)])
    assert capsys.readouterr().out == report_table(table) + "\n"


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
    assert stopped(main, arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        (b'{"error": 1}', "run.safetensors to hold tensors with their checksum"),
        (save({"a": torch.ones(2)}), "with their checksum, but it has none"),
        (seal({"a": torch.ones(2)}, {}), "run.safetensors to say which run left these"),
        (
            seal(
                {"a": torch.ones(2)},
                {"data": "svhn", "model": "cnn", "distortion": "R"},
            ),
            "expected data to be one of ['digits', 'mnist'], but got: 'svhn'",
        ),
        (
            seal(
                {"a": torch.ones(2)},
                {"data": "digits", "model": "cnn", "distortion": "R"},
            ),
            "run.safetensors to hold the weights of this network, but it lacks ['class",
        ),
    ],
    ids=[
        "missing",
        "no weights",
        "no checksum",
        "no run's",
        "of other data",
        "of another network",
    ],
)
def test_evaluating_what_holds_no_weights(content, message, tmp_path, capsys):
    path = tmp_path / "run.safetensors"
    if content is not None:
        path.write_bytes(content)
    assert stopped(main, ["evaluate", str(path)]) == 1
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
    assert stopped(main, arguments) == 2
    assert message in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_is_told_before_any_training(
    tmp_path, capsys, monkeypatch
):
    (tmp_path / "file").write_text("precious")
    monkeypatch.setattr(table1, "load_by_name", forbid)
    assert stopped(main, [*TINY, "--out", str(tmp_path / "file")]) == 2
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
    assert stopped(main, [*TINY, "--out", str(tmp_path)]) == 1
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


@pytest.mark.parametrize("command", command_line.SINGLE)
def test_a_training_without_options_has_a_command(command, monkeypatch, capsys):
    """Only those that keep what was done say, after Ctrl-C, that they go on."""
    trained = []
    _, told = command_line.SINGLE[command]
    monkeypatch.setitem(
        command_line.SINGLE, command, (lambda: trained.append(command), told)
    )
    main([command])
    assert trained == [command]

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setitem(command_line.SINGLE, command, (interrupted, told))
    assert stopped(main, [command]) == 130
    goes_on = "the same command goes on" in capsys.readouterr().err
    assert goes_on == (command not in ("drawing-net", "rates"))


@pytest.mark.parametrize("command", ["keep-signs", "keep-scenes"])
def test_what_keeps_a_network_gets_its_weights(command, monkeypatch):
    kept = []
    monkeypatch.setattr(command_line, command.replace("-", "_"), kept.append)
    main([command, "some/weights.safetensors"])
    assert kept == [Path("some/weights.safetensors")]


def test_ctrl_c_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    arguments = ["--models", "fcn", "--distortions", "R", "--out", str(tmp_path)]
    with stop_before(3, monkeypatch), pytest.raises(SystemExit) as stop:
        main([*TINY, *arguments])
    assert stop.value.code == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert files(tmp_path) == ["checkpoints/digits-fcn-R-seed0.safetensors"]
