"""What stands in an artefact's folder, at whatever depth, that cir did not put there as it is now.

A folder that was finished when it was marked has its contents recorded. Runs and demos grow: each
of their files is known by its name and by what it holds. Folders of older versions, whose markers
record less, are known by their names.
"""

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final, get_args

from cir import names
from cir.disk.contents import entries, is_as_recorded, is_folder
from cir.disk.hidden import is_hidden_of_cir
from cir.disk.recognition import (
    CONTENTS,
    MARKER,
    is_marked,
    json_of,
    marker_of,
    names_of_cir,
    reads_as_demo,
    reads_as_epochs,
    reads_as_settings,
    reads_as_trained,
    why_not_ours,
)
from cir.types import Artefact, FolderArtefact

_Part = Artefact | Callable[[Path], bool]
"""What stands at a place of a folder: an artefact, or a file that reads as something."""


def foreign(folder: Path, made: Artefact) -> list[str]:
    """The paths in an artefact's folder that cir did not put there, or not as they are now.

    A folder that cir did not make stands for all that it holds.
    """
    record = marker_of(folder).get(CONTENTS)
    if made in _PARTS:
        found = _in_growing(folder, _PARTS[made])
    elif isinstance(record, dict) and names_of_cir(folder, made) is not None:
        found = _beside_recorded(folder, record)
    else:
        found = _in_older(folder, made)
    return list(found)


def in_the_way(folder: Path, made: Artefact) -> list[str]:
    """Of `foreign`, what a run or a demo that goes on would replace."""
    return [path for path in foreign(folder, made) if _REPLACED.fullmatch(path)]


_REPLACED: Final = re.compile(
    rf"({names.DEMO_RUN}/)?({names.REPORT_FILE}|{names.MANIFESTS}/epoch-\d+\.parquet"
    rf"|{names.CHECKPOINTS}/({names.BEST}|{names.LAST})/"
    rf"(?!({'|'.join(map(re.escape, names.CHECKPOINT_NAMES))})$).*)",
    re.DOTALL,
)
"""What is replaced while training goes on, unread: a damaged checkpoint is told when it is read."""


