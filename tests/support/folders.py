"""What a folder holds."""

from pathlib import Path

from cir.disk.recognition import MARKER


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` but markers, which hold a time, by its path from there."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != MARKER
    }
