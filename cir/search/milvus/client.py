"""Collections of Milvus: the only module that knows pymilvus, which it imports when it connects.

Every call ends in bounded time. What Milvus refuses is raised as UnreachableError, in one line.
"""

import json
import logging
import math
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float32

from cir.addresses import MilvusAddress
from cir.config import MilvusKind
from cir.errors import UnreachableError, UsageError

TOKEN: Final = "CIR_MILVUS_TOKEN"  # noqa: S105 - the name of an environment variable
MOST_FOUND: Final = 16_384
"""Rows that Milvus gives for one query, at most."""
LONGEST: Final = 4096
"""Bytes of an id or of a category's name, at most."""
_MOST_CATEGORIES: Final = 1024
"""Of one photo."""
_SECONDS: Final = 10.0
"""How long a call that reads may take."""
_START_SECONDS: Final = 30.0
"""How long Milvus Lite's server may take to start: from a cold disk, seconds."""
_WRITE_SECONDS: Final = 120.0
_BUILD_SECONDS: Final = 3600.0
"""How long a server may take to build an index over what it was given."""
_LOOK: Final = 0.02
"""Seconds from one look for that to the next."""
_PAGE: Final = 10_000
"""Rows that are listed at once."""
_LISTS: Final = 65_536
"""Lists of `ivf`, at most."""
_PROBED: Final = 16
"""Lists that a search looks into: at least so many, and one of so many."""
_LINKS: Final = {"M": 32, "efConstruction": 200}
"""Of `hnsw`: a vector's links, and the vectors looked at for them."""
_LOOKED_AT: Final = 256
"""Vectors that a search of `hnsw` looks at, at least."""


