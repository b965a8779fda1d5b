"""Batches of one size, so that a vector does not depend on what is encoded beside it.

Processors compute a matrix product in another order for another number of rows, which changes last
bits. Among batches of one size, filled up where they are short, a row was measured to come out the
same whatever the others are. So a store that grew by pieces equals one that was made at once.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from cir.encoding.encoder import Encoder
from cir.errors import VectorError, quoted

_ON_CPU: Final = 32
"""Photos or texts a batch on a CPU: larger ones were measured slower, as they leave the caches."""
_ON_CPU_HEAVY: Final = 8
"""The same for an encoder of which a CPU encodes about one photo a second."""
_HEAVY: Final = 1e9
"""Multiplications of one photo from which it is one."""
_NAMED: Final = 3
"""Inputs named in an error that may concern many."""


def images_at_once(encoder: Encoder, batch_size: int) -> int:
    """How many photos make a batch, of `batch_size` at most; on a CPU a batch takes seconds."""
    if encoder.device.type != "cpu":
        return batch_size
    return min(batch_size, _ON_CPU_HEAVY if is_heavy(encoder) else _ON_CPU)


def is_heavy(encoder: Encoder) -> bool:
    """Whether a CPU encodes about one photo a second."""
    return work_of_photo(encoder) > _HEAVY


def work_of_photo(encoder: Encoder) -> float:
    """Multiplications that one photo takes, roughly: one a weight for each patch of 32 pixels."""
    return encoder.image_weights * (encoder.image_size / 32) ** 2


def texts_at_once(encoder: Encoder, batch_size: int) -> int:
    """How many texts make a batch, of `batch_size` at most."""
    return batch_size if encoder.device.type != "cpu" else min(batch_size, _ON_CPU)


def padded_to(batch: Shaped[Tensor, "_ ..."], rows: int) -> Shaped[Tensor, "_ ..."]:
    """A batch with its first row repeated behind the last until it has as many rows."""
    lacking = max(0, rows - len(batch))
    return torch.cat([batch, batch[:1].expand(lacking, *batch.shape[1:])]) if lacking else batch


def require_vectors(
    encoded: Float[Tensor, "batch dim"], names: Sequence[str], encoder: Encoder
) -> Float[np.ndarray, "batch dim"]:
    """The vectors on the CPU.

    Raises:
        VectorError: one has no direction; its input is named by `names`.
    """
    vectors: Float[np.ndarray, "batch dim"] = encoded.float().cpu().numpy()
    norms = np.linalg.norm(vectors, axis=1)
    wrong = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if wrong.size:
        named = ", ".join(quoted(names[row]) for row in wrong[:_NAMED])
        raise VectorError(
            f"{encoder.provenance.model} in {encoder.precision} gives NaN, infinite or all-zero "
            f"vectors for {wrong.size} of a batch of {len(names)}, as for {named}: "
            "pass `precision='fp32'`, or other `weights`"
        )
    return vectors
