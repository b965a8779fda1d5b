"""Mining among candidates that an index proposes, against mining exactly."""

import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from cir.artefacts.manifest import read_manifest
from cir.artefacts.vectors import normalised
from cir.config import Index, IndexKind, MineConfig
from cir.data.dataset import Dataset
from cir.errors import UsageError
from cir.machine.processes import Processes
from cir.mining import approximate
from cir.mining.approximate import mine_through
from cir.mining.engine import mine
from cir.mining.exclusions.excluded import exclusions_of
from cir.mining.faiss_index import FlatIndex
from cir.mining.machine import Machine
from cir.mining.plan import Draw, Plan
from cir.mining.problem import Mined, Problem
from cir.mining.scan.stream import stream
from cir.types import NO_ROW
from pipeline.cli import app
from pipeline.command.faults import MISUSED
from pipeline.mine import run
from tests.support.faiss_gpu import faiss_on_gpu
from tests.support.worlds import random_embeddings, write_store

CPU = torch.device("cpu")
QUERIES, IMAGES, DIM = 60, 10_000, 16
SHARES = (
    Draw("same-category", 0.7, "semi-hard"),
    Draw("other-category", 0.2, "hard"),
    Draw("any", 0.1, "easy"),
)
SEMI_HARD = (Draw("any", 1.0, "semi-hard"),)
PLANS: dict[str, Plan] = {
    "hard": Plan((Draw("any", 1.0, "hard"),), 5, 0.1),
    "semi-hard": Plan(SEMI_HARD, 5, 0.1),
    "starved": Plan(SEMI_HARD, 5, 0.0),
    "ranks": Plan(SEMI_HARD, 5, 0.1, range_min=3, range_max=5000),
    "filters": Plan(SHARES, 7, 0.05, relative_margin=0.1, max_similarity=0.8),
    "categories, no fill": Plan(SHARES, 7, 0.05, fill=None),
}


def unit(rows: int, seed: int) -> np.ndarray:
    return normalised(np.random.default_rng(seed).standard_normal((rows, DIM)), "test")


@pytest.fixture(scope="module")
def problem() -> Problem:
    rng, gallery = np.random.default_rng(2), unit(IMAGES, 0)
    targets = rng.integers(0, IMAGES, QUERIES)
    barred = [[int(row), *rng.integers(0, IMAGES, 200).tolist()] for row in targets]
    noise = rng.standard_normal((QUERIES, DIM)) / 4
    return Problem(
        queries=normalised(gallery[targets] + noise, "queries"),
        targets=gallery[targets],
        gallery=gallery,
        exclusions=exclusions_of(barred),
        categories=rng.integers(0, 3, QUERIES),
        members=rng.random((3, IMAGES)) < 0.5,
    )


@pytest.fixture(params=get_args(IndexKind))
def kind(request: pytest.FixtureRequest) -> IndexKind:
    made: IndexKind = request.param
    return made


def through(problem: Problem, plan: Plan, index: Any, candidates: int = 500, **others: Any) -> Any:
    return mine_through(problem, plan, index, candidates, Machine(block_size=32, **others))


def require_same(found: Mined, expected: Mined) -> None:
    for field in fields(Mined):
        np.testing.assert_array_equal(
            getattr(found, field.name), getattr(expected, field.name), field.name
        )


@pytest.mark.slow
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_with_all_candidates_it_is_exact(problem: Problem, plan: Plan) -> None:
    found, measured = through(problem, plan, "ivf", IMAGES)
    require_same(found, mine(problem, plan))
    assert measured.negatives_found == measured.rows_identical == 1
    assert measured.target_rank_error == measured.candidates_in_band_error == 0


@pytest.mark.slow
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_what_is_mined_is_exact_among_the_candidates(problem: Problem, plan: Plan) -> None:
    rng = np.random.default_rng(5)
    for query in range(4):
        listed = rng.choice(IMAGES, 3000, replace=False)
        barred = problem.exclusions.of(query)
        unlisted = np.setdiff1d(np.arange(IMAGES), listed)
        alone = replace(
            problem,
            queries=problem.queries[[query]],
            targets=problem.targets[[query]],
            categories=problem.categories[[query]],
            exclusions=exclusions_of([barred.tolist()]),
        )
        others = exclusions_of([np.union1d(unlisted, barred).tolist()])
        expected = mine(replace(alone, exclusions=others), plan)
        require_same(mine(alone, plan, propose=lambda _, rows=listed: rows[None]), expected)


def test_empty_and_repeated_places_do_not_count(problem: Problem) -> None:
    listed = np.tile(np.arange(900), (QUERIES, 1))
    padded = np.concatenate([listed, listed[:, ::-1], np.full_like(listed, -1)], axis=1)
    plan = PLANS["filters"]

    def proposing(rows: np.ndarray) -> Mined:
        return mine(problem, plan, propose=lambda asked: rows[: len(asked)])

    require_same(proposing(padded), proposing(listed))