class Collection:
    """One collection: rows of an id, a unit vector, categories, and a digest of these."""

    def __init__(self, address: MilvusAddress) -> None:
        """Connects, within some seconds.

        Args:
            address: Where the collection is, or shall be.

        Raises:
            UsageError: pymilvus, or Milvus Lite, is not installed.
            UnreachableError: nobody answers there, or another process holds the file.
        """
        self.address, self.name = address, address.collection
        self._client = _connected(address)

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()

    def description(self, name: str) -> str | None:
        """What a collection was described with when it was made; None where there is none."""
        with self._told():
            if not self._client.has_collection(name, timeout=_SECONDS):
                return None
            return str(self._client.describe_collection(name, timeout=_SECONDS)["description"])

    def make(self, description: str, dim: int, kind: MilvusKind, count: int) -> None:
        """Makes the collection, empty.

        Args:
            description: What it says of itself.
            dim: Components of a vector.
            kind: How it is searched.
            count: Rows that are to come.
        """
        from pymilvus import DataType

        with self._told():
            schema = self._client.create_schema(auto_id=False, description=description)
            schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=LONGEST)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
            schema.add_field(
                "categories",
                DataType.ARRAY,
                element_type=DataType.VARCHAR,
                max_capacity=_MOST_CATEGORIES,
                max_length=LONGEST,
            )
            schema.add_field("content", DataType.VARCHAR, max_length=64)
            self._create(self.name, schema, *_index(kind, count))

    def write_text(self, name: str, description: str, text: str) -> None:
        """Keeps a text in a collection of its own, in the place of one that is there."""
        from pymilvus import DataType

        with self._told():
            if not self._client.has_collection(name, timeout=_SECONDS):
                schema = self._client.create_schema(auto_id=False, description=description)
                schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=16)
                # Milvus makes no collection without a vector.
                schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
                schema.add_field("text", DataType.VARCHAR, max_length=65_535)
                self._create(name, schema, *_index("flat", 1))
            row = {"id": "text", "vector": [1.0, 0.0], "text": text}
            self._client.upsert(name, [row], timeout=_WRITE_SECONDS)

    def read_text(self, name: str) -> str | None:
        """The text that is kept in a collection; None where there is none."""
        with self._told():
            if not self._client.has_collection(name, timeout=_SECONDS):
                return None
            self._client.load_collection(name, timeout=_SECONDS)
            rows = self._client.query(
                name,
                filter='id == "text"',
                output_fields=["text"],
                timeout=_SECONDS,
                consistency_level="Strong",
            )
            return str(rows[0]["text"]) if rows else None

    def load(self) -> None:
        """Has Milvus hold the collection ready for searches."""
        with self._told():
            self._client.load_collection(self.name, timeout=_BUILD_SECONDS)

    def count(self) -> int:
        """Rows of the collection."""
        with self._told():
            (row,) = self._client.query(
                self.name,
                filter="",
                output_fields=["count(*)"],
                timeout=_SECONDS,
                consistency_level="Strong",
            )
            return int(row["count(*)"])

    def contents(self) -> dict[str, str]:
        """The digest of every row, by its id."""
        found: dict[str, str] = {}
        with self._told():
            pages = self._client.query_iterator(
                self.name,
                batch_size=_PAGE,
                filter="",
                output_fields=["id", "content"],
                timeout=_WRITE_SECONDS,
                consistency_level="Strong",
            )
            while page := pages.next():
                found.update((row["id"], row["content"]) for row in page)
            pages.close()
        return found

    def upsert(
        self,
        ids: Sequence[str],
        vectors: Float32[np.ndarray, "some dim"],
        categories: Sequence[Sequence[str]],
        contents: Sequence[str],
    ) -> None:
        """Writes rows, in the place of those that have their ids."""
        columns = zip(ids, vectors, categories, contents, strict=True)
        rows = [
            {"id": image_id, "vector": vector, "categories": list(named), "content": content}
            for image_id, vector, named, content in columns
        ]
        with self._told():
            self._client.upsert(self.name, rows, timeout=_WRITE_SECONDS)

    def delete(self, ids: Sequence[str]) -> None:
        """Deletes rows."""
        with self._told():
            self._client.delete(self.name, ids=list(ids), timeout=_WRITE_SECONDS)

    def finish(self) -> None:
        """Has Milvus keep what was written, and index all of it, which it does by itself."""
        until = time.monotonic() + _BUILD_SECONDS
        with self._told():
            self._client.flush(self.name, timeout=_WRITE_SECONDS)
            while self._pending():
                if time.monotonic() > until:
                    raise UnreachableError(
                        f"{self.address} has not indexed what was pushed after "
                        f"{_BUILD_SECONDS / 60:.0f} minutes: run the same command again later"
                    )
                time.sleep(1)

    def search(
        self,
        query: Float32[np.ndarray, " dim"],
        most: int,
        category: str | None,
        how: Mapping[str, int],
        *,
        strong: bool = False,
    ) -> list[str]:
        """The ids of the rows nearest to a unit vector, the nearest first.

        Args:
            query: The unit vector.
            most: How many, `MOST_FOUND` at most.
            category: The category to search; all where it is None.
            how: As `search_params` says of the collection's kind.
            strong: Whether all that was written before shall be seen, at the cost of a wait.
        """
        within = f"array_contains(categories, {_quoted(category)})" if category else ""
        with self._told():
            (hits,) = self._client.search(
                self.name,
                data=[query],
                limit=most,
                anns_field="vector",
                filter=within,
                search_params={"params": dict(how)},
                timeout=_SECONDS,
                consistency_level="Strong" if strong else "Bounded",
            )
        return [hit["id"] for hit in hits]

    def ensure_index(self, kind: MilvusKind, count: int) -> None:
        """Indexes the collection where whoever made it was stopped before."""
        with self._told():
            if not self._client.list_indexes(self.name):
                indexes = self._indexes(*_index(kind, count))
                self._client.create_index(self.name, indexes, timeout=_WRITE_SECONDS)

    def _indexes(self, index_type: str, params: Mapping[str, int]) -> Any:
        indexes = self._client.prepare_index_params()
        indexes.add_index("vector", index_type=index_type, metric_type="IP", params=params)
        return indexes

    def _create(self, name: str, schema: Any, index_type: str, params: Mapping[str, int]) -> None:
        indexes = self._indexes(index_type, params)
        self._client.create_collection(
            name, schema=schema, index_params=indexes, timeout=_WRITE_SECONDS
        )

    def _pending(self) -> bool:
        told = self._client.describe_index(self.name, "vector", timeout=_SECONDS)
        return int(told.get("pending_index_rows", 0)) > 0

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What Milvus or the connection refuses, in one line."""
        from grpc import RpcError
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except (MilvusException, RpcError, OSError) as fault:
            raise UnreachableError(f"{self.address}: {_reason(fault)}") from fault


def search_params(kind: MilvusKind, count: int, most: int) -> Mapping[str, int]:
    """How much of an index a search looks at.

    Args:
        kind: The index.
        count: Rows that it was made for.
        most: Rows that are asked for.
    """
    if kind == "hnsw":
        return {"ef": max(most, _LOOKED_AT)}
    lists = _lists(count)
    return {"nprobe": min(lists, max(_PROBED, lists // _PROBED))} if kind == "ivf" else {}


def _index(kind: MilvusKind, count: int) -> tuple[str, Mapping[str, int]]:
    """Milvus's name of an index, and what it is built with."""
    if kind == "ivf":
        return "IVF_FLAT", {"nlist": _lists(count)}
    return ("HNSW", _LINKS) if kind == "hnsw" else ("FLAT", {})


