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
from jaxtyping import Float32, Int64

from cir import arguments
from cir.artefacts.vectors import normalised
from cir.config import MineConfig, MiningOptions, unused_by_bands, unused_by_sampling
from cir.errors import ConfigError, UsageError, VectorError
from cir.mining.arguments import Rows, Vectors, mining_device, row_lists, table
from cir.mining.engine import mine
from cir.mining.exclusions.excluded import exclusions_of
from cir.mining.exclusions.near_duplicates import near_duplicates
from cir.mining.numerics.cosine import paired_distances
from cir.mining.plan import FILLS, Draw, Fill, Plan
from cir.mining.problem import Mined, Problem
from cir.progress import SILENT, Progress
from cir.ragged import Ragged
from cir.types import Sampling

Choice = Literal["nearest", "hard", "semi-hard", "easy", "adaptive", "random"]
"""A kind of negative, or any kind: the nearest, or a sample."""

_DRAWS: Final[Mapping[Choice, tuple[Draw, ...]]] = {
    # All hard ones are nearer than any other: these, and fills by the nearest, are the nearest.
    "nearest": (Draw("any", 1, "hard"), Draw("any", 0, "semi-hard"), Draw("any", 0, "easy")),
    "hard": (Draw("any", 1, "hard"),),
    "semi-hard": (Draw("any", 1, "semi-hard"),),
    "easy": (Draw("any", 1, "easy"),),
    "adaptive": (Draw("any", 1, "adaptive"),),
    "random": (Draw("any", 1, "any"),),
}


def mine_negatives(
    anchors: Vectors,
    positives: Rows,
    corpus: Vectors,
    *,
    strategy: Choice = "semi-hard",
    num_negatives: int = MiningOptions.num_negatives,
    margin: float = MiningOptions.margin,
    drop_window: int = MiningOptions.drop_window,
    sampling: Sampling = MiningOptions.sampling,
    temperature: float = MiningOptions.temperature,
    relative_margin: float | None = MiningOptions.relative_margin,
    max_similarity: float | None = MiningOptions.max_similarity,
    range_min: int = MiningOptions.range_min,
    range_max: int | None = MiningOptions.range_max,
    duplicate_threshold: float = MiningOptions.duplicate_threshold,
    excluded: Rows | None = None,
    fill: Fill = None,
    seed: int = MiningOptions.seed,
    device: torch.device | str = "cpu",
    block_size: int = MineConfig.block_size,
    progress: Progress = SILENT,
) -> Mined:
    """Mines negatives for each query out of a corpus, exactly, over all of it.

    Vectors and rows may be arrays, tensors, lists, data frames or columns of these.

    Args:
        anchors: The queries' vectors, (queries, dim), of any length.
        positives: For each query, the row or rows of `corpus` that answer it. They are never its
            negatives. Of several, the one farthest from the query is its target, which bands and
            relative margin are measured from.
        corpus: The vectors of everything that may be retrieved, (gallery, dim).
        strategy: Which candidates: `hard` (nearer than the target), `semi-hard` (farther, by less
            than the margin), `easy` (the rest), `adaptive` (between the two steepest drops of the
            scores behind the target), or of any kind the `nearest` or a `random` sample.
        num_negatives: How many a query.
        margin: Width of the semi-hard band, in cosine distance.
        drop_window: Candidates behind the target that `adaptive` looks at for the steepest drops;
            refused with another strategy.
        sampling: `top` takes the nearest of the band, `random` and `softmax` draw from all of it.
        temperature: With `softmax`, a candidate at distance d weighs exp(−d / temperature);
            refused with another sampling.
        relative_margin: Excludes candidates whose cosine is above (1 − this) of the target's.
        max_similarity: Excludes candidates whose cosine to the query is above this.
        range_min: Excludes this many of the candidates nearest to the query.
        range_max: Excludes all but this many of them.
        duplicate_threshold: A candidate whose cosine to a positive reaches this is its duplicate,
            no negative; 1.01 keeps all.
        excluded: For each query, further rows of `corpus` that are no negatives of it: answers
            known from elsewhere, or the query itself where it stands in the corpus.
        fill: What fills up a query whose band holds too few; None leaves it short.
        seed: Of every random choice.
        device: Where candidates are compared and chosen: a device or its name. Mining runs on CUDA
            or the CPU; `auto` is CUDA where there is one, and Apple's MPS, which has no float64, is
            the CPU.
        block_size: Queries compared with the corpus at once, which bounds the memory.
        progress: Shows gallery images per second.

    Returns:
        Row i is query i; `rows` are rows of `corpus`. A query that got fewer is `starved`, and its
        empty places are `NO_ROW`.

    Raises:
        VectorError: vectors are NaN, infinite, all zero or of two dimensions, or there are none.
        UsageError: an argument is not what is said here; the message names it and its value.
    """
    plan = _plan(
        strategy,
        fill,
        Plan(
            draws=_draws(strategy),
            num_negatives=num_negatives,
            margin=margin,
            sampling=sampling,
            temperature=temperature,
            seed=seed,
            relative_margin=relative_margin,
            max_similarity=max_similarity,
            range_min=range_min,
            range_max=range_max,
            drop_window=drop_window,
        ),
    )
    _require_used(plan, strategy)
    device = mining_device(device)
    arguments.integer("block_size", block_size, 1)
    arguments.real("duplicate_threshold", duplicate_threshold, 0, 1.01)
    problem = _problem(anchors, positives, corpus, excluded, duplicate_threshold, device)
    arguments.require(
        "num_negatives",
        num_negatives,
        f"at most {len(problem.gallery)}, the rows of `corpus`",
        holds=num_negatives <= len(problem.gallery),
    )
    mined = mine(problem, plan, device=device, block_size=block_size, progress=progress)
    if strategy == "nearest":
        return replace(mined, starved=mined.counts < num_negatives)
    return mined


