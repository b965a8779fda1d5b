"""The page of a search: the references, and what was found, with their photos inside."""

from collections.abc import Sequence
from pathlib import Path

from cir.errors import ImageError
from cir.reporting.pages import write_page
from cir.reporting.pictures import data_uri
from cir.search.index import SearchResult


def write_search_page(
    path: Path, title: str, references: Sequence[Path | None], results: Sequence[SearchResult]
) -> None:
    """Writes the results as cards, the best first.

    Args:
        path: The HTML file; one that stands there is replaced.
        title: What was searched for.
        references: The references' files; None where a photo's vector alone is known.
        results: What was found.

    Raises:
        CirError: the file cannot be written.
    """
    write_page(
        path,
        "search.html.j2",
        title=title,
        references=[uri for file in references if (uri := _uri(file))],
        results=[(result, _uri(result.file)) for result in results],
    )


def _uri(file: Path | None) -> str | None:
    """A photo as a data URI; None where it is unknown, gone or broken."""
    try:
        return None if file is None else data_uri(file)
    except ImageError:
        return None
