"""Other libraries that mine negatives, given the vectors for nothing.

sentence-transformers asks a model for vectors: `StandIn` is one that has them already.
pytorch-metric-learning mines within a batch: blocks of queries are its batches, the gallery its
reference embeddings, and a query's label is its target's row. Either is imported when it is asked
for, so that one that is absent costs its own rows alone.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import faiss
import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from cir.config import MiningOptions
from tests.benchmarks.contestants import Contestant
from tests.benchmarks.judging import NONE, Answer, answer_of
from tests.benchmarks.vectors import World

_TRIPLET_BLOCK = 32
"""Queries a batch where every (query, target, image) is listed."""
_PAIR_BLOCK = 128
"""Queries a batch where every (query, image) is listed."""


class StandIn:
    """A sentence-transformers model whose vectors are there already."""

    device = torch.device("cpu")

    def __init__(
        self,
        anchors: Sequence[str],
        queries: Float32[np.ndarray, "queries dim"],
        gallery: Float32[np.ndarray, "gallery dim"],
    ) -> None:
        first = {text: number for number, text in reversed(list(enumerate(anchors)))}
        numbers = [first[text] for text in dict.fromkeys(anchors)]
        self._queries = queries if len(numbers) == len(queries) else queries[numbers]
        self._gallery = gallery

    def encode_document(self, texts: Sequence[str], **_: Any) -> Float32[np.ndarray, "texts dim"]:
        _require_rows(texts, self._gallery)
        return self._gallery

    def encode_query(self, texts: Sequence[str], **_: Any) -> Float32[np.ndarray, "texts dim"]:
        _require_rows(texts, self._queries)
        return self._queries

    def get_embedding_dimension(self) -> int:
        return self._gallery.shape[1]

    def similarity(self, left: Any, right: Any) -> Tensor:
        from sentence_transformers.util import cos_sim

        return cos_sim(left, right)

    def similarity_pairwise(self, left: Any, right: Any) -> Tensor:
        from sentence_transformers.util import pairwise_cos_sim

        return pairwise_cos_sim(left, right)


class MineHardNegatives(Contestant):
    """sentence-transformers' `mine_hard_negatives`, every image of the gallery in its corpus.

    Queries of the same reference and captions are one anchor with several positives. Its margin
    is the least distance behind the positive: 0 means negatives farther than the target.
    """

    def __init__(self, options: MiningOptions, *, use_faiss: bool, **asked: Any) -> None:
        """Any option of `mine_hard_negatives` may follow; the others stay at their defaults."""
        self.options: MiningOptions = options
        self._asked = {"num_negatives": options.num_negatives, "use_faiss": use_faiss, **asked}

    def prepare(self, world: World, scratch: Path) -> Callable[[], Any]:
        from datasets import Dataset
        from sentence_transformers.util import mine_hard_negatives

        anchors = _anchors(world)
        pairs = Dataset.from_dict(
            {"anchor": anchors, "positive": [query.target_id for query in world.queries]}
        )
        model = StandIn(anchors, world.vectors, world.gallery)
        corpus = list(world.ids)

        def work() -> Any:
            with _no_absent_gpu():
                return mine_hard_negatives(
                    pairs, model, corpus=corpus, verbose=False, **self._asked
                )

        return work

    def answer(self, world: World, output: Any) -> Answer:
        found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        columns = (output["anchor"], output["positive"], output["negative"])
        for anchor, positive, negative in zip(*columns, strict=True):
            found[anchor, positive].append(world.row_of[negative])
        rows = np.full((len(world.queries), self.options.num_negatives), NONE)
        for number, anchor in enumerate(_anchors(world)):
            own = found[anchor, world.queries[number].target_id][: rows.shape[1]]
            rows[number, : len(own)] = own
        return answer_of(np.arange(len(rows)), rows)


class NearestSemiHard(Contestant):
    """pytorch-metric-learning's `BatchEasyHardMiner`: the one negative next behind the target."""

    def __init__(self, options: MiningOptions) -> None:
        self.options: MiningOptions = options

    def prepare(self, world: World, scratch: Path) -> Callable[[], Any]:
        from pytorch_metric_learning.miners import BatchEasyHardMiner

        miner = BatchEasyHardMiner(neg_strategy="semihard", distance=_cosine_similarity())
        batches = _Batches(world, _PAIR_BLOCK)

        def work() -> list[tuple[Tensor, Tensor]]:
            mined = [(start, miner(*batch)) for start, batch in batches]
            return [(start + anchors, negatives) for start, (_, _, anchors, negatives) in mined]

        return work

    def answer(self, world: World, output: Any) -> Answer:
        rows = np.full((len(world.queries), 1), NONE)
        for anchors, negatives in output:
            rows[anchors.numpy(), 0] = negatives.numpy()
        return answer_of(np.arange(len(rows)), rows)


