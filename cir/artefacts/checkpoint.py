"""A checkpoint folder: weights, what training resumes from, and where the weights come from.

* `combiner.safetensors`: the combiner's weights
* `clip.safetensors`: the whole encoder, only where one of its towers was tuned
* `trainer.pt`: the state of the optimiser and of everything else that training resumes from;
  `torch.load` reads it with `weights_only`
* `metadata.json`: `CheckpointMetadata`, the SHA-256 of each other file, and its own checksum
"""

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from cir.artefacts.checksums import PLACE, ChecksumError, UnsealedError, seal, verified
from cir.artefacts.provenance import Provenance
from cir.artefacts.torch_file import load_torch
from cir.disk.files import folder_written_aside, settle, unreadable
from cir.disk.reading import read_bytes
from cir.errors import CheckpointError
from cir.names import CLIP_FILE, COMBINER_FILE, METADATA_FILE, TRAINER_FILE

SCHEMA_VERSION = 2
"""Version of the folder's layout."""
_UNSEALED_VERSION: Final = 1
"""The version before files had checksums, which is read too."""


_FILES: Final = "files"
"""The entry of the metadata that holds the SHA-256 of each other file."""
_TRIES: Final = 5
"""How often a checkpoint is read anew that another program replaces meanwhile."""
_MEND: Final = "train again, or take another checkpoint of the run"
_DAMAGED: Final = f"is damaged ({{}}): {_MEND}"

Found = TypeVar("Found")


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
        weights = {COMBINER_FILE: _write_tensors(aside / COMBINER_FILE, combiner)}
        if clip is not None:
            weights[CLIP_FILE] = _write_tensors(aside / CLIP_FILE, clip)
        digests = weights | {TRAINER_FILE: _write_trainer(aside / TRAINER_FILE, trainer)}
        _write_metadata(aside / METADATA_FILE, asdict(metadata) | {_FILES: digests})
    return _weights_id(weights)


def read_checkpoint(folder: Path | str) -> Checkpoint:
    """Reads the weights and metadata of a checkpoint, on the CPU.

    Args:
        folder: The checkpoint folder, such as `checkpoints/best` of a run.

    Raises:
        CheckpointError: the folder is missing, damaged, or of another schema.
    """
    return _read_whole(Path(folder), _read_weights)


def read_metadata(folder: Path) -> CheckpointMetadata:
    """Reads what the weights of a checkpoint are, without the weights.

    Args:
        folder: The checkpoint folder.

    Raises:
        CheckpointError: the folder is missing, damaged, or of another schema.
    """
    return _metadata(folder / METADATA_FILE, _read_record(folder).values)


def read_trainer(folder: Path) -> dict[str, Any]:
    """Reads what training resumes from, on the CPU, without running any code of the file.

    Args:
        folder: The checkpoint folder.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    return _read_whole(folder, _read_state)


@dataclass(frozen=True)
class _Record:
    """What a checkpoint's metadata file says, and what it says it with."""

    content: bytes
    values: dict[str, Any]

    @property
    def sealed(self) -> bool:
        """Whether the checkpoint is of a version whose files have checksums."""
        return bool(self.values["schema_version"] != _UNSEALED_VERSION)


def _read_whole(folder: Path, read: Callable[[Path, _Record], Found]) -> Found:
    """What `read` gives, of files that belong together.

    Where a file is missing or not the one that the metadata means, and the metadata has changed
    meanwhile, the checkpoint was replaced: it is read anew.
    """
    for _ in range(_TRIES - 1):
        record = _read_record(folder)
        try:
            return read(folder, record)
        except CheckpointError:
            if _is_still(folder, record):
                raise
    return read(folder, _read_record(folder))


def _is_still(folder: Path, record: _Record) -> bool:
    """Whether the metadata is what was read."""
    try:
        return read_bytes(folder / METADATA_FILE) == record.content
    except OSError:
        return False


def _read_weights(folder: Path, record: _Record) -> Checkpoint:
    metadata = _metadata(folder / METADATA_FILE, record.values)
    names = [COMBINER_FILE]
    if metadata.tune != "none" or (folder / CLIP_FILE).exists():
        names.append(CLIP_FILE)
    contents = {name: _read_file(folder, name, record) for name in names}
    tensors = {name: _tensors(folder / name, content) for name, content in contents.items()}
    return Checkpoint(
        folder=folder,
        combiner=tensors[COMBINER_FILE],
        clip=tensors.get(CLIP_FILE),
        metadata=metadata,
        sha256=_weights_id({name: _sha256(content) for name, content in contents.items()}),
    )


