"""The demo from end to end, small and with a random encoder: what it leaves, and how it goes on."""

from pathlib import Path
from typing import Any

import pytest
import torch

from cir.config import DemoConfig
from cir.disk.recognition import MARKER
from cir.encoding.encoder import Encoder
from cir.errors import UsageError
from pipeline import demo
from tests.support.digests import sha256_of
from tests.support.micro import micro_encoder

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]

ARTEFACTS = {
    MARKER,
    "demo.json",
    "dataset",
    "embeddings.h5",
    "manifest.parquet",
    "run",
    "report.html",
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random encoder of small images instead of cir-tiny, and no worker processes."""
    monkeypatch.setattr(demo, "load_encoder", lambda *_, **__: spread_encoder())
    monkeypatch.setattr(demo, "pick_workers", lambda *_: 1)
    monkeypatch.setattr(demo, "_SIZE", 32)


def spread_encoder() -> Encoder:
    """Random weights give all images nearly one vector; a projection of the pixels does not."""
    encoder = micro_encoder()
    projection = torch.randn(3 * 32 * 32, encoder.dim, generator=torch.Generator().manual_seed(0))
    encoder.encode_images = lambda pixels: pixels.flatten(1) @ projection
    return encoder


def config(out: Path, **changes: Any) -> DemoConfig:
    return DemoConfig(**({"out": out, "images": 300, "epochs": 1} | changes))


def test_the_demo_goes_on_after_a_kill_and_then_has_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    with monkeypatch.context() as killed:
        killed.setattr(demo, "write_manifest", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            demo.run(config(out))
    began = {MARKER, "demo.json", "dataset", "embeddings.h5"}
    assert {path.name for path in out.iterdir()} == began
    store = sha256_of(out / "embeddings.h5")

    assert demo.run(config(out)) == out / "report.html"
    assert {path.name for path in out.iterdir()} == ARTEFACTS
    assert sha256_of(out / "embeddings.h5") == store
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "trained combiner" in page
    assert page.index("R@1 on val") < page.index("R@10 on val")
    assert "cir demo" in page
    assert "plain sum" in page

    told = capsys.readouterr().out
    assert "The first photo found is a right one for" in told
    for following in ("cir data from-catalog", "cir search", "cir serve"):
        assert following in told.split("Next:")[1]
    first = sha256_of(out / "report.html")
    demo.run(config(out))
    assert sha256_of(out / "report.html") == first
    assert capsys.readouterr().out.count("is there") == 3

    with pytest.raises(UsageError, match=r"made with epochs 1, seed 0: pass `overwrite=True`"):
        demo.run(config(out, epochs=2, seed=1))


def test_a_demo_without_its_settings_is_replaced_only_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "demo"
    monkeypatch.setattr(demo, "write_manifest", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        demo.run(config(out))
    (out / "demo.json").unlink()
    with pytest.raises(UsageError, match=r"demo\.json is missing.* pass `overwrite=True`"):
        demo.run(config(out))
    assert (out / "embeddings.h5").is_file()
    (out / "dataset/captions/cap.dress.val.json").write_text("[]")
    with pytest.raises(UsageError, match=r"holds dataset/captions/cap\.dress\.val\.json"):
        demo.run(config(out, overwrite=True))
    (out / "dataset/captions/cap.dress.val.json").unlink()
    with pytest.raises(KeyboardInterrupt):
        demo.run(config(out, overwrite=True))
    assert (out / "demo.json").is_file()


def test_a_folder_that_is_no_demo_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="does not read as a demo of cir"):
            demo.run(config(tmp_path, overwrite=overwrite))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt
