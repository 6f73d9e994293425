"""The checker of exercises: what it accepts, what it says, what it draws."""

import base64
import io
import math
import re
import time
from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from stn_tutorial import exercises
from stn_tutorial.affine import affine
from stn_tutorial.exercises import (
    Exercise,
    Verdict,
    check,
    difference,
    draw,
    kind,
    report,
    show,
    try_case,
)

SIZE = (300, 451)
EXERCISES = {
    name: task
    for module in iter_modules(exercises.__path__)
    for name, task in import_module(
        f"{exercises.__name__}.{module.name}"
    ).EXERCISES.items()
}


# What the tests of the chapters' exercises share


def assert_named(verdict: Verdict, said: str) -> None:
    """Assert that an answer is wrong, and told its mistake and no other."""
    assert not verdict
    first, *rest = verdict.text.splitlines()
    likely = [line for line in rest if line.startswith("Likely: ")]
    assert len(likely) <= 1  # no other mistake is suspected
    assert said in (likely or [first])[0]


def untested_hints(names: list[str], wrong: list[tuple]) -> list[str]:
    """List the hints of some exercises that no wrong answer brings forth."""
    return [
        sentence
        for name in names
        for sentence, _ in exercises.find(name).mistakes
        if not any(said in sentence for other, _, said in wrong if other == name)
    ]


def crop_theta(box: tuple, size: tuple) -> Tensor:
    (x1, y1, x2, y2), (h, w) = box, size
    tx, ty = (x1 + x2) / w - 1, (y1 + y2) / h - 1
    return affine((x2 - x1) / w, 0.0, tx, 0.0, (y2 - y1) / h, ty)


def crop_in_pixels(box: tuple, size: tuple) -> Tensor:
    return affine(1.0, 0.0, box[0], 0.0, 1.0, box[1])


# Verdicts


def test_a_right_answer() -> None:
    verdict = check("1.2", crop_theta)
    assert verdict
    assert repr(verdict) == "Exercise 1.2: right, in all 3 cases."
    assert verdict._repr_html_() is None  # a notebook shows the text


@pytest.mark.parametrize("convert", [Tensor.tolist, Tensor.numpy, Tensor.double])
def test_numbers_may_come_in_any_container(convert: object) -> None:
    assert check("1.2", lambda box, size: convert(crop_theta(box, size)))


def test_a_wrong_answer_is_shown_with_input_expected_and_got() -> None:
    verdict = check("1.2", crop_in_pixels)
    assert not verdict
    first, *rest = repr(verdict).splitlines()
    assert first.startswith("Exercise 1.2: not yet, case 1 of 3: the numbers differ, ")
    assert rest[:2] == ["  box = (100, 60, 220, 160)", "  size = (300, 451)"]
    expected = [120 / 451, 0, 320 / 451 - 1, 0, 100 / 300, 220 / 300 - 1]
    found = [float(n) for n in re.findall(r"-?\d+\.?\d*", rest[2])]
    assert rest[2].startswith("expected: ")
    assert found == pytest.approx(expected, abs=1e-4)
    assert rest[3] == "got:      [[[1, 0, 100], [0, 1, 60]]]"
    assert rest[4].startswith("Likely: the numbers are in pixels.")
    assert len(rest) == 5


