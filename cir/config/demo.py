"""`cir demo`: every stage, one after the other."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cir.config.base import Config, option
from cir.config.faults import below, outside
from cir.config.values import LARGEST_SEED


@dataclass(frozen=True, kw_only=True)
class DemoConfig(Config):
    """Run the whole pipeline on synthetic garments and write an illustrated report."""

    out: Path = option(Path("runs/demo"), "Files", writes="demo")
    """Folder of everything the demo makes."""
    images: int = option(3000, "Size")
    """Synthetic images, in FashionIQ's proportions of categories."""
    epochs: int = option(3, "Size")
    """Epochs, each followed by mining again."""
    seed: int = option(0, "Size")
    """Seed of data, mining and training."""
    overwrite: bool = option(False, "Files")
    """Replace a demo that exists."""

    @property
    def goes_on(self) -> bool:
        """Whether the demo may be there already, to be gone on with."""
        return not self.overwrite

    def faults(self) -> Iterator[str]:
        yield from below(self, 300, "images")
        yield from below(self, 1, "epochs")
        yield from outside(self, 0, LARGEST_SEED, "seed")
