"""Columns in files, read back by other libraries."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from cir.artefacts.columns import write_columns
from cir.errors import CirError, UsageError
from cir.names import EXAMPLES_KEY

COLUMNS: dict[str, Any] = {
    "anchor": [{"image": "ä.jpg", "text": 'is "red"\n'}, {"image": "b.jpg", "text": ""}],
    "positive": [{"image": "c.jpg"}, {"image": "d.jpg"}],
    "label": [1, 0],
}


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_pandas_reads_what_was_written(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"examples.{suffix}"
    write_columns(COLUMNS, path, {})
    frame = pd.read_parquet(path) if suffix == "parquet" else pd.read_json(path, lines=True)
    assert frame.to_dict("list") == COLUMNS
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_parquet_says_what_it_was_made_from(tmp_path: Path) -> None:
    write_columns(COLUMNS, tmp_path / "examples.parquet", {"format": "labeled-pair"})
    metadata = pq.read_schema(tmp_path / "examples.parquet").metadata
    assert json.loads(metadata[EXAMPLES_KEY]) == {"format": "labeled-pair"}


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_equal_columns_are_equal_bytes(suffix: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_columns(COLUMNS, tmp_path / f"{name}.{suffix}", {"seed": 0})
    one, two = (tmp_path / f"{name}.{suffix}" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CirError, match="cannot write") as raised:
        write_columns(COLUMNS, tmp_path / "file" / "examples.jsonl", {})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_columns_of_differing_length_are_one_line(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`columns` differ in length"):
        write_columns(COLUMNS | {"label": [1]}, tmp_path / f"examples.{suffix}", {})
    assert not list(tmp_path.iterdir())
