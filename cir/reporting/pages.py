"""What the pages share: figures, charts, tables, and the templates that they are filled into."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from cir import __version__
from cir.artefacts.checksums import shortened
from cir.disk.files import written_aside
from cir.errors import printable

PARTS_CSS: Final = Path(__file__).parent / "templates" / "parts.css"
"""The style of what all pages share, that of the server among them."""


_SEPARATORS: Final = re.compile(r"(?<=[/+,_=:|])(?=\S)|(?<=\w)(?=-\w)")
"""Where a long word of settings, paths and commands may go on in the next line."""


@dataclass(frozen=True)
class Figure:
    """A number worth a card."""

    label: str
    value: str
    detail: str


@dataclass(frozen=True)
class Chart:
    """A drawing with its heading."""

    title: str
    caption: str
    drawings: Sequence[Markup]
    small: bool = False
    """Whether the drawings are small, several in a line."""


@dataclass(frozen=True)
class PageTable:
    """Rows of text under a heading; the first column names what the others say."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


def write_page(path: Path, template: str, **values: Any) -> None:
    """Fills a template of this package and writes it aside, then to `path`.

    Bytes of texts and file names that are no UTF-8 stand as escapes.

    Raises:
        CirError: the file cannot be written.
    """
    html = _TEMPLATES.get_template(template).render(**values, version=__version__)
    with written_aside(path) as aside:
        aside.write_text(printable(html), encoding="utf-8")


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number with its noun: `1 category`, `2,000 categories`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def percents(figures: Mapping[str, float]) -> list[str]:
    """Recalls, already in percent, as the cells of a table."""
    return [f"{value:.1f}" for value in figures.values()]


def shown(value: Any) -> str:
    """A setting as text for a reader; of a SHA-256 the first digits."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(shown(each) for each in value)
    return f"{value:g}" if isinstance(value, float) else shortened(value)


def breakable(text: str) -> Markup:
    """A text that may be broken behind separators, and only else within a word."""
    return Markup("<wbr>").join(escape(part) for part in _SEPARATORS.split(text))


def anchor(title: str) -> str:
    """The id of the section under a heading."""
    return "-".join(re.findall(r"[a-z0-9]+", title.lower()))


_TEMPLATES: Final = Environment(
    loader=PackageLoader("cir.reporting"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {"breakable": breakable, "anchor": anchor}
