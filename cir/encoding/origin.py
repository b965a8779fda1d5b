"""The encoder that vectors come from, loaded again from what their provenance says."""

from pathlib import Path

import torch

from cir.artefacts.checkpoint import Checkpoint
from cir.artefacts.checksums import shortened
from cir.artefacts.provenance import Provenance
from cir.artefacts.store import Embeddings
from cir.encoding.encoder import Encoder
from cir.encoding.sameness import encoder_named_as
from cir.encoding.weights.tags import ADOPTED
from cir.errors import CheckpointError, CirError, StoreError, UsageError


def require_encoder_of(
    encoder: Encoder, origin: Provenance, place: Path, error: type[CirError]
) -> Encoder:
    """An encoder under the name that vectors were made by; raises `error` where it is another.

    Args:
        encoder: The caller's.
        origin: What a store or a run says of its encoder.
        place: The store or the run.
        error: The class to raise.
    """
    named = encoder_named_as(encoder, origin)
    named.provenance.require_same(origin, "`encoder`", str(place), error)
    return named


def require_loadable(origin: Provenance, place: Path) -> None:
    """Raises UsageError where an encoder is its owner's object, which nothing here can make."""
    if origin.pretrained == ADOPTED:
        raise UsageError(
            f"{place} is of {origin.model!r}, an encoder of your own, which no command can load: "
            f"open it from Python, cir.load(RUN, encoder=…) or cir.index(STORE, encoder=…)"
        )


def encoder_of_store(
    embeddings: Embeddings,
    *,
    weights: Path | None,
    device: torch.device,
    precision: str = "fp32",
) -> Encoder:
    """The encoder that a store was embedded with, under the name that the store gives its weights.

    Args:
        embeddings: The store.
        weights: The weight file that it was embedded with, where it was one; under whatever name.
        device: Where the encoder runs.
        precision: Of its arithmetic.

    Raises:
        UsageError: the store's encoder is no published one.
        WeightsError: the weights cannot be had.
        StoreError: they are not those of the store.
    """
    origin = embeddings.provenance
    require_loadable(origin, embeddings.path)
    encoder = encoder_named_as(_load(origin, weights, device, precision), origin)
    found = encoder.provenance
    if weights is None and (found.model, found.embed_dim) == (origin.model, origin.embed_dim):
        _require_own_weights(found, embeddings)
    weights_name = str(weights or f"{origin.model} {origin.pretrained}")
    encoder.provenance.require_same(origin, weights_name, str(embeddings.path), StoreError)
    return encoder


def _require_own_weights(found: Provenance, embeddings: Embeddings) -> None:
    """Raises StoreError where a store's weights are not those that its names lead to."""
    origin = embeddings.provenance
    if found.weights_sha256 != origin.weights_sha256:
        raise StoreError(
            f"{embeddings.path} was embedded with {origin}, which is not {found}: pass the weight "
            f"file, or the run, that it was embedded with as `weights`"
        )


def require_embedded_with(embeddings: Embeddings, weights: Path, device: torch.device) -> None:
    """Requires that a store was embedded with the weights of a file.

    Args:
        embeddings: The store.
        weights: The file, under whatever name.
        device: Where the encoder is loaded to.

    Raises:
        UsageError: the store's encoder is no published one.
        WeightsError: the file cannot be read, or is of another architecture than the store's.
        StoreError: the store was embedded with other weights.
    """
    origin = embeddings.provenance
    require_loadable(origin, embeddings.path)
    found = _load(origin, weights, device).provenance
    if found.weights_sha256 != origin.weights_sha256:
        raise StoreError(
            f"{embeddings.path} was embedded with weights {shortened(origin.weights_sha256)} "
            f"({origin.model} {origin.pretrained}), not with those of {weights}, "
            f"{shortened(found.weights_sha256)}: make a store with "
            f"cir embed `model={origin.model!r}` `weights={str(weights)!r}`"
        )


def encoder_of_checkpoint(
    checkpoint: Checkpoint, *, weights: Path | None = None, device: torch.device
) -> Encoder:
    """The encoder that a checkpoint's combiner works on: the one that it tuned, or its store's.

    Args:
        checkpoint: Of a run.
        weights: The weight file that the run's store was embedded with, where it was one and CLIP
            was not tuned; published weights are found, and tuned ones are in the checkpoint.
        device: Where the encoder runs.

    Raises:
        UsageError: the run's encoder is no published one.
        WeightsError: the weights cannot be had, or do not fit.
        CheckpointError: they are not those that the run's store was embedded with.
    """
    origin = checkpoint.metadata.provenance
    require_loadable(origin, checkpoint.folder)
    if checkpoint.clip is not None:
        return _load(origin, checkpoint.folder, device)
    encoder = encoder_named_as(_load(origin, weights, device), origin)
    if encoder.provenance.weights_sha256 != origin.weights_sha256:
        raise CheckpointError(
            f"{checkpoint.folder} was trained over {origin.model} {origin.pretrained} with weights "
            f"{shortened(origin.weights_sha256)}, and {weights or 'those published'} are "
            f"{shortened(encoder.provenance.weights_sha256)}: pass the file that the store was "
            f"embedded with as `weights`"
        )
    return encoder


def _load(
    origin: Provenance, weights: Path | None, device: torch.device, precision: str = "fp32"
) -> Encoder:
    # open_clip loads for seconds: what works on stored vectors alone never comes here.
    from cir.encoding.loading import load_encoder

    return load_encoder(
        origin.model,
        pretrained=origin.pretrained,
        weights=weights,
        preprocess=origin.preprocess,
        device=device,
        precision=precision,
    )
