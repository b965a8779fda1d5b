"""`cir pretrain`: an encoder is trained from scratch."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cir.config.base import Config, option, required
from cir.config.faults import below, not_positive, outside
from cir.config.values import LARGEST_DECAY, LARGEST_SEED, Device


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(Config):
    """Train cir-tiny, the bundled encoder, from scratch on a catalogue and synthetic garments."""

    catalog: Path = required("Files")
    """Dataset folder of `cir data from-catalog`; only its train split is seen."""
    synthetic: Path | None = option(None, "Files")
    """Dataset folder of `cir data synth`; only its train split is seen."""
    out: Path = required("Files", writes="weights")
    """16-bit safetensors file to write."""
    epochs: int = option(60, "Optimisation")
    """Passes over the images; as many as made cir-tiny's default weights."""
    batch_size: int = option(256, "Optimisation")
    """Image-text pairs a step."""
    learning_rate: float = option(1e-3, "Optimisation")
    """AdamW's peak learning rate."""
    weight_decay: float = option(0.1, "Optimisation")
    """AdamW's decoupled weight decay."""
    seed: int = option(0, "Optimisation")
    """Seed of weights, batches and augmentation."""
    device: Device = option("auto", "Machine")
    """auto takes the GPU where there is one."""
    workers: int | None = option(None, "Machine")
    """Processes that decode images; one a core, at most 8, by default."""
    overwrite: bool = option(False, "Files")
    """Replace a weight file that exists."""

    def faults(self) -> Iterator[str]:
        yield from below(self, 1, "epochs")
        yield from below(self, 2, "batch_size")
        yield from below(self, 0, "workers")
        yield from outside(self, 0, LARGEST_SEED, "seed")
        yield from outside(self, 0, LARGEST_DECAY, "weight_decay")
        yield from not_positive(self, "learning_rate")
