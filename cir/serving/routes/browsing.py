"""The photos of the gallery: listings, pictures, and the words that are said of them."""

import random
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from PIL import Image

from cir.errors import ImageError
from cir.serving import limits, schemas
from cir.serving.routes.searching import NOT_THERE
from cir.serving.state import Shared, State
from cir.serving.texts import Text

router = APIRouter(tags=["images"])

ImageId = Annotated[str, Path(max_length=limits.ID)]
Category = Annotated[str | None, Query(max_length=limits.ID)]
Offset = Annotated[int, Query(ge=0, le=limits.OFFSET)]
Count = Annotated[int, Query(ge=1, le=limits.RESULTS)]


@router.get("/images", responses=NOT_THERE)
def images(
    state: Shared,
    category: Category = None,
    text: Annotated[Text, Query(description="Words of the id or the title.")] = "",
    seed: Annotated[
        int | None, Query(ge=0, lt=2**53, description="Shuffles the listing, a seed an order.")
    ] = None,
    offset: Offset = 0,
    count: Count = 50,
) -> schemas.Images:
    """The gallery's photos: all, a category's, those with some words, or a random order."""
    ids = _listed(state, state.category(category), text.casefold().split())
    if seed is not None:
        random.Random(seed).shuffle(ids)  # noqa: S311 - an order to look at
    page = [state.answers.image(image_id) for image_id in ids[offset : offset + count]]
    return schemas.Images(total=len(ids), images=page)


@router.get("/images/{image_id:path}", responses=NOT_THERE)
def image(image_id: ImageId, state: Shared) -> schemas.Image:
    """A photo of the gallery."""
    return state.answers.image(state.known(image_id))


@router.get(
    "/pictures/{image_id:path}",
    responses={**NOT_THERE, 200: {"content": {"image/jpeg": {}}}},
    response_class=Response,
)
def picture(
    image_id: ImageId,
    request: Request,
    state: Shared,
    side: Annotated[
        schemas.Side, Query(description="Pixels of the longest side, at most.")
    ] = "480",
) -> Response:
    """A photo of the gallery as a JPEG, drawn anew from its pixels."""
    key = state.engine.photo_key(state.known(image_id))
    tag = f'"{key}-{side}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    pixels = int(side)

    def read() -> Image.Image:
        return state.engine.read_photo(image_id, least=pixels)

    try:
        drawn = state.pictures.jpeg(key, pixels, read)
    except ImageError:
        raise HTTPException(404, f"the photo {image_id!r} cannot be read") from None
    return Response(drawn, media_type="image/jpeg", headers=headers)


@router.get("/words", responses=NOT_THERE)
def words(
    state: Shared,
    category: Category = None,
    count: Annotated[int, Query(ge=1, le=limits.RESULTS, description="Words of each.")] = 20,
) -> list[schemas.Attribute]:
    """The words of the catalogue's attributes, which a change may name; the frequent ones first."""
    by_attribute = state.engine.words(state.category(category))
    return [
        schemas.Attribute(
            name=name,
            words=[schemas.Word(word=word, images=number) for word, number in found[:count]],
        )
        for name, found in by_attribute.items()
    ]


def _listed(state: State, category: str | None, wanted: list[str]) -> list[str]:
    gallery = state.engine.gallery
    found = []
    for image_id in gallery.image_ids:
        record = gallery.record(image_id)
        named = f"{image_id} {record.title}".casefold() if wanted else ""
        within = category is None or category in record.categories
        if within and all(word in named for word in wanted):
            found.append(image_id)
    return found
