"""The application: routes, the page, and what every request is held to."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from cir import __version__
from cir.errors import CirError, UnreachableError
from cir.reporting.pages import PARTS_CSS
from cir.serving import limits, schemas
from cir.serving.batching import Batcher, BusyError
from cir.serving.document import api_page
from cir.serving.engine import Engine
from cir.serving.parameters import known_alone
from cir.serving.routes import about, browsing, changing, judging, searching
from cir.serving.security import BoundedBodies, HeadRequests, KnownHosts, SecurityHeaders
from cir.serving.state import State

STATIC: Final = Path(__file__).parent / "static"
"""The page's files; `index.html` is the page itself."""
_MALFORMED: Final[dict[int | str, dict[str, Any]]] = {
    422: {"model": schemas.Fault, "description": "The request cannot be answered; says why."}
}
_RETRY_SECONDS: Final = 1
"""When a request that found the queue full may come again."""


def create_app(
    engine: Engine,
    *,
    queue: int,
    token: str | None = None,
    hosts: Sequence[str] = ("*",),
) -> FastAPI:
    """The server over an engine.

    Args:
        engine: What it answers from.
        queue: Searches that may wait; beyond them a request is answered with 503.
        token: What a request that adds or removes photos must carry; None where none may.
        hosts: Host names that requests may be addressed to: others are refused, so that no page
            elsewhere reaches a server of this machine under a name of its own.
    """
    batcher = Batcher(engine.search_all, queue=queue, batch=limits.BATCH)

    @asynccontextmanager
    async def working(_: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await batcher.stop()

    app = FastAPI(
        title="cir",
        version=__version__,
        description="Composed image retrieval: a photo and a text find photos.",
        lifespan=working,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.cir = State(engine, batcher, token)
    api = APIRouter(prefix="/api", responses=_MALFORMED, dependencies=[Depends(known_alone)])
    for part in (about, searching, browsing, changing, judging):
        api.include_router(part.router)
    app.include_router(api)
    _add_page(app)
    app.add_exception_handler(BusyError, _busy)
    app.add_exception_handler(UnreachableError, _busy)
    app.add_exception_handler(CirError, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_middleware(BoundedBodies)
    app.add_middleware(HeadRequests)
    app.add_middleware(KnownHosts, hosts=hosts)
    app.add_middleware(SecurityHeaders)
    return app


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/api/docs", include_in_schema=False)
    def documentation() -> HTMLResponse:
        return HTMLResponse(api_page(app.openapi()))

    @app.get("/static/parts.css", include_in_schema=False)
    def parts() -> FileResponse:
        return FileResponse(PARTS_CSS, media_type="text/css")

    app.mount("/static", StaticFiles(directory=STATIC), name="static")


async def _busy(_: Request, fault: Exception) -> JSONResponse:
    """The queue is full, or the index elsewhere does not answer: the same may go well later."""
    headers = {"Retry-After": str(_RETRY_SECONDS)}
    return JSONResponse({"detail": str(fault)}, 503, headers=headers)


async def _refused(_: Request, fault: Exception) -> JSONResponse:
    """What the library refuses is the request's fault, and told in its words."""
    content: dict[str, Any] = {"detail": str(fault)}
    return JSONResponse(content, 422)


async def _malformed(_: Request, fault: Exception) -> JSONResponse:
    """Every fault of a request in one line, by the name of its field."""
    errors = fault.errors() if isinstance(fault, RequestValidationError) else ()
    return JSONResponse({"detail": "; ".join(map(_described, errors))}, 422)


def _described(error: Mapping[str, Any]) -> str:
    if error["type"] == "json_invalid":
        return f"the body is no JSON: {error['ctx']['error']} at character {error['loc'][-1]}"
    names = [str(part) for part in error["loc"] if part not in ("body", "query", "path")]
    return f"`{'.'.join(names) or 'the body'}`: {error['msg']}"
