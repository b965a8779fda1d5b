"""`cir embed`: every image and caption of a dataset into an embedding store."""

from pathlib import Path

from cir import arguments
from cir.config import EmbedConfig
from cir.data.dataset import Dataset
from cir.data.image_files import outside_every_split
from cir.encoding.dataset_embedding import EmbedSummary, embed_dataset
from cir.encoding.encoder import Encoder, load_encoder
from cir.errors import some_of
from cir.runtime import pick_device
from cir.workers import pick_workers
from pipeline import console
from pipeline.claims import claims_outputs

_SHOWN = 10
"""Skipped images that are printed; the store lists them all."""


@claims_outputs
def run(config: EmbedConfig) -> Path:
    """Embeds a dataset and says what came of it; the path of the store."""
    arguments.instance("config", config, EmbedConfig)
    dataset = Dataset(config.dataset)
    encoder = load_encoder(
        config.model,
        pretrained=config.pretrained,
        weights=config.weights,
        preprocess=config.preprocess,
        device=pick_device(config.device),
        precision=config.precision,
    )
    done = embed_dataset(
        dataset,
        encoder,
        config.out,
        batch_size=config.batch_size,
        workers=pick_workers(config.workers),
        on_error=config.on_error,
        progress=console.RichProgress(),
    )
    _print(config.out, encoder, done)
    return config.out


def _print(out: Path, encoder: Encoder, done: EmbedSummary) -> None:
    where = encoder.provenance
    console.table(
        str(out),
        ("model", "device", "images", "captions", "dim", "images/s", "seconds"),
        [
            (
                *(f"{where.model} ({where.pretrained})", f"{encoder.device} {encoder.precision}"),
                *(f"{done.images:,}", f"{done.captions:,}", where.embed_dim),
                *(f"{done.images_per_second:,.0f}", f"{done.seconds:.1f}"),
            )
        ],
    )
    if done.resumed:
        console.note(f"{done.resumed:,} of the images were done by an earlier run")
    if done.unlisted:
        console.note(outside_every_split(done.unlisted))
    if done.cut:
        console.note(
            f"{len(done.cut):,} texts are longer than the encoder's context and were cut there: "
            f"{some_of([repr(text) for text in done.cut])}"
        )
    if done.skipped:
        _print_skipped(out, done)


def _print_skipped(out: Path, done: EmbedSummary) -> None:
    console.note(f"{len(done.skipped):,} images were skipped:")
    for image_id, reason in list(done.skipped.items())[:_SHOWN]:
        console.note(f"  {image_id}: {reason}")
    if len(done.skipped) > _SHOWN:
        console.note(f"  and {len(done.skipped) - _SHOWN:,} more: see /skipped in {out}")
