"""How the command line spells the fields of configurations.

The library's messages name fields: `` `margin` is 3; expected 0 to 2 ``. Here they become what a
user types: `--margin is 3; expected 0 to 2`.
"""

import ast
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields
from functools import cache
from typing import Any, Final

from cir import config

Kind = type[config.Config]

_NAMED: Final = re.compile(
    r"(?:^|(?<=[\s(]))`(?P<name>[a-z][a-z0-9_]*)(?:=(?P<value>[^`]*))?`(?=$|[\s,;:.)]|'s\b)"
)
"""A field in backticks, alone or with a value. One inside a word or quotes is part of an id."""


def flag(name: str) -> str:
    """The option of a field: `batch_size` is `--batch-size`."""
    return "--" + name.replace("_", "-")


def metavar(name: str) -> str:
    """The word that stands for an argument taken by position."""
    return name.upper()


def command(kind: Kind, values: Mapping[str, Any]) -> str:
    """The command line that a configuration stands for: what differs from the defaults.

    Args:
        kind: The configuration of a command that is called like it.
        values: Its fields as JSON values; those that it does not know are left out.
    """
    name = kind.__name__.removesuffix("Config").lower()
    return " ".join(["cir", name, *_words(kind, values)])


def _words(kind: Kind, values: Mapping[str, Any]) -> Iterator[str]:
    """The arguments first, then the options, in the order of the fields."""
    for field in sorted(fields(kind), key=lambda field: not field.metadata["argument"]):
        value = values.get(field.name)
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        if value is None or field.name in _OF_THE_DAY or value == default:
            continue
        if field.metadata["argument"]:
            yield _as_word(value)
        elif str(value) != str(default):
            given = tuple(value) if isinstance(value, list) else value
            yield _with_value(field.name, given, can_turn_off=field.default is True)


_OF_THE_DAY: Final = ("resume", "overwrite")
"""Options of one call, which are no part of what it makes."""


def spelled(text: str, command: Kind | None = None) -> str:
    """A message of the library in the words of the command line.

    Args:
        text: The message. What is in backticks and is a field of some configuration is turned into
            its option, or into its word where it is taken by position; all else stays.
        command: The configuration of the command that runs. It decides about names that are an
            option of one command and a position of another. Without it those are options.
    """
    return _NAMED.sub(lambda match: _spelled_field(match, command), text)


def _spelled_field(match: re.Match[str], command: Kind | None) -> str:
    name, value = match["name"], match["value"]
    known = _known_fields().get(name, {})
    if not known:
        return match[0]
    if _by_position(known, command):
        return metavar(name) if value is None else _as_word(_read(value))
    if value is None:
        return flag(name)
    return _with_value(name, _read(value), can_turn_off=_can_turn_off(known))


@cache
def _known_fields() -> dict[str, dict[Kind, Field[Any]]]:
    """Each field's name, and the configurations that have it."""
    known: dict[str, dict[Kind, Field[Any]]] = {}
    for kind in _configurations(config.Config):
        for field in fields(kind):
            known.setdefault(field.name, {})[kind] = field
    return known


def _configurations(base: Kind) -> Iterator[Kind]:
    for kind in base.__subclasses__():
        yield kind
        yield from _configurations(kind)


def _by_position(known: dict[Kind, Field[Any]], command: Kind | None) -> bool:
    meant = [known[command]] if command in known else known.values()
    return all(field.metadata["argument"] for field in meant)


def _can_turn_off(known: dict[Kind, Field[Any]]) -> bool:
    """Whether a switch that is on by default can be turned off."""
    return any(field.default is True for field in known.values())


def _with_value(name: str, value: Any, *, can_turn_off: bool) -> str:
    """A switch turned on or off, or an option and what follows it."""
    if value is False:
        return flag(f"no_{name}") if can_turn_off else f"no {flag(name)}"
    if value is True:
        return flag(name)
    values = value if isinstance(value, tuple) else (value,)
    return " ".join(f"{flag(name)} {_as_word(each)}" for each in values)


def _read(value: str) -> Any:
    """A Python literal; a text that is none, such as FOLDER, as it is."""
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value


def _as_word(value: Any) -> str:
    return shlex.quote(str(value))