def _held(folder: Path, below: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """What a folder holds beside its marker, and what cir keeps there while it writes."""
    for path, entry in entries(folder, below):
        if path != MARKER and not _is_passing(Path(entry.path)):
            yield path, entry


def _is_passing(path: Path) -> bool:
    if path.name.endswith("-retired") and path.name.startswith("."):
        return path.is_dir() and not path.is_symlink() and is_marked(path)
    return is_hidden_of_cir(path)


# ------------------------------------------------------------------------ finished folders


def _beside_recorded(folder: Path, record: Mapping[str, str], below: str = "") -> Iterator[str]:
    for path, entry in _held(folder, below):
        if not is_as_recorded(entry, path, record):
            yield path
        elif is_folder(entry):
            yield from _beside_recorded(folder, record, f"{path}/")


# ------------------------------------------------------------------------- growing folders


def _any_file(path: Path) -> bool:
    return path.is_file()


def _any(path: Path) -> bool:
    return True


_RUN: Final[Mapping[str, _Part]] = {
    re.escape(names.RUN_FILE): reads_as_settings,
    re.escape(names.METRICS_FILE): reads_as_epochs,
    re.escape(names.TIMES_FILE): reads_as_epochs,
    re.escape(names.TRAINED_FILE): reads_as_trained,
    re.escape(names.REPORT_FILE): "page",
    "|".join(map(re.escape, names.EVALUATED_FILES)): "figures",
    rf"{names.MANIFESTS}/epoch-\d+\.parquet": "manifest",
    f"{names.CHECKPOINTS}/({names.BEST}|{names.LAST})": "checkpoint",
    rf"{names.TENSORBOARD}/events\.out\.tfevents\.[^/]+": _any_file,
    f"{names.WANDB}/{names.WANDB_ID}": _any_file,
    # What Weights & Biases keeps of one run, which it alone knows.
    rf"{names.WANDB}/(offline-)?run-\d{{8}}_\d{{6}}-[^/]+": _any,
    rf"{names.WANDB}/(latest-run|debug[^/]*\.log|settings|wandb-resume\.json)": _any_file,
}
_DEMO: Final[Mapping[str, _Part]] = {
    re.escape(names.DEMO_FILE): reads_as_demo,
    re.escape(names.DEMO_EMBEDDINGS): "store",
    re.escape(names.DEMO_MANIFEST): "manifest",
    re.escape(names.REPORT_FILE): "page",
    names.DEMO_DATASET: "dataset",
    names.DEMO_RUN: "run",
}
_PARTS: Final[Mapping[Artefact, Mapping[str, _Part]]] = {"run": _RUN, "demo": _DEMO}
_FOLDERS: Final = frozenset({names.MANIFESTS, names.CHECKPOINTS, names.TENSORBOARD, names.WANDB})
"""The folders of a run, which are no artefacts of their own."""


def _in_growing(folder: Path, parts: Mapping[str, _Part], below: str = "") -> Iterator[str]:
    for path, entry in _held(folder, below):
        part = next((p for form, p in parts.items() if re.fullmatch(form, path)), None)
        if part is None and path in _FOLDERS and parts is _RUN:
            if is_folder(entry):
                yield from _in_growing(folder, parts, f"{path}/")
            elif not entry.is_symlink():
                yield path
        elif part is None:
            yield path
        elif not entry.is_symlink():
            yield from _in_part(path, Path(entry.path), part)


def _in_part(path: str, place: Path, part: _Part) -> Iterator[str]:
    """What is not cir's at the place of a part."""
    if isinstance(part, str) and part in get_args(FolderArtefact):
        within = foreign(place, part) if place.is_dir() else [""]
        yield from (f"{path}/{each}".rstrip("/") for each in within)
    elif not _reads_as(place, part):
        yield path


def _reads_as(place: Path, part: _Part) -> bool:
    if isinstance(part, str):
        return place.is_file() and why_not_ours(place, part) is None
    return part(place)


# --------------------------------------------------------------- folders of older versions

_INSIDE: Final = "inside"
"""Of a dataset: the names in each of its folders, or their number and a digest."""
_ANNOTATIONS: Final = {
    names.CAPTIONS: re.compile(r"cap\..+\.json", re.DOTALL),
    names.IMAGE_SPLITS: re.compile(r"split\..+\.json", re.DOTALL),
}


def _in_older(folder: Path, made: Artefact) -> Iterator[str]:
    known = {*(names_of_cir(folder, made) or ())}
    for path, entry in _held(folder):
        if path not in known or (is_folder(entry) and made != "dataset"):
            yield path
        elif is_folder(entry):
            yield from _in_older_dataset(folder, path)


def _in_older_dataset(dataset: Path, name: str) -> Iterator[str]:
    """What is not cir's in a folder of a dataset whose marker tells names alone, or is missing."""
    inside = marker_of(dataset).get(_INSIDE)
    top = [entry.name for _, entry in _held(dataset / name)]
    then = inside.get(name, []) if isinstance(inside, dict) else None
    if then and isinstance(then[0], int):
        if then != [len(top), _digest("/".join(top))]:
            yield f"other files in {name}"
            return
        then = top
    yield from _unnamed(dataset, f"{name}/", then, _ids(dataset))


def _unnamed(
    dataset: Path, below: str, then: list[Any] | None, ids: Collection[str]
) -> Iterator[str]:
    """The files that neither the marker nor the annotations name."""
    listed = frozenset(then or ())
    for path, entry in _held(dataset, below):
        at_top = path.count("/") == 1
        if at_top and then is not None:
            known = entry.name in listed
        else:
            known = is_folder(entry) or _is_named(path, ids)
        if not known:
            yield path
        elif is_folder(entry):
            yield from _unnamed(dataset, f"{path}/", then, ids)


def _is_named(path: str, ids: Collection[str]) -> bool:
    """Whether a file of a dataset is known by its annotations."""
    folder, _, name = path.partition("/")
    if folder in _ANNOTATIONS:
        return bool(_ANNOTATIONS[folder].fullmatch(name))
    return PurePosixPath(name).stem in ids or name == names.POINTER


def _ids(dataset: Path) -> set[str]:
    """The ids of photos in a dataset's splits."""
    listed = map(json_of, (dataset / names.IMAGE_SPLITS).glob("split.*.json"))
    return {i for ids in listed if isinstance(ids, list | dict) for i in ids if isinstance(i, str)}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
