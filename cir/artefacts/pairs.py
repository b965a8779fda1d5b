"""Pairs on their way to become queries, `pairs.parquet` or `.jsonl`: a row a pair.

`cir mine` writes them without captions; whoever writes the captions hands the file on. A file that
people make needs `reference_id`, `target_id` and `captions` alone.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from cir.artefacts.parquet import TEXT, TEXTS, verified_parquet, write_parquet
from cir.data.pairs import CATALOG_SOURCE, ProposedPair
from cir.disk.files import require_file, unreadable, written_aside
from cir.disk.reading import read_bytes
from cir.errors import DatasetError, UsageError
from cir.names import PAIRS_KEY

JSON_LINES: Final = ".jsonl"

_COLUMNS: Final = {
    "reference_id": TEXT,
    "target_id": TEXT,
    "category": TEXT,
    "captions": TEXTS,
    "target_ids": TEXTS,
    "source": TEXT,
    "query_id": TEXT,
    "distance": pa.float32(),
    "rank": pa.int32(),
    "target_distance": pa.float32(),
    "target_rank": pa.int32(),
}
_NEEDED: Final = ("reference_id", "target_id")
_LISTS: Final = tuple(name for name, kind in _COLUMNS.items() if kind == TEXTS)
_TEXTS: Final = tuple(name for name, kind in _COLUMNS.items() if kind == TEXT)
_RANKS: Final = tuple(name for name, kind in _COLUMNS.items() if kind == pa.int32())
_HIGHEST_RANK: Final = 2**31 - 1


@dataclass(frozen=True)
class PairFile:
    """A file of pairs."""

    pairs: tuple[ProposedPair, ...]
    metadata: Mapping[str, Any]
    """What they were mined from; empty where the file does not say."""
    sha256: str


def write_pairs(pairs: Sequence[ProposedPair], path: Path, metadata: Mapping[str, Any]) -> None:
    """Writes pairs aside and moves the file to `path`.

    Args:
        pairs: A row each.
        path: A name that ends in .jsonl is written as JSON lines, any other as Parquet.
        metadata: What they were mined from; .jsonl cannot hold it.

    Raises:
        CirError: the file cannot be written.
    """
    rows = [asdict(pair) for pair in pairs]
    if path.suffix == JSON_LINES:
        with written_aside(path) as aside, aside.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return
    columns = {name: [row[name] for row in rows] for name in _COLUMNS}
    table = pa.table(columns, schema=pa.schema(list(_COLUMNS.items())))
    write_parquet(table, path, key=PAIRS_KEY, metadata=metadata)


def read_pairs(path: Path | str) -> PairFile:
    """Reads pairs; columns that are missing are empty, and those of other names are passed over.

    Raises:
        DatasetError: the file is missing or damaged, or a row is malformed.
    """
    path = Path(path)
    require_file(path, DatasetError, f"no pairs at {path}: make them with cir mine, `propose=FILE`")
    rows, metadata, sha256 = _json_lines(path) if path.suffix == JSON_LINES else _parquet(path)
    pairs = tuple(_pair(row, f"{path}, {place}") for place, row in rows.items())
    return PairFile(pairs, metadata, sha256)


def require_unworded(path: Path, *, field: str = "out") -> None:
    """Raises UsageError where a file of pairs holds captions that cir did not write.

    People write captions into the file that cir made: replaced, they would be lost.

    Args:
        path: A file of pairs, or nothing.
        field: What the path is called.

    Raises:
        UsageError: it holds such captions.
        DatasetError: it is damaged, so that nobody can tell.
    """
    if not path.exists():
        return
    worded = [pair for pair in read_pairs(path).pairs if any(pair.captions)]
    others = sum(pair.source != CATALOG_SOURCE for pair in worded)
    if others:
        raise UsageError(
            f"{path} holds captions of {others:,} pairs that cir did not write, so it is not "
            f"replaced: move it away, or choose another `{field}`"
        )


_Rows = dict[str, Any]
"""What a file holds, by the name of its place there."""


def _json_lines(path: Path) -> tuple[_Rows, dict[str, Any], str]:
    try:
        content = read_bytes(path)
        # By line feeds alone: texts may hold what Unicode calls the end of a line.
        lines = enumerate(content.decode("utf-8").split("\n"), start=1)
        rows = {f"line {number}": json.loads(line) for number, line in lines if line.strip()}
        return rows, {}, hashlib.sha256(content).hexdigest()
    except (OSError, ValueError, RecursionError) as fault:
        raise DatasetError(unreadable(path, fault, "is not readable JSON lines: {}")) from fault


def _parquet(path: Path) -> tuple[_Rows, dict[str, Any], str]:
    try:
        with verified_parquet(path, edited_ok=True) as (file, digest):
            names = file.schema_arrow.names
            held = file.read([name for name in _COLUMNS if name in names]).to_pylist()
            metadata = json.loads((file.schema_arrow.metadata or {}).get(PAIRS_KEY, b"{}"))
            rows = {f"row {number}": row for number, row in enumerate(held)}
            return rows, metadata, digest.sha256
    except (pa.ArrowException, OSError, ValueError) as fault:
        raise DatasetError(unreadable(path, fault, "is damaged or no Parquet: {}")) from fault


def _pair(row: Any, where: str) -> ProposedPair:
    if not isinstance(row, dict):
        raise DatasetError(f"{where}: expected an object, found {type(row).__name__}")
    given = {name: row[name] for name in _COLUMNS if row.get(name) is not None}
    lacking = [name for name in _NEEDED if name not in given]
    if lacking:
        raise DatasetError(f"{where}: lacks {' and '.join(lacking)}")
    for fault in _faults(given):
        raise DatasetError(f"{where}: {fault}")
    lists = {name: tuple(given[name]) for name in _LISTS if name in given}
    ranks = {name: int(given[name]) for name in _RANKS if name in given}
    return ProposedPair(**given | lists | ranks)


def _faults(given: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the values of a row."""
    for name, value in given.items():
        if name in _TEXTS and not isinstance(value, str):
            yield f"expected `{name}` as a text, found {value!r}"
        elif name in _LISTS and not _are_texts(value):
            yield f"expected `{name}` as a list of texts, found {value!r}"
        elif name in _RANKS and not _is_rank(value):
            yield f"expected `{name}` as a whole number up to {_HIGHEST_RANK:,}, found {value!r}"
        elif name not in (*_TEXTS, *_LISTS) and type(value) not in (int, float):
            yield f"expected `{name}` as a number, found {value!r}"


def _is_rank(value: Any) -> bool:
    """Whether it is a whole number; pandas makes 7.0 of 7 where other rows have none."""
    return type(value) in (int, float) and 0 <= value <= _HIGHEST_RANK and value == int(value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
