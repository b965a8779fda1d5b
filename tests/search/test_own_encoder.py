"""A store and a run of somebody's own encoder are opened with it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import cir
from cir.encoding.encoder import Encoder
from cir.encoding.foreign import adopted
from cir.errors import CheckpointError, StoreError, UsageError
from cir.models.combiner import build_combiner
from cir.search.retriever import require_own
from pipeline.cli import app
from pipeline.command.faults import MISUSED
from tests.support.checkpoints import HIDDEN, saved
from tests.support.galleries import small_photos, stored
from tests.support.micro import micro_encoder
from tests.support.photo_folders import write_photos


class Mine:
    """The mean colours of photos, and the lengths of texts."""

    def encode_images(self, photos: Sequence[Image.Image]) -> np.ndarray:
        return np.stack([np.asarray(photo).mean((0, 1)) + 1 for photo in photos])

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[len(text), 1.0, 1.0] for text in texts])


def mine(version: str = "1") -> Encoder:
    return adopted(Mine(), name="mine", image_size=32, version=version)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return stored(small_photos(tmp_path / "shop"), mine(), tmp_path / "shop.h5")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    encoder = mine()
    combiner = build_combiner("attention-fusion", dim=encoder.dim, hidden=HIDDEN)
    return saved(tmp_path / "run/checkpoints/best", combiner, encoder.provenance).parents[1]


def test_a_run_is_opened_with_its_encoder(run: Path, store: Path) -> None:
    retriever = cir.load(run, encoder=mine(), device="cpu")
    assert len(retriever.index(store).search("s1", "is red", top=3)) == 3
    with pytest.raises(CheckpointError, match=r"`encoder` and .*best come from different encoders"):
        cir.load(run, encoder=mine("2"))


def test_a_store_is_searched_with_its_encoder(store: Path) -> None:
    assert len(cir.index(store, encoder=mine(), device="cpu").search(text="is red", top=3)) == 3
    with pytest.raises(StoreError, match=r"`encoder` and .*shop.h5 come from different encoders"):
        cir.index(store, encoder=mine("2"), device="cpu")


def test_a_folder_of_photos_is_embedded_and_kept_by_it(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cir.search.photo_folder.pick_workers", lambda *_: 0)
    photos = write_photos(tmp_path / "photos", ["a.png", "b.png"])
    assert len(cir.index(photos, encoder=mine(), device="cpu")) == 2
    write_photos(photos, ["c.png"])
    assert len(cir.index(photos, encoder=mine(), device="cpu")) == 3
    assert len(cir.load(run, encoder=mine()).index(photos)) == 3


def test_what_says_no_encoder_or_two_is_refused(tmp_path: Path, run: Path, store: Path) -> None:
    with pytest.raises(UsageError, match=r"`encoder` is a Mine; .* cir.encoding.foreign.adopted"):
        require_own(Mine(), None)
    with pytest.raises(UsageError, match="`weights` and `encoder` both say"):
        cir.index(store, encoder=mine(), weights="w.pt")
    clip = micro_encoder()
    combiner = build_combiner("attention-fusion", dim=clip.dim, hidden=HIDDEN)
    tuned = saved(tmp_path / "tuned", combiner, clip.provenance, clip=clip.clip)
    with pytest.raises(UsageError, match="holds the encoder that it has tuned"):
        cir.load(tuned, encoder=clip)


def test_without_it_one_line_says_how(run: Path, store: Path) -> None:
    said = "is of 'mine', an encoder of your own, which no command can load: open it from Python"
    for opens in (lambda: cir.load(run), lambda: cir.index(store, device="cpu")):
        with pytest.raises(UsageError, match=said):
            opens()
    for words in (["search", str(run)], ["search"]):
        done = CliRunner().invoke(app, [*words, "--store", str(store), "--text", "is red"])
        assert (done.exit_code, said in done.stderr) == (MISUSED, True), done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    done = CliRunner().invoke(app, ["embed", str(store.with_suffix("")), "--weights", str(run)])
    assert (done.exit_code, said in done.stderr) == (MISUSED, True), done.stderr
