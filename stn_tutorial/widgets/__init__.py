"""Figures that readers can touch; each also has a still picture.

Each figure's module is loaded when the figure is first asked for.
"""

from importlib import import_module

FIGURES = {
    "AffinePlayground": "affine_playground",
    "DrawAndStraighten": "draw_and_straighten",
    "InsideTransformer": "inside_transformer",
    "LiveBench": "live_bench",
    "LossMap": "loss_map",
    "PoolIt": "pool_it",
    "SampleLens": "sample_lens",
    "SixHeads": "six_heads",
    "StraightenIt": "straighten_it",
    "TurnIt": "turn_it",
    "TwoPhotographs": "two_photographs",
    "WatchItLearn": "watch_it_learn",
}
__all__ = list(FIGURES)


def __getattr__(name: str) -> object:
    """Load a figure's module when its name is used."""
    if name not in FIGURES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{FIGURES[name]}"), name)


def __dir__() -> list[str]:
    """Name the figures, loaded or not."""
    return sorted([*globals(), *FIGURES])
