"""One embedding of a dataset: what is known is kept, the rest is encoded and saved as it comes.

Of several processes the main one plans, every one encodes a part, and the main one has the whole.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import VectorTable
from cir.config import OnError
from cir.encoding.batching import images_at_once, texts_at_once
from cir.encoding.blocks import Blocks, SavedRows, as_bytes, as_texts, key_of
from cir.encoding.encoder import Encoder
from cir.encoding.known_images import EncodedImages, GatheredImages, KnownImages
from cir.encoding.libraries import versions
from cir.encoding.photo_batches import EncodedBatch, PhotosToEncode, encoded_batches
from cir.encoding.places import Place, gathered
from cir.encoding.texts import encode_by_length
from cir.errors import DatasetError, ImageError
from cir.processes import ALONE, Processes
from cir.progress import Progress

_MEET_AFTER: Final = 16
"""Batches after which processes ask each other whether one has failed."""


@dataclass(frozen=True, eq=False)
class EmbeddedImages:
    """All images of a store to be, and where they came from."""

    ids: tuple[str, ...]
    states: Int[np.ndarray, "images 2"]
    sha256: tuple[str, ...]
    vectors: Float[np.ndarray, "images dim"]
    skipped: dict[str, str]
    encoded: int
    changed: int
    resumed: int
    kept: int


@dataclass(frozen=True, eq=False)
class EmbeddedTexts:
    """All texts of a store to be."""

    table: VectorTable
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
        self._encode_images(files, PhotosToEncode.none)
        self._encode_texts(())

    def images(self, files: Mapping[str, Path], store: Embeddings | None) -> EmbeddedImages:
        """Every image that can be read, in order; only what is not known is encoded."""
        of_store = [] if store is None else [EncodedImages.of_store(store)]
        of_killed = [
            EncodedImages.from_arrays(b) for b in self.blocks.load_all(self._key("images"))
        ]
        known = KnownImages([*of_store, *of_killed])
        plan = known.plan(files, progress=self.progress)
        new, skipped = self._encode_images(files, lambda: PhotosToEncode.of(plan))
        tables = [*known.tables, *new]
        places = dict(plan.kept)
        for number, table in enumerate(new, len(known.tables)):
            places |= {i: Place(number, row) for row, i in enumerate(table.ids)}
        ids = tuple(i for i in files if i in places)
        in_order = [places[i] for i in ids]
        kept = sum(place.table < len(of_store) for place in plan.kept.values())
        return EmbeddedImages(
            ids=ids,
            states=plan.states_of(ids),
            sha256=tuple(tables[place.table].sha256[place.row] for place in in_order),
            vectors=gathered([table.vectors for table in tables], in_order, self.encoder.dim),
            skipped=skipped,
            encoded=sum(len(table.ids) for table in new),
            changed=len(plan.changed),
            resumed=len(plan.kept) - kept,
            kept=kept,
        )

    def captions(self, texts: Sequence[str], store: Embeddings | None) -> EmbeddedTexts:
        """Every text, in order; only what is not known is encoded."""
        tables = [] if store is None else [store.captions]
        saved = self.blocks.load_all(self._key("captions"))
        tables += [VectorTable(as_texts(batch["texts"]), batch["vectors"]) for batch in saved]
        known = {text for table in tables for text in table.keys}
        left = [text for text in texts if text not in known]
        tables += self._encode_texts(left)
        places = {
            text: Place(number, row)
            for number, table in enumerate(tables)
            for row, text in enumerate(table.keys)
        }
        held = [table.vectors for table in tables]
        vectors = gathered(held, [places[text] for text in texts], self.encoder.dim)
        return EmbeddedTexts(VectorTable(tuple(texts), vectors), len(left))

    def _encode_texts(self, texts: Sequence[str]) -> list[VectorTable]:
        """Encodes texts, those of the main process, batch by batch, saving what is done."""
        every = self.processes.broadcast_from_main(lambda: tuple(texts))
        own = every[self.processes.part(len(every))]
        rows, done = texts_at_once(self.encoder, self.batch_size), []
        with (
            self.progress.task("captions", len(own), "captions") as task,
            SavedRows(self.blocks, self._key("captions")) as saved,
        ):
            for batch in encode_by_length(self.encoder, own, rows, padded=True):
                table = VectorTable(tuple(own[row] for row in batch.rows), batch.vectors)
                saved.add({"texts": as_bytes(table.keys), "vectors": table.vectors})
                done.append(table)
                task.advance(len(table.keys))
        return list(chain.from_iterable(self.processes.all_in_main(done)))

    def _key(self, kind: str) -> str:
        """Of all that vectors depend on beside their photo or text."""
        how = asdict(self.encoder.provenance), self.encoder.precision, versions()
        return key_of(kind, how)

    def _encode_images(
        self, files: Mapping[str, Path], plan: Callable[[], PhotosToEncode]
    ) -> tuple[list[EncodedImages], dict[str, str]]:
        """Encodes photos batch by batch, saving what is done; also those that are broken.

        Args:
            files: Each id's file.
            plan: What is to be encoded, asked of the main process alone.
        """
        every = self.processes.broadcast_from_main(plan)
        own = every[self.processes.part(len(every.ids))]
        done = GatheredImages(len(own.ids), self.encoder.dim)
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
        parts = self.processes.all_in_main((done.table(), skipped))
        tables = [table for table, _ in parts]
        return tables, {i: why for _, faults in parts for i, why in faults.items()}

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


def _files_of(ids: Sequence[str], files: Mapping[str, Path]) -> list[Path]:
    lacking = [i for i in ids if i not in files]
    if lacking:
        raise DatasetError(
            f"{len(lacking)} of {len(ids)} photos are not here, the first {lacking[0]}, which "
            f"process 0 has: give every process the same `dataset`"
        )
    return [files[i] for i in ids]
