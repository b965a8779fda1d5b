"""A run's charts: from known figures, of terms nobody has heard of, turnover by hand."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from cir.artefacts.manifest import Manifest, write_manifest
from cir.data.dataset import Dataset
from cir.models.combiner import build_combiner
from cir.models.composer import find_checkpoint
from cir.reporting.epoch_figures import epoch_figures, series
from cir.reporting.mined_epochs import read_mined
from cir.reporting.run_charts import run_charts
from cir.reporting.run_record import RunRecord
from tests.support.checkpoints import HIDDEN, saved
from tests.support.mined import random_manifest
from tests.support.worlds import random_embeddings

DEV = {"R@1": 10.0, "R@10": 40.0, "R@50": 80.0, "headline": 60.0}
KINDS = {"hard": 0.25, "semi-hard": 0.75, "easy": 0.0}


def line(epoch: int, **more: object) -> dict[str, object]:
    flat = dict.fromkeys(("loss", "triplet", "contrastive", "active_share", "learning_rate"))
    return {"epoch": epoch, "seconds": 4.0, "dev": DEV, "manifest": KINDS, **flat, **more}


@pytest.fixture(scope="module")
def manifest(dataset: Dataset) -> Manifest:
    return random_manifest(dataset, random_embeddings(dataset))


def exchanged(manifest: Manifest, epoch: int, row: int) -> Manifest:
    """The manifest of a later epoch, in which a row has quite other negatives."""
    start, count = manifest.negative_starts[row], manifest.negative_counts[row]
    ids = list(manifest.negative_ids)
    ids[start : start + count] = [f"other{number}" for number in range(count)]
    return dataclasses.replace(
        manifest,
        negative_ids=tuple(ids),
        metadata=dataclasses.replace(manifest.metadata, epoch=epoch, strategy="hard"),
    )


def charts(tmp_path: Path, lines: list[dict[str, object]], *manifests: Manifest) -> dict[str, str]:
    """Every drawing of a run as text, by the chart's title."""
    files = [tmp_path / f"epoch-{number:03d}.parquet" for number in range(len(manifests))]
    run = recorded(files, lines, *manifests)
    return {chart.title: "".join(map(str, chart.drawings)) for chart in run_charts(run, DEV)}


def recorded(files: list[Path], lines: list[dict[str, object]], *manifests: Manifest) -> RunRecord:
    """A run of these epochs and manifests, which are written to files."""
    for file, one in zip(files, manifests, strict=True):
        write_manifest(one, file)
    dim = manifests[0].metadata.provenance.embed_dim
    combiner = build_combiner("attention-fusion", dim=dim, hidden=HIDDEN)
    folder = saved(files[0].parent / "best", combiner, manifests[0].metadata.provenance)
    epochs = [epoch_figures(one) for one in lines]
    return RunRecord({}, epochs, DEV, read_mined(files), find_checkpoint(folder))


def described(drawn: str) -> list[str]:
    """What is said of each drawing, of its size for phones not once more."""
    return list(dict.fromkeys(re.findall(r'aria-label="([^"]+)"', drawn)))


@pytest.mark.slow
def test_an_unknown_number_that_changes_has_a_curve(tmp_path, manifest):
    lines = [line(0)] + [
        line(epoch, size=7, temperature=epoch, novel={"term": epoch / 4}) for epoch in (1, 2)
    ]
    drawn = charts(tmp_path, lines, manifest)
    assert described(drawn["Further figures"]) == [
        "temperature by epoch: 1, 2",
        "novel / term by epoch: 0.25, 0.5",
    ]


@pytest.mark.usefixtures("undrawn")
def test_the_terms_of_a_line_itself(tmp_path, manifest):
    lines = [
        line(0),
        line(1, loss=2.5, triplet=0.5, contrastive=2.0, active_share=0.9, learning_rate=0.1),
    ]
    drawn = charts(tmp_path, lines, manifest)
    assert described(drawn["Loss"]) == [
        "total by epoch: 2.5",
        "triplet by epoch: 0.5",
        "contrastive by epoch: 2",
    ]
    assert described(drawn["Active triplets"]) == ["active triplets, last epoch: 90 percent"]
    assert described(drawn["Learning rate"]) == ["learning rate by epoch: 0.1"]


