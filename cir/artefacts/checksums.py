"""Checksums that files carry within themselves, so that reading notices a changed byte anywhere.

A sealed file holds `cir-sha256:` and 64 hexadecimal digits: the SHA-256 of all its bytes with zeros
in the place of those digits; where the label stands several times, the last is meant. Whatever
writes the file puts `PLACE` where its format takes a text (among Parquet's metadata, in a JSON
object, behind the end of HDF5's data), near the end, from which it is looked for, and then calls
`seal`. A change of the label itself makes the file look unsealed, so a reader refuses what is not
sealed, but for files of schemas that had no checksum yet.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from typing import Final

_LABEL: Final = b"cir-sha256:"
_ZEROS: Final = b"0" * 64
PLACE: Final = _LABEL + _ZEROS
"""What a writer puts where the checksum shall stand."""
_WINDOW: Final = 1 << 20
"""Bytes in which the checksum is looked for at once, from the end of a file on."""
_CHUNK: Final = 1 << 20
"""Bytes hashed at once."""
_DIGITS: Final = 64
"""Of a SHA-256, in hexadecimal."""
_DIGITS_SHOWN: Final = 12
"""Enough for a reader to tell files apart."""


class ChecksumError(ValueError):
    """A file whose bytes are not those that its checksum was made of."""

    def __init__(self) -> None:
        super().__init__("its bytes do not agree with its checksum, or another program changed it")


class UnsealedError(ValueError):
    """A file that should carry a checksum and carries none."""

    def __init__(self) -> None:
        super().__init__("it carries no checksum, or another program wrote it")


@dataclass(frozen=True)
class Digest:
    """What identifies a file's bytes."""

    sha256: str
    """Of all bytes, the checksum's own among them: what `sha256sum` prints."""
    sealed: bool
    """Whether the file carries a checksum; where it does, it agreed."""


def seal(file: BufferedIOBase) -> None:
    """Writes the checksum of a file into its last `PLACE`.

    Args:
        file: Open for reading and writing; a `BytesIO` will do.

    Raises:
        ValueError: the file holds no `PLACE`, or another checksum behind it.
    """
    place = _place_of_digits(file)
    file.seek(place or 0)
    if place is None or file.read(len(_ZEROS)) != _ZEROS:
        raise ValueError("the file holds no place for a checksum")
    digits = _hashed(file, place)[1]
    file.seek(place)
    file.write(digits.encode("ascii"))
    file.seek(0)


def verified(file: BufferedIOBase, *, edited_ok: bool = False) -> Digest:
    """Hashes an open file from its start and compares the checksum that it carries.

    Reading goes on in the same open file, which is at its start again, so that the digest is that
    of the bytes read, whatever is put in the file's place meanwhile.

    Args:
        file: The file.
        edited_ok: Whether a checksum that does not agree counts as none: another program wrote the
            file, and took the checksum along.

    Raises:
        ChecksumError: it carries a checksum that does not agree.
        OSError: it cannot be read.
    """
    place = _place_of_digits(file)
    sha256, expected = _hashed(file, place)
    sealed = place is not None
    if place is not None:
        file.seek(place)
        agrees = file.read(len(_ZEROS)) == expected.encode("ascii")
        if not agrees and not edited_ok:
            raise ChecksumError
        sealed = agrees
    file.seek(0)
    return Digest(sha256, sealed=sealed)


def _place_of_digits(file: BufferedIOBase) -> int | None:
    """Where the digits of the last checksum begin; None where there is no checksum."""
    end = file.seek(0, os.SEEK_END)
    while end >= len(_LABEL):
        start = max(0, end - _WINDOW)
        file.seek(start)
        found = file.read(end - start).rfind(_LABEL)
        if found >= 0:
            return start + found + len(_LABEL)
        # A label may lie across two windows.
        end = start + len(_LABEL) - 1 if start else 0
    return None


def _hashed(file: BufferedIOBase, place: int | None) -> tuple[str, str]:
    """The SHA-256 of a file, and that with zeros in the place of its digits."""
    size = file.seek(0, os.SEEK_END)
    start = size if place is None else place
    end = min(start + len(_ZEROS), size)
    plain = hashlib.sha256()
    for chunk in _chunks(file, 0, start):
        plain.update(chunk)
    zeroed = plain.copy()
    zeroed.update(_ZEROS[: end - start])
    for chunk in _chunks(file, start, end):
        plain.update(chunk)
    for chunk in _chunks(file, end, size):
        plain.update(chunk)
        zeroed.update(chunk)
    return plain.hexdigest(), zeroed.hexdigest()


def _chunks(file: BufferedIOBase, start: int, end: int) -> Iterator[bytes]:
    """The bytes of a file from `start` to `end`."""
    file.seek(start)
    left = end - start
    while left and (chunk := file.read(min(_CHUNK, left))):
        left -= len(chunk)
        yield chunk


def shortened(value: object) -> str:
    """A value for people to read: of a SHA-256 the first digits, of anything else all of it."""
    text = str(value)
    return f"{text[:_DIGITS_SHOWN]}…" if len(text) == _DIGITS else text
