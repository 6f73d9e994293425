"""Check your answer to an exercise of the book.

``check("1.2", crop_theta)`` runs your function on many inputs. It says that all is
right, or shows the first input that goes wrong, with what was expected and what came.
``check("sampler", sample)`` does the same with the sampler that you built in chapter 2.
"""

import base64
import copy
import html
import importlib
import inspect
import io
import reprlib
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from numbers import Number
from pathlib import Path
from threading import Event, Thread

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn
from tqdm import tqdm

from stn_tutorial import figures
from stn_tutorial.affine import affine_grid

NOT_THEIRS = tuple(str(Path(file).parent) for file in (__file__, torch.__file__))
PATIENCE = 2.0  # seconds until a check says that it still runs
PARTS = {"sampler": 2}  # what the text builds and a check can try, and its chapter


class WrongForm(Exception):
    """What came is of another form than the exercise asks for; says of which."""


def call(answer: Callable, **case: object) -> object:
    """Call the reader's function with the case's values, in their order."""
    return answer(*case.values())


def take(answer: object, **case: object) -> object:
    """Take the answer itself, where no function is asked for."""
    return answer


def as_it_came(got: object, **case: object) -> object:
    """Compare the result itself."""
    return got


@dataclass(frozen=True)
class Exercise:
    """How one exercise is checked.

    Args:
        asks: what the reader hands in, such as ``crop_theta(box, size)``; a function
            if it ends in a bracket.
        cases: the inputs, each a dictionary from a parameter's name to its value.
        expected: gives the right result for a case, from its values.
        mistakes: what the reader is told when the result is that of a usual mistake:
            the sentence, and a function that makes this mistake.
        judge: for tasks with more than one right result, in place of ``expected``:
            takes the result and the case's values, returns what is wrong, or "".
        apply: runs the reader's code, and nothing but that: an error is the reader's.
            Takes the answer and a copy of the case.
        read: makes of what came what is compared. Takes it and the same copy, raises
            WrongForm if it cannot be read.
        besides: looks at what a right result needs besides its numbers, such as a
            gradient. Takes what came and the same copy, returns what is wrong, or "".
        tolerance: how far a number may be off.
    """

    asks: str
    cases: Callable[[], Sequence[Mapping[str, object]]]
    expected: Callable[..., object] | None = None
    mistakes: Sequence[tuple[str, Callable[..., object]]] = ()
    judge: Callable[..., str] | None = None
    apply: Callable[..., object] = call
    read: Callable[..., object] = as_it_came
    besides: Callable[..., str] | None = None
    tolerance: float = 1e-4


class Verdict:
    """What :func:`check` found: true if the answer is right; text, and a picture.

    Args:
        right: whether the answer passed.
        text: what the reader is told.
        picture: the case that went wrong, if it can be drawn.
    """

    def __init__(self, right: bool, text: str, picture: Figure | None = None) -> None:
        self.right, self.text, self.picture = right, text, picture

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str | None:
        if self.picture is None:
            return None
        buffer = io.BytesIO()
        self.picture.savefig(buffer)
        data = base64.b64encode(buffer.getvalue()).decode()
        text = html.escape(self.text)
        alt = "The case that went wrong, drawn: input, expected and got."
        return f'<pre>{text}</pre><img alt="{alt}" src="data:image/png;base64,{data}">'


def check(exercise: str | float, answer: object) -> Verdict:
    """Check an answer to an exercise.

    Args:
        exercise: its number, such as ``"1.2"`` or 1.2; or ``"sampler"`` for the
            sampler of chapter 2. (A number has no last zero: of a chapter's tenth
            exercise only ``"1.10"`` would be one. No chapter has so many.)
        answer: what the exercise asks for: mostly your function itself, not its result.

    Returns:
        what was found. A notebook shows it; in an ``if`` it is true for a right answer.
        A check that takes longer than two seconds says so while it runs.

    Raises:
        ValueError: there is no such exercise.

    Used in every chapter.
    """
    task = find(exercise)
    title = "The sampler" if exercise in PARTS else f"Exercise {str(exercise).strip()}"
    if fault := misfit(task, answer, exercise):
        return Verdict(False, f"{title}: not yet: {fault}")
    with progress(title):
        cases = task.cases()
        for number, case in enumerate(cases, 1):
            outcome = try_case(task, answer, case)
            if outcome.fault:
                where = f", case {number} of {len(cases)}" if len(cases) > 1 else ""
                return report(f"{title}: not yet{where}", task, case, outcome)
    count = f", in all {len(cases)} cases" if len(cases) > 1 else ""
    return Verdict(True, f"{title}: right{count}.")


