"""Negatives dealt from pools, against plain lists."""

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cir.mining.plan import Draw, Plan
from cir.mining.scan.sampling_keys import NEAREST, SOFTMAX, UNIFORM
from cir.mining.selection import PoolResult, choose, draw_pools, fill_pools, needs_pool
from cir.types import NO_ROW, SCOPES, Scope

DRAWS = (
    Draw("same-category", 0.5, "semi-hard"),
    Draw("other-category", 0.0, "any"),
    Draw("other-category", 0.3, "hard"),
    Draw("any", 0.2, "any"),
)
QUERIES, GALLERY = 6, 12


def plan(**others: Any) -> Plan:
    return Plan(**{"draws": DRAWS, "num_negatives": 5, "margin": 0.2} | others)


def distance(query: int, row: int) -> float:
    """With ties."""
    return (query * 5 + row * 7) % 6 / 4


def pool_results(rng: np.random.Generator, scopes: list[Scope], kept: int) -> list[PoolResult]:
    """Rows in any order, each once a pool; the same may stand in several pools."""
    made = []
    for scope in scopes:
        rows = np.full((QUERIES, kept), NO_ROW)
        for own in rows:
            size = rng.integers(0, kept + 1)
            own[:size] = rng.permutation(GALLERY)[:size]
        far = np.array([[distance(q, r) for r in own] for q, own in enumerate(rows.tolist())])
        made.append(
            PoolResult(rows, np.where(rows == NO_ROW, np.nan, far).astype(np.float32), scope)
        )
    return made


def selected(
    asked: Plan, query: int, draws: list[PoolResult], fills: list[PoolResult]
) -> tuple[list[tuple[float, int, str]], bool]:
    """The negatives of one query as (distance, row, scope), and whether it was starved."""
    chosen: dict[int, str] = {}

    def take(pool: PoolResult, wanted: int) -> int:
        free = [row for row in pool.rows[query].tolist() if row != NO_ROW and row not in chosen]
        chosen.update(dict.fromkeys(free[:wanted], pool.scope))
        return wanted - len(free[:wanted])

    quota = asked.quota(np.array([query]))[0]
    wanted = [n for n, draw in zip(quota.tolist(), asked.draws, strict=True) if draw.share]
    owed = [take(*pair) for pair in zip(draws, wanted, strict=True)]
    starved = len(chosen) < asked.num_negatives
    for pool, short in zip(fills, [*owed, asked.num_negatives], strict=False):
        take(pool, min(short, asked.num_negatives - len(chosen)))
    return sorted((distance(query, row), row, scope) for row, scope in chosen.items()), starved


@pytest.mark.slow
@given(
    st.integers(0, 100_000),
    st.integers(1, 7),
    st.sampled_from(("nearest", None)),
    st.sampled_from((1, 1 << 22)),
)
def test_negatives_are_selected_as_from_plain_lists(
    seed: int, num_negatives: int, fill: Literal["nearest"] | None, at_once: int
) -> None:
    rng = np.random.default_rng(seed)
    asked = plan(num_negatives=num_negatives, fill=fill, seed=seed)
    scopes: list[Scope] = [draw.scope for draw in asked.shared]
    draws = pool_results(rng, scopes, num_negatives)
    fills = pool_results(rng, [*scopes, "any"], num_negatives) if fill else []
    selection, starved = choose(asked, draws, fills, comparisons=at_once)
    for query in range(QUERIES):
        expected, short = selected(asked, query, draws, fills)
        held = selection.rows[query] != NO_ROW
        assert starved[query] == short
        assert selection.count[query] == len(expected) == held.sum()
        assert held[: len(expected)].all()
        assert np.isnan(selection.distances[query, ~held]).all()
        columns = (
            x[query, held].tolist() for x in (selection.distances, selection.rows, selection.scopes)
        )
        found = [(d, r, SCOPES[s]) for d, r, s in zip(*columns, strict=True)]
        assert found == expected


def test_a_repeated_candidate_counts_for_the_first_draw_alone() -> None:
    def pool(rows: list[int], scope: Scope) -> PoolResult:
        return PoolResult(np.array([rows]), np.array([rows], np.float32), scope)

    asked = plan(
        draws=(Draw("same-category", 0.5, "hard"), Draw("any", 0.5, "any")), num_negatives=4
    )
    selection, starved = choose(
        asked, [pool([3, 1, NO_ROW, NO_ROW], "same-category"), pool([1, 3, 0, 2], "any")], []
    )
    assert selection.rows.tolist() == [[0, 1, 2, 3]]
    own = SCOPES.index("same-category")
    assert (selection.scopes[0] == own).tolist() == [False, True, False, True]
    assert not starved[0]


@pytest.mark.parametrize(
    ("sampling", "priorities"),
    [
        ("top", [NEAREST, NEAREST, UNIFORM]),
        ("random", [UNIFORM, UNIFORM, UNIFORM]),
        ("softmax", [SOFTMAX, SOFTMAX, SOFTMAX]),
    ],
)
def test_each_draw_with_a_share_has_a_pool(sampling: str, priorities: list[int]) -> None:
    pools = draw_pools(plan(sampling=sampling))
    assert [(pool.scope, pool.band) for pool in pools] == [
        ("same-category", "semi-hard"),
        ("other-category", "hard"),
        ("any", "any"),
    ]
    assert [pool.priority for pool in pools] == priorities


@pytest.mark.parametrize(
    ("fill", "priority"), [("nearest", NEAREST), ("random", UNIFORM), (None, None)]
)
def test_fills_come_from_the_scope_that_fell_short_and_last_from_anywhere(
    fill: Literal["nearest", "random"] | None, priority: int | None
) -> None:
    pools = fill_pools(plan(fill=fill))
    expected = ["same-category", "other-category", "any", "any"] if fill else []
    assert [pool.scope for pool in pools] == expected
    assert all(pool.band == "any" and pool.priority == priority for pool in pools)


def test_pools_by_chance_share_no_chance_and_others_are_shared() -> None:
    by_chance = plan(sampling="random", fill="random")
    indices = [pool.draw_index for pool in (*draw_pools(by_chance), *fill_pools(by_chance))]
    assert len(set(indices)) == len(indices)
    twice = (Draw("any", 0.5, "hard"), Draw("any", 0.5, "hard"))
    assert len(set(draw_pools(plan(draws=twice)))) == 1


def test_a_query_takes_from_no_pool_whose_draws_owe_it_nothing() -> None:
    draws = (Draw("any", 0.9, "hard"), Draw("any", 0.0, "easy"), Draw("any", 0.1, "semi-hard"))
    rare = plan(draws=draws, num_negatives=2)
    drawn, fills = draw_pools(rare), fill_pools(rare)
    taking, quota = needs_pool(rare, [*drawn, *fills], 50), rare.quota(np.arange(50))
    assert (taking[:, :2] == (quota[:, [0, 2]] > 0)).all()
    assert 0 < taking[:, 1].sum() < 50
    assert taking[:, 2:].all()


def test_a_pool_of_two_draws_is_for_the_queries_of_either() -> None:
    twice = plan(draws=(Draw("any", 0.5, "hard"), Draw("any", 0.5, "hard")), num_negatives=1)
    assert needs_pool(twice, draw_pools(twice)[:1], 50).all()
