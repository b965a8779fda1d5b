"""Mines in processes that a launcher started.

torchrun -m tests.support.launched DATASET EMBEDDINGS FOLDER
"""

import sys
from pathlib import Path
from typing import Any, Final

from cir.config import MineConfig
from cir.machine.processes import together
from pipeline.mine import run

ASKED: Final[dict[str, dict[str, Any]]] = {
    "random": {"strategy": "random"},
    "hard": {"strategy": "hard", "sampling": "random", "on_starved": "random"},
    "semi-hard": {"strategy": "semi-hard", "sampling": "softmax", "temperature": 0.2},
    "category-aware": {"strategy": "category-aware", "margin": 0.1, "num_negatives": 7},
    "adaptive": {"strategy": "adaptive", "drop_window": 9, "sampling": "random"},
    "filters": {
        "duplicate_threshold": 0.8,
        "max_target_similarity": 0.3,
        "exclude_siblings": True,
        "relative_margin": 0.1,
        "max_similarity": 0.5,
        "range_min": 1,
        "range_max": 20,
        "on_starved": "drop",
    },
}
"""Options by the name of the file that is mined with them."""


def config(name: str, dataset: Path, embeddings: Path, folder: Path) -> MineConfig:
    out = folder / f"{name}.parquet"
    return MineConfig(
        dataset=dataset,
        embeddings=embeddings,
        out=out,
        device="cpu",
        **{"margin": 0.5} | ASKED[name],
    )


if __name__ == "__main__":
    with together() as processes, processes.fail_together():
        for asked in ASKED:
            run(config(asked, *map(Path, sys.argv[1:])), processes)
