"""No worker outlives the process that started it, however that ends."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cir.machine.parallel import in_order
from tests.support.forked import CODE, Forked, forked

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")

_POOL = """
import sys
from pathlib import Path
from cir.machine.parallel import in_order
from tests.support.endless import work
for _ in in_order(work, [sys.argv[1]] * 200, 2):
    pass
"""
_LOADER = """
import sys
from pathlib import Path
from cir.data.image_batches import image_batches
from tests.support.endless import prepare
photos = sorted(Path(sys.argv[2]).glob("*.jpg")) * 50
rows = [[row] for row in range(len(photos))]
for _ in image_batches(photos, rows, prepare(sys.argv[1]), workers=2, pinned=False):
    pass
"""


@pytest.mark.slow
@pytest.mark.parametrize("script", [_POOL, _LOADER], ids=["pool", "loader"])
def test_workers_end_with_their_parent(script: str, tmp_path: Path, dataset) -> None:
    process = forked(CODE, [script, str(tmp_path), str(dataset.root / "images")])
    wait_for(lambda: len(list(tmp_path.iterdir())) == 2, process)
    workers = [int(file.name) for file in tmp_path.iterdir()]
    assert all(map(runs, workers))
    process.kill()
    wait_for(lambda: not any(map(runs, workers)), seconds=5)
    process.communicate(timeout=20)


@pytest.mark.slow
def test_a_caller_that_stops_early_waits_for_no_worker(tmp_path: Path) -> None:
    from tests.support.endless import briefly

    results = in_order(briefly, list(range(200)), 2)
    assert next(results) == 0
    began = time.monotonic()
    results.close()
    assert time.monotonic() - began < 10


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_for(come: Callable[[], bool], process: Forked | None = None, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not come():
        assert time.monotonic() < end, "it never came"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.01)