def test_a_query_with_no_candidates_gets_nothing(problem: Problem) -> None:
    nothing = np.full((QUERIES, 4), -1)
    mined = mine(problem, PLANS["hard"], propose=lambda asked: nothing[: len(asked)])
    assert (mined.rows == NO_ROW).all()
    assert (mined.target_ranks == 1).all()


@pytest.mark.slow
def test_it_is_the_same_each_time_and_measured(problem: Problem, kind: IndexKind) -> None:
    plan = PLANS["semi-hard"]
    (first, measured), (again, as_before) = (through(problem, plan, kind) for _ in range(2))
    require_same(first, again)
    assert measured == as_before
    exact = mine(problem, plan)
    shared = [np.isin(a[a != NO_ROW], b).sum() for a, b in zip(exact.rows, first.rows, strict=True)]
    assert measured.negatives_found == pytest.approx(sum(shared) / (exact.rows != NO_ROW).sum())
    assert measured.rows_identical == (exact.rows == first.rows).all(axis=1).mean()
    for name in ("target_rank", "candidates_in_band"):
        field = name if name.endswith("band") else f"{name}s"
        error = np.abs(getattr(exact, field).astype(int) - getattr(first, field)).mean()
        assert getattr(measured, f"{name}_error") == pytest.approx(error)
    assert measured.negatives_found > 0
    assert (measured.queries, measured.candidates) == (QUERIES, 500)


def test_few_candidates_are_told(problem: Problem) -> None:
    _, measured = through(problem, PLANS["semi-hard"], "ivf", 6)
    assert measured.negatives_found < 1
    assert measured.candidates_in_band_error > 0


@pytest.mark.slow
def test_auto_is_exact_up_to_its_size(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = PLANS["semi-hard"]
    for index in ("auto", "flat"):
        found, measured = through(problem, plan, index)
        assert measured is None
        require_same(found, mine(problem, plan))
    monkeypatch.setattr(approximate, "EXACT_PAIRS", QUERIES * IMAGES - 1)
    assert through(problem, plan, "auto")[1].index.startswith("IVF")
    for exact in (replace(plan, sampling="random"), replace(plan, num_negatives=501)):
        assert through(problem, exact, "auto")[1] is None


SAMPLES: dict[str, Plan] = {
    "softmax": replace(PLANS["semi-hard"], sampling="softmax"),
    "filled at random": replace(PLANS["starved"], fill="random"),
    "adaptive": Plan((Draw("any", 1.0, "adaptive"),), 5, 0.1, drop_window=20),
}


@pytest.mark.slow
@pytest.mark.parametrize("plan", [*PLANS.values(), *SAMPLES.values()], ids=[*PLANS, *SAMPLES])
def test_faiss_gives_what_flat_gives(problem: Problem, plan: Plan) -> None:
    found, measured = through(problem, plan, "faiss", 1500)
    assert measured is None
    require_same(found, mine(problem, plan))


@pytest.mark.slow
def test_faiss_settles_some_queries_and_the_scan_the_others(problem: Problem) -> None:
    finished: list[int] = []

    def scanned(request: Any, *given: Any, **others: Any) -> Any:
        finished.append(len(request))
        return stream(request, *given, **others)

    with mock.patch("cir.mining.engine.stream", scanned):
        for candidates in (20, 7, 1500):
            through(problem, PLANS["hard"], "faiss", candidates)
    assert len(finished) == 2
    assert 0 < finished[0] < finished[1] <= QUERIES


@pytest.mark.slow
def test_a_search_in_half_precision_settles_nothing(problem: Problem) -> None:
    def coarse(queries: np.ndarray) -> Any:
        products = (queries.astype(np.float16) @ problem.gallery.T.astype(np.float16)) * 0.99
        rows = np.argsort(-products, axis=1)[:, :300]
        return np.take_along_axis(products, rows, axis=1).astype(np.float32), rows

    require_same(mine(problem, PLANS["hard"], search=coarse), mine(problem, PLANS["hard"]))


@pytest.mark.slow
def test_no_index_on_a_gpu_is_asked_beyond_its_limits(problem: Problem) -> None:
    """The shim searches on the CPU, and the scan runs there."""
    gpu, expected = torch.device("cuda", 0), mine(problem, PLANS["hard"])
    with faiss_on_gpu() as moved, mock.patch("cir.mining.engine.mining_device", return_value=CPU):
        found, _ = through(problem, PLANS["hard"], "faiss", 9000, device=gpu)
        assert len(moved) == 1
        through(problem, PLANS["hard"], "ivf", 9000, device=gpu)
        assert len(moved) == 1
        through(problem, PLANS["hard"], "ivf", 2048, device=gpu)
        assert len(moved) == 2
        with pytest.raises(RuntimeError, match="k up to 2048"):
            FlatIndex(problem.gallery, gpu).search(problem.queries, 2049)
    require_same(found, expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"sampling": "random"},
        {"sampling": "softmax"},
        {"fill": "random"},
        {"draws": (Draw("any", 1.0, "any"),)},
    ],
)
def test_samples_are_refused(problem: Problem, changes: dict[str, Any], kind: IndexKind) -> None:
    with pytest.raises(UsageError, match=f"`index={kind!r}` proposes the nearest .*`index='flat'`"):
        through(problem, replace(PLANS["semi-hard"], **changes), kind)


