"""The inspect stage: what it prints, the page it writes, and what it refuses."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from cir.artefacts.manifest import Manifest, write_manifest
from cir.config import InspectConfig
from cir.data.dataset import Dataset
from cir.errors import CirError, ConfigError, DatasetError, ManifestError, UsageError
from pipeline.cli import app
from pipeline.command.faults import FAILED
from pipeline.inspect import run
from pipeline.screen import console
from tests.support.mined import random_manifest
from tests.support.ragged import without_negatives
from tests.support.worlds import random_embeddings, small_dataset

COLUMNS = 80
NOTHING_IN_COMMON = (
    r"spoiled.parquet and .*first.parquet have no query in common, expected manifests of one "
    r"dataset and split: the first is of split train \(q0\), the second of split train "
    r"\(dress-train-00000\)$"
)
FOREIGN = (
    r"spoiled.parquet was not mined from .*foreign: \d+ of its negatives are no images of the "
    r"split train, as \w+; pass the `dataset` it was mined from$"
)


@pytest.fixture
def manifest(dataset: Dataset) -> Manifest:
    return random_manifest(dataset, random_embeddings(dataset))


@pytest.fixture
def paths(manifest: Manifest, dataset: Dataset, tmp_path: Path) -> tuple[Path, Path]:
    """Two manifests of the same queries, as of two epochs."""
    second = random_manifest(dataset, random_embeddings(dataset), seed=1)
    later = dataclasses.replace(second, metadata=dataclasses.replace(second.metadata, epoch=2))
    first, other = tmp_path / "first.parquet", tmp_path / "second.parquet"
    write_manifest(manifest, first)
    write_manifest(later, other)
    return first, other


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is printed on a screen of 80 columns."""
    printed = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=printed, width=COLUMNS, highlight=False))
    return printed


def cells(printed: io.StringIO, title: str) -> list[list[str]]:
    """The cells of the printed table under a title, row by row."""
    lines = printed.getvalue().splitlines()
    start = next(number for number, line in enumerate(lines) if line.strip() == title)
    table = lines[start + 1 :]
    end = next(number for number, line in enumerate(table) if line.startswith("└"))
    return [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in table[:end]
        if line.startswith("│")
    ]


def test_one_manifest_is_told_in_figures(
    paths: tuple[Path, Path], manifest: Manifest, screen: io.StringIO
) -> None:
    assert run(InspectConfig(manifest=paths[0])) is None
    for title in (
        *("Distances and ranks", "Distance from the query", "Negatives by scope and kind"),
        *("Rank of the target", "The 10 hardest rows"),
    ):
        assert cells(screen, title)
    counts = {row[0]: row[1:] for row in cells(screen, "Counts")}
    used = len(set(manifest.negative_ids))
    assert counts["queries"] == [str(len(manifest)), str(manifest.metadata.counts.queries)]
    assert counts["negatives"] == [str(len(manifest.negative_ids)), ""]
    assert counts["images used as negatives"] == [str(used), ""]
    assert "images never used" not in counts
    for field in dataclasses.fields(manifest.metadata.counts):
        assert counts[field.name.replace("_", " ")][1] == str(
            getattr(manifest.metadata.counts, field.name)
        )
    starved = {row[0]: row[1:3] for row in cells(screen, "Starved queries by category")}
    for category, told in starved.items():
        rows = [row for row, name in enumerate(manifest.categories) if name == category]
        short = sum(manifest.candidates_in_band[row] < 3 for row in rows)
        assert told == [str(len(rows)), str(short)]
    uses = cells(screen, "Most used negatives")
    assert [int(row[1]) for row in uses] == sorted(
        (manifest.negative_ids.count(i) for i in set(manifest.negative_ids)), reverse=True
    )[: len(uses)]


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_printed_fits_80_columns(
    count: int, paths: tuple[Path, Path], dataset: Dataset, screen: io.StringIO, tmp_path: Path
) -> None:
    wide = random_manifest(dataset, random_embeddings(dataset))
    rows = len(wide)
    far = dataclasses.replace(
        wide,
        query_ids=tuple(f"bottomwear-train-{n:05d}" for n in range(rows)),
        target_ids=tuple(f"B00{n:07d}" for n in range(rows)),
        negative_ids=tuple(f"B01{n:07d}" for n in range(len(wide.negative_ids))),
        target_ranks=np.random.default_rng(0).integers(1, 99_999, rows, dtype=np.int32),
    )
    near = dataclasses.replace(far, target_ranks=far.target_ranks[::-1].copy())
    both = [tmp_path / "far", tmp_path / "near"][:count]
    for path, made in zip(both, (far, near), strict=False):
        write_manifest(made, path)
    run(InspectConfig(manifest=both[0], other=both[1] if count == 2 else None))
    lines = screen.getvalue().splitlines()
    told = [line for line in lines if str(tmp_path) not in line]
    assert max(map(len, told)) <= COLUMNS
    assert "…" not in screen.getvalue()
    # A cell that had to be broken leaves a row whose first cell is empty.
    firsts = [line.split("│")[1] for line in told if line.startswith("│")]
    assert all(first.strip() for first in firsts)


