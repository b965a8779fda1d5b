"""`cir data caption-pairs`: the attributes of a catalogue write the captions of pairs."""

from pathlib import Path

from cir import arguments
from cir.artefacts.pairs import read_pairs, require_unworded, write_pairs
from cir.config import CaptionPairsConfig
from cir.data.dataset import Dataset
from cir.data.pairs import by_reason
from cir.errors import DatasetError
from cir.sources.annotations import read_records
from cir.sources.catalog.pair_captions import caption_pairs
from pipeline.command.claims import claims_outputs
from pipeline.screen import console


@claims_outputs
def run(config: CaptionPairsConfig) -> Path:
    """Writes the worded pairs and says which were left out; the file's path."""
    arguments.instance("config", config, CaptionPairsConfig)
    require_unworded(config.out)
    held = read_pairs(config.pairs)
    records = read_records(Dataset(config.dataset).root, ("train",))
    worded = caption_pairs(held.pairs, records, seed=config.seed)
    left_out = by_reason(worded.left_out)
    console.left_out(left_out)
    if not worded.pairs:
        raise DatasetError(f"none of {len(held.pairs):,} pairs of {config.pairs} can be worded")
    origin = {"pairs_sha256": held.sha256, "seed": config.seed, "left_out": left_out}
    write_pairs(worded.pairs, config.out, {**held.metadata, "captions": origin})
    console.note(f"{config.out}: {len(worded.pairs):,} of {len(held.pairs):,} pairs, with captions")
    return config.out