def test_several_processes_are_refused(problem: Problem) -> None:
    with pytest.raises(UsageError, match="searched by one process, and 2 were started"):
        through(problem, PLANS["semi-hard"], "ivf", processes=Processes(0, 2))


MAPPED = """
import sys, threading
from pathlib import Path
import numpy as np
from cir.mining import Draw, Plan, Problem, exclusions_of, mine

def own():
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(s for s in status if s.startswith("RssAnon:")).split()[1]) / 1024

gallery = np.load(sys.argv[1], mmap_mode="r")
queries, plan = np.array(gallery[:32]), Plan((Draw("any", 1.0, "semi-hard"),), 5, 0.2)
barred = exclusions_of([[row] for row in range(32)])
mine(Problem(queries, queries, np.array(gallery[:3000]), barred), plan)
before, done, most = own(), threading.Event(), [0.0]

def watch():
    while not done.wait(0.002):
        most[0] = max(most[0], own() - before)

watcher = threading.Thread(target=watch)
watcher.start()
mined = mine(Problem(queries, queries, gallery, barred), plan)
done.set()
watcher.join()
whole = mine(Problem(queries, queries, np.array(gallery), barred), plan)
assert (mined.rows == whole.rows).all() and (mined.target_ranks == whole.target_ranks).all()
print(most[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_mapped_gallery_is_mined_in_bounded_memory(tmp_path: Path) -> None:
    rows, dim, parts = 80_000, 64, 5
    rng = np.random.default_rng(0)
    part = normalised(rng.standard_normal((rows, dim), dtype=np.float32), "test")
    path = tmp_path / "gallery.npy"
    mapped = np.lib.format.open_memmap(path, "w+", np.float32, (rows * parts, dim))
    for number in range(parts):
        mapped[number * rows : (number + 1) * rows] = np.roll(part, number, axis=1)
    mapped.flush()
    command = [sys.executable, "-W", "error", "-c", MAPPED, str(path)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert float(told.stdout) < mapped.nbytes / 2**20 / 2


@pytest.fixture
def config(dataset: Dataset, tmp_path: Path) -> dict[str, Any]:
    made = random_embeddings(dataset, dim=DIM, path=tmp_path / "embeddings.h5")
    write_store(made)
    files = {"dataset": dataset.root, "embeddings": made.path, "out": tmp_path / "manifest.parquet"}
    return files | {"margin": 0.5, "device": "cpu", "overwrite": True}


@pytest.mark.slow
def test_the_manifest_and_the_summary_say_how_far_off_it_is(
    config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    exact = read_manifest(run(MineConfig(**config)))
    assert exact.metadata.approximation is None
    told = " ".join(capsys.readouterr().out.split())
    assert "exact: cir's scan on the CPU compared every image" in told
    run(MineConfig(**config, index="faiss"))
    told = " ".join(capsys.readouterr().out.split())
    assert "exact: FAISS proposed the nearest images, cir's scan on the CPU did the rest" in told
    found = read_manifest(run(MineConfig(**config, index="hnsw", candidates=9)))
    measured = found.metadata.approximation
    assert measured is not None
    assert (measured.index, measured.candidates) == ("HNSW32,Flat", 9)
    assert (found.metadata.options["index"], found.metadata.options["candidates"]) == ("hnsw", 9)
    told = " ".join(capsys.readouterr().out.split())
    assert "HNSW32,Flat proposed 9 images a query; of 32 queries mined exactly as well" in told
    assert f"it found {100 * measured.negatives_found:.1f} % of the negatives" in told


_INDEXES: list[tuple[Index, dict[str, Any]]] = [
    ("flat", {}),
    ("faiss", {"candidates": 1000}),
    ("hnsw", {"candidates": 1000}),
]


@pytest.mark.slow
def test_a_manifest_of_all_candidates_holds_the_exact_rows(config: dict[str, Any]) -> None:
    frames = [
        pd.read_parquet(run(MineConfig(**config, sampling="top", index=index, **proposed)))
        for index, proposed in _INDEXES
    ]
    pd.testing.assert_frame_equal(frames[1], frames[0])
    pd.testing.assert_frame_equal(frames[2], frames[0])


def test_what_an_index_cannot_serve_is_one_line(config: dict[str, Any]) -> None:
    options = ["--dataset", str(config["dataset"]), "--embeddings", str(config["embeddings"])]
    options += ["--out", str(config["out"]), "--device", "cpu"]
    for asked, words in (
        (["--index", "annoy"], "--index is 'annoy'; expected one of auto, flat, faiss, ivf"),
        (["--index", "ivf", "--candidates", "4"], "--candidates is 4; expected at least 5"),
        (["--index", "ivfpq"], "--index ivfpq is trained on 9,984 vectors or more"),
        (["--index", "hnsw", "--sampling", "random"], "--index hnsw proposes the nearest"),
    ):
        told = CliRunner().invoke(app, ["mine", *options, *asked])
        assert told.exit_code == MISUSED
        assert words in " ".join(told.output.split())
        assert not config["out"].exists()