def test_a_dataset_counts_the_images_that_were_never_used(
    paths: tuple[Path, Path], manifest: Manifest, dataset: Dataset, screen: io.StringIO
) -> None:
    run(InspectConfig(manifest=paths[0], dataset=dataset.root))
    counts = {row[0]: row[1] for row in cells(screen, "Counts")}
    images = {i for ids in dataset.galleries("train").values() for i in ids}
    assert counts["images never used"] == str(len(images - set(manifest.negative_ids)))
    assert f"1 % of {len(images)} images" in screen.getvalue()


def test_two_manifests_are_compared(paths: tuple[Path, Path], screen: io.StringIO) -> None:
    run(InspectConfig(manifest=paths[0], other=paths[1]))
    assert cells(screen, "What they were mined with") == [["epoch", "0", "2"]]
    assert cells(screen, "Queries")[1] == ["in common", "32", "32"]
    for title in (
        *("Negatives exchanged, of each query", "Distances and ranks", "Change of distances"),
        *("Negatives by kind", "Rank of the target", "Starved queries by category"),
        "The 10 queries that changed most",
    ):
        assert cells(screen, title)
    assert "note:" not in screen.getvalue()


def test_a_manifest_beside_itself_has_not_changed(
    paths: tuple[Path, Path], screen: io.StringIO
) -> None:
    run(InspectConfig(manifest=paths[0], other=paths[0]))
    assert "Mined with the same options from the same vectors." in screen.getvalue()
    assert "No query changed." in screen.getvalue()
    assert cells(screen, "Negatives exchanged, of each query")[0][1:] == ["0.00"] * 6


@pytest.mark.usefixtures("undrawn")
def test_what_makes_two_less_comparable_is_noted(
    paths: tuple[Path, Path], manifest: Manifest, screen: io.StringIO, tmp_path: Path
) -> None:
    changed = dataclasses.replace(
        manifest.metadata, split="val", embeddings_sha256="f" * 64, query="combiner", margin=0.3
    )
    write_manifest(dataclasses.replace(manifest, metadata=changed), tmp_path / "other.parquet")
    page = tmp_path / "page.html"
    run(InspectConfig(manifest=paths[0], other=tmp_path / "other.parquet", html=page))
    for line in (
        "note: mined from different splits (train, then val)",
        f"note: mined from different embedding stores ({'e' * 12}…, then {'f' * 12}…)",
        "note: queries are composed differently (sum, then combiner)",
        "note: margins differ, so kinds mean different bands (0.5, then 0.3)",
    ):
        assert line in screen.getvalue().splitlines()
        assert line in page.read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("count", [1, 2])
