"""The mine stage: the manifest it writes, what it prints, and what it refuses."""

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any, get_args

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from cir.artefacts.checkpoint import (
    read_checkpoint,
)
from cir.artefacts.manifest import read_manifest
from cir.artefacts.manifest_metadata import Pilot, PilotArm
from cir.artefacts.store import Embeddings, read_embeddings
from cir.artefacts.vectors import VectorTable
from cir.config import MineConfig, MiningOptions
from cir.data.captions import joined
from cir.data.dataset import SPLITS, Dataset
from cir.encoding.refresh import with_captions
from cir.encoding.weights.files import weights_sha256
from cir.errors import CheckpointError, UsageError
from cir.machine.processes import Processes
from cir.models.combiner import build_combiner
from cir.models.composition import baseline, composed_queries
from cir.training import pilot
from cir.training.pilot import WITHOUT_PILOT, SamplingPilot
from cir.types import KINDS, Strategy
from pipeline.cli import app
from pipeline.command.faults import FAILED, MISUSED
from pipeline.command.flags import flag
from pipeline.mine import run
from tests.support.checkpoints import HIDDEN, saved
from tests.support.micro import micro_encoder
from tests.support.oracle import check_manifest
from tests.support.worlds import random_embeddings, write_store

DIM = 16
CPU = torch.device("cpu")


@pytest.fixture
def embeddings(dataset: Dataset, tmp_path: Path) -> Embeddings:
    return random_embeddings(dataset, dim=DIM, path=tmp_path / "embeddings.h5")


@pytest.fixture
def config(dataset: Dataset, embeddings: Embeddings, tmp_path: Path) -> dict[str, Any]:
    return {
        "dataset": dataset.root,
        "embeddings": write_store(embeddings),
        "out": tmp_path / "manifest.parquet",
        "margin": 0.5,
        "sampling": "top",
        "device": "cpu",
    }


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_the_written_manifest_agrees_with_the_oracle(
    strategy: Any, config: dict[str, Any], dataset: Dataset
) -> None:
    asked = MineConfig(**config, strategy=strategy, query="reference")
    mined = read_manifest(run(asked))
    store, queries = read_embeddings(asked.embeddings), dataset.queries("train")
    texts = [joined(query.captions) for query in queries]
    vectors = composed_queries(queries, texts, store, baseline("reference"), CPU)
    check_manifest(mined, queries, store, dataset.galleries("train"), vectors, asked.options())
    metadata = mined.metadata
    assert (metadata.query, metadata.split, metadata.epoch) == ("reference", "train", 0)
    assert (metadata.embeddings_sha256, metadata.checkpoint_sha256) == (store.sha256, None)


FILTERS: dict[str, Any] = {
    "duplicate_threshold": 0.95,
    "max_target_similarity": 0.3,
    "exclude_siblings": True,
    "relative_margin": 0.1,
    "max_similarity": 0.5,
    "range_min": 1,
    "range_max": 40,
}


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["top", "softmax"])
def test_a_filtered_manifest_agrees_with_the_oracle_and_says_its_filters(
    sampling: Any, config: dict[str, Any], dataset: Dataset
) -> None:
    asked = MineConfig(**config | FILTERS | {"sampling": sampling, "query": "reference"})
    mined = read_manifest(run(asked))
    store, queries = read_embeddings(asked.embeddings), dataset.queries("train")
    texts = [joined(query.captions) for query in queries]
    vectors = composed_queries(queries, texts, store, baseline("reference"), CPU)
    check_manifest(mined, queries, store, dataset.galleries("train"), vectors, asked.options())
    assert mined.metadata.options == asked.options().to_json()
    described = json.loads(pq.read_schema(asked.out).metadata[b"cir.manifest"])
    assert {item.name for item in dataclasses.fields(MiningOptions)} <= set(described)
    assert FILTERS.items() <= described.items()


ARMS = (PilotArm("top", 0.05, 20.0), PilotArm("softmax", 0.1, 30.0), PilotArm("random", 0.05, 25))


