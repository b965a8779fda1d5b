"""`cir data from-folder`: a folder of photos into a dataset folder, a gallery to search in."""

from pathlib import Path

from cir import arguments
from cir.config import FolderConfig
from cir.sources.catalog import make_gallery
from cir.workers import pick_workers
from pipeline import catalog_tables, console
from pipeline.claims import claims_outputs


@claims_outputs
def run(config: FolderConfig) -> Path:
    """Makes the dataset folder and says what it holds and what was left out."""
    arguments.instance("config", config, FolderConfig)
    summary = make_gallery(
        config.out,
        photos=config.photos,
        link=config.link,
        seed=config.seed,
        limit=config.limit,
        workers=pick_workers(config.workers),
        progress=console.RichProgress(),
    )
    catalog_tables.show(config.out, summary)
    console.note(f"A gallery to search in, without captions; next: cir embed {config.out}")
    return config.out
