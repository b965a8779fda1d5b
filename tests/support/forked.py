"""Processes of the command line, forked from one that has loaded the libraries.

A fresh Python loads torch and open_clip for some seconds; dozens of tests need a process of its own
to kill, to signal or to launch beside others. Python's fork server loads them once for all. What
depends on how a program starts is tested in a fresh one.
"""

import multiprocessing
import os
import runpy
import shutil
import signal
import socket
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from unittest import mock

from pipeline.__main__ import main

ROOT = Path(__file__).parents[2]
CIR = "pipeline"
CODE = "-c"
_LOADED = [
    *("pipeline.cli", "pipeline.embed", "pipeline.mine", "pipeline.train", "pipeline.evaluate"),
    *("pipeline.inspect", "pipeline.synth", "cir.mining.engine"),
    # What these load when they first need it.
    *("numba.core.registry", "pandas", "pydantic", "scipy.linalg", "torch.utils.tensorboard"),
    *("matplotlib.pyplot", "PIL.JpegImagePlugin", "PIL.PngImagePlugin", "PIL.WebPImagePlugin"),
]
_QUIET = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


class Forked:
    """A process under way, used as one of subprocess."""

    def __init__(self, process: ForkServerProcess, said: Path) -> None:
        self._process, self._said = process, said
        self.pid = process.pid
        weakref.finalize(self, shutil.rmtree, said, ignore_errors=True)

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.exitcode

    def await_start(self) -> None:
        """Waits until the program begins: what it is forked from hears signals in its own way."""
        while self.poll() is None and not (self._said / "err").exists():
            time.sleep(0.002)

    def send_signal(self, sent: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self._process.ident, sent)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Waits for its end; its output and its errors."""
        self._process.join(timeout)
        assert self.poll() is not None, f"it goes on after {timeout} seconds"
        files = [self._said / name for name in ("out", "err")]
        # One that is killed at once has not opened them.
        return tuple(file.read_text("utf-8") if file.exists() else "" for file in files)


def forked(
    module: str,
    words: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    folder: Path = ROOT,
    prepare: Callable[[], object] = int,
) -> Forked:
    """A module run as a program.

    Args:
        module: Its name, or `CODE`.
        words: What follows on the command line; first the program's text, where that is given.
        environment: Variables beside those of this process.
        folder: Where it runs.
        prepare: What the process calls first, picklable.
    """
    said = Path(tempfile.mkdtemp(prefix="cir-forked-"))
    given = dict(os.environ) | _QUIET | (environment or {})
    process = _server().Process(
        target=_run, args=(module, list(words), given, folder, said, prepare)
    )
    process.start()
    return Forked(process, said)


def launched(
    module: str, words: Sequence[Sequence[str]], folder: Path = ROOT
) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of processes started together, as a launcher starts them.

    Args:
        module: The program.
        words: The command line of each process.
        folder: Where they run.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    count = str(len(words))
    known = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    known |= {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    running = [
        forked(module, own, known | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, folder=folder)
        for rank, own in enumerate(words)
    ]
    said = [process.communicate(timeout=180) for process in running]
    return [(p.returncode, *own) for p, own in zip(running, said, strict=True)]


@cache
def _server() -> ForkServerContext:
    """The fork server; it is started where the modules of the tests are found."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LOADED)
    with mock.patch.dict(os.environ, {"PYTHONPATH": str(ROOT), **_QUIET}):
        ensure_running()
    return context


def _run(
    module: str,
    words: list[str],
    environment: Mapping[str, str],
    folder: Path,
    said: Path,
    prepare: Callable[[], object],
) -> None:
    if module == CIR and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # as of the program, from its first line
    # A child of the fork server would start its own by another one, which loads everything anew.
    multiprocessing.set_start_method(None, force=True)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(said / name, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    prepare()
    code = words.pop(0) if module == CODE else ""
    sys.argv = [module, *words]
    if module == CIR:
        main()
    elif module == CODE:
        exec(code, {"__name__": "__main__"})
    else:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
