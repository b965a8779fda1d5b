"""The report: what it holds, that it needs no network, and that it escapes what users write."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from cir import __version__
from cir.artefacts.checkpoint import SCHEMA_VERSION, CheckpointMetadata, save_checkpoint
from cir.artefacts.manifest import SCHEMA_VERSION as MANIFEST_SCHEMA
from cir.artefacts.manifest import Manifest, write_manifest
from cir.artefacts.manifest_metadata import ManifestCounts, ManifestMetadata
from cir.artefacts.store import Embeddings
from cir.config import MiningOptions
from cir.data.dataset import Dataset
from cir.errors import CheckpointError
from cir.evaluation.protocol import Protocol
from cir.evaluation.recall import Evaluation, evaluate
from cir.models.combiner import SumCombiner, TextOnly, build_combiner
from cir.reporting import report
from cir.reporting.charts import Line, distributions, line_chart, stacked_bars
from cir.reporting.report import write_report
from cir.reporting.svg import C1, C2
from cir.types import KINDS
from tests.support.worlds import random_embeddings, small_dataset

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
NASTY = '<script>alert("x")</script>'
FIGURES = {"R@1": 1.0, "R@5": 5.0, "R@10": 11.25, "R@50": 52.5, "headline": 31.875}
BETTER = {"R@1": 9.0, "R@5": 25.0, "R@10": 41.25, "R@50": 82.5, "headline": 61.875}


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset whose captions try to break out of the page."""
    root = tmp_path_factory.mktemp("nasty") / "dataset"
    small_dataset(root, images=12, queries=24)
    for file in (root / "captions").glob("cap.*.train.json"):
        rows = json.loads(file.read_text())
        file.write_text(json.dumps([row | {"captions": [NASTY, "is & was"]} for row in rows]))
    return Dataset(root)


@pytest.fixture(scope="module")
def embeddings(nasty: Dataset) -> Embeddings:
    return random_embeddings(nasty)


