"""What files are recognised by."""

import hashlib
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Of a file's bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
