"""Negatives for any retriever: queries, a corpus, and which rows of it answer each query.

Text to text, text to image, anything that becomes two tables of vectors; no dataset, no file.
`mine_negatives` joins such tables to `cir.mining.engine`; `cir.mining.export` turns what it finds
into training data. With an encoder's `encode(questions)` and `encode(passages)` for the vectors:

    >>> import numpy as np
    >>> from cir.mining import as_columns, mine_negatives
    >>> questions = ["who wrote Dracula", "the capital of Peru"]
    >>> passages = ["Stoker wrote Dracula.", "Lima is the capital of Peru.",
    ...             "Shelley wrote Frankenstein.", "Quito is the capital of Ecuador."]
    >>> answers = [0, 1]  # the passage that answers each question
    >>> question_vectors = np.array([[1.0, 0.0, 0.1], [0.0, 1.0, 0.1]])
    >>> passage_vectors = np.array([[1.0, 0.1, 0.2], [0.1, 1.0, 0.2],
    ...                             [0.8, 0.0, 0.5], [0.0, 0.8, 0.5]])
    >>> mined = mine_negatives(question_vectors, answers, passage_vectors, num_negatives=1)
    >>> mined.rows.tolist()
    [[2], [3]]
    >>> as_columns(mined, questions, answers, passages)["negative"]
    ['Shelley wrote Frankenstein.', 'Quito is the capital of Ecuador.']
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int64

from cir.artefacts.vectors import normalised
from cir.config import MineConfig, MiningOptions, Sampling
from cir.errors import UsageError, VectorError
from cir.mining.engine import mine
from cir.mining.exclusions.excluded import exclusions_of
from cir.mining.exclusions.near_duplicates import near_duplicates
from cir.mining.numerics.cosine import paired_distances
from cir.mining.plan import Draw, Plan
from cir.mining.problem import Mined, Problem
from cir.progress import SILENT, Progress

Choice = Literal["nearest", "hard", "semi-hard", "easy", "random"]
"""A kind of negative, or any kind: the nearest, or a sample."""

Rows = Sequence[int] | Sequence[Sequence[int]] | Int[np.ndarray, "queries ..."]
"""Rows of the corpus by query, one or several."""

_CPU: Final = torch.device("cpu")
_DRAWS: Final[Mapping[Choice, tuple[Draw, ...]]] = {
    # All hard ones are nearer than any other: these, and fills by the nearest, are the nearest.
    "nearest": (Draw("any", 1, "hard"), Draw("any", 0, "semi-hard"), Draw("any", 0, "easy")),
    "hard": (Draw("any", 1, "hard"),),
    "semi-hard": (Draw("any", 1, "semi-hard"),),
    "easy": (Draw("any", 1, "easy"),),
    "random": (Draw("any", 1, "any"),),
}


def mine_negatives(
    anchors: Float[np.ndarray, "queries dim"],
    positives: Rows,
    corpus: Float[np.ndarray, "gallery _"],
    *,
    strategy: Choice = "semi-hard",
    num_negatives: int = MiningOptions.num_negatives,
    margin: float = MiningOptions.margin,
    sampling: Sampling = MiningOptions.sampling,
    temperature: float = MiningOptions.temperature,
    relative_margin: float | None = MiningOptions.relative_margin,
    max_similarity: float | None = MiningOptions.max_similarity,
    range_min: int = MiningOptions.range_min,
    range_max: int | None = MiningOptions.range_max,
    duplicate_threshold: float = MiningOptions.duplicate_threshold,
    excluded: Sequence[Sequence[int]] | None = None,
    fill: Literal["nearest", "random"] | None = None,
    seed: int = MiningOptions.seed,
    device: torch.device = _CPU,
    block_size: int = MineConfig.block_size,
    progress: Progress = SILENT,
) -> Mined:
    """Mines negatives for each query out of a corpus, exactly, over all of it.

    Args:
        anchors: The queries' vectors, of any length.
        positives: For each query, the row or rows of `corpus` that answer it. They are never its
            negatives. Of several, the one farthest from the query is its target, which bands and
            relative margin are measured from.
        corpus: The vectors of everything that may be retrieved.
        strategy: Which candidates: `hard` (nearer than the target), `semi-hard` (farther, by less
            than the margin), `easy` (the rest), or of any kind the `nearest` or a `random` sample.
        num_negatives: How many a query.
        margin: Width of the semi-hard band, in cosine distance.
        sampling: `top` takes the nearest of the band, `random` and `softmax` draw from all of it.
        temperature: With `softmax`, a candidate at distance d weighs exp(−d / temperature).
        relative_margin: Refuses candidates whose cosine is above (1 − this) of the target's.
        max_similarity: Refuses candidates whose cosine to the query is above this.
        range_min: Refuses this many of the candidates nearest to the query.
        range_max: Refuses all but this many of them.
        duplicate_threshold: A candidate whose cosine to a positive reaches this is its duplicate,
            no negative; 1.01 keeps all.
        excluded: For each query, further rows of `corpus` that are no negatives of it: answers
            known from elsewhere, or the query itself where it stands in the corpus.
        fill: What fills up a query whose band holds too few; None leaves it short.
        seed: Of every random choice.
        device: Where the matrix products run.
        block_size: Queries compared with the corpus at once, which bounds the memory.
        progress: Shows gallery images per second.

    Returns:
        Row i is query i; `rows` are rows of `corpus`. A query that got fewer is `starved`, and its
        empty places are `NO_ROW`.

    Raises:
        VectorError: vectors are NaN, infinite, all zero or of two dimensions, or there are none.
        UsageError: rows, or options, that cannot be.
    """
    options = MiningOptions(
        num_negatives=num_negatives,
        margin=margin,
        sampling=sampling,
        temperature=temperature,
        relative_margin=relative_margin,
        max_similarity=max_similarity,
        range_min=range_min,
        range_max=range_max,
        duplicate_threshold=duplicate_threshold,
        seed=seed,
    )
    if num_negatives > len(corpus):
        raise UsageError(
            f"num_negatives is {num_negatives}; the corpus holds {len(corpus)} vectors"
        )
    plan = _plan(strategy, options, fill)
    problem = _problem(anchors, positives, corpus, excluded, duplicate_threshold)
    mined = mine(problem, plan, device=device, block_size=block_size, progress=progress)
    if strategy == "nearest":
        return replace(mined, starved=mined.counts < num_negatives)
    return mined


def row_lists(rows: Rows, what: str, queries: int, gallery: int) -> list[list[int]]:
    """Rows of a corpus by query, as lists.

    Raises:
        UsageError: there are not as many as queries, or one is outside the corpus; `what` names
            them.
    """
    lists = [[int(row) for row in (own if np.iterable(own) else (own,))] for own in rows]
    if len(lists) != queries:
        raise UsageError(f"{what} are of {len(lists)} queries; expected one a query, {queries}")
    wrong = next((row for own in lists for row in own if not 0 <= row < gallery), None)
    if wrong is not None:
        raise UsageError(f"{what} name row {wrong} of a corpus of {gallery}, counted from 0")
    return lists


def _plan(
    strategy: Choice, options: MiningOptions, fill: Literal["nearest", "random"] | None
) -> Plan:
    if strategy not in _DRAWS:
        raise UsageError(f"strategy is {strategy!r}; expected one of {', '.join(_DRAWS)}")
    if strategy == "nearest":
        if options.sampling != "top":
            raise UsageError("strategy nearest takes no sample; for one of any kind pass random")
        fill = "nearest"
    return Plan(
        draws=_DRAWS[strategy],
        num_negatives=options.num_negatives,
        margin=options.margin,
        sampling=options.sampling,
        temperature=options.temperature,
        fill=fill,
        seed=options.seed,
        relative_margin=options.relative_margin,
        max_similarity=options.max_similarity,
        range_min=options.range_min,
        range_max=options.range_max,
    )


def _problem(
    anchors: Float[np.ndarray, "queries dim"],
    positives: Rows,
    corpus: Float[np.ndarray, "gallery _"],
    excluded: Sequence[Sequence[int]] | None,
    duplicate_threshold: float,
) -> Problem:
    """Unit vectors, each query's target, and the rows that are no negatives of it."""
    answers = row_lists(positives, "positives", len(anchors), len(corpus))
    if not all(answers):
        raise UsageError(f"query {answers.index([])} has no positive; expected at least one")
    queries, gallery = _unit(anchors, "the anchors"), _unit(corpus, "the corpus")
    if queries.shape[1] != gallery.shape[1]:
        raise VectorError(
            f"the anchors are {queries.shape[1]}-d, the corpus is {gallery.shape[1]}-d; "
            f"expected vectors of one encoder"
        )
    barred = _copies(answers, gallery, duplicate_threshold)
    if excluded is not None:
        others = row_lists(excluded, "excluded", len(anchors), len(corpus))
        barred = [{*alike, *more} for alike, more in zip(barred, others, strict=True)]
    targets = gallery[_farthest(queries, gallery, answers)]
    return Problem(queries, targets, gallery, exclusions_of(barred))


