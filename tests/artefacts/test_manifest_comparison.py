"""Two manifests compared, against plain sets."""

import dataclasses

import numpy as np
import pytest

from cir.artefacts.manifest import Manifest
from cir.artefacts.manifest_comparison import compare_manifests, differences, turnover
from cir.data.dataset import Dataset
from tests.support.mined import random_manifest
from tests.support.ragged import without_negatives
from tests.support.worlds import random_embeddings

BARE = 5
"""A row without negatives before."""


@pytest.fixture(scope="module")
def before(dataset: Dataset) -> Manifest:
    made = random_manifest(dataset, random_embeddings(dataset), most=8, seed=1)
    return without_negatives(made, BARE).subset(np.arange(len(made) - 2))


@pytest.fixture(scope="module")
def after(dataset: Dataset) -> Manifest:
    """Other negatives of the same queries, in another order, the first left out."""
    made = random_manifest(dataset, random_embeddings(dataset), most=8, seed=2)
    return made.subset(np.random.default_rng(3).permutation(np.arange(1, len(made))))


def negatives(manifest: Manifest, query_id: str) -> set[str]:
    row = manifest.query_ids.index(query_id)
    own = manifest.subset(np.array([row]))
    return set(own.negative_ids)


def test_turnover_is_one_minus_the_jaccard_index(before: Manifest, after: Manifest) -> None:
    found = turnover(before, after)
    common = [query_id for query_id in before.query_ids if query_id in after.query_ids]
    assert [before.query_ids[row] for row in found.before_rows] == common
    assert [after.query_ids[row] for row in found.after_rows] == common
    for place, query_id in enumerate(common):
        was, now = negatives(before, query_id), negatives(after, query_id)
        assert found.kept[place] == len(was & now)
        assert found.lost[place] == len(was - now)
        assert found.new[place] == len(now - was)
        assert found.values[place] == pytest.approx(1 - len(was & now) / len(was | now))
    assert 0 < found.kept.sum() < found.new.sum()


def test_turnover_of_the_same_manifest_is_zero(before: Manifest) -> None:
    found = turnover(before, before)
    assert len(found) == len(before)
    assert not found.values.any()


def test_a_negative_named_twice_counts_once(before: Manifest, after: Manifest) -> None:
    twice = dataclasses.replace(
        after, negative_ids=(after.negative_ids[0],) * len(after.negative_ids)
    )
    found = turnover(before, twice)
    assert set((found.kept + found.new).tolist()) == {1}


@pytest.mark.parametrize("field", ["query_ids", "categories", "reference_ids", "target_ids"])
def test_a_query_that_differs_is_no_common_query(before: Manifest, field: str) -> None:
    names = list(getattr(before, field))
    other = dataclasses.replace(before, **{field: ("another", *names[1:])})
    joined = compare_manifests(before, other)
    assert len(joined) == len(before) - 1
    assert joined.only_before == joined.only_after == 1
    assert 0 not in joined.turnover.before_rows
    assert (
        len(compare_manifests(before, dataclasses.replace(before, **{field: ("x",) * len(names)})))
        == 0
    )


def test_changes_are_after_minus_before_query_by_query(before: Manifest, after: Manifest) -> None:
    joined = compare_manifests(before, after)
    assert joined.before.query_ids == joined.after.query_ids
    expected, ranks, nearest, means = [], [], [], []
    for query_id in joined.before.query_ids:
        was = before.subset(np.array([before.query_ids.index(query_id)]))
        now = after.subset(np.array([after.query_ids.index(query_id)]))
        expected.append(float(now.target_distances[0]) - float(was.target_distances[0]))
        ranks.append(int(now.target_ranks[0]) - int(was.target_ranks[0]))
        if query_id != before.query_ids[BARE]:
            pair = [[float(d) for d in m.negative_distances] for m in (was, now)]
            nearest.append(min(pair[1]) - min(pair[0]))
            means.append(sum(pair[1]) / len(pair[1]) - sum(pair[0]) / len(pair[0]))
    np.testing.assert_allclose(joined.target_changes, expected, atol=1e-7)
    assert joined.rank_changes.tolist() == ranks
    np.testing.assert_allclose(joined.nearest_changes, nearest, atol=1e-7)
    np.testing.assert_allclose(joined.mean_changes, means, atol=1e-7)


def test_the_most_changed_come_by_turnover_then_by_their_targets(
    before: Manifest, after: Manifest
) -> None:
    joined = compare_manifests(before, after)
    moved = np.abs(joined.target_changes)
    expected = sorted(
        range(len(joined)), key=lambda row: (-joined.turnover.values[row], -moved[row])
    )
    assert joined.most_changed(7).tolist() == expected[:7]
    assert not compare_manifests(before, before).most_changed(7).size


def test_differences_name_what_differs_and_leave_counts_out(before: Manifest) -> None:
    first = before.metadata
    second = dataclasses.replace(
        first,
        epoch=3,
        options=first.options | {"novel": True},
        provenance=dataclasses.replace(first.provenance, model="RN50x4"),
        counts=dataclasses.replace(first.counts, queries=10**6),
    )
    assert differences(first, first) == {}
    assert differences(first, second) == {
        "epoch": (0, 3),
        "novel": (None, True),
        "provenance.model": (first.provenance.model, "RN50x4"),
    }