def find(exercise: str | float) -> Exercise:
    """Look an exercise up.

    Raises:
        ValueError: there is no such exercise; the message lists the chapter's.
    """
    name = str(exercise).strip()
    chapter = str(PARTS.get(name, name.partition(".")[0]))
    module = f"{__name__}.chapter_{chapter}"
    if not chapter.isdigit() or find_spec(module) is None:
        raise ValueError(
            'expected first the number of an exercise, such as "1.2", then your '
            f"answer, but got {shorten(exercise)}"
        )
    tables = importlib.import_module(module)
    if name in PARTS:
        return tables.PARTS[name]
    if name not in tables.EXERCISES:
        raise ValueError(
            f"chapter {chapter} has the exercises {', '.join(tables.EXERCISES)}, "
            f"but got {shorten(exercise)}"
        )
    return tables.EXERCISES[name]


def misfit(task: Exercise, answer: object, exercise: str | float) -> str:
    """Say why an answer cannot be what is asked for; "" if it can."""
    if not task.asks.endswith(")"):
        if isinstance(answer, (type, type(None))):
            return f"expected {task.asks}, but got {kind(answer)}."
        return ""
    name, _, parameters = task.asks[:-1].partition("(")
    if not callable(answer):
        return (
            f"expected the function {task.asks} itself, but got {kind(answer)}. Write "
            f'`check("{exercise}", {name})`, with no brackets after its name.'
        )
    if isinstance(answer, nn.Module):
        if not parameters:
            return ""  # what the function would make
        answer = answer.forward
    try:
        signature = inspect.signature(answer)
    except (TypeError, ValueError):  # some functions written in C do not tell
        return ""
    try:
        signature.bind(*filter(None, parameters.split(", ")))
    except TypeError:
        return f"expected a function {task.asks}, but yours takes {signature}."
    return ""


