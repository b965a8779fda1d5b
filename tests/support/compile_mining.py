"""Compiles mining's loops, so that no command and no test waits for it.

    python -m tests.support.compile_mining

Machine code is kept on disk for the next process. Set-up runs this once.
"""

from typing import get_args

import numpy as np
import torch

from cir.mining import Draw, Plan, Problem, exclusions_of, mine, mine_negatives
from cir.types import Sampling


def main() -> None:
    """Mines a few vectors in every way that compiled code tells apart."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((64, 8)).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    mine_negatives(unit[:4], [0, 1, 2, 3], unit, num_negatives=2, duplicate_threshold=0.5)
    problem = Problem(
        unit[:4],
        unit[4:8],
        unit,
        exclusions_of([[0], [], [4, 1], [2]]),
        categories=np.zeros(4, np.int64),
        members=np.ones((1, len(unit)), np.bool_),
    )
    draws = (Draw("same-category", 0.5, "semi-hard"), Draw("any", 0.5, "any"))
    everything = np.tile(np.arange(len(unit)), (4, 1))
    for sampling in get_args(Sampling):
        plan = Plan(draws, num_negatives=2, margin=0.2, sampling=sampling)
        mine(problem, plan, propose=lambda _: everything)
        for arithmetic in (torch.int16, torch.float32, torch.bfloat16):
            mine(problem, plan, arithmetic=arithmetic)


if __name__ == "__main__":
    main()
