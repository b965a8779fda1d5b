"""Advice: figures counted by hand, and the sentences that they speak for."""

import dataclasses

import numpy as np
import pytest

from cir.config import MiningOptions
from cir.errors import UsageError
from cir.mining.advice import FILTERS, HARD, TOP, WAYS, WHOLE, Advice, advise, hide_targets
from cir.mining.machine import Machine
from tests.support.mining_worlds import World, random_world

FOUND = Advice(
    queries=1000,
    median_rank=20.0,
    nearest=3.0,
    in_first_ten=20.0,
    starved=0.0,
    look_alikes={0.99: 1.0, 0.95: 1.5, 0.9: 30.0},
    hiding=500,
    hidden=dict.fromkeys([*WAYS, *FILTERS], 0.1),
)


@pytest.fixture(scope="module")
def world() -> World:
    """Queries with three targets each."""
    made = random_world(seed=0, dim=6, images=90, count=130, categories=1, whole=False)
    ids, rng = made.embeddings.images.keys, np.random.default_rng(0)
    queries = [
        dataclasses.replace(
            query,
            captions=(f"text {number}",),
            target_ids=tuple(rng.choice([i for i in ids if i != query.reference_id], 3, False)),
        )
        for number, query in enumerate(made.queries)
    ]
    return dataclasses.replace(made, queries=queries)


def advised(world: World, options: MiningOptions) -> Advice:
    return advise(
        world.queries,
        world.embeddings,
        world.galleries,
        world.query_vectors,
        options,
        Machine(),
    )


@pytest.mark.slow
def test_hidden_targets_are_counted_as_by_hand(world: World) -> None:
    found = advised(world, MiningOptions(margin=0.5, duplicate_threshold=1.01))
    assert found.hiding == found.queries == 130
    assert set(found.hidden) == {*WAYS, *FILTERS}
    shown, _ = hide_targets(world.queries)
    changes = {**WAYS[HARD], "margin": 0.5, "duplicate_threshold": 1.01}
    mined = dataclasses.replace(world, queries=shown).mine(MiningOptions(**changes))
    targets = {query.id: query.target_ids for query in world.queries}
    pairs = zip(
        np.repeat(np.array(mined.query_ids), mined.negative_counts), mined.negative_ids, strict=True
    )
    wrong = [image in targets[query] for query, image in pairs]
    assert found.hidden[HARD] == pytest.approx(100 * np.mean(wrong))
    assert found.hidden[HARD] > 0
    assert found.hidden["random"] < 10


@pytest.mark.slow
def test_a_filter_that_conflicts_with_what_is_asked_for_is_not_tried(world: World) -> None:
    found = advised(world, MiningOptions(margin=0.5, range_max=8, duplicate_threshold=1.01))
    assert set(found.hidden) == {*WAYS, *FILTERS} - {"range_min=10"}


@pytest.mark.slow
def test_a_filter_that_is_asked_for_already_is_not_tried_in_another_strength(world: World) -> None:
    found = advised(world, MiningOptions(margin=0.5, relative_margin=0.2))
    assert set(found.hidden) == {*WAYS, *FILTERS} - {"relative_margin=0.05"}
    crowded = dataclasses.replace(found, hidden={**found.hidden, TOP: 50.0})
    assert not any("relative_margin=0.05" in sentence for sentence in crowded.sentences)


def test_filters_that_leave_no_negative_are_refused(world: World) -> None:
    with pytest.raises(
        UsageError, match=r"^none of 130 queries gets a negative: every candidate is excluded"
    ):
        advised(world, MiningOptions(max_similarity=-0.999))


def test_a_gallery_too_small_for_the_default_is_advised_for_one_negative() -> None:
    small = random_world(seed=0, dim=6, images=4, count=3, categories=1, whole=False)
    assert advised(small, MiningOptions(margin=0.5)).queries == 3
    with pytest.raises(UsageError, match="`num_negatives` is 6; expected at most"):
        advised(small, MiningOptions(num_negatives=6))


@pytest.mark.slow
def test_ranks_and_look_alikes_are_counted_as_by_hand(world: World) -> None:
    found = advised(world, MiningOptions(margin=0.5))
    mined = world.mine(MiningOptions(margin=0.5))
    assert found.median_rank == np.median(mined.target_ranks)
    assert found.nearest == pytest.approx(100 * np.mean(mined.target_ranks == 1))
    assert found.in_first_ten == pytest.approx(100 * np.mean(mined.target_ranks <= 10))
    images = world.embeddings.images
    unit = images.vectors / np.linalg.norm(images.vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -1)
    targets = images.rows(sorted({query.target_id for query in world.queries}))
    for threshold, share in found.look_alikes.items():
        assert share == pytest.approx(100 * np.mean(cosines[targets].max(axis=1) >= threshold))


def test_without_hidden_targets_nothing_is_estimated(world: World) -> None:
    single = dataclasses.replace(world, queries=hide_targets(world.queries)[0])
    found = advised(single, MiningOptions(margin=0.5))
    assert (found.hiding, found.hidden) == (0, {})
    assert found.sentences[0].startswith("only 0 queries list several targets")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"starved": 4.0}, ["4.0 % of the queries starve"]),
        ({"nearest": 60.0}, ["60 % of the targets are nearest of all"]),
        ({"look_alikes": {0.99: 1.0, 0.95: 9.0, 0.9: 30.0}}, ["9.0 % of the targets have"]),
        ({"hidden": {**FOUND.hidden, HARD: 2.0}}, ["hard negatives are answers too often"]),
    ],
    ids=str,
)
def test_each_figure_speaks_for_itself(changes: dict[str, object], said: list[str]) -> None:
    first, *others = dataclasses.replace(FOUND, **changes).sentences
    assert "holds few answers (0.10 %)" in first
    assert [line.startswith(start) for line, start in zip(others, said, strict=True)] == [
        True for _ in said
    ]


def test_a_crowded_top_speaks_for_the_whole_band_and_the_best_filter() -> None:
    hidden = {**FOUND.hidden, TOP: 3.0, WHOLE: 0.2, "range_min=10": 0.05}
    first, second = dataclasses.replace(FOUND, hidden=hidden).sentences
    assert "holds answers (3.00 % of its negatives, 0.20 % of those from all of it)" in first
    assert "`range_min=10` excludes most answers: 0.05 %" in second
