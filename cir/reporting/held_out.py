"""The queries of a run that chose its best epoch."""

from collections.abc import Mapping
from typing import Any

from cir.artefacts.store import Embeddings
from cir.data.dataset import Dataset
from cir.data.queries import Query
from cir.training.train_data import dev_cut


def held_out(config: Mapping[str, Any], dataset: Dataset, embeddings: Embeddings) -> list[Query]:
    """The dev queries of a run, which it did not train on.

    Args:
        config: The run's settings.
        dataset: What it was trained on.
        embeddings: The store it was trained on.
    """
    return dev_cut(dataset, embeddings, config["dev_fraction"], config["seed"])[1]
