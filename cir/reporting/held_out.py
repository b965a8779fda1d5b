"""The queries of a run that chose its best epoch."""

from collections.abc import Mapping
from typing import Any

from cir.artefacts.store import Embeddings
from cir.data.dataset import Dataset, hold_out
from cir.data.queries import Query
from cir.mining.manifest import usable_queries
from cir.training.train_data import SPLIT


def held_out(config: Mapping[str, Any], dataset: Dataset, embeddings: Embeddings) -> list[Query]:
    """The dev queries of a run, which it did not train on.

    Args:
        config: The run's settings.
        dataset: What it was trained on.
        embeddings: The store it was trained on.
    """
    known, _ = usable_queries(dataset.queries(SPLIT), embeddings)
    _, dev = hold_out(known, config["dev_fraction"], config["seed"])
    return dev