@pytest.mark.usefixtures("undrawn")
def test_a_lone_term_is_drawn_once(tmp_path, manifest):
    drawn = charts(tmp_path, [line(0), line(1, loss=0.5, triplet=0.5)], manifest)
    assert described(drawn["Loss"]) == ["triplet by epoch: 0.5"]


@pytest.mark.usefixtures("undrawn")
def test_before_any_training_there_is_no_empty_chart(tmp_path, manifest):
    drawn = charts(tmp_path, [line(0)], manifest)
    assert set(drawn) == {
        "Recall on held-out queries",
        "Negatives against their targets",
        "Wall time",
    }


@pytest.mark.slow
def test_time_by_part_leaves_the_rest(tmp_path, manifest):
    lines = [line(0), line(1, parts={"train": 2.5, "mine": 1.0})]
    drawn = charts(tmp_path, lines, manifest)["Wall time"]
    for name in ("train", "mine", "the rest"):
        assert name in drawn
    assert described(drawn) == ["wall time: 8 seconds in all"]


def test_turnover_by_hand(tmp_path, manifest):
    second = exchanged(manifest, 1, row=3)
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet", tmp_path / "c.parquet"]
    for file, one in zip(files, (manifest, second, second), strict=True):
        write_manifest(one, file)
    first, changed, same = read_mined(files).epochs
    assert first.turnover is None
    assert changed.turnover is not None
    assert changed.turnover.mean == pytest.approx(1 / len(manifest))
    assert (changed.turnover.low, changed.turnover.high) == (0, 0)
    assert same.turnover is not None
    assert same.turnover.mean == 0
    assert [one.strategy for one in (first, changed)] == ["semi-hard", "hard"]
    assert first.targets is not None
    assert first.targets.mean == pytest.approx(np.mean(manifest.target_distances), abs=1e-6)
    assert first.targets.low == pytest.approx(np.percentile(manifest.target_distances, 25))


@pytest.mark.usefixtures("undrawn")
def test_a_loss_that_rises_is_explained_beside_one_that_compares(tmp_path, manifest):
    lines = [line(0, fixed=0.3)]
    lines += [line(e, loss=0.5 + e, triplet=0.1 + e, fixed=0.3 / e) for e in (1, 2)]
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    run = recorded(files, lines, manifest, exchanged(manifest, 1, row=0))
    (loss,) = (chart for chart in run_charts(run, DEV) if chart.title == "Loss")
    assert described("".join(loss.drawings)) == [
        "total by epoch: 1.5, 2.5",
        "triplet by epoch: 1.1, 2.1",
        "fixed negatives by epoch: 0.3, 0.3, 0.15",
    ]
    assert "Each mining makes the negatives harder" in loss.caption
    assert "the triplet loss on those that the run began with" in loss.caption


@pytest.mark.usefixtures("undrawn")
def test_what_never_changes_is_not_drawn(tmp_path, manifest):
    parts = {"train": 2.0, "embed": 0.0}
    drawn = charts(tmp_path, [line(0), line(1, parts=parts)], manifest)
    assert "Kinds of negatives" not in drawn
    assert "embed" not in drawn["Wall time"]
    other = dict.fromkeys(KINDS, 0.0) | {"easy": 1.0}
    changed = charts(tmp_path, [line(0), line(1, manifest=other)], manifest)
    assert "Kinds of negatives" in changed


@pytest.mark.usefixtures("undrawn")
def test_distances_and_turnover_are_drawn_of_each_mining(tmp_path, manifest):
    later = exchanged(manifest, 1, row=0)
    drawn = charts(tmp_path, [line(0), line(1)], manifest, later)
    mean = f"{np.mean(manifest.target_distances):.3g}"
    assert f"distance of target: {mean}, {mean}" in described(drawn["How distances move"])[0]
    share = f"{100 / len(manifest):.3g}"
    assert described(drawn["Turnover of negatives"])[0].endswith(f": {share}")


def test_a_series_skips_epochs_without_a_value():
    epochs = [epoch_figures(line(0)), epoch_figures(line(1, novel=2)), epoch_figures(line(2))]
    assert series(epochs, "others") == {"novel": ([1], [2])}


def test_how_many_pairs_are_trusted_is_a_further_figure():
    epochs = [epoch_figures(line(0)), epoch_figures(line(1, manifest=KINDS | {"trust": 0.8}))]
    assert series(epochs, "others") == {"trust": ([1], [0.8])}
    assert epoch_figures(line(2, manifest=None)).others == {}
