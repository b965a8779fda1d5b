"""An index from a retriever, or from none, and the path of a gallery."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from cir.artefacts.changes import Changes
from cir.artefacts.store import Embeddings, read_embeddings
from cir.encoding.inputs import require_path
from cir.encoding.origin import encoder_of_store
from cir.encoding.retriever import Retriever, load_retriever
from cir.encoding.tuned import made_by_tuned
from cir.errors import StoreError
from cir.models.composer import untrained_composer
from cir.runtime import pick_device
from cir.search.index import SearchIndex
from cir.search.living import LivingGallery
from cir.search.opening import Source, find_source, open_gallery


def index_of(retriever: Retriever, path: Path, dataset: Path | None = None) -> SearchIndex:
    """A retriever over the gallery at a path.

    Args:
        retriever: A trained one, or the plain sum.
        path: An embedding store, or a dataset folder with its store beside it.
        dataset: Where the photos of a store are; found beside it by default.

    Raises:
        StoreError: the store is missing, damaged, or of another encoder than the retriever's.
        DatasetError: the dataset folder is none.
    """
    return index_at(retriever, find_source(path, dataset))


def open_plain(
    path: str | Path,
    *,
    dataset: str | Path | None,
    weights: str | Path | None,
    device: str | torch.device,
) -> SearchIndex:
    """The plain sum of image and text over the gallery at a path (`cir.index`)."""
    folder = None if dataset is None else require_path("dataset", dataset)
    file = None if weights is None else require_path("weights", weights)
    source = find_source(require_path("path", path), folder)
    return open_index(None, source, weights=file, device=pick_device(device))


def open_index(
    run: Path | None, source: Source, *, weights: Path | None, device: torch.device
) -> SearchIndex:
    """A run, or the plain sum where there is none, over a gallery; raises as `open_indexes`."""
    opened = open_indexes([run] if run else [], source, weights=weights, device=device)
    return opened.trained[0] if run else opened.plain


def index_at(retriever: Retriever, source: Source) -> SearchIndex:
    """A retriever over a gallery; raises as `index_of`."""
    embeddings = read_embeddings(source.store)
    require_same_encoder(retriever, embeddings)
    return SearchIndex(retriever, open_gallery(source, embeddings))


@dataclass(frozen=True, eq=False)
class Opened:
    """Retrievers over one gallery."""

    plain: SearchIndex
    """The plain sum."""
    trained: tuple[SearchIndex, ...]
    """The runs, in the order that they were named in."""
    living: LivingGallery
    """The gallery with what was added and removed since its store was made."""
    source: Source


def open_indexes(
    runs: Sequence[Path], source: Source, *, weights: Path | None, device: torch.device
) -> Opened:
    """Runs, and the plain sum over their store's encoder, over one gallery.

    Args:
        runs: Run folders, or their checkpoints; none where nothing was trained.
        source: The gallery.
        weights: The weight file that the store was embedded with, where it was one.
        device: Where encoders run.

    Raises:
        CheckpointError: a run has no checkpoint, or it is damaged.
        StoreError: the store is missing, damaged, or of another encoder than a run's.
        WeightsError: the encoder's weights cannot be had.
    """
    embeddings = read_embeddings(source.store)
    gallery = open_gallery(source, embeddings)
    trained = []
    for run in runs:
        retriever = load_retriever(run, weights=weights, device=device)
        require_same_encoder(retriever, embeddings)
        trained.append(SearchIndex(retriever, gallery))
    loaded = (r.encoder for r in (i.retriever for i in trained) if _made_the_store(r, embeddings))
    encoder = next(loaded, None) or encoder_of_store(embeddings, weights=weights, device=device)
    plain = Retriever(untrained_composer("sum"), encoder)
    living = LivingGallery(gallery, Changes(source.store), encoder)
    return Opened(SearchIndex(plain, gallery), tuple(trained), living, source)


def _made_the_store(retriever: Retriever, embeddings: Embeddings) -> bool:
    """Whether a store was embedded with the very encoder of a retriever."""
    checkpoint = retriever.checkpoint
    if checkpoint is not None and checkpoint.clip is not None:
        return made_by_tuned(checkpoint, embeddings)
    return retriever.encoder.provenance == embeddings.provenance


def require_same_encoder(retriever: Retriever, embeddings: Embeddings) -> None:
    """Raises StoreError unless a store's images are what the retriever's encoder sees.

    A tuned text tower leaves the images of its run's store as they are; a tuned image tower takes
    a store of its own.
    """
    checkpoint, store = retriever.checkpoint, str(embeddings.path)
    if checkpoint is None or checkpoint.clip is None:
        ours = str(checkpoint.folder) if checkpoint else "the retriever"
        retriever.encoder.provenance.require_same(embeddings.provenance, ours, store, StoreError)
        return
    if made_by_tuned(checkpoint, embeddings):
        return
    if checkpoint.metadata.tune != "text":
        raise StoreError(
            f"{checkpoint.folder} has tuned CLIP's image tower, and {store} was not embedded with "
            f"it: make a store with cir embed `model={checkpoint.metadata.provenance.model!r}` "
            f"`weights={str(checkpoint.folder)!r}`"
        )
    checkpoint.metadata.provenance.require_same(
        embeddings.provenance, str(checkpoint.folder), store, StoreError
    )
