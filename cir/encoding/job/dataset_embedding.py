"""A dataset into an embedding store: what is new or changed is encoded, the rest is kept.

A run that is killed goes on where it was: what is done is saved every few seconds.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from cir import __version__
from cir.artefacts.changes import Changes
from cir.artefacts.rows import KeyedRows
from cir.artefacts.store import StoredEmbeddings, open_embeddings
from cir.artefacts.store_layout import MEND
from cir.artefacts.store_writing import write_embeddings
from cir.artefacts.vectors import EMBED_AGAIN
from cir.config import OnError
from cir.data.captions import variants
from cir.data.dataset import Dataset
from cir.data.queries import Query
from cir.encoding.encoder import Encoder
from cir.encoding.job.blocks import Blocks
from cir.encoding.job.embedding_run import EmbeddedImages, EmbeddingRun, PhotoEngine
from cir.encoding.job.folding import with_added
from cir.encoding.job.libraries import merged, versions
from cir.encoding.job.parquet_blocks import ParquetBlocks
from cir.encoding.sameness import encoder_named_as, named_as
from cir.errors import DatasetError, ImageError, StoreError, VectorError
from cir.machine.processes import ALONE, Processes
from cir.progress import SILENT, Progress

_MIXED = "+"
"""Joins the precisions of a store that holds rows of several."""
_FORMERLY = "fp32"
"""The precision that a store of a version that did not record it is taken for."""
REMOVED: Final = "removed while the store was served"
"""Why a photo of the dataset is left out which somebody removed from the gallery."""


@dataclass(frozen=True)
class EmbedSummary:
    """What embedding a dataset did."""

    images: int
    """Images in the store."""
    captions: int
    """Texts in the store."""
    skipped: Mapping[str, str]
    """Images left out, with the reason."""
    unlisted: tuple[str, ...]
    """Image files that no image split names."""
    cut: tuple[str, ...]
    """Texts longer than the encoder's context, what follows it being lost."""
    resumed: int
    """Images that an earlier, killed run had already done."""
    seconds: float
    """Wall time of the whole stage."""
    images_per_second: float
    """Images encoded in this run over the time it took; 0 where none was."""
    encoded: int = 0
    """Images encoded in this run."""
    changed: int = 0
    """Those of them that the store had held, of another file."""
    kept: int = 0
    """Images whose vectors are those of the store that was there."""
    dropped: int = 0
    """Images of that store which the dataset no longer has."""
    captions_encoded: int = 0
    """Texts encoded in this run."""
    written: bool = True
    """Whether there was anything to write: a store that is up to date stays as it is."""


def caption_texts(dataset: Dataset, image_ids: frozenset[str] | None = None) -> list[str]:
    """Every text that a query of any split can stand for, sorted, each once.

    Args:
        dataset: The dataset folder.
        image_ids: The images that can be read; queries that need others are left out, as every
            stage leaves them out. None takes all.
    """
    queries = (query for split in dataset.splits for query in dataset.queries_or_none(split))
    kept = (query for query in queries if image_ids is None or _is_usable(query, image_ids))
    return sorted({text for query in kept for text in variants(query.captions)})


def embed_dataset(
    dataset: Dataset,
    encoder: Encoder,
    out: Path,
    *,
    batch_size: int,
    workers: int,
    on_error: OnError,
    overwrite: bool = False,
    any_precision: bool = False,
    progress: Progress = SILENT,
    processes: Processes = ALONE,
    engine: PhotoEngine | None = None,
) -> EmbedSummary:
    """Embeds every image and caption of a dataset into a store at `out`.

    Where a store of the same encoder is there, its vectors are kept of every photo whose file is
    the same (by size and time of change, and by SHA-256 where these moved) and of every text;
    what is new or changed is encoded, and what is gone is dropped. Photos that were added to and
    removed from the store while it was served (`cir.artefacts.changes`) are folded in; one of the
    dataset's that was removed is left out and listed, with `overwrite` too. What is
    done is kept beside `out` until the store is whole, so that the same call goes on where a
    killed one was. Several processes encode a part of that each, and the main one writes the store,
    which is that of one process, byte for byte.

    Args:
        dataset: The dataset folder.
        encoder: Should be in eval mode.
        out: The store to write, or to bring up to date.
        batch_size: Images or texts encoded at once, at most (`cir.encoding.batching`).
        workers: Processes that decode and preprocess; 0 does it in this one.
        on_error: `fail` stops at the first broken image, `skip` leaves broken ones out.
        overwrite: Whether to encode everything again, whatever is at `out`.
        any_precision: Whether to keep vectors of another precision.
        progress: Told of every batch of this process.
        processes: Those that share the work; all return the same.
        engine: What encodes photos in place of these processes (`cir.encoding.job.ray_engine`);
            what is done is then kept as Parquet parts.

    Raises:
        DatasetError: the dataset names no image, or none can be read.
        ImageError: an image is missing or broken, under `fail`.
        StoreError: what is at `out` is no whole store, or is of another encoder or precision.
        VectorError: the encoder gave a vector without direction.
        CirError: the store cannot be written.
    """
    if engine is None:
        blocks = Blocks(out, processes.rank)
    else:
        blocks = ParquetBlocks(out, _described(encoder))
    run = EmbeddingRun(encoder, blocks, batch_size, workers, on_error, progress, processes, engine)
    if not processes.main:
        run.help(dataset.image_files)
    summary = processes.broadcast_from_main(
        lambda: _embedded(dataset, run, out, overwrite=overwrite, any_precision=any_precision)
    )
    if processes.main:
        blocks.remove()
    return summary


