"""Spatial Transformer Networks, from the pixels up: the book's own code.

Import the module of the chapter you are reading, for example
``from stn_tutorial.affine import affine_grid``.
"""

from importlib.metadata import version

__version__ = version("stn-tutorial")
