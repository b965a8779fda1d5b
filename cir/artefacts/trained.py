"""What a run trained and chose on, `trained.parquet` of a run folder: one row per query.

Beside them stand the queries of the other splits that the dataset had then: those are the ones that
the run was meant to be judged by.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from cir.artefacts.parquet import TEXT, TEXTS, write_parquet
from cir.artefacts.store import Embeddings
from cir.data.queries import Query
from cir.disk.files import unreadable
from cir.errors import CheckpointError
from cir.names import TRAINED_KEY

Purpose = Literal["train", "dev", "held-out"]
"""What a query was for: to train on, to choose the best epoch by, or to judge by later."""

_USED: Final[tuple[Purpose, ...]] = ("train", "dev")
_COLUMNS: Final = {
    "purpose": TEXT,
    "query_id": TEXT,
    "category": TEXT,
    "reference_id": TEXT,
    "target_ids": TEXTS,
    "reference_sha256": TEXT,
    "target_sha256": TEXTS,
}


@dataclass(frozen=True)
class TrainedRecord:
    """What is known of a run's training, as judging it needs it."""

    image_ids: frozenset[str]
    """References and targets of the queries trained and chosen on."""
    image_sha256: frozenset[str]
    """SHA-256 of their files: the same photo has it under any id."""
    dev_references: frozenset[str]
    """References of the queries chosen on, which no query trained on has."""
    held_out: Mapping[str, frozenset[str]]
    """Reference to targets, of the queries that the dataset held out when the run began."""


def write_trained(
    path: Path,
    queries: Mapping[Purpose, Iterable[Query]],
    embeddings: Embeddings,
    origin: Mapping[str, Any],
) -> None:
    """Writes one row per query aside and moves the file to `path`.

    Args:
        path: The Parquet file; one that stands there is replaced.
        queries: By what they were for.
        embeddings: Knows the SHA-256 of images.
        origin: Where the queries came from, as JSON values.

    Raises:
        CirError: the file cannot be written.
    """
    digests = dict(zip(embeddings.images.keys, embeddings.image_sha256, strict=True))
    rows = [
        (
            *(purpose, query.id, query.category, query.reference_id, list(query.target_ids)),
            digests.get(query.reference_id, ""),
            [digests.get(target, "") for target in query.target_ids],
        )
        for purpose, some in queries.items()
        for query in some
    ]
    columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * len(_COLUMNS)
    named = dict(zip(_COLUMNS, map(list, columns), strict=True))
    table = pa.table(named, schema=pa.schema(list(_COLUMNS.items())))
    write_parquet(table, path, key=TRAINED_KEY, metadata=origin)


def read_trained(path: Path) -> TrainedRecord | None:
    """Reads a run's record; None where the run has none, as those of earlier versions.

    Raises:
        CheckpointError: the file is damaged.
    """
    if not path.exists():
        return None
    rows = _rows(path)
    used = [row for row in rows if row["purpose"] in _USED]
    held_out: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["purpose"] not in _USED:
            held_out[row["reference_id"]].update(row["target_ids"])
    return TrainedRecord(
        image_ids=frozenset(i for row in used for i in (row["reference_id"], *row["target_ids"])),
        image_sha256=frozenset(
            digest
            for row in used
            for digest in (row["reference_sha256"], *row["target_sha256"])
            if digest
        ),
        dev_references=frozenset(
            {row["reference_id"] for row in rows if row["purpose"] == "dev"}
            - {row["reference_id"] for row in rows if row["purpose"] == "train"}
        ),
        held_out={reference: frozenset(targets) for reference, targets in held_out.items()},
    )


def count_others(path: Path, queries: Mapping[Purpose, Iterable[Query]]) -> int:
    """How many queries stand in a run's record or among those given, but not in both alike.

    Args:
        path: The record, which is there.
        queries: By what they are for; other purposes of the record are passed over.

    Raises:
        CheckpointError: the file is damaged.
    """
    now = {
        (purpose, query.id, query.category, query.reference_id, tuple(query.target_ids))
        for purpose, some in queries.items()
        for query in some
    }
    names = ("purpose", "query_id", "category", "reference_id")
    then = {
        (*(row[name] for name in names), tuple(row["target_ids"]))
        for row in _rows(path)
        if row["purpose"] in queries
    }
    return len(now ^ then)


def _rows(path: Path) -> list[dict[str, Any]]:
    """The record's rows, by the names of `_COLUMNS`."""
    damaged = "is damaged ({}): what the run trained on is not known; train it again"
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            missing = set(_COLUMNS) - set(file.schema_arrow.names)
            if missing:
                raise ValueError(f"it lacks {', '.join(sorted(missing))}")
            rows: list[dict[str, Any]] = file.read(list(_COLUMNS)).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as fault:
        raise CheckpointError(unreadable(path, fault, damaged)) from fault
    return rows
