"""How far negatives moved between two manifests, as between two epochs of training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from cir.artefacts.manifest import Manifest
from cir.artefacts.manifest_metadata import ManifestMetadata
from cir.artefacts.manifest_statistics import mean_negatives, nearest_negatives, owners


@dataclass(frozen=True, eq=False)
class Turnover:
    """The negatives of the queries that two manifests have in common, a row a common query."""

    before_rows: Int64[np.ndarray, " common"]
    """The query's row in the manifest before."""
    after_rows: Int64[np.ndarray, " common"]
    """The query's row in the manifest after."""
    kept: Int64[np.ndarray, " common"]
    """Negatives that the query has in both."""
    lost: Int64[np.ndarray, " common"]
    """Negatives that the query has only before."""
    new: Int64[np.ndarray, " common"]
    """Negatives that the query has only after."""

    def __len__(self) -> int:
        return len(self.before_rows)

    @property
    def values(self) -> Float64[np.ndarray, " common"]:
        """1 - Jaccard index of each query's negatives: 0 where all are kept, 1 where none is."""
        changed, union = self.lost + self.new, self.kept + self.lost + self.new
        values = np.zeros(len(self))
        np.divide(changed, union, out=values, where=union > 0)
        return values


def turnover(before: Manifest, after: Manifest) -> Turnover:
    """Compares the negatives of each query that both manifests hold, as sets of images.

    Two rows are of one query where id, category, reference and target agree. Common queries come
    in the order of `before`; there may be none.
    """
    row_of = {key: row for row, key in enumerate(_keys(after))}
    common = [(row, row_of[key]) for row, key in enumerate(_keys(before)) if key in row_of]
    rows = np.array(common, dtype=np.int64).reshape(-1, 2)
    images = sorted(set(before.negative_ids) | set(after.negative_ids))
    code_of = {image_id: code for code, image_id in enumerate(images)}
    earlier = _uses(before.subset(rows[:, 0]), code_of)
    later = _uses(after.subset(rows[:, 1]), code_of)
    kept, was, now = (
        np.bincount(uses // max(len(images), 1), minlength=len(rows))
        for uses in (np.intersect1d(earlier, later, assume_unique=True), earlier, later)
    )
    return Turnover(rows[:, 0], rows[:, 1], kept, was - kept, now - kept)


def _keys(manifest: Manifest) -> list[tuple[str, ...]]:
    parts = (manifest.query_ids, manifest.categories, manifest.reference_ids, manifest.target_ids)
    return list(zip(*parts, strict=True))


def _uses(manifest: Manifest, code_of: Mapping[str, int]) -> Int64[np.ndarray, " uses"]:
    """Each distinct (row, image) pair of the negatives, as one number."""
    codes = np.array([code_of[image_id] for image_id in manifest.negative_ids], dtype=np.int64)
    return np.unique(owners(manifest) * len(code_of) + codes)


@dataclass(frozen=True, eq=False)
class ManifestComparison:
    """Two manifests, cut down to their common queries."""

    before: Manifest
    """The common queries, in the same order as in `after`."""
    after: Manifest
    turnover: Turnover
    only_before: int
    """Queries of the first manifest that the second lacks."""
    only_after: int
    """Queries of the second manifest that the first lacks."""

    def __len__(self) -> int:
        return len(self.turnover)

    @property
    def target_changes(self) -> Float64[np.ndarray, " common"]:
        """Distance to the target, after minus before."""
        was, now = self.before.target_distances, self.after.target_distances
        changes: Float64[np.ndarray, " common"] = now.astype(np.float64) - was
        return changes

    @property
    def rank_changes(self) -> Int64[np.ndarray, " common"]:
        """Rank of the target, after minus before: below 0 it came nearer."""
        was, now = self.before.target_ranks, self.after.target_ranks
        changes: Int64[np.ndarray, " common"] = now.astype(np.int64) - was
        return changes

    @property
    def nearest_changes(self) -> Float64[np.ndarray, " compared"]:
        """Distance to the nearest negative, after minus before, of queries with negatives."""
        rows = (self.before.negative_counts > 0) & (self.after.negative_counts > 0)
        was, now = nearest_negatives(self.before), nearest_negatives(self.after)
        changes: Float64[np.ndarray, " compared"] = now[rows] - was[rows]
        return changes

    @property
    def mean_changes(self) -> Float64[np.ndarray, " compared"]:
        """Mean distance to the negatives, after minus before, of queries with negatives."""
        every = mean_negatives(self.after) - mean_negatives(self.before)
        changes: Float64[np.ndarray, " compared"] = every[np.isfinite(every)]
        return changes

    def most_changed(self, most: int) -> Int64[np.ndarray, " chosen"]:
        """The rows of the largest turnover that changed at all.

        Equal ones are ordered by how far their targets moved, then by how far their negatives did.
        """
        exchanged, targets = self.turnover.values, np.abs(self.target_changes)
        negatives = np.abs(mean_negatives(self.after) - mean_negatives(self.before))
        order = np.lexsort((-negatives, -targets, -exchanged))
        changed = (exchanged > 0) | (targets > 0)
        rows: Int64[np.ndarray, " chosen"] = order[changed[order]][:most]
        return rows


def compare_manifests(before: Manifest, after: Manifest) -> ManifestComparison:
    """Joins two manifests by their common queries, of which there may be none."""
    common = turnover(before, after)
    return ManifestComparison(
        before=before.subset(common.before_rows),
        after=after.subset(common.after_rows),
        turnover=common,
        only_before=len(before) - len(common),
        only_after=len(after) - len(common),
    )


def differences(before: ManifestMetadata, after: ManifestMetadata) -> dict[str, tuple[Any, Any]]:
    """What the manifests' metadata say differently, by name; None where one lacks it.

    Counts are results and stay out; entries of a nested object are named `object.entry`.
    """
    was, now = (_flat(metadata.to_json() | {"counts": {}}) for metadata in (before, after))
    names = dict.fromkeys((*was, *now))
    pairs = {name: (was.get(name), now.get(name)) for name in names}
    return {name: (a, b) for name, (a, b) in pairs.items() if a != b}


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{above}{name}.")
        else:
            flat[above + name] = value
    return flat
