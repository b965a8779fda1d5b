"""Cores that this process may use: an affinity mask, a container's quota, or all there are."""

import os
from pathlib import Path
from typing import Any

import pytest

from cir.machine.cpu_quota import cpu_quota
from cir.machine.workers import calm_threads, usable_cores


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """No quota, whatever these tests run in."""
    monkeypatch.setattr("cir.machine.workers.cpu_quota", lambda: None)


def test_cores_are_those_of_the_affinity_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert usable_cores() == 3


@pytest.mark.parametrize(("count", "cores"), [(6, 6), (None, 1)])
def test_systems_without_affinity_say_how_many_cores_there_are(
    count: Any, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert usable_cores() == cores


def test_cores_that_this_process_may_use_go_before_all_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "process_cpu_count", lambda: 3, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert usable_cores() == 3


@pytest.mark.parametrize(("quota", "cores"), [(0.5, 1), (1.0, 1), (2.9, 2), (64.0, 8)])
def test_threads_follow_the_quota(
    quota: float, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr("cir.machine.workers.cpu_quota", lambda: quota)
    assert usable_cores() == cores


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {"cpu.max": "250000 100000"}, 2.5),
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("0::/user/one", {"user/one/cpu.max": "max 100000", "user/cpu.max": "50000 100000"}, 0.5),
        ("0::/a/b", {"a/b/cpu.max": "300000 100000", "a/cpu.max": "400000 100000"}, 3.0),
        # A container's group lies elsewhere for the machine than for the container.
        ("0::/docker/f00", {"cpu.max": "200000 100000"}, 2.0),
        (
            "4:memory:/x\n2:cpu,cpuacct:/x",
            {
                "cpu,cpuacct/x/cpu.cfs_quota_us": "150000",
                "cpu,cpuacct/x/cpu.cfs_period_us": "50000",
            },
            3.0,
        ),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("0::/", {"cpu.max": "nonsense"}, None),
        ("0::/", {}, None),
        (None, {"cpu.max": "100000 100000"}, 1.0),
    ],
)
def test_a_quota_is_read_as_linux_states_it(
    groups: str | None, files: dict[str, str], expected: float | None, tmp_path: Path
) -> None:
    for name, text in files.items():
        file = tmp_path / "mounted" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    if groups is not None:
        (tmp_path / "own").write_text(f"{groups}\n")
    assert cpu_quota(tmp_path / "mounted", tmp_path / "own") == expected


def test_what_a_user_set_of_threads_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    calm_threads()
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
