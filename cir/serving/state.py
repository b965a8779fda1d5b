"""What the routes share: the engine, its queue, and what the server was told."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from cir.serving.answers import Answers
from cir.serving.batching import Batcher
from cir.serving.engine import Engine
from cir.serving.pictures import Pictures


@dataclass(eq=False)
class State:
    """One server's parts."""

    engine: Engine
    batcher: Batcher
    token: str | None
    """What a request that adds or removes must carry; None where none may."""
    answers: Answers = field(init=False)
    pictures: Pictures = field(default_factory=Pictures)

    def __post_init__(self) -> None:
        self.answers = Answers(self.engine)

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
