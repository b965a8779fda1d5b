"""Files written aside and moved into place, so that a reader never meets half of one."""

import hashlib
import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from cir.errors import CirError, UsageError, is_of_the_system, one_line, reason_of
from cir.reading import opened, read_text

_ASIDE: Final = re.compile(r"\..+-[0-9a-f]{8}(\..+)?")
"""Names that `_aside` gives."""
_NAMELESS: Final = ("", "..")
"""Names of `.`, `/` and `..`: nothing can be put in their place."""


def refuse_existing(path: Path, *, overwrite: bool, field: str = "out") -> None:
    """Raises UsageError where `path`, the value of `field`, exists and may not be replaced."""
    if path.exists() and not overwrite:
        raise UsageError(
            f"{path} exists: pass `overwrite=True` to replace it, or another `{field}`"
        )


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write a file at; moves it into place when the block succeeds.

    On any failure the file aside is removed and what stood at `path` before stays untouched.

    Raises:
        CirError: the folder cannot be written to, or the disk is full.
    """
    aside = _aside(path)
    try:
        _refuse_device(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        _flush_to_disk(aside)
        os.replace(aside, path)
    except OSError as error:
        raise CirError(unwritable(path, error)) from error
    finally:
        with suppress(OSError):
            aside.unlink()


@contextmanager
def folder_written_aside(path: Path) -> Iterator[Path]:
    """As `written_aside`, for a whole folder; a folder at `path` is replaced.

    The old folder waits under another name for the instant between two renames; `settle` brings
    it back should the program be killed just then.
    """
    aside, retired = _aside(path), _retired(path)
    try:
        _refuse_device(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        settle(path)
        aside.mkdir()
        yield aside
        # One flush for all: flushing each of ten thousand images takes minutes.
        os.sync()
        if path.exists():
            os.replace(path, retired)
        os.replace(aside, path)
    except OSError as error:
        raise CirError(unwritable(path, error)) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        settle(path)


def settle(path: Path) -> None:
    """Ends a folder replacement that was killed between its two renames."""
    if path.name in _NAMELESS:
        return  # a folder that is stood in is not replaced
    retired = _retired(path)
    if retired.exists() and not path.exists():
        os.replace(retired, path)
    shutil.rmtree(retired, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Removes what killed programs left aside in `folder` and the folders below it."""
    for path in sorted(folder.rglob(".*"), reverse=True):
        if not _ASIDE.fullmatch(path.name):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, aside and moved into place."""
    with written_aside(path) as aside:
        aside.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path, error: type[CirError]) -> Any:
    """Reads a JSON file; raises `error` with one line when it is missing or damaged."""
    try:
        return json.loads(read_text(path))
    except FileNotFoundError:
        raise error(f"{path} is missing") from None
    # A number of thousands of digits is a ValueError, too many brackets a RecursionError.
    except (OSError, ValueError, RecursionError) as fault:
        raise error(unreadable(path, fault, "is not readable JSON: {}")) from fault


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def _aside(path: Path) -> Path:
    if path.name in _NAMELESS:
        raise UsageError(f"cannot write {path}: expected a path that ends in a name")
    return path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")


def _refuse_device(path: Path) -> None:
    """Raises UsageError where a device, a pipe or a socket is at `path`: it is not to be replaced.

    A rename in its place would take it from every other program.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UsageError(f"cannot write {path}: it is no regular file; choose another path")


def _retired(path: Path) -> Path:
    return path.with_name(f".{path.name}-retired")


def _flush_to_disk(path: Path) -> None:
    if path.is_file():
        with path.open("rb") as file:
            os.fsync(file.fileno())
