"""A manifest's figures against plain loops over its rows."""

import dataclasses
import math

import numpy as np
import pytest

from cir.artefacts.manifest import Manifest
from cir.artefacts.manifest_statistics import (
    Hubness,
    bands_by_category,
    gaps,
    hardest,
    hubness,
    kinds_by_scope,
    log_bounds,
    log_counts,
    mean_negatives,
    nearest_negatives,
    num_negatives,
    starved,
)
from cir.data.dataset import Dataset
from cir.types import KINDS, SCOPES
from tests.support.mined import random_manifest
from tests.support.ragged import without_negatives
from tests.support.worlds import random_embeddings

BARE = 3
"""A row without negatives."""


@pytest.fixture(scope="module")
def manifest(dataset: Dataset) -> Manifest:
    """Random negatives, none in one row, with random scopes and bands."""
    made = random_manifest(dataset, random_embeddings(dataset), most=6)
    rng = np.random.default_rng(1)
    mixed = dataclasses.replace(
        made,
        candidates_in_band=rng.integers(0, 12, len(made), dtype=np.int32),
        negative_scopes=rng.integers(0, len(SCOPES), len(made.negative_ids), dtype=np.int8),
    )
    return without_negatives(mixed, BARE)


def rows_of(manifest: Manifest) -> list[list[int]]:
    """Places in the flat fields, row by row."""
    starts = [sum(manifest.negative_counts[:row]) for row in range(len(manifest))]
    return [
        list(range(start, start + count))
        for start, count in zip(starts, manifest.negative_counts, strict=True)
    ]


def test_distances_of_each_query(manifest: Manifest) -> None:
    nearest, means = nearest_negatives(manifest), mean_negatives(manifest)
    for row, places in enumerate(rows_of(manifest)):
        own = [float(manifest.negative_distances[place]) for place in places]
        if row == BARE:
            assert nearest[row] == math.inf
            assert math.isnan(means[row])
        else:
            assert nearest[row] == min(own)
            assert means[row] == pytest.approx(sum(own) / len(own))
    expected = [
        float(manifest.negative_distances[place]) - float(manifest.target_distances[row])
        for row, places in enumerate(rows_of(manifest))
        for place in places
    ]
    np.testing.assert_allclose(gaps(manifest), expected, atol=1e-6)


def test_the_hardest_rows_have_the_nearest_negatives(manifest: Manifest) -> None:
    def gap(row: int) -> float:
        own = [float(manifest.negative_distances[place]) for place in rows_of(manifest)[row]]
        return min(own) - float(manifest.target_distances[row])

    some = [row for row in range(len(manifest)) if row != BARE]
    assert hardest(manifest, 5).tolist() == sorted(some, key=gap)[:5]
    assert sorted(hardest(manifest, 10**6).tolist()) == some


def test_starved_queries_are_counted_by_category(manifest: Manifest) -> None:
    assert num_negatives(manifest) == 6
    short = [held < 6 for held in manifest.candidates_in_band]
    assert starved(manifest).tolist() == short
    bands = bands_by_category(manifest)
    assert [band.category for band in bands] == sorted(set(manifest.categories))
    for band in bands:
        rows = [row for row, name in enumerate(manifest.categories) if name == band.category]
        assert band.queries == len(rows)
        assert band.starved == sum(short[row] for row in rows) > 0
        assert band.share == band.starved / len(rows)
        held = sorted(int(manifest.candidates_in_band[row]) for row in rows)
        assert band.median_in_band == (held[len(held) // 2] + held[(len(held) - 1) // 2]) / 2


def test_a_manifest_that_lacks_the_wanted_number_takes_its_largest(manifest: Manifest) -> None:
    bare = dataclasses.replace(
        manifest, metadata=dataclasses.replace(manifest.metadata, options={})
    )
    assert num_negatives(bare) == max(manifest.negative_counts)


def test_kinds_are_counted_by_scope(manifest: Manifest) -> None:
    cells = kinds_by_scope(manifest)
    pairs = list(zip(manifest.negative_scopes, manifest.negative_kinds, strict=True))
    for scope in range(len(SCOPES)):
        for kind in range(len(KINDS)):
            assert cells[scope, kind] == pairs.count((scope, kind))


@pytest.mark.parametrize(
    ("highest", "bounds"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 5]), (100, [1, 2, 5, 10, 20, 50, 100])],
)
def test_logarithmic_bounds_reach_the_highest(highest: int, bounds: list[int]) -> None:
    assert log_bounds(highest).tolist() == bounds


def test_whole_numbers_fall_into_the_bin_of_their_bound() -> None:
    values = np.random.default_rng(0).integers(1, 5000, 1000, dtype=np.int32)
    bounds = log_bounds(int(values.max()))
    lower = [0, *bounds.tolist()[:-1]]
    expected = [
        sum(low < value <= high for value in values)
        for low, high in zip(lower, bounds, strict=True)
    ]
    assert log_counts(values, bounds).tolist() == expected
    assert sum(expected) == 1000


def test_hubs_are_counted_the_most_used_first(manifest: Manifest) -> None:
    found = hubness(manifest)
    uses = {image_id: manifest.negative_ids.count(image_id) for image_id in manifest.negative_ids}
    expected = sorted(uses.items(), key=lambda use: (-use[1], use[0]))
    assert list(zip(found.ids, found.counts.tolist(), strict=True)) == expected
    assert found.never_used is None
    assert hubness(manifest, 100).never_used == 100 - len(uses)


@pytest.mark.parametrize("unused", [0, 7])
def test_skewness_and_top_share_follow_their_definitions(unused: int) -> None:
    counts = np.sort(np.random.default_rng(2).geometric(0.1, 150))[::-1].astype(np.int64)
    ids = tuple(f"i{number:03d}" for number in range(150))
    found = Hubness(ids, counts, 150 + unused if unused else None)
    every = [*counts.tolist(), *[0] * unused]
    mean = sum(every) / len(every)
    spread = math.sqrt(sum((n - mean) ** 2 for n in every) / len(every))
    third = sum((n - mean) ** 3 for n in every) / len(every)
    assert found.skewness == pytest.approx(third / spread**3)
    assert found.top_share == pytest.approx(sum(sorted(every)[-2:]) / sum(every))


def test_an_even_use_has_no_skewness() -> None:
    assert Hubness(("a", "b"), np.array([4, 4]), None).skewness == 0
