"""A trained model ready for use: photos and texts to vectors, both to a query."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from cir.artefacts.vectors import normalised
from cir.data.images import read_image, upright
from cir.encoding.embedding import caption_vectors, spans_of, stacked
from cir.encoding.encoder import Encoder
from cir.encoding.origin import encoder_of_checkpoint
from cir.models.composer import Composer, composer_of, find_checkpoint
from cir.models.composition import compose
from cir.runtime import pick_device

Photo = str | Path | Image.Image
"""A file, or an image that is decoded already."""

_BATCH: Final = 64
"""Photos or texts encoded at once."""


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

    def encode_images(self, photos: Sequence[Photo]) -> Float[np.ndarray, "photos dim"]:
        """The unit vector of each photo, float32: what a gallery is made of.

        Raises:
            ImageError: a file is missing, damaged, or no image.
            VectorError: the encoder gives a vector without a direction.
        """
        found = stacked(list(self._encoded(photos)), self.dim)
        return normalised(found, "photos")

    def encode_texts(self, texts: Sequence[str]) -> Float[np.ndarray, "texts dim"]:
        """The unit vector of each text, float32.

        Raises:
            VectorError: the encoder gives a vector without a direction.
        """
        return normalised(caption_vectors(self.encoder, texts, batch_size=_BATCH), "texts")

    def compose(
        self, images: Float[np.ndarray, "queries dim"], texts: Float[np.ndarray, "queries dim"]
    ) -> Float[np.ndarray, "queries dim"]:
        """The unit vector of each query, from its reference's vector and its text's.

        Args:
            images: Of any length above zero.
            texts: Likewise, in the same order.

        Raises:
            VectorError: a composed vector has no direction.
        """
        return compose(self.combiner, images, texts, device=self.encoder.device)

    def query(self, photo: Photo, text: str) -> Float[np.ndarray, " dim"]:
        """The unit vector of a reference photo and the text that modifies it.

        Raises:
            ImageError: the photo is missing, damaged, or no image.
        """
        composed: Float[np.ndarray, " dim"]
        (composed,) = self.compose(self.encode_images([photo]), self.encode_texts([text]))
        return composed

    def _encoded(self, photos: Sequence[Photo]) -> Iterator[Float[np.ndarray, "batch dim"]]:
        for span in spans_of(range(len(photos)), _BATCH):
            decoded = [_decoded(photos[row]) for row in span]
            pixels = torch.stack([self.encoder.preprocess(photo) for photo in decoded])
            with torch.inference_mode():
                encoded = self.encoder.encode_images(pixels.to(self.encoder.device))
            yield encoded.cpu().numpy()


def load_retriever(path: Path, *, weights: Path | None, device: str) -> Retriever:
    """Reads a checkpoint folder, or the best checkpoint of a run folder, with its encoder.

    Args:
        path: The folder.
        weights: The weight file that the run's store was embedded with, where it was one and CLIP
            was not tuned; published weights are found, and tuned ones are in the checkpoint.
        device: auto, cpu, cuda or mps.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged, or `weights` are not its encoder's.
        UsageError: the device is not on this machine, or the run's encoder is no published one.
        WeightsError: the encoder's weights cannot be had.
    """
    checkpoint = find_checkpoint(path)
    encoder = encoder_of_checkpoint(checkpoint, weights=weights, device=pick_device(device))
    return Retriever(composer_of(checkpoint), encoder)


def _decoded(photo: Photo) -> Image.Image:
    return upright(photo) if isinstance(photo, Image.Image) else read_image(Path(photo))
