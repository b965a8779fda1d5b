"""Whether a larger bundled encoder, or one trained for longer, pays.

    python -m tests.benchmarks.encoders --out runs/encoders [--only NAME ...] [--seeds 3]

Needs the photo catalogue, as `tests.benchmarks.study` does. Every row is an encoder trained from
scratch as `cir pretrain` trains cir-tiny, on the photos that the bundled ones were trained on and
on drawn garments; two rows are the bundled files themselves. Each then finds held-out photos by
their title, embeds the catalogue, and has the defaults of `cir train` train a combiner over its
frozen vectors. Encoders that are there are not trained again.

Prints a Markdown table: parameters in millions, the file's size, minutes of training (processor
time), photos a second of the image tower alone in one thread, and recalls in percent; those of the
trained combiner are the mean and the standard deviation over its seeds.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import open_clip
import torch

from cir.config import TINY, EmbedConfig, PretrainConfig, SynthConfig, TrainConfig
from cir.disk.files import write_json
from cir.encoding.clip.bundled import ASSETS, BUNDLED_FILES
from cir.encoding.encoder import Encoder
from cir.encoding.loading import load_encoder, untrained_encoder
from cir.machine.runtime import seed_all
from pipeline import embed, pretrain, synth
from tests.benchmarks.photos import prepared
from tests.benchmarks.study import COLUMNS, ROWS, SPLITS, Place, figures, judge, run, spread

CPU = torch.device("cpu")
PREPROCESS = "targetpad"
GARMENTS = {"dress": 1846, "shirt": 2207, "toptee": 1947, "seed": 7}
"""What `cir data synth` drew for the bundled encoder."""
FROZEN_DEFAULTS = next(row for row in ROWS if row.name == "the defaults, frozen")
BASELINE = "weighted-sum"
REPORTED = {f"{split} R@10": COLUMNS.index((split, "full", "R@10")) for split in SPLITS}
"""Positions in the study's figures."""
TIMED_PHOTOS = 64
"""A batch whose encoding is timed."""


@dataclass(frozen=True)
class Candidate:
    """An encoder and how long it is trained."""

    name: str
    epochs: int | None
    """None for a bundled file, which is there."""
    vision: Mapping[str, Any] = field(default_factory=dict)
    """What is other than in `cir-tiny.json`."""

    @property
    def model(self) -> str:
        """Its name among open_clip's models."""
        return f"{TINY}-{self.name.replace(' ', '-')}" if self.vision else TINY

    @property
    def folder(self) -> str:
        return self.name.replace(" ", "-")


CANDIDATES = (
    *(Candidate(tag, None) for tag in BUNDLED_FILES),
    *(Candidate(f"{epochs} epochs", epochs) for epochs in (15, 60)),
    *(
        Candidate(f"{name} {epochs} epochs", epochs, vision)
        for epochs in (15, 30)
        for name, vision in (("wider", {"width": 32}), ("finer", {"image_size": 160}))
    ),
)


@dataclass(frozen=True)
class Laboratory:
    """Where encoders are trained and judged, and on what."""

    out: Path
    catalog: Path
    seeds: int
    """Of the combiner that judges."""

    @cached_property
    def garments(self) -> Path:
        """The drawn garments, made where they are missing."""
        folder = self.out / "garments"
        if not folder.exists():
            synth.run(SynthConfig(out=folder, **GARMENTS))
        return folder

    def config(self, candidate: Candidate, out: Path) -> PretrainConfig:
        """How `cir pretrain` is asked for an encoder."""
        return PretrainConfig(
            catalog=self.catalog,
            synthetic=self.garments,
            out=out,
            epochs=candidate.epochs or PretrainConfig.epochs,
            device="cpu",
            workers=1,
        )


def main() -> None:
    """Trains and judges what is missing under --out and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="encoders of these names")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()

    wanted = [each for each in CANDIDATES if options.only is None or each.name in options.only]
    catalog, _ = prepared(options.out / "catalog")
    for line in table(Laboratory(options.out, catalog, options.seeds), wanted):
        print(line, flush=True)  # noqa: T201


def table(laboratory: Laboratory, candidates: list[Candidate]) -> Iterator[str]:
    """The rows of Markdown."""
    heads = ["million parameters", "MB", "minutes", "photos a second", "title R@1", "title R@10"]
    heads += [f"{query}: {name}" for query in ("weighted sum", "defaults") for name in REPORTED]
    yield f"| encoder | {' | '.join(heads)} |"
    yield "|---|" + "---:|" * len(heads)
    for candidate in candidates:
        yield f"| {candidate.name} | {' | '.join(measured(laboratory, candidate))} |"


def measured(laboratory: Laboratory, candidate: Candidate) -> list[str]:
    """The cells of a row."""
    folder = laboratory.out / candidate.folder
    weights = trained(laboratory, candidate, folder)
    encoder = load_encoder(
        candidate.model, pretrained=None, weights=weights, preprocess=PREPROCESS, device=CPU
    )
    by_title = folder / "titles.json"
    if not by_title.exists():
        found = pretrain.measure(encoder, laboratory.config(candidate, weights))
        write_json(by_title, found.recall)
    titles = json.loads(by_title.read_text(encoding="utf-8"))
    took = minutes_of(folder)
    plain = (
        sum(parameter.numel() for parameter in encoder.clip.parameters()) / 1e6,
        weights.stat().st_size / 1e6,
        json.loads(took.read_text(encoding="utf-8")) if took.exists() else float("nan"),
        photos_a_second(encoder),
        titles["1"],
        titles["10"],
    )
    cells = [f"{value:.4g}" for value in plain]
    return cells + recalls(laboratory, candidate, folder, weights)


def trained(laboratory: Laboratory, candidate: Candidate, folder: Path) -> Path:
    """The encoder's weight file."""
    if candidate.vision:
        describe(candidate, folder)
    if candidate.epochs is None:
        return BUNDLED_FILES[candidate.name]
    out = folder / "encoder.safetensors"
    if not minutes_of(folder).exists():
        config = laboratory.config(candidate, out)
        seed_all(config.seed)
        encoder = untrained_encoder(candidate.model, preprocess=PREPROCESS, device=CPU)
        folder.mkdir(parents=True, exist_ok=True)
        started = time.process_time()
        pretrain.train(encoder, config)
        write_json(minutes_of(folder), (time.process_time() - started) / 60)
    return out


def minutes_of(folder: Path) -> Path:
    """Where the training's minutes are, written when it has ended."""
    return folder / "minutes.json"


def describe(candidate: Candidate, folder: Path) -> None:
    """Makes open_clip know the architecture by its name."""
    known = json.loads((ASSETS / f"{TINY}.json").read_text(encoding="utf-8"))
    known["vision_cfg"] |= candidate.vision
    file = folder / f"{candidate.model}.json"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(file, known)
    open_clip.add_model_config(file)


def photos_a_second(encoder: Encoder) -> float:
    """Of the image tower in one thread, the median of five."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    size = encoder.image_size
    photos = torch.rand(TIMED_PHOTOS, 3, size, size)
    seconds = []
    with torch.inference_mode():
        for _ in range(6):
            started = time.perf_counter()
            encoder.encode_images(photos)
            seconds.append(time.perf_counter() - started)
    torch.set_num_threads(threads)
    return TIMED_PHOTOS / median(seconds[1:])


def recalls(laboratory: Laboratory, candidate: Candidate, folder: Path, weights: Path) -> list[str]:
    """What composed queries find: by the weighted sum, and by a combiner trained with defaults."""
    embeddings = folder / "embeddings.h5"
    if not embeddings.exists():
        embed.run(
            EmbedConfig(
                dataset=laboratory.catalog, out=embeddings, model=candidate.model, weights=weights
            )
        )
    place = Place(folder, laboratory.catalog, embeddings, TrainConfig.epochs, "cpu")
    judge(place, folder / BASELINE, query=BASELINE)
    for seed in range(laboratory.seeds):
        run(place, FROZEN_DEFAULTS, seed)
    trained_runs = [folder / FROZEN_DEFAULTS.folder / f"seed-{s}" for s in range(laboratory.seeds)]
    return [
        spread([figures(run_folder)[position] for run_folder in runs])
        for runs in ([folder / BASELINE], trained_runs)
        for position in REPORTED.values()
    ]


if __name__ == "__main__":
    main()
