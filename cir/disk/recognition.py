"""What cir made, told from what others made: only that is ever replaced.

A folder that cir makes holds a marker, `.cir.json`: what the folder is, what cir put into it, by
which version, when. A file is cir's where it reads as the artefact that it shall be. Folders of
older versions, which wrote no marker, are told by their files.
"""

import hashlib
import json
import mmap
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from cir import __version__
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
_INSIDE: Final = "inside"
"""Of a dataset: the names in each of its folders (of older versions, their number and a digest)."""
_WHILE_WRITTEN: Final = re.compile(
    r"\..+(\.lock|\.parts|-retired|-[0-9a-f]{8}(\.[^.]*)?)|\.DS_Store"
)
"""Names that cir gives while it writes, and that a file manager gives."""
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
        **({_INSIDE: _names_inside(folder)} if made == "dataset" else {}),
        "cir_version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    (folder / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")


def is_marked(folder: Path) -> bool:
    """Whether a folder holds a marker of cir, of whatever artefact."""
    return bool(_marker(folder).get(_MADE))


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
    there = _marker(path).get(_MADE)
    if there not in (None, made):
        return f"is {WORDS.get(there, there)}, not {WORDS[made]}"
    if _names_of_cir(path, made) is None:
        return f"holds no {MARKER} and does not read as {WORDS[made]} of cir"
    return None


def foreign(folder: Path, made: Artefact) -> list[str]:
    """The names in an artefact's folder that cir did not put there."""
    known = {MARKER, *(_names_of_cir(folder, made) or ())}
    others = [name for name in _names_in(folder) if name not in known]
    if made == "dataset":
        return [*others, *_foreign_in_dataset(folder, others)]
    return [*others, *_foreign_in_parts(folder, _PARTS.get(made, {}))]


def _foreign_in_parts(
    folder: Path, parts: Mapping[str, FolderArtefact | re.Pattern[str]]
) -> list[str]:
    """The names in some folders of a folder: artefacts of their own, or names of a form."""
    return [
        f"{name}/{held}"
        for name, part in parts.items()
        if (folder / name).is_dir() and not (folder / name).is_symlink()
        for held in _foreign_in_part(folder / name, part)
    ]


def _foreign_in_part(folder: Path, part: FolderArtefact | re.Pattern[str]) -> list[str]:
    if isinstance(part, str):
        return foreign(folder, part)
    return [held for held in _names_in(folder) if not part.fullmatch(held)]


def _foreign_in_dataset(folder: Path, others: Collection[str]) -> list[str]:
    """The names in the folders of a dataset that cir did not put there."""
    then = _marker(folder).get(_INSIDE)
    if not isinstance(then, dict):
        return []
    return [
        each
        for name, now in _names_inside(folder).items()
        if name not in others
        for each in _added(name, now, then.get(name, []))
    ]


def _added(folder: str, now: list[str], then: list[Any]) -> list[str]:
    """The names that a folder has beyond those that it began with."""
    if then and isinstance(then[0], int):  # of an older version
        same = then == [len(now), _digest("/".join(now))]
        return [] if same else [f"other files in {folder}"]
    known = set(then)
    return [f"{folder}/{name}" for name in now if name not in known]


def _names_inside(folder: Path) -> dict[str, list[str]]:
    """The names in each folder of a folder; what a link leads to is not inside."""
    inside = (entry for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink())
    return {entry.name: _names_in(entry) for entry in sorted(inside)}


def _names_in(folder: Path) -> list[str]:
    names = sorted(entry.name for entry in folder.iterdir())
    return [name for name in names if not _WHILE_WRITTEN.fullmatch(name)]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _names_of_cir(folder: Path, made: Artefact) -> Iterable[str] | None:
    """The names that cir put into a folder; None where it did not make it."""
    marker = _marker(folder)
    return marker[_HOLDS] if marker else _of_older_versions(folder, made)


def _marker(folder: Path) -> dict[str, Any]:
    """What a folder's marker says; empty where it has none that reads as one."""
    marker = _json(folder / MARKER)
    if not isinstance(marker, dict) or not isinstance(marker.get(_HOLDS), list):
        return {}
    return marker if isinstance(marker.get(_MADE), str) else {}


# ------------------------------------------------------------------------------------ files


def _is_store(path: Path) -> bool:
    """HDF5 with the attributes of a store; a damaged one is still one."""
    return _holds(path, b"\x89HDF\r\n\x1a\n", b"weights_sha256", b"embed_dim")


def _is_parquet(key: bytes, path: Path) -> bool:
    return _holds(path, b"PAR1", key)


def _is_rows(key: bytes, names: frozenset[str], path: Path) -> bool:
    """Parquet under a key, or JSON lines whose first has all of some names."""
    if _is_parquet(key, path):
        return True
    try:
        with path.open("rb") as file:
            first = json.loads(file.readline(_LARGEST_JSON))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(first, dict) and names <= first.keys()


