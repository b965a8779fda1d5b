"""CLIP's weights from a local file, whatever wrote it, read without running code from it.

What is read: safetensors; a PyTorch state dict, alone or under `state_dict` (open_clip's training
checkpoints), `model_state_dict` or `model` (as other programs save it); a CLIP4Cir checkpoint,
where it stands under `CLIP`; the TorchScript archive that OpenAI published; the checkpoint folder
of a run. A PyTorch file is opened with `weights_only`, which takes NumPy's numbers too. A
TorchScript archive holds code, which is never compiled: its pickle of parameters is read by an
unpickler that knows tensors and nothing else.
"""

import hashlib
import io
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cir.artefacts.torch_file import load_torch
from cir.disk.files import unreadable
from cir.disk.reading import opened
from cir.errors import WeightsError

_FOLDER_FILE: Final = "clip.safetensors"
_FOLDERS_TO_LOOK_IN: Final = ("", "checkpoints/best")
_WRAPPERS: Final = ("state_dict", "model_state_dict", "model")
"""Keys under which programs save the state dict beside their epoch, optimiser and arguments."""
_PREFIXES: Final = ("module.", "_orig_mod.", "model.", "clip.")
"""What wrappers (data parallel, torch.compile, a model around CLIP) put before every name."""
_LENGTH_BYTES: Final = 8
"""Where safetensors say how long their JSON is: at the beginning, little-endian."""
_SHOWN: Final = 6
"""Keys that a message names."""
_NOT_WEIGHTS: Final = frozenset({"input_resolution", "context_length", "vocab_size", "attn_mask"})
"""Constants that OpenAI's archives keep beside the parameters."""
_MODULE: Final = "/data.pkl"
"""How the name of a TorchScript archive's module ends."""
_STORAGE_TYPES: Final[Mapping[str, torch.dtype]] = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}


@dataclass(frozen=True)
class ReadWeights:
    """The tensors of a weight file by the names open_clip gives them."""

    state: dict[str, Tensor]
    """Floating-point tensors are float32."""
    quick_gelu: bool | None
    """Whether CLIP was trained with QuickGELU, as the file's kind tells; None where it does not."""


_DAMAGED = (
    "is damaged or no weight file ({}): expected safetensors, a state dict, an OpenAI archive or a "
    "CLIP4Cir checkpoint"
)


def read_weights(path: Path) -> ReadWeights:
    """Reads a weight file, or the checkpoint folder of a run.

    Raises:
        WeightsError: the file is missing, damaged, or holds something else.
    """
    file = _in_folder(path) if path.is_dir() else path
    try:
        held = _reader_of(file)(file)
        return ReadWeights(_cleaned(held.content), held.quick_gelu)
    except FileNotFoundError:
        raise WeightsError(f"no weight file at {path}") from None
    except (
        SafetensorError,
        zipfile.BadZipFile,
        pickle.UnpicklingError,
        OSError,
        EOFError,
        KeyError,
        ValueError,
        RuntimeError,
    ) as fault:
        raise WeightsError(unreadable(file, fault, _DAMAGED)) from fault


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names, dtypes, shapes and bytes of all tensors, in the names' order."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@dataclass(frozen=True)
class _Held:
    """What a file holds, before it is known to be tensors by name."""

    content: Mapping[Any, Any]
    quick_gelu: bool | None


def _in_folder(folder: Path) -> Path:
    """The tuned CLIP of a checkpoint folder, or of a run folder's best checkpoint."""
    for subfolder in _FOLDERS_TO_LOOK_IN:
        if (folder / subfolder / _FOLDER_FILE).is_file():
            return folder / subfolder / _FOLDER_FILE
    raise WeightsError(
        f"{folder} holds no {_FOLDER_FILE}: expected a weight file, or the checkpoint folder of "
        f"a run that tuned CLIP"
    )


def _reader_of(file: Path) -> Callable[[Path], _Held]:
    if file.suffix == ".safetensors" or _is_safetensors(file):
        return _read_safetensors
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                return _read_torchscript
    return _read_torch


def _is_safetensors(file: Path) -> bool:
    """Whether a file begins as safetensors do, whatever its name: with JSON and its length."""
    with opened(file) as begun:
        length, brace = begun.read(_LENGTH_BYTES), begun.read(1)
    return brace == b"{" and int.from_bytes(length, "little") < file.stat().st_size


