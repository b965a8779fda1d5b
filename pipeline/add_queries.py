"""`cir data add-queries`: a dataset with worded pairs as further queries to train on."""

from pathlib import Path

from cir import arguments
from cir.artefacts.pairs import read_pairs
from cir.config import AddQueriesConfig
from cir.data.dataset import Dataset
from cir.data.pairs import by_reason
from cir.names import ADDED_FILE
from cir.sources.added_queries import PairsOrigin, add_queries
from pipeline.command.claims import claims_outputs
from pipeline.screen import console


@claims_outputs
def run(config: AddQueriesConfig) -> Path:
    """Makes the dataset folder and says what was added and what was left out."""
    arguments.instance("config", config, AddQueriesConfig)
    held = read_pairs(config.pairs)
    made = add_queries(
        Dataset(config.dataset),
        held.pairs,
        config.out,
        origin=PairsOrigin(config.pairs, held.sha256, held.metadata),
        link=config.link,
    )
    console.left_out(by_reason(made.left_out))
    each = ", ".join(f"{count:,} {category}" for category, count in made.by_category.items())
    console.note(
        f"{config.out}: {sum(made.by_category.values()):,} queries added to the training split "
        f"({each}), listed in {ADDED_FILE}; embed it anew with cir embed, for the new captions"
    )
    return config.out
