"""A few replacements of each kind; `tests.benchmarks.races` makes many."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks import races
from tests.support.digests import sha256_of

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(races, "ROWS", 640)


@pytest.mark.parametrize("kind", races.KINDS)
def test_who_reads_meets_one_version(tmp_path: Path, kind: str) -> None:
    counts = races.raced(kind, tmp_path, 12)
    assert counts == {races.RIGHT: counts.total()}


def test_a_digest_taken_by_itself_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is that of the file before."""
    kind = races.KINDS["manifest"]
    digests: list[str] = []

    def read_apart(path: Path) -> tuple[str, set[float]]:
        digests.append(sha256_of(path))
        return digests[0], kind.read(path)[1]

    monkeypatch.setitem(races.KINDS, "manifest", replace(kind, read=read_apart))
    assert races.raced("manifest", tmp_path, 12)["the SHA-256 of another"]
