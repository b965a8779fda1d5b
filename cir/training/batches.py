"""The rows that training steps gather: which query, which of its texts, which images.

Everything here is row numbers of the embedding store's tables. What an epoch draws is a function
of (seed, epoch) alone, so a run that was killed draws the same again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Int, Int64

from cir.artefacts.manifest import Manifest
from cir.artefacts.vectors import VectorTable
from cir.data.captions import variants

_DRAW = 0xBA7C
"""Keeps these draws apart from the other streams of the same seed."""


@dataclass(frozen=True, eq=False)
class Ragged:
    """Images by query: those of query i are images[starts[i]:starts[i + 1]]."""

    starts: Int64[np.ndarray, " queries_and_end"]
    images: Int64[np.ndarray, " flat"]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, queries: Int64[np.ndarray, " chosen"]) -> "Ragged":
        """Some of the queries, in their order."""
        counts = (self.starts[1:] - self.starts[:-1])[queries]
        ends = np.cumsum(counts)
        within = np.arange(counts.sum()) - np.repeat(ends - counts, counts)
        images = self.images[np.repeat(self.starts[queries], counts) + within]
        return Ragged(np.concatenate([[0], ends]), images)

    def pairs(self) -> tuple[Int64[np.ndarray, " flat"], Int64[np.ndarray, " flat"]]:
        """(query, image) of every image."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts)), self.images


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """A manifest as row numbers; ragged fields are padded with a row that is there."""

    query_ids: tuple[str, ...]
    reference: Int64[np.ndarray, " queries"]
    target: Int64[np.ndarray, " queries"]
    texts: Int64[np.ndarray, "queries variants"]
    """Rows of the captions table: what a query's captions may be worded as."""
    text_counts: Int64[np.ndarray, " queries"]
    negatives: Int64[np.ndarray, "queries negatives"]
    present: Bool[np.ndarray, "queries negatives"]
    """Which places of `negatives` hold one."""
    barred: Ragged
    """The images that are no negatives of a query (`cir.mining.exclusions.rules`): its reference, its
    targets, their copies, and what a filter refuses."""
    answers: Ragged
    """The images that are known targets of a query."""

    def __len__(self) -> int:
        return len(self.query_ids)


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step gathers."""

    queries: Int64[np.ndarray, " batch"]
    """Rows of `TrainingRows`."""
    reference: Int64[np.ndarray, " batch"]
    text: Int64[np.ndarray, " batch"]
    target: Int64[np.ndarray, " batch"]
    negatives: Int64[np.ndarray, "batch negatives"]
    present: Bool[np.ndarray, "batch negatives"]

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def images(self) -> Int64[np.ndarray, " named"]:
        """Every image of the batch, some named several times."""
        return np.concatenate((self.reference, self.target, self.negatives[self.present]))

    def part(self, rows: slice) -> "Batch":
        """Some of the rows, as one of several processes takes them."""
        return Batch(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})


def training_rows(
    manifest: Manifest,
    images: VectorTable,
    captions: VectorTable,
    *,
    barred: Mapping[str, Int[np.ndarray, " _"]],
    answers: Mapping[str, Sequence[str]],
) -> TrainingRows:
    """Looks every id and text of `manifest` up.

    Args:
        manifest: Queries with their negatives.
        images: The store's images.
        captions: The store's captions.
        barred: For each query id, the rows of `images` that are no negatives of it.
        answers: For each query id, the ids of its known targets; those not in `images` are no
            concern of training.

    Raises:
        StoreError: an image or a text of the manifest has no vector.
    """
    texts, text_counts = _text_rows(manifest.captions, captions)
    negatives, present = _padded(images.rows(manifest.negative_ids), manifest.negative_counts)
    known = [
        [row_of for image_id in answers[i] if (row_of := images.row_of.get(image_id)) is not None]
        for i in manifest.query_ids
    ]
    return TrainingRows(
        query_ids=manifest.query_ids,
        reference=images.rows(manifest.reference_ids),
        target=images.rows(manifest.target_ids),
        texts=texts,
        text_counts=text_counts,
        negatives=negatives,
        present=present,
        barred=ragged([barred[i] for i in manifest.query_ids]),
        answers=ragged(known),
    )


def ragged(images: Sequence[Sequence[int] | Int[np.ndarray, " _"]]) -> Ragged:
    """The images of each query, in their order."""
    lengths = np.fromiter((len(own) for own in images), np.int64, len(images))
    flat = [np.asarray(own, dtype=np.int64) for own in images]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return Ragged(starts, np.concatenate([*flat, np.empty(0, np.int64)]))


def draw_batches(
    rows: TrainingRows,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    negatives: bool = True,
    row_negatives: int | None = None,
) -> list[Batch]:
    """One epoch: every query once, in a drawn order, with one of its texts, each equally likely.

    The batches differ in size by one at most, so that no short last batch pulls as hard as a whole
    one.

    Args:
        rows: What to draw from.
        batch_size: Queries of a batch, at most.
        seed: Of the run.
        epoch: Which epoch.
        negatives: Whether the batches carry negatives; none are gathered or decoded otherwise.
        row_negatives: How many of a query's negatives a batch carries, drawn each epoch, each
            equally likely; all of them by default.
    """
    rng = np.random.default_rng([_DRAW, seed, epoch])
    order = rng.permutation(len(rows))
    chosen = (rng.random(len(rows)) * rows.text_counts).astype(np.int64)
    places = _places(rows.present, row_negatives if negatives else 0, rng)
    return [
        Batch(
            queries=part,
            reference=rows.reference[part],
            text=rows.texts[part, chosen[part]],
            target=rows.target[part],
            negatives=np.take_along_axis(rows.negatives[part], places[part], axis=1),
            present=np.take_along_axis(rows.present[part], places[part], axis=1),
        )
        for part in np.array_split(order, -(-len(rows) // batch_size))
    ]


def named_columns(
    queries: Ragged, images: Int64[np.ndarray, " columns"]
) -> Bool[np.ndarray, "batch columns"]:
    """[i, j] is true where image j is among those of query i; an image may stand several times."""
    distinct, column = np.unique(images, return_inverse=True)
    query, image = queries.pairs()
    place = np.minimum(np.searchsorted(distinct, image), len(distinct) - 1)
    met = distinct[place] == image
    named = np.zeros((len(queries), len(distinct)), dtype=bool)
    named[query[met], place[met]] = True
    spread: Bool[np.ndarray, "batch columns"] = named[:, column]
    return spread


def _places(
    present: Bool[np.ndarray, "queries negatives"], kept: int | None, rng: np.random.Generator
) -> Int64[np.ndarray, "queries kept"]:
    """Which places of each row of negatives are carried: those that hold one come first."""
    if kept is None or kept >= present.shape[1]:
        return np.broadcast_to(np.arange(present.shape[1]), present.shape)
    keys = np.where(present, rng.random(present.shape), np.inf)
    return np.argsort(keys, axis=1)[:, :kept]


def _text_rows(
    captions: Sequence[Sequence[str]], table: VectorTable
) -> tuple[Int64[np.ndarray, "queries variants"], Int64[np.ndarray, " queries"]]:
    worded = [variants(of_query) for of_query in captions]
    counts = np.fromiter((len(texts) for texts in worded), np.int64, len(worded))
    flat = table.rows([text for texts in worded for text in texts])
    return _padded(flat, counts)[0], counts


def _padded(
    flat: Int[np.ndarray, " flat"], counts: Int[np.ndarray, " queries"]
) -> tuple[Int64[np.ndarray, "queries widest"], Bool[np.ndarray, "queries widest"]]:
    """Ragged rows as a rectangle filled with row 0, and which places are filled."""
    present = np.arange(counts.max(initial=0)) < counts[:, None]
    padded = np.zeros(present.shape, dtype=np.int64)
    padded[present] = flat
    return padded, present
