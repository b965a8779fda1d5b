"""The figures of an epoch on the dev split, by which the best one is chosen."""

import torch
from torch import nn

from cir.artefacts.store import Embeddings
from cir.evaluation.evaluator import Evaluator
from cir.evaluation.recall import recalls
from cir.machine.processes import Processes
from cir.training.train_data import TrainSet


class DevEvaluator:
    """Evaluates combiners on the dev queries of a run, once for all processes."""

    def __init__(
        self, data: TrainSet, embeddings: Embeddings, device: torch.device, processes: Processes
    ) -> None:
        """Looks up the rows of queries and galleries.

        Args:
            data: Has the dev queries and the galleries.
            embeddings: The store that training began with.
            device: Where vectors are composed and compared.
            processes: Of which the main one evaluates.
        """
        self._evaluator = Evaluator(
            data.dev, data.galleries, embeddings, [data.protocol], device=device
        )
        self._device = device
        self._processes = processes

    def figures(self, vectors: Embeddings, combiner: nn.Module, query: str) -> dict[str, float]:
        """Recall@K and the headline by name, in percent.

        Args:
            vectors: Of images and captions, as the encoder gives them now.
            combiner: Composes the queries.
            query: The name of that composition, such as combiner or sum.
        """
        ranks = self._processes.broadcast_from_main(
            lambda: self._evaluator.judge(vectors, combiner.to(self._device))
        )
        return recalls(ranks[0], query).figures()
