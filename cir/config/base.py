"""What every configuration does: its fields are read, checked and written in one way."""

import copy
import dataclasses
import numbers
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from cir.errors import ConfigError
from cir.types import Artefact


def option(
    default: Any,
    panel: str,
    *,
    argument: bool = False,
    writes: Artefact | None = None,
    either: bool = False,
) -> Any:
    """A field that the command line shows under the heading `panel`, or takes by position.

    A path that the command writes names its artefact with `writes`; every other path is an input.
    Of a path that may be a file's or a folder's, `either` says so.
    """
    return field(default=default, metadata=_metadata(panel, argument, writes, either))


def required(
    panel: str, *, argument: bool = False, writes: Artefact | None = None, either: bool = False
) -> Any:
    """A field without a default."""
    return field(metadata=_metadata(panel, argument, writes, either))


def _metadata(panel: str, argument: bool, writes: Artefact | None, either: bool) -> dict[str, Any]:
    return {"panel": panel, "argument": argument, "writes": writes, "either": either}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What all stages share: every choice is checked, and `faults` adds what a stage forbids."""

    def __post_init__(self) -> None:
        wrong = dict(self._read_values())
        faults = [*wrong.values(), *self._wrong_choices(wrong), *self._other_faults(wrong)]
        if faults:
            raise ConfigError(faults)

    def faults(self) -> Iterator[str]:
        """Each fault of the values, as one clause."""
        yield from ()

    def written(self) -> dict[str, tuple[Path, Artefact]]:
        """What the command writes: each path and its artefact, by field."""
        return {
            item.name: (getattr(self, item.name), item.metadata["writes"])
            for item in dataclasses.fields(self)
            if item.metadata["writes"] and getattr(self, item.name) is not None
        }

    def read(self) -> dict[str, Path]:
        """What the command reads: each path that is given, by field."""
        values = {i.name: getattr(self, i.name) for i in dataclasses.fields(self)}
        written = {i.name for i in dataclasses.fields(self) if i.metadata["writes"]}
        return {n: v for n, v in values.items() if isinstance(v, Path) and n not in written}

    @property
    def goes_on(self) -> bool:
        """Whether what the command writes may be there already, to be gone on with."""
        return False

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values, paths as text."""
        return {name: _as_json(value) for name, value in dataclasses.asdict(self).items()}

    def _read_values(self) -> Iterator[tuple[str, str]]:
        """Turns each value into its field's type; yields the fields whose values are of another."""
        for name, hint in get_type_hints(type(self)).items():
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, _read_value(value, hint))
            except TypeError as fault:
                yield name, f"`{name}` is {_shown(value)}; expected {fault}"

    def _other_faults(self, wrong: Collection[str]) -> Iterator[str]:
        """The faults of the values that are of the right type."""
        stand_in, hints = copy.copy(self), get_type_hints(type(self))
        for item in dataclasses.fields(self):
            if item.name in wrong:
                missing = item.default is dataclasses.MISSING
                value = _empty(hints[item.name]) if missing else item.default
                object.__setattr__(stand_in, item.name, value)
        for fault in stand_in.faults():
            if not any(f"`{name}`" in fault for name in wrong):
                yield fault

    def _wrong_choices(self, wrong: Collection[str]) -> Iterator[str]:
        for name, hint in get_type_hints(type(self)).items():
            allowed, value = choices(hint) if name not in wrong else (), getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                known = one is None or (isinstance(one, str) and one in allowed)
                if allowed and not known:
                    yield f"`{name}` is {_shown(one)}; expected one of {', '.join(allowed)}"


def choices(hint: Any) -> tuple[str, ...]:
    """What a field of a type may be, or each of its items; nothing where that is not fixed."""
    literals = [part for part in (hint, *get_args(hint)) if get_origin(part) is Literal]
    return get_args(literals[0]) if literals else ()


def _read_value(value: Any, hint: Any) -> Any:
    """A value as its field holds it: texts become paths, lists tuples, NumPy's numbers Python's.

    Raises:
        TypeError: the value is of another type; says what was expected.
    """
    if get_origin(hint) is tuple:
        return _read_texts(value)
    kinds = _kinds(hint)
    if not kinds or (value is None and type(None) in get_args(hint)):
        return value  # a choice, which is checked as such
    accepted, words = _TYPES[kinds[0]]
    if not isinstance(value, accepted) or isinstance(value, bool) is not (kinds[0] is bool):
        raise TypeError(words)
    if kinds[0] is Path and "\0" in str(value):
        raise TypeError("a path, which holds no NUL")
    if kinds[0] is float and isinstance(value, int) and abs(value) > _LARGEST_NUMBER:
        raise TypeError("a finite number")
    # A whole number stays one where any number is taken: files record it as it was given.
    return value if isinstance(value, int | str) and kinds[0] is not Path else kinds[0](value)


def _kinds(hint: Any) -> list[Any]:
    """The plain types that a field may be of; none of a list or of a choice."""
    return [kind for kind in get_args(hint) or (hint,) if kind in _TYPES]


def _empty(hint: Any) -> Any:
    """The least value of a field's type: an empty list or text, a path to nowhere, 0."""
    kinds = _kinds(hint)
    return () if get_origin(hint) is tuple else kinds[0]() if kinds else choices(hint)[0]


_TYPES: Final[dict[Any, tuple[Any, str]]] = {
    bool: (bool, "True or False"),
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
    str: (str, "a text"),
    Path: ((str, Path), "a path"),
}
"""What a field of each type accepts, and how that is called."""
_LARGEST_NUMBER: Final = sys.float_info.max
_LONGEST_SHOWN: Final = 60
"""Characters of a value that a fault repeats."""


def _read_texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise TypeError("a list of texts")
    return tuple(value)


def _shown(value: Any) -> str:
    """A value as short text on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _as_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value
