"""The tests, and the run-time check of every annotated call of `cir` that they make."""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Checks shapes and types of a call; a configuration checks its values itself."""
    if function.__module__.startswith("cir.config."):
        return function
    return _beartype(function)
