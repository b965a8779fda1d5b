"""The losses of pretraining, against plain loops."""

import pytest
import torch

from cir.pretraining.corpus import UNSTATED
from cir.pretraining.losses import FacetClassifier, contrastive_loss


def test_the_contrastive_loss_agrees_with_a_loop() -> None:
    rng = torch.Generator().manual_seed(0)
    images, texts = (torch.randn(5, 7, generator=rng) for _ in range(2))
    positives = torch.eye(5, dtype=torch.bool)
    positives[0, 3] = positives[2, 4] = True
    total = 0.0
    cosines = torch.nn.functional.cosine_similarity(texts[:, None], images[None], dim=-1) * 9.0
    for table, fits in ((cosines, positives), (cosines.T, positives.T)):
        for row, of_row in zip(table, fits, strict=True):
            chances = row.exp() / row.exp().sum()
            total += float(-chances[of_row].log().mean()) / 5
    found = contrastive_loss(images, texts, positives, torch.tensor(9.0))
    assert float(found) == pytest.approx(total / 2, rel=1e-5)


def test_a_positive_beside_the_diagonal_is_pulled_and_not_pushed_away() -> None:
    texts, alone, together = torch.eye(3), torch.eye(3, dtype=torch.bool), torch.eye(3).bool()
    together[0, 1] = together[1, 0] = True

    def pull(positives: torch.Tensor) -> float:
        """How far a step against the gradient moves image 1 towards text 0."""
        images = torch.eye(3, requires_grad=True)
        contrastive_loss(images, texts, positives, torch.tensor(5.0)).backward()  # type: ignore[no-untyped-call]
        assert images.grad is not None
        return -float(images.grad[1] @ texts[0])

    assert pull(together) > 0.1
    assert pull(alone) < -0.001


def test_without_facets_nothing_is_learned_of_them() -> None:
    classifier = FacetClassifier(6, [])
    assert classifier(torch.randn(4, 6), torch.empty(4, 0, dtype=torch.int64)).item() == 0
    assert not list(classifier.parameters())


def test_unstated_facets_teach_nothing() -> None:
    torch.manual_seed(0)
    classifier, images = FacetClassifier(6, [3, 2]), torch.randn(4, 6)
    codes = torch.full((4, 2), UNSTATED)
    assert classifier(images, codes).item() == 0
    codes[1, 0] = 2
    assert classifier(images, codes).item() > 0
