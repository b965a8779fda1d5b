"""`cir pretrain`: trains cir-tiny, the bundled encoder, and measures what it finds by title."""

import time
from collections.abc import Iterable
from pathlib import Path

from cir import arguments
from cir.config import TINY, PretrainConfig
from cir.data.dataset import Dataset
from cir.encoding.encoder import Encoder
from cir.encoding.loading import load_encoder, untrained_encoder
from cir.encoding.weights.colours import OPENAI_COLOURS
from cir.errors import DatasetError
from cir.machine.runtime import pick_device, seed_all
from cir.machine.workers import pick_workers
from cir.pretraining.corpus import Corpus
from cir.pretraining.photos import read_squares
from cir.pretraining.pretrain import PretrainingSchedule, pretrain, save_half
from cir.pretraining.title_recall import TitleRecall, title_recall
from cir.sources.annotations import PhotoRecord, read_records
from cir.types import Split
from pipeline.command.claims import claims_outputs
from pipeline.screen import console

_PREPROCESS = "targetpad"
_HELD_OUT: tuple[Split, ...] = ("val", "test")


@claims_outputs
def run(config: PretrainConfig) -> Path:
    """Trains, saving the weights after every epoch; the path of the weight file."""
    arguments.instance("config", config, PretrainConfig)
    device = pick_device(config.device)
    seed_all(config.seed)
    measurable = _is_measurable(config)
    encoder = untrained_encoder(TINY, preprocess=_PREPROCESS, device=device)
    train(encoder, config)
    if not measurable:
        console.note(
            f"{config.catalog} holds out no photo with a title ({' or '.join(_HELD_OUT)}): what "
            f"the weights find is not measured"
        )
        return config.out
    written = load_encoder(
        TINY, pretrained=None, weights=config.out, preprocess=_PREPROCESS, device=device
    )
    _print(config.out, measure(written, config))
    return config.out


def train(encoder: Encoder, config: PretrainConfig) -> None:
    """Trains an encoder of any architecture, and writes its weights after each epoch."""
    started = time.perf_counter()
    files, corpus = _training_photos(config)
    photos = read_squares(
        files, encoder.image_size, pick_workers(config.workers), console.RichProgress()
    )
    count = sum(parameter.numel() for parameter in encoder.clip.parameters())
    console.note(f"{len(files):,} training photos, {count / 1e6:.1f} million parameters")
    progress = console.RichProgress()
    for epoch in pretrain(
        encoder, corpus, photos, _schedule(config), OPENAI_COLOURS, progress=progress
    ):
        save_half(encoder, config.out)
        minutes = (time.perf_counter() - started) / 60
        console.note(f"epoch {epoch.number}: loss {epoch.loss:.3f}, {minutes:.1f} minutes")


def _training_photos(config: PretrainConfig) -> tuple[list[Path], Corpus]:
    """The files of the training photos of all datasets, and what is known of them."""
    files: list[Path] = []
    records: list[PhotoRecord] = []
    for folder in (config.catalog, config.synthetic):
        if folder is not None:
            by_photo = read_records(folder, ("train",))
            _require_texts(folder, by_photo.values())
            dataset = Dataset(folder)
            files += [dataset.image_path(photo) for photo in by_photo]
            records += by_photo.values()
    return files, Corpus(records)


def _require_texts(folder: Path, records: Iterable[PhotoRecord]) -> None:
    """Raises DatasetError where nothing is known of the photos that a text could say."""
    if not any(record.title or record.attributes for record in records):
        raise DatasetError(
            f"{folder} knows neither titles nor attributes of its photos: expected a dataset that "
            f"cir data from-catalog made of a catalogue with a `name_column` or `attribute_columns`"
        )


def _schedule(config: PretrainConfig) -> PretrainingSchedule:
    return PretrainingSchedule(
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        seed=config.seed,
    )


def _is_measurable(config: PretrainConfig) -> bool:
    """Whether the catalogue holds out photos of which one has a title.

    Raises:
        DatasetError: the records are damaged, or name a photo that is not there.
    """
    records, dataset = read_records(config.catalog, ("train", *_HELD_OUT)), Dataset(config.catalog)
    held_out = {photo: record for photo, record in records.items() if record.split in _HELD_OUT}
    for photo in held_out:
        dataset.image_path(photo)
    return any(record.title for record in held_out.values())


def measure(encoder: Encoder, config: PretrainConfig) -> TitleRecall:
    """The recall of an encoder on the catalogue photos that were held out."""
    records, dataset = read_records(config.catalog, _HELD_OUT), Dataset(config.catalog)
    return title_recall(
        encoder,
        [dataset.image_path(photo) for photo in records],
        [record.title for record in records.values()],
        workers=pick_workers(config.workers),
        progress=console.RichProgress(),
    )


def _print(out: Path, measured: TitleRecall) -> None:
    console.table(
        f"{out}: a held-out photo found by its title, gallery {measured.gallery:,}, percent",
        ("", *(f"R@{k}" for k in measured.recall)),
        [
            (name, *(f"{value:.1f}" for value in recall.values()))
            for name, recall in ((TINY, measured.recall), ("chance", measured.chance))
        ],
    )
