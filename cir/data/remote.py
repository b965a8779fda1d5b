"""Objects at `s3://`, through fsspec (extra `cir[s3]`): listed, and read where they are.

Credentials, region and endpoint are those of every program of AWS: environment variables
(`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, ...), `~/.aws`, or the machine's role. What is wrong with
the storage itself ends a run, since it is true of all photos; an object that is gone is one photo's
fault, as a file's that is gone.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BufferedReader, BytesIO
from pathlib import Path, PosixPath, PurePosixPath
from typing import Any, Final

from cir.errors import StorageError, UsageError, one_line

_ADDRESS: Final = re.compile(r"s3:/+(?P<name>[^/].*)", re.DOTALL)
_CONNECTING: Final = 5
"""Seconds that a connection may take."""
_ANSWERING: Final = 15
"""Seconds that an answer may take to begin, or to go on."""
_TRIES: Final = 3
"""Requests that are sent for one that fails."""
_BLOCK: Final = 1 << 20
"""Bytes that are read at once where a shard is looked through."""
_SECOND: Final = 10**9
_UNREACHED: Final = ("ConnectionError", "HTTPClientError")
"""botocore's errors of an endpoint that does not answer, or stops to."""
_NO_CREDENTIALS: Final = ("NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError")


class RemotePath(PosixPath):
    """The address of an object, or of all objects below it: `s3://bucket/name`."""

    def __str__(self) -> str:
        return super().__str__().replace("s3:/", "s3://", 1)

    def resolve(self, strict: bool = False) -> "RemotePath":
        """Itself: an address leads nowhere else."""
        return self

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.parts[1]


def remote_path(path: str | Path) -> RemotePath | None:
    """The address that a text or a path is, with however many slashes; None where it is none."""
    address = _ADDRESS.fullmatch(str(path))
    return RemotePath(f"s3:/{address['name']}") if address else None


def objects_below(root: RemotePath) -> list[PurePosixPath]:
    """The paths from `root` of all objects below it, sorted; their states are known from then on.

    Raises:
        StorageError: it cannot be listed.
    """
    prefix = f"{_name(root)}/"
    with _asked(root):
        try:
            found = _storage().find(_name(root), detail=True, refresh=True)
        except FileNotFoundError:
            raise StorageError(
                f"cannot list {root}: there is no bucket {root.bucket}; check its spelling"
            ) from None
    names = sorted(name for name in found if name.startswith(prefix) and not name.endswith("/"))
    _states.update({name: _state(found[name]) for name in names})
    return [PurePosixPath(name.removeprefix(prefix)) for name in names]


def remote_state(path: RemotePath) -> tuple[int, int]:
    """Size in bytes of an object, and time of change in nanoseconds.

    Storage tells times in whole seconds; the rest is drawn from the ETag, so that another object of
    the same second and size has another state.

    Raises:
        FileNotFoundError: it is gone.
        StorageError: the storage does not tell.
    """
    known = _states.get(_name(path))
    if known is None:
        with _asked(path):
            known = _states[_name(path)] = _state(_storage().info(_name(path)))
    return known


def remote_bytes(path: RemotePath, start: int, size: int) -> bytes:
    """Some bytes of an object, as many as there are; none where it ends before `start`.

    Raises:
        FileNotFoundError: it is gone.
        StorageError: the storage does not give it.
    """
    if not size:
        return b""
    with _asked(path):
        try:
            given: bytes = _storage().cat_file(_name(path), start=start, end=start + size)
        except OSError as fault:
            if fault.errno != errno.EINVAL:  # what a range beyond the end is called
                raise
            given = b""
    return given


def open_remote(path: RemotePath) -> BufferedReader:
    """Opens an object for reading here and there, some bytes at a time.

    Raises:
        FileNotFoundError: it is gone.
        StorageError: the storage does not give it.
    """
    with _asked(path):
        file: BufferedReader = _storage().open(_name(path), block_size=_BLOCK)
    return file


def in_memory(content: bytes) -> BufferedReader:
    """Bytes as an open file."""
    return BufferedReader(BytesIO(content))


_states: Final[dict[str, tuple[int, int]]] = {}
"""Of each object that was listed or asked for."""


def _name(path: RemotePath) -> str:
    return "/".join(path.parts[1:])


def _state(told: dict[str, Any]) -> tuple[int, int]:
    seconds = int(told["LastModified"].timestamp())
    digits = re.sub("[^0-9a-f]", "", str(told.get("ETag", "")).lower())
    return int(told["size"]), seconds * _SECOND + int(digits or "0", 16) % _SECOND


def _storage() -> Any:
    return _storage_of(os.getpid())


@cache
def _storage_of(process: int) -> Any:
    """The file system of fsspec; a forked process needs one of its own."""
    try:
        import fsspec

        opened = fsspec.filesystem(
            "s3",
            skip_instance_cache=True,
            use_listings_cache=False,
            config_kwargs={
                "connect_timeout": _CONNECTING,
                "read_timeout": _ANSWERING,
                "retries": {"total_max_attempts": _TRIES, "mode": "standard"},
            },
        )
    except ImportError:
        raise UsageError("photos at s3:// need s3fs: pip install 'cir[s3]'") from None
    opened.retries = 1  # those above are enough
    return opened


@contextmanager
def _asked(path: RemotePath) -> Iterator[None]:
    """Says in one line what the storage does not do, but of an object that is gone."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is gone") from None
    except (StorageError, UsageError):
        raise
    except PermissionError as fault:
        raise StorageError(
            f"cannot read {path}: access denied ({one_line(fault)}): check the credentials, and "
            f"what they may do"
        ) from fault
    except Exception as fault:
        raise StorageError(f"cannot read {path}: {_reason(fault)}") from fault


def _reason(fault: Exception) -> str:
    """What a fault of botocore or aiohttp says, and what to do; they are not loaded for it."""
    kinds = {kind.__name__ for kind in type(fault).__mro__}
    if kinds & set(_NO_CREDENTIALS):
        return (
            "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a "
            "profile in ~/.aws"
        )
    if kinds & {*_UNREACHED, "TimeoutError"}:
        return f"{one_line(fault)}: check the network and AWS_ENDPOINT_URL, and run this again"
    return f"{type(fault).__name__}: {one_line(fault)}"
