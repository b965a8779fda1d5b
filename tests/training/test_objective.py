"""Whole runs under every objective."""

import pytest

from cir.artefacts.checkpoint import read_trainer
from cir.artefacts.store import Embeddings
from cir.config import COLDEST, TrainConfig
from cir.data.dataset import Dataset
from cir.errors import ConfigError
from tests.support.runs import EPOCHS, fusion_metrics
from tests.support.worlds import random_embeddings


@pytest.fixture(scope="module")
def embeddings(dataset: Dataset) -> Embeddings:
    return random_embeddings(dataset)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "contrastive", "contrast": "batch+mined"},
        {"loss": "contrastive", "contrast": "batch+bank", "other_targets": "positive"},
        {"loss": "0.3*triplet+contrastive", "contrast": "batch+mined+bank"},
        {"loss": "contrastive", "contrast": "batch+reference"},
        {"loss": "triplet", "triplet_form": "softplus", "triplet_reduction": "hardest"},
        {"loss": "triplet", "row_negatives": 1},
        {"loss": "triplet+contrastive", "online_top_k": 4, "triplet_reduction": "hardest"},
        {"loss": "contrastive", "contrast": "batch+mined", "online_top_k": 4},
    ],
    ids=lambda changes: " ".join(str(value) for value in changes.values()),
)
def test_every_objective_is_learned(tmp_path, dataset, embeddings, changes):
    """What is learned by heart loses less and less: the vectors are noise."""
    settings = changes | {"remine": "online_top_k" in changes, "epochs": 5}
    lines = fusion_metrics(tmp_path / "run", dataset, embeddings, **settings)
    assert lines[-1]["loss"] < 0.8 * lines[1]["loss"]
    for term in ("triplet", "contrastive"):
        assert (lines[1][term] is not None) == (term in changes["loss"])


@pytest.mark.slow
def test_the_total_is_the_weighted_sum_of_its_terms(tmp_path, dataset, embeddings):
    loss = "0.25*triplet+2*contrastive"
    for line in fusion_metrics(tmp_path / "run", dataset, embeddings, loss=loss, remine=False)[1:]:
        expected = 0.25 * line["triplet"] + 2 * line["contrastive"]
        assert line["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "contrast", ["batch+mined", "batch+bank", "batch+reference", "batch+mined+bank"]
)
def test_more_candidates_are_harder_to_tell_apart(tmp_path, dataset, embeddings, contrast):
    settings = {"loss": "contrastive", "remine": False, "epochs": 1, "learning_rate": 1e-9}
    few = fusion_metrics(tmp_path / "few", dataset, embeddings, **settings)
    many = fusion_metrics(tmp_path / "many", dataset, embeddings, contrast=contrast, **settings)
    assert many[1]["contrastive"] > few[1]["contrastive"] + 0.05


@pytest.mark.slow
def test_a_temperature_is_learned_and_saved(tmp_path, dataset, embeddings):
    lines = fusion_metrics(
        tmp_path / "run", dataset, embeddings, learn_temperature=True, temperature=0.1
    )
    assert lines[0]["temperature"] is None
    assert lines[1]["temperature"] != lines[2]["temperature"]
    assert all(COLDEST <= line["temperature"] < 1 for line in lines[1:])
    saved = read_trainer(tmp_path / "run/checkpoints/last")["objective"]
    assert len(saved) == 1


@pytest.mark.slow
def test_a_temperature_is_never_learned_below_the_coldest(tmp_path, dataset, embeddings):
    lines = fusion_metrics(
        tmp_path / "run",
        dataset,
        embeddings,
        loss="contrastive",
        learn_temperature=True,
        temperature=COLDEST,
        epochs=5,
    )
    assert all(line["temperature"] >= 0.999 * COLDEST for line in lines[1:])


@pytest.mark.slow
def test_a_fixed_temperature_is_no_weight(tmp_path, dataset, embeddings):
    lines = fusion_metrics(tmp_path / "run", dataset, embeddings, temperature=0.3)
    assert [line["temperature"] for line in lines[1:]] == [pytest.approx(0.3)] * EPOCHS
    assert not read_trainer(tmp_path / "run/checkpoints/last")["objective"]


def test_faults_of_the_objective_are_told_together():
    with pytest.raises(ConfigError) as caught:
        TrainConfig(
            loss="tripled",
            curriculum="soft",
            contrast="mined",
            online_top_k=3,
            row_negatives=2,
            triplet_form="cubic",
            temperature=0,
        )
    assert all(
        part in str(caught.value)
        for part in (
            "`loss` is 'tripled'",
            "`curriculum` is 'soft'",
            "`contrast` is 'mined'",
            "`triplet_form` is 'cubic'",
            "`temperature` is 0",
            "leave out `row_negatives`",
            "nothing to choose",
        )
    )


def test_a_stage_that_no_epoch_reaches_is_refused():
    spelled = "random:2,semi-hard:1,hard"
    with pytest.raises(ConfigError, match="begins 'hard' with epoch 4, and `epochs` is 3"):
        TrainConfig(curriculum=spelled, epochs=3)
    assert TrainConfig(curriculum=spelled, epochs=4).epochs == 4
