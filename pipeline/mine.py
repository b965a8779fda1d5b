"""`cir mine`: negatives for every query of a split into a manifest."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from cir import arguments
from cir.artefacts.manifest import Manifest, write_manifest
from cir.artefacts.manifest_metadata import Pilot
from cir.artefacts.pairs import require_unworded, write_pairs
from cir.artefacts.store import Embeddings
from cir.config import APPROXIMATE_INDEXES, MineConfig, MiningOptions
from cir.data.captions import joined, variants
from cir.data.dataset import Dataset
from cir.data.pairs import ProposedPair
from cir.data.queries import Query
from cir.encoding.tuned import as_tuned, require_images_of
from cir.errors import CheckpointError, DatasetError, ManifestError
from cir.machine.processes import ALONE, Processes
from cir.machine.runtime import pick_device
from cir.mining.advice import advise
from cir.mining.machine import Machine
from cir.mining.manifest import ManifestRecord, mine_manifest, usable_queries, why_none
from cir.mining.proposals import propose_pairs
from cir.models.composer import Composer, composer_of, find_checkpoint, untrained_composer
from cir.models.composition import composed_queries
from cir.progress import SILENT
from cir.training.pilot import WITHOUT_PILOT, SamplingPilot
from cir.training.train_data import SPLIT
from pipeline.command.claims import claims_outputs
from pipeline.command.stores import read_fresh
from pipeline.screen import console, mined_tables


@dataclass(frozen=True, eq=False)
class _Inputs:
    """What is mined, and with what."""

    dataset: Dataset
    queries: Sequence[Query]
    left_out: int
    """Queries of the split that lack an embedded image."""
    galleries: Mapping[str, Sequence[str]]
    embeddings: Embeddings
    composer: Composer
    vectors: Float[np.ndarray, "queries dim"]
    """The composed queries."""
    machine: Machine

    @property
    def skipped(self) -> int:
        """Images of the galleries that the store left out."""
        return len(set().union(*self.galleries.values()) & set(self.embeddings.skipped))


@claims_outputs
def run(config: MineConfig, processes: Processes = ALONE) -> Path:
    """Mines a split and says what came of it; the path of the manifest.

    Of several processes, each mines in its part of the gallery, and the main one writes and says.
    """
    arguments.instance("config", config, MineConfig)
    if config.propose:
        require_unworded(config.propose, field="propose")
    inputs = _open(config, processes)
    if config.advise:
        _advise(config, inputs)
        return config.embeddings
    pairs = _proposed(config, inputs)
    pilot = _pilot(config, inputs)
    started = time.perf_counter()
    manifest = _mine(config, inputs, pilot)
    seconds = time.perf_counter() - started
    if processes.main:
        write_manifest(manifest, config.out)
        if config.propose:
            write_pairs(pairs, config.propose, _origin(config, manifest))
        mined_tables.print_manifest(
            manifest,
            config,
            seconds,
            skipped=inputs.skipped,
            left_out=inputs.left_out,
            device=inputs.machine.device,
        )
        if config.propose:
            mined_tables.print_pairs(pairs, config)
    return config.out


def _open(config: MineConfig, processes: Processes) -> _Inputs:
    """Reads everything, cheapest first, and composes the queries."""
    dataset, device = Dataset(config.dataset), pick_device(config.device)
    every, galleries = dataset.queries(config.split), dataset.galleries(config.split)
    embeddings = read_fresh(
        config.embeddings, dataset, stale_ok=config.stale_ok, main=processes.main
    )
    composer = _composer(config, embeddings)
    queries, left_out = usable_queries(every, embeddings)
    if not queries:
        raise DatasetError(
            f"{config.dataset} has no query of split {config.split} whose photos were embedded: "
            f"{left_out:,} were left out; pass another `split`, or embed its photos"
        )
    texts = [joined(query.captions) for query in queries]
    if config.split == SPLIT:  # training on the manifest will want them all of this store
        embeddings.captions.rows([text for q in queries for text in variants(q.captions)])
    progress = console.RichProgress() if processes.main else SILENT
    # The images are the store's in any case; of a tuned text tower captions are encoded again,
    # by each process a part.
    embeddings = as_tuned(
        embeddings,
        composer.checkpoint,
        dataset,
        queries,
        (),
        texts_of=variants if _is_open(config) and not config.advise else _alone,
        device=device,
        workers=0,
        progress=progress,
        processes=processes,
    )
    # Composed once: processors may differ in the last bits of a combiner's products.
    vectors = processes.broadcast_from_main(
        lambda: composed_queries(queries, texts, embeddings, composer.combiner, device)
    )
    return _Inputs(
        dataset,
        queries,
        left_out,
        galleries,
        embeddings,
        composer,
        vectors,
        Machine(device, config.block_size, progress=progress, processes=processes),
    )


def _alone(captions: Sequence[str]) -> tuple[str]:
    """The one text that a query is composed of; a pilot trains on all `variants`."""
    return (joined(captions),)


def _mine(config: MineConfig, inputs: _Inputs, pilot: Pilot | None) -> Manifest:
    """The manifest, of one query at least."""
    checkpoint = inputs.composer.checkpoint
    record = ManifestRecord(
        query=config.query,
        split=config.split,
        checkpoint_sha256=checkpoint.sha256 if checkpoint else None,
        text_share=config.text_share if config.query == "sum" else None,
        pilot=pilot,
        left_out=inputs.left_out,
    )
    manifest = mine_manifest(
        inputs.queries,
        inputs.embeddings,
        inputs.galleries,
        inputs.vectors,
        _options(config, pilot),
        record,
        inputs.machine,
    )
    _require_rows(manifest, config)
    return manifest


# --------------------------------------------------------------------- where in the band


def _pilot(config: MineConfig, inputs: _Inputs) -> Pilot | None:
    """Tries where to draw, in the main process; None where that is not open, or queries are few."""
    if not _is_open(config):
        return None
    pilot = SamplingPilot(
        inputs.dataset,
        inputs.embeddings,
        inputs.queries,
        inputs.galleries,
        inputs.composer.combiner,
        inputs.machine,
    )
    return inputs.machine.processes.broadcast_from_main(lambda: pilot.run(config.options()))


def _options(config: MineConfig, pilot: Pilot | None) -> MiningOptions:
    """How to mine: as was asked, with what the pilot found best."""
    options = config.options()
    if pilot is not None:
        best = pilot.best
        return replace(options, sampling=best.sampling, temperature=best.temperature)
    return replace(options, sampling=WITHOUT_PILOT) if _is_open(config) else options


def _is_open(config: MineConfig) -> bool:
    """Whether the place in the band is to be chosen.

    A band of any kind has no place to choose, an approximate index proposes the nearest alone, and
    a pilot trains on the split that training will.
    """
    settled = config.strategy == "random" or config.index in APPROXIMATE_INDEXES
    return config.sampling == "auto" and config.split == SPLIT and not settled


def _advise(config: MineConfig, inputs: _Inputs) -> None:
    """Prints what the store tells, and what that speaks for, in the main process."""
    if not inputs.machine.processes.main:
        return
    found = advise(
        inputs.queries,
        inputs.embeddings,
        inputs.galleries,
        inputs.vectors,
        config.options(),
        inputs.machine,
    )
    mined_tables.print_advice(found, config)


# --------------------------------------------------------------------- pairs to be labelled


def _proposed(config: MineConfig, inputs: _Inputs) -> list[ProposedPair]:
    """The pairs to propose, of which there is one at least; none where none were asked for."""
    if config.propose is None:
        return []
    pairs = propose_pairs(
        inputs.queries,
        inputs.embeddings,
        inputs.galleries,
        inputs.vectors,
        inputs.machine,
        count=config.propose_count,
        most_uses=config.propose_uses,
        margin=config.margin,
        duplicate_threshold=config.duplicate_threshold,
    )
    if not pairs:
        raise ManifestError(
            f"no query of {config.dataset} ({config.split}) has a wrong image of its category near "
            f"it: pass a wider `margin`, or no `propose`"
        )
    return pairs


def _origin(config: MineConfig, manifest: Manifest) -> dict[str, Any]:
    """What the pairs were mined from, and how they were chosen."""
    asked = {"propose_count": config.propose_count, "propose_uses": config.propose_uses}
    return {**asked, "mined": manifest.metadata.to_json()}


# --------------------------------------------------------------------- checks


def _composer(config: MineConfig, embeddings: Embeddings) -> Composer:
    """An untrained composer, or that of a checkpoint made for the store's encoder."""
    if config.checkpoint is None:
        return untrained_composer(config.query, config.text_share)
    checkpoint = find_checkpoint(config.checkpoint, "pass a store as `embeddings`")
    require_images_of(checkpoint, embeddings, CheckpointError)
    return composer_of(checkpoint)


def _require_rows(manifest: Manifest, config: MineConfig) -> None:
    if not len(manifest):
        counts = manifest.metadata.counts
        raise ManifestError(
            f"no query of {config.dataset} ({config.split}) has a negative: "
            f"{counts.dropped:,} were dropped, starved {counts.starved:,}; "
            f"{why_none(config.options())}"
        )