def test_the_first_failing_case_is_shown() -> None:
    def right_in_the_first_case(box: tuple, size: tuple) -> Tensor:
        return crop_theta((100, 60, 220, 160), size)

    assert "not yet, case 2 of 3" in repr(check("1.2", right_in_the_first_case))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (crop_theta((0, 0, 4, 4), SIZE), r"function crop_theta\(box, size\) itself"),
        (7, "itself, but got a number"),
        (None, "itself, but got None"),
        (nn.Linear(2, 3), r"expected a function .*, but yours takes \(input: "),
        (lambda box: box, r"function crop_theta\(box, size\), but yours takes \(box\)"),
        (list, r"expected a function .* \(iterable=\(\), /\)"),
        (lambda box, size: None, "gave nothing back: is there a `return`?"),
        (
            lambda box, size: torch.zeros(2, 3),
            r"shape \(1, 2, 3\), but got .* \(2, 3\)",
        ),
        (lambda box, size: torch.full((1, 2, 3), math.nan), "not finite"),
        (lambda box, size: "theta", "but got a string"),
        (lambda box, size: box + size + 1, "stopped with TypeError"),
        (lambda box, size: {}["tx"], r"stopped with KeyError.*: 'tx'"),
    ],
)
def test_what_cannot_be_right_is_named(answer: object, said: str) -> None:
    verdict = check("1.2", answer)
    assert not verdict
    assert re.search(said, repr(verdict))
    assert "Likely" not in repr(verdict)


def test_an_error_names_its_line() -> None:
    def broken(box: tuple, size: tuple) -> Tensor:
        return affine("1", 0, 0, 0, 1, 0)

    text = repr(check("1.2", broken))
    assert 'Error at `return affine("1", 0, 0, 0, 1, 0)`: ' in text


def test_an_answer_cannot_change_the_cases() -> None:
    def greedy(target: Tensor, source: Tensor) -> Tensor:
        ones = torch.ones(len(target), 1)
        points = torch.cat([target, ones], dim=1)
        theta = torch.linalg.lstsq(points, source).solution.T
        target.zero_()
        source.zero_()
        return theta

    assert check("1.4", greedy)


@pytest.mark.parametrize("number", ["1.2", 1.2, " 1.2", np.float64(1.2)])
def test_a_number_may_come_with_or_without_quotes(number: object) -> None:
    assert check(number, crop_theta).text == "Exercise 1.2: right, in all 3 cases."


@pytest.mark.parametrize(
    "number", ["1.9", "1", "", "99.1", "one", "1.", 1.9, 1, None, crop_theta]
)
def test_an_unknown_number_is_refused(number: object) -> None:
    with pytest.raises(
        ValueError, match="first the number of an exercise|has the exercises 1.1, 1.2"
    ):
        check(number, crop_theta)


def test_a_chapter_has_fewer_than_ten_exercises() -> None:
    """So no exercise's number loses a zero where it is written as a number."""
    assert all(str(float(name)) == name for name in EXERCISES)


# Whatever comes, nothing but the reader's own errors is laid to their door


class Thing:
    pass


ODD = {
    "a number": 0.5,
    "a large integer": 10**400,
    "infinity": math.inf,
    "a complex number": 1j,
    "a string": "theta",
    "bytes": b"ab",
    "nothing in a list": [],
    "three numbers": (1.0, 2.0, 3.0),
    "strings": ["a", "b"],
    "tensors": [torch.ones(2, 3), torch.zeros(2, 3)],
    "unequal tensors": [torch.ones(2), torch.ones(3)],
    "arrays": [np.ones(2), np.ones(2)],
    "an array": np.ones((2, 3)),
    "an array of strings": np.array(["a"]),
    "double precision": torch.ones(1, 2, 3, dtype=torch.float64),
    "integers": torch.ones(2, 2, dtype=torch.int64),
    "with a gradient": torch.ones(1, 2, 3, requires_grad=True),
    "not finite": torch.full((1, 2, 3), math.nan),
    "complex numbers": torch.ones(2, 3, dtype=torch.complex64),
    "places in rows": torch.ones(2, 32),
    "places, transposed": torch.ones(1, 2, 16),
    "no numbers": torch.zeros(0),
    "an image": torch.rand(1, 1, 4, 4),
    "a dictionary": {"a": torch.ones(2)},
    "a set": {1.5, 2.5},
    "a class": Thing,
    "an object": Thing(),
    "a function": len,
    "a network": nn.Linear(2, 2),
    "a range": range(3),
}


def blame(task: Exercise, answer: object, case: dict) -> str:
    outcome = try_case(task, answer, case)
    assert outcome.fault
    assert "cannot be checked" not in outcome.fault
    report("", task, case, outcome)
    return outcome.fault


