"""`cir serve` as a process: what it answered outlives a kill, and a signal ends it in order."""

import http.client
import io
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch
from PIL import Image

from cir.artefacts.changes import changes_file
from cir.config import TINY, ServeConfig
from cir.encoding.loading import load_encoder
from cir.errors import UsageError
from pipeline import serve
from tests.support.forked import CIR, Forked, forked
from tests.support.galleries import small_photos, stored

TOKEN = "a-token-of-the-tests"
HOLDER = {"Authorization": f"Bearer {TOKEN}"}
SEARCH = json.dumps({"images": ["s0"], "text": "is red", "top": 50, "copies": True})
SEARCHES = 12
"""Requests that are under way when the signal comes."""

Start = Callable[[], tuple[Forked, int]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a writable server, each time over the same store; kills what was left."""
    encoder = load_encoder(
        TINY, pretrained=None, weights=None, preprocess="targetpad", device=torch.device("cpu")
    )
    store = stored(small_photos(tmp_path / "shop"), encoder, tmp_path / "shop.h5")
    started = []

    def starting() -> tuple[Forked, int]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        words = ["serve", "--store", str(store), "--writable", "--port", str(port)]
        process = forked(CIR, words, {"CIR_TOKEN": TOKEN})
        started.append(process)
        until = time.monotonic() + 120
        while time.monotonic() < until:
            assert process.poll() is None, process.communicate()
            try:
                asked(port, "GET", "/api/health")
            except OSError:
                time.sleep(0.05)
            else:
                return process, port
        raise AssertionError("the server does not answer")

    yield starting
    for process in started:
        process.kill()


def asked(
    port: int, method: str, path: str, body: bytes | str = b"", **headers: str
) -> tuple[int, bytes]:
    """The status and the content of an answer."""
    connection = sent(port, method, path, body, **headers)
    return received(connection)


def received(connection: http.client.HTTPConnection) -> tuple[int, bytes]:
    with closing(connection):
        answer = connection.getresponse()
        return answer.status, answer.read()


def sent(
    port: int, method: str, path: str, body: bytes | str = b"", **headers: str
) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    kind = {"Content-Type": "application/json"}
    connection.request(method, path, body, kind | headers)
    return connection


def found(port: int) -> set[str]:
    _, content = asked(port, "POST", "/api/search", SEARCH)
    return {each["image"]["id"] for each in json.loads(content)["answers"][0]["results"]}


def photo() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(buffer, "PNG")
    return buffer.getvalue()


def test_the_port_that_was_taken_is_told_and_one_of_others_refused() -> None:
    with serve._bound(ServeConfig(store=Path("s.h5"), port=0)) as taken:
        port = taken.getsockname()[1]
        told = serve._address(ServeConfig(store=Path("s.h5"), port=0), port)
        assert told == f"http://127.0.0.1:{port}"
        assert port > 0
        with pytest.raises(UsageError, match=rf"{port}.*: pass another `host` or `port`"):
            serve._bound(ServeConfig(store=Path("s.h5"), port=port))


@pytest.mark.parametrize("content", [b"\xff" * 40, "schlüssel-der-türen".encode(), b"short\n"])
def test_a_token_that_no_client_can_send_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    config = ServeConfig(store=Path("s.h5"), writable=True, token_file=tmp_path / "token")
    with pytest.raises(UsageError, match="takes a token of 16 ASCII characters or more"):
        serve._token(config)


def test_a_second_writable_server_is_refused_at_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "shop.h5"
    monkeypatch.setenv("CIR_TOKEN", TOKEN)
    monkeypatch.setattr(serve, "_serve", lambda *_: None)
    config = ServeConfig(store=store, writable=True)
    script = (
        "import sys; from pathlib import Path; from cir.disk.locks import held\n"
        "with held(Path(sys.argv[1])):\n    print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(changes_file(store))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()
        with pytest.raises(UsageError, match=r"is being written by process .* another `store`"):
            serve.run(config)
        serve.run(ServeConfig(store=store))
        first.communicate()
    serve.run(config)


@pytest.mark.slow
def test_a_killed_server_loses_no_change_and_a_signal_ends_it_in_order(start: Start) -> None:
    process, port = start()
    status, _ = asked(port, "POST", "/api/images?id=new", photo(), **HOLDER)
    assert status == 201
    assert asked(port, "DELETE", "/api/images/s1", **HOLDER)[0] == 204
    process.kill()
    again, port = start()
    after = found(port)
    assert "new" in after
    assert "s1" not in after
    under_way = [sent(port, "POST", "/api/search", SEARCH) for _ in range(SEARCHES)]
    time.sleep(0.05)
    again.send_signal(signal.SIGTERM)
    answers = [received(connection) for connection in under_way]
    assert [status for status, _ in answers] == [200] * SEARCHES
    assert all(json.loads(content)["answers"] for _, content in answers)
    again.communicate(timeout=60)
    assert again.returncode == 0