class SemiHardBand(Contestant):
    """pytorch-metric-learning's `TripletMarginMiner`: all triplets of the band.

    It lists every (query, target, image) before it chooses. The nearest of the band are picked
    from its triplets, on the clock.
    """

    sample_only = True

    def __init__(self, options: MiningOptions) -> None:
        self.options: MiningOptions = options

    def prepare(self, world: World, scratch: Path) -> Callable[[], Any]:
        from pytorch_metric_learning.miners import TripletMarginMiner

        distance = _cosine_similarity()
        miner = TripletMarginMiner(
            margin=self.options.margin, type_of_triplets="semihard", distance=distance
        )
        batches = _Batches(world, _TRIPLET_BLOCK)

        def nearest(batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
            anchors, _, negatives = miner(*batch)
            cosines = distance(batch[0], batch[2])
            band = torch.full_like(cosines, -torch.inf)
            band[anchors, negatives] = cosines[anchors, negatives]
            return torch.topk(band, min(self.options.num_negatives, band.shape[1]))

        return lambda: [nearest(batch) for _, batch in batches]

    def answer(self, world: World, output: Any) -> Answer:
        cosines, rows = (torch.cat(column).numpy() for column in zip(*output, strict=True))
        return answer_of(np.arange(len(rows)), np.where(np.isfinite(cosines), rows, NONE))


class _Batches:
    """(first query, (embeddings, labels, reference embeddings, reference labels)) by block."""

    def __init__(self, world: World, block: int) -> None:
        self._queries, self._gallery = map(torch.from_numpy, (world.vectors, world.gallery))
        self._targets, self._rows = torch.from_numpy(world.targets), torch.arange(len(world.ids))
        self._block = block

    def __iter__(self) -> Any:
        for start in range(0, len(self._queries), self._block):
            own = slice(start, start + self._block)
            yield start, (self._queries[own], self._targets[own], self._gallery, self._rows)


@contextmanager
def _no_absent_gpu() -> Iterator[None]:
    """Makes FAISS refuse its GPUs where there are none.

    `mine_hard_negatives` moves its index to all GPUs, and to the CPU where that raises. FAISS built
    for GPUs does not raise where there are none: it gives an index whose search kills the process.
    """
    with ExitStack() as patches:
        if getattr(faiss, "get_num_gpus", int)() == 0:
            refusal = mock.Mock(side_effect=RuntimeError("no GPU"))
            named = {"index_cpu_to_all_gpus": refusal}
            patches.enter_context(mock.patch.multiple(faiss, create=True, **named))
        yield


def _anchors(world: World) -> list[str]:
    return [" | ".join((query.reference_id, *query.captions)) for query in world.queries]


def _cosine_similarity() -> Any:
    """The cosine of unit vectors, which need not be normalised again."""
    from pytorch_metric_learning.distances import DotProductSimilarity

    return DotProductSimilarity(normalize_embeddings=False)


def _require_rows(texts: Sequence[str], vectors: Float32[np.ndarray, "rows dim"]) -> None:
    if len(texts) != len(vectors):
        raise ValueError(f"asked to encode {len(texts)} texts; there are {len(vectors)} vectors")