@pytest.mark.parametrize("exercise", EXERCISES)
def test_an_odd_result_is_no_fault_of_the_function(
    exercise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exercises, "draw", lambda values: None)  # it has its own test
    task = EXERCISES[exercise]
    case = task.cases()[0]
    for value in ODD.values():
        of_function = task.asks.endswith(")")
        answer = (lambda *given, value=value: value) if of_function else value
        assert "stopped with" not in blame(task, answer, case)
    if of_function and exercise != "5.2":  # it asks for a change, not for a result
        assert "gave nothing back" in blame(task, lambda *given: None, case)
        assert "stopped with KeyError" in blame(task, lambda *given: {}["tx"], case)
        assert "stopped with" not in blame(task, lambda *given: given, case)


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_an_odd_result_is_drawn_or_not_and_named_in_a_line(value: object) -> None:
    draw({"got": value})
    assert "\n" not in show(value) + kind(value)
    assert len(show(value)) < 200


def test_a_generator_is_read_as_a_list_and_its_errors_are_its_own() -> None:
    def shears(angle_deg: float) -> Iterator[float]:
        yield -math.tan(math.radians(angle_deg) / 2)
        yield math.sin(math.radians(angle_deg))

    def broken(angle_deg: float) -> Iterator[float]:
        yield {}["k"]

    assert check("1.1", shears)
    assert "stopped with KeyError at `yield" in check("1.1", broken).text


def test_a_check_needs_no_gradient_switched_on() -> None:
    def attention(numbers: Tensor) -> Tensor:
        size = 0.3 + 0.7 * torch.sigmoid(numbers[:, 2])
        tx, ty = ((1 - size) * torch.tanh(numbers[:, i]) for i in (0, 1))
        return affine(size, 0.0, tx, 0.0, size, ty)

    with torch.no_grad():
        assert check("4.1", attention)


# Progress


def test_a_quick_check_prints_nothing(capsys: pytest.CaptureFixture) -> None:
    check("1.2", crop_theta)
    assert capsys.readouterr() == ("", "")


def test_a_slow_check_says_that_it_runs(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exercises, "PATIENCE", 0.01)
    monkeypatch.delenv("TQDM_DISABLE", raising=False)

    def slow(box: tuple, size: tuple) -> Tensor:
        time.sleep(0.1)
        return crop_theta(box, size)

    assert check("1.2", slow)
    shown = capsys.readouterr().err
    assert "Exercise 1.2: your answer is tried, 00:00" in shown
    assert shown.split("\r")[-2].isspace()  # and takes it away again


@pytest.mark.parametrize("exercise", EXERCISES)
def test_a_mistake_can_be_tried_on_every_case_and_drawn(exercise: str) -> None:
    for case in EXERCISES[exercise].cases():
        for _, mistaken in EXERCISES[exercise].mistakes:
            draw(case | {"got": mistaken(**case)})


# Pictures


def test_the_failing_case_is_drawn() -> None:
    page = check("1.2", crop_in_pixels)._repr_html_()
    assert "Exercise 1.2: not yet" in page
    picture = Image.open(io.BytesIO(base64.b64decode(page.split("base64,")[1][:-2])))
    colours = {tuple(c) for c in np.asarray(picture.convert("RGB")).reshape(-1, 3)}
    assert {(0, 158, 115), (213, 94, 0)} <= colours  # expected, and got


def test_text_in_a_page_is_no_markup() -> None:
    verdict = check("1.2", lambda box, size: crop_theta(box, size) + 1)
    verdict = Verdict(False, "<script>alert(1)</script>", verdict.picture)
    assert "<script>" not in verdict._repr_html_()