def _unit(vectors: Float[np.ndarray, "rows dim"], what: str) -> Float32[np.ndarray, "rows dim"]:
    """Unit vectors; half precision is widened first, whose squares would overflow."""
    return normalised(vectors.astype(np.promote_types(vectors.dtype, np.float32)), what)


def _copies(
    answers: Sequence[Sequence[int]],
    gallery: Float32[np.ndarray, "gallery dim"],
    duplicate_threshold: float,
) -> list[set[int]]:
    """For each query, its positives and the rows that duplicate one of them."""
    distinct = sorted({row for own in answers for row in own})
    copies = {row: {row} for row in distinct}
    places, rows = near_duplicates(gallery[distinct], gallery, duplicate_threshold)
    for place, row in zip(places.tolist(), rows.tolist(), strict=True):
        copies[distinct[place]].add(row)
    return [set().union(*(copies[row] for row in own)) for own in answers]


def _farthest(
    queries: Float32[np.ndarray, "queries dim"],
    gallery: Float32[np.ndarray, "gallery dim"],
    answers: Sequence[Sequence[int]],
) -> Int64[np.ndarray, " queries"]:
    """The row of each query's farthest positive; of equally far ones, the first row."""
    numbers = np.repeat(np.arange(len(answers)), [len(own) for own in answers])
    rows = np.array([row for own in answers for row in own], dtype=np.int64)
    distances = paired_distances(queries, numbers, gallery, rows)
    order = np.lexsort((rows, -distances, numbers))
    starts = np.searchsorted(numbers, np.arange(len(answers)))
    return rows[order][starts]
