"""An index from a retriever, or from none, and the path of a gallery."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from cir.artefacts.changes import Changes
from cir.artefacts.store import Embeddings, map_embeddings
from cir.config import PREPROCESS, TINY
from cir.data.dataset import Dataset
from cir.encoding.encoder import Encoder
from cir.encoding.origin import encoder_of_store, require_encoder_of
from cir.encoding.tuned import made_by_tuned, require_images_of
from cir.errors import StoreError
from cir.machine.runtime import pick_device
from cir.models.composer import find_checkpoint, untrained_composer
from cir.progress import SILENT, Progress
from cir.search.index import SearchIndex
from cir.search.inputs import require_path
from cir.search.living import LivingGallery
from cir.search.opening import (
    GalleryIndex,
    Source,
    UnembeddedFolder,
    find_source,
    gallery_index,
    open_gallery,
    read_store,
    source_of,
)
from cir.search.photo_folder import (
    EmbeddedFolder,
    FolderChanges,
    embed_photo_folder,
    folder_changes,
    is_photo_folder,
)
from cir.search.retriever import Retriever, require_own, retriever_of


@dataclass(frozen=True, eq=False)
class _Encoders:
    """Where the encoder of a gallery is had from."""

    retrievers: Sequence[Retriever]
    """Those that are to search it: their own counts first."""
    weights: Path | None
    """The weight file that it was embedded with, where it was one."""
    device: torch.device
    own: Encoder | None = None
    """The caller's."""

    def of_store(self, embeddings: Embeddings) -> Encoder:
        """The encoder that a store was embedded with.

        Raises:
            StoreError: a retriever's encoder, or the caller's, sees other images.
        """
        for retriever in self.retrievers:
            require_same_encoder(retriever, embeddings)
        if self.own is not None:
            origin, store = embeddings.provenance, embeddings.path
            return require_encoder_of(self.own, origin, store, StoreError)
        makers = (each.encoder for each in self.retrievers if _made_the_store(each, embeddings))
        found = next(makers, None)
        return found or encoder_of_store(embeddings, weights=self.weights, device=self.device)

    def of_photos(self) -> Encoder:
        """The encoder for a folder of photos that is not embedded yet."""
        if self.own is not None:
            return self.own
        if self.retrievers:
            return self.retrievers[0].encoder
        from cir.encoding.loading import load_encoder

        return load_encoder(
            TINY,
            pretrained=None,
            weights=self.weights,
            preprocess=PREPROCESS,
            device=self.device,
        )


@dataclass(frozen=True, eq=False)
class _PreparedGallery:
    """A gallery whose store is made, up to date and read."""

    source: Source
    embeddings: Embeddings
    folder_changes: FolderChanges | None
    """As of `Opened`."""
    embedded: EmbeddedFolder | None
    """As of `Opened`."""


@dataclass(frozen=True, eq=False)
class WarnedIndex:
    """An index, and what whoever asked for it is to be warned of."""

    index: SearchIndex
    warning: str | None
    """Which photos of a folder that was embedded now are not searched; None where all are."""


@dataclass(frozen=True, eq=False)
class Opened:
    """Retrievers over one gallery."""

    plain: SearchIndex
    """The plain sum."""
    trained: tuple[SearchIndex, ...]
    """The runs, in the order that they were named in."""
    living: LivingGallery
    """The gallery, to which photos are added and from which they are removed."""
    source: Source
    folder_changes: FolderChanges | None = None
    """What has been embedded and dropped just now of a folder of photos that was embedded before;
    None where nothing was."""
    embedded: EmbeddedFolder | None = None
    """What came of a folder of photos that has been embedded just now, with the photos that were
    left out; None where none was."""

    @property
    def left_out(self) -> list[str]:
        """A line for each reason why photos of a folder that was embedded now are not searched."""
        return _left_out(self.embedded)

    @property
    def first(self) -> SearchIndex:
        """The first run; the plain sum where there is none."""
        return self.trained[0] if self.trained else self.plain


def open_with(retriever: Retriever, path: Path, dataset: Path | None, index: str) -> WarnedIndex:
    """A retriever over the gallery at a path (`Retriever.index`).

    Args:
        retriever: A trained one, or the plain sum.
        path: An embedding store, a dataset folder with its store beside it, or a folder of photos,
            which is embedded first where it was not yet.
        dataset: Where the photos of a store are; None finds it beside the store.
        index: One of `SEARCH_INDEXES`, or the address of a collection in Milvus.

    Raises:
        UsageError: `index` is neither, or there are too few photos to train it.
        StoreError: the store is missing, damaged, or of another encoder than the retriever's.
        DatasetError: the dataset folder is none.
    """
    searched_by = gallery_index(index)
    encoders = _Encoders([retriever], None, retriever.encoder.device)
    prepared = _prepared(find_source(path, dataset), path, encoders, searched_by)
    require_same_encoder(retriever, prepared.embeddings)
    gallery = open_gallery(prepared.source, prepared.embeddings, searched_by)
    return WarnedIndex(SearchIndex(retriever, gallery), _warning(path, prepared.embedded))


