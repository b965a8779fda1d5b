"""The outputs of a command, claimed before its work begins.

A claim says that nothing which is not cir's would be lost, that no input would be, that each output
can be written, and that nobody else is writing it; it keeps others from writing until it ends.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import get_args

from cir.disk.files import (
    folder_written_aside,
    real,
    refuse_existing,
    require_plain,
    require_replaceable,
    require_resumable,
    sweep,
    unwritable,
)
from cir.disk.locks import held, remove_unheld
from cir.disk.recognition import is_marked
from cir.errors import CirError, UsageError
from cir.types import Artefact, FolderArtefact


@dataclass(frozen=True)
class Output:
    """What a command is to write."""

    field: str
    """What the path is called, for messages."""
    path: Path
    made: Artefact
    overwrite: bool = False
    """Whether one that is there is replaced."""
    goes_on: bool = False
    """Whether one that is there is gone on with."""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.made in get_args(FolderArtefact)


@contextmanager
def claimed(outputs: Sequence[Output], inputs: Mapping[str, Path]) -> Iterator[None]:
    """Holds outputs for writing while the block runs.

    What a killed command left beside them is removed. Claims of one thread may be nested.

    Args:
        outputs: What is to be written.
        inputs: What is read, by field.

    Raises:
        UsageError: an output exists and may not be replaced, is not cir's to replace, holds an
            input or another output, or is held by another process.
        CirError: it cannot be written.
    """
    for output in outputs:
        _require_name(output.path)
        _require_apart(output, inputs)
        try:
            _require_free(output)
        except CirError:
            remove_unheld(output.path)  # a refused command is no next writer, which would
            raise
    for one, other in combinations(outputs, 2):
        _require_distinct(one, other)
    with ExitStack() as stack:
        for output in outputs:
            stack.enter_context(held(output.path, field=output.field))
            sweep(real(output.path))
            _require_free(output)  # again: now nobody else changes it
        yield


@contextmanager
def folder_made(path: Path, made: FolderArtefact, inputs: Mapping[str, Path]) -> Iterator[Path]:
    """Claims a folder, and yields one beside it that takes its place (`folder_written_aside`).

    Args:
        path: The folder; one of cir and of this kind is replaced.
        made: What it is.
        inputs: What is read while it is made, by argument.

    Raises:
        UsageError: what is there is not cir's to replace, holds an input, or lies in one.
        CirError: it cannot be written.
    """
    claim = claimed([Output("out", path, made, overwrite=True)], inputs)
    with claim, folder_written_aside(path, made) as aside:
        yield aside


def _require_free(output: Output) -> None:
    """Raises unless nothing is there, or it may be replaced or gone on with."""
    path = output.path
    try:
        require_plain(path, folder=output.is_folder)
        if output.goes_on:
            require_resumable(path, output.made, field=output.field)
        else:
            refuse_existing(
                path,
                overwrite=output.overwrite,
                field=output.field,
                resumes=output.made == "run" and is_marked(path),
            )
            require_replaceable(path, output.made, field=output.field)
    except OSError as error:
        raise CirError(unwritable(path, error)) from error


def _require_name(path: Path) -> None:
    if path.name in ("", ".."):
        raise UsageError(f"cannot write {path}: expected a path that ends in a name")


def _require_apart(output: Output, inputs: Mapping[str, Path]) -> None:
    """Raises UsageError where an input would be replaced, or a folder written into one."""
    place = real(output.path)
    for name, path in inputs.items():
        source = real(path)
        if source == place or (source.is_relative_to(place) and not output.goes_on):
            raise UsageError(
                f"`{output.field}` is {output.path}, which {_holds(place, source)} the input "
                f"`{name}` ({path}): choose another `{output.field}`"
            )
        if output.made == "dataset" and place.is_relative_to(source) and source.is_dir():
            raise UsageError(
                f"`{output.field}` is {output.path}, inside of the input `{name}` ({path}): "
                f"choose another `{output.field}`"
            )


def _require_distinct(one: Output, other: Output) -> None:
    places = sorted((real(one.path), real(other.path)))
    if places[1].is_relative_to(places[0]):
        raise UsageError(
            f"`{one.field}` is {one.path} and `{other.field}` is {other.path}; expected outputs "
            f"apart from each other"
        )


def _holds(place: Path, source: Path) -> str:
    return "is" if place == source else "holds"
