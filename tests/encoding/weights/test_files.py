"""Weight files of every kind, read back as they were written and never executed."""

import argparse
import collections
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cir.encoding.weights.files import read_weights, weights_sha256
from cir.errors import WeightsError
from tests.support.micro import micro_clip

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def clip() -> nn.Module:
    return micro_clip(dim=16, image_size=32, tower="resnet", seed=3)


@pytest.fixture(scope="module")
def state(clip: nn.Module) -> State:
    return {name: value.clone() for name, value in clip.state_dict().items()}


def _same(found: State, expected: State) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].dtype == expected[name].dtype and torch.equal(found[name], expected[name])
        for name in expected
    )


def _prefixed(state: State, prefix: str) -> State:
    return {prefix + name: value for name, value in state.items()}


def _script(clip: nn.Module, path: Path) -> None:
    example = (torch.zeros(1, 3, 32, 32), torch.zeros(1, 16, dtype=torch.int64))
    torch.jit.save(torch.jit.trace(clip, example), str(path))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w"])
def test_safetensors_come_back_bit_for_bit_whatever_their_name(
    state: State, tmp_path: Path, name: str
) -> None:
    save_file(state, tmp_path / name)
    read = read_weights(tmp_path / name)
    assert _same(read.state, state)
    assert read.quick_gelu is None


@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "model.", "model.module.clip."]
)
@pytest.mark.parametrize(
    "wrapped", [(), ("state_dict",), ("model_state_dict",), ("model", "model")]
)
def test_state_dicts_come_back_without_their_wrapping(
    state: State, tmp_path: Path, prefix: str, wrapped: tuple[str, ...]
) -> None:
    held: dict[str, Any] = dict(_prefixed(state, prefix))
    for key in wrapped:
        held = {"epoch": 3, "best": np.float64(0.5), "seeds": np.arange(2), key: held}
    torch.save(held, tmp_path / "w.pt")
    read = read_weights(tmp_path / "w.pt")
    assert _same(read.state, state)
    assert read.quick_gelu is None


def test_a_clip4cir_checkpoint_implies_quick_gelu(state: State, tmp_path: Path) -> None:
    torch.save({"epoch": 9, "CLIP": state, "Combiner": {}}, tmp_path / "tuned_clip.pt")
    read = read_weights(tmp_path / "tuned_clip.pt")
    assert _same(read.state, state)
    assert read.quick_gelu is True


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_an_openai_archive_is_read_without_running_it(
    clip: nn.Module, state: State, tmp_path: Path
) -> None:
    _script(clip, tmp_path / "RN50x4.pt")
    read = read_weights(tmp_path / "RN50x4.pt")
    kept = {name: value for name, value in read.state.items() if name in state}
    assert _same(kept, state)
    assert set(read.state) == set(state)
    assert read.quick_gelu is True


def test_half_precision_becomes_float32(state: State, tmp_path: Path) -> None:
    halved = {n: v.half() if v.is_floating_point() else v for n, v in state.items()}
    save_file(halved, tmp_path / "w.safetensors")
    read = read_weights(tmp_path / "w.safetensors").state
    assert _same(read, {n: v.float() if v.is_floating_point() else v for n, v in halved.items()})


@pytest.mark.parametrize("inside", ["clip.safetensors", "checkpoints/best/clip.safetensors"])
def test_a_run_or_its_checkpoint_gives_the_tuned_clip(
    state: State, tmp_path: Path, inside: str
) -> None:
    (tmp_path / inside).parent.mkdir(parents=True, exist_ok=True)
    save_file(state, tmp_path / inside)
    assert _same(read_weights(tmp_path).state, state)


def test_a_checkpoint_without_clip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds no clip\.safetensors"):
        read_weights(tmp_path)


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (
            {"epoch": 3, "weights": {}},
            "no tensors by name but the keys epoch, weights; a state",
        ),
        ({"model": torch.ones(1), 3: torch.ones(1)}, "the keys model, 3"),
        ({}, "but nothing"),
        ({"w": torch.ones(1), "args": argparse.Namespace(lr=1)}, "needs argparse.Namespace, which"),
    ],
)
def test_what_stays_refused_says_which_key_or_global(
    tmp_path: Path, held: dict[Any, Any], words: str
) -> None:
    torch.save(held, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=words) as caught:
        read_weights(tmp_path / "w.pt")
    assert "\n" not in str(caught.value)


class _Bomb:
    """A pickle of it runs a command when it is read without care."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("archive", ["torch", "torchscript"])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path: Path, archive: str) -> None:
    trace, file = tmp_path / "ran", tmp_path / "w.pt"
    if archive == "torch":
        torch.save({"state_dict": _Bomb(trace)}, file)
    else:
        with zipfile.ZipFile(file, "w") as made:
            made.writestr("w/data.pkl", pickle.dumps({"x": _Bomb(trace)}))
            made.writestr("w/constants.pkl", pickle.dumps(()))
    with pytest.raises(WeightsError, match="damaged or no weight file"):
        read_weights(file)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 but no more"])
def test_damaged_files_end_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name) as raised:
        read_weights(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_an_archive_without_its_module_is_damaged(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as made:
        made.writestr("w/constants.pkl", pickle.dumps(()))
    with pytest.raises(WeightsError, match=r"\(it holds constants\.pkl and no data\.pkl\)"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_truncated_files_are_refused(state: State, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    save_file(state, file) if name.endswith("safetensors") else torch.save(state, file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(WeightsError, match="damaged"):
        read_weights(file)


@pytest.mark.parametrize("held", [[1, 2], {"epoch": 3}, {}])
def test_files_that_hold_no_tensors_are_refused(tmp_path: Path, held: Any) -> None:
    torch.save(held, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"w\.pt"):
        read_weights(tmp_path / "w.pt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weight file at .*gone\.pt"):
        read_weights(tmp_path / "gone.pt")


def test_the_hash_is_of_the_tensors_whatever_their_order(state: State) -> None:
    shuffled = collections.OrderedDict(sorted(state.items(), reverse=True))
    assert weights_sha256(state) == weights_sha256(shuffled)
    assert len(weights_sha256(state)) == 64


@pytest.mark.parametrize("change", ["value", "name", "dtype", "shape"])
def test_the_hash_sees_every_change(change: str) -> None:
    before = {"a": torch.zeros(2, 3), "b": torch.tensor(1.0)}
    after = {
        "value": before | {"b": torch.tensor(2.0)},
        "name": {"a": before["a"], "c": before["b"]},
        "dtype": before | {"a": torch.zeros(2, 3, dtype=torch.int32)},
        "shape": before | {"a": torch.zeros(3, 2)},
    }[change]
    assert weights_sha256(before) != weights_sha256(after)
