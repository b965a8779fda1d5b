"""Mined negatives as training examples, in the columns that sentence-transformers reads.

Rows and names are those of `mine_hard_negatives` in sentence-transformers 6, which its trainer
takes by position, for the query, positives and negatives of each example:

    triplet       anchor, positive, negative                 a row a positive and negative
    n-tuple       anchor, positive, negative_1 … negative_n  a row a positive, where there are n
    labeled-pair  anchor, positive, label                    a row a pair: label 1, then label 0

`datasets.Dataset.from_dict` and pandas take the columns as they are.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cir import arguments
from cir.config import ExportFormat
from cir.errors import UsageError
from cir.mining.arguments import Items, Rows, items, row_lists
from cir.mining.problem import Mined
from cir.types import NO_ROW

ExampleColumns = dict[str, list[Any]]
"""Values by column, all of one length."""


@dataclass(frozen=True)
class TrainingExample:
    """A query with what it is trained on: texts, or what the encoder takes in their place."""

    anchor: Any
    positives: Sequence[Any]
    negatives: Sequence[Any]
    """Nearest first."""


def as_columns(
    mined: Mined,
    anchors: Items,
    positives: Rows,
    corpus: Items,
    form: ExportFormat = "triplet",
) -> ExampleColumns:
    """The result of `mine_negatives` as columns of texts, or of whatever the rows stand for.

    Args:
        mined: What was found.
        anchors: The queries that were mined for.
        positives: Their rows of the corpus, as they were mined with.
        corpus: What was mined in.
        form: Which rows and columns; an n-tuple has as many negatives as were mined for.

    Raises:
        UsageError: anchors, positives or corpus are not those that were mined, as far as shows.
    """
    arguments.instance("mined", mined, Mined)
    arguments.choice("form", form, _FORMS)
    anchors, corpus = items("anchors", anchors), items("corpus", corpus)
    last_row = mined.rows.max(initial=NO_ROW)
    if len(anchors) != len(mined.rows) or last_row >= len(corpus):
        raise UsageError(
            f"`anchors` has {len(anchors)} rows and `corpus` {len(corpus)}; expected those that "
            f"were mined: {len(mined.rows)} queries, and a corpus with a row {last_row}"
        )
    answers = row_lists("positives", positives, len(anchors), len(corpus))
    _require_disjoint(answers, mined)
    examples = [
        TrainingExample(
            anchor, [corpus[row] for row in positive_rows], [corpus[row] for row in rows[:count]]
        )
        for anchor, positive_rows, rows, count in zip(
            anchors, answers, mined.rows.tolist(), mined.counts.tolist(), strict=True
        )
    ]
    return columns_of(examples, form, mined.rows.shape[1])


def _require_disjoint(answers: Sequence[Sequence[int]], mined: Mined) -> None:
    """Raises UsageError where a positive was mined as a negative of its own query."""
    for query, (own, rows) in enumerate(zip(answers, mined.rows.tolist(), strict=True)):
        both = sorted(set(own).intersection(rows))
        if both:
            raise UsageError(
                f"`positives` names row {both[0]} for query {query}, which is a negative of it; "
                f"expected the positives that were mined with"
            )


def columns_of(
    examples: Iterable[TrainingExample], form: ExportFormat, num_negatives: int
) -> ExampleColumns:
    """The rows that examples make.

    Args:
        examples: In the order of the rows.
        form: Which rows and columns; an n-tuple leaves out examples with fewer negatives.
        num_negatives: Negatives of an example, at most; as an n-tuple exactly.
    """
    return _FORMS[form](examples, num_negatives)


def _triplets(examples: Iterable[TrainingExample], most: int) -> ExampleColumns:
    rows = [
        (example.anchor, positive, negative)
        for example in examples
        for positive in example.positives
        for negative in example.negatives[:most]
    ]
    return _by_column(("anchor", "positive", "negative"), rows)


def _tuples(examples: Iterable[TrainingExample], count: int) -> ExampleColumns:
    rows = [
        (example.anchor, positive, *example.negatives[:count])
        for example in examples
        if len(example.negatives) >= count
        for positive in example.positives
    ]
    numbered = (f"negative_{rank}" for rank in range(1, count + 1))
    return _by_column(("anchor", "positive", *numbered), rows)


def _labeled_pairs(examples: Iterable[TrainingExample], most: int) -> ExampleColumns:
    rows = [
        (example.anchor, item, label)
        for example in examples
        for label, items in ((1, example.positives), (0, example.negatives[:most]))
        for item in items
    ]
    # The second column holds negatives too; that library names it after the dataset's positives.
    return _by_column(("anchor", "positive", "label"), rows)


_FORMS: Final[Mapping[ExportFormat, Callable[[Iterable[TrainingExample], int], ExampleColumns]]] = {
    "triplet": _triplets,
    "n-tuple": _tuples,
    "labeled-pair": _labeled_pairs,
}


def _by_column(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> ExampleColumns:
    return {name: [row[column] for row in rows] for column, name in enumerate(names)}
