"""Tar shards to test with."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path


def pack(shard: Path, files: Mapping[str, bytes], mode: str = "w") -> Path:
    shard.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(shard, mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return shard
