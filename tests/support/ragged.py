"""Manifests in which queries have no negatives at all."""

import dataclasses

import numpy as np

from cir.artefacts.manifest import Manifest


def without_negatives(manifest: Manifest, row: int) -> Manifest:
    """The manifest, one of its rows left without negatives."""
    counts = manifest.negative_counts.copy()
    start, count = int(manifest.negative_starts[row]), int(counts[row])
    kept = np.delete(np.arange(len(manifest.negative_ids)), np.s_[start : start + count])
    counts[row] = 0
    return dataclasses.replace(
        manifest,
        negative_counts=counts,
        negative_ids=tuple(manifest.negative_ids[place] for place in kept),
        negative_distances=manifest.negative_distances[kept],
        negative_kinds=manifest.negative_kinds[kept],
        negative_scopes=manifest.negative_scopes[kept],
    )
