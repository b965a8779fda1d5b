"""The faults that configurations share, each as one clause of a sentence."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cir.addresses import milvus_address
from cir.config.base import Config
from cir.config.values import EXPORT_SUFFIXES


def below(config: Config, least: float, *names: str) -> Iterator[str]:
    """Numbers that are below the least allowed."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not value >= least:
            yield f"`{name}` is {value}; expected at least {least:g}"


def no_address(text: str, name: str, before: str = "") -> Iterator[str]:
    """A text that is no address of a collection in Milvus; `before` names what else may be."""
    try:
        milvus_address(text)
    except ValueError as fault:
        yield f"`{name}` is {text!r}; expected {before}{fault}"


def outside(config: Config, low: float, high: float, *names: str) -> Iterator[str]:
    """Numbers that are outside a range."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not low <= value <= high:
            yield f"`{name}` is {value}; expected {low:g} to {high:g}"


def empty(config: Config, *names: str) -> Iterator[str]:
    """Lists that are empty."""
    for name in names:
        if not getattr(config, name):
            yield f"`{name}` is empty; expected at least one"


def not_positive(config: Config, *names: str) -> Iterator[str]:
    """Numbers that are not more than 0, or infinite."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0 < value < math.inf:
            yield f"`{name}` is {value}; expected more than 0, and finite"


def unused(config: Config, why: str, *names: str) -> Iterator[str]:
    """A fault where any of some settings is given, which another leaves nothing to do."""
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    given = [f"`{name}`" for name in names if getattr(config, name) != defaults[name]]
    if given:
        verb, them = ("is", "it") if len(given) == 1 else ("are", "them")
        yield f"{' and '.join(given)} {verb} {why}: leave {them} out"


def repeated(config: Config, *names: str) -> Iterator[str]:
    """Lists that hold a value twice."""
    for name in names:
        values = getattr(config, name)
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            yield f"`{name}` is {twice!r} twice; expected each once"


def replaces_nothing(config: Config) -> Iterator[str]:
    """`overwrite` where each output has to be asked for, and none is."""
    outputs = [item.name for item in dataclasses.fields(config) if item.metadata["writes"]]
    if not any(getattr(config, name) is not None for name in outputs):
        yield from unused(config, f"of {_listed(outputs)}, and none is given", "overwrite")


def wrong_suffix(config: Config, name: str) -> Iterator[str]:
    """A path that ends in none of `EXPORT_SUFFIXES`."""
    path: Path = getattr(config, name)
    if path.suffix not in EXPORT_SUFFIXES:
        yield f"`{name}` is {path}; expected a file ending in {' or '.join(EXPORT_SUFFIXES)}"


def _listed(names: Sequence[str]) -> str:
    """Names of fields as a sentence has them: a, b and c."""
    *others, last = (f"`{name}`" for name in names)
    return f"{', '.join(others)} and {last}" if others else last


def of_a_query(
    *, image: bool, text: bool, like: bool, less: Sequence[str], weight: float | None
) -> Iterator[str]:
    """What a search lacks; the arguments say what its query has."""
    if not (image or text or like):
        yield "nothing to search for: pass `image`, `text` or `like`, or several of them"
    if weight is not None and not (image and text):
        yield "`weight` weighs `text` against `image`: pass both, or leave it out"
    if any(not text.strip() for text in less):
        yield "`less` is blank; expected a text that says something"


def misspelled(config: Config, name: str, read: Callable[[str], object]) -> Iterator[str]:
    """What is wrong with a field that is spelled in one text, if it is given."""
    text = getattr(config, name)
    try:
        if text is not None:
            read(text)
    except ValueError as fault:
        yield f"`{name}` is {text!r}; {fault}"