def _read_state(folder: Path, record: _Record) -> dict[str, Any]:
    path, content = folder / TRAINER_FILE, _read_file(folder, TRAINER_FILE, record)
    try:
        state = load_torch(io.BytesIO(content))
    except (OSError, ValueError) as fault:
        raise CheckpointError(unreadable(path, fault, _DAMAGED)) from fault
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, expected a dict: {_MEND}")
    return state


def _read_file(folder: Path, name: str, record: _Record) -> bytes:
    """The bytes of a file, which are those that the metadata was written beside."""
    path = folder / name
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: {_MEND}") from None
    except OSError as fault:
        raise CheckpointError(unreadable(path, fault, _DAMAGED)) from fault
    if record.sealed and _sha256(content) != record.values[_FILES].get(name):
        raise CheckpointError(unreadable(path, ChecksumError(), _DAMAGED))
    return content


def _write_tensors(path: Path, state: Mapping[str, Tensor]) -> str:
    """Writes tensors and returns the SHA-256 of the file.

    They are serialised in memory first, so that a full disk is an OSError as for every other file.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    return _write_hashed(path, safetensors.torch.save(plain))


def _write_trainer(path: Path, trainer: dict[str, Any]) -> str:
    """Writes what training resumes from, and returns the SHA-256 of the file."""
    buffer = io.BytesIO()
    torch.save(trainer, buffer)
    return _write_hashed(path, buffer.getbuffer())


def _write_hashed(path: Path, content: bytes | memoryview) -> str:
    """Writes a file, and returns its SHA-256, which is computed meanwhile."""
    with ThreadPoolExecutor(1) as beside:
        digest = beside.submit(_sha256, content)
        path.write_bytes(content)
    return digest.result()


def _write_metadata(path: Path, values: Mapping[str, Any]) -> None:
    described = json.dumps({**values, "checksum": PLACE.decode()}, indent=2, ensure_ascii=False)
    content = io.BytesIO(f"{described}\n".encode())
    seal(content)
    path.write_bytes(content.getvalue())


def _tensors(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = safetensors.torch.load(content)
    except (SafetensorError, ValueError, RuntimeError, LookupError, TypeError) as fault:
        raise CheckpointError(unreadable(path, fault, _DAMAGED)) from fault
    return state


def _read_record(folder: Path) -> _Record:
    settle(folder)
    path = folder / METADATA_FILE
    try:
        content = read_bytes(path)
        sealed = verified(io.BytesIO(content)).sealed
        values = json.loads(content)
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(
            f"no checkpoint at {folder}: expected a folder with {METADATA_FILE}"
        ) from None
    except (OSError, ValueError, RecursionError) as fault:
        raise CheckpointError(unreadable(path, fault, _DAMAGED)) from fault
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version not in (_UNSEALED_VERSION, SCHEMA_VERSION):
        raise CheckpointError(
            f"{path} has schema version {version}, expected {SCHEMA_VERSION}: {_MEND}"
        )
    if version != _UNSEALED_VERSION and not (sealed and isinstance(values.get(_FILES), dict)):
        raise CheckpointError(unreadable(path, UnsealedError(), _DAMAGED))
    return _Record(content, values)


def _metadata(path: Path, values: Mapping[str, Any]) -> CheckpointMetadata:
    try:
        given = {"step": 0, "projection": None, **values}
        known = {field.name: given[field.name] for field in fields(CheckpointMetadata)}
        return CheckpointMetadata(**known | {"provenance": Provenance(**known["provenance"])})
    except (KeyError, TypeError) as fault:
        raise CheckpointError(f"{path} lacks or misnames {fault}: {_MEND}") from fault


def _sha256(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()


def _weights_id(digests: Mapping[str, str]) -> str:
    """SHA-256 over the name and the SHA-256 of each weight file, in their order."""
    lines = [f"{name} {digest}\n" for name, digest in digests.items()]
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()
