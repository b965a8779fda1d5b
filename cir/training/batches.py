"""The rows that training steps gather: which query, which of its texts, which images.

Everything here is row numbers of the embedding store's tables. What an epoch draws is a function
of (seed, epoch) alone, so a run that was killed draws the same again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Int64

from cir.artefacts.manifest import Manifest
from cir.artefacts.vectors import Table
from cir.data.captions import variants

_DRAW = 0xBA7C
"""Keeps these draws apart from the other streams of the same seed."""


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


def training_rows(manifest: Manifest, images: Table, captions: Table) -> TrainingRows:
    """Looks every id and text of `manifest` up.

    Raises:
        StoreError: an image or a text of the manifest has no vector.
    """
    texts, text_counts = _text_rows(manifest.captions, captions)
    negatives, present = _padded(images.rows(manifest.negative_ids), manifest.negative_counts)
    return TrainingRows(
        query_ids=manifest.query_ids,
        reference=images.rows(manifest.reference_ids),
        target=images.rows(manifest.target_ids),
        texts=texts,
        text_counts=text_counts,
        negatives=negatives,
        present=present,
    )


def draw_batches(
    rows: TrainingRows, *, batch_size: int, seed: int, epoch: int, negatives: bool = True
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
    """
    rng = np.random.default_rng([_DRAW, seed, epoch])
    order = rng.permutation(len(rows))
    chosen = (rng.random(len(rows)) * rows.text_counts).astype(np.int64)
    kept = rows.negatives.shape[1] if negatives else 0
    return [
        Batch(
            queries=part,
            reference=rows.reference[part],
            text=rows.texts[part, chosen[part]],
            target=rows.target[part],
            negatives=rows.negatives[part, :kept],
            present=rows.present[part, :kept],
        )
        for part in np.array_split(order, -(-len(rows) // batch_size))
    ]


def alike_columns(
    target: Int64[np.ndarray, " batch"], also_right: Sequence[Int[np.ndarray, " _"]]
) -> Bool[np.ndarray, "batch batch"]:
    """Which targets of a batch its other queries must not be pushed away from.

    Args:
        target: Each query's own target.
        also_right: For each query, the images that are no negatives of it (`cir.mining.validity`).

    Returns:
        [i, j] is true where target j is query i's own target or among `also_right[i]`; the
        diagonal is false: there the target is the positive.
    """
    distinct, column = np.unique(target, return_inverse=True)
    lengths = np.fromiter((len(images) for images in also_right), np.int64, len(also_right))
    query = np.repeat(np.arange(len(target)), lengths)
    image = np.concatenate([*also_right, np.empty(0, np.int64)])
    place = np.minimum(np.searchsorted(distinct, image), len(distinct) - 1)
    met = distinct[place] == image
    alike = np.zeros((len(target), len(distinct)), dtype=bool)
    alike[query[met], place[met]] = True
    alike[np.arange(len(target)), column] = True
    spread: Bool[np.ndarray, "batch batch"] = alike[:, column]
    np.fill_diagonal(spread, False)
    return spread


def _text_rows(
    captions: Sequence[Sequence[str]], table: Table
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
