"""Runs to be done, one after the other on this machine."""

from collections.abc import Callable, Iterator, Sequence

# A run to do: its name, the function that does it, and the function's arguments.
Job = tuple[str, Callable[..., dict], tuple]


def runs_here(jobs: Sequence[Job]) -> Iterator[tuple[str, dict | Exception]]:
    """Do the jobs one after the other.

    Yields:
        each run's name, and its record or what went wrong.

    Raises:
        OSError: no disk, no network, no data: the next run would fail as well.
    """
    for name, function, arguments in jobs:
        try:
            yield name, function(*arguments)
        except OSError:
            raise
        except Exception as error:
            yield name, error
