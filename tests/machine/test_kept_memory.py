"""Memory that is kept between batches, as the system counts what it hands out."""

import platform
import subprocess
import sys

import pytest

_SCRIPT = """
import resource, sys
from cir.machine.kept_memory import keep_freed_memory

def handed_out():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def batch():
    [b"x" * (30 << 20) for _ in range(3)]

kept = keep_freed_memory() if sys.argv[1] == "kept" else False
batch()
before = handed_out()
for _ in range(3):
    batch()
print(kept, handed_out() - before)
"""


def pages_of_three_batches(what: str) -> tuple[str, int]:
    words = [sys.executable, "-c", _SCRIPT, what]
    kept, pages = subprocess.run(words, capture_output=True, check=True).stdout.decode().split()
    return kept, int(pages)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another library's malloc")
def test_the_memory_of_a_batch_serves_the_next() -> None:
    kept, few = pages_of_three_batches("kept")
    _, many = pages_of_three_batches("given back")
    assert kept == "True"
    assert few < many / 10
