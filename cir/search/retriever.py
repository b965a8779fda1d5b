"""A trained model ready for use: photos and texts to vectors, both to a query."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from cir import arguments
from cir.artefacts.checkpoint import Checkpoint
from cir.artefacts.vectors import normalised
from cir.config import EmbedConfig
from cir.encoding.embedding import caption_vectors, image_vectors
from cir.encoding.encoder import Encoder
from cir.encoding.origin import encoder_of_checkpoint, require_encoder_of
from cir.errors import CheckpointError, UsageError, VectorError
from cir.machine.runtime import pick_device
from cir.machine.workers import pick_workers
from cir.models.composer import Composer, composer_of, find_checkpoint
from cir.models.composition import compose
from cir.progress import SILENT, Progress
from cir.search.inputs import (
    feature_rows,
    photo_list,
    require_count,
    require_path,
    require_photo,
    require_query_text,
    text_list,
    unless_blank,
)

if TYPE_CHECKING:
    from cir.search.index import SearchIndex

Photo = str | Path | Image.Image
"""A file, or an image that is decoded already."""

_BATCH: Final = EmbedConfig.batch_size
"""Photos or texts encoded at once: as many as `cir embed`, so that vectors are the same bits."""


class Retriever:
    """A combiner and the encoder that it was trained with.

    A gallery is searched by inner products: `gallery @ retriever.query(photo, text)`.
    """

    def __init__(self, composer: Composer, encoder: Encoder) -> None:
        """Takes the parts as they are; `load_retriever` finds them.

        Args:
            composer: The combiner, and its checkpoint.
            encoder: In evaluation mode.
        """
        self.checkpoint = composer.checkpoint
        self.encoder = encoder
        self.combiner = composer.combiner

    @property
    def dim(self) -> int:
        """Components of a vector."""
        return self.encoder.dim

    def encode_images(
        self,
        photos: Iterable[Photo],
        *,
        batch_size: int = _BATCH,
        workers: int | None = None,
        progress: Progress = SILENT,
    ) -> Float[np.ndarray, "photos dim"]:
        """The unit vector of each photo, float32: what a gallery is made of.

        Args:
            photos: Files, or images that are decoded already.
            batch_size: Photos encoded at once.
            workers: Processes that decode and preprocess; 0 does it in this one. None takes this
                one for a single batch, and for more as many as `cir.machine.workers.pick_workers`.
            progress: Shows images per second.

        Raises:
            UsageError: `photos` is no list of photos, or a number is below its least.
            ImageError: a file is missing, damaged, or no image; the first in order is named.
            VectorError: the encoder gives a vector without a direction.
        """
        arguments.instance("progress", progress, Progress)
        checked, size = photo_list(photos), require_count("batch_size", batch_size, 1)
        if workers is None:
            workers = pick_workers(None, self.encoder.device) if len(checked) > size else 0
        vectors = image_vectors(
            self.encoder,
            checked,
            batch_size=size,
            workers=require_count("workers", workers, 0),
            progress=progress,
        )
        return normalised(vectors, "photos")

    def encode_texts(
        self, texts: Iterable[str], *, batch_size: int = _BATCH, progress: Progress = SILENT
    ) -> Float[np.ndarray, "texts dim"]:
        """The unit vector of each text, float32.

        Args:
            texts: Cut at the model's context length.
            batch_size: Texts encoded at once.
            progress: Shows captions per second.

        Raises:
            UsageError: `texts` is no list of strings, or a number is below its least.
            VectorError: the encoder gives a vector without a direction.
        """
        arguments.instance("progress", progress, Progress)
        size = require_count("batch_size", batch_size, 1)
        vectors = caption_vectors(
            self.encoder, text_list(texts), batch_size=size, progress=progress
        )
        return normalised(vectors, "texts")

    def compose(self, images: Any, texts: Any) -> Float[np.ndarray, "queries dim"]:
        """The unit vector of each query, from its reference's vector and its text's.

        Args:
            images: (queries, dim), of any length above zero: an array, a tensor or a list.
            texts: Likewise, in the same order.

        Raises:
            VectorError: the two are not as many vectors of the encoder's dimension, one is not
                finite, or a composed vector has no direction.
        """
        references = feature_rows("images", images, self.dim)
        captions = feature_rows("texts", texts, self.dim)
        if len(references) != len(captions):
            raise VectorError(
                f"`images` has {len(references)} rows, `texts` {len(captions)}; expected as many"
            )
        return compose(self.combiner, references, captions, device=self.encoder.device)

    def query(self, photo: Photo, text: str) -> Float[np.ndarray, " dim"]:
        """The unit vector of a reference photo and the text that modifies it.

        A blank text is no text, as everywhere in searching: the vector is the photo's own.

        Raises:
            UsageError: `photo` is no photo, or `text` no string of at most 1,000 characters.
            ImageError: the photo is missing, damaged, or no image.
        """
        composed: Float[np.ndarray, " dim"]
        words = unless_blank(require_query_text("text", text))
        images = self.encode_images([require_photo("photo", photo)])
        (composed,) = self.compose(images, self.encode_texts([words])) if words else images
        return composed

    def index(
        self, path: str | Path, *, dataset: str | Path | None = None, index: str = "auto"
    ) -> "SearchIndex":
        """The retriever over a gallery, to search in.

            results = cir.load("runs/x").index("shop.h5").search("dress.jpg", "is red", top=5)

        Args:
            path: An embedding store, a dataset folder with its store beside it, or a folder of
                photos, which is embedded first where it was not yet: `photos` into `photos-cir`
                and `photos-cir.h5`.
            dataset: Where the photos of a store are; found beside it by default.
            index: flat compares with every vector; ivf, hnsw and ivfpq are built first and compare
                with some; auto is flat up to 250,000 photos and ivf beyond. The address of a
                collection in Milvus that `cir index push` filled from the store
                (`milvus://HOST:PORT/COLLECTION`) searches there.

        Raises:
            UsageError: a path is of another kind, or `index` is none.
            StoreError: the store is missing, damaged, or of another encoder than this one's; or the
                collection is of another store.
            DatasetError: the dataset folder is none.
            UnreachableError: Milvus does not answer.
        """
        from cir.search.open_index import open_with

        folder = None if dataset is None else require_path("dataset", dataset)
        opened = open_with(self, require_path("path", path), folder, index)
        if opened.warning:
            warnings.warn(opened.warning, stacklevel=2)
        return opened.index


def load_retriever(
    path: str | Path,
    *,
    weights: str | Path | None,
    device: str | torch.device,
    encoder: Encoder | None,
) -> Retriever:
    """Reads a checkpoint folder, or the best checkpoint of a run folder, with its encoder.

    Args:
        path: The folder.
        weights: The weight file that the run's store was embedded with, where it was one and CLIP
            was not tuned; published weights are found, and tuned ones are in the checkpoint.
        device: auto, cpu, cuda or mps.
        encoder: The run's encoder in place of one that is loaded, with a device of its own.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged, or `weights` or `encoder` are not
            its encoder's.
        UsageError: an argument is of another kind, the device is not on this machine, or the run's
            encoder is no published one and not passed.
        WeightsError: the encoder's weights cannot be had.
    """
    checkpoint = find_checkpoint(require_path("path", path))
    file = None if weights is None else require_path("weights", weights)
    if encoder is not None:
        require_own(encoder, file)
        return _with_own(checkpoint, encoder)
    return retriever_of(checkpoint, weights=file, device=pick_device(device))


def retriever_of(
    checkpoint: Checkpoint, *, weights: Path | None, device: torch.device
) -> Retriever:
    """As `load_retriever`, of a checkpoint that was read already."""
    encoder = encoder_of_checkpoint(checkpoint, weights=weights, device=device)
    return Retriever(composer_of(checkpoint), encoder)


def require_own(encoder: object, weights: Path | None) -> None:
    """Raises UsageError unless `encoder` is one as the library takes it, and says all."""
    if not isinstance(encoder, Encoder):
        raise UsageError(
            f"`encoder` is {arguments.shown(encoder)}; expected an Encoder, which "
            f"cir.encoding.foreign.adopted makes of it"
        )
    if weights is not None:
        raise UsageError("`weights` and `encoder` both say which encoder: leave one of them out")


def _with_own(checkpoint: Checkpoint, encoder: Encoder) -> Retriever:
    """A checkpoint's combiner over the caller's encoder, which must be that of its run."""
    if checkpoint.clip is not None:
        raise UsageError(
            f"{checkpoint.folder} holds the encoder that it has tuned: leave out `encoder`"
        )
    origin = checkpoint.metadata.provenance
    own = require_encoder_of(encoder, origin, checkpoint.folder, CheckpointError)
    return Retriever(composer_of(checkpoint), own)
