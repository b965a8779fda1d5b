"""Who is measured, by the name of the row, and one run of one of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64

from cir.config import MiningOptions
from tests.benchmarks.contestants import Contestant, FlatSearch, Mine, Product
from tests.benchmarks.judging import Answer
from tests.benchmarks.measured import Figures, measured
from tests.benchmarks.rivals import MineHardNegatives, NearestSemiHard, SemiHardBand
from tests.benchmarks.vectors import load_world

SEMI_HARD = MiningOptions(strategy="semi-hard")
TOP = 100
"""Candidates of a query that sentence-transformers looks at when it is given a margin."""
BLOCKS = (256, 2048)
"""Queries of one matrix product: one suits the caches, the other the arithmetic."""
TINY = (32, 400)
"""Queries and gallery of the first call."""

PRODUCTS = {
    f"float32 product, {shown}, blocks of {block}": Product(library, block)  # type: ignore[arg-type]
    for library, shown in (("numpy", "NumPy"), ("torch", "torch"))
    for block in BLOCKS
}
NUMPY_PRODUCTS = [name for name in PRODUCTS if "NumPy" in name]

CONTESTANTS: Mapping[str, Contestant] = {
    **PRODUCTS,
    "FAISS flat, k = 5": FlatSearch(5, SEMI_HARD),
    "FAISS flat, k = 256": FlatSearch(256, SEMI_HARD),
    "sentence-transformers, FAISS, no margin": MineHardNegatives(SEMI_HARD, use_faiss=True),
    "sentence-transformers, torch, no margin": MineHardNegatives(SEMI_HARD, use_faiss=False),
    f"sentence-transformers, FAISS, margin 0, top {TOP}": MineHardNegatives(
        SEMI_HARD, use_faiss=True, absolute_margin=0.0, range_max=TOP
    ),
    f"sentence-transformers, torch, margin 0, top {TOP}": MineHardNegatives(
        SEMI_HARD, use_faiss=False, absolute_margin=0.0, range_max=TOP
    ),
    "pytorch-metric-learning, BatchEasyHardMiner, k = 1": NearestSemiHard(
        MiningOptions(strategy="semi-hard", num_negatives=1)
    ),
    "pytorch-metric-learning, TripletMarginMiner": SemiHardBand(SEMI_HARD),
    "cir random": Mine(MiningOptions(strategy="random")),
    "cir hard": Mine(MiningOptions(strategy="hard")),
    "cir semi-hard": Mine(SEMI_HARD),
    "cir semi-hard, sampled": Mine(MiningOptions(strategy="semi-hard", sampling="random")),
    "cir semi-hard, softmax": Mine(MiningOptions(strategy="semi-hard", sampling="softmax")),
    "cir category-aware": Mine(MiningOptions(strategy="category-aware")),
}
OURS = "cir semi-hard"
"""The one that the others are compared with, and whose steps are shown."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """One run."""

    figures: Figures
    parts: Mapping[str, float]
    """Seconds of its steps."""
    answer: Answer | None


def run(
    name: str, folder: Path, sample: Int64[np.ndarray, " sample"], device: str = "cpu"
) -> Outcome:
    """Runs one contestant once, on the world that `folder` holds; call it in a fresh process."""
    contestant, world = CONTESTANTS[name], load_world(folder)
    contestant.device = torch.device(device)
    served = np.arange(len(world.queries))
    if contestant.sample_only:
        served, world = sample, world.take(sample)
    tiny = contestant.prepare(world.part(*TINY), folder)
    output, figures = measured(contestant.prepare(world, folder), tiny)
    answer = contestant.answer(world, output)
    if answer is not None:
        answer = Answer(served[answer.numbers], answer.rows, answer.claimed, answer.scopes)
    return Outcome(figures, contestant.parts(output), answer)
