"""How soon a command starts: what a search in a new process loads, and what it leaves out."""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cir.config import TINY
from cir.encoding.loading import load_encoder
from pipeline.command.starting import uncollected
from tests.support.galleries import small_photos, stored

NEEDLESS = {
    *("open_clip", "torchvision", "timm", "transformers", "torch._dynamo", "sympy"),
    *(
        "pyarrow",
        "pandas",
        "faiss",
        "numba",
        "accelerate",
        "matplotlib",
        "ftfy",
        "pymilvus",
        "grpc",
    ),
}
"""What brings the vectors of photos that open_clip's models made, tables, and training."""
_SCRIPT = """
import json, sys
from typer.main import get_command
from pipeline.cli import app
get_command(app)(sys.argv[1:], standalone_mode=False)
searched = sorted(sys.modules)
import pipeline.serve, pipeline.embed, pipeline.demo
print(json.dumps([searched, sorted(sys.modules)]))
"""


@pytest.mark.slow
def test_a_search_by_the_bundled_encoder_loads_no_other_library_of_encoders(tmp_path: Path) -> None:
    dataset = small_photos(tmp_path / "shop")
    cpu = torch.device("cpu")
    encoder = load_encoder(TINY, pretrained=None, weights=None, preprocess="targetpad", device=cpu)
    stored(dataset, encoder, tmp_path / "shop.h5")
    words = ["search", "--store", "shop.h5", "--image", "s0", "--text", "is red", "--json"]
    said = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    results, _, loaded = said.rpartition("\n]\n")
    assert len(json.loads(f"{results}]")) == 5
    searched, staged = map(set, json.loads(loaded))
    assert not searched & NEEDLESS
    assert not staged & {"open_clip", "torchvision", "timm", "transformers", "torch._dynamo"}
    assert "torch" in searched


@pytest.mark.slow
def test_what_a_block_loads_is_not_collected() -> None:
    assert gc.isenabled()
    before = gc.get_freeze_count()
    try:
        with uncollected():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
