"""Which rows a page shows, and what its cards say."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from cir.artefacts.manifest import Manifest
from cir.artefacts.manifest_comparison import compare_manifests
from cir.artefacts.manifest_statistics import hardest
from cir.data.dataset import Dataset
from cir.reporting.album import Album
from cir.reporting.triplets import comparison_triplets, manifest_triplets, spread_rows
from cir.types import KINDS, SCOPES
from tests.support.mined import random_manifest
from tests.support.ragged import without_negatives
from tests.support.worlds import random_embeddings, small_dataset

NONE = np.empty(0, dtype=np.int64)


@pytest.fixture(scope="module")
def manifest(dataset: Dataset) -> Manifest:
    return random_manifest(dataset, random_embeddings(dataset), most=14)


@pytest.mark.slow
def test_rare_categories_and_kinds_get_their_share(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    world = small_dataset(tmp_path_factory.mktemp("wide") / "dataset", queries=300)
    made = random_manifest(world, random_embeddings(world), most=1)
    kinds = np.zeros(len(made), dtype=np.int8)
    kinds[::50] = KINDS.index("easy")
    mixed = dataclasses.replace(made, negative_kinds=kinds)
    rows = spread_rows(mixed, NONE, 24)
    assert len(set(rows.tolist())) == 24
    pairs = Counter((mixed.categories[row], int(kinds[row])) for row in rows)
    assert set(pairs.values()) == {6}


def test_a_row_without_negatives_can_be_shown(manifest: Manifest) -> None:
    bare = without_negatives(manifest, 4)
    assert sorted(spread_rows(bare, NONE, 10**6).tolist()) == list(range(len(bare)))
    cards = manifest_triplets(bare, Album(None), 2000)
    (card,) = (card for card in cards if card.query_id == bare.query_ids[4])
    assert card.kinds == []
    assert not card.rows[0].photos


def test_the_first_come_first_and_no_row_twice(manifest: Manifest) -> None:
    first = hardest(manifest, 10)
    for most in (10, 17, 32):
        rows = spread_rows(manifest, first, most).tolist()
        assert rows[:10] == first.tolist()
        assert len(set(rows)) == len(rows) == most


def test_a_card_says_what_the_row_holds(manifest: Manifest) -> None:
    cards = {card.query_id: card for card in manifest_triplets(manifest, Album(None), 2000)}
    assert len(cards) == len(manifest)
    foremost = {manifest.query_ids[row] for row in hardest(manifest, 10)}
    for row, query_id in enumerate(manifest.query_ids):
        card, own = cards[query_id], manifest.subset(np.array([row]))
        (group,) = card.rows
        assert (card.category, card.captions) == (own.categories[0], own.captions[0])
        assert card.reference.image_id == own.reference_ids[0]
        assert card.targets[0].image_id == own.target_ids[0]
        tags = [tag.text for tag in card.tags]
        assert ("hardest" in tags) == (query_id in foremost)
        assert ("starved" in tags) == (own.candidates_in_band[0] < 14)
        order = sorted(range(len(own.negative_ids)), key=lambda n: own.negative_distances[n])[:10]
        assert [negative.image_id for negative in group.photos] == [
            own.negative_ids[n] for n in order
        ]
        said = [(n.note, n.kind, n.scope) for n in group.photos]
        several = len(set(manifest.negative_scopes.tolist())) > 1
        assert said == [
            (
                f"{float(own.negative_distances[n]) - float(own.target_distances[0]):+.4f}",
                KINDS[own.negative_kinds[n]],
                SCOPES[own.negative_scopes[n]] if several else "",
            )
            for n in order
        ]
        count = len(own.negative_ids)
        assert (f"nearest 10 of {count} negatives" in group.detail) == (count > 10)
    assert max(manifest.negative_counts) > 10


def test_two_manifests_mark_what_became_of_each_negative(
    manifest: Manifest, dataset: Dataset
) -> None:
    other = random_manifest(dataset, random_embeddings(dataset), most=9, seed=5)
    joined = compare_manifests(manifest, other)
    marks = set()
    for card in comparison_triplets(joined, Album(None), 2000):
        row = manifest.query_ids.index(card.query_id)
        sets = [set(m.subset(np.array([row])).negative_ids) for m in (manifest, other)]
        for group, here, there in zip(card.rows, sets, reversed(sets), strict=True):
            lone = "gone" if group.title == "Before" else "new"
            for negative in group.photos:
                assert negative.image_id in here
                assert negative.mark == ("kept" if negative.image_id in there else lone)
                marks.add(negative.mark)
    assert marks == {"kept", "gone", "new"}