def _read_safetensors(file: Path) -> _Held:
    return _Held(load_file(file), None)


def _read_torch(file: Path) -> _Held:
    """A PyTorch file: the state dict itself, or under the key that its kind of checkpoint uses."""
    held = load_torch(file)
    if not isinstance(held, dict):
        raise ValueError(f"it holds a {type(held).__name__}, not a state dict")
    if isinstance(held.get("CLIP"), dict):
        return _Held(held["CLIP"], True)
    return _Held(_unwrapped(held), None)


def _unwrapped(held: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The tensors by name, from under as many keys as programs have put around them."""
    while not any(isinstance(value, Tensor) for value in held.values()):
        inner = [held[key] for key in _WRAPPERS if isinstance(held.get(key), dict)]
        if not inner:
            break
        held = inner[0]
    return held


def _read_torchscript(file: Path) -> _Held:
    """OpenAI's archive; every CLIP published as one was trained with QuickGELU."""
    with zipfile.ZipFile(file) as archive:
        held = next((name for name in archive.namelist() if name.endswith(_MODULE)), None)
        if held is None:
            raise ValueError("it holds constants.pkl and no data.pkl")
        module = _ArchiveUnpickler(archive, held.removesuffix(_MODULE) + "/").load()
    if not isinstance(module, _ScriptedObject):
        raise ValueError("its data.pkl holds no module")
    return _Held(dict(module.tensors()), True)


class _ScriptedObject:
    """What stands for every class of the archive: attributes, no behaviour."""

    def __setstate__(self, state: object) -> None:
        self.attributes = state if isinstance(state, dict) else {}

    def tensors(self, prefix: str = "") -> "dict[str, Tensor]":
        """All tensors of this object and those it holds, by dotted name."""
        tensors: dict[str, Tensor] = {}
        for name, value in self.attributes.items():
            if isinstance(value, Tensor):
                tensors[prefix + name] = value
            elif isinstance(value, _ScriptedObject):
                tensors |= value.tensors(f"{prefix}{name}.")
        return tensors


class _ArchiveUnpickler(pickle.Unpickler):
    """Unpickles a TorchScript module's attributes; refuses every name that it does not know."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}data.pkl")))
        self._archive = archive
        self._root = root

    def find_class(self, module: str, name: str) -> Any:
        """Stand-ins for the archive's classes, and the two functions that rebuild tensors."""
        if module == "__torch__" or module.startswith("__torch__."):
            return _ScriptedObject
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuilt
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _rebuilt_parameter
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch" and name in _STORAGE_TYPES:
            return _STORAGE_TYPES[name]
        if module == "torch.jit._pickle":
            return _as_it_is
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no weight file needs")

    def persistent_load(self, pid: Any) -> Tensor:
        """A storage: `("storage", type, key, device, number of elements)`."""
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"it refers to a {kind!r}, expected a storage")
        data = bytearray(self._archive.read(f"{self._root}data/{key}"))
        return torch.frombuffer(data, dtype=dtype, count=count) if count else torch.empty(0)


def _rebuilt(storage: Tensor, offset: int, size: Any, stride: Any, *_: object) -> Tensor:
    return storage.as_strided(tuple(size), tuple(stride), offset).clone()


def _rebuilt_parameter(data: Tensor, *_: object) -> Tensor:
    return data


def _as_it_is(value: object, *_: object) -> object:
    """TorchScript's typed lists: the list itself."""
    return value


def _cleaned(state: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Without wrappers' prefixes and constants, in float32."""
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors or not all(isinstance(name, str) for name in state):
        raise ValueError(_without_tensors(state))
    while prefix := next((p for p in _PREFIXES if all(n.startswith(p) for n in tensors)), ""):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return {
        name: value.float() if value.is_floating_point() else value
        for name, value in tensors.items()
        if name not in _NOT_WEIGHTS
    }


def _without_tensors(state: Mapping[Any, Any]) -> str:
    """What a file holds where weights were looked for."""
    shown = ", ".join(str(name) for name in list(state)[:_SHOWN])
    more = f" and {len(state) - _SHOWN:,} more" if len(state) > _SHOWN else ""
    keys = f"the keys {shown}{more}" if state else "nothing"
    places = ", ".join(_WRAPPERS)
    return f"it holds no tensors by name but {keys}; a state dict under {places} will do"
