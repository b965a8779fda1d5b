"""`cir search`: what a photo, a text, or a photo changed by a text finds in a gallery."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from cir import arguments
from cir.config import SearchConfig
from cir.errors import ImageError, without_middle
from cir.machine.runtime import pick_device
from cir.search.index import SearchIndex, SearchResult
from cir.search.open_index import open_indexes
from cir.search.opening import gallery_index
from pipeline.command.claims import claims_outputs
from pipeline.screen import console
from pipeline.screen.terminal_pictures import Protocol, picture, shown_by

_LETTERS: Final = 40
"""Characters of an id that the terminal shows; a longer one loses its middle."""


@claims_outputs
def run(config: SearchConfig) -> Path | None:
    """Searches, and shows the results; the path of the page where one is written."""
    arguments.instance("config", config, SearchConfig)
    index = gallery_index(config.index)
    opened = open_indexes(
        [config.run] if config.run else [],
        config.store,
        dataset=config.dataset,
        weights=config.weights,
        device=pick_device(config.device),
        # An index that is built for one query takes longer than the query.
        index="flat" if index == "auto" else index,
        progress=console.RichProgress(),
    )
    console.refreshed(opened.folder_changes, opened.left_out)
    searched = opened.first
    _tell_index(searched, config)
    results = _search(searched, config)
    if config.json:
        console.plain(json.dumps([_as_json(result) for result in results], indent=2))
    else:
        _print(config, results)
    # Last: where the page cannot be written, what was found has been shown.
    _write_page(config, searched, results)
    return config.html


def _tell_index(index: SearchIndex, config: SearchConfig) -> None:
    proposing = index.gallery.proposing
    if proposing is not None and not config.json:
        console.note(f"index: {proposing.name} {proposing.recall}")


def _search(index: SearchIndex, config: SearchConfig) -> list[SearchResult]:
    return index.search(
        config.image,
        config.text,
        top=config.top,
        category=config.category,
        without=config.without,
        like=config.like,
        unlike=config.unlike,
        less=config.less,
        weight=config.weight,
        copies=config.copies,
    )


def _as_json(result: SearchResult) -> dict[str, Any]:
    return {
        "rank": result.rank,
        "id": result.id,
        "score": result.score,
        "file": str(result.file) if result.file else None,
        "title": result.record.title,
        "categories": list(result.record.categories),
        "attributes": dict(result.record.attributes),
        "copies": list(result.copies),
    }


def _print(config: SearchConfig, results: Sequence[SearchResult]) -> None:
    if not results:
        console.note(
            "Nothing found: no photo is left beside the reference and its copies (`copies`), those "
            "of other categories and of `without`"
        )
        return
    columns = {
        "rank": [str(result.rank) for result in results],
        "id": [_short(result.id) for result in results],
        "score": [f"{result.score:.3f}" for result in results],
        "category": [", ".join(result.record.categories) for result in results],
        "copies": [str(len(result.copies) or "") for result in results],
        "title": [result.record.title for result in results],
    }
    told = {name: cells for name, cells in columns.items() if any(cells)}
    console.table(_title(config, _short), tuple(told), list(zip(*told.values(), strict=True)))
    protocol = shown_by() if console.is_terminal() else None
    if protocol:
        _draw(results, protocol)


def _title(config: SearchConfig, named: Callable[[str], str] = str) -> str:
    """What is searched for; `named` says what a photo is called."""
    images = [named(image) for image in config.image]
    parts = [*images, *((f'"{config.text}"',) if config.text.strip() else ())]
    return " + ".join(parts) or "more like " + ", ".join(map(named, config.like))


def _short(image_id: str) -> str:
    """An id as the terminal has room for it; `json` has it whole."""
    return without_middle(image_id, _LETTERS)


def _draw(results: Sequence[SearchResult], protocol: Protocol) -> None:
    """The photos that can be read, each below its rank and id."""
    for result in results:
        if result.file is None:
            continue
        try:
            drawn = picture(result.file, protocol)
        except ImageError:
            continue
        console.note(f"{result.rank}  {_short(result.id)}")
        console.plain(drawn)


def _write_page(config: SearchConfig, index: SearchIndex, results: Sequence[SearchResult]) -> None:
    if config.html is None:
        return
    # Drawing is imported where a page is written: without one the results come at once.
    from cir.reporting.search_page import write_search_page

    write_search_page(
        config.html, _title(config), [_file(index, each) for each in config.image], results
    )
    if not config.json:
        console.note(f"page: {config.html}")


def _file(index: SearchIndex, reference: str) -> Path | None:
    """The file of a reference; None of a photo whose vector alone is known."""
    return index.gallery.image(reference).file if reference in index.gallery else Path(reference)
