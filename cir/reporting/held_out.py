"""The queries of a run that chose its best epoch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cir.artefacts.store import Embeddings
from cir.artefacts.trained import read_trained
from cir.data.dataset import Dataset
from cir.data.queries import Query
from cir.errors import DatasetError
from cir.mining.manifest import usable_queries
from cir.names import TRAINED_FILE
from cir.training.train_data import SPLIT, dev_cut


def held_out(
    run: Path, config: Mapping[str, Any], dataset: Dataset, embeddings: Embeddings
) -> list[Query]:
    """The dev queries of a run, which it did not train on.

    They are those of the references that the run's record names, whatever the dataset has grown by
    since; of a run without a record, those that its settings cut off.

    Args:
        run: The run folder.
        config: Its settings.
        dataset: What it was trained on.
        embeddings: The store it was trained on.

    Raises:
        DatasetError: the dataset holds none of them.
        CheckpointError: the record is damaged.
    """
    record = read_trained(run / TRAINED_FILE)
    if record is None:
        return dev_cut(dataset, embeddings, config["dev_fraction"], config["seed"])[1]
    known, _ = usable_queries(dataset.queries(SPLIT), embeddings)
    dev = [query for query in known if query.reference_id in record.dev_references]
    if not dev:
        raise DatasetError(
            f"{dataset.root} holds none of the queries that {run} held out of its training: pass "
            f"the dataset it was trained on"
        )
    return dev
