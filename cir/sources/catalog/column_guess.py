"""Which column of a catalogue holds what: as told, and else by what the columns hold.

The id is the column that names most photos. Among columns of kinds (a few short texts, again and
again), one that is called a category is the category, and those that photos may show (colour,
material, gender) are attributes. A column of names holds texts of several words.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Final

from cir.errors import UsageError
from cir.sources.catalog.column_content import ColumnContent, content_of, depends_on
from cir.sources.catalog.rows import CatalogTable
from cir.sources.photo_index import PhotoIndex
from cir.sources.split_names import split_named

MOST_ATTRIBUTES: Final = 6
"""Attributes that are guessed: photos that agree in all but two of many are rare."""
_CATEGORY: Final = re.compile(
    r"categ|kategor|catég|class|department|section|group|article ?type|product ?type|kind|type"
)
_SHOWN: Final = re.compile(
    r"colou?r|farbe|couleur|hue|shade|material|fabric|pattern|print|style|shape|gender|sex|type"
    r"|neck|sleeve|fit|length|heel|closure|finish|design"
)
"""Names of columns that say what photos may show."""
_NOT_SHOWN: Final = re.compile(
    r"season|year|usage|month|date|price|cost|currency|stock|qty|quantity|sku|ean|upc|gtin|asin|url"
    r"|link|image|photo|picture|file|path|size|weight|width|height|depth|dimension|rating|review"
    r"|country|origin|vendor|supplier|lieferant|preis|prix|bestand|status|availab|\bid\b|code|lang|updated|created|split|discount"
)
_NAME: Final = re.compile(r"name|title|titel|titre|label|product")
_FILLED: Final = 0.8
"""Share of rows in which a category must stand."""
_ROOMY: Final = 20
"""Rows a category has on average where there are enough for a gallery of each."""
_EXAMPLES, _LETTERS, _COLUMNS = 3, 40, 8
"""Values of a column that an error shows, their letters, and the columns."""


@dataclass(frozen=True)
class CatalogColumns:
    """Which column of the catalogue holds what."""

    id: str
    category: str | None
    """None where no column tells categories."""
    name: str | None
    attributes: tuple[str, ...]
    split: str | None = None


@dataclass(frozen=True)
class AskedColumns:
    """What a caller says of the columns: None is for guessing, an empty name for no column."""

    id: str | None = None
    category: str | None = None
    name: str | None = None
    attributes: tuple[str, ...] | None = None
    split: str | None = None


@dataclass(frozen=True)
class ColumnChoice:
    """One choice, for people to read."""

    field: str
    """What changes it: the name of an argument of `make_catalog`."""
    columns: tuple[str, ...]
    guessed: bool
    why: str


@dataclass(frozen=True)
class ColumnChoices:
    """The columns of a catalogue, and how each was chosen."""

    columns: CatalogColumns
    choices: tuple[ColumnChoice, ...]


def choose_columns(table: CatalogTable, photos: PhotoIndex, asked: AskedColumns) -> ColumnChoices:
    """Takes the columns that are told, and guesses the others.

    Raises:
        UsageError: a column that is told is not in the header, or no column names photos.
    """
    _require_columns(table, asked)
    contents = {name: content_of(name, table.values(name)) for name in table.header}
    chosen = _Chosen(table, contents, photos, asked)
    identity = chosen.id()
    split = chosen.split()
    category = chosen.category()
    name = chosen.name()
    attributes = chosen.attributes()
    return ColumnChoices(
        CatalogColumns(identity, category, name, attributes, split), tuple(chosen.choices)
    )


def _require_columns(table: CatalogTable, asked: AskedColumns) -> None:
    told = (asked.id, asked.category, asked.name, asked.split, *(asked.attributes or ()))
    missing = [column for column in told if column and column not in table.header]
    if missing:
        raise UsageError(
            f"{table.path} has no column {', '.join(missing)}; its columns are "
            f"{', '.join(table.header)}"
        )


class _Chosen:
    """Chooses column by column; one that is chosen is not guessed again."""

    def __init__(
        self,
        table: CatalogTable,
        contents: dict[str, ColumnContent],
        photos: PhotoIndex,
        asked: AskedColumns,
    ) -> None:
        self._table, self._contents, self._photos, self._asked = table, contents, photos, asked
        told = (asked.id, asked.category, asked.name, asked.split, *(asked.attributes or ()))
        self._taken = {column for column in told if column}
        self._category: str | None = None
        self.choices: list[ColumnChoice] = []

    def id(self) -> str:
        """The column whose values name most photos."""
        if self._asked.id:
            column, found = self._asked.id, self._matches(self._asked.id)
        else:
            matches = {column: self._matches(column) for column in self._table.header}
            column = max(matches, key=lambda name: (matches[name], -self._position(name)))
            found = matches[column]
        if not found:
            raise UsageError(self._no_photo_named(column))
        total = len(self._contents[column].values)
        told = "told; " if self._asked.id else ""
        why = f"{told}{found:,} of {total:,} values name a photo"
        return self._record("id_column", column, not self._asked.id, why) or column

    def split(self) -> str | None:
        """The column that holds names of splits alone."""
        if self._asked.split is not None:
            return self._record("split_column", self._asked.split, False, "told")
        fitting = self._first(lambda c: len(c.counts) > 1 and _names_splits(c))
        single = self._first(lambda c: len(c.counts) == 1 and _names_splits(c))
        why = "no column names splits; a photo's hash decides"
        if fitting:
            why = "names splits"
        elif single:
            why = (
                f"column {single!r} names {next(iter(self._contents[single].counts))!r} alone, "
                f"so a photo's hash decides"
            )
        return self._record("split_column", fitting, True, why)

    def category(self) -> str | None:
        """A column of kinds that is called a category, or else the first that says no attribute."""
        if self._asked.category is not None:
            column = self._asked.category
            why = f"told; {len(self._contents[column].counts):,} values" if column else "told"
            self._category = self._record("category_column", column, False, why)
            return self._category
        kinds = [c for c in self._left() if c.holds_kinds and c.filled >= _FILLED]
        named = [c for c in kinds if _CATEGORY.search(_words(c.name))]
        best = [c for c in named if "categ" in _words(c.name)] or named
        other = [c for c in kinds if not _SHOWN.search(_words(c.name)) and not _not_shown(c)]
        column = _finest(best) or (other[0].name if other else "")
        why = (
            f"{len(self._contents[column].counts):,} values"
            if column
            else "no column of kinds; folders count"
        )
        self._category = self._record("category_column", column, True, why)
        return self._category

    def name(self) -> str | None:
        """A column of texts of several words, one that is called a name first."""
        if self._asked.name is not None:
            return self._record("name_column", self._asked.name, False, "told")
        texts = [c for c in self._left() if c.holds_names]
        called = [c for c in texts if _NAME.search(_words(c.name))] or texts
        column = called[0].name if called else ""
        why = f"such as {called[0].values[0]!r}" if called else "no column of names"
        return self._record("name_column", column, True, why)

    def attributes(self) -> tuple[str, ...]:
        """The columns of kinds that photos may show, and others that say more than the category."""
        if self._asked.attributes is not None:
            columns = tuple(column for column in self._asked.attributes if column)
            self._note("attribute_columns", columns, False, "told")
            return columns
        kinds = [
            c
            for c in self._left()
            if c.holds_kinds and not _not_shown(c) and not self._repeats_category(c)
        ]
        kinds.sort(key=lambda c: not _SHOWN.search(_words(c.name)))
        columns = tuple(c.name for c in kinds[:MOST_ATTRIBUTES])
        beyond = (
            f"; {len(kinds) - MOST_ATTRIBUTES} more could be" if kinds[MOST_ATTRIBUTES:] else ""
        )
        why = f"a few values, again and again{beyond}" if columns else "no further column of kinds"
        self._note("attribute_columns", columns, True, why)
        return columns

    def _repeats_category(self, content: ColumnContent) -> bool:
        if self._category is None:
            return False
        texts = self._table.values(content.name)
        return depends_on(texts, self._table.values(self._category))

    def _matches(self, column: str) -> int:
        return sum(len(self._photos.find(value)) > 0 for value in self._contents[column].values)

    def _left(self) -> list[ColumnContent]:
        return [c for c in self._contents.values() if c.name not in self._taken and c.values]

    def _first(self, fits: Callable[[ColumnContent], bool]) -> str:
        return next((content.name for content in self._left() if fits(content)), "")

    def _position(self, column: str) -> int:
        return self._table.header.index(column)

    def _record(self, field: str, column: str, guessed: bool, why: str) -> str | None:
        """Notes a choice of one column; None where it is of none."""
        self._note(field, (column,) if column else (), guessed, why)
        return column or None

    def _note(self, field: str, columns: tuple[str, ...], guessed: bool, why: str) -> None:
        self._taken.update(columns)
        self.choices.append(ColumnChoice(field, columns, guessed, why))

    def _no_photo_named(self, column: str) -> str:
        looked_in = f"column {column}" if self._asked.id else "any column"
        held = [f"{name} {_examples(self._contents[name].values)}" for name in self._table.header]
        shown = held[:_COLUMNS] if not self._asked.id else [held[self._position(column)]]
        more = "; ..." if len(held) > _COLUMNS and not self._asked.id else ""
        return (
            f"{self._table.path} names no photo in {looked_in}: photos are called "
            f"{_examples(self._photos.names)}, and the columns hold {'; '.join(shown)}{more}; pass "
            f"the column of ids or file names as `id_column`, or its folder of photos as `images`"
        )


def _names_splits(content: ColumnContent) -> bool:
    return all(split_named(value) for value in content.counts)


def _finest(contents: Sequence[ColumnContent]) -> str:
    """The column with the most values among those with enough rows a value; else the coarsest."""
    if not contents:
        return ""
    roomy = [c for c in contents if len(c.values) >= _ROOMY * len(c.counts)]
    if roomy:
        return max(roomy, key=lambda c: len(c.counts)).name
    return min(contents, key=lambda c: len(c.counts)).name


def _not_shown(content: ColumnContent) -> bool:
    words = _words(content.name)
    return bool(_NOT_SHOWN.search(words)) and not _SHOWN.search(words)


def _words(column: str) -> str:
    """A column's name in lower case, its words apart: `baseColour` is `base colour`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[_\W]+", " ", column).lower().strip()


def _examples(values: Sequence[str]) -> str:
    """The first values, each on one line and no longer than one can read."""
    short = [shorten(value, _LETTERS, placeholder="...") for value in values[:_EXAMPLES]]
    return ", ".join(short) + (", ..." if len(values) > _EXAMPLES else "")
