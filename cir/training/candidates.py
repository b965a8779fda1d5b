"""What an epoch's steps are trained against: mined negatives, a search while training, a bank."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from cir.artefacts.vectors import normalised
from cir.mining.online import OnlineNegatives
from cir.models.losses import Columns
from cir.training.batches import Batch, TrainingRows, named_columns
from cir.training.towers import Features

_ABSENT: Final = -1
"""The place of an image that the bank does not hold."""


@dataclass(frozen=True)
class Negatives:
    """The vectors of a batch's negatives, however they were found."""

    vectors: Float[Tensor, "batch negatives dim"]
    present: Bool[Tensor, "batch negatives"]


NegativeSource = Callable[[Batch, Features, Float[Tensor, "batch dim"]], Negatives]
"""Gives a batch's negatives from the batch, its images, and its composed queries, detached."""


def manifest_negatives(
    batch: Batch, images: Features, query: Float[Tensor, "batch dim"]
) -> Negatives:
    """The negatives that were mined for the batch's queries."""
    return Negatives(images(batch.negatives), torch.from_numpy(batch.present).to(query.device))


def online_negatives(gallery: OnlineNegatives, rows: TrainingRows) -> NegativeSource:
    """The valid images nearest to each query, searched for at every step.

    Args:
        gallery: What is searched; its vectors get no gradient.
        rows: Say which images are no negatives of a query.
    """

    def search(batch: Batch, images: Features, query: Float[Tensor, "batch dim"]) -> Negatives:
        return Negatives(*gallery.nearest(query, rows.barred.take(batch.queries).pairs()))

    return search


class Bank:
    """Every target of the training split, as its vector was when the epoch began."""

    def __init__(
        self,
        vectors: Float[np.ndarray, "bank dim"],
        images: Int64[np.ndarray, " bank"],
        device: torch.device,
    ) -> None:
        """Keeps the vectors on the device.

        Args:
            vectors: Of any length above zero; they get no gradient.
            images: Their rows of the store, each once.
            device: Where the run trains.
        """
        self._vectors = torch.from_numpy(normalised(vectors, "the bank")).to(device)
        self._place = np.full(images.max(initial=-1) + 2, _ABSENT, dtype=np.int64)
        self._place[images] = np.arange(len(images))

    def columns(
        self, rows: TrainingRows, own: Batch, whole: Batch, *, mined: bool, positive: bool
    ) -> Columns:
        """The bank as candidates of a batch's queries; an image of the batch itself is ignored.

        Args:
            rows: Say what is no negative of a query, and what answers it.
            own: The queries.
            whole: The batch, whose targets are candidates already.
            mined: Whether the queries' negatives are candidates already, too.
            positive: Whether what answers a query is a positive, and not ignored.
        """
        ignored = self._named(*rows.barred.take(own.queries).pairs(), len(own))
        answers = None
        if positive:
            answers = self._named(*rows.answers.take(own.queries).pairs(), len(own))
            ignored &= ~answers
        in_batch = self._places(whole.target)
        ignored[:, in_batch[in_batch != _ABSENT]] = True
        if mined:
            query, place = np.nonzero(own.present)
            ignored |= self._named(query, own.negatives[query, place], len(own))
        if answers is not None:
            answers &= ~ignored
        device = self._vectors.device
        return Columns(
            self._vectors,
            torch.from_numpy(ignored).to(device),
            None if answers is None else torch.from_numpy(answers).to(device),
        )

    def _named(
        self,
        queries: Int64[np.ndarray, " pairs"],
        images: Int64[np.ndarray, " pairs"],
        count: int,
    ) -> Bool[np.ndarray, "batch bank"]:
        """[i, j] is true where (i, image j of the bank) is among the pairs."""
        place = self._places(images)
        held = place != _ABSENT
        named = np.zeros((count, len(self._vectors)), dtype=bool)
        named[queries[held], place[held]] = True
        return named

    def _places(self, images: Int64[np.ndarray, " images"]) -> Int64[np.ndarray, " images"]:
        """Where each image stands in the bank, or `_ABSENT`."""
        places: Int64[np.ndarray, " images"] = self._place[np.minimum(images, len(self._place) - 1)]
        return places


def reference_columns(
    reference: Float[Tensor, "batch dim"],
    target: Float[Tensor, "batch dim"],
    duplicate_threshold: float,
) -> Columns:
    """Each query's own reference as its candidate, but where it shows the target itself.

    Args:
        reference: Unit vectors.
        target: Unit vectors.
        duplicate_threshold: Cosine from which both show the same.
    """
    same = torch.einsum("bd,bd->b", reference, target) >= duplicate_threshold
    return Columns(reference[:, None], same[:, None])


@dataclass(frozen=True, eq=False)
class Sources:
    """What the steps of an epoch take their candidates from."""

    rows: TrainingRows
    negatives: NegativeSource = manifest_negatives
    bank: Bank | None = None
    duplicate_threshold: float = 1.0
    """Cosine from which two images show the same."""

    def batch_columns(
        self,
        target: Float[Tensor, "whole dim"],
        own: Batch,
        whole: Batch,
        first: int,
        *,
        positive: bool,
    ) -> Columns:
        """The targets of a whole batch as candidates of some of its queries.

        Args:
            target: Their unit vectors.
            own: The queries.
            whole: The batch that they are of.
            first: Where in it they begin.
            positive: Whether other answers of a query are positives, and not ignored.
        """
        barred = named_columns(self.rows.barred.take(own.queries), whole.target)
        answers = named_columns(self.rows.answers.take(own.queries), whole.target)
        diagonal = np.zeros_like(barred)
        diagonal[np.arange(len(own)), first + np.arange(len(own))] = True
        pulled = diagonal | answers if positive else diagonal
        return Columns(
            target,
            torch.from_numpy((barred | answers) & ~pulled).to(target.device),
            torch.from_numpy(pulled).to(target.device),
        )
