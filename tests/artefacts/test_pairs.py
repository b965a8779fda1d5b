"""Files of pairs: written, read back, made by hand, and damaged."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cir.artefacts.pairs import read_pairs, require_unworded, write_pairs
from cir.data.pairs import CATALOG_SOURCE, LeftOutPair, ProposedPair, by_reason
from cir.errors import DatasetError, UsageError
from tests.support.digests import sha256_of

MINED = ProposedPair(
    reference_id="a",
    target_id="b",
    category="dress",
    query_id="dress-train-00003",
    distance=0.25,
    rank=1,
    target_distance=0.5,
    target_rank=7,
)
WORDED = replace(
    MINED,
    captions=("is red", "is ”längst”", "of\u2028two\x85lines"),
    target_ids=("b", "c"),
    source="Ada",
)
BY_HAND = ProposedPair("a", "c", captions=("is blue",))


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_pairs_are_read_as_they_were_written(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"pairs.{suffix}"
    write_pairs([MINED, WORDED, BY_HAND], path, {"seed": 3})
    held = read_pairs(path)
    assert held.pairs == (MINED, WORDED, BY_HAND)
    assert held.metadata == ({"seed": 3} if suffix == "parquet" else {})
    assert held.sha256 == sha256_of(path)


def test_what_was_left_out_may_be_long(tmp_path: Path) -> None:
    """As where 90,000 of 100,000 pairs could not be worded."""
    left_out = {"the same attributes": [f"{number} to {number + 1}" for number in range(90_000)]}
    write_pairs([MINED], tmp_path / "pairs.parquet", {"left_out": left_out})
    assert read_pairs(tmp_path / "pairs.parquet").metadata == {"left_out": left_out}


def test_pandas_reads_them_and_gives_them_back(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    write_pairs([MINED], path, {})
    frame = pd.read_parquet(path)
    frame["captions"] = [["is red", "is longer"]]
    frame.assign(note="mine").to_parquet(path)
    assert read_pairs(path).pairs == (replace(MINED, captions=("is red", "is longer")),)


def test_a_table_of_pyarrow_takes_the_checksum_along_and_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    write_pairs([MINED], path, {"seed": 3})
    table = pq.read_table(path)
    texts = pa.array([["is red"]], table.schema.field("captions").type)
    column = table.schema.get_field_index("captions")
    pq.write_table(table.set_column(column, "captions", texts), path)
    held = read_pairs(path)
    assert held.pairs == (replace(MINED, captions=("is red",)),)
    assert held.metadata == {"seed": 3}
    assert held.sha256 == sha256_of(path)


def test_pandas_may_have_made_ranks_fractions(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    write_pairs([MINED, BY_HAND], path, {})
    frame = pd.read_parquet(path)
    assert frame["rank"].dtype == float
    frame.to_parquet(path)
    held = read_pairs(path).pairs
    assert held == (MINED, BY_HAND)
    write_pairs(held, path, {})
    assert read_pairs(path).pairs == (MINED, BY_HAND)


def test_a_file_by_hand_needs_ids_and_captions_alone(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    row = {"reference_id": "a", "target_id": "c", "captions": ["is blue"], "note": 3}
    path.write_text(f"{json.dumps(row)}\n\n")
    assert read_pairs(path).pairs == (BY_HAND,)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ([1], "line 3: expected an object, found list"),
        ({"reference_id": "a"}, "line 3: lacks target_id"),
        ({"reference_id": 1, "target_id": "b"}, "`reference_id` as a text, found 1"),
        (
            {"reference_id": "a", "target_id": "b", "captions": "is red"},
            "`captions` as a list of texts, found 'is red'",
        ),
        (
            {"reference_id": "a", "target_id": "b", "rank": "first"},
            "`rank` as a whole number up to 2,147,483,647, found 'first'",
        ),
        ({"reference_id": "a", "target_id": "b", "rank": 1.5}, "a whole number .*, found 1.5"),
        ({"reference_id": "a", "target_id": "b", "rank": True}, "a whole number .*, found True"),
        ({"reference_id": "a", "target_id": "b", "target_rank": 1e12}, "a whole number .*, found"),
        ({"reference_id": "a", "target_id": "b", "distance": True}, "a number, found True"),
    ],
)
def test_a_malformed_row_is_named(row: object, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    good = {"reference_id": "a", "target_id": "c"}
    path.write_text(f"{json.dumps(good)}\n\n{json.dumps(row)}\n")
    with pytest.raises(DatasetError, match=fault):
        read_pairs(path)


@pytest.mark.parametrize("name", ["pairs.parquet", "pairs.jsonl"])
def test_a_file_that_is_missing_or_damaged_is_one_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(DatasetError, match=r"no pairs at .*: make them with cir mine"):
        read_pairs(path)
    path.write_bytes(b"\xff{")
    with pytest.raises(DatasetError, match=f"{name} is ") as raised:
        read_pairs(path)
    assert "\n" not in str(raised.value)


def test_what_was_left_out_is_grouped_by_its_reason() -> None:
    left_out = [
        LeftOutPair(BY_HAND, "late"),
        LeftOutPair(MINED, "early"),
        LeftOutPair(MINED, "late"),
    ]
    assert by_reason(left_out) == {"late": ["a to c", "a to b"], "early": ["a to b"]}


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
@pytest.mark.parametrize(
    ("changed", "is_kept"),
    [
        ({}, False),
        ({"captions": ("is red",), "source": CATALOG_SOURCE}, False),
        ({"captions": ("is red",)}, True),
        ({"captions": ("is red",), "source": "me"}, True),
    ],
)
def test_captions_that_somebody_wrote_are_not_replaced(
    suffix: str, changed: dict[str, Any], is_kept: bool, tmp_path: Path
) -> None:
    path = tmp_path / f"pairs{suffix}"
    require_unworded(path)
    write_pairs([ProposedPair("a", "b"), ProposedPair("b", "c", **changed)], path, {})
    if is_kept:
        with pytest.raises(UsageError, match=r"captions of 1 pairs .* choose another `propose`"):
            require_unworded(path, field="propose")
    else:
        require_unworded(path, field="propose")
