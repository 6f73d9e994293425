"""Spatial Transformer Networks, from the pixels up: the book's own code.

Import the module of the chapter you are reading, for example
``from stn_tutorial.affine import affine_grid``.
"""
