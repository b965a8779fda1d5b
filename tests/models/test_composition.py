"""Queries composed into vectors."""

import numpy as np
import pytest
import torch
from torch import nn

from cir.artefacts.vectors import normalised
from cir.data.dataset import Dataset
from cir.errors import StoreError, UsageError, VectorError
from cir.models.combiner import AttentionFusionCombiner, Clip4CirCombiner, SumCombiner
from cir.models.composition import baseline, compose, composed_queries
from tests.support.worlds import random_embeddings

CPU = torch.device("cpu")


def vectors(seed: int, rows: int = 11, dim: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32) * 7


def test_baselines_are_what_they_are_called() -> None:
    image, text = vectors(0), vectors(1)
    unit_image, unit_text = normalised(image, "image"), normalised(text, "text")
    expected = {
        "reference": unit_image,
        "text": unit_text,
        "sum": normalised(unit_image + unit_text, "sum"),
    }
    for name, its in expected.items():
        np.testing.assert_allclose(compose(baseline(name), image, text, device=CPU), its, atol=1e-6)
    with pytest.raises(UsageError, match="'combiner'; expected one of reference, text, sum, weigh"):
        baseline("combiner")


def test_batches_and_mode_change_nothing() -> None:
    torch.manual_seed(0)
    combiner = Clip4CirCombiner(dim=6).train()  # its dropout would show
    together = compose(combiner, vectors(0), vectors(1), device=CPU)
    apart = compose(combiner, vectors(0), vectors(1), device=CPU, batch_size=3)
    np.testing.assert_allclose(together, apart, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-6)
    assert combiner.training


def test_a_diverged_combiner_is_named() -> None:
    combiner = AttentionFusionCombiner(dim=6, hidden=8)
    nn.init.constant_(combiner.output.weight, torch.nan)
    with pytest.raises(VectorError, match=r"11 of 11 composed queries have no direction.*diverged"):
        compose(combiner, vectors(0), vectors(1), device=CPU)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 0.0])
def test_composed_queries_without_a_direction_are_counted(value: float) -> None:
    class OneRowDiverged(nn.Module):
        def forward(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
            return image.index_fill(0, torch.tensor([3]), value)

    with pytest.raises(VectorError, match=r"^1 of 11 composed .* direction, the first in row 3:"):
        compose(OneRowDiverged(), vectors(0), vectors(1), device=CPU)


def test_queries_take_their_own_image_and_text(dataset: Dataset) -> None:
    store, queries = random_embeddings(dataset), dataset.queries("train")
    texts = [store.captions.keys[n % 3] for n in range(len(queries))]
    found = composed_queries(queries, texts, store, baseline("sum"), CPU)
    for row, query, text in zip(found, queries, texts, strict=True):
        image = normalised(store.images.take([query.reference_id]), "image")
        words = normalised(store.captions.take([text]), "text")
        np.testing.assert_allclose(row, normalised(image + words, "sum")[0], atol=1e-6)
    with pytest.raises(StoreError, match="'never embedded'"):
        composed_queries(queries[:1], ["never embedded"], store, baseline("sum"), CPU)


def test_what_has_no_parameters_is_composed_on_the_cpu() -> None:
    """So that a GPU mines the same manifest; a tensor on `meta` could not come back."""
    found = compose(baseline("sum"), vectors(0), vectors(1), device="meta")
    assert found.tobytes() == compose(baseline("sum"), vectors(0), vectors(1), device=CPU).tobytes()


def test_vectors_that_do_not_pair_are_refused() -> None:
    combiner = AttentionFusionCombiner(dim=6, hidden=8)
    with pytest.raises(VectorError, match=r"shape \(11, 6\), `text` \(10, 6\); expected one text"):
        compose(combiner, vectors(0), vectors(1, rows=10), device=CPU)
    with pytest.raises(VectorError, match=r"the combiner takes 6-d vectors.*are 7-d"):
        compose(combiner, vectors(0, dim=7), vectors(1, dim=7), device=CPU)
    with pytest.raises(UsageError, match="`batch_size` is 0"):
        compose(combiner, vectors(0), vectors(1), device=CPU, batch_size=0)


@pytest.mark.parametrize(("name", "side"), [("reference", 0), ("text", 1)])
def test_vectors_that_are_not_finite_are_named_and_not_the_combiner(name: str, side: int) -> None:
    pair = [vectors(0), vectors(1)]
    pair[side][4, 2] = np.nan
    with pytest.raises(VectorError, match=f"`{name}`: row 4 is not finite"):
        compose(SumCombiner(), *pair, device=CPU)
