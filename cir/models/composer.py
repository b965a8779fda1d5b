"""A combiner ready to compose queries, with where its weights come from."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import nn

from cir.artefacts.checkpoint import (
    Checkpoint,
    CheckpointMetadata,
    read_checkpoint,
    read_metadata,
)
from cir.data.dataset import Dataset
from cir.disk.recognition import is_store
from cir.errors import CheckpointError, DatasetError, reason_of
from cir.models.combiner import build_combiner
from cir.models.composition import baseline
from cir.names import BEST, CHECKPOINTS, METADATA_FILE, RUN_FILE
from cir.sources.photo_folder import is_photo
from cir.types import Composition

_INSTEAD: Final = "cir.index searches it"
"""What to do with a gallery that was given in place of a run."""


@dataclass(frozen=True)
class PublishedWeights:
    """A file of weights that others trained."""

    path: Path
    sha256: str
    """Of the file."""
    epoch: int | None
    """How many epochs were finished, as the file says; None where it does not."""

    def __str__(self) -> str:
        return str(self.path) if self.epoch is None else f"{self.path} (epoch {self.epoch})"


@dataclass(frozen=True, eq=False)
class Composer:
    """A combiner, and what its weights come from."""

    name: Composition
    """`combiner` for a trained one; the others need no training."""
    combiner: nn.Module
    """On the CPU, in evaluation mode."""
    checkpoint: Checkpoint | None
    """None where the combiner needs no training, or others trained it."""
    published: PublishedWeights | None = None
    """What others trained: CLIP4Cir's Combiner."""

    def __str__(self) -> str:
        if self.published:
            return str(self.published)
        if self.checkpoint is None:
            return self.name
        return f"{self.checkpoint.folder} (epoch {self.checkpoint.metadata.epoch})"


def untrained_composer(name: Composition, text_share: float = 0.5) -> Composer:
    """The composer that needs no training called `name`: reference, text or sum.

    Args:
        name: As in `cir.models.composition.baseline`.
        text_share: The share of the text in the sum.

    Raises:
        UsageError: there is none of that name, or the share is none.
    """
    return Composer(name, baseline(name, text_share).eval(), None)


def load_composer(path: Path | str, instead: str = _INSTEAD) -> Composer:
    """The composer of a checkpoint folder, or of a run folder's best checkpoint.

    Args:
        path: The folder.
        instead: As of `find_checkpoint`.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged, or its weights do not fit.
    """
    return composer_of(find_checkpoint(Path(path), instead))


def composer_of(checkpoint: Checkpoint) -> Composer:
    """The composer that a checkpoint holds the weights of.

    Raises:
        CheckpointError: the weights do not fit the combiner that the checkpoint names.
    """
    metadata = checkpoint.metadata
    combiner = build_combiner(
        metadata.combiner,
        dim=metadata.dim,
        hidden=_hidden(metadata),
        projection=metadata.projection,
    )
    try:
        combiner.load_state_dict(dict(checkpoint.combiner))
    except RuntimeError as fault:
        raise CheckpointError(
            f"{checkpoint.folder} holds weights that do not fit its {metadata.combiner} combiner "
            f"of {metadata.dim}-d vectors: {' '.join(str(fault).split())}"
        ) from fault
    return Composer("combiner", combiner.eval(), checkpoint)


def _hidden(metadata: CheckpointMetadata) -> int | None:
    """The inner width as `build_combiner` takes it.

    Before `projection` was recorded, every checkpoint named a `hidden`, also those of clip4cir,
    which had the published widths, and of the sum, which has none.
    """
    unrecorded = metadata.projection is None and metadata.combiner in ("clip4cir", "sum")
    return None if unrecorded else metadata.hidden


def find_checkpoint(path: Path, instead: str = _INSTEAD) -> Checkpoint:
    """Reads a checkpoint folder, or the best checkpoint of a run folder.

    Args:
        path: The folder.
        instead: What to do with a store, a dataset folder or a folder of photos, which is no run.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged, or the system refuses the folder.
    """
    return read_checkpoint(_checkpoint_folder(path, instead))


def require_checkpoint(path: Path, instead: str = _INSTEAD) -> None:
    """Raises CheckpointError where `find_checkpoint` finds none; reads none of its weights."""
    read_metadata(_checkpoint_folder(path, instead))


def _checkpoint_folder(path: Path, instead: str) -> Path:
    """The folder itself, or that of the best checkpoint of a run."""
    try:
        _require_no_gallery(path, instead)
        return path / CHECKPOINTS / BEST if (path / CHECKPOINTS).is_dir() else path
    except OSError as fault:
        raise CheckpointError(f"cannot read {path}: {reason_of(fault)}") from fault


def _require_no_gallery(path: Path, instead: str) -> None:
    """Raises CheckpointError of what is searched, given in place of a run; `instead` as there."""
    what = _gallery_at(path)
    if what:
        raise CheckpointError(f"{path} is {what}, not a run: {instead}")


def _gallery_at(path: Path) -> str | None:
    """What a path is that is no run but is searched by one; None of a run, and of all else."""
    if not path.is_dir():
        return "an embedding store" if is_store(path) else None
    if any((path / name).exists() for name in (CHECKPOINTS, METADATA_FILE, RUN_FILE)):
        return None
    with suppress(DatasetError):
        Dataset(path)
        return "a dataset folder"
    folders = (path, *(each for each in path.iterdir() if each.is_dir()))
    held = any(is_photo(file.name) for folder in folders for file in _listed(folder))
    return "a folder of photos" if held else None


def _listed(folder: Path) -> list[Path]:
    """What lies in a folder; nothing of one that cannot be listed."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []
