"""The speed of training a combiner from precomputed vectors, against what bounds it.

    python -m tests.benchmarks.training --dataset DATASET --embeddings STORE --manifest MANIFEST

Times, in one process and one run, the median of `--repeats`:

* an epoch over every row of the manifest, against the forward and backward passes of the same
  batches alone, their vectors gathered beforehand: gathering, masking, clipping, the optimiser and
  the progress are what is added;
* what follows an epoch: evaluation of the val split, and mining again;
* where the store is of the bundled encoder, an epoch that tunes its text tower, as `cir train` does
  by default, and that tower's own passes, every text as far as the whole context;
* an update as CLIP4Cir makes it, each batch's photos and texts encoded again by a frozen RN50x4
  (random weights, pixels given for nothing), against the same update from the store.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from torch.nn import functional

from cir.artefacts.manifest import Manifest, read_manifest
from cir.artefacts.store import Embeddings, read_embeddings
from cir.config import TINY, MiningOptions, Precision, TrainConfig
from cir.data.captions import joined
from cir.data.dataset import Dataset
from cir.encoding.clip.bundled import BUNDLED_FILES
from cir.encoding.loading import untrained_encoder
from cir.evaluation.evaluator import Evaluator
from cir.evaluation.protocol import Protocol
from cir.evaluation.recall import recalls
from cir.machine.runtime import machine, pick_device, upload
from cir.mining.exclusions.rules import ExclusionRules, excluded_images
from cir.mining.machine import Machine
from cir.mining.manifest import ManifestRecord, mine_manifest, prepare_mining
from cir.models.composition import composed_queries
from cir.training.batches import Batch, draw_batches, training_rows
from cir.training.builders import build_accelerator, build_learner, build_model
from cir.training.candidates import Bank, CandidateSources, Negatives
from cir.training.epoch import StepPosition, train_epoch
from cir.training.features import FrozenTower, Towers
from cir.training.step import Learner

SPLIT = "train"


class World(NamedTuple):
    """What is trained on."""

    dataset: Dataset
    embeddings: Embeddings
    manifest: Manifest
    sources: CandidateSources
    towers: Towers
    device: torch.device

    def batches(self, epoch: int, size: int) -> list[Batch]:
        return draw_batches(self.sources.rows, batch_size=size, seed=0, epoch=epoch)


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--embeddings", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--combiner", default=TrainConfig().combiner)
    parser.add_argument("--sample", type=int, default=32, help="rows that RN50x4 encodes at once")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps")
    parser.add_argument("--precision", default="fp32", choices=get_args(Precision))
    options = parser.parse_args()

    device = pick_device(options.device)
    world = opened(options.dataset, options.embeddings, options.manifest, device)
    config = TrainConfig(
        combiner=options.combiner, precision=options.precision, tune="none", out=Path("unused")
    )
    learner, _ = built(world, config)
    alone, epochs = interleaved(world, learner, config, options.repeats)
    judge, mine = judging(world, learner), mining(world, learner)
    judged = [seconds(judge) for _ in range(options.repeats)]
    mined = [seconds(mine) for _ in range(options.repeats)]
    rows = len(world.sources.rows)
    report(f"{machine(device)}, {config.precision}")
    report(f"{rows:,} rows, {world.manifest.metadata.options['num_negatives']} negatives each")
    report(f"{config.combiner}, loss {config.loss}, batch {config.batch_size}")
    report("| | seconds | ratio |\n|---|---:|---:|")
    row("forward and backward alone", alone, alone)
    row("epoch", epochs, alone)
    row("evaluation of val", judged, epochs, "of an epoch")
    row("mining again", mined, epochs, "of an epoch")
    if world.embeddings.provenance.pretrained in BUNDLED_FILES:
        tower, tuned = tuned_epochs(world, replace(config, tune="text"), options.repeats)
        row("the text tower's passes over whole contexts", tower, alone)
        row("epoch, the text tower tuned", tuned, alone)
    encoded, stored = encoding_again(world, learner, options.sample, options.repeats)
    row(f"an update of {options.sample} rows from the store", stored, stored)
    row("the same, encoded again by RN50x4", encoded, stored)


def opened(dataset: Path, embeddings: Path, manifest: Path, device: torch.device) -> World:
    """Reads everything and looks every row up."""
    data, store, mined = Dataset(dataset), read_embeddings(embeddings), read_manifest(manifest)
    queries = data.queries(SPLIT)
    excluded = excluded_images(queries, store, ExclusionRules(0.99))
    rows = training_rows(mined, store, queries, excluded)
    targets = sorted(set(mined.target_ids))
    bank = Bank(store.images.take(targets), store.images.rows(targets), device)
    return World(
        data,
        store,
        mined,
        CandidateSources(rows, bank=bank),
        Towers(*(FrozenTower(t.vectors, device) for t in (store.images, store.captions))),
        device,
    )


def interleaved(
    world: World, learner: Learner, config: TrainConfig, repeats: int
) -> tuple[list[float], list[float]]:
    """Seconds of the passes alone and of whole epochs, in turn, after one of each unmeasured."""
    alone, epochs = [], []
    for epoch in range(repeats + 1):
        batches = world.batches(epoch, config.batch_size)
        alone.append(sum(passes(world, learner, batches)))
        epochs.append(seconds(lambda: train(world, learner, batches, epoch, repeats + 1)))  # noqa: B023
    return alone[1:], epochs[1:]


def built(world: World, config: TrainConfig) -> tuple[Learner, Towers]:
    """What a run of these settings trains, and the towers that its features come from."""
    accelerator = build_accelerator(config.out, world.device, config.precision)
    model = build_model(config, world.embeddings, world.device)
    learner = build_learner(config, model, accelerator)
    return learner, model.towers(world.embeddings, world.dataset, device=world.device, workers=0)


def tuned_epochs(
    world: World, config: TrainConfig, repeats: int
) -> tuple[list[float], list[float]]:
    """Seconds of the text tower's own passes and of whole epochs that tune it, in turn."""
    learner, towers = built(world, config)
    tuned = world._replace(towers=towers)
    encoder = untrained_encoder(TINY, preprocess="targetpad", device=world.device)
    tokens = encoder.tokenize(world.embeddings.captions.keys)

    def alone(batches: list[Batch]) -> None:
        for batch in batches:
            texts = tokens[torch.from_numpy(np.unique(batch.text))]
            encoder.encode_texts(texts.to(world.device)).sum().backward()

    tower, epochs = [], []
    for epoch in range(repeats + 1):
        batches = world.batches(epoch, config.batch_size)
        tower.append(seconds(lambda: alone(batches)))  # noqa: B023
        epochs.append(seconds(lambda: train(tuned, learner, batches, epoch, repeats + 1)))  # noqa: B023
    return tower[1:], epochs[1:]


