"""`cir demo`: the whole pipeline on synthetic garments, ending in an illustrated report.

Each step leaves one artefact in the demo's folder. A demo that was killed goes on where it stopped:
an artefact that is there is whole, since each is moved into place when it is finished, and it is of
this demo, since `demo.json` says what the folder is made with.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from cir import __version__, arguments
from cir.artefacts.manifest import Manifest, read_manifest, write_manifest
from cir.artefacts.store import Embeddings, read_embeddings
from cir.config import (
    PREPROCESS,
    TINY,
    DemoConfig,
    EmbedConfig,
    MiningOptions,
    SynthConfig,
    TrainConfig,
)
from cir.data.captions import joined
from cir.data.dataset import Dataset
from cir.disk.files import folder_written_aside, read_json, write_json
from cir.encoding.job.dataset_embedding import embed_dataset
from cir.encoding.loading import load_encoder
from cir.encoding.tuned import as_tuned
from cir.errors import UsageError
from cir.evaluation.protocol import Protocol
from cir.evaluation.recall import Evaluation, evaluate
from cir.machine.runtime import pick_device
from cir.machine.workers import pick_workers
from cir.mining.machine import Machine
from cir.mining.manifest import ManifestRecord, mine_manifest, usable_queries
from cir.models.combiner import SumCombiner
from cir.models.composer import load_composer
from cir.models.composition import baseline, composed_queries
from cir.names import (
    DEMO_DATASET,
    DEMO_EMBEDDINGS,
    DEMO_FILE,
    DEMO_MANIFEST,
    DEMO_NAMES,
    DEMO_RUN,
    REPORT_FILE,
    RUN_FILE,
)
from cir.reporting.pages import percents
from cir.reporting.report import write_report
from cir.sources.synthetic.dataset import draw_dataset
from cir.training.train import train
from cir.types import Split
from pipeline.command.claims import claims_outputs
from pipeline.command.flags import command
from pipeline.screen import console

_QUERY: Final = "sum"
"""What negatives are mined for before there is a combiner."""
_TRAIN: Final[Split] = "train"
_VAL: Final[Split] = "val"
_SIZE: Final = 128
"""Height and width of a drawn image in pixels."""
_BATCH: Final = 64
"""Queries a step: the demo's few queries make enough steps only in small batches."""


@dataclass(frozen=True)
class _Folder:
    """Where each step leaves its artefact."""

    root: Path

    @property
    def settings(self) -> Path:
        return self.root / DEMO_FILE

    @property
    def dataset(self) -> Path:
        return self.root / DEMO_DATASET

    @property
    def embeddings(self) -> Path:
        return self.root / DEMO_EMBEDDINGS

    @property
    def manifest(self) -> Path:
        return self.root / DEMO_MANIFEST

    @property
    def run(self) -> Path:
        return self.root / DEMO_RUN

    @property
    def report(self) -> Path:
        return self.root / REPORT_FILE


@claims_outputs
def run(config: DemoConfig) -> Path:
    """Runs every step that is not done yet; the path of the report."""
    arguments.instance("config", config, DemoConfig)
    folder, device = _Folder(config.out), pick_device("auto")
    _prepare(folder, config)
    dataset = _draw(folder, config)
    embeddings = _embed(folder, dataset, device)
    manifest = _mine(folder, config, dataset, embeddings, device)
    _train(folder, config, dataset, embeddings, manifest)
    judged = _evaluate(folder, dataset, embeddings, device)
    console.note("6/6 write the report")
    write_report(
        folder.report,
        folder.run,
        dataset,
        embeddings,
        title="cir demo: synthetic garments",
        evaluation=judged,
        command=command(DemoConfig, config.to_json()),
    )
    console.note(f"report with pictures: {folder.report}")
    for line in _next_commands(folder):
        console.note(line)
    return folder.report


def _next_commands(folder: _Folder) -> Iterator[str]:
    """What to try now."""
    yield ""
    yield "Next:"
    yield (
        "  your own photos   cir data from-catalog `images=PHOTOS` `attributes='products.csv'` "
        "`out='data/shop'`"
    )
    yield f"  search            cir search {folder.run} `text='a red dress with long sleeves'`"
    yield f"  serve the page    cir serve {folder.run}"


def _prepare(folder: _Folder, config: DemoConfig) -> None:
    """Resumes a demo of the same settings; replaces another only with `overwrite`."""
    settings = _settings(config)
    if not config.overwrite and folder.settings.exists():
        _require_same(folder, settings)
        return
    if not config.overwrite and folder.root.is_dir() and any(folder.root.iterdir()):
        raise UsageError(
            f"{folder.settings} is missing, so nobody can tell what the demo in {folder.root} was "
            f"made with: pass `overwrite=True` to replace it, or another `out`"
        )
    with folder_written_aside(folder.root, "demo", DEMO_NAMES) as aside:
        write_json(aside / DEMO_FILE, settings)


def _settings(config: DemoConfig) -> dict[str, Any]:
    """What decides every artefact."""
    values = {k: v for k, v in config.to_json().items() if k not in ("out", "overwrite")}
    return {"cir_version": __version__, **values}