@contextmanager
def progress(title: str) -> Iterator[None]:
    """When the reader has waited a while, show that a check runs, and how long."""
    started, done = time.time(), Event()

    def count_seconds() -> None:
        if done.wait(PATIENCE):
            return
        line = f"{title}: your answer is tried, {{elapsed}}"
        with tqdm(bar_format=line, leave=False, delay=1e-3) as bar:
            bar.start_t = started
            bar.refresh()
            while not done.wait(1):
                bar.refresh()

    thread = Thread(target=count_seconds, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@dataclass(frozen=True)
class Outcome:
    """What came of one case.

    Args:
        fault: what is wrong; "" if nothing is.
        raw: what the answer gave; None if nothing came.
        found: what was compared; None if it did not come to that.
    """

    fault: str
    raw: object = None
    found: object = None


def try_case(task: Exercise, answer: object, case: Mapping[str, object]) -> Outcome:
    """Run an answer on one case, and compare what comes."""
    given = copy.deepcopy(dict(case))
    with torch.enable_grad():
        try:
            raw = task.apply(answer, **given)
            if isinstance(raw, Iterator):  # its code runs when its values are asked for
                raw = list(raw)
        except Exception as error:  # whatever the reader's code does
            return Outcome(f"{task.asks} stopped with {told(error)}")
        if raw is None:
            return Outcome(f"{task.asks} gave nothing back: is there a `return`?")
        try:
            found = task.read(raw, **given)
            if fault := compare(task, found, case):
                return Outcome(fault, raw, found)
            return Outcome(task.besides(raw, **given) if task.besides else "", raw)
        except WrongForm as error:
            return Outcome(str(error), raw)
        except Exception as error:  # the check does not know a result of this kind
            what = kind(raw)
            return Outcome(f"the result, {what}, cannot be checked: {error}", raw)


def compare(task: Exercise, found: object, case: Mapping[str, object]) -> str:
    """Say what is wrong with a result; "" if nothing is."""
    if task.judge:
        return task.judge(found, **case)
    assert task.expected is not None  # an exercise has the one or the other
    return difference(task.expected(**case), found, task.tolerance)


def told(error: Exception) -> str:
    """An error as a reader is told it: its kind, the line of their code, its text."""
    steps = traceback.extract_tb(error.__traceback__)
    line = next((s.line for s in steps if not s.filename.startswith(NOT_THEIRS)), "")
    place = f" at `{line}`" if line else ""
    return f"{type(error).__name__}{place}: {error}"


def report(
    title: str, task: Exercise, case: Mapping[str, object], outcome: Outcome
) -> Verdict:
    """Tell what went wrong: the case, what was expected, what came, a usual mistake."""
    raw, found = outcome.raw, outcome.found
    lines = [f"{title}: {outcome.fault}"]
    lines += [f"  {name} = {show(value)}" for name, value in case.items()]
    values = dict(case)
    if raw is not None and found is not raw:
        lines.append(f"returned: {show(raw)}")
    if found is not None:
        if task.expected:
            values |= {"expected": task.expected(**case)}
            lines.append(f"expected: {show(values['expected'])}")
        values |= {"got": found}
        lines.append(f"got:      {show(found)}")
        lines += [f"Likely: {hint}" for hint in hints(task, case, found)]
    return Verdict(False, "\n".join(lines), draw(values))


def hints(task: Exercise, case: Mapping[str, object], got: object) -> list[str]:
    """List the usual mistakes that give this very result."""
    found = [
        sentence
        for sentence, mistaken in task.mistakes
        if not difference(mistaken(**copy.deepcopy(case)), got, task.tolerance)
    ]
    return list(dict.fromkeys(found))  # two ways to make one mistake: said once


def difference(expected: object, got: object, tolerance: float) -> str:
    """Say how a result differs from the expected one; "" if it does not."""
    if isinstance(expected, (tuple, list)):
        if not isinstance(got, (tuple, list)) or len(got) != len(expected):
            return f"expected {len(expected)} values, but got {kind(got)}."
        pairs = zip(expected, got, strict=True)
        return next((d for e, g in pairs if (d := difference(e, g, tolerance))), "")
    if isinstance(expected, (str, set)):
        return "" if got == expected else "the answer is another one."
    right, numbers = numbers_in(expected), numbers_in(got)
    assert right is not None
    if numbers is None:
        return f"expected {kind(right)}, but got {kind(got)}."
    if numbers.shape != right.shape:
        remark = about_shapes(right.shape, numbers.shape)
        return f"expected {kind(right)}, but got {kind(got)}.{remark}"
    if not numbers.isfinite().all():
        return "some numbers are not finite." if numbers.dim() else "it is not finite."
    apart = (numbers.double() - right.double()).abs()
    if not apart.numel() or apart.max() <= tolerance:
        return ""
    if apart.dim() == 0:
        return "the number is another one."
    place = torch.unravel_index(apart.argmax(), apart.shape)
    where = ", ".join(str(int(i)) for i in place)
    return (
        f"the numbers differ, most at [{where}]: "
        f"expected {right[place]:.4g}, got {numbers[place]:.4g}."
    )


def about_shapes(expected: torch.Size, got: torch.Size) -> str:
    """Name the slip that leads from one shape to the other, if it is a usual one."""
    if expected == (1, *got):
        return " The first dimension is missing; `[None]` behind a tensor adds it."
    if got == (1, *expected):
        return " It has a dimension too many; `[0]` behind a tensor takes it away."
    swapped = torch.Size([*got[:-2], *got[:-3:-1]])  # the last two
    if len(got) >= 2 and swapped == expected:
        image = len(got) == 4
        return (
            " Height and width changed places: a size is (height, width)."
            if image
            else " Rows and columns changed places."
        )
    return ""


def numbers_in(value: object) -> Tensor | None:
    """Turn what holds real numbers into a tensor: a list, an array, tensors in a list.

    Returns:
        a tensor on the CPU without gradient, or None if it holds something else.
    """
    if isinstance(value, (tuple, list)) and any(isinstance(v, HOLDERS) for v in value):
        parts = [numbers_in(part) for part in value]
        tensors = [part for part in parts if part is not None]
        alike = len(tensors) == len(parts) and len({t.shape for t in tensors}) == 1
        return torch.stack(tensors) if alike else None
    try:
        if isinstance(value, np.ndarray):
            value = np.array(value, order="C")  # one that PyTorch may own
        tensor = value if isinstance(value, Tensor) else torch.tensor(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
    return None if tensor.is_complex() else tensor.detach().cpu()


HOLDERS = (Tensor, np.ndarray, tuple, list)


def one_number(got: object) -> float:
    """Read a result that is to be one number.

    Raises:
        WrongForm: it is something else.
    """
    number = numbers_in(got)
    if number is None or number.numel() != 1:
        raise WrongForm(f"expected a number, but got {kind(got)}.")
    return number.item()


def tensor_of(shape: Sequence[int], got: object, what: str = "a tensor") -> Tensor:
    """Read a result that is to be a tensor of numbers, of this shape.

    Raises:
        WrongForm: it is something else, or some numbers are not finite.
    """
    numbers, shape = numbers_in(got), torch.Size(shape)
    if numbers is None or numbers.shape != shape:
        remark = "" if numbers is None else about_shapes(shape, numbers.shape)
        raise WrongForm(
            f"expected {what} of shape {tuple(shape)}, but got {kind(got)}.{remark}"
        )
    if not numbers.isfinite().all():
        raise WrongForm("some numbers are not finite.")
    return numbers.float()


def kind(value: object) -> str:
    """Name what a value is, and the shape of a tensor."""
    if isinstance(value, (Tensor, np.ndarray)):
        name = "a tensor" if isinstance(value, Tensor) else "an array"
        if value.ndim == 0:
            return "a number"
        complex_numbers = " of complex numbers" if "complex" in str(value.dtype) else ""
        return f"{name} of shape {tuple(value.shape)}{complex_numbers}"
    if isinstance(value, (tuple, list)):
        count = f"{len(value)} value{'' if len(value) == 1 else 's'}"
        numbers = numbers_in(value)
        if numbers is not None:
            many = numbers.dim() > 1
            return f"values of shape {tuple(numbers.shape)}" if many else count
        what = ", ".join(map(kind, value[:3])) + (", ..." if len(value) > 3 else "")
        return f"{count} ({what})"
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, complex):
        return "a complex number"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, nn.Module):
        return f"a network ({type(value).__name__})"
    named = ((Number, "number"), (str, "string"), (dict, "dictionary"), (set, "set"))
    for group, name in named:
        if isinstance(value, group):
            return f"a {name}"
    if inspect.isroutine(value):
        return f"a function ({value.__name__})"
    return f"an object of type {type(value).__name__}"