def passes(world: World, learner: Learner, batches: list[Batch]) -> Iterator[float]:
    """Seconds of the forward and backward pass of each batch, everything else at hand."""
    image, text = next(world.towers.images.steps([None])), next(world.towers.texts.steps([None]))
    for batch in batches:
        reference, words = image(batch.reference), text(batch.text)
        target = functional.normalize(image(batch.target), dim=-1)
        negatives = functional.normalize(image(batch.negatives), dim=-1)
        present = upload(batch.present, world.device)
        against = Negatives(negatives, present, batch.negatives)
        candidates = learner._candidates(target, batch, batch, world.sources, image)
        learner.combiner.zero_grad()

        def work(
            reference: Any = reference,
            words: Any = words,
            target: Any = target,
            against: Any = against,
            candidates: Any = candidates,
        ) -> None:
            query = learner.combiner(reference, words)
            terms = learner.objective(query, target, against, candidates)
            weights = learner.objective.weights
            sum(weights[name] * term.mean for name, term in terms.items()).backward()

        yield seconds(work)


def train(world: World, learner: Learner, batches: list[Batch], epoch: int, epochs: int) -> None:
    """One epoch as `cir train` runs it."""
    position = StepPosition(epoch + 1, epochs)
    train_epoch(learner, world.towers, world.sources, batches, position)


def judging(world: World, learner: Learner) -> Callable[[], object]:
    """Judges the val split, looked up once, as that of dev is in a run."""
    queries, galleries = world.dataset.queries("val"), world.dataset.galleries("val")
    evaluator = Evaluator(
        queries, galleries, world.embeddings, [Protocol("val")], device=world.device
    )
    return lambda: recalls(evaluator.judge(world.embeddings, learner.combiner)[0], "combiner")


def mining(world: World, learner: Learner) -> Callable[[], object]:
    """Mines the manifest of the next epoch, from images that are the same after each."""
    queries, galleries = world.dataset.queries(SPLIT), world.dataset.galleries(SPLIT)
    options = MiningOptions(**world.manifest.metadata.options)
    machine = Machine(world.device)
    prepared = prepare_mining(queries, world.embeddings, galleries, options, machine)
    texts = [joined(query.captions) for query in queries]
    return lambda: mine_manifest(
        queries,
        world.embeddings,
        galleries,
        composed_queries(queries, texts, world.embeddings, learner.combiner, world.device),
        options,
        ManifestRecord("combiner", SPLIT, epoch=1),
        machine,
        prepared,
    )


def encoding_again(
    world: World, learner: Learner, sample: int, repeats: int
) -> tuple[list[float], list[float]]:
    """Seconds of an update whose batch a frozen RN50x4 encodes, and of one from the store."""
    encoder = untrained_encoder("RN50x4", preprocess="targetpad", device=world.device)
    batch = world.batches(0, len(world.sources.rows))[0].part(slice(0, sample))
    size = 288
    pixels = torch.rand(2 * sample, 3, size, size, device=world.device)
    texts = [world.embeddings.captions.keys[row] for row in batch.text]

    def encode() -> None:
        with torch.no_grad():
            encoder.encode_images(pixels)
            encoder.encode_texts(encoder.tokenize(texts).to(world.device))

    stored = [
        seconds(lambda: train(world, learner, [batch], 0, 1)) for _ in range(max(repeats, 5) + 1)
    ]
    encoded = [seconds(encode) for _ in range(min(repeats, 3))]
    update = median(stored[1:])
    return [update + each for each in encoded], stored[1:]


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call, until a GPU has done what it was given."""
    started = time.perf_counter()
    work()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def row(name: str, taken: list[float], base: list[float], of: str = "") -> None:
    """Prints a row: the median, and its ratio to the base's."""
    ratio = f"{median(taken) / median(base):.2f} {of}".strip()
    report(f"| {name} | {median(taken):.3f} | {ratio} |")


def report(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
