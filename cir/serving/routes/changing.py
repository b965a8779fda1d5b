"""Photos added and removed, by those who hold the token."""

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Path, Query, Request, Response
from fastapi.security import HTTPBearer
from PIL import Image

from cir.artefacts.changes import TakenIdError
from cir.data.soundness import id_fault
from cir.serving import limits, schemas
from cir.serving.routes.searching import FAULTS
from cir.serving.security import holds_token
from cir.serving.state import Shared, State
from cir.serving.uploads import sized

router = APIRouter(tags=["changes"])

_ID_DIGITS = 16
"""Of the SHA-256 that names a photo which came without an id."""
_NO_ADDRESS = (".", "..")
"""Ids that clients take out of an address as steps between folders."""
_REFUSALS: dict[int | str, dict[str, Any]] = FAULTS | {
    401: {"model": schemas.Fault, "description": "The token is missing or wrong."},
    403: {"model": schemas.Fault, "description": "The server was not started as writable."},
}
_CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": schemas.Fault, "description": "The gallery holds a photo of that id."}
}
_PHOTO_BODY = {
    "requestBody": {
        "required": True,
        "description": "The bytes of an image file.",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_Printable = Annotated[str, Query(max_length=limits.ID, pattern=r"^[^\x00-\x1f\x7f]*$")]


def _holder(
    state: Shared, authorization: Annotated[str | None, Header(include_in_schema=False)] = None
) -> None:
    """Lets those pass who hold the token."""
    if state.token is None:
        raise HTTPException(403, "the server was not started as writable")
    if not holds_token(authorization, state.token):
        raise HTTPException(401, "the token is missing or wrong", {"WWW-Authenticate": "Bearer"})


_ONLY_HOLDERS = [Depends(HTTPBearer(auto_error=False)), Depends(_holder)]


@router.post(
    "/images",
    status_code=201,
    dependencies=_ONLY_HOLDERS,
    responses=_REFUSALS | _CONFLICT,
    openapi_extra=_PHOTO_BODY,
)
async def add(
    request: Request,
    state: Shared,
    id: Annotated[  # noqa: A002 - the name that requests use
        _Printable,
        Query(description="Holds no slash, as in a dataset; by default made from the bytes."),
    ] = "",
    title: _Printable = "",
    category: _Printable = "",
) -> schemas.Image:
    """Adds the photo in the body: it is on the disk, and the next search finds it."""
    given = id.strip()
    if fault := _id_fault(given):
        raise HTTPException(422, fault)
    encoded = await request.body()
    photo = await state.upload(lambda: sized(encoded))
    image_id = given or hashlib.sha256(encoded).hexdigest()[:_ID_DIGITS]

    def adding() -> None:
        _living_add(state, photo, encoded, image_id, title.strip(), category.strip())

    await state.batcher.call(adding)
    return state.answers.image(image_id)


@router.delete(
    "/images/{image_id:path}", status_code=204, dependencies=_ONLY_HOLDERS, responses=_REFUSALS
)
async def remove(image_id: Annotated[str, Path(max_length=limits.ID)], state: Shared) -> Response:
    """Removes a photo: no search finds it any more. A file of the dataset folder stays."""
    await state.batcher.call(lambda: _living_remove(state, image_id))
    return Response(status_code=204)


def _id_fault(given: str) -> str | None:
    """What keeps a text from being the id of a new photo; None of an empty one, which is none."""
    if given in _NO_ADDRESS:
        return f"`id` is {given!r}, which no address can hold: pass another"
    return id_fault(given) if given else None


def _living_add(
    state: State, photo: Image.Image, encoded: bytes, image_id: str, title: str, category: str
) -> None:
    """Runs in the thread that searches: nobody else adds the same id meanwhile."""
    if image_id in state.engine.gallery:
        raise HTTPException(409, f"the gallery holds a photo {image_id!r} already")
    try:
        state.engine.require_living().add(
            photo, encoded, image_id=image_id, title=title, category=category
        )
    except TakenIdError as fault:
        raise HTTPException(409, str(fault)) from None


def _living_remove(state: State, image_id: str) -> None:
    state.engine.require_living().remove(state.known(image_id))