def _require_same(folder: _Folder, settings: dict[str, Any]) -> None:
    earlier = read_json(folder.settings, UsageError)
    differing = [f"{k} {earlier.get(k)}" for k in settings if earlier.get(k) != settings[k]]
    if differing:
        raise UsageError(
            f"{folder.root} holds a demo made with {', '.join(differing)}: pass "
            f"`overwrite=True` to replace it, or another `out`"
        )


def _draw(folder: _Folder, config: DemoConfig) -> Dataset:
    """Step one: garments in FashionIQ's proportions of categories."""
    if not _is_done(folder.dataset, "1/6 draw garments"):
        draw_dataset(
            folder.dataset,
            _counts(config.images),
            size=_SIZE,
            seed=config.seed,
            workers=pick_workers(None),
            progress=console.RichProgress(),
        )
    return Dataset(folder.dataset)


def _counts(images: int) -> dict[str, int]:
    """Images of each category, in the proportions of the full size, `images` together."""
    full = {name: getattr(SynthConfig, name) for name in ("dress", "shirt", "toptee")}
    ends = [round(images * end / sum(full.values())) for end in accumulate(full.values())]
    return dict(zip(full, np.diff([0, *ends]).tolist(), strict=True))


def _embed(folder: _Folder, dataset: Dataset, device: torch.device) -> Embeddings:
    """Step two: every image and caption, by the bundled encoder."""
    if not _is_done(folder.embeddings, f"2/6 embed images and captions with {TINY}"):
        defaults = EmbedConfig()
        embed_dataset(
            dataset,
            load_encoder(
                TINY,
                pretrained=None,
                weights=None,
                preprocess=PREPROCESS,
                device=device,
            ),
            folder.embeddings,
            batch_size=defaults.batch_size,
            workers=pick_workers(None),
            on_error=defaults.on_error,
            progress=console.RichProgress(),
        )
    return read_embeddings(folder.embeddings)


def _mine(
    folder: _Folder,
    config: DemoConfig,
    dataset: Dataset,
    embeddings: Embeddings,
    device: torch.device,
) -> Manifest:
    """Step three: semi-hard negatives of the plain sum."""
    if not _is_done(folder.manifest, "3/6 mine semi-hard negatives"):
        queries, _ = usable_queries(dataset.queries(_TRAIN), embeddings)
        texts = [joined(query.captions) for query in queries]
        mined = mine_manifest(
            queries,
            embeddings,
            dataset.galleries(_TRAIN),
            composed_queries(queries, texts, embeddings, baseline(_QUERY), device),
            # What a pilot finds best on these garments, without its minute.
            MiningOptions(strategy="semi-hard", sampling="random", seed=config.seed),
            ManifestRecord(_QUERY, _TRAIN),
            Machine(device, progress=console.RichProgress()),
        )
        write_manifest(mined, folder.manifest)
    return read_manifest(folder.manifest)


def _train(
    folder: _Folder,
    config: DemoConfig,
    dataset: Dataset,
    embeddings: Embeddings,
    manifest: Manifest,
) -> None:
    """Step four: a run of the defaults, mining again after each epoch; a killed one is resumed."""
    console.note(
        f"4/6 train combiner and text tower, {config.epochs} epochs, mining again after each"
    )
    settings = TrainConfig(
        manifest=folder.manifest,
        dataset=folder.dataset,
        embeddings=folder.embeddings,
        out=folder.run,
        resume=(folder.run / RUN_FILE).is_file(),
        epochs=config.epochs,
        batch_size=_BATCH,
        seed=config.seed,
    )
    train(settings, dataset, embeddings, manifest, progress=console.RichProgress())


def _evaluate(
    folder: _Folder, dataset: Dataset, embeddings: Embeddings, device: torch.device
) -> list[Evaluation]:
    """Step five: queries of the val split, which nothing has seen, without and with training."""
    console.note("5/6 evaluate on queries that nothing has seen")
    queries, galleries = dataset.queries(_VAL), dataset.galleries(_VAL)
    trained = load_composer(folder.run)
    tuned = as_tuned(
        embeddings,
        trained.checkpoint,
        dataset,
        queries,
        chain(*galleries.values()),
        device=device,
        workers=pick_workers(None),
        progress=console.RichProgress(),
    )
    judged = [
        evaluate(queries, galleries, vectors, combiner, Protocol(_VAL), query=name, device=device)
        for name, vectors, combiner in (
            ("plain sum", embeddings, SumCombiner()),
            ("trained combiner", tuned, trained.combiner),
        )
    ]
    _print(judged)
    return judged


def _is_done(artefact: Path, step: str) -> bool:
    """Prints the step; whether an earlier demo has left its artefact."""
    done = artefact.exists()
    console.note(f"{step}: {artefact} is there" if done else step)
    return done


def _print(judged: list[Evaluation]) -> None:
    before, after, chance = (
        figures["R@1"]
        for figures in (*(each.figures() for each in judged), judged[0].chance_figures())
    )
    console.note(
        f"The first photo found is a right one for {after:.1f} % of the queries; before training "
        f"for {before:.1f} %, by chance for {chance:.1f} %."
    )
    console.table(
        f"Recall in percent: {judged[0].title}",
        ("query", *judged[0].figures()),
        [
            *((e.query, *percents(e.figures())) for e in judged),
            ("chance", *percents(judged[0].chance_figures())),
        ],
    )
