"""CLIP's tokens: byte-pair encoding of lower-cased text (Radford et al., 2021, section 2.4).

The vocabulary is the file that open_clip installs, found without importing open_clip. Tokens are
those of its `SimpleTokenizer` (`tests/encoding/clip/test_bundled.py`).
"""

import gzip
import html
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Final

import regex
import torch
from jaxtyping import Int
from torch import Tensor

_FILE: Final = "bpe_simple_vocab_16e6.txt.gz"
_MERGES: Final = slice(1, 49_152 - 256 - 2 + 1)
"""The lines of the file that CLIP's vocabulary has; the first is a heading."""
_WORD_END: Final = "</w>"
"""Marks a unit that ends a word."""
_START, _END = "<start_of_text>", "<end_of_text>"
_WORDS: Final = regex.compile(
    rf"{_START}|{_END}|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+",
    regex.IGNORECASE,
)


class BytePairTokenizer:
    """Texts to tokens, a row a text."""

    def __init__(self, context_length: int) -> None:
        """Reads the vocabulary, once a process.

        Args:
            context_length: Tokens of a row; what is longer is cut, what is shorter padded by zeros.
        """
        self.context_length = context_length
        self._ranks, self._numbers = _vocabulary()
        self._known: dict[str, list[int]] = {mark: [self._numbers[mark]] for mark in (_START, _END)}

    def __call__(
        self, texts: Sequence[str], context_length: int | None = None
    ) -> Int[Tensor, "texts context"]:
        """The tokens of each text, between the two that mark its start and its end."""
        context = context_length or self.context_length
        rows = torch.zeros(len(texts), context, dtype=torch.long)
        start, end = self._numbers[_START], self._numbers[_END]
        for row, text in enumerate(texts):
            tokens = [start, *self._tokens(text)[: context - 2], end]
            rows[row, : len(tokens)] = torch.tensor(tokens)
        return rows

    def _tokens(self, text: str) -> list[int]:
        words = _WORDS.findall(_cleaned(text))
        return [token for word in words for token in self._of_word(word)]

    def _of_word(self, word: str) -> list[int]:
        if word not in self._known:
            symbols = [_SYMBOLS[byte] for byte in word.encode("utf-8")]
            symbols[-1] += _WORD_END
            self._known[word] = [self._numbers[unit] for unit in self._merged(symbols)]
        return self._known[word]

    def _merged(self, units: list[str]) -> list[str]:
        """The units of a word, after every merge of the vocabulary in the order of its ranks."""
        while len(units) > 1:
            ranks = self._ranks
            pairs = {" ".join(pair) for pair in pairwise(units)}
            best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
            if best not in ranks:
                break
            units = _with_merge(units, *best.split(" "))
        return units


def _with_merge(units: Sequence[str], first: str, second: str) -> list[str]:
    """The units with every `first` that stands before a `second` joined to it, from the left."""
    merged: list[str] = []
    for unit in units:
        if merged and unit == second and merged[-1] == first:
            merged[-1] = first + second
        else:
            merged.append(unit)
    return merged


def _cleaned(text: str) -> str:
    """A text mended, its spaces single, in lower case."""
    mended = text if _needs_no_mending(text) else _mended(text)
    return " ".join(mended.split()).lower()


def _needs_no_mending(text: str) -> bool:
    """Whether a text holds no broken Unicode and no entity of HTML: ftfy loads for a while."""
    return text.isascii() and text.isprintable() and "&" not in text


def _mended(text: str) -> str:
    import ftfy

    return html.unescape(html.unescape(ftfy.fix_text(text)))


def _printable_bytes() -> list[str]:
    """A printable character for each byte: itself where it is one, else one beyond Latin-1."""
    own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    own += range(ord("®"), ord("ÿ") + 1)
    other = iter(range(256, 512))
    return [chr(byte if byte in own else next(other)) for byte in range(256)]


_SYMBOLS: Final = _printable_bytes()


@cache
def _vocabulary() -> tuple[Mapping[str, int], Mapping[str, int]]:
    """The rank of each merge, `first second`, and the number of each unit."""
    held = gzip.decompress(_vocabulary_file().read_bytes()).decode("utf-8")
    merges = held.split("\n", _MERGES.stop)[_MERGES]
    alphabet = sorted(_SYMBOLS)
    units = [
        *alphabet,
        *(symbol + _WORD_END for symbol in alphabet),
        *"\n".join(merges).replace(" ", "").split("\n"),
        *(_START, _END),
    ]
    return _numbered(merges), _numbered(units)


def _numbered(texts: Sequence[str]) -> dict[str, int]:
    return dict(zip(texts, range(len(texts)), strict=True))


def _vocabulary_file() -> Path:
    package = find_spec("open_clip")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("No module named 'open_clip'", name="open_clip")
    return Path(package.origin).with_name(_FILE)
