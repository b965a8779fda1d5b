"""Ranks and top-k lists against loops that sort whole galleries."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cir.errors import UsageError, VectorError
from cir.evaluation.retrieval import (
    best_targets,
    by_similarity,
    nearest_columns,
    rank_targets,
    retrievable,
)
from cir.types import NO_ROW

CPU = torch.device("cpu")


def ordered(query: np.ndarray, gallery: np.ndarray, excluded: int) -> list[int]:
    """Gallery rows by falling similarity, equal ones by row, without the excluded one."""
    similarity = [float(sum(a * b for a, b in zip(query, row, strict=True))) for row in gallery]
    rows = [row for row in range(len(gallery)) if row != excluded]
    return sorted(rows, key=lambda row: (-similarity[row], row))


def naive_rank(
    query: np.ndarray, gallery: np.ndarray, targets: Sequence[int], excluded: int
) -> int:
    order = ordered(query, gallery, excluded)
    return min(order.index(target) for target in targets) + 1


@st.composite
def worlds(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[list[int]], list[int]]:
    """Vectors with small whole components: exact products, many ties and duplicates."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    queries, gallery = draw(st.integers(1, 9)), draw(st.integers(3, 12))
    targets, excluded = [], []
    for _ in range(queries):
        rows = rng.permutation(gallery)
        targets.append(rows[: rng.integers(1, gallery - 1)].tolist())
        excluded.append(int(rng.choice([NO_ROW, rows[-1]])))
    dim = int(rng.integers(1, 4))
    vectors = [rng.integers(-1, 2, (count, dim)).astype(np.float32) for count in (queries, gallery)]
    return vectors[0], vectors[1], targets, excluded


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(worlds(), st.integers(1, 4))
def test_agrees_with_sorting_the_gallery(
    world: tuple[np.ndarray, np.ndarray, list[list[int]], list[int]], block: int
) -> None:
    queries, gallery, targets, excluded = world
    excluded_rows = np.array(excluded)
    ranks = rank_targets(
        queries,
        gallery,
        [np.array(t) for t in targets],
        excluded_rows,
        device=CPU,
        block_size=block,
    )
    expected = [
        naive_rank(q, gallery, t, r) for q, t, r in zip(queries, targets, excluded, strict=True)
    ]
    assert ranks.tolist() == expected
    k = len(gallery) - 1
    similarities = torch.from_numpy(queries) @ torch.from_numpy(gallery).T
    nearest = nearest_columns(retrievable(similarities, torch.from_numpy(excluded_rows)), k)
    for row, query, one in zip(nearest, queries, excluded, strict=True):
        assert row.tolist() == ordered(query, gallery, one)[:k]


def test_a_tie_goes_to_the_earlier_row() -> None:
    gallery = np.array([[1, 0], [1, 0], [1, 0]], dtype=np.float32)
    query = np.array([[1, 0]], dtype=np.float32)
    none = np.array([NO_ROW])
    for target in range(3):
        rank = rank_targets(query, gallery, [np.array([target])], none, device=CPU)
        assert rank.tolist() == [target + 1]


def test_removing_the_reference_brings_the_target_forward() -> None:
    gallery = np.array([[1, 0], [0.8, 0.6]], dtype=np.float32)
    query = np.array([[1, 0]], dtype=np.float32)
    kept, removed = (
        rank_targets(query, gallery, [np.array([1])], np.array([row]), device=CPU)
        for row in (NO_ROW, 0)
    )
    assert (kept.tolist(), removed.tolist()) == ([2], [1])


def test_no_queries_have_no_ranks() -> None:
    gallery, none = np.ones((3, 2), np.float32), np.zeros(0, np.int64)
    assert rank_targets(np.ones((0, 2), np.float32), gallery, [], none, device=CPU).shape == (0,)


@pytest.mark.gpu
def test_the_gpu_gives_the_same_ranks() -> None:
    if not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA device")
    rng = np.random.default_rng(0)
    queries, gallery = (rng.integers(-3, 4, (n, 8)).astype(np.float32) for n in (300, 500))
    targets = [rng.choice(500, 2, replace=False) for _ in range(300)]
    excluded = rng.integers(-1, 500, 300)
    targets = [rows[rows != row][:1] for rows, row in zip(targets, excluded, strict=True)]
    cpu, cuda = (
        rank_targets(queries, gallery, targets, excluded, device=torch.device(name))
        for name in ("cpu", "cuda")
    )
    assert (cpu == cuda).all()


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"gallery_vectors": np.ones((3, 5), np.float32)}, VectorError, "2-d and .* 5-d"),
        (
            {"query_vectors": np.full((2, 2), np.nan, np.float32)},
            VectorError,
            "row 0 is not finite",
        ),
        ({"targets": [np.array([0])]}, UsageError, "of 1 queries .* expected 2"),
        ({"excluded": np.array([NO_ROW])}, UsageError, "`excluded` of 1; expected 2"),
        ({"targets": [np.array([0]), np.array([3])]}, UsageError, r"of query 1 are rows \[3\]"),
        ({"targets": [np.array([-1]), np.array([0])]}, UsageError, r"of query 0 are rows \[-1\]"),
        ({"targets": [np.zeros(0, int), np.array([0])]}, UsageError, r"at least one of the 3"),
        ({"excluded": np.array([0, NO_ROW])}, UsageError, "none of them excluded"),
        ({"excluded": np.array([3, NO_ROW])}, UsageError, "`excluded` names row 3 for query 0"),
        ({"block_size": 0}, UsageError, "`block_size` is 0"),
    ],
)
def test_what_cannot_be_ranked_is_refused(changes, error, told) -> None:
    arguments = {
        "query_vectors": np.ones((2, 2), np.float32),
        "gallery_vectors": np.ones((3, 2), np.float32),
        "targets": [np.array([0]), np.array([1])],
        "excluded": np.array([NO_ROW, NO_ROW]),
    }
    with pytest.raises(error, match=told):
        rank_targets(**arguments | changes, device=CPU)


def test_padding_stays_behind_whatever_its_column_is_like() -> None:
    """`NO_ROW` reads column 0, which here is the nearest of all."""
    similarities = torch.tensor([[0.9, 0.1, 0.5], [0.9, 0.7, 0.2]])
    columns = torch.tensor([[1, 2, NO_ROW], [1, NO_ROW, NO_ROW]])
    ordered_columns = by_similarity(similarities, columns)
    assert ordered_columns.tolist() == [[2, 1, NO_ROW], [1, NO_ROW, NO_ROW]]


def test_a_query_without_a_target_has_neither_rank_nor_column() -> None:
    similarities = torch.tensor([[0.9, 0.1], [0.9, 0.7]])
    for targets in (
        torch.tensor([[1, 0], [NO_ROW, NO_ROW]]),
        torch.empty((2, 0), dtype=torch.int64),
    ):
        ranks, columns = best_targets(similarities, targets)
        assert (ranks[1].item(), columns[1].item()) == (0, NO_ROW)
