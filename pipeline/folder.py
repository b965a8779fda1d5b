"""`cir data from-folder`: a folder of photos into a dataset folder, a gallery to search in."""

from pathlib import Path

from cir import arguments
from cir.config import FolderConfig
from cir.machine.workers import pick_workers
from cir.sources.catalog.dataset import make_gallery
from pipeline.command.claims import claims_outputs
from pipeline.screen import catalog_tables, console


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
