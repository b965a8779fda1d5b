"""`cir`: mine negatives over precomputed embeddings and train composed image retrieval.

The library: one idea a file, no command line, no printing. The programs are in `pipeline`. A room
is a folder, and imports only from the rooms below it:

    serving      galleries searched over HTTP
    reporting    runs and manifests as pages
    search       a trained model over a gallery: `cir.load` and `cir.index` open it
    training     `cir train` (`pretraining`: how the bundled encoder was made)
    evaluation   Recall@K under a stated protocol
    mining       negatives, exact, with false negatives excluded
    encoding     photos and texts → vectors
    models       reference and text → one query vector; losses
    artefacts    the files that stages hand on
    sources      datasets from catalogues and folders of photos, merged, or drawn
    data         datasets, read

The ground that all stand on:

    config       every option, with its default (`run_settings`: as a run recorded them)
    machine      cores, memory, devices, processes
    disk         files written whole or not at all
    types        the glossary
    errors       faults that a user can mend
    arguments    checks of what callers pass (`spellings`, `addresses`: texts with a form)
    progress     how the library reports that it makes progress
    ragged       rows by owner
    names        what each artefact is called
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from cir.artefacts.embedding_store import EmbeddingStore
    from cir.encoding.encoder import Encoder
    from cir.errors import CirError
    from cir.mining.corpus import mine_negatives
    from cir.search.index import SearchIndex
    from cir.search.retriever import Retriever

__version__ = "0.1.0"


__all__ = [
    "CirError",
    "EmbeddingStore",
    "Retriever",
    "SearchIndex",
    "index",
    "load",
    "mine_negatives",
]

_HOMES = {
    "CirError": "cir.errors",
    "EmbeddingStore": "cir.artefacts.embedding_store",
    "Retriever": "cir.search.retriever",
    "SearchIndex": "cir.search.index",
    "mine_negatives": "cir.mining.corpus",
}


def __getattr__(name: str) -> object:
    """A public name, imported when it is asked for: the command line starts without it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'cir' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load(
    path: "str | Path",
    *,
    weights: "str | Path | None" = None,
    device: "str | torch.device" = "auto",
    encoder: "Encoder | None" = None,
) -> "Retriever":
    """A trained model, ready to encode photos and texts and to compose queries.

        retriever = cir.load("runs/x/checkpoints/best")
        gallery = retriever.encode_images(files)
        scores = gallery @ retriever.query("dress.jpg", "is red and shorter")

    Args:
        path: A checkpoint folder, or a run folder, whose best checkpoint is taken.
        weights: The weight file that the run's store was embedded with, where it was one and CLIP
            was not tuned.
        device: auto, cpu, cuda or mps.
        encoder: The run's encoder where it is your own, as `cir.encoding.foreign.adopted` gave it
            when the store was embedded; it computes where it does, whatever `device`.

    Returns:
        A `cir.search.retriever.Retriever`. All its vectors are float32 and of unit length.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged, or `weights` or `encoder` are
            another encoder's.
        UsageError: an argument is of another kind, the device is not on this machine, or the run's
            encoder is your own and not passed.
        WeightsError: the encoder's weights cannot be had.
    """
    from cir.search.retriever import load_retriever

    return load_retriever(path, weights=weights, device=device, encoder=encoder)


def index(
    path: "str | Path",
    *,
    dataset: "str | Path | None" = None,
    weights: "str | Path | None" = None,
    device: "str | torch.device" = "auto",
    index: str = "auto",
    encoder: "Encoder | None" = None,
) -> "SearchIndex":
    """A gallery searched by the plain sum of image and text: where nothing was trained yet.

        results = cir.index("shop.h5").search("dress.jpg", "is red and shorter", top=5)

    `cir.load(RUN).index(path)` searches it by a trained model.

    Args:
        path: An embedding store, a dataset folder with its store beside it, or a folder of photos,
            which is embedded by cir-tiny first where it was not yet: `photos` into `photos-cir` and
            `photos-cir.h5`.
        dataset: Where the photos of a store are; found beside it by default.
        weights: The weight file that the store was embedded with, where it was one.
        device: auto, cpu, cuda or mps.
        index: flat compares with every vector; ivf, hnsw and ivfpq are built first and compare with
            some; auto is flat up to 250,000 photos and ivf beyond. The address of a collection in
            Milvus that `cir index push` filled from the store searches there.
        encoder: The store's encoder where it is your own, as `cir.encoding.foreign.adopted` gave it
            when the store was embedded; a folder of photos is embedded by it.

    Raises:
        UsageError: an argument is of another kind, the device is not on this machine, or the
            store's encoder is your own and not passed.
        StoreError: the store is missing or damaged, `weights` or `encoder` are not its encoder's,
            or the collection is of another store.
        DatasetError: the dataset folder is none.
        WeightsError: the encoder's weights cannot be had.
        UnreachableError: Milvus does not answer.
    """
    from cir.search.open_index import open_plain

    opened = open_plain(
        path, dataset=dataset, weights=weights, device=device, index=index, encoder=encoder
    )
    if opened.warning:
        warnings.warn(opened.warning, stacklevel=2)
    return opened.index
