"""One embedding of a dataset: what is known is kept, the rest is encoded and saved as it comes.

Of several processes the main one plans, every one encodes a part, and the main one has the whole.
Vectors stay on the disk: those of a store in its file, those that are encoded in a spool.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Int

from cir.artefacts.gathered_rows import GatheredRows
from cir.artefacts.rows import KeyedRows, Rows
from cir.artefacts.spool import Spool
from cir.artefacts.store import StoredEmbeddings
from cir.artefacts.vectors import VectorTable
from cir.config import OnError
from cir.data.photo_paths import PathsOf
from cir.encoding.batching import images_at_once, texts_at_once
from cir.encoding.encoder import Encoder
from cir.encoding.job.blocks import Blocks, SavedRows, key_of
from cir.encoding.job.gathered_texts import GatheredTexts, from_arrays, to_arrays
from cir.encoding.job.known_images import (
    EncodedImages,
    GatheredImages,
    ImageFiles,
    ImagePlan,
    KnownImages,
)
from cir.encoding.job.libraries import versions
from cir.encoding.job.photo_batches import EncodedBatch, PhotosToEncode, encoded_batches
from cir.encoding.sameness import family_of
from cir.encoding.texts import encode_by_length
from cir.errors import DatasetError, ImageError
from cir.machine.processes import ALONE, Processes
from cir.progress import Progress
from cir.types import NO_ROW

_MEET_AFTER: Final = 16
"""Batches after which processes ask each other whether one has failed."""
_HANDED: Final = 4096
"""Vectors that each process hands over at once."""


@dataclass(frozen=True, eq=False)
class EmbeddedImages:
    """All images of a store to be, and where they came from."""

    ids: tuple[str, ...]
    states: Int[np.ndarray, "images 2"]
    sha256: tuple[str, ...]
    vectors: Rows
    skipped: dict[str, str]
    encoded: int
    changed: int
    resumed: int
    kept: int


@dataclass(frozen=True, eq=False)
class EmbeddedTexts:
    """All texts of a store to be."""

    table: KeyedRows
    encoded: int
    """How many were encoded now."""


@runtime_checkable
class PhotoEngine(Protocol):
    """What encodes photos elsewhere than in this process, in any order."""

    def encoded(
        self,
        encoder: Encoder,
        photos: PhotosToEncode,
        files: Sequence[Path],
        *,
        batch_size: int,
        workers: int,
    ) -> Generator[EncodedBatch, None, None]:
        """As `encoded_batches`, of `batch_size` photos at most."""


_Done = TypeVar("_Done")


@runtime_checkable
class _Gathered(Protocol[_Done]):
    """What is done, as it comes."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> _Done: ...

    def add(self, some: _Done, /) -> None: ...


