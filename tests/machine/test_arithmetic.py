"""float32 is float32, whatever torch's switches of a process say, which are left as they were."""

from typing import Any

import pytest
import torch

from cir.errors import UsageError
from cir.machine.arithmetic import arithmetic, float32, require_precision

CPU = torch.device("cpu")
BACKENDS: Any = torch.backends
EXACT = ["ieee"] * 5


def state() -> list[str]:
    switches = (
        *(BACKENDS.cuda.matmul, BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn),
        *(BACKENDS.mkldnn.matmul, BACKENDS.mkldnn.conv),
    )
    return [switch.fp32_precision for switch in switches]


def test_convolutions_are_not_rounded_unless_asked_for() -> None:
    """cuDNN rounds them by default; its older switch can be read all the while."""
    before = state()
    assert before[1] == "tf32"
    assert BACKENDS.cudnn.allow_tf32
    with float32():
        assert state() == EXACT
        assert not BACKENDS.cudnn.allow_tf32
    assert state() == before
    assert BACKENDS.cudnn.allow_tf32
    with arithmetic(CPU, "tf32"):
        assert state() == ["tf32"] * 3 + ["ieee"] * 2
    with arithmetic(CPU, "bf16"):
        assert state() == EXACT
        assert torch.is_autocast_enabled("cpu")
    assert state() == before


def test_nobody_gets_less_than_was_asked_for() -> None:
    """Blocks of threads overlap as they like."""
    before = state()
    coarse, exact, other = float32("tf32"), float32(), float32()
    coarse.__enter__()
    exact.__enter__()
    other.__enter__()
    coarse.__exit__(None, None, None)
    exact.__exit__(None, None, None)
    assert state() == EXACT
    other.__exit__(None, None, None)
    assert state() == before


@pytest.mark.parametrize("older", [False, True])
def test_a_program_finds_its_switches_as_it_left_them(older: bool) -> None:
    """A processor's bfloat16 in place of float32, and a GPU's TF32, are set by one of torch's."""
    try:
        torch.set_float32_matmul_precision("medium")
        BACKENDS.cudnn.allow_tf32 = older
        before = state()
        with float32():
            assert state() == EXACT
        assert state() == before
        assert BACKENDS.cudnn.allow_tf32 == older
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
        BACKENDS.cudnn.allow_tf32 = True


def test_tf32_is_refused_where_it_would_be_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    message = r"`precision='tf32'` is arithmetic of .* GPUs since Ampere, not of c.*; use fp32"
    with pytest.raises(UsageError, match=message):
        require_precision("tf32", CPU)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(UsageError, match=message):
        require_precision("tf32", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    require_precision("tf32", torch.device("cuda"))
