"""What the next epoch trains on: a manifest mined with the current model, or an online search.

`Remining.is_due` says whether to mine after an epoch, `mine` does it, and `sources` gives the steps
of the next epoch their queries and candidates.
"""

import dataclasses
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32
from torch import nn

from cir.artefacts.manifest import Manifest, read_manifest
from cir.config import SEEDS, MiningOptions, TrainConfig
from cir.data.captions import joined
from cir.errors import ManifestError
from cir.mining.exclusions.excluded import Exclusions
from cir.mining.machine import Machine
from cir.mining.manifest import (
    ManifestRecord,
    PreparedMining,
    mine_manifest,
    prepare_mining,
)
from cir.mining.online import OnlineNegatives
from cir.models.composition import composed_queries
from cir.models.trust import trust
from cir.spellings import candidates, curriculum, loss_weights
from cir.training import run_folder
from cir.training.batches import TrainingRows, training_rows
from cir.training.candidates import (
    Bank,
    CandidateSources,
    NegativeSource,
    manifest_negatives,
    online_negatives,
)
from cir.training.guide import Guide
from cir.training.train_data import SPLIT, TrainSet
from cir.training.vectors import CurrentVectors


class Remining:
    """The negatives of a run: those it was given, and those mined or found with its model."""

    def __init__(
        self,
        config: TrainConfig,
        data: TrainSet,
        vectors: CurrentVectors,
        machine: Machine,
    ) -> None:
        """Begins with the given manifest.

        Args:
            config: Says whether and how to mine again.
            data: The queries, the galleries and the given manifest.
            vectors: The vectors to mine among.
            machine: How mining runs; queries are composed on its device too.
        """
        self.manifest = data.manifest
        """The queries of the next epoch, with their negatives."""
        self._config = config
        self._data = data
        self._vectors = vectors
        self._machine = machine
        self._device, self._processes = machine.device, machine.processes
        self._prepared: PreparedMining | None = None

    def restore(self, run: Path, epoch: int) -> None:
        """Goes on with the manifest that a run mined last, after `epoch` or before."""
        self.manifest = self._processes.broadcast_from_main(lambda: self._latest(run, epoch))

    def is_due(self, epoch: int) -> bool:
        """Whether to mine after an epoch: after each, or where a stage of the curriculum begins."""
        if self._online:
            return False
        new_stage = self._options(epoch).strategy != self.manifest.metadata.strategy
        return (epoch > 0 and self._config.remine) or new_stage

    def mine(self, epoch: int, combiner: nn.Module, checkpoint_sha256: str) -> None:
        """Mines the manifest of the next epoch.

        Args:
            epoch: The epoch that has ended.
            combiner: Composes the queries.
            checkpoint_sha256: The checkpoint that holds it, for the record.

        Raises:
            ManifestError: every query is dropped as starved.
        """
        vectors, data = self._vectors.now, self._data
        mined = mine_manifest(
            data.queries,
            vectors,
            data.galleries,
            self._composed_queries(combiner),
            self._options(epoch),
            ManifestRecord("combiner", SPLIT, epoch, checkpoint_sha256),
            self._machine,
            self._prepare(),
        )
        if not len(mined):
            raise ManifestError(
                f"mining after epoch {epoch} dropped every query as starved: mine the first "
                f"manifest with `on_starved='nearest'` or `on_starved='random'`, or pass "
                f"`remine=False`"
            )
        metadata = dataclasses.replace(mined.metadata, curriculum=self._config.curriculum)
        self.manifest = dataclasses.replace(mined, metadata=metadata)

    def sources(self) -> CandidateSources:
        """The queries of the next epoch, and the candidates that they are trained against."""
        rows = training_rows(
            self.manifest, self._vectors.store, self._data.queries, self._excluded_of_store()
        )
        return CandidateSources(
            rows,
            self._online_negatives(rows) if self._online else manifest_negatives,
            self._bank() if self._banked else None,
            self._data.mining.duplicate_threshold,
            self.trust(),
            self._guide,
        )

    def trust(self) -> Float32[np.ndarray, " queries"] | None:
        """How far each pair of the manifest is trusted; None where all count the same.

        The first epoch trusts all, for the given manifest knows nothing of the model.
        """
        if self._config.weighting != "trust" or self.manifest.metadata.epoch == 0:
            return None
        sizes = {category: len(ids) for category, ids in self._data.galleries.items()}
        of_queries = np.array([sizes[category] for category in self.manifest.categories])
        return trust(self.manifest.target_ranks, of_queries)

    def _latest(self, run: Path, epoch: int) -> Manifest:
        file = run_folder.latest_manifest(run, epoch)
        return self._data.manifest if file is None else read_manifest(file)

    @property
    def _online(self) -> bool:
        return self._config.online_top_k is not None

    @property
    def _banked(self) -> bool:
        contrasted = "contrastive" in loss_weights(self._config.loss)
        return contrasted and "bank" in candidates(self._config.contrast)

    def _options(self, epoch: int) -> MiningOptions:
        """How to mine after an epoch: as the given manifest was, or by the curriculum.

        Random draws are drawn anew: those of one seed are the same in every epoch, and a query
        would meet no other negatives.
        """
        mining = self._data.mining
        options = dataclasses.replace(mining, seed=(mining.seed + epoch) % SEEDS)
        if self._config.curriculum is None:
            return options
        stages = curriculum(self._config.curriculum)
        return dataclasses.replace(options, strategy=stages.strategy(epoch + 1))

    def _composed_queries(self, combiner: nn.Module) -> Float[np.ndarray, "queries dim"]:
        """Composed in the main process alone: processors may differ in the last bits."""
        queries = self._data.queries
        texts = [joined(query.captions) for query in queries]
        return self._processes.broadcast_from_main(
            lambda: composed_queries(queries, texts, self._vectors.now, combiner, self._device)
        )

    def _prepare(self) -> PreparedMining:
        """Prepares mining once, and where epochs move the vectors of images for each mining."""
        if self._prepared is None or self._vectors.images_move:
            self._prepared = prepare_mining(
                self._data.queries,
                self._vectors.now,
                self._data.galleries,
                self._data.mining,
                self._machine,
                excluded=self._vectors.excluded,
            )
        return self._prepared

    def _excluded_of_store(self) -> Exclusions:
        """The exclusions of each training query as rows of the store's images."""
        images = self._vectors.now.images
        return self._vectors.excluded.in_gallery(self._vectors.store.images.rows(images.keys))

    def _online_negatives(self, rows: TrainingRows) -> NegativeSource:
        """A search among the current vectors of the galleries."""
        images = self._vectors.now.images
        in_galleries = set().union(*self._data.galleries.values())
        ids = [image_id for image_id in images.keys if image_id in in_galleries]
        gallery = OnlineNegatives(
            images.take(ids),
            self._vectors.store.images.rows(ids),
            self._config.online_top_k or 0,
            self._device,
        )
        return online_negatives(gallery, rows)

    @cached_property
    def _guide(self) -> Guide | None:
        """The store's own vectors, where they are to mask candidates."""
        threshold = self._config.guide_threshold
        if threshold is None:
            return None
        return Guide(self._vectors.store.images.vectors, threshold, self._device)

    def _bank(self) -> Bank:
        """Every target that is trained on, with its current vector."""
        ids = sorted({query.target_id for query in self._data.queries})
        return Bank(
            self._vectors.now.images.take(ids), self._vectors.store.images.rows(ids), self._device
        )
