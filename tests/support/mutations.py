"""Files damaged as disks, networks and people damage them, each by a number that names it."""

import random
from collections.abc import Callable, Sequence
from typing import Final

_EXTREMES: Final = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f")


def mutated(whole: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """Other bytes than `whole`, made from it by one to three changes.

    Args:
        whole: The file.
        others: Files that a part of it may be taken from.
        draw: Decides what changes, and where.
    """
    changed = bytearray(whole)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        draw.choice(_CHANGES)(changed, others, draw)
    if bytes(changed) == whole:
        changed.append(0)
    return bytes(changed)


def _flip_bits(content: bytearray, _: Sequence[bytes], draw: random.Random) -> None:
    for _times in range(draw.choice((1, 1, 3, 20))):
        if content:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def _flip_near_the_start(content: bytearray, _: Sequence[bytes], draw: random.Random) -> None:
    for _times in range(draw.choice((1, 4))):
        if content:
            content[draw.randrange(min(len(content), 256))] = draw.randrange(256)


def _cut(content: bytearray, _: Sequence[bytes], draw: random.Random) -> None:
    del content[draw.randrange(len(content) + 1) :]


def _leave_out(content: bytearray, _: Sequence[bytes], draw: random.Random) -> None:
    start = draw.randrange(len(content) + 1)
    del content[start : start + draw.randrange(1, 65)]


def _blank(content: bytearray, _: Sequence[bytes], draw: random.Random) -> None:
    start = draw.randrange(len(content) + 1)
    part = content[start : start + draw.randrange(1, 513)]
    content[start : start + len(part)] = bytes(len(part))


def _repeat(content: bytearray, _: Sequence[bytes], draw: random.Random) -> None:
    start = draw.randrange(len(content) + 1)
    content[start:start] = content[start : start + draw.randrange(1, 257)]


def _set_extreme(content: bytearray, _: Sequence[bytes], draw: random.Random) -> None:
    start = draw.randrange(max(1, len(content) - 3))
    content[start : start + 4] = draw.choice(_EXTREMES)


def _splice(content: bytearray, others: Sequence[bytes], draw: random.Random) -> None:
    other = draw.choice(others)
    start = draw.randrange(len(content) + 1)
    content[start:] = other[draw.randrange(len(other) + 1) :]


Change = Callable[[bytearray, Sequence[bytes], random.Random], None]
_CHANGES: Final[tuple[Change, ...]] = (
    *(_flip_bits, _flip_near_the_start, _cut, _leave_out, _blank),
    *(_repeat, _set_extreme, _splice),
)
