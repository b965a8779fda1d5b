"""What a signal does to a command."""

import os
import signal
import time
from pathlib import Path

import pytest

from cir.disk.files import written_aside
from cir.disk.locks import held
from pipeline.command import leaving
from pipeline.command.faults import end
from tests.support.forked import CIR, CODE, forked

_DEEP = """
import ctypes, os, signal, sys, time
from pathlib import Path
from cir.disk.files import written_aside
from cir.disk.locks import held
from pipeline.command.leaving import on_signals
out = Path(sys.argv[1])
with on_signals(undoing=0.5), held(out), written_aside(out) as aside:
    aside.write_text("half")
    {deep}
"""
_CALL_THAT_DOES_NOT_COME_BACK = "ctypes.CDLL(None).system(b'kill -TERM $PPID; exec sleep 60')"
_UNDOING_THAT_HANGS = """try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    finally:
        time.sleep(60)"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_block_and_undoes_it(tmp_path: Path, sent: signal.Signals) -> None:
    before = signal.getsignal(sent)
    out = tmp_path / "out"

    def write() -> None:
        with leaving.on_signals(), held(out), written_aside(out) as aside:
            aside.write_text("half")
            os.kill(os.getpid(), sent)
            time.sleep(5)

    with pytest.raises(leaving.Left) as left:
        write()
    leaving._told.clear()
    assert left.value.signal == sent
    assert signal.getsignal(sent) is before
    assert not any(tmp_path.iterdir())
    assert end(left.value, None) == 128 + sent


_LOADING = """
import os, signal, sys, time, types

def app():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)

sys.modules["pipeline.cli"] = types.SimpleNamespace(app=app)
from pipeline.__main__ import main
main()
"""


def test_an_interrupt_while_the_command_line_loads_ends_it_without_a_word() -> None:
    process = forked(CODE, [_LOADING])
    assert process.communicate(20) == ("", "")
    assert process.returncode == -signal.SIGINT


class Loud:
    """A signal meets its destructor, where Python swallows what is raised."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
def test_a_signal_that_meets_a_destructor_is_heard(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with leaving.on_signals():
            Loud()
            time.sleep(5)

    began = time.monotonic()
    with pytest.raises(leaving.Left):
        work()
    leaving._told.clear()
    assert time.monotonic() - began < 3
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("deep", [_CALL_THAT_DOES_NOT_COME_BACK, _UNDOING_THAT_HANGS])
def test_what_does_not_come_back_is_ended_from_beside(tmp_path: Path, deep: str) -> None:
    process = forked(CODE, [_DEEP.format(deep=deep), str(tmp_path / "out")])
    _, said = process.communicate(timeout=50)
    assert process.returncode == 128 + signal.SIGTERM
    assert said == "error: stopped by SIGTERM\n"
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_a_command_leaves_nothing(tmp_path: Path) -> None:
    line = "data synth --dress 3000 --shirt 3000 --toptee 3000 --workers 2 --out made"
    process = forked(CIR, line.split(), folder=tmp_path)
    until = time.monotonic() + 60
    while len(list(tmp_path.glob(".made.cir-*/images/*"))) < 10:
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM
    assert said.splitlines()[-1].startswith("error: stopped by SIGTERM; what was there before is")
    assert not any(tmp_path.iterdir())


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with leaving.on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
