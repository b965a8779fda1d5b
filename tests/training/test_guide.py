"""What the guide leaves out, against the definition one pair at a time, and in whole runs."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cir.config import TrainConfig
from cir.errors import ConfigError
from cir.models.losses import ContrastCandidates
from cir.training.guide import Guide
from tests.support.runs import metrics, run

CPU = torch.device("cpu")
IMAGES, DIM = 14, 5


def world(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors of all lengths, the targets of some queries, and candidates that all share."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((IMAGES, DIM)) * rng.uniform(0.1, 9, (IMAGES, 1))
    return vectors.astype(np.float32), rng.integers(0, IMAGES, 4), rng.integers(0, IMAGES, 6)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


thresholds = st.sampled_from((-0.5, 0.0, 0.3, 0.8))


@pytest.mark.slow
@given(st.integers(0, 10_000), thresholds)
def test_a_group_loses_what_is_too_much_like_the_target(seed: int, threshold: float) -> None:
    vectors, targets, images = world(seed)
    rng = np.random.default_rng(seed)
    excluded, positive = (torch.from_numpy(rng.random((4, 6)) < 0.3) for _ in range(2))
    group = ContrastCandidates(torch.zeros(6, DIM), excluded, positive & ~excluded)
    found = Guide(vectors, threshold, CPU).masked(group, targets, images)
    assert found.vectors is group.vectors
    assert found.positive is group.positive
    for i, target in enumerate(targets):
        for j, image in enumerate(images):
            alike = cosine(vectors[target], vectors[image]) > threshold
            expected = bool(excluded[i, j]) or (alike and not bool(group.positive[i, j]))
            assert found.excluded[i, j] == expected


@pytest.mark.slow
@given(st.integers(0, 10_000), thresholds)
def test_each_query_may_have_images_of_its_own(seed: int, threshold: float) -> None:
    vectors, targets, _ = world(seed)
    own = np.random.default_rng(seed).integers(0, IMAGES, (4, 3))
    alike = Guide(vectors, threshold, CPU).alike(targets, own)
    for i, target in enumerate(targets):
        for j, image in enumerate(own[i]):
            assert alike[i, j] == (cosine(vectors[target], vectors[image]) > threshold)


def test_a_group_without_positives_keeps_none() -> None:
    vectors, targets, images = world(0)
    group = ContrastCandidates(torch.zeros(6, DIM), torch.zeros(4, 6, dtype=torch.bool))
    found = Guide(vectors, -1.01, CPU).masked(group, targets, images)
    assert found.excluded.all()
    assert found.positive is None


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"online_top_k": 4}], ids=["mined", "online"])
def test_batch_bank_and_own_negatives_are_all_masked(tmp_path, dataset, embeddings, changes):
    """With all that are no positives left out, nothing is left to tell a target apart from."""
    settings = {"loss": "contrastive", "contrast": "batch+mined+bank", "epochs": 1, **changes}
    settings |= {"other_targets": "ignored"}
    plain, lenient, strict = (
        metrics(run(tmp_path / str(limit), dataset, embeddings, guide_threshold=limit, **settings))
        for limit in (None, 1.0, -1.0)
    )
    assert lenient == plain
    assert plain[1]["contrastive"] > 1
    assert strict[1]["contrastive"] == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
def test_the_guide_leaves_the_triplets_alone(tmp_path, dataset, embeddings):
    settings = {"loss": "1e-9*contrastive+triplet", "epochs": 1}
    plain, strict = (
        metrics(run(tmp_path / str(limit), dataset, embeddings, guide_threshold=limit, **settings))
        for limit in (None, -1.0)
    )
    assert strict[1]["triplet"] == pytest.approx(plain[1]["triplet"], rel=1e-4)
    assert strict[1]["active_share"] == pytest.approx(plain[1]["active_share"], rel=1e-2)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"guide_threshold": 1.5}, "`guide_threshold` is 1.5; expected -1 to 1"),
        ({"guide_threshold": 0.9, "loss": "triplet"}, "is of the contrastive term, which `loss`"),
    ],
)
def test_a_guide_without_effect_is_refused(options, line):
    with pytest.raises(ConfigError, match=line):
        TrainConfig(**options)
