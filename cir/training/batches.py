"""The batches of an epoch: which query, which of its texts, and which images, as rows.

All arrays hold rows of the embedding store's tables. The batches of an epoch are a function of
(seed, epoch) alone, so a run that was killed draws the same batches again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Int, Int64

from cir.artefacts.manifest import Manifest
from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import VectorTable
from cir.data.captions import variants
from cir.data.queries import Query
from cir.ragged import Ragged

_DRAW = 0xBA7C
"""Keeps these draws apart from the other streams of the same seed."""


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """The queries of a manifest as rows; `texts` and `negatives` are padded with row 0."""

    query_ids: tuple[str, ...]
    reference: Int64[np.ndarray, " queries"]
    target: Int64[np.ndarray, " queries"]
    texts: Int64[np.ndarray, "queries variants"]
    """Rows of the captions table: the texts that a query's captions may become."""
    text_counts: Int64[np.ndarray, " queries"]
    negatives: Int64[np.ndarray, "queries negatives"]
    present: Bool[np.ndarray, "queries negatives"]
    """Which slots of `negatives` hold one."""
    excluded: Ragged
    """The images that are no negatives of each query (`cir.mining.exclusions`)."""
    answers: Ragged
    """The images that are known targets of each query."""

    def __len__(self) -> int:
        return len(self.query_ids)


@dataclass(frozen=True, eq=False)
class Batch:
    """The queries of one step, and the images and texts that it takes for them."""

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
    def images(self) -> Int64[np.ndarray, " repeated"]:
        """Every image of the batch; some are repeated."""
        return np.concatenate((self.reference, self.target, self.negatives[self.present]))

    def part(self, rows: slice) -> "Batch":
        """Some of the rows, as one of several processes takes them."""
        return Batch(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})


def training_rows(
    manifest: Manifest, embeddings: Embeddings, queries: Sequence[Query], excluded: Ragged
) -> TrainingRows:
    """Looks up every id and text of `manifest`.

    Args:
        manifest: Negatives of all or some of `queries`.
        embeddings: The store.
        queries: The training split. Known targets that the store lacks are left out.
        excluded: For each of `queries`, the rows of the store's images that are no negatives of it.

    Raises:
        StoreError: an image or a text of the manifest has no vector.
    """
    images = embeddings.images
    texts, text_counts = _text_rows(manifest.captions, embeddings.captions)
    negatives, present = _padded(images.rows(manifest.negative_ids), manifest.negative_counts)
    index_of = {query.id: index for index, query in enumerate(queries)}
    indices = np.array([index_of[query_id] for query_id in manifest.query_ids], dtype=np.int64)
    return TrainingRows(
        query_ids=manifest.query_ids,
        reference=images.rows(manifest.reference_ids),
        target=images.rows(manifest.target_ids),
        texts=texts,
        text_counts=text_counts,
        negatives=negatives,
        present=present,
        excluded=excluded.take(indices),
        answers=Ragged.of_lists([_known_rows(queries[index], images) for index in indices]),
    )


def draw_batches(
    rows: TrainingRows,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    negatives: bool = True,
    row_negatives: int | None = None,
) -> list[Batch]:
    """Draws an epoch: every query once, in random order, with one of its texts at random.

    The batches differ in size by one at most, so that no short last batch weighs as much as a whole
    one.

    Args:
        rows: The queries.
        batch_size: Queries in a batch, at most.
        seed: The seed of the run.
        epoch: The number of the epoch.
        negatives: Whether the batches hold negatives; otherwise none are gathered or decoded.
        row_negatives: How many of a query's negatives a batch holds, drawn each epoch with equal
            probability; all of them by default.
    """
    rng = np.random.default_rng([_DRAW, seed, epoch])
    order = rng.permutation(len(rows))
    chosen = (rng.random(len(rows)) * rows.text_counts).astype(np.int64)
    slots = _drawn_slots(rows.present, row_negatives if negatives else 0, rng)
    return [
        Batch(
            queries=part,
            reference=rows.reference[part],
            text=rows.texts[part, chosen[part]],
            target=rows.target[part],
            negatives=np.take_along_axis(rows.negatives[part], slots[part], axis=1),
            present=np.take_along_axis(rows.present[part], slots[part], axis=1),
        )
        for part in np.array_split(order, -(-len(rows) // batch_size))
    ]


def contains(
    lists: Ragged, images: Int64[np.ndarray, " columns"]
) -> Bool[np.ndarray, "batch columns"]:
    """[i, j] is true where list i contains image j; images may be repeated."""
    distinct, column = np.unique(images, return_inverse=True)
    owner, image = lists.pairs()
    index = np.minimum(np.searchsorted(distinct, image), len(distinct) - 1)
    met = distinct[index] == image
    of_distinct = np.zeros((len(lists), len(distinct)), dtype=bool)
    of_distinct[owner[met], index[met]] = True
    contained: Bool[np.ndarray, "batch columns"] = of_distinct[:, column]
    return contained


def _known_rows(query: Query, images: VectorTable) -> list[int]:
    """The rows of a query's known targets, of those that the store holds."""
    rows = (images.row_of.get(image_id) for image_id in query.target_ids)
    return [row for row in rows if row is not None]


def _drawn_slots(
    present: Bool[np.ndarray, "queries negatives"], kept: int | None, rng: np.random.Generator
) -> Int64[np.ndarray, "queries kept"]:
    """The slots of each query's negatives that a batch holds, those with a negative first."""
    if kept is None or kept >= present.shape[1]:
        return np.broadcast_to(np.arange(present.shape[1]), present.shape)
    keys = np.where(present, rng.random(present.shape), np.inf)
    return np.argsort(keys, axis=1)[:, :kept]


def _text_rows(
    captions: Sequence[Sequence[str]], table: VectorTable
) -> tuple[Int64[np.ndarray, "queries variants"], Int64[np.ndarray, " queries"]]:
    texts = [variants(of_query) for of_query in captions]
    counts = np.fromiter(map(len, texts), np.int64, len(texts))
    flat = table.rows([text for of_query in texts for text in of_query])
    return _padded(flat, counts)[0], counts


def _padded(
    flat: Int[np.ndarray, " flat"], counts: Int[np.ndarray, " queries"]
) -> tuple[Int64[np.ndarray, "queries widest"], Bool[np.ndarray, "queries widest"]]:
    """Ragged rows as a rectangle padded with row 0, and which slots hold a row."""
    present = np.arange(counts.max(initial=0)) < counts[:, None]
    padded = np.zeros(present.shape, dtype=np.int64)
    padded[present] = flat
    return padded, present
