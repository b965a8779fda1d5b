"""A dataset into an embedding store, block by block: a killed run goes on where it was."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from cir.artefacts.store import write_embeddings
from cir.artefacts.vectors import VectorTable
from cir.config import OnError
from cir.data.captions import variants
from cir.data.dataset import Dataset
from cir.data.image_batches import ImageBatch
from cir.encoding.blocks import Blocks, key_of
from cir.encoding.embedding import encode_photos, encode_texts, photos_of, spans_of, stacked
from cir.encoding.encoder import Encoder
from cir.errors import DatasetError, ImageError
from cir.progress import SILENT, Progress, Task

_BLOCK = 1024
"""Rows saved at once, about: what a kill can cost."""


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


def caption_texts(dataset: Dataset) -> list[str]:
    """Every text that a query of any split can stand for, sorted, each once."""
    with_queries = [
        split
        for split in dataset.splits
        if any(dataset.captions_file(c, split).exists() for c in dataset.categories)
    ]
    queries = (query for split in with_queries for query in dataset.queries(split))
    return sorted({text for query in queries for text in variants(query.captions)})


def embed_dataset(
    dataset: Dataset,
    encoder: Encoder,
    out: Path,
    *,
    batch_size: int,
    workers: int,
    on_error: OnError,
    progress: Progress = SILENT,
) -> EmbedSummary:
    """Embeds every image and caption of a dataset into a store at `out`.

    What is done is kept beside `out` until the store is whole, so that the same call goes on where
    a killed one was.

    Args:
        dataset: The dataset folder.
        encoder: Should be in eval mode.
        out: The store to write; one that stands there is replaced.
        batch_size: Images or texts encoded at once.
        workers: Processes that decode and preprocess; 0 does it in this one.
        on_error: `fail` stops at the first broken image, `skip` leaves broken ones out.
        progress: Told of every batch.

    Raises:
        DatasetError: the dataset names no image, or none can be read.
        ImageError: an image is missing or broken, under `fail`.
        VectorError: the encoder gave a vector without direction.
        CirError: the store cannot be written.
    """
    started = time.perf_counter()
    ids, texts = dataset.image_ids(), caption_texts(dataset)
    missing = _missing(dataset, ids, on_error)
    run = _Run(encoder, Blocks(out), batch_size, workers, on_error, progress)
    images = run.images({i: dataset.image_files[i] for i in ids if i not in missing})
    pace = time.perf_counter() - started
    if not images.ids:
        raise DatasetError(f"{dataset.root} has no image that can be read; run cir data check")
    skipped = dict(sorted((missing | images.skipped).items()))
    write_embeddings(
        out,
        images=VectorTable(images.ids, images.vectors),
        captions=VectorTable(tuple(texts), run.captions(texts)),
        image_sha256=images.sha256,
        provenance=encoder.provenance,
        skipped=skipped,
    )
    run.saved.remove()
    return EmbedSummary(
        images=len(images.ids),
        captions=len(texts),
        skipped=skipped,
        unlisted=dataset.unlisted,
        cut=tuple(encoder.cut_texts(texts)),
        resumed=images.resumed,
        seconds=time.perf_counter() - started,
        images_per_second=(len(images.ids) - images.resumed) / pace,
    )


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
class _Images:
    """Encoded images, and those that could not be."""

    ids: tuple[str, ...]
    vectors: Float[np.ndarray, "rows dim"]
    sha256: tuple[str, ...]
    skipped: dict[str, str]
    resumed: int = 0
    """How many of `ids` came from an earlier run."""
    unread: bool = False
    """Whether the system refused a file, which another run may read: this is not kept for it."""

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What a block saves."""
        return {
            "ids": np.array(self.ids, str),
            "vectors": self.vectors,
            "sha256": np.array(self.sha256, str),
            "skipped": np.array(tuple(self.skipped), str),
            "reasons": np.array(tuple(self.skipped.values()), str),
        }

    @classmethod
    def from_arrays(cls, saved: Mapping[str, np.ndarray]) -> "_Images":
        """A saved block, read back."""
        ids = tuple(saved["ids"].tolist())
        skipped = zip(saved["skipped"].tolist(), saved["reasons"].tolist(), strict=True)
        return cls(ids, saved["vectors"], tuple(saved["sha256"].tolist()), dict(skipped), len(ids))

    @classmethod
    def concatenated(cls, parts: Sequence["_Images"], dim: int) -> "_Images":
        """Several, one after the other."""
        return cls(
            ids=tuple(i for part in parts for i in part.ids),
            vectors=stacked([part.vectors for part in parts], dim),
            sha256=tuple(digest for part in parts for digest in part.sha256),
            skipped={i: reason for part in parts for i, reason in part.skipped.items()},
            resumed=sum(part.resumed for part in parts),
            unread=any(part.unread for part in parts),
        )