def test_the_page_is_whole_and_told(
    count: int, paths: tuple[Path, Path], dataset: Dataset, screen: io.StringIO, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    asked = InspectConfig(
        manifest=paths[0],
        other=paths[1] if count == 2 else None,
        dataset=dataset.root,
        html=page,
        rows=20,
    )
    before = set(tmp_path.iterdir())
    assert run(asked) == page
    assert set(tmp_path.iterdir()) - before == {page}
    size = page.stat().st_size / 10**6
    assert f"page: {page}, {size:.1f} MB, 20 of 32 queries, " in screen.getvalue()
    first = page.read_bytes()
    with pytest.raises(UsageError, match=r"page.html exists: .*`overwrite=True` .*another `html`"):
        run(asked)
    run(dataclasses.replace(asked, overwrite=True))
    assert page.read_bytes() == first


@pytest.mark.usefixtures("undrawn")
def test_a_page_without_photos_says_so_on_the_screen(
    paths: tuple[Path, Path], screen: io.StringIO, tmp_path: Path
) -> None:
    run(InspectConfig(manifest=paths[0], html=tmp_path / "page.html"))
    assert "Photos are left out, ids stand for them" in screen.getvalue()


def spoiled(manifest: Manifest, how: str) -> Manifest:
    if how == "nan":
        distances = manifest.target_distances.copy()
        distances[3] = np.nan
        return dataclasses.replace(manifest, target_distances=distances)
    if how == "bare":
        for row in range(len(manifest)):
            manifest = without_negatives(manifest, row)
        return manifest
    if how == "empty":
        return manifest.subset(np.empty(0, dtype=np.int64))
    return dataclasses.replace(manifest, query_ids=tuple(f"q{n}" for n in range(len(manifest))))


@pytest.mark.parametrize(
    ("how", "others", "error", "line"),
    [
        ("nan", {}, ManifestError, "spoiled.parquet holds a distance that is no number: run cir"),
        ("bare", {}, ManifestError, "spoiled.parquet holds no negative, expected some: run cir"),
        ("empty", {}, ManifestError, "spoiled.parquet holds no negative, expected some: run cir"),
        (
            "renamed",
            {"other": "first.parquet"},
            ManifestError,
            NOTHING_IN_COMMON,
        ),
        ("renamed", {"other": "nowhere"}, ManifestError, "no manifest at .*nowhere"),
        ("renamed", {"dataset": "nowhere"}, DatasetError, "no dataset folder at .*nowhere"),
        (
            "renamed",
            {"dataset": "foreign"},
            ManifestError,
            FOREIGN,
        ),
    ],
)
def test_a_fault_is_one_line_and_leaves_no_page(
    how: str,
    others: dict[str, str],
    error: type[CirError],
    line: str,
    paths: tuple[Path, Path],
    manifest: Manifest,
    tmp_path: Path,
) -> None:
    small_dataset(tmp_path / "foreign", categories=("hat",), images=3, queries=2)
    write_manifest(spoiled(manifest, how), tmp_path / "spoiled.parquet")
    config: dict[str, Any] = {name: tmp_path / value for name, value in others.items()}
    page = tmp_path / "page.html"
    with pytest.raises(error, match=line) as caught:
        run(InspectConfig(manifest=tmp_path / "spoiled.parquet", html=page, **config))
    assert "\n" not in str(caught.value)
    assert not page.exists()


def test_a_page_of_too_many_rows_is_refused() -> None:
    with pytest.raises(ConfigError, match="`rows` is 18000; expected 10 to 2000"):
        InspectConfig(manifest=Path("m.parquet"), rows=18_000)


@pytest.mark.slow
def test_a_page_that_cannot_be_written_leaves_nothing(
    paths: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CirError, match=r"cannot write .*page\.html"):
        run(InspectConfig(manifest=paths[0], html=tmp_path / "file" / "page.html"))


@pytest.mark.slow
def test_the_command_takes_one_manifest_or_two(paths: tuple[Path, Path]) -> None:
    runner = CliRunner()
    first, second = map(str, paths)
    for arguments in ([first], [first, second]):
        done = runner.invoke(app, ["inspect", *arguments])
        assert done.exit_code == 0, done.output
    refused = runner.invoke(app, ["inspect", "nowhere.parquet"])
    assert refused.exit_code == FAILED
    assert "no manifest at nowhere.parquet" in refused.stderr
    assert runner.invoke(app, ["inspect"]).exit_code == 2
