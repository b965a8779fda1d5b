"""A checkpoint folder: weights, what training resumes from, and where the weights come from.

* `combiner.safetensors`: the combiner's weights
* `clip.safetensors`: the whole encoder, only where one of its towers was tuned
* `trainer.pt`: the state of the optimiser and of everything else that training resumes from;
  `torch.load` reads it with `weights_only`
* `metadata.json`: `CheckpointMetadata`
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from cir.artefacts.provenance import Provenance
from cir.artefacts.torch_file import load_torch
from cir.errors import CheckpointError
from cir.files import (
    folder_written_aside,
    read_json,
    settle,
    sha256_of,
    unreadable,
    write_json,
)

SCHEMA_VERSION = 1
"""Version of the folder's layout; a reader accepts no other."""

COMBINER_FILE: Final = "combiner.safetensors"
CLIP_FILE: Final = "clip.safetensors"
TRAINER_FILE: Final = "trainer.pt"
METADATA_FILE: Final = "metadata.json"

_MEND: Final = "train again, or take another checkpoint of the run"
_DAMAGED: Final = f"is damaged ({{}}): {_MEND}"


@dataclass(frozen=True)
class CheckpointMetadata:
    """What a checkpoint's weights are, and what they were trained on."""

    schema_version: int
    cir_version: str
    combiner: str
    """Name of the combiner (`cir.models.combiner.build_combiner`)."""
    dim: int
    """Components of the vectors that it combines."""
    hidden: int | None
    """Width of its inner layers; None where it has none."""
    tune: str
    """Towers of CLIP that were tuned: none, text, image or both."""
    epoch: int
    """How many epochs were finished when it was saved."""
    provenance: Provenance
    """The encoder of the store that training began with."""
    embeddings_sha256: str
    dev: dict[str, float]
    """Figures on the dev split by name, recalls in percent; empty where an epoch is under way."""
    config: dict[str, Any]
    """The run's configuration as JSON values."""
    step: int = 0
    """Steps made of the epoch that is under way; 0 where none is."""
    projection: int | None = None
    """Width of clip4cir's projections; None for another combiner, and where it was not recorded:
    the published widths are meant."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint's weights, on the CPU, and what they are."""

    folder: Path
    combiner: dict[str, Tensor]
    """The combiner's `state_dict`."""
    clip: dict[str, Tensor] | None
    """The tuned encoder's whole `state_dict`; None where no tower was tuned."""
    metadata: CheckpointMetadata
    sha256: str
    """Identifies the weights of the combiner, and of CLIP where it was tuned."""


def save_checkpoint(
    folder: Path,
    *,
    combiner: Mapping[str, Tensor],
    clip: Mapping[str, Tensor] | None,
    trainer: dict[str, Any],
    metadata: CheckpointMetadata,
) -> str:
    """Writes a checkpoint aside and moves it to `folder`.

    Args:
        folder: The checkpoint folder; one that stands there is replaced.
        combiner: The combiner's `state_dict`, on any device.
        clip: The encoder's whole `state_dict` where a tower is tuned, else None.
        trainer: What training resumes from: tensors and plain values only.
        metadata: What the weights are.

    Returns:
        What identifies the weights: `Checkpoint.sha256` of the checkpoint read back.

    Raises:
        CirError: the folder cannot be written.
    """
    with folder_written_aside(folder, "checkpoint") as aside:
        digests = {COMBINER_FILE: _write_tensors(aside / COMBINER_FILE, combiner)}
        if clip is not None:
            digests[CLIP_FILE] = _write_tensors(aside / CLIP_FILE, clip)
        _write_trainer(aside / TRAINER_FILE, trainer)
        write_json(aside / METADATA_FILE, asdict(metadata))
    return _weights_id(digests)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Reads the weights and metadata of a checkpoint, on the CPU.

    Args:
        folder: The checkpoint folder, such as `checkpoints/best` of a run.

    Raises:
        CheckpointError: the folder is missing, damaged, or of another schema.
    """
    settle(folder)
    if not (folder / METADATA_FILE).is_file():
        raise CheckpointError(f"no checkpoint at {folder}: expected a folder with {METADATA_FILE}")
    metadata = _read_metadata(folder / METADATA_FILE)
    clip = folder / CLIP_FILE
    if metadata.tune != "none" and not clip.exists():
        raise CheckpointError(f"{clip} is missing, though {metadata.tune} was tuned: {_MEND}")
    return Checkpoint(
        folder=folder,
        combiner=_read_tensors(folder / COMBINER_FILE),
        clip=_read_tensors(clip) if clip.exists() else None,
        metadata=metadata,
        sha256=_weights_id(_digests(folder)),
    )


def read_trainer(folder: Path) -> dict[str, Any]:
    """Reads what training resumes from, on the CPU, without running any code of the file.

    Args:
        folder: The checkpoint folder.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    settle(folder)
    path = folder / TRAINER_FILE
    try:
        state = load_torch(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: the run cannot be resumed from it") from None
    except (OSError, ValueError) as fault:
        raise CheckpointError(unreadable(path, fault, _DAMAGED)) from fault
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, expected a dict: {_MEND}")
    return state


def _write_tensors(path: Path, state: Mapping[str, Tensor]) -> str:
    """Writes tensors and returns the SHA-256 of the file.

    They are serialised in memory first, so that a full disk is an OSError as for every other file.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    serialised = safetensors.torch.save(plain)
    path.write_bytes(serialised)
    return hashlib.sha256(serialised).hexdigest()


def _write_trainer(path: Path, trainer: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(trainer, buffer)
    path.write_bytes(buffer.getbuffer())


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: {_MEND}") from None
    except (OSError, SafetensorError) as fault:
        raise CheckpointError(unreadable(path, fault, _DAMAGED)) from fault
    return state


def _read_metadata(path: Path) -> CheckpointMetadata:
    values = read_json(path, CheckpointError)
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != SCHEMA_VERSION:
        raise CheckpointError(
            f"{path} has schema version {version}, expected {SCHEMA_VERSION}: {_MEND}"
        )
    try:
        values = {"step": 0, "projection": None} | values
        known = {field.name: values[field.name] for field in fields(CheckpointMetadata)}
        return CheckpointMetadata(**known | {"provenance": Provenance(**known["provenance"])})
    except (KeyError, TypeError) as fault:
        raise CheckpointError(f"{path} lacks or misnames {fault}: {_MEND}") from fault


def _digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each weight file of the folder, by name."""
    names = [name for name in (COMBINER_FILE, CLIP_FILE) if (folder / name).exists()]
    return {name: sha256_of(folder / name) for name in names}


def _weights_id(digests: Mapping[str, str]) -> str:
    """SHA-256 over the name and the SHA-256 of each weight file, in their order."""
    lines = [f"{name} {digest}\n" for name, digest in digests.items()]
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()
