"""accelerate's Accelerator for a run: precision of the steps, fp16's scaling, TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from cir.errors import UsageError

TENSORBOARD: Final = "tensorboard"
"""The tracker's name, and the folder of its events in a run."""

_PRECISION: Final = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def accelerator_for(run: Path, device: torch.device, precision: str) -> Accelerator:
    """An Accelerator that logs into `run`.

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
        cpu=device.type == "cpu",
        mixed_precision=_PRECISION[precision],
        log_with=TENSORBOARD,
        project_dir=str(run),
    )


def start_tensorboard(accelerator: Accelerator, first_epoch: int) -> None:
    """Opens the events; those of `first_epoch` and later, of a run that was killed, are purged."""
    settings = {TENSORBOARD: {"purge_step": first_epoch}}
    accelerator.init_trackers(TENSORBOARD, init_kwargs=settings)


def log_epoch(accelerator: Accelerator, line: Mapping[str, Any]) -> None:
    """Sends the numbers of one line of `metrics.jsonl` to TensorBoard."""
    accelerator.log(dict(_scalars(line, "")), step=line["epoch"])


def _scalars(values: Mapping[str, Any], group: str) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _scalars(value, f"{group}{name}/")
        elif value is not None:
            found.append((f"{group}{name}", value))
    return found
