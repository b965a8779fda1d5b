"""The weight of the sum against every weight tried by hand."""

import pytest

from cir.data.dataset import Dataset
from cir.evaluation.protocol import Protocol
from cir.evaluation.recall import evaluate
from cir.evaluation.text_share import SHARES, choose_text_share
from cir.models.combiner import SumCombiner
from tests.support.judged import CPU
from tests.support.worlds import random_embeddings


@pytest.mark.slow
def test_no_share_has_a_better_recall_at_10(dataset: Dataset) -> None:
    embeddings = random_embeddings(dataset)
    found = {
        share: evaluate(
            dataset.queries("train"),
            dataset.galleries("train"),
            embeddings,
            SumCombiner(share),
            Protocol("train"),
            query="sum",
            device=CPU,
        ).mean[10]
        for share in SHARES
    }
    best = max(found.values())
    share = choose_text_share(
        dataset.queries("train"),
        dataset.galleries("train"),
        embeddings,
        Protocol("train"),
        device=CPU,
    )
    assert found[share] == best
    ties = [abs(other - 0.5) for other, value in found.items() if value == best]
    assert abs(share - 0.5) == min(ties)
