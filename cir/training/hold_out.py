"""The dev split: queries that are held out of training, by reference."""

from collections.abc import Sequence

import numpy as np

from cir.data.queries import Query
from cir.errors import DatasetError


def hold_out(
    queries: Sequence[Query], fraction: float, seed: int
) -> tuple[list[Query], list[Query]]:
    """Splits queries into (train, dev) by reference, so that siblings stay together.

    A reference of several categories is drawn for with the first of them, and is then where it
    fell in all.

    Args:
        queries: Queries of the training split.
        fraction: Share of each category's references that are drawn for dev, in (0, 1).
        seed: Decides which.

    Raises:
        DatasetError: one of the two would be empty, or `fraction` is no share.
    """
    if not 0 < fraction < 1:
        raise DatasetError(f"`fraction` is {fraction:g}; expected a share between 0 and 1")
    held_out: set[str] = set()
    settled: set[str] = set()
    for category in sorted({q.category for q in queries}):
        references = sorted({q.reference_id for q in queries if q.category == category} - settled)
        order = np.random.default_rng([seed, len(references)]).permutation(len(references))
        held_out.update(references[i] for i in order[: round(fraction * len(references))])
        settled.update(references)
    train = [q for q in queries if q.reference_id not in held_out]
    dev = [q for q in queries if q.reference_id in held_out]
    if not train or not dev:
        raise DatasetError(
            f"a dev split of {fraction:g} leaves {len(train)} queries to train on and {len(dev)} "
            f"to choose the best epoch by: expected both above 0"
        )
    return train, dev
