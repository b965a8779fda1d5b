"""The files of a dataset folder that hold each photo's title and attributes, of whoever made it."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from cir.disk.files import read_json
from cir.errors import DatasetError
from cir.names import RECORD_FILES, RECORD_KEY


def records_without(root: Path, absent: Collection[str]) -> dict[str, dict[str, Any]]:
    """Each file of records that a dataset folder holds, without the records of some photos.

    Args:
        root: The dataset folder.
        absent: The ids of those photos.

    Raises:
        DatasetError: a file is damaged.
    """
    files = {name: root / name for name in RECORD_FILES if (root / name).is_file()}
    return {name: _without(file, absent) for name, file in files.items()}


def damaged(file: Path, fault: Exception) -> DatasetError:
    """What is told of a file of records that does not hold what it should."""
    return DatasetError(f"{file} is damaged ({fault!r}): make the dataset again")


def _without(file: Path, absent: Collection[str]) -> dict[str, Any]:
    held: dict[str, Any] = read_json(file, DatasetError)
    try:
        photos = {photo: row for photo, row in held[RECORD_KEY].items() if photo not in absent}
    except (AttributeError, KeyError, TypeError) as fault:
        raise damaged(file, fault) from fault
    return held | {RECORD_KEY: photos}
