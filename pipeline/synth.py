"""`cir data synth`: draws a dataset folder of synthetic garments."""

from collections.abc import Sequence
from pathlib import Path

from cir import arguments
from cir.config import SynthConfig
from cir.machine.workers import pick_workers
from cir.sources.annotations import CategorySplitCount
from cir.sources.synthetic.dataset import draw_dataset
from pipeline.command.claims import claims_outputs
from pipeline.screen import console


@claims_outputs
def run(config: SynthConfig) -> Path:
    """Draws the dataset folder and says what it holds."""
    arguments.instance("config", config, SynthConfig)
    splits = draw_dataset(
        config.out,
        {"dress": config.dress, "shirt": config.shirt, "toptee": config.toptee},
        size=config.size,
        seed=config.seed,
        workers=pick_workers(config.workers),
        progress=console.RichProgress(),
    )
    _show(config, splits)
    return config.out


def _show(config: SynthConfig, splits: Sequence[CategorySplitCount]) -> None:
    console.table(
        f"Dataset {config.out}",
        ("category", "split", "images", "queries", "targets a query"),
        [
            (c.category, c.split, f"{c.images:,}", f"{c.queries:,}", f"{c.targets:.2f}")
            for c in splits
        ],
    )
