"""A folder of photos without a store: embedded first, kept beside the folder and up to date."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from cir.artefacts.changes import Changes
from cir.artefacts.photo_states import states_of
from cir.artefacts.store import Embeddings
from cir.config import STORE_SUFFIX, EmbedConfig
from cir.data.dataset import Dataset
from cir.data.images import read_image
from cir.disk.files import real
from cir.encoding.encoder import Encoder
from cir.errors import DatasetError, ImageError, UsageError
from cir.machine.workers import pick_workers
from cir.progress import SILENT, Progress
from cir.sources.photo_folder import photo_id, read_photo_folder

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

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.gone)

    def __str__(self) -> str:
        return f"{len(self.new):,} new, {len(self.changed):,} changed, {len(self.gone):,} gone"


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

    What was added and removed while the store was served is no change of the folder.

    Args:
        photos: The folder.
        store: Its store.

    Raises:
        DatasetError: the folder holds no photo any more, or cannot be listed.
    """
    folder, served = read_photo_folder(photos), Changes(store.path).named()
    files = {photo_id(each): folder.file(each) for each in folder.photos}
    here = {image_id: file for image_id, file in files.items() if image_id not in served}
    rows = {i: row for i, row in store.images.row_of.items() if i not in served}
    both = [image_id for image_id in here if image_id in rows]
    states = states_of([here[image_id] for image_id in both])
    moved = np.zeros(len(both), np.bool_)
    if store.image_states is not None:
        moved = (states != store.image_states[[rows[i] for i in both]]).any(axis=1)
    return FolderChanges(
        # A broken photo is not in the store, and new once it is mended.
        new=tuple(i for i, file in here.items() if i not in rows and _can_be_read(file)),
        changed=tuple(both[place] for place in np.flatnonzero(moved)),
        gone=tuple(i for i in rows if i not in here),
    )


def _can_be_read(photo: Path) -> bool:
    try:
        read_image(photo)
    except ImageError:
        return False
    return True


def embed_photo_folder(photos: Path, encoder: Encoder, progress: Progress = SILENT) -> KeptFolder:
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
    embed_dataset(
        _linked(photos, progress),
        encoder,
        kept.store,
        batch_size=EmbedConfig.batch_size,
        workers=pick_workers(None, encoder.device),
        on_error="skip",
        progress=progress,
    )
    return kept


def kept_dataset(photos: Path) -> Dataset:
    """The dataset folder of a folder of photos that was embedded; it is made again if it is gone.

    Raises:
        DatasetError: the folder holds no photo that can be read.
        CirError: the folder beside it takes no files.
    """
    kept = kept_folder(photos)
    return Dataset(kept.dataset) if kept.dataset.is_dir() else _linked(photos, SILENT)


def _linked(photos: Path, progress: Progress) -> Dataset:
    """A dataset folder of links to the photos as they are now, made anew."""
    from cir.sources.catalog.dataset import make_gallery

    made = kept_folder(photos).dataset
    make_gallery(made, photos=photos, workers=pick_workers(None), progress=progress)
    return Dataset(made)
