"""Addresses of collections in Milvus.

milvus://HOST:PORT/COLLECTION           a server or a cluster; the port is 19530 by default
milvus+https://HOST:PORT/COLLECTION     the same, encrypted
milvus:///path/to/FILE.db/COLLECTION    Milvus Lite, which keeps all of it in one file
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_SCHEMES: Final = {"milvus": "http", "milvus+https": "https"}
_PORT: Final = 19530
_COLLECTION: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_FILE: Final = re.compile(r"(.*/)?[A-Za-z0-9._-]{1,32}\.db")
"""What Milvus Lite takes as a file's name."""
_EXPECTED: Final = (
    "milvus://HOST:PORT/COLLECTION, or milvus:///path/to/FILE.db/COLLECTION for Milvus "
    "Lite, where COLLECTION has letters of a to z, digits and underscores, and FILE.db has at most "
    "35 of these, dots and hyphens"
)


@dataclass(frozen=True)
class MilvusAddress:
    """Where a collection is."""

    uri: str
    """What a client connects to: `http://HOST:PORT`, or the path of a file."""
    collection: str

    @property
    def is_file(self) -> bool:
        """Whether Milvus Lite keeps it in a file."""
        return not self.uri.startswith(("http://", "https://"))

    def __str__(self) -> str:
        scheme, _, place = self.uri.rpartition("://")
        spelled = "milvus+https" if scheme == "https" else "milvus"
        return f"{spelled}://{place}/{self.collection}"


def milvus_address(text: str) -> MilvusAddress:
    """Reads an address.

    Raises:
        ValueError: it is none; its text is what was expected.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port or _PORT
    except ValueError:
        raise ValueError(_EXPECTED) from None
    folder, _, collection = parts.path.rpartition("/")
    more = parts.query or parts.fragment or parts.username is not None
    if parts.scheme not in _SCHEMES or more or not _COLLECTION.fullmatch(collection):
        raise ValueError(_EXPECTED)
    if host and not folder:
        shown = f"[{host}]" if ":" in host else host
        return MilvusAddress(f"{_SCHEMES[parts.scheme]}://{shown}:{port}", collection)
    if host or parts.scheme != "milvus" or not _FILE.fullmatch(folder):
        raise ValueError(_EXPECTED)
    return MilvusAddress(folder, collection)
