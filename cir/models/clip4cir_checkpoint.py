"""CLIP4Cir's published Combiner, read as its authors save it.

`torch.save({"epoch": ..., "Combiner": state_dict}, path)`, or the state dict alone. Its tensors
tell the widths; nothing in it tells the CLIP whose features it combines.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from cir import arguments
from cir.artefacts.checksums import verified
from cir.artefacts.store import Embeddings
from cir.artefacts.torch_file import load_torch
from cir.disk.files import unreadable
from cir.disk.reading import opened
from cir.errors import CheckpointError, StoreError
from cir.models.combiners.clip4cir import Clip4CirCombiner
from cir.models.composer import Composer, PublishedWeights

_LAYERS: Final[Mapping[str, str]] = {
    "text_projection_layer": "project_text.0",
    "image_projection_layer": "project_image.0",
    "combiner_layer": "mix.0",
    "output_layer": "output",
    "dynamic_scalar.0": "share_of_text.0.0",
    "dynamic_scalar.3": "share_of_text.1",
}
"""The linear layers by their published names and ours."""
_NAMES: Final = {
    f"{theirs}.{part}": f"{ours}.{part}"
    for theirs, ours in _LAYERS.items()
    for part in ("weight", "bias")
}
_MODELS: Final = {640: "RN50x4", 1024: "RN50"}
"""The CLIPs of the paper by the length of their vectors."""
_EXPECTED: Final = "expected CLIP4Cir's Combiner, a state dict under the key Combiner or alone"
_DAMAGED: Final = f"is damaged ({{}}): {_EXPECTED}"


def load_clip4cir_combiner(path: Path, embeddings: Embeddings) -> Composer:
    """The composer of a published Combiner (Baldrati et al., CLIP4Cir, CVPR 2022 workshops).

    Args:
        path: The file; no code in it is run.
        embeddings: The vectors that it shall combine.

    Raises:
        CheckpointError: the file is missing, damaged, or holds something else.
        StoreError: it combines vectors of another length than the store's.
    """
    held, sha256 = _read(path)
    combiner = _built(_state_of(held, path), path).eval()
    _require_length(embeddings, combiner.dim, path)
    epoch = held.get("epoch")
    published = PublishedWeights(path, sha256, epoch if isinstance(epoch, int) else None)
    return Composer("combiner", combiner, None, published)


def _read(path: Path) -> tuple[dict[Any, Any], str]:
    """What the file holds, and the SHA-256 of the bytes that said so."""
    try:
        with opened(path) as file:
            sha256 = verified(file).sha256
            held = load_torch(file)
    except FileNotFoundError:
        raise CheckpointError(f"no file at {path}: {_EXPECTED}") from None
    except (OSError, ValueError) as fault:
        raise CheckpointError(unreadable(path, fault, _DAMAGED)) from fault
    if not isinstance(held, dict):
        raise CheckpointError(f"{path} holds {arguments.shown(held)}; {_EXPECTED}")
    return held, sha256


def _state_of(held: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """The tensors by our names, in float32."""
    state = held.get("Combiner", held)
    if isinstance(held.get("CLIP"), dict) and "Combiner" not in held:
        raise CheckpointError(f"{path} holds CLIP4Cir's CLIP, no Combiner: pass it as `weights`")
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds {arguments.shown(state)} as Combiner; {_EXPECTED}")
    _require_names(state, path)
    return {ours: state[theirs].float() for theirs, ours in _NAMES.items()}


def _require_names(state: Mapping[Any, Any], path: Path) -> None:
    """Raises CheckpointError unless the published tensors are there, and nothing else."""
    lacking = [name for name in _NAMES if not isinstance(state.get(name), Tensor)]
    unknown = [str(name) for name in state if name not in _NAMES]
    if lacking or unknown:
        fault = f"lacks {lacking[0]}" if lacking else f"holds {unknown[0][:60]}"
        raise CheckpointError(f"{path} {fault}, and is no Combiner: {_EXPECTED}")
    for name in _NAMES:
        if not state[name].is_floating_point():
            raise CheckpointError(
                f"{path} holds {name} of {state[name].dtype}; expected floating point"
            )


def _built(state: Mapping[str, Tensor], path: Path) -> Clip4CirCombiner:
    """The network at the widths of the tensors."""
    projection, dim = _matrix(state, "text_projection_layer", path)
    hidden, _ = _matrix(state, "combiner_layer", path)
    with torch.device("meta"):
        combiner = Clip4CirCombiner(dim, projection, hidden, scale=False)
    shapes = {name: tuple(weight.shape) for name, weight in combiner.state_dict().items()}
    for theirs, ours in _NAMES.items():
        if tuple(state[ours].shape) != shapes[ours]:
            raise CheckpointError(
                f"{path} holds {theirs} of shape {tuple(state[ours].shape)}, expected "
                f"{shapes[ours]} beside its other layers"
            )
    combiner.load_state_dict(dict(state), assign=True)
    return combiner


def _matrix(state: Mapping[str, Tensor], layer: str, path: Path) -> tuple[int, int]:
    """The rows and columns of a layer's weight, at least one of each."""
    weight = state[f"{_LAYERS[layer]}.weight"]
    if weight.ndim != 2 or not weight.numel():
        raise CheckpointError(
            f"{path} holds {layer}.weight of shape {tuple(weight.shape)}; expected a matrix"
        )
    return weight.shape[0], weight.shape[1]


def _require_length(embeddings: Embeddings, dim: int, path: Path) -> None:
    """Raises StoreError, which tells how the right store is made, unless vectors are `dim` long."""
    origin = embeddings.provenance
    if origin.embed_dim != dim:
        model = _MODELS.get(dim, "MODEL")
        raise StoreError(
            f"{path} combines {dim}-d vectors; {embeddings.path} holds {origin.embed_dim}-d ones "
            f"of {origin.model}: make a store with cir embed `model={model!r}`, and "
            f"`weights='FILE'` where CLIP was tuned"
        )
