"""A checkpoint folder for tests, saved as training saves one."""

from pathlib import Path

from torch import nn

from cir import __version__
from cir.artefacts.checkpoint import SCHEMA_VERSION, CheckpointMetadata, save_checkpoint
from cir.artefacts.provenance import Provenance

HIDDEN = 8
"""Hidden width of the combiners saved here."""


def saved(
    folder: Path,
    combiner: nn.Module,
    provenance: Provenance,
    *,
    name: str = "attention-fusion",
    clip: nn.Module | None = None,
    tune: str | None = None,
) -> Path:
    """Saves `combiner`, and `clip` where a tower was tuned; returns the folder."""
    save_checkpoint(
        folder,
        combiner=combiner.state_dict(),
        clip=clip.state_dict() if clip else None,
        trainer={},
        metadata=CheckpointMetadata(
            schema_version=SCHEMA_VERSION,
            cir_version=__version__,
            combiner=name,
            dim=provenance.embed_dim,
            hidden=HIDDEN,
            tune=tune or ("both" if clip else "none"),
            epoch=3,
            provenance=provenance,
            embeddings_sha256="e" * 64,
            dev={},
            config={},
        ),
    )
    return folder
