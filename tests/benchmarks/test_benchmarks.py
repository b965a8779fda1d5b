"""What measures is tested too: the judge, the other libraries' adapters, time and memory."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from cir.config import MiningOptions
from cir.mining import Draw, Plan, mine
from tests.benchmarks import device
from tests.benchmarks.agreement import OPTIONS, Check
from tests.benchmarks.brute import BruteForce, require_agreement
from tests.benchmarks.contestants import Contestant, FlatSearch, Mine
from tests.benchmarks.judging import NONE, Answer, Judgement, answer_of, judged
from tests.benchmarks.lineup import run
from tests.benchmarks.measured import in_fresh_process, measured
from tests.benchmarks.mining import Record, _table
from tests.benchmarks.rivals import MineHardNegatives, NearestSemiHard, SemiHardBand, StandIn
from tests.benchmarks.vectors import World, dataset_world, load_world, random_world
from tests.support.worlds import random_embeddings, small_dataset

pytestmark = pytest.mark.slow

MARGIN = 0.1
SEMI_HARD = MiningOptions(strategy="semi-hard", num_negatives=3, margin=MARGIN)
MIB = 1 << 20


@pytest.fixture(scope="module")
def world() -> World:
    return random_world(queries=40, gallery=90, dim=16)


@pytest.fixture(scope="module")
def brute(world: World) -> BruteForce:
    return BruteForce(world, SEMI_HARD)


def asked_twice(world: World) -> World:
    """The second query asks the same as the first, for another target."""
    first, second, *others = world.queries
    same = {"reference_id": first.reference_id, "captions": first.captions}
    queries = (first, dataclasses.replace(second, **same), *others)
    vectors = world.vectors.copy()
    vectors[1] = vectors[0]
    return dataclasses.replace(world, queries=queries, vectors=vectors)


def behind_target(world: World, margin: float, k: int, also: Sequence[set[int]] = ()) -> list:
    """The k images next behind each target and within the margin, none of them of `also`."""
    found = []
    for number, cosines in enumerate(world.vectors.astype(float) @ world.gallery.T.astype(float)):
        target = cosines[world.targets[number]]
        barred = {int(world.targets[number]), *(also[number] if also else ())}
        inside = np.flatnonzero((cosines < target) & (cosines > target - margin))
        found.append([row for row in inside[np.argsort(-cosines[inside])] if row not in barred][:k])
    return found


def answered(contestant: Contestant, world: World, scratch: Path) -> Answer:
    answer = contestant.answer(world, contestant.prepare(world, scratch)())
    assert answer is not None
    return answer


def given(contestant: Contestant, world: World, scratch: Path) -> list[list[int]]:
    answer = answered(contestant, world, scratch)
    return [row[row != NONE].tolist() for row in answer.rows]


def test_the_scans_of_a_device_and_of_the_cpu_are_compared(world: World) -> None:
    problem, cpu = device.problem_of(world), torch.device("cpu")
    assert "the same bit for bit" in device.compared("category-aware", problem, cpu, 1)
    expected = mine(problem, Plan((Draw("any", 1, "hard"),), num_negatives=5, margin=0.2))
    other = dataclasses.replace(expected, rows=expected.rows[:, ::-1])
    with pytest.raises(AssertionError, match="rows"):
        device.require_same(other, expected)


# ------------------------------------------------------------------------- brute force, the judge


def test_brute_force_is_the_oracle(brute: BruteForce) -> None:
    assert require_agreement(brute, references=10) >= 10


def test_brute_force_is_the_oracle_on_a_dataset(tmp_path: Path) -> None:
    dataset = small_dataset(tmp_path / "dataset", images=12, queries=20)
    embeddings = random_embeddings(dataset)
    digests = list(embeddings.image_sha256)
    queries = tuple(dataset.queries("train"))
    rows = embeddings.images.row_of
    digests[rows[queries[0].target_id]] = digests[rows[queries[1].target_id]]
    embeddings = dataclasses.replace(embeddings, image_sha256=tuple(digests))
    vectors = np.random.default_rng(1).standard_normal((len(queries), 16)).astype(np.float32)
    world = World(queries, vectors, embeddings, dataset.galleries("train"))
    brute = BruteForce(world, MiningOptions(duplicate_threshold=0.5))
    assert require_agreement(brute, references=99) == len(queries)
    assert sum(truth.duplicates for truth in brute.truths(range(len(queries)))) > 0


@pytest.mark.parametrize("name", OPTIONS)
def test_mining_agrees_with_brute_force(world: World, brute: BruteForce, name: str) -> None:
    options = dataclasses.replace(OPTIONS[name], num_negatives=3, margin=MARGIN)
    check = Check(world, options)
    for truth in brute.truths(range(len(world.queries))):
        check.row(truth)
    check.finish()


def test_agreement_notices_one_wrong_negative(world: World, brute: BruteForce) -> None:
    check = Check(world, SEMI_HARD)
    ids = list(check.manifest.negative_ids)
    ids[0] = world.queries[0].reference_id
    check.manifest = dataclasses.replace(check.manifest, negative_ids=tuple(ids))
    first, second = brute.truths([0, 1])
    check.row(second)
    with pytest.raises(AssertionError):
        check.row(first)


def test_the_judge_knows_right_from_wrong(world: World, brute: BruteForce, tmp_path: Path) -> None:
    truths = list(brute.truths(range(len(world.queries))))
    answer = answered(Mine(SEMI_HARD), world, tmp_path)
    right = judged(answer, brute, truths, SEMI_HARD)
    bands = [int(truth.band("any", "semi-hard").sum()) for truth in truths]
    assert right.agreeing == 1
    assert right.reference == 0
    assert right.empty == np.mean([size == 0 for size in bands])
    assert right.starved == np.mean([size < 3 for size in bands])
    assert 0 < right.starved < 1

    rows = answer.rows.copy()
    rows[:10, 0] = world.references[:10]
    wrong = judged(dataclasses.replace(answer, rows=rows), brute, truths, SEMI_HARD)
    assert wrong.reference == 10 / 40
    assert wrong.agreeing <= 30 / 40
    assert wrong.starved >= right.starved


def test_a_fill_that_is_not_marked_does_not_agree(
    world: World, brute: BruteForce, tmp_path: Path
) -> None:
    truths = list(brute.truths(range(len(world.queries))))
    answer = answered(Mine(SEMI_HARD), world, tmp_path)
    unmarked = judged(answer_of(answer.numbers, answer.rows), brute, truths, SEMI_HARD)
    marked = judged(answer, brute, truths, SEMI_HARD)
    assert unmarked.agreeing == 1 - marked.starved
    assert unmarked.starved == marked.starved


@pytest.mark.parametrize("strategy", ["random", "hard", "category-aware"])
@pytest.mark.parametrize("sampling", ["top", "random"])
def test_every_strategy_is_judged_by_its_own_definition(
    world: World, brute: BruteForce, strategy: str, sampling: str, tmp_path: Path
) -> None:
    options = dataclasses.replace(SEMI_HARD, strategy=strategy, sampling=sampling)
    truths = list(brute.truths(range(len(world.queries))))
    answer = answered(Mine(options), world, tmp_path)
    assert judged(answer, brute, truths, options).agreeing == 1
    moved = dataclasses.replace(answer, rows=np.roll(answer.rows, 1, axis=0))
    assert judged(moved, brute, truths, options).agreeing < 1


# ---------------------------------------------------------------------------- the other libraries


def test_flat_search_picks_the_band(world: World, tmp_path: Path) -> None:
    found = given(FlatSearch(len(world.ids), SEMI_HARD), world, tmp_path)
    assert found == behind_target(world, margin=MARGIN, k=3)


def test_flat_search_knows_no_more_than_it_found(world: World, tmp_path: Path) -> None:
    found = given(FlatSearch(4, SEMI_HARD), world, tmp_path)
    whole = behind_target(world, margin=MARGIN, k=3)
    assert all(own == should[: len(own)] for own, should in zip(found, whole, strict=True))
    assert any(len(own) < len(should) for own, should in zip(found, whole, strict=True))


@pytest.mark.parametrize("use_faiss", [True, False])
def test_mine_hard_negatives_gets_the_vectors(
    world: World, use_faiss: bool, tmp_path: Path
) -> None:
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    world = asked_twice(world)
    miner = MineHardNegatives(
        SEMI_HARD, use_faiss=use_faiss, absolute_margin=0.0, range_max=len(world.ids) - 2
    )
    both = set(world.targets[:2].tolist())
    also = [both if number < 2 else set() for number in range(len(world.queries))]
    expected = behind_target(world, margin=2.0, k=3, also=also)
    # An anchor with two positives is mined behind the farther of them.
    farther = max(
        range(2), key=lambda number: -(world.vectors[0] @ world.gallery[world.targets[number]])
    )
    expected[:2] = [expected[farther]] * 2
    assert given(miner, world, tmp_path) == expected


def test_the_stand_in_refuses_texts_that_it_has_no_vectors_of(world: World) -> None:
    model = StandIn(["a", "b"], world.vectors[:2], world.gallery)
    with pytest.raises(ValueError, match="asked to encode 3 texts; there are 2 vectors"):
        model.encode_query(["a", "b", "c"])


def test_batch_easy_hard_miner_finds_the_next_behind_the_target(
    world: World, tmp_path: Path
) -> None:
    pytest.importorskip("pytorch_metric_learning", reason="the library is not installed")
    found = given(NearestSemiHard(SEMI_HARD), world, tmp_path)
    assert found == behind_target(world, margin=2.0, k=1)


def test_triplet_margin_miner_finds_the_band(world: World, tmp_path: Path) -> None:
    pytest.importorskip("pytorch_metric_learning", reason="the library is not installed")
    found = given(SemiHardBand(SEMI_HARD), world, tmp_path)
    assert found == behind_target(world, margin=MARGIN, k=3)


# ------------------------------------------------------------------- worlds, time, memory, table


def test_a_saved_world_is_the_same(world: World, tmp_path: Path) -> None:
    world.save(tmp_path)
    loaded = load_world(tmp_path)
    assert loaded.queries == world.queries
    assert loaded.ids == world.ids
    assert np.array_equal(loaded.vectors, world.vectors)
    assert np.array_equal(loaded.gallery, world.gallery)


def test_a_part_of_a_world_holds_the_images_of_its_queries(world: World) -> None:
    part = world.part(queries=5, gallery=40)
    assert (len(part.queries), len(part.ids)) == (5, 40)
    assert (part.targets >= 0).all()
    assert (part.references >= 0).all()
    rows = [world.row_of[i] for i in part.ids]
    assert np.array_equal(part.gallery, world.gallery[rows])


def test_a_run_serves_the_sample_where_the_contestant_can_no_more(
    world: World, tmp_path: Path
) -> None:
    pytest.importorskip("pytorch_metric_learning", reason="the library is not installed")
    world.save(tmp_path)
    sample = np.array([3, 17, 30])
    outcome = run("pytorch-metric-learning, TripletMarginMiner", tmp_path, sample)
    assert isinstance(outcome.answer, Answer)
    assert outcome.answer.numbers.tolist() == [3, 17, 30]
    whole = run("cir semi-hard", tmp_path, sample)
    assert isinstance(whole.answer, Answer)
    assert len(whole.answer.numbers) == len(world.queries)
    assert 0 < sum(whole.parts.values()) <= whole.figures.wall


def test_the_peak_is_what_the_work_held_at_most() -> None:
    def work() -> int:
        return sum(len(np.ones(size * MIB, dtype=np.uint8)) for size in (64, 16))

    output, figures = measured(work, lambda: np.ones(128 * MIB, dtype=np.uint8))
    if figures.peak_mib is None:
        pytest.skip("this system does not tell the peak of a process")
    assert output == 80 * MIB
    assert 60 < figures.peak_mib < 100


def test_a_fresh_process_hands_back_its_fault() -> None:
    with pytest.raises(ZeroDivisionError):
        in_fresh_process(divmod, 1, 0)


def test_the_table_has_a_cell_for_every_column(world: World, tmp_path: Path) -> None:
    world.save(tmp_path)
    names = ("float32 product, NumPy, blocks of 256", "cir semi-hard")
    records = {name: Record() for name in names}
    for name in names:
        records[name].add(run(name, tmp_path, np.arange(3)))
    records["cir semi-hard"].judgement = Judgement(0.25, 0.5, 0, 1)
    records["cir hard"] = Record(failure="not installed: nothing")
    lines = _table(records)
    assert len({line.count("|") for line in lines}) == 1
    assert re.fullmatch(r"\| float32.*\| 1\.00 \| 1\.00 \|.*", lines[2])
    assert "| 25.0 % | 50.0 % | 0.0 % | 100.0 % |" in lines[3]
    assert "not installed: nothing" in lines[-1]


def test_a_dataset_is_a_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = small_dataset(tmp_path / "dataset", images=12, queries=8)
    embeddings = random_embeddings(dataset)
    monkeypatch.setattr("tests.benchmarks.vectors.read_embeddings", lambda _: embeddings)
    folder, file = dataset.root, tmp_path / "embeddings.h5"
    whole = dataset_world(folder, file, "train", all_images=True)
    own = dataset_world(folder, file, "train", all_images=False)
    assert len(whole.ids) == len(embeddings.images.keys) == 3 * len(own.ids)
    assert [query.id for query in whole.queries] == [q.id for q in dataset.queries("train")]
