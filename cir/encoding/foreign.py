"""Any encoder, by two methods: `encode_images` and `encode_texts`.

What an object gives by them is embedded, added to and checked like open_clip's vectors:

    encoder = adopted(mine, name="my-clip", image_size=224)
    embed_dataset(Dataset(folder), encoder, out, batch_size=128, workers=4, on_error="skip")
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Int, UInt8
from PIL import Image
from torch import Tensor, nn

from cir.artefacts.provenance import Provenance
from cir.encoding.encoder import Encoder
from cir.encoding.preprocess import build_preprocess
from cir.encoding.weights.files import weights_sha256
from cir.encoding.weights.tags import ADOPTED
from cir.errors import UsageError, VectorError


@runtime_checkable
class PhotoEncoder(Protocol):
    """An object that gives vectors of photos; of texts too, where it has `encode_texts`.

    `encode_texts(texts: list[str])` is of the same form: a vector a text, of the same dimension. An
    object without it embeds datasets without captions.
    """

    def encode_images(self, photos: list[Image.Image]) -> Any:
        """A vector a photo, in order: (photos, dim), as an array, a tensor or lists of numbers.

        Args:
            photos: RGB, square, of the size that was asked for; not normalised.
        """


def adopted(
    encoder: object,
    *,
    name: str,
    image_size: int,
    preprocess: str = "targetpad",
    version: str | None = None,
) -> Encoder:
    """An encoder of one's own as the rest of cir takes it.

    Args:
        encoder: A `PhotoEncoder`; has `encode_texts` as well where captions are to be embedded.
        name: What stores call it: `Provenance.model`.
        image_size: Height and width in pixels of the photos that it is given; vectors of photos of
            another size are another encoder's.
        preprocess: How these are made square: targetpad, squarepad or clip.
        version: Tells its weights from others, so that vectors of both are not mixed, beside the
            tensors of its `state_dict()`; needed where it has none.

    Raises:
        UsageError: the object has no `encode_images`, or nothing tells its weights.
        VectorError: it gives no vectors.
    """
    if not isinstance(encoder, PhotoEncoder):
        raise UsageError(
            f"`encoder` is a {type(encoder).__name__}; expected a method `encode_images(photos)`"
        )
    black = Image.new("RGB", (image_size, image_size))
    dim = _rows(encoder.encode_images([black]), 1, "encode_images").shape[1]
    identity = _identity(encoder, image_size, version)
    provenance = Provenance(name, ADOPTED, identity, preprocess, dim)
    return _ForeignEncoder(encoder, provenance, image_size)


class _ForeignEncoder(Encoder):
    """Hands photos and texts to an object, and takes its vectors.

    A text's tokens are its characters, so that texts go the way of all others.
    """

    def __init__(self, encoder: PhotoEncoder, provenance: Provenance, image_size: int) -> None:
        colours = (0.0,) * 3, (1.0,) * 3
        super().__init__(
            nn.Module(),
            provenance=provenance,
            preprocess=build_preprocess(provenance.preprocess, image_size, *colours),
            tokenizer=_characters,
            image_size=image_size,
            device=torch.device("cpu"),
            precision="fp32",
        )
        self._own = encoder

    def copy_on(self, device: torch.device) -> "Encoder":
        """Itself: on which device the object computes is its own concern."""
        return self

    def normalise(self, pixels: Tensor) -> Tensor:
        """Leaves the bytes of photos as they are."""
        return pixels

    def encode_images(
        self, pixels: UInt8[Tensor, "batch size size 3"]
    ) -> Float32[Tensor, "batch dim"]:
        """The object's vectors of photos."""
        photos = [Image.fromarray(photo) for photo in pixels.numpy()]
        return self._checked(self._own.encode_images(photos), len(photos), "encode_images")

    def encode_texts(self, tokens: Int[Tensor, "batch context"]) -> Float32[Tensor, "batch dim"]:
        """The object's vectors of texts."""
        encode = getattr(self._own, "encode_texts", None)
        if encode is None:
            raise UsageError(
                f"{self.provenance.model} has no `encode_texts`, and the dataset has captions"
            )
        texts = ["".join(map(chr, row[row > 0].tolist())) for row in tokens]
        return self._checked(encode(texts), len(texts), "encode_texts")

    def text_ends(self, tokens: Int[Tensor, "texts context"]) -> Int[Tensor, " texts"]:
        """The number of each text's characters."""
        return (tokens > 0).sum(dim=1)

    def cut_texts(self, texts: Sequence[str]) -> list[str]:
        """None: what becomes of long texts is the object's."""
        return []

    def image_parameters(self) -> dict[str, nn.Parameter]:
        """None that is known here."""
        return {}

    def _checked(self, vectors: Any, count: int, method: str) -> Float32[Tensor, "batch dim"]:
        rows = _rows(vectors, count, method)
        if rows.shape[1] != self.dim:
            raise VectorError(
                f"`{method}` of {self.provenance.model} gives {rows.shape[1]}-d vectors; expected "
                f"{self.dim}-d ones, as `encode_images` gave"
            )
        return torch.from_numpy(rows)


def _characters(texts: list[str], context: int | None = None) -> Int[Tensor, "texts context"]:
    """The code points of each text, zeros behind its end."""
    longest = max(map(len, texts), default=0)
    points = [[ord(character) for character in text] for text in texts]
    return torch.tensor([row + [0] * (longest - len(row)) for row in points]).reshape(-1, longest)


def _rows(vectors: Any, count: int, method: str) -> Float32[np.ndarray, "rows dim"]:
    """Vectors of whatever kind as an array of as many rows."""
    if isinstance(vectors, Tensor):
        vectors = vectors.detach().cpu().float().numpy()
    rows = np.asarray(vectors, dtype=np.float32)
    if rows.ndim != 2 or len(rows) != count:
        raise VectorError(f"`{method}` gives shape {rows.shape}; expected ({count}, dim)")
    return np.ascontiguousarray(rows)


def _identity(encoder: object, image_size: int, version: str | None) -> str:
    """64 hexadecimal digits that tell an object from others: by weights, version and image size."""
    state: Mapping[str, Any] = getattr(encoder, "state_dict", dict)()
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors and version is None:
        raise UsageError(
            "`version` is missing; expected a text, as `encoder` has no `state_dict()`"
        )
    weights = weights_sha256(tensors) if tensors else None
    described = json.dumps({"image_size": image_size, "version": version, "weights": weights})
    return hashlib.sha256(described.encode("ascii")).hexdigest()