def test_auto_takes_what_the_pilot_finds_best_and_records_it(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(SamplingPilot, "run", lambda self, options: Pilot(ARMS, 300, 200, 4))
    mined = read_manifest(run(MineConfig(**config | {"sampling": "auto"})))
    assert mined.metadata.pilot == Pilot(ARMS, 300, 200, 4)
    printed = " ".join(capsys.readouterr().out.split())
    assert "sampling: softmax at 0.1, the best of a pilot of 4 epochs on 300 queries" in printed
    assert "top 20.0, softmax at 0.1 30.0, random 25.0" in printed
    given = {**config, "overwrite": True, "sampling": "softmax", "temperature": 0.1}
    asked = read_manifest(run(MineConfig(**given)))
    assert asked.metadata.options == mined.metadata.options
    assert asked.negative_ids == mined.negative_ids
    assert asked.metadata.pilot is None


@pytest.mark.parametrize(
    ("changes", "sampling"),
    [
        ({"sampling": "softmax"}, "softmax"),
        ({"strategy": "random"}, "top"),
        ({"index": "hnsw", "candidates": 20}, "top"),
        ({"split": "val"}, "top"),
        ({}, WITHOUT_PILOT),
    ],
    ids=str,
)
def test_no_pilot_where_nothing_is_open_or_queries_are_few(
    changes: dict[str, Any],
    sampling: str,
    config: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if changes:
        monkeypatch.delattr(SamplingPilot, "run")
    asked = MineConfig(**config | {"sampling": "auto"} | changes)
    metadata = read_manifest(run(asked)).metadata
    assert (metadata.options["sampling"], metadata.pilot) == (sampling, None)
    said = f"sampling: {sampling}, without a pilot" in capsys.readouterr().out
    assert said == (asked.sampling == "auto")


def test_advice_is_printed_and_nothing_written(
    config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = MineConfig(**config, advise=True)
    assert run(asked) == asked.embeddings
    assert not asked.out.exists()
    printed = " ".join(capsys.readouterr().out.split())
    assert "rank of target, median" in printed
    assert "only 0 queries list several targets" in printed
    assert "--sampling auto tries out where to draw" in printed


def test_of_several_processes_the_main_one_advises(
    config: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Processes, "broadcast_from_main", lambda self, make: make())
    run(MineConfig(**config, advise=True), Processes(1, 2))
    assert capsys.readouterr().out == ""


def test_pandas_reads_it_with_no_help(config: dict[str, Any]) -> None:
    frame = pd.read_parquet(run(MineConfig(**config)))
    assert len(frame) == 32
    assert set(frame.negative_kinds.explode()) <= {"hard", "semi-hard", "easy"}


def test_the_summary_says_what_was_mined(
    config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run(MineConfig(**config, strategy="category-aware"))
    printed = capsys.readouterr().out
    for words in (
        *("distance to target", "distance to negatives", "rank of target", "50 %"),
        *("same-category", "other-category", "semi-hard", "starved", "dropped", "duplicates"),
    ):
        assert words in printed
    for words in ("siblings", "cosine to the target above", "cosine to the query", "rank not"):
        assert words not in printed


def test_the_summary_counts_what_each_filter_refused(
    config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    counts = read_manifest(run(MineConfig(**config, **FILTERS))).metadata.counts
    cells = [line.split("│") for line in capsys.readouterr().out.splitlines()]
    found = {row[1].strip(): row[2].strip() for row in cells if len(row) == 5}
    assert found == {
        name: f"{count:,}"
        for name, count in (
            ("duplicates: same bytes as the target", counts.excluded_as_duplicate_bytes),
            (
                "duplicates: cosine to the target at least 0.95",
                counts.excluded_as_duplicate_vectors,
            ),
            ("siblings: targets of the reference's other captions", counts.excluded_as_siblings),
            ("cosine to the target above 0.3", counts.excluded_by_target_similarity),
            (
                "cosine to the query above 0.9 of the target's",
                counts.excluded_by_relative_margin,
            ),
            ("cosine to the query above 0.5", counts.excluded_by_max_similarity),
            ("rank not 2 to 40", counts.excluded_by_ranks),
        )
    }
    assert counts.excluded_by_relative_margin > 0
    assert counts.excluded_by_target_similarity > 0


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"strategy": "random"}, "0 of 32 queries starved; 0 dropped"),
        ({"margin": 0.0}, "32 of 32 queries starved (32 by an empty band, 0 by one too small), "),
        ({"margin": 2.0, "num_negatives": 40, "on_starved": "drop"}, "starved (0 by an empty band"),
    ],
)
def test_the_summary_says_who_starved_and_why(
    config: dict[str, Any],
    changes: dict[str, Any],
    line: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mined = read_manifest(run(MineConfig(**config | changes)))
    told = next(row for row in capsys.readouterr().out.splitlines() if "starved" in row)
    assert line in told
    assert told.endswith(f"; {mined.metadata.counts.dropped} dropped")
    assert ("filled with" in told) == (changes.get("margin") == 0)


def test_the_summary_says_what_the_starved_were_filled_with(
    config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = read_manifest(run(MineConfig(**config | {"margin": 0.0}))).negative_kinds
    hard, easy = (100 * (kinds == KINDS.index(kind)).mean() for kind in ("hard", "easy"))
    assert f"filled with {hard:.1f} % hard, {easy:.1f} % easy;" in capsys.readouterr().out


def test_skipped_images_are_counted(
    config: dict[str, Any],
    embeddings: Embeddings,
    dataset: Dataset,
    capsys: pytest.CaptureFixture[str],
) -> None:
    queries = dataset.queries("train")
    lost = queries[0].target_id
    keys = tuple(key for key in embeddings.images.keys if key != lost)
    partial = dataclasses.replace(
        embeddings,
        images=VectorTable(keys, embeddings.images.take(keys)),
        image_sha256=embeddings.image_sha256[1:],
        skipped={lost: "truncated"},
    )
    write_store(partial)
    mined = read_manifest(run(MineConfig(**config)))
    needed = sum(lost in (query.reference_id, query.target_id) for query in queries)
    assert mined.metadata.counts.dropped == needed >= 1
    assert lost not in mined.negative_ids
    told = capsys.readouterr().out
    assert "1 images are left out of the gallery" in told
    assert f"{needed} queries are left out: embedding skipped their reference or target" in told
    assert f"of {len(queries) - needed} queries starved" in told
    assert "; 0 dropped" in told


def test_a_combiner_mines_for_its_own_encoder_alone(
    config: dict[str, Any], embeddings: Embeddings, dataset: Dataset, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    combiner = build_combiner("attention-fusion", dim=DIM, hidden=HIDDEN)
    folder = saved(tmp_path / "own", combiner, embeddings.provenance)
    asked = MineConfig(**config, query="combiner", checkpoint=folder)
    mined = read_manifest(run(asked))
    assert mined.metadata.checkpoint_sha256 == read_checkpoint(folder).sha256
    queries = dataset.queries("train")
    texts = [joined(query.captions) for query in queries]
    vectors = composed_queries(queries, texts, embeddings, combiner, CPU)
    galleries = dataset.galleries("train")
    check_manifest(mined, queries, embeddings, galleries, vectors, asked.options())
    other = dataclasses.replace(embeddings.provenance, weights_sha256="1" * 64)
    saved(folder, combiner, other)
    with pytest.raises(CheckpointError, match="come from different encoders: weights_sha256"):
        run(dataclasses.replace(asked, overwrite=True))


def test_a_tuned_combiner_asks_for_vectors_of_the_tuned_encoder(
    config: dict[str, Any], embeddings: Embeddings, tmp_path: Path
) -> None:
    combiner, clip = build_combiner("attention-fusion", dim=DIM, hidden=HIDDEN), nn.Linear(3, 2)
    folder = saved(tmp_path / "tuned", combiner, embeddings.provenance, clip=clip)
    asked = MineConfig(**config, query="combiner", checkpoint=folder)
    with pytest.raises(CheckpointError, match=f"cir embed .* `weights='{folder}'`"):
        run(asked)
    tuned = dataclasses.replace(
        embeddings.provenance,
        pretrained="clip.safetensors",
        weights_sha256=weights_sha256(clip.state_dict()),
    )
    write_store(dataclasses.replace(embeddings, provenance=tuned))
    assert len(read_manifest(run(asked))) == 32


def test_a_tuned_text_tower_mines_over_the_store_of_its_training(
    config: dict[str, Any],
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Queries are composed of captions as the tuned tower sees them; images are the store's.

    So is what the pilot trains on, of which each caption alone is a part.
    """
    monkeypatch.setattr(pilot, "EPOCHS", 1)
    monkeypatch.setattr(pilot, "FEWEST_DEV", 1)
    encoder = micro_encoder(seed=1)
    store = random_embeddings(dataset, dim=encoder.dim, path=config["embeddings"])
    write_store(store)
    torch.manual_seed(0)
    combiner = build_combiner("attention-fusion", dim=encoder.dim, hidden=HIDDEN)
    folder = saved(tmp_path / "best", combiner, store.provenance, clip=encoder.clip, tune="text")
    monkeypatch.setattr("cir.encoding.loading.load_encoder", lambda *_, **__: encoder)
    asked = MineConfig(
        **config | {"sampling": "auto"}, query="combiner", checkpoint=folder, on_starved="nearest"
    )
    mined = read_manifest(run(asked))
    assert mined.metadata.pilot is not None
    queries = dataset.queries("train")
    texts = [joined(query.captions) for query in queries]
    seen = with_captions(store, encoder, texts)
    vectors = composed_queries(queries, texts, seen, combiner, CPU)
    options = MiningOptions(**mined.metadata.options)
    check_manifest(mined, queries, store, dataset.galleries("train"), vectors, options)


def refused(config: dict[str, Any], **changes: Any) -> tuple[int, str]:
    """The exit code of `cir mine` on bad input, and its line; it leaves every file as it was."""
    folder = config["out"].parent
    before = sorted(folder.rglob("*"))
    values = config | changes
    done = CliRunner().invoke(app, ["mine", *(f"{flag(n)}={v}" for n, v in values.items())])
    lines = done.stderr.splitlines()
    assert sum("error:" in line for line in lines) == 1
    assert sorted(folder.rglob("*")) == before
    return done.exit_code, lines[-1]


@pytest.mark.parametrize(
    ("changes", "code", "line"),
    [
        ({"split": "test"}, MISUSED, "has no target: pass the train or val split"),
        ({"embeddings": "nowhere.h5"}, FAILED, "no embedding store at nowhere.h5"),
        ({"dataset": "nowhere"}, FAILED, "no dataset folder at nowhere"),
        ({"num_negatives": 49}, MISUSED, "--num-negatives is 49; expected at most 48, the images"),
        ({"num_negatives": 0}, MISUSED, "--num-negatives is 0; expected at least 1"),
        ({"margin": -0.1}, MISUSED, "--margin is -0.1; expected 0 to 2"),
        ({"margin": 2.1}, MISUSED, "--margin is 2.1; expected 0 to 2"),
        ({"margin": "nan"}, MISUSED, "--margin is nan; expected 0 to 2"),
        ({"range_min": 5, "range_max": 5}, MISUSED, "--range-max is 5; expected more than --range"),
        ({"sampling": "softmax", "temperature": 0}, MISUSED, "--temperature is 0.0; expected more"),
        (
            {"relative_margin": 1.5, "max_similarity": 2, "max_target_similarity": -2},
            MISUSED,
            (
                "--relative-margin is 1.5; expected 0 to 1; --max-similarity is 2.0; "
                "expected -1 to 1; --max-target-similarity is -2.0; expected -1 to 1"
            ),
        ),
        (
            {"margin": 0.0, "on_starved": "fail"},
            FAILED,
            (
                "32 of 32 queries are starved, the first dress-train-00000: fewer than 5 "
                "candidates are of the band's kind (32 queries have none); pass --on-starved"
            ),
        ),
        (
            {"margin": 0.0, "on_starved": "drop"},
            FAILED,
            "starved 32; starved queries are dropped: pass --on-starved nearest, a wider --margin",
        ),
        (
            {"max_similarity": -1.0},
            FAILED,
            (
                "has a negative: 32 were dropped, starved 32; every candidate is excluded: pass "
                "weaker filters than --max-similarity -1.0"
            ),
        ),
    ],
)
def test_a_fault_is_one_line_and_leaves_no_file(
    config: dict[str, Any], changes: dict[str, Any], code: int, line: str
) -> None:
    found, told = refused(config, **changes)
    assert line in told
    assert found == code


@pytest.mark.slow
@pytest.mark.parametrize(("value", "fault"), [(np.nan, "not finite"), (0.0, "all zero")])
def test_vectors_without_a_direction_are_refused(
    config: dict[str, Any], value: float, fault: str
) -> None:
    with h5py.File(config["embeddings"], "r+") as file:
        file["images/embedding"][3] = value
    code, told = refused(config)
    assert code == FAILED
    assert f"(images) have no direction: row 3 is {fault}; embed again" in told


def test_a_store_of_another_dataset_is_refused(
    config: dict[str, Any], embeddings: Embeddings
) -> None:
    lost = "dtr000"
    at = embeddings.images.row_of[lost]
    keys = tuple(key for key in embeddings.images.keys if key != lost)
    digests = embeddings.image_sha256[:at] + embeddings.image_sha256[at + 1 :]
    few = VectorTable(keys, embeddings.images.take(keys))
    write_store(dataclasses.replace(embeddings, images=few, image_sha256=digests))
    code, told = refused(config)
    assert code == FAILED
    assert re.search(f"lacks .* wanted rows, the first '{lost}'.*; run cir embed again", told)


def test_a_store_that_training_could_not_use_is_refused_before_anything_is_mined(
    config: dict[str, Any], embeddings: Embeddings, dataset: Dataset
) -> None:
    """Mining composes queries of both captions alone; training reads each of them, too."""
    joint = sorted({joined(q.captions) for split in SPLITS[:2] for q in dataset.queries(split)})
    few = VectorTable(tuple(joint), embeddings.captions.take(joint))
    write_store(dataclasses.replace(embeddings, captions=few))
    code, told = refused(config)
    assert code == FAILED
    assert re.search(r"lacks \d+ of \d+ wanted rows, the first .*; run cir embed again", told)
    assert run(MineConfig(**config | {"split": "val"})).is_file()


def _with_two_dresses(dataset: Dataset, root: Path) -> Path:
    """The dataset, of which one category has two training images, of the same queries."""
    shutil.copytree(dataset.root, root)
    (root / "image_splits" / "split.dress.train.json").write_text('["dtr000", "dtr001"]')
    captions = root / "captions" / "cap.dress.train.json"
    rows = json.loads(captions.read_text())
    same = {"candidate": "dtr000", "target": "dtr001"}
    captions.write_text(json.dumps([row | same for row in rows]))
    return root


def test_a_category_without_another_image_is_served_from_elsewhere_or_refused(
    config: dict[str, Any], dataset: Dataset, tmp_path: Path
) -> None:
    config["dataset"] = _with_two_dresses(dataset, tmp_path / "two")
    code, told = refused(config, strategy="category-aware", on_starved="fail")
    assert code == FAILED
    assert "queries are starved, the first dress-train-00000" in told
    mined = read_manifest(run(MineConfig(**config, strategy="category-aware")))
    counts = mined.negative_counts[[c == "dress" for c in mined.categories]]
    assert counts.tolist() == [5] * 16


def test_a_full_disk_leaves_no_file(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object, aside: Path, **__: object) -> None:
        aside.write_bytes(b"PAR1 half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    code, told = refused(config)
    assert code == FAILED
    assert f"cannot write {config['out']}: No space left on device" in told


def test_a_manifest_that_exists_is_replaced_only_on_demand(config: dict[str, Any]) -> None:
    first = run(MineConfig(**config)).read_bytes()
    with pytest.raises(UsageError, match="`overwrite=True`"):
        run(MineConfig(**config, strategy="random"))
    assert config["out"].read_bytes() == first
    run(MineConfig(**config, overwrite=True))
    assert config["out"].read_bytes() == first
    run(MineConfig(**config, strategy="random", overwrite=True))
    assert config["out"].read_bytes() != first


def test_vectors_are_compared_by_direction(config: dict[str, Any], embeddings: Embeddings) -> None:
    first = read_manifest(run(MineConfig(**config)))
    longer = VectorTable(embeddings.images.keys, embeddings.images.vectors * np.float32(4))
    write_store(dataclasses.replace(embeddings, images=longer))
    again = read_manifest(run(MineConfig(**config, overwrite=True)))
    assert again.negative_ids == first.negative_ids
    np.testing.assert_array_equal(again.negative_distances, first.negative_distances)
