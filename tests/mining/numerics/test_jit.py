"""Compiled functions: kept on disk for these very sources, with the arithmetic that is written."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numba
import numpy as np
import pytest

from cir.mining.numerics import jit
from cir.mining.numerics.cosine import cosine
from cir.mining.numerics.jit import compiled, compiled_loosely, first_writable, sources_digest
from tests.support.forked import CODE, forked

ROOT: Final = Path(__file__).parents[3]
PROBE: Final = """
import sys, warnings
import numba, numpy as np
for name in [name for name in sys.modules if name.partition(".")[0] == "cir"]:
    del sys.modules[name]
sys.path.insert(0, ".")
sys.dont_write_bytecode = True
numba.config.reload_config()
warnings.simplefilter("error")
from cir.mining.numerics import jit
from cir.mining.numerics.cosine import cosine
one = np.array([0.6, 0.8], np.float32)
print(cosine(one, one, np.empty(1, np.float32)), cosine.stats.cache_path)
hits = cosine.stats.cache_hits
print(sum(hits.values()), jit.__file__)
"""
"""Imports the library anew from the folder it runs in."""


def _remainder(values):  # type: ignore[no-untyped-def]
    return values[0] * values[0] - values[1]


def in_another_process(folder: Path, **environment: str) -> tuple[str, str, int]:
    """A cosine, where its machine code is kept, and how often it was read from there."""
    given = {"NUMBA_CACHE_DIR": "", "XDG_CACHE_HOME": "", **environment}
    ran = forked(CODE, [PROBE], given, folder=folder)
    said, errors = ran.communicate(timeout=120)
    assert (ran.returncode, errors) == (0, "")
    value, path, hits, source = said.split()
    assert (folder / source).is_relative_to(folder / "cir")
    return value, path, int(hits)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The library as installed elsewhere, with no machine code beside it."""
    without = shutil.ignore_patterns("__pycache__", "assets")
    shutil.copytree(ROOT / "cir", tmp_path / "site" / "cir", ignore=without)
    return tmp_path / "site"


def read_only(installed: Path) -> None:
    """Nothing can be made below `__pycache__`, whoever tries: a file stands in its place."""
    (installed / "cir" / "mining" / "__pycache__").write_text("", encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("changed", ["bands.py", "scan/kernel.py", "scan/deep/er/new.py"])
def test_a_change_in_any_source_of_mining_gives_another_digest(
    changed: str, tmp_path: Path
) -> None:
    mining = shutil.copytree(ROOT / "cir" / "mining", tmp_path / "mining")
    before = sources_digest(mining)
    assert before == sources_digest(ROOT / "cir" / "mining")
    (mining / "note.txt").write_text("no source", encoding="utf-8")
    assert sources_digest(mining) == before
    source = mining / changed
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text("changed = True\n", encoding="utf-8")
    assert sources_digest(mining) != before


def test_a_change_of_the_words_gives_another_digest(tmp_path: Path) -> None:
    mining, words = tmp_path / "mining", tmp_path / "types.py"
    mining.mkdir()
    words.write_text("before", encoding="utf-8")
    before = sources_digest(mining, words)
    words.write_text("behind", encoding="utf-8")
    assert sources_digest(mining, words) != before


def test_a_source_that_moves_gives_another_digest(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("same", encoding="utf-8")
    before = sources_digest(tmp_path)
    (tmp_path / "one.py").rename(tmp_path / "two.py")
    assert sources_digest(tmp_path) != before


def test_the_cache_is_of_these_sources() -> None:
    mining = Path(jit.__file__).parents[1]
    digest = sources_digest(mining, mining.parent / "types.py")
    assert f"cir-mining-{digest}" in Path(cosine.stats.cache_path).parts  # type: ignore[attr-defined]


def test_other_users_of_numba_keep_their_cache() -> None:
    before = numba.config.CACHE_DIR
    compiled(_remainder)
    assert before == numba.config.CACHE_DIR


def test_folders_that_cannot_be_written_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    below_a_file = tmp_path / "file" / "cache"
    assert first_writable([below_a_file, tmp_path / "new" / "er"]) == tmp_path / "new" / "er"
    assert first_writable([below_a_file]) is None


@pytest.mark.slow
def test_machine_code_is_kept_beside_the_sources(installed: Path) -> None:
    _, path, hits = in_another_process(installed)
    assert Path(path).is_relative_to(installed / "cir" / "mining" / "__pycache__")
    assert hits == 0
    assert in_another_process(installed)[2] == 1


@pytest.mark.slow
def test_the_users_cache_folder_is_honoured(installed: Path, tmp_path: Path) -> None:
    _, path, _ = in_another_process(installed, NUMBA_CACHE_DIR=str(tmp_path / "asked"))
    assert Path(path).is_relative_to(tmp_path / "asked" / jit._CACHE.name)  # type: ignore[union-attr]
    assert list(Path(path).glob("cosine.cosine-*.nbc"))
    assert not (installed / "cir" / "mining" / "__pycache__").exists()


@pytest.mark.slow
def test_a_read_only_installation_keeps_its_code_in_the_home(
    installed: Path, tmp_path: Path
) -> None:
    read_only(installed)
    _, path, _ = in_another_process(installed, XDG_CACHE_HOME=str(tmp_path / "home"))
    assert Path(path).is_relative_to(tmp_path / "home")
    assert Path(path).parent.name.startswith("cir-mining-")


@pytest.mark.slow
@pytest.mark.parametrize("asked", [{}, {"NUMBA_CACHE_DIR": "/dev/null/cache"}])
def test_mining_works_where_nothing_can_be_written(
    asked: Mapping[str, str], installed: Path
) -> None:
    read_only(installed)
    nowhere = {"HOME": "/dev/null/home", "XDG_CACHE_HOME": "/dev/null/cache"}
    value, path, hits = in_another_process(installed, **nowhere, **asked)
    assert (float(value), path, hits) == (1.0, "None", 0)


def test_a_full_disk_does_not_end_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jit, "_CACHE", tmp_path / "cache")
    function = compiled(_remainder)
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("", encoding="utf-8")  # now no file can be made below it
    assert function(np.array([2.0, 3.0])) == 1


def test_sums_are_fused_only_loosely() -> None:
    root = np.float32(1 + 2**-12)
    values = np.array([root, root * root], np.float32)
    assert compiled(_remainder)(values) == 0  # the product was rounded, as it is written
    assert compiled_loosely(_remainder)(values) in (0, np.float32(2**-24))
