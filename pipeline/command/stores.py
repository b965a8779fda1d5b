"""Stores that stages read: none is used unnoticed for other photos than it was made of."""

from pathlib import Path

from cir.artefacts.photo_states import require_fresh
from cir.artefacts.store import Embeddings, read_embeddings
from cir.data.dataset import Dataset
from pipeline.screen import console


def read_fresh(path: Path, dataset: Dataset, *, stale_ok: bool, main: bool = True) -> Embeddings:
    """Reads the store of a dataset, and says where photos have changed since and that is accepted.

    Args:
        path: The store.
        dataset: Its photos are compared by size and time of change.
        stale_ok: Whether to go on where some differ.
        main: Whether this process is the one that prints.

    Raises:
        StoreError: the store cannot be read, or photos have changed and `stale_ok` is False.
    """
    embeddings = read_embeddings(path)
    changed = require_fresh(embeddings, dataset, stale_ok=stale_ok)
    if changed and main:
        total = len(embeddings.images.keys)
        console.note(
            f"{changed:,} of {total:,} photos have changed since {path} was made: accepted"
        )
    return embeddings