@pytest.mark.parametrize(
    ("values", "panels"),
    [
        ({"image": torch.rand(2, 3, 4, 5), "got": torch.rand(2, 1, 4, 5)}, 2),
        ({"theta": torch.rand(1, 2, 3), "expected": 2.0, "got": 3.5}, 3),
        ({"name": "x", "got": torch.rand(1, 4, 5, 2)}, 1),
        ({"size": (3, 4), "got": (torch.rand(3), torch.rand(2))}, 1),
        ({"got": torch.tensor([1, 2, 3])}, 1),
    ],
)
def test_what_can_be_drawn(values: dict, panels: int) -> None:
    assert len(draw(values).axes) == panels


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"image": torch.rand(1, 1, 4, 4)},
        {"got": "text"},
        {"got": []},
        {"got": ["first", "last"]},
        {"got": [math.nan]},
    ],
)
def test_what_cannot_be_drawn(values: dict) -> None:
    assert draw(values) is None


# The parts


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        (1.0, 1.00005, True),
        (1.0, 1.001, False),
        (torch.tensor([1, 2]), [1, 2], True),
        (torch.tensor([1, 2]), np.array([1.0, 2.0]), True),
        (torch.tensor([1, 2]), [1, 3], False),
        (torch.tensor([True]), torch.tensor([False]), False),
        (torch.zeros(0), torch.zeros(0), True),
        (1.0, torch.tensor([1.0]), False),
        ((1.0, 2.0), (1.0, 2.0), True),
        ((1.0, 2.0), (1.0,), False),
        ((1.0, 2.0), 1.0, False),
        (torch.ones(2, 3), [torch.ones(3), torch.ones(3)], True),
        (torch.ones(2, 3), [np.ones(3), np.ones(3)], True),
        (torch.ones(3), np.ones(3)[::-1], True),
        (torch.ones(2), torch.ones(2, dtype=torch.complex64), False),
        (torch.ones(2), torch.tensor([1.0, math.nan]), False),
        (1.0, math.nan, False),
        ((torch.ones(2), 2.0), (torch.ones(3), 2.0), False),
        ("last", "last", True),
        ({"last"}, {"first"}, False),
    ],
)
def test_difference(expected: object, got: object, same: bool) -> None:
    assert (difference(expected, got, 1e-4) == "") == same


@pytest.mark.parametrize(
    ("expected", "got", "said"),
    [
        ((1, 2, 3), (2, 3), "`[None]` behind a tensor adds it"),
        ((2, 3), (1, 2, 3), "`[0]` behind a tensor takes it away"),
        ((1, 2, 3), (1, 3, 2), "Rows and columns changed places"),
        ((1, 3, 16, 24), (1, 3, 24, 16), "Height and width changed places"),
        ((4,), (5,), "(4,), but got a tensor of shape (5,)."),
    ],
)
def test_a_usual_slip_of_shapes_is_named(
    expected: tuple, got: tuple, said: str
) -> None:
    text = difference(torch.zeros(expected), torch.zeros(got), 1e-4)
    assert text.startswith("expected a tensor of shape ")
    assert text.count(".") == (1 if said.endswith(".") else 2)
    assert said in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.tensor([[-0.00001, 0.25]]), "[[0, 0.25]]"),
        (torch.zeros(5, 5), "a tensor of shape (5, 5)"),
        ((1, 2.5, "x"), "(1, 2.5, 'x')"),
        ([True], "[True]"),
        (crop_theta, "crop_theta"),
    ],
)
def test_show(value: object, text: str) -> None:
    assert show(value) == text


def test_a_judge_never_shows_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from stn_tutorial.exercises import chapter_1

    task = Exercise(
        asks="a number",
        cases=lambda: [{}],
        judge=lambda got: "" if float(got) == 4.25 else "it is another number.",
        apply=lambda answer: answer,
    )
    monkeypatch.setitem(chapter_1.EXERCISES, "1.9", task)
    verdict = check("1.9", 3)
    assert repr(verdict) == (
        "Exercise 1.9: not yet: it is another number.\ngot:      3"
    )
    assert "the result, 2 values, cannot be checked" in check("1.9", (1, 2)).text
    assert check("1.9", 4.25).text == "Exercise 1.9: right."
