"""The vectors that the model gives now, and the exclusions that follow from them."""

import dataclasses
from collections.abc import Sequence

import torch

from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import VectorTable
from cir.data.captions import joined
from cir.data.dataset import Dataset
from cir.data.queries import Query
from cir.machine.processes import Processes
from cir.mining.exclusions.excluded import Exclusions
from cir.mining.exclusions.rules import ExclusionRules, excluded_images
from cir.progress import Progress
from cir.training.features import Towers
from cir.training.model import Model
from cir.training.train_data import TrainSet


class CurrentVectors:
    """The store's vectors, with those of tuned towers encoded again after every epoch.

    Exclusions depend on the vectors of images (near-duplicates of a target). They are found once,
    and again after each time that the image tower has moved those vectors.
    """

    def __init__(
        self,
        model: Model,
        data: TrainSet,
        dataset: Dataset,
        store: Embeddings,
        *,
        device: torch.device,
        workers: int,
        processes: Processes,
        progress: Progress,
    ) -> None:
        """Begins at the store's vectors.

        Args:
            model: Its tuned towers give the vectors.
            data: Names the images and captions that a run uses.
            dataset: Has the image files.
            store: The store that training began with.
            device: Where near-duplicates are looked for.
            workers: Processes that decode images.
            processes: Those that encode, and look for near-duplicates, a part each.
            progress: Shows images and captions per second.
        """
        self.store = store
        self.now = store
        self._model = model
        self._data = data
        self._dataset = dataset
        self._device = device
        self._workers = workers
        self._processes = processes
        self._progress = progress
        self._excluded: Exclusions | None = self._find_excluded()

    @property
    def images_move(self) -> bool:
        """Whether the vectors of images change from epoch to epoch."""
        return self._model.tunes_image

    @property
    def excluded(self) -> Exclusions:
        """For each training query, the rows of `now.images` that are no negatives of it."""
        if self._excluded is None:
            self._excluded = self._find_excluded()
        return self._excluded

    def towers(self) -> Towers:
        """The towers that give features by row of the store, as the steps of an epoch use them."""
        return self._model.towers(
            self.store, self._dataset, device=self._device, workers=self._workers
        )

    def encode_again(self, *, mined: bool) -> None:
        """Brings the vectors up to date with the tuned towers.

        Args:
            mined: Whether the captions of the training queries are needed, beside those of dev.
        """
        queries = [*(self._data.queries if mined else ()), *self._data.dev]
        self._move_to(
            self._model.encoded_again(
                self.store,
                self._dataset,
                self._image_ids(),
                [joined(query.captions) for query in queries],
                workers=self._workers,
                progress=self._progress,
                processes=self._processes,
            )
        )

    def restore_images(self, images: VectorTable) -> None:
        """Goes on with the vectors of images that an interrupted run had."""
        rows = self.store.images.rows(images.keys)
        digests = tuple(self.store.image_sha256[row] for row in rows.tolist())
        self._move_to(dataclasses.replace(self.store, images=images, image_sha256=digests))

    def _move_to(self, vectors: Embeddings) -> None:
        self.now = vectors
        if self.images_move:
            self._excluded = None

    def _image_ids(self) -> set[str]:
        """Every image of a query or a gallery."""
        queries: Sequence[Query] = (*self._data.queries, *self._data.dev)
        ids = {i for query in queries for i in (query.reference_id, *query.target_ids)}
        return ids.union(*self._data.galleries.values())

    def _find_excluded(self) -> Exclusions:
        return excluded_images(
            self._data.queries,
            self.now,
            ExclusionRules.of(self._data.mining),
            processes=self._processes,
            device=self._device,
        )
