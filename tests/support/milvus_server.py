"""Milvus behind an address: Milvus Lite's server on a port, which speaks as a cluster does."""

import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def milvus_server(file: Path) -> Iterator[str]:
    """A server of its own; `HOST:PORT`. It ends with the block."""
    with warnings.catch_warnings():
        # Its release 2.5 asks for its version in a way that setuptools warns of.
        warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
        from milvus_lite.server import Server
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    server = Server(str(file), address)
    assert server.init()
    assert server.start()
    try:
        _await(port)
        yield address
    finally:
        server.stop()


def _await(port: int) -> None:
    """Waits until somebody answers at a port."""
    for _ in range(600):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nobody answers at port {port}")
