"""A folder of photos without a store: embedded first, and kept beside the folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cir.config import EmbedConfig
from cir.data.dataset import Dataset
from cir.encoding.encoder import Encoder
from cir.errors import DatasetError
from cir.progress import SILENT, Progress
from cir.workers import pick_workers

_KEPT: Final = "-cir"
"""What the name of the dataset folder that is made adds to that of the photos."""


@dataclass(frozen=True)
class KeptFolder:
    """What is made of a folder of photos: a dataset folder of links to them, and its store."""

    dataset: Path
    store: Path


def kept_folder(photos: Path) -> KeptFolder:
    """Where a folder of photos is made searchable: `photos-cir` and `photos-cir.h5`."""
    folder = photos.resolve()
    return KeptFolder(
        folder.with_name(f"{folder.name}{_KEPT}"), folder.with_name(f"{folder.name}{_KEPT}.h5")
    )


def is_photo_folder(path: Path) -> bool:
    """Whether a path is a folder that is no dataset: photos, and nothing said of them."""
    try:
        Dataset(path)
    except DatasetError:
        return path.is_dir()
    return False


def embed_photo_folder(photos: Path, encoder: Encoder, progress: Progress = SILENT) -> KeptFolder:
    """Embeds a folder of photos, and the folders below it; broken photos are left out.

    What a killed run has done is gone on with.

    Args:
        photos: The folder; it is only read.
        encoder: Of the retriever that is to search.
        progress: Told of every photo.

    Raises:
        DatasetError: the folder holds no photo that can be read.
        CirError: the folder beside it takes no files.
    """
    # Imported where a folder is embedded: what searches vectors that are there starts sooner.
    from cir.encoding.dataset_embedding import embed_dataset
    from cir.sources.catalog import make_gallery

    kept = kept_folder(photos)
    if not kept.dataset.is_dir():
        make_gallery(kept.dataset, photos=photos, workers=pick_workers(None), progress=progress)
    embed_dataset(
        Dataset(kept.dataset),
        encoder,
        kept.store,
        batch_size=EmbedConfig.batch_size,
        workers=pick_workers(None),
        on_error="skip",
        progress=progress,
    )
    return kept
