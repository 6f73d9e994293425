"""Figures that readers can touch; each also has a still picture."""

from stn_tutorial.widgets.affine_playground import AffinePlayground
from stn_tutorial.widgets.draw_and_straighten import DrawAndStraighten
from stn_tutorial.widgets.inside_transformer import InsideTransformer
from stn_tutorial.widgets.pool_it import PoolIt
from stn_tutorial.widgets.sample_lens import SampleLens
from stn_tutorial.widgets.watch_it_learn import WatchItLearn

__all__ = [
    "AffinePlayground",
    "DrawAndStraighten",
    "InsideTransformer",
    "PoolIt",
    "SampleLens",
    "WatchItLearn",
]
