"""The figures of one manifest: arithmetic alone, without a file or a drawing."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64, Int, Int64

from cir.artefacts.manifest import Manifest
from cir.types import KINDS, SCOPES

_DECADE: Final = (1, 2, 5)
"""Steps within a power of ten; the logarithms of such bounds are nearly evenly spaced."""
_TOP: Final = 0.01
"""Share of the images whose share of all negatives tells how much hubs take."""


def owners(manifest: Manifest) -> Int64[np.ndarray, " flat"]:
    """The row of the query that each negative belongs to."""
    return manifest.negative_positions.pairs()[0]


def nearest_negatives(manifest: Manifest) -> Float64[np.ndarray, " queries"]:
    """The distance of each query's nearest negative; infinite for a query without any."""
    nearest = np.full(len(manifest), np.inf)
    np.minimum.at(nearest, owners(manifest), manifest.negative_distances)
    return nearest


def mean_negatives(manifest: Manifest) -> Float64[np.ndarray, " queries"]:
    """The mean distance of each query's negatives; NaN for a query without any."""
    counts, rows = manifest.negative_counts, owners(manifest)
    means = np.full(len(manifest), np.nan)
    sums = np.bincount(rows, manifest.negative_distances, minlength=len(manifest))
    np.divide(sums, counts, out=means, where=counts > 0)
    return means


def gaps(manifest: Manifest) -> Float64[np.ndarray, " flat"]:
    """Distance to the negative minus distance to the target, of each negative.

    Below 0 a negative is hard, below the margin semi-hard.
    """
    targets = manifest.target_distances[owners(manifest)]
    differences: Float64[np.ndarray, " flat"] = (
        manifest.negative_distances.astype(np.float64) - targets
    )
    return differences


def places_in_band(manifest: Manifest) -> Float64[np.ndarray, " semi_hard"]:
    """Where in their band the semi-hard negatives lie: 0 at the target, 1 at the margin."""
    semi_hard = manifest.negative_kinds == KINDS.index("semi-hard")
    places: Float64[np.ndarray, " semi_hard"] = gaps(manifest)[semi_hard] / manifest.metadata.margin
    return places


def hardest(manifest: Manifest, most: int) -> Int64[np.ndarray, " chosen"]:
    """The `most` rows whose nearest negative stands farthest inside the target, hardest first.

    Equal ones stand in the manifest's order; rows without a negative are left out.
    """
    gap = nearest_negatives(manifest) - manifest.target_distances
    return np.argsort(gap, kind="stable")[: min(most, int(np.isfinite(gap).sum()))]


def num_negatives(manifest: Manifest) -> int:
    """How many negatives each query was mined for."""
    counts = manifest.negative_counts
    return int(manifest.metadata.options.get("num_negatives", counts.max(initial=0)))


def starved(manifest: Manifest) -> Bool[np.ndarray, " queries"]:
    """Whether the draws gave each query fewer negatives than it was mined for.

    Of a file that does not tell: whether all its bands together held fewer candidates, which of
    category-aware mining leaves out the queries of which one share alone fell short.
    """
    if manifest.starved is not None:
        return manifest.starved
    return manifest.candidates_in_band < num_negatives(manifest)


def tells_starved(manifest: Manifest) -> bool:
    """Whether `starved` is what mining found; a lower bound otherwise."""
    return manifest.starved is not None or manifest.metadata.strategy != "category-aware"


@dataclass(frozen=True)
class CategoryBand:
    """How the bands of a category's queries were filled."""

    category: str
    queries: int
    starved: int
    median_in_band: float

    @property
    def share(self) -> float:
        """Starved queries as a share of all, in 0..1."""
        return self.starved / self.queries


def bands_by_category(manifest: Manifest) -> list[CategoryBand]:
    """Each category's starved queries, the categories in order of their names."""
    categories, short = np.array(manifest.categories), starved(manifest)
    made = []
    for category in np.unique(categories):
        rows = categories == category
        median = float(np.median(manifest.candidates_in_band[rows]))
        made.append(CategoryBand(str(category), int(rows.sum()), int(short[rows].sum()), median))
    return made


def kinds_by_scope(manifest: Manifest) -> Int64[np.ndarray, "scopes kinds"]:
    """How many negatives are of each scope and kind, in the order of `SCOPES` and `KINDS`."""
    cells = manifest.negative_scopes.astype(np.int64) * len(KINDS) + manifest.negative_kinds
    return np.bincount(cells, minlength=len(SCOPES) * len(KINDS)).reshape(len(SCOPES), len(KINDS))


def log_bounds(highest: int) -> Int64[np.ndarray, " bins"]:
    """Upper bounds 1, 2, 5, 10, 20, 50 ... of bins, the last one at or above `highest`."""
    bounds: list[int] = []
    while not bounds or bounds[-1] < highest:
        power, step = divmod(len(bounds), len(_DECADE))
        bounds.append(10**power * _DECADE[step])
    return np.array(bounds, dtype=np.int64)


def log_counts(
    values: Int[np.ndarray, " values"], bounds: Int64[np.ndarray, " bins"]
) -> Int64[np.ndarray, " bins"]:
    """How many of the whole numbers from 1 on lie in each bin of `log_bounds`."""
    return np.bincount(np.searchsorted(bounds, values), minlength=len(bounds))


@dataclass(frozen=True, eq=False)
class Hubness:
    """How unevenly images serve as negatives."""

    ids: tuple[str, ...]
    """The images that were used, the most used first, equals by id."""
    counts: Int64[np.ndarray, " used"]
    """How often each was used."""
    gallery_size: int | None
    """Images that could have been used; None where a manifest alone is known."""

    @property
    def never_used(self) -> int | None:
        """Images that could have been used and were not, where that is known."""
        return None if self.gallery_size is None else self.gallery_size - len(self.ids)

    @property
    def population(self) -> Int64[np.ndarray, " images"]:
        """The counts of all images, the never used ones among them where they are known."""
        return np.append(self.counts, np.zeros(self.never_used or 0, dtype=np.int64))

    @property
    def skewness(self) -> float:
        """Skewness of N_k, the number of times that an image is a negative; 0 for an even use.

        E[(N_k - mean)^3] / std^3: Radovanović, Nanopoulos and Ivanović, "Hubs in space", Journal
        of Machine Learning Research 11 (2010), equation 1.
        """
        deviation = self.population - self.population.mean()
        spread = float(np.sqrt((deviation**2).mean()))
        return float((deviation**3).mean()) / spread**3 if spread else 0.0

    @property
    def top_share(self) -> float:
        """The share of all negatives that the most used 1 % of the images take."""
        top = math.ceil(_TOP * len(self.population))
        return float(self.counts[:top].sum() / self.counts.sum())


def hubness(manifest: Manifest, gallery_size: int | None = None) -> Hubness:
    """Counts how often each image is a negative.

    Args:
        manifest: One with a negative.
        gallery_size: Images that mining could choose from, where that is known.
    """
    ids, counts = np.unique(np.array(manifest.negative_ids), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return Hubness(tuple(ids[order].tolist()), counts[order].astype(np.int64), gallery_size)
