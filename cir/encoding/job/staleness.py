"""What of an embedding store is no longer true of its dataset."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cir.artefacts.changes import Changes
from cir.artefacts.store import StoredEmbeddings
from cir.data.dataset import Dataset
from cir.data.images import read_image
from cir.encoding.job.dataset_embedding import caption_texts
from cir.encoding.job.known_images import ImageFiles, KnownImages
from cir.errors import ImageError
from cir.progress import SILENT, Progress


@dataclass(frozen=True)
class Staleness:
    """What embedding a dataset again would do to its store."""

    new: tuple[str, ...]
    """Ids of photos to be encoded which the store does not hold."""
    changed: tuple[str, ...]
    """Ids whose photo is another one."""
    gone: tuple[str, ...]
    """Ids of the store that have no photo any more, or that no split names."""
    new_captions: tuple[str, ...]
    gone_captions: tuple[str, ...]
    touched: tuple[str, ...]
    """Ids whose photo is the same, though its size or time of change was recorded otherwise."""
    unlisted: tuple[str, ...] = ()
    """Ids of the dataset removed while the store was served, which it does not list as left out."""

    def __bool__(self) -> bool:
        """Whether anything is stale; a photo that was only touched is not."""
        photos = self.new or self.changed or self.gone or self.unlisted
        return bool(photos or self.new_captions or self.gone_captions)


def staleness(
    dataset: Dataset, store: StoredEmbeddings, *, progress: Progress = SILENT
) -> Staleness:
    """Compares a dataset with its store, without the encoder.

    Args:
        dataset: The dataset folder.
        store: A photo that it skipped is opened, to see whether it can be read now.
        progress: Shows the photos that are read to compare their bytes.
    """
    changes = Changes(store.path)
    removed, added = changes.removed(), [photo.id for photo in changes.added()]
    named, of_dataset = removed.union(added), dataset.image_ids()
    ids = [i for i in of_dataset if i not in named]
    files = dataset.image_files
    there = [i for i in ids if i in files]
    plan = KnownImages([ImageFiles.of_store(store)]).plan(there, files, progress=progress)
    broken = _still_broken(store, {i: files[i] for i in plan.to_encode})
    to_encode = [i for i in plan.to_encode if i not in broken]
    kept = plan.kept
    here = frozenset([*kept, *to_encode, *added])
    texts = caption_texts(dataset, here)
    row_of, digests = store.images.row_of, store.image_sha256
    known = [i for i in plan.touched if i in row_of]
    # Bytes that the store knows under another id are another photo all the same.
    swapped = [i for i in known if digests[kept[i]] != digests[row_of[i]]]
    touched = tuple(i for i in known if i not in swapped)
    return Staleness(
        new=tuple(i for i in (*ids, *added) if i in here and i not in row_of),
        changed=(*plan.changed, *swapped),
        gone=tuple(i for i in store.images.keys if i not in here),
        new_captions=tuple(text for text in texts if text not in store.captions.row_of),
        gone_captions=tuple(sorted(set(store.captions.keys) - set(texts))),
        touched=touched if store.image_states is not None else (),
        unlisted=tuple(
            i for i in of_dataset if i in removed and i not in row_of and i not in store.skipped
        ),
    )


def _still_broken(store: StoredEmbeddings, files: Mapping[str, Path]) -> set[str]:
    """The photos that were skipped and still cannot be read."""
    broken = set()
    for image_id in store.skipped.keys() & files.keys():
        try:
            read_image(files[image_id])
        except ImageError:
            broken.add(image_id)
    return broken