def _embedded(
    dataset: Dataset, run: EmbeddingRun, out: Path, *, overwrite: bool, any_precision: bool
) -> EmbedSummary:
    """What the main process does: it plans, has the whole encoded, and writes."""
    started, encoder = time.perf_counter(), run.encoder
    store = None if overwrite else store_to_add_to(out, encoder, any_precision=any_precision)
    if store is not None:
        encoder = encoder_named_as(encoder, store.provenance)
    dataset.require_sound()
    # Read once: what is added while photos are encoded waits for the next time.
    changes = Changes(out)
    added, removed = changes.added(), changes.removed()
    named = removed | {photo.id for photo in added}
    of_dataset = dataset.image_ids()
    ids = [image_id for image_id in of_dataset if image_id not in named]
    left_out = {image_id: REMOVED for image_id in of_dataset if image_id in removed}
    missing = _missing(dataset, ids, run.on_error)
    there = [image_id for image_id in ids if image_id not in missing]
    images = with_added(run.images(there, dataset.image_files, store), added, changes, encoder)
    pace = time.perf_counter() - started
    if not images.ids:
        raise DatasetError(f"{dataset.root} has no image that can be read; run cir data check")
    texts = caption_texts(dataset, frozenset(images.ids))
    captions = run.captions(texts, store)
    skipped = dict(sorted((left_out | missing | images.skipped).items()))
    made = _Made(images, captions.table, skipped)
    up_to_date = store is not None and made.is_in(store)
    if not up_to_date:
        made.write(out, encoder, store)
    return EmbedSummary(
        images=len(images.ids),
        captions=len(texts),
        skipped=skipped,
        unlisted=dataset.unlisted,
        cut=tuple(encoder.cut_texts(texts)),
        resumed=images.resumed,
        seconds=time.perf_counter() - started,
        images_per_second=images.encoded / pace,
        encoded=images.encoded,
        changed=images.changed,
        kept=images.kept,
        dropped=len(set(store.images.keys) - set(images.ids)) if store else 0,
        captions_encoded=captions.encoded,
        written=not up_to_date,
    )


def _described(encoder: Encoder) -> dict[str, object]:
    """The encoder and how it computes, as a part of vectors says it."""
    how = {"precision": encoder.precision, "libraries": dict(versions())}
    return asdict(encoder.provenance) | how | {"normalized": False, "cir_version": __version__}


def store_to_add_to(out: Path, encoder: Encoder, *, any_precision: bool) -> StoredEmbeddings | None:
    """The store at `out`, whose vectors may be kept; None where there is none.

    Raises:
        StoreError: it is damaged, or of another encoder or precision.
    """
    if not out.exists():
        return None
    try:
        store = open_embeddings(out)
    except (StoreError, VectorError) as fault:
        afresh = "pass `overwrite=True` to make it afresh"
        told = str(fault).replace(MEND, afresh).replace(EMBED_AGAIN, afresh)
        raise StoreError(told) from fault
    mend = "pass the encoder it was made with, another `out`, or `overwrite=True` to start afresh"
    try:
        found = named_as(encoder.provenance, store.provenance)
        found.require_same(store.provenance, "this encoder", str(out), StoreError)
    except StoreError as fault:
        raise StoreError(f"{fault}: {mend}") from None
    held, here = store.precision or _FORMERLY, encoder.precision
    if held != here and not any_precision:
        raise StoreError(
            f"{out} holds vectors of precision {held}, and this run gives {here}: pass "
            f"`any_precision=True` to keep them, or `overwrite=True` to start afresh"
        )
    return store


def _is_usable(query: Query, image_ids: frozenset[str]) -> bool:
    """Whether the reference and a target, where it has any, can be read."""
    hit = not query.target_ids or not image_ids.isdisjoint(query.target_ids)
    return hit and query.reference_id in image_ids


def _missing(dataset: Dataset, ids: Sequence[str], on_error: OnError) -> dict[str, str]:
    """Ids without a file, with the reason that `skip` records."""
    missing = [i for i in ids if i not in dataset.image_files]
    if missing and on_error == "fail":
        first = missing[0]
        raise ImageError(
            f"{len(missing)} of {len(ids)} images are missing, the first {first}: expected "
            f"{dataset.expected_file(first)} ({dataset.why_missing(first)}); add them, or pass "
            f"`on_error='skip'` to leave them out"
        )
    return {i: dataset.why_missing(i) for i in missing}


@dataclass(frozen=True, eq=False)
class _Made:
    """What a store is to hold."""

    images: EmbeddedImages
    captions: KeyedRows
    skipped: dict[str, str]

    def is_in(self, store: StoredEmbeddings) -> bool:
        """Whether a store holds all of this already, and nothing else."""
        same_files = store.image_states is not None and np.array_equal(
            store.image_states, self.images.states
        )
        return (
            same_files
            and not self.images.encoded
            and store.precision is not None
            and store.images.keys == self.images.ids
            and store.image_sha256 == self.images.sha256
            and store.captions.keys == self.captions.keys
            and store.skipped == self.skipped
        )

    def write(self, out: Path, encoder: Encoder, store: StoredEmbeddings | None) -> None:
        """Writes the store; vectors may have been kept of `store`."""
        held = {} if store is None else store.libraries
        precisions = [encoder.precision]
        if store is not None:
            precisions = [*(store.precision or _FORMERLY).split(_MIXED), *precisions]
        write_embeddings(
            out,
            images=KeyedRows(self.images.ids, self.images.vectors),
            captions=self.captions,
            image_sha256=self.images.sha256,
            provenance=encoder.provenance,
            skipped=self.skipped,
            image_states=self.images.states,
            precision=_MIXED.join(dict.fromkeys(precisions)),
            libraries=merged(held, versions()),
        )
