"""How photos enter a dataset folder that is made from others' files."""

import os
import shutil
from pathlib import Path
from typing import Literal, get_args

from cir.data.shards import open_photo, photo_state, shard_of
from cir.errors import DatasetError, UsageError

Link = Literal["hardlink", "symlink", "copy"]


def require_link(link: str) -> None:
    """Raises UsageError where `link` is none of `Link`."""
    if link not in get_args(Link):
        raise UsageError(f"`link` is {link!r}; expected {', '.join(get_args(Link))}")


def link_or_copy(source: Path, copy: Path, link: str) -> None:
    """Makes `copy`; a hard link that the file system does not allow becomes a copy.

    So does a link of any kind to a photo in a shard, which has no file of its own. Nothing that
    stands at `copy` is written into: it may be a link to another's photo.

    Raises:
        DatasetError: the photo is gone, or its name is another's on this disk, which may take
            small letters and capitals for the same.
    """
    try:
        _make(source, copy, link)
    except FileExistsError as fault:
        raise DatasetError(
            f"{copy.name} is the name of two photos on this disk, the second {source}: "
            f"give one of them another id, as by `prefixes` of cir data merge"
        ) from fault
    except FileNotFoundError as fault:
        if shard_of(source) or source.exists():
            raise
        raise DatasetError(f"{source} is gone: run cir data check") from fault


def _make(source: Path, copy: Path, link: str) -> None:
    if shard_of(source):
        with open_photo(source) as photo, copy.open("xb") as written:
            shutil.copyfileobj(photo, written)
        _keep_time(source, copy)
        return
    if link == "symlink":
        copy.symlink_to(source)
        return
    if link == "hardlink":
        try:
            os.link(source, copy)
        except FileExistsError:
            raise
        except OSError:
            _copy(source, copy)
        return
    _copy(source, copy)


def _copy(source: Path, copy: Path) -> None:
    with source.open("rb") as photo, copy.open("xb") as written:
        shutil.copyfileobj(photo, written)
    _keep_time(source, copy)


def _keep_time(source: Path, copy: Path) -> None:
    """Gives a copy the time of change of its photo, by which a later change is noticed."""
    _, changed = photo_state(source)
    os.utime(copy, ns=(changed, changed))
