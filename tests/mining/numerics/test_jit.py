"""Compiled functions: kept on disk for these very sources, with the arithmetic that is written."""

from pathlib import Path

import numba
import numpy as np
import pytest

from cir.mining import compiled as module
from cir.mining.numerics.jit import compiled, compiled_loosely
from cir.mining.numerics.cosine import cosine


def _remainder(values):  # type: ignore[no-untyped-def]
    return values[0] * values[0] - values[1]


def test_the_cache_is_of_these_sources() -> None:
    assert f"compiled-{module._digest()}" in Path(cosine.stats.cache_path).parts  # type: ignore[attr-defined]


def test_a_changed_source_changes_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROOM", tmp_path)
    (tmp_path / "caller.py").write_text("a", encoding="utf-8")
    (tmp_path / "callee.py").write_text("b", encoding="utf-8")
    before = module._digest()
    assert module._digest() == before
    (tmp_path / "note.txt").write_text("c", encoding="utf-8")
    assert module._digest() == before
    (tmp_path / "callee.py").write_text("c", encoding="utf-8")
    assert module._digest() != before


def test_other_users_of_numba_keep_their_cache() -> None:
    before = numba.config.CACHE_DIR
    compiled(_remainder)
    assert before == numba.config.CACHE_DIR


def test_sums_are_fused_only_loosely() -> None:
    root = np.float32(1 + 2**-12)
    values = np.array([root, root * root], np.float32)
    assert compiled(_remainder)(values) == 0  # the product was rounded, as it is written
    assert compiled_loosely(_remainder)(values) in (0, np.float32(2**-24))
