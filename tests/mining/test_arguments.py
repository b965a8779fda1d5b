"""What the library takes as vectors, rows, numbers and devices, and what it refuses in one line."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cir import arguments as general
from cir.errors import UsageError
from cir.mining import arguments

# Past the check of types in tests: what is tried here is of the wrong type on purpose.
table = inspect.unwrap(arguments.table)
row_lists = inspect.unwrap(arguments.row_lists)
integer = inspect.unwrap(general.integer)
real = inspect.unwrap(general.real)
choice = inspect.unwrap(general.choice)
items = inspect.unwrap(arguments.items)
mining_device = inspect.unwrap(arguments.mining_device)

QUERIES, GALLERY = 4, 9


def refused(call: Callable[[], object], *words: str) -> None:
    with pytest.raises(UsageError) as raised:
        call()
    line = str(raised.value)
    assert "\n" not in line
    assert len(line) < 200
    assert all(word in line for word in ("`x`", *words))


@pytest.mark.parametrize(
    "made",
    [
        np.array,
        torch.tensor,
        lambda rows: torch.tensor(rows, dtype=torch.bfloat16),
        lambda rows: torch.tensor(rows).requires_grad_(),
        lambda rows: [torch.tensor(row) for row in rows],
        lambda rows: [torch.tensor(row, dtype=torch.bfloat16) for row in rows],
        lambda rows: [torch.tensor(row).requires_grad_() for row in rows],
        lambda rows: tuple(map(tuple, rows)),
        pd.DataFrame,
        pd.Series,
        pa.array,
        lambda rows: pa.chunked_array([rows]),
        lambda rows: pa.array(rows, pa.list_(pa.float32(), 2)),
        lambda rows: pa.table({"a": [row[0] for row in rows], "b": [row[1] for row in rows]}),
    ],
)
def test_a_table_may_be_anything_that_holds_numbers_in_rows(made: Any) -> None:
    rows = [[0.5, 1.0], [-2.0, 0.25], [3.0, 4.0]]
    read = table("x", made(rows))
    assert read.dtype in (np.float32, np.float64)
    assert read.tolist() == rows


def test_a_table_of_floats_is_not_copied() -> None:
    vectors = np.ones((3, 2), np.float32)
    assert np.shares_memory(table("x", vectors), vectors)


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1.0]},
        "10",
        None,
        3.0,
        [1.0, 2.0],
        [[1.0], [2.0, 3.0]],
        [["a", "b"]],
        np.ones((2, 2), np.bool_),
        np.ones((2, 2), np.complex128),
        np.ones((2, 2, 2)),
        np.ma.array(np.ones((2, 2)), mask=np.eye(2)),
        pd.DataFrame({"a": ["x"], "b": [1]}),
    ],
)
def test_what_is_no_table_is_refused(value: Any) -> None:
    refused(lambda: table("x", value), "expected a table of numbers")


@pytest.mark.parametrize(
    "made",
    [
        list,
        tuple,
        np.array,
        lambda rows: np.array(rows, np.int32),
        lambda rows: np.array(rows)[:, None],
        torch.tensor,
        pd.Series,
        lambda rows: pd.Series(rows, index=[7, 3, 0, 1]),
        lambda rows: pd.DataFrame({"row": rows}),
        pa.array,
        lambda rows: pa.chunked_array([rows]),
        lambda rows: [torch.tensor(row) for row in rows],
        lambda rows: [{row} for row in rows],
        lambda rows: pd.Series([[row] for row in rows]),
        lambda rows: pa.array([[row] for row in rows]),
        lambda rows: [np.int64(row) for row in rows],
    ],
)
def test_rows_may_be_lists_arrays_and_columns(made: Any) -> None:
    assert row_lists("x", made([3, 0, 8, 3]), QUERIES, GALLERY) == [[3], [0], [8], [3]]


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(0, GALLERY - 1), min_size=1, max_size=5), max_size=6))
def test_lists_of_rows_stay_as_they_are(rows: list[list[int]]) -> None:
    kinds: tuple[Callable[[list[list[int]]], Any], ...] = (
        list,
        lambda lists: [np.array(own) for own in lists],
        lambda lists: [torch.tensor(own) for own in lists],
        lambda lists: pa.array(lists, pa.list_(pa.int64())),
        lambda lists: pd.Series(lists, dtype=object),
    )
    for made in kinds:
        assert row_lists("x", made(rows), len(rows), GALLERY) == rows


WRONG_ROWS = (True, 1.0, 1.5, float("nan"), "1", b"1", None, {1: 2}, object())


@given(st.integers(0, QUERIES - 1), st.sampled_from(WRONG_ROWS), st.booleans())
def test_one_wrong_row_is_refused_by_its_query(query: int, wrong: Any, nested: bool) -> None:
    rows: list[Any] = [[0], [1, 2], [3], [4]]
    rows[query] = [0, wrong] if nested else wrong
    refused(lambda: row_lists("x", rows, QUERIES, GALLERY), f"for query {query}")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (dict.fromkeys(range(4), 0), "is a dict; expected a list of rows"),
        ("0123", "is '0123'; expected a list of rows"),
        (b"0123", "expected a list of rows"),
        (3, "is 3; expected a list of rows"),
        (None, "is None; expected a list of rows"),
        ({0, 1, 2, 3}, "is a set; expected a list of rows"),
        ([[0], [1], [2], [3, 0.5]], "holds 0.5 for query 3"),
        (iter([0, 1, 2, 3]), "expected a list of rows"),
        (np.ones(4, np.bool_), "expected rows, which are whole numbers"),
        (np.eye(4, 9, dtype=np.bool_), "expected rows, which are whole numbers"),
        (torch.ones(4, dtype=torch.bool), "expected rows, which are whole numbers"),
        (np.array([0.0, 1.0, 2.0, 3.0]), "expected rows, which are whole numbers"),
        (["0", "1", "2", "3"], "is '0' for query 0"),
        ([0, 1, 2], "is of 3 queries; expected 4"),
        ([0, 1, 2, 9], "names row 9; expected 0 to 8"),
        ([0, 1, 2, -1], "names row -1; expected 0 to 8"),
    ],
)
def test_what_is_no_rows_is_refused(value: Any, words: str) -> None:
    refused(lambda: row_lists("x", value, QUERIES, GALLERY), words)


@pytest.mark.parametrize(
    "value", [True, np.True_, 5.0, "5", None, [5], -1, 11, np.float32(5), torch.tensor(5)]
)
def test_a_whole_number_within_limits_is_nothing_else(value: Any) -> None:
    refused(lambda: integer("x", value, 0, 10), "expected 0 to 10")
    assert integer("x", np.int64(5), 0, 10) == integer("x", 5, 0) == 5


@pytest.mark.parametrize("value", [True, "0.5", None, [0.5], float("nan"), -0.1, 2.1, 10**400])
def test_a_number_within_limits_is_nothing_else(value: Any) -> None:
    refused(lambda: real("x", value, 0, 2), "expected 0 to 2")
    assert real("x", np.float32(0.5), 0, 2) == real("x", 0.5, 0, 1) == 0.5


@pytest.mark.parametrize("value", ["closest", None, True, 0, ["nearest"], {}])
def test_a_word_is_one_of_those_allowed(value: Any) -> None:
    refused(lambda: choice("x", value, ("nearest", "random")), "expected one of nearest, random")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (pd.Series(["a", "b"], index=[1, 0]), ["a", "b"]),
        (pa.array(["a", "b"]), ["a", "b"]),
        (pa.chunked_array([["a"], ["b"]]), ["a", "b"]),
        (["a", "b"], ["a", "b"]),
        (np.array(["a", "b"]), ["a", "b"]),
    ],
)
def test_items_stand_by_place_and_not_by_label(value: Any, expected: list[str]) -> None:
    read = items("x", value)
    assert [read[row] for row in range(len(read))] == expected


@pytest.mark.parametrize(
    "value",
    [
        "ab",
        {0: "a"},
        None,
        3,
        pd.DataFrame({"a": [1]}),
        iter("ab"),
        np.array(3),
        pa.table({"a": [1]}),
    ],
)
def test_items_that_cannot_be_counted_are_refused(value: Any) -> None:
    refused(lambda: items("x", value), "expected a list, or one column")


@pytest.mark.parametrize("name", ["cpu", "mps", "mps:0", "meta"])
def test_mining_runs_on_the_cpu_where_there_is_no_cuda(name: str) -> None:
    assert mining_device(torch.device(name)) == torch.device("cpu")


def test_auto_is_the_cpu_on_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for name in ("auto", "mps", "cpu"):
        assert mining_device(name) == torch.device("cpu")


def test_cuda_is_kept_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert mining_device("cuda:1") == torch.device("cuda:1")
    assert mining_device(torch.device("cuda")).type == "cuda"
    with pytest.raises(UsageError, match="`device` is cuda:2; this machine has no such one"):
        mining_device("cuda:2")


@pytest.mark.parametrize("value", ["graphics", "", 3.5, None, ["cpu"]])
def test_an_unknown_device_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match=r"`device` is .*; expected auto, cpu"):
        mining_device(value)
