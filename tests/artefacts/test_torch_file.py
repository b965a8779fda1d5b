"""Files of `torch.save`: what is read, and how damage is told."""

import random
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from cir.artefacts.torch_file import load_torch

HELD = {"epoch": 3, "state": OrderedDict(a=torch.arange(6.0).reshape(2, 3), b=torch.ones(1))}


def written(path: Path, *, zipped: bool) -> bytes:
    torch.save(HELD, path, _use_new_zipfile_serialization=zipped)
    return path.read_bytes()


def fault_of(path: Path) -> str | None:
    """What reading a file says is wrong; None where it can be read."""
    try:
        load_torch(path)
    except ValueError as fault:
        return str(fault)
    return None


@pytest.mark.parametrize("zipped", [True, False])
def test_comes_back_as_it_was(tmp_path: Path, zipped: bool) -> None:
    written(tmp_path / "file.pt", zipped=zipped)
    found = load_torch(tmp_path / "file.pt")
    assert found["epoch"] == 3
    assert torch.equal(found["state"]["a"], HELD["state"]["a"])


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_damage_of_any_sort_is_one_line(tmp_path: Path, zipped: bool) -> None:
    """Cut or overwritten anywhere, a file is read or a ValueError of one line."""
    file, rng = tmp_path / "file.pt", random.Random(0)
    whole, faults = written(file, zipped=zipped), []
    for _ in range(120):
        damaged = bytearray(whole)
        if rng.random() < 0.2:
            damaged = damaged[: rng.randrange(len(damaged))]
        else:
            damaged[rng.randrange(min(len(damaged), 700))] = rng.randrange(256)
        file.write_bytes(damaged)
        faults.append(fault_of(file))
    told = [fault for fault in faults if fault is not None]
    assert len(told) > 30
    assert all(len(fault.splitlines()) == 1 for fault in told)
    assert not any("weights_only" in fault for fault in told)


@pytest.mark.parametrize("content", [b"hello", b"\x00" * 100, b"not a file of torch at all"])
def test_what_is_no_file_of_torch_is_told_without_torchs_advice(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "file.pt"
    file.write_bytes(content)
    assert fault_of(file) == "it is no whole file of torch.save"


def test_what_the_system_refuses_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_torch(tmp_path / "none.pt")
    with pytest.raises(IsADirectoryError):
        load_torch(tmp_path)
