"""Cheap products with a proven error: over the principal axes, in the arithmetic that is quickest."""
