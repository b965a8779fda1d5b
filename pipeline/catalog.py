"""`cir data from-catalog`: photos and a CSV of attributes into a dataset folder."""

from pathlib import Path

from cir import arguments
from cir.config import CatalogConfig
from cir.machine.workers import pick_workers
from cir.sources.catalog.column_guess import AskedColumns
from cir.sources.catalog.dataset import make_catalog
from pipeline.command.claims import claims_outputs
from pipeline.screen import catalog_tables, console


@claims_outputs
def run(config: CatalogConfig) -> Path:
    """Makes the dataset folder and says what it holds and what was left out."""
    arguments.instance("config", config, CatalogConfig)
    summary = make_catalog(
        config.out,
        images=config.images,
        attributes=config.attributes,
        columns=AskedColumns(
            id=config.id_column,
            category=config.category_column,
            name=config.name_column,
            attributes=config.attribute_columns or None,
            split=config.split_column,
        ),
        delimiter=config.delimiter,
        encoding=config.encoding,
        queries_per_photo=config.queries_per_photo,
        min_category=config.min_category,
        link=config.link,
        seed=config.seed,
        limit=config.limit,
        workers=pick_workers(config.workers),
        progress=console.RichProgress(),
    )
    catalog_tables.show_columns(config.attributes, summary)
    catalog_tables.show(config.out, summary)
    return config.out
