"""Several processes, each with a part of the gallery, give what one gives."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cir.artefacts.manifest import Manifest
from cir.config import MineConfig, MiningOptions
from cir.data.dataset import Dataset
from cir.data.pairs import ProposedPair
from cir.errors import UsageError
from cir.machine.processes import ALONE, Processes
from cir.mining.machine import Machine
from cir.mining.manifest import build_gallery
from cir.mining.proposals import propose_pairs
from pipeline.command.faults import FAILED, MISUSED
from pipeline.command.flags import flag
from pipeline.mine import run
from tests.support.forked import CIR, ROOT, launched
from tests.support.launched import ASKED, config
from tests.support.mining_worlds import (
    World,
    filters,
    machines,
    mining_options,
    random_world,
    small_worlds,
)
from tests.support.threads import Meeting, Threads, in_shards
from tests.support.worlds import random_embeddings, write_store

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("ORACLE_EXAMPLES", "30"))


def mined_in_shards(
    world: World, options: MiningOptions, shares: Sequence[float], machine: Machine
) -> list[Manifest]:
    """What each process mines where the parts of the gallery end at `shares` of it."""
    return in_shards(shares, partial(mined, world, options, machine))


@settings(max_examples=EXAMPLES // 10)
@given(world=small_worlds(), shares=st.lists(st.floats(0, 1), min_size=1, max_size=3))
def test_every_process_proposes_the_pairs_that_one_does(
    world: dict[str, Any], shares: list[float]
) -> None:
    drawn = random_world(**world)
    alone = proposed(drawn, ALONE)
    assert in_shards(shares, partial(proposed, drawn)) == [alone] * (len(shares) + 1)


def proposed(world: World, processes: Processes) -> list[ProposedPair]:
    return propose_pairs(
        world.queries,
        world.embeddings,
        world.galleries,
        world.query_vectors,
        Machine(block_size=16, processes=processes),
        count=20,
        most_uses=2,
        margin=0.5,
        duplicate_threshold=0.9,
    )


def mined(world: World, options: MiningOptions, machine: Machine, processes: Processes) -> Manifest:
    return world.mine(options, dataclasses.replace(machine, processes=processes))


def assert_same(found: Manifest, expected: Manifest) -> None:
    for field in dataclasses.fields(Manifest):
        values = getattr(expected, field.name)
        np.testing.assert_equal(getattr(found, field.name), values, err_msg=field.name)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    small_worlds(),
    mining_options(),
    st.one_of(st.just({}), filters()),
    st.lists(st.floats(0, 1), max_size=4),
    machines(blocks=st.just(5)),
)
def test_any_parts_of_a_gallery_give_the_manifest_of_the_whole(
    world: Mapping[str, Any],
    options: Mapping[str, Any],
    filters: Mapping[str, Any],
    shares: Sequence[float],
    machine: Machine,
) -> None:
    made = random_world(**world)
    most = len({i for gallery in made.galleries.values() for i in gallery})
    asked = MiningOptions(
        **{**options, **filters, "num_negatives": min(options["num_negatives"], most)}
    )
    expected = made.mine(asked)
    for found in mined_in_shards(made, asked, shares, machine):
        assert_same(found, expected)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 60])
def test_each_process_holds_its_part_and_all_parts_are_the_gallery(
    count: int, dataset: Dataset
) -> None:
    store, galleries = random_embeddings(dataset), dataset.galleries("train")
    whole = build_gallery(galleries, store)
    parts = [build_gallery(galleries, store, Processes(rank, count)) for rank in range(count)]
    assert {part.ids for part in parts} == {whole.ids}
    assert max(len(part.vectors) for part in parts) == -(-len(whole.ids) // count)
    np.testing.assert_array_equal(np.concatenate([part.vectors for part in parts]), whole.vectors)
    members = np.concatenate([part.members for part in parts], axis=1)
    np.testing.assert_array_equal(members, whole.members)


def test_hosts_with_different_data_are_refused(dataset: Dataset) -> None:
    world = random_world(seed=0, dim=4, images=20, count=5, categories=1, whole=False)
    other = dataclasses.replace(world, queries=world.queries[:4])
    meeting = Meeting(2)
    with ThreadPoolExecutor(2) as pool:
        pending = [
            pool.submit(mined, given, MiningOptions(), Machine(), Threads(rank, [0.5], meeting))
            for rank, given in enumerate((world, other))
        ]
        for each in pending:
            with pytest.raises(UsageError, match="process 1 has another `dataset` than process 0"):
                each.result()


@pytest.fixture
def files(dataset: Dataset, tmp_path: Path) -> dict[str, Path]:
    embeddings = write_store(random_embeddings(dataset, path=tmp_path / "embeddings.h5"))
    return {"dataset": dataset.root, "embeddings": embeddings}


def test_two_processes_write_the_file_of_one(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    words = [*map(str, files.values()), "two"]
    (first, output, _), (second, *_) = ended = launched(
        "tests.support.launched", [words, words], tmp_path
    )
    assert (first, second) == (0, 0), ended
    assert output.count("candidates in band") == len(ASKED)
    for name in ASKED:
        alone = run(config(name, *files.values(), tmp_path))
        assert (tmp_path / "two" / alone.name).read_bytes() == alone.read_bytes(), name
    assert len(list((tmp_path / "two").iterdir())) == len(ASKED)


def flags(files: dict[str, Path], **others: object) -> list[str]:
    return [f"{flag(name)}={value}" for name, value in {**files, **others}.items()]


def test_the_command_runs_under_torchrun(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, os, pathlib\n"
        "if 'RANK' in os.environ:\n"
        "    atexit.register(pathlib.Path('taken-apart').touch)\n"
    )
    asked = {"strategy": "category-aware", "device": "cpu"}
    words = flags(files, **asked, out="two.parquet")
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone")
    done = subprocess.run(
        [*torchrun, "--nproc-per-node", "2", "-m", CIR, "mine", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("queries starved") == 1
    alone = run(MineConfig(**files, **asked, out=tmp_path / "one.parquet"))
    assert (tmp_path / "two.parquet").read_bytes() == alone.read_bytes()
    # Python taken apart beside threads that hold its tensors aborts once in a while.
    assert not (tmp_path / "taken-apart").exists()


@pytest.mark.parametrize(
    ("wrong", "code", "line"),
    [
        (
            [{"margin": 3}, {"margin": 3}],
            MISUSED,
            "error: --margin is 3.0; expected 0 to 2",
        ),
        (
            [{}, {"embeddings": "nowhere.h5"}],
            FAILED,
            "error: process 1: no embedding store at nowhere.h5: make it with cir embed",
        ),
    ],
)
def test_a_failure_anywhere_ends_all_with_one_line(
    wrong: Sequence[dict[str, object]],
    code: int,
    line: str,
    files: dict[str, Path],
    tmp_path: Path,
) -> None:
    commands = [["mine", *flags({**files, "out": "bad.parquet", **own})] for own in wrong]
    before = sorted(tmp_path.iterdir())
    (first, *_), (second, *quiet) = ended = launched(CIR, commands, tmp_path)
    assert (first, second) == (code, code)
    assert [text.count("\n") for text in ended[0][1:]] == [0, 1]
    assert ended[0][2].startswith(line)
    assert quiet == ["", ""]
    assert sorted(tmp_path.iterdir()) == before
