"""Names of weights, as users and stores write them."""

import difflib
from collections.abc import Sequence
from typing import Final

DEFAULT_TAG: Final = "openai"
"""The tag of published weights that is taken where none is named."""
ADOPTED: Final = "custom"
"""Of an encoder that is not open_clip's."""
UNTRAINED: Final = "untrained"
"""Of random weights."""


def tag_of(origin: str | None) -> str:
    """The tag in `tag:file`, as `Provenance.pretrained` names a local file's weights."""
    return (origin or "").partition(":")[0]


def near_names(name: str, names: Sequence[str]) -> list[str]:
    """Names that read alike, whatever their case; all of them where there are few."""
    by_lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
    return [by_lower[name] for name in close] or (list(names) if len(names) <= 8 else [])
