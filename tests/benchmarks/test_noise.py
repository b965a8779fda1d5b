"""Which queries get wrong targets, and which never do."""

from pathlib import Path

import pytest

from cir.config import TrainConfig
from cir.data.dataset import Dataset
from cir.data.queries import Query
from cir.training.hold_out import hold_out
from tests.benchmarks.noise import exchange_targets, givers_of
from tests.support.worlds import small_dataset


def asked(query: Query) -> tuple[object, ...]:
    """A query without its targets."""
    return query.id, query.category, query.reference_id, query.captions


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return small_dataset(
        tmp_path_factory.mktemp("clean") / "dataset", images=50, queries=40, size=4
    )


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_a_share_of_what_is_trained_on_has_the_targets_of_others(
    clean: Dataset, tmp_path: Path, share: float
) -> None:
    exchange_targets(clean, tmp_path / "noisy", share, seed=3)
    noisy = Dataset(tmp_path / "noisy")
    before, after = clean.queries("train"), noisy.queries("train")
    assert list(map(asked, after)) == list(map(asked, before))
    trained = {q.id for q in hold_out(before, TrainConfig.dev_fraction, 3)[0]}
    changed = [
        one.id
        for one, other in zip(before, after, strict=True)
        if one.target_ids != other.target_ids
    ]
    assert set(changed) <= trained
    # Some are exchanged for an equal target, for several queries have the same.
    assert 0.8 * share * len(trained) <= len(changed) <= share * len(trained) + 1
    for category in clean.categories:
        own, others = (
            sorted(q.target_ids for q in queries if q.category == category)
            for queries in (before, after)
        )
        assert own == others


def test_all_else_stays_as_it_is(clean: Dataset, tmp_path: Path) -> None:
    exchange_targets(clean, tmp_path / "noisy", 0.5, seed=0)
    noisy = Dataset(tmp_path / "noisy")
    for split in ("val", "test"):
        assert noisy.queries(split) == clean.queries(split)
    for split in clean.splits:
        assert noisy.galleries(split) == clean.galleries(split)
    assert set(noisy.image_files) == set(clean.image_files)


def test_the_seed_decides_which(clean: Dataset, tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        exchange_targets(clean, tmp_path / name, 0.5, seed)
    one, same, other = (Dataset(tmp_path / n).queries("train") for n in ("one", "same", "other"))
    assert one == same
    assert one != other


def test_no_query_gets_its_own_reference_as_target() -> None:
    pairs = (("a", "b"), ("b", "c"), ("d", "e"), ("f", "g"), ("h", "a"))
    rows = [{"candidate": reference, "target": target} for reference, target in pairs]
    order = [4, 0, 1, 2, 3]
    givers = givers_of(rows, order)
    assert sorted(givers) == [0, 1, 2, 3, 4]
    for own, giver in zip(order, givers, strict=True):
        assert own != giver
        assert rows[own]["candidate"] != rows[giver]["target"]
