"""The pilot: arms that differ in where they draw alone, held-out queries, and what is chosen."""

import dataclasses
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from cir.artefacts.manifest_metadata import Pilot, PilotArm
from cir.artefacts.store import Embeddings
from cir.config import MiningOptions
from cir.data.dataset import Dataset
from cir.errors import ManifestError, TrainingError
from cir.mining import manifest
from cir.mining.machine import Machine
from cir.models.combiner import SumCombiner
from cir.training import pilot
from cir.training.pilot import ARMS, SamplingPilot
from cir.training.trackers import Trackers
from cir.training.trainer import Trainer
from tests.support.worlds import random_embeddings, small_dataset


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Enough queries for a pilot."""
    return small_dataset(tmp_path_factory.mktemp("larger") / "dataset", images=40, queries=150)


@pytest.fixture(scope="module")
def vectors(larger: Dataset) -> Embeddings:
    return random_embeddings(larger, dim=16)


def piloted(
    dataset: Dataset, vectors: Embeddings, options: MiningOptions, **how: Any
) -> Pilot | None:
    queries, galleries = dataset.queries("train"), dataset.galleries("train")
    made = SamplingPilot(dataset, vectors, queries, galleries, SumCombiner(), Machine(**how))
    return made.run(options)


@pytest.mark.slow
def test_every_arm_trains_the_same_but_for_where_it_draws(
    larger: Dataset, vectors: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pilot, "EPOCHS", 1)
    seen = []
    trained = SamplingPilot._trained

    def listening(self, data, config):
        seen.append((data, dataclasses.replace(config, out=Path())))
        return trained(self, data, config)

    monkeypatch.setattr(SamplingPilot, "_trained", listening)
    prepared = mock.Mock(side_effect=pilot.prepare_mining)
    monkeypatch.setattr(pilot, "prepare_mining", prepared)
    options = MiningOptions(margin=0.5, seed=3, num_negatives=2, on_starved="fail")
    found = piloted(larger, vectors, options)
    assert found is not None
    assert prepared.call_count == 1
    assert [(arm.sampling, arm.temperature) for arm in found.arms] == list(ARMS)
    assert len({config for _, config in seen}) == 1
    assert len({(data.queries, data.dev) for data, _ in seen}) == 1
    for (data, _), (sampling, temperature) in zip(seen, ARMS, strict=True):
        changed = {"sampling": sampling, "temperature": temperature, "on_starved": "nearest"}
        assert data.mining == dataclasses.replace(options, **changed)
        assert data.manifest.metadata.options == data.mining.to_json()
    assert (found.queries, found.dev) == (len(seen[0][0].queries), len(seen[0][0].dev))
    assert piloted(larger, vectors, options) == found


@pytest.mark.slow
@pytest.mark.parametrize("count", [300, 10_000])
def test_no_reference_trains_and_judges(count: int, larger: Dataset) -> None:
    queries = [
        dataclasses.replace(query, id=f"{query.id}-{copy}", reference_id=f"r{number % 97}-{copy}")
        for copy in range(-(-count // 300))
        for number, query in enumerate(larger.queries("train"))
    ][:count]
    parts = pilot._parts(queries, seed=0)
    assert parts is not None
    train, dev = parts
    trained, judging = ({(q.category, q.reference_id) for q in part} for part in parts)
    assert not trained & judging
    assert 0.3 < len(dev) / (len(train) + len(dev)) < 0.5
    assert len(train) + len(dev) <= 1.1 * pilot.MOST_QUERIES
    assert len(train) + len(dev) == count or count > pilot.MOST_QUERIES


@pytest.mark.parametrize("more", [1, 20])
def test_a_few_queries_more_than_a_pilot_takes_are_piloted(more: int, larger: Dataset) -> None:
    """The share of a category's references that takes part rounds to all of them."""
    some = larger.queries("train")[0]
    queries = [
        dataclasses.replace(some, id=f"q{number}", reference_id=f"r{number % 100}")
        for number in range(pilot.MOST_QUERIES + more)
    ]
    parts = pilot._parts(queries, seed=0)
    assert parts is not None
    assert sum(map(len, parts)) == len(queries)


@pytest.mark.slow
def test_filters_that_leave_no_negative_leave_no_pilot(
    larger: Dataset, vectors: Embeddings
) -> None:
    assert piloted(larger, vectors, MiningOptions(max_similarity=-1.0)) is None


@pytest.mark.slow
def test_an_arm_that_cannot_train_is_left_out(
    larger: Dataset, vectors: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pilot, "EPOCHS", 1)
    trained, faults = SamplingPilot._trained, [ManifestError("starved"), TrainingError("diverged")]

    def failing(self, data, config):
        if faults:
            raise faults.pop()
        return trained(self, data, config)

    monkeypatch.setattr(SamplingPilot, "_trained", failing)
    found = piloted(larger, vectors, MiningOptions(margin=0.5, num_negatives=2))
    assert found is not None
    assert [(arm.sampling, arm.temperature) for arm in found.arms] == list(ARMS[2:])


@pytest.mark.slow
def test_every_mining_of_a_pilot_compares_as_many_queries_at_once_as_is_said(
    larger: Dataset, vectors: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pilot, "EPOCHS", 1)
    mining = mock.Mock(side_effect=manifest.mine_through)
    monkeypatch.setattr(manifest, "mine_through", mining)
    assert piloted(larger, vectors, MiningOptions(margin=0.5, num_negatives=2), block_size=77)
    machines = [machine for call in mining.call_args_list for machine in call.args[-1:]]
    assert len(machines) == 2 * len(ARMS)  # before the first epoch, and after it
    assert {machine.block_size for machine in machines} == {77}


@pytest.mark.slow
def test_the_trainer_of_an_arm_that_fails_is_closed(
    larger: Dataset, vectors: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []

    def diverging(self, stop):
        raise TrainingError("diverged")

    monkeypatch.setattr(Trainer, "train", diverging)
    monkeypatch.setattr(Trackers, "finish", lambda self: closed.append(self))
    assert piloted(larger, vectors, MiningOptions(margin=0.5, num_negatives=2)) is None
    assert len(closed) == len(ARMS)


def test_too_few_queries_are_not_piloted(dataset: Dataset) -> None:
    assert piloted(dataset, random_embeddings(dataset), MiningOptions()) is None


def test_the_first_of_the_best_arms_is_taken() -> None:
    arms = [PilotArm("top", 0.05, 1.0), PilotArm("softmax", 0.1, 2.0), PilotArm("random", 0.05, 2)]
    assert Pilot(tuple(arms), 10, 5, 1).best == arms[1]
