"""Milvus behind an address: Milvus Lite's server on a port, which speaks as a cluster does."""

import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
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
        address = f"127.0.0.1:{free.getsockname()[1]}"
    server = Server(str(file), address)
    assert server.init()
    assert server.start()
    try:
        yield address
    finally:
        server.stop()