def open_plain(
    path: str | Path,
    *,
    dataset: str | Path | None,
    weights: str | Path | None,
    device: str | torch.device,
    index: str,
    encoder: Encoder | None,
) -> WarnedIndex:
    """The plain sum of image and text over the gallery at a path (`cir.index`)."""
    place = require_path("path", path)
    file = None if weights is None else require_path("weights", weights)
    if encoder is not None:
        require_own(encoder, file)
    opened = open_indexes(
        [],
        place,
        dataset=None if dataset is None else require_path("dataset", dataset),
        weights=file,
        device=pick_device(device),
        index=gallery_index(index),
        encoder=encoder,
    )
    return WarnedIndex(opened.plain, _warning(place, opened.embedded))


def open_indexes(
    runs: Sequence[Path],
    path: Path | None,
    *,
    dataset: Path | None,
    weights: Path | None,
    device: torch.device,
    index: GalleryIndex = "auto",
    progress: Progress = SILENT,
    encoder: Encoder | None = None,
) -> Opened:
    """Runs, and the plain sum over their store's encoder, over one gallery.

    Args:
        runs: Run folders, or their checkpoints; none where nothing was trained.
        path: A store, a dataset folder with its store beside it, or a folder of photos, which is
            embedded first where it was not yet; None takes the store of the first run.
        dataset: Where the photos of a store are; found by default.
        weights: The weight file that the store was embedded with, where it was one.
        device: Where encoders run.
        index: How the gallery is searched.
        progress: Told of photos that are embedded, and of vectors that enter an index.
        encoder: The store's, in place of one that is loaded; runs have theirs.

    Raises:
        CheckpointError: a run has no checkpoint, or it is damaged.
        StoreError: the store is missing, damaged, or of another encoder than a run's; or the
            collection is of another store.
        DatasetError: a dataset folder is none.
        WeightsError: the encoder's weights cannot be had.
        UnreachableError: Milvus does not answer.
    """
    checkpoints = [find_checkpoint(run, "pass it as `store`") for run in runs]
    source = source_of(runs[0] if runs else None, path, dataset)
    # Last, because it takes seconds: what is wrong with a path is said before.
    retrievers = [retriever_of(each, weights=weights, device=device) for each in checkpoints]
    encoders = _Encoders(retrievers, weights, device, encoder)
    prepared = _prepared(source, path, encoders, index, progress)
    found = encoders.of_store(prepared.embeddings)
    plain = Retriever(untrained_composer("sum"), found)
    gallery = open_gallery(prepared.source, prepared.embeddings, index, progress)
    return Opened(
        SearchIndex(plain, gallery),
        tuple(SearchIndex(retriever, gallery) for retriever in retrievers),
        LivingGallery(gallery, Changes(prepared.source.store), found),
        prepared.source,
        prepared.folder_changes,
        prepared.embedded,
    )


def _prepared(
    found: Source | UnembeddedFolder,
    path: Path | None,
    encoders: _Encoders,
    index: GalleryIndex,
    progress: Progress = SILENT,
) -> _PreparedGallery:
    """Reads the store of a gallery; of a folder of photos it is made first, or brought up to date.

    Args:
        found: What was found at `path`.
        path: As it was given; None where a run named the store.
        encoders: Embed photos.
        index: How the gallery is to be searched.
        progress: Told of photos that are embedded.
    """
    changes = embedded = None
    if isinstance(found, UnembeddedFolder):
        embedded = embed_photo_folder(found.photos, encoders.of_photos(), progress)
        source = Source(embedded.kept.store, Dataset(embedded.kept.dataset))
    else:
        source = found
        if path is not None and is_photo_folder(path):
            changes, embedded = _refreshed(path, source, encoders, progress)
    return _PreparedGallery(source, read_store(source.store, index), changes, embedded)


def require_same_encoder(retriever: Retriever, embeddings: Embeddings) -> None:
    """Raises StoreError unless a store's images are what the retriever's encoder sees."""
    checkpoint, store = retriever.checkpoint, str(embeddings.path)
    if checkpoint is None or checkpoint.clip is None:
        ours = str(checkpoint.folder) if checkpoint else "the retriever"
        retriever.encoder.provenance.require_same(embeddings.provenance, ours, store, StoreError)
    else:
        require_images_of(checkpoint, embeddings, StoreError)


def _refreshed(
    photos: Path, source: Source, encoders: _Encoders, progress: Progress
) -> tuple[FolderChanges, EmbeddedFolder] | tuple[None, None]:
    """Brings the store of a folder of photos up to date; what has changed and came of it."""
    store = map_embeddings(source.store, verify=False)  # whoever searches it verifies it
    changes = folder_changes(photos, store)
    if not changes:
        return None, None
    return changes, embed_photo_folder(photos, encoders.of_store(store), progress)


def _left_out(embedded: EmbeddedFolder | None) -> list[str]:
    """A line for each reason why photos of a folder are not searched."""
    return embedded.left_out if embedded else []


def _warning(path: Path, embedded: EmbeddedFolder | None) -> str | None:
    """What the library warns of: photos that were left out."""
    left_out = _left_out(embedded)
    return f"{path}: {'; '.join(left_out)}" if left_out else None


def _made_the_store(retriever: Retriever, embeddings: Embeddings) -> bool:
    """Whether a store was embedded with the very encoder of a retriever."""
    checkpoint = retriever.checkpoint
    if checkpoint is not None and checkpoint.clip is not None:
        return made_by_tuned(checkpoint, embeddings)
    return retriever.encoder.provenance == embeddings.provenance
