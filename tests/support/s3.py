"""A server of S3 on this machine, for the tests alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from cir.data import remote

BUCKET = "shop"
_AS = {
    "AWS_ACCESS_KEY_ID": "someone",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


@contextmanager
def s3_server() -> Iterator[Any]:
    """A client of a server that holds an empty bucket; programs find it by their environment."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        with pytest.MonkeyPatch.context() as patched:
            for name, value in _AS.items():
                patched.setenv(name, value)
            patched.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
            client = boto3.client("s3")
            client.create_bucket(Bucket=BUCKET)
            yield client
            client.close()
    finally:
        forget()
        server.stop()


def forget() -> None:
    """Lets the next request begin anew, as a new process would."""
    remote._storage_of.cache_clear()
    remote._states.clear()
