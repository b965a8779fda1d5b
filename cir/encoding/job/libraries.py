"""Versions of the libraries that vectors depend on."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final

_PACKAGES: Final = ("torch", "open_clip_torch", "torchvision", "pillow")
_SEVERAL: Final = ", "


@cache
def versions() -> Mapping[str, str]:
    """The version of each library here, by name."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def merged(earlier: Mapping[str, str], here: Mapping[str, str]) -> dict[str, str]:
    """The versions of a store that grew: of each library all that made vectors, in their order."""
    return {
        name: _SEVERAL.join(dict.fromkeys([*_listed(earlier.get(name)), here[name]]))
        for name in here
    }


def _listed(several: str | None) -> list[str]:
    return several.split(_SEVERAL) if several else []
