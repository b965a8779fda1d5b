"""`cir data merge`: several datasets into one dataset folder, or parts into a store."""

from pathlib import Path

from cir import arguments
from cir.artefacts.merged_parts import merge_parts
from cir.config import MergeConfig
from cir.data.dataset import Dataset
from cir.sources.merged import merge_datasets
from pipeline.command.claims import claims_outputs
from pipeline.screen import console


@claims_outputs
def run(config: MergeConfig) -> Path:
    """Makes the dataset folder and says what each dataset gave; or makes the store of parts."""
    arguments.instance("config", config, MergeConfig)
    if config.makes_store:
        return _merge_parts(config)
    merged = merge_datasets(
        [Dataset(Path(folder)) for folder in config.datasets],
        config.out,
        prefixes=config.prefixes,
        link=config.link,
    )
    for part in merged:
        lacking = f", {part.without_file:,} of them without a file" if part.without_file else ""
        ids = f", ids beginning with {part.prefix!r}" if part.prefix else ""
        console.note(
            f"{part.dataset}: {part.photos:,} photos{lacking}, {part.queries:,} queries{ids}"
        )
    console.note(
        f"{config.out}: {sum(part.photos for part in merged):,} photos, "
        f"{sum(part.queries for part in merged):,} queries; splits are as they were: cir data "
        f"check {config.out} counts copies, which may stand in several"
    )
    return config.out


def _merge_parts(config: MergeConfig) -> Path:
    done = merge_parts([Path(folder) for folder in config.datasets], config.out)
    console.note(
        f"{config.out}: {done.images:,} images and {done.captions:,} captions of {done.parts:,} "
        f"parts; cir embed with `out={config.out}` encodes what they lack"
    )
    return config.out