def _is_page(path: Path) -> bool:
    return _holds(path, b"<!doctype html>", b'<meta name="generator" content="cir') or _holds(
        path, b"<!doctype html>", b"<footer>Written by cir "
    )


def _is_weights(path: Path) -> bool:
    return _holds(path, b"", b'"made_by":"cir pretrain"')


def _is_figures(path: Path) -> bool:
    figures = _json(path)
    of_one = {"protocols", "embeddings", "cir_version"}
    of_two = {"comparisons", "before", "after"}
    return isinstance(figures, dict) and (of_one <= figures.keys() or of_two <= figures.keys())


def _is_audit(path: Path) -> bool:
    audit = _json(path)
    return isinstance(audit, dict) and {"form", "splits", "duplicates", "complete"} <= audit.keys()


_READS_AS: Final[Mapping[Artefact, Callable[[Path], bool]]] = {
    "store": _is_store,
    "manifest": partial(_is_parquet, b"cir.manifest"),
    "pairs": partial(
        _is_rows, b"cir.pairs", frozenset({"reference_id", "target_id", "captions", "source"})
    ),
    "examples": partial(_is_rows, b"cir.export", frozenset({"anchor", "positive"})),
    "ranks": partial(_is_parquet, b"cir.evaluation"),
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


def _json(path: Path) -> Any:
    """The value of a JSON file; None where it is none."""
    try:
        if path.stat().st_size > _LARGEST_JSON:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


# --------------------------------------------------------------- folders of older versions

RUN_FILES: Final = (
    *("config.json", "metrics.jsonl", "times.jsonl", "trained.parquet", "report.html"),
    *("val.json", "test.json"),
    *("manifests", "checkpoints", "tensorboard", "wandb"),
)
"""What a run folder holds."""
DEMO_FILES: Final = (
    *("demo.json", "dataset", "embeddings.h5", "manifest.parquet", "run", "report.html"),
)
"""What a demo's folder holds."""
_PARTS: Final[Mapping[Artefact, Mapping[str, FolderArtefact | re.Pattern[str]]]] = {
    "run": {
        "checkpoints": re.compile("best|last"),
        "checkpoints/best": "checkpoint",
        "checkpoints/last": "checkpoint",
        "manifests": re.compile(r"epoch-\d+\.parquet"),
        "tensorboard": re.compile(r"events\.out\.tfevents\..*"),
    },
    "demo": {"dataset": "dataset", "run": "run"},
}
"""What the folders of a folder hold: an artefact of its own, or names of a form."""
_CHECKPOINT_FILES: Final = (
    *("combiner.safetensors", "clip.safetensors", "trainer.pt", "metadata.json"),
)
_RECORDS: Final[Mapping[str, tuple[type, frozenset[str]]]] = {
    "catalog.json": (dict, frozenset({"photos", "left_out"})),
    "synthetic.json": (dict, frozenset({"photos", "seed"})),
    "left_out.json": (dict, frozenset({"source", "missing", "broken", "splits"})),
    "added.json": (list, frozenset({"pairs_sha256", "query_ids"})),
}
"""The files by which each command that makes a dataset folder is known, and what they hold."""
_RUN_SETTINGS: Final = frozenset({"manifest", "dataset", "embeddings", "out", "epochs", "loss"})


def _of_older_versions(folder: Path, made: Artefact) -> Iterable[str] | None:
    """The names that cir put into a folder without a marker; None where it did not make it."""
    if made == "run":
        return RUN_FILES if _has_keys(_json(folder / "config.json"), _RUN_SETTINGS) else None
    if made == "demo":
        settings = _json(folder / "demo.json")
        return DEMO_FILES if _has_keys(settings, {"cir_version", "images", "epochs"}) else None
    if made == "checkpoint":
        metadata = _json(folder / "metadata.json")
        return _CHECKPOINT_FILES if _has_keys(metadata, {"combiner", "provenance"}) else None
    if made == "submission":
        return _submitted(folder)
    return _drawn(folder)


def _drawn(folder: Path) -> Iterable[str] | None:
    """The names of a dataset folder."""
    if not any(_is_record(folder / name, *held) for name, held in _RECORDS.items()):
        return None
    links = (entry.name for entry in folder.iterdir() if entry.is_symlink())
    return "images", "captions", "image_splits", *_RECORDS, *links


def _is_record(file: Path, kind: type, keys: frozenset[str]) -> bool:
    held = _json(file)
    if not isinstance(held, kind):
        return False
    return all(_has_keys(each, keys) for each in (held if isinstance(held, list) else [held]))


def _submitted(folder: Path) -> Iterable[str] | None:
    """The names of a submission, which holds nothing else."""
    names = [entry.name for entry in folder.iterdir()]
    form = re.compile(r".+\.predict\.json|.+_pred_ranks_recall(_subset)?\.json")
    return names if all(form.fullmatch(name) for name in names) else None


def _has_keys(value: Any, keys: Iterable[str]) -> bool:
    return isinstance(value, dict) and set(keys) <= value.keys()
