"""A folder of photos without a store: embedded first, kept beside the folder and up to date."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cir.artefacts.changes import Changes
from cir.artefacts.photo_states import states_of
from cir.artefacts.store import Embeddings
from cir.config import STORE_SUFFIX, EmbedConfig
from cir.data.dataset import Dataset
from cir.data.images import read_image
from cir.disk.files import read_json, real
from cir.encoding.encoder import Encoder
from cir.errors import DatasetError, ImageError, UsageError
from cir.machine.workers import pick_workers
from cir.names import CATALOG_RECORDS
from cir.progress import SILENT, Progress
from cir.sources.photo_folder import PhotoFolder, photo_id, read_photo_folder

if TYPE_CHECKING:
    from cir.encoding.job.dataset_embedding import EmbedSummary
    from cir.sources.catalog.dataset import CatalogSummary

_KEPT: Final = "-cir"
"""What the name of the dataset folder that is made adds to that of the photos."""


@dataclass(frozen=True)
class KeptFolder:
    """What is made of a folder of photos: a dataset folder of links to them, and its store."""

    dataset: Path
    store: Path


@dataclass(frozen=True)
class FolderChanges:
    """What came to a folder of photos, changed and went since it was embedded, by id."""

    new: tuple[str, ...]
    changed: tuple[str, ...]
    gone: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    """What came and cannot enter, such as broken photos: their paths, or a line of each."""

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.gone or self.left_out)

    def __str__(self) -> str:
        told = f"{len(self.new):,} new, {len(self.changed):,} changed, {len(self.gone):,} gone"
        return f"{told}, {len(self.left_out):,} left out" if self.left_out else told


@dataclass(frozen=True)
class EmbeddedFolder:
    """What embedding a folder of photos did."""

    kept: KeptFolder
    made: "CatalogSummary"
    """Of the dataset folder."""
    embedded: "EmbedSummary"
    """Of its store."""

    @property
    def left_out(self) -> list[str]:
        """A line for each reason why photos of the folder are not in the gallery."""
        from cir.encoding.job.dataset_embedding import REMOVED

        skipped = self.embedded.skipped.items()
        broken = [f"{image_id}: {reason}" for image_id, reason in skipped if reason != REMOVED]
        of_folder = self.made.left_out
        unreadable = (*of_folder.unreadable_photos, *broken)
        return replace(of_folder, unreadable_photos=unreadable).lines()


def kept_folder(photos: Path) -> KeptFolder:
    """Where a folder of photos is made searchable: `photos-cir` and `photos-cir.h5`.

    Raises:
        UsageError: the folder is `/`, which nothing lies beside.
    """
    folder = resolved_folder(photos)
    name = f"{folder.name}{_KEPT}"
    return KeptFolder(folder.with_name(name), folder.with_name(f"{name}{STORE_SUFFIX}"))


def resolved_folder(folder: Path) -> Path:
    """A folder under its own name, links followed; raises UsageError of `/`, which has none."""
    place = real(folder)
    if not place.name:
        raise UsageError(
            f"{folder} has no name that a store beside it could have: pass a folder in it, or a "
            f"store, as `store`"
        )
    return place


def is_photo_folder(path: Path) -> bool:
    """Whether a path is a folder that is no dataset: photos, and nothing said of them."""
    try:
        Dataset(path)
    except DatasetError:
        return path.is_dir()
    return False


def folder_changes(photos: Path, store: Embeddings) -> FolderChanges:
    """What is no longer true of a folder's store, by names, sizes and times of change.

    What was added and removed while the store was served is no change of the folder. What cannot
    enter the store is one until the folder is embedded again, and its lines are kept with it.

    Args:
        photos: The folder.
        store: Its store.

    Raises:
        DatasetError: the folder holds no photo any more, or cannot be listed.
    """
    # By one name, however the folder is called: lines about its files are compared with kept ones.
    folder, served = read_photo_folder(resolved_folder(photos)), Changes(store.path).named()
    files = {photo_id(each): folder.file(each) for each in folder.photos}
    here = {image_id: file for image_id, file in files.items() if image_id not in served}
    rows = {i: row for i, row in store.images.row_of.items() if i not in served}
    both = [image_id for image_id in here if image_id in rows]
    states = states_of([here[image_id] for image_id in both])
    moved = np.zeros(len(both), np.bool_)
    if store.image_states is not None:
        moved = (states != store.image_states[[rows[i] for i in both]]).any(axis=1)
    # A broken photo is not in the store, and new once it is mended.
    absent = {i: file for i, file in here.items() if i not in rows}
    new = tuple(i for i, file in absent.items() if _can_be_read(file))
    broken = [file for i, file in absent.items() if i not in (*new, *store.skipped)]
    return FolderChanges(
        new=new,
        changed=tuple(both[place] for place in np.flatnonzero(moved)),
        gone=tuple(i for i in rows if i not in here),
        left_out=_not_told(folder, broken, kept_folder(photos).dataset),
    )


def _not_told(folder: PhotoFolder, broken: Iterable[Path], dataset: Path) -> tuple[str, ...]:
    """What a folder's photos are without, and was not when its dataset folder was made."""
    # Imported where a photo is broken: most folders have none.
    from cir.sources.catalog.thumbnails import read_thumbnail

    faults = [fault for file in broken if (fault := read_thumbnail(file).fault)]
    left_out = (*folder.same_id, *folder.hidden, *folder.outside_shards, *faults)
    if not left_out:
        return ()
    told = read_json(dataset / CATALOG_RECORDS, DatasetError).get("left_out", {})
    known = {line for lines in told.values() if isinstance(lines, list) for line in lines}
    return tuple(line for line in left_out if line not in known)


def _can_be_read(photo: Path) -> bool:
    try:
        read_image(photo)
    except ImageError:
        return False
    return True


def embed_photo_folder(
    photos: Path, encoder: Encoder, progress: Progress = SILENT
) -> EmbeddedFolder:
    """Embeds the photos of a folder, and those below it, as they are now; broken ones are left out.

    What a killed run has done is gone on with, and vectors of photos that are the same are kept.

    Args:
        photos: The folder; it is only read.
        encoder: Of the retriever that is to search.
        progress: Told of every photo.

    Raises:
        DatasetError: the folder holds no photo that can be read.
        CirError: the folder beside it takes no files.
    """
    # Imported where a folder is embedded: what searches vectors that are there starts sooner.
    from cir.encoding.job.dataset_embedding import embed_dataset

    kept = kept_folder(photos)
    made = _link(photos, progress)
    embedded = embed_dataset(
        Dataset(kept.dataset),
        encoder,
        kept.store,
        batch_size=EmbedConfig.batch_size,
        workers=pick_workers(None, encoder.device),
        on_error="skip",
        progress=progress,
    )
    return EmbeddedFolder(kept, made, embedded)


def kept_dataset(photos: Path) -> Dataset:
    """The dataset folder of a folder of photos that was embedded; it is made again if it is gone.

    Raises:
        DatasetError: the folder holds no photo that can be read.
        CirError: the folder beside it takes no files.
    """
    kept = kept_folder(photos)
    if not kept.dataset.is_dir():
        _link(photos, SILENT)
    return Dataset(kept.dataset)


def _link(photos: Path, progress: Progress) -> "CatalogSummary":
    """Makes the dataset folder anew, of links to the photos as they are now."""
    from cir.sources.catalog.dataset import make_gallery

    folder, out = resolved_folder(photos), kept_folder(photos).dataset
    return make_gallery(out, photos=folder, workers=pick_workers(None), progress=progress)
