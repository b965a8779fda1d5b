"""Files written aside and moved into place, so that a reader never meets half of one."""

import ctypes
import json
import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from cir.disk.foreign import foreign, in_the_way
from cir.disk.hidden import aside_of, is_aside_of, retired_of
from cir.disk.reading import read_text
from cir.disk.recognition import is_marked, why_not_ours, write_marker
from cir.errors import CirError, UsageError, is_of_the_system, one_line, reason_of
from cir.types import Artefact, FolderArtefact

_NAMELESS: Final = ("", "..")
"""Names of `.`, `/` and `..`: nothing can be put in their place."""
_SHOWN: Final = 3
"""Names that a message lists."""
_SETTLING: Final = 0.5
"""Seconds that two renames take at most."""
_FEW: Final = 32
"""Files and folders of an artefact that are flushed one by one."""
_EXCHANGE: Final = 2
"""renameat2's flag to exchange two names in one step."""
_HERE: Final = -100
"""The descriptor that stands for the working folder."""


def refuse_existing(
    path: Path, *, overwrite: bool, field: str = "out", resumes: bool = False
) -> None:
    """Raises UsageError where `path`, the value of `field`, exists and may not be replaced.

    Where `resumes` is true, the message says that it may be gone on with.
    """
    if path.exists() and not overwrite:
        go_on = "`resume=True` to go on with it, " if resumes else ""
        raise UsageError(
            f"{path} exists: pass {go_on}`overwrite=True` to replace it, or another `{field}`"
        )


def real(path: Path) -> Path:
    """Where a path leads to, links followed; `Path.resolve` raises where they lead in a circle."""
    return Path(os.path.realpath(path))


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write a file at; moves it into place when the block succeeds.

    Where `path` is a link, the file that it leads to is replaced. On any failure the file aside is
    removed and what stood at `path` before stays untouched.

    Raises:
        UsageError: a folder, a device, a pipe or a socket is there.
        CirError: the folder cannot be written to, or the disk is full.
    """
    place = _place(path)
    try:
        require_plain(path, folder=False)
        place.parent.mkdir(parents=True, exist_ok=True)
        with _unfinished(place) as aside:
            yield aside
            _flush_to_disk(aside)
            os.replace(aside, place)
    except OSError as error:
        raise CirError(unwritable(path, error)) from error


@contextmanager
def folder_written_aside(
    path: Path, made: FolderArtefact, holds: Iterable[str] | None = None
) -> Iterator[Path]:
    """As `written_aside`, for a whole folder, which is marked; a folder at `path` is replaced.

    Readers meet the old folder or the new one. Where the system cannot exchange two folders in one
    step, the old one waits under another name for the instant between two renames; `settle` brings
    it back should the program be killed just then.

    Args:
        path: The folder.
        made: What it is, for its marker.
        holds: The names that cir may put into it later; by default those of the block's end.

    Raises:
        UsageError: what is there is no folder of cir, or not of this kind.
        CirError: the parent folder cannot be written to, or the disk is full.
    """
    place = _place(path)
    try:
        require_plain(path, folder=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        settle(place)
        require_replaceable(path, made)
        with _unfinished(place) as aside:
            aside.mkdir()
            write_marker(aside, made, ())
            yield aside
            write_marker(aside, made, holds)
            _flush_folder(aside)
            require_replaceable(path, made)  # again: what came while the block ran is kept too
            _replace_folder(aside, place, made)
    except OSError as error:
        raise CirError(unwritable(path, error)) from error


def require_plain(path: Path, *, folder: bool) -> None:
    """Raises UsageError unless nothing stands at `path`, or what may stand there.

    A rename in the place of a device or a pipe would take it from every other program.

    Raises:
        UsageError: something else is there.
        OSError: the system does not tell.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise UsageError(f"cannot write {path}: it is no regular file; choose another path")
    if stat.S_ISDIR(mode) is not folder:
        there, expected = ("a file", "a folder") if folder else ("a folder", "a file")
        raise UsageError(f"cannot write {path}: it is {there}, expected {expected}")


def require_replaceable(path: Path, made: Artefact, *, field: str = "out") -> None:
    """Raises UsageError where replacing `path` would lose what is not cir's."""
    require_ours(path, made, field=field)
    _require_none(path, foreign(path, made) if path.is_dir() else [], field)


def require_resumable(path: Path, made: Artefact, *, field: str = "out") -> None:
    """Raises UsageError where going on with `path` is not possible, or would lose others' files."""
    require_ours(path, made, field=field)
    _require_none(path, in_the_way(path, made) if path.is_dir() else [], field)


def _require_none(path: Path, others: list[str], field: str) -> None:
    if others:
        raise UsageError(
            f"{path} also holds {', '.join(others[:_SHOWN])}, which cir did not make, or not as it "
            f"is now, so it is not replaced: move that away, or choose another `{field}`"
        )


def require_ours(path: Path, made: Artefact, *, field: str = "out") -> None:
    """Raises UsageError where what stands at `path` is not cir's, or another artefact."""
    fault = why_not_ours(path, made) if path.exists() else None
    if fault:
        raise UsageError(
            f"{path} {fault}, so it stays as it is: choose another `{field}`, or move it away"
        )


