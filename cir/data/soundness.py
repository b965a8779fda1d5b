"""What no text, id or query may be, said in the same words by every stage before any work."""

import re
from collections.abc import Iterator
from typing import Final

from cir.data.queries import Query
from cir.errors import some_of

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def text_fault(text: str) -> str | None:
    """What keeps a text out of files and tokenizers; None where nothing does."""
    if "\0" in text:
        return f"{text!r} holds a NUL character"
    if _SURROGATE.search(text):
        return f"{text!r} holds half of a surrogate pair, which is no character"
    return None


def id_fault(image_id: str) -> str | None:
    """What keeps a text from being an image id: the name of a file, without folder or suffix."""
    if not image_id:
        return "an id is empty; expected a file's name without its suffix"
    if "/" in image_id:
        name = image_id.rsplit("/", 1)[1]
        return f"the id {image_id!r} holds a slash: write {name!r}, without the folder"
    fault = text_fault(image_id)
    return f"the id {fault}" if fault else None


def query_faults(query: Query) -> Iterator[str]:
    """What is wrong with one query, whatever its image split holds."""
    for image_id in (query.reference_id, *query.known_ids, *query.subset_ids):
        if fault := id_fault(image_id):
            yield fault
    for caption in query.captions:
        if fault := text_fault(caption):
            yield f"the caption {fault}"
    if query.reference_id in query.target_ids:
        yield f"the target is the reference, {query.reference_id!r}"


def outside_split(file: object, ids: tuple[str, ...]) -> str:
    """What to say of a captions file that names images which its image split lacks."""
    return f"{file} names {len(ids):,} ids that its image split lacks: {some_of(ids)}"
