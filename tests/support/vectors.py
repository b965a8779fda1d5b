"""Unit vectors to test with."""

import numpy as np

from cir.artefacts.vectors import normalised


def unit(rows: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    """Of all directions alike."""
    return normalised(np.random.default_rng(seed).standard_normal((rows, dim)), "test")


def on_arc(distances: np.ndarray) -> np.ndarray:
    """Vectors of the plane at these cosine distances from (1, 0)."""
    cosines = 1 - np.asarray(distances, dtype=np.float64)
    return normalised(np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1), "test")