def settle(path: Path) -> None:
    """Ends a folder replacement that was killed between its two renames.

    A replacement that is under way ends by itself within the wait.
    """
    if path.name in _NAMELESS:
        return  # a folder that is stood in is not replaced
    retired = retired_of(path)
    if not _is_marked_folder(retired):
        return
    end = time.monotonic() + _SETTLING
    while not path.exists() and retired.exists() and time.monotonic() < end:
        time.sleep(_SETTLING / 20)
    with suppress(OSError):
        if not path.exists():
            retired.rename(path)


def sweep(path: Path) -> None:
    """Removes what killed programs left beside `path` while they wrote it.

    Call it while no other process can be writing there (`cir.disk.locks`).
    """
    settle(path)
    try:
        left = [Path(entry) for entry in os.scandir(path.parent) if is_aside_of(path, entry.name)]
    except OSError:
        return
    for aside in left:
        _remove(aside)
    if _is_marked_folder(retired_of(path)):
        _remove(retired_of(path))


def discard_unfinished() -> None:
    """Removes what this process has begun to write, where it ends before it can."""
    for aside in tuple(_under_way):
        _remove(aside)


@contextmanager
def _unfinished(place: Path) -> Iterator[Path]:
    """Yields a path beside `place`, and removes what stands there after the block."""
    aside = aside_of(place)
    _under_way.add(aside)
    try:
        yield aside
    finally:
        _remove(aside)
        _under_way.discard(aside)


_under_way: Final[set[Path]] = set()
"""What this process is writing aside."""


def _remove(aside: Path) -> None:
    """Removes a file, or a folder that is marked or empty: no other is cir's."""
    if not aside.is_dir() or aside.is_symlink():
        with suppress(OSError):
            aside.unlink()
    elif is_marked(aside):
        shutil.rmtree(aside, ignore_errors=True)
    else:
        with suppress(OSError):
            aside.rmdir()


def _is_marked_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and is_marked(path)


def _replace_folder(aside: Path, place: Path, made: FolderArtefact) -> None:
    """Moves a folder to its place, and removes the one that was there."""
    if not place.exists():
        aside.rename(place)
        return
    if not is_marked(place):
        write_marker(place, made)  # should this be killed, the next run knows what to remove
    if not _exchanged(aside, place):
        _renamed_twice(aside, place)


def _renamed_twice(aside: Path, place: Path) -> None:
    """Exchanges two folders where the system cannot do it in one step."""
    retired = retired_of(place)
    place.rename(retired)
    try:
        aside.rename(place)
    except OSError:
        retired.rename(place)
        raise
    retired.rename(aside)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, aside and moved into place."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    with written_aside(path) as aside:
        # A path may hold bytes that are no UTF-8; JSON has the same escapes for them as Python.
        aside.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: Path, error: type[CirError]) -> Any:
    """Reads a JSON file; raises `error` with one line when it is missing or damaged."""
    try:
        return json.loads(read_text(path))
    except FileNotFoundError:
        raise error(f"{path} is missing") from None
    # A number of thousands of digits is a ValueError, too many brackets a RecursionError.
    except (OSError, ValueError, RecursionError) as fault:
        raise error(unreadable(path, fault, "is not readable JSON: {}")) from fault


def require_file(path: Path, error: type[CirError], missing: str) -> None:
    """Raises `error` unless a file is at `path`: with `missing` where nothing is."""
    if not stat.S_ISREG(_mode(path, error, missing)):
        what = "a folder" if path.is_dir() else "no regular file"
        raise error(f"{path} is {what}; expected a file")


def require_folder(path: Path, error: type[CirError], missing: str) -> None:
    """Raises `error` unless a folder is at `path`: with `missing` where nothing is."""
    if not stat.S_ISDIR(_mode(path, error, missing)):
        raise error(f"{path} is a file; expected a folder")


def _mode(path: Path, error: type[CirError], missing: str) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        raise error(missing) from None
    except OSError as fault:
        raise error(unreadable(path, fault, "cannot be read: {}")) from fault


def unreadable(path: Path, fault: Exception, damaged: str) -> str:
    """One line for a file that could not be read.

    Args:
        path: The file.
        fault: What was raised.
        damaged: What to say where the system gave the file but its content is wrong; `{}` stands
            for what the fault says.
    """
    if isinstance(fault, OSError) and is_of_the_system(fault):
        return f"cannot read {path}: {reason_of(fault)}"
    return f"{path} {damaged.format(one_line(fault))}"


def unwritable(path: Path, error: OSError) -> str:
    """One line for a file that could not be written."""
    if isinstance(error, FileNotFoundError) and path.parent.is_dir():
        reason = f"{path.parent} takes no new files (choose another path)"
    elif isinstance(error, FileExistsError):
        reason = f"{path.parent} is no folder (choose another path)"
    else:
        reason = reason_of(error)
    return f"cannot write {path}: {reason}; what stood there before is untouched"


def _place(path: Path) -> Path:
    """Where a path leads to, which ends in a name."""
    if path.name in _NAMELESS:
        raise UsageError(f"cannot write {path}: expected a path that ends in a name")
    return real(path)


def _flush_to_disk(path: Path) -> None:
    """Flushes a file, or the names in a folder; a block may have written none."""
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    """Flushes a checkpoint's few files alone, which waits for no other program's gigabytes.

    Many files are flushed by one call for all: of ten thousand images, one by one takes minutes.
    """
    held = [path for path in (folder, *folder.rglob("*")) if not path.is_symlink()]
    if len(held) > _FEW:
        os.sync()
        return
    for path in held:
        _flush_to_disk(path)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchanges two names in one step; False where the system or the file system cannot."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    done: int = call(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE)
    return done == 0
