"""What the columns of a catalogue hold: kinds of things, free words, numbers."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

_UNSTATED: Final = frozenset({"", "-", "?", "na", "n/a", "nan", "none", "null", "unknown"})
_NUMBER: Final = re.compile(r"[-+]?[\d.,\s]*\d[\d.,\s]*[%€$£]?")
_ADDRESS: Final = re.compile(r"://|[\\/].*\.\w{2,5}$|^\S+\.(?:jpe?g|png|webp|avif|gif|bmp|tiff?)$")
_KIND_WORDS, _KIND_LETTERS = 4, 40
"""A kind of things is named in fewer words and letters than these, on average."""
_NAME_WORDS, _NAME_LETTERS = 2, 120
"""A product's name has as many words, and fewer letters, on average; a description has more."""
_REPEATED: Final = 2
"""How often each value of a kind stands in a column, at least, on average."""
_MOSTLY: Final = 0.5


def is_stated(value: str) -> bool:
    """Whether a field says anything: not empty, and no word such as `NA`."""
    return value.strip().lower() not in _UNSTATED


@dataclass(frozen=True)
class ColumnContent:
    """The fields of one column that say anything."""

    name: str
    values: Sequence[str]
    rows: int
    """Fields of the column, with those that say nothing."""

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each value stands there."""
        return Counter(self.values)

    @property
    def filled(self) -> float:
        """Share of the rows that say something."""
        return len(self.values) / max(self.rows, 1)

    @property
    def holds_kinds(self) -> bool:
        """Whether a few short texts stand there again and again, which are no numbers."""
        return (
            len(self.counts) > 1
            and len(self.values) >= _REPEATED * len(self.counts)
            and self._words < _KIND_WORDS
            and self._letters < _KIND_LETTERS
            and not self._mostly(_NUMBER)
            and not self._mostly(_ADDRESS)
        )

    @property
    def holds_names(self) -> bool:
        """Whether texts of several words stand there, most of them once or twice."""
        return (
            self._words >= _NAME_WORDS
            and self._letters <= _NAME_LETTERS
            and len(self.values) < 4 * len(self.counts)
            and not self._mostly(_NUMBER)
            and not self._mostly(_ADDRESS)
        )

    @property
    def _words(self) -> float:
        return sum(len(value.split()) for value in self.values) / max(len(self.values), 1)

    @property
    def _letters(self) -> float:
        return sum(map(len, self.values)) / max(len(self.values), 1)

    def _mostly(self, pattern: re.Pattern[str]) -> bool:
        matching = (
            pattern.fullmatch(v) if pattern is _NUMBER else pattern.search(v) for v in self.values
        )
        return sum(map(bool, matching)) > _MOSTLY * len(self.values)


def content_of(name: str, texts: Sequence[str]) -> ColumnContent:
    """The content of a column, from all of its fields."""
    return ColumnContent(name, [text for text in texts if is_stated(text)], len(texts))


def depends_on(texts: Sequence[str], others: Sequence[str]) -> bool:
    """Whether a column says next to nothing beside another: each value there goes with one here."""
    by_other: dict[str, Counter[str]] = {}
    for text, other in zip(texts, others, strict=True):
        by_other.setdefault(other, Counter())[text] += 1
    agreeing = sum(counts.most_common(1)[0][1] for counts in by_other.values())
    return agreeing >= _ALMOST_ALL * len(texts)


_ALMOST_ALL: Final = 0.98
