"""Check your answer to an exercise of the book.

``check("1.2", crop_theta)`` runs your function on many inputs. It says that all is
right, or shows the first input that goes wrong, with what was expected and what came.
"""

import base64
import copy
import html
import importlib
import io
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from stn_tutorial import figures
from stn_tutorial.affine import affine_grid

HERE = str(Path(__file__).parent)


def call(answer: Callable, **case: object) -> object:
    """Call the reader's function with the case's values, in their order."""
    return answer(*case.values())


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
        apply: gets the result from the answer and the case; calls the answer with it
            if not given.
        tolerance: how far a number may be off.
    """

    asks: str
    cases: Callable[[], Sequence[Mapping[str, object]]]
    expected: Callable[..., object] | None = None
    mistakes: Sequence[tuple[str, Callable[..., object]]] = ()
    judge: Callable[..., str] | None = None
    apply: Callable[..., object] = call
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


def check(exercise: str, answer: object) -> Verdict:
    """Check an answer to an exercise.

    Args:
        exercise: its number, such as ``"1.2"``.
        answer: what the exercise asks for: mostly your function itself, not its result.

    Returns:
        what was found. A notebook shows it; in an ``if`` it is true for a right answer.

    Raises:
        ValueError: there is no such exercise.

    Used in every chapter.
    """
    task = find(exercise)
    if task.asks.endswith(")") and not callable(answer):
        text = f"expected the function {task.asks} itself, but got {kind(answer)}."
        return Verdict(False, f"Exercise {exercise}: not yet: {text}")
    cases = task.cases()
    for number, case in enumerate(cases, 1):
        fault, got = try_case(task, answer, case)
        if fault:
            where = f", case {number} of {len(cases)}" if len(cases) > 1 else ""
            lines = [f"Exercise {exercise}: not yet{where}: {fault}"]
            lines += [f"  {name} = {show(value)}" for name, value in case.items()]
            values = dict(case)
            if task.expected and got is not None:
                values |= {"expected": task.expected(**case)}
                lines.append(f"expected: {show(values['expected'])}")
            if got is not None:
                values |= {"got": got}
                lines.append(f"got:      {show(got)}")
                lines += [f"Likely: {hint}" for hint in hints(task, case, got)]
            return Verdict(False, "\n".join(lines), draw(values))
    count = f", in all {len(cases)} cases" if len(cases) > 1 else ""
    return Verdict(True, f"Exercise {exercise}: right{count}.")


def find(exercise: str) -> Exercise:
    """Look an exercise up.

    Raises:
        ValueError: there is no such exercise; the message lists the chapter's.
    """
    chapter = str(exercise).partition(".")[0]
    module = f"{__name__}.chapter_{chapter}"
    if not chapter.isdigit() or find_spec(module) is None:
        raise ValueError(f'expected a number such as "1.2", but got {exercise!r}')
    known = importlib.import_module(module).EXERCISES
    if exercise not in known:
        raise ValueError(
            f"chapter {chapter} has the exercises {', '.join(known)}, "
            f"but got {exercise!r}"
        )
    return known[exercise]


def try_case(
    task: Exercise, answer: object, case: Mapping[str, object]
) -> tuple[str, object]:
    """Run an answer on one case.

    Returns:
        what is wrong ("" if nothing is), and the result (None if there is none).
    """
    try:
        got = task.apply(answer, **copy.deepcopy(case))
    except Exception as error:  # whatever the reader's code does
        steps = traceback.extract_tb(error.__traceback__)
        line = next((s.line for s in steps if not s.filename.startswith(HERE)), "")
        place = f" at `{line}`" if line else ""
        return f"{task.asks} stopped with {type(error).__name__}{place}: {error}", None
    if got is None:
        return f"{task.asks} gave nothing back: is there a `return`?", None
    if task.judge:
        try:
            return task.judge(got, **case), got
        except Exception as error:  # a result of another kind than asked for
            return f"the result, {kind(got)}, cannot be checked: {error}", got
    assert task.expected is not None  # an exercise has the one or the other
    return difference(task.expected(**case), got, task.tolerance), got


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
            return f"expected {len(expected)} results, but got {kind(got)}."
        pairs = zip(expected, got, strict=True)
        return next((d for e, g in pairs if (d := difference(e, g, tolerance))), "")
    if isinstance(expected, (str, set)):
        return "" if got == expected else "the answer is another one."
    try:
        got = torch.as_tensor(got).detach()
    except (TypeError, ValueError, RuntimeError):
        return f"expected {kind(expected)}, but got {kind(got)}."
    expected = torch.as_tensor(expected).detach()
    if got.shape != expected.shape:
        return f"expected {kind(expected)}, but got {kind(got)}."
    if not got.isfinite().all():
        return "some numbers are not finite."
    apart = (got.double() - expected.double()).abs()
    if not apart.numel() or apart.max() <= tolerance:
        return ""
    if apart.dim() == 0:
        return "the number is another one."
    place = torch.unravel_index(apart.argmax(), apart.shape)
    where = ", ".join(str(int(i)) for i in place)
    return (
        f"the numbers differ, most at [{where}]: "
        f"expected {expected[place]:.4g}, got {got[place]:.4g}."
    )


def kind(value: object) -> str:
    """Name a value's type, and the shape of a tensor."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}" if value.dim() else "a number"
    if isinstance(value, (tuple, list)):
        return f"{len(value)} values"
    return "a number" if isinstance(value, (int, float)) else type(value).__name__


def show(value: object) -> str:
    """Write a value in one line; of a large tensor only the shape."""
    if isinstance(value, Tensor):
        small = value.numel() <= 24
        return show(value.detach().tolist()) if small else kind(value)
    if isinstance(value, (tuple, list)):
        text = ", ".join(map(show, value))
        return f"({text})" if isinstance(value, tuple) else f"[{text}]"
    if isinstance(value, nn.Module):
        return f"a network ({type(value).__name__})"
    if isinstance(value, float):
        return f"{round(value, 4) + 0.0:.4g}"  # + 0.0: no -0
    return getattr(value, "__name__", None) or repr(value)


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
            with suppress(TypeError, ValueError, RuntimeError):  # what is no number
                value = torch.as_tensor(value).detach().cpu().float()
                if value.numel() and value.isfinite().all():
                    tensors[name] = value
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