@pytest.fixture(scope="module")
def run(nasty: Dataset, embeddings: Embeddings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of two epochs, written by hand."""
    folder = tmp_path_factory.mktemp("run") / "run"
    for epoch in (0, 2):
        write_manifest(
            mined(nasty, embeddings, epoch), folder / "manifests" / f"epoch-{epoch:03d}.parquet"
        )
    config = {"dev_fraction": 0.25, "seed": 0, "combiner": "attention-fusion", "out": NASTY}
    (folder / "config.json").write_text(json.dumps(config))
    lines = [measured(0, FIGURES) | {"sum": FIGURES}, measured(1, FIGURES), measured(2, BETTER)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    save_best(folder / "checkpoints" / "best", embeddings)
    return folder


def measured(epoch: int, dev: dict[str, float]) -> dict[str, object]:
    losses = ("loss", "triplet", "contrastive", "active_share", "learning_rate")
    kinds = {"hard": 0.25, "semi-hard": 0.5, "easy": 0.25, "starved": 3}
    return {
        "epoch": epoch,
        "seconds": 1.5,
        "dev": dev,
        "manifest": {"target_distance": 0.5, "negative_distance": 0.6, **kinds},
        **dict.fromkeys(losses, 0.5 if epoch else None),
    }


def mined(dataset: Dataset, embeddings: Embeddings, epoch: int) -> Manifest:
    """Random negatives, two a query."""
    queries = dataset.queries("train")
    rng = np.random.default_rng(epoch)
    flat = 2 * len(queries)
    counts = ManifestCounts(len(queries), starved=3, dropped=0, excluded_as_duplicates=0)
    return Manifest(
        query_ids=tuple(q.id for q in queries),
        categories=tuple(q.category for q in queries),
        reference_ids=tuple(q.reference_id for q in queries),
        target_ids=tuple(q.target_id for q in queries),
        captions=tuple(q.captions for q in queries),
        target_distances=rng.random(len(queries), dtype=np.float32),
        target_ranks=np.ones(len(queries), np.int32),
        candidates_in_band=np.ones(len(queries), np.int32),
        negative_counts=np.full(len(queries), 2, np.int64),
        negative_ids=tuple(rng.choice(dataset.gallery("train", "dress"), flat).tolist()),
        negative_distances=rng.random(flat, dtype=np.float32),
        negative_kinds=rng.integers(0, len(KINDS), flat, dtype=np.int8),
        negative_scopes=np.zeros(flat, np.int8),
        metadata=ManifestMetadata(
            schema_version=MANIFEST_SCHEMA,
            cir_version=__version__,
            strategy="semi-hard",
            margin=0.2,
            seed=0,
            epoch=epoch,
            query="sum",
            split="train",
            options=MiningOptions().to_json(),
            embeddings_sha256=embeddings.sha256,
            provenance=embeddings.provenance,
            checkpoint_sha256=None,
            counts=counts,
        ),
    )


def save_best(folder: Path, embeddings: Embeddings) -> None:
    dim = embeddings.provenance.embed_dim
    combiner = build_combiner("attention-fusion", dim=dim, hidden=8)
    metadata = CheckpointMetadata(
        schema_version=SCHEMA_VERSION,
        cir_version=__version__,
        combiner="attention-fusion",
        dim=dim,
        hidden=8,
        tune="none",
        epoch=2,
        provenance=embeddings.provenance,
        embeddings_sha256=embeddings.sha256,
        dev=BETTER,
        config={},
    )
    save_checkpoint(
        folder, combiner=combiner.state_dict(), clip=None, trainer={}, metadata=metadata
    )


@pytest.fixture(scope="module")
def judged(nasty: Dataset, embeddings: Embeddings) -> list[Evaluation]:
    """What `cir evaluate` gives of two ways to compose."""
    queries, galleries = nasty.queries("val"), nasty.galleries("val")
    return [
        evaluate(queries, galleries, embeddings, combiner, Protocol("val"), query=name, device=CPU)
        for name, combiner in (("sum", SumCombiner()), ("text", TextOnly()))
    ]


@pytest.fixture(scope="module")
def page(run: Path, nasty: Dataset, embeddings: Embeddings, judged: list[Evaluation]) -> str:
    out = run / "report.html"
    written = write_report(out, run, nasty, embeddings, title=f"A run {NASTY}", evaluation=judged)
    assert written == out
    return out.read_text(encoding="utf-8")


def test_every_section_is_there(page: str) -> None:
    headings = re.findall(r"<h[123][^>]*>(.*?)</h[123]>", page)
    for wanted in (
        "Recall on held-out queries",
        "Loss",
        "How distances move",
        "Turnover of negatives",
        "Negatives against their targets",
        "Recall by category",
        "Active triplets",
        "Learning rate",
        "Wall time",
        "Epochs",
        "Queries before and after training",
        "Mined triplets",
        "Recall on val",
        "Recall on val by category",
        "Settings",
        "Provenance",
    ):
        assert wanted in headings
    assert "Kinds of negatives" not in headings  # each mining gave the same
    assert "R@1 on val" in page
    drawings = re.findall(
        r'<svg (?:class="(\w+)" )?viewBox="[\d. ]+" role="img" aria-label="[^"]+"', page
    )
    assert (drawings.count("wide"), drawings.count("narrow"), drawings.count("")) == (8, 8, 3)


def test_photos_are_in_the_page_and_have_alternative_texts(page: str) -> None:
    images = re.findall(r"<img ([^>]*loading[^>]*)>", page)
    assert len(images) > 40
    held = {re.search(r'id="(\w+)" src="data:image/webp;base64,', image) for image in images}
    keys = {match[1] for match in held if match}
    assert all((f := re.search(r'data-copy="(\w+)"', i)) is None or f[1] in keys for i in images)
    assert all(re.search(r'alt="[^"]+"', image) for image in images)
    assert "after epoch 2" in page


def test_nothing_is_fetched(page: str) -> None:
    text = re.sub(r'"data:image/webp;base64,[^"]*"', "''", page)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)|<link|<iframe|import\(|fetch", text)


def test_what_users_wrote_is_escaped(page: str) -> None:
    assert page.count("<script") == 1  # the page's own
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;" in page
    assert "is &amp; was" in page


def test_the_page_is_well_formed_and_light(page: str) -> None:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    assert len(page) < 500_000


class Reader(HTMLParser):
    """Sees that every element is closed, in order."""

    _EMPTY = ("meta", "img", "br", "link", "input", "wbr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self._EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.usefixtures("undrawn")
def test_a_run_that_still_goes_on_says_how_far_it_is(
    page: str, run: Path, nasty: Dataset, embeddings: Embeddings, tmp_path: Path
) -> None:
    going = shutil.copytree(run, tmp_path / "run")
    settings = json.loads((going / "config.json").read_text())
    (going / "config.json").write_text(json.dumps(settings | {"epochs": 10}))
    lines = (going / "metrics.jsonl").read_text().splitlines()
    # Killed while it mined: the second epoch's weights are saved as best, its line is not written.
    (going / "metrics.jsonl").write_text("\n".join(lines[:2]) + "\n")
    html = write_report(tmp_path / "r.html", going, nasty, embeddings, title="A").read_text()
    assert "1 of 10 epochs so far" in html
    assert "31.9 → 61.9" in html
    assert "so far" not in (run / "report.html").read_text()


def test_a_run_that_its_patience_ended_is_at_its_end(
    run: Path, nasty: Dataset, embeddings: Embeddings, tmp_path: Path
) -> None:
    ended = shutil.copytree(run, tmp_path / "run")
    lines = [json.loads(line) for line in (ended / "metrics.jsonl").read_text().splitlines()]
    for line, headline in zip(lines, (*[1.0] * (len(lines) - 2), 3.0, 2.0), strict=True):
        line["dev"]["headline"] = headline
    (ended / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = json.loads((ended / "config.json").read_text()) | {"epochs": 10}
    for patience, told in ((1, False), (2, True), (None, True)):
        (ended / "config.json").write_text(json.dumps(settings | {"patience": patience}))
        html = write_report(tmp_path / "r.html", ended, nasty, embeddings, title="A").read_text()
        assert ("of 10 epochs so far" in html) == told


def test_it_is_made_where_it_was_asked_to_be(
    run: Path,
    nasty: Dataset,
    embeddings: Embeddings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, pick = [], report.pick_device

    def picked(name: str) -> torch.device:
        asked.append(name)
        return pick(name)

    monkeypatch.setattr(report, "pick_device", picked)
    write_report(tmp_path / "r.html", run, nasty, embeddings, title="A", device="cpu")
    assert asked == ["cpu"]


def test_equal_runs_give_equal_pages(
    page: str,
    run: Path,
    nasty: Dataset,
    embeddings: Embeddings,
    judged: list[Evaluation],
    tmp_path: Path,
) -> None:
    again = tmp_path / "again.html"
    write_report(again, run, nasty, embeddings, title=f"A run {NASTY}", evaluation=judged)
    assert again.read_text(encoding="utf-8") == page


@pytest.mark.usefixtures("undrawn")
def test_without_an_evaluation_there_is_none_in_the_page(
    run: Path, nasty: Dataset, embeddings: Embeddings, tmp_path: Path
) -> None:
    written = write_report(tmp_path / "a.html", run, nasty, embeddings, title="A run")
    assert b"Recall on val" not in written.read_bytes()


@pytest.mark.usefixtures("undrawn")
def test_a_photo_that_is_gone_leaves_its_place(
    run: Path, embeddings: Embeddings, nasty: Dataset, tmp_path: Path
) -> None:
    bare = tmp_path / "dataset"
    for folder in ("captions", "image_splits"):
        (bare / folder).mkdir(parents=True)
        for file in (nasty.root / folder).iterdir():
            (bare / folder / file.name).write_bytes(file.read_bytes())
    html = write_report(tmp_path / "r.html", run, Dataset(bare), embeddings, title="A").read_text()
    assert "data:image" not in html
    assert 'class="frame gone"' in html
    assert "photos are missing or broken" in html


def test_a_folder_that_is_no_run_is_refused(
    tmp_path: Path, nasty: Dataset, embeddings: Embeddings
) -> None:
    with pytest.raises(CheckpointError, match="no finished epoch"):
        write_report(tmp_path / "r.html", tmp_path, nasty, embeddings, title="A run")
    assert not (tmp_path / "r.html").exists()


def test_charts_take_their_colours_from_the_page() -> None:
    sample = np.linspace(0, 1, 50, dtype=np.float32)
    drawn = [
        line_chart([Line("a", [0, 1], [1.0, 2.0], C1)], y_label="y", described='a "b" <c>'),
        distributions({"s": sample}, (C2,), x_label="x"),
        stacked_bars([0], {"hard": [1.0]}, (C1,), described="s"),
    ]
    for svg in drawn:
        assert "var(--c" in svg
        assert not re.search(r"#[0-9a-f]{6}\b|<metadata|<style|http", svg)
    assert 'aria-label="a &#34;b&#34; &lt;c&gt;"' in drawn[0]


def test_one_constant_value_can_be_drawn() -> None:
    same = np.full(3, 0.5, dtype=np.float32)
    assert "<svg" in distributions({"s": same}, (C1,), x_label="x")
    assert "<svg" in line_chart([Line("a", [1], [0.0], C1)], y_label="y", described="l")
