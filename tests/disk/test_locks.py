"""One writer at a time, also where writers are killed."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cir.disk.hidden import lock_of
from cir.disk.locks import held, remove_unheld
from cir.disk.outputs import Output, claimed
from cir.errors import CirError, UsageError

_HOLD = (
    "import sys; from pathlib import Path; from cir.disk.locks import held\n"
    "with held(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()"
)


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds an output."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_writer_is_told_of_the_first_and_the_lock_dies_with_it(tmp_path: Path) -> None:
    path = tmp_path / "store.h5"
    with holder(path) as process:
        with pytest.raises(UsageError) as told, held(path):
            raise AssertionError
        line = str(told.value)
        assert line.startswith(f"{path} is being written by process {process.pid} on ")
        assert line.endswith("wait until it ends, or choose another `out`")
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert lock_of(path).exists()
        with held(path):
            pass
    assert not any(tmp_path.iterdir())


def test_a_lock_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "store.h5"
    with pytest.raises(KeyError), held(path):
        raise KeyError
    assert not any(tmp_path.iterdir())
    with held(path):
        path.write_text("made")
    assert [file.name for file in path.parent.iterdir()] == ["store.h5"]


def test_a_refused_command_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    path = tmp_path / "store.h5"
    path.touch()
    output = Output("out", path, "store")
    with holder(path) as process:
        with pytest.raises(UsageError, match="exists"), claimed([output], {}):
            raise AssertionError
        assert lock_of(path).exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
    with pytest.raises(UsageError, match="exists"), claimed([output], {}):
        raise AssertionError
    assert [file.name for file in tmp_path.iterdir()] == ["store.h5"]


@pytest.mark.slow
def test_a_writer_is_not_refused_because_a_left_lock_is_being_removed(tmp_path: Path) -> None:
    path, done = tmp_path / "store.h5", threading.Event()

    def removing() -> None:
        while not done.is_set():
            remove_unheld(path)

    threads = [threading.Thread(target=removing) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(40):
            with held(path):
                signature = lock_of(path).read_bytes()
            lock_of(path).write_bytes(signature)  # as a killed process leaves it
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_a_thread_holds_what_it_holds_and_another_does_not(tmp_path: Path) -> None:
    path, said = tmp_path / "run", []

    def other() -> None:
        try:
            with held(path):
                said.append("held")
        except UsageError:
            said.append("refused")

    with held(path):
        with held(path):
            pass
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert lock_of(path).exists()
    assert said == ["refused"]


def test_a_link_and_what_it_leads_to_are_one_output(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("run")
    with holder(tmp_path / "run"), pytest.raises(UsageError), held(tmp_path / "link"):
        raise AssertionError


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run"
    reader, writer = os.pipe()
    with held(path):
        child = os.fork()
        if not child:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
    with held(path):
        pass
    os.close(writer)
    os.close(reader)
    os.waitpid(child, 0)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs Linux")
def test_where_no_lock_can_be_made_nothing_can_be_written() -> None:
    with pytest.raises(CirError, match="cannot write /proc/x"), held(Path("/proc/x")):
        raise AssertionError


def test_a_file_of_anothers_in_the_place_of_a_lock_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    lock_of(path).write_text("mine")
    with pytest.raises(UsageError, match=r"\.figures\.json\.lock is no lock of cir"), held(path):
        pass
    remove_unheld(path)
    assert lock_of(path).read_text() == "mine"


def test_a_file_of_yours_that_takes_the_place_of_a_lock_is_left(tmp_path: Path) -> None:
    path = tmp_path / "foo.json"
    with held(path):
        lock_of(path).unlink()
        lock_of(path).write_text("mine")
    assert lock_of(path).read_text() == "mine"


def test_where_no_file_can_be_locked_your_file_is_left_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("cir.disk.locks.fcntl.flock", refuse)
    path = tmp_path / "foo.json"
    lock_of(path).write_text("mine")
    with pytest.raises(UsageError, match="is no lock of cir"), held(path):
        raise AssertionError
    assert lock_of(path).read_text() == "mine"
    lock_of(path).unlink()
    with held(path):
        pass
    assert not any(tmp_path.iterdir())
