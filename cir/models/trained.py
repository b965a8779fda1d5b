"""A trained combiner, ready to compose, from the folder it was saved in."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from cir.artefacts.checkpoint import Checkpoint, read_checkpoint
from cir.errors import CheckpointError
from cir.models.combiner import build_combiner

CHECKPOINTS = "checkpoints"
"""Folder of a run that holds its checkpoints."""
BEST = "best"
LAST = "last"


@dataclass(frozen=True)
class Trained:
    """A combiner with the weights and the origin of its checkpoint."""

    combiner: nn.Module
    """On the CPU, in evaluation mode."""
    checkpoint: Checkpoint


def load_trained(path: Path) -> Trained:
    """Reads a checkpoint folder, or the best checkpoint of a run folder.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged, or its weights do not fit.
    """
    checkpoint = read_checkpoint(checkpoint_folder(path))
    metadata = checkpoint.metadata
    combiner = build_combiner(metadata.combiner, dim=metadata.dim, hidden=metadata.hidden)
    try:
        combiner.load_state_dict(dict(checkpoint.combiner))
    except RuntimeError as fault:
        raise CheckpointError(
            f"{checkpoint.folder} holds weights that do not fit its {metadata.combiner} combiner "
            f"of {metadata.dim}-d vectors: {' '.join(str(fault).split())}"
        ) from fault
    return Trained(combiner.eval(), checkpoint)


def checkpoint_folder(path: Path) -> Path:
    """`path` itself, or the best checkpoint where `path` is a run folder."""
    return path / CHECKPOINTS / BEST if (path / CHECKPOINTS).is_dir() else path
