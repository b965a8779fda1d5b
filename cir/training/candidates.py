"""The candidates that a query is trained against: mined, online, bank, batch, reference.

`Negatives` are a query's own: mined beforehand (`manifest_negatives`), or found among the current
vectors at every step (`online_negatives`). The other groups are candidates of the contrastive term:
the targets of the batch (`batch_candidates`), every target of the training split (`Bank`), and the
query's reference (`reference_candidates`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from cir.artefacts.vectors import normalised
from cir.machine.runtime import upload
from cir.mining.online import OnlineNegatives
from cir.models.losses import ContrastCandidates
from cir.ragged import RowOf
from cir.training.batches import Batch, TrainingRows, contains
from cir.training.features import Features
from cir.training.guide import Guide
from cir.types import NO_ROW


@dataclass(frozen=True)
class Negatives:
    """The vectors of a batch's negatives, mined or found online."""

    vectors: Float[Tensor, "batch negatives dim"]
    present: Bool[Tensor, "batch negatives"]
    images: Int64[np.ndarray, "batch negatives"] | Int64[Tensor, "batch negatives"]
    """Their rows of the store; any where there is none."""
    alike: Bool[Tensor, "batch negatives"] | None = None
    """Those that the contrastive term leaves out, for a guide says so."""

    def candidates(self) -> ContrastCandidates:
        """The negatives as candidates of the contrastive term."""
        absent = ~self.present
        return ContrastCandidates(
            self.vectors, absent if self.alike is None else absent | self.alike
        )


NegativeSource = Callable[[Batch, Features, Float[Tensor, "batch dim"]], Negatives]
"""Gives a batch's negatives from the batch, its images, and its composed queries, detached."""


def manifest_negatives(
    batch: Batch, images: Features, query: Float[Tensor, "batch dim"]
) -> Negatives:
    """The negatives that were mined for the batch's queries."""
    present = upload(batch.present, query.device)
    return Negatives(images(batch.negatives), present, batch.negatives)


def online_negatives(gallery: OnlineNegatives, rows: TrainingRows) -> NegativeSource:
    """A source that searches the valid images nearest to each query at every step.

    Args:
        gallery: The index to search; its vectors get no gradient.
        rows: Hold the images that are no negatives of a query.
    """

    def search(batch: Batch, images: Features, query: Float[Tensor, "batch dim"]) -> Negatives:
        return Negatives(*gallery.nearest(query, rows.excluded.take(batch.queries).pairs()))

    return search


class Bank:
    """Every target of the training split, with its vector of the epoch's beginning."""

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
        self.images = images
        """Rows of the store."""
        self._row_of = RowOf(images)
        self._rows = torch.from_numpy(self._row_of.rows).to(device)

    def candidates(
        self,
        rows: TrainingRows,
        part: Batch,
        batch: Batch,
        *,
        negatives: Negatives | None,
        positive: bool,
    ) -> ContrastCandidates:
        """The bank as candidates of some queries; the images of their batch are excluded.

        Args:
            rows: Hold the images that are no negatives of a query, and those that answer it.
            part: The queries.
            batch: The whole batch, whose targets are candidates already.
            negatives: Those of the queries, where they are candidates already, too.
            positive: Whether an answer of a query is a positive, and not excluded.
        """
        excluded = self._among(*rows.excluded.take(part.queries).pairs(), len(part))
        answers = None
        if positive:
            answers = self._among(*rows.answers.take(part.queries).pairs(), len(part))
            excluded &= ~answers
        in_batch = self._row_of(batch.target)
        excluded.index_fill_(1, upload(in_batch[in_batch != NO_ROW], excluded.device), True)
        if negatives is not None:
            excluded |= self._held(negatives)
        if answers is not None:
            answers &= ~excluded
        return ContrastCandidates(self._vectors, excluded, answers)

    def _held(self, negatives: Negatives) -> Bool[Tensor, "batch bank"]:
        """[i, j] is true where image j of the bank is a negative of query i; nothing waits."""
        images, device = negatives.images, self._vectors.device
        images = images if isinstance(images, Tensor) else upload(images, device)
        rows, nowhere = self._rows[images.clamp(max=len(self._rows) - 1)], len(self._vectors)
        rows = rows.masked_fill((rows == NO_ROW) | ~negatives.present, nowhere)
        held = torch.zeros(len(rows), nowhere + 1, dtype=torch.bool, device=device)
        return held.scatter_(1, rows, value=True)[:, :nowhere]

    def _among(
        self,
        queries: Int64[np.ndarray, " pairs"],
        images: Int64[np.ndarray, " pairs"],
        count: int,
    ) -> Bool[Tensor, "batch bank"]:
        """[i, j] is true where (i, image j of the bank) is among the pairs."""
        rows = self._row_of(images)
        held = rows != NO_ROW
        device = self._vectors.device
        among = torch.zeros(count, len(self._vectors), dtype=torch.bool, device=device)
        pairs = tuple(upload(each, device) for each in (queries[held], rows[held]))
        return among.index_put_(pairs, among.new_ones(()))


def batch_candidates(
    target: Float[Tensor, "whole dim"],
    rows: TrainingRows,
    part: Batch,
    batch: Batch,
    first: int,
    *,
    positive: bool,
) -> ContrastCandidates:
    """The targets of a whole batch as candidates of some of its queries.

    Args:
        target: Unit vectors of the targets.
        rows: Hold the images that are no negatives of a query, and those that answer it.
        part: The queries.
        batch: The whole batch.
        first: The index of the first of the queries in it.
        positive: Whether other answers of a query are positives, and not excluded.
    """
    excluded = contains(rows.excluded.take(part.queries), batch.target)
    answers = contains(rows.answers.take(part.queries), batch.target)
    own_target = np.zeros_like(excluded)
    own_target[np.arange(len(part)), first + np.arange(len(part))] = True
    positives = own_target | answers if positive else own_target
    return ContrastCandidates(
        target,
        upload((excluded | answers) & ~positives, target.device),
        upload(positives, target.device),
    )


def reference_candidates(
    reference: Float[Tensor, "batch dim"],
    target: Float[Tensor, "batch dim"],
    duplicate_threshold: float,
) -> ContrastCandidates:
    """Each query's own reference as its candidate, unless it shows the target itself.

    Args:
        reference: Unit vectors.
        target: Unit vectors.
        duplicate_threshold: Cosine from which both show the same.
    """
    same = torch.einsum("bd,bd->b", reference, target) >= duplicate_threshold
    return ContrastCandidates(reference[:, None], same[:, None])


@dataclass(frozen=True, eq=False)
class CandidateSources:
    """Where the steps of an epoch take their candidates from."""

    rows: TrainingRows
    negatives: NegativeSource = manifest_negatives
    bank: Bank | None = None
    duplicate_threshold: float = 1.0
    """Cosine from which two images show the same."""
    trust: Float32[np.ndarray, " queries"] | None = None
    """What each query of `rows` counts in the loss; 1 if None."""
    guide: Guide | None = None
    """Leaves candidates of the contrastive term out; none if None."""