@dataclass(frozen=True)
class _Run:
    """One embedding of a dataset: how it encodes, and where it keeps what is done."""

    encoder: Encoder
    saved: Blocks
    batch_size: int
    workers: int
    on_error: OnError
    progress: Progress

    def images(self, files: Mapping[str, Path]) -> _Images:
        """Encodes images block by block, in order, but for the blocks that are done already."""
        ids = list(files)
        spans = spans_of(range(len(ids)), self._block_rows)
        keys = {span: self._images_key(files, _of(ids, span)) for span in spans}
        parts = {span: part for span in spans if (part := self._load(keys[span]))}
        left = [span for span in spans if span not in parts]
        with self.progress.task("images", sum(map(len, left)), "images") as task:
            for span, part in self._encoded(files, left, task):
                if not part.unread:
                    self.saved.save(keys[span], part.to_arrays())
                parts[span] = part
        return _Images.concatenated([parts[span] for span in spans], self.encoder.dim)

    def captions(self, texts: Sequence[str]) -> Float[np.ndarray, "rows dim"]:
        """Encodes texts block by block, but for the blocks that are done already."""
        parts = []
        with self.progress.task("captions", len(texts), "captions") as task:
            for span in spans_of(range(len(texts)), self._block_rows):
                some = _of(texts, span)
                key = key_of("captions", self._source(some))
                block = self.saved.load(key)
                if block is None:
                    block = {"vectors": encode_texts(self.encoder, some, self.batch_size, task)}
                    self.saved.save(key, block)
                else:
                    task.advance(len(some))
                parts.append(block["vectors"])
        return stacked(parts, self.encoder.dim)

    @property
    def _block_rows(self) -> int:
        """A whole number of batches, so that blocks cut none short."""
        return self.batch_size * max(1, _BLOCK // self.batch_size)

    def _images_key(self, files: Mapping[str, Path], ids: Sequence[str]) -> str:
        return key_of("images", self._source([(i, *_state(files[i])) for i in ids]))

    def _source(self, rows: Sequence[Any]) -> Any:
        """All that a block's vectors depend on."""
        how = asdict(self.encoder.provenance), self.encoder.precision, self.batch_size
        return [*how, rows]

    def _load(self, key: str) -> _Images | None:
        """A block that is done; under `fail`, one with broken images is done again, to stop."""
        arrays = self.saved.load(key)
        part = None if arrays is None else _Images.from_arrays(arrays)
        return None if part and part.skipped and self.on_error == "fail" else part

    def _encoded(
        self, files: Mapping[str, Path], spans: Sequence[range], task: Task
    ) -> Iterator[tuple[range, _Images]]:
        """Each block's images, encoded batch by batch."""
        ids, paths = list(files), list(files.values())
        batches = {span: spans_of(span, self.batch_size) for span in spans}
        in_order = [batch for some in batches.values() for batch in some]
        with closing(photos_of(self.encoder, paths, in_order, self.workers)) as stream:
            for span, some in batches.items():
                parts = [self._batch(photos, ids, task) for photos in islice(stream, len(some))]
                yield span, _Images.concatenated(parts, self.encoder.dim)

    def _batch(self, photos: ImageBatch, ids: Sequence[str], task: Task) -> _Images:
        if photos.faults and self.on_error == "fail":
            fault = next(iter(photos.faults.values()))
            raise ImageError(f"{fault}; `on_error='skip'` leaves broken images out")
        vectors = encode_photos(self.encoder, photos, ids)
        task.advance(len(photos.rows) + len(photos.faults))
        return _Images(
            ids=tuple(ids[row] for row in photos.rows),
            vectors=vectors,
            sha256=photos.sha256,
            skipped={ids[row]: fault for row, fault in photos.faults.items()},
            unread=bool(photos.unread),
        )


def _of(items: Sequence[str], span: range) -> list[str]:
    return list(items[span.start : span.stop])


def _state(path: Path) -> tuple[int, int]:
    """Size and time of change of a file, in bytes and nanoseconds; zeros where it is gone."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
