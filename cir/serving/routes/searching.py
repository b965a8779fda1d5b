"""Searching, and the neighbours of a photo."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from PIL import Image

from cir.search.query import SearchQuery
from cir.serving import limits, schemas
from cir.serving.engine import Search
from cir.serving.state import Shared, State
from cir.serving.uploads import photo_bytes

router = APIRouter(tags=["search"])

NOT_THERE: dict[int | str, dict[str, Any]] = {
    404: {"model": schemas.Fault, "description": "A photo, category or retriever is not there."}
}
FAULTS: dict[int | str, dict[str, Any]] = NOT_THERE | {
    413: {"model": schemas.Fault, "description": "The request is too large."},
    503: {"model": schemas.Fault, "description": "Too many wait: come again after Retry-After."},
}


@router.post("/search", responses=FAULTS)
async def search(request: schemas.SearchRequest, state: Shared) -> schemas.SearchResponse:
    """The photos nearest to a reference, a text, or a reference changed by a text."""
    names = state.retrievers(request.retrievers)
    photo = await _photo(request.photo, state) if request.photo else None
    query = _query(request, state, photo)
    searched = await state.batcher.search(Search(query, names))
    return state.answers.search(searched, names)


@router.get("/neighbours/{image_id:path}", responses=FAULTS)
async def neighbours(
    image_id: Annotated[str, Path(max_length=limits.ID)],
    state: Shared,
    top: Annotated[int, Query(ge=1, le=limits.RESULTS)] = 10,
    category: Annotated[str | None, Query(max_length=limits.ID)] = None,
) -> schemas.Neighbours:
    """The photos nearest to one of the gallery, by image alone."""
    names = state.retrievers([])
    images, within = (state.known(image_id),), state.category(category)
    query = SearchQuery(images=images, top=top, category=within)
    searched = await state.batcher.search(Search(query, names))
    return schemas.Neighbours(
        image=state.answers.image(image_id),
        results=state.answers.results(searched.answers[names[0]]),
    )


async def _photo(encoded: str, state: State) -> Image.Image:
    return await state.upload(lambda: photo_bytes(encoded))


def _query(request: schemas.SearchRequest, state: State, photo: Image.Image | None) -> SearchQuery:
    """The query of a request, whose ids are all in the gallery."""
    for image_id in (*request.images, *request.like, *request.unlike, *request.without):
        state.known(image_id)
    return SearchQuery(
        images=(*request.images, *((photo,) if photo else ())),
        text=request.text.strip(),
        like=tuple(request.like),
        unlike=tuple(request.unlike),
        less=tuple(request.less),
        top=request.top,
        category=state.category(request.category),
        without=frozenset(request.without),
        weight=request.weight,
        copies=request.copies,
    )
