"""Queries judged under stated protocols, for tests of evaluation."""

from itertools import product
from typing import get_args

import torch
from torch import nn

from cir.artefacts.store import Embeddings
from cir.config import CaptionRule, GalleryName, ReferenceRule
from cir.data.dataset import Dataset
from cir.evaluation.evaluator import Evaluator
from cir.evaluation.protocol import Protocol
from cir.evaluation.ranks import Ranks
from tests.support.worlds import random_embeddings

CPU = torch.device("cpu")
PROTOCOLS = [
    Protocol("val", gallery, reference, captions)
    for gallery, reference, captions in product(
        get_args(GalleryName), get_args(ReferenceRule), get_args(CaptionRule)
    )
    if (gallery, reference) != ("all", "kept")
]


def evaluator_of(
    made: Dataset, embeddings: Embeddings, *protocols: Protocol, judged: bool = True
) -> Evaluator:
    """Of all queries of the protocols' split."""
    split = protocols[0].split
    galleries = made.galleries(split)
    return Evaluator(
        made.queries(split),
        galleries,
        embeddings,
        protocols,
        device=CPU,
        every_image=made.image_ids(),
        judged=judged,
    )


def ranks_of(
    made: Dataset, combiner: nn.Module, protocol: Protocol, *, judged: bool = True
) -> Ranks:
    """Over random vectors, the 50 nearest images listed."""
    embeddings = random_embeddings(made)
    evaluator = evaluator_of(made, embeddings, protocol, judged=judged)
    return evaluator.judge(embeddings, combiner, listed=50)[0]
