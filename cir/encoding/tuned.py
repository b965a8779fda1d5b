"""A store's vectors as the encoder of a checkpoint sees them."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import torch

from cir.artefacts.checkpoint import Checkpoint
from cir.artefacts.store import Embeddings
from cir.data.captions import both_orders
from cir.data.dataset import Dataset
from cir.data.queries import Query
from cir.encoding.origin import encoder_of_checkpoint
from cir.encoding.refresh import with_captions, with_images
from cir.encoding.sameness import named_as
from cir.encoding.weights.files import weights_sha256
from cir.errors import CheckpointError, CirError
from cir.machine.processes import ALONE, Processes
from cir.progress import SILENT, Progress

_TOWERS: Final = {"text": "the text tower", "image": "the image tower", "both": "both towers"}


def as_tuned(
    embeddings: Embeddings,
    checkpoint: Checkpoint | None,
    dataset: Dataset,
    queries: Sequence[Query],
    image_ids: Iterable[str],
    *,
    texts_of: Callable[[Sequence[str]], tuple[str, ...]] = both_orders,
    device: torch.device,
    workers: int,
    progress: Progress = SILENT,
    processes: Processes = ALONE,
) -> Embeddings:
    """The vectors of some queries and images as a checkpoint's encoder sees them.

    Only what the tuned towers changed is encoded again; where none was tuned, nothing is.

    Args:
        embeddings: Vectors of the encoder before it was tuned, or already of the tuned one.
        checkpoint: May hold a tuned encoder; None for a combiner that needs no training.
        dataset: Where the image files are.
        queries: Whose references, targets and captions are encoded.
        image_ids: The images that are encoded as well: the galleries.
        texts_of: The texts of a query's captions that are encoded: by default those that evaluation
            ranks by; `cir.data.captions.variants` are those that training draws from.
        device: Where it is encoded.
        workers: Processes that decode images.
        progress: Shows images and captions per second.
        processes: Those that encode a part each; all return the same.

    Raises:
        CheckpointError: the checkpoint belongs to another encoder than the store.
    """
    if checkpoint is None or made_by_tuned(checkpoint, embeddings):
        return embeddings
    tune = checkpoint.metadata.tune
    _require_trained_over(checkpoint, embeddings, CheckpointError)
    if tune == "none":
        return embeddings
    encoder, now = encoder_of_checkpoint(checkpoint, device=device), embeddings
    if tune in ("image", "both"):
        named = {i for q in queries for i in (q.reference_id, *q.target_ids)}
        ids = named.union(image_ids)
        now = with_images(
            now,
            encoder,
            dataset,
            ids,
            workers=workers,
            progress=progress,
            processes=processes,
        )
    if tune in ("text", "both"):
        texts = (text for q in queries for text in texts_of(q.captions))
        now = with_captions(now, encoder, texts, progress=progress, processes=processes)
    return now


def require_images_of(
    checkpoint: Checkpoint, embeddings: Embeddings, error: type[CirError]
) -> None:
    """Raises `error` unless a store's images are what a checkpoint's encoder sees.

    A tuned text tower leaves the images of its run's store as they are; a tuned image tower takes
    a store of its own.
    """
    if made_by_tuned(checkpoint, embeddings):
        return
    if checkpoint.metadata.tune in ("image", "both"):
        raise error(
            f"{checkpoint.folder} has tuned CLIP's image tower, and {embeddings.path} was not "
            f"embedded with it: {_own_store(checkpoint)}"
        )
    _require_trained_over(checkpoint, embeddings, error)


def _require_trained_over(
    checkpoint: Checkpoint, embeddings: Embeddings, error: type[CirError]
) -> None:
    """Raises `error` unless a store is of the encoder that a checkpoint was trained over."""
    store = embeddings.provenance
    origin = named_as(checkpoint.metadata.provenance, store)
    if checkpoint.clip is not None and origin != store:
        raise error(
            f"{checkpoint.folder} has tuned {_TOWERS[checkpoint.metadata.tune]} of {origin}, and "
            f"{embeddings.path} is of {store}: pass the store that it was trained on, or "
            f"{_own_store(checkpoint)}"
        )
    origin.require_same(store, str(checkpoint.folder), str(embeddings.path), error)


def _own_store(checkpoint: Checkpoint) -> str:
    """How to make a store with a checkpoint's encoder."""
    model, folder = checkpoint.metadata.provenance.model, str(checkpoint.folder)
    return f"make a store with cir embed `model={model!r}` `weights={folder!r}`"


def made_by_tuned(checkpoint: Checkpoint, embeddings: Embeddings) -> bool:
    """Whether a store was embedded with the very encoder that a checkpoint has tuned."""
    if checkpoint.clip is None:
        return False
    tuned = dataclasses.replace(
        checkpoint.metadata.provenance,
        pretrained=embeddings.provenance.pretrained,
        weights_sha256=weights_sha256(checkpoint.clip),
    )
    return tuned == embeddings.provenance
