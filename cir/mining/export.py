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

from cir.artefacts.manifest import Manifest
from cir.config import ExportFormat
from cir.data.captions import joined
from cir.errors import UsageError
from cir.mining.corpus import Rows, row_lists
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
    anchors: Sequence[Any],
    positives: Rows,
    corpus: Sequence[Any],
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
        UsageError: anchors, positives or corpus are not those that were mined.
    """
    if len(anchors) != len(mined.rows) or mined.rows.max(initial=NO_ROW) >= len(corpus):
        raise UsageError(
            f"{len(anchors)} anchors and a corpus of {len(corpus)} are not what was mined: "
            f"{len(mined.rows)} queries, rows up to {mined.rows.max(initial=NO_ROW)}"
        )
    answers = row_lists(positives, "positives", len(anchors), len(corpus))
    examples = [
        TrainingExample(anchor, [corpus[row] for row in own], [corpus[row] for row in rows[:count]])
        for anchor, own, rows, count in zip(
            anchors, answers, mined.rows.tolist(), mined.counts.tolist(), strict=True
        )
    ]
    return columns_of(examples, form, mined.rows.shape[1])


def manifest_columns(
    manifest: Manifest,
    form: ExportFormat,
    num_negatives: int,
    image_name: Callable[[str], str] = str,
) -> ExampleColumns:
    """A manifest as columns of multimodal inputs: {"image": …, "text": …} and {"image": …}.

    The keys say what the values are, so that no encoder can take the name of a file for a text.

    Args:
        manifest: Of composed queries; both captions of one become "a and b".
        form: Which rows and columns.
        num_negatives: Negatives of a query, its nearest, at most; as an n-tuple exactly.
        image_name: From an image's id to what stands for it, its file for instance.
    """
    examples = (_example(manifest, row, image_name) for row in range(len(manifest)))
    return columns_of(examples, form, num_negatives)


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
    numbered = (f"negative_{place}" for place in range(1, count + 1))
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
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _example(manifest: Manifest, row: int, image_name: Callable[[str], str]) -> TrainingExample:
    def image(image_id: str) -> dict[str, str]:
        return {"image": image_name(image_id)}

    start = int(manifest.negative_starts[row])
    negatives = manifest.negative_ids[start : start + int(manifest.negative_counts[row])]
    return TrainingExample(
        anchor=image(manifest.reference_ids[row]) | {"text": joined(manifest.captions[row])},
        positives=[image(manifest.target_ids[row])],
        negatives=[image(image_id) for image_id in negatives],
    )
