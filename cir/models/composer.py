"""A combiner ready to compose queries, with where its weights come from."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from cir.artefacts.checkpoint import Checkpoint, CheckpointMetadata, read_checkpoint
from cir.errors import CheckpointError, reason_of
from cir.models.combiner import build_combiner
from cir.models.composition import baseline
from cir.names import BEST, CHECKPOINTS
from cir.types import Composition


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


def load_composer(path: Path | str) -> Composer:
    """The composer of a checkpoint folder, or of a run folder's best checkpoint.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged, or its weights do not fit.
    """
    return composer_of(find_checkpoint(Path(path)))


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


def find_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint folder, or the best checkpoint of a run folder.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged, or the system refuses the folder.
    """
    try:
        of_run = (path / CHECKPOINTS).is_dir()
        return read_checkpoint(path / CHECKPOINTS / BEST if of_run else path)
    except OSError as fault:
        raise CheckpointError(f"cannot read {path}: {reason_of(fault)}") from fault
