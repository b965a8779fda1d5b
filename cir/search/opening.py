"""A gallery from what lies on the disk: an embedding store, or the dataset folder beside one."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cir import arguments
from cir.addresses import MilvusAddress, milvus_address
from cir.artefacts.changes import Changes
from cir.artefacts.store import Embeddings, map_embeddings, read_images
from cir.artefacts.vectors import normalised
from cir.config import EXACT_PHOTOS, SEARCH_INDEXES, STORE_SUFFIX, IndexKind, SearchIndexName
from cir.data.dataset import SPLITS, Dataset
from cir.errors import StoreError, UsageError
from cir.names import RECORD_FILES
from cir.progress import SILENT, Progress
from cir.run_settings import inputs_of
from cir.search.gallery import Gallery, ImageRecord
from cir.search.living import apply_changes
from cir.search.milvus.searching import open_milvus
from cir.search.photo_folder import is_photo_folder, kept_dataset, kept_folder, resolved_folder
from cir.search.proposing import Proposing
from cir.search.rows import MappedRows
from cir.sources.annotations import read_records

GalleryIndex = SearchIndexName | MilvusAddress
"""How a gallery is searched: by an index in memory, or by the collection in Milvus that its store
was pushed to."""


@dataclass(frozen=True)
class Source:
    """Where a gallery comes from."""

    store: Path
    dataset: Dataset | None
    """Where its photos, titles, categories and queries are; None where only vectors are known."""


@dataclass(frozen=True)
class UnembeddedFolder:
    """A folder of photos that has no store yet."""

    photos: Path

    @property
    def store(self) -> Path:
        """The store that it gets once it is embedded."""
        return kept_folder(self.photos).store


def find_source(path: Path, dataset: Path | None = None) -> Source | UnembeddedFolder:
    """The store and the dataset of a gallery, or the folder of photos that is to be embedded first.

    Args:
        path: A store, or a dataset folder, whose store lies beside it (`shop` and `shop.h5`) or in
            it (`embeddings.h5`).
        dataset: The dataset folder; found beside the store by default, where a folder of its name
            is one. That of a folder of photos is made again if it is gone.

    Raises:
        UsageError: the folder is `/`, which nothing lies beside; or `dataset` is passed with a
            folder of photos.
        StoreError: no store is there.
        DatasetError: the dataset folder is none.
    """
    if is_photo_folder(path):
        if dataset is not None:
            raise UsageError(
                f"`dataset` is {dataset}, and {path} is a folder of photos, which one is made of: "
                f"leave out `dataset`, or pass a store as `store`"
            )
        folder = UnembeddedFolder(path)
        store = folder.store
        return Source(store, kept_dataset(path)) if store.is_file() else folder
    if path.is_dir():
        return Source(_store_of(path), Dataset(dataset or path))
    beside = path.with_suffix("")
    named = path.suffix == STORE_SUFFIX and beside.is_dir()
    if dataset is None and named and not is_photo_folder(beside):
        dataset = beside
    return Source(path, None if dataset is None else Dataset(dataset))


def source_of(
    run: Path | None, store: Path | None, dataset: Path | None
) -> Source | UnembeddedFolder:
    """The store and dataset that are named, as `find_source`, or else those of the run.

    Args:
        run: Run folder, or a checkpoint of one.
        store: A store, or a dataset folder with its store beside it.
        dataset: The store's dataset folder.

    Raises:
        StoreError: no store is named, or none is there.
        CheckpointError: the run's configuration is damaged.
        DatasetError: a dataset folder is none.
    """
    if run is None and store is None:
        raise StoreError("no gallery is named: pass `store`")
    of_run = source_of_run(run) if run else None
    if store is None:
        if of_run is None:
            raise StoreError(
                f"{run} names no embedding store that it was trained over: pass `store`"
            )
        return of_run if dataset is None else replace(of_run, dataset=Dataset(dataset))
    found = find_source(store, dataset)
    if (
        isinstance(found, Source)
        and found.dataset is None
        and of_run
        and of_run.store.resolve() == found.store.resolve()
    ):
        return of_run
    return found


def find_store(run: Path | None, store: Path | None, dataset: Path | None) -> Path:
    """The store that `source_of` finds, or that a folder of photos gets once it is embedded.

    Raises:
        CirError: as `source_of`.
    """
    return source_of(run, store, dataset).store


def source_of_run(run: Path) -> Source | None:
    """The store and dataset that a run was trained over, or None of a checkpoint without its run.

    Raises:
        CheckpointError: the run's configuration is damaged.
        DatasetError: its dataset is gone.
    """
    found = inputs_of(run)
    if found is None:
        return None
    dataset, store = found
    return Source(store, Dataset(dataset))


def gallery_index(index: str) -> GalleryIndex:
    """Reads how a gallery is to be searched: one of `SEARCH_INDEXES`, or an address in Milvus.

    Raises:
        UsageError: it is neither.
    """
    arguments.instance("index", index, str)
    name = next((name for name in SEARCH_INDEXES if name == index), None)
    if name is not None:
        return name
    try:
        return milvus_address(index)
    except ValueError as fault:
        known = ", ".join(SEARCH_INDEXES)
        raise UsageError(f"`index` is {index!r}; expected {known}, or {fault}") from None


def resolved_index(name: SearchIndexName, photos: int) -> Literal["flat", IndexKind]:
    """The index of a name, for a gallery of so many photos.

    `auto` is flat up to `EXACT_PHOTOS`, and beyond them ivf, which is built in a fraction of the
    time of a graph.
    """
    if name != "auto":
        return name
    return "flat" if photos <= EXACT_PHOTOS else "ivf"


def read_store(store: Path, index: GalleryIndex = "flat") -> Embeddings:
    """Reads a store's images; vectors stay in the file where few of them are read for a query.

    Args:
        store: The file.
        index: How the gallery is to be searched, as of `open_gallery`.

    Raises:
        StoreError: it is missing or damaged.
    """
    return map_embeddings(store) if _stays_in_file(index) else read_images(store)


def open_gallery(
    source: Source,
    embeddings: Embeddings | None = None,
    index: GalleryIndex = "flat",
    progress: Progress = SILENT,
) -> Gallery:
    """Reads a gallery, with what was added to it and removed from it since its store was made.

    Args:
        source: Where it lies.
        embeddings: Its store, where it was read already (`read_store`).
        index: How it is searched.
        progress: Told of vectors that enter an index.

    Raises:
        UsageError: there are too few photos to train the index.
        StoreError: the store or the file of its changes is missing, damaged, or of two encoders;
            or the collection is of another store.
        DatasetError: a file of the dataset is damaged.
        UnreachableError: Milvus does not answer.
    """
    held = embeddings or read_store(source.store, index)
    gallery = stored_gallery(source, held, mapped=_stays_in_file(index))
    proposing = _index_of(gallery, held, index, progress)
    if proposing is not None:
        gallery.searched_through(proposing)
    apply_changes(gallery, Changes(source.store), held.provenance)
    return gallery


def _stays_in_file(index: GalleryIndex) -> bool:
    """Whether vectors are read one by one: codes and Milvus are for galleries beyond the memory."""
    return isinstance(index, MilvusAddress) or index == "ivfpq"


def _index_of(
    gallery: Gallery, embeddings: Embeddings, index: GalleryIndex, progress: Progress
) -> Proposing | None:
    """What proposes rows of a gallery; None where every one is compared."""
    if isinstance(index, MilvusAddress):
        return open_milvus(index, gallery, embeddings)
    kind = resolved_index(index, len(gallery))
    if kind == "flat":
        return None
    # Imported where an index is built: mining's loops take a while to load.
    from cir.search.approximate import build_index

    # Captions, which a search has no need of, are read for the queries that it is measured by.
    whole = map_embeddings(embeddings.path, verify=False)
    return build_index(kind, gallery, whole, progress)


def stored_gallery(source: Source, embeddings: Embeddings, *, mapped: bool) -> Gallery:
    """The photos of a store with what its dataset says of them, without changes since.

    Args:
        source: Where they lie.
        embeddings: The store.
        mapped: Whether the vectors stay where the store has them, and are read one by one.
    """
    dataset, images, what = source.dataset, embeddings.images, str(source.store)
    return Gallery(
        images.keys,
        MappedRows(images.vectors, what) if mapped else normalised(images.vectors, what),
        sha256=embeddings.image_sha256,
        records=records_of(dataset) if dataset else {},
        file_of=dataset.find_image if dataset else None,
    )


def records_of(dataset: Dataset) -> Mapping[str, ImageRecord]:
    """What a dataset's files say of its photos, by id."""
    categories: dict[str, list[str]] = defaultdict(list)
    for split in dataset.splits:
        for category in dataset.categories:
            if dataset.split_file(category, split).exists():
                for image_id in dataset.gallery(split, category):
                    categories[image_id].append(category)
    known = _catalogued(dataset.root)
    return {
        image_id: ImageRecord(
            title=known[image_id].title if image_id in known else "",
            categories=tuple(dict.fromkeys(categories[image_id])),
            attributes=known[image_id].attributes if image_id in known else {},
        )
        for image_id in [*categories, *(i for i in known if i not in categories)]
    }


def _catalogued(root: Path) -> Mapping[str, ImageRecord]:
    if not any((root / name).is_file() for name in RECORD_FILES):
        return {}
    records = read_records(root, SPLITS)
    return {
        image_id: ImageRecord(record.title, (record.category,), record.attributes)
        for image_id, record in records.items()
    }


def _store_of(folder: Path) -> Path:
    """The store of a folder; raises StoreError where neither place holds one."""
    beside = _stores_beside(folder)
    for store in (*beside, folder / f"embeddings{STORE_SUFFIX}"):
        if store.is_file():
            return store
    raise StoreError(
        f"no embedding store of {folder}: expected {beside[0]}; make it with "
        f"cir embed {folder} `out={str(beside[0])!r}`"
    )


def _stores_beside(folder: Path) -> list[Path]:
    """Where the store of a folder may lie: beside its path, and where that is a link, its end."""
    resolved = resolved_folder(folder)
    named = resolved if folder.name in ("", "..") else folder
    return [place.with_name(f"{place.name}{STORE_SUFFIX}") for place in (named, resolved)]
