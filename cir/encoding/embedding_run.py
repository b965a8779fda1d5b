"""One embedding of a dataset: what is known is kept, the rest is encoded and saved as it comes."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import VectorTable
from cir.config import OnError
from cir.data.image_batches import ImageBatch
from cir.encoding.batching import images_at_once, texts_at_once
from cir.encoding.blocks import Blocks, SavedRows, as_bytes, as_texts, key_of
from cir.encoding.embedding import encode_photos, filled_up, photos_of, spans_of
from cir.encoding.encoder import Encoder
from cir.encoding.known_images import EncodedImages, ImagePlan, KnownImages
from cir.encoding.libraries import versions
from cir.encoding.places import Place, gathered
from cir.encoding.texts import encode_by_length
from cir.errors import ImageError
from cir.progress import Progress


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


@dataclass(frozen=True)
class EmbeddingRun:
    """One embedding of a dataset: how it encodes, and where it keeps what is done."""

    encoder: Encoder
    blocks: Blocks
    batch_size: int
    workers: int
    on_error: OnError
    progress: Progress

    def images(self, files: Mapping[str, Path], store: Embeddings | None) -> EmbeddedImages:
        """Every image that can be read, in order; only what is not known is encoded."""
        of_store = [] if store is None else [EncodedImages.of_store(store)]
        of_killed = [
            EncodedImages.from_arrays(b) for b in self.blocks.load_all(self._key("images"))
        ]
        known = KnownImages([*of_store, *of_killed])
        plan = known.plan(files, progress=self.progress)
        new, skipped = self._encode_images(files, plan)
        tables = [*known.tables, *new]
        places = dict(plan.kept)
        for number, table in enumerate(new, len(known.tables)):
            places |= {i: Place(number, row) for row, i in enumerate(table.ids)}
        ids = tuple(i for i in files if i in places)
        in_order = [places[i] for i in ids]
        kept = sum(place.table < len(of_store) for place in plan.kept.values())
        return EmbeddedImages(
            ids=ids,
            states=np.array([plan.states[i] for i in ids], np.int64).reshape(len(ids), 2),
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
        """Encodes texts batch by batch, saving what is done."""
        rows, done = texts_at_once(self.encoder, self.batch_size), []
        with (
            self.progress.task("captions", len(texts), "captions") as task,
            SavedRows(self.blocks, self._key("captions")) as saved,
        ):
            for batch in encode_by_length(self.encoder, texts, rows, padded=True):
                table = VectorTable(tuple(texts[row] for row in batch.rows), batch.vectors)
                saved.add({"texts": as_bytes(table.keys), "vectors": table.vectors})
                done.append(table)
                task.advance(len(table.keys))
        return done

    def _key(self, kind: str) -> str:
        """Of all that vectors depend on beside their photo or text."""
        how = asdict(self.encoder.provenance), self.encoder.precision, versions()
        return key_of(kind, how)

    def _encode_images(
        self, files: Mapping[str, Path], plan: ImagePlan
    ) -> tuple[list[EncodedImages], dict[str, str]]:
        """Encodes what is to be encoded, saving what is done; also the broken images."""
        done: list[EncodedImages] = []
        skipped: dict[str, str] = {}
        with (
            self.progress.task("images", len(plan.to_encode), "images") as task,
            SavedRows(self.blocks, self._key("images")) as saved,
            closing(self._batches(files, plan.to_encode)) as batches,
        ):
            for photos in batches:
                skipped |= self._faults(photos, plan.to_encode)
                part = self._encoded(photos, plan)
                saved.add(part.to_arrays())
                done.append(part)
                task.advance(len(photos.rows) + len(photos.faults))
        return done, skipped

    def _batches(
        self, files: Mapping[str, Path], ids: Sequence[str]
    ) -> Generator[ImageBatch, None, None]:
        spans = spans_of(range(len(ids)), images_at_once(self.encoder, self.batch_size))
        paths = [files[i] for i in ids]
        return photos_of(self.encoder, paths, spans, self.workers)

    def _faults(self, photos: ImageBatch, ids: Sequence[str]) -> dict[str, str]:
        if photos.faults and self.on_error == "fail":
            fault = next(iter(photos.faults.values()))
            raise ImageError(f"{fault}; `on_error='skip'` leaves broken images out")
        return {ids[row]: fault for row, fault in photos.faults.items()}

    def _encoded(self, photos: ImageBatch, plan: ImagePlan) -> EncodedImages:
        ids = tuple(plan.to_encode[row] for row in photos.rows)
        whole = filled_up(photos, images_at_once(self.encoder, self.batch_size))
        return EncodedImages(
            ids=ids,
            states=np.array([plan.states[i] for i in ids], np.int64).reshape(len(ids), 2),
            sha256=photos.sha256,
            vectors=encode_photos(self.encoder, whole, plan.to_encode),
        )
