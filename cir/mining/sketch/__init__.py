"""Cheap matrix products in place of exact similarities, with a proven bound of their error.

Begin with `product`.

    product         derives the bound, and computes the products
    integers        vectors as 16-bit integers, the fastest form on most processors
    principal_axes  the directions that the products keep
    cost_model      how many of them cost least
"""
