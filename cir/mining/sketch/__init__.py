"""Cheap matrix products in place of exact similarities, with a proven bound of their error.

Begin with `product`, which derives the bound and computes the products. `principal_axes` finds the
directions that the products keep, and `cost_model` how many of them cost least.
"""
