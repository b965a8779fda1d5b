"""What cir made, told from what others made: only that is ever replaced.

A folder that cir makes holds a marker, `.cir.json`: what the folder is, what cir put into it, by
which version, when. A file is cir's where it reads as the artefact that it shall be. Folders of
older versions, which wrote no marker, are told by their files.
"""

import json
import mmap
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from cir import __version__, names
from cir.disk.contents import contents
from cir.types import Artefact, FolderArtefact

MARKER: Final = ".cir.json"
"""The file that marks a folder of cir."""

WORDS: Final[Mapping[Artefact, str]] = {
    "store": "an embedding store",
    "manifest": "a manifest",
    "pairs": "a file of pairs",
    "examples": "a file of training examples",
    "ranks": "a file of ranks",
    "figures": "a file of figures",
    "audit": "an audit",
    "page": "a page",
    "weights": "weights of cir-tiny",
    "dataset": "a dataset folder",
    "run": "a run folder",
    "checkpoint": "a checkpoint",
    "demo": "a demo",
    "submission": "a submission",
}
"""How each artefact is called in a message."""

_MADE: Final = "made"
_HOLDS: Final = "holds"
CONTENTS: Final = "contents"
"""Of a folder that is finished when it is marked: each path inside, and what tells its content."""
_FINISHED: Final = ("dataset", "checkpoint", "submission")
"""Artefacts that nothing comes to later."""
_LARGEST_JSON: Final = 1 << 28
"""Bytes of a JSON file that cir may have written, at most."""


def write_marker(folder: Path, made: FolderArtefact, holds: Iterable[str] | None = None) -> None:
    """Marks a folder as made by cir.

    Args:
        folder: A folder that nobody else sees yet: the marker is written as it is.
        made: What the folder is.
        holds: The names that cir puts into it; by default those that are there now.
    """
    if holds is None:
        holds = (entry.name for entry in folder.iterdir() if entry.name != MARKER)
    marker = {
        _MADE: made,
        _HOLDS: sorted(holds),
        **({CONTENTS: _contents(folder)} if made in _FINISHED else {}),
        "cir_version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    (folder / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")


def _contents(folder: Path) -> dict[str, str]:
    return {path: mark for path, mark in contents(folder).items() if path != MARKER}


def is_marked(folder: Path) -> bool:
    """Whether a folder holds a marker of cir, of whatever artefact."""
    return bool(marker_of(folder).get(_MADE))


def why_not_ours(path: Path, made: Artefact) -> str | None:
    """What tells the file or folder at `path` from an artefact of cir; None if nothing.

    Args:
        path: A plain file, or a folder.
        made: What it shall be.
    """
    if made in _READS_AS:
        reads = _READS_AS[made](path)
        return None if reads else f"does not read as {WORDS[made]} of cir"
    if not any(path.iterdir()):
        return None
    there = marker_of(path).get(_MADE)
    if there not in (None, made):
        return f"is {WORDS.get(there, there)}, not {WORDS[made]}"
    if names_of_cir(path, made) is None:
        return f"holds no {MARKER} and does not read as {WORDS[made]} of cir"
    return None


def names_of_cir(folder: Path, made: Artefact) -> Iterable[str] | None:
    """The names that cir put into a folder; None where it did not make it."""
    marker = marker_of(folder)
    if not marker:
        return _of_older_versions(folder, made)
    return marker[_HOLDS] if marker[_MADE] == made else None


def marker_of(folder: Path) -> dict[str, Any]:
    """What a folder's marker says; empty where it has none that reads as one."""
    marker = json_of(folder / MARKER)
    if not isinstance(marker, dict) or not isinstance(marker.get(_HOLDS), list):
        return {}
    return marker if isinstance(marker.get(_MADE), str) else {}


# ------------------------------------------------------------------------------------ files


def is_store(path: Path) -> bool:
    """HDF5 with the attributes of a store; a damaged one is still one."""
    return _holds(path, b"\x89HDF\r\n\x1a\n", b"weights_sha256", b"embed_dim")


def _is_parquet(key: bytes, path: Path) -> bool:
    return _holds(path, b"PAR1", key)


def _is_rows(key: bytes, keys: frozenset[str], path: Path) -> bool:
    """Parquet under a key, or JSON lines whose first has all of some keys."""
    if _is_parquet(key, path):
        return True
    return _has_keys(_first_line(path), keys)


def _first_line(path: Path) -> Any:
    """The value of the first of JSON lines; None where it is none."""
    try:
        with path.open("rb") as file:
            return json.loads(file.readline(_LARGEST_JSON))
    except (OSError, ValueError, RecursionError):
        return None


def _is_examples(path: Path) -> bool:
    """Parquet under its key, or JSON lines whose first anchor is of an image and a text."""
    if _is_parquet(names.EXAMPLES_KEY, path):
        return True
    first = _first_line(path)
    anchor = first.get("anchor") if _has_keys(first, {"anchor", "positive"}) else None
    return isinstance(anchor, dict) and anchor.keys() == {"image", "text"}


def reads_as_trained(path: Path) -> bool:
    """Whether a file records what a run was trained on."""
    return _is_parquet(names.TRAINED_KEY, path)


