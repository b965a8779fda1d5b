"""How people name splits, and photos that lie in folders so named."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

from cir.types import Split

SPLIT_WORDS: Final[dict[Split, tuple[str, ...]]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev", "eval"),
    "test": ("test", "testing"),
}
_NAMED: Final = {word: split for split, words in SPLIT_WORDS.items() for word in words}


def split_named(text: str) -> Split | None:
    """The split that a word names, in capitals or not; None where it names none."""
    return _NAMED.get(text.strip().lower())


def in_split_folders(photos: Sequence[PurePosixPath]) -> bool:
    """Whether every photo lies in a folder that is named as a split, and one of them is train."""
    splits = {split_named(photo.parts[0]) if len(photo.parts) > 1 else None for photo in photos}
    return None not in splits and "train" in splits


def looks_like_split_folders(photos: Sequence[PurePosixPath]) -> list[str]:
    """Folders named as splits, train among them, that stand beside others."""
    tops = {photo.parts[0] for photo in photos if len(photo.parts) > 1}
    named = sorted(top for top in tops if split_named(top))
    has_train = any(split_named(top) == "train" for top in named)
    return named if has_train and not in_split_folders(photos) else []
