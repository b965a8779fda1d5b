"""What is searched for: a reference, a text, and what the results shall be more or less like."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from cir import arguments
from cir.config.faults import of_a_query
from cir.errors import ConfigError
from cir.search.inputs import unless_blank

Example = str | Path | Image.Image
"""The id of a gallery's photo, a file, or an image that is decoded already."""

MOST_RESULTS: Final = 1000
"""Results of one query, at most."""


@dataclass(frozen=True, eq=False)
class SearchQuery:
    """One query; every text among its examples is an id of the gallery, never a path."""

    images: tuple[Example, ...] = ()
    """The references: several count as their mean."""
    text: str = ""
    """What to change of the reference, or what to find where there is none; one that is blank is
    no text."""
    like: tuple[Example, ...] = ()
    """Photos that the results shall be more like."""
    unlike: tuple[Example, ...] = ()
    """Photos that they shall be less like."""
    less: tuple[str, ...] = ()
    """Texts that they shall be less like; none is blank."""
    top: int = 10
    """How many results."""
    category: str | None = None
    """The category that is searched; None searches all."""
    without: frozenset[str] = frozenset()
    """Ids that are never results."""
    weight: float | None = None
    """The share of the text, 0 (the image alone) to 1; None and 0.5 are the combiner's own."""
    copies: bool = False
    """Whether near-copies are results of their own."""

    def __post_init__(self) -> None:
        """Raises UsageError where there is nothing to search for, or a value cannot be."""
        object.__setattr__(self, "text", unless_blank(self.text))
        self._require_whole()
        arguments.integer("top", self.top, 1, MOST_RESULTS)
        if self.weight is not None:
            arguments.real("weight", self.weight, 0, 1)
        named = self.category is None or isinstance(self.category, str)
        arguments.require("category", self.category, "the name of a category", holds=named)
        arguments.require(
            "copies", self.copies, "True or False", holds=isinstance(self.copies, bool)
        )

    def _require_whole(self) -> None:
        """Raises ConfigError unless it says what to search for, as the command line requires it."""
        faults = of_a_query(
            image=bool(self.images),
            text=bool(self.text),
            like=bool(self.like),
            less=self.less,
            weight=self.weight,
        )
        if listed := tuple(faults):
            raise ConfigError(listed)

    @property
    def examples(self) -> tuple[Example, ...]:
        """Every photo that the query names."""
        return (*self.images, *self.like, *self.unlike)

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text that is to be encoded."""
        return (*((self.text,) if self.text else ()), *self.less)