def reads_as_epochs(path: Path) -> bool:
    """Whether a file holds a line for each epoch, or nothing."""
    return path.is_file() and (not path.stat().st_size or _has_keys(_first_line(path), {"epoch"}))


def reads_as_settings(path: Path) -> bool:
    """Whether a file holds the settings of a run."""
    return _has_keys(json_of(path), _RUN_SETTINGS)


def reads_as_demo(path: Path) -> bool:
    """Whether a file holds the settings of a demo."""
    return _has_keys(json_of(path), _DEMO_SETTINGS)


def _is_page(path: Path) -> bool:
    return _holds(path, b"<!doctype html>", b'<meta name="generator" content="cir') or _holds(
        path, b"<!doctype html>", b"<footer>Written by cir "
    )


def _is_weights(path: Path) -> bool:
    return _holds(path, b"", f'"{names.MADE_BY_KEY}":"{names.PRETRAIN}"'.encode())


def _is_figures(path: Path) -> bool:
    figures = json_of(path)
    of_one = {"protocols", "embeddings", "cir_version"}
    of_two = {"comparisons", "before", "after"}
    return isinstance(figures, dict) and (of_one <= figures.keys() or of_two <= figures.keys())


def _is_audit(path: Path) -> bool:
    audit = json_of(path)
    return isinstance(audit, dict) and {"form", "splits", "duplicates", "complete"} <= audit.keys()


_READS_AS: Final[Mapping[Artefact, Callable[[Path], bool]]] = {
    "store": is_store,
    "manifest": partial(_is_parquet, names.MANIFEST_KEY),
    "pairs": partial(
        _is_rows, names.PAIRS_KEY, frozenset({"reference_id", "target_id", "captions", "source"})
    ),
    "examples": _is_examples,
    "ranks": partial(_is_parquet, names.RANKS_KEY),
    "figures": _is_figures,
    "audit": _is_audit,
    "page": _is_page,
    "weights": _is_weights,
}
"""Whether a file reads as each artefact that is one."""


def _holds(path: Path, start: bytes, *parts: bytes) -> bool:
    """Whether a file begins with some bytes and holds others, at whatever place."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
            return held[: len(start)] == start and all(held.rfind(part) >= 0 for part in parts)
    except (OSError, ValueError):
        return False


def json_of(path: Path) -> Any:
    """The value of a JSON file; None where it is none."""
    try:
        if path.stat().st_size > _LARGEST_JSON:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


# --------------------------------------------------------------- folders of older versions

_RECORDS: Final[Mapping[str, tuple[type, frozenset[str]]]] = {
    names.CATALOG_RECORDS: (dict, frozenset({names.RECORD_KEY, "left_out"})),
    names.SYNTHETIC_RECORDS: (dict, frozenset({names.RECORD_KEY, "seed"})),
    names.LEFT_OUT_FILE: (dict, frozenset({"source", "missing", "broken", "splits"})),
    names.ADDED_FILE: (list, frozenset({"pairs_sha256", "query_ids"})),
}
"""The files by which each command that makes a dataset folder is known, and what they hold."""
_RUN_SETTINGS: Final = frozenset({"manifest", "dataset", "embeddings", "out", "epochs", "loss"})
_DEMO_SETTINGS: Final = frozenset({"cir_version", "images", "epochs"})


def _of_older_versions(folder: Path, made: Artefact) -> Iterable[str] | None:
    """The names that cir put into a folder without a marker; None where it did not make it."""
    if made == "run":
        return names.RUN_NAMES if reads_as_settings(folder / names.RUN_FILE) else None
    if made == "demo":
        return names.DEMO_NAMES if reads_as_demo(folder / names.DEMO_FILE) else None
    if made == "checkpoint":
        metadata = json_of(folder / names.METADATA_FILE)
        return names.CHECKPOINT_NAMES if _has_keys(metadata, {"combiner", "provenance"}) else None
    if made == "submission":
        return _submitted(folder)
    return _drawn(folder)


def _drawn(folder: Path) -> Iterable[str] | None:
    """The names of a dataset folder."""
    if not any(_is_record(folder / name, *held) for name, held in _RECORDS.items()):
        return None
    links = (entry.name for entry in folder.iterdir() if entry.is_symlink())
    return names.IMAGES, names.CAPTIONS, names.IMAGE_SPLITS, *_RECORDS, *links


def _is_record(file: Path, kind: type, keys: frozenset[str]) -> bool:
    held = json_of(file)
    if not isinstance(held, kind):
        return False
    return all(_has_keys(each, keys) for each in (held if isinstance(held, list) else [held]))


def _submitted(folder: Path) -> Iterable[str] | None:
    """The names of a submission, which holds nothing else."""
    form = re.compile(r".+\.predict\.json|.+_pred_ranks_recall(_subset)?\.json")
    held = list(folder.iterdir())
    ours = all(form.fullmatch(e.name) and isinstance(json_of(e), list | dict) for e in held)
    return [each.name for each in held] if ours else None


def _has_keys(value: Any, keys: Iterable[str]) -> bool:
    return isinstance(value, dict) and set(keys) <= value.keys()