@dataclass(frozen=True)
class EmbeddingRun:
    """One embedding of a dataset: how it encodes, and where it keeps what is done."""

    encoder: Encoder
    blocks: Blocks
    batch_size: int
    workers: int
    on_error: OnError
    progress: Progress
    processes: Processes = ALONE
    engine: PhotoEngine | None = None
    """What encodes photos; None does it here."""

    def help(self, files: Mapping[str, Path]) -> None:
        """Encodes a part of what the main process finds to encode, and leaves it to that.

        Args:
            files: Each id's file.

        Raises:
            DatasetError: a photo that the main process has is not here.
            ImageError: a photo of this part cannot be read, under `fail`.
            CirError: another process failed, or was lost.
        """
        self._encode_images(files, PhotosToEncode.none, GatheredImages(self._spool()))
        self._encode_texts((), GatheredTexts(self._spool()))

    def images(
        self, ids: Sequence[str], files: Mapping[str, Path], store: StoredEmbeddings | None
    ) -> EmbeddedImages:
        """Every image that can be read, in order; only what is not known is encoded.

        Args:
            ids: The photos.
            files: The file of each, and perhaps of others.
            store: What is known; None encodes all.
        """
        done = GatheredImages(self._spool())
        for saved in self.blocks.load_all(self._key("images")):
            done.add(EncodedImages.from_arrays(saved))
        stored = ImageFiles.of_store(store)
        held, resumed = len(stored.ids), len(done)
        plan = KnownImages([stored, done.files]).plan(ids, files, progress=self.progress)
        skipped = self._encode_images(files, lambda: PhotosToEncode.of(plan), done)
        rows = _rows_of(plan, done.files.ids[resumed:], held + resumed)
        there = np.flatnonzero(rows != NO_ROW)
        digests = [*stored.sha256, *done.files.sha256]
        kept = plan.rows[~plan.missing]
        table = None if store is None else store.images
        return EmbeddedImages(
            ids=tuple(plan.ids[place] for place in there),
            states=plan.states[there],
            sha256=tuple(digests[row] for row in rows[there]),
            vectors=self._gathered(table, done.vectors, rows[there]),
            skipped=skipped,
            encoded=len(done) - resumed,
            changed=len(plan.changed),
            resumed=int((kept >= held).sum()),
            kept=int((kept < held).sum()),
        )

    def captions(self, texts: Sequence[str], store: StoredEmbeddings | None) -> EmbeddedTexts:
        """Every text, in order; only what is not known is encoded."""
        done = GatheredTexts(self._spool())
        for saved in self.blocks.load_all(self._key("captions")):
            done.add(from_arrays(saved))
        held = None if store is None else store.captions
        of_store = () if held is None else held.keys
        known = {*of_store, *done.texts}
        left = [text for text in texts if text not in known]
        self._encode_texts(left, done)
        row_of = {text: row for row, text in enumerate([*of_store, *done.texts])}
        rows = np.array([row_of[text] for text in texts], np.int64)
        vectors = self._gathered(held, done.vectors, rows)
        return EmbeddedTexts(KeyedRows(tuple(texts), vectors), len(left))

    def _encode_texts(self, texts: Sequence[str], done: GatheredTexts) -> None:
        """Encodes texts, those of the main process, batch by batch, saving what is done."""
        every = self.processes.broadcast_from_main(lambda: tuple(texts))
        own = every[self.processes.part(len(every))]
        rows = texts_at_once(self.encoder, self.batch_size)
        with (
            self.progress.task("captions", len(own), "captions") as task,
            SavedRows(self.blocks, self._key("captions")) as saved,
        ):
            for batch in encode_by_length(self.encoder, own, rows, padded=True):
                table = VectorTable(tuple(own[row] for row in batch.rows), batch.vectors)
                saved.add(to_arrays(table))
                done.add(table)
                task.advance(len(table.keys))
        self._hand_over(done)

    def _gathered(
        self, stored: KeyedRows | None, done: Rows, rows: Int[np.ndarray, " rows"]
    ) -> Rows:
        """Chosen vectors of those that a store holds and, behind them, those that are done."""
        tables = [done] if stored is None else [stored.vectors, done]
        return GatheredRows(tables, rows, self.encoder.dim)

    def _spool(self) -> Spool:
        return Spool(self.blocks.folder, self.encoder.dim)

    def _key(self, kind: str) -> str:
        """Of all that vectors depend on beside their photo or text, not of a weight file's name."""
        found = self.encoder.provenance
        source = asdict(found) | {"pretrained": family_of(found)}
        return key_of(kind, (source, self.encoder.precision, versions()))

    def _encode_images(
        self, files: Mapping[str, Path], plan: Callable[[], PhotosToEncode], done: GatheredImages
    ) -> dict[str, str]:
        """Encodes photos batch by batch, saving what is done; gives those that are broken.

        Args:
            files: Each id's file.
            plan: What is to be encoded, asked of the main process alone.
            done: Takes what this process encodes, and in the main one also what the others do.
        """
        every = self.processes.broadcast_from_main(plan)
        own = every[self.processes.part(len(every.ids))]
        skipped: dict[str, str] = {}
        with (
            self.progress.task("images", len(own.ids), "images") as task,
            SavedRows(self.blocks, self._key("images")) as saved,
            closing(self._batches(own, _files_of(own.ids, files))) as batches,
        ):
            for batch in batches:
                skipped |= self._accepted(batch.faults)
                saved.add(batch.images.to_arrays())
                done.add(batch.images)
                task.advance(batch.photos)
        self._hand_over(done)
        return {
            i: why for faults in self.processes.all_in_main(skipped) for i, why in faults.items()
        }

    def _hand_over(self, done: "_Gathered[Any]") -> None:
        """Adds what the other processes have done to that of the main one, some at a time."""
        most = max(self.processes.all_gather_object(0 if self.processes.main else len(done)))
        for start in range(0, most, _HANDED):
            part = None if self.processes.main else done[start : start + _HANDED]
            for other in self.processes.all_in_main(part)[1:]:
                done.add(other)

    def _batches(
        self, own: PhotosToEncode, paths: Sequence[Path]
    ) -> Generator[EncodedBatch, None, None]:
        """This process's photos; a process that fails ends the others within some batches."""
        if self.engine is not None:
            how = {"batch_size": self.batch_size, "workers": self.workers}
            yield from self.engine.encoded(self.encoder, own, paths, **how)
            return
        rows = images_at_once(self.encoder, self.batch_size)
        most = max(self.processes.all_gather_object(-(-len(paths) // rows)))
        stream = encoded_batches(self.encoder, own, paths, rows=rows, workers=self.workers)
        with closing(stream):
            for number in range(1, most + 1):
                yield from islice(stream, 1)
                if number % _MEET_AFTER == 0:
                    self.processes.all_gather_object(None)

    def _accepted(self, faults: dict[str, str]) -> dict[str, str]:
        if faults and self.on_error == "fail":
            fault = next(iter(faults.values()))
            raise ImageError(f"{fault}; `on_error='skip'` leaves broken images out")
        return faults


def _files_of(ids: Sequence[str], files: Mapping[str, Path]) -> PathsOf:
    lacking = [i for i in ids if i not in files]
    if lacking:
        raise DatasetError(
            f"{len(lacking)} of {len(ids)} photos are not here, the first {lacking[0]}, which "
            f"process 0 has: give every process the same `dataset`"
        )
    return PathsOf(ids, files)


def _rows_of(plan: ImagePlan, encoded: Sequence[str], start: int) -> Int[np.ndarray, " photos"]:
    """The row of each photo of a plan once some are encoded, whose rows begin at `start`."""
    row_of = {image_id: row for row, image_id in enumerate(encoded, start)}
    rows = plan.rows.copy()
    rows[plan.missing] = [row_of.get(image_id, NO_ROW) for image_id in plan.to_encode]
    return rows
