"""Queries of the dataset, whose true targets are known, and where those stand."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query

from cir.serving import limits, schemas
from cir.serving.judging import SplitQuery
from cir.serving.routes.browsing import Category, Count, Offset
from cir.serving.routes.searching import FAULTS, NOT_THERE
from cir.serving.state import Shared, State
from cir.serving.texts import Text

router = APIRouter(tags=["queries"])


@router.get("/queries", responses=NOT_THERE)
def queries(
    state: Shared,
    split: Annotated[schemas.SplitName, Query()] = "val",
    category: Category = None,
    text: Annotated[Text, Query(description="Words of the text.")] = "",
    offset: Offset = 0,
    count: Count = 50,
) -> schemas.DatasetQueries:
    """The queries of a split whose reference and a target of theirs are in the gallery."""
    wanted, within = text.casefold().split(), state.category(category)
    found = [
        item
        for item in state.engine.queries
        if item.split == split
        and within in (None, item.query.category)
        and all(word in item.text.casefold() for word in wanted)
    ]
    page = [state.answers.query(item) for item in found[offset : offset + count]]
    return schemas.DatasetQueries(total=len(found), queries=page)


@router.get("/queries/{query_id:path}", responses=FAULTS)
async def query(
    query_id: Annotated[str, Path(max_length=limits.ID)],
    state: Shared,
    retrievers: Annotated[
        list[str] | None, Query(max_length=2, description="Names of /api/info; all by default.")
    ] = None,
    top: Count = 10,
) -> schemas.JudgedQuery:
    """A query of the dataset: where its true targets rank, and the best of the same photos."""
    names = state.retrievers(retrievers or list(state.engine.served))

    def judging() -> schemas.JudgedQuery:
        judgement = state.engine.judge(_query(state, query_id), names, top)
        return state.answers.judged_query(judgement)

    return await state.batcher.call(judging)


def _query(state: State, query_id: str) -> SplitQuery:
    item = state.engine.queries.get(query_id)
    if item is None:
        raise HTTPException(404, f"the dataset has no query {query_id!r} that can be judged")
    return item
