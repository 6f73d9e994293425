"""Other readings of the table's sets: the book's own among them, others by points."""

import json

import pytest
import torch
from runs import threads_kept

from stn_tutorial.data.digits import load_digits
from stn_tutorial.distortions import bent_grid, moved_grid, tilted_grid, uniform
from stn_tutorial.experiments import difficulty, table1
from stn_tutorial.warps import (
    CORNERS,
    projective_from_corners,
    projective_grid,
    undo_projective,
)


@pytest.fixture(autouse=True)
def threads():
    with threads_kept():
        yield


def seeded():
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize(
    ("reading", "pixels", "book"),
    [
        (difficulty.tilted_in_source, 5, tilted_grid),
        (difficulty.bent_in_source, 1.5, bent_grid),
        (difficulty.moved_alike, 7, moved_grid),
    ],
    ids=["P", "E", "RTS"],
)
def test_one_reading_of_each_set_is_the_books(reading, pixels, book):
    ours = reading(300, seeded(), pixels)
    assert torch.allclose(ours, book(300, seeded()), atol=2e-6)


def test_corners_on_the_canvas_move_the_other_way_than_in_the_source():
    """Its grid undoes the warp that sends the digit's corners to their new places."""
    pixels, n = 2, 300
    grid = difficulty.tilted_on_canvas(n, seeded(), pixels)
    generator = seeded()
    noise = torch.randn(n, 4, 2, generator=generator) * pixels / 14
    scale = uniform(0.75, 1, n, generator)[:, None, None]
    corners = torch.tensor(CORNERS) * scale + noise
    forward = projective_grid(projective_from_corners(corners), (n, 1, 28, 28))
    near = grid.abs().amax((1, 2, 3)) < 10  # the horizon is outside the image
    assert near.float().mean() > 0.9
    assert torch.allclose(grid[near], undo_projective(forward)[near], atol=1e-3)


def test_what_lies_behind_the_horizon_is_not_seen():
    grid = difficulty.tilted_on_canvas(2000, seeded(), 5)
    assert grid.isfinite().all()
    assert (grid.abs() > 500).any()


def test_along_a_diagonal_both_coordinates_move_alike():
    """All corners on the diagonals; the middle of an untilted scale stays."""
    grid = difficulty.tilted_along_diagonals(200, seeded(), 3)
    for corner in (grid[:, 0, 0], grid[:, -1, -1]):  # near the corners of the source
        assert (corner[:, 0] - corner[:, 1]).abs().max() < 0.15
    free = difficulty.tilted_in_source(200, seeded(), 3)[:, 0, 0]
    assert (free[:, 0] - free[:, 1]).abs().max() > 0.4


def test_the_scaled_frame_reaches_just_the_edge():
    """In the source, the canvas's edge lies as far out as the frame's, or farther."""
    grid = difficulty.moved_to_the_edge(3000, seeded(), 7)
    middle = grid[:, 20:22, 20:22].mean((1, 2))  # where the canvas's middle looks
    step = (grid[:, 0, 1] - grid[:, 0, 0]).norm(dim=1)  # of one canvas pixel
    scale = 2 / 28 / step
    moved = middle.norm(dim=1) * 14 * scale  # canvas pixels, along any direction
    room = (42 - 28 * scale) / 2 * 2**0.5
    assert (moved <= room + 0.01).all()
    assert (moved > 0.9 * room).any()
    assert (moved[scale < 0.75] > 10).any()
    assert (moved[scale > 1.15] < 7).all()


def test_trials_are_recorded_once(monkeypatch, tmp_path, capsys):
    """Begun again, it trains the missing ones alone."""
    monkeypatch.setattr(table1, "load_mnist", load_digits)
    monkeypatch.setitem(table1.VALIDATION, "mnist", table1.VALIDATION["digits"])
    monkeypatch.setattr(difficulty, "OUT", tmp_path / "difficulty.json")
    monkeypatch.setattr(difficulty, "IMAGES", 256)
    monkeypatch.setattr(difficulty, "SEEDS", [0])
    monkeypatch.setattr(difficulty, "AT_LENGTH", [])
    monkeypatch.delitem(difficulty.READINGS, "P")
    difficulty.try_difficulties()
    content = (tmp_path / "difficulty.json").read_bytes()
    found = json.loads(content)
    assert [
        {key: value for key, value in entry.items() if key != "validation_error"}
        for entry in found
    ] == list(difficulty.trials())
    assert len({entry["validation_error"] for entry in found}) > len(found) / 2
    assert capsys.readouterr().out.count("%") == len(found)
    (tmp_path / "difficulty.json").write_text(json.dumps(found[:-1]))
    difficulty.try_difficulties()
    assert capsys.readouterr().out.count("%") == 1
    assert (tmp_path / "difficulty.json").read_bytes() == content


def test_what_is_trained_at_length_sees_as_many_images_as_the_tables_network():
    trials = list(difficulty.trials())
    longest = table1.table_recipe("mnist", "fcn").images
    assert [trial["seed"] for trial in trials if trial["images"] == longest] == [0] * 4
    for trial in trials:
        _, sizes = difficulty.READINGS[trial["distortion"]][trial["reading"]]
        assert trial["pixels"] in sizes
