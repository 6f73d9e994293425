"""Figures that readers can touch; each also has a still picture."""

from stn_tutorial.widgets.affine_playground import AffinePlayground

__all__ = ["AffinePlayground"]
