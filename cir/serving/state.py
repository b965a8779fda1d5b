"""What the routes share: the engine, its queue, and what the server was told."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from PIL import Image

from cir.serving import limits
from cir.serving.answers import Answers
from cir.serving.batching import Batcher
from cir.serving.engine import Engine
from cir.serving.pictures import ThumbnailCache


@dataclass(eq=False)
class State:
    """One server's parts."""

    engine: Engine
    batcher: Batcher
    token: str | None
    """What a request that adds or removes must carry; None where none may."""
    answers: Answers = field(init=False)
    pictures: ThumbnailCache = field(default_factory=ThumbnailCache)
    _uploads: int = field(default=0, init=False)
    """Photos that are decoded, or wait for it."""
    _decoding: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.answers = Answers(self.engine)
        self._decoding = asyncio.Semaphore(limits.DECODED)

    async def upload(self, encoded: Callable[[], bytes]) -> Image.Image:
        """A photo that came with a request, as the encoders see it, decoded beside the queue.

        Args:
            encoded: The bytes of its file, made beside the queue as well.

        Raises:
            BusyError: the queue, with the photos on their way to it, is full.
            ImageError: it is no photo, or a larger one than may be.
        """
        self.batcher.require_room(self._uploads)
        self._uploads += 1
        try:
            async with self._decoding:
                return await run_in_threadpool(lambda: self.engine.read_upload(encoded()))
        finally:
            self._uploads -= 1

    def known(self, image_id: str) -> str:
        """The id, where the gallery holds it; else the request is answered with 404."""
        if image_id not in self.engine.gallery:
            raise HTTPException(404, f"the gallery holds no photo {image_id!r}")
        return image_id

    def retrievers(self, asked: list[str]) -> tuple[str, ...]:
        """The names that were asked for, the first of all by default; else 404."""
        names = tuple(dict.fromkeys(asked)) or (next(iter(self.engine.served)),)
        for name in names:
            if name not in self.engine.served:
                known = ", ".join(self.engine.served)
                raise HTTPException(404, f"there is no retriever {name!r}; expected {known}")
        return names

    def category(self, name: str | None) -> str | None:
        """The name of a category of the gallery, or None; else 404."""
        if name is not None and not self.engine.gallery.has_category(name):
            raise HTTPException(404, f"the gallery has no category {name!r}")
        return name


def _of_app(request: Request) -> State:
    state: State = request.app.state.cir
    return state


Shared = Annotated[State, Depends(_of_app)]
"""The state, as a route's parameter."""
