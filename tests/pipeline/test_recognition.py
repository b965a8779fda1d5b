"""Each artefact, as its real writer leaves it, is recognised as cir's own."""

import json
import shutil
from itertools import permutations
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cir.data.dataset import Dataset
from cir.disk.files import require_replaceable
from cir.disk.foreign import foreign
from cir.disk.recognition import MARKER, why_not_ours
from cir.errors import UsageError
from cir.pretraining.pretrain import save_half
from cir.types import Artefact, FolderArtefact
from pipeline.cli import app
from tests.support.micro import micro_encoder
from tests.support.worlds import small_dataset

pytestmark = pytest.mark.slow

WORLD = "--dataset dataset --embeddings e.h5"
COMMANDS = (
    "embed dataset --model cir-tiny --workers 0 --out e.h5",
    f"mine {WORLD} --strategy random --propose pairs.parquet --out m.parquet",
    f"mine {WORLD} --strategy random --propose pairs.jsonl --out m2.parquet",
    "export m.parquet --out examples.parquet",
    "export m.parquet --out examples.jsonl",
    "inspect m.parquet --dataset dataset --html page.html",
    f"train --manifest m.parquet {WORLD} --epochs 1 --batch-size 8 --tune none --out run",
    f"evaluate run {WORLD} --json run/val.json",
    f"evaluate --query sum {WORLD} --json figures.json --submission submission",
    f"evaluate --query sum {WORLD} --per-query ranks.parquet",
    "data check dataset --workers 1 --json audit.json --without-missing left",
    "data from-folder dataset/images --workers 1 --out gallery",
    "data synth --dress 20 --shirt 20 --toptee 20 --size 32 --workers 1 --out drawn",
    "data add-queries dataset p.jsonl --out more",
    "data merge dataset dataset --prefixes a --prefixes b --out merged",
)
FILES: dict[str, Artefact] = {
    "e.h5": "store",
    "m.parquet": "manifest",
    "pairs.parquet": "pairs",
    "pairs.jsonl": "pairs",
    "examples.parquet": "examples",
    "examples.jsonl": "examples",
    "page.html": "page",
    "run/report.html": "page",
    "run/val.json": "figures",
    "figures.json": "figures",
    "ranks.parquet": "ranks",
    "audit.json": "audit",
    "w.safetensors": "weights",
}
FOLDERS: dict[str, FolderArtefact] = {
    "run": "run",
    "run/checkpoints/best": "checkpoint",
    "run/checkpoints/last": "checkpoint",
    "submission": "submission",
    "left": "dataset",
    "gallery": "dataset",
    "drawn": "dataset",
    "more": "dataset",
    "merged": "dataset",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every command has written its output."""
    root = tmp_path_factory.mktemp("made")
    dataset = small_dataset(root / "dataset", categories=("dress",), images=20, queries=16)
    (root / "p.jsonl").write_text(json.dumps(new_pair(dataset)))
    save_half(micro_encoder(), root / "w.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for line in COMMANDS:
            done = CliRunner().invoke(app, line.split())
            assert done.exit_code == 0, (line, done.output)
    return root


def new_pair(dataset: Dataset) -> dict[str, object]:
    """Two photos that no query has, with a caption."""
    known = {(q.reference_id, q.target_id) for q in dataset.queries("train")}
    ids = dataset.gallery("train", "dress")
    reference, target = next(p for p in permutations(ids, 2) if p not in known)
    return {"reference_id": reference, "target_id": target, "captions": ["is red"]}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_what_it_was_written_as_and_nothing_else(made: Path, name: str) -> None:
    assert why_not_ours(made / name, FILES[name]) is None
    for other in {*FILES.values()} - {FILES[name]}:
        assert why_not_ours(made / name, other)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_what_it_was_written_as_and_holds_nothing_else(made: Path, name: str) -> None:
    assert why_not_ours(made / name, FOLDERS[name]) is None
    assert foreign(made / name, FOLDERS[name]) == []
    for other in {*FOLDERS.values()} - {FOLDERS[name]}:
        assert why_not_ours(made / name, other)


@pytest.mark.parametrize("name", sorted(FOLDERS.keys() - {"merged"}))
def test_a_folder_is_known_by_its_files_where_it_has_lost_its_marker(made: Path, name: str) -> None:
    marker = made / name / MARKER
    held = marker.read_bytes()
    marker.unlink()
    try:
        assert why_not_ours(made / name, FOLDERS[name]) is None
        assert foreign(made / name, FOLDERS[name]) == []
    finally:
        marker.write_bytes(held)


def test_each_artefact_is_replaced_where_it_is_and_as_a_copy(made: Path, tmp_path: Path) -> None:
    """A copy has other times of change, and its photos have no other names."""
    root = tmp_path / "copy"
    shutil.copytree(made, root, symlinks=True, copy_function=shutil.copyfile)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for _ in range(2):
            for line in COMMANDS:
                done = CliRunner().invoke(app, [*line.split(), "--overwrite"])
                assert done.exit_code == 0, (line, done.output)
        training = next(line for line in COMMANDS if line.startswith("train"))
        done = CliRunner().invoke(app, [*training.split(), "--resume"])
        assert done.exit_code == 0, done.output


IN_THEM = {
    "gallery": ("images/dtr000.jpg", "images/.mine-20260101.jpg", "images/mine/1.jpg"),
    "merged": ("images/adtr000.jpg", "captions/cap.dress.train.json", "merged.json"),
    "drawn": ("captions/cap.dress.val.json", "synthetic.json", ".mine-retired"),
    "more": ("added.json", "captions/.mine.lock"),
    "left": ("left_out.json", "captions/cap.dress.train.json"),
    "run": ("report.html", "val.json", "manifests/epoch-001.parquet", "wandb/notes.txt"),
    "submission": ("dress.predict.json", "notes.txt"),
}
"""In folders that cir made: files of somebody else, and files in the place of its own."""


@pytest.mark.parametrize(("name", "own"), [(n, own) for n in IN_THEM for own in IN_THEM[n]])
def test_your_files_in_a_folder_are_not_replaced(
    made: Path, tmp_path: Path, name: str, own: str
) -> None:
    shutil.copytree(made / name, tmp_path / name, symlinks=True)
    file = tmp_path / name / own
    file.unlink(missing_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("mine")
    with pytest.raises(UsageError, match="which cir did not make"):
        require_replaceable(tmp_path / name, FOLDERS[name])