def _lists(count: int) -> int:
    """4 √count, as Milvus's guide says."""
    return max(1, min(_LISTS, int(4 * math.sqrt(count))))


def _connected(address: MilvusAddress) -> Any:
    try:
        from pymilvus import MilvusClient
        from pymilvus.exceptions import MilvusException
    except ModuleNotFoundError as fault:
        raise UsageError("Milvus needs pymilvus: pip install 'cir[milvus]'") from fault
    # It writes the traceback of every refusal, which is told in one line here.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    if address.is_file:
        _require_lite(address)
        _start_lite(address)
    token = os.environ.get(TOKEN, "")
    try:
        return MilvusClient(address.uri, token=token, timeout=_SECONDS)
    except (MilvusException, OSError) as fault:
        cause = (
            "another process has the file open, or it is no file of Milvus Lite"
            if address.is_file
            else f"nobody answers there, or not to the token in {TOKEN} ({_reason(fault)})"
        )
        raise UnreachableError(f"{address} cannot be opened: {cause}") from fault


def _require_lite(address: MilvusAddress) -> None:
    """Raises where Milvus Lite is not installed, or the file's folder is not there."""
    folder = Path(address.uri).parent
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: Milvus Lite makes the file, not its folder")
    with warnings.catch_warnings():
        # Its release 2.5 asks for its version in a way that setuptools warns of.
        warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
        try:
            import milvus_lite  # noqa: F401 - whether it can be imported
        except ModuleNotFoundError as fault:
            raise UsageError(
                f"{address} is a file of Milvus Lite: pip install 'cir[milvus]' 'milvus-lite<3'"
            ) from fault


def _start_lite(address: MilvusAddress) -> None:
    """Starts Milvus Lite's server, and waits for its socket, as pymilvus does not.

    One that does not start is told by whoever connects.
    """
    from milvus_lite.server_manager import server_manager_instance

    uri, started = server_manager_instance.start_and_get_uri(address.uri), time.monotonic()
    while uri and time.monotonic() - started < _START_SECONDS:
        if Path(uri.removeprefix("unix:")).exists():
            return
        time.sleep(_LOOK)


def _quoted(text: str) -> str:
    """A text as Milvus's expressions spell it."""
    return json.dumps(text, ensure_ascii=False)


def _reason(fault: Exception) -> str:
    """The first line of what a library says of a fault."""
    said = getattr(fault, "message", "") or getattr(fault, "details", str)() or str(fault)
    return str(said).strip().splitlines()[0] if str(said).strip() else type(fault).__name__
