"""How many images or texts a tuned tower encodes at once, by the memory that is free.

Encoded at once, a batch of 128 queries with their negatives asks for hundreds of gigabytes of
activations where the tower is a large one. What one image takes is measured on the device: two
small passes there and back, of which the larger takes more by its further images. Where a whole
step fits, it is encoded at once; else in chunks of as many as fit (GradCache,
`cir.training.features`).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from cir.config import TrainConfig
from cir.encoding.encoder import Encoder
from cir.errors import CirError
from cir.machine import memory
from cir.machine.processes import Processes
from cir.training.batches import Batch
from cir.training.model import Model

_PROBES: Final = (2, 6)
"""Images or texts of the two passes."""
_USED: Final = 0.8
"""Share of the free memory that is counted on: blocks of it lie apart, and the loss takes some."""
_STATE: Final = 12
"""Bytes of AdamW's two moments and of the gradient, for each parameter in float32."""


@dataclass(frozen=True)
class _Cost:
    """What a tower takes in memory, there and back."""

    each: float
    """Bytes of one image or text."""
    fixed: float
    """Bytes of any number of them."""

    def most(self, room: float) -> int:
        """How many fit into `room` bytes; one at least is tried."""
        return max(1, int((room - self.fixed) // max(self.each, 1.0)))


def choose_encode_batch(model: Model, batches: Sequence[Batch], processes: Processes) -> int | None:
    """How many images or texts are encoded at once, the same in every process; None for all.

    Args:
        model: Its towers are measured where they are tuned, and left as they are.
        batches: Of an epoch.
        processes: Those that take a part of every batch each.
    """
    parts = [batch.part(processes.part(len(batch))) for batch in batches]
    images = max(len(np.unique(part.images)) for part in parts)
    texts = max(len(np.unique(part.text)) for part in parts)
    fitting = fitting_encode_batch(model, images=images, texts=texts)
    return min((n for n in processes.all_gather_object(fitting) if n is not None), default=None)


def fitting_encode_batch(model: Model, *, images: int, texts: int) -> int | None:
    """How many images or texts a tuned tower can encode at once; None for all of a step.

    Nothing of the model is changed. On a CPU, and where no tower is tuned, it is None.

    Args:
        model: Its towers are measured, with the settings that they are trained with.
        images: Distinct images of a step, at most.
        texts: Distinct texts of a step, at most.
    """
    encoder = model.encoder
    free = None if encoder is None else memory.free_bytes(encoder.device)
    if encoder is None or free is None:
        return None
    trained = [p for p in encoder.clip.parameters() if p.requires_grad]
    room = _USED * free - _STATE * sum(p.numel() for p in trained)
    towers = [
        (_cost(encoder, make, encode), count)
        for make, encode, count, tuned in (
            (_images, encoder.encode_images, images, model.tunes_image),
            (_texts, encoder.encode_texts, texts, model.tunes_text),
        )
        if tuned
    ]
    whole = sum(cost.fixed + count * cost.each for cost, count in towers)
    return None if whole <= room else min(cost.most(room) for cost, _ in towers)


@contextmanager
def telling_what_needs_less(config: TrainConfig) -> Iterator[None]:
    """Turns a lack of memory within a step into a line that names what needs less of it.

    Raises:
        CirError: the memory of the device, or of the machine, was used up.
    """
    try:
        yield
    except Exception as error:
        if not memory.is_lack_of_memory(error):
            raise
        raise CirError(memory.out_of_memory(error, _advice(config))) from error


def _advice(config: TrainConfig) -> str:
    less = []
    if config.tune != "none":
        less.append(f"a smaller `encode_batch`{_than(config.encode_batch)}")
        less += [] if config.checkpoint_activations else ["`checkpoint_activations=True`"]
    less.append(f"a smaller `batch_size`{_than(config.batch_size)}")
    return f"pass {' or '.join(less)}; the last checkpoint is untouched"


def _than(value: int | None) -> str:
    return f" than {value}" if value else ""


def _cost(
    encoder: Encoder, make: Callable[[Encoder, int], Tensor], encode: Callable[[Tensor], Tensor]
) -> _Cost:
    """Measured by two passes, whose gradients are forgotten."""

    def measured(count: int) -> int:
        inputs = make(encoder, count)
        taken = memory.peak_bytes(encoder.device, lambda: encode(inputs).sum().backward())  # type: ignore[no-untyped-call]
        encoder.clip.zero_grad(set_to_none=True)
        return taken

    few, more = _PROBES
    measured(few)  # what libraries allocate once, at their first call
    least, most = measured(few), measured(more)
    each = max(0.0, (most - least) / (more - few))
    return _Cost(each, max(0.0, least - few * each))


def _images(encoder: Encoder, count: int) -> Tensor:
    size = encoder.image_size
    return torch.zeros(count, 3, size, size, device=encoder.device)


def _texts(encoder: Encoder, count: int) -> Tensor:
    """Texts that fill the context."""
    context = encoder.tokenize([""]).shape[1]
    return encoder.tokenize([" ".join(["a"] * context)] * count).to(encoder.device)
