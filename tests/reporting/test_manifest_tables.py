"""The cells of the tables against the rows that they are about."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from cir.artefacts.manifest import Manifest
from cir.artefacts.manifest_comparison import ManifestComparison, compare_manifests
from cir.artefacts.manifest_statistics import hubness
from cir.config import MiningOptions
from cir.data.dataset import Dataset
from cir.reporting import comparison_tables, manifest_tables
from cir.types import KINDS, SCOPES
from tests.support.mined import random_manifest
from tests.support.mining_worlds import random_world
from tests.support.worlds import random_embeddings


def mixed(dataset: Dataset, seed: int) -> Manifest:
    made = random_manifest(dataset, random_embeddings(dataset), most=6, seed=seed)
    rng = np.random.default_rng(seed)
    flat = len(made.negative_ids)
    return dataclasses.replace(
        made,
        target_ranks=rng.integers(1, 60, len(made), dtype=np.int32),
        candidates_in_band=rng.integers(0, 12, len(made), dtype=np.int32),
        negative_kinds=rng.choice(3, flat, p=(0.2, 0.5, 0.3)).astype(np.int8),
        negative_scopes=rng.integers(0, 2, flat, dtype=np.int8),
    )


@pytest.fixture(scope="module")
def manifest(dataset: Dataset) -> Manifest:
    return mixed(dataset, 0)


@pytest.fixture(scope="module")
def joined(manifest: Manifest, dataset: Dataset) -> ManifestComparison:
    return compare_manifests(manifest, mixed(dataset, 1))


def figures(cells: Sequence[str]) -> list[float]:
    return [float(cell.replace("%", "").replace(",", "")) for cell in cells]


def test_spreads_are_means_and_percentiles(manifest: Manifest) -> None:
    row = next(r for r in manifest_tables.distances_table(manifest).rows if r[0] == "target rank")
    ranks = sorted(manifest.target_ranks.tolist())
    assert row[1] == f"{sum(ranks) / len(ranks):.0f}"
    expected = [np.quantile(ranks, p) for p in (0.05, 0.25, 0.5, 0.75, 0.95)]
    assert figures(row[2:]) == [float(f"{value:.0f}") for value in expected]


def test_kinds_are_shares_of_all_negatives(manifest: Manifest) -> None:
    rows = manifest_tables.kinds_table(manifest).rows
    assert [row[0] for row in rows] == [*SCOPES[:2], "all"]
    pairs = list(zip(manifest.negative_scopes, manifest.negative_kinds, strict=True))
    for scope in range(2):
        shares = [100 * pairs.count((scope, kind)) / len(pairs) for kind in range(len(KINDS))]
        np.testing.assert_allclose(figures(rows[scope][1:]), [*shares, sum(shares)], atol=0.05001)
    assert rows[-1][-1] == "100.0 %"


def test_places_in_the_band_are_counted_by_tenths() -> None:
    world = random_world(seed=0, dim=8, images=80, count=40, categories=1, whole=False)
    made = world.mine(MiningOptions(sampling="random"))
    rows = manifest_tables.places_table(made).rows
    owners, margin = made.negative_positions.pairs()[0], made.metadata.margin
    places = [
        (float(distance) - float(made.target_distances[owner])) / margin
        for owner, distance, kind in zip(
            owners, made.negative_distances, made.negative_kinds, strict=True
        )
        if KINDS[kind] == "semi-hard"
    ]
    assert len(places) > 20
    assert all(0 < place < 1 for place in places)
    for tenth, (bound, bar) in enumerate(rows):
        assert float(bound) == pytest.approx((tenth + 1) / 10)
        within = [tenth <= 10 * place < tenth + 1 for place in places]
        assert float(bar.split()[-2]) == pytest.approx(100 * np.mean(within), abs=0.05001)


def test_without_semi_hard_negatives_there_is_no_place_in_the_band(manifest: Manifest) -> None:
    hard = np.zeros_like(manifest.negative_kinds)
    none = dataclasses.replace(manifest, negative_kinds=hard)
    table = manifest_tables.places_table(none)
    assert (list(table.rows), list(table.notes)) == ([], [])


def test_ranks_add_up_bin_by_bin(manifest: Manifest) -> None:
    rows = manifest_tables.ranks_table({"queries": manifest}).rows
    low = 0
    for bound, bar, so_far in rows:
        within = [low < rank <= int(bound) for rank in manifest.target_ranks]
        below = [rank <= int(bound) for rank in manifest.target_ranks]
        assert float(bar.split()[-2]) == pytest.approx(100 * np.mean(within), abs=0.05001)
        assert figures([so_far]) == pytest.approx([100 * np.mean(below)], abs=0.05001)
        low = int(bound)
    assert rows[-1][2] == "100.0 %"


def test_hubs_have_their_share_of_the_queries(manifest: Manifest) -> None:
    table = manifest_tables.hubs_table(manifest, hubness(manifest))
    for image_id, times, share in table.rows:
        assert int(times) == manifest.negative_ids.count(image_id)
        assert share == f"{100 * int(times) / len(manifest):.1f} %"
    assert "never used are unknown" in table.notes[-1]


def test_hardest_rows_name_their_nearest_negative(manifest: Manifest) -> None:
    rows = manifest_tables.hardest_table(manifest).rows
    assert len(rows) == 10
    for query_id, target_id, negative_id, to_target, to_negative, gap in rows:
        own = manifest.subset(np.array([manifest.query_ids.index(query_id)]))
        nearest = int(own.negative_distances.argmin())
        assert (target_id, negative_id) == (own.target_ids[0], own.negative_ids[nearest])
        assert to_target == f"{own.target_distances[0]:.3f}"
        assert to_negative == f"{own.negative_distances[nearest]:.3f}"
        assert float(gap) == pytest.approx(float(to_negative) - float(to_target), abs=0.0011)


def test_counts_that_differ_are_explained(manifest: Manifest) -> None:
    hubs = hubness(manifest)
    short = int((manifest.candidates_in_band < 6).sum())
    assert "dropped" in manifest_tables.counts_table(manifest, hubs).notes[0]
    counts = dataclasses.replace(manifest.metadata.counts, starved=short)
    agreed = dataclasses.replace(
        manifest, metadata=dataclasses.replace(manifest.metadata, counts=counts)
    )
    assert manifest_tables.counts_table(agreed, hubs).notes == ()


def test_a_file_that_cannot_tell_who_starved_says_so(manifest: Manifest) -> None:
    mixed = dataclasses.replace(
        manifest,
        metadata=dataclasses.replace(manifest.metadata, strategy="category-aware"),
        starved=np.arange(len(manifest)) % 2 == 0,
    )
    for made, of_rows, told in (
        (mixed, f"{(len(mixed) + 1) // 2:,}", True),
        (dataclasses.replace(mixed, starved=None), "", False),
    ):
        counts = manifest_tables.counts_table(made, hubness(made))
        assert [row[1] for row in counts.rows if row[0] == "starved"] == [of_rows]
        tables = (
            counts,
            manifest_tables.starved_table(made),
            comparison_tables.starved_change_table(compare_manifests(made, made)),
        )
        for table in tables:
            assert (manifest_tables.SHARES_UNTOLD in table.notes) is not told


def test_turnover_is_told_with_what_was_kept_and_new(joined: ManifestComparison) -> None:
    rows = {row[0]: row[1] for row in comparison_tables.turnover_table(joined).rows}
    sets = [
        [set(m.subset(np.array([row])).negative_ids) for row in range(len(joined))]
        for m in (joined.before, joined.after)
    ]
    pairs = list(zip(*sets, strict=True))
    kept = np.mean([len(was & now) / len(was) for was, now in pairs])
    new = np.mean([len(now - was) / len(now) for was, now in pairs])
    changed = np.mean([1 - len(was & now) / len(was | now) for was, now in pairs])
    assert rows["share kept"] == f"{kept:.2f}"
    assert rows["share new"] == f"{new:.2f}"
    assert rows["turnover (1 - Jaccard)"] == f"{changed:.2f}"


def test_before_stands_before_after(joined: ManifestComparison) -> None:
    was, now = joined.before, joined.after
    kinds = comparison_tables.kinds_change_table(joined).rows
    for row, manifest in zip(kinds, (was, now), strict=True):
        shares = [100 * np.mean(manifest.negative_kinds == kind) for kind in range(len(KINDS))]
        np.testing.assert_allclose(figures(row[1:-1]), shares, atol=0.05001)
    for category, queries, before, after, change in comparison_tables.starved_change_table(
        joined
    ).rows:
        rows = [row for row, name in enumerate(was.categories) if name == category]
        short = [int(sum(m.candidates_in_band[row] < 6 for row in rows)) for m in (was, now)]
        assert [int(queries), int(before), int(after)] == [len(rows), *short]
        assert int(change) == short[1] - short[0]
    moved = comparison_tables.changes_table(joined).rows
    assert moved[0][1:4] == (
        f"{was.target_distances.mean():.3f}",
        f"{now.target_distances.mean():.3f}",
        f"{(now.target_distances - was.target_distances).mean():+.3f}",
    )
    assert moved[3][1:3] == (f"{was.target_ranks.mean():.0f}", f"{now.target_ranks.mean():.0f}")


def test_the_most_changed_queries_are_told(joined: ManifestComparison) -> None:
    rows = comparison_tables.changed_table(joined).rows
    assert len(rows) == 10
    assert figures([row[1] for row in rows]) == sorted(figures([r[1] for r in rows]), reverse=True)
    for query_id, _, was, now, before, after in rows:
        row = joined.before.query_ids.index(query_id)
        assert was == f"{joined.before.target_distances[row]:.3f}"
        assert now == f"{joined.after.target_distances[row]:.3f}"
        assert int(before) == joined.before.target_ranks[row]
        assert int(after) == joined.after.target_ranks[row]
