"""What the server holds, and that it answers."""

from fastapi import APIRouter

from cir import __version__
from cir.serving import limits, schemas
from cir.serving.state import Shared, State
from cir.types import Split

router = APIRouter(tags=["about"])


@router.get("/health")
def health(state: Shared) -> schemas.Health:
    """That the server answers."""
    return schemas.Health(
        status="ok",
        version=__version__,
        images=len(state.engine.gallery),
        waiting=state.batcher.waiting,
        index=_index(state),
    )


@router.get("/info")
def info(state: Shared) -> schemas.Info:
    """What the server holds: retrievers, categories, queries, bounds."""
    return schemas.Info(
        version=__version__,
        images=len(state.engine.gallery),
        retrievers=[
            schemas.RetrieverInfo(name=each.name, title=each.title, trained=each.trained)
            for each in state.engine.served.values()
        ],
        categories=categories(state),
        queries=_splits(state),
        writable=state.token is not None,
        limits=schemas.Limits(
            text=limits.TEXT,
            top=limits.RESULTS,
            upload_bytes=limits.UPLOAD_BYTES,
            upload_pixels=limits.UPLOAD_PIXELS,
        ),
    )


@router.get("/categories")
def categories(state: Shared) -> list[schemas.Category]:
    """The categories of the gallery, by name."""
    counts = state.engine.gallery.categories
    return [schemas.Category(name=name, images=count) for name, count in counts.items()]


def _index(state: State) -> schemas.IndexInfo:
    proposing = state.engine.gallery.proposing
    if proposing is None:
        return schemas.IndexInfo(name="flat", recall=1.0, measured_on=0)
    recall = proposing.recall
    return schemas.IndexInfo(name=proposing.name, recall=recall.found, measured_on=recall.queries)


def _splits(state: State) -> list[schemas.QuerySplit]:
    counts: dict[Split, int] = {}
    for item in state.engine.queries:
        counts[item.split] = counts.get(item.split, 0) + 1
    return [schemas.QuerySplit(split=split, queries=count) for split, count in counts.items()]