def show(value: object) -> str:
    """Write a value in one line; of a large tensor only the shape."""
    if isinstance(value, (Tensor, np.ndarray)):
        small = value.size if isinstance(value, np.ndarray) else value.numel()
        return show(value.tolist()) if small <= 24 else kind(value)
    if isinstance(value, (tuple, list)):
        text = ", ".join(map(show, value[:24])) + (", ..." if len(value) > 24 else "")
        return f"({text})" if isinstance(value, tuple) else f"[{text}]"
    if isinstance(value, nn.Module):
        return kind(value)
    if isinstance(value, float):
        return f"{round(value, 4) + 0.0:.4g}"  # + 0.0: no -0
    return getattr(value, "__name__", None) or shorten(value)


def shorten(value: object) -> str:
    """Write a value in one line that is not too long."""
    writer = reprlib.Repr()
    writer.maxstring = writer.maxother = 80
    return " ".join(writer.repr(value).split())


def draw(values: dict[str, object]) -> Figure | None:
    """Draw what can be drawn of a case: images, transforms, grids and numbers.

    Only the first sample of a batch is drawn.

    Returns:
        a figure that is closed for pyplot, or None if there is nothing to draw.
    """
    tensors = {}
    for name, value in values.items():
        if isinstance(value, (tuple, list)) and value and isinstance(value[0], Tensor):
            value = value[0]
        if isinstance(value, Tensor) or name in ("expected", "got"):
            numbers = numbers_in(value)
            if numbers is not None and numbers.numel() and numbers.isfinite().all():
                tensors[name] = numbers.float()
    if "got" not in tensors:
        return None
    size = (2.4 * len(tensors), 2.6)
    figure, axes = plt.subplots(
        1, len(tensors), figsize=size, squeeze=False, layout="constrained"
    )
    colors = {"expected": figures.OUTPUT, "got": figures.GRID}
    for ax, (name, value) in zip(axes[0], tensors.items(), strict=True):
        draw_tensor(ax, value, colors.get(name, figures.INPUT))
        ax.set_title(name)
    plt.close(figure)
    return figure


def draw_tensor(ax: plt.Axes, value: Tensor, color: str) -> None:
    """Draw one value by its shape: an image, where a grid lies, or plain numbers."""
    if value.dim() >= 2 and value.shape[-2:] == (2, 3):
        value = affine_grid(value.reshape(-1, 2, 3)[:1], (1, 1, 9, 9), False)
    if value.dim() == 4 and value.shape[3] == 2:
        for line in (*value[0], *value[0].transpose(0, 1)):
            ax.plot(*line.T, color=color, linewidth=1)
        ax.plot(*value[0, 0, 0], "o", color=color)
        input_image = Rectangle(
            (-1, -1), 2, 2, fill=False, color=figures.GREY, linestyle="--"
        )
        ax.add_patch(input_image)
        ax.set_aspect("equal")
        ax.invert_yaxis()
    elif value.dim() == 4 and value.shape[1] in (1, 3):
        figures.show_image(ax, value[0], edge=color)
    else:
        ax.plot(value.flatten()[:200], "o", color=color, markersize=4)
        ax.set_xlabel("entry")
