"""The library's face against plain loops over the definitions, and what it refuses."""

import doctest
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from cir.errors import UsageError, VectorError
from cir.mining import NO_ROW, mine_negatives
from cir.mining import corpus as module
from cir.types import KINDS

DIM, MARGIN = 8, 0.3


def world(queries: int = 20, corpus: int = 60, seed: int = 0) -> tuple[Any, list[list[int]], Any]:
    """Vectors of all lengths; one to three positives a query."""
    rng = np.random.default_rng(seed)
    anchors, table = rng.standard_normal((queries, DIM)), rng.standard_normal((corpus, DIM))
    positives = [
        rng.choice(corpus, 1 + number % 3, replace=False).tolist() for number in range(queries)
    ]
    return anchors * rng.uniform(0.1, 9, (queries, 1)), positives, table


def distances(anchors: Any, table: Any) -> Any:
    lengths = np.linalg.norm(anchors, axis=1)[:, None] * np.linalg.norm(table, axis=1)
    return 1 - anchors @ table.T / lengths


def kind_of(distance: float, target: float, margin: float) -> str:
    if distance < target:
        return "hard"
    return "semi-hard" if target < distance < target + margin else "easy"


def by_hand(
    anchors: Any, positives: Sequence[Sequence[int]], table: Any, strategy: str, count: int
) -> list[list[int]]:
    found = []
    for own, row in zip(positives, distances(anchors, table), strict=True):
        target = max(row[answer] for answer in own)
        wanted = [
            (row[c], c)
            for c in range(len(table))
            if c not in own and strategy in ("nearest", kind_of(row[c], target, MARGIN))
        ]
        found.append([c for _, c in sorted(wanted)[:count]])
    return found


def listed(rows: Any) -> list[list[int]]:
    return [[row for row in own if row != NO_ROW] for own in rows.tolist()]


@pytest.mark.parametrize("strategy", ["nearest", "hard", "semi-hard", "easy"])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_strategy_is_its_definition(strategy: Any, seed: int) -> None:
    anchors, positives, table = world(seed=seed)
    mined = mine_negatives(
        anchors, positives, table, strategy=strategy, num_negatives=6, margin=MARGIN
    )
    expected = by_hand(anchors, positives, table, strategy, 6)
    assert listed(mined.rows) == expected
    assert mined.starved.tolist() == [len(own) < 6 for own in expected]
    every = by_hand(anchors, positives, table, strategy, len(table))
    assert mined.candidates_in_band.tolist() == [len(own) for own in every]
    spaces = distances(anchors, table)
    for own, row, kinds in zip(expected, range(len(anchors)), mined.kinds, strict=True):
        target = max(spaces[row][answer] for answer in positives[row])
        assert mined.target_distances[row] == pytest.approx(target, abs=1e-6)
        named = [kind_of(spaces[row][c], target, MARGIN) for c in own]
        assert [KINDS[code] for code in kinds[: len(own)]] == named


def test_a_random_sample_is_of_all_that_are_no_answers() -> None:
    anchors, positives, table = world(corpus=9)
    mined = mine_negatives(anchors, positives, table, strategy="random", num_negatives=9)
    for own, found in zip(positives, listed(mined.rows), strict=True):
        assert sorted(found + own) == list(range(9))


def test_a_short_query_stays_short_unless_it_is_filled() -> None:
    anchors, positives, table = world()
    short = mine_negatives(anchors, positives, table, strategy="hard", num_negatives=50)
    filled = mine_negatives(
        anchors, positives, table, strategy="hard", num_negatives=50, fill="nearest"
    )
    assert short.starved.any()
    np.testing.assert_array_equal(short.counts, np.minimum(short.candidates_in_band, 50))
    assert (filled.counts == 50).all()
    np.testing.assert_array_equal(filled.starved, short.starved)


def test_one_positive_a_query_may_be_a_plain_row() -> None:
    anchors, positives, table = world()
    first = [own[0] for own in positives]
    expected = mine_negatives(anchors, [[row] for row in first], table)
    for rows in (first, np.array(first), np.array(first)[:, None]):
        np.testing.assert_array_equal(mine_negatives(anchors, rows, table).rows, expected.rows)


def test_excluded_rows_and_copies_of_a_positive_are_no_negatives() -> None:
    anchors, positives, table = world()
    for own in positives[:5]:
        table[(own[0] + 1) % len(table)] = 2 * table[own[0]]  # the same direction
    free = mine_negatives(
        anchors, positives, table, strategy="nearest", num_negatives=60, duplicate_threshold=1.01
    )
    excluded = [found[:2] for found in listed(free.rows)]
    kept = mine_negatives(
        anchors, positives, table, strategy="nearest", num_negatives=60, excluded=excluded
    )
    spaces = distances(table, table)
    for own, all_found, barred, found in zip(
        positives, listed(free.rows), excluded, listed(kept.rows), strict=True
    ):
        copies = {c for c in range(len(table)) if min(spaces[c][row] for row in own) <= 0.01}
        assert found == [c for c in all_found if c not in copies and c not in barred]
    assert any(len(found) < 60 - 5 for found in listed(kept.rows))


