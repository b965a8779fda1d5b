"""A file in memory that holds only what was written into it."""

import io
from collections.abc import Iterator
from typing import Any, Final

_PAGE: Final = 1 << 16
"""Bytes that are kept together."""


class SparseFile(io.RawIOBase):
    """Takes writes anywhere; what was never written takes no memory and reads as zeros."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._place = 0
        self.length = 0

    def pages(self) -> Iterator[tuple[int, bytearray]]:
        """What was written, with the place where it begins."""
        for number in sorted(self._pages):
            start = number * _PAGE
            yield start, self._pages[number][: self.length - start]

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to a place, counted from the start, from here or from the end."""
        self._place = offset + (0, self._place, self.length)[whence]
        return self._place

    def truncate(self, size: int | None = None) -> int:
        """Sets the length."""
        self.length = self._place if size is None else size
        return self.length

    def readinto(self, buffer: Any) -> int:
        """Fills `buffer` from this place on, as far as the file goes."""
        target = memoryview(buffer).cast("B")[: max(0, self.length - self._place)]
        for start, number, inner, count in self._spans(len(target)):
            page = self._pages.get(number)
            part = page[inner : inner + count] if page else bytes(count)
            target[start : start + count] = part
        self._place += len(target)
        return len(target)

    def write(self, content: Any) -> int:
        """Writes from this place on."""
        source = memoryview(content).cast("B")
        for start, number, inner, count in self._spans(len(source)):
            page = self._pages.setdefault(number, bytearray(_PAGE))
            page[inner : inner + count] = source[start : start + count]
        self._place += len(source)
        self.length = max(self.length, self._place)
        return len(source)

    def _spans(self, length: int) -> Iterator[tuple[int, int, int, int]]:
        """(offset in the buffer, page, offset in the page, bytes) of as many bytes from here on."""
        done = 0
        while done < length:
            number, inner = divmod(self._place + done, _PAGE)
            count = min(_PAGE - inner, length - done)
            yield done, number, inner, count
            done += count