def _draws(strategy: Choice) -> tuple[Draw, ...]:
    arguments.choice("strategy", strategy, _DRAWS)
    return _DRAWS[strategy]


def _plan(strategy: Choice, fill: Fill, plan: Plan) -> Plan:
    """The plan with its fill; the nearest of any kind are the hard ones, filled by the nearest."""
    arguments.choice("fill", fill, FILLS)
    if strategy != "nearest":
        return replace(plan, fill=fill)
    if plan.sampling != "top":
        raise UsageError(
            f"`sampling` is {plan.sampling!r}; `strategy='nearest'` takes no sample: for one of "
            f"any kind pass `strategy='random'`"
        )
    if fill == "random":
        raise UsageError("`fill` is 'random'; `strategy='nearest'` is filled up by the nearest")
    return replace(plan, fill="nearest")


def _require_used(plan: Plan, strategy: Choice) -> None:
    """Raises ConfigError where a setting decides nothing; the command line refuses the same."""
    options = MiningOptions(
        sampling=plan.sampling, temperature=plan.temperature, drop_window=plan.drop_window
    )
    bands = [draw.band for draw in plan.draws]
    faults = [*unused_by_sampling(options), *unused_by_bands(options, strategy, bands)]
    if faults:
        raise ConfigError(faults)


def _problem(
    anchors: Vectors,
    positives: Rows,
    corpus: Vectors,
    excluded: Rows | None,
    duplicate_threshold: float,
    device: torch.device,
) -> Problem:
    """Unit vectors, each query's target, and the rows that are no negatives of it."""
    queries, gallery = _unit("anchors", anchors), _unit("corpus", corpus)
    if queries.shape[1] != gallery.shape[1]:
        raise VectorError(
            f"`anchors` are {queries.shape[1]}-d, `corpus` is {gallery.shape[1]}-d; "
            f"expected vectors of one encoder"
        )
    if not len(gallery):
        raise VectorError("`corpus` holds no vectors: nothing can be mined")
    answers = _answers(positives, len(queries), len(gallery))
    exclusions = _copies(answers, gallery, duplicate_threshold, device)
    if excluded is not None:
        others = row_lists("excluded", excluded, len(queries), len(gallery))
        exclusions = [{*copies, *more} for copies, more in zip(exclusions, others, strict=True)]
    targets = gallery[_farthest(queries, gallery, answers)]
    return Problem(queries, targets, gallery, exclusions_of(exclusions))


def _answers(positives: Rows, queries: int, gallery: int) -> list[list[int]]:
    """The positives of each query, at least one."""
    answers = row_lists("positives", positives, queries, gallery)
    if not all(answers):
        raise UsageError(
            f"`positives` is empty for query {answers.index([])}; expected at least one row"
        )
    return answers


def _unit(name: str, vectors: Vectors) -> Float32[np.ndarray, "rows dim"]:
    return normalised(table(name, vectors), f"`{name}`")


def _copies(
    answers: Sequence[Sequence[int]],
    gallery: Float32[np.ndarray, "gallery dim"],
    duplicate_threshold: float,
    device: torch.device,
) -> list[set[int]]:
    """For each query, its positives and the rows that duplicate one of them."""
    distinct = sorted({row for rows in answers for row in rows})
    copies = {row: {row} for row in distinct}
    pairs = near_duplicates(gallery[distinct], gallery, duplicate_threshold, device=device)
    for index, row in zip(*(column.tolist() for column in pairs), strict=True):
        copies[distinct[index]].add(row)
    return [set().union(*(copies[row] for row in rows)) for rows in answers]


def _farthest(
    queries: Float32[np.ndarray, "queries dim"],
    gallery: Float32[np.ndarray, "gallery dim"],
    answers: Sequence[Sequence[int]],
) -> Int64[np.ndarray, " queries"]:
    """The row of each query's farthest positive; of equally far ones, the first row."""
    owners, rows = Ragged.of_lists(answers).pairs()
    distances = paired_distances(queries, owners, gallery, rows)
    order = np.lexsort((rows, -distances, owners))
    first = np.searchsorted(owners, np.arange(len(answers)))
    return rows[order][first]