def test_half_precision_does_not_overflow() -> None:
    anchors, positives, table = world()
    halves = (300 * anchors).astype(np.float16)  # squares beyond what half precision holds
    mined = mine_negatives(halves, positives, table, margin=MARGIN)
    wide = mine_negatives(halves.astype(np.float64), positives, table, margin=MARGIN)
    np.testing.assert_array_equal(mined.rows, wide.rows)


def test_no_queries_give_an_empty_result() -> None:
    anchors, _, table = world()
    assert mine_negatives(anchors[:0], [], table).rows.shape == (0, 5)


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"strategy": "nearest", "sampling": "random"}, UsageError, "nearest'` takes no sample"),
        ({"strategy": "nearest", "fill": "random"}, UsageError, "filled up by the nearest"),
        ({"num_negatives": 0}, UsageError, "`num_negatives` is 0; expected .*at least 1"),
        ({"num_negatives": 61}, UsageError, "`num_negatives` is 61; expected at most 60"),
        ({"margin": 3}, UsageError, "`margin` is 3; expected 0 to 2"),
        (
            {"sampling": "random", "temperature": 0.1, "drop_window": 9},
            UsageError,
            "`temperature` is of `sampling='softmax'`, .* 'random': leave it out; `drop_window` is",
        ),
        (
            {"strategy": "nearest", "drop_window": 9},
            UsageError,
            "`drop_window` is of bands that are adaptive, and `strategy` is 'nearest'",
        ),
        ({"positives": [0] * 19}, UsageError, "`positives` is of 19 queries; expected 20"),
        ({"positives": [60] * 20}, UsageError, "`positives` names row 60; expected 0 to 59"),
        ({"positives": [-1] * 20}, UsageError, "`positives` names row -1"),
        ({"positives": [[1]] * 19 + [[]]}, UsageError, "`positives` is empty for query 19"),
        ({"excluded": [[1]]}, UsageError, "`excluded` is of 1 queries"),
        ({"corpus": np.zeros((0, DIM))}, VectorError, "`corpus` holds no vectors"),
        ({"corpus": np.ones((60, 3))}, VectorError, "`anchors` are 8-d, `corpus` is 3-d"),
    ],
    ids=str,
)
def test_what_cannot_be_is_one_line(
    changed: dict[str, Any], error: type[Exception], words: str
) -> None:
    anchors, positives, table = world()
    arguments = {"anchors": anchors, "positives": positives, "corpus": table} | changed
    with pytest.raises(error, match=words) as raised:
        mine_negatives(**arguments)
    assert "\n" not in str(raised.value)


def test_a_temperature_and_a_window_are_taken_where_they_decide() -> None:
    anchors, positives, table = world()
    warm, cold = (
        mine_negatives(anchors, positives, table, sampling="softmax", temperature=temperature)
        for temperature in (10.0, 1e-3)
    )
    assert warm.rows.tolist() != cold.rows.tolist()
    mine_negatives(anchors, positives, table, strategy="adaptive", drop_window=9)


@pytest.mark.parametrize(
    "made",
    [
        lambda array: array.tolist(),
        torch.tensor,
        pd.DataFrame,
        lambda array: pd.Series(array.tolist()),
        lambda array: pa.array(array.tolist()),
    ],
    ids=["lists", "tensors", "frames", "columns", "arrow"],
)
def test_lists_tensors_and_columns_give_what_arrays_give(made: Any) -> None:
    anchors, positives, table = world()
    first = np.array([rows[0] for rows in positives])
    expected = mine_negatives(anchors, first, table, excluded=first[:, None])
    mined = mine_negatives(made(anchors), made(first), made(table), excluded=made(first))
    np.testing.assert_array_equal(mined.rows, expected.rows)
    np.testing.assert_array_equal(mined.distances, expected.distances)


@pytest.mark.slow
def test_devices_that_mining_does_not_run_on_are_the_cpu() -> None:
    anchors, positives, table = world()
    expected = mine_negatives(anchors, positives, table)
    for device in ("cpu", torch.device("cpu"), torch.device("mps")):
        mined = mine_negatives(anchors, positives, table, device=device)
        np.testing.assert_array_equal(mined.rows, expected.rows)


@pytest.mark.parametrize("table", ["anchors", "corpus"])
@pytest.mark.parametrize(
    ("value", "words"), [(np.nan, "row 7 is not finite"), (0.0, "row 7 is all zero")]
)
def test_vectors_without_a_direction_are_refused(table: str, value: float, words: str) -> None:
    anchors, positives, corpus = world()
    arguments = {"anchors": anchors, "positives": positives, "corpus": corpus}
    arguments[table][7] = value  # type: ignore[call-overload]
    with pytest.raises(VectorError, match=f"1 of {len(arguments[table])} vectors.*{words}"):
        mine_negatives(**arguments)


def test_the_example_of_the_documentation_is_true() -> None:
    results = doctest.testmod(module)
    assert results.attempted > 5
    assert not results.failed
