"""accelerate's Accelerator for a run: precision of the steps, fp16's scaling."""

from pathlib import Path
from typing import Final

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from cir.errors import UsageError

_PRECISION: Final = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def accelerator_for(run: Path, device: torch.device, precision: str) -> Accelerator:
    """An Accelerator for `run`.

    Args:
        run: The run folder.
        device: Where the run trains.
        precision: fp32, bf16 or fp16.

    Raises:
        UsageError: fp16 is asked for where it would not train.
    """
    if precision == "fp16" and device.type != "cuda":
        raise UsageError(f"--precision fp16 trains on CUDA only, not on {device}; use bf16")
    # accelerate keeps one state a process; a second run in it may have another precision
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(
        cpu=device.type == "cpu", mixed_precision=_PRECISION[precision], project_dir=str(run)
    )
