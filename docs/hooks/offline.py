"""Checks that no built page loads anything from elsewhere; only links leave the site."""

import re
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError

_RESOURCES: Final = re.compile(
    r"""<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href|srcset)=["']?((?:https?:)?//[^"'\s>]+)"""
)
_STYLES: Final = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""")
_PATTERNS: Final = {".html": (_RESOURCES, _STYLES), ".css": (_STYLES,)}


def on_post_build(config: MkDocsConfig) -> None:
    """Raises PluginError with every address outside the site that a page or a style loads."""
    foreign = [
        f"{file.relative_to(config.site_dir)}: {address}"
        for file in sorted(Path(config.site_dir).rglob("*"))
        for pattern in _PATTERNS.get(file.suffix, ())
        for address in pattern.findall(file.read_text(encoding="utf-8"))
    ]
    if foreign:
        raise PluginError("pages load from elsewhere:\n" + "\n".join(foreign))
